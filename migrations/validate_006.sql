-- Checks 006: one row for each check, "check | expected | actual | result". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing.

BEGIN;

CREATE TEMPORARY TABLE validation_006 ON COMMIT DROP AS
WITH checks (place, "check", expected, actual) AS (
    SELECT 1, 'constraints on the form of envelopes, validated', 3, (
        SELECT count(*) FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('public.user_api_keys') AND contype = 'c' AND convalidated
          AND conname = ANY (ARRAY['user_api_keys_openai_envelope', 'user_api_keys_unsplash_envelope', 'user_api_keys_anthropic_envelope'])
          AND pg_get_constraintdef(oid) LIKE '%pbkdf2-sha256-[1-9][0-9]{5,6}%')
    UNION ALL
    SELECT 2, 'constraints on the outline, of 001', 3, (
        SELECT count(*) FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('public.user_api_keys') AND contype = 'c' AND conname LIKE 'user\_api\_keys\_%\_sealed')
    UNION ALL
    SELECT 3, 'rights on sealed keys of roles other than authenticated', 0, (
        SELECT count(*)
        FROM unnest(ARRAY['anon', 'service_role']) AS role, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS kind
        WHERE has_table_privilege(role, to_regclass('public.user_api_keys'), kind))
    UNION ALL
    SELECT 4, 'policies on sealed keys for other roles', 0, (
        SELECT count(*) FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = to_regclass('public.user_api_keys')
          AND p.polroles <> ARRAY[(SELECT oid FROM pg_catalog.pg_roles WHERE rolname = 'authenticated')])
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
        RAISE EXCEPTION 'Marea 006: % checks failed', failed USING HINT = 'Run 006_sealed_keys.sql again.';
    END IF;
END
$$;

COMMIT;
