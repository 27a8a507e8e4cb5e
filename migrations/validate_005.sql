-- Checks 005: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_005 ON COMMIT DROP AS
WITH functions (signature) AS (
    VALUES ('idle_answer(jsonb)'), ('page(uuid,bigint,integer,boolean)'), ('bucket_of(uuid)'), ('rolled_up_of(uuid[])'),
           ('count_events_once()'), ('fold(marea.fact[])'), ('fold_one(marea.fact)'), ('fold_many(marea.fact[])'),
           ('spare_rolled_up(jsonb,jsonb)'), ('roll_up_events(interval,integer)')
), made AS (
    SELECT p.oid, p.proname, p.prosecdef, p.proconfig
    FROM functions JOIN pg_catalog.pg_proc AS p ON p.oid = to_regprocedure('marea.' || signature)
), relations (name) AS (
    VALUES ('rolled_up'), ('rolling_up'), ('known_devices')
), checks (place, "check", expected, actual) AS (
    SELECT 1, 'tables with row level security', 2, (
        SELECT count(*) FROM pg_catalog.pg_class
        WHERE relnamespace = to_regnamespace('marea') AND relname IN ('rolled_up', 'rolling_up') AND relrowsecurity)
    UNION ALL
    SELECT 2, 'foreign key to users that takes the ids along', 1, (
        SELECT count(*) FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('marea.rolled_up') AND contype = 'f' AND confdeltype = 'c')
    UNION ALL
    SELECT 3, 'view of the devices that are known', 1, (
        SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('marea.known_devices') AND relkind = 'v')
    UNION ALL
    SELECT 4, 'tables and views of it that a client may read or write', 0, (
        SELECT count(*) FROM relations, unnest(ARRAY['anon', 'authenticated', 'service_role']) AS role
        WHERE to_regclass('marea.' || name) IS NOT NULL
          AND has_table_privilege(role, to_regclass('marea.' || name), 'SELECT, INSERT, UPDATE, DELETE'))
    UNION ALL
    SELECT 5, 'functions', 10, (SELECT count(*) FROM made)
    UNION ALL
    SELECT 6, 'those that run as their owner, with a pinned search_path', 7, (
        SELECT count(*) FROM made WHERE prosecdef AND proconfig @> ARRAY['search_path=pg_catalog, pg_temp'])
    UNION ALL
    SELECT 7, 'those that a signed-in user may execute', 4, (
        SELECT count(*) FROM made
        WHERE proname IN ('idle_answer', 'page', 'rolled_up_of', 'spare_rolled_up')
          AND has_function_privilege('authenticated', oid, 'EXECUTE'))
    UNION ALL
    SELECT 8, 'rights to execute one of them that nobody should have', 0, (
        SELECT count(*) FROM made, (VALUES
            ('anon', '{}'::text[]), ('service_role', '{roll_up_events}'),
            ('authenticated', '{idle_answer,page,rolled_up_of,spare_rolled_up}')) AS allowed (role, names)
        WHERE proname <> ALL (allowed.names) AND has_function_privilege(allowed.role, oid, 'EXECUTE'))
    UNION ALL
    SELECT 9, 'the job, for the backend''s role', 1, (
        SELECT count(*) FROM made
        WHERE proname = 'roll_up_events' AND has_function_privilege('service_role', oid, 'EXECUTE'))
    UNION ALL
    SELECT 10, 'marea_sync that makes use of it, for signed-in users alone', 1, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('public.marea_sync(jsonb)') AND prosrc LIKE '%marea.page(%'
          AND prosrc LIKE '%marea.spare_rolled_up(%' AND has_function_privilege('authenticated', oid, 'EXECUTE')
          AND NOT has_function_privilege('anon', oid, 'EXECUTE') AND NOT has_function_privilege('service_role', oid, 'EXECUTE'))
    UNION ALL
    SELECT 11, 'marea.fold_events that knows of the roll-up', 1, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('marea.fold_events()') AND prosrc LIKE '%marea.rolling_up%')
    UNION ALL
    SELECT 12, 'the trigger that counts an award once', 1, (
        SELECT count(*) FROM pg_catalog.pg_trigger
        WHERE tgrelid = to_regclass('marea.progress_events') AND tgname = 'events_counted_once' AND tgenabled IN ('O', 'A'))
    UNION ALL
    SELECT 13, 'roll-ups that did not end', 0, CASE WHEN to_regclass('marea.rolling_up') IS NULL THEN 1 ELSE (
        xpath('/row/open/text()', query_to_xml('SELECT count(*) AS open FROM marea.rolling_up', false, true,
            '')))[1]::text::bigint END
    UNION ALL
    SELECT 14, 'definitions kept for the rollback', 6, CASE WHEN to_regclass('marea.replaced') IS NULL THEN 0 ELSE (
        xpath('/row/kept/text()', query_to_xml('SELECT count(*) AS kept FROM marea.replaced WHERE name LIKE ''005 %''',
            false, true, '')))[1]::text::bigint END
)
SELECT place, "check", expected, actual, CASE WHEN expected = actual THEN 'PASS' ELSE 'FAIL' END AS result
FROM checks;

SELECT "check", expected, actual, result FROM validation_005 ORDER BY place;

DO $$
DECLARE
    failed BIGINT;
BEGIN
    SELECT count(*) INTO failed FROM validation_005 WHERE result <> 'PASS';
    IF failed > 0 THEN
        RAISE EXCEPTION 'Marea 005: % checks failed', failed USING HINT = 'Run 005_speed_and_rollup.sql again.';
    END IF;
END
$$;

COMMIT;
