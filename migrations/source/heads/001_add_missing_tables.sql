-- 001: the app's tables that Marea keeps in step with its devices.
--
-- Makes user_api_keys, user_progress and export_history (8, 25 and 18 columns) with row level security, and folds every
-- completed session into its learner's progress. Adds to sessions one trigger and nothing else.
-- Needs users, sessions, auth.uid() and the roles anon, authenticated, service_role; looks for them before it changes
-- anything. One transaction; run twice, the second run changes nothing. Taken back by 001_add_missing_tables_rollback.sql,
-- counted by validate_001.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
DECLARE
    missing TEXT;
BEGIN
    SELECT string_agg('  - ' || problem, E'\n' ORDER BY place, problem) INTO missing
    FROM (
        SELECT 1 AS place, format('role %s', name) AS problem
        FROM unnest(ARRAY['anon', 'authenticated', 'service_role']) AS name
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
        UNION ALL
        SELECT 2, 'function auth.uid() returning uuid (the id of the signed-in user)'
        WHERE NOT EXISTS (
            SELECT FROM pg_proc AS function JOIN pg_namespace AS schema ON schema.oid = function.pronamespace
            WHERE schema.nspname = 'auth' AND function.proname = 'uid' AND function.pronargs = 0
              AND function.prorettype = 'uuid'::regtype
        )
        UNION ALL
        SELECT 3, format('table public.%s', name)
        FROM unnest(ARRAY['users', 'sessions']) AS name
        WHERE to_regclass('public.' || name) IS NULL
        UNION ALL
        SELECT 4, format('column public.%s.%s of type %s', wanted.relation, wanted.name, wanted.type)
        FROM (VALUES
            ('users', 'id', 'uuid'),
            ('sessions', 'id', 'uuid'),
            ('sessions', 'user_id', 'uuid'),
            ('sessions', 'ended_at', 'timestamp with time zone'),
            ('sessions', 'duration_minutes', 'integer'),
            ('sessions', 'images_processed', 'integer'),
            ('sessions', 'descriptions_generated', 'integer'),
            ('sessions', 'qa_attempts', 'integer'),
            ('sessions', 'qa_correct', 'integer'),
            ('sessions', 'vocabulary_learned', 'integer'),
            ('sessions', 'session_data', 'jsonb')
        ) AS wanted (relation, name, type)
        WHERE to_regclass('public.' || wanted.relation) IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = to_regclass('public.' || wanted.relation) AND attname = wanted.name
              AND NOT attisdropped AND format_type(atttypid, NULL) = wanted.type
          )
        UNION ALL
        SELECT 5, 'a primary key or unique constraint on public.users (id)'
        WHERE to_regclass('public.users') IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = to_regclass('public.users') AND i.indisunique AND i.indnkeyatts = 1
              AND i.indpred IS NULL AND a.attname = 'id'
          )
        UNION ALL
        SELECT 6, format('public.%s is in the way: it exists, but not as this migration makes it (adopt.sql makes room)', standing.name)
        FROM (VALUES
            ('user_api_keys', 'anthropic_api_key text, created_at timestamp with time zone, id uuid, last_validated_at timestamp with time '
                'zone, openai_api_key text, unsplash_api_key text, updated_at timestamp with time zone, user_id uuid'),
            ('user_progress', 'achievements jsonb, average_accuracy numeric, average_completion_time_seconds integer, created_at timestamp '
                'with time zone, current_streak_days integer, id uuid, last_active_on date, last_activity_at timestamp with time zone, '
                'last_description_at timestamp with time zone, last_qa_session_at timestamp with time zone, last_vocabulary_practice_at '
                'timestamp with time zone, learning_words_count integer, longest_streak_days integer, mastered_words_count integer, '
                'new_words_count integer, total_descriptions integer, total_images integer, total_points integer, total_questions_answered '
                'integer, total_questions_correct integer, total_sessions integer, total_time_spent_minutes integer, '
                'total_vocabulary_learned integer, updated_at timestamp with time zone, user_id uuid'),
            ('export_history', 'completed_at timestamp with time zone, created_at timestamp with time zone, data jsonb, error_message text, '
                'expires_at timestamp with time zone, export_format character varying, export_type character varying, file_size_bytes '
                'bigint, file_url text, filters jsonb, id uuid, processing_time_seconds integer, records_count integer, retry_count integer, '
                'started_at timestamp with time zone, status character varying, updated_at timestamp with time zone, user_id uuid')
        ) AS standing (name, columns)
        WHERE to_regclass('public.' || standing.name) IS NOT NULL
          AND standing.columns IS DISTINCT FROM (
            SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attname COLLATE "C")
            FROM pg_attribute AS a
            WHERE a.attrelid = to_regclass('public.' || standing.name) AND a.attnum > 0 AND NOT a.attisdropped
          )
    ) AS problems;

    IF to_regclass('marea.replaced') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 001 cannot be applied; nothing was changed. This database has the migrations of before the first release'
            USING HINT = 'Run migrations/upgrade/from_before_release.sql instead.';
    END IF;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION E'Marea 001 cannot be applied; nothing was changed. Missing:\n%', missing
            USING HINT = 'docs/migrations/001-add-missing-tables.md says what each is for.';
    END IF;

    IF to_regclass('public.user_api_keys') IS NOT NULL AND to_regclass('public.user_progress') IS NOT NULL
       AND to_regclass('public.export_history') IS NOT NULL THEN
        RAISE NOTICE 'Marea 001 stands already: this run changes nothing.';
    END IF;
END
$$;
