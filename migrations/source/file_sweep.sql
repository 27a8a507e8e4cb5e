-- Deleting objects that are due. Supabase refuses a DELETE in SQL on storage.objects: it goes by the API, through pg_net with a key
-- from Vault, or, where those are not, by a script that asks marea.files_to_delete and tells marea.files_deleted.

CREATE OR REPLACE FUNCTION marea.is_live_file(path TEXT, noted_at TIMESTAMPTZ) RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- A device that was away may have said again where a file is; or has given the same file once more, and has not said so yet.
DECLARE
    export CONSTANT UUID := split_part(path, '/', 2)::uuid;
    named  TEXT;
    is_new BOOLEAN;
BEGIN
    SELECT coalesce(marea.file_path(e.file_url, e.user_id, e.id), '') INTO named
    FROM public.export_history AS e WHERE e.id = export AND e.user_id::text = split_part(path, '/', 1) AND e.status <> 'expired';
    IF named = '' AND to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE 'SELECT o.created_at > $1 FROM storage.objects AS o WHERE o.bucket_id = ''marea-exports'' AND o.name = $2'
        INTO is_new USING noted_at, path;
    END IF;
    RETURN coalesce(named = path OR is_new, false);
END
$$;

COMMENT ON FUNCTION marea.is_live_file(TEXT, TIMESTAMPTZ) IS
    'Whether a file that was due is that of an export after all: named again, or given again and not named yet.';

CREATE OR REPLACE FUNCTION marea.restore_live_files() RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM marea.file_garbage AS g WHERE marea.is_live_file(g.path, g.noted_at)
$$;

COMMENT ON FUNCTION marea.restore_live_files() IS 'Forgets garbage that an export names again. Before each sweep.';

CREATE OR REPLACE FUNCTION marea.sweep_files(batch INTEGER DEFAULT 100) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Takes in the answers to earlier requests, then asks for the next deletions; returns how many. Needs pg_net, and in Vault the
-- secrets marea_project_url and marea_service_key; without them it returns 0 and marea.health says what is missing.
DECLARE
    url     TEXT;
    key     TEXT;
    found   RECORD;
    request BIGINT;
    asked   BIGINT := 0;
    missing TEXT;
BEGIN
    IF batch NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'batch: must be from 1 to 10000';
    END IF;
    PERFORM marea.restore_live_files();
    IF to_regclass('net._http_response') IS NULL THEN
        missing := 'the extension pg_net is missing';
    ELSIF to_regclass('vault.decrypted_secrets') IS NULL THEN
        missing := 'the extension supabase_vault is missing';
    ELSE
        EXECUTE 'SELECT rtrim((SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_project_url''), ''/''),
                        (SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_service_key'')' INTO url, key;
        IF url IS NULL OR key IS NULL THEN
            missing := 'the secrets marea_project_url and marea_service_key are missing in Vault';
        END IF;
    END IF;
    IF missing IS NOT NULL THEN
        UPDATE marea.file_garbage SET last_error = missing WHERE last_error IS DISTINCT FROM missing;
        RETURN 0;
    END IF;

    -- What is not there is as good as deleted.
    EXECUTE $answers$
        WITH answers AS (
            SELECT g.path, r.status_code, r.error_msg,
                   coalesce(r.status_code BETWEEN 200 AND 299
                       OR r.content ~ '"(code|error)"\s*:\s*"(NoSuchKey|not_found)"', false) AS done
            FROM marea.file_garbage AS g JOIN net._http_response AS r ON r.id = g.request_id
        ), gone AS (
            DELETE FROM marea.file_garbage AS g USING answers AS a WHERE g.path = a.path AND a.done
        )
        UPDATE marea.file_garbage AS g
        SET request_id = NULL, last_error = coalesce(a.error_msg, 'HTTP ' || a.status_code)
        FROM answers AS a WHERE g.path = a.path AND NOT a.done
    $answers$;

    FOR found IN
        SELECT g.path FROM marea.file_garbage AS g
        WHERE g.asked_at IS NULL OR g.asked_at < now() - least(g.attempts, 6) * interval '10 minutes'
        ORDER BY g.noted_at LIMIT batch FOR UPDATE SKIP LOCKED
    LOOP
        EXECUTE 'SELECT net.http_delete(url := $1, headers := $2)' INTO request
        USING url || '/storage/v1/object/marea-exports/' || found.path,
              jsonb_build_object('Authorization', 'Bearer ' || key, 'apikey', key);
        UPDATE marea.file_garbage SET attempts = attempts + 1, asked_at = now(), request_id = request WHERE path = found.path;
        asked := asked + 1;
    END LOOP;
    RETURN asked;
END
$$;

COMMENT ON FUNCTION marea.sweep_files(INTEGER) IS
    'Asks Storage, through pg_net, to delete objects that are due; returns for how many. To be run every few minutes.';

CREATE OR REPLACE FUNCTION marea.note_orphan_files(older INTERVAL DEFAULT '1 day') RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- An object is made before its export says so: hence the day.
DECLARE
    noted BIGINT := 0;
BEGIN
    IF older < interval '1 hour' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'older: must be at least 1 hour';
    END IF;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE $orphans$
            INSERT INTO marea.file_garbage (path)
            SELECT o.name FROM storage.objects AS o
            WHERE o.bucket_id = 'marea-exports' AND o.created_at < now() - $1 AND marea.is_file_name(o.name)
              AND NOT EXISTS (
                SELECT FROM public.export_history AS e
                WHERE e.id::text = split_part(o.name, '/', 2) AND e.user_id::text = split_part(o.name, '/', 1)
                  AND e.status <> 'expired'
                  -- Without a name the device may be on its way to give one.
                  AND coalesce(marea.file_path(e.file_url, e.user_id, e.id), o.name) = o.name)
            ON CONFLICT DO NOTHING
        $orphans$ USING older;
        GET DIAGNOSTICS noted = ROW_COUNT;
    END IF;
    RETURN noted;
END
$$;

COMMENT ON FUNCTION marea.note_orphan_files(INTERVAL) IS
    'Compares the bucket with the exports and notes objects that belong to none, or whose export names another one; returns how many. To be run once a week.';

CREATE OR REPLACE VIEW marea.files_to_delete AS
SELECT g.path, g.noted_at, g.attempts, g.last_error
FROM marea.file_garbage AS g
WHERE NOT marea.is_live_file(g.path, g.noted_at)
ORDER BY g.noted_at;

COMMENT ON VIEW marea.files_to_delete IS 'Objects of the bucket marea-exports that are due, oldest first: for a script, where there is no pg_net.';

CREATE OR REPLACE FUNCTION marea.files_deleted(paths TEXT[]) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    went BIGINT;
BEGIN
    DELETE FROM marea.file_garbage WHERE path = ANY (paths);
    GET DIAGNOSTICS went = ROW_COUNT;
    RETURN went;
END
$$;

COMMENT ON FUNCTION marea.files_deleted(TEXT[]) IS 'Told by a script which objects it has deleted; returns how many were due.';

REVOKE ALL ON marea.files_to_delete FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.files_to_delete TO service_role;
REVOKE ALL ON FUNCTION marea.is_live_file, marea.restore_live_files, marea.sweep_files, marea.note_orphan_files, marea.files_deleted
FROM PUBLIC, anon, authenticated, service_role;
-- marea.is_live_file: the view is read with the privileges of its owner, but the function in it with those of who reads it.
GRANT EXECUTE ON FUNCTION marea.is_live_file, marea.sweep_files, marea.note_orphan_files, marea.files_deleted TO service_role;
