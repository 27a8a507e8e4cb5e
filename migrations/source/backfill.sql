-- Progress, daily activity and streaks for the sessions that were completed before Marea was here, in batches that hold no lock for
-- long.

CREATE TABLE IF NOT EXISTS marea.backfill (
    run           INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at    TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    continued_at  TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    finished_at   TIMESTAMPTZ,
    after_user    UUID,
    users_total   BIGINT NOT NULL CHECK (users_total >= 0),
    users_done    BIGINT NOT NULL DEFAULT 0 CHECK (users_done >= 0),
    users_changed BIGINT NOT NULL DEFAULT 0 CHECK (users_changed >= 0),
    facts_read    BIGINT NOT NULL DEFAULT 0 CHECK (facts_read >= 0)
);

COMMENT ON TABLE marea.backfill IS 'One row per run of the backfill: how far it is. Written by marea.backfill_batch().';
COMMENT ON COLUMN marea.backfill.run IS 'Number of the run.';
COMMENT ON COLUMN marea.backfill.started_at IS 'When its first batch began.';
COMMENT ON COLUMN marea.backfill.continued_at IS 'When its latest batch ended.';
COMMENT ON COLUMN marea.backfill.finished_at IS 'When all users were done; NULL while it runs, or waits to be continued.';
COMMENT ON COLUMN marea.backfill.after_user IS 'The last user done; batches go by id.';
COMMENT ON COLUMN marea.backfill.users_total IS 'Users when the run began, count.';
COMMENT ON COLUMN marea.backfill.users_done IS 'Users looked at, count.';
COMMENT ON COLUMN marea.backfill.users_changed IS 'Users whose progress row was not as their sessions and events say, count.';
COMMENT ON COLUMN marea.backfill.facts_read IS 'Completed sessions and events of the users looked at, count.';

-- One run at a time is open: two callers go on with the same one, batch by batch.
CREATE UNIQUE INDEX IF NOT EXISTS backfill_one_open ON marea.backfill ((true)) WHERE finished_at IS NULL;

ALTER TABLE marea.backfill ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION marea.backfill_batch(batch_users INTEGER DEFAULT 100, again BOOLEAN DEFAULT false) RETURNS INTEGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- One batch, in the caller's transaction. Returns how many users it did; fewer than batch_users: all are done. With again,
-- a backfill that is finished begins again, which repairs whatever plain SQL has done to the counters.
DECLARE
    current  marea.backfill;
    users    UUID[];
    present  UUID[];
    changed_ BIGINT;
BEGIN
    IF batch_users IS NULL OR batch_users NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'batch_users: must be 1 to 10000' USING ERRCODE = '22023';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- An older snapshot would not show what is committed while this waits for the locks.
        RAISE EXCEPTION 'the backfill needs READ COMMITTED' USING ERRCODE = '25001',
            HINT = 'SET default_transaction_isolation = ''read committed'', and begin again.';
    END IF;

    SELECT * INTO current FROM marea.backfill WHERE finished_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        IF NOT again AND EXISTS (SELECT FROM marea.backfill) THEN
            RETURN 0;
        END IF;
        INSERT INTO marea.backfill (users_total) SELECT count(*) FROM public.users RETURNING * INTO current;
    END IF;

    SELECT array_agg(next.id ORDER BY next.id) INTO users
    FROM (
        SELECT u.id FROM public.users AS u WHERE current.after_user IS NULL OR u.id > current.after_user
        ORDER BY u.id LIMIT batch_users
    ) AS next;
    -- Who deletes a user holds the user's row and will want the progress row: so the users come first here too.
    SELECT array_agg(held.id) INTO present
    FROM (SELECT u.id FROM public.users AS u WHERE u.id = ANY (users) ORDER BY u.id FOR KEY SHARE) AS held;
    PERFORM marea.carry_over(coalesce(present, '{}'));
    changed_ := marea.refold(coalesce(present, '{}'));

    UPDATE marea.backfill SET
        continued_at = clock_timestamp(),
        finished_at = CASE WHEN coalesce(cardinality(users), 0) < batch_users THEN clock_timestamp() END,
        after_user = coalesce(users[cardinality(users)], after_user),
        users_done = users_done + coalesce(cardinality(users), 0),
        users_changed = users_changed + changed_,
        facts_read = facts_read
            + coalesce((SELECT sum(d.facts) FROM marea.daily_activity AS d WHERE d.user_id = ANY (present)), 0)
    WHERE run = current.run
    RETURNING * INTO current;
    RAISE NOTICE 'backfill: % of % users, % changed, % facts read', current.users_done, current.users_total,
        current.users_changed, current.facts_read;
    RETURN coalesce(cardinality(users), 0);
END
$$;

COMMENT ON FUNCTION marea.backfill_batch(INTEGER, BOOLEAN) IS
    'Does the next users of the backfill in this transaction; returns how many, fewer than batch_users when all are done.';

CREATE OR REPLACE FUNCTION marea.is_called_alone(routine TEXT) RETURNS BOOLEAN
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
-- By the text that the client has sent. Where that is not tracked, it is taken for alone.
RETURN coalesce((
    SELECT a.query = '' OR regexp_replace(a.query, '--[^\n]*|/\*.*?\*/', ' ', 'g') ~* ('^\s*call\s+' || routine || '\s*\([^;]*\)\s*;?\s*$')
    FROM pg_stat_activity AS a WHERE a.pid = pg_backend_pid()), true);

COMMENT ON FUNCTION marea.is_called_alone(TEXT) IS
    'Whether the CALL of this procedure is all that was sent, so that it may commit; false in a script that is sent as one, as SQL editors do.';

CREATE OR REPLACE PROCEDURE marea.run_backfill(batch_users INTEGER DEFAULT 100, again BOOLEAN DEFAULT false)
LANGUAGE plpgsql AS $$
-- No SET clause: Postgres would not let it commit. So every name is written out.
DECLARE
    attempts CONSTANT pg_catalog.int4 := 5;
    done     pg_catalog.int4;
    afresh   pg_catalog.bool := again;
    alone    CONSTANT pg_catalog.bool := marea.is_called_alone('marea[.]run_backfill');
BEGIN
    LOOP
        FOR attempt IN 1..attempts LOOP
            BEGIN
                done := marea.backfill_batch(batch_users, afresh);
                EXIT;
            EXCEPTION WHEN deadlock_detected OR lock_not_available THEN
                -- Somebody updates many users' progress in an order of their own; that goes by.
                IF attempt OPERATOR(pg_catalog.=) attempts THEN
                    RAISE;
                END IF;
            END;
        END LOOP;
        afresh := false;
        EXIT WHEN done OPERATOR(pg_catalog.<) batch_users;
        IF NOT alone THEN
            RAISE WARNING 'The backfill is not finished: a script that is sent as one cannot be more than one transaction.'
                USING HINT = 'Repeat  SELECT marea.backfill_batch(1000);  until it returns less than 1000.';
            EXIT;
        END IF;
        COMMIT;
    END LOOP;
END
$$;

COMMENT ON PROCEDURE marea.run_backfill(INTEGER, BOOLEAN) IS
    'All batches of the backfill, each committed by itself; goes on where an earlier call was stopped.';

REVOKE ALL ON marea.backfill FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.backfill_run_seq FROM PUBLIC, anon, authenticated, service_role;

REVOKE EXECUTE ON FUNCTION marea.backfill_batch(INTEGER, BOOLEAN), marea.is_called_alone(TEXT) FROM PUBLIC, anon, authenticated, service_role;
REVOKE EXECUTE ON PROCEDURE marea.run_backfill(INTEGER, BOOLEAN) FROM PUBLIC, anon, authenticated, service_role;
