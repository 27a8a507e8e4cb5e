-- 006: lets only envelopes of the documented format (docs/VAULT.md) into user_api_keys. The constraints of 001 look at the
-- outline alone, because the format came after them; they stay.
--
-- Every part has its length and its letters, and the rounds of the passphrase have their bounds, so that neither a key in the clear
-- nor half an envelope is kept. What Postgres cannot see without the passphrase, whether an envelope opens, is the devices' affair.
-- A client that writes a newer format needs the migration that lets it in first.
--
-- Needs 001. One transaction; run twice, the second run changes nothing. Taken back by 006_sealed_keys_rollback.sql, counted by
-- validate_006.sql.

BEGIN;

DO $$
DECLARE
    standing BIGINT;
    refused  BIGINT;
BEGIN
    IF to_regclass('public.user_api_keys') IS NULL THEN
        RAISE EXCEPTION 'Marea 006 cannot be applied; nothing was changed. Missing: table public.user_api_keys (migration 001)'
            USING HINT = 'Apply 001_schema_alignment.sql first.';
    END IF;
    SELECT count(*) INTO standing FROM pg_catalog.pg_constraint
    WHERE conrelid = 'public.user_api_keys'::regclass AND conname LIKE 'user\_api\_keys\_%\_envelope';
    IF standing = 3 THEN
        RAISE NOTICE 'Marea 006 stands already: this run changes nothing.';
        RETURN;
    END IF;
    SELECT count(*) INTO refused
    FROM public.user_api_keys AS k, unnest(ARRAY[k.openai_api_key, k.unsplash_api_key, k.anthropic_api_key]) AS sealed
    WHERE sealed !~ ('^marea1\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}'
        || '\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$')
       OR length(sealed) > 1715;
    IF refused > 0 THEN
        RAISE EXCEPTION 'Marea 006 cannot be applied; nothing was changed. % stored values of user_api_keys are no envelopes', refused
            USING HINT = 'Set them to NULL: their owners put the keys in anew. They open nowhere.';
    END IF;
END
$$;

DO $$
DECLARE
    provider TEXT;
BEGIN
    FOREACH provider IN ARRAY ARRAY['openai', 'unsplash', 'anthropic'] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_constraint
            WHERE conrelid = 'public.user_api_keys'::regclass AND conname = format('user_api_keys_%s_envelope', provider)
        ) THEN
            EXECUTE format($add$
                ALTER TABLE public.user_api_keys ADD CONSTRAINT user_api_keys_%1$s_envelope CHECK (
                    length(%1$s_api_key) <= 1715 AND %1$s_api_key ~
                    '^marea1\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$')
            $add$, provider);
            EXECUTE format(
                'COMMENT ON CONSTRAINT user_api_keys_%1$s_envelope ON public.user_api_keys IS %2$L',
                provider, 'An envelope of format 1 (docs/VAULT.md), part by part; NULL = none.');
        END IF;
    END LOOP;
END
$$;

-- No job may read or write keys. 001 has said so; a grant that somebody has given since is taken back.
REVOKE ALL ON public.user_api_keys FROM PUBLIC, anon, service_role;

COMMIT;
