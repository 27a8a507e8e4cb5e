-- Version 5: files of exports, on their way to the server's object storage. Their bytes lie beside the mirror, under the name
-- that export_id, sha256 and extension make; they are flushed before their row is written.

CREATE TABLE files (
  export_id       TEXT PRIMARY KEY NOT NULL, -- the export whose file it is
  sha256          TEXT NOT NULL,             -- of the bytes, 64 lower-case hexadecimal digits
  extension       TEXT NOT NULL,             -- csv, jsonl, html, ...
  content_type    TEXT NOT NULL,             -- what the server is told that it is
  size            INTEGER NOT NULL,          -- bytes
  state           TEXT NOT NULL CHECK (state IN ('waiting', 'uploading', 'uploaded', 'gone', 'refused')),
  has_bytes       INTEGER NOT NULL,          -- 1 while the bytes are on this device
  tried           INTEGER NOT NULL,          -- 1 once a request for it may have reached the server
  upload_id       TEXT,                      -- of a resumable upload: the last part of its address
  paused          INTEGER NOT NULL,          -- 1 while the learner holds it back
  failure_code    TEXT,                      -- why it was refused
  failure_message TEXT,                      -- the same for people
  added_ms        INTEGER NOT NULL           -- when it was added, device's clock
) STRICT;
