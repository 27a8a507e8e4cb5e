-- Wake-ups: a change tells the user's other devices that there is something to pull, so that they need not wait for their next look.
-- Off until marea.set_wakeups(true). Only the news goes out, never a row; a device that misses it sees the change at its next look.

CREATE OR REPLACE FUNCTION marea.has_wakeups() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on');
END
$$;

COMMENT ON FUNCTION marea.has_wakeups() IS 'Whether wake-ups are on. Answers to devices say so; they ask for a socket only then.';

CREATE OR REPLACE FUNCTION marea.wake_devices() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
-- Once for a user and transaction, and for at most 100 users: a job that changes more is nobody's to hear of at once. The first
-- version of a transaction says enough, because its changes are seen together.
DECLARE
    most   CONSTANT INTEGER := 100;
    writer CONSTANT TEXT := nullif(current_setting('marea.writer', true), '');
    woken  UUID[] := coalesce(nullif(current_setting('marea.woken', true), ''), '{}')::uuid[];
    moved  UUID[];
    latest BIGINT[];
    fresh  UUID[];
    sends  BOOLEAN;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id), array_agg(n.version) INTO moved, latest
        FROM (SELECT g.user_id, g.version FROM given AS g WHERE g.version > 0 LIMIT most + 1) AS n;
    ELSE
        SELECT array_agg(n.user_id), array_agg(n.version) INTO moved, latest
        FROM (
            SELECT g.user_id, g.version FROM given AS g JOIN earlier AS e ON e.user_id = g.user_id
            WHERE g.version > e.version LIMIT most + 1
        ) AS n;
    END IF;
    fresh := ARRAY(SELECT m.id FROM unnest(moved) AS m (id) WHERE m.id <> ALL (woken));
    IF fresh = '{}' THEN
        RETURN NULL;
    END IF;
    PERFORM set_config('marea.woken', (woken || fresh)::text, true);
    IF cardinality(woken || fresh) > most THEN
        RETURN NULL;
    END IF;
    sends := to_regprocedure('realtime.send(jsonb,text,text,boolean)') IS NOT NULL;
    FOR i IN 1 .. cardinality(moved) LOOP
        CONTINUE WHEN moved[i] = ANY (woken);
        IF sends THEN
            EXECUTE 'SELECT realtime.send($1, ''changed'', $2, true)'
            USING jsonb_build_object('version', latest[i], 'writer', writer), 'marea:' || moved[i];
        ELSE
            PERFORM pg_notify('marea_wakeups',
                jsonb_build_object('user', moved[i], 'version', latest[i], 'writer', writer)::text);
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- Whoever writes must not suffer from it. LOG is for the server's log alone.
    RAISE LOG 'marea.wake_devices: %', SQLSTATE;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.wake_devices() IS
    'Trigger, there while wake-ups are on: tells the devices of each user whose clock moved, by realtime.send or else by NOTIFY.';

CREATE OR REPLACE FUNCTION marea.set_wakeups(wanted BOOLEAN) RETURNS TEXT
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- The triggers are there only while wake-ups are on, so that nobody pays for them otherwise.
DECLARE
    has_channels CONSTANT BOOLEAN := to_regclass('realtime.messages') IS NOT NULL AND to_regprocedure('realtime.topic()') IS NOT NULL;
BEGIN
    IF wanted IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'wanted: must be true or false';
    END IF;
    INSERT INTO marea.settings AS s (name, value) VALUES ('wakeups', CASE WHEN wanted THEN 'on' ELSE 'off' END)
    ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value WHERE s.value <> EXCLUDED.value;
    IF NOT wanted THEN
        DROP TRIGGER IF EXISTS clocks_wake_inserted ON marea.clocks;
        DROP TRIGGER IF EXISTS clocks_wake_updated ON marea.clocks;
        IF to_regclass('realtime.messages') IS NOT NULL THEN
            DROP POLICY IF EXISTS marea_wakeups_select ON realtime.messages;
        END IF;
        RETURN 'off';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'marea.clocks'::regclass AND tgname = 'clocks_wake_inserted') THEN
        CREATE TRIGGER clocks_wake_inserted AFTER INSERT ON marea.clocks REFERENCING NEW TABLE AS given
            FOR EACH STATEMENT EXECUTE FUNCTION marea.wake_devices();
        CREATE TRIGGER clocks_wake_updated AFTER UPDATE ON marea.clocks REFERENCING OLD TABLE AS earlier NEW TABLE AS given
            FOR EACH STATEMENT EXECUTE FUNCTION marea.wake_devices();
    END IF;
    IF has_channels AND NOT EXISTS (
        SELECT FROM pg_policy WHERE polrelid = to_regclass('realtime.messages') AND polname = 'marea_wakeups_select'
    ) THEN
        -- To listen, on one's own topic alone. There is no policy for INSERT: nobody but the server speaks there.
        CREATE POLICY marea_wakeups_select ON realtime.messages FOR SELECT TO authenticated
            USING (extension = 'broadcast' AND (SELECT realtime.topic()) = 'marea:' || (SELECT marea.user_id())::text);
    END IF;
    RETURN CASE WHEN has_channels THEN 'realtime' ELSE 'notify' END;
END
$$;

COMMENT ON FUNCTION marea.set_wakeups(BOOLEAN) IS
    'Switches wake-ups on or off, and says what carries them: realtime, notify or off. May be run again, as when Realtime came later.';

REVOKE ALL ON FUNCTION marea.has_wakeups, marea.wake_devices, marea.set_wakeups FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.has_wakeups TO authenticated;

-- What a newer version of this makes is made where they are on already.
DO $$ BEGIN PERFORM marea.set_wakeups(true) WHERE marea.has_wakeups(); END $$;
