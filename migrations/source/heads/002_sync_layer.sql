-- 002: the sync layer, schema marea and the one function that clients call, public.marea_sync.
--
-- Adds nothing to the app's tables but triggers. How it works:
--   state, facts      clocks (one counter per user), rows (one line per synced row), progress_events, daily_activity, pending
--   fold              completed sessions and events -> daily_activity and user_progress, a whole statement at once
--   tracking          statement triggers note which rows changed; at commit each gets its user's next version
--   push, page        what marea_sync does, under the caller's own row level security
--
-- Needs 001. One transaction; run twice, the second run changes nothing. Taken back by 002_sync_layer_rollback.sql,
-- counted by validate_002.sql.
--
-- search_path is pinned to pg_catalog with pg_temp behind it, never left empty: with an empty one, pg_temp comes first
-- for the names of types, and a caller's temporary domain called "text" would be taken for the real one.

BEGIN;

-- What must be here before anything is changed.
DO $$
DECLARE
    missing TEXT;
BEGIN
    SELECT string_agg('  - ' || problem, E'\n' ORDER BY problem) INTO missing
    FROM (
        SELECT format('table public.%s (migration 001)', name) AS problem
        FROM unnest(ARRAY['users', 'sessions', 'user_api_keys', 'user_progress', 'export_history']) AS name
        WHERE to_regclass('public.' || name) IS NULL
        UNION ALL
        SELECT 'trigger sessions_fold_into_progress on public.sessions (migration 001)'
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger
            WHERE tgrelid = to_regclass('public.sessions') AND tgname = 'sessions_fold_into_progress'
        )
        UNION ALL
        SELECT format('column public.sessions.%s', name)
        FROM unnest(ARRAY['session_type', 'started_at', 'phrases_saved']) AS name
        WHERE to_regclass('public.sessions') IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = to_regclass('public.sessions') AND attname = name AND NOT attisdropped
          )
        UNION ALL
        SELECT 'a primary key or unique constraint on public.sessions (id)'
        WHERE to_regclass('public.sessions') IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = to_regclass('public.sessions') AND i.indisunique AND i.indnkeyatts = 1
              AND i.indpred IS NULL AND a.attname = 'id'
          )
    ) AS problems;

    IF to_regclass('marea.replaced') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 002 cannot be applied; nothing was changed. This database has the migrations of before the first release'
            USING HINT = 'Run migrations/upgrade/from_before_release.sql instead.';
    END IF;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION E'Marea 002 cannot be applied; nothing was changed. Missing:\n%', missing
            USING HINT = 'Apply 001_add_missing_tables.sql first.';
    END IF;

    IF to_regprocedure('public.marea_sync(jsonb)') IS NOT NULL THEN
        RAISE NOTICE 'Marea 002 stands already: this run changes nothing.';
    END IF;
END
$$;
