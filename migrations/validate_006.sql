-- Checks 006: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_006 ON COMMIT DROP AS
WITH functions AS (
    SELECT p.oid, p.proname, p.prosecdef, pg_get_functiondef(p.oid) AS text
    FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = to_regnamespace('marea') AND p.prokind = 'f'
), checks (place, "check", expected, actual) AS (
    SELECT 1, 'functions of it that a signed-in user may execute', 0, (
        SELECT count(*) FROM functions
        WHERE proname IN ('is_live_file', 'note_missing_rows', 'version_early_rows') AND has_function_privilege('authenticated', oid, 'EXECUTE'))
    UNION ALL
    SELECT 2, 'functions that the view of files to delete needs, for who reads it', 1, (
        SELECT count(*) FROM functions WHERE proname = 'is_live_file' AND has_function_privilege('service_role', oid, 'EXECUTE'))
    UNION ALL
    SELECT 3, 'triggers that give versions to rows whose owner comes later', 1, (
        SELECT count(*) FROM pg_catalog.pg_trigger
        WHERE tgrelid = to_regclass('public.users') AND tgname = 'marea_users_version_early_rows' AND tgenabled IN ('O', 'A'))
    UNION ALL
    SELECT 4, 'functions that let files of any sign-in service in', 1, (
        SELECT count(*) FROM functions WHERE proname = 'may_add_file' AND prosecdef)
    UNION ALL
    -- An earlier file that was run again has put its own back.
    SELECT 5, 'functions as 006 makes them', 5, (
        SELECT count(*) FROM functions
        WHERE proname = 'push' AND text LIKE '%has_schema_privilege(n.oid%' OR proname = 'insert_mirrored' AND text LIKE '%m.value OPERATOR%'
           OR proname = 'lock_mirrored' AND text LIKE '%marea.app_search_path()%' OR proname = 'forget_table' AND text LIKE '%marea.pending%'
           OR proname = 'note_file_garbage' AND text LIKE '%files to delete%10000%')
    UNION ALL
    SELECT 6, 'mirrored tables whose pages are not made as 006 makes them', 0, (
        SELECT count(*) FROM marea.tables AS t
        WHERE NOT marea.has_drifted(t.name) AND marea.relation_of(t) IS NOT NULL AND NOT EXISTS (
            SELECT FROM functions AS f
            WHERE f.proname = format('mirror_%s_page', t.id) AND f.text LIKE '%r.row_key COLLATE "default"%'))
)
SELECT place, "check", expected, actual, CASE WHEN expected = actual THEN 'PASS' ELSE 'FAIL' END AS result
FROM checks;

SELECT "check", expected, actual, result FROM validation_006 ORDER BY place;

DO $$
DECLARE
    failed BIGINT;
BEGIN
    SELECT count(*) INTO failed FROM validation_006 WHERE result <> 'PASS';
    IF failed > 0 THEN
        RAISE EXCEPTION 'Marea 006: % checks failed', failed USING HINT = 'Run 006_repairs.sql again.';
    END IF;
END
$$;

COMMIT;
