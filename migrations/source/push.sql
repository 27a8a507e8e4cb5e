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
    -- Nearly no app has any. Names that stand for a constraint that cannot be deferred as well are left out: SET CONSTRAINTS takes no table;
    -- and those in schemas that the caller may not name.
    deferred CONSTANT TEXT := CASE WHEN EXISTS (
        SELECT FROM pg_constraint AS c WHERE c.condeferred AND c.connamespace <> 'marea'::regnamespace
    ) THEN (
        SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
        FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
        WHERE c.condeferred AND n.nspname <> 'marea' AND n.nspname !~ '^pg_temp_' AND has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS (
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
