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
