-- Takes back 006: the exact form of envelopes is no longer asked for. Keys stay sealed, and the outline that 001 asks for too.

BEGIN;

DO $$
BEGIN
    IF to_regclass('public.user_api_keys') IS NULL THEN
        RAISE NOTICE 'Marea 006 does not stand: nothing to take back.';
        RETURN;
    END IF;
    ALTER TABLE public.user_api_keys
        DROP CONSTRAINT IF EXISTS user_api_keys_openai_envelope,
        DROP CONSTRAINT IF EXISTS user_api_keys_unsplash_envelope,
        DROP CONSTRAINT IF EXISTS user_api_keys_anthropic_envelope;
END
$$;

COMMIT;
