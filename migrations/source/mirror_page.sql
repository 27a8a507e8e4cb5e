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
