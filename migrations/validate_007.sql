-- Checks 007: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_007 ON COMMIT DROP AS
WITH page AS (
    SELECT prosrc AS body, proconfig AS settings FROM pg_catalog.pg_proc WHERE oid = to_regprocedure('marea.page(uuid, bigint, integer, boolean)')
), checks (place, "check", expected, actual) AS (
    SELECT 1, 'comparisons with names of tables that no index serves', 4, (
        SELECT (length(body) - length(replace(body, 'AND (r.table_name || '''') ', ''))) / length('AND (r.table_name || '''') ')
        FROM page)::bigint
    UNION ALL
    SELECT 2, 'comparisons that one would serve', 0, (
        SELECT count(*) FROM page, regexp_matches(body, 'AND r\.table_name (IN|=)', 'g'))
    UNION ALL
    SELECT 3, 'settings that keep it from sorting all that a user has', 2, (
        SELECT count(*) FROM page, unnest(settings) AS setting WHERE setting IN ('enable_sort=off', 'enable_bitmapscan=off'))
)
SELECT place, "check", expected, actual, CASE WHEN expected = actual THEN 'PASS' ELSE 'FAIL' END AS result
FROM checks;

SELECT "check", expected, actual, result FROM validation_007 ORDER BY place;

DO $$
DECLARE
    failed BIGINT;
BEGIN
    SELECT count(*) INTO failed FROM validation_007 WHERE result <> 'PASS';
    IF failed > 0 THEN
        RAISE EXCEPTION 'Marea 007: % checks failed', failed USING HINT = 'Run 007_steady_pages.sql again.';
    END IF;
END
$$;

COMMIT;
