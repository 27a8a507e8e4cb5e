-- The mirror, version 7: sessions, where the catalogue has them: corrected and deleted like rows of any table, while what they add to
-- progress follows. Their rows lie in a table that is made from the catalogue. In confirmed_rows there is, beside the rows of
-- progress, what those contain of a session where the server's row is another one by now; `null`: they do not contain it.

-- A session's insert has the row's key as its id, and is found by that: nothing is to be written twice for a new one.
DROP INDEX mutations_of_registers;
CREATE INDEX mutations_of_rows ON mutations (table_name, row_key, seq)
  WHERE table_name NOT IN ('sessions', 'progress_events') OR op <> 'insert';
