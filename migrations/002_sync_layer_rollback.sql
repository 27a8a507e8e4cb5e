-- Takes back 002: removes the sync layer; the trigger of 001 folds sessions again. The app's tables and all their rows stay as they
-- are. Awards (marea.progress_events), versions and tombstones go; their effect on user_progress stays.

BEGIN;

DO $$
BEGIN
    IF to_regnamespace('marea') IS NULL THEN
        RAISE NOTICE 'Marea 002 does not stand: nothing to take back.';
    ELSIF to_regclass('marea.backfill') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 003 stands on 002; nothing was changed'
            USING HINT = 'Run 003_backfill_rollback.sql first.';
    END IF;
END
$$;

DO $$
DECLARE
    relation TEXT;
    event    TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY['sessions', 'user_progress', 'export_history', 'user_api_keys'] LOOP
        FOREACH event IN ARRAY ARRAY['inserted', 'updated', 'deleted', 'guarded', 'within_bounds'] LOOP
            EXECUTE format('DROP TRIGGER IF EXISTS %I ON public.%I', 'marea_' || relation || '_' || event, relation);
        END LOOP;
    END LOOP;
END
$$;

DO $$
DECLARE
    login TEXT;
BEGIN
    SELECT coalesce(r.rolname, 'ALL') INTO login
    FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole, unnest(s.setconfig) AS one
    WHERE one = 'pgrst.db_pre_request=public.marea_pre_request' AND to_regprocedure('public.marea_pre_request()') IS NOT NULL;
    IF login IS NOT NULL THEN
        RAISE EXCEPTION 'PostgREST calls public.marea_pre_request() before each request and would refuse them all; nothing was changed'
            USING HINT = format('ALTER ROLE %s RESET pgrst.db_pre_request; NOTIFY pgrst, ''reload config''; then run this again.', login);
    END IF;
END
$$;

DROP FUNCTION IF EXISTS public.marea_sync(JSONB), public.marea_catalogue(), public.marea_pre_request();
DO $$
BEGIN
    IF to_regclass('realtime.messages') IS NOT NULL THEN
        DROP POLICY IF EXISTS marea_wakeups_select ON realtime.messages;
    END IF;
END
$$;
SET LOCAL client_min_messages = warning; -- or it lists fifty things that go with the schema
DROP SCHEMA IF EXISTS marea CASCADE;

NOTIFY pgrst, 'reload schema';

COMMIT;
