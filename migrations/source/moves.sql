-- Users who come, go, and are forgotten. To another server: move_user here, import_user there, erase_user(keep_address => true) here.

CREATE OR REPLACE FUNCTION marea.move_user(person UUID, address TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whoever writes is waited for, and nobody writes after: what is returned is all that there is. Run again it returns the same.
DECLARE
    others TEXT;
BEGIN
    IF address IS NULL OR octet_length(address) NOT BETWEEN 1 AND 500 OR address ~ '[[:cntrl:]]' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'address: must have 1 to 500 bytes and no control characters',
            HINT = 'For example the URL of the project to which the user goes.';
    END IF;
    -- Before the user's lock: whoever syncs takes them in this order.
    PERFORM marea.this_run_number();
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    IF person IS NULL OR NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = person) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: no such user', HINT = 'It is users.id.';
    END IF;
    INSERT INTO marea.moved AS m (user_id, address) VALUES (person, move_user.address)
    ON CONFLICT (user_id) DO UPDATE SET address = EXCLUDED.address;
    INSERT INTO marea.clocks AS c (user_id, version, run, moving) VALUES (person, 0, marea.this_run_number(), true)
    ON CONFLICT (user_id) DO UPDATE SET moving = true;
    others := marea.rows_of_others(person);
    IF others IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '2BP01', MESSAGE = 'rows that are not in the user''s document would go with the user: ' || others
            || '; nothing was changed', HINT = 'Take those rows off the user''s first, or let the foreign key SET NULL.';
    END IF;
    RETURN marea.export_user(person);
END
$$;

COMMENT ON FUNCTION marea.move_user(UUID, TEXT) IS
    'Sends a user to another server: from now on everybody who asks is told the address, nothing is written, and this is the document.';

CREATE OR REPLACE FUNCTION marea.stop_move(person UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    UPDATE marea.clocks AS c SET moving = false WHERE c.user_id = person AND c.moving;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: is not on the way, or the rows are gone already',
            HINT = 'Where they are gone, marea.import_user() brings them back.';
    END IF;
    DELETE FROM marea.moved AS m WHERE m.user_id = person;
END
$$;

COMMENT ON FUNCTION marea.stop_move(UUID) IS 'Takes marea.move_user() back, as long as the rows are here. Not where another server has imported them.';

CREATE OR REPLACE FUNCTION marea.import_rows(person UUID, given JSONB) RETURNS BIGINT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- One table of a document. Refuses what is not this user's.
DECLARE
    place   RECORD;
    unknown TEXT;
    came    BIGINT;
    counted BIGINT;
    key     RECORD;
BEGIN
    IF given -> 'rows' = '[]' THEN
        RETURN 0;
    END IF;
    SELECT t.* INTO place FROM marea.tables_of_users() AS t WHERE t.relation = to_regclass(given ->> 'table');
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('the document has rows of %s, which is no table of users here', given ->> 'table'),
            HINT = 'Make the table as it is there; where it is mirrored there, SELECT marea.mirror(...) here.';
    END IF;
    SELECT string_agg(c.name, ', ') INTO unknown
    FROM jsonb_array_elements_text(given -> 'columns') AS c (name)
    WHERE c.name NOT IN (SELECT d.name FROM marea.document_columns(place.relation) AS d)
      AND jsonb_path_exists(given, '$.rows[*].keyvalue() ? (@.key == $name)', jsonb_build_object('name', c.name));
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s has no column %s here, and the document has values of it', place.relation, unknown),
            HINT = 'Bring this database to the same schema first.';
    END IF;
    EXECUTE (
        SELECT format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM jsonb_array_elements($1) AS r (value)%s', place.relation,
            string_agg(quote_ident(d.name), ', '), string_agg(d.read, ', '),
            CASE WHEN place.relation = 'public.users'::regclass THEN ' ON CONFLICT (id) DO NOTHING' END)
        FROM marea.document_columns(place.relation) AS d WHERE given -> 'columns' ? d.name::text) USING given -> 'rows';
    GET DIAGNOSTICS came = ROW_COUNT;
    EXECUTE format('SELECT count(*) FROM %s AS t WHERE %s', place.relation, place.condition) INTO counted USING person;
    IF counted <> jsonb_array_length(given -> 'rows') THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('%s: the document has %s rows, and the user has %s of them here', place.relation,
            jsonb_array_length(given -> 'rows'), counted), HINT = 'It has rows of somebody else, or a trigger of the app changed or left out some.';
    END IF;
    -- Where no trigger fires no foreign key is looked at.
    FOR key IN
        SELECT k.conname, k.confrelid::regclass AS parent,
               string_agg(format('p.%I = t.%I', f.attname, c.attname), ' AND ') AS same, string_agg(format('t.%I IS NOT NULL', c.attname), ' AND ') AS whole
        FROM pg_constraint AS k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS part (child, parent)
        JOIN pg_attribute AS c ON c.attrelid = k.conrelid AND c.attnum = part.child
        JOIN pg_attribute AS f ON f.attrelid = k.confrelid AND f.attnum = part.parent
        WHERE k.conrelid = place.relation AND k.contype = 'f'
        GROUP BY k.oid, k.conname, k.confrelid
    LOOP
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE (%s) AND %s AND NOT EXISTS (SELECT FROM %s AS p WHERE %s)', place.relation,
            place.condition, key.whole, key.parent, key.same) INTO counted USING person;
        IF counted > 0 THEN
            RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = format('%s: %s rows point to %s, which has no such rows here (%s)', place.relation,
                counted, key.parent, key.conname), HINT = 'Bring those rows here first.';
        END IF;
    END LOOP;
    RETURN came;
END
$$;

COMMENT ON FUNCTION marea.import_rows(UUID, JSONB) IS 'Inserts one table of a document; returns how many rows came.';

CREATE OR REPLACE FUNCTION marea.import_user(document JSONB) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Rows as they were, totals and versions with them. No trigger of the app fires where the owner may see to that
-- (session_replication_role); where not they fire, and what they and the fold have made is replaced by what the document says.
-- Which history the versions are of is not brought along: each device is told to pull everything again and sends what it keeps of 30
-- days, so that what was acknowledged after the document was made is not lost (docs/adr/0142).
DECLARE
    person    CONSTANT UUID := substring(document ->> 'user' FROM '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$');
    before    CONSTANT TEXT := current_setting('session_replication_role');
    -- Made by triggers, so replaced at the end.
    made      CONSTANT TEXT[] := '{public.user_progress,marea.daily_activity,marea.kept_facts,marea.rows}';
    of_server CONSTANT TEXT[] := '{marea.clocks,marea.run_notes,marea.checkpoints,marea.clients,marea.pending}';
    given     RECORD;
    taken     TEXT;
    done      BIGINT := 0;
    reached   BIGINT;
    pruned_   BIGINT;
BEGIN
    IF jsonb_typeof(document) IS DISTINCT FROM 'object' OR document ->> 'marea' IS DISTINCT FROM '1' OR person IS NULL
        OR jsonb_typeof(document -> 'tables') IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'document: is none of marea.export_user()';
    END IF;
    -- Before the user's lock: whoever syncs takes them in this order.
    PERFORM marea.this_run_number();
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    SELECT string_agg(m.name, ', ') INTO taken
    FROM jsonb_array_elements_text(document -> 'mirrored') AS m (name)
    WHERE m.name NOT IN (SELECT t.name FROM marea.tables AS t)
      AND jsonb_path_exists(document, '$.tables[*] ? (@.table == "marea.rows").rows[*] ? (@.table_name == $name)', jsonb_build_object('name', m.name));
    IF taken IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('not mirrored here: %s', taken), HINT = 'SELECT marea.mirror(...) for each of them first.';
    END IF;
    FOR given IN SELECT t.relation, t.condition FROM marea.tables_of_users() AS t
        WHERE t.relation <> 'public.users'::regclass AND t.is_own AND t.relation <> ALL (('{public.user_progress,marea.rows}'::text[] || of_server)::regclass[])
    LOOP
        EXECUTE format('SELECT %L FROM %s AS t WHERE %s LIMIT 1', given.relation, given.relation, given.condition) INTO taken USING person;
        IF taken IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = format('the user has rows in %s here already; nothing was changed', taken),
                HINT = 'Where they are of before the user went elsewhere: SELECT marea.erase_user(...) first.';
        END IF;
    END LOOP;
    DELETE FROM marea.moved AS m WHERE m.user_id = person;

    FOR given IN
        SELECT t.value, t.value ->> 'table' AS name, t.n, t.value ->> 'table' = ANY (made) AS is_made FROM jsonb_array_elements(document -> 'tables') WITH ORDINALITY AS t (value, n)
        WHERE t.value ->> 'table' <> ALL (of_server)
        ORDER BY t.value ->> 'table' <> 'public.users', is_made, t.n
    LOOP
        IF given.name = 'public.users' THEN
            done := done + marea.import_rows(person, given.value);
            BEGIN
                PERFORM set_config('session_replication_role', 'replica', true);
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END;
            CONTINUE;
        ELSIF given.is_made THEN
            EXECUTE format('DELETE FROM %s AS t WHERE t.user_id = $1', given.name::regclass) USING person;
        END IF;
        done := done + marea.import_rows(person, given.value);
    END LOOP;
    IF current_setting('session_replication_role') <> before THEN
        PERFORM set_config('session_replication_role', before, true);
    END IF;

    DELETE FROM marea.pending AS p WHERE p.xact = pg_current_xact_id() AND p.user_ids <@ ARRAY[person];
    SELECT (c ->> 'version')::bigint, (c ->> 'pruned')::bigint INTO reached, pruned_
    FROM jsonb_path_query_first(document, '$.tables[*] ? (@.table == "marea.clocks").rows[0]') AS c;
    DELETE FROM marea.clocks AS c WHERE c.user_id = person;
    INSERT INTO marea.clocks AS c (user_id, version, pruned, run) VALUES (person, coalesce(reached, 0), coalesce(pruned_, 0), marea.this_run_number());
    -- Where the user was here before: a cursor of later than the document is of a history that is lost.
    INSERT INTO marea.checkpoints (user_id, at, version) VALUES (person, clock_timestamp(), coalesce(reached, 0)) ON CONFLICT (user_id, at) DO NOTHING;
    RETURN done;
END
$$;

COMMENT ON FUNCTION marea.import_user(JSONB) IS
    'Takes in a user from the document of marea.export_user() or marea.move_user(); returns how many rows came. Refuses a user with rows here.';

CREATE OR REPLACE FUNCTION marea.erase_user(person UUID, keep_address BOOLEAN DEFAULT false) RETURNS JSONB
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Everything of a user: rows, versions, tombstones, ledgers, the row in users and what goes with it. Objects of the bucket are noted to
-- be deleted, and so is that they are until they are gone: run the sweep, and ask again.
DECLARE
    path   CONSTANT TEXT := marea.app_search_path();
    found_ RECORD;
    went   BIGINT := 0;
    gone   BIGINT;
    due    BIGINT;
    others TEXT;
BEGIN
    IF person IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'person: must not be null';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || person, 0));
    others := CASE WHEN keep_address THEN marea.rows_of_others(person) END;
    IF others IS NOT NULL THEN
        -- Written since by somebody else: they are nowhere but here.
        RAISE EXCEPTION USING ERRCODE = '2BP01', MESSAGE = 'rows that went nowhere would be deleted with the user: ' || others
            || '; nothing was changed', HINT = 'Take those rows off the user''s first.';
    END IF;
    UPDATE marea.clocks AS c SET moving = false WHERE c.user_id = person AND c.moving;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE 'INSERT INTO marea.file_garbage (path) SELECT o.name FROM storage.objects AS o WHERE o.bucket_id = ''marea-exports'' '
            'AND starts_with(o.name, $1 || ''/'') AND marea.is_file_name(o.name) ON CONFLICT DO NOTHING' USING person::text;
    END IF;
    -- What a foreign key holds goes with users; what none holds, or one that would stand in the way, goes by itself. Under the search_path
    -- that the app's triggers are used to.
    PERFORM set_config('marea.keep_counting', 'off', true);
    FOR round IN 1..2 LOOP
        FOR found_ IN
            SELECT t.* FROM marea.tables_of_users() AS t
            WHERE t.is_own AND (round = 2 OR t.relation = 'public.users'::regclass
                OR (SELECT c.relnamespace NOT IN ('marea'::regnamespace) FROM pg_class AS c WHERE c.oid = t.relation))
            ORDER BY t.depth DESC, t.relation
        LOOP
            PERFORM set_config('search_path', path, true);
            EXECUTE pg_catalog.format('DELETE FROM %s AS t WHERE %s', found_.relation, found_.condition) USING person;
            GET DIAGNOSTICS gone = ROW_COUNT;
            PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
            went := went + gone;
        END LOOP;
    END LOOP;
    DELETE FROM marea.pending AS p WHERE p.xact = pg_current_xact_id() AND p.user_ids <@ ARRAY[person];
    -- What woke the user's devices; Realtime forgets it by itself after some days.
    IF EXISTS (
        SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'realtime' AND c.relname = 'messages' AND has_schema_privilege(n.oid, 'USAGE')
          AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'DELETE')
    ) THEN
        EXECUTE 'DELETE FROM realtime.messages AS m WHERE m.topic = $1' USING 'marea:' || person;
    END IF;
    IF NOT keep_address THEN
        DELETE FROM marea.moved AS m WHERE m.user_id = person;
    END IF;
    FOR found_ IN SELECT t.* FROM marea.tables_of_users() AS t LOOP
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE %s', found_.relation, found_.condition) INTO gone USING person;
        IF gone > 0 THEN
            RAISE EXCEPTION USING ERRCODE = '39P01', MESSAGE = format('%s rows of the user are still in %s; nothing was changed', gone, found_.relation),
                HINT = 'A trigger of the app keeps them, or makes them anew.';
        END IF;
    END LOOP;
    SELECT count(*) INTO due FROM marea.file_garbage AS g WHERE starts_with(g.path, person || '/');
    RETURN jsonb_build_object('rows', went, 'files_to_delete', due, 'account', to_regclass('auth.users') IS NOT NULL);
EXCEPTION WHEN foreign_key_violation THEN
    RAISE EXCEPTION USING ERRCODE = '23503', MESSAGE = 'another table of the app holds on to the user; nothing was changed: ' || marea.bounded(SQLERRM),
        HINT = 'Delete those rows, or take the user out of them, first.';
END
$$;

COMMENT ON FUNCTION marea.erase_user(UUID, BOOLEAN) IS
    'Forgets a user: every row, version and note, here. Answers how many rows went, how many files wait to be deleted, and whether there is an account to delete.';

REVOKE ALL ON FUNCTION marea.move_user, marea.stop_move, marea.import_rows, marea.import_user, marea.erase_user
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.erase_user TO service_role;
