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
