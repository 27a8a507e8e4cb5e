-- Who asks, and which history of the server a cursor belongs to.

CREATE OR REPLACE FUNCTION marea.user_exists() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM public.users WHERE users.id = auth.uid());
END
$$;

COMMENT ON FUNCTION marea.user_exists() IS 'Whether the caller has a row in users; says nothing about anybody else.';

CREATE OR REPLACE FUNCTION marea.epoch() RETURNS TEXT
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- No query where an expression does: a query for one value costs more than the value.
DECLARE
    cluster  TEXT;
    timeline TEXT;
BEGIN
    -- A host may keep these from its customers. The other parts still tell a dump that was restored. One block for both, and
    -- one for each only where that fails: a block is a subtransaction.
    BEGIN
        cluster := (pg_control_system()).system_identifier;
        timeline := CASE WHEN pg_is_in_recovery() THEN to_hex((pg_control_checkpoint()).timeline_id)
            ELSE ltrim(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), '0') END;
    EXCEPTION WHEN insufficient_privilege THEN
        BEGIN
            cluster := (pg_control_system()).system_identifier;
        EXCEPTION WHEN insufficient_privilege THEN
            cluster := '';
        END;
        BEGIN
            timeline := CASE WHEN pg_is_in_recovery() THEN to_hex((pg_control_checkpoint()).timeline_id)
                ELSE ltrim(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), '0') END;
        EXCEPTION WHEN insufficient_privilege THEN
            timeline := '';
        END;
    END;
    RETURN substr(encode(sha256(convert_to(concat_ws('/', cluster, lower(timeline),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'marea.clocks'::regclass::oid), 'UTF8')), 'hex'), 1, 16);
END
$$;

COMMENT ON FUNCTION marea.epoch() IS
    'Names this history of the server: cluster, timeline, database and table. A restored server has another one.';

CREATE OR REPLACE FUNCTION marea.is_lost_history(epoch TEXT, history TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whether a cursor's epoch, "history.clock.microseconds" as marea_sync gave it out, is of another history than this one:
-- another server, a clock that has never been so far, or one that had not been so far at that time. The last happens
-- when a backup is restored and has been written to before this device comes back.
DECLARE
    me      CONSTANT UUID := auth.uid();
    parts   CONSTANT TEXT[] := string_to_array(epoch, '.');
    claimed BIGINT;
    at_     TIMESTAMPTZ;
    reached BIGINT;
BEGIN
    IF epoch IS NULL OR epoch !~ '^[0-9a-f]{16}[.][0-9]{1,18}[.][0-9]{1,16}$' OR parts[1] <> history THEN
        RETURN true;
    END IF;
    claimed := parts[2]::bigint;
    at_ := to_timestamp(0) + parts[3]::bigint * interval '1 microsecond';
    SELECT coalesce(max(c.version), 0) INTO reached FROM marea.clocks AS c WHERE c.user_id = me;
    IF claimed > reached THEN
        -- The proof that something was lost may soon be overtaken: noted now, it still tells the user's other devices.
        INSERT INTO marea.checkpoints (user_id, at, version)
        SELECT me, clock_timestamp(), reached
        WHERE NOT EXISTS (SELECT FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ AND p.version <= reached)
          AND EXISTS (SELECT FROM public.users WHERE users.id = me)
        ON CONFLICT (user_id, at) DO NOTHING;
        RETURN true;
    END IF;
    -- The earliest one says the most.
    RETURN claimed > coalesce((
        SELECT p.version FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ ORDER BY p.at LIMIT 1
    ), claimed);
END
$$;

COMMENT ON FUNCTION marea.is_lost_history(TEXT, TEXT) IS 'Whether a cursor''s epoch is of another history than the server has now.';
