-- The mirror, version 2: how many bytes each of the last syncs moved.

ALTER TABLE journal ADD COLUMN bytes_sent     INTEGER NOT NULL DEFAULT 0; -- the request's body
ALTER TABLE journal ADD COLUMN bytes_received INTEGER NOT NULL DEFAULT 0; -- the answer's body
