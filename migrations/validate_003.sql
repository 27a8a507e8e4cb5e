-- Checks 003: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_003 ON COMMIT DROP AS
WITH routines AS (
    SELECT p.oid, p.proname
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = to_regnamespace('marea')
      AND p.proname IN ('backfill_batch', 'run_backfill')
), checks (place, "check", expected, actual) AS (
    SELECT 1, 'table marea.backfill, columns', 9, (
        SELECT count(*) FROM pg_catalog.pg_attribute
        WHERE attrelid = to_regclass('marea.backfill') AND attnum > 0 AND NOT attisdropped)
    UNION ALL
    SELECT 2, 'row level security on it', 1, (
        SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('marea.backfill') AND relrowsecurity)
    UNION ALL
    SELECT 3, 'the batch function and the procedure', 2, (SELECT count(*) FROM routines)
    UNION ALL
    SELECT 4, 'those that a client may execute', 0, (
        SELECT count(*) FROM routines, unnest(ARRAY['anon', 'authenticated', 'service_role']) AS role
        WHERE has_function_privilege(role, routines.oid, 'EXECUTE'))
    UNION ALL
    SELECT 5, 'backfills that are not finished', 0, CASE WHEN to_regclass('marea.backfill') IS NULL THEN 1 ELSE (
        xpath('/row/open/text()', query_to_xml('SELECT count(*) AS open FROM marea.backfill WHERE finished_at IS NULL',
            false, true, '')))[1]::text::bigint END
    UNION ALL
    SELECT 6, 'backfills that are finished (1: at least one)', 1, CASE WHEN to_regclass('marea.backfill') IS NULL THEN 0 ELSE (
        xpath('/row/done/text()', query_to_xml('SELECT count(*) AS done FROM (SELECT FROM marea.backfill '
            'WHERE finished_at IS NOT NULL LIMIT 1) AS finished', false, true, '')))[1]::text::bigint END
)
SELECT place, "check", expected, actual, CASE WHEN expected = actual THEN 'PASS' ELSE 'FAIL' END AS result
FROM checks;

SELECT "check", expected, actual, result FROM validation_003 ORDER BY place;

DO $$
DECLARE
    failed BIGINT;
BEGIN
    SELECT count(*) INTO failed FROM validation_003 WHERE result <> 'PASS';
    IF failed > 0 THEN
        RAISE EXCEPTION 'Marea 003: % checks failed', failed
            USING HINT = 'CALL marea.run_backfill(); goes on with an unfinished one; else run 003_backfill.sql again.';
    END IF;
END
$$;

COMMIT;
