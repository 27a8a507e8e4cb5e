-- For delete-files.mjs: which files are due and that they are deleted, in the schema that PostgREST serves. For the service key alone.
-- It may be run again.

CREATE OR REPLACE FUNCTION public.marea_files_to_delete(most INTEGER) RETURNS SETOF TEXT
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    -- As its owner: the view calls functions that are nobody else's.
    SELECT path FROM marea.files_to_delete ORDER BY noted_at, path LIMIT most
$$;

COMMENT ON FUNCTION public.marea_files_to_delete(INTEGER) IS 'The objects of marea-exports that are due, oldest first.';

CREATE OR REPLACE FUNCTION public.marea_files_deleted(paths TEXT[]) RETURNS BIGINT LANGUAGE sql SET search_path = '' AS $$
    SELECT marea.files_deleted(paths)
$$;

COMMENT ON FUNCTION public.marea_files_deleted(TEXT[]) IS 'Told which objects are deleted; returns how many were due.';

REVOKE ALL ON FUNCTION public.marea_files_to_delete, public.marea_files_deleted FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION public.marea_files_to_delete, public.marea_files_deleted TO service_role;

NOTIFY pgrst, 'reload schema';
