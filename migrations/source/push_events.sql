-- Push: sessions and awards, any number at once.

CREATE OR REPLACE FUNCTION marea.insert_sessions_sql(sample JSONB, any_gone BOOLEAN, conflict TEXT) RETURNS TEXT LANGUAGE sql STABLE
RETURN format($insert$
    WITH added AS (
        INSERT INTO public.sessions (user_id, id%1$s)
        SELECT $2, (m.value OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid%2$s
        FROM pg_catalog.jsonb_array_elements($1) AS m (value),
             LATERAL pg_catalog.jsonb_populate_record(NULL::public.sessions, m.value OPERATOR(pg_catalog.->) 'values') AS v
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
              AND tombstone.row_key OPERATOR(pg_catalog.=) (m.value OPERATOR(pg_catalog.->>) 'id')
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
            SELECT me, (m.value OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid, v.session_type, v.started_at, v.ended_at, v.duration_minutes,
                   v.images_processed, v.descriptions_generated, v.qa_attempts, v.qa_correct, v.vocabulary_learned, v.phrases_saved,
                   v.session_data
            -- OFFSET: without it a plan for this very value looks cheaper each time than the one that is kept.
            FROM (SELECT any_gone AS any_ OFFSET 0) AS gone, pg_catalog.jsonb_array_elements(batch) AS m (value),
                 LATERAL pg_catalog.jsonb_populate_record(NULL::public.sessions, m.value OPERATOR(pg_catalog.->) 'values') AS v
            WHERE NOT gone.any_ OR (
                SELECT tombstone.deleted FROM marea.rows AS tombstone
                WHERE tombstone.user_id OPERATOR(pg_catalog.=) me AND tombstone.table_name OPERATOR(pg_catalog.=) 'sessions'
                  AND tombstone.row_key OPERATOR(pg_catalog.=) (m.value OPERATOR(pg_catalog.->>) 'id')
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
        SELECT m.value INTO missing
        FROM jsonb_array_elements(batch) AS m (value)
        LEFT JOIN unnest(inserted) AS i (id) ON i.id = (m.value ->> 'id')::uuid
        WHERE i.id IS NULL
          AND (SELECT s.user_id FROM public.sessions AS s WHERE s.id = (m.value ->> 'id')::uuid) IS DISTINCT FROM me
          AND (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id = me AND tombstone.table_name = 'sessions' AND tombstone.row_key = m.value ->> 'id'
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
              AND tombstone.row_key OPERATOR(pg_catalog.=) (m.value OPERATOR(pg_catalog.->>) 'id')
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
