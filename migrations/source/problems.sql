-- Mutations: what is wrong with one (NULL: nothing). Such a mutation is rejected alone.

CREATE OR REPLACE FUNCTION marea.mutation_problem(op TEXT, id TEXT, key TEXT, hlc TEXT, given JSONB) RETURNS TEXT
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN coalesce(hlc, '') !~ '^[0-9]{13}-[0-9a-f]{4}$' THEN 'hlc: must be 13 digits, "-" and 4 hexadecimal digits'
    WHEN key IS NULL THEN 'key: missing'
    WHEN op = 'insert' AND key <> id THEN 'key: must be the id of the mutation'
    WHEN op IN ('insert', 'merge') AND jsonb_typeof(given) IS DISTINCT FROM 'object' THEN 'values: must be an object'
    WHEN op = 'insert' AND given ? 'id' AND given ->> 'id' IS DISTINCT FROM id THEN 'values.id: must be the id of the mutation'
END;

COMMENT ON FUNCTION marea.mutation_problem(TEXT, TEXT, TEXT, TEXT, JSONB) IS
    'What is wrong with a mutation, whatever its table; NULL: nothing.';

-- STABLE: times are compared as times.
CREATE OR REPLACE FUNCTION marea.session_problem(given JSONB) RETURNS TEXT LANGUAGE sql STABLE
RETURN coalesce(marea.values_problem('sessions', given), CASE
    WHEN coalesce((given ->> 'qa_correct')::int, 0) > coalesce((given ->> 'qa_attempts')::int, 0)
        THEN 'values.qa_correct: is greater than qa_attempts'
    WHEN (given ->> 'started_at')::timestamptz > (given ->> 'ended_at')::timestamptz
        THEN 'values.started_at: is after ended_at'
    WHEN given ->> 'duration_minutes' IS NULL
        AND (given ->> 'ended_at')::timestamptz - (given ->> 'started_at')::timestamptz >= interval '1441 minutes'
        THEN 'values.started_at: is too long before ended_at for one session'
END);

COMMENT ON FUNCTION marea.session_problem(JSONB) IS 'What is wrong with the values of a session; NULL: nothing.';

CREATE OR REPLACE FUNCTION marea.event_problem(given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN coalesce(marea.values_problem('progress_events', given), CASE
    WHEN given ->> 'occurred_at' IS NULL THEN 'values.occurred_at: must be a time'
    WHEN given ->> 'local_date' IS NULL THEN 'values.local_date: must be a day (YYYY-MM-DD)'
    WHEN coalesce((given ->> 'questions_correct')::int, 0) > coalesce((given ->> 'questions_answered')::int, 0)
        THEN 'values.questions_correct: is greater than questions_answered'
    WHEN (coalesce(nullif(given -> 'achievements', 'null'), '{}') = '{}'
        AND NOT jsonb_path_exists(given - '{id,occurred_at,local_date,achievements}'::text[], '$.* ? (@ < 0 || @ > 0)'))
        <> coalesce(given -> 'freezes_day' = 'true', false)
        THEN CASE WHEN given -> 'freezes_day' = 'true' THEN 'values.freezes_day: awards nothing beside' ELSE 'values: award nothing' END
END);

COMMENT ON FUNCTION marea.event_problem(JSONB) IS 'What is wrong with the values of an event; NULL: nothing.';

CREATE OR REPLACE FUNCTION marea.register_problem(relation TEXT, given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN coalesce((
    SELECT min(format('values.%s: is set once and never changes', name)) FROM jsonb_object_keys(given) AS name
    WHERE name IN ('id', 'export_type', 'export_format', 'filters', 'created_at', 'user_id')
), marea.values_problem(relation, given));

COMMENT ON FUNCTION marea.register_problem(TEXT, JSONB) IS 'What is wrong with the values of a merge; NULL: nothing.';

-- The quick looks, whose false means "look closely": so they may only be more careful than the functions above, never less.
CREATE OR REPLACE FUNCTION marea.session_is_sound(given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN given - '{id,session_type,started_at,ended_at,duration_minutes,images_processed,descriptions_generated,qa_attempts,qa_correct,vocabulary_learned,phrases_saved,session_data}'::text[]
    = '{}'
    AND coalesce(jsonb_typeof(given -> 'session_type') = 'string' AND length(given ->> 'session_type') BETWEEN 1 AND 50, true)
    AND coalesce(given ->> 'started_at' LIKE '____-__-__T__:__:__%Z' AND given ->> 'started_at' >= '1970' COLLATE "C", true)
    AND coalesce(given ->> 'ended_at' LIKE '____-__-__T__:__:__%Z' AND given ->> 'ended_at' >= '1970' COLLATE "C", true)
    AND coalesce(given ->> 'started_at' = given ->> 'ended_at'
        OR left(given ->> 'started_at', 19) < left(given ->> 'ended_at', 19) COLLATE "C", true)
    AND (given ->> 'duration_minutes' IS NOT NULL
        OR coalesce(left(given ->> 'started_at', 10) = left(given ->> 'ended_at', 10), true))
    AND coalesce(jsonb_typeof(given -> 'session_data') IN ('object', 'null'), true)
    AND (coalesce(octet_length((given -> 'session_data')::text) < 128, true)
        OR marea.json_problem(given -> 'session_data', 65536) IS NULL)
    AND NOT jsonb_path_exists(jsonb_strip_nulls(given - '{id,session_type,started_at,ended_at,session_data}'::text[]),
        'strict $.* ? (@.type() != "number" || @ < 0 || @ > 1000000)')
    AND NOT jsonb_path_exists(jsonb_strip_nulls(given - 'session_data'), '$ ? (@.duration_minutes > 1440 ||
        @.qa_correct > @.qa_attempts || !exists(@.qa_attempts) && @.qa_correct > 0)');

COMMENT ON FUNCTION marea.session_is_sound(JSONB) IS 'Quick look at the values of a session; false: look closely.';

CREATE OR REPLACE FUNCTION marea.event_is_sound(given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN given - '{id,occurred_at,local_date,descriptions,images,questions_answered,questions_correct,vocabulary_learned,minutes,points,mastered_words,learning_words,new_words,achievements}'::text[]
    = '{}'
    AND coalesce(given ->> 'occurred_at' LIKE '____-__-__T__:__:__%Z' AND given ->> 'occurred_at' >= '1970' COLLATE "C", false)
    AND coalesce(given ->> 'local_date' LIKE '____-__-__' AND given ->> 'local_date' >= '1970' COLLATE "C", false)
    AND coalesce(given -> 'achievements' IN ('{}', 'null'), true)
    AND NOT jsonb_path_exists(jsonb_strip_nulls(given - '{id,occurred_at,local_date,achievements}'::text[]),
        'strict $.* ? (@.type() != "number" || @ < -1000000 || @ > 1000000)')
    AND NOT jsonb_path_exists(jsonb_strip_nulls(given), '$ ? (@.descriptions < 0 || @.images < 0 || @.questions_answered < 0 ||
        @.questions_correct < 0 || @.vocabulary_learned < 0 || @.minutes < 0 || @.points < 0 ||
        @.questions_correct > @.questions_answered || !exists(@.questions_answered) && @.questions_correct > 0)')
    AND jsonb_path_exists(given - '{id,occurred_at,local_date,achievements}'::text[], '$.* ? (@ < 0 || @ > 0)');

COMMENT ON FUNCTION marea.event_is_sound(JSONB) IS 'Quick look at the values of an event; false: look closely.';
