-- The mirror, version 1. Applied once, in one IMMEDIATE transaction; never edited after release: add 002.
-- Times: Unix milliseconds as INTEGER (`_ms`), or canonical text `2026-11-23T12:00:00.000000Z`. Days: `YYYY-MM-DD`.

-- Facts about this file. Written by the engine.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY, -- user_id, client_id, hlc, cursor_version, cursor_epoch, last_synced_ms, refilling
  value TEXT NOT NULL     -- text of the value
) STRICT, WITHOUT ROWID;

-- Every mutation made on this device, from the moment it was acknowledged to the caller until 30 days after the
-- server acknowledged it. The queue is the part that the server has not acknowledged.
CREATE TABLE mutations (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT, -- order of sending: of recording, what heals a set-back server first (below 0)
  id              TEXT NOT NULL UNIQUE,              -- UUIDv7; the idempotency key
  hlc             TEXT NOT NULL,                     -- hybrid logical clock, `1700000000000-0000`
  table_name      TEXT NOT NULL,                     -- the table in Postgres
  op              TEXT NOT NULL,                     -- insert | merge | delete
  row_key         TEXT NOT NULL,                     -- the row it concerns
  value_json      TEXT NOT NULL,                     -- the columns, a JSON object, as sent
  state           TEXT NOT NULL CHECK (state IN ('pending', 'in_doubt', 'acknowledged', 'reflected', 'resend', 'rejected')),
  recorded_ms     INTEGER NOT NULL,                  -- when it was recorded, device's clock
  settled_ms      INTEGER,                           -- when it was acknowledged (server's clock) or refused (device's)
  reject_code     TEXT,                              -- SQLSTATE of a refusal
  reject_message  TEXT                               -- reason of a refusal, as the server put it
) STRICT;

-- The states that the engine asks for are rare among the kept ones: partial indexes stay small.
CREATE INDEX mutations_open ON mutations (seq) WHERE state IN ('pending', 'in_doubt', 'resend');
CREATE INDEX mutations_unreflected ON mutations (seq) WHERE state IN ('pending', 'in_doubt', 'acknowledged');
CREATE INDEX mutations_acknowledged ON mutations (seq) WHERE state = 'acknowledged';
CREATE INDEX mutations_rejected ON mutations (seq) WHERE state = 'rejected';
CREATE INDEX mutations_kept ON mutations (settled_ms) WHERE state = 'reflected';
CREATE INDEX mutations_of_registers ON mutations (table_name, row_key, seq)
  WHERE table_name IN ('export_history', 'user_api_keys');

-- Confirmed fold rows, as the server last sent them, once it is certain which mutations they contain.
CREATE TABLE confirmed_rows (
  table_name TEXT NOT NULL,    -- user_progress | daily_activity
  row_key    TEXT NOT NULL,    -- the row's key on the wire
  value_json TEXT NOT NULL,    -- all columns, a JSON object
  PRIMARY KEY (table_name, row_key)
) STRICT, WITHOUT ROWID;

-- Fold rows that arrived while that was not certain yet. They replace the confirmed ones together.
CREATE TABLE arrived_rows (
  table_name TEXT NOT NULL,
  row_key    TEXT NOT NULL,
  value_json TEXT,             -- NULL: the row was deleted
  PRIMARY KEY (table_name, row_key)
) STRICT, WITHOUT ROWID;

-- Visible progress: confirmed row plus unreflected mutations. One row. Columns as in Postgres.
CREATE TABLE user_progress (
  user_id                          TEXT PRIMARY KEY,
  id                               TEXT,             -- the server's row id; NULL before the first sync
  total_descriptions               INTEGER NOT NULL, -- image descriptions
  total_images                     INTEGER NOT NULL, -- images
  total_questions_answered         INTEGER NOT NULL, -- questions
  total_questions_correct          INTEGER NOT NULL, -- questions
  total_vocabulary_learned         INTEGER NOT NULL, -- words
  total_sessions                   INTEGER NOT NULL, -- completed sessions
  total_time_spent_minutes         INTEGER NOT NULL, -- minutes
  current_streak_days              INTEGER NOT NULL, -- days, as of last_active_on
  longest_streak_days              INTEGER NOT NULL, -- days
  total_points                     INTEGER NOT NULL, -- points
  average_accuracy                 REAL NOT NULL,    -- percent, two decimals
  average_completion_time_seconds  INTEGER NOT NULL, -- seconds
  mastered_words_count             INTEGER NOT NULL, -- words
  learning_words_count             INTEGER NOT NULL, -- words
  new_words_count                  INTEGER NOT NULL, -- words
  achievements                     TEXT NOT NULL,    -- JSON object: achievement id -> time unlocked
  last_activity_at                 TEXT,
  last_description_at              TEXT,
  last_qa_session_at               TEXT,
  last_vocabulary_practice_at      TEXT,
  last_active_on                   TEXT,             -- local day
  created_at                       TEXT,
  updated_at                       TEXT
) STRICT, WITHOUT ROWID;

-- Visible activity: one row per active local day. Columns as in Postgres.
CREATE TABLE daily_activity (
  day       TEXT PRIMARY KEY,  -- local day
  sessions  INTEGER NOT NULL,  -- completed sessions
  minutes   INTEGER NOT NULL,  -- minutes
  questions INTEGER NOT NULL,  -- questions answered
  correct   INTEGER NOT NULL,  -- questions answered correctly
  words     INTEGER NOT NULL,  -- words learned
  points    INTEGER NOT NULL   -- points
) STRICT, WITHOUT ROWID;

-- Exports: visible rows. Confirmed row plus unreflected mutations where there are any (see shadow_rows).
CREATE TABLE export_history (
  id                      TEXT PRIMARY KEY,  -- UUIDv7
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
) STRICT, WITHOUT ROWID;

CREATE INDEX export_history_newest ON export_history (created_at DESC, id DESC);

-- Sealed API keys: visible row. Envelopes only; a plain key never comes here.
CREATE TABLE user_api_keys (
  user_id           TEXT PRIMARY KEY,
  id                TEXT,                    -- the server's row id; NULL before the first sync
  openai_api_key    TEXT,                    -- envelope
  unsplash_api_key  TEXT,                    -- envelope
  anthropic_api_key TEXT,                    -- envelope
  last_validated_at TEXT,
  created_at        TEXT,
  updated_at        TEXT,
  clocks            TEXT NOT NULL            -- JSON object: register column -> [hybrid logical clock, client id]
) STRICT, WITHOUT ROWID;

-- What the server has of a register row while unreflected mutations lie on it. Exists exactly as long as they do.
CREATE TABLE shadow_rows (
  table_name TEXT NOT NULL,                  -- export_history | user_api_keys
  row_key    TEXT NOT NULL,
  value_json TEXT,                           -- all columns, a JSON object; NULL: the server has no such row
  clock_json TEXT NOT NULL,                  -- as `clocks` above
  PRIMARY KEY (table_name, row_key)
) STRICT, WITHOUT ROWID;

-- Register rows that have come while everything is pulled anew; what has not come by the end is gone.
CREATE TABLE refilled_rows (
  table_name TEXT NOT NULL,
  row_key    TEXT NOT NULL,
  PRIMARY KEY (table_name, row_key)
) STRICT, WITHOUT ROWID;

-- The last syncs, for support. Codes and counts only.
CREATE TABLE journal (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms    INTEGER NOT NULL,                 -- when the answer or the failure came, device's clock
  code     TEXT NOT NULL,                    -- ok, or the failure's code
  message  TEXT NOT NULL,                    -- the failure in words; empty when ok
  pushed   INTEGER NOT NULL,                 -- mutations acknowledged
  rejected INTEGER NOT NULL,                 -- mutations refused
  pulled   INTEGER NOT NULL,                 -- rows received
  pending  INTEGER NOT NULL                  -- mutations still waiting
) STRICT;
