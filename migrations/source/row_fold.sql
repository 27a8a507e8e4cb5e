-- The fold of an app without the sync layer: one session at a time, sessions alone. Where the schema marea stands its own triggers
-- fold (fold_triggers.sql), a whole statement at once, and this one is not called: see its WHEN.

CREATE OR REPLACE FUNCTION public.sessions_fold_into_progress() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Folds one inserted, changed or deleted session into user_progress. A session counts while its ended_at is set; a
-- change takes the old values out and puts the new ones in, so that the row always equals the fold of all sessions.
-- Runs as the owner because a learner's own policies need not allow what the fold writes.
DECLARE
    change   RECORD;
    progress public.user_progress%ROWTYPE;
BEGIN
    -- Most updates of a session do not touch what is folded.
    IF TG_OP = 'UPDATE' AND ROW(OLD.user_id, OLD.ended_at, OLD.duration_minutes, OLD.images_processed,
            OLD.descriptions_generated, OLD.qa_attempts, OLD.qa_correct, OLD.vocabulary_learned,
            OLD.session_data ->> 'local_date')
        IS NOT DISTINCT FROM ROW(NEW.user_id, NEW.ended_at, NEW.duration_minutes, NEW.images_processed,
            NEW.descriptions_generated, NEW.qa_attempts, NEW.qa_correct, NEW.vocabulary_learned,
            NEW.session_data ->> 'local_date') THEN
        RETURN NULL;
    END IF;

    -- One line per learner, two when a session was moved to somebody else; in one order for all transactions.
    FOR change IN
        SELECT fact.user_id,
               sum(sign) AS sessions,
               sum(sign * greatest(coalesce(fact.minutes, 0), 0)) AS minutes,
               sum(sign * greatest(coalesce(fact.images, 0), 0)) AS images,
               sum(sign * greatest(coalesce(fact.descriptions, 0), 0)) AS descriptions,
               sum(sign * greatest(coalesce(fact.answered, 0), 0)) AS answered,
               sum(sign * greatest(coalesce(fact.correct, 0), 0)) AS correct,
               sum(sign * greatest(coalesce(fact.words, 0), 0)) AS words,
               bool_or(sign < 0) AS takes_out,
               max(fact.ended_at) FILTER (WHERE sign > 0) AS activity_at,
               max(fact.ended_at) FILTER (WHERE sign > 0 AND fact.descriptions > 0) AS description_at,
               max(fact.ended_at) FILTER (WHERE sign > 0 AND fact.answered > 0) AS qa_at,
               max(fact.ended_at) FILTER (WHERE sign > 0 AND fact.words > 0) AS words_at,
               -- The learner's local day; the UTC day where that is missing or no date at all.
               max(CASE
                   WHEN NOT fact.local_date ~ '^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
                       OR fact.local_date IS NULL THEN (fact.ended_at AT TIME ZONE 'UTC')::date
                   WHEN substr(fact.local_date, 9, 2)::int <= date_part('day', make_date(substr(fact.local_date, 1, 4)::int,
                       substr(fact.local_date, 6, 2)::int, 1) + interval '1 month' - interval '1 day')
                       THEN make_date(substr(fact.local_date, 1, 4)::int, substr(fact.local_date, 6, 2)::int,
                           substr(fact.local_date, 9, 2)::int)
                   ELSE (fact.ended_at AT TIME ZONE 'UTC')::date
               END) FILTER (WHERE sign > 0) AS day
        FROM (
            SELECT -1 AS sign, OLD.user_id, OLD.ended_at, OLD.duration_minutes AS minutes,
                   OLD.images_processed AS images, OLD.descriptions_generated AS descriptions,
                   OLD.qa_attempts AS answered, OLD.qa_correct AS correct, OLD.vocabulary_learned AS words,
                   OLD.session_data ->> 'local_date' AS local_date
            WHERE TG_OP <> 'INSERT'
            UNION ALL
            SELECT 1, NEW.user_id, NEW.ended_at, NEW.duration_minutes, NEW.images_processed,
                   NEW.descriptions_generated, NEW.qa_attempts, NEW.qa_correct, NEW.vocabulary_learned,
                   NEW.session_data ->> 'local_date'
            WHERE TG_OP <> 'DELETE'
        ) AS fact
        WHERE isfinite(fact.ended_at) -- neither NULL nor "infinity", which lies on no day
        GROUP BY fact.user_id
        ORDER BY fact.user_id
    LOOP
        -- A learner who is being deleted takes the sessions along, one trigger each, and is gone already.
        CONTINUE WHEN NOT EXISTS (SELECT FROM public.users WHERE users.id = change.user_id);

        -- The row's lock comes before anything is read, so that no session of a parallel transaction is missed.
        SELECT * INTO progress FROM public.user_progress WHERE user_id = change.user_id FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            INSERT INTO public.user_progress (user_id) VALUES (change.user_id) ON CONFLICT (user_id) DO NOTHING;
            SELECT * INTO progress FROM public.user_progress WHERE user_id = change.user_id FOR NO KEY UPDATE;
        END IF;

        progress.total_sessions := least(progress.total_sessions + change.sessions, 2147483647);
        progress.total_time_spent_minutes := least(progress.total_time_spent_minutes + change.minutes, 2147483647);
        progress.total_images := least(progress.total_images + change.images, 2147483647);
        progress.total_descriptions := least(progress.total_descriptions + change.descriptions, 2147483647);
        progress.total_questions_answered := least(progress.total_questions_answered + change.answered, 2147483647);
        progress.total_questions_correct := least(progress.total_questions_correct + change.correct, 2147483647);
        progress.total_vocabulary_learned := least(progress.total_vocabulary_learned + change.words, 2147483647);

        IF NOT change.takes_out THEN
            progress.last_activity_at := greatest(progress.last_activity_at, change.activity_at);
            progress.last_description_at := greatest(progress.last_description_at, change.description_at);
            progress.last_qa_session_at := greatest(progress.last_qa_session_at, change.qa_at);
            progress.last_vocabulary_practice_at := greatest(progress.last_vocabulary_practice_at, change.words_at);
        ELSE
            SELECT max(ended_at), max(ended_at) FILTER (WHERE descriptions_generated > 0),
                   max(ended_at) FILTER (WHERE qa_attempts > 0), max(ended_at) FILTER (WHERE vocabulary_learned > 0)
            INTO progress.last_activity_at, progress.last_description_at, progress.last_qa_session_at,
                 progress.last_vocabulary_practice_at
            FROM public.sessions
            WHERE user_id = change.user_id AND isfinite(ended_at);
        END IF;

        IF NOT change.takes_out AND (progress.last_active_on IS NULL OR change.day >= progress.last_active_on) THEN
            progress.current_streak_days := CASE change.day - progress.last_active_on
                WHEN 0 THEN progress.current_streak_days
                WHEN 1 THEN progress.current_streak_days + 1
                ELSE 1
            END;
            progress.longest_streak_days := greatest(progress.longest_streak_days, progress.current_streak_days);
            progress.last_active_on := change.day;
        ELSE
            -- Days that follow one another have the same distance to their rank: that distance names the run.
            SELECT max(run.last_day), coalesce((array_agg(run.days ORDER BY run.last_day DESC))[1], 0),
                   coalesce(max(run.days), 0)
            INTO progress.last_active_on, progress.current_streak_days, progress.longest_streak_days
            FROM (
                SELECT max(ranked.day) AS last_day, count(*) AS days
                FROM (
                    SELECT active.day, active.day - (row_number() OVER (ORDER BY active.day))::int AS run
                    FROM (
                        SELECT DISTINCT CASE
                            WHEN NOT local.date ~ '^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
                                OR local.date IS NULL THEN (session.ended_at AT TIME ZONE 'UTC')::date
                            WHEN substr(local.date, 9, 2)::int <= date_part('day', make_date(substr(local.date, 1, 4)::int,
                                substr(local.date, 6, 2)::int, 1) + interval '1 month' - interval '1 day')
                                THEN make_date(substr(local.date, 1, 4)::int, substr(local.date, 6, 2)::int,
                                    substr(local.date, 9, 2)::int)
                            ELSE (session.ended_at AT TIME ZONE 'UTC')::date
                        END AS day
                        FROM public.sessions AS session, LATERAL (SELECT session.session_data ->> 'local_date') AS local (date)
                        WHERE session.user_id = change.user_id AND isfinite(session.ended_at)
                    ) AS active
                ) AS ranked
                GROUP BY ranked.run
            ) AS run;
        END IF;

        progress.average_accuracy := CASE WHEN progress.total_questions_answered <= 0 THEN 0 ELSE least(100,
            round(100::numeric * progress.total_questions_correct / progress.total_questions_answered, 2)) END;
        progress.average_completion_time_seconds := CASE WHEN progress.total_sessions <= 0 THEN 0 ELSE
            least(round(60::numeric * progress.total_time_spent_minutes / progress.total_sessions), 2147483647) END;

        UPDATE public.user_progress SET
            total_sessions = progress.total_sessions,
            total_time_spent_minutes = progress.total_time_spent_minutes,
            total_images = progress.total_images,
            total_descriptions = progress.total_descriptions,
            total_questions_answered = progress.total_questions_answered,
            total_questions_correct = progress.total_questions_correct,
            total_vocabulary_learned = progress.total_vocabulary_learned,
            average_accuracy = progress.average_accuracy,
            average_completion_time_seconds = progress.average_completion_time_seconds,
            last_activity_at = progress.last_activity_at,
            last_description_at = progress.last_description_at,
            last_qa_session_at = progress.last_qa_session_at,
            last_vocabulary_practice_at = progress.last_vocabulary_practice_at,
            last_active_on = progress.last_active_on,
            current_streak_days = progress.current_streak_days,
            longest_streak_days = progress.longest_streak_days
        WHERE user_id = change.user_id;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION public.sessions_fold_into_progress() IS
    'Trigger: folds completed sessions into user_progress, each once, corrections by their difference.';

REVOKE EXECUTE ON FUNCTION public.sessions_fold_into_progress() FROM PUBLIC, anon, authenticated, service_role;

-- to_regnamespace, because it asks for no privilege: this is evaluated as whoever writes to sessions.
CREATE OR REPLACE TRIGGER sessions_fold_into_progress AFTER INSERT OR UPDATE OR DELETE ON public.sessions
    FOR EACH ROW WHEN (pg_catalog.to_regnamespace('marea') IS NULL)
    EXECUTE FUNCTION public.sessions_fold_into_progress();
