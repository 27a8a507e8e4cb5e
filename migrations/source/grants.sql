-- Who may do what in the schema marea. Functions are executable by PUBLIC when made, so everything is taken away first; by name,
-- not ALL FUNCTIONS IN SCHEMA, because this may be run again after later migrations have given their own.

ALTER TABLE marea.clocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.progress_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.daily_activity ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.run_notes ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    wanted RECORD;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('clocks', 'clocks_select_own', 'SELECT', 'USING'),
            ('rows', 'rows_select_own', 'SELECT', 'USING'),
            ('daily_activity', 'daily_activity_select_own', 'SELECT', 'USING'),
            ('progress_events', 'progress_events_select_own', 'SELECT', 'USING'),
            ('progress_events', 'progress_events_insert_own', 'INSERT', 'WITH CHECK')
        ) AS policies (relation, name, command, clause)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('marea.' || policies.relation) AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON marea.%I FOR %s TO authenticated %s (user_id = (SELECT auth.uid()))',
            wanted.name, wanted.relation, wanted.command, wanted.clause);
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA marea FROM PUBLIC;
REVOKE ALL ON marea.clocks, marea.checkpoints, marea.rows, marea.progress_events, marea.daily_activity, marea.pending,
    marea.clients, marea.known_devices, marea.runs, marea.run_notes
FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.pending_seq_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.marea_sync(JSONB) FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION
    marea.app_search_path, marea.apply_register, marea.assign_server_hlc, marea.assign_versions, marea.bounded,
    marea.check_deferred, marea.check_request, marea.clamp_hlc, marea.column_limits, marea.delete_export, marea.dry_push,
    marea.epoch, marea.event_fact, marea.event_is_sound, marea.event_problem, marea.facts_of, marea.fold, marea.fold_events,
    marea.fold_many, marea.fold_one, marea.fold_sessions, marea.has_long_number, marea.has_wrong_type, marea.idle_answer,
    marea.insert_events, marea.insert_export, marea.insert_sessions, marea.insert_sessions_sql, marea.is_active, marea.is_day,
    marea.is_lost_history, marea.is_of_server, marea.json_problem, marea.known_run, marea.local_day, marea.make_this_run,
    marea.merge_registers, marea.move_clock, marea.mutation_problem, marea.mutation_refusal, marea.non_negative,
    marea.note_client, marea.note_run, marea.page, marea.push, marea.push_halves, marea.push_together, marea.push_without,
    marea.record_registers, marea.refold, marea.refuse, marea.refuse_left_out, marea.refuse_missing_user,
    marea.register_problem, marea.rejected, marea.rejected_batch, marea.rejected_with_batch, marea.rows_within,
    marea.saturated, marea.server_hlc, marea.session_fact, marea.session_is_sound, marea.session_problem, marea.settle_clocks,
    marea.take_turn, marea.this_run_number, marea.tomorrow, marea.track_daily_activity, marea.track_export_history, marea.track_user_api_keys,
    marea.track_user_progress, marea.triggers_before, marea.union_achievements, marea.user_exists, marea.value_problem,
    marea.values_problem, marea.wire_time
FROM PUBLIC, anon, authenticated, service_role;

GRANT EXECUTE ON FUNCTION public.marea_sync(JSONB) TO authenticated;
-- marea_sync runs as its caller, so the caller needs what it uses. The schema is not exposed through the API, and every
-- table below shows a caller only the caller's own rows.
GRANT USAGE ON SCHEMA marea TO authenticated;
GRANT SELECT ON marea.clocks, marea.rows, marea.daily_activity, marea.progress_events TO authenticated;
GRANT INSERT ON marea.progress_events TO authenticated;
GRANT EXECUTE ON FUNCTION
    marea.app_search_path, marea.apply_register, marea.bounded, marea.check_deferred, marea.check_request, marea.clamp_hlc,
    marea.column_limits, marea.delete_export, marea.dry_push, marea.epoch, marea.event_is_sound, marea.event_problem,
    marea.has_long_number, marea.has_wrong_type, marea.idle_answer, marea.insert_events, marea.insert_export,
    marea.insert_sessions, marea.insert_sessions_sql, marea.is_active, marea.is_day, marea.is_lost_history, marea.is_of_server,
    marea.json_problem, marea.local_day, marea.merge_registers, marea.move_clock, marea.mutation_problem,
    marea.mutation_refusal, marea.note_client, marea.page, marea.push, marea.push_halves, marea.push_together, marea.push_without,
    marea.record_registers, marea.refuse, marea.refuse_left_out, marea.refuse_missing_user, marea.register_problem,
    marea.rejected, marea.rejected_batch, marea.rejected_with_batch, marea.rows_within, marea.session_is_sound,
    marea.session_problem, marea.settle_clocks, marea.take_turn, marea.tomorrow, marea.triggers_before, marea.user_exists, marea.value_problem,
    marea.values_problem, marea.wire_time
TO authenticated;
-- The backend's own jobs.
GRANT USAGE ON SCHEMA marea TO service_role;
GRANT EXECUTE ON FUNCTION marea.refold(UUID[]) TO service_role;
