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
  seq             INTEGER PRIMARY KEY AUTOINCREMENT, -- order of recording; the queue is sent in this order
  id              TEXT NOT NULL UNIQUE,              -- UUIDv7; the idempotency key
  hlc             TEXT NOT NULL,                     -- hybrid logical clock, `1700000000000-0000`
  table_name      TEXT NOT NULL,                     -- the table in Postgres
  op              TEXT NOT NULL,                     -- insert | merge | delete
  row_key         TEXT NOT NULL,                     -- the row it concerns
  value_json      TEXT NOT NULL,                     -- the columns, a JSON object, as sent
  state           TEXT NOT NULL CHECK (state IN ('pending', 'in_doubt', 'acknowledged', 'reflected', 'resend', 'rejected')),
  recorded_ms     INTEGER NOT NULL,                  -- when it was recorded, device's clock
  settled_ms      INTEGER,                           -- when the server acknowledged or refused it, device's clock
  reject_code     TEXT,                              -- SQLSTATE of a refusal
  reject_message  TEXT                               -- reason of a refusal, as the server put it
) STRICT;

-- The states that the engine asks for are rare among the kept ones: partial indexes stay small.
CREATE INDEX mutations_open ON mutations (seq) WHERE state IN ('pending', 'in_doubt', 'resend');
CREATE INDEX mutations_unreflected ON mutations (seq) WHERE state IN ('pending', 'in_doubt', 'acknowledged');
CREATE INDEX mutations_uncertain ON mutations (seq) WHERE state IN ('in_doubt', 'resend');
CREATE INDEX mutations_rejected ON mutations (seq) WHERE state = 'rejected';
CREATE INDEX mutations_kept ON mutations (settled_ms) WHERE state = 'reflected';

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
