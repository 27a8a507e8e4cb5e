-- One user's data: which tables have rows of a user, and all of them as one document. For who asks for it, for a user who goes to
-- another server (moves), and for whoever must be forgotten.

CREATE OR REPLACE FUNCTION marea.key_columns(key OID) RETURNS TABLE (child_columns TEXT, parent_columns TEXT)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('t.%I', child.attname), ', ' ORDER BY part.place), string_agg(format('t.%I', parent.attname), ', ' ORDER BY part.place)
    FROM pg_constraint AS k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS part (child, parent, place)
    JOIN pg_attribute AS child ON child.attrelid = k.conrelid AND child.attnum = part.child
    JOIN pg_attribute AS parent ON parent.attrelid = k.confrelid AND parent.attnum = part.parent
    WHERE k.oid = key
$$;

COMMENT ON FUNCTION marea.key_columns(OID) IS 'The columns of a foreign key, on both sides.';

CREATE OR REPLACE FUNCTION marea.tables_of_users() RETURNS TABLE (relation REGCLASS, condition TEXT, is_own BOOLEAN, depth INTEGER)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- Found, not listed: users, the tables that Marea syncs, every table of Marea's with a user in it, and what the database deletes when
-- the user goes (foreign keys with ON DELETE CASCADE). In an order in which they can be filled.
BEGIN
    RETURN QUERY
    WITH RECURSIVE own AS (
        SELECT 'public.users'::regclass AS relation, 't.id = $1' AS condition
        UNION
        SELECT to_regclass('public.' || name), 't.user_id = $1'
        FROM unnest('{sessions,user_progress,export_history,user_api_keys}'::text[]) AS name WHERE to_regclass('public.' || name) IS NOT NULL
        UNION
        SELECT marea.relation_of(t), format('t.%I = $1', t.owner_column) FROM marea.tables AS t
        WHERE marea.relation_of(t) IS NOT NULL AND t.name <> 'sessions'
        UNION
        SELECT c.oid::regclass, 't.user_id = $1'
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id' AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
        WHERE n.nspname IN ('marea', 'marea_adopted') AND c.relkind = 'r' AND c.oid <> 'marea.moved'::regclass
    ), keys AS (
        SELECT k.conrelid AS child, k.confrelid AS parent, k.confdeltype = 'c' AS goes_along, key.child_columns, key.parent_columns
        FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid AND NOT c.relispartition
        CROSS JOIN LATERAL marea.key_columns(k.oid) AS key
        WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
    ), reached AS (
        -- Whoever a row names itself is nearer than whoever owns the row that it hangs on.
        SELECT o.relation, o.condition COLLATE "C" AS condition, true AS is_own, (o.relation <> 'public.users'::regclass)::int AS step,
               ARRAY[o.relation::oid] AS path
        FROM own AS o
        UNION ALL
        SELECT k.child::regclass, CASE WHEN r.relation = 'public.users'::regclass AND k.parent_columns = 't.id'
                THEN format('%s = $1', k.child_columns)
            ELSE format('(%s) IN (SELECT %s FROM %s AS t WHERE %s)', k.child_columns, k.parent_columns, r.relation, r.condition) END COLLATE "C",
            false, r.step + 1, r.path || k.child
        FROM reached AS r JOIN keys AS k ON k.parent = r.relation AND k.goes_along
        WHERE k.child <> ALL (r.path) AND r.step < 20 AND k.child NOT IN (SELECT o.relation FROM own AS o)
    ), found AS (
        SELECT f.relation, string_agg(DISTINCT f.condition, ' OR ') AS condition, bool_or(f.is_own) AS is_own
        FROM reached AS f JOIN (SELECT s.relation, min(s.step) AS step FROM reached AS s GROUP BY s.relation) AS first
            ON first.relation = f.relation AND first.step = f.step
        GROUP BY f.relation
    ), depths AS (
        SELECT f.relation, 0 AS depth FROM found AS f
        UNION
        SELECT f.relation, d.depth + 1 FROM depths AS d JOIN keys AS k ON k.parent = d.relation JOIN found AS f ON f.relation = k.child
        WHERE d.depth < 20
    )
    SELECT f.relation, f.condition, f.is_own, max(d.depth)
    FROM found AS f JOIN depths AS d ON d.relation = f.relation
    GROUP BY f.relation, f.condition, f.is_own
    ORDER BY max(d.depth), f.relation::text COLLATE "C";
END
$$;

COMMENT ON FUNCTION marea.tables_of_users() IS
    'The tables that hold rows of a user, by which condition on t ($1: the user), in an order in which they can be filled.';

CREATE OR REPLACE FUNCTION marea.rows_of_others(person UUID) RETURNS TEXT
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- What goes along with a row of the document and is not in it itself: asked of every such foreign key, so that no chain of them is missed.
DECLARE
    key   RECORD;
    there BOOLEAN;
    names TEXT[] := '{}';
BEGIN
    FOR key IN
        SELECT k.conname, k.conrelid::regclass AS child, p.relation AS parent, p.condition, coalesce(c.condition, 'false') AS own_condition, n.*
        FROM pg_constraint AS k JOIN pg_class AS r ON r.oid = k.conrelid AND NOT r.relispartition
        JOIN marea.tables_of_users() AS p ON p.relation = k.confrelid LEFT JOIN marea.tables_of_users() AS c ON c.relation = k.conrelid
        CROSS JOIN LATERAL marea.key_columns(k.oid) AS n
        WHERE k.contype = 'f' AND k.confdeltype = 'c'
        ORDER BY k.conrelid::regclass::text COLLATE "C", k.conname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s AS t WHERE (%s) IN (SELECT %s FROM %s AS t WHERE %s) AND (%s) IS NOT TRUE)', key.child,
            key.child_columns, key.parent_columns, key.parent, key.condition, key.own_condition) INTO there USING person;
        IF there THEN
            names := names || format('%s (%s)', key.child, key.conname);
        END IF;
    END LOOP;
    RETURN nullif(array_to_string(names, ', '), '');
END
$$;

COMMENT ON FUNCTION marea.rows_of_others(UUID) IS
    'The tables with rows that the database deletes with a user and that are not in the user''s document; NULL: none.';

CREATE OR REPLACE FUNCTION marea.document_columns(relation REGCLASS) RETURNS TABLE (name NAME, written TEXT, read TEXT)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- JSON stays JSON; numbers that JavaScript cannot hold, and all types that JSON has no word for, are text as Postgres prints them.
    SELECT a.attname, CASE
            WHEN base.oid = 'jsonb'::regtype THEN format('t.%I::jsonb', a.attname)
            WHEN base.typcategory IN ('S', 'E') OR base.oid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'uuid'::regtype,
                'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN format('to_jsonb(t.%I)', a.attname)
            ELSE format('to_jsonb(t.%I::text)', a.attname) END,
        format(CASE WHEN base.oid = 'jsonb'::regtype THEN '(r.value -> %L)::%s' ELSE '(r.value ->> %L)::%s' END,
            a.attname, format_type(a.atttypid, -1))
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    CROSS JOIN LATERAL (SELECT b.* FROM pg_type AS b WHERE b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)) AS base
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ORDER BY a.attnum
$$;

COMMENT ON FUNCTION marea.document_columns(REGCLASS) IS
    'How the columns of a table (t) become values of a document, and how they are read from a row of it (r.value).';

CREATE OR REPLACE FUNCTION marea.export_user(person UUID) RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, YMD' SET "IntervalStyle" = 'iso_8601' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
-- STABLE: all of it as of one moment, whoever writes meanwhile.
DECLARE
    found_ RECORD;
    rows_  JSONB;
    tables JSONB := '[]';
    whole  JSONB;
    place  TEXT;
BEGIN
    IF person IS NULL OR NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = person) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: no such user', HINT = 'It is users.id.';
    END IF;
    FOR found_ IN SELECT * FROM marea.tables_of_users() LOOP
        place := found_.relation::text;
        EXECUTE format('SELECT coalesce(jsonb_agg((SELECT jsonb_object_agg(f.k, f.v) FROM (VALUES %s) AS f (k, v) WHERE f.v IS NOT NULL)), ''[]'') '
            'FROM %s AS t WHERE %s',
            (SELECT string_agg(format('(%L, %s)', c.name, c.written), ', ') FROM marea.document_columns(found_.relation) AS c),
            found_.relation, found_.condition)
        INTO rows_ USING person;
        tables := tables || jsonb_build_object(
            'table', (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                      WHERE c.oid = found_.relation),
            'columns', (SELECT jsonb_agg(c.name) FROM marea.document_columns(found_.relation) AS c), 'rows', rows_);
    END LOOP;
    whole := jsonb_build_object('marea', 1, 'user', person, 'exported_at', marea.wire_time(clock_timestamp()), 'tables', tables,
        'mirrored', (SELECT coalesce(jsonb_agg(t.name ORDER BY t.name), '[]') FROM marea.tables AS t),
        -- Objects of the bucket marea-exports: their bytes are not in here.
        'files', (
            SELECT coalesce(jsonb_agg(p.path ORDER BY p.path), '[]')
            FROM public.export_history AS e CROSS JOIN LATERAL (SELECT marea.file_path(e.file_url, e.user_id, e.id)) AS p (path)
            WHERE e.user_id = person AND p.path IS NOT NULL),
        -- They point to the user, or to a row of the user's, and stay when the user goes.
        'left_out', (
            SELECT coalesce(jsonb_agg(DISTINCT k.conrelid::regclass::text), '[]')
            FROM pg_constraint AS k JOIN marea.tables_of_users() AS o ON o.relation = k.confrelid
            WHERE k.contype = 'f' AND k.conrelid NOT IN (SELECT i.relation FROM marea.tables_of_users() AS i)));
    RETURN whole;
EXCEPTION WHEN program_limit_exceeded THEN
    RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = format('the user has more than fits into one document (256 MB), with %s; nothing was changed', place),
        HINT = 'Delete or shorten the largest rows first. To take such a user along, move the whole database (a standby or a dump).';
END
$$;

COMMENT ON FUNCTION marea.export_user(UUID) IS
    'All data of one user as one document, which marea.import_user() reads in another database. Sealed keys stay sealed.';

REVOKE ALL ON FUNCTION marea.tables_of_users, marea.key_columns, marea.rows_of_others, marea.document_columns, marea.export_user FROM PUBLIC, anon, authenticated, service_role;
