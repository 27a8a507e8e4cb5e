-- The mirror, version 2: how many bytes each of the last syncs moved.
--
-- The table is made anew: the browser's SQLite has no ALTER TABLE (docs/adr/0050-what-the-browser-downloads.md).

CREATE TABLE journal_before AS SELECT * FROM journal;

DROP TABLE journal;

-- The last syncs, for support. Codes and counts only.
CREATE TABLE journal (
  seq            INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms          INTEGER NOT NULL,           -- when the answer or the failure came, device's clock
  code           TEXT NOT NULL,              -- ok, or the failure's code
  message        TEXT NOT NULL,              -- the failure in words; empty when ok
  pushed         INTEGER NOT NULL,           -- mutations acknowledged
  rejected       INTEGER NOT NULL,           -- mutations refused
  pulled         INTEGER NOT NULL,           -- rows received
  pending        INTEGER NOT NULL,           -- mutations still waiting
  bytes_sent     INTEGER NOT NULL DEFAULT 0, -- the request's body
  bytes_received INTEGER NOT NULL DEFAULT 0  -- the answer's body
) STRICT;

INSERT INTO journal (seq, at_ms, code, message, pushed, rejected, pulled, pending)
SELECT seq, at_ms, code, message, pushed, rejected, pulled, pending FROM journal_before;

DROP TABLE journal_before;
