-- Page: what changed after a cursor, in one statement and so of one moment. Takes no lock, writes nothing.
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
    unseen   CONSTANT TEXT[] := marea.unseen_tables();
BEGIN
    SELECT coalesce(max(c.version), 0), coalesce(max(c.pruned), 0) INTO clock_at, pruned
    FROM marea.clocks AS c WHERE c.user_id = me;
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
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
    mirrored RECORD;
    unseen CONSTANT TEXT[] := marea.unseen_tables();
BEGIN
    SELECT coalesce(max(c.version), 0), coalesce(max(c.pruned), 0) INTO clock_at, pruned
    FROM marea.clocks AS c WHERE c.user_id = me;
    -- A cursor from the future, or from before a pruned tombstone: the client pulls everything again, and who has nothing need not forget
    -- anything.
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
    reset := known IS NOT NULL AND empty;

    SELECT min(edge.version), count(*) > 1 INTO upto, more
    FROM (
        SELECT r.version
        FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since
          AND (r.table_name || '') <> ALL (unseen)
          AND NOT (r.deleted AND empty)
        ORDER BY r.version
        LIMIT 2 OFFSET most - 1
    ) AS edge;
    IF NOT more THEN
        upto := clock_at;
    END IF;

    IF packs THEN
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

    WITH shown AS MATERIALIZED (
        SELECT r.table_name, r.row_key, r.version, r.deleted, r.hlc,
               CASE WHEN r.table_name = 'daily_activity' THEN r.row_key::date END AS day,
               CASE WHEN (r.table_name || '') = 'export_history' THEN r.row_key::uuid END AS id
        FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since AND r.version <= upto
          AND (r.table_name || '') IN ('user_progress', 'daily_activity', 'export_history', 'user_api_keys')
          AND NOT (r.deleted AND empty) AND NOT (packs AND (r.table_name || '') = 'export_history' AND NOT r.deleted)
    ), progress AS (
        SELECT json_agg(line ORDER BY line.version) AS found
        FROM (
            SELECT s.version, s.hlc, v AS "values"
            FROM shown AS s JOIN public.user_progress AS t ON t.user_id = me
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
            WHERE s.table_name = 'user_progress' AND NOT s.deleted
        ) AS line
    ), activity AS (
        SELECT json_agg(line ORDER BY line.version) AS found
        FROM (
            -- Only what is rare is said: that nothing but a freeze lies on the day.
            SELECT s.version, s.hlc, CASE WHEN marea.is_active(t) THEN to_json(v)
                   ELSE (to_jsonb(v) || '{"frozen": true}')::json END AS "values"
            FROM shown AS s JOIN marea.daily_activity AS t ON t.user_id = me AND t.day = s.day
            CROSS JOIN LATERAL (
                SELECT t.user_id, to_char(t.day, 'YYYY-MM-DD') AS day, t.facts, t.sessions, t.minutes, t.questions,
                       t.correct, t.words, t.points
            ) AS v
            WHERE s.table_name = 'daily_activity' AND NOT s.deleted
        ) AS line
    ), exports AS (
        SELECT json_agg(line) AS found
        FROM (
            SELECT s.version, s.hlc, v AS "values"
            FROM shown AS s JOIN public.export_history AS t ON t.id = s.id AND t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.export_type, t.export_format, t.status, t.records_count,
                       t.file_size_bytes::text AS file_size_bytes, t.file_url, t.filters, t.data, t.error_message,
                       t.retry_count, marea.wire_time(t.started_at) AS started_at,
                       marea.wire_time(t.completed_at) AS completed_at, t.processing_time_seconds,
                       marea.wire_time(t.expires_at) AS expires_at, marea.wire_time(t.created_at) AS created_at,
                       marea.wire_time(t.updated_at) AS updated_at
            ) AS v
            WHERE s.table_name = 'export_history' AND NOT s.deleted
        ) AS line
    ), keys AS (
        SELECT json_agg(line ORDER BY line.version) AS found
        FROM (
            SELECT s.version, s.hlc, v AS "values"
            FROM shown AS s JOIN public.user_api_keys AS t ON t.user_id = me
            CROSS JOIN LATERAL (
                SELECT t.id, t.user_id, t.openai_api_key, t.unsplash_api_key, t.anthropic_api_key,
                       marea.wire_time(t.last_validated_at) AS last_validated_at,
                       marea.wire_time(t.created_at) AS created_at, marea.wire_time(t.updated_at) AS updated_at
            ) AS v
            WHERE s.table_name = 'user_api_keys' AND NOT s.deleted
        ) AS line
    )
    SELECT coalesce((
               SELECT json_object_agg(of_table.name, of_table.found)
               FROM (
                   SELECT 'user_progress' AS name, progress.found FROM progress
                   UNION ALL SELECT 'daily_activity', activity.found FROM activity
                   UNION ALL SELECT 'export_history', exports.found FROM exports
                   UNION ALL SELECT 'user_api_keys', keys.found FROM keys
               ) AS of_table
               WHERE of_table.found IS NOT NULL
           ), '{}'),
           coalesce((
               SELECT json_object_agg(of_table.table_name, of_table.keys)
               FROM (
                   SELECT line.table_name, json_agg(line.row_key ORDER BY line.version) AS keys
                   FROM shown AS line WHERE line.deleted GROUP BY line.table_name
               ) AS of_table
           ), '{}')
    INTO found_rows, found_deleted;

    SELECT * INTO mirrored FROM marea.mirrored_page(me, since, upto, packs, empty);
    IF mirrored.shown <> '{}' AND packs THEN
        found_packed := found_packed || mirrored.shown;
    ELSIF mirrored.shown <> '{}' THEN
        found_rows := found_rows::jsonb || mirrored.shown;
    END IF;
    IF mirrored.gone <> '{}' THEN
        found_deleted := found_deleted::jsonb || mirrored.gone;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) IS
    'What of a user''s rows changed after a version, at most so many, as the caller''s policies let it be seen. A new column in a '
    'mirrored table is named here.';
