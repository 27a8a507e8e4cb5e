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
