-- Who asks, and whether this server still has the history that a cursor comes from.
--
-- A run is one life of one server process group. What a run changes is one line of history: a server that has a run's row in
-- marea.runs has the beginning of that line, and where it ends tells the first note of a later run. docs/adr/0123 has the argument,
-- tests/src/lost_history.rs the model.

CREATE OR REPLACE FUNCTION marea.user_exists() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM public.users WHERE users.id = auth.uid());
END
$$;

COMMENT ON FUNCTION marea.user_exists() IS 'Whether the caller has a row in users; says nothing about anybody else.';

CREATE TABLE IF NOT EXISTS marea.runs (
    number   BIGINT PRIMARY KEY,
    run      TEXT COLLATE "C" NOT NULL UNIQUE CHECK (run ~ '^[0-9a-f]{16}$'),
    began_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE marea.runs IS 'The runs that this history is made of, in their order.';
COMMENT ON COLUMN marea.runs.number IS 'Their order.';
COMMENT ON COLUMN marea.runs.run IS 'The name, drawn at random; the first part of a cursor''s epoch.';
COMMENT ON COLUMN marea.runs.began_at IS 'When it was first needed, server clock.';

-- A database that handed out cursors before it had runs (upgrade/): what named its history then is its first run.
INSERT INTO marea.runs (number, run)
SELECT 1, before.epoch FROM (SELECT current_setting('marea.epoch_before', true)) AS before (epoch) WHERE before.epoch <> ''
ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS marea.run_notes (
    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    number  BIGINT NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 0),
    PRIMARY KEY (user_id, number)
);

COMMENT ON TABLE marea.run_notes IS 'Where a user''s clock stood before its first move in a run.';
COMMENT ON COLUMN marea.run_notes.user_id IS 'The user.';
COMMENT ON COLUMN marea.run_notes.number IS 'The run.';
COMMENT ON COLUMN marea.run_notes.version IS 'The clock before that move; written by marea.note_run().';

CREATE OR REPLACE FUNCTION marea.make_this_run() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Unlogged, so that a crash, a promotion and a base backup leave it empty. Some hosts drop unlogged tables when they fail over: so
-- it is made when it is missed.
BEGIN
    CREATE UNLOGGED TABLE IF NOT EXISTS marea.this_run (
        one_row  BOOLEAN PRIMARY KEY DEFAULT true CHECK (one_row),
        number   BIGINT NOT NULL,
        run      TEXT COLLATE "C" NOT NULL,
        started  TIMESTAMPTZ NOT NULL,
        file     TEXT NOT NULL
    );
    COMMENT ON TABLE marea.this_run IS 'The run that this server is in.';
    COMMENT ON COLUMN marea.this_run.one_row IS 'One row at most.';
    COMMENT ON COLUMN marea.this_run.number IS 'Its number in marea.runs.';
    COMMENT ON COLUMN marea.this_run.run IS 'Its name.';
    COMMENT ON COLUMN marea.this_run.started IS 'When this server was started: after a restart the row counts no longer.';
    COMMENT ON COLUMN marea.this_run.file IS
        'The path of marea.clocks: a copy of the database has another one, and so have rows that were loaded again.';
    ALTER TABLE marea.this_run ENABLE ROW LEVEL SECURITY;
    REVOKE ALL ON marea.this_run FROM PUBLIC, anon, authenticated, service_role;
END
$$;

COMMENT ON FUNCTION marea.make_this_run() IS 'Makes marea.this_run where it is missing.';

DO $$ BEGIN PERFORM marea.make_this_run(); END $$;

CREATE OR REPLACE FUNCTION marea.known_run() RETURNS TEXT
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('marea.this_run') IS NULL OR pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT t.run FROM marea.this_run AS t
        WHERE t.started = pg_postmaster_start_time() AND t.file = pg_relation_filepath('marea.clocks'));
END
$$;

COMMENT ON FUNCTION marea.known_run() IS 'The name of the run that this server is in; NULL: it has none yet.';

CREATE OR REPLACE FUNCTION marea.this_run_number() RETURNS BIGINT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The number of the run that this server is in. The first one who needs it begins it.
DECLARE
    known BIGINT;
    begun marea.runs;
BEGIN
    IF to_regclass('marea.this_run') IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('marea runs', 0));
        PERFORM marea.make_this_run();
    END IF;
    SELECT t.number INTO known FROM marea.this_run AS t WHERE t.run = marea.known_run();
    IF known IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('marea runs', 0));
        SELECT t.number INTO known FROM marea.this_run AS t WHERE t.run = marea.known_run();
    END IF;
    IF known IS NULL THEN
        INSERT INTO marea.runs (number, run)
        SELECT coalesce(max(r.number), 0) + 1, left(encode(sha256(uuid_send(gen_random_uuid())), 'hex'), 16) FROM marea.runs AS r
        RETURNING * INTO begun;
        INSERT INTO marea.this_run AS t (number, run, started, file)
        VALUES (begun.number, begun.run, pg_postmaster_start_time(), pg_relation_filepath('marea.clocks'))
        ON CONFLICT (one_row) DO UPDATE SET number = EXCLUDED.number, run = EXCLUDED.run, started = EXCLUDED.started,
            file = EXCLUDED.file;
        known := begun.number;
    END IF;
    RETURN known;
END
$$;

COMMENT ON FUNCTION marea.this_run_number() IS 'The number of the run that this server is in; begins one where there is none.';

CREATE OR REPLACE FUNCTION marea.epoch() RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known       TEXT := marea.known_run();
    this_number BIGINT;
BEGIN
    IF known IS NULL AND current_setting('transaction_read_only') = 'on' THEN
        -- A hot standby, or a reader after a restart: what it sees is of the last run, because a run's row comes before its changes.
        -- Where there was none yet, of one that no cursor can come from again.
        RETURN coalesce((SELECT r.run FROM marea.runs AS r ORDER BY r.number DESC LIMIT 1), repeat('0', 16));
    ELSIF known IS NULL THEN
        this_number := marea.this_run_number();
        SELECT r.run INTO known FROM marea.runs AS r WHERE r.number = this_number;
    END IF;
    RETURN known;
END
$$;

COMMENT ON FUNCTION marea.epoch() IS 'The name of the run that this server is in, as a cursor''s epoch begins with it.';

CREATE OR REPLACE FUNCTION marea.note_run() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO marea.run_notes (user_id, number, version)
    VALUES (NEW.user_id, NEW.run, CASE TG_OP WHEN 'UPDATE' THEN OLD.version ELSE 0 END)
    ON CONFLICT (user_id, number) DO NOTHING;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.note_run() IS 'Trigger: notes where a user''s clock stood before its first move in a run.';

CREATE OR REPLACE TRIGGER clocks_made AFTER INSERT ON marea.clocks
    FOR EACH ROW EXECUTE FUNCTION marea.note_run();
CREATE OR REPLACE TRIGGER clocks_moved AFTER UPDATE ON marea.clocks
    FOR EACH ROW WHEN (OLD.run <> NEW.run) EXECUTE FUNCTION marea.note_run();

CREATE OR REPLACE FUNCTION marea.move_clock() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Moves the caller's clock unless this transaction has. A push that changed no synced row would leave no trace in the cursor, and nor
-- would one that found a session which the app had inserted without a trace: nobody could tell that it was lost.
BEGIN
    INSERT INTO marea.clocks AS c (user_id, version, run)
    SELECT users.id, 1, marea.this_run_number() FROM public.users WHERE users.id = auth.uid()
    ON CONFLICT (user_id) DO UPDATE SET version = c.version + 1, run = EXCLUDED.run
    WHERE c.xmin <> pg_current_xact_id()::xid;
END
$$;

COMMENT ON FUNCTION marea.move_clock() IS 'Moves the caller''s clock, once in a transaction.';

CREATE OR REPLACE FUNCTION marea.is_lost_history(epoch TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whether the state in which a cursor's epoch, "run.clock.microseconds", was given out is in this history no more: its run is not, or
-- the clock has never been so far, or had not been when a later run began. The checkpoints of each hour tell what no run can: the
-- memory of a running machine that was set back.
DECLARE
    me      CONSTANT UUID := auth.uid();
    parts   CONSTANT TEXT[] := string_to_array(epoch, '.');
    claimed BIGINT;
    at_     TIMESTAMPTZ;
    reached BIGINT;
    given   BIGINT;
BEGIN
    IF epoch IS NULL OR epoch !~ '^[0-9a-f]{16}[.][0-9]{1,18}[.][0-9]{1,16}$' THEN
        RETURN true;
    END IF;
    SELECT r.number INTO given FROM marea.runs AS r WHERE r.run = parts[1];
    IF given IS NULL THEN
        RETURN true;
    END IF;
    claimed := parts[2]::bigint;
    at_ := to_timestamp(0) + parts[3]::bigint * interval '1 microsecond';
    -- Nobody was given a time that has not come. A forged one must leave nothing behind.
    IF at_ > clock_timestamp() + interval '5 minutes' THEN
        RETURN true;
    END IF;
    SELECT coalesce(max(c.version), 0) INTO reached FROM marea.clocks AS c WHERE c.user_id = me;
    IF claimed > reached THEN
        -- The proof that something was lost may soon be overtaken: noted now, it still tells the user's other devices. A later run
        -- tells them without it.
        IF current_setting('transaction_read_only') = 'off' AND parts[1] = marea.known_run() THEN
            INSERT INTO marea.checkpoints (user_id, at, version)
            SELECT me, clock_timestamp(), reached
            WHERE NOT EXISTS (SELECT FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ AND p.version <= reached)
              -- Who makes them up does not fill the disk: a real one is the first of many in an hour.
              AND (SELECT count(*) FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > now() - interval '1 day') < 100
              AND EXISTS (SELECT FROM public.users WHERE users.id = me)
            ON CONFLICT (user_id, at) DO NOTHING;
        END IF;
        RETURN true;
    END IF;
    RETURN claimed > coalesce((
        SELECT n.version FROM marea.run_notes AS n WHERE n.user_id = me AND n.number > given ORDER BY n.number LIMIT 1
    ), claimed) OR claimed > coalesce((
        -- The earliest one says the most.
        SELECT p.version FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ ORDER BY p.at LIMIT 1
    ), claimed);
END
$$;

COMMENT ON FUNCTION marea.is_lost_history(TEXT) IS 'Whether a cursor''s epoch is of another history than the server has now.';
