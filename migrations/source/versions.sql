-- Versions: what changed gets its user's next ones, at the end of the transaction.

CREATE OR REPLACE FUNCTION marea.settle_clocks() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
-- Called by whatever reads or writes clocks in marea.rows before the versions are given: then those that were to come with them must be
-- there. Nearly always there are none, and a line is written once.
BEGIN
    IF NOT EXISTS (SELECT FROM marea.pending AS p WHERE p.xact = pg_current_xact_id_if_assigned() AND p.clocks IS NOT NULL) THEN
        RETURN;
    END IF;
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, hlc)
    SELECT k.user_id, p.table_name, k.row_key, replace(p.clocks, chr(1), k.stamp)::jsonb
    FROM marea.pending AS p, unnest(p.user_ids, p.row_keys, p.stamps) AS k (user_id, row_key, stamp)
    WHERE p.xact = pg_current_xact_id() AND p.clocks IS NOT NULL
    ORDER BY k.user_id, p.table_name, k.row_key
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET deleted = false, hlc = r.hlc || EXCLUDED.hlc;
    UPDATE marea.pending AS p SET clocks = NULL, stamps = NULL WHERE p.xact = pg_current_xact_id() AND p.clocks IS NOT NULL;
END
$$;

COMMENT ON FUNCTION marea.settle_clocks() IS 'Writes the clocks into marea.rows that were to come with the versions of this transaction.';

CREATE OR REPLACE FUNCTION marea.assign_versions() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
-- The first firing gives versions to everything that the transaction has changed so far, users in one order for all transactions;
-- the later ones find their row gone. By primary key, whatever the planner thinks of so small a table: a scan would walk
-- over the transaction's dead rows, all of them for each.
DECLARE
    began     CONSTANT TIMESTAMPTZ := clock_timestamp();
    this_hour CONSTANT TIMESTAMPTZ := date_trunc('hour', began);
    this_run  BIGINT;
    is_moving BOOLEAN;
BEGIN
    IF NOT EXISTS (SELECT FROM marea.pending WHERE xact = NEW.xact AND seq = NEW.seq) THEN
        RETURN NULL;
    END IF;
    this_run := marea.this_run_number();

    WITH taken AS (
        DELETE FROM marea.pending WHERE xact = NEW.xact AND seq >= NEW.seq
        RETURNING seq, table_name, deleted, user_ids, row_keys, clocks, stamps
    ), changed AS MATERIALIZED (
        SELECT DISTINCT ON (k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text))
               k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text) AS row_key, t.deleted, t.seq, t.clocks, k.stamp
        FROM taken AS t, unnest(t.user_ids, t.row_keys, t.stamps) AS k (user_id, row_key, stamp)
        ORDER BY k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text), t.seq DESC
    ), bumped AS (
        INSERT INTO marea.clocks AS c (user_id, version, run)
        SELECT per_user.user_id, per_user.changes, this_run
        FROM (SELECT user_id, count(*) AS changes FROM changed GROUP BY user_id) AS per_user
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = per_user.user_id)
        ORDER BY per_user.user_id
        ON CONFLICT (user_id) DO UPDATE SET
            version = c.version + EXCLUDED.version,
            run = EXCLUDED.run,
            checked_at = CASE WHEN c.checked_at < this_hour THEN began ELSE c.checked_at END,
            checked_version = CASE WHEN c.checked_at < this_hour THEN c.version ELSE c.checked_version END
        RETURNING c.user_id, c.version, c.checked_at, c.checked_version, c.moving
    ), checked AS (
        INSERT INTO marea.checkpoints (user_id, at, version)
        SELECT b.user_id, b.checked_at, b.checked_version FROM bumped AS b WHERE b.checked_at = began
        ON CONFLICT (user_id, at) DO NOTHING
    ), lines AS (
        INSERT INTO marea.rows AS r (user_id, table_name, row_key, version, deleted, hlc)
        SELECT numbered.user_id, numbered.table_name, numbered.row_key, b.version - numbered.place, numbered.deleted,
               coalesce(replace(numbered.clocks, chr(1), numbered.stamp)::jsonb, '{}')
        FROM (
            SELECT changed.*, row_number() OVER (PARTITION BY user_id ORDER BY seq DESC, table_name DESC, row_key DESC) - 1 AS place
            FROM changed
        ) AS numbered
        JOIN bumped AS b ON b.user_id = numbered.user_id
        ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET
            version = EXCLUDED.version,
            deleted = EXCLUDED.deleted,
            changed_at = EXCLUDED.changed_at,
            -- A deleted row's clocks are of no more use, but for that of its deletion: an older write must not bring it back. Deleted
            -- keys may be written again, and then an older write must still lose.
            hlc = CASE WHEN NOT EXCLUDED.deleted AND EXCLUDED.hlc <> '{}' THEN r.hlc || EXCLUDED.hlc
                WHEN NOT EXCLUDED.deleted OR r.table_name = 'user_api_keys' THEN r.hlc
                WHEN r.hlc ? '*' THEN jsonb_build_object('*', r.hlc -> '*') ELSE '{}' END
    )
    SELECT bool_or(b.moving) INTO is_moving FROM bumped AS b;
    IF is_moving THEN
        -- Told by the clock, which whoever moves a user has held: a transaction that began before and ends after is told too.
        RAISE EXCEPTION USING ERRCODE = 'PT421', MESSAGE = 'the user''s data is on its way to another server, or there already',
            HINT = 'SELECT * FROM marea.moved says where; marea.stop_move() takes it back.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.assign_versions() IS 'Trigger: gives versions to all that the transaction changed; takes the clocks, last of all.';

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'marea.pending'::regclass AND tgname = 'pending_assign_versions') THEN
        CREATE CONSTRAINT TRIGGER pending_assign_versions AFTER INSERT ON marea.pending
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION marea.assign_versions();
    END IF;
END
$$;
