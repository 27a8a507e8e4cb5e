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
