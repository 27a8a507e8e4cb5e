-- Who may do what with the three tables: row level security, twelve policies, grants.

ALTER TABLE public.user_api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_progress ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.export_history ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    own    CONSTANT TEXT := 'user_id = (SELECT auth.uid())';
    wanted RECORD;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('user_api_keys', 'user_api_keys_select_own', 'SELECT', 'authenticated', own, NULL),
            ('user_api_keys', 'user_api_keys_insert_own', 'INSERT', 'authenticated', NULL, own),
            ('user_api_keys', 'user_api_keys_update_own', 'UPDATE', 'authenticated', own, own),
            ('user_api_keys', 'user_api_keys_delete_own', 'DELETE', 'authenticated', own, NULL),
            ('user_progress', 'user_progress_select_own', 'SELECT', 'authenticated', own, NULL),
            ('user_progress', 'user_progress_insert_own', 'INSERT', 'authenticated', NULL, own),
            ('user_progress', 'user_progress_update_own', 'UPDATE', 'authenticated', own, own),
            ('user_progress', 'user_progress_service', 'ALL', 'service_role', 'true', 'true'),
            ('export_history', 'export_history_select_own', 'SELECT', 'authenticated', own, NULL),
            ('export_history', 'export_history_insert_own', 'INSERT', 'authenticated', NULL, own),
            ('export_history', 'export_history_update_own', 'UPDATE', 'authenticated', own, own),
            ('export_history', 'export_history_service', 'ALL', 'service_role', 'true', 'true')
        ) AS policies (relation, name, command, role, readable, writable)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('public.' || policies.relation) AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON public.%I FOR %s TO %I', wanted.name, wanted.relation, wanted.command, wanted.role)
            || coalesce(' USING (' || wanted.readable || ')', '')
            || coalesce(' WITH CHECK (' || wanted.writable || ')', '');
    END LOOP;
END
$$;

-- Supabase's default privileges have given all of this to all three roles; a plain Postgres has given nothing.
REVOKE ALL ON public.user_api_keys, public.user_progress, public.export_history FROM PUBLIC, anon;

REVOKE ALL ON public.user_api_keys FROM service_role; -- no job may read keys, not even one that bypasses policies
REVOKE ALL ON public.user_api_keys, public.user_progress, public.export_history FROM authenticated;

-- By column: what is set once stays, what the server sets is the server's, and the fold's columns are written by the fold alone.
-- marea_sync writes with the same rights.
GRANT SELECT, DELETE,
    INSERT (user_id, openai_api_key, unsplash_api_key, anthropic_api_key, last_validated_at),
    UPDATE (openai_api_key, unsplash_api_key, anthropic_api_key, last_validated_at)
ON public.user_api_keys TO authenticated;
GRANT SELECT, INSERT (user_id) ON public.user_progress TO authenticated;
GRANT SELECT,
    INSERT (id, user_id, export_type, export_format, status, records_count, file_size_bytes, file_url, filters, data, error_message,
        retry_count, started_at, completed_at, processing_time_seconds, expires_at, created_at),
    UPDATE (status, records_count, file_size_bytes, file_url, data, error_message, retry_count, started_at, completed_at,
        processing_time_seconds, expires_at)
ON public.export_history TO authenticated;
GRANT ALL ON public.user_progress, public.export_history TO service_role;
