-- Push: registers, one mutation at a time. Last writer wins, column by column.

CREATE OR REPLACE FUNCTION marea.record_registers(relation TEXT, key TEXT, clocks JSONB) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Notes who wrote the caller's own registers last. The caller holds the lock of the row itself. The row counts as
-- changed even where the values stayed the same: the other devices must learn the new clocks.
DECLARE
    me CONSTANT UUID := auth.uid();
BEGIN
    IF me IS NULL OR relation NOT IN ('export_history', 'user_api_keys') THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'not a row of the caller';
    END IF;
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, hlc) VALUES (me, relation, key, clocks)
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET hlc = r.hlc || EXCLUDED.hlc;
    INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES (relation, false, ARRAY[me], ARRAY[key]);
END
$$;

COMMENT ON FUNCTION marea.record_registers(TEXT, TEXT, JSONB) IS 'Notes the clocks of the caller''s own registers.';

CREATE OR REPLACE FUNCTION marea.delete_export(export UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.export_history WHERE id = export AND user_id = auth.uid();
    IF NOT FOUND AND EXISTS (SELECT FROM public.export_history WHERE id = export AND user_id = auth.uid()) THEN
        PERFORM marea.refuse_left_out('public.export_history', 'DELETE');
    END IF;
END
$$;

COMMENT ON FUNCTION marea.delete_export(UUID) IS
    'Deletes an export of the caller, and no other; the tables'' policies let nobody delete one directly.';

CREATE OR REPLACE FUNCTION marea.insert_export(mutation JSONB, client TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me      CONSTANT UUID := auth.uid();
    fields  CONSTANT JSONB := mutation -> 'values';
    export  CONSTANT UUID := mutation ->> 'id';
    clock   CONSTANT TEXT := marea.clamp_hlc(mutation ->> 'hlc');
    written CONSTANT JSONB := fields - '{id,export_type,export_format,filters,created_at}'::text[];
    problem TEXT;
    found_  UUID;
    columns TEXT[];
    insert_ TEXT;
    again   TEXT;
    row_    JSONB;
BEGIN
    problem := CASE
        WHEN marea.has_wrong_type('string', fields -> 'export_type') THEN 'values.export_type: must be a text'
        WHEN marea.has_wrong_type('string', fields -> 'export_format') THEN 'values.export_format: must be a text'
        WHEN marea.has_wrong_type('object', fields -> 'filters') THEN 'values.filters: must be an object'
        WHEN marea.has_wrong_type('time', fields -> 'created_at') THEN 'values.created_at: must be a time'
        ELSE marea.register_problem('export_history', written)
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    -- A deleted export never comes back, not even when its insert is sent again.
    IF EXISTS (
        SELECT FROM marea.rows
        WHERE user_id = me AND table_name = 'export_history' AND row_key = export::text AND deleted
    ) THEN
        RETURN 'duplicate';
    END IF;

    columns := ARRAY(SELECT quote_ident(k) FROM jsonb_object_keys('{"user_id": 0, "id": 0}' || fields) AS k ORDER BY k);
    again := format('INSERT INTO public.export_history (%s) SELECT v.%s FROM pg_catalog.jsonb_populate_record('
        'NULL::public.export_history, $1) AS v', array_to_string(columns, ', '), array_to_string(columns, ', v.'));
    insert_ := again || ' ON CONFLICT (id) DO NOTHING RETURNING id';
    again := again || ' RETURNING id';
    row_ := fields || jsonb_build_object('user_id', me, 'id', export);
    -- Under the app's search_path, which must not decide what Marea's own words mean: each names its schema.
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE insert_ INTO found_ USING row_;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    IF found_ IS NULL THEN
        IF EXISTS (SELECT FROM public.export_history WHERE id = export AND user_id = me) THEN
            RETURN 'duplicate';
        END IF;
        -- Somebody else has this id, or a trigger has left the row out: a plain INSERT fails in the first case alone.
        PERFORM set_config('search_path', marea.app_search_path(), true);
        BEGIN
            EXECUTE again INTO found_ USING row_;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'id: is taken';
        END;
        PERFORM marea.refuse_left_out('public.export_history', 'INSERT', found_ IS NOT NULL);
    ELSIF found_ <> export THEN
        PERFORM marea.refuse_left_out('public.export_history', 'INSERT', true);
    END IF;
    PERFORM marea.record_registers('export_history', export::text, coalesce(
        (SELECT jsonb_object_agg(k, jsonb_build_array(clock, client)) FROM jsonb_object_keys(written) AS k), '{}'));
    RETURN 'applied';
END
$$;

COMMENT ON FUNCTION marea.insert_export(JSONB, TEXT) IS 'Inserts an export from a mutation: applied or duplicate.';

CREATE OR REPLACE FUNCTION marea.merge_registers(relation TEXT, key TEXT, hlc TEXT, client TEXT, fields JSONB) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Last writer wins, column by column. 'applied' also where every column was lost to a later writer, or the row has been
-- deleted: the mutation has had the effect that the rules give it. 'duplicate' where it had been merged before.
DECLARE
    me      CONSTANT UUID := auth.uid();
    clock   CONSTANT TEXT := marea.clamp_hlc(hlc);
    problem TEXT := marea.register_problem(relation, fields);
    stored  JSONB;
    winners JSONB;
    repeats BIGINT;
    id      UUID;
    update_ TEXT;
    touched BIGINT;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    -- The row's lock comes first: who holds it knows the clocks that are stored for it.
    IF relation = 'user_api_keys' THEN
        IF key <> me::text THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: must be the id of the signed-in user';
        END IF;
        SELECT k.id INTO id FROM public.user_api_keys AS k WHERE k.user_id = me FOR NO KEY UPDATE;
    ELSE
        IF key !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: must be a lower-case uuid';
        END IF;
        SELECT e.id INTO id FROM public.export_history AS e WHERE e.id = key::uuid AND e.user_id = me FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            IF EXISTS (
                SELECT FROM marea.rows AS r
                WHERE r.user_id = me AND r.table_name = relation AND r.row_key = key AND r.deleted
            ) THEN
                RETURN 'applied';
            END IF;
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: no such row';
        END IF;
    END IF;

    SELECT coalesce((
        SELECT r.hlc FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = relation AND r.row_key = key
    ), '{}') INTO stored;
    SELECT jsonb_object_agg(field.key, field.value) FILTER (WHERE NOT stored ? field.key
               OR ROW(clock COLLATE "C", client COLLATE "C") > ROW(stored -> field.key ->> 0, stored -> field.key ->> 1)),
           count(*) FILTER (WHERE stored -> field.key = jsonb_build_array(clock, client))
    INTO winners, repeats
    FROM jsonb_each(fields) AS field;
    IF winners IS NULL THEN
        RETURN CASE WHEN repeats > 0 THEN 'duplicate' ELSE 'applied' END;
    END IF;

    IF relation = 'user_api_keys' AND id IS NULL THEN
        PERFORM set_config('search_path', marea.app_search_path(), true);
        INSERT INTO public.user_api_keys AS k (user_id) VALUES (me) ON CONFLICT (user_id) DO NOTHING;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        SELECT k.id INTO id FROM public.user_api_keys AS k WHERE k.user_id = me FOR NO KEY UPDATE;
        IF id IS NULL THEN
            PERFORM marea.refuse_left_out('public.user_api_keys', 'INSERT');
        END IF;
    END IF;
    update_ := format('UPDATE public.%I AS t SET %s FROM pg_catalog.jsonb_populate_record(NULL::public.%I, $1) AS v '
        'WHERE t.id OPERATOR(pg_catalog.=) $2 AND t.user_id OPERATOR(pg_catalog.=) $3',
        relation, (SELECT string_agg(format('%1$I = v.%1$I', k), ', ' ORDER BY k) FROM jsonb_object_keys(winners) AS k), relation);
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE update_ USING winners, id, me;
    GET DIAGNOSTICS touched = ROW_COUNT;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF touched = 0 THEN
        PERFORM marea.refuse_left_out(('public.' || relation)::regclass, 'UPDATE');
    END IF;
    PERFORM marea.record_registers(relation, key,
        (SELECT jsonb_object_agg(k, jsonb_build_array(clock, client)) FROM jsonb_object_keys(winners) AS k));
    RETURN 'applied';
END
$$;

COMMENT ON FUNCTION marea.merge_registers(TEXT, TEXT, TEXT, TEXT, JSONB) IS 'Merges registers of one row: applied or duplicate.';

CREATE OR REPLACE FUNCTION marea.apply_register(mutation JSONB, client TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key     CONSTANT TEXT := mutation ->> 'key';
    hlc     CONSTANT TEXT := mutation ->> 'hlc';
    action  CONSTANT TEXT := concat_ws(' ', mutation ->> 'op', mutation ->> 'table');
    problem TEXT := marea.mutation_problem(mutation ->> 'op', mutation ->> 'id', key, hlc, mutation -> 'values');
BEGIN
    IF problem IS NULL THEN
        problem := CASE
            WHEN action = 'insert export_history' THEN marea.values_problem('export_history', mutation -> 'values')
            WHEN starts_with(action, 'merge ') AND mutation -> 'values' = '{}' THEN 'values: set nothing'
        END;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;
    CASE action
        WHEN 'insert export_history' THEN
            RETURN marea.insert_export(mutation, client);
        WHEN 'merge export_history' THEN
            RETURN marea.merge_registers('export_history', key, hlc, client, mutation -> 'values');
        WHEN 'delete export_history' THEN
            IF key !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
                RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: must be a lower-case uuid';
            END IF;
            PERFORM marea.delete_export(key::uuid);
            RETURN 'applied';
        WHEN 'merge user_api_keys' THEN
            RETURN marea.merge_registers('user_api_keys', key, hlc, client, mutation -> 'values');
        WHEN 'delete user_api_keys' THEN
            -- Deleting keys is writing "no key" into each: so it loses to a later write, and wins over an earlier one.
            RETURN marea.merge_registers('user_api_keys', key, hlc, client,
                '{"openai_api_key": null, "unsplash_api_key": null, "anthropic_api_key": null, "last_validated_at": null}');
        ELSE
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table, op: no device may do this';
    END CASE;
END
$$;

COMMENT ON FUNCTION marea.apply_register(JSONB, TEXT) IS 'Applies a mutation that is no event: applied or duplicate.';
