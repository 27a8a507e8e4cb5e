-- Devices, as they were last seen. Nothing here is needed for correctness: a device that has gone silent can be seen, and one
-- that was seen within the hour is answered sooner (idle_answer).

CREATE TABLE IF NOT EXISTS marea.clients (
    user_id   UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    client_id UUID NOT NULL,
    schema    INTEGER NOT NULL CHECK (schema >= 1),
    version   BIGINT NOT NULL CHECK (version >= 0),
    first_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    noted_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, client_id)
);

ALTER TABLE marea.clients ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE marea.clients IS
    'Devices, noted at most once an hour when they sync. For people who watch; no sync depends on it.';
COMMENT ON COLUMN marea.clients.user_id IS 'Whose device.';
COMMENT ON COLUMN marea.clients.client_id IS 'The device''s own id; a copied profile has the same.';
COMMENT ON COLUMN marea.clients.schema IS 'Version of its mirror.';
COMMENT ON COLUMN marea.clients.version IS 'Where its cursor stood after that sync.';
COMMENT ON COLUMN marea.clients.first_at IS 'When it was first noted, server clock.';
COMMENT ON COLUMN marea.clients.noted_at IS 'When it was last noted, server clock; it may have synced in the hour after.';

CREATE OR REPLACE FUNCTION marea.note_client(client UUID, schema INTEGER, version BIGINT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Called by marea_sync at its end, for the signed-in user. Nearly always it only looks.
#variable_conflict use_column
DECLARE
    me    CONSTANT UUID := auth.uid();
    known TIMESTAMPTZ;
BEGIN
    SELECT noted_at INTO known FROM marea.clients WHERE user_id = me AND client_id = client;
    IF known > now() - interval '1 hour' OR current_setting('transaction_read_only') = 'on'
       OR NOT EXISTS (SELECT FROM public.users WHERE id = me) THEN
        RETURN;
    END IF;
    INSERT INTO marea.clients AS c (user_id, client_id, schema, version)
    VALUES (me, client, note_client.schema, note_client.version)
    ON CONFLICT (user_id, client_id) DO UPDATE SET
        schema = EXCLUDED.schema, version = EXCLUDED.version, noted_at = EXCLUDED.noted_at;
    IF known IS NULL THEN
        -- Whoever makes up an id for each request must not fill the disk: a user has the 50 latest devices.
        DELETE FROM marea.clients
        WHERE user_id = me AND client_id IN (
            SELECT client_id FROM marea.clients WHERE user_id = me ORDER BY noted_at DESC, client_id OFFSET 50);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.note_client(UUID, INTEGER, BIGINT) IS
    'Notes that a device of the caller has synced, at most once an hour.';

CREATE OR REPLACE VIEW marea.known_devices AS
SELECT c.user_id, c.client_id::text AS client_id, c.schema::text AS schema
FROM marea.clients AS c
WHERE c.noted_at > now() - interval '1 hour';

COMMENT ON VIEW marea.known_devices IS 'Devices that need not be noted again yet, in the words of a request.';
