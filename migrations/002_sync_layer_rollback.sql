-- Takes back 002: removes the sync layer and puts back the trigger that 001 made. The app's tables and all their rows stay
-- as they are. Events (marea.progress_events), versions and tombstones go; their effect on user_progress stays.

BEGIN;

DO $$
DECLARE
    old RECORD;
BEGIN
    IF to_regclass('marea.replaced') IS NULL THEN
        RAISE NOTICE 'Marea 002 does not stand: nothing to take back.';
        RETURN;
    END IF;
    IF to_regclass('marea.backfill') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 003 stands on 002; nothing was changed'
            USING HINT = 'Run 003_backfill_rollback.sql first.';
    END IF;

    DROP TRIGGER IF EXISTS marea_sessions_updated ON public.sessions;
    DROP TRIGGER IF EXISTS marea_sessions_deleted ON public.sessions;
    DROP TRIGGER IF EXISTS sessions_fold_into_progress ON public.sessions;
    -- The function before the trigger that calls it: "function" sorts first.
    FOR old IN SELECT definition FROM marea.replaced ORDER BY name LOOP
        EXECUTE old.definition;
    END LOOP;
END
$$;

DO $$
DECLARE
    relation TEXT;
    event    TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY['user_progress', 'export_history', 'user_api_keys'] LOOP
        FOREACH event IN ARRAY ARRAY['inserted', 'updated', 'deleted'] LOOP
            EXECUTE format('DROP TRIGGER IF EXISTS %I ON public.%I', 'marea_' || relation || '_' || event, relation);
        END LOOP;
    END LOOP;
END
$$;

DROP FUNCTION IF EXISTS public.marea_sync(JSONB);
SET LOCAL client_min_messages = warning; -- or it lists fifty things that go with the schema
DROP SCHEMA IF EXISTS marea CASCADE;

NOTIFY pgrst, 'reload schema';

COMMIT;
