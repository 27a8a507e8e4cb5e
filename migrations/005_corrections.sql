-- Assembled from migrations/source by `cargo xtask migrations`: change it there.
-- 005: sessions that devices list, correct and delete once they are mirrored (docs/TABLES.md), pushes that write the line of a row
-- once, and pushes and pages that plan and read no more than they must (docs/adr/0155).
--
-- Makes functions of 002 anew. Adds two columns to marea.pending, which is empty outside of a transaction.
--
-- Needs 004. One transaction; run twice, the second run changes nothing. After an earlier file has been run again, run this one again
-- too: that one has put its own functions back. Taken back by 005_corrections_rollback.sql, counted by validate_005.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
BEGIN
    IF to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Marea 005 cannot be applied; nothing was changed. Missing: the view marea.health (migration 004)'
            USING HINT = 'Apply 004_operations.sql first.';
    END IF;
    IF to_regprocedure('marea.settle_clocks()') IS NOT NULL THEN
        RAISE NOTICE 'Marea 005 stands already: this run makes its functions again.';
    END IF;
END
$$;

-- Running writes end first: the lines that they have noted are given their versions as they were noted.
LOCK TABLE public.sessions, public.user_progress, public.export_history, public.user_api_keys, marea.progress_events,
    marea.daily_activity IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE marea.pending ADD COLUMN IF NOT EXISTS clocks TEXT, ADD COLUMN IF NOT EXISTS stamps TEXT[];

-- ---------------------------------------------------------------------------------------------------------------------
-- state
-- ---------------------------------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------------------------------
-- facts
-- ---------------------------------------------------------------------------------------------------------------------

-- Awards that belong to no session, and the fold by the learner's local day.

CREATE TABLE IF NOT EXISTS marea.progress_events (
    id                 UUID PRIMARY KEY,
    user_id            UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    occurred_at        TIMESTAMPTZ NOT NULL CONSTRAINT progress_events_time_sane CHECK (isfinite(occurred_at)),
    local_date         DATE NOT NULL CONSTRAINT progress_events_day_sane
        CHECK (local_date BETWEEN '1970-01-01' AND '9999-12-31'),
    descriptions       INTEGER NOT NULL DEFAULT 0 CHECK (descriptions >= 0),
    images             INTEGER NOT NULL DEFAULT 0 CHECK (images >= 0),
    questions_answered INTEGER NOT NULL DEFAULT 0 CHECK (questions_answered >= 0),
    questions_correct  INTEGER NOT NULL DEFAULT 0 CHECK (questions_correct >= 0),
    vocabulary_learned INTEGER NOT NULL DEFAULT 0 CHECK (vocabulary_learned >= 0),
    minutes            INTEGER NOT NULL DEFAULT 0 CHECK (minutes >= 0),
    points             INTEGER NOT NULL DEFAULT 0 CHECK (points >= 0),
    mastered_words     INTEGER NOT NULL DEFAULT 0,
    learning_words     INTEGER NOT NULL DEFAULT 0,
    new_words          INTEGER NOT NULL DEFAULT 0,
    achievements       JSONB NOT NULL DEFAULT '{}' CONSTRAINT progress_events_achievements_are_times CHECK (
        jsonb_typeof(achievements) = 'object' AND NOT jsonb_path_exists(achievements,
            '$.* ? (!(@.type() == "string" && @ like_regex "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$"))')),
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS progress_events_user_id_idx ON marea.progress_events (user_id);

COMMENT ON TABLE marea.progress_events IS 'Awards that belong to no session; each adds to progress once. Append-only.';
COMMENT ON COLUMN marea.progress_events.id IS 'Event id (UUIDv7), made by the device; the idempotency key.';
COMMENT ON COLUMN marea.progress_events.user_id IS 'The learner; from the token of the writer.';
COMMENT ON COLUMN marea.progress_events.occurred_at IS 'When it happened, by the device''s clock.';
COMMENT ON COLUMN marea.progress_events.local_date IS 'The learner''s local day then.';
COMMENT ON COLUMN marea.progress_events.descriptions IS 'Adds to total_descriptions, count; device; event.';
COMMENT ON COLUMN marea.progress_events.images IS 'Adds to total_images, count; device; event.';
COMMENT ON COLUMN marea.progress_events.questions_answered IS 'Adds to total_questions_answered, count; device; event.';
COMMENT ON COLUMN marea.progress_events.questions_correct IS 'Adds to total_questions_correct, count; device; event.';
COMMENT ON COLUMN marea.progress_events.vocabulary_learned IS 'Adds to total_vocabulary_learned, count; device; event.';
COMMENT ON COLUMN marea.progress_events.minutes IS 'Adds to total_time_spent_minutes, minutes; device; event.';
COMMENT ON COLUMN marea.progress_events.points IS 'Adds to total_points; device; event.';
COMMENT ON COLUMN marea.progress_events.mastered_words IS 'Adds to mastered_words_count, may be negative; device; event.';
COMMENT ON COLUMN marea.progress_events.learning_words IS 'Adds to learning_words_count, may be negative; device; event.';
COMMENT ON COLUMN marea.progress_events.new_words IS 'Adds to new_words_count, may be negative; device; event.';
COMMENT ON COLUMN marea.progress_events.achievements IS
    'Achievement id -> when it was unlocked (YYYY-MM-DDTHH:MM:SS.ffffffZ); device; union, the earlier unlock wins.';
COMMENT ON COLUMN marea.progress_events.created_at IS 'When the event arrived, server clock.';

-- In a column of its own, because tables from before the release have none.
ALTER TABLE marea.progress_events ADD COLUMN IF NOT EXISTS freezes_day BOOLEAN NOT NULL DEFAULT false
    CONSTRAINT progress_events_freeze_adds_nothing CHECK (NOT freezes_day OR (descriptions = 0 AND images = 0 AND questions_answered = 0
        AND questions_correct = 0 AND vocabulary_learned = 0 AND minutes = 0 AND points = 0 AND mastered_words = 0
        AND learning_words = 0 AND new_words = 0 AND achievements = '{}'));

COMMENT ON COLUMN marea.progress_events.freezes_day IS
    'The day is frozen: it joins the days around it to one streak, and counts as no day of it; device; event.';

CREATE INDEX IF NOT EXISTS progress_events_frozen_days_idx ON marea.progress_events (user_id, local_date) WHERE freezes_day;

CREATE TABLE IF NOT EXISTS marea.daily_activity (
    user_id   UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    day       DATE NOT NULL,
    facts     INTEGER NOT NULL,
    sessions  INTEGER NOT NULL,
    minutes   INTEGER NOT NULL,
    questions INTEGER NOT NULL,
    correct   INTEGER NOT NULL,
    words     INTEGER NOT NULL,
    points    INTEGER NOT NULL,
    PRIMARY KEY (user_id, day)
) WITH (fillfactor = 80);

COMMENT ON TABLE marea.daily_activity IS
    'The fold of sessions and events by the learner''s local day; a day is here while something lies on it.';
COMMENT ON COLUMN marea.daily_activity.user_id IS 'The learner.';
COMMENT ON COLUMN marea.daily_activity.day IS 'Local day of the learner.';
COMMENT ON COLUMN marea.daily_activity.facts IS 'Sessions and events on the day, count: the day is there while there is one; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.sessions IS 'Completed sessions, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.minutes IS 'Time spent, minutes; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.questions IS 'Questions answered, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.correct IS 'Questions answered correctly, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.words IS 'Words learned, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.points IS 'Points awarded; by trigger; fold.';

CREATE OR REPLACE FUNCTION marea.is_active(on_day marea.daily_activity) RETURNS BOOLEAN LANGUAGE sql STABLE
RETURN (on_day).facts > (
    SELECT count(*) FROM marea.progress_events AS e
    WHERE e.user_id = (on_day).user_id AND e.local_date = (on_day).day AND e.freezes_day);

COMMENT ON FUNCTION marea.is_active(marea.daily_activity) IS
    'Whether anything lies on the day but freezes: else it only joins the days around it.';

-- ---------------------------------------------------------------------------------------------------------------------
-- limits
-- ---------------------------------------------------------------------------------------------------------------------

-- Bounds of values: the server refuses what the devices refuse, and of one mutation alone (docs/adr/0075).

CREATE OR REPLACE FUNCTION marea.column_limits()
RETURNS TABLE (relation TEXT, name TEXT, kind TEXT, lowest BIGINT, highest BIGINT) LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT limits.relation, limits.name, limits.kind, limits.lowest, limits.highest
    FROM (VALUES
        ('sessions'::text, 'session_type'::text, 'text'::text, 1::bigint, 50::bigint),
        ('sessions', 'started_at', 'instant', 1970, 9999),
        ('sessions', 'ended_at', 'instant', 1970, 9999),
        ('sessions', 'duration_minutes', 'integer', 0, 1440),
        ('sessions', 'images_processed', 'integer', 0, 1000000),
        ('sessions', 'descriptions_generated', 'integer', 0, 1000000),
        ('sessions', 'qa_attempts', 'integer', 0, 1000000),
        ('sessions', 'qa_correct', 'integer', 0, 1000000),
        ('sessions', 'vocabulary_learned', 'integer', 0, 1000000),
        ('sessions', 'phrases_saved', 'integer', 0, 1000000),
        ('sessions', 'session_data', 'object', 0, 65536),
        ('progress_events', 'occurred_at', 'instant', 1970, 9999),
        ('progress_events', 'local_date', 'day', 1970, 9999),
        ('progress_events', 'descriptions', 'integer', 0, 1000000),
        ('progress_events', 'images', 'integer', 0, 1000000),
        ('progress_events', 'questions_answered', 'integer', 0, 1000000),
        ('progress_events', 'questions_correct', 'integer', 0, 1000000),
        ('progress_events', 'vocabulary_learned', 'integer', 0, 1000000),
        ('progress_events', 'minutes', 'integer', 0, 1000000),
        ('progress_events', 'points', 'integer', 0, 1000000),
        ('progress_events', 'mastered_words', 'integer', -1000000, 1000000),
        ('progress_events', 'learning_words', 'integer', -1000000, 1000000),
        ('progress_events', 'new_words', 'integer', -1000000, 1000000),
        ('progress_events', 'achievements', 'names', 0, 100),
        ('progress_events', 'freezes_day', 'boolean', 0, 1),
        ('export_history', 'export_type', 'text', 1, 50),
        ('export_history', 'export_format', 'text', 1, 20),
        ('export_history', 'filters', 'object', 0, 65536),
        ('export_history', 'created_at', 'instant', 1970, 9999),
        ('export_history', 'status', 'text', 1, 20),
        ('export_history', 'records_count', 'integer', 0, 2147483647),
        ('export_history', 'file_size_bytes', 'bigint', 0, 9223372036854775807),
        ('export_history', 'file_url', 'long_text', 0, 65536),
        ('export_history', 'data', 'json', 0, 65536),
        ('export_history', 'error_message', 'long_text', 0, 65536),
        ('export_history', 'retry_count', 'integer', 0, 2147483647),
        ('export_history', 'started_at', 'instant', 1970, 9999),
        ('export_history', 'completed_at', 'instant', 1970, 9999),
        ('export_history', 'processing_time_seconds', 'integer', 0, 2147483647),
        ('export_history', 'expires_at', 'instant', 1970, 9999),
        ('user_api_keys', 'openai_api_key', 'text', 1, 4096),
        ('user_api_keys', 'unsplash_api_key', 'text', 1, 4096),
        ('user_api_keys', 'anthropic_api_key', 'text', 1, 4096),
        ('user_api_keys', 'last_validated_at', 'instant', 1970, 9999)
    ) AS limits (relation, name, kind, lowest, highest);
END;

COMMENT ON FUNCTION marea.column_limits() IS
    'What every column that a device writes may hold: characters of a text, bytes of JSON, years of instants and days, numbers. The '
    'copy of core/src/model/limits.rs: a test compares them.';

CREATE OR REPLACE FUNCTION marea.has_wrong_type(kind TEXT, given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN given IS NOT NULL AND jsonb_typeof(given) <> 'null' AND CASE kind
    WHEN 'time' THEN jsonb_typeof(given) <> 'string'
        OR (given #>> '{}') !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$'
    WHEN 'integer' THEN jsonb_typeof(given) <> 'number' OR given::text !~ '^-?[0-9]+$'
    WHEN 'bigint' THEN (given #>> '{}') !~ '^-?[0-9]{1,19}$' -- as text, because JavaScript's numbers end at 2^53
    WHEN 'day' THEN NOT coalesce(jsonb_typeof(given) = 'string' AND marea.is_day(given #>> '{}'), false)
    WHEN 'json' THEN false -- whatever the app keeps there
    ELSE jsonb_typeof(given) <> kind
END;

COMMENT ON FUNCTION marea.has_wrong_type(TEXT, JSONB) IS 'Whether a value is there and of the wrong kind.';

CREATE OR REPLACE FUNCTION marea.has_long_number(given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
-- Of numbers that are stored in 8 bytes and printed in 131,072 (1e131071), or in 16,385 (0e-16383). Looks at the number, never at
-- its text. No number that a device can hold is longer: the greatest double has 309 digits, 5e-324 has 324 places. Places that are not
-- sent digit by digit are those of a number near zero, or of zero itself, which no path can tell from a plain one.
RETURN EXISTS (
    SELECT FROM jsonb_path_query(given, 'strict $.** ? (@.type() == "number"
        && ((@ < 1e-400 && @ > -1e-400) || @ > 1.8e308 || @ < -1.8e308))') AS number
    WHERE number <> '0' OR scale(number::numeric) > 400
);

COMMENT ON FUNCTION marea.has_long_number(JSONB) IS
    'Whether there is a number in it beyond 1.8e308 or of more than 400 decimal places, which costs far more to print than to send.';

CREATE OR REPLACE FUNCTION marea.json_problem(given JSONB, highest BIGINT) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE
    -- Shorter than the shortest that could be wrong: nearly always.
    WHEN octet_length(given::text) < 128 THEN NULL
    WHEN octet_length(given::text) > highest THEN 'has more than ' || highest::text || ' bytes as JSON'
    WHEN jsonb_path_exists(given, 'strict $.**{65}') THEN 'is nested more than 64 levels deep'
    WHEN jsonb_path_exists(given, 'strict $.** ? (@.type() == "number" &&
        (@ > 1e308 || @ < -1e308))') THEN 'has a number beyond 1e308, which not every device can hold'
END;

COMMENT ON FUNCTION marea.json_problem(JSONB, BIGINT) IS
    'What is wrong with free-form JSON: too large, too deep, or a number beyond 1e308; NULL: nothing.';

CREATE OR REPLACE FUNCTION marea.value_problem(kind TEXT, given JSONB, lowest BIGINT, highest BIGINT) RETURNS TEXT
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN given IS NULL OR jsonb_typeof(given) = 'null' THEN NULL
    WHEN kind IN ('text', 'long_text') AND jsonb_typeof(given) <> 'string' THEN 'must be a text'
    WHEN kind = 'text' THEN CASE WHEN length(given #>> '{}') NOT BETWEEN lowest AND highest
        THEN format('must have %s to %s characters', lowest, highest) END
    WHEN kind = 'long_text' THEN CASE WHEN octet_length(given::text) > highest
        THEN format('has more than %s bytes as JSON', highest) END
    WHEN kind IN ('integer', 'bigint') THEN CASE
        WHEN marea.has_wrong_type(kind, given) THEN 'must be an integer'
        WHEN (given #>> '{}')::numeric NOT BETWEEN lowest AND highest
            THEN format('must be a whole number from %s to %s', lowest, highest) END
    WHEN kind = 'instant' THEN CASE
        WHEN marea.has_wrong_type('time', given)
            OR substr(given #>> '{}', 12, 8) !~ '^([01][0-9]|2[0-3])(:[0-5][0-9]){2}$' THEN 'must be a time'
        WHEN substr(given #>> '{}', 1, 4)::int NOT BETWEEN lowest AND highest
            THEN format('must be in the years %s to %s', lowest, highest)
        WHEN NOT marea.is_day(left(given #>> '{}', 10)) THEN 'must be on a day that the calendar has' END
    WHEN kind = 'day' THEN CASE WHEN marea.has_wrong_type('day', given)
        THEN format('must be a day (YYYY-MM-DD) in the years %s to %s', lowest, highest) END
    WHEN kind = 'boolean' THEN CASE WHEN jsonb_typeof(given) <> 'boolean' THEN 'must be true or false' END
    WHEN kind IN ('object', 'names') AND jsonb_typeof(given) <> 'object' THEN 'must be an object'
    WHEN kind = 'names' THEN CASE WHEN (
            SELECT count(*) > highest OR NOT coalesce(bool_and(length(name) BETWEEN 1 AND 100), true)
            FROM jsonb_object_keys(given) AS name
        ) THEN format('at most %s, each a name of 1 to 100 characters', highest) END
    ELSE marea.json_problem(given, highest)
END;

COMMENT ON FUNCTION marea.value_problem(TEXT, JSONB, BIGINT, BIGINT) IS
    'What is wrong with a value for a column of that kind and these bounds; NULL: nothing. What is null or missing is right.';

CREATE OR REPLACE FUNCTION marea.values_problem(relation TEXT, given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN (
    SELECT min(CASE
        WHEN known.kind IS NULL THEN 'values: unknown column ' || field.key
        ELSE 'values.' || field.key || ': ' || marea.value_problem(known.kind, field.value, known.lowest, known.highest)
    END)
    FROM jsonb_each(given) AS field
    LEFT JOIN marea.column_limits() AS known ON known.relation = values_problem.relation AND known.name = field.key
    WHERE field.key <> 'id'
);

COMMENT ON FUNCTION marea.values_problem(TEXT, JSONB) IS
    'What is wrong with the values of a row, column by column; NULL: nothing.';

-- ---------------------------------------------------------------------------------------------------------------------
-- fold
-- ---------------------------------------------------------------------------------------------------------------------

-- Fold: sessions and events into daily_activity and user_progress.
--
-- Days that lie ahead: a session that a wrong clock dates years from now ends no streak. Its totals count at once, its day counts
-- for the streaks once it has come. Daily activity has it all the time (docs/adr/0077).

CREATE OR REPLACE FUNCTION marea.non_negative(given INTEGER) RETURNS INTEGER LANGUAGE sql IMMUTABLE
RETURN greatest(coalesce(given, 0), 0);

COMMENT ON FUNCTION marea.non_negative(INTEGER) IS 'A metric as the fold counts it: NULL and negative are 0.';

CREATE OR REPLACE FUNCTION marea.saturated(given NUMERIC) RETURNS INTEGER LANGUAGE sql IMMUTABLE
RETURN least(greatest(given, -2147483648), 2147483647)::integer;

COMMENT ON FUNCTION marea.saturated(NUMERIC) IS
    'A sum as progress keeps it: at the end of the numbers it stays, on devices too, and no session is refused for it.';

CREATE OR REPLACE FUNCTION marea.union_achievements(one JSONB, other JSONB) RETURNS JSONB LANGUAGE sql IMMUTABLE
RETURN one || coalesce((
    SELECT jsonb_object_agg(unlocked.key, unlocked.value)
    FROM jsonb_each(other) AS unlocked
    -- What is no text is not ours to judge; it was there first.
    WHERE NOT one ? unlocked.key
       OR (jsonb_typeof(one -> unlocked.key) = 'string'
           AND (unlocked.value #>> '{}') COLLATE "C" < (one ->> unlocked.key) COLLATE "C")
), '{}');

COMMENT ON FUNCTION marea.union_achievements(JSONB, JSONB) IS 'Union of two maps; the earlier unlock wins.';

DO $$
BEGIN
    IF to_regtype('marea.fact') IS NULL THEN
        -- What one session or event, or all of a learner's day, adds. What is taken out has minus signs and a removed_at.
        CREATE TYPE marea.fact AS (
            user_id        UUID,
            day            DATE,
            facts          BIGINT,
            sessions       BIGINT,
            minutes        BIGINT,
            questions      BIGINT,
            correct        BIGINT,
            words          BIGINT,
            points         BIGINT,
            descriptions   BIGINT,
            images         BIGINT,
            mastered       BIGINT,
            learning       BIGINT,
            fresh          BIGINT,
            activity_at    TIMESTAMPTZ,
            description_at TIMESTAMPTZ,
            qa_at          TIMESTAMPTZ,
            words_at       TIMESTAMPTZ,
            removed_at     TIMESTAMPTZ,
            achievements   JSONB
        );
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.session_fact(
    sign INTEGER, user_id UUID, ended_at TIMESTAMPTZ, local_date TEXT, minutes INTEGER, images INTEGER,
    descriptions INTEGER, answered INTEGER, correct INTEGER, words INTEGER
) RETURNS marea.fact LANGUAGE sql IMMUTABLE
RETURN ROW(
    user_id, marea.local_day(local_date, ended_at), sign, sign, sign * marea.non_negative(minutes),
    sign * marea.non_negative(answered), sign * marea.non_negative(correct), sign * marea.non_negative(words), 0,
    sign * marea.non_negative(descriptions), sign * marea.non_negative(images), 0, 0, 0,
    CASE WHEN sign > 0 THEN ended_at END, CASE WHEN sign > 0 AND descriptions > 0 THEN ended_at END,
    CASE WHEN sign > 0 AND answered > 0 THEN ended_at END, CASE WHEN sign > 0 AND words > 0 THEN ended_at END,
    CASE WHEN sign < 0 THEN ended_at END, NULL
)::marea.fact;

COMMENT ON FUNCTION marea.session_fact(INTEGER, UUID, TIMESTAMPTZ, TEXT, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER)
    IS 'What a completed session adds (sign 1) or takes out (sign -1).';

CREATE OR REPLACE FUNCTION marea.event_fact(sign INTEGER, event marea.progress_events) RETURNS marea.fact
LANGUAGE sql IMMUTABLE
RETURN ROW(
    (event).user_id, (event).local_date, sign, 0, sign::bigint * (event).minutes, sign::bigint * (event).questions_answered,
    sign::bigint * (event).questions_correct, sign::bigint * (event).vocabulary_learned, sign::bigint * (event).points,
    sign::bigint * (event).descriptions, sign::bigint * (event).images, sign::bigint * (event).mastered_words,
    sign::bigint * (event).learning_words, sign::bigint * (event).new_words,
    CASE WHEN sign > 0 AND NOT (event).freezes_day THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND (event).descriptions > 0 THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND (event).questions_answered > 0 THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND ((event).vocabulary_learned > 0 OR (event).mastered_words <> 0
        OR (event).learning_words <> 0 OR (event).new_words <> 0) THEN (event).occurred_at END,
    CASE WHEN sign < 0 THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND (event).achievements <> '{}' THEN (event).achievements END
)::marea.fact;

COMMENT ON FUNCTION marea.event_fact(INTEGER, marea.progress_events) IS
    'What an event adds (sign 1) or takes out (sign -1). Achievements are never taken out.';

CREATE OR REPLACE FUNCTION marea.fold_many(given marea.fact[]) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
-- Adds facts to daily_activity and user_progress, so that both equal the fold of everything that is there. The
-- learner's progress row is locked before anything is read or added: it is the mutex of that learner's fold.
-- plan_cache_mode: a plan for the very array at hand always looks a little cheaper, and making one costs 2 ms each time.
DECLARE
    days      marea.fact[];
    takes_out BOOLEAN;
    most      BIGINT;
    tomorrow  CONSTANT DATE := marea.tomorrow();
BEGIN
    -- By learner and day. A learner who is being deleted takes everything along and is gone already.
    SELECT array_agg(on_day::marea.fact ORDER BY on_day.user_id, on_day.day), bool_or(on_day.removed_at IS NOT NULL)
    INTO days, takes_out
    FROM (
        SELECT fact.user_id, fact.day, sum(fact.facts)::bigint AS facts, sum(fact.sessions)::bigint AS sessions,
               sum(fact.minutes)::bigint AS minutes, sum(fact.questions)::bigint AS questions,
               sum(fact.correct)::bigint AS correct, sum(fact.words)::bigint AS words,
               sum(fact.points)::bigint AS points, sum(fact.descriptions)::bigint AS descriptions,
               sum(fact.images)::bigint AS images, sum(fact.mastered)::bigint AS mastered,
               sum(fact.learning)::bigint AS learning, sum(fact.fresh)::bigint AS fresh,
               max(fact.activity_at) AS activity_at, max(fact.description_at) AS description_at,
               max(fact.qa_at) AS qa_at, max(fact.words_at) AS words_at, max(fact.removed_at) AS removed_at,
               NULL::jsonb AS achievements
        FROM unnest(given) AS fact
        GROUP BY fact.user_id, fact.day
    ) AS on_day
    WHERE EXISTS (SELECT FROM public.users WHERE users.id = on_day.user_id);

    IF days IS NULL THEN
        RETURN;
    END IF;

    IF EXISTS (
        SELECT FROM unnest(days) AS fact
        WHERE NOT EXISTS (SELECT FROM public.user_progress WHERE user_progress.user_id = fact.user_id)
    ) THEN
        INSERT INTO public.user_progress (user_id)
        SELECT DISTINCT fact.user_id FROM unnest(days) AS fact ORDER BY fact.user_id
        ON CONFLICT (user_id) DO NOTHING;
    END IF;
    PERFORM FROM public.user_progress AS p
    WHERE p.user_id IN (SELECT fact.user_id FROM unnest(days) AS fact)
    ORDER BY p.user_id FOR NO KEY UPDATE OF p;

    -- What lay beyond the end of the numbers is not known any more: the sums are made from nothing.
    IF takes_out AND EXISTS (
        SELECT FROM public.user_progress AS p
        WHERE p.user_id IN (SELECT fact.user_id FROM unnest(days) AS fact)
          AND greatest(p.total_time_spent_minutes, p.total_questions_answered, p.total_questions_correct,
              p.total_vocabulary_learned, p.total_points, p.total_descriptions, p.total_images, abs(p.mastered_words_count::bigint),
              abs(p.learning_words_count::bigint), abs(p.new_words_count::bigint)) >= 2147483647
    ) THEN
        PERFORM marea.refold(ARRAY(SELECT DISTINCT fact.user_id FROM unnest(days) AS fact));
        RETURN;
    END IF;

    INSERT INTO marea.daily_activity AS d (user_id, day, facts, sessions, minutes, questions, correct, words, points)
    SELECT fact.user_id, fact.day, fact.facts, fact.sessions, marea.saturated(fact.minutes), marea.saturated(fact.questions),
           marea.saturated(fact.correct), marea.saturated(fact.words), marea.saturated(fact.points)
    FROM unnest(days) AS fact
    ON CONFLICT (user_id, day) DO UPDATE SET
        facts = d.facts + EXCLUDED.facts, sessions = d.sessions + EXCLUDED.sessions,
        minutes = marea.saturated(d.minutes::numeric + EXCLUDED.minutes),
        questions = marea.saturated(d.questions::numeric + EXCLUDED.questions),
        correct = marea.saturated(d.correct::numeric + EXCLUDED.correct),
        words = marea.saturated(d.words::numeric + EXCLUDED.words),
        points = marea.saturated(d.points::numeric + EXCLUDED.points);

    IF takes_out THEN
        DELETE FROM marea.daily_activity AS d USING unnest(days) AS fact
        WHERE d.user_id = fact.user_id AND d.day = fact.day AND d.facts <= 0;
    END IF;

    UPDATE public.user_progress AS p SET
        total_sessions = n.sessions,
        total_time_spent_minutes = n.minutes,
        total_questions_answered = n.questions,
        total_questions_correct = n.correct,
        total_vocabulary_learned = n.words,
        total_points = n.points,
        total_descriptions = n.descriptions,
        total_images = n.images,
        mastered_words_count = n.mastered,
        learning_words_count = n.learning,
        new_words_count = n.fresh,
        average_accuracy = CASE WHEN n.questions <= 0 THEN 0
            ELSE least(100, round(100::numeric * n.correct / n.questions, 2)) END,
        average_completion_time_seconds = CASE WHEN n.sessions <= 0 THEN 0
            ELSE marea.saturated(round(60::numeric * n.minutes / n.sessions)) END,
        last_activity_at = n.activity_at,
        last_description_at = n.description_at,
        last_qa_session_at = n.qa_at,
        last_vocabulary_practice_at = n.words_at,
        last_active_on = n.last_day,
        current_streak_days = n.streak,
        longest_streak_days = n.longest
    FROM (
        SELECT old.user_id,
               old.total_sessions + new.sessions AS sessions,
               marea.saturated(old.total_time_spent_minutes + new.minutes) AS minutes,
               marea.saturated(old.total_questions_answered + new.questions) AS questions,
               marea.saturated(old.total_questions_correct + new.correct) AS correct,
               marea.saturated(old.total_vocabulary_learned + new.words) AS words,
               marea.saturated(old.total_points + new.points) AS points,
               marea.saturated(old.total_descriptions + new.descriptions) AS descriptions,
               marea.saturated(old.total_images + new.images) AS images,
               marea.saturated(old.mastered_words_count + new.mastered) AS mastered,
               marea.saturated(old.learning_words_count + new.learning) AS learning,
               marea.saturated(old.new_words_count + new.fresh) AS fresh,
               CASE WHEN how.reread_maxima THEN greatest(latest.activity_at, kept.activity_at)
                   ELSE greatest(old.last_activity_at, new.activity_at) END AS activity_at,
               CASE WHEN how.reread_maxima THEN greatest(latest.description_at, kept.description_at)
                   ELSE greatest(old.last_description_at, new.description_at) END AS description_at,
               CASE WHEN how.reread_maxima THEN greatest(latest.qa_at, kept.qa_at)
                   ELSE greatest(old.last_qa_session_at, new.qa_at) END AS qa_at,
               CASE WHEN how.reread_maxima THEN greatest(latest.words_at, kept.words_at)
                   ELSE greatest(old.last_vocabulary_practice_at, new.words_at) END AS words_at,
               CASE WHEN how.recount_days THEN runs.last_day ELSE new.last_day END AS last_day,
               CASE WHEN how.recount_days THEN coalesce(runs.streak, 0) ELSE next.streak END AS streak,
               CASE WHEN how.recount_days THEN greatest(runs.longest, kept.longest_streak_days, 0)
                   ELSE greatest(old.longest_streak_days, next.streak) END AS longest
        FROM (
            SELECT fact.user_id, sum(fact.sessions) AS sessions, sum(fact.minutes) AS minutes,
                   sum(fact.questions) AS questions, sum(fact.correct) AS correct, sum(fact.words) AS words,
                   sum(fact.points) AS points, sum(fact.descriptions) AS descriptions, sum(fact.images) AS images,
                   sum(fact.mastered) AS mastered, sum(fact.learning) AS learning, sum(fact.fresh) AS fresh,
                   max(fact.activity_at) AS activity_at, max(fact.description_at) AS description_at,
                   max(fact.qa_at) AS qa_at, max(fact.words_at) AS words_at, max(fact.removed_at) AS removed_at,
                   min(fact.day) AS first_day, max(fact.day) AS last_day
            FROM unnest(days) AS fact
            GROUP BY fact.user_id
        ) AS new
        JOIN public.user_progress AS old ON old.user_id = new.user_id
        -- Looking at everything again is only needed when a latest fact may have gone, when days came out of order, or when
        -- days lie ahead, or have lain ahead and have come since.
        CROSS JOIN LATERAL (
            SELECT coalesce(new.removed_at >= least(old.last_activity_at, old.last_description_at,
                       old.last_qa_session_at, old.last_vocabulary_practice_at), false) AS reread_maxima,
                   new.removed_at IS NOT NULL OR new.first_day < new.last_day
                       OR coalesce(new.first_day < old.last_active_on, false)
                       OR greatest(new.last_day, old.last_active_on) > tomorrow
                       OR EXISTS (SELECT FROM marea.progress_events AS e
                           WHERE e.user_id = new.user_id AND e.local_date = new.last_day AND e.freezes_day)
                       OR EXISTS (
                           SELECT FROM marea.daily_activity AS d
                           WHERE d.user_id = new.user_id AND d.day <= tomorrow AND d.day <> new.last_day
                             AND d.day > coalesce(old.last_active_on, '-infinity')
                       ) AS recount_days
        ) AS how
        CROSS JOIN LATERAL (
            SELECT CASE new.last_day - old.last_active_on
                WHEN 0 THEN old.current_streak_days
                WHEN 1 THEN old.current_streak_days + 1
                ELSE 1
            END AS streak
        ) AS next
        CROSS JOIN LATERAL (
            SELECT max(done.at) AS activity_at, max(done.at) FILTER (WHERE done.descriptions) AS description_at,
                   max(done.at) FILTER (WHERE done.questions) AS qa_at, max(done.at) FILTER (WHERE done.words) AS words_at
            FROM (
                SELECT ended_at AS at, descriptions_generated > 0 AS descriptions, qa_attempts > 0 AS questions,
                       vocabulary_learned > 0 AS words
                FROM public.sessions
                WHERE how.reread_maxima AND sessions.user_id = new.user_id AND isfinite(ended_at)
                UNION ALL
                SELECT occurred_at, descriptions > 0, questions_answered > 0, vocabulary_learned > 0
                       OR mastered_words <> 0 OR learning_words <> 0 OR new_words <> 0
                FROM marea.progress_events
                WHERE how.reread_maxima AND progress_events.user_id = new.user_id AND NOT freezes_day
            ) AS done
        ) AS latest
        CROSS JOIN LATERAL (
            SELECT max(k.activity_at) AS activity_at, max(k.description_at) AS description_at, max(k.qa_at) AS qa_at,
                   max(k.words_at) AS words_at, max(k.longest_streak_days) AS longest_streak_days
            FROM marea.kept_facts AS k
            WHERE (how.reread_maxima OR how.recount_days) AND k.user_id = new.user_id
        ) AS kept
        -- Days that follow one another have the same distance to their rank: that distance names the run.
        CROSS JOIN LATERAL (
            SELECT max(run.last_day) AS last_day, max(run.days) AS longest,
                   (array_agg(run.days ORDER BY run.last_day DESC))[1] AS streak
            FROM (
                SELECT max(ranked.day) AS last_day, count(*) FILTER (WHERE ranked.active) AS days
                FROM (
                    SELECT NOT frozen.any_day OR marea.is_active(d) AS active, d.day, d.day - (row_number() OVER (ORDER BY d.day))::int AS run
                    -- Nearly nobody has any, and then no day has to be looked at for them.
                    FROM (SELECT EXISTS (SELECT FROM marea.progress_events AS e WHERE e.user_id = new.user_id AND e.freezes_day)) AS frozen (any_day)
                    JOIN marea.daily_activity AS d ON d.user_id = new.user_id
                    WHERE how.recount_days AND d.day <= tomorrow
                ) AS ranked
                GROUP BY ranked.run
            ) AS run
        ) AS runs
    ) AS n
    WHERE p.user_id = n.user_id;

    IF EXISTS (SELECT FROM unnest(given) AS fact WHERE fact.achievements IS NOT NULL) THEN
        WITH unlocked AS (
        UPDATE public.user_progress AS p SET achievements = marea.union_achievements(p.achievements, n.unlocked)
        FROM (
            SELECT earliest.user_id, jsonb_object_agg(earliest.name, earliest.at) AS unlocked
            FROM (
                SELECT fact.user_id, unlocked.key AS name, min(unlocked.value COLLATE "C") AS at
                FROM unnest(given) AS fact, jsonb_each_text(fact.achievements) AS unlocked
                GROUP BY fact.user_id, unlocked.key
            ) AS earliest
            GROUP BY earliest.user_id
        ) AS n
        WHERE p.user_id = n.user_id
          AND p.achievements IS DISTINCT FROM marea.union_achievements(p.achievements, n.unlocked)
        RETURNING p.achievements
        )
        SELECT max((SELECT count(*) FROM jsonb_object_keys(u.achievements))) INTO most FROM unlocked AS u;
        -- Each award is sent to each device with all of them.
        IF most > 1000 THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'values.achievements: a learner has at most 1000';
        END IF;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.fold_many(marea.fact[]) IS 'Adds any number of facts of any learners, by learner and day.';

CREATE OR REPLACE FUNCTION marea.fold_one(fact marea.fact) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- What marea.fold does with one fact that is added on the learner's latest day or after it: two statements for five. False,
-- and nothing done, for every other fact. The progress row is changed first: it is the mutex of the learner's fold.
DECLARE
    tomorrow CONSTANT DATE := marea.tomorrow();
BEGIN
    IF fact.day > tomorrow OR fact.removed_at IS NOT NULL OR fact.achievements IS NOT NULL OR EXISTS (
        SELECT FROM marea.progress_events AS e WHERE e.user_id = fact.user_id AND e.local_date = fact.day AND e.freezes_day
    ) THEN
        RETURN false;
    END IF;
    UPDATE public.user_progress AS p SET
        total_sessions = p.total_sessions + fact.sessions,
        total_time_spent_minutes = marea.saturated(p.total_time_spent_minutes::numeric + fact.minutes),
        total_questions_answered = marea.saturated(p.total_questions_answered::numeric + fact.questions),
        total_questions_correct = marea.saturated(p.total_questions_correct::numeric + fact.correct),
        total_vocabulary_learned = marea.saturated(p.total_vocabulary_learned::numeric + fact.words),
        total_points = marea.saturated(p.total_points::numeric + fact.points),
        total_descriptions = marea.saturated(p.total_descriptions::numeric + fact.descriptions),
        total_images = marea.saturated(p.total_images::numeric + fact.images),
        mastered_words_count = marea.saturated(p.mastered_words_count::numeric + fact.mastered),
        learning_words_count = marea.saturated(p.learning_words_count::numeric + fact.learning),
        new_words_count = marea.saturated(p.new_words_count::numeric + fact.fresh),
        average_accuracy = CASE WHEN p.total_questions_answered + fact.questions <= 0 THEN 0 ELSE least(100, round(
            100::numeric * marea.saturated(p.total_questions_correct::numeric + fact.correct)
            / marea.saturated(p.total_questions_answered::numeric + fact.questions), 2)) END,
        average_completion_time_seconds = CASE WHEN p.total_sessions + fact.sessions <= 0 THEN 0 ELSE marea.saturated(round(
            60::numeric * marea.saturated(p.total_time_spent_minutes::numeric + fact.minutes)
            / (p.total_sessions + fact.sessions))) END,
        last_activity_at = greatest(p.last_activity_at, fact.activity_at),
        last_description_at = greatest(p.last_description_at, fact.description_at),
        last_qa_session_at = greatest(p.last_qa_session_at, fact.qa_at),
        last_vocabulary_practice_at = greatest(p.last_vocabulary_practice_at, fact.words_at),
        last_active_on = fact.day,
        current_streak_days = CASE fact.day - p.last_active_on
            WHEN 0 THEN p.current_streak_days WHEN 1 THEN p.current_streak_days + 1 ELSE 1 END,
        longest_streak_days = greatest(p.longest_streak_days, CASE fact.day - p.last_active_on
            WHEN 0 THEN p.current_streak_days WHEN 1 THEN p.current_streak_days + 1 ELSE 1 END)
    WHERE p.user_id = fact.user_id AND (fact.day < p.last_active_on) IS NOT TRUE
      -- Nor have days come that lay ahead when they were recorded.
      AND NOT EXISTS (
          SELECT FROM marea.daily_activity AS d
          WHERE d.user_id = fact.user_id AND d.day <= tomorrow AND d.day <> fact.day
            AND d.day > coalesce(p.last_active_on, '-infinity'));
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- An INSERT ... ON CONFLICT would fire the triggers of both, INSERT and UPDATE.
    IF EXISTS (SELECT FROM marea.daily_activity AS d WHERE d.user_id = fact.user_id AND d.day = fact.day) THEN
        UPDATE marea.daily_activity AS d SET
            facts = d.facts + fact.facts, sessions = d.sessions + fact.sessions,
            minutes = marea.saturated(d.minutes::numeric + fact.minutes),
            questions = marea.saturated(d.questions::numeric + fact.questions),
            correct = marea.saturated(d.correct::numeric + fact.correct),
            words = marea.saturated(d.words::numeric + fact.words),
            points = marea.saturated(d.points::numeric + fact.points)
        WHERE d.user_id = fact.user_id AND d.day = fact.day;
    ELSE
        INSERT INTO marea.daily_activity (user_id, day, facts, sessions, minutes, questions, correct, words, points)
        VALUES (fact.user_id, fact.day, fact.facts, fact.sessions, fact.minutes, fact.questions, fact.correct, fact.words,
            fact.points);
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION marea.fold_one(marea.fact) IS
    'Adds one fact of the latest day or after it, as marea.fold does; false: it is another one, and nothing was done.';

CREATE OR REPLACE FUNCTION marea.fold(given marea.fact[]) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One fact of one learner: nearly every statement.
    IF NOT (cardinality(given) = 1 AND marea.fold_one(given[1])) THEN
        PERFORM marea.fold_many(given);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.fold(marea.fact[]) IS
    'Adds facts to daily_activity and user_progress: one by marea.fold_one where that can, else all by marea.fold_many.';

-- ---------------------------------------------------------------------------------------------------------------------
-- versions
-- ---------------------------------------------------------------------------------------------------------------------

-- Versions: what changed gets its user's next ones, at the end of the transaction.

CREATE OR REPLACE FUNCTION marea.settle_clocks() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
-- Called by whatever reads or writes clocks in marea.rows before the versions are given: then those that were to come with them must be
-- there. Nearly always there are none, and a line is written once.
BEGIN
    IF NOT EXISTS (SELECT FROM marea.pending AS p WHERE p.xact = pg_current_xact_id_if_assigned() AND p.clocks IS NOT NULL) THEN
        RETURN;
    END IF;
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, hlc)
    SELECT k.user_id, p.table_name, k.row_key, replace(p.clocks, chr(1), k.stamp)::jsonb
    FROM marea.pending AS p, unnest(p.user_ids, p.row_keys, p.stamps) AS k (user_id, row_key, stamp)
    WHERE p.xact = pg_current_xact_id() AND p.clocks IS NOT NULL
    ORDER BY k.user_id, p.table_name, k.row_key
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET deleted = false, hlc = r.hlc || EXCLUDED.hlc;
    UPDATE marea.pending AS p SET clocks = NULL, stamps = NULL WHERE p.xact = pg_current_xact_id() AND p.clocks IS NOT NULL;
END
$$;

COMMENT ON FUNCTION marea.settle_clocks() IS 'Writes the clocks into marea.rows that were to come with the versions of this transaction.';

CREATE OR REPLACE FUNCTION marea.assign_versions() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
-- The first firing gives versions to everything that the transaction has changed so far, users in one order for all transactions;
-- the later ones find their row gone. By primary key, whatever the planner thinks of so small a table: a scan would walk
-- over the transaction's dead rows, all of them for each.
DECLARE
    began     CONSTANT TIMESTAMPTZ := clock_timestamp();
    this_hour CONSTANT TIMESTAMPTZ := date_trunc('hour', began);
    this_run  BIGINT;
    is_moving BOOLEAN;
BEGIN
    IF NOT EXISTS (SELECT FROM marea.pending WHERE xact = NEW.xact AND seq = NEW.seq) THEN
        RETURN NULL;
    END IF;
    this_run := marea.this_run_number();

    WITH taken AS (
        DELETE FROM marea.pending WHERE xact = NEW.xact AND seq >= NEW.seq
        RETURNING seq, table_name, deleted, user_ids, row_keys, clocks, stamps
    ), changed AS MATERIALIZED (
        SELECT DISTINCT ON (k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text))
               k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text) AS row_key, t.deleted, t.seq, t.clocks, k.stamp
        FROM taken AS t, unnest(t.user_ids, t.row_keys, t.stamps) AS k (user_id, row_key, stamp)
        ORDER BY k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text), t.seq DESC
    ), bumped AS (
        INSERT INTO marea.clocks AS c (user_id, version, run)
        SELECT per_user.user_id, per_user.changes, this_run
        FROM (SELECT user_id, count(*) AS changes FROM changed GROUP BY user_id) AS per_user
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = per_user.user_id)
        ORDER BY per_user.user_id
        ON CONFLICT (user_id) DO UPDATE SET
            version = c.version + EXCLUDED.version,
            run = EXCLUDED.run,
            checked_at = CASE WHEN c.checked_at < this_hour THEN began ELSE c.checked_at END,
            checked_version = CASE WHEN c.checked_at < this_hour THEN c.version ELSE c.checked_version END
        RETURNING c.user_id, c.version, c.checked_at, c.checked_version, c.moving
    ), checked AS (
        INSERT INTO marea.checkpoints (user_id, at, version)
        SELECT b.user_id, b.checked_at, b.checked_version FROM bumped AS b WHERE b.checked_at = began
        ON CONFLICT (user_id, at) DO NOTHING
    ), lines AS (
        INSERT INTO marea.rows AS r (user_id, table_name, row_key, version, deleted, hlc)
        SELECT numbered.user_id, numbered.table_name, numbered.row_key, b.version - numbered.place, numbered.deleted,
               coalesce(replace(numbered.clocks, chr(1), numbered.stamp)::jsonb, '{}')
        FROM (
            SELECT changed.*, row_number() OVER (PARTITION BY user_id ORDER BY seq DESC, table_name DESC, row_key DESC) - 1 AS place
            FROM changed
        ) AS numbered
        JOIN bumped AS b ON b.user_id = numbered.user_id
        ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET
            version = EXCLUDED.version,
            deleted = EXCLUDED.deleted,
            changed_at = EXCLUDED.changed_at,
            -- A deleted row's clocks are of no more use, but for that of its deletion: an older write must not bring it back. Deleted
            -- keys may be written again, and then an older write must still lose.
            hlc = CASE WHEN NOT EXCLUDED.deleted AND EXCLUDED.hlc <> '{}' THEN r.hlc || EXCLUDED.hlc
                WHEN NOT EXCLUDED.deleted OR r.table_name = 'user_api_keys' THEN r.hlc
                WHEN r.hlc ? '*' THEN jsonb_build_object('*', r.hlc -> '*') ELSE '{}' END
    )
    SELECT bool_or(b.moving) INTO is_moving FROM bumped AS b;
    IF is_moving THEN
        -- Told by the clock, which whoever moves a user has held: a transaction that began before and ends after is told too.
        RAISE EXCEPTION USING ERRCODE = 'PT421', MESSAGE = 'the user''s data is on its way to another server, or there already',
            HINT = 'SELECT * FROM marea.moved says where; marea.stop_move() takes it back.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.assign_versions() IS 'Trigger: gives versions to all that the transaction changed; takes the clocks, last of all.';

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'marea.pending'::regclass AND tgname = 'pending_assign_versions') THEN
        CREATE CONSTRAINT TRIGGER pending_assign_versions AFTER INSERT ON marea.pending
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION marea.assign_versions();
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- wakeups
-- ---------------------------------------------------------------------------------------------------------------------

-- Wake-ups: a change tells the user's other devices that there is something to pull, so that they need not wait for their next look.
-- Off until marea.set_wakeups(true). Only the news goes out, never a row; a device that misses it sees the change at its next look.

CREATE OR REPLACE FUNCTION marea.has_wakeups() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on');
END
$$;

COMMENT ON FUNCTION marea.has_wakeups() IS 'Whether wake-ups are on. Answers to devices say so; they ask for a socket only then.';

CREATE OR REPLACE FUNCTION marea.wake_devices() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
-- Once for a user and transaction, and for at most 100 users: a job that changes more is nobody's to hear of at once. The first
-- version of a transaction says enough, because its changes are seen together.
DECLARE
    most   CONSTANT INTEGER := 100;
    writer CONSTANT TEXT := nullif(current_setting('marea.writer', true), '');
    woken  UUID[] := coalesce(nullif(current_setting('marea.woken', true), ''), '{}')::uuid[];
    moved  UUID[];
    latest BIGINT[];
    fresh  UUID[];
    sends  BOOLEAN;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id), array_agg(n.version) INTO moved, latest
        FROM (SELECT g.user_id, g.version FROM given AS g WHERE g.version > 0 LIMIT most + 1) AS n;
    ELSE
        SELECT array_agg(n.user_id), array_agg(n.version) INTO moved, latest
        FROM (
            SELECT g.user_id, g.version FROM given AS g JOIN earlier AS e ON e.user_id = g.user_id
            WHERE g.version > e.version LIMIT most + 1
        ) AS n;
    END IF;
    fresh := ARRAY(SELECT m.id FROM unnest(moved) AS m (id) WHERE m.id <> ALL (woken));
    IF fresh = '{}' THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('marea.woken', (woken || fresh)::text, true);
    IF cardinality(woken || fresh) > most THEN
        RETURN NULL;
    END IF;
    sends := to_regprocedure('realtime.send(jsonb,text,text,boolean)') IS NOT NULL;
    FOR i IN 1 .. cardinality(moved) LOOP
        CONTINUE WHEN moved[i] = ANY (woken);
        IF sends THEN
            EXECUTE 'SELECT realtime.send($1, ''changed'', $2, true)'
            USING jsonb_build_object('version', latest[i], 'writer', writer), 'marea:' || moved[i];
        ELSE
            PERFORM pg_notify('marea_wakeups',
                jsonb_build_object('user', moved[i], 'version', latest[i], 'writer', writer)::text);
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- Whoever writes must not suffer from it. LOG is for the server's log alone.
    RAISE LOG 'marea.wake_devices: %', SQLSTATE;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.wake_devices() IS
    'Trigger, there while wake-ups are on: tells the devices of each user whose clock moved, by realtime.send or else by NOTIFY.';

CREATE OR REPLACE FUNCTION marea.set_wakeups(wanted BOOLEAN) RETURNS TEXT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- The triggers are there only while wake-ups are on, so that nobody pays for them otherwise.
DECLARE
    has_channels CONSTANT BOOLEAN := to_regclass('realtime.messages') IS NOT NULL AND to_regprocedure('realtime.topic()') IS NOT NULL;
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'wanted: must be true or false';
    END IF;
    INSERT INTO marea.settings AS s (name, value) VALUES ('wakeups', CASE WHEN wanted THEN 'on' ELSE 'off' END)
    ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value WHERE s.value <> EXCLUDED.value;
    IF NOT wanted THEN
        DROP TRIGGER IF EXISTS clocks_wake_inserted ON marea.clocks;
        DROP TRIGGER IF EXISTS clocks_wake_updated ON marea.clocks;
        IF to_regclass('realtime.messages') IS NOT NULL THEN
            DROP POLICY IF EXISTS marea_wakeups_select ON realtime.messages;
        END IF;
        RETURN 'off';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'marea.clocks'::regclass AND tgname = 'clocks_wake_inserted') THEN
        CREATE TRIGGER clocks_wake_inserted AFTER INSERT ON marea.clocks REFERENCING NEW TABLE AS given
            FOR EACH STATEMENT EXECUTE FUNCTION marea.wake_devices();
        CREATE TRIGGER clocks_wake_updated AFTER UPDATE ON marea.clocks REFERENCING OLD TABLE AS earlier NEW TABLE AS given
            FOR EACH STATEMENT EXECUTE FUNCTION marea.wake_devices();
    END IF;
    IF has_channels AND NOT EXISTS (
        SELECT FROM pg_policy WHERE polrelid = to_regclass('realtime.messages') AND polname = 'marea_wakeups_select'
    ) THEN
        -- To listen, on one's own topic alone. There is no policy for INSERT: nobody but the server speaks there.
        CREATE POLICY marea_wakeups_select ON realtime.messages FOR SELECT TO authenticated
            USING (extension = 'broadcast' AND (SELECT realtime.topic()) = 'marea:' || (SELECT marea.user_id())::text);
    END IF;
    RETURN CASE WHEN has_channels THEN 'realtime' ELSE 'notify' END;
END
$$;

COMMENT ON FUNCTION marea.set_wakeups(BOOLEAN) IS
    'Switches wake-ups on or off, and says what carries them: realtime, notify or off. May be run again, as when Realtime came later.';

REVOKE ALL ON FUNCTION marea.has_wakeups, marea.wake_devices, marea.set_wakeups FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.has_wakeups TO authenticated;

-- What a newer version of this makes is made where they are on already.
DO $$ BEGIN PERFORM marea.set_wakeups(true) WHERE marea.has_wakeups(); END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- tracking
-- ---------------------------------------------------------------------------------------------------------------------

-- Tracking: which rows a statement changed. enable_nestloop: a plan is made with the first statement's few rows in mind and kept;
-- joining the old and new rows of a bulk statement that way would take hours.

CREATE OR REPLACE FUNCTION marea.track_user_progress() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    changed UUID[];
    gone    UUID[];
    moves   BOOLEAN;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id) INTO changed FROM added AS n;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(o.user_id) INTO gone FROM removed AS o;
    ELSE
        SELECT array_agg(n.user_id), bool_or(n.user_id IS DISTINCT FROM o.user_id) INTO changed, moves
        FROM added AS n LEFT JOIN removed AS o ON o.id = n.id
        WHERE ROW(n.user_id, n.total_descriptions, n.total_images, n.total_questions_answered, n.total_questions_correct,
                  n.total_vocabulary_learned, n.total_sessions, n.total_time_spent_minutes, n.current_streak_days,
                  n.longest_streak_days, n.total_points, n.average_accuracy, n.average_completion_time_seconds,
                  n.mastered_words_count, n.learning_words_count, n.new_words_count, n.achievements, n.last_activity_at,
                  n.last_description_at, n.last_qa_session_at, n.last_vocabulary_practice_at, n.last_active_on, n.created_at)
              IS DISTINCT FROM
              ROW(o.user_id, o.total_descriptions, o.total_images, o.total_questions_answered, o.total_questions_correct,
                  o.total_vocabulary_learned, o.total_sessions, o.total_time_spent_minutes, o.current_streak_days,
                  o.longest_streak_days, o.total_points, o.average_accuracy, o.average_completion_time_seconds,
                  o.mastered_words_count, o.learning_words_count, o.new_words_count, o.achievements, o.last_activity_at,
                  o.last_description_at, o.last_qa_session_at, o.last_vocabulary_practice_at, o.last_active_on, o.created_at);
        IF moves THEN
            SELECT array_agg(moved.user_id) INTO gone
            FROM (SELECT user_id FROM removed EXCEPT SELECT user_id FROM added) AS moved;
        END IF;
    END IF;
    IF gone IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_progress', true, gone);
    END IF;
    IF changed IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_progress', false, changed);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.track_user_progress() IS 'Trigger: notes the rows whose content changed (updated_at alone is none).';

CREATE OR REPLACE FUNCTION marea.track_daily_activity() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    owners UUID[];
    days   TEXT[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT array_agg(o.user_id), array_agg(to_char(o.day, 'YYYY-MM-DD')) INTO owners, days FROM removed AS o;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id), array_agg(to_char(n.day, 'YYYY-MM-DD')) INTO owners, days FROM added AS n;
    ELSE -- the fold never changes a row's key, and nobody else writes here
        SELECT array_agg(n.user_id), array_agg(to_char(n.day, 'YYYY-MM-DD')) INTO owners, days
        FROM added AS n LEFT JOIN removed AS o ON o.user_id = n.user_id AND o.day = n.day
        WHERE ROW(n.facts, n.sessions, n.minutes, n.questions, n.correct, n.words, n.points)
              IS DISTINCT FROM ROW(o.facts, o.sessions, o.minutes, o.questions, o.correct, o.words, o.points);
    END IF;
    IF owners IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
        VALUES ('daily_activity', TG_OP = 'DELETE', owners, days);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.track_daily_activity() IS 'Trigger: notes the days whose content changed.';

CREATE OR REPLACE FUNCTION marea.assign_server_hlc(relation TEXT, owners UUID[], keys TEXT[], changed JSONB[]) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT marea.settle_clocks();
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, hlc)
    SELECT line.owner, relation, line.key, (
        SELECT jsonb_object_agg(name.value, jsonb_build_array(marea.server_hlc(stored.hlc -> name.value ->> 0), 'server'))
        FROM jsonb_array_elements_text(line.names) AS name
    )
    FROM unnest(owners, keys, changed) AS line (owner, key, names)
    LEFT JOIN marea.rows AS stored
        ON stored.user_id = line.owner AND stored.table_name = relation AND stored.row_key = line.key
    WHERE line.names <> '[]' AND EXISTS (SELECT FROM public.users WHERE users.id = line.owner)
    ORDER BY line.owner, line.key
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET hlc = r.hlc || EXCLUDED.hlc;
END;

COMMENT ON FUNCTION marea.assign_server_hlc(TEXT, UUID[], TEXT[], JSONB[]) IS
    'Register columns that plain SQL has changed get the server''s clock.';

CREATE OR REPLACE FUNCTION marea.track_export_history() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    owners UUID[];
    keys   TEXT[];
    names  JSONB[];
BEGIN
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        -- An update that moves a row to another owner or key takes it away from the first.
        IF TG_OP = 'DELETE' THEN
            SELECT array_agg(o.user_id), array_agg(o.id::text) INTO owners, keys FROM removed AS o;
        ELSE
            SELECT array_agg(moved.user_id), array_agg(moved.id::text) INTO owners, keys
            FROM (SELECT id, user_id FROM removed EXCEPT SELECT id, user_id FROM added) AS moved;
        END IF;
        IF owners IS NOT NULL THEN
            INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
            VALUES ('export_history', true, owners, keys);
        END IF;
    END IF;

    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id), array_agg(n.id::text) INTO owners, keys FROM added AS n;
        PERFORM marea.bound_lines('export_history', cardinality(owners));
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(change.user_id), array_agg(change.key), array_agg(change.names) INTO owners, keys, names
        FROM (
            SELECT n.user_id, n.id::text AS key, to_jsonb(array_remove(ARRAY[
                       CASE WHEN n.status IS DISTINCT FROM o.status THEN 'status' END,
                       CASE WHEN n.records_count IS DISTINCT FROM o.records_count THEN 'records_count' END,
                       CASE WHEN n.file_size_bytes IS DISTINCT FROM o.file_size_bytes THEN 'file_size_bytes' END,
                       CASE WHEN n.file_url IS DISTINCT FROM o.file_url THEN 'file_url' END,
                       CASE WHEN n.data IS DISTINCT FROM o.data THEN 'data' END,
                       CASE WHEN n.error_message IS DISTINCT FROM o.error_message THEN 'error_message' END,
                       CASE WHEN n.retry_count IS DISTINCT FROM o.retry_count THEN 'retry_count' END,
                       CASE WHEN n.started_at IS DISTINCT FROM o.started_at THEN 'started_at' END,
                       CASE WHEN n.completed_at IS DISTINCT FROM o.completed_at THEN 'completed_at' END,
                       CASE WHEN n.processing_time_seconds IS DISTINCT FROM o.processing_time_seconds
                           THEN 'processing_time_seconds' END,
                       CASE WHEN n.expires_at IS DISTINCT FROM o.expires_at THEN 'expires_at' END
                   ], NULL)) AS names
            FROM added AS n LEFT JOIN removed AS o ON o.id = n.id AND o.user_id = n.user_id
            WHERE ROW(n.export_type, n.export_format, n.status, n.records_count, n.file_size_bytes, n.file_url, n.filters,
                      n.data, n.error_message, n.retry_count, n.started_at, n.completed_at, n.processing_time_seconds,
                      n.expires_at, n.created_at)
                  IS DISTINCT FROM
                  ROW(o.export_type, o.export_format, o.status, o.records_count, o.file_size_bytes, o.file_url, o.filters,
                      o.data, o.error_message, o.retry_count, o.started_at, o.completed_at, o.processing_time_seconds,
                      o.expires_at, o.created_at)
        ) AS change;
        IF owners IS NOT NULL THEN
            PERFORM marea.assign_server_hlc('export_history', owners, keys, names);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' AND owners IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES ('export_history', false, owners, keys);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.track_export_history() IS 'Trigger: notes the rows that changed, and gives their registers the server''s clock.';

CREATE OR REPLACE FUNCTION marea.track_user_api_keys() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    every  CONSTANT JSONB := '["openai_api_key", "unsplash_api_key", "anthropic_api_key", "last_validated_at"]';
    owners UUID[];
    names  JSONB[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT array_agg(o.user_id) INTO owners FROM removed AS o;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(moved.user_id) INTO owners
        FROM (SELECT user_id FROM removed EXCEPT SELECT user_id FROM added) AS moved;
    END IF;
    IF owners IS NOT NULL THEN
        -- A device that wrote a key before it heard of the deletion must not bring the key back.
        PERFORM marea.assign_server_hlc('user_api_keys', owners, owners::text[], array_fill(every, ARRAY[cardinality(owners)]));
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_api_keys', true, owners);
    END IF;

    owners := NULL;
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id) INTO owners FROM added AS n;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(change.user_id), array_agg(change.names) INTO owners, names
        FROM (
            SELECT n.user_id, to_jsonb(array_remove(ARRAY[
                       CASE WHEN n.openai_api_key IS DISTINCT FROM o.openai_api_key THEN 'openai_api_key' END,
                       CASE WHEN n.unsplash_api_key IS DISTINCT FROM o.unsplash_api_key THEN 'unsplash_api_key' END,
                       CASE WHEN n.anthropic_api_key IS DISTINCT FROM o.anthropic_api_key THEN 'anthropic_api_key' END,
                       CASE WHEN n.last_validated_at IS DISTINCT FROM o.last_validated_at THEN 'last_validated_at' END
                   ], NULL)) AS names
            FROM added AS n LEFT JOIN removed AS o ON o.id = n.id AND o.user_id = n.user_id
            WHERE ROW(n.id, n.openai_api_key, n.unsplash_api_key, n.anthropic_api_key, n.last_validated_at, n.created_at)
                  IS DISTINCT FROM
                  ROW(o.id, o.openai_api_key, o.unsplash_api_key, o.anthropic_api_key, o.last_validated_at, o.created_at)
        ) AS change;
        IF owners IS NOT NULL THEN
            PERFORM marea.assign_server_hlc('user_api_keys', owners, owners::text[], names);
        END IF;
    END IF;
    IF owners IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_api_keys', false, owners);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.track_user_api_keys() IS 'Trigger: notes the rows that changed, and gives their registers the server''s clock.';

DO $$
DECLARE
    wanted RECORD;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('public.user_progress', 'user_progress'), ('marea.daily_activity', 'daily_activity'),
            ('public.export_history', 'export_history'), ('public.user_api_keys', 'user_api_keys')
        ) AS tracked (relation, name)
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_%2$s_inserted AFTER INSERT ON %1$s REFERENCING NEW TABLE AS added'
            ' FOR EACH STATEMENT EXECUTE FUNCTION marea.track_%2$s()', wanted.relation, wanted.name);
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_%2$s_updated AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS removed'
            ' NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.track_%2$s()', wanted.relation, wanted.name);
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_%2$s_deleted AFTER DELETE ON %1$s REFERENCING OLD TABLE AS removed'
            ' FOR EACH STATEMENT EXECUTE FUNCTION marea.track_%2$s()', wanted.relation, wanted.name);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- requests
-- ---------------------------------------------------------------------------------------------------------------------

-- Requests: what is wrong with one, before anything is done; and the answer to one that has nothing to do.

CREATE OR REPLACE FUNCTION marea.refuse(code TEXT, message TEXT, hint TEXT) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
END
$$;

COMMENT ON FUNCTION marea.refuse(TEXT, TEXT, TEXT) IS
    'Refuses the whole request. PostgREST answers PTnnn with HTTP status nnn and the message and hint.';

CREATE OR REPLACE FUNCTION marea.check_request(request JSONB) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    field  JSONB;
    place  BIGINT;
BEGIN
    IF jsonb_typeof(request) IS DISTINCT FROM 'object' THEN
        PERFORM marea.refuse('PT400', 'request: must be an object', 'Send {"request": {"protocol": 1, ...}}.');
    END IF;

    field := request -> 'protocol';
    IF jsonb_typeof(field) IS DISTINCT FROM 'number' THEN
        PERFORM marea.refuse('PT400', 'protocol: must be a number', 'This server speaks protocol 1.');
    ELSIF field <> '1' THEN
        PERFORM marea.refuse('PT426', 'protocol: this server does not speak the client''s protocol',
            'Update the app. This server speaks protocol 1.');
    END IF;

    IF coalesce(request ->> 'client_id', '') !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
        PERFORM marea.refuse('PT400', 'client_id: must be a lower-case uuid', 'Each device has one, made once.');
    END IF;

    field := request -> 'schema';
    IF jsonb_typeof(field) IS DISTINCT FROM 'number' OR field::text !~ '^[1-9][0-9]{0,8}$' THEN
        PERFORM marea.refuse('PT400', 'schema: must be an integer of at least 1', 'It is the version of the mirror.');
    END IF;

    field := request -> 'limit';
    IF field IS NOT NULL AND (jsonb_typeof(field) <> 'number' OR field::text !~ '^[1-9][0-9]{0,3}$' OR field::text::int > 2000) THEN
        PERFORM marea.refuse('PT400', 'limit: must be an integer from 1 to 2000', 'Leave it out for 500.');
    END IF;

    field := nullif(request -> 'cursor', 'null');
    IF field IS NOT NULL THEN
        IF jsonb_typeof(field) <> 'object' THEN
            PERFORM marea.refuse('PT400', 'cursor: must be an object or null', 'Send back the cursor of the last answer.');
        ELSIF jsonb_typeof(field -> 'version') IS DISTINCT FROM 'number' OR (field ->> 'version') !~ '^[0-9]{1,18}$' THEN
            PERFORM marea.refuse('PT400', 'cursor.version: must be a whole number', 'Send back the cursor of the last answer.');
        ELSIF jsonb_typeof(field -> 'epoch') IS DISTINCT FROM 'string' OR length(field ->> 'epoch') > 64 THEN
            PERFORM marea.refuse('PT400', 'cursor.epoch: must be a text of at most 64 characters',
                'Send back the cursor of the last answer.');
        END IF;
    END IF;

    field := request -> 'catalogue';
    IF field IS NOT NULL AND (jsonb_typeof(field) <> 'string' OR length(field #>> '{}') > 64) THEN
        PERFORM marea.refuse('PT400', 'catalogue: must be a text of at most 64 characters', 'It is the hash of the client''s catalogue.');
    END IF;

    field := request -> 'mutations';
    IF field IS NULL OR field = '[]' THEN
        RETURN;
    ELSIF jsonb_typeof(field) <> 'array' THEN
        PERFORM marea.refuse('PT400', 'mutations: must be an array', 'Leave it out, or send [], to pull only.');
    ELSIF jsonb_array_length(field) > 500 THEN
        PERFORM marea.refuse('PT413', 'mutations: more than 500', 'Send the oldest 500 first.');
    END IF;
    IF jsonb_path_exists(field, '$[*].batch') THEN
        SELECT min(m.n) INTO place
        FROM (
            SELECT m.value -> 'batch' AS batch, m.n, lag(m.value -> 'batch') OVER (ORDER BY m.n) AS before,
                   row_number() OVER (PARTITION BY m.value -> 'batch' ORDER BY m.n) AS time
            FROM jsonb_array_elements(field) WITH ORDINALITY AS m (value, n)
        ) AS m
        WHERE m.batch IS NOT NULL AND (jsonb_typeof(m.batch) <> 'string'
            OR m.batch #>> '{}' !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
            OR (m.time > 1 AND m.batch IS DISTINCT FROM m.before));
        IF place IS NOT NULL THEN
            PERFORM marea.refuse('PT400', format('mutations[%s].batch: must be a lower-case uuid, of mutations that follow one another',
                place - 1), 'A batch is one stretch of the queue.');
        END IF;
    END IF;
    -- A quick look first: that every id is its own uuid again says the same as the pattern, at a fifth of the price.
    BEGIN
        IF (
            SELECT bool_and(CASE WHEN jsonb_typeof(m -> 'id') IS DISTINCT FROM 'string' THEN false
                WHEN m ->> 'id' LIKE '________-____-____-____-____________' THEN (m ->> 'id')::uuid::text = m ->> 'id'
                ELSE false END)
            FROM jsonb_array_elements(field) AS m
        ) THEN
            RETURN;
        END IF;
    EXCEPTION WHEN invalid_text_representation THEN
        NULL; -- which one, is said below
    END;
    SELECT min(m.n) INTO place
    FROM jsonb_array_elements(field) WITH ORDINALITY AS m (value, n)
    WHERE jsonb_typeof(m.value) <> 'object'
       OR coalesce(CASE WHEN jsonb_typeof(m.value -> 'id') = 'string' THEN m.value ->> 'id' END, '') !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    IF place IS NOT NULL THEN
        PERFORM marea.refuse('PT400', format('mutations[%s].id: must be a lower-case uuid', place - 1),
            'Every mutation is an object with the id that the device gave it.');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.take_turn(me UUID) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- A user has four requests under way at once, however many are sent: a server behind PostgREST has ten connections or so for
-- everybody. Nobody waits for a turn, because whoever waits holds a connection. And who waits for a lock of the app, or for another
-- device's push, does so for 5 seconds: what this costs is one more try of the client.
BEGIN
    IF NOT (pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 1))
            OR pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 2))
            OR pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 3))
            OR pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 4))) THEN
        PERFORM marea.refuse('PT429', 'four requests of this user are under way', 'Send it again in a moment.');
    END IF;
    IF current_setting('lock_timeout') = '0' THEN
        PERFORM set_config('lock_timeout', '5s', true);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.take_turn(UUID) IS
    'Refuses the request of a user who has four under way; sets a bound to waiting for locks where the connection has none.';

COMMENT ON FUNCTION marea.check_request(JSONB) IS 'Refuses a malformed request, naming the field. Says nothing about single mutations.';

CREATE OR REPLACE FUNCTION marea.idle_answer(request JSONB) RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The answer to a sound request that has nothing to send and whose cursor stands where the caller's clock does. NULL for
-- every other one: marea_sync looks at it closely. So this may only be more careful than marea.check_request and
-- marea.is_lost_history, never less. A device and a version that are stored as the request has them need no other check.
DECLARE
    me      CONSTANT UUID := auth.uid();
    stands  CONSTANT TEXT := request -> 'cursor' -> 'version';
    epoch   CONSTANT TEXT := request -> 'cursor' ->> 'epoch';
    page    CONSTANT TEXT := request -> 'limit';
    history TEXT;
    clock   BIGINT;
    given   TIMESTAMPTZ;
BEGIN
    IF me IS NULL OR (request -> 'protocol' = '1'
           AND (NOT request ? 'catalogue' OR request ->> 'catalogue' = (SELECT c.hash FROM marea.catalogue AS c)) AND coalesce(request -> 'mutations', '[]') = '[]'
           AND coalesce(page ~ '^(1?[0-9]{1,3}|2000)$' AND page !~ '^0', true)
           AND epoch ~ '^[0-9a-f]{16}[.][0-9]{1,18}[.][0-9]{1,16}$'
           AND pg_column_size(request) <= 1048576) IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    history := marea.known_run();
    IF starts_with(epoch, history || '.') IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    given := to_timestamp(0) + split_part(epoch, '.', 3)::bigint * interval '1 microsecond';

    SELECT c.version INTO clock
    FROM marea.clocks AS c
    WHERE c.user_id = me AND c.version::text = stands AND NOT c.moving AND given <= clock_timestamp() + interval '5 minutes'
      AND split_part(epoch, '.', 2)::bigint <= least(c.version, (
        SELECT p.version FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > given ORDER BY p.at LIMIT 1))
      AND EXISTS (
        SELECT FROM marea.known_devices AS d
        WHERE d.user_id = me AND d.client_id = request ->> 'client_id' AND d.schema = (request -> 'schema')::text);
    IF clock IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_build_object(
        'protocol', 1, 'server_time', marea.wire_time(clock_timestamp()), 'reset', false, 'results', '[]'::jsonb,
        'rows', '{}'::jsonb, 'packed', '{}'::jsonb, 'deleted', '{}'::jsonb,
        'cursor', jsonb_build_object('version', clock, 'epoch',
            concat_ws('.', history, clock, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)),
        'has_more', false) || CASE WHEN marea.has_wakeups() THEN '{"wakeups": true}' ELSE '{}' END::jsonb;
END
$$;

COMMENT ON FUNCTION marea.idle_answer(JSONB) IS
    'The answer to a caller''s request with nothing to do; NULL for every other request, and for every doubt.';

-- ---------------------------------------------------------------------------------------------------------------------
-- app_triggers
-- ---------------------------------------------------------------------------------------------------------------------

-- Refusals: whatever refuses a mutation (a constraint, a policy, a trigger of the app with any SQLSTATE, or one that returns NULL)
-- refuses that one alone, and the app's triggers find what they find in a plain INSERT (docs/adr/0078).

CREATE OR REPLACE FUNCTION marea.app_search_path() RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Under which search_path the app's triggers run: that of the caller's role, else the connection's own, with what PostgREST
-- adds. Marea's own statements name every schema and are not moved by it.
DECLARE
    path  TEXT;
    names TEXT[];
    more  TEXT;
BEGIN
    SELECT substr(setting, length('search_path=') + 1) INTO path
    FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
    WHERE s.setrole = to_regrole(quote_ident(current_user))
      AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND starts_with(setting, 'search_path=')
    ORDER BY s.setdatabase DESC LIMIT 1;
    IF path IS NULL THEN
        SET LOCAL search_path TO DEFAULT; -- until this function ends
        path := current_setting('search_path');
    END IF;
    names := string_to_array(replace(replace(path, '"', ''), ', ', ','), ',');
    FOREACH more IN ARRAY ARRAY['public', 'extensions']
        || string_to_array(coalesce(current_setting('pgrst.db_extra_search_path', true), ''), ',') || ARRAY['pg_temp']
    LOOP
        more := btrim(more, ' "');
        IF more <> ALL (names) AND (more = 'pg_temp' OR to_regnamespace(quote_ident(more)) IS NOT NULL) THEN
            path := concat_ws(', ', CASE WHEN btrim(path, ' "') <> '' THEN path END, quote_ident(more));
            names := names || more;
        END IF;
    END LOOP;
    RETURN path;
END
$$;

COMMENT ON FUNCTION marea.app_search_path() IS
    'The search_path under which the app''s triggers run while Marea writes to the app''s tables.';

CREATE OR REPLACE FUNCTION marea.triggers_before(relation REGCLASS, op TEXT) RETURNS TEXT LANGUAGE sql STABLE
RETURN (
    -- For each row, before, and which statement (pg_trigger.h).
    SELECT string_agg(quote_ident(tgname), ', ' ORDER BY tgname)
    FROM pg_catalog.pg_trigger, LATERAL (SELECT CASE op WHEN 'INSERT' THEN 7 WHEN 'DELETE' THEN 11 ELSE 19 END) AS kind (bits)
    WHERE tgrelid = relation AND tgtype & kind.bits = kind.bits AND tgenabled <> 'D' AND NOT tgisinternal
        -- Marea's own leave nothing out.
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pg_proc.oid = tgfoid AND pronamespace = 'marea'::regnamespace)
);

COMMENT ON FUNCTION marea.triggers_before(REGCLASS, TEXT) IS
    'The row triggers that see a row before an INSERT, UPDATE or DELETE, and can leave it out; NULL: none.';

CREATE OR REPLACE FUNCTION marea.refuse_left_out(relation REGCLASS, op TEXT, other_id BOOLEAN DEFAULT false) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '39P01', -- trigger_protocol_violated
        MESSAGE = format(CASE WHEN other_id THEN 'a trigger of the app gave this row another id (BEFORE %s on %s: %s)'
            ELSE 'a trigger of the app left this row out: it returned NULL (BEFORE %s on %s: %s)' END,
            op, relation, coalesce(marea.triggers_before(relation, op), 'none that is enabled'));
END
$$;

COMMENT ON FUNCTION marea.refuse_left_out(REGCLASS, TEXT, BOOLEAN) IS 'Refuses a row that a trigger did not let in as it was sent.';

CREATE OR REPLACE FUNCTION marea.dry_push(mutation JSONB) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Writes no row where this mutation would write one. What fails here (a missing table, column or privilege, a database that
-- may only be read) would refuse every mutation, and is no fault of any.
DECLARE
    relation CONSTANT TEXT := mutation ->> 'table';
    place    CONSTANT TEXT := CASE relation WHEN 'progress_events' THEN 'marea.' ELSE 'public.' END || relation;
    columns  TEXT[];
    insert_  TEXT;
BEGIN
    IF relation NOT IN ('sessions', 'progress_events', 'export_history', 'user_api_keys') IS NOT FALSE
        OR jsonb_typeof(mutation -> 'values') IS DISTINCT FROM 'object' THEN
        RETURN;
    END IF;
    PERFORM FROM marea.rows LIMIT 0;
    IF mutation ->> 'op' = 'insert' THEN
        columns := ARRAY(SELECT quote_ident(k) FROM jsonb_object_keys('{"user_id": 0, "id": 0}' || (mutation -> 'values')) AS k);
        insert_ := format('INSERT INTO %1$s (%2$s) SELECT v.%3$s FROM pg_catalog.jsonb_populate_record(NULL::%1$s, ''{}'') AS v '
            'WHERE false', place, array_to_string(columns, ', '), array_to_string(columns, ', v.'));
        PERFORM set_config('search_path', marea.app_search_path(), true);
        EXECUTE insert_;
    ELSIF relation = 'user_api_keys' THEN
        INSERT INTO public.user_api_keys (user_id) SELECT k.user_id FROM public.user_api_keys AS k WHERE false;
        UPDATE public.user_api_keys SET last_validated_at = NULL WHERE false;
    ELSIF relation = 'export_history' THEN
        UPDATE public.export_history SET status = 'failed' WHERE false;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.dry_push(JSONB) IS 'Fails where a mutation like this one would fail whatever its values are.';

CREATE OR REPLACE FUNCTION marea.check_deferred(named TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The app's constraints and constraint triggers that wait for the end of the transaction look now: at the end, when nothing
-- can be refused alone any more, one of them would fail the whole request, again and again.
DECLARE
    look CONSTANT TEXT := 'SET CONSTRAINTS ' || named || ' IMMEDIATE';
    wait CONSTANT TEXT := 'SET CONSTRAINTS ' || named || ' DEFERRED';
BEGIN
    IF named IS NOT NULL THEN
        PERFORM set_config('search_path', marea.app_search_path(), true);
        EXECUTE look;
        EXECUTE wait;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.check_deferred(TEXT) IS 'Lets constraints that are deferred look at what was written so far.';

CREATE OR REPLACE FUNCTION marea.bounded(message TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE WHEN octet_length(message) <= 500 THEN message
    WHEN octet_length(left(message, 460)) <= 460 THEN left(message, 460) || ' ... (' || octet_length(message) || ' bytes)'
    ELSE left(message, 115) || ' ... (' || octet_length(message) || ' bytes)' END;

COMMENT ON FUNCTION marea.bounded(TEXT) IS
    'At most 500 bytes of a message: Postgres quotes the value that it refuses, whole, and would send it back to whoever sent it.';

CREATE OR REPLACE FUNCTION marea.is_of_server(code TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN code ~ '^(40|53|57|58|XX)' OR code = '55P03';

COMMENT ON FUNCTION marea.is_of_server(TEXT) IS
    'Whether an SQLSTATE is about the server and not about a mutation: a retry may cure it.';

-- ---------------------------------------------------------------------------------------------------------------------
-- push_events
-- ---------------------------------------------------------------------------------------------------------------------

-- Push: sessions and awards, any number at once.

CREATE OR REPLACE FUNCTION marea.insert_sessions_sql(sample JSONB, any_gone BOOLEAN, conflict TEXT) RETURNS TEXT LANGUAGE sql STABLE
RETURN format($insert$
    WITH added AS (
        INSERT INTO public.sessions (user_id, id%1$s)
        SELECT $2, (m OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid%2$s
        FROM pg_catalog.jsonb_array_elements($1) AS m,
             LATERAL pg_catalog.jsonb_populate_record(NULL::public.sessions, m OPERATOR(pg_catalog.->) 'values') AS v
        %3$s
        %4$s
        RETURNING id
    )
    SELECT pg_catalog.array_agg(id) FROM added $insert$,
    coalesce((SELECT string_agg(format(', %I', k), '' ORDER BY k) FROM jsonb_object_keys(sample - 'id') AS k), ''),
    coalesce((SELECT string_agg(format(', v.%I', k), '' ORDER BY k) FROM jsonb_object_keys(sample - 'id') AS k), ''),
    -- A look-up by key for each: a join could be planned for the few tombstones there were when last counted.
    CASE WHEN any_gone THEN $unless$
        WHERE (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id OPERATOR(pg_catalog.=) $2 AND tombstone.table_name OPERATOR(pg_catalog.=) 'sessions'
              AND tombstone.row_key OPERATOR(pg_catalog.=) (m OPERATOR(pg_catalog.->>) 'id')
        ) IS NOT TRUE $unless$ ELSE '' END,
    conflict);

COMMENT ON FUNCTION marea.insert_sessions_sql(JSONB, BOOLEAN, TEXT) IS
    'The statement that inserts sessions of the columns of a sample: $1 are mutations, $2 is whose.';

CREATE OR REPLACE FUNCTION marea.insert_sessions(batch JSONB) RETURNS UUID[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Inserts sessions under the caller's own policies; returns those that were new. An id that the caller has already is
-- passed over; one that belongs to somebody else fails the batch, and so does one that a trigger of the app leaves out.
DECLARE
    me       CONSTANT UUID := auth.uid();
    -- What the devices send, always all of it.
    usual    CONSTANT TEXT[] := '{id,session_type,started_at,ended_at,duration_minutes,images_processed,descriptions_generated,qa_attempts,qa_correct,vocabulary_learned,phrases_saved,session_data}';
    path     CONSTANT TEXT := marea.app_search_path();
    any_gone CONSTANT BOOLEAN := EXISTS (SELECT FROM marea.rows WHERE user_id = me AND table_name = 'sessions');
    ids      UUID[];
    problem  TEXT;
    is_usual BOOLEAN;
    part     RECORD;
    missing  JSONB;
    insert_  TEXT;
    inserted UUID[] := '{}';
    added    UUID[];
BEGIN
    WITH given AS MATERIALIZED (
        SELECT m ->> 'id' AS id, m ->> 'key' AS key, m ->> 'hlc' AS hlc, m -> 'values' AS fields
        FROM jsonb_array_elements(batch) AS m
    )
    SELECT min(coalesce(marea.mutation_problem('insert', id, key, hlc, fields),
               CASE WHEN NOT marea.session_is_sound(fields) THEN marea.session_problem(fields) END)),
           bool_and(fields ?& usual AND fields - usual = '{}'), array_agg(id::uuid)
    INTO problem, is_usual, ids
    FROM given;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    -- Under the app's search_path, which must not decide what Marea's own words mean: each names its schema.
    PERFORM set_config('search_path', path, true);
    IF is_usual THEN
        -- A statement of its own, whose plan is kept.
        WITH added AS (
            INSERT INTO public.sessions (user_id, id, session_type, started_at, ended_at, duration_minutes, images_processed,
                descriptions_generated, qa_attempts, qa_correct, vocabulary_learned, phrases_saved, session_data)
            SELECT me, (m OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid, v.session_type, v.started_at, v.ended_at, v.duration_minutes,
                   v.images_processed, v.descriptions_generated, v.qa_attempts, v.qa_correct, v.vocabulary_learned, v.phrases_saved,
                   v.session_data
            -- OFFSET: without it a plan for this very value looks cheaper each time than the one that is kept.
            FROM (SELECT any_gone AS any_ OFFSET 0) AS gone, pg_catalog.jsonb_array_elements(batch) AS m,
                 LATERAL pg_catalog.jsonb_populate_record(NULL::public.sessions, m OPERATOR(pg_catalog.->) 'values') AS v
            WHERE NOT gone.any_ OR (
                SELECT tombstone.deleted FROM marea.rows AS tombstone
                WHERE tombstone.user_id OPERATOR(pg_catalog.=) me AND tombstone.table_name OPERATOR(pg_catalog.=) 'sessions'
                  AND tombstone.row_key OPERATOR(pg_catalog.=) (m OPERATOR(pg_catalog.->>) 'id')
            ) IS NOT TRUE
            ON CONFLICT (id) DO NOTHING
            RETURNING id
        )
        SELECT coalesce(pg_catalog.array_agg(id), '{}') INTO inserted FROM added;
    ELSE
        -- A column that is left out keeps the table's default, which only a statement that does not name it can do: so one
        -- statement for each set of columns.
        FOR part IN
            SELECT (pg_catalog.jsonb_agg(m OPERATOR(pg_catalog.->) 'values') OPERATOR(pg_catalog.->) 0) AS sample, pg_catalog.jsonb_agg(m) AS mutations
            FROM pg_catalog.jsonb_array_elements(batch) AS m
            GROUP BY (SELECT pg_catalog.array_agg(k ORDER BY k) FROM pg_catalog.jsonb_object_keys(m OPERATOR(pg_catalog.->) 'values') AS k)
        LOOP
            insert_ := marea.insert_sessions_sql(part.sample, any_gone, 'ON CONFLICT (id) DO NOTHING');
            EXECUTE insert_ INTO added USING part.mutations, me;
            inserted := inserted OPERATOR(pg_catalog.||) coalesce(added, '{}');
        END LOOP;
    END IF;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    -- A trigger may also have given a row another id.
    IF inserted <> ids THEN
        SELECT m INTO missing
        FROM jsonb_array_elements(batch) AS m
        LEFT JOIN unnest(inserted) AS i (id) ON i.id = (m ->> 'id')::uuid
        WHERE i.id IS NULL
          AND (SELECT s.user_id FROM public.sessions AS s WHERE s.id = (m ->> 'id')::uuid) IS DISTINCT FROM me
          AND (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id = me AND tombstone.table_name = 'sessions' AND tombstone.row_key = m ->> 'id'
          ) IS NOT TRUE
        LIMIT 1;
    END IF;
    IF missing IS NOT NULL THEN
        -- Somebody else has this id, or a trigger has left the row out: a plain INSERT fails in the first case alone.
        insert_ := marea.insert_sessions_sql(missing -> 'values', false, '');
        missing := jsonb_build_array(missing);
        PERFORM set_config('search_path', path, true);
        BEGIN
            EXECUTE insert_ INTO added USING missing, me;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'id: is taken';
        END;
        PERFORM marea.refuse_left_out('public.sessions', 'INSERT', added IS NOT NULL);
    END IF;
    RETURN inserted;
END
$$;

COMMENT ON FUNCTION marea.insert_sessions(JSONB) IS 'Inserts sessions from mutations; returns the ids that were new.';

CREATE OR REPLACE FUNCTION marea.insert_events(batch JSONB) RETURNS UUID[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The same for progress_events, whose defaults are known.
DECLARE
    me       CONSTANT UUID := auth.uid();
    ids      UUID[];
    problem  TEXT;
    inserted UUID[];
    added    UUID[];
    missing  JSONB;
BEGIN
    WITH given AS MATERIALIZED (
        SELECT m ->> 'id' AS id, m ->> 'key' AS key, m ->> 'hlc' AS hlc, m -> 'values' AS fields
        FROM jsonb_array_elements(batch) AS m
    )
    SELECT min(coalesce(marea.mutation_problem('insert', id, key, hlc, fields),
        CASE WHEN NOT marea.event_is_sound(fields) THEN marea.event_problem(fields) END)), array_agg(id::uuid)
    INTO problem, ids FROM given;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    PERFORM set_config('search_path', marea.app_search_path(), true);
    WITH added AS (
        INSERT INTO marea.progress_events (user_id, id, occurred_at, local_date, descriptions, images, questions_answered,
            questions_correct, vocabulary_learned, minutes, points, mastered_words, learning_words, new_words, achievements,
            freezes_day)
        SELECT me, (m OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid, v.occurred_at, v.local_date, coalesce(v.descriptions, 0),
               coalesce(v.images, 0), coalesce(v.questions_answered, 0), coalesce(v.questions_correct, 0),
               coalesce(v.vocabulary_learned, 0), coalesce(v.minutes, 0), coalesce(v.points, 0), coalesce(v.mastered_words, 0),
               coalesce(v.learning_words, 0), coalesce(v.new_words, 0), coalesce(v.achievements, '{}'), coalesce(v.freezes_day, false)
        FROM pg_catalog.jsonb_array_elements(batch) AS m,
             LATERAL pg_catalog.jsonb_populate_record(NULL::marea.progress_events, m OPERATOR(pg_catalog.->) 'values') AS v
        -- A look-up by key for each: a join could be planned for the few tombstones there were when last counted.
        WHERE (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id OPERATOR(pg_catalog.=) me AND tombstone.table_name OPERATOR(pg_catalog.=) 'progress_events'
              AND tombstone.row_key OPERATOR(pg_catalog.=) (m OPERATOR(pg_catalog.->>) 'id')
        ) IS NOT TRUE
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT coalesce(pg_catalog.array_agg(id), '{}') INTO inserted FROM added;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    IF inserted <> ids THEN
        SELECT m INTO missing
        FROM jsonb_array_elements(batch) AS m
        LEFT JOIN unnest(inserted) AS i (id) ON i.id = (m ->> 'id')::uuid
        WHERE i.id IS NULL
          AND (SELECT e.user_id FROM marea.progress_events AS e WHERE e.id = (m ->> 'id')::uuid) IS DISTINCT FROM me
          AND (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id = me AND tombstone.table_name = 'progress_events' AND tombstone.row_key = m ->> 'id'
          ) IS NOT TRUE
        LIMIT 1;
    END IF;
    IF missing IS NOT NULL THEN
        -- Somebody else has this id, or a trigger has left the row out: a plain INSERT fails in the first case alone.
        BEGIN
            WITH again AS (
                INSERT INTO marea.progress_events (user_id, id, occurred_at, local_date)
                SELECT me, (missing ->> 'id')::uuid, v.occurred_at, v.local_date
                FROM jsonb_populate_record(NULL::marea.progress_events, missing -> 'values') AS v
                RETURNING id
            )
            SELECT array_agg(id) INTO added FROM again;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'id: is taken';
        END;
        PERFORM marea.refuse_left_out('marea.progress_events', 'INSERT', added IS NOT NULL);
    END IF;
    RETURN inserted;
END
$$;

COMMENT ON FUNCTION marea.insert_events(JSONB) IS 'Inserts progress events from mutations; returns the ids that were new.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_columns
-- ---------------------------------------------------------------------------------------------------------------------

-- What a table of the app looks like to the catalogue, and all that keeps it from being mirrored.

CREATE OR REPLACE FUNCTION marea.key_of(relation REGCLASS) RETURNS TEXT LANGUAGE sql STABLE
RETURN (
    -- One column that is unique and never NULL: the primary key, else a column named id, else the first there is.
    SELECT a.attname::text
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = relation AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indexprs IS NULL
      AND i.indisvalid AND a.attnotnull
    ORDER BY i.indisprimary DESC, a.attname = 'id' DESC, i.indexrelid
    LIMIT 1
);

CREATE OR REPLACE FUNCTION marea.describe_columns(relation REGCLASS, rules JSONB, owner TEXT, write BOOLEAN)
RETURNS TABLE (place SMALLINT, name TEXT, type TEXT, rule TEXT, nullable BOOLEAN, has_default BOOLEAN, max_length INTEGER,
    labels TEXT[], precision_ INTEGER, scale INTEGER, sql_type TEXT, written BOOLEAN)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Every column but the owner's and those that stay on the server ("none"). type is NULL where the mirror knows none for it.
    -- written: Postgres computes it, whatever the rule.
    WITH RECURSIVE attributes AS (
        SELECT a.attnum, a.attname::text AS name, a.atttypid, a.atttypmod, a.attnotnull,
               a.atthasdef AND a.attgenerated = '' AS has_default, a.attidentity <> '' OR a.attgenerated <> '' AS written,
               a.attname = marea.key_of(relation) AS is_key
        FROM pg_attribute AS a
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    ), layers AS (
        -- A domain is looked through, down to what it is made of.
        SELECT a.attnum, 0 AS depth, t.oid, t.typtype, t.typbasetype, t.typtypmod, a.atttypmod AS typmod, t.typnotnull AS not_null,
               t.typdefault IS NOT NULL AS has_default
        FROM attributes AS a JOIN pg_type AS t ON t.oid = a.atttypid
        UNION ALL
        SELECT l.attnum, l.depth + 1, t.oid, t.typtype, t.typbasetype, t.typtypmod, l.typtypmod, l.not_null OR t.typnotnull,
               l.has_default OR t.typdefault IS NOT NULL
        FROM layers AS l JOIN pg_type AS t ON t.oid = l.typbasetype
        WHERE l.typtype = 'd'
    ), based AS (
        SELECT DISTINCT ON (l.attnum) l.attnum, l.oid, l.typtype, l.typmod, l.not_null, l.has_default
        FROM layers AS l ORDER BY l.attnum, l.depth DESC
    )
    SELECT a.attnum, a.name,
           CASE
               WHEN b.typtype = 'e' THEN 'enum'
               WHEN b.oid IN (25, 1042, 1043) THEN 'text'
               WHEN b.oid IN (1009, 1015) THEN 'text[]'
               ELSE CASE b.oid
                   WHEN 2950 THEN 'uuid' WHEN 21 THEN 'smallint' WHEN 23 THEN 'integer' WHEN 20 THEN 'bigint'
                   WHEN 1700 THEN 'numeric' WHEN 700 THEN 'real' WHEN 701 THEN 'double' WHEN 16 THEN 'boolean'
                   WHEN 1082 THEN 'date' WHEN 1083 THEN 'time' WHEN 1114 THEN 'timestamp' WHEN 1184 THEN 'timestamptz'
                   WHEN 114 THEN 'json' WHEN 3802 THEN 'jsonb' WHEN 17 THEN 'bytea' WHEN 1007 THEN 'integer[]'
                   WHEN 2951 THEN 'uuid[]' END
           END,
           CASE
               WHEN a.is_key THEN 'key'
               WHEN a.written OR NOT write THEN 'server'
               ELSE coalesce(rules ->> a.name, 'register')
           END,
           NOT (a.attnotnull OR b.not_null), (a.has_default OR b.has_default OR a.written) AND NOT a.is_key,
           CASE WHEN b.oid IN (1042, 1043) AND b.typmod >= 4 THEN b.typmod - 4 END,
           CASE WHEN b.typtype = 'e' THEN ARRAY(
               SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder) END,
           CASE WHEN b.oid = 1700 AND b.typmod >= 4 THEN ((b.typmod - 4) >> 16) & 65535 END,
           CASE WHEN b.oid = 1700 AND b.typmod >= 4 THEN (((b.typmod - 4) & 2047) # 1024) - 1024 END,
           format('%I.%I', n.nspname, t.typname)
               || CASE WHEN a.atttypmod >= 0 THEN coalesce(substring(format_type(a.atttypid, a.atttypmod) FROM '[(][^)]*[)]'), '')
                   ELSE '' END,
           a.written
    FROM attributes AS a
    JOIN based AS b ON b.attnum = a.attnum
    JOIN pg_type AS t ON t.oid = a.atttypid
    JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE (a.name <> owner OR a.is_key) AND (a.is_key OR coalesce(rules ->> a.name <> 'none', true))
    ORDER BY a.attnum
$$;

CREATE OR REPLACE FUNCTION marea.base_type(type_ OID) RETURNS OID LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE layers AS (
        SELECT t.oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type AS t WHERE t.oid = type_
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype FROM layers AS l JOIN pg_catalog.pg_type AS t ON t.oid = l.typbasetype
        WHERE l.typtype = 'd'
    )
    SELECT l.oid FROM layers AS l WHERE l.typtype <> 'd';
END;

CREATE OR REPLACE FUNCTION marea.mirrored_id(relation REGCLASS) RETURNS INTEGER LANGUAGE sql STABLE
BEGIN ATOMIC
    -- By its trigger, which a table takes along when it is renamed; by its name where somebody dropped the trigger.
    SELECT t.id
    FROM marea.tables AS t
    WHERE t.id = (
        SELECT substring(p.proname FROM '^mirror_([0-9]+)_track$')::int
        FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid
        WHERE g.tgrelid = relation AND g.tgname = 'marea_mirror_updated')
       OR to_regclass(format('%I.%I', t.schema_name, t.relation_name)) = relation
    ORDER BY to_regclass(format('%I.%I', t.schema_name, t.relation_name)) = relation
    LIMIT 1;
END;

CREATE OR REPLACE FUNCTION marea.relation_of(of_table marea.tables) RETURNS REGCLASS LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(to_regclass(format('%I.%I', of_table.schema_name, of_table.relation_name)), (
        SELECT g.tgrelid::regclass
        FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid
        WHERE g.tgname = 'marea_mirror_updated' AND p.proname = format('mirror_%s_track', of_table.id)
          AND p.pronamespace = 'marea'::regnamespace));
END;

CREATE OR REPLACE FUNCTION marea.reserved_names() RETURNS TEXT[] LANGUAGE sql IMMUTABLE
RETURN '{arrived_rows,confirmed_rows,daily_activity,export_history,journal,meta,mutations,progress_events,refilled_rows,shadow_rows,user_api_keys,user_progress}'::text[];

CREATE OR REPLACE FUNCTION marea.mirror_problems(relation REGCLASS, rules JSONB, owner TEXT, write BOOLEAN, name TEXT) RETURNS TEXT[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- All that is wrong, each with what to do.
    WITH the AS (
        SELECT c.oid, c.relkind, c.relispartition, c.relpersistence, c.relrowsecurity, c.relowner, n.nspname::text AS schema,
               c.relname::text AS relname, marea.key_of(relation) AS key, c.relacl,
               EXISTS (SELECT FROM pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent)) AS inherits
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation
    ), columns AS (
        SELECT d.* FROM marea.describe_columns(relation, coalesce(rules, '{}'), owner, write) AS d
    ), policies AS (
        SELECT p.polcmd FROM pg_policy AS p
        WHERE p.polrelid = relation AND p.polpermissive
          AND p.polroles && ARRAY[0::oid, (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = 'authenticated')]
    ), found (place, problem) AS (
        SELECT 1, 'it is no ordinary table (views, partitions and tables that inherit are not mirrored)' FROM the
        WHERE the.relkind <> 'r' OR the.relispartition OR the.inherits OR the.relpersistence = 't'
        UNION ALL
        SELECT 1, format('schema %I is not the app''s', the.schema) FROM the
        WHERE the.schema IN ('marea', 'pg_catalog', 'information_schema', 'auth', 'storage', 'realtime', 'vault')
        UNION ALL
        SELECT 1, 'Marea has code of its own for it; it is synced already' FROM the
        WHERE the.schema = 'public' AND the.relname IN ('user_progress', 'export_history', 'user_api_keys', 'users')
        UNION ALL
        SELECT 2, format('name %L: must be 1 to 63 of a-z, 0-9 and _, and begin with no digit; say name => ''...''', name)
        WHERE name !~ '^[a-z_][a-z0-9_]{0,62}$'
        UNION ALL
        SELECT 2, format('name %L: the devices use it themselves; say name => ''...''', name)
        WHERE name = ANY (marea.reserved_names()) OR name ~ '^(sqlite_|marea_)'
           OR (name = 'sessions' AND relation IS DISTINCT FROM to_regclass('public.sessions'))
        UNION ALL
        SELECT 2, 'sessions keep their name' WHERE name <> 'sessions' AND relation = to_regclass('public.sessions')
        UNION ALL
        SELECT 2, format('name %L: is taken by %I.%I; say name => ''...''', name, t.schema_name, t.relation_name)
        FROM marea.tables AS t WHERE t.name = mirror_problems.name AND t.id IS DISTINCT FROM marea.mirrored_id(relation)
        UNION ALL
        SELECT 3, 'key: there is no primary key of one column, nor another column that is UNIQUE and NOT NULL' FROM the
        WHERE the.key IS NULL
        UNION ALL
        SELECT 3, format('key %I: must be uuid or text, devices make it', c.name) FROM columns AS c
        WHERE c.rule = 'key' AND (coalesce(c.type NOT IN ('uuid', 'text'), true) OR c.written)
        UNION ALL
        SELECT 3, format('key %I: was %s when the table was mirrored; devices know its rows by that: unmirror it first', c.name, t.key_type)
        FROM columns AS c JOIN marea.tables AS t ON t.id = marea.mirrored_id(relation)
        WHERE c.rule = 'key' AND c.type IS DISTINCT FROM t.key_type
        UNION ALL
        SELECT 4, CASE
            WHEN a.attname IS NULL THEN format('owner: there is no column %I; say owner => ''...''', owner)
            WHEN marea.base_type(a.atttypid) <> 2950 THEN format('owner %I: must be uuid', owner)
            -- Sessions of guests have none, and reach nobody.
            WHEN NOT a.attnotnull AND relation IS DISTINCT FROM to_regclass('public.sessions') THEN format('owner %1$I: must be NOT NULL (ALTER TABLE %2$s ALTER %1$I SET NOT NULL)', owner, relation)
        END
        FROM (SELECT 1) AS one
        LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = owner AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 5, format('column %I: type %s is not mirrored; leave it on the server with rules => ''{%s: "none"}''', c.name, c.sql_type,
            to_json(c.name)) FROM columns AS c WHERE c.type IS NULL AND c.rule <> 'key'
        UNION ALL
        SELECT 5, format('column %I: the mirror uses this name itself; rename it, or say rules => ''{%s: "none"}''', c.name, to_json(c.name))
        FROM columns AS c WHERE lower(c.name) = 'clocks' OR lower(c.name) LIKE 'marea\_%' OR c.name = '*'
        UNION ALL
        SELECT 5, format('column %I: differs from another one by upper and lower case alone, which SQLite cannot tell apart', c.name)
        FROM columns AS c WHERE EXISTS (SELECT FROM columns AS o WHERE o.place < c.place AND lower(o.name) = lower(c.name))
        UNION ALL
        SELECT 6, format('rules: must be an object, column -> rule') WHERE jsonb_typeof(rules) IS DISTINCT FROM 'object'
        UNION ALL
        SELECT 6, CASE
            WHEN a.attname IS NULL THEN format('rules: there is no column %I', r.key)
            WHEN r.value NOT IN ('"register"', '"once"', '"counter"', '"union"', '"server"', '"none"')
                THEN format('rules: %I cannot be %s; there are register, once, counter, union, server and none', r.key, r.value)
            WHEN r.key IN (the.key, owner) THEN format('rules: %I is the key or the owner, which have no rule', r.key)
            WHEN r.value NOT IN ('"server"', '"none"') AND (a.attgenerated <> '' OR a.attidentity <> '')
                THEN format('rules: %I is computed by Postgres, so it is "server"', r.key)
            WHEN r.value = '"counter"' AND marea.base_type(a.atttypid) NOT IN (20, 21, 23, 1700)
                THEN format('rules: %I cannot be a counter; smallint, integer, bigint and numeric can', r.key)
            WHEN r.value = '"union"' AND marea.base_type(a.atttypid) <> 3802 THEN format('rules: %I cannot be a union; jsonb can', r.key)
        END
        FROM the, jsonb_each(CASE WHEN jsonb_typeof(rules) = 'object' THEN rules ELSE '{}' END) AS r
        LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = r.key AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 6, format('rules: progress is computed from %I, which is "register"', r.key)
        FROM jsonb_each(CASE WHEN jsonb_typeof(rules) = 'object' THEN rules ELSE '{}' END) AS r
        WHERE relation = to_regclass('public.sessions') AND r.value <> '"register"'
          AND r.key IN ('ended_at', 'duration_minutes', 'images_processed', 'descriptions_generated', 'qa_attempts', 'qa_correct',
              'vocabulary_learned', 'session_data')
        UNION ALL
        SELECT 7, format('row level security is off (ALTER TABLE %s ENABLE ROW LEVEL SECURITY)', relation) FROM the WHERE NOT the.relrowsecurity
        UNION ALL
        SELECT 8, format('no policy lets authenticated %s (CREATE POLICY ... ON %s FOR %1$s TO authenticated %s (%I = (SELECT auth.uid())))',
            wanted.command, relation, CASE wanted.command WHEN 'INSERT' THEN 'WITH CHECK' ELSE 'USING' END, owner)
        FROM (VALUES ('r', 'SELECT', true), ('a', 'INSERT', write), ('w', 'UPDATE', write)) AS wanted (code, command, needed)
        WHERE wanted.needed AND NOT EXISTS (SELECT FROM policies AS p WHERE p.polcmd::text IN (wanted.code, '*'))
        UNION ALL
        SELECT 9, format('authenticated may not use schema %1$I (GRANT USAGE ON SCHEMA %1$I TO authenticated)', the.schema) FROM the
        WHERE NOT has_schema_privilege('authenticated', the.schema, 'USAGE')
        UNION ALL
        SELECT 9, format('authenticated may not %s %s (GRANT %1$s ON %s TO authenticated)', wanted.command,
            string_agg(a.attname, ', ' ORDER BY a.attnum), relation)
        FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS wanted (command)
        JOIN pg_attribute AS a ON a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN columns AS c ON c.name = a.attname
        WHERE (a.attname = owner OR c.name IS NOT NULL)
          AND CASE wanted.command
                  WHEN 'SELECT' THEN true
                  WHEN 'INSERT' THEN write AND coalesce(c.rule <> 'server', true)
                  ELSE write AND c.rule IN ('register', 'counter', 'union') END
          AND NOT has_column_privilege('authenticated', relation, a.attnum, wanted.command)
        GROUP BY wanted.command
        UNION ALL
        SELECT 10, format('%I owns neither the table nor schema marea, or not both', current_user) FROM the
        WHERE NOT pg_has_role(current_user, the.relowner, 'USAGE')
           OR NOT pg_has_role(current_user, (SELECT n.nspowner FROM pg_namespace AS n WHERE n.nspname = 'marea'), 'USAGE')
    )
    SELECT coalesce(array_agg(f.problem ORDER BY f.place, f.problem), '{}') FROM found AS f WHERE f.problem IS NOT NULL
$$;

COMMENT ON FUNCTION marea.key_of(REGCLASS) IS 'The one column that names the rows of a table; NULL: none.';
COMMENT ON FUNCTION marea.describe_columns(REGCLASS, JSONB, TEXT, BOOLEAN) IS 'A table''s columns as marea.columns holds them.';
COMMENT ON FUNCTION marea.reserved_names() IS 'Names that no mirrored table can have; the copy of RESERVED_NAMES in core/src/catalogue/parse.rs.';
COMMENT ON FUNCTION marea.mirror_problems(REGCLASS, JSONB, TEXT, BOOLEAN, TEXT) IS 'All that keeps a table from being mirrored so.';
COMMENT ON FUNCTION marea.base_type(OID) IS 'What a type is made of, domains looked through.';
COMMENT ON FUNCTION marea.mirrored_id(REGCLASS) IS 'marea.tables.id of a table; NULL: not mirrored.';
COMMENT ON FUNCTION marea.relation_of(marea.tables) IS 'The app''s table, renamed or not; NULL: it is gone.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_checks
-- ---------------------------------------------------------------------------------------------------------------------

-- Checks of what devices write to mirrored tables. For each table a quick look is made with its columns in it, which tells most good
-- values from all bad ones in a few microseconds; where it says no, the functions here say what is wrong, if anything is.

CREATE OR REPLACE FUNCTION marea.form_of(type TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE type
    -- How Postgres prints a value of the type, which is how it travels.
    WHEN 'uuid' THEN '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    WHEN 'bigint' THEN '^-?[0-9]{1,19}$'
    WHEN 'numeric' THEN '^(-?[0-9]+([.][0-9]+)?|NaN|-?Infinity)$'
    WHEN 'real' THEN '^(NaN|-?Infinity)$'
    WHEN 'double' THEN '^(NaN|-?Infinity)$'
    WHEN 'date' THEN '^([0-9]{4,7}-[0-9]{2}-[0-9]{2}( BC)?|-?infinity)$'
    WHEN 'time' THEN '^[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?$'
    WHEN 'timestamp' THEN '^([0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?( BC)?|-?infinity)$'
    WHEN 'timestamptz'
        THEN '^([0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?(Z|[+-][0-9]{2}(:[0-9]{2}){0,2})( BC)?|-?infinity)$'
    WHEN 'bytea' THEN '^[A-Za-z0-9+/]*={0,2}$'
END;

CREATE OR REPLACE FUNCTION marea.column_problem(of_column marea.columns, given JSONB) RETURNS TEXT
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- What is wrong with a value for a column; NULL: nothing.
DECLARE
    kind CONSTANT TEXT := jsonb_typeof(given);
    said CONSTANT TEXT := given #>> '{}';
    type CONSTANT TEXT := of_column.type;
BEGIN
    IF kind = 'null' THEN
        RETURN CASE WHEN NOT of_column.nullable THEN 'must not be null' END;
    ELSIF type IN ('smallint', 'integer') THEN
        RETURN CASE WHEN kind <> 'number' OR said::numeric <> trunc(said::numeric) THEN 'must be a whole number'
            WHEN type = 'smallint' AND said::numeric NOT BETWEEN -32768 AND 32767 THEN 'must be from -32768 to 32767'
            WHEN said::numeric NOT BETWEEN -2147483648 AND 2147483647 THEN 'must be from -2147483648 to 2147483647' END;
    ELSIF type = 'boolean' THEN
        RETURN CASE WHEN kind <> 'boolean' THEN 'must be true or false' END;
    ELSIF type IN ('json', 'jsonb') THEN
        RETURN CASE WHEN of_column.rule = 'union' AND kind <> 'object' THEN 'must be an object' ELSE marea.json_problem(given, 65536) END;
    ELSIF type LIKE '%[]' THEN
        IF kind <> 'array' THEN
            RETURN 'must be an array';
        END IF;
        RETURN (
            SELECT min(CASE
                WHEN jsonb_typeof(one) <> CASE type WHEN 'integer[]' THEN 'number' ELSE 'string' END THEN 'must be an array of ' || left(type, -2)
                WHEN type = 'uuid[]' AND one #>> '{}' !~ marea.form_of('uuid') THEN 'must be an array of uuid'
                WHEN type = 'integer[]' AND ((one #>> '{}')::numeric <> trunc((one #>> '{}')::numeric)
                    OR (one #>> '{}')::numeric NOT BETWEEN -2147483648 AND 2147483647) THEN 'must be an array of integer' END)
            FROM jsonb_array_elements(given) AS one WHERE jsonb_typeof(one) <> 'null');
    ELSIF type IN ('real', 'double') AND kind = 'number' THEN
        NULL; -- the cast below tells
    ELSIF kind <> 'string' THEN
        RETURN CASE WHEN type IN ('text', 'enum') THEN 'must be a text' WHEN type = 'bytea' THEN 'must be base64'
            WHEN type IN ('real', 'double') THEN 'must be a number' ELSE 'must be a text that holds a ' || type END;
    ELSIF type = 'enum' THEN
        RETURN CASE WHEN said <> ALL (of_column.labels) THEN 'must be one of ' || array_to_string(of_column.labels, ', ') END;
    ELSIF said !~ marea.form_of(type) THEN
        RETURN CASE WHEN type = 'bytea' THEN 'must be base64' ELSE 'must be a ' || type || ' as Postgres prints it' END;
    END IF;
    IF type = 'text' THEN
        RETURN CASE WHEN length(said) > of_column.max_length THEN format('has more than %s characters', of_column.max_length) END;
    ELSIF type = 'bytea' THEN
        RETURN CASE WHEN length(said) % 4 <> 0 THEN 'must be base64' END;
    ELSIF type = 'numeric' AND of_column.precision_ IS NOT NULL AND said ~ '^-?[0-9]' THEN
        RETURN CASE WHEN scale(said::numeric) > greatest(of_column.scale, 0) THEN format('has more than %s decimals', greatest(of_column.scale, 0))
            WHEN abs(said::numeric) >= power(10::numeric, of_column.precision_ - of_column.scale)
                THEN format('has more than %s digits before the point', of_column.precision_ - of_column.scale) END;
    ELSIF type NOT IN ('uuid') THEN
        BEGIN
            CASE type
                WHEN 'bigint' THEN PERFORM said::int8;
                WHEN 'numeric' THEN PERFORM said::numeric;
                WHEN 'real' THEN PERFORM said::float4;
                WHEN 'double' THEN PERFORM said::float8;
                WHEN 'date' THEN PERFORM said::date;
                WHEN 'time' THEN PERFORM said::time;
                WHEN 'timestamp' THEN PERFORM said::timestamp;
                ELSE PERFORM said::timestamptz;
            END CASE;
        EXCEPTION WHEN data_exception THEN
            RETURN 'is no ' || type || ' that Postgres can hold';
        END;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION marea.correction_problem(given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN marea.values_problem('sessions', (
    -- Columns that the app has added have the bounds of their types.
    SELECT coalesce(jsonb_object_agg(field.key, field.value), '{}') FROM jsonb_each(given) AS field
    WHERE field.key IN (SELECT known.name FROM marea.column_limits() AS known WHERE known.relation = 'sessions')
));

COMMENT ON FUNCTION marea.correction_problem(JSONB) IS 'What is wrong with the values of a correction of a session; NULL: nothing.';

CREATE OR REPLACE FUNCTION marea.mirrored_problem(of_table marea.tables, mutation JSONB, me UUID) RETURNS TEXT
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- What is wrong with a mutation of a mirrored table; NULL: nothing.
DECLARE
    op     CONSTANT TEXT := mutation ->> 'op';
    key    CONSTANT TEXT := mutation ->> 'key';
    fields CONSTANT JSONB := mutation -> 'values';
BEGIN
    RETURN CASE
        WHEN NOT of_table.writable THEN 'table: is written by the server alone'
        WHEN coalesce(op NOT IN ('insert', 'merge', 'add', 'delete'), true) THEN 'op: must be insert, merge, add or delete'
        WHEN coalesce(mutation ->> 'hlc', '') !~ '^[0-9]{13}-[0-9a-f]{4}$'
            THEN 'hlc: must be 13 digits, "-" and 4 hexadecimal digits'
        WHEN jsonb_typeof(mutation -> 'key') IS DISTINCT FROM 'string' THEN 'key: must be a text'
        WHEN of_table.key_type = 'uuid' AND key !~ marea.form_of('uuid') THEN 'key: must be a lower-case uuid'
        WHEN octet_length(key) NOT BETWEEN 1 AND 1000 THEN 'key: must have 1 to 1000 bytes'
        WHEN of_table.key_column = of_table.owner_column AND key <> me::text THEN 'key: must be the id of the signed-in user'
        WHEN jsonb_typeof(fields) IS DISTINCT FROM 'object' THEN 'values: must be an object'
        WHEN op IN ('merge', 'add') AND fields = '{}' THEN 'values: set nothing'
        WHEN octet_length(fields::text) > 262144 THEN 'values: have more than 256 KiB as JSON'
        ELSE coalesce((
            SELECT min(CASE
                WHEN field.key = of_table.key_column THEN 'values.' || field.key || ': is the key'
                WHEN c.name IS NULL THEN 'values.' || field.key || ': unknown column'
                WHEN op = 'delete' THEN 'values: must be empty'
                WHEN c.rule = 'server' THEN 'values.' || field.key || ': is written by the server alone'
                WHEN c.rule = 'once' AND op <> 'insert' THEN 'values.' || field.key || ': is set once and never changes'
                WHEN c.rule = 'counter' AND op = 'merge' THEN 'values.' || field.key || ': is a counter; use add'
                WHEN c.rule <> 'counter' AND op = 'add' THEN 'values.' || field.key || ': is no counter'
                WHEN op = 'add' AND (field.value = 'null' OR field.value #>> '{}' ~ '^(NaN|-?Infinity)$')
                    THEN 'values.' || field.key || ': must be a number to add'
                ELSE 'values.' || field.key || ': ' || marea.column_problem(c, field.value)
            END)
            FROM jsonb_each(fields) AS field
            LEFT JOIN marea.columns AS c ON c.table_name = of_table.name AND c.name = field.key),
            CASE WHEN of_table.name = 'sessions' THEN marea.correction_problem(fields) END)
    END;
END
$$;

CREATE OR REPLACE FUNCTION marea.sound_sql(of_table marea.tables) RETURNS TEXT LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    -- The quick look: may only be more careful than marea.column_problem, never less.
    WITH looks AS (
        SELECT c.place, nullif(format(CASE
            -- Postgres orders JSON by kind: what lies between two numbers is one.
            WHEN c.type IN ('smallint', 'integer') THEN '(v -> %1$L BETWEEN %2$L AND %3$L AND strpos(v ->> %1$L, ''.'') = 0' || or_null || ')'
            WHEN c.type IN ('real', 'double') THEN '(v -> %1$L BETWEEN ''-1e30'' AND ''1e30''' || or_null || ')'
            WHEN c.type IN ('json', 'jsonb') AND c.rule <> 'union' THEN CASE WHEN c.nullable THEN '' ELSE 'v -> %1$L <> ''null''' END
            WHEN c.nullable THEN 'jsonb_typeof(v -> %1$L) IN (%4$L, ''null'')'
            ELSE 'jsonb_typeof(v -> %1$L) = %4$L' END,
            c.name, CASE c.type WHEN 'smallint' THEN -32768 ELSE -2147483648 END, CASE c.type WHEN 'smallint' THEN 32767 ELSE 2147483647 END,
            CASE WHEN c.type = 'boolean' THEN 'boolean' WHEN c.type LIKE '%[]' THEN 'array' WHEN c.rule = 'union' THEN 'object' ELSE 'string' END
        ), '') AS kind,
        nullif(format(CASE
            WHEN c.type = 'text' AND c.max_length IS NOT NULL THEN 'length(v ->> %1$L) <= ' || c.max_length
            WHEN c.type = 'enum' THEN 'v ->> %1$L = ANY (' || replace(quote_literal(c.labels::text), '%', '%%') || '::text[])'
            WHEN c.type IN ('json', 'jsonb')
                THEN '(octet_length((v -> %1$L)::text) < 128 OR marea.json_problem(v -> %1$L, 65536) IS NULL)'
            WHEN c.type = 'bytea' THEN 'v ->> %1$L ~ ''^[A-Za-z0-9+/]*={0,2}$'' AND length(v ->> %1$L) %% 4 = 0'
            WHEN c.type = 'bigint' THEN 'v ->> %1$L ~ ''^-?[0-9]{1,18}$'''
            WHEN c.type = 'numeric' AND c.precision_ IS NULL THEN 'v ->> %1$L ~ ''^-?[0-9]+([.][0-9]+)?$'''
            WHEN c.type = 'numeric' AND c.scale BETWEEN 1 AND 20 AND c.precision_ - c.scale BETWEEN 1 AND 200
                THEN 'v ->> %1$L ~ ''^-?[0-9]{1,' || c.precision_ - c.scale || '}([.][0-9]{1,' || c.scale || '})?$'''
            WHEN c.type = 'numeric' THEN 'v ->> %1$L ~ ''^-?[0-9]$'''
            -- The calendar is the cast's affair.
            WHEN c.type = 'date' THEN 'v ->> %1$L ~ ''^[0-9]{4}-[0-9]{2}-[0-9]{2}$'''
            WHEN c.type = 'timestamp' THEN 'v ->> %1$L ~ ''^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?$'''
            WHEN c.type = 'timestamptz' THEN 'v ->> %1$L ~ ''^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$'''
            WHEN c.type LIKE '%[]' THEN 'marea.column_problem((SELECT c FROM marea.columns AS c WHERE c.table_name = '
                || quote_literal(of_table.name) || ' AND c.name = %1$L), v -> %1$L) IS NULL'
            WHEN c.type IN ('uuid', 'time') THEN 'v ->> %1$L ~ ' || quote_literal(marea.form_of(c.type)) END, c.name), '') AS look
        FROM marea.columns AS c
        CROSS JOIN LATERAL (SELECT CASE WHEN c.nullable THEN ' OR v -> %1$L = ''null''' ELSE '' END) AS allowed (or_null)
        WHERE c.table_name = of_table.name AND c.rule NOT IN ('key', 'server')
    )
    SELECT 'pg_column_size(v) <= 65536'
        || coalesce(string_agg(' AND coalesce(' || concat_ws(' AND ', kind, look) || ', true)', '' ORDER BY place)
               FILTER (WHERE kind IS NOT NULL OR look IS NOT NULL), '')
    FROM looks
$$;

CREATE OR REPLACE FUNCTION marea.make_checks(of_table marea.tables) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    function_ CONSTANT TEXT := format('marea.mirror_%s_is_sound(JSONB)', of_table.id);
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION marea.mirror_%s_is_sound(v JSONB) RETURNS BOOLEAN LANGUAGE sql STABLE RETURN %s',
        of_table.id, marea.sound_sql(of_table));
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated, service_role', function_);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO authenticated', function_);
END
$$;

COMMENT ON FUNCTION marea.form_of(TEXT) IS 'The form of a type''s values on the wire, a regular expression; NULL: any text.';
COMMENT ON FUNCTION marea.column_problem(marea.columns, JSONB) IS 'What is wrong with a value for a column; NULL: nothing.';
COMMENT ON FUNCTION marea.mirrored_problem(marea.tables, JSONB, UUID) IS 'What is wrong with a mutation of a mirrored table; NULL: nothing.';
COMMENT ON FUNCTION marea.sound_sql(marea.tables) IS 'The quick look at the values of a table''s row, as an expression on v.';
COMMENT ON FUNCTION marea.make_checks(marea.tables) IS 'Makes the quick look at the values of a table''s row.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_tracking
-- ---------------------------------------------------------------------------------------------------------------------

-- Tracking of mirrored tables: triggers that are made with the table's columns in them, so that a statement costs what it changes.
-- Nothing that happens to the table later may make a statement of the app fail: where a column has gone, what is left of them is
-- tracked, and marea.health says that marea.mirror is due.

CREATE OR REPLACE FUNCTION marea.tracking_sql(of_table marea.tables, relation REGCLASS, op TEXT) RETURNS TEXT
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- One row: owners and keys of rows that went, owners and keys of rows that are here, and which registers of those were changed.
    -- A key of more than 1,000 bytes fits into no index of Marea's: such a row does not travel.
    -- Rows are compared by their images: any type has one, and 1.0 is not 1.00.
    WITH columns AS (
        SELECT c.name, c.place, c.rule
        FROM marea.columns AS c
        JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = c.name AND NOT a.attisdropped AND a.attnum > 0
        WHERE c.table_name = of_table.name AND a.attgenerated <> 'v'
    )
    SELECT CASE op
        WHEN 'INSERT' THEN format($sql$
            SELECT NULL::uuid[], NULL::text[], array_agg(n.%1$I), array_agg(n.%2$I::text), NULL::jsonb[]
            FROM added AS n WHERE octet_length(n.%2$I::text) <= 1000 $sql$, of_table.owner_column, of_table.key_column)
        WHEN 'DELETE' THEN format($sql$
            SELECT array_agg(o.%1$I), array_agg(o.%2$I::text), NULL::uuid[], NULL::text[], NULL::jsonb[]
            FROM removed AS o WHERE octet_length(o.%2$I::text) <= 1000 $sql$, of_table.owner_column, of_table.key_column)
        ELSE format($sql$
            WITH moved AS (
                SELECT o.%1$I AS owner, o.%2$I::text AS key FROM removed AS o
                EXCEPT SELECT n.%1$I, n.%2$I::text FROM added AS n
            ), changed AS MATERIALIZED (
                SELECT n.%1$I AS owner, n.%2$I::text AS key, %3$s AS names
                FROM added AS n LEFT JOIN removed AS o ON o.%2$I = n.%2$I AND o.%1$I = n.%1$I
                WHERE %4$s AND octet_length(n.%2$I::text) <= 1000
            )
            SELECT (SELECT array_agg(m.owner ORDER BY m.key) FROM moved AS m WHERE octet_length(m.key) <= 1000),
                   (SELECT array_agg(m.key ORDER BY m.key) FROM moved AS m WHERE octet_length(m.key) <= 1000),
                   array_agg(c.owner), array_agg(c.key), array_agg(c.names)
            FROM changed AS c $sql$,
            of_table.owner_column, of_table.key_column,
            coalesce('to_jsonb(array_remove(ARRAY[' || string_agg(
                format('CASE WHEN record_image_ne(ROW(n.%1$I), ROW(o.%1$I)) THEN %1$L END', c.name), ', ' ORDER BY c.place)
                FILTER (WHERE c.rule = 'register') || ']::text[], NULL))', '''[]''::jsonb'),
            format('(o.%1$I IS NULL OR record_image_ne(ROW(%2$s), ROW(%3$s)))', of_table.key_column,
                string_agg(format('n.%I', c.name), ', ' ORDER BY c.place),
                string_agg(format('o.%I', c.name), ', ' ORDER BY c.place)))
    END
    FROM columns AS c
$$;

CREATE OR REPLACE FUNCTION marea.note_changes(
    relation TEXT, gone_owners UUID[], gone_keys TEXT[], owners UUID[], keys TEXT[], names JSONB[]
) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM marea.settle_clocks();
    IF gone_owners IS NOT NULL THEN
        -- When it was deleted stays with the tombstone: who brings the row back must have written later. The line says at once
        -- that the row is gone, because the same transaction may bring it back.
        INSERT INTO marea.rows AS r (user_id, table_name, row_key, deleted, hlc)
        SELECT gone.owner, relation, gone.key, true, jsonb_build_object('*', jsonb_build_array(marea.server_hlc((
                   SELECT stored.hlc -> '*' ->> 0 FROM marea.rows AS stored
                   WHERE stored.user_id = gone.owner AND stored.table_name = relation AND stored.row_key = gone.key)), 'server'))
        FROM unnest(gone_owners, gone_keys) AS gone (owner, key)
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = gone.owner)
        ORDER BY gone.owner, gone.key
        ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET deleted = true, hlc = EXCLUDED.hlc;
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES (relation, true, gone_owners, gone_keys);
    END IF;
    IF owners IS NOT NULL THEN
        IF names IS NOT NULL THEN
            PERFORM marea.assign_server_hlc(relation, owners, keys, names);
        ELSE
            PERFORM marea.bound_lines(relation, cardinality(owners));
        END IF;
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES (relation, false, owners, keys);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.track_truncate() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation CONSTANT TEXT := (SELECT t.name FROM marea.tables AS t WHERE t.id = TG_ARGV[0]::int);
    owners   UUID[];
    keys     TEXT[];
BEGIN
    SELECT array_agg(r.user_id ORDER BY r.user_id, r.row_key), array_agg(r.row_key ORDER BY r.user_id, r.row_key) INTO owners, keys
    FROM marea.rows AS r WHERE r.table_name = relation AND NOT r.deleted;
    PERFORM marea.note_changes(relation, owners, keys, NULL, NULL, NULL);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION marea.make_tracking(of_table marea.tables, relation REGCLASS) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    function_ CONSTANT TEXT := format('marea.mirror_%s_track()', of_table.id);
    op        TEXT;
    wanted    RECORD;
BEGIN
    -- A statement that fails would be taken for one whose columns have gone, so each is tried here.
    FOREACH op IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE'] LOOP
        EXECUTE format('WITH added AS (SELECT * FROM %1$s WHERE false), removed AS (SELECT * FROM %1$s WHERE false) SELECT FROM (%2$s) AS tried',
            relation, marea.tracking_sql(of_table, relation, op));
    END LOOP;
    EXECUTE format($make$
        CREATE OR REPLACE FUNCTION %1$s RETURNS TRIGGER LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $track$
        -- Made by marea.mirror for %2$s. enable_nestloop: a plan is made with the first statement's few rows in mind and kept.
        DECLARE
            gone_owners UUID[];
            gone_keys   TEXT[];
            owners      UUID[];
            keys        TEXT[];
            names       JSONB[];
            left_       TEXT;
        BEGIN
            BEGIN
                IF TG_OP = 'INSERT' THEN
                    SELECT * INTO gone_owners, gone_keys, owners, keys, names FROM (%3$s) AS found;
                ELSIF TG_OP = 'UPDATE' THEN
                    SELECT * INTO gone_owners, gone_keys, owners, keys, names FROM (%4$s) AS found;
                ELSE
                    SELECT * INTO gone_owners, gone_keys, owners, keys, names FROM (%5$s) AS found;
                END IF;
            EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
                BEGIN
                    SELECT marea.tracking_sql(t, TG_RELID, TG_OP) INTO left_ FROM marea.tables AS t WHERE t.id = %6$s;
                    EXECUTE left_ INTO gone_owners, gone_keys, owners, keys, names;
                EXCEPTION WHEN syntax_error_or_access_rule_violation OR null_value_not_allowed THEN
                    RETURN NULL; -- its key or owner is gone: marea.health says so
                END;
            END;
            IF gone_owners IS NOT NULL OR owners IS NOT NULL THEN
                PERFORM marea.note_changes(%7$L, gone_owners, gone_keys, owners, keys, names);
            END IF;
            RETURN NULL;
        END
        $track$ $make$,
        function_, relation, marea.tracking_sql(of_table, relation, 'INSERT'), marea.tracking_sql(of_table, relation, 'UPDATE'),
        marea.tracking_sql(of_table, relation, 'DELETE'), of_table.id, of_table.name);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated, service_role', function_);
    -- Making a trigger locks out those who write, so only what is missing is made.
    FOR wanted IN
        SELECT * FROM (VALUES
            ('inserted', 'INSERT', 'REFERENCING NEW TABLE AS added'),
            ('updated', 'UPDATE', 'REFERENCING OLD TABLE AS removed NEW TABLE AS added'),
            ('deleted', 'DELETE', 'REFERENCING OLD TABLE AS removed'),
            ('truncated', 'TRUNCATE', '')
        ) AS triggers (name, event, tables)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger AS g WHERE g.tgrelid = relation AND g.tgname = 'marea_mirror_' || triggers.name
              AND g.tgenabled IN ('O', 'A')
              AND (triggers.name = 'truncated' OR g.tgfoid = to_regprocedure(function_)))
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_mirror_%s AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION %s',
            wanted.name, wanted.event, relation, wanted.tables,
            CASE wanted.name WHEN 'truncated' THEN format('marea.track_truncate(%s)', of_table.id) ELSE function_ END);
    END LOOP;
END
$$;

COMMENT ON FUNCTION marea.tracking_sql(marea.tables, REGCLASS, TEXT) IS 'The statement that finds what another statement changed in a table.';
COMMENT ON FUNCTION marea.note_changes(TEXT, UUID[], TEXT[], UUID[], TEXT[], JSONB[]) IS 'Notes rows that went and rows that changed.';
COMMENT ON FUNCTION marea.track_truncate() IS 'Trigger: all rows of a mirrored table are gone.';
COMMENT ON FUNCTION marea.make_tracking(marea.tables, REGCLASS) IS 'Makes the tracking function and the triggers of a table.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_page
-- ---------------------------------------------------------------------------------------------------------------------

-- Pages of mirrored tables: for each a function that is made with the table's columns in it, in their wire forms. A table whose
-- columns have changed since is read by a statement that is made for what is left of them.

CREATE OR REPLACE FUNCTION marea.wire_expression(type TEXT, packs BOOLEAN) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE
    -- Of a text: char(n) loses the blanks at its end so, as in a comparison and as a key.
    WHEN type IN ('text', 'bigint', 'numeric', 'time') THEN '%s::text'
    WHEN type = 'timestamp' THEN 'marea.wire_timestamp(%s)'
    WHEN type = 'timestamptz' THEN 'marea.wire_instant(%s)'
    WHEN type = 'date' THEN '%s::date' -- as JSON it is ISO whatever DateStyle is
    WHEN type = 'bytea' THEN 'translate(encode(%s, ''base64''), E''\n'', '''')'
    -- JSON text may hold what JSONB cannot: it passes only where nobody on the way takes it apart.
    WHEN type = 'json' AND NOT packs THEN 'CASE WHEN %1$s::text !~ ''\\u0000'' THEN %1$s END'
    ELSE '%s'
END;

CREATE OR REPLACE FUNCTION marea.wire_timestamp(at TIMESTAMP) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE WHEN at >= '0001-01-01' AND at < '10000-01-01' THEN to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US')
    ELSE to_json(at) #>> '{}' END;

CREATE OR REPLACE FUNCTION marea.wire_instant(at TIMESTAMPTZ) RETURNS TEXT LANGUAGE sql STABLE
RETURN CASE WHEN at >= '0001-01-01 00:00:00+00' AND at < '10000-01-01 00:00:00+00'
    THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') ELSE at::text END;

CREATE OR REPLACE FUNCTION marea.weight_expression(type TEXT, max_length INTEGER, "precision" INTEGER) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE
    -- Compressed in storage, a value may look a hundred times smaller than its text.
    WHEN type = 'text' AND max_length <= 100 THEN NULL
    WHEN type = 'text' THEN 'octet_length(%1$s)'
    WHEN type = 'bytea' THEN 'octet_length(%1$s) / 3 * 4'
    WHEN type = 'numeric' AND "precision" IS NULL THEN 'octet_length(%1$s::text)'
    WHEN type IN ('json', 'jsonb', 'text[]', 'integer[]', 'uuid[]')
        THEN 'CASE WHEN pg_column_compression(%1$s) IS NULL AND pg_column_size(%1$s) < 1000 THEN 2 * pg_column_size(%1$s) ELSE octet_length(%1$s::text) END'
END;

CREATE OR REPLACE FUNCTION marea.page_sql(of_table marea.tables, relation REGCLASS, what TEXT) RETURNS TEXT
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- what: packed (one JSON text, column by column), rows (JSON, row by row) or weights (version and bytes of each row).
    -- $1, $2 and $3 are whose rows, and between which versions. An expression on table_name keeps the primary key's index out:
    -- the rows are read in the order of their versions. OFFSET 0 gives the keys their type before they are joined.
    WITH columns AS (
        SELECT c.name, c.place, c.rule, format(marea.wire_expression(c.type, what = 'packed'), format('t.%I', c.name)) AS value,
               nullif(format(marea.weight_expression(c.type, c.max_length, c.precision_), format('t.%I', c.name)), '') AS weight
        FROM marea.columns AS c
        JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = c.name AND NOT a.attisdropped AND a.attnum > 0
        WHERE c.table_name = of_table.name
    ), lines AS (
        SELECT format($sql$
            SELECT r.hlc, r.version, r.row_key::%1$s AS key
            FROM marea.rows AS r
            WHERE r.user_id = $1 AND r.version > $2 AND r.version <= $3 AND (r.table_name || '') = %2$L AND NOT r.deleted
            OFFSET 0 $sql$, k.sql_type, of_table.name) AS sql
        FROM marea.columns AS k WHERE k.table_name = of_table.name AND k.rule = 'key'
    ), joined AS (
        SELECT format('JOIN %s AS t ON t.%I = s.key AND t.%I = $1', relation, of_table.key_column, of_table.owner_column) AS sql
    )
    SELECT CASE what
        WHEN 'packed' THEN format($sql$
            WITH s AS MATERIALIZED (%s)
            SELECT ('{"clocks":' || json_agg(CASE WHEN s.hlc ? '*' THEN s.hlc - '*' ELSE s.hlc END)::text%s || '}'), count(*),
                   (SELECT count(*) FROM s)
            FROM s %s $sql$, lines.sql,
            string_agg(format(' || %L || json_agg(%s)::text', ',' || to_json(c.name) || ':', c.value), '' ORDER BY c.place), joined.sql)
        WHEN 'rows' THEN format($sql$
            WITH s AS MATERIALIZED (%s)
            SELECT json_agg(json_build_object('version', s.version, 'hlc', s.hlc - '*', 'values', row_to_json(v.*)))::text, count(*),
                   (SELECT count(*) FROM s)
            FROM s %s CROSS JOIN LATERAL (SELECT %s) AS v $sql$, lines.sql, joined.sql,
            string_agg(format('%s AS %I', c.value, c.name), ', ' ORDER BY c.place))
        ELSE format($sql$
            -- Rows that nobody has changed have no clocks.
            SELECT array_agg(s.version ORDER BY s.version), array_agg(100 + %s + CASE WHEN pg_column_compression(s.hlc) IS NULL
                THEN pg_column_size(s.hlc) * 3 / 2 ELSE %s END%s ORDER BY s.version)
            FROM (%s) AS s %s $sql$, 30 * count(*), 80 * count(*) FILTER (WHERE c.rule = 'register'), string_agg(' + coalesce(' || c.weight || ', 0)', '' ORDER BY c.place), lines.sql,
            joined.sql)
    END
    FROM columns AS c, lines, joined
    GROUP BY lines.sql, joined.sql
$$;

CREATE OR REPLACE FUNCTION marea.make_page(of_table marea.tables, relation REGCLASS) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    settings  CONSTANT TEXT := 'LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp
        SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off SET enable_bitmapscan = off
        SET extra_float_digits = 1 SET DateStyle = ''ISO, YMD'' SET TimeZone = ''UTC''';
    page      CONSTANT TEXT := format('marea.mirror_%s_page(UUID, BIGINT, BIGINT, BOOLEAN)', of_table.id);
    weights   CONSTANT TEXT := format('marea.mirror_%s_weights(UUID, BIGINT, BIGINT)', of_table.id);
    what      TEXT;
BEGIN
    -- A statement that fails would be taken for one whose columns have gone, so each is tried here.
    FOREACH what IN ARRAY ARRAY['packed', 'rows', 'weights'] LOOP
        EXECUTE marea.page_sql(of_table, relation, what) USING NULL::uuid, 0::bigint, 0::bigint;
    END LOOP;
    EXECUTE format($make$
        CREATE OR REPLACE FUNCTION marea.mirror_%1$s_page(me UUID, since BIGINT, upto BIGINT, packs BOOLEAN,
            OUT body TEXT, OUT shown BIGINT, OUT lines BIGINT) %2$s AS $page$
        -- Made by marea.mirror for %3$s: its rows between two versions, how many these are, and how many there should be.
        BEGIN
            IF packs THEN
                SELECT * INTO body, shown, lines FROM (%4$s) AS page;
            ELSE
                SELECT * INTO body, shown, lines FROM (%5$s) AS page;
            END IF;
        END
        $page$;
        CREATE OR REPLACE FUNCTION marea.mirror_%1$s_weights(me UUID, since BIGINT, upto BIGINT,
            OUT versions BIGINT[], OUT weights BIGINT[]) %2$s AS $page$
        -- Made by marea.mirror for %3$s: about how many bytes each row between two versions has.
        BEGIN
            SELECT * INTO versions, weights FROM (%6$s) AS page;
        END
        $page$ $make$,
        of_table.id, settings, relation, marea.page_sql(of_table, relation, 'packed'), marea.page_sql(of_table, relation, 'rows'),
        marea.page_sql(of_table, relation, 'weights'));
    EXECUTE format('REVOKE ALL ON FUNCTION %s, %s FROM PUBLIC, anon, authenticated, service_role', page, weights);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s, %s TO authenticated', page, weights);
END
$$;

CREATE OR REPLACE FUNCTION marea.unseen_tables() RETURNS TEXT[]
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Tables of which marea.rows has lines that no device sees: tombstones of what may be sent again. PL/pgSQL, because Postgres up to 17
-- plans what a function of SQL looks up each time that it is called.
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM marea.tables AS t WHERE t.name = 'sessions') THEN '{progress_events}'::text[]
        ELSE '{sessions,progress_events}'::text[] END;
END
$$;

CREATE OR REPLACE FUNCTION marea.mirrored_rows(of_table marea.tables, me UUID, since BIGINT, upto BIGINT, packs BOOLEAN,
    OUT body TEXT, OUT hidden TEXT[])
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- One table's part of a page. What went missing or was taken away since it was mirrored costs this table what it costs, and
-- the sync nothing. A row that is there and that no policy shows to its owner is gone, as far as its owner can tell.
DECLARE
    relation CONSTANT REGCLASS := marea.relation_of(of_table);
    shown    BIGINT;
    lines    BIGINT;
BEGIN
    BEGIN
        EXECUTE format('SELECT * FROM marea.mirror_%s_page($1, $2, $3, $4)', of_table.id) INTO body, shown, lines
        USING me, since, upto, packs;
    EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
        BEGIN
            EXECUTE marea.page_sql(of_table, relation, CASE WHEN packs THEN 'packed' ELSE 'rows' END)
            INTO body, shown, lines USING me, since, upto;
        EXCEPTION WHEN syntax_error_or_access_rule_violation OR null_value_not_allowed THEN
            RETURN;
        END;
    END;
    IF shown < lines THEN
        EXECUTE format($sql$
            SELECT array_agg(r.row_key)
            FROM marea.rows AS r
            WHERE r.user_id = $1 AND r.version > $2 AND r.version <= $3 AND (r.table_name || '') = %L AND NOT r.deleted
              AND NOT EXISTS (SELECT FROM %s AS t WHERE t.%I::text = r.row_key AND t.%I = $1) $sql$,
            of_table.name, relation, of_table.key_column, of_table.owner_column)
        INTO hidden USING me, since, upto;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.mirrored_page(me UUID, since BIGINT, upto BIGINT, packs BOOLEAN, reset BOOLEAN,
    OUT shown JSONB, OUT gone JSONB)
LANGUAGE plpgsql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off
SET enable_bitmapscan = off AS $$
-- What of the mirrored tables changed between two versions: table -> rows, and table -> keys.
DECLARE
    part RECORD;
    rows_ RECORD;
BEGIN
    shown := '{}';
    gone := '{}';
    IF NOT EXISTS (SELECT FROM marea.tables) THEN
        RETURN;
    END IF;
    FOR part IN
        SELECT t AS of_table, bool_or(NOT r.deleted) AS any_here,
               jsonb_agg(r.row_key) FILTER (WHERE r.deleted AND NOT reset) AS gone
        FROM marea.rows AS r JOIN marea.tables AS t ON t.name = r.table_name
        WHERE r.user_id = me AND r.version > since AND r.version <= upto
        GROUP BY t
    LOOP
        IF part.any_here THEN
            SELECT * INTO rows_ FROM marea.mirrored_rows(part.of_table, me, since, upto, packs);
            IF rows_.body IS NOT NULL THEN
                shown := shown || jsonb_build_object((part.of_table).name,
                    CASE WHEN packs THEN to_jsonb(rows_.body) ELSE rows_.body::jsonb END);
            END IF;
            IF rows_.hidden IS NOT NULL AND NOT reset THEN
                part.gone := coalesce(part.gone, '[]') || to_jsonb(rows_.hidden);
            END IF;
        END IF;
        IF part.gone IS NOT NULL THEN
            gone := gone || jsonb_build_object((part.of_table).name, part.gone);
        END IF;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION marea.mirrored_weights(me UUID, since BIGINT, upto BIGINT, OUT versions BIGINT[], OUT weights BIGINT[])
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The rows of mirrored tables between two versions, in their order, and about how many bytes each of them has.
DECLARE
    of_table      marea.tables;
    some_versions BIGINT[];
    some_weights  BIGINT[];
    tables        INTEGER := 0;
BEGIN
    FOR of_table IN
        SELECT t.* FROM marea.tables AS t
        WHERE t.name IN (SELECT r.table_name FROM marea.rows AS r WHERE r.user_id = me AND r.version > since AND r.version <= upto AND NOT r.deleted)
    LOOP
        BEGIN
            EXECUTE format('SELECT * FROM marea.mirror_%s_weights($1, $2, $3)', of_table.id) INTO some_versions, some_weights
            USING me, since, upto;
        EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
            BEGIN
                EXECUTE marea.page_sql(of_table, marea.relation_of(of_table), 'weights')
                INTO some_versions, some_weights USING me, since, upto;
            EXCEPTION WHEN syntax_error_or_access_rule_violation OR null_value_not_allowed THEN
                CONTINUE;
            END;
        END;
        tables := tables + 1;
        versions := versions || some_versions;
        weights := weights || some_weights;
    END LOOP;
    IF tables > 1 THEN
        SELECT array_agg(w.version ORDER BY w.version), array_agg(w.weight ORDER BY w.version) INTO versions, weights
        FROM unnest(versions, weights) AS w (version, weight);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.wire_expression(TEXT, BOOLEAN) IS 'How a value of a type is written for the wire, with %s for the value.';
COMMENT ON FUNCTION marea.wire_timestamp(TIMESTAMP) IS 'A time without a zone as it crosses the wire.';
COMMENT ON FUNCTION marea.wire_instant(TIMESTAMPTZ) IS 'marea.wire_time, and what is no instant of the calendar as Postgres prints it.';
COMMENT ON FUNCTION marea.weight_expression(TEXT, INTEGER, INTEGER) IS 'About how many bytes a value has on the wire; NULL: few.';
COMMENT ON FUNCTION marea.page_sql(marea.tables, REGCLASS, TEXT) IS 'The statement that reads a table''s part of a page.';
COMMENT ON FUNCTION marea.make_page(marea.tables, REGCLASS) IS 'Makes the functions that read a table''s part of a page.';
COMMENT ON FUNCTION marea.unseen_tables() IS 'Tables of which no device sees the lines in marea.rows.';
COMMENT ON FUNCTION marea.mirrored_rows(marea.tables, UUID, BIGINT, BIGINT, BOOLEAN) IS 'One table''s part of a page.';
COMMENT ON FUNCTION marea.mirrored_page(UUID, BIGINT, BIGINT, BOOLEAN, BOOLEAN) IS 'The mirrored tables'' part of a page.';
COMMENT ON FUNCTION marea.mirrored_weights(UUID, BIGINT, BIGINT) IS 'About how many bytes the rows of mirrored tables have.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_writes
-- ---------------------------------------------------------------------------------------------------------------------

-- What the pushes to mirrored tables are made of: what is known of rows, locks, statements with the columns of a table in them, and the
-- notes of who wrote what.

CREATE OR REPLACE FUNCTION marea.note_writes(relation TEXT, keys TEXT[], clocks JSONB[], gone BOOLEAN) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Notes who wrote the caller's own rows last, or deleted them. The row counts as changed even where the values stayed the same: the
-- other devices must learn the new clocks.
DECLARE
    me CONSTANT UUID := auth.uid();
BEGIN
    IF me IS NULL OR NOT EXISTS (SELECT FROM marea.tables AS t WHERE t.name = relation) THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'not a row of the caller';
    END IF;
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, deleted, hlc)
    SELECT me, relation, line.key, gone, line.clocks
    FROM unnest(keys, clocks) AS line (key, clocks) ORDER BY line.key COLLATE "C"
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET
        deleted = gone, hlc = CASE WHEN gone THEN EXCLUDED.hlc ELSE r.hlc || EXCLUDED.hlc END;
    INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
    VALUES (relation, gone, array_fill(me, ARRAY[cardinality(keys)]), keys);
END
$$;

CREATE OR REPLACE FUNCTION marea.note_stamps(relation TEXT, keys TEXT[], columns TEXT[], stamps TEXT[], client TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The same for rows that are there and of which each has one clock for all of these columns: it comes with the version, so that the line
-- of a row is written once.
DECLARE
    me CONSTANT UUID := auth.uid();
BEGIN
    IF me IS NULL OR client IS NULL OR NOT EXISTS (SELECT FROM marea.tables AS t WHERE t.name = relation) THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'not a row of the caller';
    END IF;
    INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys, clocks, stamps)
    -- No name holds a control character as it is.
    SELECT relation, false, array_fill(me, ARRAY[cardinality(keys)]), keys,
           '{' || string_agg(to_json(c) || ':["' || chr(1) || '",' || to_json(client) || ']', ',') || '}', CASE WHEN count(c) > 0 THEN stamps END
    FROM unnest(columns) AS c;
END
$$;

CREATE OR REPLACE FUNCTION marea.with_lines(relation TEXT, batch JSONB, client TEXT)
RETURNS TABLE (n BIGINT, value JSONB, key TEXT, clock TEXT, deleted BOOLEAN, hlc JSONB, later BOOLEAN)
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
-- Mutations with what is known of their rows. later: than the row's last deletion or return, if there was one. A look-up by key for
-- each, whatever the planner thinks; the key has its type already, or row level security keeps it from using the index.
#variable_conflict use_column
DECLARE
    -- Nearly every clock is at most this, and need not be looked at.
    likely CONSTANT TEXT := lpad(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint::text, 13, '0');
BEGIN
    PERFORM marea.settle_clocks();
    RETURN QUERY
    SELECT m.n, m.value, m.key, m.clock, r.deleted, r.hlc,
           (NOT r.hlc ? '*' OR ROW(m.clock COLLATE "C", client COLLATE "C") > ROW(r.hlc -> '*' ->> 0, r.hlc -> '*' ->> 1)) IS NOT FALSE
    FROM (
        SELECT e.n, e.value, e.value ->> 'key' AS key,
               CASE WHEN e.value ->> 'hlc' <= likely COLLATE "C" THEN e.value ->> 'hlc' ELSE marea.clamp_hlc(e.value ->> 'hlc') END AS clock
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS e (value, n)
        OFFSET 0
    ) AS m
    LEFT JOIN LATERAL (
        SELECT l.deleted, l.hlc FROM marea.rows AS l
        WHERE l.user_id = auth.uid() AND l.table_name = relation AND l.row_key = m.key
        LIMIT 1
    ) AS r ON true
    ORDER BY m.n;
END
$$;

CREATE OR REPLACE FUNCTION marea.count_once(ids UUID[]) RETURNS UUID[]
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH counted AS (
        INSERT INTO marea.additions (user_id, id) SELECT DISTINCT auth.uid(), given.id FROM unnest(ids) AS given (id)
        ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(counted.id), '{}') FROM counted;
END;

CREATE OR REPLACE FUNCTION marea.left_out_keys(relation TEXT, keys TEXT[]) RETURNS TEXT[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- Which of the caller's keys no statement of this transaction has noted. Asked of the notes and not of the table: a policy may
    -- hide a row from the one who has just made it.
    SELECT array_agg(given.key)
    FROM unnest(keys) AS given (key)
    WHERE NOT EXISTS (
        SELECT FROM marea.pending AS p
        WHERE p.xact = pg_current_xact_id_if_assigned() AND p.table_name = relation AND given.key = ANY (p.row_keys));
END;

CREATE OR REPLACE FUNCTION marea.one_by_one() RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'these mutations have to be looked at one by one';
END
$$;

CREATE OR REPLACE FUNCTION marea.record_of(of_table marea.tables, names TEXT[], OUT columns TEXT, OUT selected TEXT, OUT types TEXT)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- For a statement that reads columns out of JSON: their names, their values as v.name, and v's definition.
    SELECT string_agg(format('%I', c.name), ', ' ORDER BY c.place),
           string_agg(format(CASE c.type WHEN 'bytea' THEN 'pg_catalog.decode(v.%I, ''base64'')' ELSE 'v.%I' END, c.name), ', ' ORDER BY c.place),
           string_agg(format('%I %s', c.name, CASE c.type WHEN 'bytea' THEN 'pg_catalog.text' ELSE c.sql_type END), ', ' ORDER BY c.place)
    FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.name = ANY (names);
END;

CREATE OR REPLACE FUNCTION marea.is_mine(of_table marea.tables, relation REGCLASS, key TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine BOOLEAN;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE t.%I = $1::%s AND t.%I = $2)', relation, of_table.key_column,
        (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key'), of_table.owner_column)
    INTO mine USING key, auth.uid();
    RETURN mine;
END
$$;

CREATE OR REPLACE FUNCTION marea.lock_mirrored(of_table marea.tables, relation REGCLASS, keys TEXT[]) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Locks rows of the caller, and tells which there are. Who holds a row's lock knows the clocks that are stored for it.
DECLARE
    held TEXT[];
BEGIN
    EXECUTE format('SELECT array_agg(l.key) FROM (SELECT t.%1$I::text AS key FROM %2$s AS t WHERE t.%1$I = ANY ($1::%3$s[]) AND t.%4$I = $2 '
        'ORDER BY t.%1$I FOR NO KEY UPDATE) AS l', of_table.key_column, relation,
        (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key'), of_table.owner_column)
    INTO held USING keys, auth.uid();
    RETURN coalesce(held, '{}');
END
$$;

CREATE OR REPLACE FUNCTION marea.refuse_absent(deleted BOOLEAN) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF deleted IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: no such row';
    END IF;
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'key: the app''s policies do not let this row be written';
END
$$;

CREATE OR REPLACE FUNCTION marea.update_mirrored(of_table marea.tables, relation REGCLASS, changes JSONB, names TEXT[], adds BOOLEAN) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Sets these columns of these rows, or adds to them. changes: [{"key", "values"}], each with all of the columns.
DECLARE
    done    BIGINT;
    update_ TEXT;
BEGIN
    SELECT format('UPDATE %s AS t SET %s FROM pg_catalog.jsonb_array_elements($1) AS m, '
               'LATERAL pg_catalog.jsonb_to_record(m OPERATOR(pg_catalog.->) ''values'') AS v(%s) '
               'WHERE t.%I OPERATOR(pg_catalog.=) (m OPERATOR(pg_catalog.->>) ''key'')::%s AND t.%I OPERATOR(pg_catalog.=) $2',
               relation, string_agg(format('%I = ', c.name) || format(CASE
                   WHEN adds THEN '(coalesce(t.%1$I, 0)::pg_catalog.numeric OPERATOR(pg_catalog.+) v.%1$I)::%2$s'
                   WHEN c.rule = 'union' THEN 'marea.union_achievements(coalesce(t.%1$I::pg_catalog.jsonb, ''{}''), v.%1$I::pg_catalog.jsonb)'
                   WHEN c.type = 'bytea' THEN 'pg_catalog.decode(v.%1$I, ''base64'')'
                   ELSE 'v.%1$I' END, c.name, c.sql_type), ', ' ORDER BY c.place),
               string_agg(format('%I %s', c.name, CASE WHEN adds THEN 'pg_catalog."numeric"' WHEN c.type = 'bytea' THEN 'pg_catalog.text'
                   ELSE c.sql_type END), ', ' ORDER BY c.place),
               of_table.key_column, (SELECT k.sql_type FROM marea.columns AS k WHERE k.table_name = of_table.name AND k.rule = 'key'),
               of_table.owner_column)
    INTO update_
    FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.name = ANY (names);
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE update_ USING changes, auth.uid();
    GET DIAGNOSTICS done = ROW_COUNT;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF done < jsonb_array_length(changes) THEN
        IF jsonb_array_length(changes) > 1 THEN
            PERFORM marea.one_by_one();
        END IF;
        PERFORM marea.refuse_left_out(relation, 'UPDATE');
    END IF;
END
$$;

COMMENT ON FUNCTION marea.note_writes(TEXT, TEXT[], JSONB[], BOOLEAN) IS 'Notes the clocks of the caller''s own rows, or of their deletion.';
COMMENT ON FUNCTION marea.note_stamps(TEXT, TEXT[], TEXT[], TEXT[], TEXT) IS 'Notes the clocks of the caller''s own rows, one for each row.';
COMMENT ON FUNCTION marea.with_lines(TEXT, JSONB, TEXT) IS 'Mutations with what is known of their rows.';
COMMENT ON FUNCTION marea.count_once(UUID[]) IS 'Which of these additions of the caller have not been counted yet; they are now.';
COMMENT ON FUNCTION marea.left_out_keys(TEXT, TEXT[]) IS 'Which of these rows this transaction has not written.';
COMMENT ON FUNCTION marea.one_by_one() IS 'Fails a run of mutations, so that they are taken one by one.';
COMMENT ON FUNCTION marea.record_of(marea.tables, TEXT[]) IS 'Columns, values and definition for a statement that reads them out of JSON.';
COMMENT ON FUNCTION marea.is_mine(marea.tables, REGCLASS, TEXT) IS 'Whether the caller has this row and sees it.';
COMMENT ON FUNCTION marea.lock_mirrored(marea.tables, REGCLASS, TEXT[]) IS 'Locks rows of the caller; which there are.';
COMMENT ON FUNCTION marea.refuse_absent(BOOLEAN) IS 'Refuses a write to a row that is not there, or that policies hide.';
COMMENT ON FUNCTION marea.update_mirrored(marea.tables, REGCLASS, JSONB, TEXT[], BOOLEAN) IS 'Sets columns of rows, or adds to them.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_push
-- ---------------------------------------------------------------------------------------------------------------------

-- Push to mirrored tables: runs of mutations of one table and one operation, each run in a few statements, whatever its length. What
-- goes wrong fails the run; marea.push then takes its mutations one by one, and only there each cause is looked for.
--
-- Statements with names of the app in them run under the app's search_path, which must not decide what Marea's own words mean: so
-- each of those names its schema.

CREATE OR REPLACE FUNCTION marea.insert_mirrored(of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- A row that is there already is merged; one that was deleted comes back if the insert is later than the deletion.
DECLARE
    me       CONSTANT UUID := auth.uid();
    count_   CONSTANT INTEGER := jsonb_array_length(batch);
    path     CONSTANT TEXT := marea.app_search_path();
    triggers CONSTANT TEXT := marea.triggers_before(relation, 'INSERT');
    key_type CONSTANT TEXT := (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key');
    registers CONSTANT TEXT[] := ARRAY(SELECT c.name FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'register');
    merged   CONSTANT TEXT[] := registers || ARRAY(
        SELECT c.name FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'union');
    alike    CONSTANT BOOLEAN := (
        SELECT bool_and(m -> 'values' ?& names AND (m -> 'values') - names = '{}')
        FROM jsonb_array_elements(batch) AS m, (SELECT ARRAY(SELECT jsonb_object_keys(batch #> '{0,values}'))) AS first (names));
    statuses TEXT[];
    stamps   TEXT[];
    there    JSONB;
    places   BIGINT[];
    part     RECORD;
    v        RECORD;
    insert_  TEXT;
    done     BIGINT;
    keys     TEXT[];
    written  TEXT[];
    clocks   JSONB[];
    constraint_ TEXT;
BEGIN
    SELECT array_agg(CASE WHEN l.deleted IS NULL THEN 'new' WHEN NOT l.deleted THEN 'there' WHEN l.later THEN 'back' ELSE 'late' END ORDER BY l.n),
           array_agg(l.clock ORDER BY l.n), array_agg(l.key ORDER BY l.n)
    INTO statuses, stamps, keys
    FROM marea.with_lines(of_table.name, batch, client) AS l;

    FOR part IN
        -- A column that is left out keeps its default, which only a statement that does not name it can do. Nearly always there is one
        -- set of columns, and nothing has to be taken apart.
        SELECT ARRAY(SELECT jsonb_object_keys(batch #> '{0,values}')) AS columns, batch AS mutations, keys, NULL::bigint[] AS places
        WHERE alike AND statuses <@ '{new,back}'
        UNION ALL
        SELECT set_.columns, jsonb_agg(m.value ORDER BY m.n), array_agg(m.value ->> 'key' ORDER BY m.n), array_agg(m.n ORDER BY m.n)
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n)
        CROSS JOIN LATERAL (SELECT ARRAY(SELECT jsonb_object_keys(m.value -> 'values'))) AS set_ (columns)
        WHERE NOT (alike AND statuses <@ '{new,back}') AND statuses[m.n] IN ('new', 'back')
        GROUP BY set_.columns
    LOOP
        SELECT * INTO v FROM marea.record_of(of_table, part.columns);
        insert_ := format('INSERT INTO %s (%I%s%s) SELECT (m OPERATOR(pg_catalog.->>) ''key'')::%s%s%s '
            'FROM pg_catalog.jsonb_array_elements($1) AS m%s', relation, of_table.key_column,
            CASE WHEN of_table.owner_column <> of_table.key_column THEN format(', %I', of_table.owner_column) END, ', ' || v.columns,
            key_type, CASE WHEN of_table.owner_column <> of_table.key_column THEN ', $2' END, ', ' || v.selected,
            ', LATERAL pg_catalog.jsonb_to_record(m OPERATOR(pg_catalog.->) ''values'') AS v(' || v.types || ')');
        BEGIN
            PERFORM set_config('search_path', path, true);
            EXECUTE insert_ USING part.mutations, me;
            GET DIAGNOSTICS done = ROW_COUNT;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        EXCEPTION WHEN unique_violation THEN
            GET STACKED DIAGNOSTICS constraint_ = CONSTRAINT_NAME;
            IF count_ > 1 THEN
                RAISE;
            END IF;
            -- A row that was there before its table was mirrored, and has no version yet.
            IF marea.is_mine(of_table, relation, part.keys[1]) THEN
                statuses[1] := 'there';
                CONTINUE;
            ELSIF (SELECT i.indnkeyatts = 1 AND a.attname = of_table.key_column FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
                   JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                   WHERE i.indrelid = relation AND c.relname = constraint_) THEN
                RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'key: is taken';
            END IF;
            RAISE;
        END;
        IF done < cardinality(part.keys) OR (triggers IS NOT NULL AND marea.left_out_keys(of_table.name, part.keys) IS NOT NULL) THEN
            IF count_ > 1 THEN
                PERFORM marea.one_by_one();
            END IF;
            PERFORM marea.refuse_left_out(relation, 'INSERT', done = cardinality(part.keys));
        END IF;
        written := ARRAY(SELECT c FROM unnest(part.columns) AS c WHERE c = ANY (registers));
        IF part.places IS NULL AND 'back' <> ALL (statuses) THEN
            PERFORM marea.note_stamps(of_table.name, part.keys, written, stamps, client);
            CONTINUE;
        END IF;
        SELECT array_agg((SELECT coalesce(jsonb_object_agg(c, jsonb_build_array(stamp.at, client)), '{}')
                   FROM unnest(CASE WHEN stamp.status = 'back' THEN written || '*'::text ELSE written END) AS c) ORDER BY stamp.n)
        INTO clocks
        FROM unnest(stamps, statuses) WITH ORDINALITY AS stamp (at, status, n)
        WHERE part.places IS NULL OR stamp.n = ANY (part.places);
        PERFORM marea.note_writes(of_table.name, part.keys, clocks, false);
    END LOOP;

    IF 'there' = ANY (statuses) THEN
        SELECT jsonb_agg(m.value || jsonb_build_object('values', (m.value -> 'values') - ARRAY(
                   SELECT k FROM jsonb_object_keys(m.value -> 'values') AS k WHERE k <> ALL (merged))) ORDER BY m.n),
               array_agg(m.n ORDER BY m.n)
        INTO there, places
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n) WHERE statuses[m.n] = 'there';
        keys := marea.merge_mirrored(of_table, relation, there, client, true);
        FOR place IN 1..cardinality(places) LOOP
            statuses[places[place]] := keys[place];
        END LOOP;
    END IF;
    RETURN ARRAY(SELECT CASE WHEN s IN ('new', 'back', 'late') THEN 'applied' ELSE s END FROM unnest(statuses) WITH ORDINALITY AS u (s, n) ORDER BY u.n);
END
$$;

CREATE OR REPLACE FUNCTION marea.merge_mirrored(
    of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT, by_insert BOOLEAN DEFAULT false
) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Last writer wins, column by column; unions grow. 'applied' also where every column was lost to a later writer, or the row has been
-- deleted: the mutation has had the effect that the rules give it. 'duplicate' where it had been merged before.
DECLARE
    me       CONSTANT UUID := auth.uid();
    unions   CONSTANT TEXT[] := ARRAY(SELECT c.name FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'union');
    held     CONSTANT TEXT[] := marea.lock_mirrored(of_table, relation, ARRAY(SELECT m ->> 'key' FROM jsonb_array_elements(batch) AS m));
    statuses TEXT[];
    maps     JSONB;
    changes  JSONB;
    absent   RECORD;
    part     RECORD;
BEGIN
    SELECT l.deleted INTO absent
    FROM marea.with_lines(of_table.name, batch, client) AS l
    WHERE l.key <> ALL (held) AND l.deleted IS NOT TRUE AND NOT by_insert LIMIT 1;
    IF FOUND THEN
        PERFORM marea.refuse_absent(absent.deleted);
    END IF;

    IF unions <> '{}' THEN
        EXECUTE format('SELECT jsonb_object_agg(t.%1$I::text, jsonb_build_object(%2$s)) FROM %3$s AS t WHERE t.%1$I::text = ANY ($1) AND t.%4$I = $2',
            of_table.key_column, (SELECT string_agg(format('%L, t.%I', u, u), ', ') FROM unnest(unions) AS u), relation, of_table.owner_column)
        INTO maps USING held, me;
    END IF;
    WITH judged AS MATERIALIZED (
        SELECT l.n, l.key, l.clock, w.winners, w.repeats
        FROM marea.with_lines(of_table.name, batch, client) AS l
        CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(f.key, f.value) FILTER (WHERE
                       CASE WHEN f.key = ANY (unions) THEN f.value <> 'null' AND grown.value IS DISTINCT FROM stands.value
                       ELSE l.hlc -> f.key IS NULL
                           OR ROW(l.clock COLLATE "C", client COLLATE "C") > ROW(l.hlc -> f.key ->> 0, l.hlc -> f.key ->> 1)
                       END) AS winners,
                   count(*) FILTER (WHERE l.hlc -> f.key = jsonb_build_array(l.clock, client)
                       OR (f.key = ANY (unions) AND grown.value IS NOT DISTINCT FROM stands.value)) AS repeats
            FROM jsonb_each(l.value -> 'values') AS f
            CROSS JOIN LATERAL (SELECT CASE WHEN f.key = ANY (unions) THEN nullif(maps -> l.key -> f.key, 'null') END) AS stands (value)
            CROSS JOIN LATERAL (SELECT CASE WHEN f.key = ANY (unions) AND f.value <> 'null'
                THEN marea.union_achievements(coalesce(stands.value, '{}'), f.value) ELSE stands.value END) AS grown (value)
            -- What was written before the row was deleted, and brought back, is of another row.
            WHERE l.key = ANY (held) AND l.later
              -- An insert whose clock was ahead is given another clock each time it is sent: it must not win again.
              AND NOT (by_insert AND l.clock <> l.value ->> 'hlc')
        ) AS w
    )
    SELECT array_agg(CASE WHEN j.winners IS NULL AND (by_insert OR j.repeats > 0) THEN 'duplicate' ELSE 'applied' END ORDER BY j.n),
           jsonb_agg(jsonb_build_object('key', j.key, 'values', j.winners, 'clock', j.clock) ORDER BY j.n) FILTER (WHERE j.winners IS NOT NULL)
    INTO statuses, changes
    FROM judged AS j;

    FOR part IN
        SELECT set_.columns, jsonb_agg(c.value ORDER BY c.n) AS changes, array_agg(c.value ->> 'key' ORDER BY c.n) AS keys,
               array_agg(c.value ->> 'clock' ORDER BY c.n) AS stamps
        FROM jsonb_array_elements(changes) WITH ORDINALITY AS c (value, n)
        CROSS JOIN LATERAL (SELECT ARRAY(SELECT jsonb_object_keys(c.value -> 'values'))) AS set_ (columns)
        GROUP BY set_.columns
        ORDER BY min(c.n)
    LOOP
        PERFORM marea.update_mirrored(of_table, relation, part.changes, part.columns, false);
        PERFORM marea.note_stamps(of_table.name, part.keys,
            ARRAY(SELECT c FROM unnest(part.columns) AS c WHERE c <> ALL (unions)), part.stamps, client);
    END LOOP;
    RETURN statuses;
END
$$;

CREATE OR REPLACE FUNCTION marea.add_mirrored(of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Every addition counts once, by the id of its mutation.
DECLARE
    me     CONSTANT UUID := auth.uid();
    fresh  CONSTANT UUID[] := marea.count_once(ARRAY(SELECT (m ->> 'id')::uuid FROM jsonb_array_elements(batch) AS m));
    held   CONSTANT TEXT[] := marea.lock_mirrored(of_table, relation, ARRAY(SELECT m ->> 'key' FROM jsonb_array_elements(batch) AS m));
    absent RECORD;
    part   RECORD;
BEGIN
    SELECT l.deleted INTO absent
    FROM marea.with_lines(of_table.name, batch, client) AS l
    WHERE (l.value ->> 'id')::uuid = ANY (fresh) AND l.key <> ALL (held) AND l.deleted IS NOT TRUE LIMIT 1;
    IF FOUND THEN
        PERFORM marea.refuse_absent(absent.deleted);
    END IF;
    FOR part IN
        SELECT summed.columns, jsonb_agg(jsonb_build_object('key', summed.key, 'values', summed.totals)) AS changes
        FROM (
            SELECT one.key, array_agg(one.name ORDER BY one.name) AS columns, jsonb_object_agg(one.name, one.total) AS totals
            FROM (
                SELECT l.key, f.key AS name, sum((f.value #>> '{}')::numeric) AS total
                FROM marea.with_lines(of_table.name, batch, client) AS l CROSS JOIN LATERAL jsonb_each(l.value -> 'values') AS f
                WHERE (l.value ->> 'id')::uuid = ANY (fresh) AND l.key = ANY (held) AND l.later
                GROUP BY 1, 2
            ) AS one
            GROUP BY one.key
        ) AS summed
        GROUP BY summed.columns
    LOOP
        PERFORM marea.update_mirrored(of_table, relation, part.changes, part.columns, true);
    END LOOP;
    RETURN ARRAY(
        SELECT CASE WHEN (m.value ->> 'id')::uuid = ANY (fresh)
                AND row_number() OVER (PARTITION BY m.value ->> 'id' ORDER BY m.n) = 1 THEN 'applied' ELSE 'duplicate' END
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n) ORDER BY m.n);
END
$$;

CREATE OR REPLACE FUNCTION marea.delete_mirrored(of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- A deletion wins over whatever was written to the row, but for one that brought the row back later. Its clock stays with the tombstone.
DECLARE
    me       CONSTANT UUID := auth.uid();
    key_type CONSTANT TEXT := (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key');
    statuses TEXT[];
    keys     TEXT[];
    clocks   JSONB[];
    living   TEXT[];
    delete_  TEXT;
    done     BIGINT;
    present  BIGINT;
BEGIN
    SELECT array_agg(CASE WHEN l.hlc -> '*' = jsonb_build_array(l.clock, client) THEN 'duplicate' ELSE 'applied' END ORDER BY l.n),
           array_agg(l.key ORDER BY l.n) FILTER (WHERE l.later),
           array_agg(jsonb_build_object('*', jsonb_build_array(l.clock, client)) ORDER BY l.n) FILTER (WHERE l.later),
           array_agg(l.key ORDER BY l.n) FILTER (WHERE l.later AND l.deleted IS FALSE)
    INTO statuses, keys, clocks, living
    FROM marea.with_lines(of_table.name, batch, client) AS l;
    IF keys IS NULL THEN
        RETURN statuses;
    END IF;
    delete_ := format('DELETE FROM %s AS t WHERE t.%I OPERATOR(pg_catalog.=) ANY ($1::%s[]) AND t.%I OPERATOR(pg_catalog.=) $2',
        relation, of_table.key_column, key_type, of_table.owner_column);
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE delete_ USING keys, me;
    GET DIAGNOSTICS done = ROW_COUNT;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF done < cardinality(keys) THEN
        -- Some were gone already; of the others none may be left.
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE t.%I = ANY ($1::%s[]) AND t.%I = $2', relation, of_table.key_column, key_type,
            of_table.owner_column) INTO present USING keys, me;
        IF jsonb_array_length(batch) > 1 AND (present > 0 OR done < cardinality(living)) THEN
            PERFORM marea.one_by_one();
        ELSIF present > 0 AND marea.triggers_before(relation, 'DELETE') IS NOT NULL THEN
            PERFORM marea.refuse_left_out(relation, 'DELETE');
        ELSIF present > 0 OR done < cardinality(living) THEN
            PERFORM marea.refuse_absent(false);
        END IF;
    END IF;
    -- A row that never was leaves no tombstone.
    SELECT array_agg(k.key), array_agg(k.clocks) INTO keys, clocks
    FROM unnest(keys, clocks) AS k (key, clocks)
    WHERE EXISTS (SELECT FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = of_table.name AND r.row_key = k.key);
    IF keys IS NOT NULL THEN
        PERFORM marea.note_writes(of_table.name, keys, clocks, true);
    END IF;
    RETURN statuses;
END
$$;

CREATE OR REPLACE FUNCTION marea.apply_mirrored(name TEXT, op TEXT, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- A run of mutations of one table and one operation, each of another row: a status for each.
DECLARE
    me       CONSTANT UUID := auth.uid();
    of_table marea.tables;
    relation REGCLASS;
    allowed  TEXT[];
    sound    BOOLEAN;
    problem  TEXT;
BEGIN
    SELECT t.* INTO of_table FROM marea.tables AS t WHERE t.name = apply_mirrored.name;
    IF of_table.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table: not mirrored';
    END IF;
    relation := marea.relation_of(of_table);
    IF relation IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table: is gone from the server';
    END IF;
    allowed := ARRAY(
        SELECT c.name FROM marea.columns AS c
        WHERE c.table_name = of_table.name AND of_table.writable AND c.rule = ANY (CASE op
            WHEN 'insert' THEN '{register,once,counter,union}' WHEN 'merge' THEN '{register,union}'
            WHEN 'add' THEN '{counter}' END::text[]));
    IF of_table.writable AND op IN ('insert', 'merge', 'add', 'delete') THEN
        EXECUTE format($sql$
            WITH given AS MATERIALIZED (
                SELECT m ->> 'key' AS key, m ->> 'hlc' AS hlc, m -> 'values' AS fields FROM jsonb_array_elements($1) AS m
            )
            SELECT bool_and(hlc ~ '^[0-9]{13}-[0-9a-f]{4}$' AND jsonb_typeof(fields) = 'object' AND fields - $2 = '{}' AND %s AND %s
                AND marea.mirror_%s_is_sound(fields)%s)
            FROM given $sql$,
            -- What is no uuid at all fails here as a cast does, and is told there.
            CASE WHEN of_table.key_column = of_table.owner_column THEN 'key = $3::text'
                WHEN of_table.key_type = 'uuid' THEN 'key::uuid::text = key' ELSE 'octet_length(key) BETWEEN 1 AND 1000' END,
            CASE op WHEN 'insert' THEN 'true' WHEN 'delete' THEN 'fields = ''{}''' ELSE 'fields <> ''{}''' END
                || CASE op WHEN 'add' THEN ' AND NOT fields::text ~ ''null|NaN|Inf''' ELSE '' END,
            of_table.id, CASE WHEN of_table.name = 'sessions' THEN ' AND marea.correction_problem(fields) IS NULL' END)
        INTO sound USING batch, allowed, me;
    END IF;
    IF sound IS NOT TRUE THEN
        SELECT marea.mirrored_problem(of_table, m.value, me) INTO problem
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n)
        WHERE marea.mirrored_problem(of_table, m.value, me) IS NOT NULL ORDER BY m.n LIMIT 1;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
        END IF;
    END IF;
    RETURN CASE op
        WHEN 'insert' THEN marea.insert_mirrored(of_table, relation, batch, client)
        WHEN 'merge' THEN marea.merge_mirrored(of_table, relation, batch, client)
        WHEN 'add' THEN marea.add_mirrored(of_table, relation, batch, client)
        ELSE marea.delete_mirrored(of_table, relation, batch, client)
    END;
EXCEPTION
  WHEN data_exception THEN
    -- What only a cast has found. Postgres does not say in which column.
    IF of_table.id IS NOT NULL AND relation IS NOT NULL AND jsonb_array_length(batch) = 1 THEN
        problem := marea.mirrored_problem(of_table, batch -> 0, me);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
        END IF;
    END IF;
    RAISE;
  WHEN undefined_column OR undefined_table OR undefined_object OR undefined_function OR datatype_mismatch THEN
    -- Its columns are others than when it was mirrored. An app's own trigger may miss something as well: then that is told.
    IF jsonb_array_length(batch) = 1 AND marea.has_drifted(of_table.name) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table: has other columns on the server than its catalogue says';
    END IF;
    RAISE;
END
$$;

COMMENT ON FUNCTION marea.insert_mirrored(marea.tables, REGCLASS, JSONB, TEXT) IS 'Inserts rows: a status for each.';
COMMENT ON FUNCTION marea.merge_mirrored(marea.tables, REGCLASS, JSONB, TEXT, BOOLEAN) IS 'Merges columns of rows: a status for each.';
COMMENT ON FUNCTION marea.add_mirrored(marea.tables, REGCLASS, JSONB, TEXT) IS 'Adds to counters of rows: a status for each.';
COMMENT ON FUNCTION marea.delete_mirrored(marea.tables, REGCLASS, JSONB, TEXT) IS 'Deletes rows: a status for each.';
COMMENT ON FUNCTION marea.apply_mirrored(TEXT, TEXT, JSONB, TEXT) IS 'Applies a run of mutations of a mirrored table: a status for each.';

-- ---------------------------------------------------------------------------------------------------------------------
-- push
-- ---------------------------------------------------------------------------------------------------------------------

-- Push: the whole queue prefix of a request. Mutations that came as a batch are applied all or none.

CREATE OR REPLACE FUNCTION marea.push_together(mutations JSONB, client TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- All mutations at once: each kind of event in one statement, the others in their order, runs of one mirrored table and one operation
-- together. Any failure fails all.
DECLARE
    statuses TEXT[] := array_fill('applied'::text, ARRAY[jsonb_array_length(mutations)]);
    events   BIGINT := 0;
    kind     RECORD;
    batch    JSONB;
    inserted UUID[];
    late     RECORD;
    said     TEXT[];
    tomorrow CONSTANT DATE := marea.tomorrow();
BEGIN
    FOR kind IN
        SELECT events.name, count(*) AS mutations
        FROM jsonb_array_elements(mutations) AS m
        JOIN (VALUES ('progress_events'), ('sessions')) AS events (name)
            ON m ->> 'table' = events.name AND m ->> 'op' = 'insert'
        GROUP BY events.name
        ORDER BY events.name
    LOOP
        -- Nearly always a batch is all of one kind, and need not be taken apart.
        batch := mutations;
        IF kind.mutations < cardinality(statuses) THEN
            SELECT jsonb_agg(m.value ORDER BY m.n) INTO batch
            FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n)
            WHERE m.value ->> 'table' = kind.name AND m.value ->> 'op' = 'insert';
        END IF;
        events := events + kind.mutations;
        inserted := CASE kind.name WHEN 'sessions' THEN marea.insert_sessions(batch)
            ELSE marea.insert_events(batch) END;
        IF cardinality(inserted) < kind.mutations THEN
            FOR late IN
                SELECT m.n
                FROM (
                    SELECT value ->> 'id' AS id, n, row_number() OVER (PARTITION BY value ->> 'id' ORDER BY n) AS time
                    FROM jsonb_array_elements(mutations) WITH ORDINALITY AS each (value, n)
                    WHERE value ->> 'table' = kind.name AND value ->> 'op' = 'insert'
                ) AS m
                WHERE m.time > 1 OR m.id NOT IN (SELECT i::text FROM unnest(inserted) AS i)
            LOOP
                statuses[late.n] := 'duplicate';
            END LOOP;
        END IF;
    END LOOP;

    -- Nearly always a request is of one table and one operation, and need not be taken apart: these two statements are planned each time.
    IF events = 0 THEN
        SELECT min(m ->> 'table') AS name, min(m ->> 'op') AS op INTO kind
        FROM jsonb_array_elements(mutations) AS m
        HAVING min(m ->> 'table') = max(m ->> 'table') AND min(m ->> 'op') = max(m ->> 'op')
           AND count(DISTINCT m ->> CASE m ->> 'op' WHEN 'add' THEN 'id' ELSE 'key' END) = cardinality(statuses)
           AND min(m ->> 'table') NOT IN ('sessions', 'progress_events', 'user_progress', 'daily_activity', 'export_history', 'user_api_keys');
        IF FOUND THEN
            statuses := marea.apply_mirrored(kind.name, kind.op, mutations, client);
            events := cardinality(statuses);
        END IF;
    END IF;
    IF events < cardinality(statuses) THEN
        FOR kind IN
            WITH given AS (
                SELECT m.value, m.n, m.value ->> 'table' AS name, m.value ->> 'op' AS op,
                       (m.value ->> 'table' IN ('sessions', 'progress_events', 'user_progress', 'daily_activity', 'export_history',
                           'user_api_keys')) IS NOT TRUE
                           OR (m.value ->> 'table' = 'sessions' AND EXISTS (SELECT FROM marea.tables AS t WHERE t.name = 'sessions')) AS mirrored
                FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n)
                WHERE (m.value ->> 'table' IN ('sessions', 'progress_events') AND m.value ->> 'op' = 'insert') IS NOT TRUE
            ), begun AS (
                SELECT g.*, (g.mirrored AND ROW(g.name, g.op) = ROW(lag(g.name) OVER (ORDER BY g.n), lag(g.op) OVER (ORDER BY g.n)))
                       IS NOT TRUE AS begins
                FROM given AS g
            ), runs AS (
                SELECT b.*, count(*) FILTER (WHERE b.begins) OVER (ORDER BY b.n) AS run FROM begun AS b
            ), rounds AS (
                -- One statement writes a row once.
                SELECT r.*, row_number() OVER (PARTITION BY r.run, r.value ->> CASE r.op WHEN 'add' THEN 'id' ELSE 'key' END ORDER BY r.n) AS round
                FROM runs AS r
            )
            SELECT min(o.name) AS name, min(o.op) AS op, bool_or(o.mirrored) AS mirrored, jsonb_agg(o.value ORDER BY o.n) AS batch,
                   array_agg(o.n ORDER BY o.n) AS places
            FROM rounds AS o
            GROUP BY o.run, o.round
            ORDER BY o.run, o.round
        LOOP
            IF kind.mirrored THEN
                said := marea.apply_mirrored(kind.name, kind.op, kind.batch, client);
                FOR place IN 1..cardinality(kind.places) LOOP
                    statuses[kind.places[place]] := said[place];
                END LOOP;
            ELSE
                statuses[kind.places[1]] := marea.apply_register(kind.batch -> 0, client);
            END IF;
        END LOOP;
    END IF;

    -- Nearly never: a day that lies ahead counts for the streaks once it has come, and the device is told so.
    IF EXISTS (
        SELECT FROM jsonb_array_elements(mutations) AS m
        WHERE m ->> 'table' IN ('sessions', 'progress_events')
          AND coalesce(m #>> '{values,session_data,local_date}', m #>> '{values,local_date}', m #>> '{values,ended_at}')
            COLLATE "C" > tomorrow::text
    ) THEN
        RETURN (
            SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', m.value -> 'id', 'status', m.status, 'counts_from',
                (SELECT nullif(greatest(day, tomorrow), tomorrow) FROM marea.local_day(
                    coalesce(m.value #>> '{values,session_data,local_date}', m.value #>> '{values,local_date}'),
                    (m.value #>> '{values,ended_at}')::timestamptz) AS day
                 WHERE m.value ->> 'table' IN ('sessions', 'progress_events')))) ORDER BY m.n)
            FROM ROWS FROM (jsonb_array_elements(mutations), unnest(statuses)) WITH ORDINALITY AS m (value, status, n)
        );
    END IF;
    RETURN (
        SELECT jsonb_agg(jsonb_build_object('id', m.value -> 'id', 'status', m.status) ORDER BY m.n)
        FROM ROWS FROM (jsonb_array_elements(mutations), unnest(statuses)) WITH ORDINALITY AS m (value, status, n)
    );
END
$$;

COMMENT ON FUNCTION marea.push_together(JSONB, TEXT) IS 'Applies mutations all together; the results, in their order.';

CREATE OR REPLACE FUNCTION marea.rejected(mutation JSONB, code TEXT, message TEXT, context TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The result of a mutation that failed by itself; or fails the request, where the mutation is not to blame.
DECLARE
    -- The innermost function: an app's trigger that misses something has its own remedy, Marea's fold is the server's.
    place CONSTANT TEXT := substring(context FROM 'PL/pgSQL function ([^(]+[(][^)]*[)])');
BEGIN
    -- Deleted while this ran. To reject the mutation would set a learner's work aside for no fault of its own.
    IF code = '23503' AND NOT marea.user_exists() THEN
        PERFORM marea.refuse_missing_user();
    END IF;
    IF code !~ '^(22|23|39|P0)' THEN
        PERFORM marea.dry_push(mutation);
    END IF;
    IF code ~ '^42' AND code <> '42501' THEN
        IF place LIKE 'marea.%' THEN
            PERFORM marea.refuse(code, marea.bounded(message), 'in ' || place);
        ELSIF place IS NOT NULL AND code IN ('42P01', '42883', '42704') THEN -- no such table, function, type
            message := format('%s (in %s; if a plain INSERT works, give that function its own search_path: '
                'ALTER FUNCTION %s SET search_path = ...)', left(message, 100), place, place);
        END IF;
    END IF;
    RETURN jsonb_build_object('id', mutation -> 'id', 'status', 'rejected', 'code', code, 'message', marea.bounded(message));
END
$$;

CREATE OR REPLACE FUNCTION marea.refuse_missing_user() RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM marea.refuse('PT409', 'the signed-in user is not in users',
        'Make the user''s row first; nothing was kept of this request, send it again then.');
END
$$;

CREATE OR REPLACE FUNCTION marea.mutation_refusal(mutation JSONB) RETURNS TEXT LANGUAGE sql STABLE
RETURN CASE
    WHEN marea.has_long_number(mutation)
        THEN 'values: has a number beyond 1.8e308 or of more than 400 decimal places, which not every device can hold'
    WHEN (mutation ->> 'table' IN ('sessions', 'progress_events') AND mutation ->> 'op' = 'insert') IS NOT TRUE THEN NULL
    ELSE coalesce(
        marea.mutation_problem('insert', mutation ->> 'id', mutation ->> 'key', mutation ->> 'hlc', mutation -> 'values'),
        CASE mutation ->> 'table' WHEN 'sessions' THEN marea.session_problem(mutation -> 'values')
            ELSE marea.event_problem(mutation -> 'values') END)
END;

CREATE OR REPLACE FUNCTION marea.rejected_batch(batch JSONB, client TEXT, deferred TEXT) RETURNS JSONB[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- A batch of which one mutation, at least, cannot be accepted: which one is tried out, and nothing of it is kept.
DECLARE
    results JSONB[] := '{}';
    place   INTEGER;
    code    TEXT;
    message TEXT;
    context TEXT;
BEGIN
    BEGIN
        FOR n IN 1..jsonb_array_length(batch) LOOP
            place := n;
            results[n] := marea.push_together(jsonb_build_array(batch -> n - 1), client) -> 0;
        END LOOP;
        PERFORM marea.check_deferred(deferred);
        RETURN results;
    EXCEPTION WHEN assert_failure OR OTHERS THEN
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
    END;
    IF marea.is_of_server(code) THEN
        PERFORM marea.refuse(code, marea.bounded(message), '');
    END IF;
    RETURN ARRAY(
        SELECT CASE WHEN m.n = place THEN marea.rejected(m.value, code, message, context) ELSE marea.rejected_with_batch(m.value) END
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n) ORDER BY m.n);
END
$$;

CREATE OR REPLACE FUNCTION marea.rejected_with_batch(mutation JSONB) RETURNS JSONB LANGUAGE sql STABLE
RETURN jsonb_build_object('id', mutation -> 'id', 'status', 'rejected', 'code', 'MB001', 'message',
    'batch: refused because another mutation of it was refused');

CREATE OR REPLACE FUNCTION marea.push_halves(units JSONB[], client TEXT, deferred TEXT) RETURNS JSONB[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Units, each one mutation or a batch, together; where that fails the first half and then the other one, down to single ones. One
-- that cannot be accepted among 500 costs nine more attempts, not 500. What is wrong with the server fails the request.
DECLARE
    middle    CONSTANT INTEGER := cardinality(units) / 2;
    mutations CONSTANT JSONB := (
        SELECT jsonb_agg(m.value ORDER BY u.n, m.n)
        FROM unnest(units) WITH ORDINALITY AS u (unit, n), jsonb_array_elements(u.unit) WITH ORDINALITY AS m (value, n));
    results   JSONB;
    code      TEXT;
    message   TEXT;
    context   TEXT;
    bound     TEXT;
BEGIN
    BEGIN
        results := marea.push_together(mutations, client);
        PERFORM marea.check_deferred(deferred);
        RETURN ARRAY(SELECT r.value FROM jsonb_array_elements(results) WITH ORDINALITY AS r (value, n) ORDER BY r.n);
    EXCEPTION WHEN assert_failure OR OTHERS THEN
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT,
            bound = CONSTRAINT_NAME;
    END;
    IF marea.is_of_server(code) THEN
        PERFORM marea.refuse(code, marea.bounded(message),
            coalesce('in ' || substring(context FROM 'PL/pgSQL function ([^(]+[(][^)]*[)])'), ''));
    ELSIF jsonb_array_length(mutations) = 1 THEN
        RETURN ARRAY[marea.rejected(mutations -> 0, code, message, context)];
    ELSIF cardinality(units) = 1 THEN
        RETURN marea.rejected_batch(units[1], client, deferred);
    ELSIF code = 'MB002' AND bound = 'rows_per_user' THEN
        RETURN marea.push_without(units, client, deferred, marea.bounded(message));
    END IF;
    RETURN marea.push_halves(units[1:middle], client, deferred)
        || marea.push_halves(units[middle + 1:cardinality(units)], client, deferred);
END
$$;

CREATE OR REPLACE FUNCTION marea.push_without(units JSONB[], client TEXT, deferred TEXT, message TEXT) RETURNS JSONB[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- More than a user may have of one table (marea.refuse_growth): what still fits is found by halves. Behind a unit that was refused for
-- it, those that would add as much or more are refused without trying, because each try counts the rows.
DECLARE
    middle   CONSTANT INTEGER := cardinality(units) / 2;
    relation CONSTANT TEXT := split_part(message, ':', 1);
    adds     CONSTANT JSONPATH := CASE relation WHEN 'additions' THEN '$[*] ? (@.op == "add")'
        ELSE format('$[*] ? (@.op == "insert" && @.table == %s)', to_json(relation)) END;
    done     JSONB[];
    too_much BIGINT;
    rest     JSONB[];
BEGIN
    PERFORM set_config('marea.count_rows', 'on', true);
    done := marea.push_halves(units[1:middle], client, deferred);
    -- How much the smallest of those adds that were refused for it; NULL: none was.
    SELECT min(u.added) INTO too_much
    FROM (
        SELECT (SELECT count(*) FROM jsonb_path_query(e.unit, adds)) AS added, jsonb_array_length(e.unit) AS size,
               sum(jsonb_array_length(e.unit)) OVER (ORDER BY e.n) AS last
        FROM unnest(units[1:middle]) WITH ORDINALITY AS e (unit, n)
    ) AS u
    WHERE u.added > 0 AND EXISTS (
        SELECT FROM unnest(done[u.last - u.size + 1:u.last]) AS r (result)
        WHERE r.result @> jsonb_build_object('code', 'MB002', 'message', message));
    SELECT array_agg(u.unit ORDER BY u.n) INTO rest
    FROM unnest(units[middle + 1:cardinality(units)]) WITH ORDINALITY AS u (unit, n)
    WHERE ((SELECT count(*) FROM jsonb_path_query(u.unit, adds)) >= too_much) IS NOT TRUE;
    IF rest IS NOT NULL THEN
        rest := marea.push_halves(rest, client, deferred);
    END IF;
    RETURN done || ARRAY(
        SELECT CASE
            WHEN NOT m.is_full THEN rest[m.place]
            WHEN jsonb_path_exists(jsonb_build_array(m.value), adds)
                THEN jsonb_build_object('id', m.value -> 'id', 'status', 'rejected', 'code', 'MB002', 'message', message)
            ELSE marea.rejected_with_batch(m.value) END
        FROM (
            SELECT e.value, u.n AS unit, e.n, f.is_full, row_number() OVER (PARTITION BY f.is_full ORDER BY u.n, e.n) AS place
            FROM unnest(units[middle + 1:cardinality(units)]) WITH ORDINALITY AS u (unit, n)
            CROSS JOIN LATERAL (SELECT ((SELECT count(*) FROM jsonb_path_query(u.unit, adds)) >= too_much) IS TRUE) AS f (is_full)
            CROSS JOIN LATERAL jsonb_array_elements(u.unit) WITH ORDINALITY AS e (value, n)
        ) AS m
        ORDER BY m.unit, m.n);
END
$$;

COMMENT ON FUNCTION marea.push_without(JSONB[], TEXT, TEXT, TEXT) IS
    'Applies mutations but for those that would add more to a table than this user may have; the results, in their order.';

CREATE OR REPLACE FUNCTION marea.push(mutations JSONB, client TEXT, is_long BOOLEAN) RETURNS JSONB
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- All together; where that fails, without those whose values are wrong, and by halves: so that only those are rejected that cannot
-- be accepted, for whatever reason. What is wrong with the server (a deadlock, a full disk, a timeout) and what a batch of nothing
-- would meet too is not for one mutation to suffer for: it fails the request, and nothing of it is kept.
-- is_long: a number in it is too long to be printed.
DECLARE
    -- Nearly no app has any. Names that stand for a constraint that cannot be deferred as well are left out: SET CONSTRAINTS takes no table.
    deferred CONSTANT TEXT := CASE WHEN EXISTS (
        SELECT FROM pg_constraint AS c WHERE c.condeferred AND c.connamespace <> 'marea'::regnamespace
    ) THEN (
        SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
        FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
        WHERE c.condeferred AND n.nspname <> 'marea' AND NOT EXISTS (
            SELECT FROM pg_constraint AS other
            WHERE other.connamespace = c.connamespace AND other.conname = c.conname AND NOT other.condeferrable)
    ) END;
    results  JSONB;
    code     TEXT;
    message  TEXT;
    problems TEXT[];
    unit_of  TEXT[];
    sound    JSONB[];
    done     JSONB[] := '{}';
BEGIN
    IF NOT marea.user_exists() THEN
        PERFORM marea.refuse_missing_user();
    END IF;
    IF NOT is_long THEN
        BEGIN
            results := marea.push_together(mutations, client);
            PERFORM marea.check_deferred(deferred);
            RETURN results;
        EXCEPTION WHEN assert_failure OR OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
        END;
        IF marea.is_of_server(code) THEN
            PERFORM marea.refuse(code, marea.bounded(message), '');
        END IF;
    END IF;

    SELECT array_agg(marea.mutation_refusal(m.value) ORDER BY m.n),
           array_agg(coalesce(CASE WHEN jsonb_typeof(m.value -> 'batch') = 'string' THEN m.value ->> 'batch' END, m.n::text) ORDER BY m.n)
    INTO problems, unit_of
    FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n);
    SELECT array_agg(u.unit ORDER BY u.first) INTO sound
    FROM (
        SELECT jsonb_agg(m.value ORDER BY m.n) AS unit, min(m.n) AS first
        FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n)
        GROUP BY unit_of[m.n] HAVING count(problems[m.n]) = 0
    ) AS u;
    IF sound IS NOT NULL THEN
        done := marea.push_halves(sound, client, deferred);
    END IF;
    RETURN (
        SELECT jsonb_agg(CASE
            WHEN m.is_sound THEN done[m.place]
            WHEN problems[m.n] IS NULL THEN marea.rejected_with_batch(m.value)
            ELSE jsonb_build_object('id', m.value -> 'id', 'status', 'rejected', 'code', '22023',
                'message', marea.bounded(problems[m.n])) END ORDER BY m.n)
        FROM (
            SELECT u.value, u.n, u.is_sound, row_number() OVER (PARTITION BY u.is_sound ORDER BY u.first, u.n) AS place
            FROM (
                SELECT e.value, e.n, min(e.n) OVER unit AS first, count(problems[e.n]) OVER unit = 0 AS is_sound
                FROM jsonb_array_elements(mutations) WITH ORDINALITY AS e (value, n)
                WINDOW unit AS (PARTITION BY unit_of[e.n])
            ) AS u
        ) AS m
    );
END
$$;

COMMENT ON FUNCTION marea.rejected(JSONB, TEXT, TEXT, TEXT) IS 'The result of a mutation that failed by itself.';
COMMENT ON FUNCTION marea.refuse_missing_user() IS 'Refuses the request of somebody who has no row in users.';
COMMENT ON FUNCTION marea.mutation_refusal(JSONB) IS
    'What is wrong with a mutation whatever is stored, told without writing anything; NULL: nothing, or only the tables can tell.';
COMMENT ON FUNCTION marea.rejected_batch(JSONB, TEXT, TEXT) IS 'The results of a batch that failed.';
COMMENT ON FUNCTION marea.rejected_with_batch(JSONB) IS 'The result of a mutation of a batch in which another one failed.';
COMMENT ON FUNCTION marea.push_halves(JSONB[], TEXT, TEXT) IS 'Applies mutations, together or by halves; the results, in their order.';
COMMENT ON FUNCTION marea.push(JSONB, TEXT, BOOLEAN) IS 'Applies mutations, together or by halves; the results, in their order.';

-- ---------------------------------------------------------------------------------------------------------------------
-- page
-- ---------------------------------------------------------------------------------------------------------------------

-- Page: what changed after a cursor, of one moment (STABLE: all statements see what the caller's sees). Takes no lock, writes nothing.
--
-- Pages are bounded by bytes: 2,000 exports may weigh a megabyte or 200. What is too large for Postgres (54000), for a line or for a
-- phone's memory never arrives, however often it is asked for (docs/adr/0071).

CREATE OR REPLACE FUNCTION marea.rows_within(me UUID, known BIGINT, most INTEGER, most_bytes INTEGER) RETURNS INTEGER
LANGUAGE plpgsql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off
SET enable_bitmapscan = off AS $$
-- The rows that marea.page would put on this page, in its order; which is the first one that is too much? Sizes are those of
-- the text that is sent: compressed in storage, a row may look a hundred times smaller. Only exports can be large.
DECLARE
    clock_at BIGINT;
    pruned   BIGINT;
    since    BIGINT;
    empty    BOOLEAN;
    place    INTEGER := 0;
    total    BIGINT := 0;
    at       BIGINT;
    bytes    BIGINT;
    mirrored RECORD;
    next     INTEGER := 1;
    small    BOOLEAN;
    unseen   CONSTANT TEXT[] := marea.unseen_tables();
BEGIN
    SELECT c.version, c.pruned INTO clock_at, pruned FROM marea.clocks AS c WHERE c.user_id = me;
    clock_at := coalesce(clock_at, 0);
    pruned := coalesce(pruned, 0);
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
    -- Nearly always a few rows of which none can be large.
    SELECT count(*) * 300 <= most_bytes AND coalesce(bool_and(line.name IN ('user_progress', 'daily_activity', 'user_api_keys')), true)
    INTO small
    FROM (
        SELECT r.table_name || '' AS name FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since AND (r.table_name || '') <> ALL (unseen) AND NOT (r.deleted AND empty)
        ORDER BY r.version LIMIT least(most, 100)
    ) AS line
    HAVING count(*) < least(most, 100);
    IF small IS NOT TRUE THEN
        -- Exports fit as nearly always: nothing of them is long, as it is stored, or compressed. All are looked up in one scan of the index.
        SELECT 300 * page.lines + 2 * e.bytes <= most_bytes AND e.are_short AND page.are_few INTO small
        FROM (
            SELECT count(*) AS lines, array_agg(line.row_key::uuid) FILTER (WHERE line.name = 'export_history' AND NOT line.deleted) AS exports,
                   bool_and(line.name IN ('user_progress', 'daily_activity', 'user_api_keys', 'export_history')) AS are_few
            FROM (
                SELECT r.row_key, r.table_name || '' AS name, r.deleted FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND (r.table_name || '') <> ALL (unseen) AND NOT (r.deleted AND empty)
                ORDER BY r.version LIMIT most
            ) AS line
            OFFSET 0
        ) AS page
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(stored.bytes), 0) AS bytes, coalesce(bool_and(stored.bytes < 1000 AND stored.packed IS NULL), true) AS are_short
            FROM public.export_history AS t
            CROSS JOIN LATERAL (SELECT
                coalesce(pg_column_size(t.data), 0) + coalesce(pg_column_size(t.filters), 0) + coalesce(pg_column_size(t.file_url), 0)
                    + coalesce(pg_column_size(t.error_message), 0) AS bytes,
                coalesce(pg_column_compression(t.data), pg_column_compression(t.filters), pg_column_compression(t.file_url),
                    pg_column_compression(t.error_message)) AS packed) AS stored
            WHERE t.id = ANY (page.exports) AND t.user_id = me
        ) AS e;
    END IF;
    IF small THEN
        RETURN most;
    END IF;
    SELECT * INTO mirrored FROM marea.mirrored_weights(me, since, (
        SELECT max(line.version)
        FROM (
            SELECT r.version FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > since AND (r.table_name || '') <> ALL (unseen)
              AND NOT (r.deleted AND empty)
            ORDER BY r.version LIMIT most
        ) AS line WHERE EXISTS (SELECT FROM marea.tables)));
    FOR at, bytes IN
        -- 300: what a small row weighs.
        SELECT line.version, 300 + coalesce((
            SELECT coalesce(octet_length(t.data::text), 0) + coalesce(octet_length(t.filters::text), 0)
                 + coalesce(octet_length(t.file_url), 0) + coalesce(octet_length(t.error_message), 0)
            FROM public.export_history AS t WHERE t.id = line.id AND t.user_id = me), 0)
        FROM (
            SELECT r.version, CASE WHEN r.table_name = 'export_history' AND NOT r.deleted THEN r.row_key::uuid END AS id
            FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > since
              AND (r.table_name || '') <> ALL (unseen)
              AND NOT (r.deleted AND empty)
            ORDER BY r.version
            LIMIT most
        ) AS line
        ORDER BY line.version
    LOOP
        -- Both are in the order of their versions.
        IF mirrored.versions[next] = at THEN
            bytes := mirrored.weights[next];
            next := next + 1;
        END IF;
        total := total + bytes;
        EXIT WHEN total > most_bytes;
        place := place + 1;
    END LOOP;
    RETURN CASE WHEN total > most_bytes THEN greatest(place, 1) ELSE most END;
END
$$;

COMMENT ON FUNCTION marea.rows_within(UUID, BIGINT, INTEGER, INTEGER) IS
    'How many rows of the page behind a version fit into so many bytes, at least one; at most the number given.';

CREATE OR REPLACE FUNCTION marea.page(
    me UUID, known BIGINT, most INTEGER, packs BOOLEAN, OUT reset BOOLEAN, OUT upto BIGINT, OUT clock_at BIGINT,
    OUT more BOOLEAN, OUT found_rows JSON, OUT found_packed JSONB, OUT found_deleted JSON
)
LANGUAGE plpgsql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off
SET enable_bitmapscan = off AS $$
-- Rows are written as JSON text, by their columns' names, and become JSONB once, in marea_sync: JSONB made of JSONB is taken
-- apart and put together again at every level (docs/adr/0031).
-- Pages are read in the order of their versions, whatever Postgres knows of the rows: where it has no statistics yet it expects
-- two rows of a user, takes the primary key for as good an index, and reads and sorts all that the user has for each page. So
-- names of tables are compared with an expression that no index serves, and sorting is off: what has to be sorted is on the
-- page, and the aggregates do that themselves.
-- Rows are joined by values that have their type already: with a cast in the condition, row level security keeps it from
-- using the index, and every page reads all of the user's rows.
-- known: the version of the client's cursor; NULL: it has none, or one of another history.
-- packs: exports, of which there may be very many, come column by column, in one text that nobody on the way takes apart, with
-- times as Postgres writes them in UTC, not as marea.wire_time does: a third of the time. Their order in a page means nothing, so
-- they are not sorted either. OFFSET 0 gives their keys a type before they are joined, without keeping them first.
DECLARE
    pruned BIGINT;
    since  BIGINT;
    empty  BOOLEAN;
    mirrored     RECORD;
    found        INTEGER;
    any_frozen   BOOLEAN;
    any_gone     BOOLEAN;
    any_mirrored BOOLEAN;
    progress     TEXT;
    days         TEXT;
    exports      TEXT;
    keys         TEXT;
    unseen CONSTANT TEXT[] := marea.unseen_tables();
BEGIN
    SELECT c.version, c.pruned INTO clock_at, pruned FROM marea.clocks AS c WHERE c.user_id = me;
    clock_at := coalesce(clock_at, 0);
    pruned := coalesce(pruned, 0);
    -- A cursor from the future, or from before a pruned tombstone: the client pulls everything again, and who has nothing need not forget
    -- anything.
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
    reset := known IS NOT NULL AND empty;

    -- Where the page ends, and of which tables it has something: what is not on it costs nothing.
    -- One aggregate for all of them: each takes longer to set up than to look at a few rows.
    SELECT count(*) = most, max(line.version), bit_or(CASE line.name WHEN 'user_progress' THEN 1 WHEN 'daily_activity' THEN 2
               WHEN 'export_history' THEN 4 WHEN 'user_api_keys' THEN 8 ELSE 16 END << CASE WHEN line.deleted THEN 6 ELSE 0 END)
    INTO more, upto, found
    FROM (
        SELECT r.version, r.table_name || '' AS name, r.deleted
        FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since
          AND (r.table_name || '') <> ALL (unseen)
          AND NOT (r.deleted AND empty)
        ORDER BY r.version
        LIMIT most
    ) AS line;
    IF more THEN
        more := EXISTS (
            SELECT FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > upto AND (r.table_name || '') <> ALL (unseen) AND NOT (r.deleted AND empty));
    END IF;
    IF NOT more THEN
        upto := clock_at;
    END IF;

    any_gone := found >= 64;
    any_mirrored := found & (16 | (16 << 6)) <> 0;
    IF packs AND found & 4 <> 0 THEN
        SELECT jsonb_build_object('export_history', json_build_object(
                   'clocks', json_agg(s.hlc), 'id', json_agg(t.id), 'export_type', json_agg(t.export_type),
                   'export_format', json_agg(t.export_format), 'status', json_agg(t.status),
                   'records_count', json_agg(t.records_count), 'file_size_bytes', json_agg(t.file_size_bytes::text),
                   'file_url', json_agg(t.file_url), 'filters', json_agg(t.filters), 'data', json_agg(t.data),
                   'error_message', json_agg(t.error_message), 'retry_count', json_agg(t.retry_count),
                   'started_at', json_agg(t.started_at), 'completed_at', json_agg(t.completed_at),
                   'processing_time_seconds', json_agg(t.processing_time_seconds), 'expires_at', json_agg(t.expires_at),
                   'created_at', json_agg(t.created_at), 'updated_at', json_agg(t.updated_at))::text)
        INTO found_packed
        FROM (
            SELECT r.hlc, r.row_key::uuid AS id
            FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > since AND r.version <= upto AND (r.table_name || '') = 'export_history'
              AND NOT r.deleted
            OFFSET 0
        ) AS s JOIN public.export_history AS t ON t.id = s.id AND t.user_id = me
        HAVING count(*) > 0;
    END IF;
    found_packed := coalesce(found_packed, '{}');

    IF found & 1 <> 0 THEN
        SELECT '"user_progress":' || json_agg(line)::text INTO progress
        FROM (
            SELECT r.version, r.hlc, v AS "values"
            FROM marea.rows AS r JOIN public.user_progress AS t ON t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.total_descriptions, t.total_images, t.total_questions_answered,
                       t.total_questions_correct, t.total_vocabulary_learned, t.total_sessions, t.total_time_spent_minutes,
                       t.current_streak_days, t.longest_streak_days, t.total_points, t.average_accuracy,
                       t.average_completion_time_seconds, t.mastered_words_count, t.learning_words_count,
                       t.new_words_count, t.achievements, marea.wire_time(t.last_activity_at) AS last_activity_at,
                       marea.wire_time(t.last_description_at) AS last_description_at,
                       marea.wire_time(t.last_qa_session_at) AS last_qa_session_at,
                       marea.wire_time(t.last_vocabulary_practice_at) AS last_vocabulary_practice_at,
                       to_char(t.last_active_on, 'YYYY-MM-DD') AS last_active_on,
                       marea.wire_time(t.created_at) AS created_at, marea.wire_time(t.updated_at) AS updated_at
            ) AS v
            WHERE r.table_name = 'user_progress' AND r.user_id = me AND r.row_key = me::text AND r.version > since AND r.version <= upto
              AND NOT r.deleted
        ) AS line;
    END IF;
    IF found & 2 <> 0 THEN
        -- Only what is rare is said: that nothing but a freeze lies on the day.
        any_frozen := EXISTS (SELECT FROM marea.progress_events AS e WHERE e.user_id = me AND e.freezes_day);
        SELECT '"daily_activity":' || json_agg(line ORDER BY line.version)::text INTO days
        FROM (
            SELECT s.version, s.hlc, CASE WHEN NOT any_frozen OR marea.is_active(t) THEN to_json(v)
                   ELSE (to_jsonb(v) || '{"frozen": true}')::json END AS "values"
            FROM (
                SELECT r.version, r.hlc, CASE WHEN (r.table_name || '') = 'daily_activity' THEN r.row_key::date END AS day
                FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND r.version <= upto AND (r.table_name || '') = 'daily_activity'
                  AND NOT r.deleted
                OFFSET 0
            ) AS s JOIN marea.daily_activity AS t ON t.user_id = me AND t.day = s.day
            CROSS JOIN LATERAL (
                SELECT t.user_id, to_char(t.day, 'YYYY-MM-DD') AS day, t.facts, t.sessions, t.minutes, t.questions,
                       t.correct, t.words, t.points
            ) AS v
        ) AS line;
    END IF;
    IF NOT packs AND found & 4 <> 0 THEN
        SELECT '"export_history":' || json_agg(line)::text INTO exports
        FROM (
            SELECT s.version, s.hlc, v AS "values"
            FROM (
                SELECT r.version, r.hlc, CASE WHEN (r.table_name || '') = 'export_history' THEN r.row_key::uuid END AS id
                FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND r.version <= upto AND (r.table_name || '') = 'export_history'
                  AND NOT r.deleted
                OFFSET 0
            ) AS s JOIN public.export_history AS t ON t.id = s.id AND t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.export_type, t.export_format, t.status, t.records_count,
                       t.file_size_bytes::text AS file_size_bytes, t.file_url, t.filters, t.data, t.error_message,
                       t.retry_count, marea.wire_time(t.started_at) AS started_at,
                       marea.wire_time(t.completed_at) AS completed_at, t.processing_time_seconds,
                       marea.wire_time(t.expires_at) AS expires_at, marea.wire_time(t.created_at) AS created_at,
                       marea.wire_time(t.updated_at) AS updated_at
            ) AS v
        ) AS line;
    END IF;
    IF found & 8 <> 0 THEN
        SELECT '"user_api_keys":' || json_agg(line)::text INTO keys
        FROM (
            SELECT r.version, r.hlc, v AS "values"
            FROM marea.rows AS r JOIN public.user_api_keys AS t ON t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.openai_api_key, t.unsplash_api_key, t.anthropic_api_key,
                       marea.wire_time(t.last_validated_at) AS last_validated_at,
                       marea.wire_time(t.created_at) AS created_at, marea.wire_time(t.updated_at) AS updated_at
            ) AS v
            WHERE r.table_name = 'user_api_keys' AND r.user_id = me AND r.row_key = me::text AND r.version > since AND r.version <= upto
              AND NOT r.deleted
        ) AS line;
    END IF;
    found_rows := '{' || concat_ws(',', progress, days, exports, keys) || '}';
    found_deleted := '{}';
    IF any_gone THEN
        SELECT coalesce(json_object_agg(of_table.name, of_table.keys), '{}') INTO found_deleted
        FROM (
            SELECT line.name, json_agg(line.row_key ORDER BY line.version) AS keys
            FROM (
                SELECT r.table_name || '' AS name, r.row_key, r.version
                FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND r.version <= upto AND r.deleted
                  AND (r.table_name || '') IN ('user_progress', 'daily_activity', 'export_history', 'user_api_keys')
            ) AS line
            GROUP BY line.name
        ) AS of_table;
    END IF;
    IF any_mirrored THEN
        SELECT * INTO mirrored FROM marea.mirrored_page(me, since, upto, packs, empty);
        IF mirrored.shown <> '{}' AND packs THEN
            found_packed := found_packed || mirrored.shown;
        ELSIF mirrored.shown <> '{}' THEN
            found_rows := found_rows::jsonb || mirrored.shown;
        END IF;
        IF mirrored.gone <> '{}' THEN
            found_deleted := found_deleted::jsonb || mirrored.gone;
        END IF;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) IS
    'What of a user''s rows changed after a version, at most so many, as the caller''s policies let it be seen. A new column in a '
    'mirrored table is named here.';

-- ---------------------------------------------------------------------------------------------------------------------
-- sync
-- ---------------------------------------------------------------------------------------------------------------------

-- The one function that clients call.

CREATE OR REPLACE FUNCTION public.marea_sync(request JSONB) RETURNS JSONB
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
-- jit: what it takes apart is small, whatever the planner expects of JSON (docs/adr/0145).
-- One sync: pushes the request's mutations, pulls what changed after its cursor, in one transaction. See docs/PROTOCOL.md.
DECLARE
    -- A request that has nothing to send is small. Its numbers are looked at before it is printed, be it for a comparison.
    idle       CONSTANT JSONB := CASE
        WHEN pg_column_size(request) < 4096 AND NOT marea.has_long_number(request) THEN marea.idle_answer(request) END;
    is_long    BOOLEAN;
    page_bytes CONSTANT INTEGER := 1048576;
    fewer      TEXT;
    most       INTEGER;
    me         UUID;
    history    TEXT;
    known      BIGINT;
    results    JSONB := '[]';
    page       RECORD;
    more       JSONB := '{}';
BEGIN
    IF idle IS NOT NULL THEN
        RETURN idle;
    END IF;
    me := auth.uid();
    IF me IS NULL THEN
        PERFORM marea.refuse('PT401', 'nobody is signed in', 'Send the access token of a signed-in user.');
    END IF;
    -- What is refused anyhow is refused before it costs anything. As Postgres holds it, which is near the size of the text and costs
    -- nothing to know.
    IF pg_column_size(request) > 1048576 THEN
        PERFORM marea.refuse('PT413', 'request: larger than 1 MiB', 'Send fewer mutations at a time.');
    END IF;
    PERFORM marea.take_turn(me);
    is_long := marea.has_long_number(request);
    IF is_long AND marea.has_long_number(CASE jsonb_typeof(request) WHEN 'object' THEN request - 'mutations' ELSE request END) THEN
        PERFORM marea.refuse('PT400', 'request: has a number beyond 1.8e308', 'Only mutations may hold numbers of the app.');
    END IF;
    PERFORM marea.check_request(request);
    -- Before the push, which moves the clock. A cursor of another history is as good as none, except that the client
    -- must be told.
    history := marea.epoch();
    IF NOT marea.is_lost_history(request -> 'cursor' ->> 'epoch') THEN
        known := (request -> 'cursor' ->> 'version')::bigint;
    END IF;

    IF jsonb_array_length(request -> 'mutations') > 0 THEN
        SET CONSTRAINTS marea.pending_assign_versions DEFERRED;
        PERFORM set_config('marea.writer', request ->> 'client_id', true);
        -- One push per user at a time: two devices of one user touch the same rows, in whatever order.
        PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || me, 0));
        -- Under the lock, which whoever moves the user away has held.
        PERFORM marea.refuse_moved();
        results := marea.push(request -> 'mutations', request ->> 'client_id', is_long);
        -- Versions are taken now, last of all, so that the answer can show what this push did. From here to commit
        -- the user's clock is held.
        SET CONSTRAINTS marea.pending_assign_versions IMMEDIATE;
        SET CONSTRAINTS marea.pending_assign_versions DEFERRED;
        -- Nearly always what was applied has moved it. What was found may have come without moving it: a session without an end, which
        -- the app has inserted.
        IF NOT EXISTS (SELECT FROM marea.clocks AS c WHERE c.user_id = me AND c.xmin = pg_current_xact_id()::xid) AND (
            results @> '[{"status": "applied"}]' OR EXISTS (
                SELECT FROM jsonb_path_query(results, '$[*] ? (@.status == "duplicate").id') AS r (id)
                JOIN public.sessions AS s ON s.id = (r.id #>> '{}')::uuid WHERE isfinite(s.ended_at) IS NOT TRUE)
        ) THEN
            PERFORM marea.move_clock();
        END IF;
    ELSE
        PERFORM marea.refuse_moved();
        IF NOT marea.user_exists() THEN
            -- A push would be refused for it. Whoever only looks is told.
            more := '{"user_missing": true}';
        END IF;
    END IF;
    IF request ? 'catalogue' THEN
        SELECT more || jsonb_build_object('catalogue', c.document) INTO more
        FROM (SELECT public.marea_catalogue() AS document) AS c
        WHERE c.document ->> 'hash' IS DISTINCT FROM request ->> 'catalogue';
        more := coalesce(more, '{}');
    END IF;

    IF marea.has_wakeups() THEN
        more := more || '{"wakeups": true}';
    END IF;

    fewer := request -> 'limit_bytes';
    most := marea.rows_within(me, known, coalesce((request ->> 'limit')::int, 500),
        least(CASE WHEN fewer ~ '^[1-9][0-9]{0,8}$' THEN fewer::int END, page_bytes));
    SELECT * INTO page FROM marea.page(me, known, most, coalesce(request -> 'packed' = 'true', false));

    -- For people who watch, not for correctness: a device is noted at most once an hour.
    PERFORM marea.note_client((request ->> 'client_id')::uuid, (request ->> 'schema')::integer, page.upto);

    RETURN more || jsonb_build_object(
        'protocol', 1,
        'server_time', marea.wire_time(clock_timestamp()),
        'reset', page.reset OR (known IS NULL AND nullif(request -> 'cursor', 'null') IS NOT NULL),
        'results', results,
        'rows', page.found_rows,
        'packed', page.found_packed,
        'deleted', page.found_deleted,
        'cursor', jsonb_build_object('version', page.upto, 'epoch',
            concat_ws('.', history, page.clock_at, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)),
        'has_more', page.more);
END
$$;

COMMENT ON FUNCTION public.marea_sync(JSONB) IS
    'The one call of Marea''s clients: sends their waiting mutations and answers with what changed. See docs/PROTOCOL.md.';

-- ---------------------------------------------------------------------------------------------------------------------
-- grants
-- ---------------------------------------------------------------------------------------------------------------------

-- Who may do what in the schema marea. Functions are executable by PUBLIC when made, so everything is taken away first; by name,
-- not ALL FUNCTIONS IN SCHEMA, because this may be run again after later migrations have given their own.

ALTER TABLE marea.clocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.progress_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.daily_activity ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.run_notes ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    wanted RECORD;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('clocks', 'clocks_select_own', 'SELECT', 'USING'),
            ('rows', 'rows_select_own', 'SELECT', 'USING'),
            ('daily_activity', 'daily_activity_select_own', 'SELECT', 'USING'),
            ('progress_events', 'progress_events_select_own', 'SELECT', 'USING'),
            ('progress_events', 'progress_events_insert_own', 'INSERT', 'WITH CHECK')
        ) AS policies (relation, name, command, clause)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('marea.' || policies.relation) AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON marea.%I FOR %s TO authenticated %s (user_id = (SELECT auth.uid()))',
            wanted.name, wanted.relation, wanted.command, wanted.clause);
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA marea FROM PUBLIC;
REVOKE ALL ON marea.clocks, marea.checkpoints, marea.rows, marea.progress_events, marea.daily_activity, marea.pending,
    marea.clients, marea.known_devices, marea.runs, marea.run_notes
FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.pending_seq_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.marea_sync(JSONB) FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION
    marea.app_search_path, marea.apply_register, marea.assign_server_hlc, marea.assign_versions, marea.bounded,
    marea.check_deferred, marea.check_request, marea.clamp_hlc, marea.column_limits, marea.delete_export, marea.dry_push,
    marea.epoch, marea.event_fact, marea.event_is_sound, marea.event_problem, marea.facts_of, marea.fold, marea.fold_events,
    marea.fold_many, marea.fold_one, marea.fold_sessions, marea.has_long_number, marea.has_wrong_type, marea.idle_answer,
    marea.insert_events, marea.insert_export, marea.insert_sessions, marea.insert_sessions_sql, marea.is_active, marea.is_day,
    marea.is_lost_history, marea.is_of_server, marea.json_problem, marea.known_run, marea.local_day, marea.make_this_run,
    marea.merge_registers, marea.move_clock, marea.mutation_problem, marea.mutation_refusal, marea.non_negative,
    marea.note_client, marea.note_run, marea.page, marea.push, marea.push_halves, marea.push_together, marea.push_without,
    marea.record_registers, marea.refold, marea.refuse, marea.refuse_left_out, marea.refuse_missing_user,
    marea.register_problem, marea.rejected, marea.rejected_batch, marea.rejected_with_batch, marea.rows_within,
    marea.saturated, marea.server_hlc, marea.session_fact, marea.session_is_sound, marea.session_problem, marea.settle_clocks,
    marea.take_turn, marea.this_run_number, marea.tomorrow, marea.track_daily_activity, marea.track_export_history, marea.track_user_api_keys,
    marea.track_user_progress, marea.triggers_before, marea.union_achievements, marea.user_exists, marea.value_problem,
    marea.values_problem, marea.wire_time
FROM PUBLIC, anon, authenticated, service_role;

GRANT EXECUTE ON FUNCTION public.marea_sync(JSONB) TO authenticated;
-- marea_sync runs as its caller, so the caller needs what it uses. The schema is not exposed through the API, and every
-- table below shows a caller only the caller's own rows.
GRANT USAGE ON SCHEMA marea TO authenticated;
GRANT SELECT ON marea.clocks, marea.rows, marea.daily_activity, marea.progress_events TO authenticated;
GRANT INSERT ON marea.progress_events TO authenticated;
GRANT EXECUTE ON FUNCTION
    marea.app_search_path, marea.apply_register, marea.bounded, marea.check_deferred, marea.check_request, marea.clamp_hlc,
    marea.column_limits, marea.delete_export, marea.dry_push, marea.epoch, marea.event_is_sound, marea.event_problem,
    marea.has_long_number, marea.has_wrong_type, marea.idle_answer, marea.insert_events, marea.insert_export,
    marea.insert_sessions, marea.insert_sessions_sql, marea.is_active, marea.is_day, marea.is_lost_history, marea.is_of_server,
    marea.json_problem, marea.local_day, marea.merge_registers, marea.move_clock, marea.mutation_problem,
    marea.mutation_refusal, marea.note_client, marea.page, marea.push, marea.push_halves, marea.push_together, marea.push_without,
    marea.record_registers, marea.refuse, marea.refuse_left_out, marea.refuse_missing_user, marea.register_problem,
    marea.rejected, marea.rejected_batch, marea.rejected_with_batch, marea.rows_within, marea.session_is_sound,
    marea.session_problem, marea.settle_clocks, marea.take_turn, marea.tomorrow, marea.triggers_before, marea.user_exists, marea.value_problem,
    marea.values_problem, marea.wire_time
TO authenticated;
-- The backend's own jobs.
GRANT USAGE ON SCHEMA marea TO service_role;
GRANT EXECUTE ON FUNCTION marea.refold(UUID[]) TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_access
-- ---------------------------------------------------------------------------------------------------------------------

-- Who may do what of the mirrored tables. What is made for each of them is granted where it is made.

REVOKE ALL ON marea.tables, marea.columns, marea.catalogue, marea.additions FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.tables_id_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.marea_catalogue() FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION
    marea.add_mirrored, marea.apply_mirrored, marea.base_type, marea.column_problem, marea.correction_problem, marea.count_once,
    marea.delete_mirrored, marea.describe_columns, marea.due_condition, marea.forget_table, marea.form_of, marea.indexes_of, marea.insert_mirrored,
    marea.is_mine, marea.key_of, marea.left_out_keys, marea.lock_mirrored, marea.make_checks, marea.make_page,
    marea.make_tracking, marea.merge_mirrored, marea.mirror, marea.mirror_batch, marea.mirror_drift, marea.mirror_problems,
    marea.mirrored_id, marea.mirrored_page, marea.mirrored_problem, marea.mirrored_rows, marea.mirrored_weights,
    marea.note_changes, marea.note_stamps, marea.note_writes, marea.one_by_one, marea.page_sql, marea.publish_catalogue, marea.record_of,
    marea.refuse_absent, marea.rejected, marea.relation_of, marea.reserved_names, marea.rows_due, marea.sound_sql,
    marea.track_truncate, marea.tracking_sql, marea.unmirror, marea.unmirror_dropped, marea.update_mirrored,
    marea.version_rows, marea.weight_expression, marea.wire_expression, marea.wire_instant, marea.wire_timestamp,
    marea.with_lines, marea.has_drifted, marea.unseen_tables
FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON PROCEDURE marea.mirror_existing FROM PUBLIC, anon, authenticated, service_role;

GRANT EXECUTE ON FUNCTION public.marea_catalogue() TO anon, authenticated, service_role;
-- marea_sync runs as its caller.
GRANT SELECT ON marea.tables, marea.columns, marea.catalogue TO authenticated;
GRANT EXECUTE ON FUNCTION
    marea.add_mirrored, marea.apply_mirrored, marea.column_problem, marea.correction_problem, marea.count_once,
    marea.delete_mirrored, marea.form_of, marea.insert_mirrored, marea.is_mine, marea.left_out_keys, marea.lock_mirrored, marea.merge_mirrored,
    marea.has_drifted, marea.mirrored_page, marea.mirrored_problem, marea.mirrored_rows, marea.mirrored_weights, marea.note_stamps,
    marea.note_writes, marea.one_by_one, marea.page_sql, marea.record_of, marea.refuse_absent, marea.rejected, marea.relation_of,
    marea.union_achievements, marea.update_mirrored, marea.weight_expression, marea.wire_expression, marea.wire_instant,
    marea.wire_timestamp, marea.with_lines, marea.unseen_tables
TO authenticated;

-- What a newer version of this makes for each table is made for those that are mirrored already.
DO $$
DECLARE
    of_table marea.tables;
    relation REGCLASS;
BEGIN
    FOR of_table IN SELECT t.* FROM marea.tables AS t WHERE NOT marea.has_drifted(t.name) LOOP
        relation := marea.relation_of(of_table);
        PERFORM marea.make_checks(of_table), marea.make_page(of_table, relation), marea.make_tracking(of_table, relation);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- bounds
-- ---------------------------------------------------------------------------------------------------------------------

-- Bounds of what a signed-in user can make grow. What a job, a backfill or an import writes has none: they know what they do.

CREATE OR REPLACE FUNCTION marea.most_rows() RETURNS BIGINT
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT s.value::bigint FROM marea.settings AS s WHERE s.name = 'rows_per_user' AND s.value ~ '^[0-9]{1,18}$'), 100000);
END
$$;

COMMENT ON FUNCTION marea.most_rows() IS
    'How many rows of one table a user may have, tombstones with them: marea.settings, rows_per_user; 100,000 where it says nothing.';

CREATE OR REPLACE FUNCTION marea.refuse_growth(relation TEXT, most BIGINT) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The constraint tells it from an error of the app's own with this code.
    RAISE EXCEPTION USING ERRCODE = 'MB002', MESSAGE = format('%s: a user has at most %s rows here', relation, most),
        SCHEMA = 'marea', CONSTRAINT = 'rows_per_user',
        HINT = 'INSERT INTO marea.settings VALUES (''rows_per_user'', ...) changes that.';
END
$$;

COMMENT ON FUNCTION marea.refuse_growth(TEXT, BIGINT) IS 'Refuses a row that would be one too many.';

CREATE OR REPLACE FUNCTION marea.bound_lines(relation TEXT, added BIGINT) RETURNS VOID
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- A user has no more lines than changes, so nearly always the clock says enough.
DECLARE
    me   CONSTANT UUID := auth.uid();
    most BIGINT;
BEGIN
    IF me IS NULL THEN
        RETURN;
    END IF;
    most := marea.most_rows();
    -- A request brings 500 at most, and what it has brought so far has no version yet.
    IF coalesce((SELECT c.version FROM marea.clocks AS c WHERE c.user_id = me), 0) + added + 500 > most AND (
        SELECT count(*) FROM (SELECT FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = relation LIMIT most + 1) AS l
    ) + (
        SELECT count(DISTINCT k.row_key)
        FROM marea.pending AS p, unnest(p.user_ids, p.row_keys) AS k (user_id, row_key)
        WHERE p.xact = pg_current_xact_id_if_assigned() AND p.table_name = relation AND k.user_id = me
          AND NOT EXISTS (SELECT FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = relation AND r.row_key = k.row_key)
    ) + added > most THEN
        PERFORM marea.refuse_growth(relation, most);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.bound_lines(TEXT, BIGINT) IS
    'Refuses more rows of a synced table than a user may have. For what a signed-in user inserts; deleted rows count until they are pruned.';

CREATE OR REPLACE FUNCTION marea.bound_sessions() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Fires after the fold (its name comes later): nearly always the total says enough, because whoever has fewer sessions counted has no
-- more than that; but for those without an end.
DECLARE
    me   CONSTANT UUID := auth.uid();
    most BIGINT;
BEGIN
    IF me IS NULL THEN
        RETURN NULL;
    END IF;
    most := marea.most_rows();
    IF ((SELECT p.total_sessions FROM public.user_progress AS p WHERE p.user_id = me) <= most) IS NOT TRUE
        OR EXISTS (SELECT FROM added AS s WHERE isfinite(s.ended_at) IS NOT TRUE) THEN
        IF (SELECT count(*) FROM (SELECT FROM public.sessions AS s WHERE s.user_id = me LIMIT most + 1) AS l) > most THEN
            PERFORM marea.refuse_growth('sessions', most);
        END IF;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.bound_sessions() IS 'Trigger: refuses more sessions than a user may have.';

CREATE OR REPLACE TRIGGER marea_sessions_within_bounds AFTER INSERT ON public.sessions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.bound_sessions();

CREATE OR REPLACE FUNCTION marea.bound_ledger() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Nothing else knows how many there are: they are counted at every large statement, and at one in sixteen small ones; at every one
-- where marea.push_without looks for what still fits.
DECLARE
    me   CONSTANT UUID := auth.uid();
    most BIGINT;
BEGIN
    IF me IS NULL OR ((SELECT count(*) FROM added) < 50 AND random() > 0.0625
        AND coalesce(current_setting('marea.count_rows', true), '') <> 'on') THEN
        RETURN NULL;
    END IF;
    most := marea.most_rows();
    IF TG_TABLE_NAME = 'additions' THEN
        -- Several to a row.
        most := 10 * most;
        IF (SELECT count(*) FROM (SELECT FROM marea.additions AS a WHERE a.user_id = me LIMIT most + 1) AS l) > most THEN
            PERFORM marea.refuse_growth('additions', most);
        END IF;
    ELSIF (SELECT count(*) FROM (SELECT FROM marea.progress_events AS e WHERE e.user_id = me LIMIT most + 1) AS l) > most THEN
        PERFORM marea.refuse_growth('progress_events', most);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.bound_ledger() IS 'Trigger: refuses more awards, or additions to counters, than a user may have.';

CREATE OR REPLACE TRIGGER additions_within_bounds AFTER INSERT ON marea.additions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.bound_ledger();
CREATE OR REPLACE TRIGGER events_within_room AFTER INSERT ON marea.progress_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.bound_ledger();

CREATE OR REPLACE FUNCTION marea.guard_export() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- What a push may write has bounds; this is for who writes past it, by a PATCH. A number that is stored in 8 bytes is looked at before it
-- is printed.
DECLARE
    name    TEXT;
    given   JSONB;
    before  JSONB;
    problem TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['data', 'filters'] LOOP
        given := CASE name WHEN 'data' THEN NEW.data ELSE NEW.filters END;
        before := CASE WHEN TG_OP = 'UPDATE' THEN CASE name WHEN 'data' THEN OLD.data ELSE OLD.filters END END;
        IF given IS NOT NULL AND given IS DISTINCT FROM before THEN
            problem := CASE WHEN marea.has_long_number(given) THEN 'has a number beyond 1.8e308 or of more than 400 decimal places'
                ELSE marea.json_problem(given, 65536) END;
            EXIT WHEN problem IS NOT NULL;
        END IF;
    END LOOP;
    IF problem IS NULL AND octet_length(NEW.file_url) > 65536 THEN
        name := 'file_url';
        problem := 'has more than 65536 bytes';
    ELSIF problem IS NULL AND octet_length(NEW.error_message) > 65536 THEN
        name := 'error_message';
        problem := 'has more than 65536 bytes';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('values.%s: %s', name, problem);
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION marea.guard_export() IS 'Trigger: the bounds of marea.column_limits() for what a learner writes to an export by whatever way.';

CREATE OR REPLACE TRIGGER marea_export_history_guarded BEFORE INSERT OR UPDATE ON public.export_history
    FOR EACH ROW WHEN (current_user = 'authenticated') EXECUTE FUNCTION marea.guard_export();

REVOKE ALL ON FUNCTION marea.most_rows, marea.refuse_growth, marea.bound_lines, marea.bound_sessions, marea.bound_ledger, marea.guard_export
FROM PUBLIC, anon, authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- history
-- ---------------------------------------------------------------------------------------------------------------------

-- Who asks, and whether this server still has the history that a cursor comes from.
--
-- A run is one life of one server process group. What a run changes is one line of history: a server that has a run's row in
-- marea.runs has the beginning of that line, and where it ends tells the first note of a later run. docs/adr/0123 has the argument,
-- tests/src/lost_history.rs the model.

CREATE OR REPLACE FUNCTION marea.user_exists() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM public.users WHERE users.id = auth.uid());
END
$$;

COMMENT ON FUNCTION marea.user_exists() IS 'Whether the caller has a row in users; says nothing about anybody else.';

CREATE TABLE IF NOT EXISTS marea.runs (
    number   BIGINT PRIMARY KEY,
    run      TEXT COLLATE "C" NOT NULL UNIQUE CHECK (run ~ '^[0-9a-f]{16}$'),
    began_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE marea.runs IS 'The runs that this history is made of, in their order.';
COMMENT ON COLUMN marea.runs.number IS 'Their order.';
COMMENT ON COLUMN marea.runs.run IS 'The name, drawn at random; the first part of a cursor''s epoch.';
COMMENT ON COLUMN marea.runs.began_at IS 'When it was first needed, server clock.';

-- A database that handed out cursors before it had runs (upgrade/): what named its history then is its first run.
INSERT INTO marea.runs (number, run)
SELECT 1, before.epoch FROM (SELECT current_setting('marea.epoch_before', true)) AS before (epoch) WHERE before.epoch <> ''
ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS marea.run_notes (
    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    number  BIGINT NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 0),
    PRIMARY KEY (user_id, number)
);

COMMENT ON TABLE marea.run_notes IS 'Where a user''s clock stood before its first move in a run.';
COMMENT ON COLUMN marea.run_notes.user_id IS 'The user.';
COMMENT ON COLUMN marea.run_notes.number IS 'The run.';
COMMENT ON COLUMN marea.run_notes.version IS 'The clock before that move; written by marea.note_run().';

CREATE OR REPLACE FUNCTION marea.make_this_run() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Unlogged, so that a crash, a promotion and a base backup leave it empty. Some hosts drop unlogged tables when they fail over: so
-- it is made when it is missed.
BEGIN
    CREATE UNLOGGED TABLE IF NOT EXISTS marea.this_run (
        one_row  BOOLEAN PRIMARY KEY DEFAULT true CHECK (one_row),
        number   BIGINT NOT NULL,
        run      TEXT COLLATE "C" NOT NULL,
        started  TIMESTAMPTZ NOT NULL,
        file     TEXT NOT NULL
    );
    COMMENT ON TABLE marea.this_run IS 'The run that this server is in.';
    COMMENT ON COLUMN marea.this_run.one_row IS 'One row at most.';
    COMMENT ON COLUMN marea.this_run.number IS 'Its number in marea.runs.';
    COMMENT ON COLUMN marea.this_run.run IS 'Its name.';
    COMMENT ON COLUMN marea.this_run.started IS 'When this server was started: after a restart the row counts no longer.';
    COMMENT ON COLUMN marea.this_run.file IS
        'The path of marea.clocks: a copy of the database has another one, and so have rows that were loaded again.';
    ALTER TABLE marea.this_run ENABLE ROW LEVEL SECURITY;
    REVOKE ALL ON marea.this_run FROM PUBLIC, anon, authenticated, service_role;
END
$$;

COMMENT ON FUNCTION marea.make_this_run() IS 'Makes marea.this_run where it is missing.';

DO $$ BEGIN PERFORM marea.make_this_run(); END $$;

CREATE OR REPLACE FUNCTION marea.known_run() RETURNS TEXT
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('marea.this_run') IS NULL OR pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT t.run FROM marea.this_run AS t
        WHERE t.started = pg_postmaster_start_time() AND t.file = pg_relation_filepath('marea.clocks'));
END
$$;

COMMENT ON FUNCTION marea.known_run() IS 'The name of the run that this server is in; NULL: it has none yet.';

CREATE OR REPLACE FUNCTION marea.this_run_number() RETURNS BIGINT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The number of the run that this server is in. The first one who needs it begins it.
DECLARE
    known BIGINT;
    begun marea.runs;
BEGIN
    IF to_regclass('marea.this_run') IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('marea runs', 0));
        PERFORM marea.make_this_run();
    END IF;
    SELECT t.number INTO known FROM marea.this_run AS t WHERE t.run = marea.known_run();
    IF known IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('marea runs', 0));
        SELECT t.number INTO known FROM marea.this_run AS t WHERE t.run = marea.known_run();
    END IF;
    IF known IS NULL THEN
        INSERT INTO marea.runs (number, run)
        SELECT coalesce(max(r.number), 0) + 1, left(encode(sha256(uuid_send(gen_random_uuid())), 'hex'), 16) FROM marea.runs AS r
        RETURNING * INTO begun;
        INSERT INTO marea.this_run AS t (number, run, started, file)
        VALUES (begun.number, begun.run, pg_postmaster_start_time(), pg_relation_filepath('marea.clocks'))
        ON CONFLICT (one_row) DO UPDATE SET number = EXCLUDED.number, run = EXCLUDED.run, started = EXCLUDED.started,
            file = EXCLUDED.file;
        known := begun.number;
    END IF;
    RETURN known;
END
$$;

COMMENT ON FUNCTION marea.this_run_number() IS 'The number of the run that this server is in; begins one where there is none.';

CREATE OR REPLACE FUNCTION marea.epoch() RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known       TEXT := marea.known_run();
    this_number BIGINT;
BEGIN
    IF known IS NULL AND current_setting('transaction_read_only') = 'on' THEN
        -- A hot standby, or a reader after a restart: what it sees is of the last run, because a run's row comes before its changes.
        -- Where there was none yet, of one that no cursor can come from again.
        RETURN coalesce((SELECT r.run FROM marea.runs AS r ORDER BY r.number DESC LIMIT 1), repeat('0', 16));
    ELSIF known IS NULL THEN
        this_number := marea.this_run_number();
        SELECT r.run INTO known FROM marea.runs AS r WHERE r.number = this_number;
    END IF;
    RETURN known;
END
$$;

COMMENT ON FUNCTION marea.epoch() IS 'The name of the run that this server is in, as a cursor''s epoch begins with it.';

CREATE OR REPLACE FUNCTION marea.note_run() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO marea.run_notes (user_id, number, version)
    VALUES (NEW.user_id, NEW.run, CASE TG_OP WHEN 'UPDATE' THEN OLD.version ELSE 0 END)
    ON CONFLICT (user_id, number) DO NOTHING;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.note_run() IS 'Trigger: notes where a user''s clock stood before its first move in a run.';

CREATE OR REPLACE TRIGGER clocks_made AFTER INSERT ON marea.clocks
    FOR EACH ROW EXECUTE FUNCTION marea.note_run();
CREATE OR REPLACE TRIGGER clocks_moved AFTER UPDATE ON marea.clocks
    FOR EACH ROW WHEN (OLD.run <> NEW.run) EXECUTE FUNCTION marea.note_run();

CREATE OR REPLACE FUNCTION marea.move_clock() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Moves the caller's clock unless this transaction has. A push that changed no synced row would leave no trace in the cursor, and nor
-- would one that found a session which the app had inserted without a trace: nobody could tell that it was lost.
BEGIN
    INSERT INTO marea.clocks AS c (user_id, version, run)
    SELECT users.id, 1, marea.this_run_number() FROM public.users WHERE users.id = auth.uid()
    ON CONFLICT (user_id) DO UPDATE SET version = c.version + 1, run = EXCLUDED.run
    WHERE c.xmin <> pg_current_xact_id()::xid;
END
$$;

COMMENT ON FUNCTION marea.move_clock() IS 'Moves the caller''s clock, once in a transaction.';

CREATE OR REPLACE FUNCTION marea.is_lost_history(epoch TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whether the state in which a cursor's epoch, "run.clock.microseconds", was given out is in this history no more: its run is not, or
-- the clock has never been so far, or had not been when a later run began. The checkpoints of each hour tell what no run can: the
-- memory of a running machine that was set back.
DECLARE
    me      CONSTANT UUID := auth.uid();
    parts   CONSTANT TEXT[] := string_to_array(epoch, '.');
    claimed BIGINT;
    at_     TIMESTAMPTZ;
    reached BIGINT;
    given   BIGINT;
BEGIN
    IF epoch IS NULL OR epoch !~ '^[0-9a-f]{16}[.][0-9]{1,18}[.][0-9]{1,16}$' THEN
        RETURN true;
    END IF;
    SELECT r.number INTO given FROM marea.runs AS r WHERE r.run = parts[1];
    IF given IS NULL THEN
        RETURN true;
    END IF;
    claimed := parts[2]::bigint;
    at_ := to_timestamp(0) + parts[3]::bigint * interval '1 microsecond';
    -- Nobody was given a time that has not come. A forged one must leave nothing behind.
    IF at_ > clock_timestamp() + interval '5 minutes' THEN
        RETURN true;
    END IF;
    SELECT coalesce(max(c.version), 0) INTO reached FROM marea.clocks AS c WHERE c.user_id = me;
    IF claimed > reached THEN
        -- The proof that something was lost may soon be overtaken: noted now, it still tells the user's other devices. A later run
        -- tells them without it.
        IF current_setting('transaction_read_only') = 'off' AND parts[1] = marea.known_run() THEN
            INSERT INTO marea.checkpoints (user_id, at, version)
            SELECT me, clock_timestamp(), reached
            WHERE NOT EXISTS (SELECT FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ AND p.version <= reached)
              -- Who makes them up does not fill the disk: a real one is the first of many in an hour.
              AND (SELECT count(*) FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > now() - interval '1 day') < 100
              AND EXISTS (SELECT FROM public.users WHERE users.id = me)
            ON CONFLICT (user_id, at) DO NOTHING;
        END IF;
        RETURN true;
    END IF;
    RETURN claimed > coalesce((
        SELECT n.version FROM marea.run_notes AS n WHERE n.user_id = me AND n.number > given ORDER BY n.number LIMIT 1
    ), claimed) OR claimed > coalesce((
        -- The earliest one says the most.
        SELECT p.version FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ ORDER BY p.at LIMIT 1
    ), claimed);
END
$$;

COMMENT ON FUNCTION marea.is_lost_history(TEXT) IS 'Whether a cursor''s epoch is of another history than the server has now.';

-- ---------------------------------------------------------------------------------------------------------------------
-- file_sweep
-- ---------------------------------------------------------------------------------------------------------------------

-- Deleting objects that are due. Supabase refuses a DELETE in SQL on storage.objects: it goes by the API, through pg_net with a key
-- from Vault, or, where those are not, by a script that asks marea.files_to_delete and tells marea.files_deleted.

CREATE OR REPLACE FUNCTION marea.restore_live_files() RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- A device that was away may have said again where a file is.
    DELETE FROM marea.file_garbage AS g
    USING public.export_history AS e
    WHERE e.id = split_part(g.path, '/', 2)::uuid AND e.status <> 'expired'
      AND marea.file_path(e.file_url, e.user_id, e.id) = g.path
$$;

COMMENT ON FUNCTION marea.restore_live_files() IS 'Forgets garbage that an export names again. Before each sweep.';

CREATE OR REPLACE FUNCTION marea.sweep_files(batch INTEGER DEFAULT 100) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Takes in the answers to earlier requests, then asks for the next deletions; returns how many. Needs pg_net, and in Vault the
-- secrets marea_project_url and marea_service_key; without them it returns 0 and marea.health says what is missing.
DECLARE
    url     TEXT;
    key     TEXT;
    found   RECORD;
    request BIGINT;
    asked   BIGINT := 0;
    missing TEXT;
BEGIN
    IF batch NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'batch: must be from 1 to 10000';
    END IF;
    PERFORM marea.restore_live_files();
    IF to_regclass('net._http_response') IS NULL THEN
        missing := 'the extension pg_net is missing';
    ELSIF to_regclass('vault.decrypted_secrets') IS NULL THEN
        missing := 'the extension supabase_vault is missing';
    ELSE
        EXECUTE 'SELECT rtrim((SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_project_url''), ''/''),
                        (SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_service_key'')' INTO url, key;
        IF url IS NULL OR key IS NULL THEN
            missing := 'the secrets marea_project_url and marea_service_key are missing in Vault';
        END IF;
    END IF;
    IF missing IS NOT NULL THEN
        UPDATE marea.file_garbage SET last_error = missing WHERE last_error IS DISTINCT FROM missing;
        RETURN 0;
    END IF;

    -- What is not there is as good as deleted.
    EXECUTE $answers$
        WITH answers AS (
            SELECT g.path, r.status_code, r.error_msg,
                   coalesce(r.status_code BETWEEN 200 AND 299
                       OR r.content ~ '"(code|error)"\s*:\s*"(NoSuchKey|not_found)"', false) AS done
            FROM marea.file_garbage AS g JOIN net._http_response AS r ON r.id = g.request_id
        ), gone AS (
            DELETE FROM marea.file_garbage AS g USING answers AS a WHERE g.path = a.path AND a.done
        )
        UPDATE marea.file_garbage AS g
        SET request_id = NULL, last_error = coalesce(a.error_msg, 'HTTP ' || a.status_code)
        FROM answers AS a WHERE g.path = a.path AND NOT a.done
    $answers$;

    FOR found IN
        SELECT g.path FROM marea.file_garbage AS g
        WHERE g.asked_at IS NULL OR g.asked_at < now() - least(g.attempts, 6) * interval '10 minutes'
        ORDER BY g.noted_at LIMIT batch FOR UPDATE SKIP LOCKED
    LOOP
        EXECUTE 'SELECT net.http_delete(url := $1, headers := $2)' INTO request
        USING url || '/storage/v1/object/marea-exports/' || found.path,
              jsonb_build_object('Authorization', 'Bearer ' || key, 'apikey', key);
        UPDATE marea.file_garbage SET attempts = attempts + 1, asked_at = now(), request_id = request WHERE path = found.path;
        asked := asked + 1;
    END LOOP;
    RETURN asked;
END
$$;

COMMENT ON FUNCTION marea.sweep_files(INTEGER) IS
    'Asks Storage, through pg_net, to delete objects that are due; returns for how many. To be run every few minutes.';

CREATE OR REPLACE FUNCTION marea.note_orphan_files(older INTERVAL DEFAULT '1 day') RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- An object is made before its export says so: hence the day.
DECLARE
    noted BIGINT := 0;
BEGIN
    IF older < interval '1 hour' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'older: must be at least 1 hour';
    END IF;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE $orphans$
            INSERT INTO marea.file_garbage (path)
            SELECT o.name FROM storage.objects AS o
            WHERE o.bucket_id = 'marea-exports' AND o.created_at < now() - $1 AND marea.is_file_name(o.name)
              AND NOT EXISTS (
                SELECT FROM public.export_history AS e
                WHERE e.id::text = split_part(o.name, '/', 2) AND e.user_id::text = split_part(o.name, '/', 1)
                  AND e.status <> 'expired'
                  -- Without a name the device may be on its way to give one.
                  AND coalesce(marea.file_path(e.file_url, e.user_id, e.id), o.name) = o.name)
            ON CONFLICT DO NOTHING
        $orphans$ USING older;
        GET DIAGNOSTICS noted = ROW_COUNT;
    END IF;
    RETURN noted;
END
$$;

COMMENT ON FUNCTION marea.note_orphan_files(INTERVAL) IS
    'Compares the bucket with the exports and notes objects that belong to none, or whose export names another one; returns how many. To be run once a week.';

CREATE OR REPLACE VIEW marea.files_to_delete AS
SELECT g.path, g.noted_at, g.attempts, g.last_error
FROM marea.file_garbage AS g
WHERE NOT EXISTS (
    SELECT FROM public.export_history AS e
    WHERE e.id::text = split_part(g.path, '/', 2) AND e.status <> 'expired' AND marea.file_path(e.file_url, e.user_id, e.id) = g.path)
ORDER BY g.noted_at;

COMMENT ON VIEW marea.files_to_delete IS 'Objects of the bucket marea-exports that are due, oldest first: for a script, where there is no pg_net.';

CREATE OR REPLACE FUNCTION marea.files_deleted(paths TEXT[]) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    went BIGINT;
BEGIN
    DELETE FROM marea.file_garbage WHERE path = ANY (paths);
    GET DIAGNOSTICS went = ROW_COUNT;
    RETURN went;
END
$$;

COMMENT ON FUNCTION marea.files_deleted(TEXT[]) IS 'Told by a script which objects it has deleted; returns how many were due.';

REVOKE ALL ON marea.files_to_delete FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.files_to_delete TO service_role;
REVOKE ALL ON FUNCTION marea.restore_live_files, marea.sweep_files, marea.note_orphan_files, marea.files_deleted
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.sweep_files, marea.note_orphan_files, marea.files_deleted TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- one_user
-- ---------------------------------------------------------------------------------------------------------------------

-- One user's data: which tables have rows of a user, and all of them as one document. For who asks for it, for a user who goes to
-- another server (moves), and for whoever must be forgotten.

CREATE OR REPLACE FUNCTION marea.key_columns(key OID) RETURNS TABLE (child_columns TEXT, parent_columns TEXT)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('t.%I', child.attname), ', ' ORDER BY part.place), string_agg(format('t.%I', parent.attname), ', ' ORDER BY part.place)
    FROM pg_constraint AS k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS part (child, parent, place)
    JOIN pg_attribute AS child ON child.attrelid = k.conrelid AND child.attnum = part.child
    JOIN pg_attribute AS parent ON parent.attrelid = k.confrelid AND parent.attnum = part.parent
    WHERE k.oid = key
$$;

COMMENT ON FUNCTION marea.key_columns(OID) IS 'The columns of a foreign key, on both sides.';

CREATE OR REPLACE FUNCTION marea.tables_of_users() RETURNS TABLE (relation REGCLASS, condition TEXT, is_own BOOLEAN, depth INTEGER)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- Found, not listed: users, the tables that Marea syncs, every table of Marea's with a user in it, and what the database deletes when
-- the user goes (foreign keys with ON DELETE CASCADE). In an order in which they can be filled.
BEGIN
    RETURN QUERY
    WITH RECURSIVE own AS (
        SELECT 'public.users'::regclass AS relation, 't.id = $1' AS condition
        UNION
        SELECT to_regclass('public.' || name), 't.user_id = $1'
        FROM unnest('{sessions,user_progress,export_history,user_api_keys}'::text[]) AS name WHERE to_regclass('public.' || name) IS NOT NULL
        UNION
        SELECT marea.relation_of(t), format('t.%I = $1', t.owner_column) FROM marea.tables AS t
        WHERE marea.relation_of(t) IS NOT NULL AND t.name <> 'sessions'
        UNION
        SELECT c.oid::regclass, 't.user_id = $1'
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id' AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
        WHERE n.nspname IN ('marea', 'marea_adopted') AND c.relkind = 'r' AND c.oid <> 'marea.moved'::regclass
    ), keys AS (
        SELECT k.conrelid AS child, k.confrelid AS parent, k.confdeltype = 'c' AS goes_along, key.child_columns, key.parent_columns
        FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid AND NOT c.relispartition
        CROSS JOIN LATERAL marea.key_columns(k.oid) AS key
        WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
    ), reached AS (
        -- Whoever a row names itself is nearer than whoever owns the row that it hangs on.
        SELECT o.relation, o.condition COLLATE "C" AS condition, true AS is_own, (o.relation <> 'public.users'::regclass)::int AS step,
               ARRAY[o.relation::oid] AS path
        FROM own AS o
        UNION ALL
        SELECT k.child::regclass, CASE WHEN r.relation = 'public.users'::regclass AND k.parent_columns = 't.id'
                THEN format('%s = $1', k.child_columns)
            ELSE format('(%s) IN (SELECT %s FROM %s AS t WHERE %s)', k.child_columns, k.parent_columns, r.relation, r.condition) END COLLATE "C",
            false, r.step + 1, r.path || k.child
        FROM reached AS r JOIN keys AS k ON k.parent = r.relation AND k.goes_along
        WHERE k.child <> ALL (r.path) AND r.step < 20 AND k.child NOT IN (SELECT o.relation FROM own AS o)
    ), found AS (
        SELECT f.relation, string_agg(DISTINCT f.condition, ' OR ') AS condition, bool_or(f.is_own) AS is_own
        FROM reached AS f JOIN (SELECT s.relation, min(s.step) AS step FROM reached AS s GROUP BY s.relation) AS first
            ON first.relation = f.relation AND first.step = f.step
        GROUP BY f.relation
    ), depths AS (
        SELECT f.relation, 0 AS depth FROM found AS f
        UNION
        SELECT f.relation, d.depth + 1 FROM depths AS d JOIN keys AS k ON k.parent = d.relation JOIN found AS f ON f.relation = k.child
        WHERE d.depth < 20
    )
    SELECT f.relation, f.condition, f.is_own, max(d.depth)
    FROM found AS f JOIN depths AS d ON d.relation = f.relation
    GROUP BY f.relation, f.condition, f.is_own
    ORDER BY max(d.depth), f.relation::text COLLATE "C";
END
$$;

COMMENT ON FUNCTION marea.tables_of_users() IS
    'The tables that hold rows of a user, by which condition on t ($1: the user), in an order in which they can be filled.';

CREATE OR REPLACE FUNCTION marea.rows_of_others(person UUID) RETURNS TEXT
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- What goes along with a row of the document and is not in it itself: asked of every such foreign key, so that no chain of them is missed.
DECLARE
    key   RECORD;
    there BOOLEAN;
    names TEXT[] := '{}';
BEGIN
    FOR key IN
        SELECT k.conname, k.conrelid::regclass AS child, p.relation AS parent, p.condition, coalesce(c.condition, 'false') AS own_condition, n.*
        FROM pg_constraint AS k JOIN pg_class AS r ON r.oid = k.conrelid AND NOT r.relispartition
        JOIN marea.tables_of_users() AS p ON p.relation = k.confrelid LEFT JOIN marea.tables_of_users() AS c ON c.relation = k.conrelid
        CROSS JOIN LATERAL marea.key_columns(k.oid) AS n
        WHERE k.contype = 'f' AND k.confdeltype = 'c'
        ORDER BY k.conrelid::regclass::text COLLATE "C", k.conname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE (%s) IN (SELECT %s FROM %s AS t WHERE %s) AND (%s) IS NOT TRUE)', key.child,
            key.child_columns, key.parent_columns, key.parent, key.condition, key.own_condition) INTO there USING person;
        IF there THEN
            names := names || format('%s (%s)', key.child, key.conname);
        END IF;
    END LOOP;
    RETURN nullif(array_to_string(names, ', '), '');
END
$$;

COMMENT ON FUNCTION marea.rows_of_others(UUID) IS
    'The tables with rows that the database deletes with a user and that are not in the user''s document; NULL: none.';

CREATE OR REPLACE FUNCTION marea.document_columns(relation REGCLASS) RETURNS TABLE (name NAME, written TEXT, read TEXT)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- JSON stays JSON; numbers that JavaScript cannot hold, and all types that JSON has no word for, are text as Postgres prints them.
    SELECT a.attname, CASE
            WHEN base.oid = 'jsonb'::regtype THEN format('t.%I::jsonb', a.attname)
            WHEN base.typcategory IN ('S', 'E') OR base.oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'uuid'::regtype,
                'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN format('to_jsonb(t.%I)', a.attname)
            ELSE format('to_jsonb(t.%I::text)', a.attname) END,
        format(CASE WHEN base.oid = 'jsonb'::regtype THEN '(r.value -> %L)::%s' ELSE '(r.value ->> %L)::%s' END,
            a.attname, format_type(a.atttypid, -1))
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    CROSS JOIN LATERAL (SELECT b.* FROM pg_type AS b WHERE b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)) AS base
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ORDER BY a.attnum
$$;

COMMENT ON FUNCTION marea.document_columns(REGCLASS) IS
    'How the columns of a table (t) become values of a document, and how they are read from a row of it (r.value).';

CREATE OR REPLACE FUNCTION marea.export_user(person UUID) RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET "IntervalStyle" = 'iso_8601' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
-- STABLE: all of it as of one moment, whoever writes meanwhile.
DECLARE
    found_ RECORD;
    rows_  JSONB;
    tables JSONB := '[]';
    whole  JSONB;
    place  TEXT;
BEGIN
    IF person IS NULL OR NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = person) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: no such user', HINT = 'It is users.id.';
    END IF;
    FOR found_ IN SELECT * FROM marea.tables_of_users() LOOP
        place := found_.relation::text;
        EXECUTE format('SELECT coalesce(jsonb_agg((SELECT jsonb_object_agg(f.k, f.v) FROM (VALUES %s) AS f (k, v) WHERE f.v IS NOT NULL)), ''[]'') '
            'FROM %s AS t WHERE %s',
            (SELECT string_agg(format('(%L, %s)', c.name, c.written), ', ') FROM marea.document_columns(found_.relation) AS c),
            found_.relation, found_.condition)
        INTO rows_ USING person;
        tables := tables || jsonb_build_object(
            'table', (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                      WHERE c.oid = found_.relation),
            'columns', (SELECT jsonb_agg(c.name) FROM marea.document_columns(found_.relation) AS c), 'rows', rows_);
    END LOOP;
    whole := jsonb_build_object('marea', 1, 'user', person, 'exported_at', marea.wire_time(clock_timestamp()), 'tables', tables,
        'mirrored', (SELECT coalesce(jsonb_agg(t.name ORDER BY t.name), '[]') FROM marea.tables AS t),
        -- Objects of the bucket marea-exports: their bytes are not in here.
        'files', (
            SELECT coalesce(jsonb_agg(p.path ORDER BY p.path), '[]')
            FROM public.export_history AS e CROSS JOIN LATERAL (SELECT marea.file_path(e.file_url, e.user_id, e.id)) AS p (path)
            WHERE e.user_id = person AND p.path IS NOT NULL),
        -- They point to the user, or to a row of the user's, and stay when the user goes.
        'left_out', (
            SELECT coalesce(jsonb_agg(DISTINCT k.conrelid::regclass::text), '[]')
            FROM pg_constraint AS k JOIN marea.tables_of_users() AS o ON o.relation = k.confrelid
            WHERE k.contype = 'f' AND k.conrelid NOT IN (SELECT i.relation FROM marea.tables_of_users() AS i)));
    RETURN whole;
EXCEPTION WHEN program_limit_exceeded THEN
    RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = format('the user has more than fits into one document (256 MB), with %s; nothing was changed', place),
        HINT = 'Delete or shorten the largest rows first. To take such a user along, move the whole database (a standby or a dump).';
END
$$;

COMMENT ON FUNCTION marea.export_user(UUID) IS
    'All data of one user as one document, which marea.import_user() reads in another database. Sealed keys stay sealed.';

REVOKE ALL ON FUNCTION marea.tables_of_users, marea.key_columns, marea.rows_of_others, marea.document_columns, marea.export_user FROM PUBLIC, anon, authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- moves
-- ---------------------------------------------------------------------------------------------------------------------

-- Users who come, go, and are forgotten. To another server: move_user here, import_user there, erase_user(keep_address => true) here.

CREATE OR REPLACE FUNCTION marea.move_user(person UUID, address TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whoever writes is waited for, and nobody writes after: what is returned is all that there is. Run again it returns the same.
DECLARE
    others TEXT;
BEGIN
    IF address IS NULL OR octet_length(address) NOT BETWEEN 1 AND 500 OR address ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'address: must have 1 to 500 bytes and no control characters',
            HINT = 'For example the URL of the project to which the user goes.';
    END IF;
    -- Before the user's lock: whoever syncs takes them in this order.
    PERFORM marea.this_run_number();
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    IF person IS NULL OR NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = person) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: no such user', HINT = 'It is users.id.';
    END IF;
    INSERT INTO marea.moved AS m (user_id, address) VALUES (person, move_user.address)
    ON CONFLICT (user_id) DO UPDATE SET address = EXCLUDED.address;
    INSERT INTO marea.clocks AS c (user_id, version, run, moving) VALUES (person, 0, marea.this_run_number(), true)
    ON CONFLICT (user_id) DO UPDATE SET moving = true;
    others := marea.rows_of_others(person);
    IF others IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '2BP01', MESSAGE = 'rows that are not in the user''s document would go with the user: ' || others
            || '; nothing was changed', HINT = 'Take those rows off the user''s first, or let the foreign key SET NULL.';
    END IF;
    RETURN marea.export_user(person);
END
$$;

COMMENT ON FUNCTION marea.move_user(UUID, TEXT) IS
    'Sends a user to another server: from now on everybody who asks is told the address, nothing is written, and this is the document.';

CREATE OR REPLACE FUNCTION marea.stop_move(person UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    UPDATE marea.clocks AS c SET moving = false WHERE c.user_id = person AND c.moving;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: is not on the way, or the rows are gone already',
            HINT = 'Where they are gone, marea.import_user() brings them back.';
    END IF;
    DELETE FROM marea.moved AS m WHERE m.user_id = person;
END
$$;

COMMENT ON FUNCTION marea.stop_move(UUID) IS 'Takes marea.move_user() back, as long as the rows are here. Not where another server has imported them.';

CREATE OR REPLACE FUNCTION marea.import_rows(person UUID, given JSONB) RETURNS BIGINT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- One table of a document. Refuses what is not this user's.
DECLARE
    place   RECORD;
    unknown TEXT;
    came    BIGINT;
    counted BIGINT;
    key     RECORD;
BEGIN
    IF given -> 'rows' = '[]' THEN
        RETURN 0;
    END IF;
    SELECT t.* INTO place FROM marea.tables_of_users() AS t WHERE t.relation = to_regclass(given ->> 'table');
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the document has rows of %s, which is no table of users here', given ->> 'table'),
            HINT = 'Make the table as it is there; where it is mirrored there, SELECT marea.mirror(...) here.';
    END IF;
    SELECT string_agg(c.name, ', ') INTO unknown
    FROM jsonb_array_elements_text(given -> 'columns') AS c (name)
    WHERE c.name NOT IN (SELECT d.name FROM marea.document_columns(place.relation) AS d)
      AND jsonb_path_exists(given, '$.rows[*].keyvalue() ? (@.key == $name)', jsonb_build_object('name', c.name));
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s has no column %s here, and the document has values of it', place.relation, unknown),
            HINT = 'Bring this database to the same schema first.';
    END IF;
    EXECUTE (
        SELECT format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM jsonb_array_elements($1) AS r (value)%s', place.relation,
            string_agg(quote_ident(d.name), ', '), string_agg(d.read, ', '),
            CASE WHEN place.relation = 'public.users'::regclass THEN ' ON CONFLICT (id) DO NOTHING' END)
        FROM marea.document_columns(place.relation) AS d WHERE given -> 'columns' ? d.name::text) USING given -> 'rows';
    GET DIAGNOSTICS came = ROW_COUNT;
    EXECUTE format('SELECT count(*) FROM %s AS t WHERE %s', place.relation, place.condition) INTO counted USING person;
    IF counted <> jsonb_array_length(given -> 'rows') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s: the document has %s rows, and the user has %s of them here', place.relation,
            jsonb_array_length(given -> 'rows'), counted), HINT = 'It has rows of somebody else, or a trigger of the app changed or left out some.';
    END IF;
    -- Where no trigger fires no foreign key is looked at.
    FOR key IN
        SELECT k.conname, k.confrelid::regclass AS parent,
               string_agg(format('p.%I = t.%I', f.attname, c.attname), ' AND ') AS same, string_agg(format('t.%I IS NOT NULL', c.attname), ' AND ') AS whole
        FROM pg_constraint AS k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS part (child, parent)
        JOIN pg_attribute AS c ON c.attrelid = k.conrelid AND c.attnum = part.child
        JOIN pg_attribute AS f ON f.attrelid = k.confrelid AND f.attnum = part.parent
        WHERE k.conrelid = place.relation AND k.contype = 'f'
        GROUP BY k.oid, k.conname, k.confrelid
    LOOP
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE (%s) AND %s AND NOT EXISTS (SELECT FROM %s AS p WHERE %s)', place.relation,
            place.condition, key.whole, key.parent, key.same) INTO counted USING person;
        IF counted > 0 THEN
            RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = format('%s: %s rows point to %s, which has no such rows here (%s)', place.relation,
                counted, key.parent, key.conname), HINT = 'Bring those rows here first.';
        END IF;
    END LOOP;
    RETURN came;
END
$$;

COMMENT ON FUNCTION marea.import_rows(UUID, JSONB) IS 'Inserts one table of a document; returns how many rows came.';

CREATE OR REPLACE FUNCTION marea.import_user(document JSONB) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Rows as they were, totals and versions with them. No trigger of the app fires where the owner may see to that
-- (session_replication_role); where not they fire, and what they and the fold have made is replaced by what the document says.
-- Which history the versions are of is not brought along: each device is told to pull everything again and sends what it keeps of 30
-- days, so that what was acknowledged after the document was made is not lost (docs/adr/0142).
DECLARE
    person    CONSTANT UUID := substring(document ->> 'user' FROM '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$');
    before    CONSTANT TEXT := current_setting('session_replication_role');
    -- Made by triggers, so replaced at the end.
    made      CONSTANT TEXT[] := '{public.user_progress,marea.daily_activity,marea.kept_facts,marea.rows}';
    of_server CONSTANT TEXT[] := '{marea.clocks,marea.run_notes,marea.checkpoints,marea.clients,marea.pending}';
    given     RECORD;
    taken     TEXT;
    done      BIGINT := 0;
    reached   BIGINT;
    pruned_   BIGINT;
BEGIN
    IF jsonb_typeof(document) IS DISTINCT FROM 'object' OR document ->> 'marea' IS DISTINCT FROM '1' OR person IS NULL
        OR jsonb_typeof(document -> 'tables') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'document: is none of marea.export_user()';
    END IF;
    -- Before the user's lock: whoever syncs takes them in this order.
    PERFORM marea.this_run_number();
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    SELECT string_agg(m.name, ', ') INTO taken
    FROM jsonb_array_elements_text(document -> 'mirrored') AS m (name)
    WHERE m.name NOT IN (SELECT t.name FROM marea.tables AS t)
      AND jsonb_path_exists(document, '$.tables[*] ? (@.table == "marea.rows").rows[*] ? (@.table_name == $name)', jsonb_build_object('name', m.name));
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('not mirrored here: %s', taken), HINT = 'SELECT marea.mirror(...) for each of them first.';
    END IF;
    FOR given IN SELECT t.relation, t.condition FROM marea.tables_of_users() AS t
        WHERE t.relation <> 'public.users'::regclass AND t.is_own AND t.relation <> ALL (('{public.user_progress,marea.rows}'::text[] || of_server)::regclass[])
    LOOP
        EXECUTE format('SELECT %L FROM %s AS t WHERE %s LIMIT 1', given.relation, given.relation, given.condition) INTO taken USING person;
        IF taken IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = format('the user has rows in %s here already; nothing was changed', taken),
                HINT = 'Where they are of before the user went elsewhere: SELECT marea.erase_user(...) first.';
        END IF;
    END LOOP;
    DELETE FROM marea.moved AS m WHERE m.user_id = person;

    FOR given IN
        SELECT t.value, t.value ->> 'table' AS name, t.n, t.value ->> 'table' = ANY (made) AS is_made FROM jsonb_array_elements(document -> 'tables') WITH ORDINALITY AS t (value, n)
        WHERE t.value ->> 'table' <> ALL (of_server)
        ORDER BY t.value ->> 'table' <> 'public.users', is_made, t.n
    LOOP
        IF given.name = 'public.users' THEN
            done := done + marea.import_rows(person, given.value);
            BEGIN
                PERFORM set_config('session_replication_role', 'replica', true);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
            CONTINUE;
        ELSIF given.is_made THEN
            EXECUTE format('DELETE FROM %s AS t WHERE t.user_id = $1', given.name::regclass) USING person;
        END IF;
        done := done + marea.import_rows(person, given.value);
    END LOOP;
    IF current_setting('session_replication_role') <> before THEN
        PERFORM set_config('session_replication_role', before, true);
    END IF;

    DELETE FROM marea.pending AS p WHERE p.xact = pg_current_xact_id() AND p.user_ids <@ ARRAY[person];
    SELECT (c ->> 'version')::bigint, (c ->> 'pruned')::bigint INTO reached, pruned_
    FROM jsonb_path_query_first(document, '$.tables[*] ? (@.table == "marea.clocks").rows[0]') AS c;
    DELETE FROM marea.clocks AS c WHERE c.user_id = person;
    INSERT INTO marea.clocks AS c (user_id, version, pruned, run) VALUES (person, coalesce(reached, 0), coalesce(pruned_, 0), marea.this_run_number());
    -- Where the user was here before: a cursor of later than the document is of a history that is lost.
    INSERT INTO marea.checkpoints (user_id, at, version) VALUES (person, clock_timestamp(), coalesce(reached, 0)) ON CONFLICT (user_id, at) DO NOTHING;
    RETURN done;
END
$$;

COMMENT ON FUNCTION marea.import_user(JSONB) IS
    'Takes in a user from the document of marea.export_user() or marea.move_user(); returns how many rows came. Refuses a user with rows here.';

CREATE OR REPLACE FUNCTION marea.erase_user(person UUID, keep_address BOOLEAN DEFAULT false) RETURNS JSONB
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Everything of a user: rows, versions, tombstones, ledgers, the row in users and what goes with it. Objects of the bucket are noted to
-- be deleted, and so is that they are until they are gone: run the sweep, and ask again.
DECLARE
    path   CONSTANT TEXT := marea.app_search_path();
    found_ RECORD;
    went   BIGINT := 0;
    gone   BIGINT;
    due    BIGINT;
    others TEXT;
BEGIN
    IF person IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: must not be null';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    others := CASE WHEN keep_address THEN marea.rows_of_others(person) END;
    IF others IS NOT NULL THEN
        -- Written since by somebody else: they are nowhere but here.
        RAISE EXCEPTION USING ERRCODE = '2BP01', MESSAGE = 'rows that went nowhere would be deleted with the user: ' || others
            || '; nothing was changed', HINT = 'Take those rows off the user''s first.';
    END IF;
    UPDATE marea.clocks AS c SET moving = false WHERE c.user_id = person AND c.moving;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE 'INSERT INTO marea.file_garbage (path) SELECT o.name FROM storage.objects AS o WHERE o.bucket_id = ''marea-exports'' '
            'AND starts_with(o.name, $1 || ''/'') AND marea.is_file_name(o.name) ON CONFLICT DO NOTHING' USING person::text;
    END IF;
    -- What a foreign key holds goes with users; what none holds, or one that would stand in the way, goes by itself. Under the search_path
    -- that the app's triggers are used to.
    PERFORM set_config('marea.keep_counting', 'off', true);
    FOR round IN 1..2 LOOP
        FOR found_ IN
            SELECT t.* FROM marea.tables_of_users() AS t
            WHERE t.is_own AND (round = 2 OR t.relation = 'public.users'::regclass
                OR (SELECT c.relnamespace NOT IN ('marea'::regnamespace) FROM pg_class AS c WHERE c.oid = t.relation))
            ORDER BY t.depth DESC, t.relation
        LOOP
            PERFORM set_config('search_path', path, true);
            EXECUTE pg_catalog.format('DELETE FROM %s AS t WHERE %s', found_.relation, found_.condition) USING person;
            GET DIAGNOSTICS gone = ROW_COUNT;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            went := went + gone;
        END LOOP;
    END LOOP;
    DELETE FROM marea.pending AS p WHERE p.xact = pg_current_xact_id() AND p.user_ids <@ ARRAY[person];
    -- What woke the user's devices; Realtime forgets it by itself after some days.
    IF EXISTS (
        SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'realtime' AND c.relname = 'messages' AND has_schema_privilege(n.oid, 'USAGE')
          AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'DELETE')
    ) THEN
        EXECUTE 'DELETE FROM realtime.messages AS m WHERE m.topic = $1' USING 'marea:' || person;
    END IF;
    IF NOT keep_address THEN
        DELETE FROM marea.moved AS m WHERE m.user_id = person;
    END IF;
    FOR found_ IN SELECT t.* FROM marea.tables_of_users() AS t LOOP
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE %s', found_.relation, found_.condition) INTO gone USING person;
        IF gone > 0 THEN
            RAISE EXCEPTION USING ERRCODE = '39P01', MESSAGE = format('%s rows of the user are still in %s; nothing was changed', gone, found_.relation),
                HINT = 'A trigger of the app keeps them, or makes them anew.';
        END IF;
    END LOOP;
    SELECT count(*) INTO due FROM marea.file_garbage AS g WHERE starts_with(g.path, person || '/');
    RETURN jsonb_build_object('rows', went, 'files_to_delete', due, 'account', to_regclass('auth.users') IS NOT NULL);
EXCEPTION WHEN foreign_key_violation THEN
    RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = 'another table of the app holds on to the user; nothing was changed: ' || marea.bounded(SQLERRM),
        HINT = 'Delete those rows, or take the user out of them, first.';
END
$$;

COMMENT ON FUNCTION marea.erase_user(UUID, BOOLEAN) IS
    'Forgets a user: every row, version and note, here. Answers how many rows went, how many files wait to be deleted, and whether there is an account to delete.';

REVOKE ALL ON FUNCTION marea.move_user, marea.stop_move, marea.import_rows, marea.import_user, marea.erase_user
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.erase_user TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- views
-- ---------------------------------------------------------------------------------------------------------------------

-- What the one who runs the Postgres looks at. The views show their owner's sight of the tables, so they are for people who run
-- the database, and nobody else.

CREATE OR REPLACE VIEW marea.client_lag AS
SELECT c.user_id, c.client_id, c.schema, c.first_at, c.noted_at,
       extract(epoch FROM now() - c.noted_at)::bigint AS silent_seconds,
       c.version, coalesce(u.version, 0) AS user_version,
       greatest(coalesce(u.version, 0) - c.version, 0) AS versions_behind,
       c.version < coalesce(u.pruned, 0) AS must_start_anew
FROM marea.clients AS c
LEFT JOIN marea.clocks AS u ON u.user_id = c.user_id;

COMMENT ON VIEW marea.client_lag IS
    'Each device: when it last synced (to the hour), and how many of its user''s changes have come since.';

CREATE OR REPLACE VIEW marea.largest_users AS
SELECT r.user_id, count(*) AS rows, count(*) FILTER (WHERE r.deleted) AS tombstones,
       (SELECT c.version FROM marea.clocks AS c WHERE c.user_id = r.user_id) AS version
FROM marea.rows AS r
GROUP BY r.user_id
ORDER BY count(*) DESC, r.user_id
LIMIT 20;

COMMENT ON VIEW marea.largest_users IS 'The 20 users with the most synced rows. Reads all of marea.rows: not for a dashboard.';

CREATE OR REPLACE VIEW marea.foreign_writers AS
WITH RECURSIVE bodies AS MATERIALIZED (
    SELECT p.oid, p.proname, n.nspname, p.prorettype = 'trigger'::regtype AS is_trigger,
           regexp_replace(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid)), '--[^\n]*|/\*.*?\*/', ' ', 'g') AS body
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'marea', 'marea_adopted') AND n.nspname NOT LIKE 'pg\_%'
      AND NOT (n.nspname = 'public' AND p.proname IN ('sessions_fold_into_progress', 'marea_sync'))
), writers AS (
    SELECT b.* FROM bodies AS b
    WHERE b.body ~* '\m(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?(("?public"?\s*\.\s*)?"?user_progress|"?marea"?\s*\.\s*"?daily_activity)"?(?![a-z0-9_$])'
    UNION
    SELECT b.* FROM bodies AS b JOIN writers AS w ON w.oid <> b.oid AND NOT w.is_trigger
    WHERE b.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\(')
)
SELECT 'trigger' AS kind, format('%I on %s', t.tgname, t.tgrelid::regclass) AS name, format('%I.%I', w.nspname, w.proname) AS function
FROM pg_catalog.pg_trigger AS t JOIN writers AS w ON w.oid = t.tgfoid AND w.is_trigger
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname <> 'marea_adopted'
  -- Those make rows for new learners, which is no harm.
  AND c.relname <> 'users'
UNION ALL
SELECT 'function', format('%I.%I', w.nspname, w.proname), format('%I.%I', w.nspname, w.proname)
FROM writers AS w
WHERE NOT w.is_trigger
  AND NOT EXISTS (SELECT FROM writers AS c WHERE c.is_trigger
      AND c.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\('));

COMMENT ON VIEW marea.foreign_writers IS
    'Triggers and functions of the app whose text writes what the fold alone may write: a session may count twice, or be taken back.';

CREATE OR REPLACE FUNCTION marea.health_notes() RETURNS TABLE (measure TEXT, subject TEXT)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whoever may read a view may not therefore call what the view calls: this is for those who read marea.health.
BEGIN
    RETURN QUERY SELECT 'drift', d.name || ': ' || d.problem FROM marea.mirror_drift() AS d;
    -- Functions that name a table which adopt.sql has set aside, as long as their text is that of before.
    IF to_regclass('marea_adopted.taken') IS NOT NULL THEN
        RETURN QUERY EXECUTE $taken$
            SELECT 'old tables', format('function %I.%I(%s)', t.schema, t.name, t.relation)
            FROM marea_adopted.taken AS t
            WHERE t.kind = 'text' AND EXISTS (
                SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                WHERE n.nspname = t.schema AND p.proname = t.name AND md5(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid))) = t.state)
            ORDER BY t.schema, t.name, t.relation
        $taken$;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.health_notes() IS 'What of marea.health are names: drift of mirrored tables, and functions that still name old tables.';

CREATE OR REPLACE VIEW marea.health (measure, subject, value, unit) AS
    SELECT 'users', 'all', (SELECT count(*) FROM marea.clocks)::numeric, 'count'
    UNION ALL
    SELECT 'changes', 'busiest user', (SELECT max(version) FROM marea.clocks), 'count'
    UNION ALL
    SELECT 'tombstones', 'all', (SELECT count(*) FROM marea.rows WHERE deleted), 'count'
    UNION ALL
    SELECT 'tombstones', 'older than 90 days', (
        SELECT count(*) FROM marea.rows WHERE deleted AND changed_at < now() - interval '90 days'), 'count'
    UNION ALL
    SELECT 'age', 'oldest tombstone', (
        SELECT extract(epoch FROM now() - min(changed_at))::bigint FROM marea.rows WHERE deleted), 'seconds'
    UNION ALL
    -- What a statement notes is gone at its transaction's end. A row that stays is a defect.
    SELECT 'pending', 'left behind', (SELECT count(*) FROM marea.pending), 'count'
    UNION ALL
    SELECT 'backfill', 'users left', coalesce((
        SELECT sum(greatest(users_total - users_done, 0)) FROM marea.backfill WHERE finished_at IS NULL), 0), 'count'
    UNION ALL
    SELECT 'exports', 'waiting', (
        SELECT count(*) FROM public.export_history WHERE status IN ('pending', 'processing')), 'count'
    UNION ALL
    SELECT 'age', 'oldest waiting export', (
        SELECT extract(epoch FROM now() - min(created_at))::bigint FROM public.export_history
        WHERE status IN ('pending', 'processing')), 'seconds'
    UNION ALL
    SELECT 'exports', 'failed in a day', (
        SELECT count(*) FROM public.export_history
        WHERE status = 'failed' AND created_at > now() - interval '1 day'), 'count'
    UNION ALL
    SELECT 'exports', 'past their expiry', (
        SELECT count(*) FROM public.export_history WHERE status = 'completed' AND expires_at < now()), 'count'
    UNION ALL
    -- What marea.has_wakeups() asks: that is for devices, and this view for whoever may read it.
    SELECT 'wake-ups', 'on', (SELECT count(*) FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on'), 'count'
    UNION ALL
    -- 1: marea.set_wakeups(true) has not been run since Realtime came, so no device may listen.
    SELECT 'wake-ups', 'without a policy', CASE
        WHEN EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on') AND to_regclass('realtime.messages') IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = to_regclass('realtime.messages') AND polname = 'marea_wakeups_select')
        THEN 1 ELSE 0 END, 'count'
    UNION ALL
    SELECT 'files', 'to delete', (SELECT count(*) FROM marea.file_garbage), 'count'
    UNION ALL
    SELECT 'age', 'oldest file to delete', (
        SELECT extract(epoch FROM now() - min(noted_at))::bigint FROM marea.file_garbage), 'seconds'
    UNION ALL
    SELECT 'files', 'not deleted: ' || failed.last_error, failed.files, 'count'
    FROM (
        SELECT last_error, count(*) AS files FROM marea.file_garbage WHERE last_error IS NOT NULL
        GROUP BY last_error ORDER BY count(*) DESC, last_error LIMIT 5
    ) AS failed
    UNION ALL
    SELECT 'clients', seen.subject, seen.clients, 'count'
    FROM (
        SELECT count(*) AS every, count(*) FILTER (WHERE silent_seconds < 86400) AS today,
               count(*) FILTER (WHERE silent_seconds >= 604800 AND versions_behind > 0) AS left_behind,
               count(*) FILTER (WHERE must_start_anew) AS too_old
        FROM marea.client_lag
    ) AS counted
    CROSS JOIN LATERAL (VALUES
        ('all', counted.every), ('synced in a day', counted.today),
        ('behind and silent for a week', counted.left_behind), ('will start anew', counted.too_old)
    ) AS seen (subject, clients)
    UNION ALL
    SELECT 'age', 'longest transaction', (
        SELECT coalesce(max(extract(epoch FROM now() - xact_start))::bigint, 0) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'), 'seconds'
    UNION ALL
    SELECT 'sessions', 'waiting for a lock', (
        SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'), 'count'
    UNION ALL
    -- 0: none, or more than the role's own settings say. docs/migrations/DEPLOY.md says which and why.
    SELECT 'limits', limits.name || ' of ' || limits.role, coalesce((
        SELECT max(CASE WHEN setting.value ~ '^[0-9]+$' THEN setting.value::numeric
            ELSE extract(epoch FROM setting.value::interval) * 1000 END)
        FROM pg_catalog.pg_db_role_setting AS s, unnest(s.setconfig) AS one,
             LATERAL (SELECT split_part(one, '=', 2) WHERE starts_with(one, limits.name || '=')) AS setting (value)
        WHERE s.setrole IN (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname IN (limits.role, 'authenticator'))
          AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()))
    ), 0)::bigint, 'milliseconds'
    FROM (VALUES ('statement_timeout', 'authenticated'), ('lock_timeout', 'authenticated')) AS limits (name, role)
    UNION ALL
    SELECT of_table.measure, t.schemaname || '.' || t.relname, of_table.value, of_table.unit
    FROM pg_catalog.pg_stat_user_tables AS t
    CROSS JOIN LATERAL (VALUES
        ('rows', t.n_live_tup::numeric, 'count'), ('dead rows', t.n_dead_tup, 'count'),
        ('size', pg_total_relation_size(t.relid), 'bytes')
    ) AS of_table (measure, value, unit)
    WHERE t.schemaname = 'marea'
       OR (t.schemaname = 'public' AND t.relname IN ('sessions', 'user_progress', 'export_history', 'user_api_keys'))
    UNION ALL
    SELECT 'mirrored tables', 'all', (SELECT count(*) FROM marea.tables), 'count'
    UNION ALL
    -- What to type for it: SELECT * FROM marea.mirror_drift().
    SELECT 'drift', n.subject, 1, 'count' FROM marea.health_notes() AS n WHERE n.measure = 'drift'
    UNION ALL
    SELECT 'old tables', n.subject, 1, 'count' FROM marea.health_notes() AS n WHERE n.measure = 'old tables'
    UNION ALL
    -- Empty unless track_functions is at least pl.
    SELECT of_function.measure, f.schemaname || '.' || f.funcname, of_function.value, of_function.unit
    FROM pg_catalog.pg_stat_user_functions AS f
    CROSS JOIN LATERAL (VALUES
        ('calls', f.calls::numeric, 'count'),
        ('mean time', round((f.total_time / greatest(f.calls, 1))::numeric, 3), 'milliseconds')
    ) AS of_function (measure, value, unit)
    WHERE f.schemaname = 'marea' OR (f.schemaname = 'public' AND f.funcname IN ('marea_sync', 'sessions_fold_into_progress'))
    UNION ALL
    SELECT 'foreign writers', 'all', (SELECT count(*) FROM marea.foreign_writers), 'count'
    UNION ALL
    SELECT 'foreign writers', w.kind || ' ' || w.name, 1, 'count' FROM marea.foreign_writers AS w
    UNION ALL
    -- NULL where there is no auth.users, or whoever asks may not look into it.
    SELECT 'learners', 'without a row in users', CASE WHEN (
        SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'auth' AND c.relname = 'users' AND has_table_privilege('public.users', 'SELECT')
    ) THEN substring(query_to_xml('SELECT count(*) AS n FROM auth.users AS a
        WHERE NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = a.id)', false, true, '')::text FROM '<n>([0-9]+)</n>')::numeric END, 'count';

COMMENT ON VIEW marea.health IS 'How Marea is, one figure a row. Cheap enough to be asked every minute.';

REVOKE ALL ON marea.client_lag, marea.largest_users, marea.foreign_writers, marea.health FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.health, marea.client_lag, marea.largest_users TO service_role;
REVOKE ALL ON FUNCTION marea.health_notes FROM PUBLIC, anon, authenticated, service_role, pg_monitor;
GRANT EXECUTE ON FUNCTION marea.health_notes TO service_role, pg_monitor;

-- ---------------------------------------------------------------------------------------------------------------------
-- behind them
-- ---------------------------------------------------------------------------------------------------------------------

-- What marea.mirror has made for tables that are mirrored already is made again. One that has been altered since waits, as before, for
-- marea.mirror to be run again.
DO $$
BEGIN
    PERFORM marea.make_checks(t), marea.make_page(t, marea.relation_of(t))
    FROM marea.tables AS t
    WHERE marea.relation_of(t) IS NOT NULL AND NOT marea.has_drifted(t.name);
END
$$;

NOTIFY pgrst, 'reload schema';

COMMIT;
