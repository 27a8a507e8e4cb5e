-- Catalogue: which tables of the app are mirrored, how their columns travel and merge. Rows, written by marea.mirror and
-- marea.unmirror alone; everything else is derived from them. docs/TABLES.md is the text for those who declare tables.

CREATE TABLE IF NOT EXISTS marea.tables (
    name           TEXT COLLATE "C" PRIMARY KEY CHECK (name ~ '^[a-z_][a-z0-9_]{0,62}$'),
    id             INTEGER GENERATED ALWAYS AS IDENTITY UNIQUE,
    schema_name    TEXT NOT NULL,
    relation_name  TEXT NOT NULL,
    key_column     TEXT NOT NULL,
    key_type       TEXT NOT NULL CHECK (key_type IN ('uuid', 'text')),
    owner_column   TEXT NOT NULL,
    writable       BOOLEAN NOT NULL,
    rules          JSONB NOT NULL,
    mirrored_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    refresh_before TIMESTAMPTZ,
    existing_after TEXT,
    existing_done  BIGINT NOT NULL DEFAULT 0 CHECK (existing_done >= 0),
    existing_total BIGINT CHECK (existing_total >= 0),
    finished_at    TIMESTAMPTZ,
    UNIQUE (schema_name, relation_name)
);

COMMENT ON TABLE marea.tables IS 'The mirrored tables, one row each; written by marea.mirror() and marea.unmirror().';
COMMENT ON COLUMN marea.tables.name IS 'Its name on the wire and on the devices.';
COMMENT ON COLUMN marea.tables.id IS 'Stands in the names of what is generated for it: marea.mirror_<id>_page and its like.';
COMMENT ON COLUMN marea.tables.schema_name IS 'Schema of the app''s table. Names, not numbers: those survive a dump.';
COMMENT ON COLUMN marea.tables.relation_name IS 'Name of the app''s table.';
COMMENT ON COLUMN marea.tables.key_column IS 'The one column that names a row.';
COMMENT ON COLUMN marea.tables.key_type IS 'uuid or text.';
COMMENT ON COLUMN marea.tables.owner_column IS 'The column that says whose a row is; may be the key.';
COMMENT ON COLUMN marea.tables.writable IS 'Whether devices may write it.';
COMMENT ON COLUMN marea.tables.rules IS 'Column -> merge rule, as given to marea.mirror().';
COMMENT ON COLUMN marea.tables.mirrored_at IS 'When marea.mirror() last ran for it, server clock.';
COMMENT ON COLUMN marea.tables.refresh_before IS
    'Rows whose version is from before this must get another one, because they gained columns; NULL: none. By marea.mirror().';
COMMENT ON COLUMN marea.tables.existing_after IS 'The last key that marea.mirror_existing() has done; it goes on behind it.';
COMMENT ON COLUMN marea.tables.existing_done IS 'Rows that marea.mirror_existing() has looked at, count.';
COMMENT ON COLUMN marea.tables.existing_total IS 'Rows when it began, about, count; by marea.mirror_existing().';
COMMENT ON COLUMN marea.tables.finished_at IS 'When all rows that were there had a version; NULL: CALL marea.mirror_existing(...) is due.';

CREATE TABLE IF NOT EXISTS marea.columns (
    table_name  TEXT COLLATE "C" NOT NULL REFERENCES marea.tables (name) ON UPDATE CASCADE ON DELETE CASCADE,
    place       SMALLINT NOT NULL,
    name        TEXT NOT NULL,
    type        TEXT NOT NULL,
    rule        TEXT NOT NULL CHECK (rule IN ('key', 'register', 'once', 'counter', 'union', 'server')),
    nullable    BOOLEAN NOT NULL,
    has_default BOOLEAN NOT NULL,
    max_length  INTEGER,
    labels      TEXT[],
    precision_  INTEGER,
    scale       INTEGER,
    sql_type    TEXT NOT NULL,
    PRIMARY KEY (table_name, name)
);

COMMENT ON TABLE marea.columns IS 'The columns of the mirrored tables; written by marea.mirror(). Types and rules: docs/TABLES.md.';
COMMENT ON COLUMN marea.columns.table_name IS 'marea.tables.name.';
COMMENT ON COLUMN marea.columns.place IS 'Its number in the app''s table (attnum); the order on the devices.';
COMMENT ON COLUMN marea.columns.name IS 'Its name, here and there.';
COMMENT ON COLUMN marea.columns.type IS 'Its type on the wire: text, enum, uuid, smallint, ...';
COMMENT ON COLUMN marea.columns.rule IS 'How writes of several devices become one value.';
COMMENT ON COLUMN marea.columns.nullable IS 'Whether it may be NULL.';
COMMENT ON COLUMN marea.columns.has_default IS 'Whether an insert may leave it out although it is not nullable.';
COMMENT ON COLUMN marea.columns.max_length IS 'Characters at most, of varchar(n) and char(n); NULL: no bound of its own.';
COMMENT ON COLUMN marea.columns.labels IS 'What an enum may hold, in its order.';
COMMENT ON COLUMN marea.columns.precision_ IS 'Digits of a numeric; NULL: as many as Postgres holds.';
COMMENT ON COLUMN marea.columns.scale IS 'Digits of a numeric behind the point; NULL: as many as Postgres holds.';
COMMENT ON COLUMN marea.columns.sql_type IS 'Its type in SQL, with schema and bounds.';

CREATE TABLE IF NOT EXISTS marea.catalogue (
    only_one BOOLEAN PRIMARY KEY DEFAULT true CHECK (only_one),
    hash     TEXT NOT NULL,
    document JSONB NOT NULL
);

COMMENT ON TABLE marea.catalogue IS 'The catalogue as clients get it, one row, so that an idle sync can compare one text.';
COMMENT ON COLUMN marea.catalogue.only_one IS 'There is one row.';
COMMENT ON COLUMN marea.catalogue.hash IS 'Of the tables in the document; clients only compare it. By marea.publish_catalogue().';
COMMENT ON COLUMN marea.catalogue.document IS 'What public.marea_catalogue() answers, but for the labels of built-in enums. By marea.publish_catalogue().';

CREATE TABLE IF NOT EXISTS marea.additions (
    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    id      UUID NOT NULL,
    PRIMARY KEY (user_id, id)
);

COMMENT ON TABLE marea.additions IS 'Mutations that have added to counters: each counts once, however often it is sent. Append-only.';
COMMENT ON COLUMN marea.additions.user_id IS 'Whose.';
COMMENT ON COLUMN marea.additions.id IS 'Id of the mutation; made by the device.';

CREATE OR REPLACE FUNCTION marea.publish_catalogue() RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Makes the document anew from marea.tables and marea.columns.
DECLARE
    tables JSONB;
    hash_  TEXT;
BEGIN
    SELECT coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'schema', t.schema_name, 'key', t.key_column,
               'owner', t.owner_column, 'write', t.writable, 'columns', c.columns, 'indexes', marea.indexes_of(t)) ORDER BY t.name), '[]')
    INTO tables
    FROM marea.tables AS t
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(jsonb_build_object('name', c.name, 'type', c.type, 'rule', c.rule)
            || CASE WHEN c.rule = 'key' THEN '{}' ELSE jsonb_build_object('nullable', c.nullable) END
            || CASE WHEN c.has_default THEN '{"default": true}' ELSE '{}'::jsonb END
            || jsonb_strip_nulls(jsonb_build_object('max', c.max_length, 'labels', c.labels, 'precision', c.precision_,
                   'scale', c.scale)) ORDER BY c.place) AS columns
        FROM marea.columns AS c WHERE c.table_name = t.name
    ) AS c;
    hash_ := left(encode(sha256(convert_to(tables::text, 'UTF8')), 'hex'), 16);
    INSERT INTO marea.catalogue AS c (hash, document)
    VALUES (hash_, jsonb_build_object('version', 1, 'hash', hash_, 'tables', tables))
    ON CONFLICT (only_one) DO UPDATE SET hash = EXCLUDED.hash, document = EXCLUDED.document
    WHERE c.hash <> EXCLUDED.hash;
END
$$;

CREATE OR REPLACE FUNCTION marea.indexes_of(of_table marea.tables) RETURNS JSONB LANGUAGE sql STABLE
BEGIN ATOMIC
    -- The app's plain indexes, which the devices may want as well; the owner's column is the same in all their rows.
    SELECT coalesce(jsonb_agg(DISTINCT named.names), '[]')
    FROM (
        SELECT (
            SELECT jsonb_agg(c.name ORDER BY k.place)
            FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            JOIN marea.columns AS c ON c.table_name = of_table.name AND c.name = a.attname::text
            WHERE k.place <= i.indnkeyatts AND c.name <> of_table.owner_column
        ) AS names
        FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = to_regclass(format('%I.%I', of_table.schema_name, of_table.relation_name))
          AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid
    ) AS named
    WHERE named.names IS NOT NULL AND named.names <> jsonb_build_array(of_table.key_column);
END;

COMMENT ON FUNCTION marea.publish_catalogue() IS 'Writes marea.catalogue from the tables and columns.';
COMMENT ON FUNCTION marea.indexes_of(marea.tables) IS 'Lists of columns of a table''s plain indexes.';

DO $$ BEGIN PERFORM marea.publish_catalogue(); END $$;

ALTER TABLE marea.tables ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.columns ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.catalogue ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.additions ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    relation TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY['tables', 'columns', 'catalogue'] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('marea.' || relation) AND polname = relation || '_select'
        ) THEN
            EXECUTE format('CREATE POLICY %I ON marea.%I FOR SELECT TO authenticated USING (true)', relation || '_select', relation);
        END IF;
    END LOOP;
END
$$;
