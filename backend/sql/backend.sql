-- What the development gateway itself keeps: its settings, which SQL files have been applied, and the accounts' log-ins.
-- None of it exists on Supabase, where the platform does this; nothing in migrations/ may refer to the schema
-- marea_backend. Every statement may be run again.

CREATE SCHEMA IF NOT EXISTS marea_backend;
REVOKE ALL ON SCHEMA marea_backend FROM PUBLIC;

CREATE TABLE IF NOT EXISTS marea_backend.settings (
    name  TEXT PRIMARY KEY, -- jwt_secret | authenticator_password
    value TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS marea_backend.applied_files (
    name       TEXT PRIMARY KEY,                   -- the file's name in migrations/
    digest     TEXT NOT NULL,                      -- SHA-256 of its text, hexadecimal
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS marea_backend.uploads ( -- resumable uploads to /storage/v1
    id            UUID PRIMARY KEY,                -- also the version of the object that it becomes
    bucket        TEXT NOT NULL,
    name          TEXT NOT NULL,
    owner         UUID,
    length        BIGINT NOT NULL,                 -- bytes that are to come in all
    received      BIGINT NOT NULL DEFAULT 0,       -- bytes that are kept
    pieces        BIGINT[] NOT NULL DEFAULT '{}',  -- the offsets at which kept pieces begin
    content_type  TEXT NOT NULL,
    cache_control TEXT NOT NULL,
    user_metadata JSONB,
    upsert        BOOLEAN NOT NULL,
    expires_at    TIMESTAMPTZ NOT NULL
);
