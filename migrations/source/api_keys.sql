-- user_api_keys: third-party API keys, sealed on the device. Only envelopes of the documented formats (docs/VAULT.md) come in.

CREATE TABLE IF NOT EXISTS public.user_api_keys (
    id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id           UUID NOT NULL UNIQUE REFERENCES public.users (id) ON DELETE CASCADE,
    openai_api_key    TEXT,
    unsplash_api_key  TEXT,
    anthropic_api_key TEXT,
    last_validated_at TIMESTAMPTZ,
    created_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at        TIMESTAMPTZ NOT NULL DEFAULT now()
);

COMMENT ON TABLE public.user_api_keys IS
    'One row per user: API keys sealed on the device. The server holds ciphertext only and cannot open it.';
COMMENT ON COLUMN public.user_api_keys.id IS 'Row id; made by the server; never changes (once).';
COMMENT ON COLUMN public.user_api_keys.user_id IS 'Owner; from the token of the writer; never changes (once).';
COMMENT ON COLUMN public.user_api_keys.openai_api_key IS
    'Sealed envelope (docs/VAULT.md), at most 2790 characters, NULL = none; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.unsplash_api_key IS
    'Sealed envelope (docs/VAULT.md), at most 2790 characters, NULL = none; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.anthropic_api_key IS
    'Sealed envelope (docs/VAULT.md), at most 2790 characters, NULL = none; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.last_validated_at IS
    'When a device last saw the providers accept its keys; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.created_at IS 'When the row was made; server clock; never changes (once).';
COMMENT ON COLUMN public.user_api_keys.updated_at IS 'When the row was last written; set by trigger; not synced as a change.';

-- Every part has its length and its letters, and the rounds of the passphrase have their bounds, so that neither a key in the
-- clear nor half an envelope is kept. What Postgres cannot see without the passphrase, whether an envelope opens, is the devices'
-- affair. A client that writes a newer format needs the migration that lets it in first.
DO $$
DECLARE
    provider TEXT;
BEGIN
    FOREACH provider IN ARRAY ARRAY['openai', 'unsplash', 'anthropic'] LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = 'public.user_api_keys'::regclass AND conname = format('user_api_keys_%s_envelope', provider));
        EXECUTE format($add$
            ALTER TABLE public.user_api_keys ADD CONSTRAINT user_api_keys_%1$s_envelope CHECK (
                length(%1$s_api_key) <= 1715 AND %1$s_api_key ~
                '^marea1\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                OR length(%1$s_api_key) <= 2790 AND %1$s_api_key ~
                '^marea2\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{20,}\.[0-9]{13}-[0-9a-f]{4}\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                -- The list of superseded data keys: at most 8 entries of 129 characters, and a MAC. The key itself, padded.
                AND length(split_part(%1$s_api_key, '.', 9)) %% 129 = 20 AND length(split_part(%1$s_api_key, '.', 9)) <= 1052
                AND length(split_part(%1$s_api_key, '.', 11)) IN (382, 723, 1406))
        $add$, provider);
        EXECUTE format('COMMENT ON CONSTRAINT user_api_keys_%1$s_envelope ON public.user_api_keys IS %2$L',
            provider, 'An envelope of format 1 or 2 (docs/VAULT.md), part by part; NULL = none.');
    END LOOP;
END
$$;
