-- Checks 008: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_008 ON COMMIT DROP AS
WITH checks (place, "check", expected, actual) AS (
    SELECT 1, 'functions of migration 007, which 008 builds on', 1::bigint, (
        SELECT count(*) FROM pg_catalog.pg_proc WHERE oid = to_regprocedure('marea.page(uuid, bigint, integer, boolean)'))
    UNION ALL
    SELECT 2, 'marea_sync that bounds pages by bytes', 1, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('public.marea_sync(jsonb)') AND prosrc LIKE '%marea.rows_within(%' AND NOT prosecdef)
    UNION ALL
    SELECT 3, 'its measure, for signed-in users alone', 1, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('marea.rows_within(uuid, bigint, integer, integer)') AND NOT prosecdef
          AND has_function_privilege('authenticated', oid, 'EXECUTE') AND NOT has_function_privilege('anon', oid, 'EXECUTE'))
    UNION ALL
    SELECT 40, 'constraints that let envelopes of both formats in, validated', 3, (
        SELECT count(*) FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('public.user_api_keys') AND contype = 'c' AND convalidated
          AND conname = ANY (ARRAY['user_api_keys_openai_envelope', 'user_api_keys_unsplash_envelope', 'user_api_keys_anthropic_envelope'])
          AND pg_get_constraintdef(oid) LIKE '%^marea1%' AND pg_get_constraintdef(oid) LIKE '%^marea2%')
    UNION ALL
    SELECT 10, 'columns that devices write and that have bounds', 43, (SELECT count(*) FROM marea.column_limits())
    UNION ALL
    SELECT 11, 'values out of bounds that are refused', 4, (
        SELECT count(*) FROM (VALUES
            (marea.session_problem('{"qa_correct": 99, "qa_attempts": 10}')),
            (marea.session_problem('{"ended_at": "1969-12-31T23:50:00.000000Z"}')),
            (marea.event_problem('{"occurred_at": "2026-01-01T00:00:00.000000Z", "local_date": "2026-01-01"}')),
            (marea.register_problem('export_history', '{"retry_count": -1}'))
        ) AS problems (problem) WHERE problem IS NOT NULL)
    UNION ALL
    SELECT 20, 'functions that look at the days which lie ahead', 4, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE pronamespace = 'marea'::regnamespace AND proname IN ('fold_one', 'fold_many', 'refold', 'refresh_streaks')
          AND position('marea.tomorrow()' IN prosrc) > 0)
    UNION ALL
    SELECT 21, 'streaks that end after tomorrow', 0, (
        SELECT count(*) FROM public.user_progress WHERE last_active_on > (now() AT TIME ZONE 'UTC')::date + 1)
    UNION ALL
    SELECT 22, 'functions that leave a refusal to the mutation that it is about', 2, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('marea.push(jsonb, text)') AND position('assert_failure OR OTHERS' IN prosrc) > 0
           OR oid = to_regprocedure('marea.insert_sessions(jsonb)') AND position('marea.refuse_left_out' IN prosrc) > 0)
    UNION ALL
    SELECT 23, 'functions of 008 that anybody may call', 0, (
        SELECT count(*) FROM pg_catalog.pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS granted
        WHERE p.pronamespace = 'marea'::regnamespace AND granted.grantee = 0 AND p.proname IN (
            'tomorrow', 'refresh_streaks', 'app_search_path', 'triggers_before', 'insert_sessions_sql', 'refuse_left_out',
            'push_nothing', 'check_deferred', 'is_of_server'))
)
SELECT place, "check", expected, actual, CASE WHEN expected = actual THEN 'PASS' ELSE 'FAIL' END AS result
FROM checks;

SELECT "check", expected, actual, result FROM validation_008 ORDER BY place;

DO $$
DECLARE
    failed BIGINT;
BEGIN
    SELECT count(*) INTO failed FROM validation_008 WHERE result <> 'PASS';
    IF failed > 0 THEN
        RAISE EXCEPTION 'Marea 008: % checks failed', failed USING HINT = 'Run 008_sturdy.sql again.';
    END IF;
END
$$;

COMMIT;
