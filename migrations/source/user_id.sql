-- Whose request this is, where a sign-in service of its own (Clerk, Auth0, Firebase, Keycloak) gives the tokens: `sub` is then no UUID, or not the
-- app's, and the user's UUID is in another claim. Marea and the app's own policies go on asking auth.uid(), which PostgREST is told to set.

CREATE OR REPLACE FUNCTION marea.user_id() RETURNS UUID
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The one place that reads the user's id from the claims. A token without the claim speaks for nobody; never for its `sub`.
DECLARE
    path  CONSTANT TEXT[] := (SELECT s.value FROM marea.settings AS s WHERE s.name = 'user_claim');
    found TEXT;
BEGIN
    IF path IS NULL THEN
        RETURN auth.uid();
    END IF;
    found := nullif(current_setting('request.jwt.claims', true), '')::jsonb #>> path;
    RETURN CASE WHEN found ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN found::uuid END;
END
$$;

COMMENT ON FUNCTION marea.user_id() IS
    'The signed-in user: what the claim of marea.set_user_claim() says, where one is set, and auth.uid() otherwise. NULL when that is no UUID.';

CREATE OR REPLACE FUNCTION public.marea_pre_request() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- auth.uid() reads request.jwt.claim.sub first, and `sub` of the claims where that is empty. Without the claim `sub` is taken out, so that nobody
-- is signed in: it would be no UUID, and an error in each policy, or an id of the other service.
DECLARE
    claims JSONB;
BEGIN
    IF EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'user_claim') THEN
        claims := nullif(current_setting('request.jwt.claims', true), '');
        PERFORM set_config('request.jwt.claim.sub', coalesce(marea.user_id()::text, ''), true);
        IF marea.user_id() IS NULL AND claims ? 'sub' THEN
            PERFORM set_config('request.jwt.claims', (claims - 'sub')::text, true);
        END IF;
    END IF;
END
$$;

COMMENT ON FUNCTION public.marea_pre_request() IS
    'For PostgREST''s db-pre-request: makes auth.uid() the user that marea.user_id() names. Without a claim that is set it does nothing.';

CREATE OR REPLACE FUNCTION marea.set_user_claim(VARIADIC path TEXT[]) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF path[1] IN ('user_metadata', 'unsafe_metadata') THEN
        RAISE EXCEPTION 'claim %: its user can write it, and would be whoever it names', path[1] USING ERRCODE = '22023',
            HINT = 'Put the UUID into a claim that only the sign-in service writes, app_metadata for example.';
    ELSIF path = ARRAY[NULL::text] THEN
        DELETE FROM marea.settings AS s WHERE s.name = 'user_claim';
    ELSIF cardinality(path) = 0 OR array_position(path, NULL) IS NOT NULL OR array_position(path, '') IS NOT NULL THEN
        RAISE EXCEPTION 'path: expected the names of the claim, from the outermost on' USING ERRCODE = '22023',
            HINT = 'SELECT marea.set_user_claim(''app_metadata'', ''user_id''); with NULL alone it is auth.uid() again.';
    ELSE
        INSERT INTO marea.settings (name, value) VALUES ('user_claim', path::text)
        ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.set_user_claim(TEXT[]) IS
    'Says which claim of a token holds the user''s UUID: its names, from the outermost on. NULL alone: auth.uid() again.';

REVOKE ALL ON FUNCTION marea.user_id, marea.set_user_claim FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.marea_pre_request FROM PUBLIC;
GRANT EXECUTE ON FUNCTION marea.user_id TO authenticated;
-- Whoever PostgREST speaks for runs it before everything else.
GRANT EXECUTE ON FUNCTION public.marea_pre_request TO anon, authenticated, service_role;
