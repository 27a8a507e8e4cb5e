-- Checks 004: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_004 ON COMMIT DROP AS
WITH checks (place, "check", expected, actual) AS (
    SELECT 1, 'table marea.clients, columns', 6, (
        SELECT count(*) FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('marea.clients') AND attnum > 0 AND NOT attisdropped)
    UNION ALL
    SELECT 2, 'row level security on it', 1, (
        SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('marea.clients') AND relrowsecurity)
    UNION ALL
    SELECT 3, 'foreign key to users that takes it along', 1, (
        SELECT count(*) FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('marea.clients') AND contype = 'f' AND confdeltype = 'c')
    UNION ALL
    SELECT 4, 'views', 3, (
        SELECT count(*) FROM pg_catalog.pg_class
        WHERE relkind = 'v' AND relnamespace = to_regnamespace('marea')
          AND relname IN ('health', 'largest_users', 'client_lag'))
    UNION ALL
    SELECT 5, 'views and tables of it that a learner may read', 0, (
        SELECT count(*) FROM unnest(ARRAY['health', 'largest_users', 'client_lag', 'clients']) AS name,
            unnest(ARRAY['anon', 'authenticated']) AS role
        WHERE to_regclass('marea.' || name) IS NOT NULL
          AND has_table_privilege(role, to_regclass('marea.' || name), 'SELECT'))
    UNION ALL
    SELECT 6, 'marea.note_client, as definer with a pinned search_path', 1, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('marea.note_client(uuid,integer,bigint)') AND prosecdef
          AND proconfig @> ARRAY['search_path=pg_catalog, pg_temp'])
    UNION ALL
    SELECT 7, 'roles other than authenticated that may execute it', 0, (
        SELECT count(*) FROM pg_catalog.pg_proc AS p, unnest(ARRAY['anon', 'service_role']) AS role
        WHERE p.oid = to_regprocedure('marea.note_client(uuid,integer,bigint)')
          AND has_function_privilege(role, p.oid, 'EXECUTE'))
    UNION ALL
    SELECT 8, 'rights that 004 gives', 4, (
        SELECT count(*) FROM unnest(ARRAY['health', 'largest_users', 'client_lag']) AS name
        WHERE has_table_privilege('service_role', to_regclass('marea.' || name), 'SELECT')) + (
        SELECT count(*) FROM pg_catalog.pg_proc AS p
        WHERE p.oid = to_regprocedure('marea.note_client(uuid,integer,bigint)')
          AND has_function_privilege('authenticated', p.oid, 'EXECUTE'))
    UNION ALL
    SELECT 9, 'marea_sync calls it', 1, (
        SELECT count(*) FROM pg_catalog.pg_proc
        WHERE oid = to_regprocedure('public.marea_sync(jsonb)') AND prosrc LIKE '%marea.note_client(%')
)
SELECT place, "check", expected, actual, CASE WHEN expected = actual THEN 'PASS' ELSE 'FAIL' END AS result
FROM checks;

SELECT "check", expected, actual, result FROM validation_004 ORDER BY place;

DO $$
DECLARE
    failed BIGINT;
BEGIN
    SELECT count(*) INTO failed FROM validation_004 WHERE result <> 'PASS';
    IF failed > 0 THEN
        RAISE EXCEPTION 'Marea 004: % checks failed', failed USING HINT = 'Run 004_operations.sql again.';
    END IF;
END
$$;

COMMIT;
