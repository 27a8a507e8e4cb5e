-- The mirror, version 3: a queue whose lengthening writes a third fewer pages, and exports whose first sync writes a quarter.
--
-- The tables are made anew: the browser's SQLite has no ALTER TABLE (docs/adr/0050-what-the-browser-downloads.md).

CREATE TABLE mutations_before AS SELECT * FROM mutations;

DROP TABLE mutations;

-- As in version 1, but without AUTOINCREMENT, whose counter is one more page of each commit: a place that is free again is good
-- enough, because only the order counts.
CREATE TABLE mutations (
  seq             INTEGER PRIMARY KEY,  -- order of sending: of recording, what heals a set-back server first (below 0)
  id              TEXT NOT NULL UNIQUE, -- UUIDv7; the idempotency key
  hlc             TEXT NOT NULL,        -- hybrid logical clock, `1700000000000-0000`
  table_name      TEXT NOT NULL,        -- the table in Postgres
  op              TEXT NOT NULL,        -- insert | merge | delete
  row_key         TEXT NOT NULL,        -- the row it concerns
  value_json      TEXT NOT NULL,        -- the columns, a JSON object, as sent
  state           TEXT NOT NULL CHECK (state IN ('pending', 'in_doubt', 'acknowledged', 'reflected', 'resend', 'rejected')),
  recorded_ms     INTEGER NOT NULL,     -- when it was recorded, device's clock
  settled_ms      INTEGER,              -- when it was acknowledged (server's clock) or refused (device's)
  reject_code     TEXT,                 -- SQLSTATE of a refusal
  reject_message  TEXT                  -- reason of a refusal, as the server put it
) STRICT;

INSERT INTO mutations (seq, id, hlc, table_name, op, row_key, value_json, state, recorded_ms, settled_ms, reject_code,
  reject_message)
SELECT seq, id, hlc, table_name, op, row_key, value_json, state, recorded_ms, settled_ms, reject_code, reject_message
FROM mutations_before;

DROP TABLE mutations_before;

-- One index for all states, where there was one for each question: a new mutation is one more page in each.
CREATE INDEX mutations_by_state ON mutations (state, seq);
CREATE INDEX mutations_kept ON mutations (settled_ms) WHERE state = 'reflected';
CREATE INDEX mutations_of_registers ON mutations (table_name, row_key, seq)
  WHERE table_name IN ('export_history', 'user_api_keys');

CREATE TABLE export_history_before AS SELECT * FROM export_history;

DROP TABLE export_history;

-- Exports: visible rows, as in version 1. They lie in the order in which they came, and only their ids, 16 bytes each, by id: ids come
-- in any order, and each of many rows that lay by id was one more page to write.
CREATE TABLE export_history (
  id                      BLOB PRIMARY KEY NOT NULL, -- the UUID's bytes
  export_type             TEXT NOT NULL,     -- what is exported
  export_format           TEXT NOT NULL,     -- file format
  status                  TEXT NOT NULL,     -- pending | processing | completed | failed | expired
  records_count           INTEGER,           -- rows exported
  file_size_bytes         INTEGER,           -- bytes
  file_url                TEXT,
  filters                 TEXT,              -- JSON
  data                    TEXT,              -- JSON
  error_message           TEXT,
  retry_count             INTEGER,           -- attempts beyond the first
  started_at              TEXT,
  completed_at            TEXT,
  processing_time_seconds INTEGER,           -- seconds
  expires_at              TEXT,
  created_at              TEXT NOT NULL,
  updated_at              TEXT,              -- server's clock; NULL before the first sync
  clocks                  TEXT NOT NULL      -- JSON object: register column -> [hybrid logical clock, client id]
) STRICT;

INSERT INTO export_history (id, export_type, export_format, status, records_count, file_size_bytes, file_url, filters, data,
  error_message, retry_count, started_at, completed_at, processing_time_seconds, expires_at, created_at, updated_at, clocks)
SELECT unhex(id, '-'), export_type, export_format, status, records_count, file_size_bytes, file_url, filters, data,
  error_message, retry_count, started_at, completed_at, processing_time_seconds, expires_at, created_at, updated_at, clocks
FROM export_history_before ORDER BY created_at, id;

DROP TABLE export_history_before;

-- Read backwards. New ones are at its end, where SQLite fills pages up.
CREATE INDEX export_history_newest ON export_history (created_at, id);
