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
