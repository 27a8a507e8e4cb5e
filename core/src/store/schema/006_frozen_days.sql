-- The mirror, version 6: days that are frozen.
--
-- The table is made anew: the browser's SQLite has no ALTER TABLE (docs/adr/0050-what-the-browser-downloads.md).

CREATE TABLE daily_activity_before AS SELECT * FROM daily_activity;

DROP TABLE daily_activity;

CREATE TABLE daily_activity (
  day       TEXT PRIMARY KEY,             -- local day
  sessions  INTEGER NOT NULL,             -- completed sessions
  minutes   INTEGER NOT NULL,             -- minutes
  questions INTEGER NOT NULL,             -- questions answered
  correct   INTEGER NOT NULL,             -- questions answered correctly
  words     INTEGER NOT NULL,             -- words learned
  points    INTEGER NOT NULL,             -- points
  frozen    INTEGER NOT NULL DEFAULT 0    -- 1: nothing lies on the day but a freeze, which joins the days around it
) STRICT, WITHOUT ROWID;

INSERT INTO daily_activity (day, sessions, minutes, questions, correct, words, points)
SELECT day, sessions, minutes, questions, correct, words, points FROM daily_activity_before;

DROP TABLE daily_activity_before;
