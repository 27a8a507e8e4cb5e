-- Accounts, as far as the development gateway needs them. auth.users has a part of the columns that Supabase's own table
-- has, under the same names, so that it may stand in for it; on a real Supabase database it is already there and stays.

CREATE SCHEMA IF NOT EXISTS auth;

CREATE TABLE IF NOT EXISTS auth.users (
    id                 UUID PRIMARY KEY,                    -- also public.users.id and the tokens' `sub`
    aud                VARCHAR(255),                        -- always `authenticated`
    role               VARCHAR(255),                        -- always `authenticated`
    email              VARCHAR(255) UNIQUE,                 -- lower case; two sign-ups at one moment must not both win
    encrypted_password VARCHAR(255),                        -- an Argon2id hash in PHC form
    email_confirmed_at TIMESTAMPTZ,
    last_sign_in_at    TIMESTAMPTZ,
    raw_app_meta_data  JSONB,
    raw_user_meta_data JSONB,                               -- `data` of the sign-up
    created_at         TIMESTAMPTZ,
    updated_at         TIMESTAMPTZ
);

CREATE TABLE IF NOT EXISTS marea_backend.sessions (
    id         UUID PRIMARY KEY,                            -- the tokens' `session_id`
    user_id    UUID NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS sessions_user_id ON marea_backend.sessions (user_id);

CREATE TABLE IF NOT EXISTS marea_backend.refresh_tokens (
    digest     TEXT PRIMARY KEY,                            -- SHA-256 of the token, hexadecimal; the token is not kept
    session_id UUID NOT NULL REFERENCES marea_backend.sessions (id) ON DELETE CASCADE,
    used_at    TIMESTAMPTZ                                  -- set at its one use
);

CREATE INDEX IF NOT EXISTS refresh_tokens_session_id ON marea_backend.refresh_tokens (session_id);

CREATE TABLE IF NOT EXISTS marea_backend.demo_accounts (
    id           UUID PRIMARY KEY REFERENCES auth.users (id) ON DELETE CASCADE, -- made by a backend, which takes it back at its end
    with_app_row BOOLEAN NOT NULL                                               -- the row in public.users too
);
