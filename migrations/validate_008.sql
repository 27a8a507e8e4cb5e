-- Checks 008: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_008 ON COMMIT DROP AS
WITH checks (place, "check", expected, actual) AS (
    SELECT 1, 'functions of migration 007, which 008 builds on', 1::bigint, (
        SELECT count(*) FROM pg_catalog.pg_proc WHERE oid = to_regprocedure('marea.page(uuid, bigint, integer, boolean)'))
    UNION ALL
    SELECT 40, 'constraints that let envelopes of both formats in, validated', 3, (
        SELECT count(*) FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('public.user_api_keys') AND contype = 'c' AND convalidated
          AND conname = ANY (ARRAY['user_api_keys_openai_envelope', 'user_api_keys_unsplash_envelope', 'user_api_keys_anthropic_envelope'])
          AND pg_get_constraintdef(oid) LIKE '%^marea1%' AND pg_get_constraintdef(oid) LIKE '%^marea2%')
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
