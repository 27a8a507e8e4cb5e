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
