-- Every statement that inserts, changes or deletes sessions or awards is folded, a whole statement at once.

CREATE OR REPLACE FUNCTION marea.fold_sessions() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Folds the sessions that one statement inserted, changed or deleted.
DECLARE
    kept   BOOLEAN := false;
    facts  marea.fact[];
    owners UUID[];
    keys   TEXT[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(marea.session_fact(1, s.user_id, s.ended_at, s.session_data ->> 'local_date', s.duration_minutes,
            s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned))
        INTO facts
        FROM added AS s
        WHERE isfinite(s.ended_at);
    ELSIF TG_OP = 'DELETE' THEN
        kept := marea.keeps_counting();
        SELECT array_agg(marea.session_fact(CASE WHEN kept THEN 1 ELSE -1 END, s.user_id, s.ended_at, s.session_data ->> 'local_date', s.duration_minutes,
                   s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned))
                   FILTER (WHERE isfinite(s.ended_at)),
               array_agg(s.user_id), array_agg(s.id::text)
        INTO facts, owners, keys
        FROM removed AS s
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = s.user_id);
    ELSE
        -- Set differences, not a join of old and new: sessions whose folded values stay as they were drop out, and no
        -- plan that was made for a statement of one row can turn into a nested loop over a statement of 100,000.
        WITH before AS MATERIALIZED (
            SELECT id, user_id, ended_at, session_data ->> 'local_date' AS local_date, duration_minutes, images_processed,
                   descriptions_generated, qa_attempts, qa_correct, vocabulary_learned
            FROM removed WHERE isfinite(ended_at)
        ), after AS MATERIALIZED (
            SELECT id, user_id, ended_at, session_data ->> 'local_date' AS local_date, duration_minutes, images_processed,
                   descriptions_generated, qa_attempts, qa_correct, vocabulary_learned
            FROM added WHERE isfinite(ended_at)
        )
        SELECT array_agg(marea.session_fact(s.sign, s.user_id, s.ended_at, s.local_date, s.duration_minutes,
            s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned))
        INTO facts
        FROM (
            SELECT -1 AS sign, gone.* FROM (SELECT * FROM before EXCEPT SELECT * FROM after) AS gone
            UNION ALL
            SELECT 1, come.* FROM (SELECT * FROM after EXCEPT SELECT * FROM before) AS come
        ) AS s;
    END IF;

    IF kept AND facts IS NOT NULL THEN
        -- They stay in what is folded already.
        PERFORM marea.keep_facts(facts);
    ELSIF facts IS NOT NULL THEN
        PERFORM marea.fold(facts);
    END IF;
    IF keys IS NOT NULL THEN
        -- Devices do not mirror sessions, but one may send this session again: its id stays taken.
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES ('sessions', true, owners, keys);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.fold_sessions() IS 'Trigger: folds the sessions that one statement inserted, changed or deleted.';

CREATE OR REPLACE TRIGGER marea_sessions_inserted AFTER INSERT ON public.sessions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_sessions();
CREATE OR REPLACE TRIGGER marea_sessions_updated AFTER UPDATE ON public.sessions
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_sessions();
CREATE OR REPLACE TRIGGER marea_sessions_deleted AFTER DELETE ON public.sessions
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_sessions();

CREATE OR REPLACE FUNCTION marea.fold_events() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    facts  marea.fact[];
    owners UUID[];
    keys   TEXT[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(marea.event_fact(1, e)) INTO facts FROM added AS e;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(marea.event_fact(-1, e)), array_agg(e.user_id), array_agg(e.id::text)
        INTO facts, owners, keys
        FROM removed AS e
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = e.user_id);
    ELSE
        SELECT array_agg(s.fact) INTO facts
        FROM (
            SELECT marea.event_fact(-1, gone) AS fact FROM (SELECT * FROM removed EXCEPT SELECT * FROM added) AS gone
            UNION ALL
            SELECT marea.event_fact(1, come) FROM (SELECT * FROM added EXCEPT SELECT * FROM removed) AS come
        ) AS s;
    END IF;
    IF facts IS NOT NULL THEN
        PERFORM marea.fold(facts);
    END IF;
    IF keys IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
        VALUES ('progress_events', true, owners, keys);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.fold_events() IS 'Trigger: folds the events that one statement inserted, changed or deleted.';

CREATE OR REPLACE TRIGGER events_inserted AFTER INSERT ON marea.progress_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_events();
CREATE OR REPLACE TRIGGER events_updated AFTER UPDATE ON marea.progress_events
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_events();
CREATE OR REPLACE TRIGGER events_deleted AFTER DELETE ON marea.progress_events
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_events();
