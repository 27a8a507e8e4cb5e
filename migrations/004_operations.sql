-- Assembled from migrations/source by `cargo xtask migrations`: change it there.
-- 004: what the one who runs the Postgres uses: the jobs marea.expire_exports, marea.prune_tombstones and
-- marea.refresh_streaks, the views marea.health, marea.largest_users and marea.client_lag, and files of exports: bucket and
-- policies where schema storage is, and the sweep of what is due. docs/migrations/OPERATIONS.md says what to do with them. No sync
-- depends on any of it; uploads of files do.
--
-- Needs 003. One transaction; run twice, the second run changes nothing. Taken back by 004_operations_rollback.sql, counted by
-- validate_004.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
BEGIN
    IF to_regclass('marea.backfill') IS NULL THEN
        RAISE EXCEPTION 'Marea 004 cannot be applied; nothing was changed. Missing: the backfill (migration 003)'
            USING HINT = 'Apply 003_backfill.sql first.';
    END IF;
    IF to_regclass('marea.health') IS NOT NULL THEN
        RAISE NOTICE 'Marea 004 stands already: this run changes nothing.';
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- jobs
-- ---------------------------------------------------------------------------------------------------------------------

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
        SELECT id FROM public.export_history
        WHERE status = 'completed' AND expires_at < now() ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
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
        WHERE p.last_active_on > tomorrow OR p.user_id IN (
            SELECT d.user_id FROM marea.daily_activity AS d
            JOIN public.user_progress AS behind ON behind.user_id = d.user_id
            WHERE d.day <= tomorrow AND d.day > coalesce(behind.last_active_on, '-infinity'))
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
            SELECT max(ranked.day) AS last_day, count(*) AS days
            FROM (
                SELECT d.day, d.day - (row_number() OVER (ORDER BY d.day))::int AS run
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

-- ---------------------------------------------------------------------------------------------------------------------
-- files
-- ---------------------------------------------------------------------------------------------------------------------

-- Files of exports: the private bucket and who may do what in it, on Supabase or wherever schema storage is; and which objects are
-- to be deleted. Devices upload and read with their users' tokens; file_sweep deletes.

CREATE OR REPLACE FUNCTION marea.file_path(file_url TEXT, owner UUID, export UUID) RETURNS TEXT LANGUAGE sql IMMUTABLE
-- A file_url is written by devices. Only one that is exactly the row's own user and id names an object; of all others nothing is
-- ever deleted.
RETURN CASE
    WHEN file_url ~ ('^storage://marea-exports/' || owner || '/' || export || '/[0-9a-f]{64}\.[a-z0-9]{1,10}$')
        THEN substr(file_url, length('storage://marea-exports/') + 1)
END;

COMMENT ON FUNCTION marea.file_path(TEXT, UUID, UUID) IS
    'The object that a file_url names, below the bucket; NULL unless it is exactly this user''s and this export''s.';

CREATE OR REPLACE FUNCTION marea.is_file_name(name TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN coalesce(name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{64}\.[a-z0-9]{1,10}$', false);

COMMENT ON FUNCTION marea.is_file_name(TEXT) IS 'Whether an object is called as Marea calls them: <user>/<export id>/<sha256>.<ending>.';

CREATE OR REPLACE FUNCTION marea.is_own_file(name TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE
RETURN marea.is_file_name(name) AND split_part(name, '/', 1) = (SELECT marea.user_id())::text;

COMMENT ON FUNCTION marea.is_own_file(TEXT) IS 'Whether an object lies in the folder of the user who asks. For policies.';

CREATE OR REPLACE FUNCTION marea.may_add_file(name TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE
-- CASE: a name of another form is never cast.
RETURN CASE WHEN marea.is_own_file(name) THEN EXISTS (
    SELECT FROM public.export_history AS e
    WHERE e.id = split_part(name, '/', 2)::uuid AND e.user_id = (SELECT marea.user_id()) AND e.status <> 'expired'
) ELSE false END;

COMMENT ON FUNCTION marea.may_add_file(TEXT) IS 'Whether an object is the file of an own export that has not expired. For policies.';

CREATE OR REPLACE FUNCTION marea.prepare_files() RETURNS BOOLEAN
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Nothing is updated: objects never change. Anybody's other policies on storage.objects stay as they are.
DECLARE
    wanted RECORD;
BEGIN
    IF to_regclass('storage.objects') IS NULL OR to_regclass('storage.buckets') IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE 'INSERT INTO storage.buckets (id, name, public) VALUES ($1, $1, false)
             ON CONFLICT (id) DO UPDATE SET public = false WHERE buckets.public' USING 'marea-exports';
    FOR wanted IN
        SELECT * FROM (VALUES
            ('marea_exports_select', 'SELECT', 'USING', 'marea.is_own_file(name)'),
            ('marea_exports_insert', 'INSERT', 'WITH CHECK', 'marea.may_add_file(name)'),
            ('marea_exports_delete', 'DELETE', 'USING', 'marea.is_own_file(name)')
        ) AS policies (name, command, clause, condition)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('storage.objects') AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON storage.objects FOR %s TO authenticated %s (bucket_id = %L AND %s)',
            wanted.name, wanted.command, wanted.clause, 'marea-exports', wanted.condition);
    END LOOP;
    RETURN true;
END
$$;

COMMENT ON FUNCTION marea.prepare_files() IS
    'Makes the private bucket marea-exports and its policies where schema storage exists; says whether it does. May be run again.';

CREATE TABLE IF NOT EXISTS marea.file_garbage (
    path       TEXT PRIMARY KEY CONSTRAINT file_garbage_path_known CHECK (marea.is_file_name(path)),
    noted_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts   INTEGER NOT NULL DEFAULT 0,
    asked_at   TIMESTAMPTZ,
    request_id BIGINT,
    last_error TEXT
);

CREATE INDEX IF NOT EXISTS file_garbage_noted_at_idx ON marea.file_garbage (noted_at);

COMMENT ON TABLE marea.file_garbage IS 'Objects of the bucket marea-exports that are to be deleted; filled as exports expire and go.';
COMMENT ON COLUMN marea.file_garbage.path IS 'The object, below the bucket: <user>/<export id>/<sha256>.<ending>.';
COMMENT ON COLUMN marea.file_garbage.noted_at IS 'When its export expired or went; server clock.';
COMMENT ON COLUMN marea.file_garbage.attempts IS 'How often its deletion was asked for, count.';
COMMENT ON COLUMN marea.file_garbage.asked_at IS 'When it was last asked for; server clock.';
COMMENT ON COLUMN marea.file_garbage.request_id IS 'The request of pg_net that is under way.';
COMMENT ON COLUMN marea.file_garbage.last_error IS 'What the last answer was, where it was none of success.';

CREATE OR REPLACE FUNCTION marea.note_file_garbage() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL AND EXISTS (
            SELECT FROM new_rows AS n
            WHERE n.id = o.id AND (n.file_url IS DISTINCT FROM o.file_url OR n.status = 'expired'))
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.note_file_garbage() IS 'Trigger: notes the files of exports that expire or go.';

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_update'
    ) THEN
        CREATE TRIGGER export_history_files_update AFTER UPDATE ON public.export_history
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_delete'
    ) THEN
        CREATE TRIGGER export_history_files_delete AFTER DELETE ON public.export_history
            REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
END
$$;

ALTER TABLE marea.file_garbage ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON marea.file_garbage FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION marea.file_path, marea.is_file_name, marea.is_own_file, marea.may_add_file, marea.prepare_files,
    marea.note_file_garbage
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.is_file_name, marea.is_own_file, marea.may_add_file TO authenticated;

DO $$ BEGIN PERFORM marea.prepare_files(); END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- file_sweep
-- ---------------------------------------------------------------------------------------------------------------------

-- Deleting objects that are due. Supabase refuses a DELETE in SQL on storage.objects: it goes by the API, through pg_net with a key
-- from Vault, or, where those are not, by a script that asks marea.files_to_delete and tells marea.files_deleted.

CREATE OR REPLACE FUNCTION marea.restore_live_files() RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- A device that was away may have said again where a file is.
    DELETE FROM marea.file_garbage AS g
    USING public.export_history AS e
    WHERE e.id = split_part(g.path, '/', 2)::uuid AND e.status <> 'expired'
      AND marea.file_path(e.file_url, e.user_id, e.id) = g.path
$$;

COMMENT ON FUNCTION marea.restore_live_files() IS 'Forgets garbage that an export names again. Before each sweep.';

CREATE OR REPLACE FUNCTION marea.sweep_files(batch INTEGER DEFAULT 100) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Takes in the answers to earlier requests, then asks for the next deletions; returns how many. Needs pg_net, and in Vault the
-- secrets marea_project_url and marea_service_key; without them it returns 0 and marea.health says what is missing.
DECLARE
    url     TEXT;
    key     TEXT;
    found   RECORD;
    request BIGINT;
    asked   BIGINT := 0;
    missing TEXT;
BEGIN
    IF batch NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'batch: must be from 1 to 10000';
    END IF;
    PERFORM marea.restore_live_files();
    IF to_regclass('net._http_response') IS NULL THEN
        missing := 'the extension pg_net is missing';
    ELSIF to_regclass('vault.decrypted_secrets') IS NULL THEN
        missing := 'the extension supabase_vault is missing';
    ELSE
        EXECUTE 'SELECT rtrim((SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_project_url''), ''/''),
                        (SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_service_key'')' INTO url, key;
        IF url IS NULL OR key IS NULL THEN
            missing := 'the secrets marea_project_url and marea_service_key are missing in Vault';
        END IF;
    END IF;
    IF missing IS NOT NULL THEN
        UPDATE marea.file_garbage SET last_error = missing WHERE last_error IS DISTINCT FROM missing;
        RETURN 0;
    END IF;

    -- What is not there is as good as deleted.
    EXECUTE $answers$
        WITH answers AS (
            SELECT g.path, r.status_code, r.error_msg,
                   coalesce(r.status_code BETWEEN 200 AND 299
                       OR r.content ~ '"(code|error)"\s*:\s*"(NoSuchKey|not_found)"', false) AS done
            FROM marea.file_garbage AS g JOIN net._http_response AS r ON r.id = g.request_id
        ), gone AS (
            DELETE FROM marea.file_garbage AS g USING answers AS a WHERE g.path = a.path AND a.done
        )
        UPDATE marea.file_garbage AS g
        SET request_id = NULL, last_error = coalesce(a.error_msg, 'HTTP ' || a.status_code)
        FROM answers AS a WHERE g.path = a.path AND NOT a.done
    $answers$;

    FOR found IN
        SELECT g.path FROM marea.file_garbage AS g
        WHERE g.asked_at IS NULL OR g.asked_at < now() - least(g.attempts, 6) * interval '10 minutes'
        ORDER BY g.noted_at LIMIT batch FOR UPDATE SKIP LOCKED
    LOOP
        EXECUTE 'SELECT net.http_delete(url := $1, headers := $2)' INTO request
        USING url || '/storage/v1/object/marea-exports/' || found.path,
              jsonb_build_object('Authorization', 'Bearer ' || key, 'apikey', key);
        UPDATE marea.file_garbage SET attempts = attempts + 1, asked_at = now(), request_id = request WHERE path = found.path;
        asked := asked + 1;
    END LOOP;
    RETURN asked;
END
$$;

COMMENT ON FUNCTION marea.sweep_files(INTEGER) IS
    'Asks Storage, through pg_net, to delete objects that are due; returns for how many. To be run every few minutes.';

CREATE OR REPLACE FUNCTION marea.note_orphan_files(older INTERVAL DEFAULT '1 day') RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- An object is made before its export says so: hence the day.
DECLARE
    noted BIGINT := 0;
BEGIN
    IF older < interval '1 hour' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'older: must be at least 1 hour';
    END IF;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE $orphans$
            INSERT INTO marea.file_garbage (path)
            SELECT o.name FROM storage.objects AS o
            WHERE o.bucket_id = 'marea-exports' AND o.created_at < now() - $1 AND marea.is_file_name(o.name)
              AND NOT EXISTS (
                SELECT FROM public.export_history AS e
                WHERE e.id::text = split_part(o.name, '/', 2) AND e.user_id::text = split_part(o.name, '/', 1)
                  AND e.status <> 'expired')
            ON CONFLICT DO NOTHING
        $orphans$ USING older;
        GET DIAGNOSTICS noted = ROW_COUNT;
    END IF;
    RETURN noted;
END
$$;

COMMENT ON FUNCTION marea.note_orphan_files(INTERVAL) IS
    'Compares the bucket with the exports and notes objects that belong to none; returns how many. To be run once a week.';

CREATE OR REPLACE VIEW marea.files_to_delete AS
SELECT g.path, g.noted_at, g.attempts, g.last_error
FROM marea.file_garbage AS g
WHERE NOT EXISTS (
    SELECT FROM public.export_history AS e
    WHERE e.id::text = split_part(g.path, '/', 2) AND e.status <> 'expired' AND marea.file_path(e.file_url, e.user_id, e.id) = g.path)
ORDER BY g.noted_at;

COMMENT ON VIEW marea.files_to_delete IS 'Objects of the bucket marea-exports that are due, oldest first: for a script, where there is no pg_net.';

CREATE OR REPLACE FUNCTION marea.files_deleted(paths TEXT[]) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    went BIGINT;
BEGIN
    DELETE FROM marea.file_garbage WHERE path = ANY (paths);
    GET DIAGNOSTICS went = ROW_COUNT;
    RETURN went;
END
$$;

COMMENT ON FUNCTION marea.files_deleted(TEXT[]) IS 'Told by a script which objects it has deleted; returns how many were due.';

REVOKE ALL ON marea.files_to_delete FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.files_to_delete TO service_role;
REVOKE ALL ON FUNCTION marea.restore_live_files, marea.sweep_files, marea.note_orphan_files, marea.files_deleted
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.sweep_files, marea.note_orphan_files, marea.files_deleted TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- views
-- ---------------------------------------------------------------------------------------------------------------------

-- What the one who runs the Postgres looks at. The views show their owner's sight of the tables, so they are for people who run
-- the database, and nobody else.

CREATE OR REPLACE VIEW marea.client_lag AS
SELECT c.user_id, c.client_id, c.schema, c.first_at, c.noted_at,
       extract(epoch FROM now() - c.noted_at)::bigint AS silent_seconds,
       c.version, coalesce(u.version, 0) AS user_version,
       greatest(coalesce(u.version, 0) - c.version, 0) AS versions_behind,
       c.version < coalesce(u.pruned, 0) AS must_start_anew
FROM marea.clients AS c
LEFT JOIN marea.clocks AS u ON u.user_id = c.user_id;

COMMENT ON VIEW marea.client_lag IS
    'Each device: when it last synced (to the hour), and how many of its user''s changes have come since.';

CREATE OR REPLACE VIEW marea.largest_users AS
SELECT r.user_id, count(*) AS rows, count(*) FILTER (WHERE r.deleted) AS tombstones,
       (SELECT c.version FROM marea.clocks AS c WHERE c.user_id = r.user_id) AS version
FROM marea.rows AS r
GROUP BY r.user_id
ORDER BY count(*) DESC, r.user_id
LIMIT 20;

COMMENT ON VIEW marea.largest_users IS 'The 20 users with the most synced rows. Reads all of marea.rows: not for a dashboard.';

CREATE OR REPLACE VIEW marea.foreign_writers AS
WITH RECURSIVE bodies AS MATERIALIZED (
    SELECT p.oid, p.proname, n.nspname, p.prorettype = 'trigger'::regtype AS is_trigger,
           regexp_replace(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid)), '--[^\n]*|/\*.*?\*/', ' ', 'g') AS body
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'marea', 'marea_adopted') AND n.nspname NOT LIKE 'pg\_%'
      AND NOT (n.nspname = 'public' AND p.proname IN ('sessions_fold_into_progress', 'marea_sync'))
), writers AS (
    SELECT b.* FROM bodies AS b
    WHERE b.body ~* '\m(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?(("?public"?\s*\.\s*)?"?user_progress|"?marea"?\s*\.\s*"?daily_activity)"?(?![a-z0-9_$])'
    UNION
    SELECT b.* FROM bodies AS b JOIN writers AS w ON w.oid <> b.oid AND NOT w.is_trigger
    WHERE b.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\(')
)
SELECT 'trigger' AS kind, format('%I on %s', t.tgname, t.tgrelid::regclass) AS name, format('%I.%I', w.nspname, w.proname) AS function
FROM pg_catalog.pg_trigger AS t JOIN writers AS w ON w.oid = t.tgfoid AND w.is_trigger
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname <> 'marea_adopted'
  -- Those make rows for new learners, which is no harm.
  AND c.relname <> 'users'
UNION ALL
SELECT 'function', format('%I.%I', w.nspname, w.proname), format('%I.%I', w.nspname, w.proname)
FROM writers AS w
WHERE NOT w.is_trigger
  AND NOT EXISTS (SELECT FROM writers AS c WHERE c.is_trigger
      AND c.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\('));

COMMENT ON VIEW marea.foreign_writers IS
    'Triggers and functions of the app whose text writes what the fold alone may write: a session may count twice, or be taken back.';

CREATE OR REPLACE VIEW marea.health (measure, subject, value, unit) AS
    SELECT 'users', 'all', (SELECT count(*) FROM marea.clocks)::numeric, 'count'
    UNION ALL
    SELECT 'changes', 'busiest user', (SELECT max(version) FROM marea.clocks), 'count'
    UNION ALL
    SELECT 'tombstones', 'all', (SELECT count(*) FROM marea.rows WHERE deleted), 'count'
    UNION ALL
    SELECT 'tombstones', 'older than 90 days', (
        SELECT count(*) FROM marea.rows WHERE deleted AND changed_at < now() - interval '90 days'), 'count'
    UNION ALL
    SELECT 'age', 'oldest tombstone', (
        SELECT extract(epoch FROM now() - min(changed_at))::bigint FROM marea.rows WHERE deleted), 'seconds'
    UNION ALL
    -- What a statement notes is gone at its transaction's end. A row that stays is a defect.
    SELECT 'pending', 'left behind', (SELECT count(*) FROM marea.pending), 'count'
    UNION ALL
    SELECT 'backfill', 'users left', coalesce((
        SELECT sum(greatest(users_total - users_done, 0)) FROM marea.backfill WHERE finished_at IS NULL), 0), 'count'
    UNION ALL
    SELECT 'exports', 'waiting', (
        SELECT count(*) FROM public.export_history WHERE status IN ('pending', 'processing')), 'count'
    UNION ALL
    SELECT 'age', 'oldest waiting export', (
        SELECT extract(epoch FROM now() - min(created_at))::bigint FROM public.export_history
        WHERE status IN ('pending', 'processing')), 'seconds'
    UNION ALL
    SELECT 'exports', 'failed in a day', (
        SELECT count(*) FROM public.export_history
        WHERE status = 'failed' AND created_at > now() - interval '1 day'), 'count'
    UNION ALL
    SELECT 'exports', 'past their expiry', (
        SELECT count(*) FROM public.export_history WHERE status = 'completed' AND expires_at < now()), 'count'
    UNION ALL
    SELECT 'files', 'to delete', (SELECT count(*) FROM marea.file_garbage), 'count'
    UNION ALL
    SELECT 'age', 'oldest file to delete', (
        SELECT extract(epoch FROM now() - min(noted_at))::bigint FROM marea.file_garbage), 'seconds'
    UNION ALL
    SELECT 'files', 'not deleted: ' || failed.last_error, failed.files, 'count'
    FROM (
        SELECT last_error, count(*) AS files FROM marea.file_garbage WHERE last_error IS NOT NULL
        GROUP BY last_error ORDER BY count(*) DESC, last_error LIMIT 5
    ) AS failed
    UNION ALL
    SELECT 'clients', seen.subject, seen.clients, 'count'
    FROM (
        SELECT count(*) AS every, count(*) FILTER (WHERE silent_seconds < 86400) AS today,
               count(*) FILTER (WHERE silent_seconds >= 604800 AND versions_behind > 0) AS left_behind,
               count(*) FILTER (WHERE must_start_anew) AS too_old
        FROM marea.client_lag
    ) AS counted
    CROSS JOIN LATERAL (VALUES
        ('all', counted.every), ('synced in a day', counted.today),
        ('behind and silent for a week', counted.left_behind), ('will start anew', counted.too_old)
    ) AS seen (subject, clients)
    UNION ALL
    SELECT 'age', 'longest transaction', (
        SELECT coalesce(max(extract(epoch FROM now() - xact_start))::bigint, 0) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'), 'seconds'
    UNION ALL
    SELECT 'sessions', 'waiting for a lock', (
        SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'), 'count'
    UNION ALL
    -- 0: none, or more than the role's own settings say. docs/migrations/DEPLOY.md says which and why.
    SELECT 'limits', limits.name || ' of ' || limits.role, coalesce((
        SELECT max(CASE WHEN setting.value ~ '^[0-9]+$' THEN setting.value::numeric
            ELSE extract(epoch FROM setting.value::interval) * 1000 END)
        FROM pg_catalog.pg_db_role_setting AS s, unnest(s.setconfig) AS one,
             LATERAL (SELECT split_part(one, '=', 2) WHERE starts_with(one, limits.name || '=')) AS setting (value)
        WHERE s.setrole IN (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname IN (limits.role, 'authenticator'))
          AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()))
    ), 0)::bigint, 'milliseconds'
    FROM (VALUES ('statement_timeout', 'authenticated'), ('lock_timeout', 'authenticated')) AS limits (name, role)
    UNION ALL
    SELECT of_table.measure, t.schemaname || '.' || t.relname, of_table.value, of_table.unit
    FROM pg_catalog.pg_stat_user_tables AS t
    CROSS JOIN LATERAL (VALUES
        ('rows', t.n_live_tup::numeric, 'count'), ('dead rows', t.n_dead_tup, 'count'),
        ('size', pg_total_relation_size(t.relid), 'bytes')
    ) AS of_table (measure, value, unit)
    WHERE t.schemaname = 'marea'
       OR (t.schemaname = 'public' AND t.relname IN ('sessions', 'user_progress', 'export_history', 'user_api_keys'))
    UNION ALL
    SELECT 'mirrored tables', 'all', (SELECT count(*) FROM marea.tables), 'count'
    UNION ALL
    -- What to type for it: SELECT * FROM marea.mirror_drift().
    SELECT 'drift', d.name || ': ' || d.problem, 1, 'count' FROM marea.mirror_drift() AS d
    UNION ALL
    -- Empty unless track_functions is at least pl.
    SELECT of_function.measure, f.schemaname || '.' || f.funcname, of_function.value, of_function.unit
    FROM pg_catalog.pg_stat_user_functions AS f
    CROSS JOIN LATERAL (VALUES
        ('calls', f.calls::numeric, 'count'),
        ('mean time', round((f.total_time / greatest(f.calls, 1))::numeric, 3), 'milliseconds')
    ) AS of_function (measure, value, unit)
    WHERE f.schemaname = 'marea' OR (f.schemaname = 'public' AND f.funcname IN ('marea_sync', 'sessions_fold_into_progress'))
    UNION ALL
    SELECT 'foreign writers', 'all', (SELECT count(*) FROM marea.foreign_writers), 'count'
    UNION ALL
    SELECT 'foreign writers', w.kind || ' ' || w.name, 1, 'count' FROM marea.foreign_writers AS w
    UNION ALL
    -- NULL where there is no auth.users, or whoever asks may not look into it.
    SELECT 'learners', 'without a row in users', CASE WHEN (
        SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'auth' AND c.relname = 'users' AND has_table_privilege('public.users', 'SELECT')
    ) THEN substring(query_to_xml('SELECT count(*) AS n FROM auth.users AS a
        WHERE NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = a.id)', false, true, '')::text FROM '<n>([0-9]+)</n>')::numeric END, 'count';

COMMENT ON VIEW marea.health IS 'How Marea is, one figure a row. Cheap enough to be asked every minute.';

REVOKE ALL ON marea.client_lag, marea.largest_users, marea.foreign_writers, marea.health FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.health, marea.client_lag, marea.largest_users TO service_role;

NOTIFY pgrst, 'reload schema';

COMMIT;
