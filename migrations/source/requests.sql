-- Requests: what is wrong with one, before anything is done; and the answer to one that has nothing to do.

CREATE OR REPLACE FUNCTION marea.refuse(code TEXT, message TEXT, hint TEXT) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
END
$$;

COMMENT ON FUNCTION marea.refuse(TEXT, TEXT, TEXT) IS
    'Refuses the whole request. PostgREST answers PTnnn with HTTP status nnn and the message and hint.';

CREATE OR REPLACE FUNCTION marea.check_request(request JSONB) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    field  JSONB;
    place  BIGINT;
BEGIN
    IF jsonb_typeof(request) IS DISTINCT FROM 'object' THEN
        PERFORM marea.refuse('PT400', 'request: must be an object', 'Send {"request": {"protocol": 1, ...}}.');
    END IF;

    field := request -> 'protocol';
    IF jsonb_typeof(field) IS DISTINCT FROM 'number' THEN
        PERFORM marea.refuse('PT400', 'protocol: must be a number', 'This server speaks protocol 1.');
    ELSIF field <> '1' THEN
        PERFORM marea.refuse('PT426', 'protocol: this server does not speak the client''s protocol',
            'Update the app. This server speaks protocol 1.');
    END IF;

    IF coalesce(request ->> 'client_id', '') !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
        PERFORM marea.refuse('PT400', 'client_id: must be a lower-case uuid', 'Each device has one, made once.');
    END IF;

    field := request -> 'schema';
    IF jsonb_typeof(field) IS DISTINCT FROM 'number' OR field::text !~ '^[1-9][0-9]{0,8}$' THEN
        PERFORM marea.refuse('PT400', 'schema: must be an integer of at least 1', 'It is the version of the mirror.');
    END IF;

    field := request -> 'limit';
    IF field IS NOT NULL AND (jsonb_typeof(field) <> 'number' OR field::text !~ '^[1-9][0-9]{0,3}$' OR field::text::int > 2000) THEN
        PERFORM marea.refuse('PT400', 'limit: must be an integer from 1 to 2000', 'Leave it out for 500.');
    END IF;

    field := nullif(request -> 'cursor', 'null');
    IF field IS NOT NULL THEN
        IF jsonb_typeof(field) <> 'object' THEN
            PERFORM marea.refuse('PT400', 'cursor: must be an object or null', 'Send back the cursor of the last answer.');
        ELSIF jsonb_typeof(field -> 'version') IS DISTINCT FROM 'number' OR (field ->> 'version') !~ '^[0-9]{1,18}$' THEN
            PERFORM marea.refuse('PT400', 'cursor.version: must be a whole number', 'Send back the cursor of the last answer.');
        ELSIF jsonb_typeof(field -> 'epoch') IS DISTINCT FROM 'string' OR length(field ->> 'epoch') > 64 THEN
            PERFORM marea.refuse('PT400', 'cursor.epoch: must be a text of at most 64 characters',
                'Send back the cursor of the last answer.');
        END IF;
    END IF;

    field := request -> 'catalogue';
    IF field IS NOT NULL AND (jsonb_typeof(field) <> 'string' OR length(field #>> '{}') > 64) THEN
        PERFORM marea.refuse('PT400', 'catalogue: must be a text of at most 64 characters', 'It is the hash of the client''s catalogue.');
    END IF;

    field := request -> 'mutations';
    IF field IS NULL OR field = '[]' THEN
        RETURN;
    ELSIF jsonb_typeof(field) <> 'array' THEN
        PERFORM marea.refuse('PT400', 'mutations: must be an array', 'Leave it out, or send [], to pull only.');
    ELSIF jsonb_array_length(field) > 500 THEN
        PERFORM marea.refuse('PT413', 'mutations: more than 500', 'Send the oldest 500 first.');
    END IF;
    IF jsonb_path_exists(field, '$[*].batch') THEN
        SELECT min(m.n) INTO place
        FROM (
            SELECT m.value -> 'batch' AS batch, m.n, lag(m.value -> 'batch') OVER (ORDER BY m.n) AS before,
                   row_number() OVER (PARTITION BY m.value -> 'batch' ORDER BY m.n) AS time
            FROM jsonb_array_elements(field) WITH ORDINALITY AS m (value, n)
        ) AS m
        WHERE m.batch IS NOT NULL AND (jsonb_typeof(m.batch) <> 'string'
            OR m.batch #>> '{}' !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
            OR (m.time > 1 AND m.batch IS DISTINCT FROM m.before));
        IF place IS NOT NULL THEN
            PERFORM marea.refuse('PT400', format('mutations[%s].batch: must be a lower-case uuid, of mutations that follow one another',
                place - 1), 'A batch is one stretch of the queue.');
        END IF;
    END IF;
    -- A quick look first: that every id is its own uuid again says the same as the pattern, at a fifth of the price.
    BEGIN
        IF (
            SELECT bool_and(CASE WHEN jsonb_typeof(m -> 'id') IS DISTINCT FROM 'string' THEN false
                WHEN m ->> 'id' LIKE '________-____-____-____-____________' THEN (m ->> 'id')::uuid::text = m ->> 'id'
                ELSE false END)
            FROM jsonb_array_elements(field) AS m
        ) THEN
            RETURN;
        END IF;
    EXCEPTION WHEN invalid_text_representation THEN
        NULL; -- which one, is said below
    END;
    SELECT min(m.n) INTO place
    FROM jsonb_array_elements(field) WITH ORDINALITY AS m (value, n)
    WHERE jsonb_typeof(m.value) <> 'object'
       OR coalesce(CASE WHEN jsonb_typeof(m.value -> 'id') = 'string' THEN m.value ->> 'id' END, '') !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    IF place IS NOT NULL THEN
        PERFORM marea.refuse('PT400', format('mutations[%s].id: must be a lower-case uuid', place - 1),
            'Every mutation is an object with the id that the device gave it.');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.take_turn(me UUID) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- A user has four requests under way at once, however many are sent: a server behind PostgREST has ten connections or so for
-- everybody. Nobody waits for a turn, because whoever waits holds a connection. And who waits for a lock of the app, or for another
-- device's push, does so for 5 seconds: what this costs is one more try of the client.
BEGIN
    IF NOT (pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 1))
            OR pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 2))
            OR pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 3))
            OR pg_try_advisory_xact_lock(hashtextextended('marea_turn ' || me, 4))) THEN
        PERFORM marea.refuse('PT429', 'four requests of this user are under way', 'Send it again in a moment.');
    END IF;
    IF current_setting('lock_timeout') = '0' THEN
        PERFORM set_config('lock_timeout', '5s', true);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.take_turn(UUID) IS
    'Refuses the request of a user who has four under way; sets a bound to waiting for locks where the connection has none.';

COMMENT ON FUNCTION marea.check_request(JSONB) IS 'Refuses a malformed request, naming the field. Says nothing about single mutations.';

CREATE OR REPLACE FUNCTION marea.idle_answer(request JSONB) RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The answer to a sound request that has nothing to send and whose cursor stands where the caller's clock does. NULL for
-- every other one: marea_sync looks at it closely. So this may only be more careful than marea.check_request and
-- marea.is_lost_history, never less. A device and a version that are stored as the request has them need no other check.
DECLARE
    me      CONSTANT UUID := auth.uid();
    stands  CONSTANT TEXT := request -> 'cursor' -> 'version';
    epoch   CONSTANT TEXT := request -> 'cursor' ->> 'epoch';
    page    CONSTANT TEXT := request -> 'limit';
    history TEXT;
    clock   BIGINT;
    given   TIMESTAMPTZ;
BEGIN
    IF me IS NULL OR (request -> 'protocol' = '1'
           AND (NOT request ? 'catalogue' OR request ->> 'catalogue' = (SELECT c.hash FROM marea.catalogue AS c)) AND coalesce(request -> 'mutations', '[]') = '[]'
           AND coalesce(page ~ '^(1?[0-9]{1,3}|2000)$' AND page !~ '^0', true)
           AND epoch ~ '^[0-9a-f]{16}[.][0-9]{1,18}[.][0-9]{1,16}$'
           AND pg_column_size(request) <= 1048576) IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    history := marea.known_run();
    IF starts_with(epoch, history || '.') IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    given := to_timestamp(0) + split_part(epoch, '.', 3)::bigint * interval '1 microsecond';

    SELECT c.version INTO clock
    FROM marea.clocks AS c
    WHERE c.user_id = me AND c.version::text = stands AND NOT c.moving AND given <= clock_timestamp() + interval '5 minutes'
      AND split_part(epoch, '.', 2)::bigint <= least(c.version, (
        SELECT p.version FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > given ORDER BY p.at LIMIT 1))
      AND EXISTS (
        SELECT FROM marea.known_devices AS d
        WHERE d.user_id = me AND d.client_id = request ->> 'client_id' AND d.schema = (request -> 'schema')::text);
    IF clock IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_build_object(
        'protocol', 1, 'server_time', marea.wire_time(clock_timestamp()), 'reset', false, 'results', '[]'::jsonb,
        'rows', '{}'::jsonb, 'packed', '{}'::jsonb, 'deleted', '{}'::jsonb,
        'cursor', jsonb_build_object('version', clock, 'epoch',
            concat_ws('.', history, clock, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)),
        'has_more', false) || CASE WHEN marea.has_wakeups() THEN '{"wakeups": true}' ELSE '{}' END::jsonb;
END
$$;

COMMENT ON FUNCTION marea.idle_answer(JSONB) IS
    'The answer to a caller''s request with nothing to do; NULL for every other request, and for every doubt.';
