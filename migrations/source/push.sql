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

    -- Nearly always a request is of one table and one operation, and need not be taken apart.
    SELECT min(m ->> 'table') AS name, min(m ->> 'op') AS op INTO kind
    FROM jsonb_array_elements(mutations) AS m
    HAVING events = 0 AND min(m ->> 'table') = max(m ->> 'table') AND min(m ->> 'op') = max(m ->> 'op')
       AND count(DISTINCT m ->> CASE m ->> 'op' WHEN 'add' THEN 'id' ELSE 'key' END) = cardinality(statuses)
       AND min(m ->> 'table') NOT IN ('sessions', 'progress_events', 'user_progress', 'daily_activity', 'export_history', 'user_api_keys');
    IF FOUND THEN
        statuses := marea.apply_mirrored(kind.name, kind.op, mutations, client);
        events := cardinality(statuses);
    END IF;
    FOR kind IN
        WITH given AS (
            SELECT m.value, m.n, m.value ->> 'table' AS name, m.value ->> 'op' AS op,
                   (m.value ->> 'table' IN ('sessions', 'progress_events', 'user_progress', 'daily_activity', 'export_history',
                       'user_api_keys')) IS NOT TRUE
                       OR (m.value ->> 'table' = 'sessions' AND EXISTS (SELECT FROM marea.tables AS t WHERE t.name = 'sessions')) AS mirrored
            FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n)
            WHERE events < cardinality(statuses)
              AND (m.value ->> 'table' IN ('sessions', 'progress_events') AND m.value ->> 'op' = 'insert') IS NOT TRUE
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

    -- Nearly never: a day that lies ahead counts for the streaks once it has come, and the device is told so.
    IF EXISTS (
        SELECT FROM jsonb_array_elements(mutations) AS m
        WHERE coalesce(m #>> '{values,session_data,local_date}', m #>> '{values,local_date}', m #>> '{values,ended_at}')
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
-- The result of a mutation that failed so. NULL: what is wrong is wrong with the server, and fails the request.
DECLARE
    -- The innermost function: an app's trigger that misses something has its own remedy, Marea's fold is the server's.
    place CONSTANT TEXT := substring(context FROM 'PL/pgSQL function ([^(]+[(][^)]*[)])');
    said  TEXT := message;
BEGIN
    -- Deleted while this ran. To reject the mutation would set a learner's work aside for no fault of its own.
    IF code = '23503' AND NOT marea.user_exists() THEN
        PERFORM marea.refuse('PT409', 'the signed-in user is not in users',
            'Make the user''s row first; nothing was kept of this request, send it again then.');
    END IF;
    IF code !~ '^(22|23|39|P0)' THEN
        PERFORM marea.dry_push(mutation);
    END IF;
    IF code ~ '^42' AND code <> '42501' THEN
        IF place LIKE 'marea.%' THEN
            RETURN NULL;
        ELSIF place IS NOT NULL AND code IN ('42P01', '42883', '42704') THEN -- no such table, function, type
            said := format('%s (in %s; if a plain INSERT works, give that function its own search_path: '
                'ALTER FUNCTION %s SET search_path = ...)', message, place, place);
        END IF;
    END IF;
    RETURN jsonb_build_object('id', mutation -> 'id', 'status', 'rejected', 'code', code, 'message', said);
END
$$;

COMMENT ON FUNCTION marea.rejected(JSONB, TEXT, TEXT, TEXT) IS 'The result of a mutation that failed; NULL: the request fails.';

CREATE OR REPLACE FUNCTION marea.push(mutations JSONB, client TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- All together; where that fails, one by one, so that only those are rejected that cannot be accepted, for whatever reason; a batch
-- stands and falls as one.
-- What is wrong with the server (a deadlock, a full disk, a timeout) and what a batch of nothing would meet too is not for
-- one mutation to suffer for: it fails the request, and nothing of it is kept.
DECLARE
    gone     CONSTANT TEXT := 'the signed-in user is not in users';
    remedy   CONSTANT TEXT := 'Make the user''s row first; nothing was kept of this request, send it again then.';
    -- Names that stand for a constraint that cannot be deferred as well are left out: SET CONSTRAINTS takes no table.
    deferred CONSTANT TEXT := (
        SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
        FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
        WHERE c.condeferred AND n.nspname <> 'marea' AND NOT EXISTS (
            SELECT FROM pg_constraint AS other
            WHERE other.connamespace = c.connamespace AND other.conname = c.conname AND NOT other.condeferrable));
    results  JSONB := '[]';
    unit     RECORD;
    part     JSONB;
    result   JSONB;
    code     TEXT;
    message  TEXT;
    context  TEXT;
    place    INTEGER;
BEGIN
    IF NOT marea.user_exists() THEN
        PERFORM marea.refuse('PT409', gone, remedy);
    END IF;

    BEGIN
        results := marea.push_together(mutations, client);
        PERFORM marea.check_deferred(deferred);
        RETURN results;
    EXCEPTION WHEN assert_failure OR OTHERS THEN
        IF marea.is_of_server(SQLSTATE) THEN
            RAISE;
        END IF;
        results := '[]';
    END;

    FOR unit IN
        SELECT jsonb_agg(m.value ORDER BY m.n) AS mutations, count(*)::int AS size
        FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n)
        GROUP BY coalesce(m.value ->> 'batch', m.n::text)
        ORDER BY min(m.n)
    LOOP
        BEGIN
            -- A batch together first: only one that fails has to tell which of its mutations it was.
            part := NULL;
            IF unit.size > 1 THEN
                BEGIN
                    part := marea.push_together(unit.mutations, client);
                    PERFORM marea.check_deferred(deferred);
                EXCEPTION WHEN assert_failure OR OTHERS THEN
                    part := NULL;
                END;
            END IF;
            IF part IS NULL THEN
                part := '[]';
                FOR n IN 1..unit.size LOOP
                    place := n;
                    part := part || marea.push_together(jsonb_build_array(unit.mutations -> n - 1), client);
                END LOOP;
                PERFORM marea.check_deferred(deferred);
            END IF;
        EXCEPTION WHEN assert_failure OR OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
            IF marea.is_of_server(code) THEN
                RAISE;
            END IF;
            result := marea.rejected(unit.mutations -> place - 1, code, message, context);
            IF result IS NULL THEN
                RAISE;
            END IF;
            SELECT jsonb_agg(CASE WHEN m.n = place THEN result ELSE jsonb_build_object('id', m.value -> 'id', 'status', 'rejected',
                       'code', 'MB001', 'message', 'batch: refused because another mutation of it was refused') END ORDER BY m.n)
            INTO part
            FROM jsonb_array_elements(unit.mutations) WITH ORDINALITY AS m (value, n);
        END;
        results := results || part;
    END LOOP;
    RETURN results;
END
$$;

COMMENT ON FUNCTION marea.push(JSONB, TEXT) IS 'Applies mutations, together or singly; the results, in their order.';
