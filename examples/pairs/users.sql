-- For one of several pairs of Postgres and PostgREST: the app's row of a user is made at the user's first request that may write,
-- because whoever signed up did so elsewhere. PostgREST calls it before each request: db-pre-request = "public.make_user".
--
-- What the row holds is the app's affair: here the id and the address, as the token says them. A token that reaches this point has
-- been checked by PostgREST.

CREATE OR REPLACE FUNCTION public.make_user() RETURNS VOID LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    claims JSONB := nullif(current_setting('request.jwt.claims', true), '');
BEGIN
    IF claims ->> 'role' IS DISTINCT FROM 'authenticated' OR EXISTS (SELECT FROM public.users WHERE id = (claims ->> 'sub')::uuid) THEN
        RETURN;
    END IF;
    -- A router that has not heard of a move yet sends the app's own requests here, too: they would write where nobody looks.
    PERFORM marea.refuse_moved();
    IF current_setting('transaction_read_only') = 'off' THEN
        INSERT INTO public.users (id, email) VALUES ((claims ->> 'sub')::uuid, claims ->> 'email') ON CONFLICT DO NOTHING;
    END IF;
END $$;

COMMENT ON FUNCTION public.make_user() IS
    'Before each request: refuses who has moved to another server, and makes the row in users of who has none.';
REVOKE ALL ON FUNCTION public.make_user() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.make_user() TO anon, authenticated, service_role;
