-- Takes back 008: the functions that it replaced are put back as they were.

BEGIN;

DO $$
DECLARE
    old RECORD;
BEGIN
    FOR old IN SELECT name, definition FROM marea.replaced WHERE name LIKE '008 %' ORDER BY name LOOP
        EXECUTE old.definition;
    END LOOP;
    DELETE FROM marea.replaced WHERE name LIKE '008 %';
END
$$;

-- Sealed keys: only format 1 comes in again. Where envelopes of format 2 stand they stay, and both go on coming in: nobody but their owners
-- could make format 1 of them.
DO $$
DECLARE
    provider TEXT;
    newer    BIGINT;
BEGIN
    SELECT count(*) INTO newer
    FROM public.user_api_keys AS k, unnest(ARRAY[k.openai_api_key, k.unsplash_api_key, k.anthropic_api_key]) AS sealed
    WHERE sealed LIKE 'marea2.%';
    IF newer > 0 THEN
        RAISE NOTICE 'Marea 008: % envelopes of format 2 stand, so both formats go on coming in.', newer;
        RETURN;
    END IF;
    FOREACH provider IN ARRAY ARRAY['openai', 'unsplash', 'anthropic'] LOOP
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint
            WHERE conrelid = 'public.user_api_keys'::regclass AND conname = format('user_api_keys_%s_envelope', provider)
              AND position('^marea2' IN pg_get_constraintdef(oid)) > 0);
        EXECUTE format($restore$
            ALTER TABLE public.user_api_keys DROP CONSTRAINT user_api_keys_%1$s_envelope, ADD CONSTRAINT user_api_keys_%1$s_envelope CHECK (
                length(%1$s_api_key) <= 1715 AND %1$s_api_key ~
                '^marea1\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$')
        $restore$, provider);
        EXECUTE format(
            'COMMENT ON CONSTRAINT user_api_keys_%1$s_envelope ON public.user_api_keys IS %2$L',
            provider, 'An envelope of format 1 (docs/VAULT.md), part by part; NULL = none.');
    END LOOP;
END
$$;

-- Bounds of values.
DROP FUNCTION IF EXISTS marea.values_problem(TEXT, JSONB);
DROP FUNCTION IF EXISTS marea.value_problem(TEXT, JSONB, BIGINT, BIGINT);
DROP FUNCTION IF EXISTS marea.json_problem(JSONB, BIGINT);
DROP FUNCTION IF EXISTS marea.column_limits();

-- Days that lie ahead, and refusals.
REVOKE EXECUTE ON FUNCTION marea.local_day(TEXT, TIMESTAMPTZ) FROM authenticated;
DROP FUNCTION IF EXISTS marea.tomorrow(), marea.refresh_streaks(), marea.app_search_path(),
    marea.triggers_before(REGCLASS, TEXT), marea.insert_sessions_sql(JSONB, BOOLEAN, TEXT),
    marea.refuse_left_out(REGCLASS, TEXT, BOOLEAN), marea.push_nothing(JSONB), marea.check_deferred(TEXT), marea.is_of_server(TEXT);

-- Pages by bytes.
DROP FUNCTION IF EXISTS marea.rows_within(UUID, BIGINT, INTEGER, INTEGER);

NOTIFY pgrst, 'reload schema';

COMMIT;
