-- Tracking: which rows a statement changed. enable_nestloop: a plan is made with the first statement's few rows in mind and kept;
-- joining the old and new rows of a bulk statement that way would take hours.

CREATE OR REPLACE FUNCTION marea.track_user_progress() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
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

COMMENT ON FUNCTION marea.track_user_progress() IS 'Trigger: notes the rows whose content changed (updated_at alone is none).';

CREATE OR REPLACE FUNCTION marea.track_daily_activity() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    owners UUID[];
    days   TEXT[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT array_agg(o.user_id), array_agg(to_char(o.day, 'YYYY-MM-DD')) INTO owners, days FROM removed AS o;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id), array_agg(to_char(n.day, 'YYYY-MM-DD')) INTO owners, days FROM added AS n;
    ELSE -- the fold never changes a row's key, and nobody else writes here
        SELECT array_agg(n.user_id), array_agg(to_char(n.day, 'YYYY-MM-DD')) INTO owners, days
        FROM added AS n LEFT JOIN removed AS o ON o.user_id = n.user_id AND o.day = n.day
        WHERE ROW(n.facts, n.sessions, n.minutes, n.questions, n.correct, n.words, n.points)
              IS DISTINCT FROM ROW(o.facts, o.sessions, o.minutes, o.questions, o.correct, o.words, o.points);
    END IF;
    IF owners IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
        VALUES ('daily_activity', TG_OP = 'DELETE', owners, days);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.track_daily_activity() IS 'Trigger: notes the days whose content changed.';

CREATE OR REPLACE FUNCTION marea.assign_server_hlc(relation TEXT, owners UUID[], keys TEXT[], changed JSONB[]) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT marea.settle_clocks();
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, hlc)
    SELECT line.owner, relation, line.key, (
        SELECT jsonb_object_agg(name.value, jsonb_build_array(marea.server_hlc(stored.hlc -> name.value ->> 0), 'server'))
        FROM jsonb_array_elements_text(line.names) AS name
    )
    FROM unnest(owners, keys, changed) AS line (owner, key, names)
    LEFT JOIN marea.rows AS stored
        ON stored.user_id = line.owner AND stored.table_name = relation AND stored.row_key = line.key
    WHERE line.names <> '[]' AND EXISTS (SELECT FROM public.users WHERE users.id = line.owner)
    ORDER BY line.owner, line.key
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET hlc = r.hlc || EXCLUDED.hlc;
END;

COMMENT ON FUNCTION marea.assign_server_hlc(TEXT, UUID[], TEXT[], JSONB[]) IS
    'Register columns that plain SQL has changed get the server''s clock.';

CREATE OR REPLACE FUNCTION marea.track_export_history() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    owners UUID[];
    keys   TEXT[];
    names  JSONB[];
BEGIN
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        -- An update that moves a row to another owner or key takes it away from the first.
        IF TG_OP = 'DELETE' THEN
            SELECT array_agg(o.user_id), array_agg(o.id::text) INTO owners, keys FROM removed AS o;
        ELSE
            SELECT array_agg(moved.user_id), array_agg(moved.id::text) INTO owners, keys
            FROM (SELECT id, user_id FROM removed EXCEPT SELECT id, user_id FROM added) AS moved;
        END IF;
        IF owners IS NOT NULL THEN
            INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
            VALUES ('export_history', true, owners, keys);
        END IF;
    END IF;

    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id), array_agg(n.id::text) INTO owners, keys FROM added AS n;
        PERFORM marea.bound_lines('export_history', cardinality(owners));
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(change.user_id), array_agg(change.key), array_agg(change.names) INTO owners, keys, names
        FROM (
            SELECT n.user_id, n.id::text AS key, to_jsonb(array_remove(ARRAY[
                       CASE WHEN n.status IS DISTINCT FROM o.status THEN 'status' END,
                       CASE WHEN n.records_count IS DISTINCT FROM o.records_count THEN 'records_count' END,
                       CASE WHEN n.file_size_bytes IS DISTINCT FROM o.file_size_bytes THEN 'file_size_bytes' END,
                       CASE WHEN n.file_url IS DISTINCT FROM o.file_url THEN 'file_url' END,
                       CASE WHEN n.data IS DISTINCT FROM o.data THEN 'data' END,
                       CASE WHEN n.error_message IS DISTINCT FROM o.error_message THEN 'error_message' END,
                       CASE WHEN n.retry_count IS DISTINCT FROM o.retry_count THEN 'retry_count' END,
                       CASE WHEN n.started_at IS DISTINCT FROM o.started_at THEN 'started_at' END,
                       CASE WHEN n.completed_at IS DISTINCT FROM o.completed_at THEN 'completed_at' END,
                       CASE WHEN n.processing_time_seconds IS DISTINCT FROM o.processing_time_seconds
                           THEN 'processing_time_seconds' END,
                       CASE WHEN n.expires_at IS DISTINCT FROM o.expires_at THEN 'expires_at' END
                   ], NULL)) AS names
            FROM added AS n LEFT JOIN removed AS o ON o.id = n.id AND o.user_id = n.user_id
            WHERE ROW(n.export_type, n.export_format, n.status, n.records_count, n.file_size_bytes, n.file_url, n.filters,
                      n.data, n.error_message, n.retry_count, n.started_at, n.completed_at, n.processing_time_seconds,
                      n.expires_at, n.created_at)
                  IS DISTINCT FROM
                  ROW(o.export_type, o.export_format, o.status, o.records_count, o.file_size_bytes, o.file_url, o.filters,
                      o.data, o.error_message, o.retry_count, o.started_at, o.completed_at, o.processing_time_seconds,
                      o.expires_at, o.created_at)
        ) AS change;
        IF owners IS NOT NULL THEN
            PERFORM marea.assign_server_hlc('export_history', owners, keys, names);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' AND owners IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES ('export_history', false, owners, keys);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.track_export_history() IS 'Trigger: notes the rows that changed, and gives their registers the server''s clock.';

CREATE OR REPLACE FUNCTION marea.track_user_api_keys() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    every  CONSTANT JSONB := '["openai_api_key", "unsplash_api_key", "anthropic_api_key", "last_validated_at"]';
    owners UUID[];
    names  JSONB[];
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT array_agg(o.user_id) INTO owners FROM removed AS o;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(moved.user_id) INTO owners
        FROM (SELECT user_id FROM removed EXCEPT SELECT user_id FROM added) AS moved;
    END IF;
    IF owners IS NOT NULL THEN
        -- A device that wrote a key before it heard of the deletion must not bring the key back.
        PERFORM marea.assign_server_hlc('user_api_keys', owners, owners::text[], array_fill(every, ARRAY[cardinality(owners)]));
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_api_keys', true, owners);
    END IF;

    owners := NULL;
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(n.user_id) INTO owners FROM added AS n;
    ELSIF TG_OP = 'UPDATE' THEN
        SELECT array_agg(change.user_id), array_agg(change.names) INTO owners, names
        FROM (
            SELECT n.user_id, to_jsonb(array_remove(ARRAY[
                       CASE WHEN n.openai_api_key IS DISTINCT FROM o.openai_api_key THEN 'openai_api_key' END,
                       CASE WHEN n.unsplash_api_key IS DISTINCT FROM o.unsplash_api_key THEN 'unsplash_api_key' END,
                       CASE WHEN n.anthropic_api_key IS DISTINCT FROM o.anthropic_api_key THEN 'anthropic_api_key' END,
                       CASE WHEN n.last_validated_at IS DISTINCT FROM o.last_validated_at THEN 'last_validated_at' END
                   ], NULL)) AS names
            FROM added AS n LEFT JOIN removed AS o ON o.id = n.id AND o.user_id = n.user_id
            WHERE ROW(n.id, n.openai_api_key, n.unsplash_api_key, n.anthropic_api_key, n.last_validated_at, n.created_at)
                  IS DISTINCT FROM
                  ROW(o.id, o.openai_api_key, o.unsplash_api_key, o.anthropic_api_key, o.last_validated_at, o.created_at)
        ) AS change;
        IF owners IS NOT NULL THEN
            PERFORM marea.assign_server_hlc('user_api_keys', owners, owners::text[], names);
        END IF;
    END IF;
    IF owners IS NOT NULL THEN
        INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_api_keys', false, owners);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.track_user_api_keys() IS 'Trigger: notes the rows that changed, and gives their registers the server''s clock.';

DO $$
DECLARE
    wanted RECORD;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('public.user_progress', 'user_progress'), ('marea.daily_activity', 'daily_activity'),
            ('public.export_history', 'export_history'), ('public.user_api_keys', 'user_api_keys')
        ) AS tracked (relation, name)
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_%2$s_inserted AFTER INSERT ON %1$s REFERENCING NEW TABLE AS added'
            ' FOR EACH STATEMENT EXECUTE FUNCTION marea.track_%2$s()', wanted.relation, wanted.name);
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_%2$s_updated AFTER UPDATE ON %1$s REFERENCING OLD TABLE AS removed'
            ' NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.track_%2$s()', wanted.relation, wanted.name);
        EXECUTE format('CREATE OR REPLACE TRIGGER marea_%2$s_deleted AFTER DELETE ON %1$s REFERENCING OLD TABLE AS removed'
            ' FOR EACH STATEMENT EXECUTE FUNCTION marea.track_%2$s()', wanted.relation, wanted.name);
    END LOOP;
END
$$;
