-- Checks 005: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_005 ON COMMIT DROP AS
WITH functions AS (
    SELECT p.oid, p.proname, pg_get_functiondef(p.oid) AS text
    FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = to_regnamespace('marea') AND p.prokind = 'f'
), added AS (
    SELECT oid FROM functions WHERE proname IN ('settle_clocks', 'note_stamps', 'correction_problem')
), checks (place, "check", expected, actual) AS (
    SELECT 1, 'columns that bring clocks together with versions', 2, (
        SELECT count(*) FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('marea.pending') AND attname IN ('clocks', 'stamps') AND NOT attisdropped)
    UNION ALL
    SELECT 2, 'functions of it that a signed-in user needs', 3, (
        SELECT count(*) FROM added WHERE has_function_privilege('authenticated', oid, 'EXECUTE'))
    UNION ALL
    SELECT 3, 'functions of it that others may execute', 0, (
        SELECT count(*) FROM added, unnest(ARRAY['anon', 'service_role']) AS role
        WHERE has_function_privilege(role, oid, 'EXECUTE'))
    UNION ALL
    -- An earlier file that was run again has put its own back.
    SELECT 4, 'functions that write the clocks first that were to come with the versions', 3, (
        SELECT count(*) FROM functions
        WHERE proname IN ('with_lines', 'assign_server_hlc', 'note_changes') AND text LIKE '%marea.settle_clocks()%')
    UNION ALL
    SELECT 5, 'functions that note clocks by the row', 2, (
        SELECT count(*) FROM functions WHERE proname IN ('insert_mirrored', 'merge_mirrored') AND text LIKE '%marea.note_stamps(%')
    UNION ALL
    SELECT 6, 'functions that give clocks together with versions', 1, (
        SELECT count(*) FROM functions WHERE proname = 'assign_versions' AND text LIKE '%t.clocks, k.stamp%')
    UNION ALL
    SELECT 7, 'functions that hold corrections of sessions to their bounds', 2, (
        SELECT count(*) FROM functions
        WHERE proname IN ('mirrored_problem', 'apply_mirrored') AND text LIKE '%marea.correction_problem(%')
    UNION ALL
    SELECT 8, 'pages that say how many facts lie on a day', 1, (
        SELECT count(*) FROM functions WHERE proname = 'page' AND text LIKE '%t.facts%')
    UNION ALL
    SELECT 9, 'mirrored tables whose pages are not made as 005 makes them', 0, (
        SELECT count(*) FROM marea.tables AS t
        WHERE NOT marea.has_drifted(t.name) AND marea.relation_of(t) IS NOT NULL AND NOT EXISTS (
            SELECT FROM functions AS f
            WHERE f.proname = format('mirror_%s_weights', t.id) AND f.text LIKE '%pg_column_compression(s.hlc)%'))
    UNION ALL
    SELECT 10, 'functions of a push and of a page that do only what there is to do', 3, (
        SELECT count(*) FROM functions
        WHERE proname = 'insert_sessions' AND text LIKE '%IF is_usual%' OR proname = 'page' AND text LIKE '%IF found & 2%'
           OR proname = 'fold_many' AND text LIKE '%frozen.any_day%')
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
        RAISE EXCEPTION 'Marea 005: % checks failed', failed USING HINT = 'Run 005_corrections.sql again.';
    END IF;
END
$$;

COMMIT;
