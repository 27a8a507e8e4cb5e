-- Progress that can be trusted as far as docs/THREATS.md says: the fold alone writes it, and what an award may add has bounds for
-- those who want them.

CREATE OR REPLACE FUNCTION marea.bound_awards() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Fires after the fold (its name comes later), so a day's sum has these awards in it. What is refused here is refused alone.
DECLARE
    per_award BIGINT;
    per_day   BIGINT;
    frozen    BIGINT;
BEGIN
    -- What is no number is no bound.
    SELECT max(s.value::bigint) FILTER (WHERE s.name = 'points_per_award'), max(s.value::bigint) FILTER (WHERE s.name = 'points_per_day'),
        coalesce(max(s.value::bigint) FILTER (WHERE s.name = 'freezes_per_30_days'), 10)
    INTO per_award, per_day, frozen FROM marea.settings AS s WHERE s.value ~ '^[0-9]{1,18}$';
    IF per_award IS NOT NULL AND EXISTS (SELECT FROM added AS e WHERE e.points > per_award) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('values.points: an award has at most %s', per_award);
    ELSIF per_day IS NOT NULL AND EXISTS (
        SELECT FROM added AS e JOIN marea.daily_activity AS d ON d.user_id = e.user_id AND d.day = e.local_date
        WHERE e.points > 0 AND d.points > per_day
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('values.points: a day has at most %s', per_day);
    ELSIF EXISTS (
        -- Before the day, and from it on: no 30 days have more.
        SELECT FROM added AS e, generate_series(0, 29) AS later
        WHERE e.freezes_day AND (
            SELECT count(DISTINCT f.local_date) FROM marea.progress_events AS f
            WHERE f.user_id = e.user_id AND f.freezes_day
              AND f.local_date BETWEEN e.local_date - 29 + later AND e.local_date + later
        ) > frozen
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('values.freezes_day: 30 days have at most %s frozen ones', frozen);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.bound_awards() IS 'Trigger: refuses awards beyond the bounds of marea.settings.';

CREATE OR REPLACE TRIGGER events_within_bounds AFTER INSERT ON marea.progress_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.bound_awards();

CREATE OR REPLACE FUNCTION marea.guard_progress() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- For service_role, which has every right on the table: a job that writes totals by habit would be overwritten by the next fold
-- from nothing, and be believed until then. A row without anything in it may be made.
DECLARE
    own CONSTANT TEXT[] := '{id,user_id,created_at,updated_at}';
    nothing CONSTANT JSONB := '{"total_descriptions": 0, "total_images": 0, "total_questions_answered": 0,
        "total_questions_correct": 0, "total_vocabulary_learned": 0, "total_sessions": 0, "total_time_spent_minutes": 0,
        "current_streak_days": 0, "longest_streak_days": 0, "total_points": 0, "average_accuracy": 0,
        "average_completion_time_seconds": 0, "mastered_words_count": 0, "learning_words_count": 0, "new_words_count": 0,
        "achievements": {}, "last_activity_at": null, "last_description_at": null, "last_qa_session_at": null,
        "last_vocabulary_practice_at": null, "last_active_on": null}';
BEGIN
    IF to_jsonb(NEW) - own IS DISTINCT FROM (CASE TG_OP WHEN 'INSERT' THEN nothing ELSE to_jsonb(OLD) - own END)
        AND coalesce(current_setting('marea.allow_progress_writes', true), '') <> 'on' THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'user_progress is the fold of sessions and awards, and is written by it alone',
            HINT = 'Insert sessions or awards (marea.progress_events). To write totals nevertheless: SET LOCAL marea.allow_progress_writes = ''on''.';
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION marea.guard_progress() IS
    'Trigger: lets service_role write the fold''s columns only where marea.allow_progress_writes is on.';

CREATE OR REPLACE TRIGGER marea_user_progress_guarded BEFORE INSERT OR UPDATE ON public.user_progress
    FOR EACH ROW WHEN (current_user = 'service_role') EXECUTE FUNCTION marea.guard_progress();

REVOKE ALL ON FUNCTION marea.bound_awards, marea.guard_progress FROM PUBLIC, anon, authenticated, service_role;
