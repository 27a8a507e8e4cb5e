-- 004: what the one who runs the Postgres looks at: the views marea.health, marea.largest_users and marea.client_lag, and the
-- table that the last one needs. docs/migrations/OPERATIONS.md says what to do with them.
--
-- Nothing here is needed for correctness. The only write is one a device an hour, by marea_sync, so that a device that has
-- gone silent can be seen. The jobs (marea.expire_exports, marea.prune_tombstones) are in 002.
--
-- Needs 003. One transaction; run twice, the second run changes nothing. Taken back by 004_operations_rollback.sql, counted by
-- validate_004.sql.

BEGIN;

DO $$
BEGIN
    IF to_regclass('marea.backfill') IS NULL THEN
        RAISE EXCEPTION 'Marea 004 cannot be applied; nothing was changed. Missing: the backfill (migration 003)'
            USING HINT = 'Apply 003_backfill.sql first.';
    END IF;
    IF to_regclass('marea.health') IS NOT NULL THEN
        RAISE NOTICE 'Marea 004 stands already: this run changes nothing.';
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Devices, as they were last seen
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS marea.clients (
    user_id   UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    client_id UUID NOT NULL,
    schema    INTEGER NOT NULL CHECK (schema >= 1),
    version   BIGINT NOT NULL CHECK (version >= 0),
    first_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    noted_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, client_id)
);

ALTER TABLE marea.clients ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE marea.clients IS
    'Devices, noted at most once an hour when they sync. For people who watch; no sync depends on it.';
COMMENT ON COLUMN marea.clients.user_id IS 'Whose device.';
COMMENT ON COLUMN marea.clients.client_id IS 'The device''s own id; a copied profile has the same.';
COMMENT ON COLUMN marea.clients.schema IS 'Version of its mirror.';
COMMENT ON COLUMN marea.clients.version IS 'Where its cursor stood after that sync.';
COMMENT ON COLUMN marea.clients.first_at IS 'When it was first noted, server clock.';
COMMENT ON COLUMN marea.clients.noted_at IS 'When it was last noted, server clock; it may have synced in the hour after.';

CREATE OR REPLACE FUNCTION marea.note_client(client UUID, schema INTEGER, version BIGINT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Called by marea_sync at its end, for the signed-in user. Nearly always it only looks.
#variable_conflict use_column
DECLARE
    me    CONSTANT UUID := auth.uid();
    known TIMESTAMPTZ;
BEGIN
    SELECT noted_at INTO known FROM marea.clients WHERE user_id = me AND client_id = client;
    IF known > now() - interval '1 hour' OR current_setting('transaction_read_only') = 'on'
       OR NOT EXISTS (SELECT FROM public.users WHERE id = me) THEN
        RETURN;
    END IF;
    INSERT INTO marea.clients AS c (user_id, client_id, schema, version)
    VALUES (me, client, note_client.schema, note_client.version)
    ON CONFLICT (user_id, client_id) DO UPDATE SET
        schema = EXCLUDED.schema, version = EXCLUDED.version, noted_at = EXCLUDED.noted_at;
    IF known IS NULL THEN
        -- Whoever makes up an id for each request must not fill the disk: a user has the 50 latest devices.
        DELETE FROM marea.clients
        WHERE user_id = me AND client_id IN (
            SELECT client_id FROM marea.clients WHERE user_id = me ORDER BY noted_at DESC, client_id OFFSET 50);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.note_client(UUID, INTEGER, BIGINT) IS
    'Notes that a device of the caller has synced, at most once an hour.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Views. They show their owner's sight of the tables, so they are for people who run the database, and nobody else.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE VIEW marea.client_lag AS
SELECT c.user_id, c.client_id, c.schema, c.first_at, c.noted_at,
       extract(epoch FROM now() - c.noted_at)::bigint AS silent_seconds,
       c.version, coalesce(u.version, 0) AS user_version,
       greatest(coalesce(u.version, 0) - c.version, 0) AS versions_behind,
       c.version < coalesce(u.pruned, 0) AS must_start_anew
FROM marea.clients AS c
LEFT JOIN marea.clocks AS u ON u.user_id = c.user_id;

COMMENT ON VIEW marea.client_lag IS
    'Each device: when it last synced (to the hour), and how many of its user''s changes have come since.';

CREATE OR REPLACE VIEW marea.largest_users AS
SELECT r.user_id, count(*) AS rows, count(*) FILTER (WHERE r.deleted) AS tombstones,
       (SELECT c.version FROM marea.clocks AS c WHERE c.user_id = r.user_id) AS version
FROM marea.rows AS r
GROUP BY r.user_id
ORDER BY count(*) DESC, r.user_id
LIMIT 20;

COMMENT ON VIEW marea.largest_users IS 'The 20 users with the most synced rows. Reads all of marea.rows: not for a dashboard.';

CREATE OR REPLACE VIEW marea.health (measure, subject, value, unit) AS
    SELECT 'users', 'all', (SELECT count(*) FROM marea.clocks)::numeric, 'count'
    UNION ALL
    SELECT 'changes', 'busiest user', (SELECT max(version) FROM marea.clocks), 'count'
    UNION ALL
    SELECT 'tombstones', 'all', (SELECT count(*) FROM marea.rows WHERE deleted), 'count'
    UNION ALL
    SELECT 'tombstones', 'older than 90 days', (
        SELECT count(*) FROM marea.rows WHERE deleted AND changed_at < now() - interval '90 days'), 'count'
    UNION ALL
    SELECT 'age', 'oldest tombstone', (
        SELECT extract(epoch FROM now() - min(changed_at))::bigint FROM marea.rows WHERE deleted), 'seconds'
    UNION ALL
    -- What a statement notes is gone at its transaction's end. A row that stays is a defect.
    SELECT 'pending', 'left behind', (SELECT count(*) FROM marea.pending), 'count'
    UNION ALL
    SELECT 'backfill', 'users left', coalesce((
        SELECT sum(greatest(users_total - users_done, 0)) FROM marea.backfill WHERE finished_at IS NULL), 0), 'count'
    UNION ALL
    SELECT 'exports', 'waiting', (
        SELECT count(*) FROM public.export_history WHERE status IN ('pending', 'processing')), 'count'
    UNION ALL
    SELECT 'age', 'oldest waiting export', (
        SELECT extract(epoch FROM now() - min(created_at))::bigint FROM public.export_history
        WHERE status IN ('pending', 'processing')), 'seconds'
    UNION ALL
    SELECT 'exports', 'failed in a day', (
        SELECT count(*) FROM public.export_history
        WHERE status = 'failed' AND created_at > now() - interval '1 day'), 'count'
    UNION ALL
    SELECT 'exports', 'past their expiry', (
        SELECT count(*) FROM public.export_history WHERE status = 'completed' AND expires_at < now()), 'count'
    UNION ALL
    SELECT 'clients', seen.subject, seen.clients, 'count'
    FROM (
        SELECT count(*) AS every, count(*) FILTER (WHERE silent_seconds < 86400) AS today,
               count(*) FILTER (WHERE silent_seconds >= 604800 AND versions_behind > 0) AS left_behind,
               count(*) FILTER (WHERE must_start_anew) AS anew
        FROM marea.client_lag
    ) AS counted
    CROSS JOIN LATERAL (VALUES
        ('all', counted.every), ('synced in a day', counted.today),
        ('behind and silent for a week', counted.left_behind), ('will start anew', counted.anew)
    ) AS seen (subject, clients)
    UNION ALL
    SELECT 'age', 'longest transaction', (
        SELECT coalesce(max(extract(epoch FROM now() - xact_start))::bigint, 0) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'), 'seconds'
    UNION ALL
    SELECT 'sessions', 'waiting for a lock', (
        SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'), 'count'
    UNION ALL
    SELECT of_table.measure, t.schemaname || '.' || t.relname, of_table.value, of_table.unit
    FROM pg_catalog.pg_stat_user_tables AS t
    CROSS JOIN LATERAL (VALUES
        ('rows', t.n_live_tup::numeric, 'count'), ('dead rows', t.n_dead_tup, 'count'),
        ('size', pg_total_relation_size(t.relid), 'bytes')
    ) AS of_table (measure, value, unit)
    WHERE t.schemaname = 'marea'
       OR (t.schemaname = 'public' AND t.relname IN ('sessions', 'user_progress', 'export_history', 'user_api_keys'))
    UNION ALL
    -- Empty unless track_functions is at least pl.
    SELECT of_function.measure, f.schemaname || '.' || f.funcname, of_function.value, of_function.unit
    FROM pg_catalog.pg_stat_user_functions AS f
    CROSS JOIN LATERAL (VALUES
        ('calls', f.calls::numeric, 'count'),
        ('mean time', round((f.total_time / greatest(f.calls, 1))::numeric, 3), 'milliseconds')
    ) AS of_function (measure, value, unit)
    WHERE f.schemaname = 'marea' OR (f.schemaname = 'public' AND f.funcname IN ('marea_sync', 'sessions_fold_into_progress'));

COMMENT ON VIEW marea.health IS 'How Marea is, one figure a row. Cheap enough to be asked every minute.';

REVOKE ALL ON marea.clients, marea.client_lag, marea.largest_users, marea.health FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION marea.note_client(UUID, INTEGER, BIGINT) FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.note_client(UUID, INTEGER, BIGINT) TO authenticated; -- marea_sync runs as its caller
GRANT SELECT ON marea.health, marea.client_lag, marea.largest_users TO service_role;

COMMIT;
