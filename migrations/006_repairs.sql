-- Assembled from migrations/source by `cargo xtask migrations`: change it there.
-- 006: an app's own names, policies and constraints do less to the sync: a deferred constraint in a schema that devices may not name, a
-- column called m, a policy whose function has no search_path of its own, a key with a collation of its own. A table that was mirrored
-- once comes back without what was deleted meanwhile, and a row gets its version though its owner comes later. Files of exports with
-- another sign-in service, and bounds of what one user may leave behind of them.
--
-- Makes functions of 002, 004 and 005 anew, and the pages of tables that are mirrored. Adds a trigger to public.users.
--
-- Needs 005. One transaction; run twice, the second run changes nothing. After an earlier file has been run again, run this one again
-- too: that one has put its own functions back. Taken back by 006_repairs_rollback.sql, counted by validate_006.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
BEGIN
    IF to_regprocedure('marea.settle_clocks()') IS NULL OR to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Marea 006 cannot be applied; nothing was changed. Missing: the function marea.settle_clocks() (migration 005)'
            USING HINT = 'Apply 005_corrections.sql first.';
    END IF;
    IF to_regprocedure('marea.is_live_file(text, timestamptz)') IS NOT NULL THEN
        RAISE NOTICE 'Marea 006 stands already: this run makes its functions again.';
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- app_triggers
-- ---------------------------------------------------------------------------------------------------------------------

-- Refusals: whatever refuses a mutation (a constraint, a policy, a trigger of the app with any SQLSTATE, or one that returns NULL)
-- refuses that one alone, and the app's triggers find what they find in a plain INSERT (docs/adr/0078).

CREATE OR REPLACE FUNCTION marea.app_search_path() RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Under which search_path the app's triggers run: that of the caller's role, else the connection's own, with what PostgREST
-- adds. Marea's own statements name every schema and are not moved by it.
DECLARE
    path  TEXT;
    names TEXT[];
    more  TEXT;
BEGIN
    SELECT substr(setting, length('search_path=') + 1) INTO path
    FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
    WHERE s.setrole = to_regrole(quote_ident(current_user))
      AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND starts_with(setting, 'search_path=')
    ORDER BY s.setdatabase DESC LIMIT 1;
    IF path IS NULL THEN
        SET LOCAL search_path TO DEFAULT; -- until this function ends
        path := current_setting('search_path');
    END IF;
    names := string_to_array(replace(replace(path, '"', ''), ', ', ','), ',');
    FOREACH more IN ARRAY ARRAY['public', 'extensions']
        || string_to_array(coalesce(current_setting('pgrst.db_extra_search_path', true), ''), ',') || ARRAY['pg_temp']
    LOOP
        more := btrim(more, ' "');
        IF more <> ALL (names) AND (more = 'pg_temp' OR to_regnamespace(quote_ident(more)) IS NOT NULL) THEN
            path := concat_ws(', ', CASE WHEN btrim(path, ' "') <> '' THEN path END, quote_ident(more));
            names := names || more;
        END IF;
    END LOOP;
    RETURN path;
END
$$;

COMMENT ON FUNCTION marea.app_search_path() IS
    'The search_path under which the app''s triggers run while Marea writes to the app''s tables.';

CREATE OR REPLACE FUNCTION marea.triggers_before(relation REGCLASS, op TEXT) RETURNS TEXT LANGUAGE sql STABLE
RETURN (
    -- For each row, before, and which statement (pg_trigger.h).
    SELECT string_agg(quote_ident(tgname), ', ' ORDER BY tgname)
    FROM pg_catalog.pg_trigger, LATERAL (SELECT CASE op WHEN 'INSERT' THEN 7 WHEN 'DELETE' THEN 11 ELSE 19 END) AS kind (bits)
    WHERE tgrelid = relation AND tgtype & kind.bits = kind.bits AND tgenabled <> 'D' AND NOT tgisinternal
        -- Marea's own leave nothing out.
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pg_proc.oid = tgfoid AND pronamespace = 'marea'::regnamespace)
);

COMMENT ON FUNCTION marea.triggers_before(REGCLASS, TEXT) IS
    'The row triggers that see a row before an INSERT, UPDATE or DELETE, and can leave it out; NULL: none.';

CREATE OR REPLACE FUNCTION marea.refuse_left_out(relation REGCLASS, op TEXT, other_id BOOLEAN DEFAULT false) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '39P01', -- trigger_protocol_violated
        MESSAGE = format(CASE WHEN other_id THEN 'a trigger of the app gave this row another id (BEFORE %s on %s: %s)'
            ELSE 'a trigger of the app left this row out: it returned NULL (BEFORE %s on %s: %s)' END,
            op, relation, coalesce(marea.triggers_before(relation, op), 'none that is enabled'));
END
$$;

COMMENT ON FUNCTION marea.refuse_left_out(REGCLASS, TEXT, BOOLEAN) IS 'Refuses a row that a trigger did not let in as it was sent.';

CREATE OR REPLACE FUNCTION marea.dry_push(mutation JSONB) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Writes no row where this mutation would write one. What fails here (a missing table, column or privilege, a database that
-- may only be read) would refuse every mutation, and is no fault of any.
DECLARE
    relation CONSTANT TEXT := mutation ->> 'table';
    place    CONSTANT TEXT := CASE relation WHEN 'progress_events' THEN 'marea.' ELSE 'public.' END || relation;
    columns  TEXT[];
    insert_  TEXT;
BEGIN
    IF relation NOT IN ('sessions', 'progress_events', 'export_history', 'user_api_keys') IS NOT FALSE
        OR jsonb_typeof(mutation -> 'values') IS DISTINCT FROM 'object' THEN
        RETURN;
    END IF;
    PERFORM FROM marea.rows LIMIT 0;
    IF mutation ->> 'op' = 'insert' THEN
        columns := ARRAY(SELECT quote_ident(k) FROM jsonb_object_keys('{"user_id": 0, "id": 0}' || (mutation -> 'values')) AS k);
        insert_ := format('INSERT INTO %1$s (%2$s) SELECT v.%3$s FROM pg_catalog.jsonb_populate_record(NULL::%1$s, ''{}'') AS v '
            'WHERE false', place, array_to_string(columns, ', '), array_to_string(columns, ', v.'));
        PERFORM set_config('search_path', marea.app_search_path(), true);
        EXECUTE insert_;
    ELSIF relation = 'user_api_keys' THEN
        INSERT INTO public.user_api_keys (user_id) SELECT k.user_id FROM public.user_api_keys AS k WHERE false;
        UPDATE public.user_api_keys SET last_validated_at = NULL WHERE false;
    ELSIF relation = 'export_history' THEN
        UPDATE public.export_history SET status = 'failed' WHERE false;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.dry_push(JSONB) IS 'Fails where a mutation like this one would fail whatever its values are.';

CREATE OR REPLACE FUNCTION marea.check_deferred(named TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The app's constraints and constraint triggers that wait for the end of the transaction look now: at the end, when nothing
-- can be refused alone any more, one of them would fail the whole request, again and again.
DECLARE
    look CONSTANT TEXT := 'SET CONSTRAINTS ' || named || ' IMMEDIATE';
    wait CONSTANT TEXT := 'SET CONSTRAINTS ' || named || ' DEFERRED';
BEGIN
    IF named IS NOT NULL THEN
        PERFORM set_config('search_path', marea.app_search_path(), true);
        EXECUTE look;
        EXECUTE wait;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.check_deferred(TEXT) IS 'Lets constraints that are deferred look at what was written so far.';

CREATE OR REPLACE FUNCTION marea.bounded(message TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE WHEN octet_length(message) <= 500 THEN message
    WHEN octet_length(left(message, 460)) <= 460 THEN left(message, 460) || ' ... (' || octet_length(message) || ' bytes)'
    ELSE left(message, 115) || ' ... (' || octet_length(message) || ' bytes)' END;

COMMENT ON FUNCTION marea.bounded(TEXT) IS
    'At most 500 bytes of a message: Postgres quotes the value that it refuses, whole, and would send it back to whoever sent it.';

CREATE OR REPLACE FUNCTION marea.is_of_server(code TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE
RETURN code ~ '^(40|53|57|58|XX)' OR code = '55P03' OR code = '25006' AND current_setting('transaction_read_only') = 'on';

COMMENT ON FUNCTION marea.is_of_server(TEXT) IS
    'Whether an SQLSTATE is about the server and not about a mutation: a retry may cure it.';

-- ---------------------------------------------------------------------------------------------------------------------
-- push_events
-- ---------------------------------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_columns
-- ---------------------------------------------------------------------------------------------------------------------

-- What a table of the app looks like to the catalogue, and all that keeps it from being mirrored.

CREATE OR REPLACE FUNCTION marea.key_of(relation REGCLASS) RETURNS TEXT LANGUAGE sql STABLE
RETURN (
    -- One column that is unique and never NULL: the primary key, else a column named id, else the first there is.
    SELECT a.attname::text
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = relation AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indexprs IS NULL
      AND i.indisvalid AND a.attnotnull
    ORDER BY i.indisprimary DESC, a.attname = 'id' DESC, i.indexrelid
    LIMIT 1
);

CREATE OR REPLACE FUNCTION marea.describe_columns(relation REGCLASS, rules JSONB, owner TEXT, write BOOLEAN)
RETURNS TABLE (place SMALLINT, name TEXT, type TEXT, rule TEXT, nullable BOOLEAN, has_default BOOLEAN, max_length INTEGER,
    labels TEXT[], precision_ INTEGER, scale INTEGER, sql_type TEXT, written BOOLEAN)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Every column but the owner's and those that stay on the server ("none"). type is NULL where the mirror knows none for it.
    -- written: Postgres computes it, whatever the rule.
    WITH RECURSIVE attributes AS (
        SELECT a.attnum, a.attname::text AS name, a.atttypid, a.atttypmod, a.attnotnull,
               a.atthasdef AND a.attgenerated = '' AS has_default, a.attidentity <> '' OR a.attgenerated <> '' AS written,
               a.attname = marea.key_of(relation) AS is_key
        FROM pg_attribute AS a
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
    ), layers AS (
        -- A domain is looked through, down to what it is made of.
        SELECT a.attnum, 0 AS depth, t.oid, t.typtype, t.typbasetype, t.typtypmod, a.atttypmod AS typmod, t.typnotnull AS not_null,
               t.typdefault IS NOT NULL AS has_default
        FROM attributes AS a JOIN pg_type AS t ON t.oid = a.atttypid
        UNION ALL
        SELECT l.attnum, l.depth + 1, t.oid, t.typtype, t.typbasetype, t.typtypmod, l.typtypmod, l.not_null OR t.typnotnull,
               l.has_default OR t.typdefault IS NOT NULL
        FROM layers AS l JOIN pg_type AS t ON t.oid = l.typbasetype
        WHERE l.typtype = 'd'
    ), based AS (
        SELECT DISTINCT ON (l.attnum) l.attnum, l.oid, l.typtype, l.typmod, l.not_null, l.has_default
        FROM layers AS l ORDER BY l.attnum, l.depth DESC
    )
    SELECT a.attnum, a.name,
           CASE
               WHEN b.typtype = 'e' THEN 'enum'
               WHEN b.oid IN (25, 1042, 1043) THEN 'text'
               WHEN b.oid IN (1009, 1015) THEN 'text[]'
               ELSE CASE b.oid
                   WHEN 2950 THEN 'uuid' WHEN 21 THEN 'smallint' WHEN 23 THEN 'integer' WHEN 20 THEN 'bigint'
                   WHEN 1700 THEN 'numeric' WHEN 700 THEN 'real' WHEN 701 THEN 'double' WHEN 16 THEN 'boolean'
                   WHEN 1082 THEN 'date' WHEN 1083 THEN 'time' WHEN 1114 THEN 'timestamp' WHEN 1184 THEN 'timestamptz'
                   WHEN 114 THEN 'json' WHEN 3802 THEN 'jsonb' WHEN 17 THEN 'bytea' WHEN 1007 THEN 'integer[]'
                   WHEN 2951 THEN 'uuid[]' END
           END,
           CASE
               WHEN a.is_key THEN 'key'
               WHEN a.written OR NOT write THEN 'server'
               ELSE coalesce(rules ->> a.name, 'register')
           END,
           NOT (a.attnotnull OR b.not_null), (a.has_default OR b.has_default OR a.written) AND NOT a.is_key,
           CASE WHEN b.oid IN (1042, 1043) AND b.typmod >= 4 THEN b.typmod - 4 END,
           CASE WHEN b.typtype = 'e' THEN ARRAY(
               SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder) END,
           CASE WHEN b.oid = 1700 AND b.typmod >= 4 THEN ((b.typmod - 4) >> 16) & 65535 END,
           CASE WHEN b.oid = 1700 AND b.typmod >= 4 THEN (((b.typmod - 4) & 2047) # 1024) - 1024 END,
           format('%I.%I', n.nspname, t.typname)
               || CASE WHEN a.atttypmod >= 0 THEN coalesce(substring(format_type(a.atttypid, a.atttypmod) FROM '[(][^)]*[)]'), '')
                   ELSE '' END,
           a.written
    FROM attributes AS a
    JOIN based AS b ON b.attnum = a.attnum
    JOIN pg_type AS t ON t.oid = a.atttypid
    JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE (a.name <> owner OR a.is_key) AND (a.is_key OR coalesce(rules ->> a.name <> 'none', true))
    ORDER BY a.attnum
$$;

CREATE OR REPLACE FUNCTION marea.base_type(type_ OID) RETURNS OID LANGUAGE sql STABLE
BEGIN ATOMIC
    WITH RECURSIVE layers AS (
        SELECT t.oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type AS t WHERE t.oid = type_
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype FROM layers AS l JOIN pg_catalog.pg_type AS t ON t.oid = l.typbasetype
        WHERE l.typtype = 'd'
    )
    SELECT l.oid FROM layers AS l WHERE l.typtype <> 'd';
END;

CREATE OR REPLACE FUNCTION marea.mirrored_id(relation REGCLASS) RETURNS INTEGER LANGUAGE sql STABLE
BEGIN ATOMIC
    -- By its trigger, which a table takes along when it is renamed; by its name where somebody dropped the trigger.
    SELECT t.id
    FROM marea.tables AS t
    WHERE t.id = (
        SELECT substring(p.proname FROM '^mirror_([0-9]+)_track$')::int
        FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid
        WHERE g.tgrelid = relation AND g.tgname = 'marea_mirror_updated')
       OR to_regclass(format('%I.%I', t.schema_name, t.relation_name)) = relation
    ORDER BY to_regclass(format('%I.%I', t.schema_name, t.relation_name)) = relation
    LIMIT 1;
END;

CREATE OR REPLACE FUNCTION marea.relation_of(of_table marea.tables) RETURNS REGCLASS LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(to_regclass(format('%I.%I', of_table.schema_name, of_table.relation_name)), (
        SELECT g.tgrelid::regclass
        FROM pg_catalog.pg_trigger AS g JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid
        WHERE g.tgname = 'marea_mirror_updated' AND p.proname = format('mirror_%s_track', of_table.id)
          AND p.pronamespace = 'marea'::regnamespace));
END;

CREATE OR REPLACE FUNCTION marea.reserved_names() RETURNS TEXT[] LANGUAGE sql IMMUTABLE
RETURN '{arrived_rows,confirmed_rows,daily_activity,export_history,export_history_newest,files,journal,meta,mutations,mutations_by_state,mutations_in_batches,mutations_kept,mutations_of_rows,progress_events,refilled_rows,shadow_rows,user_api_keys,user_progress}'::text[];

CREATE OR REPLACE FUNCTION marea.mirror_problems(relation REGCLASS, rules JSONB, owner TEXT, write BOOLEAN, name TEXT) RETURNS TEXT[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- All that is wrong, each with what to do.
    WITH the AS (
        SELECT c.oid, c.relkind, c.relispartition, c.relpersistence, c.relrowsecurity, c.relowner, n.nspname::text AS schema,
               c.relname::text AS relname, marea.key_of(relation) AS key, c.relacl,
               EXISTS (SELECT FROM pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent)) AS inherits
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation
    ), columns AS (
        SELECT d.* FROM marea.describe_columns(relation, coalesce(rules, '{}'), owner, write) AS d
    ), policies AS (
        SELECT p.polcmd FROM pg_policy AS p
        WHERE p.polrelid = relation AND p.polpermissive
          AND p.polroles && ARRAY[0::oid, (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = 'authenticated')]
    ), found (place, problem) AS (
        SELECT 1, 'it is no ordinary table (views, partitions and tables that inherit are not mirrored)' FROM the
        WHERE the.relkind <> 'r' OR the.relispartition OR the.inherits OR the.relpersistence = 't'
        UNION ALL
        SELECT 1, format('schema %I is not the app''s', the.schema) FROM the
        WHERE the.schema IN ('marea', 'pg_catalog', 'information_schema', 'auth', 'storage', 'realtime', 'vault')
        UNION ALL
        SELECT 1, 'Marea has code of its own for it; it is synced already' FROM the
        WHERE the.schema = 'public' AND the.relname IN ('user_progress', 'export_history', 'user_api_keys', 'users')
        UNION ALL
        SELECT 2, format('name %L: must be 1 to 63 of a-z, 0-9 and _, and begin with no digit; say name => ''...''', name)
        WHERE name !~ '^[a-z_][a-z0-9_]{0,62}$'
        UNION ALL
        SELECT 2, format('name %L: the devices use it themselves; say name => ''...''', name)
        WHERE name = ANY (marea.reserved_names()) OR name ~ '^(sqlite_|marea_)'
           OR (name = 'sessions' AND relation IS DISTINCT FROM to_regclass('public.sessions'))
        UNION ALL
        SELECT 2, 'sessions keep their name' WHERE name <> 'sessions' AND relation = to_regclass('public.sessions')
        UNION ALL
        SELECT 2, format('name %L: is taken by %I.%I; say name => ''...''', name, t.schema_name, t.relation_name)
        FROM marea.tables AS t WHERE t.name = mirror_problems.name AND t.id IS DISTINCT FROM marea.mirrored_id(relation)
        UNION ALL
        SELECT 3, 'key: there is no primary key of one column, nor another column that is UNIQUE and NOT NULL' FROM the
        WHERE the.key IS NULL
        UNION ALL
        SELECT 3, format('key %I: must be uuid or text, devices make it', c.name) FROM columns AS c
        WHERE c.rule = 'key' AND (coalesce(c.type NOT IN ('uuid', 'text'), true) OR c.written)
        UNION ALL
        SELECT 3, format('key %I: was %s when the table was mirrored; devices know its rows by that: unmirror it first', c.name, t.key_type)
        FROM columns AS c JOIN marea.tables AS t ON t.id = marea.mirrored_id(relation)
        WHERE c.rule = 'key' AND c.type IS DISTINCT FROM t.key_type
        UNION ALL
        SELECT 4, CASE
            WHEN a.attname IS NULL THEN format('owner: there is no column %I; say owner => ''...''', owner)
            WHEN marea.base_type(a.atttypid) <> 2950 THEN format('owner %I: must be uuid', owner)
            -- Sessions of guests have none, and reach nobody.
            WHEN NOT a.attnotnull AND relation IS DISTINCT FROM to_regclass('public.sessions') THEN format('owner %1$I: must be NOT NULL (ALTER TABLE %2$s ALTER %1$I SET NOT NULL)', owner, relation)
        END
        FROM (SELECT 1) AS one
        LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = owner AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 5, format('column %I: type %s is not mirrored; leave it on the server with rules => ''{%s: "none"}''', c.name, c.sql_type,
            to_json(c.name)) FROM columns AS c WHERE c.type IS NULL AND c.rule <> 'key'
        UNION ALL
        SELECT 5, format('column %I: the mirror uses this name itself; rename it, or say rules => ''{%s: "none"}''', c.name, to_json(c.name))
        FROM columns AS c WHERE lower(c.name) = 'clocks' OR lower(c.name) LIKE 'marea\_%' OR c.name = '*'
        UNION ALL
        SELECT 5, format('column %I: differs from another one by upper and lower case alone, which SQLite cannot tell apart', c.name)
        FROM columns AS c WHERE EXISTS (SELECT FROM columns AS o WHERE o.place < c.place AND lower(o.name) = lower(c.name))
        UNION ALL
        SELECT 6, format('rules: must be an object, column -> rule') WHERE jsonb_typeof(rules) IS DISTINCT FROM 'object'
        UNION ALL
        SELECT 6, CASE
            WHEN a.attname IS NULL THEN format('rules: there is no column %I', r.key)
            WHEN r.value NOT IN ('"register"', '"once"', '"counter"', '"union"', '"server"', '"none"')
                THEN format('rules: %I cannot be %s; there are register, once, counter, union, server and none', r.key, r.value)
            WHEN r.key IN (the.key, owner) THEN format('rules: %I is the key or the owner, which have no rule', r.key)
            WHEN r.value NOT IN ('"server"', '"none"') AND (a.attgenerated <> '' OR a.attidentity <> '')
                THEN format('rules: %I is computed by Postgres, so it is "server"', r.key)
            WHEN r.value = '"counter"' AND marea.base_type(a.atttypid) NOT IN (20, 21, 23, 1700)
                THEN format('rules: %I cannot be a counter; smallint, integer, bigint and numeric can', r.key)
            WHEN r.value = '"union"' AND marea.base_type(a.atttypid) <> 3802 THEN format('rules: %I cannot be a union; jsonb can', r.key)
        END
        FROM the, jsonb_each(CASE WHEN jsonb_typeof(rules) = 'object' THEN rules ELSE '{}' END) AS r
        LEFT JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = r.key AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 6, format('rules: progress is computed from %I, which is "register"', r.key)
        FROM jsonb_each(CASE WHEN jsonb_typeof(rules) = 'object' THEN rules ELSE '{}' END) AS r
        WHERE relation = to_regclass('public.sessions') AND r.value <> '"register"'
          AND r.key IN ('ended_at', 'duration_minutes', 'images_processed', 'descriptions_generated', 'qa_attempts', 'qa_correct',
              'vocabulary_learned', 'session_data')
        UNION ALL
        SELECT 7, format('row level security is off (ALTER TABLE %s ENABLE ROW LEVEL SECURITY)', relation) FROM the WHERE NOT the.relrowsecurity
        UNION ALL
        SELECT 8, format('no policy lets authenticated %s (CREATE POLICY ... ON %s FOR %1$s TO authenticated %s (%I = (SELECT auth.uid())))',
            wanted.command, relation, CASE wanted.command WHEN 'INSERT' THEN 'WITH CHECK' ELSE 'USING' END, owner)
        FROM (VALUES ('r', 'SELECT', true), ('a', 'INSERT', write), ('w', 'UPDATE', write)) AS wanted (code, command, needed)
        WHERE wanted.needed AND NOT EXISTS (SELECT FROM policies AS p WHERE p.polcmd::text IN (wanted.code, '*'))
        UNION ALL
        SELECT 9, format('authenticated may not use schema %1$I (GRANT USAGE ON SCHEMA %1$I TO authenticated)', the.schema) FROM the
        WHERE NOT has_schema_privilege('authenticated', the.schema, 'USAGE')
        UNION ALL
        SELECT 9, format('authenticated may not %s %s (GRANT %1$s ON %s TO authenticated)', wanted.command,
            string_agg(a.attname, ', ' ORDER BY a.attnum), relation)
        FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS wanted (command)
        JOIN pg_attribute AS a ON a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN columns AS c ON c.name = a.attname
        WHERE (a.attname = owner OR c.name IS NOT NULL)
          AND CASE wanted.command
                  WHEN 'SELECT' THEN true
                  WHEN 'INSERT' THEN write AND coalesce(c.rule <> 'server', true)
                  ELSE write AND c.rule IN ('register', 'counter', 'union') END
          AND NOT has_column_privilege('authenticated', relation, a.attnum, wanted.command)
        GROUP BY wanted.command
        UNION ALL
        SELECT 10, format('%I owns neither the table nor schema marea, or not both', current_user) FROM the
        WHERE NOT pg_has_role(current_user, the.relowner, 'USAGE')
           OR NOT pg_has_role(current_user, (SELECT n.nspowner FROM pg_namespace AS n WHERE n.nspname = 'marea'), 'USAGE')
    )
    SELECT coalesce(array_agg(f.problem ORDER BY f.place, f.problem), '{}') FROM found AS f WHERE f.problem IS NOT NULL
$$;

COMMENT ON FUNCTION marea.key_of(REGCLASS) IS 'The one column that names the rows of a table; NULL: none.';
COMMENT ON FUNCTION marea.describe_columns(REGCLASS, JSONB, TEXT, BOOLEAN) IS 'A table''s columns as marea.columns holds them.';
COMMENT ON FUNCTION marea.reserved_names() IS 'Names that no mirrored table can have; the copy of RESERVED_NAMES in core/src/catalogue/parse.rs.';
COMMENT ON FUNCTION marea.mirror_problems(REGCLASS, JSONB, TEXT, BOOLEAN, TEXT) IS 'All that keeps a table from being mirrored so.';
COMMENT ON FUNCTION marea.base_type(OID) IS 'What a type is made of, domains looked through.';
COMMENT ON FUNCTION marea.mirrored_id(REGCLASS) IS 'marea.tables.id of a table; NULL: not mirrored.';
COMMENT ON FUNCTION marea.relation_of(marea.tables) IS 'The app''s table, renamed or not; NULL: it is gone.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_checks
-- ---------------------------------------------------------------------------------------------------------------------

-- Checks of what devices write to mirrored tables. For each table a quick look is made with its columns in it, which tells most good
-- values from all bad ones in a few microseconds; where it says no, the functions here say what is wrong, if anything is.

CREATE OR REPLACE FUNCTION marea.form_of(type TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE type
    -- How Postgres prints a value of the type, which is how it travels.
    WHEN 'uuid' THEN '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    WHEN 'bigint' THEN '^-?[0-9]{1,19}$'
    WHEN 'numeric' THEN '^(-?[0-9]+([.][0-9]+)?|NaN|-?Infinity)$'
    WHEN 'real' THEN '^(NaN|-?Infinity)$'
    WHEN 'double' THEN '^(NaN|-?Infinity)$'
    WHEN 'date' THEN '^([0-9]{4,7}-[0-9]{2}-[0-9]{2}( BC)?|-?infinity)$'
    WHEN 'time' THEN '^[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?$'
    WHEN 'timestamp' THEN '^([0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?( BC)?|-?infinity)$'
    WHEN 'timestamptz'
        THEN '^([0-9]{4,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?(Z|[+-][0-9]{2}(:[0-9]{2}){0,2})( BC)?|-?infinity)$'
    WHEN 'bytea' THEN '^[A-Za-z0-9+/]*={0,2}$'
END;

CREATE OR REPLACE FUNCTION marea.column_problem(of_column marea.columns, given JSONB) RETURNS TEXT
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- What is wrong with a value for a column; NULL: nothing.
DECLARE
    kind CONSTANT TEXT := jsonb_typeof(given);
    said CONSTANT TEXT := given #>> '{}';
    type CONSTANT TEXT := of_column.type;
BEGIN
    IF kind = 'null' THEN
        RETURN CASE WHEN NOT of_column.nullable THEN 'must not be null' END;
    ELSIF type IN ('smallint', 'integer') THEN
        -- Or as a text: an older or a newer catalogue may have another type of whole numbers for it.
        RETURN CASE WHEN kind <> 'number' AND said !~ marea.form_of('bigint') OR kind NOT IN ('number', 'string')
                OR said::numeric <> trunc(said::numeric) THEN 'must be a whole number'
            WHEN type = 'smallint' AND said::numeric NOT BETWEEN -32768 AND 32767 THEN 'must be from -32768 to 32767'
            WHEN said::numeric NOT BETWEEN -2147483648 AND 2147483647 THEN 'must be from -2147483648 to 2147483647' END;
    ELSIF type = 'boolean' THEN
        RETURN CASE WHEN kind <> 'boolean' THEN 'must be true or false' END;
    ELSIF type IN ('json', 'jsonb') THEN
        RETURN CASE WHEN of_column.rule = 'union' AND kind <> 'object' THEN 'must be an object' ELSE marea.json_problem(given, 65536) END;
    ELSIF type LIKE '%[]' THEN
        IF kind <> 'array' THEN
            RETURN 'must be an array';
        END IF;
        RETURN (
            SELECT min(CASE
                WHEN jsonb_typeof(one) <> CASE type WHEN 'integer[]' THEN 'number' ELSE 'string' END THEN 'must be an array of ' || left(type, -2)
                WHEN type = 'uuid[]' AND one #>> '{}' !~ marea.form_of('uuid') THEN 'must be an array of uuid'
                WHEN type = 'integer[]' AND ((one #>> '{}')::numeric <> trunc((one #>> '{}')::numeric)
                    OR (one #>> '{}')::numeric NOT BETWEEN -2147483648 AND 2147483647) THEN 'must be an array of integer' END)
            FROM jsonb_array_elements(given) AS one WHERE jsonb_typeof(one) <> 'null');
    ELSIF type IN ('real', 'double') AND kind = 'number' THEN
        NULL; -- the cast below tells
    ELSIF type IN ('bigint', 'numeric') AND kind = 'number' THEN
        IF said !~ marea.form_of(type) THEN
            RETURN 'must be a ' || type || ' as Postgres prints it';
        END IF;
    ELSIF kind <> 'string' THEN
        RETURN CASE WHEN type IN ('text', 'enum') THEN 'must be a text' WHEN type = 'bytea' THEN 'must be base64'
            WHEN type IN ('real', 'double') THEN 'must be a number' ELSE 'must be a text that holds a ' || type END;
    ELSIF type = 'enum' THEN
        RETURN CASE WHEN said <> ALL (of_column.labels) THEN 'must be one of ' || array_to_string(of_column.labels, ', ') END;
    ELSIF said !~ marea.form_of(type) THEN
        RETURN CASE WHEN type = 'bytea' THEN 'must be base64' ELSE 'must be a ' || type || ' as Postgres prints it' END;
    END IF;
    IF type = 'text' THEN
        RETURN CASE WHEN length(said) > of_column.max_length THEN format('has more than %s characters', of_column.max_length) END;
    ELSIF type = 'bytea' THEN
        RETURN CASE WHEN length(said) % 4 <> 0 THEN 'must be base64' END;
    ELSIF type = 'numeric' AND of_column.precision_ IS NOT NULL AND said ~ '^-?[0-9]' THEN
        RETURN CASE WHEN scale(said::numeric) > greatest(of_column.scale, 0) THEN format('has more than %s decimals', greatest(of_column.scale, 0))
            WHEN abs(said::numeric) >= power(10::numeric, of_column.precision_ - of_column.scale)
                THEN format('has more than %s digits before the point', of_column.precision_ - of_column.scale) END;
    ELSIF type NOT IN ('uuid') THEN
        BEGIN
            CASE type
                WHEN 'bigint' THEN PERFORM said::int8;
                WHEN 'numeric' THEN PERFORM said::numeric;
                WHEN 'real' THEN PERFORM said::float4;
                WHEN 'double' THEN PERFORM said::float8;
                WHEN 'date' THEN PERFORM said::date;
                WHEN 'time' THEN PERFORM said::time;
                WHEN 'timestamp' THEN PERFORM said::timestamp;
                ELSE PERFORM said::timestamptz;
            END CASE;
        EXCEPTION WHEN data_exception THEN
            RETURN 'is no ' || type || ' that Postgres can hold';
        END;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION marea.correction_problem(given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN marea.values_problem('sessions', (
    -- Columns that the app has added have the bounds of their types.
    SELECT coalesce(jsonb_object_agg(field.key, field.value), '{}') FROM jsonb_each(given) AS field
    WHERE field.key IN (SELECT known.name FROM marea.column_limits() AS known WHERE known.relation = 'sessions')
));

COMMENT ON FUNCTION marea.correction_problem(JSONB) IS 'What is wrong with the values of a correction of a session; NULL: nothing.';

CREATE OR REPLACE FUNCTION marea.mirrored_problem(of_table marea.tables, mutation JSONB, me UUID) RETURNS TEXT
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- What is wrong with a mutation of a mirrored table; NULL: nothing.
DECLARE
    op     CONSTANT TEXT := mutation ->> 'op';
    key    CONSTANT TEXT := mutation ->> 'key';
    fields CONSTANT JSONB := mutation -> 'values';
BEGIN
    RETURN CASE
        WHEN NOT of_table.writable THEN 'table: is written by the server alone'
        WHEN coalesce(op NOT IN ('insert', 'merge', 'add', 'delete'), true) THEN 'op: must be insert, merge, add or delete'
        WHEN coalesce(mutation ->> 'hlc', '') !~ '^[0-9]{13}-[0-9a-f]{4}$'
            THEN 'hlc: must be 13 digits, "-" and 4 hexadecimal digits'
        WHEN jsonb_typeof(mutation -> 'key') IS DISTINCT FROM 'string' THEN 'key: must be a text'
        WHEN of_table.key_type = 'uuid' AND key !~ marea.form_of('uuid') THEN 'key: must be a lower-case uuid'
        WHEN octet_length(key) NOT BETWEEN 1 AND 1000 THEN 'key: must have 1 to 1000 bytes'
        WHEN of_table.key_column = of_table.owner_column AND key <> me::text THEN 'key: must be the id of the signed-in user'
        WHEN jsonb_typeof(fields) IS DISTINCT FROM 'object' THEN 'values: must be an object'
        WHEN op IN ('merge', 'add') AND fields = '{}' THEN 'values: set nothing'
        WHEN octet_length(fields::text) > 262144 THEN 'values: have more than 256 KiB as JSON'
        ELSE coalesce((
            SELECT min(CASE
                WHEN field.key = of_table.key_column THEN 'values.' || field.key || ': is the key'
                WHEN c.name IS NULL THEN 'values.' || field.key || ': unknown column'
                WHEN op = 'delete' THEN 'values: must be empty'
                WHEN c.rule = 'server' THEN 'values.' || field.key || ': is written by the server alone'
                WHEN c.rule = 'once' AND op <> 'insert' THEN 'values.' || field.key || ': is set once and never changes'
                WHEN c.rule = 'counter' AND op = 'merge' THEN 'values.' || field.key || ': is a counter; use add'
                WHEN c.rule <> 'counter' AND op = 'add' THEN 'values.' || field.key || ': is no counter'
                WHEN op = 'add' AND (field.value = 'null' OR field.value #>> '{}' ~ '^(NaN|-?Infinity)$')
                    THEN 'values.' || field.key || ': must be a number to add'
                ELSE 'values.' || field.key || ': ' || marea.column_problem(c, field.value)
            END)
            FROM jsonb_each(fields) AS field
            LEFT JOIN marea.columns AS c ON c.table_name = of_table.name AND c.name = field.key),
            CASE WHEN of_table.name = 'sessions' THEN marea.correction_problem(fields) END)
    END;
END
$$;

CREATE OR REPLACE FUNCTION marea.sound_sql(of_table marea.tables) RETURNS TEXT LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
    -- The quick look: may only be more careful than marea.column_problem, never less.
    WITH looks AS (
        SELECT c.place, nullif(format(CASE
            -- Postgres orders JSON by kind: what lies between two numbers is one.
            WHEN c.type IN ('smallint', 'integer') THEN '(v -> %1$L BETWEEN %2$L AND %3$L AND strpos(v ->> %1$L, ''.'') = 0' || or_null || ')'
            WHEN c.type IN ('real', 'double') THEN '(v -> %1$L BETWEEN ''-1e30'' AND ''1e30''' || or_null || ')'
            WHEN c.type IN ('json', 'jsonb') AND c.rule <> 'union' THEN CASE WHEN c.nullable THEN '' ELSE 'v -> %1$L <> ''null''' END
            WHEN c.nullable THEN 'jsonb_typeof(v -> %1$L) IN (%4$L, ''null'')'
            ELSE 'jsonb_typeof(v -> %1$L) = %4$L' END,
            c.name, CASE c.type WHEN 'smallint' THEN -32768 ELSE -2147483648 END, CASE c.type WHEN 'smallint' THEN 32767 ELSE 2147483647 END,
            CASE WHEN c.type = 'boolean' THEN 'boolean' WHEN c.type LIKE '%[]' THEN 'array' WHEN c.rule = 'union' THEN 'object' ELSE 'string' END
        ), '') AS kind,
        nullif(format(CASE
            WHEN c.type = 'text' AND c.max_length IS NOT NULL THEN 'length(v ->> %1$L) <= ' || c.max_length
            WHEN c.type = 'enum' THEN 'v ->> %1$L = ANY (' || replace(quote_literal(c.labels::text), '%', '%%') || '::text[])'
            WHEN c.type IN ('json', 'jsonb')
                THEN '(octet_length((v -> %1$L)::text) < 128 OR marea.json_problem(v -> %1$L, 65536) IS NULL)'
            WHEN c.type = 'bytea' THEN 'v ->> %1$L ~ ''^[A-Za-z0-9+/]*={0,2}$'' AND length(v ->> %1$L) %% 4 = 0'
            WHEN c.type = 'bigint' THEN 'v ->> %1$L ~ ''^-?[0-9]{1,18}$'''
            WHEN c.type = 'numeric' AND c.precision_ IS NULL THEN 'v ->> %1$L ~ ''^-?[0-9]+([.][0-9]+)?$'''
            WHEN c.type = 'numeric' AND c.scale BETWEEN 1 AND 20 AND c.precision_ - c.scale BETWEEN 1 AND 200
                THEN 'v ->> %1$L ~ ''^-?[0-9]{1,' || c.precision_ - c.scale || '}([.][0-9]{1,' || c.scale || '})?$'''
            WHEN c.type = 'numeric' THEN 'v ->> %1$L ~ ''^-?[0-9]$'''
            -- The calendar is the cast's affair.
            WHEN c.type = 'date' THEN 'v ->> %1$L ~ ''^[0-9]{4}-[0-9]{2}-[0-9]{2}$'''
            WHEN c.type = 'timestamp' THEN 'v ->> %1$L ~ ''^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?$'''
            WHEN c.type = 'timestamptz' THEN 'v ->> %1$L ~ ''^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$'''
            WHEN c.type LIKE '%[]' THEN 'marea.column_problem((SELECT c FROM marea.columns AS c WHERE c.table_name = '
                || quote_literal(of_table.name) || ' AND c.name = %1$L), v -> %1$L) IS NULL'
            WHEN c.type IN ('uuid', 'time') THEN 'v ->> %1$L ~ ' || quote_literal(marea.form_of(c.type)) END, c.name), '') AS look
        FROM marea.columns AS c
        CROSS JOIN LATERAL (SELECT CASE WHEN c.nullable THEN ' OR v -> %1$L = ''null''' ELSE '' END) AS allowed (or_null)
        WHERE c.table_name = of_table.name AND c.rule NOT IN ('key', 'server')
    )
    SELECT 'pg_column_size(v) <= 65536'
        || coalesce(string_agg(' AND coalesce(' || concat_ws(' AND ', kind, look) || ', true)', '' ORDER BY place)
               FILTER (WHERE kind IS NOT NULL OR look IS NOT NULL), '')
    FROM looks
$$;

CREATE OR REPLACE FUNCTION marea.make_checks(of_table marea.tables) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    function_ CONSTANT TEXT := format('marea.mirror_%s_is_sound(JSONB)', of_table.id);
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION marea.mirror_%s_is_sound(v JSONB) RETURNS BOOLEAN LANGUAGE sql STABLE RETURN %s',
        of_table.id, marea.sound_sql(of_table));
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated, service_role', function_);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO authenticated', function_);
END
$$;

COMMENT ON FUNCTION marea.form_of(TEXT) IS 'The form of a type''s values on the wire, a regular expression; NULL: any text.';
COMMENT ON FUNCTION marea.column_problem(marea.columns, JSONB) IS 'What is wrong with a value for a column; NULL: nothing.';
COMMENT ON FUNCTION marea.mirrored_problem(marea.tables, JSONB, UUID) IS 'What is wrong with a mutation of a mirrored table; NULL: nothing.';
COMMENT ON FUNCTION marea.sound_sql(marea.tables) IS 'The quick look at the values of a table''s row, as an expression on v.';
COMMENT ON FUNCTION marea.make_checks(marea.tables) IS 'Makes the quick look at the values of a table''s row.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_page
-- ---------------------------------------------------------------------------------------------------------------------

-- Pages of mirrored tables: for each a function that is made with the table's columns in it, in their wire forms. A table whose
-- columns have changed since is read by a statement that is made for what is left of them.

CREATE OR REPLACE FUNCTION marea.wire_expression(type TEXT, packs BOOLEAN) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE
    -- Of a text: char(n) loses the blanks at its end so, as in a comparison and as a key.
    WHEN type IN ('text', 'bigint', 'numeric', 'time') THEN '%s::text'
    WHEN type = 'timestamp' THEN 'marea.wire_timestamp(%s)'
    WHEN type = 'timestamptz' THEN 'marea.wire_instant(%s)'
    WHEN type = 'date' THEN '%s::date' -- as JSON it is ISO whatever DateStyle is
    WHEN type = 'bytea' THEN 'translate(encode(%s, ''base64''), E''\n'', '''')'
    -- JSON text may hold what JSONB cannot: it passes only where nobody on the way takes it apart.
    WHEN type = 'json' AND NOT packs THEN 'CASE WHEN %1$s::text !~ ''\\u0000'' THEN %1$s END'
    ELSE '%s'
END;

CREATE OR REPLACE FUNCTION marea.wire_timestamp(at TIMESTAMP) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE WHEN at >= '0001-01-01' AND at < '10000-01-01' THEN to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US')
    ELSE to_json(at) #>> '{}' END;

CREATE OR REPLACE FUNCTION marea.wire_instant(at TIMESTAMPTZ) RETURNS TEXT LANGUAGE sql STABLE
RETURN CASE WHEN at >= '0001-01-01 00:00:00+00' AND at < '10000-01-01 00:00:00+00'
    THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') ELSE at::text END;

CREATE OR REPLACE FUNCTION marea.weight_expression(type TEXT, max_length INTEGER, "precision" INTEGER) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE
    -- Compressed in storage, a value may look a hundred times smaller than its text.
    WHEN type = 'text' AND max_length <= 100 THEN NULL
    WHEN type = 'text' THEN 'octet_length(%1$s)'
    WHEN type = 'bytea' THEN 'octet_length(%1$s) / 3 * 4'
    WHEN type = 'numeric' AND "precision" IS NULL THEN 'octet_length(%1$s::text)'
    WHEN type IN ('json', 'jsonb', 'text[]', 'integer[]', 'uuid[]')
        THEN 'CASE WHEN pg_column_compression(%1$s) IS NULL AND pg_column_size(%1$s) < 1000 THEN 2 * pg_column_size(%1$s) ELSE octet_length(%1$s::text) END'
END;

CREATE OR REPLACE FUNCTION marea.page_sql(of_table marea.tables, relation REGCLASS, what TEXT) RETURNS TEXT
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- what: packed (one JSON text, column by column), rows (JSON, row by row) or weights (version and bytes of each row).
    -- $1, $2 and $3 are whose rows, and between which versions. An expression on table_name keeps the primary key's index out:
    -- the rows are read in the order of their versions. OFFSET 0 gives the keys their type before they are joined, and COLLATE
    -- lets the table's own collation decide, or its index would be of no use.
    WITH columns AS (
        SELECT c.name, c.place, c.rule, format(marea.wire_expression(c.type, what = 'packed'), format('t.%I', c.name)) AS value,
               nullif(format(marea.weight_expression(c.type, c.max_length, c.precision_), format('t.%I', c.name)), '') AS weight
        FROM marea.columns AS c
        JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = c.name AND NOT a.attisdropped AND a.attnum > 0
        WHERE c.table_name = of_table.name
    ), lines AS (
        SELECT format($sql$
            SELECT r.hlc, r.version, (r.row_key COLLATE "default")::%1$s AS key
            FROM marea.rows AS r
            WHERE r.user_id = $1 AND r.version > $2 AND r.version <= $3 AND (r.table_name || '') = %2$L AND NOT r.deleted
            OFFSET 0 $sql$, k.sql_type, of_table.name) AS sql
        FROM marea.columns AS k WHERE k.table_name = of_table.name AND k.rule = 'key'
    ), joined AS (
        SELECT format('JOIN %s AS t ON t.%I = s.key AND t.%I = $1', relation, of_table.key_column, of_table.owner_column) AS sql
    )
    SELECT CASE what
        WHEN 'packed' THEN format($sql$
            WITH s AS MATERIALIZED (%s)
            SELECT ('{"clocks":' || json_agg(CASE WHEN s.hlc ? '*' THEN s.hlc - '*' ELSE s.hlc END)::text%s || '}'), count(*),
                   (SELECT count(*) FROM s)
            FROM s %s $sql$, lines.sql,
            string_agg(format(' || %L || json_agg(%s)::text', ',' || to_json(c.name) || ':', c.value), '' ORDER BY c.place), joined.sql)
        WHEN 'rows' THEN format($sql$
            WITH s AS MATERIALIZED (%s)
            SELECT json_agg(json_build_object('version', s.version, 'hlc', s.hlc - '*', 'values', row_to_json(v.*)))::text, count(*),
                   (SELECT count(*) FROM s)
            FROM s %s CROSS JOIN LATERAL (SELECT %s) AS v $sql$, lines.sql, joined.sql,
            string_agg(format('%s AS %I', c.value, c.name), ', ' ORDER BY c.place))
        ELSE format($sql$
            -- Rows that nobody has changed have no clocks.
            SELECT array_agg(s.version ORDER BY s.version), array_agg(100 + %s + CASE WHEN pg_column_compression(s.hlc) IS NULL
                THEN pg_column_size(s.hlc) * 3 / 2 ELSE %s END%s ORDER BY s.version)
            FROM (%s) AS s %s $sql$, 30 * count(*), 80 * count(*) FILTER (WHERE c.rule = 'register'), string_agg(' + coalesce(' || c.weight || ', 0)', '' ORDER BY c.place), lines.sql,
            joined.sql)
    END
    FROM columns AS c, lines, joined
    GROUP BY lines.sql, joined.sql
$$;

CREATE OR REPLACE FUNCTION marea.make_page(of_table marea.tables, relation REGCLASS) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- The app's path behind Postgres's own: for what the app's policies call.
    settings  CONSTANT TEXT := 'LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, ' || marea.app_search_path() || '
        SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off SET enable_bitmapscan = off
        SET extra_float_digits = 1 SET DateStyle = ''ISO, YMD'' SET TimeZone = ''UTC''';
    page      CONSTANT TEXT := format('marea.mirror_%s_page(UUID, BIGINT, BIGINT, BOOLEAN)', of_table.id);
    weights   CONSTANT TEXT := format('marea.mirror_%s_weights(UUID, BIGINT, BIGINT)', of_table.id);
    what      TEXT;
BEGIN
    -- A statement that fails would be taken for one whose columns have gone, so each is tried here.
    FOREACH what IN ARRAY ARRAY['packed', 'rows', 'weights'] LOOP
        EXECUTE marea.page_sql(of_table, relation, what) USING NULL::uuid, 0::bigint, 0::bigint;
    END LOOP;
    EXECUTE format($make$
        CREATE OR REPLACE FUNCTION marea.mirror_%1$s_page(me UUID, since BIGINT, upto BIGINT, packs BOOLEAN,
            OUT body TEXT, OUT shown BIGINT, OUT lines BIGINT) %2$s AS $page$
        -- Made by marea.mirror for %3$s: its rows between two versions, how many these are, and how many there should be.
        BEGIN
            IF packs THEN
                SELECT * INTO body, shown, lines FROM (%4$s) AS page;
            ELSE
                SELECT * INTO body, shown, lines FROM (%5$s) AS page;
            END IF;
        END
        $page$;
        CREATE OR REPLACE FUNCTION marea.mirror_%1$s_weights(me UUID, since BIGINT, upto BIGINT,
            OUT versions BIGINT[], OUT weights BIGINT[]) %2$s AS $page$
        -- Made by marea.mirror for %3$s: about how many bytes each row between two versions has.
        BEGIN
            SELECT * INTO versions, weights FROM (%6$s) AS page;
        END
        $page$ $make$,
        of_table.id, settings, relation, marea.page_sql(of_table, relation, 'packed'), marea.page_sql(of_table, relation, 'rows'),
        marea.page_sql(of_table, relation, 'weights'));
    EXECUTE format('REVOKE ALL ON FUNCTION %s, %s FROM PUBLIC, anon, authenticated, service_role', page, weights);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s, %s TO authenticated', page, weights);
END
$$;

CREATE OR REPLACE FUNCTION marea.unseen_tables() RETURNS TEXT[]
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Tables of which marea.rows has lines that no device sees: tombstones of what may be sent again. PL/pgSQL, because Postgres up to 17
-- plans what a function of SQL looks up each time that it is called.
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM marea.tables AS t WHERE t.name = 'sessions') THEN '{progress_events}'::text[]
        ELSE '{sessions,progress_events}'::text[] END;
END
$$;

CREATE OR REPLACE FUNCTION marea.mirrored_rows(of_table marea.tables, me UUID, since BIGINT, upto BIGINT, packs BOOLEAN,
    OUT body TEXT, OUT hidden TEXT[])
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- One table's part of a page. What went missing or was taken away since it was mirrored costs this table what it costs, and
-- the sync nothing. A row that is there and that no policy shows to its owner is gone, as far as its owner can tell.
DECLARE
    relation CONSTANT REGCLASS := marea.relation_of(of_table);
    shown    BIGINT;
    lines    BIGINT;
BEGIN
    BEGIN
        EXECUTE format('SELECT * FROM marea.mirror_%s_page($1, $2, $3, $4)', of_table.id) INTO body, shown, lines
        USING me, since, upto, packs;
    EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
        PERFORM set_config('search_path', 'pg_catalog, ' || marea.app_search_path(), true); -- for what the app's policies call
        BEGIN
            EXECUTE marea.page_sql(of_table, relation, CASE WHEN packs THEN 'packed' ELSE 'rows' END)
            INTO body, shown, lines USING me, since, upto;
        EXCEPTION WHEN syntax_error_or_access_rule_violation OR null_value_not_allowed THEN
            RETURN;
        END;
    END;
    IF shown < lines THEN
        PERFORM set_config('search_path', 'pg_catalog, ' || marea.app_search_path(), true); -- for what the app's policies call
        EXECUTE format($sql$
            SELECT array_agg(r.row_key)
            FROM marea.rows AS r
            WHERE r.user_id = $1 AND r.version > $2 AND r.version <= $3 AND (r.table_name || '') = %L AND NOT r.deleted
              AND NOT EXISTS (SELECT FROM %s AS t WHERE t.%I::text COLLATE "C" = r.row_key AND t.%I = $1) $sql$,
            of_table.name, relation, of_table.key_column, of_table.owner_column)
        INTO hidden USING me, since, upto;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.mirrored_page(me UUID, since BIGINT, upto BIGINT, packs BOOLEAN, reset BOOLEAN,
    OUT shown JSONB, OUT gone JSONB)
LANGUAGE plpgsql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off
SET enable_bitmapscan = off AS $$
-- What of the mirrored tables changed between two versions: table -> rows, and table -> keys.
DECLARE
    part RECORD;
    rows_ RECORD;
BEGIN
    shown := '{}';
    gone := '{}';
    IF NOT EXISTS (SELECT FROM marea.tables) THEN
        RETURN;
    END IF;
    FOR part IN
        SELECT t AS of_table, bool_or(NOT r.deleted) AS any_here,
               jsonb_agg(r.row_key) FILTER (WHERE r.deleted AND NOT reset) AS gone
        FROM marea.rows AS r JOIN marea.tables AS t ON t.name = r.table_name
        WHERE r.user_id = me AND r.version > since AND r.version <= upto
        GROUP BY t
    LOOP
        IF part.any_here THEN
            SELECT * INTO rows_ FROM marea.mirrored_rows(part.of_table, me, since, upto, packs);
            IF rows_.body IS NOT NULL THEN
                shown := shown || jsonb_build_object((part.of_table).name,
                    CASE WHEN packs THEN to_jsonb(rows_.body) ELSE rows_.body::jsonb END);
            END IF;
            IF rows_.hidden IS NOT NULL AND NOT reset THEN
                part.gone := coalesce(part.gone, '[]') || to_jsonb(rows_.hidden);
            END IF;
        END IF;
        IF part.gone IS NOT NULL THEN
            gone := gone || jsonb_build_object((part.of_table).name, part.gone);
        END IF;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION marea.mirrored_weights(me UUID, since BIGINT, upto BIGINT, OUT versions BIGINT[], OUT weights BIGINT[])
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The rows of mirrored tables between two versions, in their order, and about how many bytes each of them has.
DECLARE
    of_table      marea.tables;
    some_versions BIGINT[];
    some_weights  BIGINT[];
    tables        INTEGER := 0;
BEGIN
    FOR of_table IN
        SELECT t.* FROM marea.tables AS t
        WHERE t.name IN (SELECT r.table_name FROM marea.rows AS r WHERE r.user_id = me AND r.version > since AND r.version <= upto AND NOT r.deleted)
    LOOP
        BEGIN
            EXECUTE format('SELECT * FROM marea.mirror_%s_weights($1, $2, $3)', of_table.id) INTO some_versions, some_weights
            USING me, since, upto;
        EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
            PERFORM set_config('search_path', 'pg_catalog, ' || marea.app_search_path(), true);
            BEGIN
                EXECUTE marea.page_sql(of_table, marea.relation_of(of_table), 'weights')
                INTO some_versions, some_weights USING me, since, upto;
            EXCEPTION WHEN syntax_error_or_access_rule_violation OR null_value_not_allowed THEN
                CONTINUE;
            END;
        END;
        tables := tables + 1;
        versions := versions || some_versions;
        weights := weights || some_weights;
    END LOOP;
    IF tables > 1 THEN
        SELECT array_agg(w.version ORDER BY w.version), array_agg(w.weight ORDER BY w.version) INTO versions, weights
        FROM unnest(versions, weights) AS w (version, weight);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.wire_expression(TEXT, BOOLEAN) IS 'How a value of a type is written for the wire, with %s for the value.';
COMMENT ON FUNCTION marea.wire_timestamp(TIMESTAMP) IS 'A time without a zone as it crosses the wire.';
COMMENT ON FUNCTION marea.wire_instant(TIMESTAMPTZ) IS 'marea.wire_time, and what is no instant of the calendar as Postgres prints it.';
COMMENT ON FUNCTION marea.weight_expression(TEXT, INTEGER, INTEGER) IS 'About how many bytes a value has on the wire; NULL: few.';
COMMENT ON FUNCTION marea.page_sql(marea.tables, REGCLASS, TEXT) IS 'The statement that reads a table''s part of a page.';
COMMENT ON FUNCTION marea.make_page(marea.tables, REGCLASS) IS 'Makes the functions that read a table''s part of a page.';
COMMENT ON FUNCTION marea.unseen_tables() IS 'Tables of which no device sees the lines in marea.rows.';
COMMENT ON FUNCTION marea.mirrored_rows(marea.tables, UUID, BIGINT, BIGINT, BOOLEAN) IS 'One table''s part of a page.';
COMMENT ON FUNCTION marea.mirrored_page(UUID, BIGINT, BIGINT, BOOLEAN, BOOLEAN) IS 'The mirrored tables'' part of a page.';
COMMENT ON FUNCTION marea.mirrored_weights(UUID, BIGINT, BIGINT) IS 'About how many bytes the rows of mirrored tables have.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_writes
-- ---------------------------------------------------------------------------------------------------------------------

-- What the pushes to mirrored tables are made of: what is known of rows, locks, statements with the columns of a table in them, and the
-- notes of who wrote what.

CREATE OR REPLACE FUNCTION marea.note_writes(relation TEXT, keys TEXT[], clocks JSONB[], gone BOOLEAN) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Notes who wrote the caller's own rows last, or deleted them. The row counts as changed even where the values stayed the same: the
-- other devices must learn the new clocks.
DECLARE
    me CONSTANT UUID := auth.uid();
BEGIN
    IF me IS NULL OR NOT EXISTS (SELECT FROM marea.tables AS t WHERE t.name = relation) THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'not a row of the caller';
    END IF;
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, deleted, hlc)
    SELECT me, relation, line.key, gone, line.clocks
    FROM unnest(keys, clocks) AS line (key, clocks) ORDER BY line.key COLLATE "C"
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET
        deleted = gone, hlc = CASE WHEN gone THEN EXCLUDED.hlc ELSE r.hlc || EXCLUDED.hlc END;
    INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
    VALUES (relation, gone, array_fill(me, ARRAY[cardinality(keys)]), keys);
END
$$;

CREATE OR REPLACE FUNCTION marea.note_stamps(relation TEXT, keys TEXT[], columns TEXT[], stamps TEXT[], client TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The same for rows that are there and of which each has one clock for all of these columns: it comes with the version, so that the line
-- of a row is written once.
DECLARE
    me CONSTANT UUID := auth.uid();
BEGIN
    IF me IS NULL OR client IS NULL OR NOT EXISTS (SELECT FROM marea.tables AS t WHERE t.name = relation) THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'not a row of the caller';
    END IF;
    INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys, clocks, stamps)
    -- No name holds a control character as it is.
    SELECT relation, false, array_fill(me, ARRAY[cardinality(keys)]), keys,
           '{' || string_agg(to_json(c) || ':["' || chr(1) || '",' || to_json(client) || ']', ',') || '}', CASE WHEN count(c) > 0 THEN stamps END
    FROM unnest(columns) AS c;
END
$$;

CREATE OR REPLACE FUNCTION marea.with_lines(relation TEXT, batch JSONB, client TEXT)
RETURNS TABLE (n BIGINT, value JSONB, key TEXT, clock TEXT, deleted BOOLEAN, hlc JSONB, later BOOLEAN)
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
-- Mutations with what is known of their rows. later: than the row's last deletion or return, if there was one. A look-up by key for
-- each, whatever the planner thinks; the key has its type already, or row level security keeps it from using the index.
#variable_conflict use_column
DECLARE
    -- Nearly every clock is at most this, and need not be looked at.
    likely CONSTANT TEXT := lpad(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint::text, 13, '0');
BEGIN
    PERFORM marea.settle_clocks();
    RETURN QUERY
    SELECT m.n, m.value, m.key, m.clock, r.deleted, r.hlc,
           (NOT r.hlc ? '*' OR ROW(m.clock COLLATE "C", client COLLATE "C") > ROW(r.hlc -> '*' ->> 0, r.hlc -> '*' ->> 1)) IS NOT FALSE
    FROM (
        SELECT e.n, e.value, e.value ->> 'key' AS key,
               CASE WHEN e.value ->> 'hlc' <= likely COLLATE "C" THEN e.value ->> 'hlc' ELSE marea.clamp_hlc(e.value ->> 'hlc') END AS clock
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS e (value, n)
        OFFSET 0
    ) AS m
    LEFT JOIN LATERAL (
        SELECT l.deleted, l.hlc FROM marea.rows AS l
        WHERE l.user_id = auth.uid() AND l.table_name = relation AND l.row_key = m.key
        LIMIT 1
    ) AS r ON true
    ORDER BY m.n;
END
$$;

CREATE OR REPLACE FUNCTION marea.count_once(ids UUID[]) RETURNS UUID[]
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH counted AS (
        INSERT INTO marea.additions (user_id, id) SELECT DISTINCT auth.uid(), given.id FROM unnest(ids) AS given (id)
        ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(counted.id), '{}') FROM counted;
END;

CREATE OR REPLACE FUNCTION marea.left_out_keys(relation TEXT, keys TEXT[]) RETURNS TEXT[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- Which of the caller's keys no statement of this transaction has noted. Asked of the notes and not of the table: a policy may
    -- hide a row from the one who has just made it.
    SELECT array_agg(given.key)
    FROM unnest(keys) AS given (key)
    WHERE NOT EXISTS (
        SELECT FROM marea.pending AS p
        WHERE p.xact = pg_current_xact_id_if_assigned() AND p.table_name = relation AND given.key = ANY (p.row_keys));
END;

CREATE OR REPLACE FUNCTION marea.one_by_one() RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'these mutations have to be looked at one by one';
END
$$;

CREATE OR REPLACE FUNCTION marea.record_of(of_table marea.tables, names TEXT[], OUT columns TEXT, OUT selected TEXT, OUT types TEXT)
LANGUAGE sql STABLE
BEGIN ATOMIC
    -- For a statement that reads columns out of JSON: their names, their values as v.name, and v's definition.
    SELECT string_agg(format('%I', c.name), ', ' ORDER BY c.place),
           string_agg(format(CASE c.type WHEN 'bytea' THEN 'pg_catalog.decode(v.%I, ''base64'')' ELSE 'v.%I' END, c.name), ', ' ORDER BY c.place),
           string_agg(format('%I %s', c.name, CASE c.type WHEN 'bytea' THEN 'pg_catalog.text' ELSE c.sql_type END), ', ' ORDER BY c.place)
    FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.name = ANY (names);
END;

CREATE OR REPLACE FUNCTION marea.is_mine(of_table marea.tables, relation REGCLASS, key TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine BOOLEAN;
BEGIN
    PERFORM set_config('search_path', 'pg_catalog, ' || marea.app_search_path(), true); -- for what the app's policies call
    EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE t.%I = $1::%s AND t.%I = $2)', relation, of_table.key_column,
        (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key'), of_table.owner_column)
    INTO mine USING key, auth.uid();
    RETURN mine;
END
$$;

CREATE OR REPLACE FUNCTION marea.lock_mirrored(of_table marea.tables, relation REGCLASS, keys TEXT[]) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Locks rows of the caller, and tells which there are. Who holds a row's lock knows the clocks that are stored for it.
DECLARE
    held TEXT[];
BEGIN
    PERFORM set_config('search_path', 'pg_catalog, ' || marea.app_search_path(), true); -- for what the app's policies call
    EXECUTE format('SELECT array_agg(l.key) FROM (SELECT t.%1$I::text AS key FROM %2$s AS t WHERE t.%1$I = ANY ($1::%3$s[]) AND t.%4$I = $2 '
        'ORDER BY t.%1$I FOR NO KEY UPDATE) AS l', of_table.key_column, relation,
        (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key'), of_table.owner_column)
    INTO held USING keys, auth.uid();
    RETURN coalesce(held, '{}');
END
$$;

CREATE OR REPLACE FUNCTION marea.refuse_absent(deleted BOOLEAN) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF deleted IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: no such row';
    END IF;
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'key: the app''s policies do not let this row be written';
END
$$;

CREATE OR REPLACE FUNCTION marea.update_mirrored(of_table marea.tables, relation REGCLASS, changes JSONB, names TEXT[], adds BOOLEAN) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Sets these columns of these rows, or adds to them. changes: [{"key", "values"}], each with all of the columns.
DECLARE
    done    BIGINT;
    update_ TEXT;
BEGIN
    SELECT format('UPDATE %s AS t SET %s FROM pg_catalog.jsonb_array_elements($1) AS m (value), '
               'LATERAL pg_catalog.jsonb_to_record(m.value OPERATOR(pg_catalog.->) ''values'') AS v(%s) '
               'WHERE t.%I OPERATOR(pg_catalog.=) (m.value OPERATOR(pg_catalog.->>) ''key'')::%s AND t.%I OPERATOR(pg_catalog.=) $2',
               relation, string_agg(format('%I = ', c.name) || format(CASE
                   WHEN adds THEN '(coalesce(t.%1$I, 0)::pg_catalog.numeric OPERATOR(pg_catalog.+) v.%1$I)::%2$s'
                   WHEN c.rule = 'union' THEN 'marea.union_achievements(coalesce(t.%1$I::pg_catalog.jsonb, ''{}''), v.%1$I::pg_catalog.jsonb)'
                   WHEN c.type = 'bytea' THEN 'pg_catalog.decode(v.%1$I, ''base64'')'
                   ELSE 'v.%1$I' END, c.name, c.sql_type), ', ' ORDER BY c.place),
               string_agg(format('%I %s', c.name, CASE WHEN adds THEN 'pg_catalog."numeric"' WHEN c.type = 'bytea' THEN 'pg_catalog.text'
                   ELSE c.sql_type END), ', ' ORDER BY c.place),
               of_table.key_column, (SELECT k.sql_type FROM marea.columns AS k WHERE k.table_name = of_table.name AND k.rule = 'key'),
               of_table.owner_column)
    INTO update_
    FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.name = ANY (names);
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE update_ USING changes, auth.uid();
    GET DIAGNOSTICS done = ROW_COUNT;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF done < jsonb_array_length(changes) THEN
        IF jsonb_array_length(changes) > 1 THEN
            PERFORM marea.one_by_one();
        END IF;
        PERFORM marea.refuse_left_out(relation, 'UPDATE');
    END IF;
END
$$;

COMMENT ON FUNCTION marea.note_writes(TEXT, TEXT[], JSONB[], BOOLEAN) IS 'Notes the clocks of the caller''s own rows, or of their deletion.';
COMMENT ON FUNCTION marea.note_stamps(TEXT, TEXT[], TEXT[], TEXT[], TEXT) IS 'Notes the clocks of the caller''s own rows, one for each row.';
COMMENT ON FUNCTION marea.with_lines(TEXT, JSONB, TEXT) IS 'Mutations with what is known of their rows.';
COMMENT ON FUNCTION marea.count_once(UUID[]) IS 'Which of these additions of the caller have not been counted yet; they are now.';
COMMENT ON FUNCTION marea.left_out_keys(TEXT, TEXT[]) IS 'Which of these rows this transaction has not written.';
COMMENT ON FUNCTION marea.one_by_one() IS 'Fails a run of mutations, so that they are taken one by one.';
COMMENT ON FUNCTION marea.record_of(marea.tables, TEXT[]) IS 'Columns, values and definition for a statement that reads them out of JSON.';
COMMENT ON FUNCTION marea.is_mine(marea.tables, REGCLASS, TEXT) IS 'Whether the caller has this row and sees it.';
COMMENT ON FUNCTION marea.lock_mirrored(marea.tables, REGCLASS, TEXT[]) IS 'Locks rows of the caller; which there are.';
COMMENT ON FUNCTION marea.refuse_absent(BOOLEAN) IS 'Refuses a write to a row that is not there, or that policies hide.';
COMMENT ON FUNCTION marea.update_mirrored(marea.tables, REGCLASS, JSONB, TEXT[], BOOLEAN) IS 'Sets columns of rows, or adds to them.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_push
-- ---------------------------------------------------------------------------------------------------------------------

-- Push to mirrored tables: runs of mutations of one table and one operation, each run in a few statements, whatever its length. What
-- goes wrong fails the run; marea.push then takes its mutations one by one, and only there each cause is looked for.
--
-- Statements with names of the app in them run under the app's search_path, which must not decide what Marea's own words mean: so
-- each of those names its schema.

CREATE OR REPLACE FUNCTION marea.insert_mirrored(of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- A row that is there already is merged; one that was deleted comes back if the insert is later than the deletion.
DECLARE
    me       CONSTANT UUID := auth.uid();
    count_   CONSTANT INTEGER := jsonb_array_length(batch);
    path     CONSTANT TEXT := marea.app_search_path();
    triggers CONSTANT TEXT := marea.triggers_before(relation, 'INSERT');
    key_type CONSTANT TEXT := (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key');
    registers CONSTANT TEXT[] := ARRAY(SELECT c.name FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'register');
    merged   CONSTANT TEXT[] := registers || ARRAY(
        SELECT c.name FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'union');
    alike    CONSTANT BOOLEAN := (
        SELECT bool_and(m -> 'values' ?& names AND (m -> 'values') - names = '{}')
        FROM jsonb_array_elements(batch) AS m, (SELECT ARRAY(SELECT jsonb_object_keys(batch #> '{0,values}'))) AS first (names));
    statuses TEXT[];
    stamps   TEXT[];
    there    JSONB;
    places   BIGINT[];
    part     RECORD;
    v        RECORD;
    insert_  TEXT;
    done     BIGINT;
    keys     TEXT[];
    written  TEXT[];
    clocks   JSONB[];
    constraint_ TEXT;
BEGIN
    SELECT array_agg(CASE WHEN l.deleted IS NULL THEN 'new' WHEN NOT l.deleted THEN 'there' WHEN l.later THEN 'back' ELSE 'late' END ORDER BY l.n),
           array_agg(l.clock ORDER BY l.n), array_agg(l.key ORDER BY l.n)
    INTO statuses, stamps, keys
    FROM marea.with_lines(of_table.name, batch, client) AS l;

    FOR part IN
        -- A column that is left out keeps its default, which only a statement that does not name it can do. Nearly always there is one
        -- set of columns, and nothing has to be taken apart.
        SELECT ARRAY(SELECT jsonb_object_keys(batch #> '{0,values}')) AS columns, batch AS mutations, keys, NULL::bigint[] AS places
        WHERE alike AND statuses <@ '{new,back}'
        UNION ALL
        SELECT set_.columns, jsonb_agg(m.value ORDER BY m.n), array_agg(m.value ->> 'key' ORDER BY m.n), array_agg(m.n ORDER BY m.n)
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n)
        CROSS JOIN LATERAL (SELECT ARRAY(SELECT jsonb_object_keys(m.value -> 'values'))) AS set_ (columns)
        WHERE NOT (alike AND statuses <@ '{new,back}') AND statuses[m.n] IN ('new', 'back')
        GROUP BY set_.columns
    LOOP
        SELECT * INTO v FROM marea.record_of(of_table, part.columns);
        insert_ := format('INSERT INTO %s (%I%s%s) SELECT (m.value OPERATOR(pg_catalog.->>) ''key'')::%s%s%s '
            'FROM pg_catalog.jsonb_array_elements($1) AS m (value)%s', relation, of_table.key_column,
            CASE WHEN of_table.owner_column <> of_table.key_column THEN format(', %I', of_table.owner_column) END, ', ' || v.columns,
            key_type, CASE WHEN of_table.owner_column <> of_table.key_column THEN ', $2' END, ', ' || v.selected,
            ', LATERAL pg_catalog.jsonb_to_record(m.value OPERATOR(pg_catalog.->) ''values'') AS v(' || v.types || ')');
        BEGIN
            PERFORM set_config('search_path', path, true);
            EXECUTE insert_ USING part.mutations, me;
            GET DIAGNOSTICS done = ROW_COUNT;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        EXCEPTION WHEN unique_violation THEN
            GET STACKED DIAGNOSTICS constraint_ = CONSTRAINT_NAME;
            IF count_ > 1 THEN
                RAISE;
            END IF;
            -- A row that was there before its table was mirrored, and has no version yet.
            IF marea.is_mine(of_table, relation, part.keys[1]) THEN
                statuses[1] := 'there';
                CONTINUE;
            ELSIF (SELECT i.indnkeyatts = 1 AND a.attname = of_table.key_column FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid
                   JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                   WHERE i.indrelid = relation AND c.relname = constraint_) THEN
                RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'key: is taken';
            END IF;
            RAISE;
        END;
        IF done < cardinality(part.keys) OR (triggers IS NOT NULL AND marea.left_out_keys(of_table.name, part.keys) IS NOT NULL) THEN
            IF count_ > 1 THEN
                PERFORM marea.one_by_one();
            END IF;
            PERFORM marea.refuse_left_out(relation, 'INSERT', done = cardinality(part.keys));
        END IF;
        written := ARRAY(SELECT c FROM unnest(part.columns) AS c WHERE c = ANY (registers));
        IF part.places IS NULL AND 'back' <> ALL (statuses) THEN
            PERFORM marea.note_stamps(of_table.name, part.keys, written, stamps, client);
            CONTINUE;
        END IF;
        SELECT array_agg((SELECT coalesce(jsonb_object_agg(c, jsonb_build_array(stamp.at, client)), '{}')
                   FROM unnest(CASE WHEN stamp.status = 'back' THEN written || '*'::text ELSE written END) AS c) ORDER BY stamp.n)
        INTO clocks
        FROM unnest(stamps, statuses) WITH ORDINALITY AS stamp (at, status, n)
        WHERE part.places IS NULL OR stamp.n = ANY (part.places);
        PERFORM marea.note_writes(of_table.name, part.keys, clocks, false);
    END LOOP;

    IF 'there' = ANY (statuses) THEN
        SELECT jsonb_agg(m.value || jsonb_build_object('values', (m.value -> 'values') - ARRAY(
                   SELECT k FROM jsonb_object_keys(m.value -> 'values') AS k WHERE k <> ALL (merged))) ORDER BY m.n),
               array_agg(m.n ORDER BY m.n)
        INTO there, places
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n) WHERE statuses[m.n] = 'there';
        keys := marea.merge_mirrored(of_table, relation, there, client, true);
        FOR place IN 1..cardinality(places) LOOP
            statuses[places[place]] := keys[place];
        END LOOP;
    END IF;
    RETURN ARRAY(SELECT CASE WHEN s IN ('new', 'back', 'late') THEN 'applied' ELSE s END FROM unnest(statuses) WITH ORDINALITY AS u (s, n) ORDER BY u.n);
END
$$;

CREATE OR REPLACE FUNCTION marea.merge_mirrored(
    of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT, by_insert BOOLEAN DEFAULT false
) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Last writer wins, column by column; unions grow. 'applied' also where every column was lost to a later writer, or the row has been
-- deleted: the mutation has had the effect that the rules give it. 'duplicate' where it had been merged before.
DECLARE
    me       CONSTANT UUID := auth.uid();
    unions   CONSTANT TEXT[] := ARRAY(SELECT c.name FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'union');
    held     CONSTANT TEXT[] := marea.lock_mirrored(of_table, relation, ARRAY(SELECT m ->> 'key' FROM jsonb_array_elements(batch) AS m));
    statuses TEXT[];
    maps     JSONB;
    changes  JSONB;
    absent   RECORD;
    part     RECORD;
BEGIN
    SELECT l.deleted INTO absent
    FROM marea.with_lines(of_table.name, batch, client) AS l
    WHERE l.key <> ALL (held) AND l.deleted IS NOT TRUE AND NOT by_insert LIMIT 1;
    IF FOUND THEN
        PERFORM marea.refuse_absent(absent.deleted);
    END IF;

    IF unions <> '{}' THEN
        PERFORM set_config('search_path', 'pg_catalog, ' || marea.app_search_path(), true); -- for what the app's policies call
        EXECUTE format('SELECT jsonb_object_agg(t.%1$I::text, jsonb_build_object(%2$s)) FROM %3$s AS t WHERE t.%1$I::text = ANY ($1) AND t.%4$I = $2',
            of_table.key_column, (SELECT string_agg(format('%L, t.%I', u, u), ', ') FROM unnest(unions) AS u), relation, of_table.owner_column)
        INTO maps USING held, me;
        PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
    END IF;
    WITH judged AS MATERIALIZED (
        SELECT l.n, l.key, l.clock, w.winners, w.repeats
        FROM marea.with_lines(of_table.name, batch, client) AS l
        CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(f.key, f.value) FILTER (WHERE
                       CASE WHEN f.key = ANY (unions) THEN f.value <> 'null' AND grown.value IS DISTINCT FROM stands.value
                       ELSE l.hlc -> f.key IS NULL
                           OR ROW(l.clock COLLATE "C", client COLLATE "C") > ROW(l.hlc -> f.key ->> 0, l.hlc -> f.key ->> 1)
                       END) AS winners,
                   count(*) FILTER (WHERE l.hlc -> f.key = jsonb_build_array(l.clock, client)
                       OR (f.key = ANY (unions) AND grown.value IS NOT DISTINCT FROM stands.value)) AS repeats
            FROM jsonb_each(l.value -> 'values') AS f
            CROSS JOIN LATERAL (SELECT CASE WHEN f.key = ANY (unions) THEN nullif(maps -> l.key -> f.key, 'null') END) AS stands (value)
            CROSS JOIN LATERAL (SELECT CASE WHEN f.key = ANY (unions) AND f.value <> 'null'
                THEN marea.union_achievements(coalesce(stands.value, '{}'), f.value) ELSE stands.value END) AS grown (value)
            -- What was written before the row was deleted, and brought back, is of another row.
            WHERE l.key = ANY (held) AND l.later
              -- An insert whose clock was ahead is given another clock each time it is sent: it must not win again.
              AND NOT (by_insert AND l.clock <> l.value ->> 'hlc')
        ) AS w
    )
    SELECT array_agg(CASE WHEN j.winners IS NULL AND (by_insert OR j.repeats > 0) THEN 'duplicate' ELSE 'applied' END ORDER BY j.n),
           jsonb_agg(jsonb_build_object('key', j.key, 'values', j.winners, 'clock', j.clock) ORDER BY j.n) FILTER (WHERE j.winners IS NOT NULL)
    INTO statuses, changes
    FROM judged AS j;

    FOR part IN
        SELECT set_.columns, jsonb_agg(c.value ORDER BY c.n) AS changes, array_agg(c.value ->> 'key' ORDER BY c.n) AS keys,
               array_agg(c.value ->> 'clock' ORDER BY c.n) AS stamps
        FROM jsonb_array_elements(changes) WITH ORDINALITY AS c (value, n)
        CROSS JOIN LATERAL (SELECT ARRAY(SELECT jsonb_object_keys(c.value -> 'values'))) AS set_ (columns)
        GROUP BY set_.columns
        ORDER BY min(c.n)
    LOOP
        PERFORM marea.update_mirrored(of_table, relation, part.changes, part.columns, false);
        PERFORM marea.note_stamps(of_table.name, part.keys,
            ARRAY(SELECT c FROM unnest(part.columns) AS c WHERE c <> ALL (unions)), part.stamps, client);
    END LOOP;
    RETURN statuses;
END
$$;

CREATE OR REPLACE FUNCTION marea.add_mirrored(of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Every addition counts once, by the id of its mutation.
DECLARE
    me     CONSTANT UUID := auth.uid();
    fresh  CONSTANT UUID[] := marea.count_once(ARRAY(SELECT (m ->> 'id')::uuid FROM jsonb_array_elements(batch) AS m));
    held   CONSTANT TEXT[] := marea.lock_mirrored(of_table, relation, ARRAY(SELECT m ->> 'key' FROM jsonb_array_elements(batch) AS m));
    absent RECORD;
    part   RECORD;
BEGIN
    SELECT l.deleted INTO absent
    FROM marea.with_lines(of_table.name, batch, client) AS l
    WHERE (l.value ->> 'id')::uuid = ANY (fresh) AND l.key <> ALL (held) AND l.deleted IS NOT TRUE LIMIT 1;
    IF FOUND THEN
        PERFORM marea.refuse_absent(absent.deleted);
    END IF;
    FOR part IN
        SELECT summed.columns, jsonb_agg(jsonb_build_object('key', summed.key, 'values', summed.totals)) AS changes
        FROM (
            SELECT one.key, array_agg(one.name ORDER BY one.name) AS columns, jsonb_object_agg(one.name, one.total) AS totals
            FROM (
                SELECT l.key, f.key AS name, sum((f.value #>> '{}')::numeric) AS total
                FROM marea.with_lines(of_table.name, batch, client) AS l CROSS JOIN LATERAL jsonb_each(l.value -> 'values') AS f
                WHERE (l.value ->> 'id')::uuid = ANY (fresh) AND l.key = ANY (held) AND l.later
                GROUP BY 1, 2
            ) AS one
            GROUP BY one.key
        ) AS summed
        GROUP BY summed.columns
    LOOP
        PERFORM marea.update_mirrored(of_table, relation, part.changes, part.columns, true);
    END LOOP;
    RETURN ARRAY(
        SELECT CASE WHEN (m.value ->> 'id')::uuid = ANY (fresh)
                AND row_number() OVER (PARTITION BY m.value ->> 'id' ORDER BY m.n) = 1 THEN 'applied' ELSE 'duplicate' END
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n) ORDER BY m.n);
END
$$;

CREATE OR REPLACE FUNCTION marea.delete_mirrored(of_table marea.tables, relation REGCLASS, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- A deletion wins over whatever was written to the row, but for one that brought the row back later. Its clock stays with the tombstone.
DECLARE
    me       CONSTANT UUID := auth.uid();
    key_type CONSTANT TEXT := (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key');
    statuses TEXT[];
    keys     TEXT[];
    clocks   JSONB[];
    living   TEXT[];
    delete_  TEXT;
    done     BIGINT;
    present  BIGINT;
BEGIN
    SELECT array_agg(CASE WHEN l.hlc -> '*' = jsonb_build_array(l.clock, client) THEN 'duplicate' ELSE 'applied' END ORDER BY l.n),
           array_agg(l.key ORDER BY l.n) FILTER (WHERE l.later),
           array_agg(jsonb_build_object('*', jsonb_build_array(l.clock, client)) ORDER BY l.n) FILTER (WHERE l.later),
           array_agg(l.key ORDER BY l.n) FILTER (WHERE l.later AND l.deleted IS FALSE)
    INTO statuses, keys, clocks, living
    FROM marea.with_lines(of_table.name, batch, client) AS l;
    IF keys IS NULL THEN
        RETURN statuses;
    END IF;
    delete_ := format('DELETE FROM %s AS t WHERE t.%I OPERATOR(pg_catalog.=) ANY ($1::%s[]) AND t.%I OPERATOR(pg_catalog.=) $2',
        relation, of_table.key_column, key_type, of_table.owner_column);
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE delete_ USING keys, me;
    GET DIAGNOSTICS done = ROW_COUNT;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, ' || pg_catalog.current_setting('search_path'), true);
    IF done < cardinality(keys) THEN
        -- Some were gone already; of the others none may be left.
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE t.%I = ANY ($1::%s[]) AND t.%I = $2', relation, of_table.key_column, key_type,
            of_table.owner_column) INTO present USING keys, me;
        PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
        IF jsonb_array_length(batch) > 1 AND (present > 0 OR done < cardinality(living)) THEN
            PERFORM marea.one_by_one();
        ELSIF present > 0 AND marea.triggers_before(relation, 'DELETE') IS NOT NULL THEN
            PERFORM marea.refuse_left_out(relation, 'DELETE');
        ELSIF present > 0 OR done < cardinality(living) THEN
            PERFORM marea.refuse_absent(false);
        END IF;
    END IF;
    -- A row that never was leaves no tombstone.
    SELECT array_agg(k.key), array_agg(k.clocks) INTO keys, clocks
    FROM unnest(keys, clocks) AS k (key, clocks)
    WHERE EXISTS (SELECT FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = of_table.name AND r.row_key = k.key);
    IF keys IS NOT NULL THEN
        PERFORM marea.note_writes(of_table.name, keys, clocks, true);
    END IF;
    RETURN statuses;
END
$$;

CREATE OR REPLACE FUNCTION marea.apply_mirrored(name TEXT, op TEXT, batch JSONB, client TEXT) RETURNS TEXT[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- A run of mutations of one table and one operation, each of another row: a status for each.
DECLARE
    me       CONSTANT UUID := auth.uid();
    of_table marea.tables;
    relation REGCLASS;
    allowed  TEXT[];
    sound    BOOLEAN;
    problem  TEXT;
BEGIN
    SELECT t.* INTO of_table FROM marea.tables AS t WHERE t.name = apply_mirrored.name;
    IF of_table.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table: not mirrored';
    END IF;
    relation := marea.relation_of(of_table);
    IF relation IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table: is gone from the server';
    END IF;
    allowed := ARRAY(
        SELECT c.name FROM marea.columns AS c
        WHERE c.table_name = of_table.name AND of_table.writable AND c.rule = ANY (CASE op
            WHEN 'insert' THEN '{register,once,counter,union}' WHEN 'merge' THEN '{register,union}'
            WHEN 'add' THEN '{counter}' END::text[]));
    IF of_table.writable AND op IN ('insert', 'merge', 'add', 'delete') THEN
        EXECUTE format($sql$
            WITH given AS MATERIALIZED (
                SELECT m ->> 'key' AS key, m ->> 'hlc' AS hlc, m -> 'values' AS fields FROM jsonb_array_elements($1) AS m
            )
            SELECT bool_and(hlc ~ '^[0-9]{13}-[0-9a-f]{4}$' AND jsonb_typeof(fields) = 'object' AND fields - $2 = '{}' AND %s AND %s
                AND marea.mirror_%s_is_sound(fields)%s)
            FROM given $sql$,
            -- What is no uuid at all fails here as a cast does, and is told there.
            CASE WHEN of_table.key_column = of_table.owner_column THEN 'key = $3::text'
                WHEN of_table.key_type = 'uuid' THEN 'key::uuid::text = key' ELSE 'octet_length(key) BETWEEN 1 AND 1000' END,
            CASE op WHEN 'insert' THEN 'true' WHEN 'delete' THEN 'fields = ''{}''' ELSE 'fields <> ''{}''' END
                || CASE op WHEN 'add' THEN ' AND NOT fields::text ~ ''null|NaN|Inf''' ELSE '' END,
            of_table.id, CASE WHEN of_table.name = 'sessions' THEN ' AND marea.correction_problem(fields) IS NULL' END)
        INTO sound USING batch, allowed, me;
    END IF;
    IF sound IS NOT TRUE THEN
        SELECT marea.mirrored_problem(of_table, m.value, me) INTO problem
        FROM jsonb_array_elements(batch) WITH ORDINALITY AS m (value, n)
        WHERE marea.mirrored_problem(of_table, m.value, me) IS NOT NULL ORDER BY m.n LIMIT 1;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
        END IF;
    END IF;
    RETURN CASE op
        WHEN 'insert' THEN marea.insert_mirrored(of_table, relation, batch, client)
        WHEN 'merge' THEN marea.merge_mirrored(of_table, relation, batch, client)
        WHEN 'add' THEN marea.add_mirrored(of_table, relation, batch, client)
        ELSE marea.delete_mirrored(of_table, relation, batch, client)
    END;
EXCEPTION
  WHEN data_exception THEN
    -- What only a cast has found. Postgres does not say in which column.
    IF of_table.id IS NOT NULL AND relation IS NOT NULL AND jsonb_array_length(batch) = 1 THEN
        problem := marea.mirrored_problem(of_table, batch -> 0, me);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
        END IF;
    END IF;
    RAISE;
  WHEN undefined_column OR undefined_table OR undefined_object OR undefined_function OR datatype_mismatch THEN
    -- Its columns are others than when it was mirrored. An app's own trigger may miss something as well: then that is told.
    IF jsonb_array_length(batch) = 1 AND marea.has_drifted(of_table.name) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table: has other columns on the server than its catalogue says';
    END IF;
    RAISE;
END
$$;

COMMENT ON FUNCTION marea.insert_mirrored(marea.tables, REGCLASS, JSONB, TEXT) IS 'Inserts rows: a status for each.';
COMMENT ON FUNCTION marea.merge_mirrored(marea.tables, REGCLASS, JSONB, TEXT, BOOLEAN) IS 'Merges columns of rows: a status for each.';
COMMENT ON FUNCTION marea.add_mirrored(marea.tables, REGCLASS, JSONB, TEXT) IS 'Adds to counters of rows: a status for each.';
COMMENT ON FUNCTION marea.delete_mirrored(marea.tables, REGCLASS, JSONB, TEXT) IS 'Deletes rows: a status for each.';
COMMENT ON FUNCTION marea.apply_mirrored(TEXT, TEXT, JSONB, TEXT) IS 'Applies a run of mutations of a mirrored table: a status for each.';

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror
-- ---------------------------------------------------------------------------------------------------------------------

-- Mirror: declares tables of the app, takes a declaration back, gives versions to the rows that are there, says where a table and its
-- declaration have drifted apart.

CREATE OR REPLACE FUNCTION marea.mirror(
    relation REGCLASS, rules JSONB DEFAULT '{}', owner TEXT DEFAULT 'user_id', write BOOLEAN DEFAULT true, name TEXT DEFAULT NULL
) RETURNS TEXT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '4s' AS $$
-- Also after every ALTER TABLE. All that is missing is named in one message before anything is changed.
#variable_conflict use_column
DECLARE
    small    CONSTANT BIGINT := 10000;
    known    marea.tables;
    of_table marea.tables;
    problems TEXT[];
    gained   TEXT[];
    unseen   BOOLEAN;
    due      BIGINT;
BEGIN
    -- One declaration at a time.
    PERFORM pg_advisory_xact_lock(hashtextextended('marea.mirror', 0));
    IF relation IS NULL OR rules IS NULL OR owner IS NULL OR write IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22004', MESSAGE = 'relation, rules, owner and write must not be null';
    END IF;
    SELECT t.* INTO known FROM marea.tables AS t WHERE t.id = marea.mirrored_id(mirror.relation);
    mirror.name := coalesce(mirror.name, known.name, (SELECT c.relname FROM pg_class AS c WHERE c.oid = mirror.relation));
    problems := marea.mirror_problems(mirror.relation, mirror.rules, mirror.owner, mirror.write, mirror.name);
    IF problems <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = '55000',
            MESSAGE = format(E'%s cannot be mirrored; nothing was changed:\n  - %s', mirror.relation, array_to_string(problems, E'\n  - ')),
            HINT = 'docs/TABLES.md says what a mirrored table needs.';
    END IF;
    IF write AND NOT EXISTS (
        SELECT FROM pg_policy AS p WHERE p.polrelid = mirror.relation AND p.polpermissive AND p.polcmd IN ('d', '*')
          AND p.polroles && ARRAY[0::oid, (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = 'authenticated')]
    ) THEN
        RAISE NOTICE 'marea: no policy lets authenticated DELETE from %: what devices delete will be refused', mirror.relation;
    END IF;

    -- Columns that are new, were made anew, or travel in another way: rows that have something in them must come to the devices again.
    SELECT array_agg(d.name) INTO gained
    FROM marea.describe_columns(mirror.relation, mirror.rules, mirror.owner, mirror.write) AS d
    LEFT JOIN marea.columns AS c ON c.table_name = known.name AND c.name = d.name
    WHERE known.id IS NOT NULL AND ROW(c.place, c.type, c.sql_type) IS DISTINCT FROM ROW(d.place, d.type, d.sql_type);
    -- All of them, where nobody has seen what happened to them.
    unseen := known.id IS NOT NULL AND (known.owner_column <> mirror.owner OR marea.key_of(mirror.relation) <> known.key_column OR EXISTS (
        SELECT FROM marea.mirror_drift() AS d WHERE d.name = known.name AND d.problem LIKE 'trigger %'));
    IF unseen THEN
        gained := ARRAY[marea.key_of(mirror.relation)];
    END IF;

    IF known.id IS NULL THEN
        INSERT INTO marea.tables (name, schema_name, relation_name, key_column, key_type, owner_column, writable, rules)
        SELECT mirror.name, n.nspname, c.relname, '', 'uuid', mirror.owner, mirror.write, mirror.rules
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = mirror.relation
        RETURNING * INTO known;
    ELSIF known.name <> mirror.name THEN
        UPDATE marea.rows SET table_name = mirror.name WHERE table_name = known.name;
    END IF;
    UPDATE marea.tables AS t SET name = mirror.name, schema_name = n.nspname, relation_name = c.relname,
        key_column = k.name, key_type = k.type, owner_column = mirror.owner, writable = mirror.write, rules = mirror.rules,
        mirrored_at = now()
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
         marea.describe_columns(mirror.relation, mirror.rules, mirror.owner, mirror.write) AS k
    WHERE t.id = known.id AND c.oid = mirror.relation AND k.rule = 'key'
    RETURNING t.* INTO of_table;
    DELETE FROM marea.columns AS c WHERE c.table_name = of_table.name;
    INSERT INTO marea.columns (table_name, place, name, type, rule, nullable, has_default, max_length, labels, precision_, scale, sql_type)
    SELECT of_table.name, d.place, d.name, d.type, d.rule, d.nullable, d.has_default, d.max_length, d.labels, d.precision_, d.scale, d.sql_type
    FROM marea.describe_columns(mirror.relation, mirror.rules, mirror.owner, mirror.write) AS d;

    PERFORM marea.make_checks(of_table), marea.make_page(of_table, mirror.relation), marea.make_tracking(of_table, mirror.relation);
    PERFORM marea.publish_catalogue();

    IF unseen THEN
        PERFORM marea.note_missing_rows(of_table, mirror.relation);
    END IF;
    due := marea.rows_due(of_table, mirror.relation, gained, small);
    IF due > small OR of_table.refresh_before IS NOT NULL THEN
        UPDATE marea.tables AS t SET finished_at = NULL, existing_after = NULL, existing_done = 0, existing_total = NULL,
            refresh_before = CASE WHEN gained IS NOT NULL THEN clock_timestamp() ELSE t.refresh_before END
        WHERE t.id = of_table.id;
        RETURN format('%s is mirrored as %s; its rows come to the devices when you run: CALL marea.mirror_existing(%L)',
            mirror.relation, of_table.name, mirror.relation);
    END IF;
    PERFORM marea.version_rows(of_table, mirror.relation, gained);
    UPDATE marea.tables AS t SET finished_at = clock_timestamp(), refresh_before = NULL WHERE t.id = of_table.id;
    RETURN format('%s is mirrored as %s', mirror.relation, of_table.name);
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION USING ERRCODE = '55P03',
        MESSAGE = format('%s is in use by a long transaction; nothing was changed', mirror.relation),
        HINT = 'Run it again in a moment; SELECT * FROM pg_stat_activity ORDER BY xact_start shows who is at it.';
END
$$;

CREATE OR REPLACE FUNCTION marea.rows_due(of_table marea.tables, relation REGCLASS, gained TEXT[], most BIGINT) RETURNS BIGINT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- How many rows want a version, counted no further than one more than most.
DECLARE
    counted BIGINT;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s AS t WHERE %s LIMIT %s) AS due', relation, marea.due_condition(of_table, gained), most + 1)
    INTO counted;
    RETURN counted;
END
$$;

CREATE OR REPLACE FUNCTION marea.due_condition(of_table marea.tables, gained TEXT[]) RETURNS TEXT LANGUAGE sql STABLE
RETURN format('octet_length(t.%1$I::text) <= 1000 AND (NOT EXISTS (SELECT FROM marea.rows AS r WHERE r.user_id = t.%2$I '
    'AND r.table_name = %3$L AND r.row_key = t.%1$I::text COLLATE "C" AND NOT r.deleted)%4$s)', of_table.key_column, of_table.owner_column,
    of_table.name, (SELECT string_agg(format(' OR t.%I IS NOT NULL', g), '') FROM unnest(gained) AS g));

CREATE OR REPLACE FUNCTION marea.version_rows(of_table marea.tables, relation REGCLASS, gained TEXT[]) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) '
        'SELECT %1$L, false, array_agg(d.owner), array_agg(d.key) FROM (SELECT t.%2$I AS owner, t.%3$I::text AS key FROM %4$s AS t '
        'WHERE %5$s ORDER BY t.%3$I FOR SHARE) AS d HAVING count(*) > 0',
        of_table.name, of_table.owner_column, of_table.key_column, relation, marea.due_condition(of_table, gained));
END
$$;

CREATE OR REPLACE FUNCTION marea.note_missing_rows(of_table marea.tables, relation REGCLASS) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) '
        'SELECT %1$L, true, array_agg(r.user_id), array_agg(r.row_key) FROM marea.rows AS r WHERE r.table_name = %1$L AND NOT r.deleted '
        'AND NOT EXISTS (SELECT FROM %2$s AS t WHERE t.%3$I::text COLLATE "C" = r.row_key AND t.%4$I = r.user_id) HAVING count(*) > 0',
        of_table.name, relation, of_table.key_column, of_table.owner_column);
END
$$;

CREATE OR REPLACE FUNCTION marea.version_early_rows() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- A row whose owner is not in users yet gets no version. None can be there where a foreign key says so.
DECLARE
    of_table marea.tables;
BEGIN
    FOR of_table IN
        SELECT t.* FROM marea.tables AS t
        WHERE marea.relation_of(t) IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_constraint AS c
            WHERE c.contype = 'f' AND c.conrelid = marea.relation_of(t) AND c.confrelid = 'public.users'::regclass AND NOT c.condeferrable
              AND c.conkey = ARRAY(SELECT a.attnum FROM pg_attribute AS a WHERE a.attrelid = c.conrelid AND a.attname = t.owner_column))
    LOOP
        EXECUTE format('INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) '
            'SELECT %1$L, false, array_agg(t.%2$I), array_agg(t.%3$I::text) FROM added AS u JOIN %4$s AS t ON t.%2$I = u.id '
            'WHERE %5$s HAVING count(*) > 0', of_table.name, of_table.owner_column, of_table.key_column, marea.relation_of(of_table),
            marea.due_condition(of_table, NULL));
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
    RETURN NULL; -- a key or owner is gone: marea.health says so
END
$$;

CREATE OR REPLACE TRIGGER marea_users_version_early_rows AFTER INSERT ON public.users
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.version_early_rows();

CREATE OR REPLACE FUNCTION marea.mirror_batch(relation REGCLASS, batch INTEGER, waits BOOLEAN) RETURNS INTEGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off AS $$
-- The next rows, in the order of their keys. Rows that somebody holds are passed over, unless it waits. Returns how many keys it went
-- over; 0: it has come to the end.
DECLARE
    of_table marea.tables;
    keys     TEXT[];
    seen     INTEGER;
BEGIN
    SELECT t.* INTO of_table FROM marea.tables AS t WHERE t.id = marea.mirrored_id(relation) FOR UPDATE;
    IF of_table.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s is not mirrored', relation),
            HINT = format('SELECT marea.mirror(%L)', relation);
    ELSIF batch IS NULL OR batch NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'batch: must be 1 to 100000';
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = '25001', MESSAGE = 'marea.mirror_existing needs READ COMMITTED';
    END IF;
    EXECUTE format('SELECT array_agg(k.key ORDER BY k.key), count(*) FROM (SELECT t.%1$I AS key FROM %2$s AS t '
        'WHERE $1 IS NULL OR t.%1$I > $1::%3$s ORDER BY t.%1$I LIMIT $2) AS k',
        of_table.key_column, relation, (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key'))
    INTO keys, seen USING of_table.existing_after, batch;
    IF seen > 0 THEN
        EXECUTE format('INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) '
            'SELECT %1$L, false, array_agg(d.owner), array_agg(d.key) FROM (SELECT t.%2$I AS owner, t.%3$I::text AS key FROM %4$s AS t '
            'WHERE t.%3$I = ANY ($1::%6$s[]) AND octet_length(t.%3$I::text) <= 1000 AND NOT EXISTS (SELECT FROM marea.rows AS r '
            'WHERE r.user_id = t.%2$I AND r.table_name = %1$L AND r.row_key = t.%3$I::text COLLATE "C" AND NOT r.deleted '
            'AND ($2 IS NULL OR r.changed_at >= $2)) ORDER BY t.%3$I FOR SHARE OF t %5$s) AS d HAVING count(*) > 0',
            of_table.name, of_table.owner_column, of_table.key_column, relation, CASE WHEN NOT waits THEN 'SKIP LOCKED' END,
            (SELECT c.sql_type FROM marea.columns AS c WHERE c.table_name = of_table.name AND c.rule = 'key'))
        USING keys, of_table.refresh_before;
    END IF;
    UPDATE marea.tables AS t SET
        existing_total = coalesce(t.existing_total, (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class AS c WHERE c.oid = relation)),
        existing_after = CASE WHEN seen > 0 THEN keys[seen] END,
        existing_done = CASE WHEN of_table.existing_after IS NULL THEN 0 ELSE t.existing_done END + seen,
        finished_at = CASE WHEN seen = 0 AND waits THEN clock_timestamp() END,
        refresh_before = CASE WHEN seen = 0 AND waits THEN NULL ELSE t.refresh_before END
    WHERE t.id = of_table.id
    RETURNING t.* INTO of_table;
    RETURN seen;
END
$$;

CREATE OR REPLACE PROCEDURE marea.mirror_existing(relation REGCLASS, batch INTEGER DEFAULT 1000)
LANGUAGE plpgsql AS $$
-- No SET clause: Postgres would not let it commit. So every name is written out. Twice over all keys: rows that somebody held are
-- waited for in the second round, when nearly nothing is left to do.
DECLARE
    seen pg_catalog.int4;
    done pg_catalog.int8 := 0;
    said pg_catalog.timestamptz := pg_catalog.clock_timestamp();
BEGIN
    FOR waits IN 0..1 LOOP
        LOOP
            seen := marea.mirror_batch(relation, batch, waits OPERATOR(pg_catalog.=) 1);
            COMMIT;
            EXIT WHEN seen OPERATOR(pg_catalog.=) 0;
            done := done OPERATOR(pg_catalog.+) seen;
            IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) (said OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => 2)) THEN
                RAISE NOTICE 'marea.mirror_existing: % rows of %', done, relation;
                said := pg_catalog.clock_timestamp();
            END IF;
        END LOOP;
    END LOOP;
    RAISE NOTICE 'marea.mirror_existing: all rows of % have a version', relation;
END
$$;

CREATE OR REPLACE FUNCTION marea.forget_table(of_table marea.tables) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation CONSTANT REGCLASS := marea.relation_of(of_table);
    part     TEXT;
BEGIN
    IF relation IS NOT NULL THEN
        FOREACH part IN ARRAY ARRAY['inserted', 'updated', 'deleted', 'truncated'] LOOP
            EXECUTE format('DROP TRIGGER IF EXISTS marea_mirror_%s ON %s', part, relation);
        END LOOP;
    END IF;
    FOREACH part IN ARRAY ARRAY['track()', 'page(UUID, BIGINT, BIGINT, BOOLEAN)', 'weights(UUID, BIGINT, BIGINT)', 'is_sound(JSONB)'] LOOP
        EXECUTE format('DROP FUNCTION IF EXISTS marea.mirror_%s_%s', of_table.id, part);
    END LOOP;
    DELETE FROM marea.tables AS t WHERE t.id = of_table.id;
    -- Tombstones stay, and the rest becomes them: a device that hears of nothing until the table is mirrored again must not keep what has
    -- been deleted meanwhile. A tombstone of a session also keeps it from being sent again: only those that were deleted have one.
    IF of_table.name = 'sessions' THEN
        DELETE FROM marea.rows AS r WHERE r.table_name = 'sessions' AND NOT r.deleted;
    ELSE
        -- The lines say so at once, because the same transaction may mirror the table again.
        WITH gone AS (
            UPDATE marea.rows AS r SET deleted = true WHERE r.table_name = of_table.name AND NOT r.deleted RETURNING r.user_id, r.row_key
        )
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
        SELECT of_table.name, true, array_agg(gone.user_id), array_agg(gone.row_key) FROM gone HAVING count(*) > 0;
    END IF;
    PERFORM marea.publish_catalogue();
END
$$;

CREATE OR REPLACE FUNCTION marea.unmirror(relation REGCLASS) RETURNS TEXT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '4s' AS $$
-- The app's table stays as it is; the devices drop their copy.
DECLARE
    of_table marea.tables;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('marea.mirror', 0));
    SELECT t.* INTO of_table FROM marea.tables AS t WHERE t.id = marea.mirrored_id(relation);
    IF of_table.id IS NULL THEN
        RETURN format('%s is not mirrored', relation);
    END IF;
    PERFORM marea.forget_table(of_table);
    RETURN format('%s is mirrored no more', relation);
END
$$;

CREATE OR REPLACE FUNCTION marea.unmirror_dropped() RETURNS TEXT[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- For tables that are gone, which marea.unmirror cannot be given. Returns their names.
DECLARE
    of_table marea.tables;
    names    TEXT[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('marea.mirror', 0));
    FOR of_table IN SELECT t.* FROM marea.tables AS t WHERE marea.relation_of(t) IS NULL ORDER BY t.name LOOP
        PERFORM marea.forget_table(of_table);
        names := names || of_table.name;
    END LOOP;
    RETURN names;
END
$$;

CREATE OR REPLACE FUNCTION marea.mirror_drift() RETURNS TABLE (name TEXT, problem TEXT, remedy TEXT)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Where a mirrored table is not as it was declared.
    WITH tables AS (
        SELECT t.name, t.id, t.rules, t.owner_column, t.writable, t.finished_at, marea.relation_of(t) AS relation,
               to_regclass(format('%I.%I', t.schema_name, t.relation_name)) IS NULL AS renamed
        FROM marea.tables AS t
    ), here AS (
        SELECT t.*, format('SELECT marea.mirror(%L, rules => %L, owner => %L, write => %s, name => %L)', t.relation, t.rules,
                   t.owner_column, t.writable, t.name) AS again
        FROM tables AS t WHERE t.relation IS NOT NULL
    ), columns AS (
        SELECT h.name AS table_name, h.again, d.*
        FROM here AS h CROSS JOIN LATERAL marea.describe_columns(h.relation, h.rules, h.owner_column, h.writable) AS d
    )
    SELECT t.name, 'the table is gone', 'SELECT marea.unmirror_dropped()' FROM tables AS t WHERE t.relation IS NULL
    UNION ALL
    SELECT h.name, format('the table is %s now', h.relation), h.again FROM here AS h WHERE h.renamed
    UNION ALL
    SELECT h.name, p.problem, 'mend it, then ' || h.again
    FROM here AS h
    CROSS JOIN LATERAL unnest(marea.mirror_problems(h.relation, h.rules, h.owner_column, h.writable, h.name)) AS p (problem)
    UNION ALL
    SELECT coalesce(d.table_name, c.table_name), format('column %I %s', coalesce(d.name, c.name),
               CASE WHEN d.name IS NULL THEN 'is gone' WHEN c.name IS NULL THEN 'is new' ELSE 'has changed' END), h.again
    FROM columns AS d
    FULL JOIN marea.columns AS c ON c.table_name = d.table_name AND c.name = d.name
    JOIN here AS h ON h.name = coalesce(d.table_name, c.table_name)
    WHERE ROW(c.name, c.type, c.rule, c.nullable, c.has_default, c.max_length, c.labels, c.precision_, c.scale, c.sql_type)
          IS DISTINCT FROM ROW(d.name, d.type, d.rule, d.nullable, d.has_default, d.max_length, d.labels, d.precision_, d.scale, d.sql_type)
    UNION ALL
    SELECT h.name, format('trigger marea_mirror_%s is missing or disabled', w.part), h.again
    FROM here AS h CROSS JOIN unnest(ARRAY['inserted', 'updated', 'deleted', 'truncated']) AS w (part)
    WHERE NOT EXISTS (
        SELECT FROM pg_trigger AS g WHERE g.tgrelid = h.relation AND g.tgname = 'marea_mirror_' || w.part AND g.tgenabled IN ('O', 'A'))
    UNION ALL
    SELECT h.name, 'rows that were there have no version yet', format('CALL marea.mirror_existing(%L)', h.relation)
    FROM here AS h WHERE h.finished_at IS NULL
$$;

CREATE OR REPLACE FUNCTION marea.has_drifted(of_table TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM marea.mirror_drift() AS d WHERE d.name = of_table AND d.problem !~ '^rows ')
$$;

COMMENT ON FUNCTION marea.mirror(REGCLASS, JSONB, TEXT, BOOLEAN, TEXT) IS
    'Mirrors a table of the app, or brings its declaration up to date. docs/TABLES.md';
COMMENT ON FUNCTION marea.rows_due(marea.tables, REGCLASS, TEXT[], BIGINT) IS 'How many rows of a table want a version.';
COMMENT ON FUNCTION marea.due_condition(marea.tables, TEXT[]) IS 'Which rows want a version: those without one, and those with something in new columns.';
COMMENT ON FUNCTION marea.version_rows(marea.tables, REGCLASS, TEXT[]) IS 'Gives all rows that want one a version, at once.';
COMMENT ON FUNCTION marea.note_missing_rows(marea.tables, REGCLASS) IS 'Notes rows that went while nothing was tracked.';
COMMENT ON FUNCTION marea.version_early_rows() IS 'Trigger: gives versions to the rows that were there before their owner.';
COMMENT ON FUNCTION marea.mirror_batch(REGCLASS, INTEGER, BOOLEAN) IS 'Gives the next rows a version, in the caller''s transaction.';
COMMENT ON PROCEDURE marea.mirror_existing(REGCLASS, INTEGER) IS
    'Gives the rows that a table had a version, each batch committed by itself; goes on where an earlier call was stopped.';
COMMENT ON FUNCTION marea.forget_table(marea.tables) IS 'Drops all that was made for a mirrored table.';
COMMENT ON FUNCTION marea.unmirror(REGCLASS) IS 'Takes marea.mirror back; the app''s table stays as it is.';
COMMENT ON FUNCTION marea.unmirror_dropped() IS 'The same for all tables that are gone.';
COMMENT ON FUNCTION marea.has_drifted(TEXT) IS 'Whether a mirrored table is not as it was declared.';
COMMENT ON FUNCTION marea.mirror_drift() IS 'Where mirrored tables are not as they were declared, and what to type.';

-- ---------------------------------------------------------------------------------------------------------------------
-- push
-- ---------------------------------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------------------------------
-- mirror_access
-- ---------------------------------------------------------------------------------------------------------------------

-- Who may do what of the mirrored tables. What is made for each of them is granted where it is made.

REVOKE ALL ON marea.tables, marea.columns, marea.catalogue, marea.additions FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.tables_id_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.marea_catalogue() FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION
    marea.add_mirrored, marea.apply_mirrored, marea.base_type, marea.column_problem, marea.correction_problem, marea.count_once,
    marea.delete_mirrored, marea.describe_columns, marea.due_condition, marea.forget_table, marea.form_of, marea.indexes_of, marea.insert_mirrored,
    marea.is_mine, marea.key_of, marea.left_out_keys, marea.lock_mirrored, marea.make_checks, marea.make_page,
    marea.make_tracking, marea.merge_mirrored, marea.mirror, marea.mirror_batch, marea.mirror_drift, marea.mirror_problems,
    marea.mirrored_id, marea.mirrored_page, marea.mirrored_problem, marea.mirrored_rows, marea.mirrored_weights,
    marea.note_changes, marea.note_missing_rows, marea.note_stamps, marea.note_writes, marea.one_by_one, marea.page_sql, marea.publish_catalogue, marea.record_of,
    marea.refuse_absent, marea.rejected, marea.relation_of, marea.reserved_names, marea.rows_due, marea.sound_sql,
    marea.track_truncate, marea.tracking_sql, marea.version_early_rows, marea.unmirror, marea.unmirror_dropped, marea.update_mirrored,
    marea.version_rows, marea.weight_expression, marea.wire_expression, marea.wire_instant, marea.wire_timestamp,
    marea.with_lines, marea.has_drifted, marea.unseen_tables
FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON PROCEDURE marea.mirror_existing FROM PUBLIC, anon, authenticated, service_role;

GRANT EXECUTE ON FUNCTION public.marea_catalogue() TO anon, authenticated, service_role;
-- marea_sync runs as its caller.
GRANT SELECT ON marea.tables, marea.columns, marea.catalogue TO authenticated;
GRANT EXECUTE ON FUNCTION
    marea.add_mirrored, marea.apply_mirrored, marea.column_problem, marea.correction_problem, marea.count_once,
    marea.delete_mirrored, marea.form_of, marea.insert_mirrored, marea.is_mine, marea.left_out_keys, marea.lock_mirrored, marea.merge_mirrored,
    marea.has_drifted, marea.mirrored_page, marea.mirrored_problem, marea.mirrored_rows, marea.mirrored_weights, marea.note_stamps,
    marea.note_writes, marea.one_by_one, marea.page_sql, marea.record_of, marea.refuse_absent, marea.rejected, marea.relation_of,
    marea.union_achievements, marea.update_mirrored, marea.weight_expression, marea.wire_expression, marea.wire_instant,
    marea.wire_timestamp, marea.with_lines, marea.unseen_tables
TO authenticated;

-- What a newer version of this makes for each table is made for those that are mirrored already.
DO $$
DECLARE
    of_table marea.tables;
    relation REGCLASS;
BEGIN
    FOR of_table IN SELECT t.* FROM marea.tables AS t WHERE NOT marea.has_drifted(t.name) LOOP
        relation := marea.relation_of(of_table);
        PERFORM marea.make_checks(of_table), marea.make_page(of_table, relation), marea.make_tracking(of_table, relation);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- files
-- ---------------------------------------------------------------------------------------------------------------------

-- Files of exports: the private bucket and who may do what in it, on Supabase or wherever schema storage is; and which objects are
-- to be deleted. Devices upload and read with their users' tokens; file_sweep deletes.

CREATE OR REPLACE FUNCTION marea.file_path(file_url TEXT, owner UUID, export UUID) RETURNS TEXT LANGUAGE sql IMMUTABLE
-- A file_url is written by devices. Only one that is exactly the row's own user and id names an object; of all others nothing is
-- ever deleted.
RETURN CASE
    WHEN file_url ~ ('^storage://marea-exports/' || owner || '/' || export || '/[0-9a-f]{64}\.[a-z0-9]{1,10}$')
        THEN substr(file_url, length('storage://marea-exports/') + 1)
END;

COMMENT ON FUNCTION marea.file_path(TEXT, UUID, UUID) IS
    'The object that a file_url names, below the bucket; NULL unless it is exactly this user''s and this export''s.';

CREATE OR REPLACE FUNCTION marea.is_file_name(name TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN coalesce(name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{64}\.[a-z0-9]{1,10}$', false);

COMMENT ON FUNCTION marea.is_file_name(TEXT) IS 'Whether an object is called as Marea calls them: <user>/<export id>/<sha256>.<ending>.';

CREATE OR REPLACE FUNCTION marea.is_own_file(name TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE
RETURN marea.is_file_name(name) AND split_part(name, '/', 1) = (SELECT marea.user_id())::text;

COMMENT ON FUNCTION marea.is_own_file(TEXT) IS 'Whether an object lies in the folder of the user who asks. For policies.';

CREATE OR REPLACE FUNCTION marea.may_add_file(name TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- As its owner: Storage knows no pre-request, so that the tables' own policies cannot read the token of another sign-in service.
DECLARE
    folder CONSTANT TEXT := substring(may_add_file.name FROM '^[^/]+/[^/]+/');
    others BIGINT;
BEGIN
    IF NOT marea.is_own_file(may_add_file.name) OR NOT EXISTS (
        SELECT FROM public.export_history AS e
        WHERE e.id = split_part(may_add_file.name, '/', 2)::uuid AND e.user_id = marea.user_id() AND e.status <> 'expired'
    ) THEN
        RETURN false;
    END IF;
    EXECUTE 'SELECT count(*) FROM (
                SELECT FROM storage.objects AS o WHERE o.bucket_id = ''marea-exports'' AND o.name COLLATE "C" > $1
                  AND o.name COLLATE "C" < $2 AND o.name <> $3 LIMIT 100) AS others'
    INTO others USING folder, rtrim(folder, '/') || '0', may_add_file.name;
    RETURN others < 100;
END
$$;

COMMENT ON FUNCTION marea.may_add_file(TEXT) IS 'Whether an object is the file of an own export that has not expired, and one of its first 100. For policies.';

CREATE OR REPLACE FUNCTION marea.prepare_files() RETURNS BOOLEAN
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Nothing is updated: objects never change. Anybody's other policies on storage.objects stay as they are.
DECLARE
    wanted RECORD;
BEGIN
    IF to_regclass('storage.objects') IS NULL OR to_regclass('storage.buckets') IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE 'INSERT INTO storage.buckets (id, name, public) VALUES ($1, $1, false)
             ON CONFLICT (id) DO UPDATE SET public = false WHERE buckets.public' USING 'marea-exports';
    FOR wanted IN
        SELECT * FROM (VALUES
            ('marea_exports_select', 'SELECT', 'USING', 'marea.is_own_file(name)'),
            ('marea_exports_insert', 'INSERT', 'WITH CHECK', 'marea.may_add_file(name)'),
            ('marea_exports_delete', 'DELETE', 'USING', 'marea.is_own_file(name)')
        ) AS policies (name, command, clause, condition)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('storage.objects') AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON storage.objects FOR %s TO authenticated %s (bucket_id = %L AND %s)',
            wanted.name, wanted.command, wanted.clause, 'marea-exports', wanted.condition);
    END LOOP;
    RETURN true;
END
$$;

COMMENT ON FUNCTION marea.prepare_files() IS
    'Makes the private bucket marea-exports and its policies where schema storage exists; says whether it does. May be run again.';

CREATE TABLE IF NOT EXISTS marea.file_garbage (
    path       TEXT COLLATE "C" PRIMARY KEY CONSTRAINT file_garbage_path_known CHECK (marea.is_file_name(path)),
    noted_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts   INTEGER NOT NULL DEFAULT 0,
    asked_at   TIMESTAMPTZ,
    request_id BIGINT,
    last_error TEXT
);

CREATE INDEX IF NOT EXISTS file_garbage_noted_at_idx ON marea.file_garbage (noted_at);

COMMENT ON TABLE marea.file_garbage IS 'Objects of the bucket marea-exports that are to be deleted; filled as exports expire and go.';
COMMENT ON COLUMN marea.file_garbage.path IS 'The object, below the bucket: <user>/<export id>/<sha256>.<ending>.';
COMMENT ON COLUMN marea.file_garbage.noted_at IS 'When its export expired or went; server clock.';
COMMENT ON COLUMN marea.file_garbage.attempts IS 'How often its deletion was asked for, count.';
COMMENT ON COLUMN marea.file_garbage.asked_at IS 'When it was last asked for; server clock.';
COMMENT ON COLUMN marea.file_garbage.request_id IS 'The request of pg_net that is under way.';
COMMENT ON COLUMN marea.file_garbage.last_error IS 'What the last answer was, where it was none of success.';

CREATE OR REPLACE FUNCTION marea.note_file_garbage() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted BIGINT;
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL AND EXISTS (
            SELECT FROM new_rows AS n
            WHERE n.id = o.id AND (n.file_url IS DISTINCT FROM o.file_url OR n.status = 'expired'))
        ON CONFLICT DO NOTHING;
        -- Whoever names another file of an export again and again leaves a line for each. It is the path that says whose it is.
        GET DIAGNOSTICS noted = ROW_COUNT;
        IF noted > 0 AND auth.uid() IS NOT NULL THEN
            IF EXISTS (
                SELECT FROM old_rows AS o WHERE (
                    SELECT count(*) FROM marea.file_garbage AS g
                    WHERE g.path >= o.user_id || '/' || o.id || '/' AND g.path < o.user_id || '/' || o.id || '0') > 100
            ) THEN
                PERFORM marea.refuse_growth('files to delete of one export', 100);
            ELSIF EXISTS (
                SELECT FROM marea.file_garbage AS g WHERE g.path >= auth.uid() || '/' AND g.path < auth.uid() || '0' OFFSET 10000
            ) THEN
                PERFORM marea.refuse_growth('files to delete', 10000);
            END IF;
        END IF;
        IF auth.uid() IS NOT NULL AND (SELECT count(*) FROM new_rows) > 500 THEN
            RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'export_history: a signed-in user changes at most 500 rows at once';
        END IF;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.note_file_garbage() IS 'Trigger: notes the files of exports that expire or go.';

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_update'
    ) THEN
        CREATE TRIGGER export_history_files_update AFTER UPDATE ON public.export_history
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_delete'
    ) THEN
        CREATE TRIGGER export_history_files_delete AFTER DELETE ON public.export_history
            REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
END
$$;

ALTER TABLE marea.file_garbage ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON marea.file_garbage FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION marea.file_path, marea.is_file_name, marea.is_own_file, marea.may_add_file, marea.prepare_files,
    marea.note_file_garbage
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.is_file_name, marea.is_own_file, marea.may_add_file TO authenticated;

DO $$ BEGIN PERFORM marea.prepare_files(); END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- file_sweep
-- ---------------------------------------------------------------------------------------------------------------------

-- Deleting objects that are due. Supabase refuses a DELETE in SQL on storage.objects: it goes by the API, through pg_net with a key
-- from Vault, or, where those are not, by a script that asks marea.files_to_delete and tells marea.files_deleted.

CREATE OR REPLACE FUNCTION marea.is_live_file(path TEXT, noted_at TIMESTAMPTZ) RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- A device that was away may have said again where a file is; or has given the same file once more, and has not said so yet.
DECLARE
    export CONSTANT UUID := split_part(path, '/', 2)::uuid;
    named  TEXT;
    is_new BOOLEAN;
BEGIN
    SELECT coalesce(marea.file_path(e.file_url, e.user_id, e.id), '') INTO named
    FROM public.export_history AS e WHERE e.id = export AND e.user_id::text = split_part(path, '/', 1) AND e.status <> 'expired';
    IF named = '' AND to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE 'SELECT o.created_at > $1 FROM storage.objects AS o WHERE o.bucket_id = ''marea-exports'' AND o.name = $2'
        INTO is_new USING noted_at, path;
    END IF;
    RETURN coalesce(named = path OR is_new, false);
END
$$;

COMMENT ON FUNCTION marea.is_live_file(TEXT, TIMESTAMPTZ) IS
    'Whether a file that was due is that of an export after all: named again, or given again and not named yet.';

CREATE OR REPLACE FUNCTION marea.restore_live_files() RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM marea.file_garbage AS g WHERE marea.is_live_file(g.path, g.noted_at)
$$;

COMMENT ON FUNCTION marea.restore_live_files() IS 'Forgets garbage that an export names again. Before each sweep.';

CREATE OR REPLACE FUNCTION marea.sweep_files(batch INTEGER DEFAULT 100) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Takes in the answers to earlier requests, then asks for the next deletions; returns how many. Needs pg_net, and in Vault the
-- secrets marea_project_url and marea_service_key; without them it returns 0 and marea.health says what is missing.
DECLARE
    url     TEXT;
    key     TEXT;
    found   RECORD;
    request BIGINT;
    asked   BIGINT := 0;
    missing TEXT;
BEGIN
    IF batch NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'batch: must be from 1 to 10000';
    END IF;
    PERFORM marea.restore_live_files();
    IF to_regclass('net._http_response') IS NULL THEN
        missing := 'the extension pg_net is missing';
    ELSIF to_regclass('vault.decrypted_secrets') IS NULL THEN
        missing := 'the extension supabase_vault is missing';
    ELSE
        EXECUTE 'SELECT rtrim((SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_project_url''), ''/''),
                        (SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_service_key'')' INTO url, key;
        IF url IS NULL OR key IS NULL THEN
            missing := 'the secrets marea_project_url and marea_service_key are missing in Vault';
        END IF;
    END IF;
    IF missing IS NOT NULL THEN
        UPDATE marea.file_garbage SET last_error = missing WHERE last_error IS DISTINCT FROM missing;
        RETURN 0;
    END IF;

    -- What is not there is as good as deleted.
    EXECUTE $answers$
        WITH answers AS (
            SELECT g.path, r.status_code, r.error_msg,
                   coalesce(r.status_code BETWEEN 200 AND 299
                       OR r.content ~ '"(code|error)"\s*:\s*"(NoSuchKey|not_found)"', false) AS done
            FROM marea.file_garbage AS g JOIN net._http_response AS r ON r.id = g.request_id
        ), gone AS (
            DELETE FROM marea.file_garbage AS g USING answers AS a WHERE g.path = a.path AND a.done
        )
        UPDATE marea.file_garbage AS g
        SET request_id = NULL, last_error = coalesce(a.error_msg, 'HTTP ' || a.status_code)
        FROM answers AS a WHERE g.path = a.path AND NOT a.done
    $answers$;

    FOR found IN
        SELECT g.path FROM marea.file_garbage AS g
        WHERE g.asked_at IS NULL OR g.asked_at < now() - least(g.attempts, 6) * interval '10 minutes'
        ORDER BY g.noted_at LIMIT batch FOR UPDATE SKIP LOCKED
    LOOP
        EXECUTE 'SELECT net.http_delete(url := $1, headers := $2)' INTO request
        USING url || '/storage/v1/object/marea-exports/' || found.path,
              jsonb_build_object('Authorization', 'Bearer ' || key, 'apikey', key);
        UPDATE marea.file_garbage SET attempts = attempts + 1, asked_at = now(), request_id = request WHERE path = found.path;
        asked := asked + 1;
    END LOOP;
    RETURN asked;
END
$$;

COMMENT ON FUNCTION marea.sweep_files(INTEGER) IS
    'Asks Storage, through pg_net, to delete objects that are due; returns for how many. To be run every few minutes.';

CREATE OR REPLACE FUNCTION marea.note_orphan_files(older INTERVAL DEFAULT '1 day') RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- An object is made before its export says so: hence the day.
DECLARE
    noted BIGINT := 0;
BEGIN
    IF older < interval '1 hour' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'older: must be at least 1 hour';
    END IF;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE $orphans$
            INSERT INTO marea.file_garbage (path)
            SELECT o.name FROM storage.objects AS o
            WHERE o.bucket_id = 'marea-exports' AND o.created_at < now() - $1 AND marea.is_file_name(o.name)
              AND NOT EXISTS (
                SELECT FROM public.export_history AS e
                WHERE e.id::text = split_part(o.name, '/', 2) AND e.user_id::text = split_part(o.name, '/', 1)
                  AND e.status <> 'expired'
                  -- Without a name the device may be on its way to give one.
                  AND coalesce(marea.file_path(e.file_url, e.user_id, e.id), o.name) = o.name)
            ON CONFLICT DO NOTHING
        $orphans$ USING older;
        GET DIAGNOSTICS noted = ROW_COUNT;
    END IF;
    RETURN noted;
END
$$;

COMMENT ON FUNCTION marea.note_orphan_files(INTERVAL) IS
    'Compares the bucket with the exports and notes objects that belong to none, or whose export names another one; returns how many. To be run once a week.';

CREATE OR REPLACE VIEW marea.files_to_delete AS
SELECT g.path, g.noted_at, g.attempts, g.last_error
FROM marea.file_garbage AS g
WHERE NOT marea.is_live_file(g.path, g.noted_at)
ORDER BY g.noted_at;

COMMENT ON VIEW marea.files_to_delete IS 'Objects of the bucket marea-exports that are due, oldest first: for a script, where there is no pg_net.';

CREATE OR REPLACE FUNCTION marea.files_deleted(paths TEXT[]) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    went BIGINT;
BEGIN
    DELETE FROM marea.file_garbage WHERE path = ANY (paths);
    GET DIAGNOSTICS went = ROW_COUNT;
    RETURN went;
END
$$;

COMMENT ON FUNCTION marea.files_deleted(TEXT[]) IS 'Told by a script which objects it has deleted; returns how many were due.';

REVOKE ALL ON marea.files_to_delete FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.files_to_delete TO service_role;
REVOKE ALL ON FUNCTION marea.is_live_file, marea.restore_live_files, marea.sweep_files, marea.note_orphan_files, marea.files_deleted
FROM PUBLIC, anon, authenticated, service_role;
-- marea.is_live_file: the view is read with the privileges of its owner, but the function in it with those of who reads it.
GRANT EXECUTE ON FUNCTION marea.is_live_file, marea.sweep_files, marea.note_orphan_files, marea.files_deleted TO service_role;

NOTIFY pgrst, 'reload schema';

COMMIT;
