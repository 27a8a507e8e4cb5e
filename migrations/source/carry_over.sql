-- What adopt.sql has set aside comes over, learner by learner: what the app's totals held beyond the sessions, streaks, achievements,
-- exports, and their times. The old tables are read by column names that apps use; a value that is none is left where it is.

CREATE OR REPLACE FUNCTION marea.old_text(old JSONB, VARIADIC names TEXT[]) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN (
    SELECT btrim(old ->> named.name) FROM unnest(names) WITH ORDINALITY AS named (name, place)
    WHERE jsonb_typeof(old -> named.name) IN ('string', 'number', 'boolean') AND btrim(old ->> named.name) <> ''
    ORDER BY named.place LIMIT 1
);

COMMENT ON FUNCTION marea.old_text(JSONB, TEXT[]) IS 'The first of these columns of an old row that holds something, as text.';

CREATE OR REPLACE FUNCTION marea.old_number(old JSONB, VARIADIC names TEXT[]) RETURNS NUMERIC LANGUAGE sql IMMUTABLE
RETURN (
    SELECT greatest((old ->> named.name)::numeric, 0) FROM unnest(names) WITH ORDINALITY AS named (name, place)
    WHERE old ->> named.name ~ '^-?[0-9]{1,18}([.][0-9]{1,18})?$'
    ORDER BY named.place LIMIT 1
);

COMMENT ON FUNCTION marea.old_number(JSONB, TEXT[]) IS 'The first of these columns of an old row that holds a number, 0 at least.';

CREATE OR REPLACE FUNCTION marea.old_time(old JSONB, VARIADIC names TEXT[]) RETURNS TIMESTAMPTZ
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given TEXT;
    found TIMESTAMPTZ;
BEGIN
    FOR given IN
        SELECT old ->> named.name FROM unnest(names) WITH ORDINALITY AS named (name, place)
        WHERE old ->> named.name ~ '^(19[7-9][0-9]|[2-9][0-9]{3})-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9].*)?$' ORDER BY named.place
    LOOP
        BEGIN
            found := given::timestamptz;
            RETURN found;
        EXCEPTION WHEN data_exception THEN
            CONTINUE; -- looks like a time, and is none
        END;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.old_time(JSONB, TEXT[]) IS 'The first of these columns of an old row that holds a time.';

CREATE OR REPLACE FUNCTION marea.old_achievements(old JSONB) RETURNS JSONB
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT coalesce(jsonb_object_agg(named.name, marea.wire_time(named.at)), '{}')
    FROM (
        SELECT earned.name, min(coalesce(earned.at, marea.old_time(old, 'updated_at', 'last_activity_at', 'created_at'), now())) AS at
        FROM (
            -- {"name": a time, or anything}
            SELECT one.key AS name, marea.old_time(jsonb_build_object('at', one.value), 'at') AS at
            FROM jsonb_each(CASE jsonb_typeof(old -> 'achievements') WHEN 'object' THEN old -> 'achievements' ELSE '{}' END) AS one
            WHERE one.value NOT IN ('false', 'null')
            UNION ALL
            -- ["name", {"id": "name", "unlocked_at": a time}]
            SELECT CASE jsonb_typeof(one.value) WHEN 'string' THEN one.value #>> '{}'
                       ELSE marea.old_text(one.value, 'id', 'name', 'key', 'type') END,
                   marea.old_time(one.value, 'unlocked_at', 'earned_at', 'achieved_at', 'at', 'date', 'created_at')
            FROM jsonb_array_elements(CASE jsonb_typeof(old -> 'achievements') WHEN 'array' THEN old -> 'achievements' ELSE '[]' END) AS one
        ) AS earned
        WHERE length(earned.name) BETWEEN 1 AND 100
        GROUP BY earned.name
    ) AS named
);

COMMENT ON FUNCTION marea.old_achievements(JSONB) IS 'The achievements of an old row, as Marea keeps them: name -> when it was unlocked.';

CREATE OR REPLACE FUNCTION marea.old_rows(relation TEXT, people UUID[]) RETURNS TABLE (learner UUID, old JSONB)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
-- By the column user_id, whatever its type; a table without one has nothing that could be given to anybody.
DECLARE
    place CONSTANT REGCLASS := to_regclass('marea_adopted.' || relation);
    kind  CONSTANT REGTYPE := (
        SELECT atttypid FROM pg_attribute WHERE attrelid = place AND attname = 'user_id' AND NOT attisdropped);
BEGIN
    IF kind IS NOT NULL THEN
        RETURN QUERY EXECUTE format('SELECT o.user_id::text::uuid, to_jsonb(o) FROM %s AS o WHERE o.user_id%s = ANY ($1%s)',
            place, CASE kind WHEN 'uuid'::regtype THEN '' ELSE '::text' END, CASE kind WHEN 'uuid'::regtype THEN '' ELSE '::text[]' END)
        USING people;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.old_rows(TEXT, UUID[]) IS 'The rows of a table that was set aside which belong to these learners.';

CREATE OR REPLACE FUNCTION marea.carry_over(people UUID[]) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Once for each learner: the row at -infinity says that it has been done. Totals: what the app had counted, less what the
-- sessions that were here when its counting ended say, is on no day; so totals afterwards are never less than they were, and
-- no session counts twice. The run of days that was going on is laid out, for days are what streaks are made of.
DECLARE
    most CONSTANT NUMERIC := 1000000000;
    one  RECORD;
    seen JSONB;
    last DATE;
BEGIN
    IF to_regclass('marea_adopted.taken') IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO public.user_progress (user_id) SELECT p.id FROM unnest(people) AS p (id) ORDER BY p.id ON CONFLICT (user_id) DO NOTHING;

    FOR one IN
        SELECT o.learner, max(marea.old_time(o.old, 'created_at')) AS created_at,
               sum(marea.old_number(o.old, 'total_sessions', 'sessions_count', 'sessions_completed')) AS sessions,
               sum(marea.old_number(o.old, 'total_time_spent_minutes', 'total_minutes', 'minutes')) AS minutes,
               sum(marea.old_number(o.old, 'total_questions_answered', 'questions_answered')) AS questions,
               sum(coalesce(marea.old_number(o.old, 'total_questions_correct', 'questions_correct'), round(
                   marea.old_number(o.old, 'total_questions_answered', 'questions_answered')
                   * least(marea.old_number(o.old, 'average_accuracy', 'accuracy'), 100) / 100))) AS correct,
               sum(marea.old_number(o.old, 'total_vocabulary_learned', 'vocabulary_learned', 'words_learned')) AS words,
               sum(marea.old_number(o.old, 'total_points', 'points', 'total_xp', 'xp')) AS points,
               sum(marea.old_number(o.old, 'total_descriptions', 'descriptions_generated')) AS descriptions,
               sum(marea.old_number(o.old, 'total_images', 'images_processed')) AS images,
               sum(marea.old_number(o.old, 'mastered_words_count', 'mastered_words')) AS mastered,
               sum(marea.old_number(o.old, 'learning_words_count', 'learning_words')) AS learning,
               sum(marea.old_number(o.old, 'new_words_count', 'new_words')) AS fresh,
               max(marea.old_number(o.old, 'longest_streak_days', 'longest_streak', 'best_streak')) AS longest,
               max(marea.old_number(o.old, 'current_streak_days', 'current_streak', 'streak_days', 'streak')) AS streak,
               max(marea.old_time(o.old, 'last_active_on', 'last_active_date', 'last_activity_date', 'last_activity_at', 'last_active_at')) AS day,
               max(marea.old_time(o.old, 'last_activity_at', 'last_active_at')) AS activity_at,
               max(marea.old_time(o.old, 'last_description_at')) AS description_at,
               max(marea.old_time(o.old, 'last_qa_session_at')) AS qa_at,
               max(marea.old_time(o.old, 'last_vocabulary_practice_at')) AS words_at,
               jsonb_agg(marea.old_achievements(o.old)) AS achievements
        FROM marea.old_rows('user_progress', people) AS o
        WHERE NOT EXISTS (SELECT FROM marea.kept_facts AS k WHERE k.user_id = o.learner AND k.day = '-infinity')
        GROUP BY o.learner ORDER BY o.learner
    LOOP
        SELECT coalesce((SELECT o.old FROM marea.old_rows('counted', ARRAY[one.learner]) AS o), '{}') INTO seen;
        last := least((one.day AT TIME ZONE 'UTC')::date, marea.tomorrow());
        INSERT INTO marea.kept_facts (user_id, day, sessions, minutes, questions, correct, words, points, descriptions, images,
            mastered, learning, fresh, activity_at, description_at, qa_at, words_at, longest_streak_days)
        SELECT one.learner, '-infinity', f.sessions, f.minutes, f.questions, f.correct, f.words, f.points, f.descriptions, f.images,
               f.mastered, f.learning, f.fresh, one.activity_at, one.description_at, one.qa_at, one.words_at,
               least(coalesce(greatest(one.longest, one.streak), 0), 100000)
        FROM (
            SELECT beyond.* FROM (VALUES (
                one.sessions - coalesce(marea.old_number(seen, 'total_sessions'), 0),
                one.minutes - coalesce(marea.old_number(seen, 'total_time_spent_minutes'), 0),
                one.questions - coalesce(marea.old_number(seen, 'total_questions_answered'), 0),
                one.correct - coalesce(marea.old_number(seen, 'total_questions_correct'), 0),
                one.words - coalesce(marea.old_number(seen, 'total_vocabulary_learned'), 0), one.points,
                one.descriptions - coalesce(marea.old_number(seen, 'total_descriptions'), 0),
                one.images - coalesce(marea.old_number(seen, 'total_images'), 0), one.mastered, one.learning, one.fresh
            )) AS beyond (sessions, minutes, questions, correct, words, points, descriptions, images, mastered, learning, fresh)
        ) AS b
        CROSS JOIN LATERAL (
            SELECT least(greatest(coalesce(b.sessions, 0), 0), most) AS sessions, least(greatest(coalesce(b.minutes, 0), 0), most) AS minutes,
                   least(greatest(coalesce(b.questions, 0), 0), most) AS questions, least(greatest(coalesce(b.correct, 0), 0), most) AS correct,
                   least(greatest(coalesce(b.words, 0), 0), most) AS words, least(greatest(coalesce(b.points, 0), 0), most) AS points,
                   least(greatest(coalesce(b.descriptions, 0), 0), most) AS descriptions, least(greatest(coalesce(b.images, 0), 0), most) AS images,
                   least(greatest(coalesce(b.mastered, 0), 0), most) AS mastered, least(greatest(coalesce(b.learning, 0), 0), most) AS learning,
                   least(greatest(coalesce(b.fresh, 0), 0), most) AS fresh
        ) AS f;
        INSERT INTO marea.kept_facts AS k (user_id, day, facts)
        SELECT one.learner, last - ago, 1 FROM generate_series(0, least(coalesce(one.streak, 0), 3650)::int - 1) AS ago
        WHERE last IS NOT NULL
        ON CONFLICT (user_id, day) DO UPDATE SET facts = k.facts + 1;
        UPDATE public.user_progress AS p SET
            created_at = coalesce(one.created_at, p.created_at),
            achievements = (
                SELECT marea.union_achievements(p.achievements, coalesce(jsonb_object_agg(a.name, a.at), '{}'))
                FROM (
                    SELECT each.key AS name, min(each.value #>> '{}' COLLATE "C") AS at
                    FROM jsonb_array_elements(one.achievements) AS row (found), jsonb_each(row.found) AS each GROUP BY each.key
                ) AS a)
        WHERE p.user_id = one.learner;
    END LOOP;

    INSERT INTO public.export_history (id, user_id, export_type, export_format, status, records_count, file_size_bytes, file_url,
        filters, data, error_message, retry_count, started_at, completed_at, processing_time_seconds, expires_at, created_at, updated_at)
    SELECT CASE WHEN o.old ->> 'id' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN (o.old ->> 'id')::uuid
               ELSE md5('marea_adopted.export_history ' || o.old::text)::uuid END,
           o.learner, left(coalesce(marea.old_text(o.old, 'export_type', 'type', 'kind'), 'export'), 50),
           left(coalesce(marea.old_text(o.old, 'export_format', 'format', 'file_format'), 'unknown'), 20),
           CASE lower(marea.old_text(o.old, 'status', 'state'))
               WHEN 'pending' THEN 'pending' WHEN 'queued' THEN 'pending' WHEN 'requested' THEN 'pending' WHEN 'waiting' THEN 'pending'
               WHEN 'processing' THEN 'processing' WHEN 'running' THEN 'processing' WHEN 'in_progress' THEN 'processing'
               WHEN 'completed' THEN 'completed' WHEN 'complete' THEN 'completed' WHEN 'done' THEN 'completed'
               WHEN 'success' THEN 'completed' WHEN 'ready' THEN 'completed' WHEN 'finished' THEN 'completed'
               WHEN 'failed' THEN 'failed' WHEN 'error' THEN 'failed' WHEN 'cancelled' THEN 'failed' WHEN 'canceled' THEN 'failed'
               WHEN 'expired' THEN 'expired'
               ELSE CASE WHEN marea.old_time(o.old, 'completed_at', 'finished_at') IS NULL THEN 'failed' ELSE 'completed' END END,
           least(marea.old_number(o.old, 'records_count', 'record_count', 'row_count', 'rows'), 2147483647)::int,
           least(marea.old_number(o.old, 'file_size_bytes', 'file_size', 'size_bytes'), 9223372036854775807)::bigint,
           marea.old_text(o.old, 'file_url', 'url', 'download_url'),
           CASE jsonb_typeof(o.old -> 'filters') WHEN 'object' THEN o.old -> 'filters' ELSE '{}' END,
           nullif(o.old -> 'data', 'null'), marea.old_text(o.old, 'error_message', 'error'),
           least(coalesce(marea.old_number(o.old, 'retry_count', 'retries'), 0), 2147483647)::int,
           marea.old_time(o.old, 'started_at'), marea.old_time(o.old, 'completed_at', 'finished_at'),
           least(marea.old_number(o.old, 'processing_time_seconds'), 2147483647)::int, marea.old_time(o.old, 'expires_at'),
           coalesce(marea.old_time(o.old, 'created_at', 'requested_at', 'started_at'), now()),
           coalesce(marea.old_time(o.old, 'updated_at', 'completed_at', 'finished_at', 'created_at', 'requested_at'), now())
    FROM marea.old_rows('export_history', people) AS o
    ON CONFLICT (id) DO NOTHING;
END
$$;

COMMENT ON FUNCTION marea.carry_over(UUID[]) IS
    'Takes what adopt.sql has set aside over into these learners'' progress and exports, once. Called by the backfill, before it folds.';

REVOKE ALL ON FUNCTION marea.old_text, marea.old_number, marea.old_time, marea.old_achievements, marea.old_rows, marea.carry_over
FROM PUBLIC, anon, authenticated, service_role;
