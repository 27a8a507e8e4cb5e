-- Checks 004: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_004 ON COMMIT DROP AS
WITH jobs AS (
    SELECT p.oid, p.prosecdef, p.proconfig FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = to_regnamespace('marea') AND p.proname IN ('prune_tombstones', 'expire_exports', 'refresh_streaks')
), checks (place, "check", expected, actual) AS (
    SELECT 1, 'views', 3, (
        SELECT count(*) FROM pg_catalog.pg_class
        WHERE relkind = 'v' AND relnamespace = to_regnamespace('marea')
          AND relname IN ('health', 'largest_users', 'client_lag'))
    UNION ALL
    SELECT 2, 'views of it that a learner may read', 0, (
        SELECT count(*) FROM unnest(ARRAY['health', 'largest_users', 'client_lag']) AS name,
            unnest(ARRAY['anon', 'authenticated']) AS role
        WHERE to_regclass('marea.' || name) IS NOT NULL
          AND has_table_privilege(role, to_regclass('marea.' || name), 'SELECT'))
    UNION ALL
    SELECT 3, 'views of it that the backend''s role may read', 3, (
        SELECT count(*) FROM unnest(ARRAY['health', 'largest_users', 'client_lag']) AS name
        WHERE has_table_privilege('service_role', to_regclass('marea.' || name), 'SELECT'))
    UNION ALL
    SELECT 4, 'jobs, as definer with a pinned search_path', 3, (
        SELECT count(*) FROM jobs WHERE prosecdef AND proconfig @> ARRAY['search_path=pg_catalog, pg_temp'])
    UNION ALL
    SELECT 5, 'jobs that the backend''s role may execute', 3, (
        SELECT count(*) FROM jobs WHERE has_function_privilege('service_role', oid, 'EXECUTE'))
    UNION ALL
    SELECT 6, 'jobs that a learner may execute', 0, (
        SELECT count(*) FROM jobs, unnest(ARRAY['anon', 'authenticated']) AS role
        WHERE has_function_privilege(role, oid, 'EXECUTE'))
    UNION ALL
    SELECT 7, 'index of the tombstones', 1, (
        SELECT count(*) FROM pg_catalog.pg_index WHERE indexrelid = to_regclass('marea.rows_tombstones_idx') AND indisvalid)
    UNION ALL
    SELECT 8, 'triggers that note files to delete', 2, (
        SELECT count(*) FROM pg_catalog.pg_trigger
        WHERE tgrelid = to_regclass('public.export_history') AND tgname IN ('export_history_files_update', 'export_history_files_delete')
          AND tgenabled <> 'D')
    UNION ALL
    SELECT 9, 'jobs for files that the backend''s role may execute', 3, (
        SELECT count(*) FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = to_regnamespace('marea') AND p.proname IN ('sweep_files', 'note_orphan_files', 'files_deleted')
          AND p.prosecdef AND has_function_privilege('service_role', p.oid, 'EXECUTE')
          AND NOT has_function_privilege('authenticated', p.oid, 'EXECUTE'))
    UNION ALL
    SELECT 10, 'policies of the bucket, where there is storage',
        CASE WHEN to_regclass('storage.objects') IS NULL THEN 0 ELSE 3 END, (
        SELECT count(*) FROM pg_catalog.pg_policy
        WHERE polrelid = to_regclass('storage.objects')
          AND polname IN ('marea_exports_select', 'marea_exports_insert', 'marea_exports_delete'))
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
