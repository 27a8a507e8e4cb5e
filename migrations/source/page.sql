-- Page: what changed after a cursor, of one moment (STABLE: all statements see what the caller's sees). Takes no lock, writes nothing.
--
-- Pages are bounded by bytes: 2,000 exports may weigh a megabyte or 200. What is too large for Postgres (54000), for a line or for a
-- phone's memory never arrives, however often it is asked for (docs/adr/0071).

CREATE OR REPLACE FUNCTION marea.rows_within(me UUID, known BIGINT, most INTEGER, most_bytes INTEGER) RETURNS INTEGER
LANGUAGE plpgsql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off
SET enable_bitmapscan = off AS $$
-- The rows that marea.page would put on this page, in its order; which is the first one that is too much? Sizes are those of
-- the text that is sent: compressed in storage, a row may look a hundred times smaller. Only exports can be large.
DECLARE
    clock_at BIGINT;
    pruned   BIGINT;
    since    BIGINT;
    empty    BOOLEAN;
    place    INTEGER := 0;
    total    BIGINT := 0;
    at       BIGINT;
    bytes    BIGINT;
    mirrored RECORD;
    next     INTEGER := 1;
    small    BOOLEAN;
    unseen   CONSTANT TEXT[] := marea.unseen_tables();
BEGIN
    SELECT c.version, c.pruned INTO clock_at, pruned FROM marea.clocks AS c WHERE c.user_id = me;
    clock_at := coalesce(clock_at, 0);
    pruned := coalesce(pruned, 0);
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
    -- Nearly always a few rows of which none can be large.
    SELECT count(*) * 300 <= most_bytes AND coalesce(bool_and(line.name IN ('user_progress', 'daily_activity', 'user_api_keys')), true)
    INTO small
    FROM (
        SELECT r.table_name || '' AS name FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since AND (r.table_name || '') <> ALL (unseen) AND NOT (r.deleted AND empty)
        ORDER BY r.version LIMIT least(most, 100)
    ) AS line
    HAVING count(*) < least(most, 100);
    IF small IS NOT TRUE THEN
        -- Exports fit as nearly always: nothing of them is long, as it is stored, or compressed. All are looked up in one scan of the index.
        SELECT 300 * page.lines + 2 * e.bytes <= most_bytes AND e.are_short AND page.are_few INTO small
        FROM (
            SELECT count(*) AS lines, array_agg(line.row_key::uuid) FILTER (WHERE line.name = 'export_history' AND NOT line.deleted) AS exports,
                   bool_and(line.name IN ('user_progress', 'daily_activity', 'user_api_keys', 'export_history')) AS are_few
            FROM (
                SELECT r.row_key, r.table_name || '' AS name, r.deleted FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND (r.table_name || '') <> ALL (unseen) AND NOT (r.deleted AND empty)
                ORDER BY r.version LIMIT most
            ) AS line
            OFFSET 0
        ) AS page
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(stored.bytes), 0) AS bytes, coalesce(bool_and(stored.bytes < 1000 AND stored.packed IS NULL), true) AS are_short
            FROM public.export_history AS t
            CROSS JOIN LATERAL (SELECT
                coalesce(pg_column_size(t.data), 0) + coalesce(pg_column_size(t.filters), 0) + coalesce(pg_column_size(t.file_url), 0)
                    + coalesce(pg_column_size(t.error_message), 0) AS bytes,
                coalesce(pg_column_compression(t.data), pg_column_compression(t.filters), pg_column_compression(t.file_url),
                    pg_column_compression(t.error_message)) AS packed) AS stored
            WHERE t.id = ANY (page.exports) AND t.user_id = me
        ) AS e;
    END IF;
    IF small THEN
        RETURN most;
    END IF;
    SELECT * INTO mirrored FROM marea.mirrored_weights(me, since, (
        SELECT max(line.version)
        FROM (
            SELECT r.version FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > since AND (r.table_name || '') <> ALL (unseen)
              AND NOT (r.deleted AND empty)
            ORDER BY r.version LIMIT most
        ) AS line WHERE EXISTS (SELECT FROM marea.tables)));
    FOR at, bytes IN
        -- 300: what a small row weighs.
        SELECT line.version, 300 + coalesce((
            SELECT coalesce(octet_length(t.data::text), 0) + coalesce(octet_length(t.filters::text), 0)
                 + coalesce(octet_length(t.file_url), 0) + coalesce(octet_length(t.error_message), 0)
            FROM public.export_history AS t WHERE t.id = line.id AND t.user_id = me), 0)
        FROM (
            SELECT r.version, CASE WHEN r.table_name = 'export_history' AND NOT r.deleted THEN r.row_key::uuid END AS id
            FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > since
              AND (r.table_name || '') <> ALL (unseen)
              AND NOT (r.deleted AND empty)
            ORDER BY r.version
            LIMIT most
        ) AS line
        ORDER BY line.version
    LOOP
        -- Both are in the order of their versions.
        IF mirrored.versions[next] = at THEN
            bytes := mirrored.weights[next];
            next := next + 1;
        END IF;
        total := total + bytes;
        EXIT WHEN total > most_bytes;
        place := place + 1;
    END LOOP;
    RETURN CASE WHEN total > most_bytes THEN greatest(place, 1) ELSE most END;
END
$$;

COMMENT ON FUNCTION marea.rows_within(UUID, BIGINT, INTEGER, INTEGER) IS
    'How many rows of the page behind a version fit into so many bytes, at least one; at most the number given.';

CREATE OR REPLACE FUNCTION marea.page(
    me UUID, known BIGINT, most INTEGER, packs BOOLEAN, OUT reset BOOLEAN, OUT upto BIGINT, OUT clock_at BIGINT,
    OUT more BOOLEAN, OUT found_rows JSON, OUT found_packed JSONB, OUT found_deleted JSON
)
LANGUAGE plpgsql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off SET enable_sort = off
SET enable_bitmapscan = off AS $$
-- Rows are written as JSON text, by their columns' names, and become JSONB once, in marea_sync: JSONB made of JSONB is taken
-- apart and put together again at every level (docs/adr/0031).
-- Pages are read in the order of their versions, whatever Postgres knows of the rows: where it has no statistics yet it expects
-- two rows of a user, takes the primary key for as good an index, and reads and sorts all that the user has for each page. So
-- names of tables are compared with an expression that no index serves, and sorting is off: what has to be sorted is on the
-- page, and the aggregates do that themselves.
-- Rows are joined by values that have their type already: with a cast in the condition, row level security keeps it from
-- using the index, and every page reads all of the user's rows.
-- known: the version of the client's cursor; NULL: it has none, or one of another history.
-- packs: exports, of which there may be very many, come column by column, in one text that nobody on the way takes apart, with
-- times as Postgres writes them in UTC, not as marea.wire_time does: a third of the time. Their order in a page means nothing, so
-- they are not sorted either. OFFSET 0 gives their keys a type before they are joined, without keeping them first.
DECLARE
    pruned BIGINT;
    since  BIGINT;
    empty  BOOLEAN;
    mirrored     RECORD;
    found        INTEGER;
    any_frozen   BOOLEAN;
    any_gone     BOOLEAN;
    any_mirrored BOOLEAN;
    progress     TEXT;
    days         TEXT;
    exports      TEXT;
    keys         TEXT;
    unseen CONSTANT TEXT[] := marea.unseen_tables();
BEGIN
    SELECT c.version, c.pruned INTO clock_at, pruned FROM marea.clocks AS c WHERE c.user_id = me;
    clock_at := coalesce(clock_at, 0);
    pruned := coalesce(pruned, 0);
    -- A cursor from the future, or from before a pruned tombstone: the client pulls everything again, and who has nothing need not forget
    -- anything.
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
    reset := known IS NOT NULL AND empty;

    -- Where the page ends, and of which tables it has something: what is not on it costs nothing.
    -- One aggregate for all of them: each takes longer to set up than to look at a few rows.
    SELECT count(*) = most, max(line.version), bit_or(CASE line.name WHEN 'user_progress' THEN 1 WHEN 'daily_activity' THEN 2
               WHEN 'export_history' THEN 4 WHEN 'user_api_keys' THEN 8 ELSE 16 END << CASE WHEN line.deleted THEN 6 ELSE 0 END)
    INTO more, upto, found
    FROM (
        SELECT r.version, r.table_name || '' AS name, r.deleted
        FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since
          AND (r.table_name || '') <> ALL (unseen)
          AND NOT (r.deleted AND empty)
        ORDER BY r.version
        LIMIT most
    ) AS line;
    IF more THEN
        more := EXISTS (
            SELECT FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > upto AND (r.table_name || '') <> ALL (unseen) AND NOT (r.deleted AND empty));
    END IF;
    IF NOT more THEN
        upto := clock_at;
    END IF;

    any_gone := found >= 64;
    any_mirrored := found & (16 | (16 << 6)) <> 0;
    IF packs AND found & 4 <> 0 THEN
        SELECT jsonb_build_object('export_history', json_build_object(
                   'clocks', json_agg(s.hlc), 'id', json_agg(t.id), 'export_type', json_agg(t.export_type),
                   'export_format', json_agg(t.export_format), 'status', json_agg(t.status),
                   'records_count', json_agg(t.records_count), 'file_size_bytes', json_agg(t.file_size_bytes::text),
                   'file_url', json_agg(t.file_url), 'filters', json_agg(t.filters), 'data', json_agg(t.data),
                   'error_message', json_agg(t.error_message), 'retry_count', json_agg(t.retry_count),
                   'started_at', json_agg(t.started_at), 'completed_at', json_agg(t.completed_at),
                   'processing_time_seconds', json_agg(t.processing_time_seconds), 'expires_at', json_agg(t.expires_at),
                   'created_at', json_agg(t.created_at), 'updated_at', json_agg(t.updated_at))::text)
        INTO found_packed
        FROM (
            SELECT r.hlc, r.row_key::uuid AS id
            FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > since AND r.version <= upto AND (r.table_name || '') = 'export_history'
              AND NOT r.deleted
            OFFSET 0
        ) AS s JOIN public.export_history AS t ON t.id = s.id AND t.user_id = me
        HAVING count(*) > 0;
    END IF;
    found_packed := coalesce(found_packed, '{}');

    IF found & 1 <> 0 THEN
        SELECT '"user_progress":' || json_agg(line)::text INTO progress
        FROM (
            SELECT r.version, r.hlc, v AS "values"
            FROM marea.rows AS r JOIN public.user_progress AS t ON t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.total_descriptions, t.total_images, t.total_questions_answered,
                       t.total_questions_correct, t.total_vocabulary_learned, t.total_sessions, t.total_time_spent_minutes,
                       t.current_streak_days, t.longest_streak_days, t.total_points, t.average_accuracy,
                       t.average_completion_time_seconds, t.mastered_words_count, t.learning_words_count,
                       t.new_words_count, t.achievements, marea.wire_time(t.last_activity_at) AS last_activity_at,
                       marea.wire_time(t.last_description_at) AS last_description_at,
                       marea.wire_time(t.last_qa_session_at) AS last_qa_session_at,
                       marea.wire_time(t.last_vocabulary_practice_at) AS last_vocabulary_practice_at,
                       to_char(t.last_active_on, 'YYYY-MM-DD') AS last_active_on,
                       marea.wire_time(t.created_at) AS created_at, marea.wire_time(t.updated_at) AS updated_at
            ) AS v
            WHERE r.table_name = 'user_progress' AND r.user_id = me AND r.row_key = me::text AND r.version > since AND r.version <= upto
              AND NOT r.deleted
        ) AS line;
    END IF;
    IF found & 2 <> 0 THEN
        -- Only what is rare is said: that nothing but a freeze lies on the day.
        any_frozen := EXISTS (SELECT FROM marea.progress_events AS e WHERE e.user_id = me AND e.freezes_day);
        SELECT '"daily_activity":' || json_agg(line ORDER BY line.version)::text INTO days
        FROM (
            SELECT s.version, s.hlc, CASE WHEN NOT any_frozen OR marea.is_active(t) THEN to_json(v)
                   ELSE (to_jsonb(v) || '{"frozen": true}')::json END AS "values"
            FROM (
                SELECT r.version, r.hlc, CASE WHEN (r.table_name || '') = 'daily_activity' THEN r.row_key::date END AS day
                FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND r.version <= upto AND (r.table_name || '') = 'daily_activity'
                  AND NOT r.deleted
                OFFSET 0
            ) AS s JOIN marea.daily_activity AS t ON t.user_id = me AND t.day = s.day
            CROSS JOIN LATERAL (
                SELECT t.user_id, to_char(t.day, 'YYYY-MM-DD') AS day, t.facts, t.sessions, t.minutes, t.questions,
                       t.correct, t.words, t.points
            ) AS v
        ) AS line;
    END IF;
    IF NOT packs AND found & 4 <> 0 THEN
        SELECT '"export_history":' || json_agg(line)::text INTO exports
        FROM (
            SELECT s.version, s.hlc, v AS "values"
            FROM (
                SELECT r.version, r.hlc, CASE WHEN (r.table_name || '') = 'export_history' THEN r.row_key::uuid END AS id
                FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND r.version <= upto AND (r.table_name || '') = 'export_history'
                  AND NOT r.deleted
                OFFSET 0
            ) AS s JOIN public.export_history AS t ON t.id = s.id AND t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.export_type, t.export_format, t.status, t.records_count,
                       t.file_size_bytes::text AS file_size_bytes, t.file_url, t.filters, t.data, t.error_message,
                       t.retry_count, marea.wire_time(t.started_at) AS started_at,
                       marea.wire_time(t.completed_at) AS completed_at, t.processing_time_seconds,
                       marea.wire_time(t.expires_at) AS expires_at, marea.wire_time(t.created_at) AS created_at,
                       marea.wire_time(t.updated_at) AS updated_at
            ) AS v
        ) AS line;
    END IF;
    IF found & 8 <> 0 THEN
        SELECT '"user_api_keys":' || json_agg(line)::text INTO keys
        FROM (
            SELECT r.version, r.hlc, v AS "values"
            FROM marea.rows AS r JOIN public.user_api_keys AS t ON t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.openai_api_key, t.unsplash_api_key, t.anthropic_api_key,
                       marea.wire_time(t.last_validated_at) AS last_validated_at,
                       marea.wire_time(t.created_at) AS created_at, marea.wire_time(t.updated_at) AS updated_at
            ) AS v
            WHERE r.table_name = 'user_api_keys' AND r.user_id = me AND r.row_key = me::text AND r.version > since AND r.version <= upto
              AND NOT r.deleted
        ) AS line;
    END IF;
    found_rows := '{' || concat_ws(',', progress, days, exports, keys) || '}';
    found_deleted := '{}';
    IF any_gone THEN
        SELECT coalesce(json_object_agg(of_table.name, of_table.keys), '{}') INTO found_deleted
        FROM (
            SELECT line.name, json_agg(line.row_key ORDER BY line.version) AS keys
            FROM (
                SELECT r.table_name || '' AS name, r.row_key, r.version
                FROM marea.rows AS r
                WHERE r.user_id = me AND r.version > since AND r.version <= upto AND r.deleted
                  AND (r.table_name || '') IN ('user_progress', 'daily_activity', 'export_history', 'user_api_keys')
            ) AS line
            GROUP BY line.name
        ) AS of_table;
    END IF;
    IF any_mirrored THEN
        SELECT * INTO mirrored FROM marea.mirrored_page(me, since, upto, packs, empty);
        IF mirrored.shown <> '{}' AND packs THEN
            found_packed := found_packed || mirrored.shown;
        ELSIF mirrored.shown <> '{}' THEN
            found_rows := found_rows::jsonb || mirrored.shown;
        END IF;
        IF mirrored.gone <> '{}' THEN
            found_deleted := found_deleted::jsonb || mirrored.gone;
        END IF;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) IS
    'What of a user''s rows changed after a version, at most so many, as the caller''s policies let it be seen. A new column in a '
    'mirrored table is named here.';
