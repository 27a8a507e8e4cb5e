-- Makes room for Marea in an app that has tables of the same names already. Run before 001; in an app that has none of it,
-- it changes nothing. migrations/preflight.sql says what it will find.
--
--   tables      user_api_keys, user_progress and export_history that are not Marea's move to the schema marea_adopted, with
--               their rows, indexes, triggers and policies. 003 carries the rows over, learner by learner: totals, points,
--               streaks, achievements, exports, and their times. API keys stay there: only a device can seal them.
--   functions   of the names that 001 uses move along; the app's triggers go on using them
--   triggers    of the app that write progress are switched off, so that no session counts twice. Those on users stay: they
--               make rows for new learners.
--   texts       of other functions that name a table that moves are named, and so they are in marea.health until they are others
--
-- What the app counted for sessions that are here now is noted at the same moment, so that 003 can tell what the totals hold
-- beyond them. Let 001, 002 and 003 follow at once.
--
-- One transaction; run twice, it only takes what has come since. Taken back by adopt_rollback.sql, once 001 is taken back.

BEGIN;

DO $adopt$
DECLARE
    -- Column by column, as 001 makes them (and as preflight.sql compares them).
    made CONSTANT JSONB := jsonb_build_object(
        'user_api_keys', 'anthropic_api_key text, created_at timestamp with time zone, id uuid, last_validated_at timestamp with time '
            'zone, openai_api_key text, unsplash_api_key text, updated_at timestamp with time zone, user_id uuid',
        'user_progress', 'achievements jsonb, average_accuracy numeric, average_completion_time_seconds integer, created_at timestamp '
            'with time zone, current_streak_days integer, id uuid, last_active_on date, last_activity_at timestamp with time zone, '
            'last_description_at timestamp with time zone, last_qa_session_at timestamp with time zone, last_vocabulary_practice_at '
            'timestamp with time zone, learning_words_count integer, longest_streak_days integer, mastered_words_count integer, '
            'new_words_count integer, total_descriptions integer, total_images integer, total_points integer, '
            'total_questions_answered integer, total_questions_correct integer, total_sessions integer, total_time_spent_minutes '
            'integer, total_vocabulary_learned integer, updated_at timestamp with time zone, user_id uuid',
        'export_history', 'completed_at timestamp with time zone, created_at timestamp with time zone, data jsonb, error_message text, '
            'expires_at timestamp with time zone, export_format character varying, export_type character varying, file_size_bytes '
            'bigint, file_url text, filters jsonb, id uuid, processing_time_seconds integer, records_count integer, retry_count '
            'integer, started_at timestamp with time zone, status character varying, updated_at timestamp with time zone, user_id uuid');
    names  CONSTANT TEXT[] := ARRAY(SELECT jsonb_object_keys(made));
    tables TEXT[];
    found  RECORD;
    taken  INTEGER := 0;
BEGIN
    IF to_regclass('public.users') IS NULL OR to_regclass('public.sessions') IS NULL THEN
        RAISE EXCEPTION 'Marea cannot adopt this database; nothing was changed. Missing: tables public.users and public.sessions'
            USING HINT = 'migrations/preflight.sql lists everything that is missing.';
    END IF;
    -- Whoever completes a session waits: what is counted below and what the triggers have counted is of the same moment.
    LOCK TABLE public.sessions IN SHARE ROW EXCLUSIVE MODE;

    SELECT array_agg(c.relname) INTO tables
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (names) AND NOT (c.relkind IN ('r', 'p') AND made ->> c.relname = (
        SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attname COLLATE "C")
        FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped));

    CREATE TEMPORARY TABLE marea_found ON COMMIT DROP AS
    WITH RECURSIVE bodies AS MATERIALIZED (
        SELECT p.oid, p.proname, p.prorettype = 'trigger'::regtype AS is_trigger,
               regexp_replace(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid)), '--[^\n]*|/\*.*?\*/', ' ', 'g') AS body
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
        WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'marea', 'marea_adopted') AND n.nspname NOT LIKE 'pg\_%'
          AND NOT (n.nspname = 'public' AND p.proname = 'sessions_fold_into_progress' AND position('isfinite' IN p.prosrc) > 0)
    ), writers AS (
        SELECT b.oid, b.proname, b.is_trigger FROM bodies AS b
        WHERE b.body ~* '\m(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?("?public"?\s*\.\s*)?"?user_progress"?(?![a-z0-9_$])'
        UNION
        SELECT b.oid, b.proname, b.is_trigger FROM bodies AS b JOIN writers AS w ON w.oid <> b.oid AND NOT w.is_trigger
        WHERE b.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\(')
    )
    SELECT 'trigger' AS kind, n.nspname AS schema, c.relname AS relation, t.tgname AS name, t.tgenabled::text AS state
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.tgfoid IN (SELECT w.oid FROM writers AS w WHERE w.is_trigger) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
      AND n.nspname NOT IN ('marea', 'marea_adopted') AND c.relname <> 'users'
      -- What is on a table that moves goes with it.
      AND NOT (n.nspname = 'public' AND c.relname = ANY (coalesce(tables, '{}')))
    UNION ALL
    SELECT 'function', n.nspname, '', p.proname, pg_get_function_identity_arguments(p.oid)
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = 'public' AND p.pronargs = 0
      AND p.proname IN ('user_api_keys_set_updated_at', 'user_progress_set_updated_at', 'export_history_set_updated_at', 'sessions_fold_into_progress')
      AND NOT coalesce(p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp']
          AND (p.prosrc LIKE '%NEW.updated_at := now();%' OR p.prosrc LIKE '%isfinite%'), false)
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
           'public', '', c.relname, ''
    FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (tables)
    UNION ALL
    -- Whatever else names a table that moves, by its text of today: it has to be read again by somebody.
    SELECT 'text', n.nspname, pg_get_function_identity_arguments(p.oid), p.proname, md5(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid)))
    FROM bodies AS b JOIN pg_proc AS p ON p.oid = b.oid JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE b.oid NOT IN (SELECT w.oid FROM writers AS w) AND EXISTS (SELECT FROM unnest(tables) AS t (name) WHERE b.body ~* ('\m' || t.name || '\M'));

    IF NOT EXISTS (SELECT FROM marea_found) THEN
        RAISE NOTICE 'Nothing has to be adopted: this run changes nothing.';
        RETURN;
    END IF;

    CREATE SCHEMA IF NOT EXISTS marea_adopted;
    COMMENT ON SCHEMA marea_adopted IS 'What Marea found in its place: the app''s own tables, set aside. Not exposed through the API.';
    REVOKE ALL ON SCHEMA marea_adopted FROM PUBLIC;
    CREATE TABLE IF NOT EXISTS marea_adopted.taken (
        kind TEXT NOT NULL, schema TEXT NOT NULL, relation TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
        at TIMESTAMPTZ NOT NULL DEFAULT now(), PRIMARY KEY (kind, schema, relation, name)
    );
    COMMENT ON TABLE marea_adopted.taken IS 'What adopt.sql has moved or switched off, so that adopt_rollback.sql puts back exactly that.';
    COMMENT ON COLUMN marea_adopted.taken.kind IS 'table, view, function or trigger; text: a function that names one of these tables, and stays.';
    COMMENT ON COLUMN marea_adopted.taken.schema IS 'The schema that it was in.';
    COMMENT ON COLUMN marea_adopted.taken.relation IS 'Of a trigger: its table. Of a text: the arguments.';
    COMMENT ON COLUMN marea_adopted.taken.name IS 'Its name.';
    COMMENT ON COLUMN marea_adopted.taken.state IS 'Of a trigger: how it was enabled. Of a function: its arguments. Of a text: its MD5.';
    COMMENT ON COLUMN marea_adopted.taken.at IS 'When.';
    REVOKE ALL ON marea_adopted.taken FROM PUBLIC;
    ALTER TABLE marea_adopted.taken ENABLE ROW LEVEL SECURITY;

    IF 'user_progress' = ANY (tables) THEN
        CREATE TABLE marea_adopted.counted AS
        SELECT s.user_id, count(*) AS total_sessions, sum(greatest(s.duration_minutes, 0)) AS total_time_spent_minutes,
               sum(greatest(s.images_processed, 0)) AS total_images, sum(greatest(s.descriptions_generated, 0)) AS total_descriptions,
               sum(greatest(s.qa_attempts, 0)) AS total_questions_answered, sum(greatest(s.qa_correct, 0)) AS total_questions_correct,
               sum(greatest(s.vocabulary_learned, 0)) AS total_vocabulary_learned
        FROM public.sessions AS s WHERE s.user_id IS NOT NULL AND isfinite(s.ended_at)
        GROUP BY s.user_id;
        COMMENT ON TABLE marea_adopted.counted IS
            'What the completed sessions of each learner said when the app''s own counting ended: the rest of its totals is carried over.';
        ALTER TABLE marea_adopted.counted ADD PRIMARY KEY (user_id), ENABLE ROW LEVEL SECURITY;
        REVOKE ALL ON marea_adopted.counted FROM PUBLIC;
    END IF;

    FOR found IN SELECT * FROM marea_found ORDER BY kind, schema, relation, name LOOP
        IF found.kind = 'trigger' THEN
            EXECUTE format('ALTER TABLE %I.%I DISABLE TRIGGER %I', found.schema, found.relation, found.name);
            RAISE NOTICE 'trigger % on %.% wrote progress and is switched off', found.name, found.schema, found.relation;
        ELSIF found.kind = 'text' THEN
            RAISE NOTICE 'function %.%(%) names a table that is in marea_adopted now: read it again', found.schema, found.name, found.relation;
        ELSE
            EXECUTE format('ALTER %s %I.%I%s SET SCHEMA marea_adopted', found.kind, found.schema, found.name,
                CASE found.kind WHEN 'function' THEN '(' || found.state || ')' ELSE '' END);
            RAISE NOTICE '% %.% is now marea_adopted.%', found.kind, found.schema, found.name, found.name;
        END IF;
        INSERT INTO marea_adopted.taken (kind, schema, relation, name, state)
        VALUES (found.kind, found.schema, found.relation, found.name, found.state)
        ON CONFLICT (kind, schema, relation, name) DO UPDATE SET state = EXCLUDED.state, at = now();
        taken := taken + (found.kind <> 'text')::int;
    END LOOP;
    RAISE NOTICE '% taken. Run 001, 002 and 003 now: until then nothing counts what learners do.', taken;
END
$adopt$;

NOTIFY pgrst, 'reload schema';

COMMIT;
