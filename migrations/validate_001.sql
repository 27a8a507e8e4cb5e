-- Checks 001: fourteen rows "check | expected | actual | status". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. NOT TRIED, with its reason, is no failure: the app's own rules stood in the way.
-- Changes nothing: what the last check tries out is undone at once.

BEGIN;

CREATE TEMPORARY TABLE validation_001 (
    place    INTEGER,
    "check"  TEXT,
    expected TEXT,
    actual   TEXT,
    passed   BOOLEAN
) ON COMMIT DROP;

-- ---------------------------------------------------------------------------------------------------------------------
-- Counted from the catalogues
-- ---------------------------------------------------------------------------------------------------------------------

WITH tables (relation) AS (
    VALUES ('user_api_keys'), ('user_progress'), ('export_history')
), wanted_policies (relation, name, command, role) AS (VALUES
    ('user_api_keys', 'user_api_keys_select_own', 'r', 'authenticated'),
    ('user_api_keys', 'user_api_keys_insert_own', 'a', 'authenticated'),
    ('user_api_keys', 'user_api_keys_update_own', 'w', 'authenticated'),
    ('user_api_keys', 'user_api_keys_delete_own', 'd', 'authenticated'),
    ('user_progress', 'user_progress_select_own', 'r', 'authenticated'),
    ('user_progress', 'user_progress_insert_own', 'a', 'authenticated'),
    ('user_progress', 'user_progress_update_own', 'w', 'authenticated'),
    ('user_progress', 'user_progress_service', '*', 'service_role'),
    ('export_history', 'export_history_select_own', 'r', 'authenticated'),
    ('export_history', 'export_history_insert_own', 'a', 'authenticated'),
    ('export_history', 'export_history_update_own', 'w', 'authenticated'),
    ('export_history', 'export_history_service', '*', 'service_role')
), of_the_app AS (
    -- A policy of the app's own opens something where it lets an API role write, read sealed keys, or read whosever rows. One that
    -- narrows, belongs to another role, or asks who reads (an admin) is the app's affair, and is named.
    SELECT format('%I on %s', p.polname, t.relation) AS name,
           p.polpermissive AND (0 = ANY (p.polroles) OR EXISTS (
               SELECT FROM pg_roles AS r WHERE r.oid = ANY (p.polroles) AND r.rolname IN ('anon', 'authenticated')))
           AND (p.polcmd <> 'r' OR t.relation = 'user_api_keys' OR pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM 'true') AS opens
    FROM pg_policy AS p JOIN tables AS t ON p.polrelid = to_regclass('public.' || t.relation)
    WHERE NOT EXISTS (SELECT FROM wanted_policies AS w WHERE w.relation = t.relation AND w.name = p.polname)
), found AS (
    SELECT 1 AS place, 'tables' AS "check", 3 AS expected,
           (SELECT count(*) FROM tables WHERE to_regclass('public.' || relation) IS NOT NULL) AS actual, 0 AS strange
    UNION ALL
    SELECT 2, 'row level security', 3, (
        SELECT count(*) FROM tables JOIN pg_class ON pg_class.oid = to_regclass('public.' || relation)
        WHERE pg_class.relrowsecurity), 0
    UNION ALL
    SELECT 3, 'policies', 12, (
        SELECT count(*)
        FROM wanted_policies
        JOIN pg_policy AS p ON p.polrelid = to_regclass('public.' || relation) AND p.polname = name
            AND p.polcmd::text = command AND p.polpermissive
            AND p.polroles = ARRAY[(SELECT oid FROM pg_roles WHERE rolname = role)]
        -- An own-row policy asks for the owner in whatever it lets through.
        WHERE role = 'service_role'
           OR (coalesce(pg_get_expr(p.polqual, p.polrelid), 'user_id = auth.uid()') ~ 'user_id = .*auth\.uid\(\)'
               AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'user_id = auth.uid()') ~ 'user_id = .*auth\.uid\(\)')
    ), (
        -- One policy more can open everything: policies add up.
        SELECT count(*) FROM of_the_app WHERE opens)
    UNION ALL
    SELECT 4, 'secondary indexes', 7, (
        SELECT count(*)
        FROM (VALUES
            ('user_api_keys', 'user_id', true, false),
            ('user_progress', 'user_id', true, false),
            ('user_progress', 'last_activity_at', false, true),
            ('export_history', 'user_id', false, false),
            ('export_history', 'status', false, false),
            ('export_history', 'created_at', false, true),
            ('export_history', 'export_type', false, false)
        ) AS wanted (relation, name, is_unique, is_descending)
        WHERE EXISTS (
            SELECT FROM pg_index AS i
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = to_regclass('public.' || relation) AND NOT i.indisprimary AND i.indisvalid
              AND i.indnatts = 1 AND a.attname = name AND i.indisunique = is_unique
              AND (i.indoption[0] & 1 = 1) = is_descending)
    ), 0
    UNION ALL
    SELECT 5, 'triggers', 4, (
        SELECT count(*)
        FROM (VALUES
            ('user_api_keys', 'user_api_keys_set_updated_at'), ('user_progress', 'user_progress_set_updated_at'),
            ('export_history', 'export_history_set_updated_at'), ('sessions', 'sessions_fold_into_progress')
        ) AS wanted (relation, name)
        JOIN pg_trigger AS t ON t.tgrelid = to_regclass('public.' || relation) AND t.tgname = name
            AND t.tgenabled IN ('O', 'A') AND t.tgfoid = to_regprocedure(format('public.%s()', name))
    ), 0
    UNION ALL
    SELECT 6, 'functions', 4, (
        SELECT count(*)
        FROM (VALUES
            ('user_api_keys_set_updated_at', false), ('user_progress_set_updated_at', false),
            ('export_history_set_updated_at', false), ('sessions_fold_into_progress', true)
        ) AS wanted (name, as_owner)
        JOIN pg_proc AS p ON p.oid = to_regprocedure(format('public.%s()', name)) AND p.prorettype = 'trigger'::regtype
            AND p.prosecdef = as_owner AND array_to_string(p.proconfig, ',') LIKE '%search_path=%'
            AND NOT EXISTS (
                SELECT FROM pg_roles AS r
                WHERE r.rolname IN ('anon', 'authenticated') AND has_function_privilege(r.oid, p.oid, 'EXECUTE'))
    ), 0
    UNION ALL
    SELECT 7, 'foreign keys, ON DELETE CASCADE', 3, (
        SELECT count(*) FROM tables JOIN pg_constraint AS c ON c.conrelid = to_regclass('public.' || relation)
        WHERE c.contype = 'f' AND c.confrelid = to_regclass('public.users') AND c.confdeltype = 'c' AND c.convalidated
    ), 0
    UNION ALL
    SELECT 8, 'unique constraints', 2, (
        SELECT count(*) FROM tables
        JOIN pg_constraint AS c ON c.conrelid = to_regclass('public.' || relation)
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
        WHERE c.contype = 'u' AND a.attname = 'user_id'
    ), 0
    UNION ALL
    SELECT 12, 'constraints that let only envelopes in, validated', 3, (
        SELECT count(*) FROM pg_constraint AS c
        WHERE c.conrelid = to_regclass('public.user_api_keys') AND c.contype = 'c' AND c.convalidated
          AND c.conname IN ('user_api_keys_openai_envelope', 'user_api_keys_unsplash_envelope', 'user_api_keys_anthropic_envelope')
          AND pg_get_constraintdef(c.oid) LIKE '%^marea1%' AND pg_get_constraintdef(c.oid) LIKE '%^marea2%'), 0
    UNION ALL
    SELECT 13, 'rights on sealed keys of roles other than authenticated', 0, (
        SELECT count(*)
        FROM unnest(ARRAY['anon', 'service_role']) AS role, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS kind
        WHERE has_table_privilege(role, to_regclass('public.user_api_keys'), kind)), 0
    UNION ALL
    SELECT 14, 'columns that a learner may change (registers)', 15, (
        SELECT count(*) FROM tables JOIN pg_attribute AS a ON a.attrelid = to_regclass('public.' || relation)
        WHERE a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege('authenticated', a.attrelid, a.attnum, 'UPDATE')), (
        SELECT count(*) FROM pg_attribute AS a
        WHERE a.attrelid = to_regclass('public.user_progress') AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'user_id'
          AND (has_column_privilege('authenticated', a.attrelid, a.attnum, 'INSERT')
               OR has_column_privilege('authenticated', a.attrelid, a.attnum, 'UPDATE')))
)
INSERT INTO validation_001
SELECT place, "check", expected, CASE WHEN strange > 0 THEN format('%s and %s unknown', actual, strange) ELSE actual::text END
           || CASE WHEN place = 3 THEN coalesce((
               SELECT '; of the app: ' || string_agg(a.name || CASE WHEN a.opens THEN ' (opens)' ELSE '' END, ', ' ORDER BY a.name)
               FROM of_the_app AS a), '') ELSE '' END,
       actual = expected AND strange <= 0
FROM found;

-- ---------------------------------------------------------------------------------------------------------------------
-- Initial data. A table that is missing must not stop the other checks.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    absent BIGINT;
BEGIN
    IF to_regclass('public.user_progress') IS NOT NULL AND to_regclass('public.users') IS NOT NULL THEN
        SELECT count(*) INTO absent FROM public.users AS u
        WHERE NOT EXISTS (SELECT FROM public.user_progress AS p WHERE p.user_id = u.id)
          AND EXISTS (SELECT FROM public.sessions AS s WHERE s.user_id = u.id AND isfinite(s.ended_at));
    END IF;
    -- Who has completed nothing yet needs no row.
    INSERT INTO validation_001
    VALUES (9, 'learners with completed sessions and no progress row', '0', coalesce(absent::text, 'no table'), coalesce(absent = 0, false));
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Columns and their types
-- ---------------------------------------------------------------------------------------------------------------------

WITH wanted (relation, name, type) AS (
    SELECT 'user_api_keys', unnest(ARRAY['id', 'user_id']), 'uuid'
    UNION ALL SELECT 'user_api_keys', unnest(ARRAY['openai_api_key', 'unsplash_api_key', 'anthropic_api_key']), 'text'
    UNION ALL SELECT 'user_api_keys', unnest(ARRAY['last_validated_at', 'created_at', 'updated_at']), 'timestamp with time zone'
    UNION ALL SELECT 'user_progress', unnest(ARRAY['id', 'user_id']), 'uuid'
    UNION ALL SELECT 'user_progress', unnest(ARRAY['total_descriptions', 'total_images', 'total_questions_answered',
        'total_questions_correct', 'total_vocabulary_learned', 'total_sessions', 'total_time_spent_minutes',
        'current_streak_days', 'longest_streak_days', 'total_points', 'average_completion_time_seconds',
        'mastered_words_count', 'learning_words_count', 'new_words_count']), 'integer'
    UNION ALL SELECT 'user_progress', 'average_accuracy', 'numeric(5,2)'
    UNION ALL SELECT 'user_progress', 'achievements', 'jsonb'
    UNION ALL SELECT 'user_progress', unnest(ARRAY['last_activity_at', 'last_description_at', 'last_qa_session_at',
        'last_vocabulary_practice_at', 'created_at', 'updated_at']), 'timestamp with time zone'
    UNION ALL SELECT 'user_progress', 'last_active_on', 'date'
    UNION ALL SELECT 'export_history', unnest(ARRAY['id', 'user_id']), 'uuid'
    UNION ALL SELECT 'export_history', 'export_type', 'character varying(50)'
    UNION ALL SELECT 'export_history', unnest(ARRAY['export_format', 'status']), 'character varying(20)'
    UNION ALL SELECT 'export_history', unnest(ARRAY['records_count', 'retry_count', 'processing_time_seconds']), 'integer'
    UNION ALL SELECT 'export_history', 'file_size_bytes', 'bigint'
    UNION ALL SELECT 'export_history', unnest(ARRAY['file_url', 'error_message']), 'text'
    UNION ALL SELECT 'export_history', unnest(ARRAY['filters', 'data']), 'jsonb'
    UNION ALL SELECT 'export_history', unnest(ARRAY['started_at', 'completed_at', 'expires_at', 'created_at', 'updated_at']),
        'timestamp with time zone'
)
INSERT INTO validation_001
SELECT 10, 'columns with their types', count(*), count(a.attname), count(*) = count(a.attname)
FROM wanted
LEFT JOIN pg_attribute AS a ON a.attrelid = to_regclass('public.' || relation) AND a.attname = name AND NOT a.attisdropped
    AND format_type(a.atttypid, a.atttypmod) = type;

-- ---------------------------------------------------------------------------------------------------------------------
-- The functions at work: each trigger fires once, on a learner made for it, and everything is undone. Where the app's own
-- rules do not let such a row in, that is said, and is no failure.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    learner  UUID;
    template JSONB;
    working  INTEGER := 0;
    before   BIGINT;
    problem  TEXT;
    place    TEXT;
    untried  TEXT;
BEGIN
    BEGIN
        BEGIN
            INSERT INTO public.users (id) VALUES (gen_random_uuid()) RETURNING id INTO learner;
        EXCEPTION WHEN OTHERS THEN
            -- This app's users need more than an id: borrow one.
            SELECT u.id INTO learner FROM public.users AS u ORDER BY u.id LIMIT 1;
        END;
        IF learner IS NULL THEN
            untried := 'there is no user to try them on';
            RAISE EXCEPTION 'undo' USING ERRCODE = 'MV000';
        END IF;

        INSERT INTO public.user_api_keys (user_id) VALUES (learner) ON CONFLICT (user_id) DO NOTHING;
        UPDATE public.user_api_keys SET updated_at = 'epoch' WHERE user_id = learner;
        working := working + (SELECT count(*) FROM public.user_api_keys WHERE user_id = learner AND updated_at = now());

        INSERT INTO public.user_progress (user_id) VALUES (learner) ON CONFLICT (user_id) DO NOTHING;
        UPDATE public.user_progress SET updated_at = 'epoch' WHERE user_id = learner;
        working := working + (SELECT count(*) FROM public.user_progress WHERE user_id = learner AND updated_at = now());

        INSERT INTO public.export_history (user_id, export_type, export_format) VALUES (learner, 'validation', 'none');
        UPDATE public.export_history SET updated_at = 'epoch' WHERE user_id = learner AND export_type = 'validation';
        working := working + (SELECT count(*) FROM public.export_history
            WHERE user_id = learner AND export_type = 'validation' AND updated_at = now());

        SELECT coalesce(sum(total_sessions), 0) INTO before FROM public.user_progress WHERE user_id = learner;
        BEGIN
            -- Like one that the app has let in, if there is one.
            SELECT to_jsonb(s) INTO template FROM public.sessions AS s ORDER BY s.ended_at IS NULL, s.id LIMIT 1;
            IF template IS NULL THEN
                INSERT INTO public.sessions (id, user_id, started_at, ended_at) VALUES (gen_random_uuid(), learner, now(), now());
            ELSE
                -- Columns that are generated cannot be given.
                EXECUTE format('INSERT INTO public.sessions (%1$s) SELECT %1$s FROM jsonb_populate_record(NULL::public.sessions, $1)', (
                    SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                    WHERE attrelid = 'public.sessions'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''))
                USING template || jsonb_build_object('id', gen_random_uuid(), 'user_id', learner, 'started_at', now(), 'ended_at', now());
            END IF;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, place = PG_EXCEPTION_CONTEXT;
            -- What Marea's own functions cannot do is their fault, and everything else the app's rule.
            IF place !~ 'function (marea[.]|(public[.])?sessions_fold_into_progress)' THEN
                untried := 'the app''s sessions do not take one: ' || problem;
                RAISE EXCEPTION 'undo' USING ERRCODE = 'MV000';
            END IF;
            RAISE;
        END;
        working := working + (SELECT count(*) FROM public.user_progress
            WHERE user_id = learner AND total_sessions = before + 1);
        problem := NULL;

        RAISE EXCEPTION 'undo' USING ERRCODE = 'MV000';
    EXCEPTION
        WHEN SQLSTATE 'MV000' THEN NULL;
        WHEN OTHERS THEN problem := SQLERRM;
    END;
    INSERT INTO validation_001 VALUES (11, 'functions that work when fired', '4',
        CASE WHEN untried IS NOT NULL THEN format('not tried, because %s', untried) ELSE working || coalesce(': ' || problem, '') END,
        -- The three before the session have worked, or it never came so far.
        CASE WHEN untried IS NOT NULL AND working IN (0, 3) THEN NULL ELSE working = 4 AND problem IS NULL END);
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The answer
-- ---------------------------------------------------------------------------------------------------------------------

SELECT "check", expected, actual, CASE WHEN passed THEN 'PASS' WHEN passed IS NULL THEN 'NOT TRIED' ELSE 'FAIL' END AS status
FROM validation_001 ORDER BY place;

DO $$
DECLARE
    failed TEXT;
BEGIN
    SELECT string_agg("check", ', ' ORDER BY place) INTO failed FROM validation_001 WHERE NOT passed;
    IF failed IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 001 is not whole: %', failed
            USING HINT = 'Run 001_add_missing_tables.sql again: it makes what is missing.';
    END IF;
END
$$;

COMMIT;
