-- What the sync layer keeps: one counter for each user, one line for each synced row, and what the running transactions changed.
--
-- Lock order, the same for everybody: the app's rows first, their lines in marea.rows next, the user's clock last.

CREATE SCHEMA IF NOT EXISTS marea;

COMMENT ON SCHEMA marea IS 'Marea''s sync layer. Not exposed through the API; clients call public.marea_sync.';

CREATE TABLE IF NOT EXISTS marea.clocks (
    user_id UUID PRIMARY KEY, -- its foreign key comes at the end, when the rows are in
    version BIGINT NOT NULL CHECK (version >= 0),
    pruned  BIGINT NOT NULL DEFAULT 0 CHECK (pruned >= 0),
    checked_at      TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    checked_version BIGINT NOT NULL DEFAULT 0,
    run             BIGINT NOT NULL DEFAULT 0,
    moving          BOOLEAN NOT NULL DEFAULT false
) WITH (fillfactor = 50); -- updated with every change of the user: room for the new row on the same page

COMMENT ON TABLE marea.clocks IS
    'One counter per user. Whoever changes a synced row holds the user''s clock to commit, so commit order is version order.';
COMMENT ON COLUMN marea.clocks.user_id IS 'The user.';
COMMENT ON COLUMN marea.clocks.version IS 'Versions given so far, count; written by marea.assign_versions() at the end of a transaction.';
COMMENT ON COLUMN marea.clocks.pruned IS
    'Highest version of a tombstone that was pruned; a client with an older cursor pulls everything again; written by marea.prune_tombstones().';
COMMENT ON COLUMN marea.clocks.checked_at IS 'When the last checkpoint was made, server clock; written by marea.assign_versions().';
COMMENT ON COLUMN marea.clocks.checked_version IS 'The version before that moment; written by marea.assign_versions().';
COMMENT ON COLUMN marea.clocks.run IS 'The run (marea.runs) in which the clock moved last; written by whoever moves it.';
COMMENT ON COLUMN marea.clocks.moving IS
    'The user is on the way to another server: what changes a synced row is refused; written by marea.move_user().';

CREATE TABLE IF NOT EXISTS marea.checkpoints (
    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    at      TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 0),
    PRIMARY KEY (user_id, at)
);

COMMENT ON TABLE marea.checkpoints IS
    'What a user''s clock had never passed before a moment; at most one an hour. A cursor that says otherwise comes from a '
    'history that was lost: the server was set back to an older state, and has gone on from there.';
COMMENT ON COLUMN marea.checkpoints.user_id IS 'The user.';
COMMENT ON COLUMN marea.checkpoints.at IS 'The moment, server clock.';
COMMENT ON COLUMN marea.checkpoints.version IS 'The greatest version given before it; by marea.assign_versions() and marea.is_lost_history().';

CREATE TABLE IF NOT EXISTS marea.rows (
    user_id    UUID NOT NULL, -- its foreign key comes at the end, when the rows are in
    table_name TEXT COLLATE "C" NOT NULL,
    row_key    TEXT COLLATE "C" NOT NULL,
    version    BIGINT,
    deleted    BOOLEAN NOT NULL DEFAULT false,
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    hlc        JSONB NOT NULL DEFAULT '{}',
    PRIMARY KEY (user_id, table_name, row_key),
    CONSTRAINT rows_version_once UNIQUE (user_id, version)
) WITH (fillfactor = 80);

COMMENT ON TABLE marea.rows IS 'One line per synced row: at which version it last changed, and its register clocks.';
COMMENT ON COLUMN marea.rows.user_id IS 'Owner of the row.';
COMMENT ON COLUMN marea.rows.table_name IS
    'user_progress, daily_activity, export_history, user_api_keys; sessions and progress_events only as tombstones.';
COMMENT ON COLUMN marea.rows.row_key IS 'Key on the wire: row id, user id (one row per user) or day (YYYY-MM-DD).';
COMMENT ON COLUMN marea.rows.version IS
    'The user''s counter when the row last changed; NULL only inside the transaction that makes the line; by marea.assign_versions().';
COMMENT ON COLUMN marea.rows.deleted IS 'The row is gone: this line is its tombstone.';
COMMENT ON COLUMN marea.rows.changed_at IS 'When the version was given, server clock; tells the age of a tombstone.';
COMMENT ON COLUMN marea.rows.hlc IS 'Register column -> [hybrid logical clock, client id or "server"] of its last writer.';

-- Rows live from a statement to the end of its transaction and are never committed. Logged all the same: some hosts drop unlogged
-- tables when they fail over, and without this one nobody could write. EXTERNAL: the arrays of a bulk statement are large and do not
-- compress.
CREATE TABLE IF NOT EXISTS marea.pending (
    xact       XID8 NOT NULL DEFAULT pg_current_xact_id(),
    seq        BIGINT GENERATED ALWAYS AS IDENTITY,
    table_name TEXT COLLATE "C" NOT NULL,
    deleted    BOOLEAN NOT NULL,
    user_ids   UUID[] NOT NULL,
    row_keys   TEXT[],
    clocks     TEXT,
    stamps     TEXT[],
    PRIMARY KEY (xact, seq)
);

ALTER TABLE marea.pending ALTER COLUMN user_ids SET STORAGE EXTERNAL, ALTER COLUMN row_keys SET STORAGE EXTERNAL;

COMMENT ON TABLE marea.pending IS
    'What the statements of a running transaction changed, one row per statement; marea.assign_versions() empties it before commit.';
COMMENT ON COLUMN marea.pending.xact IS 'The transaction.';
COMMENT ON COLUMN marea.pending.seq IS 'Order of the statements; the last word on a row holds.';
COMMENT ON COLUMN marea.pending.table_name IS 'Table of the changed rows.';
COMMENT ON COLUMN marea.pending.deleted IS 'Whether the rows were deleted.';
COMMENT ON COLUMN marea.pending.user_ids IS 'Owners of the changed rows.';
COMMENT ON COLUMN marea.pending.row_keys IS 'Keys of the changed rows, beside user_ids; NULL where the owner is the key.';
COMMENT ON COLUMN marea.pending.clocks IS
    'Register clocks that come into marea.rows together with the versions, as JSON in which U+0001 stands for the clock; NULL: none.';
COMMENT ON COLUMN marea.pending.stamps IS 'The clock of each of the rows, beside row_keys; NULL: as clocks.';
