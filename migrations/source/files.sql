-- Files of exports: the private bucket and who may do what in it, on Supabase or wherever schema storage is; and which objects are
-- to be deleted. Devices upload and read with their users' tokens; file_sweep deletes.

CREATE OR REPLACE FUNCTION marea.file_path(file_url TEXT, owner UUID, export UUID) RETURNS TEXT LANGUAGE sql IMMUTABLE
-- A file_url is written by devices. Only one that is exactly the row's own user and id names an object; of all others nothing is
-- ever deleted.
RETURN CASE
    WHEN file_url ~ ('^storage://marea-exports/' || owner || '/' || export || '/[0-9a-f]{64}\.[a-z0-9]{1,10}$')
        THEN substr(file_url, length('storage://marea-exports/') + 1)
END;

COMMENT ON FUNCTION marea.file_path(TEXT, UUID, UUID) IS
    'The object that a file_url names, below the bucket; NULL unless it is exactly this user''s and this export''s.';

CREATE OR REPLACE FUNCTION marea.is_file_name(name TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN coalesce(name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{64}\.[a-z0-9]{1,10}$', false);

COMMENT ON FUNCTION marea.is_file_name(TEXT) IS 'Whether an object is called as Marea calls them: <user>/<export id>/<sha256>.<ending>.';

CREATE OR REPLACE FUNCTION marea.is_own_file(name TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE
RETURN marea.is_file_name(name) AND split_part(name, '/', 1) = (SELECT marea.user_id())::text;

COMMENT ON FUNCTION marea.is_own_file(TEXT) IS 'Whether an object lies in the folder of the user who asks. For policies.';

CREATE OR REPLACE FUNCTION marea.may_add_file(name TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- As its owner: Storage knows no pre-request, so that the tables' own policies cannot read the token of another sign-in service.
DECLARE
    folder CONSTANT TEXT := substring(may_add_file.name FROM '^[^/]+/[^/]+/');
    others BIGINT;
BEGIN
    IF NOT marea.is_own_file(may_add_file.name) OR NOT EXISTS (
        SELECT FROM public.export_history AS e
        WHERE e.id = split_part(may_add_file.name, '/', 2)::uuid AND e.user_id = marea.user_id() AND e.status <> 'expired'
    ) THEN
        RETURN false;
    END IF;
    EXECUTE 'SELECT count(*) FROM (
                SELECT FROM storage.objects AS o WHERE o.bucket_id = ''marea-exports'' AND o.name COLLATE "C" > $1
                  AND o.name COLLATE "C" < $2 AND o.name <> $3 LIMIT 100) AS others'
    INTO others USING folder, rtrim(folder, '/') || '0', may_add_file.name;
    RETURN others < 100;
END
$$;

COMMENT ON FUNCTION marea.may_add_file(TEXT) IS 'Whether an object is the file of an own export that has not expired, and one of its first 100. For policies.';

CREATE OR REPLACE FUNCTION marea.prepare_files() RETURNS BOOLEAN
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Nothing is updated: objects never change. Anybody's other policies on storage.objects stay as they are.
DECLARE
    wanted RECORD;
BEGIN
    IF to_regclass('storage.objects') IS NULL OR to_regclass('storage.buckets') IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE 'INSERT INTO storage.buckets (id, name, public) VALUES ($1, $1, false)
             ON CONFLICT (id) DO UPDATE SET public = false WHERE buckets.public' USING 'marea-exports';
    FOR wanted IN
        SELECT * FROM (VALUES
            ('marea_exports_select', 'SELECT', 'USING', 'marea.is_own_file(name)'),
            ('marea_exports_insert', 'INSERT', 'WITH CHECK', 'marea.may_add_file(name)'),
            ('marea_exports_delete', 'DELETE', 'USING', 'marea.is_own_file(name)')
        ) AS policies (name, command, clause, condition)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('storage.objects') AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON storage.objects FOR %s TO authenticated %s (bucket_id = %L AND %s)',
            wanted.name, wanted.command, wanted.clause, 'marea-exports', wanted.condition);
    END LOOP;
    RETURN true;
END
$$;

COMMENT ON FUNCTION marea.prepare_files() IS
    'Makes the private bucket marea-exports and its policies where schema storage exists; says whether it does. May be run again.';

CREATE TABLE IF NOT EXISTS marea.file_garbage (
    path       TEXT COLLATE "C" PRIMARY KEY CONSTRAINT file_garbage_path_known CHECK (marea.is_file_name(path)),
    noted_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts   INTEGER NOT NULL DEFAULT 0,
    asked_at   TIMESTAMPTZ,
    request_id BIGINT,
    last_error TEXT
);

CREATE INDEX IF NOT EXISTS file_garbage_noted_at_idx ON marea.file_garbage (noted_at);

COMMENT ON TABLE marea.file_garbage IS 'Objects of the bucket marea-exports that are to be deleted; filled as exports expire and go.';
COMMENT ON COLUMN marea.file_garbage.path IS 'The object, below the bucket: <user>/<export id>/<sha256>.<ending>.';
COMMENT ON COLUMN marea.file_garbage.noted_at IS 'When its export expired or went; server clock.';
COMMENT ON COLUMN marea.file_garbage.attempts IS 'How often its deletion was asked for, count.';
COMMENT ON COLUMN marea.file_garbage.asked_at IS 'When it was last asked for; server clock.';
COMMENT ON COLUMN marea.file_garbage.request_id IS 'The request of pg_net that is under way.';
COMMENT ON COLUMN marea.file_garbage.last_error IS 'What the last answer was, where it was none of success.';

CREATE OR REPLACE FUNCTION marea.note_file_garbage() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted BIGINT;
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL AND EXISTS (
            SELECT FROM new_rows AS n
            WHERE n.id = o.id AND (n.file_url IS DISTINCT FROM o.file_url OR n.status = 'expired'))
        ON CONFLICT DO NOTHING;
        -- Whoever names another file of an export again and again leaves a line for each. It is the path that says whose it is.
        GET DIAGNOSTICS noted = ROW_COUNT;
        IF noted > 0 AND auth.uid() IS NOT NULL THEN
            IF EXISTS (
                SELECT FROM old_rows AS o WHERE (
                    SELECT count(*) FROM marea.file_garbage AS g
                    WHERE g.path >= o.user_id || '/' || o.id || '/' AND g.path < o.user_id || '/' || o.id || '0') > 100
            ) THEN
                PERFORM marea.refuse_growth('files to delete of one export', 100);
            ELSIF EXISTS (
                SELECT FROM marea.file_garbage AS g WHERE g.path >= auth.uid() || '/' AND g.path < auth.uid() || '0' OFFSET 10000
            ) THEN
                PERFORM marea.refuse_growth('files to delete', 10000);
            END IF;
        END IF;
        IF auth.uid() IS NOT NULL AND (SELECT count(*) FROM new_rows) > 500 THEN
            RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'export_history: a signed-in user changes at most 500 rows at once';
        END IF;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.note_file_garbage() IS 'Trigger: notes the files of exports that expire or go.';

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_update'
    ) THEN
        CREATE TRIGGER export_history_files_update AFTER UPDATE ON public.export_history
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_delete'
    ) THEN
        CREATE TRIGGER export_history_files_delete AFTER DELETE ON public.export_history
            REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
END
$$;

ALTER TABLE marea.file_garbage ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON marea.file_garbage FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION marea.file_path, marea.is_file_name, marea.is_own_file, marea.may_add_file, marea.prepare_files,
    marea.note_file_garbage
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.is_file_name, marea.is_own_file, marea.may_add_file TO authenticated;

DO $$ BEGIN PERFORM marea.prepare_files(); END $$;
