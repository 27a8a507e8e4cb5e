-- Users who went to another server: who still asks here is told where to go, and nobody changes a row of theirs any more.

CREATE TABLE IF NOT EXISTS marea.moved (
    user_id  UUID PRIMARY KEY,
    address  TEXT NOT NULL CONSTRAINT moved_address_sane CHECK (octet_length(address) BETWEEN 1 AND 500 AND address !~ '[[:cntrl:]]'),
    moved_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE marea.moved IS
    'Users whose data went to another server, or is on its way; written by marea.move_user(). No foreign key: it stays when the rows go.';
COMMENT ON COLUMN marea.moved.user_id IS 'The user.';
COMMENT ON COLUMN marea.moved.address IS 'Where the user is now: what clients are told. An URL, or a name that the app understands.';
COMMENT ON COLUMN marea.moved.moved_at IS 'Since when; server clock.';

ALTER TABLE marea.moved ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON marea.moved FROM PUBLIC, anon, authenticated, service_role;

CREATE OR REPLACE FUNCTION marea.refuse_moved() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    there TEXT;
BEGIN
    SELECT m.address INTO there FROM marea.moved AS m WHERE m.user_id = auth.uid();
    IF there IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT421', MESSAGE = 'the user''s data is on another server', DETAIL = there,
            HINT = 'Send the same request to the address in the details; nothing was kept of it here.';
    END IF;
END
$$;

COMMENT ON FUNCTION marea.refuse_moved() IS 'Refuses the request of a user whose data went to another server, and says where it is.';

REVOKE ALL ON FUNCTION marea.refuse_moved FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.refuse_moved TO authenticated;
