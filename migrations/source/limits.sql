-- Bounds of values: the server refuses what the devices refuse, and of one mutation alone (docs/adr/0075).

CREATE OR REPLACE FUNCTION marea.column_limits()
RETURNS TABLE (relation TEXT, name TEXT, kind TEXT, lowest BIGINT, highest BIGINT) LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT limits.relation, limits.name, limits.kind, limits.lowest, limits.highest
    FROM (VALUES
        ('sessions'::text, 'session_type'::text, 'text'::text, 1::bigint, 50::bigint),
        ('sessions', 'started_at', 'instant', 1970, 9999),
        ('sessions', 'ended_at', 'instant', 1970, 9999),
        ('sessions', 'duration_minutes', 'integer', 0, 1440),
        ('sessions', 'images_processed', 'integer', 0, 1000000),
        ('sessions', 'descriptions_generated', 'integer', 0, 1000000),
        ('sessions', 'qa_attempts', 'integer', 0, 1000000),
        ('sessions', 'qa_correct', 'integer', 0, 1000000),
        ('sessions', 'vocabulary_learned', 'integer', 0, 1000000),
        ('sessions', 'phrases_saved', 'integer', 0, 1000000),
        ('sessions', 'session_data', 'object', 0, 65536),
        ('progress_events', 'occurred_at', 'instant', 1970, 9999),
        ('progress_events', 'local_date', 'day', 1970, 9999),
        ('progress_events', 'descriptions', 'integer', 0, 1000000),
        ('progress_events', 'images', 'integer', 0, 1000000),
        ('progress_events', 'questions_answered', 'integer', 0, 1000000),
        ('progress_events', 'questions_correct', 'integer', 0, 1000000),
        ('progress_events', 'vocabulary_learned', 'integer', 0, 1000000),
        ('progress_events', 'minutes', 'integer', 0, 1000000),
        ('progress_events', 'points', 'integer', 0, 1000000),
        ('progress_events', 'mastered_words', 'integer', -1000000, 1000000),
        ('progress_events', 'learning_words', 'integer', -1000000, 1000000),
        ('progress_events', 'new_words', 'integer', -1000000, 1000000),
        ('progress_events', 'achievements', 'names', 0, 100),
        ('progress_events', 'freezes_day', 'boolean', 0, 1),
        ('export_history', 'export_type', 'text', 1, 50),
        ('export_history', 'export_format', 'text', 1, 20),
        ('export_history', 'filters', 'object', 0, 65536),
        ('export_history', 'created_at', 'instant', 1970, 9999),
        ('export_history', 'status', 'text', 1, 20),
        ('export_history', 'records_count', 'integer', 0, 2147483647),
        ('export_history', 'file_size_bytes', 'bigint', 0, 9223372036854775807),
        ('export_history', 'file_url', 'long_text', 0, 65536),
        ('export_history', 'data', 'json', 0, 65536),
        ('export_history', 'error_message', 'long_text', 0, 65536),
        ('export_history', 'retry_count', 'integer', 0, 2147483647),
        ('export_history', 'started_at', 'instant', 1970, 9999),
        ('export_history', 'completed_at', 'instant', 1970, 9999),
        ('export_history', 'processing_time_seconds', 'integer', 0, 2147483647),
        ('export_history', 'expires_at', 'instant', 1970, 9999),
        ('user_api_keys', 'openai_api_key', 'text', 1, 4096),
        ('user_api_keys', 'unsplash_api_key', 'text', 1, 4096),
        ('user_api_keys', 'anthropic_api_key', 'text', 1, 4096),
        ('user_api_keys', 'last_validated_at', 'instant', 1970, 9999)
    ) AS limits (relation, name, kind, lowest, highest);
END;

COMMENT ON FUNCTION marea.column_limits() IS
    'What every column that a device writes may hold: characters of a text, bytes of JSON, years of instants and days, numbers. The '
    'copy of core/src/model/limits.rs: a test compares them.';

CREATE OR REPLACE FUNCTION marea.has_wrong_type(kind TEXT, given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN given IS NOT NULL AND jsonb_typeof(given) <> 'null' AND CASE kind
    WHEN 'time' THEN jsonb_typeof(given) <> 'string'
        OR (given #>> '{}') !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z$'
    WHEN 'integer' THEN jsonb_typeof(given) <> 'number' OR given::text !~ '^-?[0-9]+$'
    WHEN 'bigint' THEN (given #>> '{}') !~ '^-?[0-9]{1,19}$' -- as text, because JavaScript's numbers end at 2^53
    WHEN 'day' THEN NOT coalesce(jsonb_typeof(given) = 'string' AND marea.is_day(given #>> '{}'), false)
    WHEN 'json' THEN false -- whatever the app keeps there
    ELSE jsonb_typeof(given) <> kind
END;

COMMENT ON FUNCTION marea.has_wrong_type(TEXT, JSONB) IS 'Whether a value is there and of the wrong kind.';

CREATE OR REPLACE FUNCTION marea.has_long_number(given JSONB) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
-- Of numbers that are stored in 8 bytes and printed in 131,072 (1e131071), or in 16,385 (0e-16383). Looks at the number, never at
-- its text. No number that a device can hold is longer: the greatest double has 309 digits, 5e-324 has 324 places. Places that are not
-- sent digit by digit are those of a number near zero, or of zero itself, which no path can tell from a plain one.
RETURN EXISTS (
    SELECT FROM jsonb_path_query(given, 'strict $.** ? (@.type() == "number"
        && ((@ < 1e-400 && @ > -1e-400) || @ > 1.8e308 || @ < -1.8e308))') AS number
    WHERE number <> '0' OR scale(number::numeric) > 400
);

COMMENT ON FUNCTION marea.has_long_number(JSONB) IS
    'Whether there is a number in it beyond 1.8e308 or of more than 400 decimal places, which costs far more to print than to send.';

CREATE OR REPLACE FUNCTION marea.json_problem(given JSONB, highest BIGINT) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN CASE
    -- Shorter than the shortest that could be wrong: nearly always.
    WHEN octet_length(given::text) < 128 THEN NULL
    WHEN octet_length(given::text) > highest THEN 'has more than ' || highest::text || ' bytes as JSON'
    WHEN jsonb_path_exists(given, 'strict $.**{65}') THEN 'is nested more than 64 levels deep'
    WHEN jsonb_path_exists(given, 'strict $.** ? (@.type() == "number" &&
        (@ > 1e308 || @ < -1e308))') THEN 'has a number beyond 1e308, which not every device can hold'
END;

COMMENT ON FUNCTION marea.json_problem(JSONB, BIGINT) IS
    'What is wrong with free-form JSON: too large, too deep, or a number beyond 1e308; NULL: nothing.';

CREATE OR REPLACE FUNCTION marea.value_problem(kind TEXT, given JSONB, lowest BIGINT, highest BIGINT) RETURNS TEXT
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN given IS NULL OR jsonb_typeof(given) = 'null' THEN NULL
    WHEN kind IN ('text', 'long_text') AND jsonb_typeof(given) <> 'string' THEN 'must be a text'
    WHEN kind = 'text' THEN CASE WHEN length(given #>> '{}') NOT BETWEEN lowest AND highest
        THEN format('must have %s to %s characters', lowest, highest) END
    WHEN kind = 'long_text' THEN CASE WHEN octet_length(given::text) > highest
        THEN format('has more than %s bytes as JSON', highest) END
    WHEN kind IN ('integer', 'bigint') THEN CASE
        WHEN marea.has_wrong_type(kind, given) THEN 'must be an integer'
        WHEN (given #>> '{}')::numeric NOT BETWEEN lowest AND highest
            THEN format('must be a whole number from %s to %s', lowest, highest) END
    WHEN kind = 'instant' THEN CASE
        WHEN marea.has_wrong_type('time', given)
            OR substr(given #>> '{}', 12, 8) !~ '^([01][0-9]|2[0-3])(:[0-5][0-9]){2}$' THEN 'must be a time'
        WHEN substr(given #>> '{}', 1, 4)::int NOT BETWEEN lowest AND highest
            THEN format('must be in the years %s to %s', lowest, highest)
        WHEN NOT marea.is_day(left(given #>> '{}', 10)) THEN 'must be on a day that the calendar has' END
    WHEN kind = 'day' THEN CASE WHEN marea.has_wrong_type('day', given)
        THEN format('must be a day (YYYY-MM-DD) in the years %s to %s', lowest, highest) END
    WHEN kind = 'boolean' THEN CASE WHEN jsonb_typeof(given) <> 'boolean' THEN 'must be true or false' END
    WHEN kind IN ('object', 'names') AND jsonb_typeof(given) <> 'object' THEN 'must be an object'
    WHEN kind = 'names' THEN CASE WHEN (
            SELECT count(*) > highest OR NOT coalesce(bool_and(length(name) BETWEEN 1 AND 100), true)
            FROM jsonb_object_keys(given) AS name
        ) THEN format('at most %s, each a name of 1 to 100 characters', highest) END
    ELSE marea.json_problem(given, highest)
END;

COMMENT ON FUNCTION marea.value_problem(TEXT, JSONB, BIGINT, BIGINT) IS
    'What is wrong with a value for a column of that kind and these bounds; NULL: nothing. What is null or missing is right.';

CREATE OR REPLACE FUNCTION marea.values_problem(relation TEXT, given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN (
    SELECT min(CASE
        WHEN known.kind IS NULL THEN 'values: unknown column ' || field.key
        ELSE 'values.' || field.key || ': ' || marea.value_problem(known.kind, field.value, known.lowest, known.highest)
    END)
    FROM jsonb_each(given) AS field
    LEFT JOIN marea.column_limits() AS known ON known.relation = values_problem.relation AND known.name = field.key
    WHERE field.key <> 'id'
);

COMMENT ON FUNCTION marea.values_problem(TEXT, JSONB) IS
    'What is wrong with the values of a row, column by column; NULL: nothing.';
