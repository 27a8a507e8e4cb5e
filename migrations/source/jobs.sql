-- Jobs, for the backend's own role. docs/migrations/OPERATIONS.md schedules them.

CREATE INDEX IF NOT EXISTS rows_tombstones_idx ON marea.rows (changed_at) WHERE deleted;

CREATE OR REPLACE FUNCTION marea.prune_tombstones(keep INTERVAL DEFAULT '90 days') RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Forgets deletions older than that; a client that has not synced since pulls everything again. Users who are syncing right now are
-- left for the next run. Returns how many tombstones went.
DECLARE
    person  UUID;
    horizon BIGINT;
    went    BIGINT;
    pruned_ BIGINT := 0;
BEGIN
    IF keep < '30 days' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'keep: must be at least 30 days',
            HINT = 'Clients may send a mutation again for 30 days, and a tombstone keeps the deleted row from returning.';
    END IF;
    FOR person IN
        SELECT DISTINCT r.user_id FROM marea.rows AS r
        WHERE r.deleted AND r.changed_at < now() - keep ORDER BY r.user_id
    LOOP
        -- The clock first: with it, nobody is giving versions to this user's lines.
        PERFORM FROM marea.clocks WHERE user_id = person FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;

        -- Of sessions and events clients never hear, so losing those tombstones sends nobody back to the start.
        SELECT max(r.version) INTO horizon FROM marea.rows AS r
        WHERE r.user_id = person AND r.deleted AND r.changed_at < now() - keep
          AND r.table_name <> ALL (marea.unseen_tables());
        IF horizon IS NOT NULL THEN
            -- The living rows move above the horizon: a client that pulls everything again pages through them by version, and must
            -- never hold a cursor that itself looks too old.
            CONTINUE WHEN (
                SELECT count(*) FROM marea.rows AS r
                WHERE r.user_id = person AND NOT r.deleted AND r.version <= horizon
            ) <> (
                SELECT count(*) FROM (
                    SELECT FROM marea.rows AS r
                    WHERE r.user_id = person AND NOT r.deleted AND r.version <= horizon FOR UPDATE SKIP LOCKED
                ) AS locked
            );
            WITH moved AS (
                SELECT r.table_name, r.row_key, row_number() OVER (ORDER BY r.version) AS place
                FROM marea.rows AS r
                WHERE r.user_id = person AND NOT r.deleted AND r.version <= horizon
            ), bumped AS (
                UPDATE marea.clocks AS c SET version = c.version + (SELECT count(*) FROM moved), pruned = horizon,
                    run = marea.this_run_number()
                WHERE c.user_id = person
                RETURNING c.version - (SELECT count(*) FROM moved) AS base
            )
            UPDATE marea.rows AS r SET version = bumped.base + moved.place
            FROM moved, bumped
            WHERE r.user_id = person AND r.table_name = moved.table_name AND r.row_key = moved.row_key;
        END IF;

        DELETE FROM marea.rows AS r WHERE r.user_id = person AND r.deleted AND r.changed_at < now() - keep;
        GET DIAGNOSTICS went = ROW_COUNT;
        pruned_ := pruned_ + went;
    END LOOP;
    -- A cursor of a run that is forgotten is of no use any more, so the notes up to the first run that is kept serve nobody.
    DELETE FROM marea.runs AS r WHERE r.number < (
        SELECT max(began.number) FROM marea.runs AS began WHERE began.began_at < now() - keep);
    DELETE FROM marea.run_notes AS n WHERE n.number <= (SELECT min(r.number) FROM marea.runs AS r);
    DELETE FROM marea.checkpoints AS p WHERE p.at < now() - keep;
    RETURN pruned_;
END
$$;

COMMENT ON FUNCTION marea.prune_tombstones(INTERVAL) IS 'Forgets old deletions; returns how many.';

CREATE OR REPLACE FUNCTION marea.expire_exports() RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    expired BIGINT;
BEGIN
    UPDATE public.export_history SET status = 'expired', file_url = NULL, data = NULL
    WHERE id IN (
        SELECT e.id FROM public.export_history AS e
        WHERE e.status = 'completed' AND e.expires_at < now()
          -- Whoever is on the way to another server is left alone, or nobody's would expire.
          AND NOT EXISTS (SELECT FROM marea.moved AS m WHERE m.user_id = e.user_id)
        ORDER BY e.id FOR NO KEY UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS expired = ROW_COUNT;
    RETURN expired;
END
$$;

COMMENT ON FUNCTION marea.expire_exports() IS
    'Marks completed exports past expires_at as expired and drops their data and address; returns how many.';

CREATE OR REPLACE FUNCTION marea.refresh_streaks() RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
-- For whom days have come that lay ahead when they were folded, or whose streak ends at a day that lies ahead: the streak of
-- the days up to tomorrow. A learner's next session does the same, and devices count by themselves: this job is for those who
-- read user_progress beside Marea's clients. Returns how many rows it changed.
DECLARE
    tomorrow CONSTANT DATE := marea.tomorrow();
    people   UUID[];
    changed  BIGINT;
BEGIN
    -- The progress row is the mutex of the learner's fold: it is locked before the days are read.
    SELECT array_agg(held.user_id) INTO people
    FROM (
        SELECT p.user_id FROM public.user_progress AS p
        WHERE (p.last_active_on > tomorrow OR p.user_id IN (
            SELECT d.user_id FROM marea.daily_activity AS d
            JOIN public.user_progress AS behind ON behind.user_id = d.user_id
            WHERE d.day <= tomorrow AND d.day > coalesce(behind.last_active_on, '-infinity')))
          AND NOT EXISTS (SELECT FROM marea.moved AS m WHERE m.user_id = p.user_id)
        ORDER BY p.user_id FOR NO KEY UPDATE
    ) AS held;
    UPDATE public.user_progress AS p SET
        last_active_on = runs.last_day, current_streak_days = coalesce(runs.streak, 0),
        longest_streak_days = greatest(runs.longest, kept.longest, 0)
    FROM unnest(people) AS person (id)
    -- Days that follow one another have the same distance to their rank: that distance names the run.
    CROSS JOIN LATERAL (
        SELECT max(run.last_day) AS last_day, max(run.days) AS longest,
               (array_agg(run.days ORDER BY run.last_day DESC))[1] AS streak
        FROM (
            SELECT max(ranked.day) AS last_day, count(*) FILTER (WHERE ranked.active) AS days
            FROM (
                SELECT marea.is_active(d) AS active, d.day, d.day - (row_number() OVER (ORDER BY d.day))::int AS run
                FROM marea.daily_activity AS d
                WHERE d.user_id = person.id AND d.day <= tomorrow
            ) AS ranked
            GROUP BY ranked.run
        ) AS run
    ) AS runs
    CROSS JOIN LATERAL (
        SELECT max(k.longest_streak_days) AS longest FROM marea.kept_facts AS k WHERE k.user_id = person.id AND k.day = '-infinity'
    ) AS kept
    WHERE p.user_id = person.id
      AND ROW(p.last_active_on, p.current_streak_days, p.longest_streak_days)
          IS DISTINCT FROM ROW(runs.last_day, coalesce(runs.streak, 0)::int, greatest(runs.longest, kept.longest, 0)::int);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

COMMENT ON FUNCTION marea.refresh_streaks() IS
    'Counts the days that have come since they were folded; returns how many progress rows changed. To be run once a day.';

REVOKE ALL ON FUNCTION marea.prune_tombstones, marea.expire_exports, marea.refresh_streaks FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.prune_tombstones, marea.expire_exports, marea.refresh_streaks TO service_role;
