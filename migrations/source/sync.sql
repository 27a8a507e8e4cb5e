-- The one function that clients call.

CREATE OR REPLACE FUNCTION public.marea_sync(request JSONB) RETURNS JSONB
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
-- jit: what it takes apart is small, whatever the planner expects of JSON (docs/adr/0145).
-- One sync: pushes the request's mutations, pulls what changed after its cursor, in one transaction. See docs/PROTOCOL.md.
DECLARE
    -- A request that has nothing to send is small. Its numbers are looked at before it is printed, be it for a comparison.
    idle       CONSTANT JSONB := CASE
        WHEN pg_column_size(request) < 4096 AND NOT marea.has_long_number(request) THEN marea.idle_answer(request) END;
    is_long    BOOLEAN;
    page_bytes CONSTANT INTEGER := 1048576;
    fewer      TEXT;
    most       INTEGER;
    me         UUID;
    history    TEXT;
    known      BIGINT;
    results    JSONB := '[]';
    page       RECORD;
    more       JSONB := '{}';
BEGIN
    IF idle IS NOT NULL THEN
        RETURN idle;
    END IF;
    me := auth.uid();
    IF me IS NULL THEN
        PERFORM marea.refuse('PT401', 'nobody is signed in', 'Send the access token of a signed-in user.');
    END IF;
    -- What is refused anyhow is refused before it costs anything. As Postgres holds it, which is near the size of the text and costs
    -- nothing to know.
    IF pg_column_size(request) > 1048576 THEN
        PERFORM marea.refuse('PT413', 'request: larger than 1 MiB', 'Send fewer mutations at a time.');
    END IF;
    PERFORM marea.take_turn(me);
    is_long := marea.has_long_number(request);
    IF is_long AND marea.has_long_number(CASE jsonb_typeof(request) WHEN 'object' THEN request - 'mutations' ELSE request END) THEN
        PERFORM marea.refuse('PT400', 'request: has a number beyond 1.8e308', 'Only mutations may hold numbers of the app.');
    END IF;
    PERFORM marea.check_request(request);
    -- Before the push, which moves the clock. A cursor of another history is as good as none, except that the client
    -- must be told.
    history := marea.epoch();
    IF NOT marea.is_lost_history(request -> 'cursor' ->> 'epoch') THEN
        known := (request -> 'cursor' ->> 'version')::bigint;
    END IF;

    IF jsonb_array_length(request -> 'mutations') > 0 THEN
        SET CONSTRAINTS marea.pending_assign_versions DEFERRED;
        PERFORM set_config('marea.writer', request ->> 'client_id', true);
        -- One push per user at a time: two devices of one user touch the same rows, in whatever order.
        PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || me, 0));
        -- Under the lock, which whoever moves the user away has held.
        PERFORM marea.refuse_moved();
        results := marea.push(request -> 'mutations', request ->> 'client_id', is_long);
        -- Versions are taken now, last of all, so that the answer can show what this push did. From here to commit
        -- the user's clock is held.
        SET CONSTRAINTS marea.pending_assign_versions IMMEDIATE;
        SET CONSTRAINTS marea.pending_assign_versions DEFERRED;
        -- Nearly always what was applied has moved it. What was found may have come without moving it: a session without an end, which
        -- the app has inserted.
        IF NOT EXISTS (SELECT FROM marea.clocks AS c WHERE c.user_id = me AND c.xmin = pg_current_xact_id()::xid) AND (
            results @> '[{"status": "applied"}]' OR EXISTS (
                SELECT FROM jsonb_path_query(results, '$[*] ? (@.status == "duplicate").id') AS r (id)
                JOIN public.sessions AS s ON s.id = (r.id #>> '{}')::uuid WHERE isfinite(s.ended_at) IS NOT TRUE)
        ) THEN
            PERFORM marea.move_clock();
        END IF;
    ELSE
        PERFORM marea.refuse_moved();
        IF NOT marea.user_exists() THEN
            -- A push would be refused for it. Whoever only looks is told.
            more := '{"user_missing": true}';
        END IF;
    END IF;
    IF request ? 'catalogue' THEN
        SELECT more || jsonb_build_object('catalogue', c.document) INTO more
        FROM (SELECT public.marea_catalogue() AS document) AS c
        WHERE c.document ->> 'hash' IS DISTINCT FROM request ->> 'catalogue';
        more := coalesce(more, '{}');
    END IF;

    IF marea.has_wakeups() THEN
        more := more || '{"wakeups": true}';
    END IF;

    fewer := request -> 'limit_bytes';
    most := marea.rows_within(me, known, coalesce((request ->> 'limit')::int, 500),
        least(CASE WHEN fewer ~ '^[1-9][0-9]{0,8}$' THEN fewer::int END, page_bytes));
    SELECT * INTO page FROM marea.page(me, known, most, coalesce(request -> 'packed' = 'true', false));

    -- For people who watch, not for correctness: a device is noted at most once an hour.
    PERFORM marea.note_client((request ->> 'client_id')::uuid, (request ->> 'schema')::integer, page.upto);

    RETURN more || jsonb_build_object(
        'protocol', 1,
        'server_time', marea.wire_time(clock_timestamp()),
        'reset', page.reset OR (known IS NULL AND nullif(request -> 'cursor', 'null') IS NOT NULL),
        'results', results,
        'rows', page.found_rows,
        'packed', page.found_packed,
        'deleted', page.found_deleted,
        'cursor', jsonb_build_object('version', page.upto, 'epoch',
            concat_ws('.', history, page.clock_at, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)),
        'has_more', page.more);
END
$$;

COMMENT ON FUNCTION public.marea_sync(JSONB) IS
    'The one call of Marea''s clients: sends their waiting mutations and answers with what changed. See docs/PROTOCOL.md.';
