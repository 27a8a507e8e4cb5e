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
