-- What the one who runs the Postgres looks at. The views show their owner's sight of the tables, so they are for people who run
-- the database, and nobody else.

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

CREATE OR REPLACE VIEW marea.foreign_writers AS
WITH RECURSIVE bodies AS MATERIALIZED (
    SELECT p.oid, p.proname, n.nspname, p.prorettype = 'trigger'::regtype AS is_trigger,
           regexp_replace(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid)), '--[^\n]*|/\*.*?\*/', ' ', 'g') AS body
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'marea', 'marea_adopted') AND n.nspname NOT LIKE 'pg\_%'
      AND NOT (n.nspname = 'public' AND p.proname IN ('sessions_fold_into_progress', 'marea_sync'))
), writers AS (
    SELECT b.* FROM bodies AS b
    WHERE b.body ~* '\m(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?(("?public"?\s*\.\s*)?"?user_progress|"?marea"?\s*\.\s*"?daily_activity)"?(?![a-z0-9_$])'
    UNION
    SELECT b.* FROM bodies AS b JOIN writers AS w ON w.oid <> b.oid AND NOT w.is_trigger
    WHERE b.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\(')
)
SELECT 'trigger' AS kind, format('%I on %s', t.tgname, t.tgrelid::regclass) AS name, format('%I.%I', w.nspname, w.proname) AS function
FROM pg_catalog.pg_trigger AS t JOIN writers AS w ON w.oid = t.tgfoid AND w.is_trigger
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname <> 'marea_adopted'
  -- Those make rows for new learners, which is no harm.
  AND c.relname <> 'users'
UNION ALL
SELECT 'function', format('%I.%I', w.nspname, w.proname), format('%I.%I', w.nspname, w.proname)
FROM writers AS w
WHERE NOT w.is_trigger
  AND NOT EXISTS (SELECT FROM writers AS c WHERE c.is_trigger
      AND c.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\('));

COMMENT ON VIEW marea.foreign_writers IS
    'Triggers and functions of the app whose text writes what the fold alone may write: a session may count twice, or be taken back.';

CREATE OR REPLACE FUNCTION marea.health_notes() RETURNS TABLE (measure TEXT, subject TEXT)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whoever may read a view may not therefore call what the view calls: this is for those who read marea.health.
BEGIN
    RETURN QUERY SELECT 'drift', d.name || ': ' || d.problem FROM marea.mirror_drift() AS d;
    -- Functions that name a table which adopt.sql has set aside, as long as their text is that of before.
    IF to_regclass('marea_adopted.taken') IS NOT NULL THEN
        RETURN QUERY EXECUTE $taken$
            SELECT 'old tables', format('function %I.%I(%s)', t.schema, t.name, t.relation)
            FROM marea_adopted.taken AS t
            WHERE t.kind = 'text' AND EXISTS (
                SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
                WHERE n.nspname = t.schema AND p.proname = t.name AND md5(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid))) = t.state)
            ORDER BY t.schema, t.name, t.relation
        $taken$;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.health_notes() IS 'What of marea.health are names: drift of mirrored tables, and functions that still name old tables.';

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
    -- What marea.has_wakeups() asks: that is for devices, and this view for whoever may read it.
    SELECT 'wake-ups', 'on', (SELECT count(*) FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on'), 'count'
    UNION ALL
    -- 1: marea.set_wakeups(true) has not been run since Realtime came, so no device may listen.
    SELECT 'wake-ups', 'without a policy', CASE
        WHEN EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'wakeups' AND s.value = 'on') AND to_regclass('realtime.messages') IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy WHERE polrelid = to_regclass('realtime.messages') AND polname = 'marea_wakeups_select')
        THEN 1 ELSE 0 END, 'count'
    UNION ALL
    SELECT 'files', 'to delete', (SELECT count(*) FROM marea.file_garbage), 'count'
    UNION ALL
    SELECT 'age', 'oldest file to delete', (
        SELECT extract(epoch FROM now() - min(noted_at))::bigint FROM marea.file_garbage), 'seconds'
    UNION ALL
    SELECT 'files', 'not deleted: ' || failed.last_error, failed.files, 'count'
    FROM (
        SELECT last_error, count(*) AS files FROM marea.file_garbage WHERE last_error IS NOT NULL
        GROUP BY last_error ORDER BY count(*) DESC, last_error LIMIT 5
    ) AS failed
    UNION ALL
    SELECT 'clients', seen.subject, seen.clients, 'count'
    FROM (
        SELECT count(*) AS every, count(*) FILTER (WHERE silent_seconds < 86400) AS today,
               count(*) FILTER (WHERE silent_seconds >= 604800 AND versions_behind > 0) AS left_behind,
               count(*) FILTER (WHERE must_start_anew) AS too_old
        FROM marea.client_lag
    ) AS counted
    CROSS JOIN LATERAL (VALUES
        ('all', counted.every), ('synced in a day', counted.today),
        ('behind and silent for a week', counted.left_behind), ('will start anew', counted.too_old)
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
    -- 0: none, or more than the role's own settings say. docs/migrations/DEPLOY.md says which and why.
    SELECT 'limits', limits.name || ' of ' || limits.role, coalesce((
        SELECT max(CASE WHEN setting.value ~ '^[0-9]+$' THEN setting.value::numeric
            ELSE extract(epoch FROM setting.value::interval) * 1000 END)
        FROM pg_catalog.pg_db_role_setting AS s, unnest(s.setconfig) AS one,
             LATERAL (SELECT split_part(one, '=', 2) WHERE starts_with(one, limits.name || '=')) AS setting (value)
        WHERE s.setrole IN (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname IN (limits.role, 'authenticator'))
          AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()))
    ), 0)::bigint, 'milliseconds'
    FROM (VALUES ('statement_timeout', 'authenticated'), ('lock_timeout', 'authenticated')) AS limits (name, role)
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
    SELECT 'mirrored tables', 'all', (SELECT count(*) FROM marea.tables), 'count'
    UNION ALL
    -- What to type for it: SELECT * FROM marea.mirror_drift().
    SELECT 'drift', n.subject, 1, 'count' FROM marea.health_notes() AS n WHERE n.measure = 'drift'
    UNION ALL
    SELECT 'old tables', n.subject, 1, 'count' FROM marea.health_notes() AS n WHERE n.measure = 'old tables'
    UNION ALL
    -- Empty unless track_functions is at least pl.
    SELECT of_function.measure, f.schemaname || '.' || f.funcname, of_function.value, of_function.unit
    FROM pg_catalog.pg_stat_user_functions AS f
    CROSS JOIN LATERAL (VALUES
        ('calls', f.calls::numeric, 'count'),
        ('mean time', round((f.total_time / greatest(f.calls, 1))::numeric, 3), 'milliseconds')
    ) AS of_function (measure, value, unit)
    WHERE f.schemaname = 'marea' OR (f.schemaname = 'public' AND f.funcname IN ('marea_sync', 'sessions_fold_into_progress'))
    UNION ALL
    SELECT 'foreign writers', 'all', (SELECT count(*) FROM marea.foreign_writers), 'count'
    UNION ALL
    SELECT 'foreign writers', w.kind || ' ' || w.name, 1, 'count' FROM marea.foreign_writers AS w
    UNION ALL
    -- NULL where there is no auth.users, or whoever asks may not look into it.
    SELECT 'learners', 'without a row in users', CASE WHEN (
        SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'auth' AND c.relname = 'users' AND has_table_privilege('public.users', 'SELECT')
    ) THEN substring(query_to_xml('SELECT count(*) AS n FROM auth.users AS a
        WHERE NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = a.id)', false, true, '')::text FROM '<n>([0-9]+)</n>')::numeric END, 'count';

COMMENT ON VIEW marea.health IS 'How Marea is, one figure a row. Cheap enough to be asked every minute.';

REVOKE ALL ON marea.client_lag, marea.largest_users, marea.foreign_writers, marea.health FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.health, marea.client_lag, marea.largest_users TO service_role;
REVOKE ALL ON FUNCTION marea.health_notes FROM PUBLIC, anon, authenticated, service_role, pg_monitor;
GRANT EXECUTE ON FUNCTION marea.health_notes TO service_role, pg_monitor;
