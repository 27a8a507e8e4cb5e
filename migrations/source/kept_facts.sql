-- What goes on counting although its session is not here: sessions that retention removed, and what an app had counted before
-- Marea came. Beside sessions and awards the third kind of fact.

CREATE TABLE IF NOT EXISTS marea.kept_facts (
    user_id             UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    day                 DATE NOT NULL,
    facts               BIGINT NOT NULL DEFAULT 0,
    sessions            BIGINT NOT NULL DEFAULT 0,
    minutes             BIGINT NOT NULL DEFAULT 0,
    questions           BIGINT NOT NULL DEFAULT 0,
    correct             BIGINT NOT NULL DEFAULT 0,
    words               BIGINT NOT NULL DEFAULT 0,
    points              BIGINT NOT NULL DEFAULT 0,
    descriptions        BIGINT NOT NULL DEFAULT 0,
    images              BIGINT NOT NULL DEFAULT 0,
    mastered            BIGINT NOT NULL DEFAULT 0,
    learning            BIGINT NOT NULL DEFAULT 0,
    fresh               BIGINT NOT NULL DEFAULT 0,
    activity_at         TIMESTAMPTZ,
    description_at      TIMESTAMPTZ,
    qa_at               TIMESTAMPTZ,
    words_at            TIMESTAMPTZ,
    longest_streak_days INTEGER NOT NULL DEFAULT 0 CHECK (longest_streak_days >= 0),
    PRIMARY KEY (user_id, day)
) WITH (fillfactor = 80);

COMMENT ON TABLE marea.kept_facts IS
    'What goes on counting although its session is gone, by the learner''s local day. Written by triggers and jobs.';
COMMENT ON COLUMN marea.kept_facts.user_id IS 'The learner.';
COMMENT ON COLUMN marea.kept_facts.day IS
    'Local day; -infinity: on no day, what an app had counted before Marea came (marea.carry_over), one row at most.';
COMMENT ON COLUMN marea.kept_facts.facts IS 'Sessions on the day that are gone, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.sessions IS 'Adds to total_sessions, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.minutes IS 'Adds to total_time_spent_minutes, minutes; by trigger.';
COMMENT ON COLUMN marea.kept_facts.questions IS 'Adds to total_questions_answered, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.correct IS 'Adds to total_questions_correct, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.words IS 'Adds to total_vocabulary_learned, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.points IS 'Adds to total_points; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.descriptions IS 'Adds to total_descriptions, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.images IS 'Adds to total_images, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.mastered IS 'Adds to mastered_words_count; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.learning IS 'Adds to learning_words_count; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.fresh IS 'Adds to new_words_count; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.activity_at IS 'Latest end of what is kept here; by trigger.';
COMMENT ON COLUMN marea.kept_facts.description_at IS 'The same, of those with a description; by trigger.';
COMMENT ON COLUMN marea.kept_facts.qa_at IS 'The same, of those with a question answered; by trigger.';
COMMENT ON COLUMN marea.kept_facts.words_at IS 'The same, of those with a word learned; by trigger.';
COMMENT ON COLUMN marea.kept_facts.longest_streak_days IS
    'Only at -infinity: the longest run of days that the app knew of, which the days themselves may not show any more.';

CREATE TABLE IF NOT EXISTS marea.settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

COMMENT ON TABLE marea.settings IS 'What the one who runs the Postgres has switched; written by functions of their own.';
COMMENT ON COLUMN marea.settings.name IS 'keep_counting: see marea.keep_counting(). wakeups: see marea.set_wakeups(). freezes_per_30_days: '
    'the most frozen days of a learner in 30, 10 without a row. user_claim: see marea.set_user_claim(). rows_per_user: see '
    'marea.most_rows(). points_per_award, points_per_day: the most points of one award, and of all awards of a learner''s local day; '
    'without a row there is no bound.';
COMMENT ON COLUMN marea.settings.value IS 'on or off; a number.';

ALTER TABLE marea.kept_facts ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.settings ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION marea.keeps_counting() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- What the transaction says comes first: set_config('marea.keep_counting', 'on' or 'off', true).
BEGIN
    RETURN CASE lower(current_setting('marea.keep_counting', true)) WHEN 'on' THEN true WHEN 'off' THEN false
        ELSE auth.uid() IS NULL AND EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'keep_counting' AND s.value = 'on') END;
END
$$;

COMMENT ON FUNCTION marea.keeps_counting() IS
    'Whether sessions that this transaction deletes go on counting. Never where a signed-in learner deletes, unless it is said so.';

CREATE OR REPLACE FUNCTION marea.keep_counting(jobs BOOLEAN) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO marea.settings (name, value) VALUES ('keep_counting', CASE WHEN jobs THEN 'on' ELSE 'off' END)
    ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value;
END;

COMMENT ON FUNCTION marea.keep_counting(BOOLEAN) IS
    'True: sessions that anybody but a signed-in learner deletes (a nightly job) go on counting from now on. False: they are taken out.';

CREATE OR REPLACE FUNCTION marea.keep_facts(given marea.fact[]) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO marea.kept_facts AS k (user_id, day, facts, sessions, minutes, questions, correct, words, descriptions, images,
        activity_at, description_at, qa_at, words_at)
    SELECT f.user_id, f.day, sum(f.facts), sum(f.sessions), sum(f.minutes), sum(f.questions), sum(f.correct), sum(f.words),
           sum(f.descriptions), sum(f.images), max(f.activity_at), max(f.description_at), max(f.qa_at), max(f.words_at)
    FROM unnest(given) AS f
    GROUP BY f.user_id, f.day
    ORDER BY f.user_id, f.day
    ON CONFLICT (user_id, day) DO UPDATE SET
        facts = k.facts + EXCLUDED.facts, sessions = k.sessions + EXCLUDED.sessions, minutes = k.minutes + EXCLUDED.minutes,
        questions = k.questions + EXCLUDED.questions, correct = k.correct + EXCLUDED.correct, words = k.words + EXCLUDED.words,
        descriptions = k.descriptions + EXCLUDED.descriptions, images = k.images + EXCLUDED.images,
        activity_at = greatest(k.activity_at, EXCLUDED.activity_at),
        description_at = greatest(k.description_at, EXCLUDED.description_at),
        qa_at = greatest(k.qa_at, EXCLUDED.qa_at), words_at = greatest(k.words_at, EXCLUDED.words_at);
END;

COMMENT ON FUNCTION marea.keep_facts(marea.fact[]) IS 'Notes what sessions that are being deleted have added, so that it stays.';

CREATE OR REPLACE FUNCTION marea.retire_sessions(before TIMESTAMPTZ, most INTEGER DEFAULT 100000) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Removes completed sessions that ended before that, the oldest first, and keeps what they added: totals, days, streaks. Their
-- ids stay taken as long as a device may send one again. Returns how many went; fewer than most: all that there were.
DECLARE
    said CONSTANT TEXT := current_setting('marea.keep_counting', true);
    old  UUID[];
BEGIN
    IF before IS NULL OR NOT isfinite(before) OR before > now() THEN
        RAISE EXCEPTION 'before: must be a time that has passed' USING ERRCODE = '22023',
            HINT = 'For example now() - interval ''90 days''.';
    END IF;
    IF most IS NULL OR most NOT BETWEEN 1 AND 1000000 THEN
        RAISE EXCEPTION 'most: must be 1 to 1000000' USING ERRCODE = '22023';
    END IF;
    SELECT array_agg(held.id) INTO old
    FROM (
        SELECT s.id FROM public.sessions AS s WHERE s.ended_at < before AND isfinite(s.ended_at)
          AND NOT EXISTS (SELECT FROM marea.moved AS m WHERE m.user_id = s.user_id)
        ORDER BY s.ended_at, s.id LIMIT most FOR UPDATE SKIP LOCKED
    ) AS held;
    -- Under the search_path that the app's triggers are used to.
    PERFORM set_config('marea.keep_counting', 'on', true), set_config('search_path', marea.app_search_path(), true);
    DELETE FROM public.sessions AS s WHERE s.id OPERATOR(pg_catalog.=) ANY (old);
    PERFORM pg_catalog.set_config('marea.keep_counting', coalesce(said, ''), true);
    RETURN coalesce(pg_catalog.cardinality(old), 0);
END
$$;

COMMENT ON FUNCTION marea.retire_sessions(TIMESTAMPTZ, INTEGER) IS
    'Removes sessions that ended before a time and keeps what they added to progress; returns how many, fewer than most when all went.';

REVOKE ALL ON marea.kept_facts, marea.settings FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION marea.keeps_counting, marea.keep_counting, marea.keep_facts, marea.retire_sessions
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.retire_sessions TO service_role;
