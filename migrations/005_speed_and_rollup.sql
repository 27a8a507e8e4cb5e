-- 005: the same sync for less, and a job that rolls up old awards.
--
--   epoch        the same name for the same history, without a query for each part of it
--   idle         a sync with nothing to do is answered by one look-up, marea.idle_answer
--   pages        rows are written as JSON text and become JSONB once: marea.page instead of marea.pull; and for a client that asks
--                for it, exports without their columns' names in each row
--   push         a value that is null is no reason to look closely: half the time of a push
--   completion   one session of one learner: two statements for its fold instead of five
--   roll-up      marea.roll_up_events: a learner's old awards of a day become one, and none can be counted again
--
-- What goes over the wire is as it was, unless a client asks for "packed". What 005 replaces is kept in marea.replaced, under names that begin with "005", so
-- that its rollback puts back exactly that.
--
-- Needs 004. One transaction; run twice, the second run changes nothing. Taken back by 005_speed_and_rollup_rollback.sql,
-- counted by validate_005.sql.

BEGIN;

DO $$
BEGIN
    IF to_regprocedure('marea.note_client(uuid,integer,bigint)') IS NULL OR to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Marea 005 cannot be applied; nothing was changed. Missing: the views to watch it (migration 004)'
            USING HINT = 'Apply 004_operations.sql first.';
    END IF;
    IF to_regclass('marea.rolled_up') IS NOT NULL THEN
        RAISE NOTICE 'Marea 005 stands already: this run changes nothing.';
    END IF;
END
$$;

-- What stands before 005, for its rollback. Once: a second run would find 005's own.
DO $$
BEGIN
    IF to_regclass('marea.rolled_up') IS NULL THEN
        INSERT INTO marea.replaced (name, definition)
        SELECT '005 ' || p.oid::regprocedure, pg_get_functiondef(p.oid)
        FROM pg_proc AS p
        WHERE p.oid IN (
            'marea.epoch()'::regprocedure, 'marea.session_is_sound(jsonb)'::regprocedure, 'marea.event_is_sound(jsonb)'::regprocedure,
            'marea.fold_events()'::regprocedure, 'public.marea_sync(jsonb)'::regprocedure,
            'marea.track_user_progress()'::regprocedure);
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- The name of this history
-- ---------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION marea.epoch() RETURNS TEXT
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- As in 002, but for what is not a query: a query for one value costs more than the value.
DECLARE
    cluster  TEXT;
    timeline TEXT;
BEGIN
    -- A host may keep these from its customers. The other parts still tell a dump that was restored. One block for both, and
    -- one for each only where that fails: a block is a subtransaction.
    BEGIN
        cluster := (pg_control_system()).system_identifier;
        timeline := CASE WHEN pg_is_in_recovery() THEN to_hex((pg_control_checkpoint()).timeline_id)
            ELSE ltrim(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), '0') END;
    EXCEPTION WHEN insufficient_privilege THEN
        BEGIN
            cluster := (pg_control_system()).system_identifier;
        EXCEPTION WHEN insufficient_privilege THEN
            cluster := '';
        END;
        BEGIN
            timeline := CASE WHEN pg_is_in_recovery() THEN to_hex((pg_control_checkpoint()).timeline_id)
                ELSE ltrim(substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), '0') END;
        EXCEPTION WHEN insufficient_privilege THEN
            timeline := '';
        END;
    END;
    RETURN substr(encode(sha256(convert_to(concat_ws('/', cluster, lower(timeline),
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'marea.clocks'::regclass::oid), 'UTF8')), 'hex'), 1, 16);
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Idle: nothing to send, nothing new, a device that was here within the hour. Most syncs are.
-- ---------------------------------------------------------------------------------------------------------------------

-- A view, so that Postgres does not let 004 be taken back from under it.
CREATE OR REPLACE VIEW marea.known_devices AS
SELECT c.user_id, c.client_id::text AS client_id, c.schema::text AS schema
FROM marea.clients AS c
WHERE c.noted_at > now() - interval '1 hour';

COMMENT ON VIEW marea.known_devices IS 'Devices that need not be noted again yet, in the words of a request.';

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
    IF me IS NULL OR (request -> 'protocol' = '1' AND coalesce(request -> 'mutations', '[]') = '[]'
           AND coalesce(page ~ '^(1?[0-9]{1,3}|2000)$' AND page !~ '^0', true)
           AND epoch ~ '^[0-9a-f]{16}[.][0-9]{1,18}[.][0-9]{1,16}$'
           AND pg_column_size(request) <= 1048576) IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    history := marea.epoch();
    IF NOT starts_with(epoch, history || '.') THEN
        RETURN NULL;
    END IF;
    given := to_timestamp(0) + split_part(epoch, '.', 3)::bigint * interval '1 microsecond';

    SELECT c.version INTO clock
    FROM marea.clocks AS c
    WHERE c.user_id = me AND c.version::text = stands
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
        'has_more', false);
END
$$;

COMMENT ON FUNCTION marea.idle_answer(JSONB) IS
    'The answer to a caller''s request with nothing to do; NULL for every other request, and for every doubt.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Push: the quick look at values, as in 002, but null counts as absent, as it does in the close look. The clients name all columns.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION marea.session_is_sound(given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN given - '{id,session_type,started_at,ended_at,duration_minutes,images_processed,descriptions_generated,qa_attempts,qa_correct,vocabulary_learned,phrases_saved,session_data}'::text[]
    = '{}'
    AND coalesce(given ->> 'started_at' LIKE '____-__-__T__:__:__%Z', true)
    AND coalesce(given ->> 'ended_at' LIKE '____-__-__T__:__:__%Z', true)
    AND NOT jsonb_path_exists(jsonb_strip_nulls(given), '$ ? (@.session_type.type() != "string" || @.started_at.type() != "string" ||
        @.ended_at.type() != "string" || @.session_data.type() != "object" || @.duration_minutes.type() != "number" ||
        @.images_processed.type() != "number" || @.descriptions_generated.type() != "number" ||
        @.qa_attempts.type() != "number" || @.qa_correct.type() != "number" || @.vocabulary_learned.type() != "number" ||
        @.phrases_saved.type() != "number")');

CREATE OR REPLACE FUNCTION marea.event_is_sound(given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN given - '{id,occurred_at,local_date,descriptions,images,questions_answered,questions_correct,vocabulary_learned,minutes,points,mastered_words,learning_words,new_words,achievements}'::text[]
    = '{}'
    AND coalesce(given ->> 'occurred_at' LIKE '____-__-__T__:__:__%Z', false)
    AND coalesce(given ->> 'local_date' LIKE '____-__-__', false)
    AND NOT jsonb_path_exists(jsonb_strip_nulls(given), '$ ? (@.occurred_at.type() != "string" || @.local_date.type() != "string" ||
        @.achievements.type() != "object" || @.descriptions.type() != "number" || @.images.type() != "number" ||
        @.questions_answered.type() != "number" || @.questions_correct.type() != "number" ||
        @.vocabulary_learned.type() != "number" || @.minutes.type() != "number" || @.points.type() != "number" ||
        @.mastered_words.type() != "number" || @.learning_words.type() != "number" || @.new_words.type() != "number")');

-- ---------------------------------------------------------------------------------------------------------------------
-- Pages
-- ---------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION marea.page(
    me UUID, known BIGINT, most INTEGER, packs BOOLEAN, OUT anew BOOLEAN, OUT upto BIGINT, OUT clock_at BIGINT,
    OUT more BOOLEAN, OUT found_rows JSON, OUT found_packed JSON, OUT found_deleted JSON
)
LANGUAGE plpgsql STABLE SECURITY INVOKER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
-- As marea.pull of 002, and in its place. Rows are written as JSON text, by their columns' names, and become JSONB once, in
-- marea_sync: JSONB made of JSONB is taken apart and put together anew at every level.
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
BEGIN
    SELECT coalesce(max(c.version), 0), coalesce(max(c.pruned), 0) INTO clock_at, pruned
    FROM marea.clocks AS c WHERE c.user_id = me;
    -- A cursor from the future, or from before a pruned tombstone: the client starts anew, and who has nothing need not forget
    -- anything.
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
    anew := known IS NOT NULL AND empty;

    SELECT min(edge.version), count(*) > 1 INTO upto, more
    FROM (
        SELECT r.version
        FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since
          AND r.table_name IN ('user_progress', 'daily_activity', 'export_history', 'user_api_keys')
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
            WHERE r.user_id = me AND r.version > since AND r.version <= upto AND r.table_name = 'export_history'
              AND NOT r.deleted
            OFFSET 0
        ) AS s JOIN public.export_history AS t ON t.id = s.id AND t.user_id = me
        HAVING count(*) > 0;
    END IF;
    found_packed := coalesce(found_packed, '{}');

    WITH shown AS MATERIALIZED (
        SELECT r.table_name, r.row_key, r.version, r.deleted, r.hlc,
               CASE WHEN r.table_name = 'daily_activity' THEN r.row_key::date END AS day,
               CASE WHEN r.table_name = 'export_history' THEN r.row_key::uuid END AS id
        FROM marea.rows AS r
        WHERE r.user_id = me AND r.version > since AND r.version <= upto
          AND r.table_name IN ('user_progress', 'daily_activity', 'export_history', 'user_api_keys')
          AND NOT (r.deleted AND empty) AND NOT (packs AND r.table_name = 'export_history' AND NOT r.deleted)
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
            SELECT s.version, s.hlc, v AS "values"
            FROM shown AS s JOIN marea.daily_activity AS t ON t.user_id = me AND t.day = s.day
            CROSS JOIN LATERAL (
                SELECT t.user_id, to_char(t.day, 'YYYY-MM-DD') AS day, t.sessions, t.minutes, t.questions, t.correct,
                       t.words, t.points
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
END
$$;

COMMENT ON FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) IS
    'What of a user''s rows changed after a version, at most so many, as the caller''s policies let it be seen. A new column in a '
    'mirrored table is named here.';
COMMENT ON FUNCTION marea.pull(UUID, BIGINT, INTEGER) IS
    'What marea.page does since 005; nothing calls it while 005 stands.';

-- Not in a second run: a later migration may have put its own in this place.
DO $guard$
BEGIN
    IF to_regclass('marea.rolled_up') IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE $create$
CREATE OR REPLACE FUNCTION public.marea_sync(request JSONB) RETURNS JSONB
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $function$
-- One sync: pushes the request's mutations, pulls what changed after its cursor, in one transaction. See docs/PROTOCOL.md.
DECLARE
    idle    CONSTANT JSONB := marea.idle_answer(request);
    me      UUID;
    history TEXT;
    known   BIGINT;
    results JSONB := '[]';
    page    RECORD;
BEGIN
    IF idle IS NOT NULL THEN
        RETURN idle;
    END IF;
    me := auth.uid();
    IF me IS NULL THEN
        PERFORM marea.refuse('PT401', 'nobody is signed in', 'Send the access token of a signed-in user.');
    END IF;
    PERFORM marea.check_request(request);
    -- Before the push, which moves the clock. A cursor of another history is as good as none, except that the client
    -- must be told.
    history := marea.epoch();
    IF NOT marea.is_lost_history(request -> 'cursor' ->> 'epoch', history) THEN
        known := (request -> 'cursor' ->> 'version')::bigint;
    END IF;

    IF jsonb_array_length(request -> 'mutations') > 0 THEN
        SET CONSTRAINTS marea.pending_stamp DEFERRED;
        -- One push per user at a time: two devices of one user touch the same rows, in whatever order.
        PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || me, 0));
        results := marea.push(request -> 'mutations', request ->> 'client_id');
        -- A statement of its own, so that it sees what the push has waited for.
        results := marea.spare_rolled_up(results, request -> 'mutations');
        -- Versions are taken now, last of all, so that the answer can show what this push did. From here to commit
        -- the user's clock is held.
        SET CONSTRAINTS marea.pending_stamp IMMEDIATE;
        SET CONSTRAINTS marea.pending_stamp DEFERRED;
    END IF;

    SELECT * INTO page FROM marea.page(me, known, coalesce((request ->> 'limit')::int, 500),
        coalesce(request -> 'packed' = 'true', false));

    -- For people who watch (004), not for correctness: a device is noted at most once an hour.
    PERFORM marea.note_client((request ->> 'client_id')::uuid, (request ->> 'schema')::integer, page.upto);

    RETURN jsonb_build_object(
        'protocol', 1,
        'server_time', marea.wire_time(clock_timestamp()),
        'reset', page.anew OR (known IS NULL AND nullif(request -> 'cursor', 'null') IS NOT NULL),
        'results', results,
        'rows', page.found_rows,
        'packed', page.found_packed,
        'deleted', page.found_deleted,
        'cursor', jsonb_build_object('version', page.upto, 'epoch',
            concat_ws('.', history, page.clock_at, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)),
        'has_more', page.more);
END
$function$
    $create$;
END
$guard$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Completion: one session of one learner, on the latest day or after it. Nearly every one is.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION marea.fold_one(fact marea.fact) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- What marea.fold does with one fact that is added on the learner's latest day or after it: two statements for five. False,
-- and nothing done, for every other fact. The progress row is changed first: it is the mutex of the learner's fold.
BEGIN
    IF fact.removed_at IS NOT NULL OR fact.achievements IS NOT NULL THEN
        RETURN false;
    END IF;
    UPDATE public.user_progress AS p SET
        total_sessions = p.total_sessions + fact.sessions,
        total_time_spent_minutes = p.total_time_spent_minutes + fact.minutes,
        total_questions_answered = p.total_questions_answered + fact.questions,
        total_questions_correct = p.total_questions_correct + fact.correct,
        total_vocabulary_learned = p.total_vocabulary_learned + fact.words,
        total_points = p.total_points + fact.points,
        total_descriptions = p.total_descriptions + fact.descriptions,
        total_images = p.total_images + fact.images,
        mastered_words_count = p.mastered_words_count + fact.mastered,
        learning_words_count = p.learning_words_count + fact.learning,
        new_words_count = p.new_words_count + fact.fresh,
        average_accuracy = CASE WHEN p.total_questions_answered + fact.questions <= 0 THEN 0 ELSE least(100, round(
            100::numeric * (p.total_questions_correct + fact.correct) / (p.total_questions_answered + fact.questions), 2)) END,
        average_completion_time_seconds = CASE WHEN p.total_sessions + fact.sessions <= 0 THEN 0 ELSE round(
            60::numeric * (p.total_time_spent_minutes + fact.minutes) / (p.total_sessions + fact.sessions)) END,
        last_activity_at = greatest(p.last_activity_at, fact.activity_at),
        last_description_at = greatest(p.last_description_at, fact.description_at),
        last_qa_session_at = greatest(p.last_qa_session_at, fact.qa_at),
        last_vocabulary_practice_at = greatest(p.last_vocabulary_practice_at, fact.words_at),
        last_active_on = fact.day,
        current_streak_days = CASE fact.day - p.last_active_on
            WHEN 0 THEN p.current_streak_days WHEN 1 THEN p.current_streak_days + 1 ELSE 1 END,
        longest_streak_days = greatest(p.longest_streak_days, CASE fact.day - p.last_active_on
            WHEN 0 THEN p.current_streak_days WHEN 1 THEN p.current_streak_days + 1 ELSE 1 END)
    WHERE p.user_id = fact.user_id AND (fact.day < p.last_active_on) IS NOT TRUE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- An INSERT ... ON CONFLICT would fire the triggers of both, INSERT and UPDATE.
    IF EXISTS (SELECT FROM marea.daily_activity AS d WHERE d.user_id = fact.user_id AND d.day = fact.day) THEN
        UPDATE marea.daily_activity AS d SET
            facts = d.facts + fact.facts, sessions = d.sessions + fact.sessions, minutes = d.minutes + fact.minutes,
            questions = d.questions + fact.questions, correct = d.correct + fact.correct, words = d.words + fact.words,
            points = d.points + fact.points
        WHERE d.user_id = fact.user_id AND d.day = fact.day;
    ELSE
        INSERT INTO marea.daily_activity (user_id, day, facts, sessions, minutes, questions, correct, words, points)
        VALUES (fact.user_id, fact.day, fact.facts, fact.sessions, fact.minutes, fact.questions, fact.correct, fact.words,
            fact.points);
    END IF;
    RETURN true;
END
$$;

COMMENT ON FUNCTION marea.fold_one(marea.fact) IS
    'Adds one fact of the latest day or after it, as marea.fold does; false: it is another one, and nothing was done.';

-- Every trigger that folds calls marea.fold: here, and nowhere else, is chosen how. 002, run again, puts its own back under that
-- name, which is only slower.
DO $$
BEGIN
    IF to_regprocedure('marea.fold_many(marea.fact[])') IS NULL THEN
        ALTER FUNCTION marea.fold(marea.fact[]) RENAME TO fold_many;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.fold(given marea.fact[]) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One fact of one learner: nearly every statement.
    IF NOT (cardinality(given) = 1 AND marea.fold_one(given[1])) THEN
        PERFORM marea.fold_many(given);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.fold(marea.fact[]) IS
    'Adds facts to daily_activity and user_progress: one by marea.fold_one where that can, else all by marea.fold_many.';

CREATE OR REPLACE FUNCTION marea.track_user_progress() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
-- As in 002, and looks for rows that were moved away only where one may have been.
DECLARE
    changed UUID[];
    gone    UUID[];
    moves   BOOLEAN;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id) INTO changed FROM added AS n;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(o.user_id) INTO gone FROM removed AS o;
    ELSE
        SELECT array_agg(n.user_id), bool_or(n.user_id IS DISTINCT FROM o.user_id) INTO changed, moves
        FROM added AS n LEFT JOIN removed AS o ON o.id = n.id
        WHERE ROW(n.user_id, n.total_descriptions, n.total_images, n.total_questions_answered, n.total_questions_correct,
                  n.total_vocabulary_learned, n.total_sessions, n.total_time_spent_minutes, n.current_streak_days,
                  n.longest_streak_days, n.total_points, n.average_accuracy, n.average_completion_time_seconds,
                  n.mastered_words_count, n.learning_words_count, n.new_words_count, n.achievements, n.last_activity_at,
                  n.last_description_at, n.last_qa_session_at, n.last_vocabulary_practice_at, n.last_active_on, n.created_at)
              IS DISTINCT FROM
              ROW(o.user_id, o.total_descriptions, o.total_images, o.total_questions_answered, o.total_questions_correct,
                  o.total_vocabulary_learned, o.total_sessions, o.total_time_spent_minutes, o.current_streak_days,
                  o.longest_streak_days, o.total_points, o.average_accuracy, o.average_completion_time_seconds,
                  o.mastered_words_count, o.learning_words_count, o.new_words_count, o.achievements, o.last_activity_at,
                  o.last_description_at, o.last_qa_session_at, o.last_vocabulary_practice_at, o.last_active_on, o.created_at);
        IF moves THEN
            SELECT array_agg(moved.user_id) INTO gone
            FROM (SELECT user_id FROM removed EXCEPT SELECT user_id FROM added) AS moved;
        END IF;
    END IF;
    IF gone IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_progress', true, gone);
    END IF;
    IF changed IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_progress', false, changed);
    END IF;
    RETURN NULL;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Roll-up: old awards of a day become one. docs/adr/0030 says why so.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS marea.rolled_up (
    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    bucket  SMALLINT NOT NULL CHECK (bucket BETWEEN 0 AND 15),
    ids     UUID[] NOT NULL,
    PRIMARY KEY (user_id, bucket)
);
ALTER TABLE marea.rolled_up ALTER COLUMN ids SET STORAGE EXTERNAL; -- ids are random: they do not compress

COMMENT ON TABLE marea.rolled_up IS
    'Ids of awards that were rolled up into another one: known for ever, so that a device that sends one again is told so.';
COMMENT ON COLUMN marea.rolled_up.user_id IS 'Whose awards.';
COMMENT ON COLUMN marea.rolled_up.bucket IS 'Last four bits of the ids in it; by marea.roll_up_events().';
COMMENT ON COLUMN marea.rolled_up.ids IS 'The ids, 16 bytes each; by marea.roll_up_events().';

CREATE TABLE IF NOT EXISTS marea.rolling_up (
    xact XID8 PRIMARY KEY
);

COMMENT ON TABLE marea.rolling_up IS
    'Transactions in which marea.roll_up_events is at work: a row lives as long as the job does, and is never committed.';
COMMENT ON COLUMN marea.rolling_up.xact IS 'The transaction.';

ALTER TABLE marea.rolled_up ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.rolling_up ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION marea.bucket_of(id UUID) RETURNS SMALLINT LANGUAGE sql IMMUTABLE
RETURN (get_byte(uuid_send(id), 15) & 15)::smallint;

COMMENT ON FUNCTION marea.bucket_of(UUID) IS 'The line of marea.rolled_up that an id would be in.';

CREATE OR REPLACE FUNCTION marea.rolled_up_of(ids UUID[]) RETURNS UUID[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Of these ids those that are awards of the caller and were rolled up. Nearly nobody has any.
DECLARE
    me CONSTANT UUID := auth.uid();
BEGIN
    IF NOT EXISTS (SELECT FROM marea.rolled_up AS r WHERE r.user_id = me) THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT given.id
        FROM unnest(ids) AS given (id)
        JOIN marea.rolled_up AS r ON r.user_id = me AND r.bucket = marea.bucket_of(given.id)
        WHERE given.id = ANY (r.ids));
END
$$;

COMMENT ON FUNCTION marea.rolled_up_of(UUID[]) IS 'Of these ids those of the caller''s awards that were rolled up.';

CREATE OR REPLACE FUNCTION marea.count_events_once() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Here, where every INSERT comes by: that of a device, at whatever moment, and a plain one.
BEGIN
    IF EXISTS (
        SELECT FROM added AS e JOIN marea.rolled_up AS r ON r.user_id = e.user_id AND r.bucket = marea.bucket_of(e.id)
        WHERE e.id = ANY (r.ids)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'id: is taken';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.count_events_once() IS 'Trigger: refuses an award that was counted before it was rolled up.';

CREATE OR REPLACE TRIGGER events_counted_once AFTER INSERT ON marea.progress_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.count_events_once();

CREATE OR REPLACE FUNCTION marea.spare_rolled_up(results JSONB, mutations JSONB) RETURNS JSONB
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The results of a push, in which a rolled-up award is the duplicate that it is. The trigger above has rejected it, by itself.
DECLARE
    rolled UUID[];
BEGIN
    IF NOT results @> '[{"code": "23505"}]' THEN
        RETURN results;
    END IF;
    rolled := marea.rolled_up_of(ARRAY(
        SELECT (m ->> 'id')::uuid FROM jsonb_array_elements(mutations) AS m WHERE m ->> 'table' = 'progress_events'));
    RETURN (
        SELECT jsonb_agg(CASE
            WHEN r.value ->> 'code' = '23505' AND (r.value ->> 'id')::uuid = ANY (rolled)
                THEN jsonb_build_object('id', r.value -> 'id', 'status', 'duplicate')
            ELSE r.value END ORDER BY r.place)
        FROM jsonb_array_elements(results) WITH ORDINALITY AS r (value, place)
    );
END
$$;

COMMENT ON FUNCTION marea.spare_rolled_up(JSONB, JSONB) IS
    'The results of a push, with the awards that were rolled up as the duplicates that they are.';

CREATE OR REPLACE FUNCTION marea.fold_events() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- As in 002, and leaves alone what the roll-up does: the sum of the facts stays the same.
DECLARE
    facts  marea.fact[];
    owners UUID[];
    keys   TEXT[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(marea.event_fact(1, e)) INTO facts FROM added AS e;
    ELSIF EXISTS (SELECT FROM marea.rolling_up WHERE xact = pg_current_xact_id()) THEN
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(marea.event_fact(-1, e)), array_agg(e.user_id), array_agg(e.id::text)
        INTO facts, owners, keys
        FROM removed AS e
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = e.user_id);
    ELSE
        SELECT array_agg(s.fact) INTO facts
        FROM (
            SELECT marea.event_fact(-1, gone) AS fact FROM (SELECT * FROM removed EXCEPT SELECT * FROM added) AS gone
            UNION ALL
            SELECT marea.event_fact(1, come) FROM (SELECT * FROM added EXCEPT SELECT * FROM removed) AS come
        ) AS s;
    END IF;
    IF facts IS NOT NULL THEN
        PERFORM marea.fold(facts);
    END IF;
    IF keys IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
        VALUES ('progress_events', true, owners, keys);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION marea.roll_up_events(
    older_than INTERVAL DEFAULT '180 days', most_users INTEGER DEFAULT 200
) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '64MB' AS $$
-- Of the awards that came longer ago than that, those of one learner, one day and one kind become one: the sum of what they
-- add, the union of what they unlock, the latest of their times. Kinds are what the latest times of user_progress tell
-- apart, so a fold from nothing (marea.refold) gives exactly what it gave before. Returns how many awards went, 0 when
-- nothing is left to do; one call does at most so many users, in its caller's transaction.
--
-- Nothing here changes what anybody sees, so no version is given: neither progress nor any day is other than before.
DECLARE
    people UUID[];
    went   BIGINT;
BEGIN
    IF older_than IS NULL OR older_than < interval '30 days' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'older_than: must be at least 30 days',
            HINT = 'Clients send younger awards again whenever the server has lost its past.';
    ELSIF most_users IS NULL OR most_users NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'most_users: must be 1 to 100000';
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION USING ERRCODE = '25001', MESSAGE = 'the roll-up needs READ COMMITTED';
    ELSIF (SELECT prosrc FROM pg_proc WHERE oid = 'marea.fold_events()'::regprocedure) NOT LIKE '%marea.rolling_up%' THEN
        RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = 'marea.fold_events is not the one of 005',
            HINT = '002 was run again after 005: run 005_speed_and_rollup.sql again.';
    END IF;

    SELECT array_agg(candidate.user_id) INTO people
    FROM (
        SELECT DISTINCT alike.user_id
        FROM (
            SELECT e.user_id
            FROM marea.progress_events AS e
            WHERE e.created_at < now() - older_than
            GROUP BY e.user_id, e.local_date, e.descriptions > 0, e.questions_answered > 0,
                e.vocabulary_learned > 0 OR e.mastered_words <> 0 OR e.learning_words <> 0 OR e.new_words <> 0
            HAVING count(*) > 1
        ) AS alike
        ORDER BY alike.user_id
        LIMIT most_users
    ) AS candidate;
    -- Who deletes a user holds the user's row and will want the progress row; who folds holds the progress row, the mutex of
    -- that learner's fold. Nobody is waited for: who is busy comes next time.
    SELECT array_agg(held.id) INTO people
    FROM (
        SELECT u.id FROM public.users AS u WHERE u.id = ANY (people) ORDER BY u.id FOR KEY SHARE SKIP LOCKED
    ) AS held;
    SELECT array_agg(held.user_id) INTO people
    FROM (
        SELECT p.user_id FROM public.user_progress AS p
        WHERE p.user_id = ANY (people) ORDER BY p.user_id FOR NO KEY UPDATE SKIP LOCKED
    ) AS held;
    IF people IS NULL THEN
        RETURN 0;
    END IF;

    INSERT INTO marea.rolling_up (xact) VALUES (pg_current_xact_id());
    WITH old AS MATERIALIZED (
        SELECT e.*, e.descriptions > 0 AS describes, e.questions_answered > 0 AS answers,
               e.vocabulary_learned > 0 OR e.mastered_words <> 0 OR e.learning_words <> 0 OR e.new_words <> 0 AS teaches
        FROM marea.progress_events AS e
        WHERE e.user_id = ANY (people) AND e.created_at < now() - older_than
    ), unlocked AS (
        SELECT earliest.user_id, earliest.local_date, earliest.describes, earliest.answers, earliest.teaches,
               jsonb_object_agg(earliest.name, earliest.at) AS achievements
        FROM (
            SELECT o.user_id, o.local_date, o.describes, o.answers, o.teaches, one.key AS name,
                   min(one.value COLLATE "C") AS at
            FROM old AS o, jsonb_each_text(o.achievements) AS one
            GROUP BY o.user_id, o.local_date, o.describes, o.answers, o.teaches, one.key
        ) AS earliest
        GROUP BY earliest.user_id, earliest.local_date, earliest.describes, earliest.answers, earliest.teaches
    ), together AS MATERIALIZED (
        -- The one that stays is the first to have come: its id is the only one that need not be remembered.
        SELECT o.user_id, o.local_date, o.describes, o.answers, o.teaches, count(*) AS events,
               (array_agg(o.id ORDER BY o.created_at, o.id))[1] AS stays, max(o.occurred_at) AS occurred_at,
               sum(o.descriptions) AS descriptions, sum(o.images) AS images, sum(o.questions_answered) AS answered,
               sum(o.questions_correct) AS correct, sum(o.vocabulary_learned) AS words, sum(o.minutes) AS minutes,
               sum(o.points) AS points, sum(o.mastered_words) AS mastered, sum(o.learning_words) AS learning,
               sum(o.new_words) AS fresh
        FROM old AS o
        GROUP BY o.user_id, o.local_date, o.describes, o.answers, o.teaches
        HAVING count(*) > 1
           -- Words that were moved there and back would look as if none had been: those stay as they are.
           AND (NOT o.teaches OR sum(o.vocabulary_learned) > 0 OR sum(o.mastered_words) <> 0
                OR sum(o.learning_words) <> 0 OR sum(o.new_words) <> 0)
           AND greatest(sum(o.descriptions), sum(o.images), sum(o.questions_answered), sum(o.questions_correct),
                   sum(o.vocabulary_learned), sum(o.minutes), sum(o.points), abs(sum(o.mastered_words)),
                   abs(sum(o.learning_words)), abs(sum(o.new_words))) <= 2147483647
    ), gone AS (
        DELETE FROM marea.progress_events AS e USING old AS o, together AS t
        WHERE e.id = o.id AND o.id <> t.stays AND o.user_id = t.user_id AND o.local_date = t.local_date
          AND o.describes = t.describes AND o.answers = t.answers AND o.teaches = t.teaches
        RETURNING e.user_id, e.local_date, e.id
    ), summed AS (
        UPDATE marea.progress_events AS e SET
            occurred_at = t.occurred_at, descriptions = t.descriptions, images = t.images,
            questions_answered = t.answered, questions_correct = t.correct, vocabulary_learned = t.words,
            minutes = t.minutes, points = t.points, mastered_words = t.mastered, learning_words = t.learning,
            new_words = t.fresh, achievements = coalesce(u.achievements, '{}')
        FROM together AS t
        LEFT JOIN unlocked AS u ON u.user_id = t.user_id AND u.local_date = t.local_date AND u.describes = t.describes
            AND u.answers = t.answers AND u.teaches = t.teaches
        WHERE e.id = t.stays
    ), remembered AS (
        INSERT INTO marea.rolled_up AS r (user_id, bucket, ids)
        SELECT g.user_id, marea.bucket_of(g.id), array_agg(g.id) FROM gone AS g GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (user_id, bucket) DO UPDATE SET ids = r.ids || EXCLUDED.ids
    ), fewer AS (
        UPDATE marea.daily_activity AS d SET facts = d.facts - less.events
        FROM (SELECT g.user_id, g.local_date, count(*) AS events FROM gone AS g GROUP BY 1, 2) AS less
        WHERE d.user_id = less.user_id AND d.day = less.local_date
    )
    SELECT count(*) INTO went FROM gone;
    DELETE FROM marea.rolling_up WHERE xact = pg_current_xact_id();
    RETURN went;
END
$$;

COMMENT ON FUNCTION marea.roll_up_events(INTERVAL, INTEGER) IS
    'Makes one of the awards of a learner''s day and kind that are older than that; returns how many went, 0 when all is done.';

-- ---------------------------------------------------------------------------------------------------------------------
-- Who may do what
-- ---------------------------------------------------------------------------------------------------------------------

REVOKE ALL ON marea.rolled_up, marea.rolling_up, marea.known_devices FROM PUBLIC, anon, authenticated, service_role;
DO $$
DECLARE
    made REGPROCEDURE;
BEGIN
    FOR made IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'marea'::regnamespace AND proname IN (
            'idle_answer', 'page', 'fold', 'fold_one', 'fold_many', 'bucket_of', 'rolled_up_of', 'spare_rolled_up',
            'count_events_once', 'roll_up_events')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated, service_role', made);
    END LOOP;
END
$$;

-- marea_sync runs as its caller.
GRANT EXECUTE ON FUNCTION marea.idle_answer(JSONB), marea.page(UUID, BIGINT, INTEGER, BOOLEAN), marea.rolled_up_of(UUID[]),
    marea.spare_rolled_up(JSONB, JSONB)
TO authenticated;
GRANT EXECUTE ON FUNCTION marea.roll_up_events(INTERVAL, INTEGER) TO service_role;

NOTIFY pgrst, 'reload schema';

COMMIT;
