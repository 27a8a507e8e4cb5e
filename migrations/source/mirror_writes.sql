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
