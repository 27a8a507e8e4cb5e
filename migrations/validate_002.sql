-- Checks 002: one row for each check, "check | expected | actual | status". Fails at the end if any check fails, which
-- psql -v ON_ERROR_STOP=1 turns into exit code 3. Changes nothing: what the last check tries out is undone at once.

BEGIN;

CREATE TEMPORARY TABLE validation_002 (
    place    INTEGER,
    "check"  TEXT,
    expected TEXT,
    actual   TEXT,
    passed   BOOLEAN
) ON COMMIT DROP;

-- ---------------------------------------------------------------------------------------------------------------------
-- Counted from the catalogues
-- ---------------------------------------------------------------------------------------------------------------------

WITH tables (relation) AS (
    VALUES ('clocks'), ('checkpoints'), ('rows'), ('progress_events'), ('daily_activity'), ('pending'), ('clients'), ('kept_facts'),
        ('settings'), ('runs'), ('run_notes'), ('tables'), ('columns'), ('catalogue'), ('additions')
), functions AS (
    SELECT p.* FROM pg_proc AS p
    WHERE p.pronamespace = to_regnamespace('marea') OR p.oid IN (to_regprocedure('public.marea_sync(jsonb)'), to_regprocedure('public.marea_catalogue()'))
), found AS (
    SELECT 1 AS place, 'tables' AS "check", 15 AS expected,
           (SELECT count(*) FROM tables WHERE to_regclass('marea.' || relation) IS NOT NULL) AS actual, 0 AS strange
    UNION ALL
    SELECT 2, 'row level security', 15, (
        SELECT count(*) FROM tables JOIN pg_class ON pg_class.oid = to_regclass('marea.' || relation)
        WHERE pg_class.relrowsecurity), 0
    UNION ALL
    SELECT 3, 'policies', 5, (
        SELECT count(*) FROM tables
        JOIN pg_policy AS p ON p.polrelid = to_regclass('marea.' || relation)
        WHERE concat(pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) ~ 'user_id = .*auth\.uid\(\)'
          AND p.polroles = ARRAY[(SELECT oid FROM pg_roles WHERE rolname = 'authenticated')]), (
        -- One policy more can open everything: policies add up.
        -- Three are for the catalogue, which is everybody's.
        SELECT count(*) - 8 FROM pg_policy JOIN tables ON pg_policy.polrelid = to_regclass('marea.' || relation))
    UNION ALL
    SELECT 4, 'foreign keys, ON DELETE CASCADE', 9, (
        SELECT count(*) FROM tables JOIN pg_constraint AS c ON c.conrelid = to_regclass('marea.' || relation)
        WHERE c.contype = 'f' AND c.confrelid = to_regclass('public.users') AND c.confdeltype = 'c'), 0
    UNION ALL
    SELECT 5, 'triggers', 27, (
        SELECT count(*)
        FROM (VALUES
            ('public.sessions', 'marea_sessions_inserted'), ('public.sessions', 'marea_sessions_updated'),
            ('public.sessions', 'marea_sessions_deleted'),
            ('public.user_progress', 'marea_user_progress_inserted'), ('public.user_progress', 'marea_user_progress_updated'),
            ('public.user_progress', 'marea_user_progress_deleted'),
            ('public.export_history', 'marea_export_history_inserted'), ('public.export_history', 'marea_export_history_updated'),
            ('public.export_history', 'marea_export_history_deleted'),
            ('public.user_api_keys', 'marea_user_api_keys_inserted'), ('public.user_api_keys', 'marea_user_api_keys_updated'),
            ('public.user_api_keys', 'marea_user_api_keys_deleted'),
            ('marea.daily_activity', 'marea_daily_activity_inserted'), ('marea.daily_activity', 'marea_daily_activity_updated'),
            ('marea.daily_activity', 'marea_daily_activity_deleted'),
            ('marea.progress_events', 'events_inserted'), ('marea.progress_events', 'events_updated'),
            ('marea.progress_events', 'events_deleted'), ('marea.progress_events', 'events_within_bounds'),
            ('public.user_progress', 'marea_user_progress_guarded'), ('marea.pending', 'pending_assign_versions'),
            ('marea.clocks', 'clocks_made'), ('marea.clocks', 'clocks_moved'),
            ('public.sessions', 'marea_sessions_within_bounds'), ('marea.progress_events', 'events_within_room'),
            ('marea.additions', 'additions_within_bounds'), ('public.export_history', 'marea_export_history_guarded')
        ) AS wanted (relation, name)
        JOIN pg_trigger AS t ON t.tgrelid = to_regclass(relation) AND t.tgname = name AND t.tgenabled IN ('O', 'A')
        -- A trigger for each statement, but for those of the clocks and the one that waits for the end of the transaction.
        WHERE (t.tgtype & 1 = 1) = (relation IN ('marea.pending', 'marea.clocks') OR name IN ('marea_user_progress_guarded', 'marea_export_history_guarded'))), 0
    UNION ALL
    SELECT 6, 'functions that clients may call through the API', 2, (
        SELECT count(*) FROM functions
        WHERE pronamespace = to_regnamespace('public') AND has_function_privilege('authenticated', oid, 'EXECUTE')), 0
    UNION ALL
    SELECT 7, 'functions that anybody at all may execute', 0, (
        SELECT count(*) FROM functions
        WHERE has_function_privilege('anon', oid, 'EXECUTE') AND oid IS DISTINCT FROM to_regprocedure('public.marea_catalogue()')), 0
    UNION ALL
    SELECT 8, 'functions that run as their owner without a pinned search_path', 0, (
        SELECT count(*) FROM functions
        WHERE prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)), 0
    UNION ALL
    SELECT 9, 'tables that anon or service_role may read or write', 0, (
        SELECT count(*) FROM tables, unnest(ARRAY['anon', 'service_role']) AS role
        WHERE has_table_privilege(role, to_regclass('marea.' || relation), 'SELECT, INSERT, UPDATE, DELETE')), 0
    UNION ALL
    SELECT 10, 'tables that authenticated may write (events, insert only)', 1, (
        SELECT count(*) FROM tables
        WHERE has_table_privilege('authenticated', to_regclass('marea.' || relation), 'INSERT, UPDATE, DELETE')), 0
    UNION ALL
    SELECT 15, 'the view of the devices that are known, for nobody', 1, (
        SELECT count(*) FROM pg_class WHERE oid = to_regclass('marea.known_devices') AND relkind = 'v'), (
        SELECT count(*) FROM unnest(ARRAY['anon', 'authenticated', 'service_role']) AS role
        WHERE has_table_privilege(role, to_regclass('marea.known_devices'), 'SELECT'))
    UNION ALL
    SELECT 16, 'functions that a signed-in user needs', 79, (
        SELECT count(*) FROM functions
        WHERE pronamespace = to_regnamespace('marea') AND has_function_privilege('authenticated', oid, 'EXECUTE')
          AND proname = ANY (ARRAY[
            'add_mirrored', 'app_search_path', 'apply_mirrored', 'apply_register', 'bounded', 'check_deferred',
            'check_request', 'clamp_hlc', 'column_limits', 'column_problem', 'count_once', 'delete_export',
            'delete_mirrored', 'dry_push', 'epoch', 'event_is_sound', 'event_problem', 'form_of', 'has_drifted',
            'has_long_number', 'has_wakeups', 'has_wrong_type', 'idle_answer', 'insert_events', 'insert_export', 'insert_mirrored',
            'insert_sessions', 'insert_sessions_sql', 'is_active', 'is_day', 'is_lost_history', 'is_mine', 'is_of_server',
            'json_problem', 'left_out_keys', 'local_day', 'lock_mirrored', 'merge_mirrored', 'merge_registers',
            'mirrored_page', 'mirrored_problem', 'mirrored_rows', 'mirrored_weights', 'mutation_problem',
            'mutation_refusal', 'note_client', 'note_writes', 'one_by_one', 'page', 'page_sql', 'push', 'push_halves',
            'push_together', 'push_without', 'record_of', 'record_registers', 'refuse', 'refuse_absent', 'refuse_left_out',
            'refuse_missing_user', 'register_problem', 'rejected', 'rejected_batch', 'rejected_with_batch',
            'relation_of', 'rows_within', 'session_is_sound', 'session_problem', 'take_turn', 'tomorrow',
            'triggers_before', 'union_achievements', 'unseen_tables', 'update_mirrored', 'user_exists',
            'value_problem', 'values_problem', 'wire_time', 'with_lines'])), (
        SELECT count(*) FROM functions AS f
        WHERE f.pronamespace = to_regnamespace('marea') AND has_function_privilege('service_role', f.oid, 'EXECUTE')
          AND f.proname IN ('push', 'page', 'idle_answer', 'note_client'))
    UNION ALL
    SELECT 17, 'settings that keep a page from sorting all that a user has', 2, (
        SELECT count(*) FROM functions, unnest(proconfig) AS setting
        WHERE oid = to_regprocedure('marea.page(uuid, bigint, integer, boolean)')
          AND setting IN ('enable_sort=off', 'enable_bitmapscan=off')), (
        SELECT count(*) FROM functions, regexp_matches(prosrc, 'AND r\.table_name (IN|=)', 'g')
        WHERE oid = to_regprocedure('marea.page(uuid, bigint, integer, boolean)'))
)
INSERT INTO validation_002
SELECT place, "check", expected, CASE WHEN strange > 0 THEN format('%s and %s too many', actual, strange) ELSE actual::text END,
       actual = expected AND strange <= 0
FROM found;

-- ---------------------------------------------------------------------------------------------------------------------
-- Bounds, and days that lie ahead. A function that is missing must not stop the other checks.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    bounded BIGINT;
    refused BIGINT;
    ahead   BIGINT;
BEGIN
    BEGIN
        SELECT count(*) INTO bounded FROM marea.column_limits();
        SELECT count(*) INTO refused FROM (VALUES
            (marea.session_problem('{"qa_correct": 99, "qa_attempts": 10}')),
            (marea.session_problem('{"ended_at": "1969-12-31T23:50:00.000000Z"}')),
            (marea.event_problem('{"occurred_at": "2026-01-01T00:00:00.000000Z", "local_date": "2026-01-01"}')),
            (marea.register_problem('export_history', '{"retry_count": -1}'))
        ) AS problems (problem) WHERE problem IS NOT NULL;
        SELECT count(*) INTO ahead FROM public.user_progress WHERE last_active_on > marea.tomorrow();
    EXCEPTION WHEN undefined_function OR undefined_table OR undefined_column THEN
        NULL;
    END;
    INSERT INTO validation_002 VALUES
        (18, 'columns that devices write and that have bounds', '44', coalesce(bounded::text, 'no function'), coalesce(bounded = 44, false)),
        (19, 'values out of bounds that are refused', '4', coalesce(refused::text, 'no function'), coalesce(refused = 4, false)),
        (20, 'streaks that end after tomorrow', '0', coalesce(ahead::text, 'no function'), coalesce(ahead = 0, false));
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- What a policy or a grant gives beyond what the migrations give, by any name: a permissive policy that is added or loosened is
-- joined to the others by OR. What service_role alone may do is for those who have its key; the app's own tables are the app's.
-- ---------------------------------------------------------------------------------------------------------------------

WITH ours AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (n.nspname = 'marea' OR (n.nspname = 'public' AND c.relname IN ('user_api_keys', 'user_progress', 'export_history')))
), loose AS (
    SELECT format('%s on %s', p.polname, o.name) AS what
    FROM pg_policy AS p JOIN ours AS o ON o.oid = p.polrelid
    CROSS JOIN LATERAL (VALUES (pg_get_expr(p.polqual, p.polrelid)), (pg_get_expr(p.polwithcheck, p.polrelid))) AS clause (text)
    WHERE p.polpermissive AND p.polroles <> ARRAY[to_regrole('service_role')::oid] AND clause.text IS NOT NULL
      AND lower(regexp_replace(clause.text, '\s+', ' ', 'g')) <> '(user_id = ( select auth.uid() as uid))'
      AND NOT (clause.text = 'true' AND p.polcmd = 'r' AND o.name IN ('marea.tables', 'marea.columns', 'marea.catalogue'))
    UNION
    SELECT 'role ' || rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') AND (rolbypassrls OR rolsuper)
    UNION
    SELECT 'marea_sync runs as its owner' FROM pg_proc WHERE oid = to_regprocedure('public.marea_sync(jsonb)') AND prosecdef
), given (relation, privilege, columns) AS (VALUES
    ('public.user_api_keys', 'SELECT', NULL), ('public.user_api_keys', 'DELETE', NULL),
    ('public.user_api_keys', 'INSERT', 'user_id,openai_api_key,unsplash_api_key,anthropic_api_key,last_validated_at'),
    ('public.user_api_keys', 'UPDATE', 'openai_api_key,unsplash_api_key,anthropic_api_key,last_validated_at'),
    ('public.user_progress', 'SELECT', NULL), ('public.user_progress', 'INSERT', 'user_id'),
    ('public.export_history', 'SELECT', NULL),
    ('public.export_history', 'INSERT', 'id,user_id,export_type,export_format,status,records_count,file_size_bytes,file_url,filters,data,'
        'error_message,retry_count,started_at,completed_at,processing_time_seconds,expires_at,created_at'),
    ('public.export_history', 'UPDATE', 'status,records_count,file_size_bytes,file_url,data,error_message,retry_count,started_at,'
        'completed_at,processing_time_seconds,expires_at')
), beyond AS (
    -- What a role has on a column, be it by a grant on the table, to PUBLIC or to a role that it is a member of.
    SELECT format('%s of %s.%s to %s', p.name, o.name, a.attname, role.name) AS what
    FROM ours AS o JOIN pg_attribute AS a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p (name)
    CROSS JOIN (SELECT rolname::text FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) AS role (name)
    WHERE o.name LIKE 'public.%' AND has_column_privilege(role.name, o.oid, a.attnum, p.name) AND NOT EXISTS (
        SELECT FROM given AS g WHERE role.name = 'authenticated' AND g.relation = o.name AND g.privilege = p.name
          AND (g.columns IS NULL OR a.attname = ANY (string_to_array(g.columns, ','))))
    UNION ALL
    SELECT format('%s of %s to %s', p.name, o.name, role.name)
    FROM ours AS o CROSS JOIN unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER']) AS p (name)
    CROSS JOIN (SELECT rolname::text FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) AS role (name)
    WHERE has_table_privilege(role.name, o.oid, p.name) AND NOT EXISTS (
        SELECT FROM given AS g WHERE role.name = 'authenticated' AND g.relation = o.name AND g.privilege = p.name)
    UNION ALL
    SELECT format('%s of %s to %s', p.name, o.name, role.name)
    FROM ours AS o CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p (name)
    CROSS JOIN (SELECT rolname::text FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) AS role (name)
    WHERE o.name LIKE 'marea.%' AND has_any_column_privilege(role.name, o.oid, p.name) AND NOT (role.name = 'authenticated' AND (
        (p.name = 'SELECT' AND o.name IN ('marea.clocks', 'marea.rows', 'marea.daily_activity', 'marea.progress_events', 'marea.tables', 'marea.columns', 'marea.catalogue'))
        OR (p.name = 'INSERT' AND o.name = 'marea.progress_events')))
    UNION ALL
    SELECT format('%s of public.user_api_keys to service_role', p.name)
    FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p (name), pg_roles AS r
    WHERE r.rolname = 'service_role' AND NOT r.rolsuper AND has_any_column_privilege('service_role', to_regclass('public.user_api_keys'), p.name)
)
INSERT INTO validation_002
SELECT 22, 'policies and roles that give more than a learner''s own rows', '0',
       count(*) || coalesce(': ' || string_agg(what, ', ' ORDER BY what), ''), count(*) = 0 FROM loose
UNION ALL
SELECT 23, 'grants beyond those of the migrations', '0',
       count(*) || coalesce(': ' || left(string_agg(what, ', ' ORDER BY what), 300), ''), count(*) = 0 FROM beyond;

-- ---------------------------------------------------------------------------------------------------------------------
-- Mirrored tables: SELECT * FROM marea.mirror_drift() says what is wrong and what to type.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    drifted BIGINT;
BEGIN
    BEGIN
        SELECT count(*) INTO drifted FROM marea.mirror_drift();
    EXCEPTION WHEN undefined_function OR undefined_table OR undefined_column THEN
        NULL;
    END;
    INSERT INTO validation_002 VALUES
        (21, 'mirrored tables that are not as they were declared', '0', coalesce(drifted::text, 'no function'), coalesce(drifted = 0, false));
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The data. A table that is missing must not stop the other checks.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    untracked BIGINT;
    beyond    BIGINT;
    left_over BIGINT;
BEGIN
    IF to_regclass('marea.rows') IS NOT NULL AND to_regclass('marea.clocks') IS NOT NULL
       AND to_regclass('marea.pending') IS NOT NULL AND to_regclass('marea.daily_activity') IS NOT NULL THEN
        SELECT count(*) INTO untracked
        FROM (
            SELECT user_id, 'user_progress' AS table_name, user_id::text AS row_key FROM public.user_progress
            UNION ALL SELECT user_id, 'user_api_keys', user_id::text FROM public.user_api_keys
            UNION ALL SELECT user_id, 'export_history', id::text FROM public.export_history
            UNION ALL SELECT user_id, 'daily_activity', to_char(day, 'YYYY-MM-DD') FROM marea.daily_activity
        ) AS here
        LEFT JOIN marea.rows AS r ON r.user_id = here.user_id AND r.table_name = here.table_name AND r.row_key = here.row_key
        WHERE r.version IS NULL OR r.deleted;
        IF to_regprocedure('marea.mirror_drift()') IS NOT NULL THEN
            SELECT untracked + coalesce(sum(marea.rows_due(t, marea.relation_of(t), NULL, 1000000)), 0) INTO untracked
            FROM marea.tables AS t WHERE t.finished_at IS NOT NULL AND NOT marea.has_drifted(t.name);
        END IF;
        SELECT count(*) INTO beyond
        FROM marea.rows AS r LEFT JOIN marea.clocks AS c ON c.user_id = r.user_id
        WHERE c.version IS NULL OR r.version > c.version;
        SELECT count(*) INTO left_over FROM marea.pending;
    END IF;
    INSERT INTO validation_002 VALUES
        (11, 'rows without a version', '0', coalesce(untracked::text, 'no table'), coalesce(untracked = 0, false)),
        (12, 'versions beyond their user''s clock', '0', coalesce(beyond::text, 'no table'), coalesce(beyond = 0, false)),
        (13, 'changes left without a version', '0', coalesce(left_over::text, 'no table'), coalesce(left_over = 0, false));
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- marea_sync at work: an award goes in and comes out, for a learner made for it, and everything is undone.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    learner UUID;
    award   CONSTANT UUID := gen_random_uuid();
    before  BIGINT;
    answer  JSONB;
    said    TEXT;
    untried TEXT;
BEGIN
    BEGIN
        BEGIN
            INSERT INTO public.users (id) VALUES (gen_random_uuid()) RETURNING id INTO learner;
        EXCEPTION WHEN OTHERS THEN
            SELECT u.id INTO learner FROM public.users AS u ORDER BY u.id LIMIT 1;
        END;
        IF learner IS NULL THEN
            untried := 'there is no user to try it on';
        ELSIF NOT pg_has_role('authenticated', 'MEMBER') THEN
            untried := format('role %I may not act as authenticated', current_user);
        END IF;
        IF untried IS NOT NULL THEN
            RAISE EXCEPTION 'undo' USING ERRCODE = 'MV000';
        END IF;
        SELECT coalesce(sum(total_points), 0) INTO before FROM public.user_progress WHERE user_id = learner;
        PERFORM set_config('request.jwt.claims', jsonb_build_object('sub', learner, 'role', 'authenticated')::text, true);
        SET LOCAL ROLE authenticated;
        answer := public.marea_sync(jsonb_build_object('protocol', 1, 'client_id', gen_random_uuid(), 'schema', 1,
            'cursor', NULL, 'limit', 2000, 'mutations', jsonb_build_array(jsonb_build_object('id', award, 'key', award,
                'hlc', '0000000000000-0000', 'table', 'progress_events', 'op', 'insert', 'values', jsonb_build_object(
                    'occurred_at', '2000-01-01T00:00:00.000000Z', 'local_date', '2000-01-01', 'points', 1)))));
        said := CASE
            WHEN answer #>> '{results,0,status}' IS DISTINCT FROM 'applied' THEN 'rejected: ' || (answer #>> '{results,0,code}')
            WHEN (answer #>> '{rows,user_progress,0,values,total_points}')::bigint IS DISTINCT FROM before + 1 THEN 'not folded'
            ELSE 'syncs'
        END;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'MV000';
    EXCEPTION
        WHEN SQLSTATE 'MV000' THEN NULL;
        WHEN others THEN said := SQLERRM;
    END;
    INSERT INTO validation_002 VALUES (14, 'marea_sync when called', 'syncs',
        coalesce('not tried, because ' || untried, said), CASE WHEN untried IS NULL THEN coalesce(said = 'syncs', false) END);
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Wake-ups: as they are switched, and nobody may speak on a channel of theirs
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    switched TEXT;
    is_here  TEXT;
BEGIN
    BEGIN
        switched := CASE WHEN NOT EXISTS (SELECT FROM marea.settings WHERE name = 'wakeups' AND value = 'on') THEN 'off'
            WHEN to_regclass('realtime.messages') IS NULL THEN 'on' ELSE 'on, and its policy' END;
        SELECT CASE count(*) WHEN 0 THEN 'off' WHEN 2 THEN 'on' ELSE 'half' END INTO is_here
        FROM pg_trigger
        WHERE tgrelid = to_regclass('marea.clocks') AND tgname IN ('clocks_wake_inserted', 'clocks_wake_updated') AND tgenabled <> 'D';
        SELECT is_here || CASE WHEN count(*) = 1 THEN ', and its policy' WHEN count(*) > 1 THEN ', and others'' policies' ELSE '' END
        INTO is_here
        FROM pg_policy
        WHERE polrelid = to_regclass('realtime.messages') AND (polname = 'marea_wakeups_select'
            OR polcmd <> 'r' AND concat(pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) LIKE '%marea:%');
    EXCEPTION WHEN undefined_table THEN
        NULL;
    END;
    INSERT INTO validation_002 VALUES (21, 'wake-ups', coalesce(switched, 'off'), coalesce(is_here, 'no table'), coalesce(is_here = switched, false));
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The answer
-- ---------------------------------------------------------------------------------------------------------------------

SELECT "check", expected, actual, CASE WHEN passed THEN 'PASS' WHEN passed IS NULL THEN 'NOT TRIED' ELSE 'FAIL' END AS status
FROM validation_002 ORDER BY place;

DO $$
DECLARE
    failed TEXT;
BEGIN
    SELECT string_agg("check", ', ' ORDER BY place) INTO failed FROM validation_002 WHERE NOT passed;
    IF failed IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 002 is not whole: %', failed USING HINT = 'Run 002_sync_layer.sql again: it makes what is missing.';
    END IF;
END
$$;

COMMIT;
