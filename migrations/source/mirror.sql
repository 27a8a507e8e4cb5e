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
