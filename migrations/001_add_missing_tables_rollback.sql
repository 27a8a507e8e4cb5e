-- Takes back 001: removes exactly what it made and leaves users and sessions as they were. The rows of the three tables
-- go with them, so back them up first. Refuses while the sync layer (002), which stands on 001, is here.

BEGIN;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'marea') THEN
        RAISE EXCEPTION 'Marea 002 stands on 001; nothing was changed'
            USING HINT = 'Run 002_sync_layer_rollback.sql first.';
    END IF;
END
$$;

DO $$
BEGIN
    IF to_regclass('public.sessions') IS NOT NULL THEN
        DROP TRIGGER IF EXISTS sessions_fold_into_progress ON public.sessions;
    END IF;
END
$$;

DROP TABLE IF EXISTS public.export_history;
DROP TABLE IF EXISTS public.user_progress;
DROP TABLE IF EXISTS public.user_api_keys;

DROP FUNCTION IF EXISTS public.sessions_fold_into_progress();
DROP FUNCTION IF EXISTS public.export_history_set_updated_at();
DROP FUNCTION IF EXISTS public.user_progress_set_updated_at();
DROP FUNCTION IF EXISTS public.user_api_keys_set_updated_at();

NOTIFY pgrst, 'reload schema';

COMMIT;
