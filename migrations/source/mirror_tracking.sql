-- Tracking of mirrored tables: triggers that are made with the table's columns in them, so that a statement costs what it changes.
-- Nothing that happens to the table later may make a statement of the app fail: where a column has gone, what is left of them is
-- tracked, and marea.health says that marea.mirror is due.

CREATE OR REPLACE FUNCTION marea.tracking_sql(of_table marea.tables, relation REGCLASS, op TEXT) RETURNS TEXT
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- One row: owners and keys of rows that went, owners and keys of rows that are here, and which registers of those were changed.
    -- A key of more than 1,000 bytes fits into no index of Marea's: such a row does not travel.
    -- Rows are compared by their images: any type has one, and 1.0 is not 1.00.
    WITH columns AS (
        SELECT c.name, c.place, c.rule
        FROM marea.columns AS c
        JOIN pg_attribute AS a ON a.attrelid = relation AND a.attname = c.name AND NOT a.attisdropped AND a.attnum > 0
        WHERE c.table_name = of_table.name AND a.attgenerated <> 'v'
    )
    SELECT CASE op
        WHEN 'INSERT' THEN format($sql$
            SELECT NULL::uuid[], NULL::text[], array_agg(n.%1$I), array_agg(n.%2$I::text), NULL::jsonb[]
            FROM added AS n WHERE octet_length(n.%2$I::text) <= 1000 $sql$, of_table.owner_column, of_table.key_column)
        WHEN 'DELETE' THEN format($sql$
            SELECT array_agg(o.%1$I), array_agg(o.%2$I::text), NULL::uuid[], NULL::text[], NULL::jsonb[]
            FROM removed AS o WHERE octet_length(o.%2$I::text) <= 1000 $sql$, of_table.owner_column, of_table.key_column)
        ELSE format($sql$
            WITH moved AS (
                SELECT o.%1$I AS owner, o.%2$I::text AS key FROM removed AS o
                EXCEPT SELECT n.%1$I, n.%2$I::text FROM added AS n
            ), changed AS MATERIALIZED (
                SELECT n.%1$I AS owner, n.%2$I::text AS key, %3$s AS names
                FROM added AS n LEFT JOIN removed AS o ON o.%2$I = n.%2$I AND o.%1$I = n.%1$I
                WHERE %4$s AND octet_length(n.%2$I::text) <= 1000
            )
            SELECT (SELECT array_agg(m.owner ORDER BY m.key) FROM moved AS m WHERE octet_length(m.key) <= 1000),
                   (SELECT array_agg(m.key ORDER BY m.key) FROM moved AS m WHERE octet_length(m.key) <= 1000),
                   array_agg(c.owner), array_agg(c.key), array_agg(c.names)
            FROM changed AS c $sql$,
            of_table.owner_column, of_table.key_column,
            coalesce('to_jsonb(array_remove(ARRAY[' || string_agg(
                format('CASE WHEN record_image_ne(ROW(n.%1$I), ROW(o.%1$I)) THEN %1$L END', c.name), ', ' ORDER BY c.place)
                FILTER (WHERE c.rule = 'register') || ']::text[], NULL))', '''[]''::jsonb'),
            format('(o.%1$I IS NULL OR record_image_ne(ROW(%2$s), ROW(%3$s)))', of_table.key_column,
                string_agg(format('n.%I', c.name), ', ' ORDER BY c.place),
                string_agg(format('o.%I', c.name), ', ' ORDER BY c.place)))
    END
    FROM columns AS c
$$;

CREATE OR REPLACE FUNCTION marea.note_changes(
    relation TEXT, gone_owners UUID[], gone_keys TEXT[], owners UUID[], keys TEXT[], names JSONB[]
) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM marea.settle_clocks();
    IF gone_owners IS NOT NULL THEN
        -- When it was deleted stays with the tombstone: who brings the row back must have written later. The line says at once
        -- that the row is gone, because the same transaction may bring it back.
        INSERT INTO marea.rows AS r (user_id, table_name, row_key, deleted, hlc)
        SELECT gone.owner, relation, gone.key, true, jsonb_build_object('*', jsonb_build_array(marea.server_hlc((
                   SELECT stored.hlc -> '*' ->> 0 FROM marea.rows AS stored
                   WHERE stored.user_id = gone.owner AND stored.table_name = relation AND stored.row_key = gone.key)), 'server'))
        FROM unnest(gone_owners, gone_keys) AS gone (owner, key)
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = gone.owner)
        ORDER BY gone.owner, gone.key
        ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET deleted = true, hlc = EXCLUDED.hlc;
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES (relation, true, gone_owners, gone_keys);
    END IF;
    IF owners IS NOT NULL THEN
        IF names IS NOT NULL THEN
            PERFORM marea.assign_server_hlc(relation, owners, keys, names);
        ELSE
            PERFORM marea.bound_lines(relation, cardinality(owners));
        END IF;
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES (relation, false, owners, keys);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.track_truncate() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation CONSTANT TEXT := (SELECT t.name FROM marea.tables AS t WHERE t.id = TG_ARGV[0]::int);
    owners   UUID[];
    keys     TEXT[];
BEGIN
    SELECT array_agg(r.user_id ORDER BY r.user_id, r.row_key), array_agg(r.row_key ORDER BY r.user_id, r.row_key) INTO owners, keys
    FROM marea.rows AS r WHERE r.table_name = relation AND NOT r.deleted;
    PERFORM marea.note_changes(relation, owners, keys, NULL, NULL, NULL);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION marea.make_tracking(of_table marea.tables, relation REGCLASS) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    function_ CONSTANT TEXT := format('marea.mirror_%s_track()', of_table.id);
    op        TEXT;
    wanted    RECORD;
BEGIN
    -- A statement that fails would be taken for one whose columns have gone, so each is tried here.
    FOREACH op IN ARRAY ARRAY['INSERT', 'UPDATE', 'DELETE'] LOOP
        EXECUTE format('WITH added AS (SELECT * FROM %1$s WHERE false), removed AS (SELECT * FROM %1$s WHERE false) SELECT FROM (%2$s) AS tried',
            relation, marea.tracking_sql(of_table, relation, op));
    END LOOP;
    EXECUTE format($make$
        CREATE OR REPLACE FUNCTION %1$s RETURNS TRIGGER LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $track$
        -- Made by marea.mirror for %2$s. enable_nestloop: a plan is made with the first statement's few rows in mind and kept.
        DECLARE
            gone_owners UUID[];
            gone_keys   TEXT[];
            owners      UUID[];
            keys        TEXT[];
            names       JSONB[];
            left_       TEXT;
        BEGIN
            BEGIN
                IF TG_OP = 'INSERT' THEN
                    SELECT * INTO gone_owners, gone_keys, owners, keys, names FROM (%3$s) AS found;
                ELSIF TG_OP = 'UPDATE' THEN
                    SELECT * INTO gone_owners, gone_keys, owners, keys, names FROM (%4$s) AS found;
                ELSE
                    SELECT * INTO gone_owners, gone_keys, owners, keys, names FROM (%5$s) AS found;
                END IF;
            EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
                BEGIN
                    SELECT marea.tracking_sql(t, TG_RELID, TG_OP) INTO left_ FROM marea.tables AS t WHERE t.id = %6$s;
                    EXECUTE left_ INTO gone_owners, gone_keys, owners, keys, names;
                EXCEPTION WHEN syntax_error_or_access_rule_violation OR null_value_not_allowed THEN
                    RETURN NULL; -- its key or owner is gone: marea.health says so
                END;
            END;
            IF gone_owners IS NOT NULL OR owners IS NOT NULL THEN
                PERFORM marea.note_changes(%7$L, gone_owners, gone_keys, owners, keys, names);
            END IF;
            RETURN NULL;
        END
        $track$ $make$,
        function_, relation, marea.tracking_sql(of_table, relation, 'INSERT'), marea.tracking_sql(of_table, relation, 'UPDATE'),
        marea.tracking_sql(of_table, relation, 'DELETE'), of_table.id, of_table.name);
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated, service_role', function_);
    -- Making a trigger locks out those who write, so only what is missing is made.
    FOR wanted IN
        SELECT * FROM (VALUES
            ('inserted', 'INSERT', 'REFERENCING NEW TABLE AS added'),
            ('updated', 'UPDATE', 'REFERENCING OLD TABLE AS removed NEW TABLE AS added'),
            ('deleted', 'DELETE', 'REFERENCING OLD TABLE AS removed'),
            ('truncated', 'TRUNCATE', '')
        ) AS triggers (name, event, tables)
        WHERE NOT EXISTS (
            SELECT FROM pg_trigger AS g WHERE g.tgrelid = relation AND g.tgname = 'marea_mirror_' || triggers.name
              AND g.tgenabled IN ('O', 'A')
              AND (triggers.name = 'truncated' OR g.tgfoid = to_regprocedure(function_)))
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_mirror_%s AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION %s',
            wanted.name, wanted.event, relation, wanted.tables,
            CASE wanted.name WHEN 'truncated' THEN format('marea.track_truncate(%s)', of_table.id) ELSE function_ END);
    END LOOP;
END
$$;

COMMENT ON FUNCTION marea.tracking_sql(marea.tables, REGCLASS, TEXT) IS 'The statement that finds what another statement changed in a table.';
COMMENT ON FUNCTION marea.note_changes(TEXT, UUID[], TEXT[], UUID[], TEXT[], JSONB[]) IS 'Notes rows that went and rows that changed.';
COMMENT ON FUNCTION marea.track_truncate() IS 'Trigger: all rows of a mirrored table are gone.';
COMMENT ON FUNCTION marea.make_tracking(marea.tables, REGCLASS) IS 'Makes the tracking function and the triggers of a table.';
