-- The fold from nothing, which equals what the triggers keep.

CREATE OR REPLACE FUNCTION marea.facts_of(people UUID[]) RETURNS SETOF marea.fact
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT marea.session_fact(1, s.user_id, s.ended_at, s.session_data ->> 'local_date', s.duration_minutes,
        s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned)
    FROM public.sessions AS s WHERE s.user_id = ANY (people) AND isfinite(s.ended_at)
    UNION ALL
    SELECT marea.event_fact(1, e) FROM marea.progress_events AS e WHERE e.user_id = ANY (people)
    UNION ALL
    SELECT ROW(k.user_id, k.day, k.facts, k.sessions, k.minutes, k.questions, k.correct, k.words, k.points, k.descriptions,
        k.images, k.mastered, k.learning, k.fresh, k.activity_at, k.description_at, k.qa_at, k.words_at, NULL, NULL)::marea.fact
    FROM marea.kept_facts AS k WHERE k.user_id = ANY (people);
END;

COMMENT ON FUNCTION marea.facts_of(UUID[]) IS 'All that counts of these users, one fact per completed session and event, and what is kept.';

CREATE OR REPLACE FUNCTION marea.refold(people UUID[]) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
-- The fold from nothing: makes daily_activity and user_progress of these users what all their sessions and events say.
-- Equal to what the triggers keep, so on healthy data it changes nothing. Returns how many progress rows it changed.
-- jit: a plan that cannot do without a nested loop looks so dear that compiling it seems to pay, and takes a second.
DECLARE
    changed BIGINT;
    days    marea.fact[];
BEGIN
    INSERT INTO public.user_progress (user_id)
    SELECT users.id FROM public.users
    WHERE users.id = ANY (people)
      AND NOT EXISTS (SELECT FROM public.user_progress AS p WHERE p.user_id = users.id)
    ORDER BY users.id
    ON CONFLICT (user_id) DO NOTHING;
    PERFORM FROM public.user_progress AS p WHERE p.user_id = ANY (people) ORDER BY p.user_id FOR NO KEY UPDATE;

    -- Everything is read once, and by learner and day. It is read after the locks, in a statement of its own.
    SELECT array_agg(on_day::marea.fact ORDER BY on_day.user_id, on_day.day) INTO days
    FROM (
        SELECT f.user_id, f.day, sum(f.facts)::bigint AS facts, sum(f.sessions)::bigint AS sessions,
               sum(f.minutes)::bigint AS minutes, sum(f.questions)::bigint AS questions,
               sum(f.correct)::bigint AS correct, sum(f.words)::bigint AS words, sum(f.points)::bigint AS points,
               sum(f.descriptions)::bigint AS descriptions, sum(f.images)::bigint AS images,
               sum(f.mastered)::bigint AS mastered, sum(f.learning)::bigint AS learning,
               sum(f.fresh)::bigint AS fresh, max(f.activity_at) AS activity_at,
               max(f.description_at) AS description_at, max(f.qa_at) AS qa_at, max(f.words_at) AS words_at,
               NULL::timestamptz AS removed_at, NULL::jsonb AS achievements
        FROM marea.facts_of(people) AS f
        GROUP BY f.user_id, f.day
    ) AS on_day;

    DELETE FROM marea.daily_activity AS d
    WHERE d.user_id = ANY (people)
      AND NOT EXISTS (SELECT FROM unnest(days) AS f WHERE f.user_id = d.user_id AND f.day = d.day);
    INSERT INTO marea.daily_activity AS d (user_id, day, facts, sessions, minutes, questions, correct, words, points)
    SELECT f.user_id, f.day, f.facts, f.sessions, marea.saturated(f.minutes), marea.saturated(f.questions),
           marea.saturated(f.correct), marea.saturated(f.words), marea.saturated(f.points)
    FROM unnest(days) AS f
    WHERE isfinite(f.day) -- what was carried over lies on no day
    ON CONFLICT (user_id, day) DO UPDATE SET
        facts = EXCLUDED.facts, sessions = EXCLUDED.sessions, minutes = EXCLUDED.minutes, questions = EXCLUDED.questions,
        correct = EXCLUDED.correct, words = EXCLUDED.words, points = EXCLUDED.points
    WHERE ROW(d.facts, d.sessions, d.minutes, d.questions, d.correct, d.words, d.points)
        IS DISTINCT FROM ROW(EXCLUDED.facts, EXCLUDED.sessions, EXCLUDED.minutes, EXCLUDED.questions, EXCLUDED.correct,
            EXCLUDED.words, EXCLUDED.points);

    WITH totals AS MATERIALIZED (
        SELECT f.user_id, sum(f.sessions) AS sessions, sum(f.minutes) AS minutes, sum(f.questions) AS questions,
               sum(f.correct) AS correct, sum(f.words) AS words, sum(f.points) AS points,
               sum(f.descriptions) AS descriptions, sum(f.images) AS images, sum(f.mastered) AS mastered,
               sum(f.learning) AS learning, sum(f.fresh) AS fresh, max(f.activity_at) AS activity_at,
               max(f.description_at) AS description_at, max(f.qa_at) AS qa_at, max(f.words_at) AS words_at
        FROM unnest(days) AS f
        GROUP BY f.user_id
    ), streaks AS MATERIALIZED (
        SELECT run.user_id, max(run.last_day) AS last_day, max(run.days) AS longest,
               (array_agg(run.days ORDER BY run.last_day DESC))[1] AS streak
        FROM (
            SELECT ranked.user_id, max(ranked.day) AS last_day, count(*) FILTER (WHERE ranked.active) AS days
            FROM (
                SELECT d.user_id, d.day, marea.is_active(d) AS active,
                       d.day - (row_number() OVER (PARTITION BY d.user_id ORDER BY d.day))::int AS run
                FROM marea.daily_activity AS d
                WHERE d.user_id = ANY (people) AND d.day <= marea.tomorrow()
            ) AS ranked
            GROUP BY ranked.user_id, ranked.run
        ) AS run
        GROUP BY run.user_id
    ), unlocked AS MATERIALIZED (
        SELECT earliest.user_id, jsonb_object_agg(earliest.name, earliest.at) AS achievements
        FROM (
            SELECT e.user_id, one.key AS name, min(one.value COLLATE "C") AS at
            FROM marea.progress_events AS e, jsonb_each_text(e.achievements) AS one
            WHERE e.user_id = ANY (people)
            GROUP BY e.user_id, one.key
        ) AS earliest
        GROUP BY earliest.user_id
    ), wanted AS MATERIALIZED (
        SELECT p.user_id,
               coalesce(t.sessions, 0)::int AS sessions, marea.saturated(coalesce(t.minutes, 0)) AS minutes,
               marea.saturated(coalesce(t.questions, 0)) AS questions, marea.saturated(coalesce(t.correct, 0)) AS correct,
               marea.saturated(coalesce(t.words, 0)) AS words, marea.saturated(coalesce(t.points, 0)) AS points,
               marea.saturated(coalesce(t.descriptions, 0)) AS descriptions, marea.saturated(coalesce(t.images, 0)) AS images,
               marea.saturated(coalesce(t.mastered, 0)) AS mastered, marea.saturated(coalesce(t.learning, 0)) AS learning,
               marea.saturated(coalesce(t.fresh, 0)) AS fresh,
               CASE WHEN coalesce(t.questions, 0) = 0 THEN 0 ELSE least(100, round(
                   100::numeric * marea.saturated(t.correct) / marea.saturated(t.questions), 2)) END AS accuracy,
               CASE WHEN coalesce(t.sessions, 0) = 0 THEN 0
                   ELSE marea.saturated(round(60::numeric * marea.saturated(t.minutes) / t.sessions)) END AS completion,
               t.activity_at, t.description_at, t.qa_at, t.words_at, s.last_day,
               coalesce(s.streak, 0)::int AS streak, greatest(s.longest, k.longest_streak_days, 0)::int AS longest,
               marea.union_achievements(p.achievements, coalesce(u.achievements, '{}')) AS achievements
        FROM public.user_progress AS p
        LEFT JOIN totals AS t ON t.user_id = p.user_id
        LEFT JOIN streaks AS s ON s.user_id = p.user_id
        LEFT JOIN unlocked AS u ON u.user_id = p.user_id
        LEFT JOIN marea.kept_facts AS k ON k.user_id = p.user_id AND k.day = '-infinity'
        WHERE p.user_id = ANY (people)
    )
    UPDATE public.user_progress AS p SET
        total_sessions = w.sessions, total_time_spent_minutes = w.minutes, total_questions_answered = w.questions,
        total_questions_correct = w.correct, total_vocabulary_learned = w.words, total_points = w.points,
        total_descriptions = w.descriptions, total_images = w.images, mastered_words_count = w.mastered,
        learning_words_count = w.learning, new_words_count = w.fresh, average_accuracy = w.accuracy,
        average_completion_time_seconds = w.completion, last_activity_at = w.activity_at,
        last_description_at = w.description_at, last_qa_session_at = w.qa_at, last_vocabulary_practice_at = w.words_at,
        last_active_on = w.last_day, current_streak_days = w.streak, longest_streak_days = w.longest,
        achievements = w.achievements
    FROM wanted AS w
    WHERE p.user_id = w.user_id
      AND ROW(p.total_sessions, p.total_time_spent_minutes, p.total_questions_answered, p.total_questions_correct,
              p.total_vocabulary_learned, p.total_points, p.total_descriptions, p.total_images, p.mastered_words_count,
              p.learning_words_count, p.new_words_count, p.average_accuracy, p.average_completion_time_seconds,
              p.last_activity_at, p.last_description_at, p.last_qa_session_at, p.last_vocabulary_practice_at,
              p.last_active_on, p.current_streak_days, p.longest_streak_days, p.achievements)
          IS DISTINCT FROM
          ROW(w.sessions, w.minutes, w.questions, w.correct, w.words, w.points, w.descriptions, w.images, w.mastered,
              w.learning, w.fresh, w.accuracy, w.completion, w.activity_at, w.description_at, w.qa_at, w.words_at,
              w.last_day, w.streak, w.longest, w.achievements);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

COMMENT ON FUNCTION marea.refold(UUID[]) IS
    'Folds these users'' sessions and events from nothing; returns how many progress rows that changed (0 when healthy).';
