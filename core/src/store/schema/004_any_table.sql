-- The mirror, version 4: tables that the catalogue describes (they are made from it, see ../catalogue.rs), mutations that belong
-- together, and counters.
--
-- The tables are made anew: the browser's SQLite has no ALTER TABLE (docs/adr/0050-what-the-browser-downloads.md).

CREATE TABLE mutations_before AS SELECT * FROM mutations;

DROP TABLE mutations;

CREATE TABLE mutations (
  seq             INTEGER PRIMARY KEY,  -- order of sending: of recording, what heals a set-back server first (below 0)
  id              TEXT NOT NULL UNIQUE, -- UUIDv7; the idempotency key
  hlc             TEXT NOT NULL,        -- hybrid logical clock, `1700000000000-0000`
  table_name      TEXT NOT NULL,        -- the table's name on the wire
  op              TEXT NOT NULL,        -- insert | merge | add | delete
  row_key         TEXT NOT NULL,        -- the row it concerns
  value_json      TEXT NOT NULL,        -- the columns, a JSON object, as sent
  state           TEXT NOT NULL CHECK (state IN ('pending', 'in_doubt', 'acknowledged', 'reflected', 'resend', 'rejected')),
  recorded_ms     INTEGER NOT NULL,     -- when it was recorded, device's clock
  settled_ms      INTEGER,              -- when it was acknowledged (server's clock) or refused (device's)
  reject_code     TEXT,                 -- SQLSTATE of a refusal
  reject_message  TEXT,                 -- reason of a refusal, as the server put it
  batch           TEXT                  -- the UUID that all mutations of one batch share: all or nothing
) STRICT;

INSERT INTO mutations (seq, id, hlc, table_name, op, row_key, value_json, state, recorded_ms, settled_ms, reject_code,
  reject_message)
SELECT seq, id, hlc, table_name, op, row_key, value_json, state, recorded_ms, settled_ms, reject_code, reject_message
FROM mutations_before;

DROP TABLE mutations_before;

CREATE INDEX mutations_by_state ON mutations (state, seq);
CREATE INDEX mutations_kept ON mutations (settled_ms) WHERE state = 'reflected';
CREATE INDEX mutations_of_registers ON mutations (table_name, row_key, seq)
  WHERE table_name NOT IN ('sessions', 'progress_events');
CREATE INDEX mutations_in_batches ON mutations (batch, seq) WHERE batch IS NOT NULL;

CREATE TABLE shadow_rows_before AS SELECT * FROM shadow_rows;

DROP TABLE shadow_rows;

-- What the server has of a row while unreflected mutations lie on it. Exists exactly as long as they do.
CREATE TABLE shadow_rows (
  table_name TEXT NOT NULL,                  -- the table's name on the wire
  row_key    TEXT NOT NULL,
  value_json TEXT,                           -- all columns, a JSON object; NULL: the server has no such row
  clock_json TEXT NOT NULL,                  -- register column -> [hybrid logical clock, client id]
  held_json  TEXT,                           -- counters that arrived while it is not certain which additions they contain
  PRIMARY KEY (table_name, row_key)
) STRICT, WITHOUT ROWID;

INSERT INTO shadow_rows (table_name, row_key, value_json, clock_json)
SELECT table_name, row_key, value_json, clock_json FROM shadow_rows_before;

DROP TABLE shadow_rows_before;
