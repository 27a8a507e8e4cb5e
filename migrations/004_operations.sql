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
    path       TEXT COLLATE "C" PRIMARY KEY CONSTRAINT file_garbage_path_known CHECK (marea.is_file_name(path)),
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
        -- Whoever names another file of an export again and again leaves a line for each.
        IF auth.uid() IS NOT NULL AND EXISTS (
            SELECT FROM old_rows AS o WHERE (
                SELECT count(*) FROM marea.file_garbage AS g
                WHERE g.path >= o.user_id || '/' || o.id || '/' AND g.path < o.user_id || '/' || o.id || '0') > 100
        ) THEN
            PERFORM marea.refuse_growth('files to delete of one export', 100);
        END IF;
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
-- one_user
-- ---------------------------------------------------------------------------------------------------------------------

-- One user's data: which tables have rows of a user, and all of them as one document. For who asks for it, for a user who goes to
-- another server (moves), and for whoever must be forgotten.

CREATE OR REPLACE FUNCTION marea.tables_of_users() RETURNS TABLE (relation REGCLASS, condition TEXT, is_own BOOLEAN, depth INTEGER)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- Found, not listed: users, the tables that Marea syncs, every table of Marea's with a user in it, and what the database deletes when
-- the user goes (foreign keys with ON DELETE CASCADE, five steps far). In an order in which they can be filled.
BEGIN
    RETURN QUERY
    WITH RECURSIVE own AS (
        SELECT 'public.users'::regclass AS relation, 't.id = $1' AS condition
        UNION
        SELECT to_regclass('public.' || name), 't.user_id = $1'
        FROM unnest('{sessions,user_progress,export_history,user_api_keys}'::text[]) AS name WHERE to_regclass('public.' || name) IS NOT NULL
        UNION
        SELECT marea.relation_of(t), format('t.%I = $1', t.owner_column) FROM marea.tables AS t
        WHERE marea.relation_of(t) IS NOT NULL AND t.name <> 'sessions'
        UNION
        SELECT c.oid::regclass, 't.user_id = $1'
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id' AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
        WHERE n.nspname IN ('marea', 'marea_adopted') AND c.relkind = 'r' AND c.oid <> 'marea.moved'::regclass
    ), keys AS (
        SELECT k.conrelid AS child, k.confrelid AS parent, k.confdeltype = 'c' AS goes_along, cardinality(k.conkey) AS columns,
               child.attname AS child_column, parent.attname AS parent_column
        FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid AND NOT c.relispartition
        JOIN pg_attribute AS child ON child.attrelid = k.conrelid AND child.attnum = k.conkey[1]
        JOIN pg_attribute AS parent ON parent.attrelid = k.confrelid AND parent.attnum = k.confkey[1]
        WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
    ), reached AS (
        SELECT o.relation, o.condition COLLATE "C" AS condition, true AS is_own, 0 AS step FROM own AS o
        UNION ALL
        SELECT k.child::regclass, CASE WHEN r.relation = 'public.users'::regclass AND k.parent_column = 'id' THEN format('t.%I = $1', k.child_column)
            ELSE format('t.%I IN (SELECT t.%I FROM %s AS t WHERE %s)', k.child_column, k.parent_column, r.relation, r.condition) END COLLATE "C",
            false, r.step + 1
        FROM reached AS r JOIN keys AS k ON k.parent = r.relation AND k.goes_along AND k.columns = 1
        WHERE r.step < 5 AND k.child NOT IN (SELECT o.relation FROM own AS o)
    ), found AS (
        SELECT f.relation, string_agg(DISTINCT f.condition, ' OR ') AS condition, bool_or(f.is_own) AS is_own
        FROM reached AS f JOIN (SELECT s.relation, min(s.step) AS step FROM reached AS s GROUP BY s.relation) AS first
            ON first.relation = f.relation AND first.step = f.step
        GROUP BY f.relation
    ), depths AS (
        SELECT f.relation, 0 AS depth FROM found AS f
        UNION
        SELECT f.relation, d.depth + 1 FROM depths AS d JOIN keys AS k ON k.parent = d.relation JOIN found AS f ON f.relation = k.child
        WHERE d.depth < 20
    )
    SELECT f.relation, f.condition, f.is_own, max(d.depth)
    FROM found AS f JOIN depths AS d ON d.relation = f.relation
    GROUP BY f.relation, f.condition, f.is_own
    ORDER BY max(d.depth), f.relation::text COLLATE "C";
END
$$;

COMMENT ON FUNCTION marea.tables_of_users() IS
    'The tables that hold rows of a user, by which condition on t ($1: the user), in an order in which they can be filled.';

CREATE OR REPLACE FUNCTION marea.document_columns(relation REGCLASS) RETURNS TABLE (name NAME, written TEXT, read TEXT)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- JSON stays JSON; numbers that JavaScript cannot hold, and all types that JSON has no word for, are text as Postgres prints them.
    SELECT a.attname, CASE
            WHEN base.oid = 'jsonb'::regtype THEN format('t.%I::jsonb', a.attname)
            WHEN base.typcategory IN ('S', 'E') OR base.oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'uuid'::regtype,
                'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN format('to_jsonb(t.%I)', a.attname)
            ELSE format('to_jsonb(t.%I::text)', a.attname) END,
        format(CASE WHEN base.oid = 'jsonb'::regtype THEN '(r.value -> %L)::%s' ELSE '(r.value ->> %L)::%s' END,
            a.attname, format_type(a.atttypid, -1))
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    CROSS JOIN LATERAL (SELECT b.* FROM pg_type AS b WHERE b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)) AS base
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ORDER BY a.attnum
$$;

COMMENT ON FUNCTION marea.document_columns(REGCLASS) IS
    'How the columns of a table (t) become values of a document, and how they are read from a row of it (r.value).';

CREATE OR REPLACE FUNCTION marea.export_user(person UUID) RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET "IntervalStyle" = 'iso_8601' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
-- STABLE: all of it as of one moment, whoever writes meanwhile.
DECLARE
    found_ RECORD;
    rows_  JSONB;
    tables JSONB := '[]';
BEGIN
    IF person IS NULL OR NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = person) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: no such user', HINT = 'It is users.id.';
    END IF;
    FOR found_ IN SELECT * FROM marea.tables_of_users() LOOP
        EXECUTE format('SELECT coalesce(jsonb_agg((SELECT jsonb_object_agg(f.k, f.v) FROM (VALUES %s) AS f (k, v) WHERE f.v IS NOT NULL)), ''[]'') '
            'FROM %s AS t WHERE %s',
            (SELECT string_agg(format('(%L, %s)', c.name, c.written), ', ') FROM marea.document_columns(found_.relation) AS c),
            found_.relation, found_.condition)
        INTO rows_ USING person;
        tables := tables || jsonb_build_object(
            'table', (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                      WHERE c.oid = found_.relation),
            'columns', (SELECT jsonb_agg(c.name) FROM marea.document_columns(found_.relation) AS c), 'rows', rows_);
    END LOOP;
    RETURN jsonb_build_object('marea', 1, 'user', person, 'exported_at', marea.wire_time(clock_timestamp()), 'tables', tables,
        'mirrored', (SELECT coalesce(jsonb_agg(t.name ORDER BY t.name), '[]') FROM marea.tables AS t),
        -- Objects of the bucket marea-exports: their bytes are not in here.
        'files', (
            SELECT coalesce(jsonb_agg(p.path ORDER BY p.path), '[]')
            FROM public.export_history AS e CROSS JOIN LATERAL (SELECT marea.file_path(e.file_url, e.user_id, e.id)) AS p (path)
            WHERE e.user_id = person AND p.path IS NOT NULL),
        -- They point to the user, or to a row of the user's, and stay when the user goes.
        'left_out', (
            SELECT coalesce(jsonb_agg(DISTINCT k.conrelid::regclass::text), '[]')
            FROM pg_constraint AS k JOIN marea.tables_of_users() AS o ON o.relation = k.confrelid
            WHERE k.contype = 'f' AND k.conrelid NOT IN (SELECT i.relation FROM marea.tables_of_users() AS i)));
END
$$;

COMMENT ON FUNCTION marea.export_user(UUID) IS
    'All data of one user as one document, which marea.import_user() reads in another database. Sealed keys stay sealed.';

REVOKE ALL ON FUNCTION marea.tables_of_users, marea.document_columns, marea.export_user FROM PUBLIC, anon, authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- moves
-- ---------------------------------------------------------------------------------------------------------------------

-- Users who come, go, and are forgotten. To another server: move_user here, import_user there, erase_user(keep_address => true) here.

CREATE OR REPLACE FUNCTION marea.move_user(person UUID, address TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whoever writes is waited for, and nobody writes after: what is returned is all that there is. Run again it returns the same.
BEGIN
    IF address IS NULL OR octet_length(address) NOT BETWEEN 1 AND 500 OR address ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'address: must have 1 to 500 bytes and no control characters',
            HINT = 'For example the URL of the project to which the user goes.';
    END IF;
    -- Before the user's lock: whoever syncs takes them in this order.
    PERFORM marea.this_run_number();
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    IF person IS NULL OR NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = person) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: no such user', HINT = 'It is users.id.';
    END IF;
    INSERT INTO marea.moved AS m (user_id, address) VALUES (person, move_user.address)
    ON CONFLICT (user_id) DO UPDATE SET address = EXCLUDED.address;
    INSERT INTO marea.clocks AS c (user_id, version, run, moving) VALUES (person, 0, marea.this_run_number(), true)
    ON CONFLICT (user_id) DO UPDATE SET moving = true;
    RETURN marea.export_user(person);
END
$$;

COMMENT ON FUNCTION marea.move_user(UUID, TEXT) IS
    'Sends a user to another server: from now on everybody who asks is told the address, nothing is written, and this is the document.';

CREATE OR REPLACE FUNCTION marea.stop_move(person UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    UPDATE marea.clocks AS c SET moving = false WHERE c.user_id = person AND c.moving;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: is not on the way, or the rows are gone already',
            HINT = 'Where they are gone, marea.import_user() brings them back.';
    END IF;
    DELETE FROM marea.moved AS m WHERE m.user_id = person;
END
$$;

COMMENT ON FUNCTION marea.stop_move(UUID) IS 'Takes marea.move_user() back, as long as the rows are here. Not where another server has imported them.';

CREATE OR REPLACE FUNCTION marea.import_rows(person UUID, given JSONB) RETURNS BIGINT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- One table of a document. Refuses what is not this user's.
DECLARE
    place   RECORD;
    unknown TEXT;
    came    BIGINT;
    counted BIGINT;
    key     RECORD;
BEGIN
    IF given -> 'rows' = '[]' THEN
        RETURN 0;
    END IF;
    SELECT t.* INTO place FROM marea.tables_of_users() AS t WHERE t.relation = to_regclass(given ->> 'table');
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the document has rows of %s, which is no table of users here', given ->> 'table'),
            HINT = 'Make the table as it is there; where it is mirrored there, SELECT marea.mirror(...) here.';
    END IF;
    SELECT string_agg(c.name, ', ') INTO unknown
    FROM jsonb_array_elements_text(given -> 'columns') AS c (name)
    WHERE c.name NOT IN (SELECT d.name FROM marea.document_columns(place.relation) AS d)
      AND jsonb_path_exists(given, '$.rows[*].keyvalue() ? (@.key == $name)', jsonb_build_object('name', c.name));
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s has no column %s here, and the document has values of it', place.relation, unknown),
            HINT = 'Bring this database to the same schema first.';
    END IF;
    EXECUTE (
        SELECT format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM jsonb_array_elements($1) AS r (value)%s', place.relation,
            string_agg(quote_ident(d.name), ', '), string_agg(d.read, ', '),
            CASE WHEN place.relation = 'public.users'::regclass THEN ' ON CONFLICT (id) DO NOTHING' END)
        FROM marea.document_columns(place.relation) AS d WHERE given -> 'columns' ? d.name::text) USING given -> 'rows';
    GET DIAGNOSTICS came = ROW_COUNT;
    EXECUTE format('SELECT count(*) FROM %s AS t WHERE %s', place.relation, place.condition) INTO counted USING person;
    IF counted <> jsonb_array_length(given -> 'rows') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s: the document has %s rows, and the user has %s of them here', place.relation,
            jsonb_array_length(given -> 'rows'), counted), HINT = 'It has rows of somebody else, or a trigger of the app changed or left out some.';
    END IF;
    -- Where no trigger fires no foreign key is looked at.
    FOR key IN
        SELECT k.conname, k.confrelid::regclass AS parent,
               string_agg(format('p.%I = t.%I', f.attname, c.attname), ' AND ') AS same, string_agg(format('t.%I IS NOT NULL', c.attname), ' AND ') AS whole
        FROM pg_constraint AS k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS part (child, parent)
        JOIN pg_attribute AS c ON c.attrelid = k.conrelid AND c.attnum = part.child
        JOIN pg_attribute AS f ON f.attrelid = k.confrelid AND f.attnum = part.parent
        WHERE k.conrelid = place.relation AND k.contype = 'f'
        GROUP BY k.oid, k.conname, k.confrelid
    LOOP
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE (%s) AND %s AND NOT EXISTS (SELECT FROM %s AS p WHERE %s)', place.relation,
            place.condition, key.whole, key.parent, key.same) INTO counted USING person;
        IF counted > 0 THEN
            RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = format('%s: %s rows point to %s, which has no such rows here (%s)', place.relation,
                counted, key.parent, key.conname), HINT = 'Bring those rows here first.';
        END IF;
    END LOOP;
    RETURN came;
END
$$;

COMMENT ON FUNCTION marea.import_rows(UUID, JSONB) IS 'Inserts one table of a document; returns how many rows came.';

CREATE OR REPLACE FUNCTION marea.import_user(document JSONB) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Rows as they were, totals and versions with them. No trigger of the app fires where the owner may see to that
-- (session_replication_role); where not they fire, and what they and the fold have made is replaced by what the document says.
-- Which history the versions are of is not brought along: each device is told to pull everything again and sends what it keeps of 30
-- days, so that what was acknowledged after the document was made is not lost (docs/adr/0142).
DECLARE
    person    CONSTANT UUID := substring(document ->> 'user' FROM '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$');
    before    CONSTANT TEXT := current_setting('session_replication_role');
    -- Made by triggers, so replaced at the end.
    made      CONSTANT TEXT[] := '{public.user_progress,marea.daily_activity,marea.kept_facts,marea.rows}';
    of_server CONSTANT TEXT[] := '{marea.clocks,marea.run_notes,marea.checkpoints,marea.clients,marea.pending}';
    given     RECORD;
    taken     TEXT;
    done      BIGINT := 0;
    reached   BIGINT;
    pruned_   BIGINT;
BEGIN
    IF jsonb_typeof(document) IS DISTINCT FROM 'object' OR document ->> 'marea' IS DISTINCT FROM '1' OR person IS NULL
        OR jsonb_typeof(document -> 'tables') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'document: is none of marea.export_user()';
    END IF;
    -- Before the user's lock: whoever syncs takes them in this order.
    PERFORM marea.this_run_number();
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    SELECT string_agg(m.name, ', ') INTO taken
    FROM jsonb_array_elements_text(document -> 'mirrored') AS m (name)
    WHERE m.name NOT IN (SELECT t.name FROM marea.tables AS t)
      AND jsonb_path_exists(document, '$.tables[*] ? (@.table == "marea.rows").rows[*] ? (@.table_name == $name)', jsonb_build_object('name', m.name));
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('not mirrored here: %s', taken), HINT = 'SELECT marea.mirror(...) for each of them first.';
    END IF;
    FOR given IN SELECT t.relation, t.condition FROM marea.tables_of_users() AS t
        WHERE t.relation <> 'public.users'::regclass AND t.is_own AND t.relation <> ALL (('{public.user_progress,marea.rows}'::text[] || of_server)::regclass[])
    LOOP
        EXECUTE format('SELECT %L FROM %s AS t WHERE %s LIMIT 1', given.relation, given.relation, given.condition) INTO taken USING person;
        IF taken IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = format('the user has rows in %s here already; nothing was changed', taken),
                HINT = 'Where they are of before the user went elsewhere: SELECT marea.erase_user(...) first.';
        END IF;
    END LOOP;
    DELETE FROM marea.moved AS m WHERE m.user_id = person;

    FOR given IN
        SELECT t.value, t.value ->> 'table' AS name, t.n, t.value ->> 'table' = ANY (made) AS is_made FROM jsonb_array_elements(document -> 'tables') WITH ORDINALITY AS t (value, n)
        WHERE t.value ->> 'table' <> ALL (of_server)
        ORDER BY t.value ->> 'table' <> 'public.users', is_made, t.n
    LOOP
        IF given.name = 'public.users' THEN
            done := done + marea.import_rows(person, given.value);
            BEGIN
                PERFORM set_config('session_replication_role', 'replica', true);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
            CONTINUE;
        ELSIF given.is_made THEN
            EXECUTE format('DELETE FROM %s AS t WHERE t.user_id = $1', given.name::regclass) USING person;
        END IF;
        done := done + marea.import_rows(person, given.value);
    END LOOP;
    IF current_setting('session_replication_role') <> before THEN
        PERFORM set_config('session_replication_role', before, true);
    END IF;

    DELETE FROM marea.pending AS p WHERE p.xact = pg_current_xact_id() AND p.user_ids <@ ARRAY[person];
    SELECT (c ->> 'version')::bigint, (c ->> 'pruned')::bigint INTO reached, pruned_
    FROM jsonb_path_query_first(document, '$.tables[*] ? (@.table == "marea.clocks").rows[0]') AS c;
    DELETE FROM marea.clocks AS c WHERE c.user_id = person;
    INSERT INTO marea.clocks AS c (user_id, version, pruned, run) VALUES (person, coalesce(reached, 0), coalesce(pruned_, 0), marea.this_run_number());
    -- Where the user was here before: a cursor of later than the document is of a history that is lost.
    INSERT INTO marea.checkpoints (user_id, at, version) VALUES (person, clock_timestamp(), coalesce(reached, 0)) ON CONFLICT (user_id, at) DO NOTHING;
    RETURN done;
END
$$;

COMMENT ON FUNCTION marea.import_user(JSONB) IS
    'Takes in a user from the document of marea.export_user() or marea.move_user(); returns how many rows came. Refuses a user with rows here.';

CREATE OR REPLACE FUNCTION marea.erase_user(person UUID, keep_address BOOLEAN DEFAULT false) RETURNS JSONB
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Everything of a user: rows, versions, tombstones, ledgers, the row in users and what goes with it. Objects of the bucket are noted to
-- be deleted, and so is that they are until they are gone: run the sweep, and ask again.
DECLARE
    path   CONSTANT TEXT := marea.app_search_path();
    found_ RECORD;
    went   BIGINT := 0;
    gone   BIGINT;
    due    BIGINT;
BEGIN
    IF person IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: must not be null';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    UPDATE marea.clocks AS c SET moving = false WHERE c.user_id = person AND c.moving;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE 'INSERT INTO marea.file_garbage (path) SELECT o.name FROM storage.objects AS o WHERE o.bucket_id = ''marea-exports'' '
            'AND starts_with(o.name, $1 || ''/'') AND marea.is_file_name(o.name) ON CONFLICT DO NOTHING' USING person::text;
    END IF;
    -- What a foreign key holds goes with users; what none holds, or one that would stand in the way, goes by itself. Under the search_path
    -- that the app's triggers are used to.
    PERFORM set_config('marea.keep_counting', 'off', true);
    FOR round IN 1..2 LOOP
        FOR found_ IN
            SELECT t.* FROM marea.tables_of_users() AS t
            WHERE t.is_own AND (round = 2 OR t.relation = 'public.users'::regclass
                OR (SELECT c.relnamespace NOT IN ('marea'::regnamespace) FROM pg_class AS c WHERE c.oid = t.relation))
            ORDER BY t.depth DESC, t.relation
        LOOP
            PERFORM set_config('search_path', path, true);
            EXECUTE pg_catalog.format('DELETE FROM %s AS t WHERE %s', found_.relation, found_.condition) USING person;
            GET DIAGNOSTICS gone = ROW_COUNT;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            went := went + gone;
        END LOOP;
    END LOOP;
    DELETE FROM marea.pending AS p WHERE p.xact = pg_current_xact_id() AND p.user_ids <@ ARRAY[person];
    IF NOT keep_address THEN
        DELETE FROM marea.moved AS m WHERE m.user_id = person;
    END IF;
    FOR found_ IN SELECT t.* FROM marea.tables_of_users() AS t LOOP
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE %s', found_.relation, found_.condition) INTO gone USING person;
        IF gone > 0 THEN
            RAISE EXCEPTION USING ERRCODE = '39P01', MESSAGE = format('%s rows of the user are still in %s; nothing was changed', gone, found_.relation),
                HINT = 'A trigger of the app keeps them, or makes them anew.';
        END IF;
    END LOOP;
    SELECT count(*) INTO due FROM marea.file_garbage AS g WHERE starts_with(g.path, person || '/');
    RETURN jsonb_build_object('rows', went, 'files_to_delete', due, 'account', to_regclass('auth.users') IS NOT NULL);
EXCEPTION WHEN foreign_key_violation THEN
    RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = 'another table of the app holds on to the user; nothing was changed: ' || marea.bounded(SQLERRM),
        HINT = 'Delete those rows, or take the user out of them, first.';
END
$$;

COMMENT ON FUNCTION marea.erase_user(UUID, BOOLEAN) IS
    'Forgets a user: every row, version and note, here. Answers how many rows went, how many files wait to be deleted, and whether there is an account to delete.';

REVOKE ALL ON FUNCTION marea.move_user, marea.stop_move, marea.import_rows, marea.import_user, marea.erase_user
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.erase_user TO service_role;

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
    -- What marea.has_wakeups() asks: that is for devices, and this view for whoever may read it.
    SELECT 'wake-ups', 'on', (SELECT count(*) FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on'), 'count'
    UNION ALL
    -- 1: marea.set_wakeups(true) has not been run since Realtime came, so no device may listen.
    SELECT 'wake-ups', 'without a policy', CASE
        WHEN EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on') AND to_regclass('realtime.messages') IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = to_regclass('realtime.messages') AND polname = 'marea_wakeups_select')
        THEN 1 ELSE 0 END, 'count'
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
