-- 008: what real apps, clocks and clients do to the sync layer, one section for each kind. Functions are replaced whole; what they were
-- before is kept in marea.replaced, under names that begin with "008", so that the rollback puts back exactly that.
--
-- Needs 007. One transaction; run twice, the second run changes nothing. Taken back by 008_sturdy_rollback.sql, counted by
-- validate_008.sql. Run it again whenever 002, 005 or 007 was run again.

BEGIN;

DO $$
DECLARE
    -- Every function that this file replaces. A function that it makes new stands in the rollback.
    replaced CONSTANT TEXT[] := ARRAY[
        'marea.apply_register(jsonb,text)',
        'marea.event_is_sound(jsonb)',
        'marea.event_problem(jsonb)',
        'marea.local_day(text,timestamptz)',
        'marea.register_problem(text,jsonb)',
        'marea.session_is_sound(jsonb)',
        'marea.session_problem(jsonb)',
        'marea.wire_time(timestamptz)'
    ]::text[];
BEGIN
    IF to_regprocedure('marea.page(uuid, bigint, integer, boolean)') IS NULL
        OR position('(r.table_name || '''') IN (' IN pg_get_functiondef('marea.page(uuid, bigint, integer, boolean)'::regprocedure)) = 0 THEN
        RAISE EXCEPTION 'Marea 008 cannot be applied; nothing was changed. Missing: marea.page as migration 007 leaves it'
            USING HINT = 'Apply 007_steady_pages.sql first.';
    END IF;
    IF EXISTS (SELECT FROM marea.replaced WHERE name LIKE '008 %') THEN
        RAISE NOTICE 'Marea 008 stands already: this run changes nothing.';
    END IF;
    INSERT INTO marea.replaced (name, definition)
    SELECT '008 ' || old, pg_get_functiondef(old::regprocedure) FROM unnest(replaced) AS old
    ON CONFLICT DO NOTHING;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Sealed keys: envelopes of format 2 (docs/VAULT.md) come in, those of format 1 go on coming in
--
-- A client of before can neither read nor make format 2, so apply this before the clients are brought up to date. The constraints of 006
-- keep their names; the rollback puts back what they were, unless envelopes of format 2 stand already.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    provider TEXT;
    standing TEXT;
BEGIN
    FOREACH provider IN ARRAY ARRAY['openai', 'unsplash', 'anthropic'] LOOP
        SELECT pg_get_constraintdef(oid) INTO standing FROM pg_catalog.pg_constraint
        WHERE conrelid = to_regclass('public.user_api_keys') AND conname = format('user_api_keys_%s_envelope', provider);
        IF standing IS NULL THEN
            RAISE EXCEPTION 'Marea 008 cannot be applied; nothing was changed. Missing: constraint user_api_keys_%_envelope (migration 006)', provider
                USING HINT = 'Apply 006_sealed_keys.sql first.';
        END IF;
        CONTINUE WHEN position('^marea2' IN standing) > 0;
        EXECUTE format($replace$
            ALTER TABLE public.user_api_keys DROP CONSTRAINT user_api_keys_%1$s_envelope, ADD CONSTRAINT user_api_keys_%1$s_envelope CHECK (
                length(%1$s_api_key) <= 1715 AND %1$s_api_key ~
                '^marea1\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                OR length(%1$s_api_key) <= 2790 AND %1$s_api_key ~
                '^marea2\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{20,}\.[0-9]{13}-[0-9a-f]{4}\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                -- The list of superseded data keys: at most 8 entries of 129 characters, and a MAC. The key itself, padded.
                AND length(split_part(%1$s_api_key, '.', 9)) %% 129 = 20 AND length(split_part(%1$s_api_key, '.', 9)) <= 1052
                AND length(split_part(%1$s_api_key, '.', 11)) IN (382, 723, 1406))
        $replace$, provider);
        EXECUTE format(
            'COMMENT ON CONSTRAINT user_api_keys_%1$s_envelope ON public.user_api_keys IS %2$L',
            provider, 'An envelope of format 1 or 2 (docs/VAULT.md), part by part; NULL = none.');
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Bounds of values: the server refuses what the devices refuse, and of one mutation alone. docs/adr/0075 says why so.
-- ---------------------------------------------------------------------------------------------------------------------

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
        WHEN marea.not_a(kind, given) THEN 'must be an integer'
        WHEN (given #>> '{}')::numeric NOT BETWEEN lowest AND highest
            THEN format('must be a whole number from %s to %s', lowest, highest) END
    WHEN kind = 'instant' THEN CASE
        WHEN marea.not_a('time', given)
            OR substr(given #>> '{}', 12, 8) !~ '^([01][0-9]|2[0-3])(:[0-5][0-9]){2}$' THEN 'must be a time'
        WHEN substr(given #>> '{}', 1, 4)::int NOT BETWEEN lowest AND highest
            THEN format('must be in the years %s to %s', lowest, highest)
        WHEN NOT marea.is_day(left(given #>> '{}', 10)) THEN 'must be on a day that the calendar has' END
    WHEN kind = 'day' THEN CASE WHEN marea.not_a('day', given)
        THEN format('must be a day (YYYY-MM-DD) in the years %s to %s', lowest, highest) END
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

CREATE OR REPLACE FUNCTION marea.event_problem(given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN coalesce(marea.values_problem('progress_events', given), CASE
    WHEN given ->> 'occurred_at' IS NULL THEN 'values.occurred_at: must be a time'
    WHEN given ->> 'local_date' IS NULL THEN 'values.local_date: must be a day (YYYY-MM-DD)'
    WHEN coalesce((given ->> 'questions_correct')::int, 0) > coalesce((given ->> 'questions_answered')::int, 0)
        THEN 'values.questions_correct: is greater than questions_answered'
    WHEN coalesce(nullif(given -> 'achievements', 'null'), '{}') = '{}'
        AND NOT jsonb_path_exists(given - '{id,occurred_at,local_date,achievements}'::text[], '$.* ? (@ < 0 || @ > 0)')
        THEN 'values: award nothing'
END);

CREATE OR REPLACE FUNCTION marea.register_problem(relation TEXT, given JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE
RETURN coalesce((
    SELECT min(format('values.%s: is set once and never changes', name)) FROM jsonb_object_keys(given) AS name
    WHERE name IN ('id', 'export_type', 'export_format', 'filters', 'created_at', 'user_id')
), marea.values_problem(relation, given));

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

CREATE OR REPLACE FUNCTION marea.apply_register(mutation JSONB, client TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- As in 002, but the columns that an insert alone sets have their bounds too, and a change sets something.
DECLARE
    key     CONSTANT TEXT := mutation ->> 'key';
    hlc     CONSTANT TEXT := mutation ->> 'hlc';
    action  CONSTANT TEXT := concat_ws(' ', mutation ->> 'op', mutation ->> 'table');
    problem TEXT := marea.mutation_problem(mutation ->> 'op', mutation ->> 'id', key, hlc, mutation -> 'values');
BEGIN
    IF problem IS NULL THEN
        problem := CASE
            WHEN action = 'insert export_history' THEN marea.values_problem('export_history', mutation -> 'values')
            WHEN starts_with(action, 'merge ') AND mutation -> 'values' = '{}' THEN 'values: set nothing'
        END;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;
    CASE action
        WHEN 'insert export_history' THEN
            RETURN marea.insert_export(mutation, client);
        WHEN 'merge export_history' THEN
            RETURN marea.merge_registers('export_history', key, hlc, client, mutation -> 'values');
        WHEN 'delete export_history' THEN
            IF key !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
                RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: must be a lower-case uuid';
            END IF;
            PERFORM marea.delete_export(key::uuid);
            RETURN 'applied';
        WHEN 'merge user_api_keys' THEN
            RETURN marea.merge_registers('user_api_keys', key, hlc, client, mutation -> 'values');
        WHEN 'delete user_api_keys' THEN
            -- Deleting keys is writing "no key" into each: so it loses to a later write, and wins over an earlier one.
            RETURN marea.merge_registers('user_api_keys', key, hlc, client,
                '{"openai_api_key": null, "unsplash_api_key": null, "anthropic_api_key": null, "last_validated_at": null}');
        ELSE
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'table, op: no device may do this';
    END CASE;
END
$$;

CREATE OR REPLACE FUNCTION marea.wire_time(at TIMESTAMPTZ) RETURNS TEXT LANGUAGE sql STABLE
-- A year before 1 has no sign in to_char: it would be read as another year. A device that cannot read it says so.
RETURN CASE WHEN at >= '0001-01-01 00:00:00+00' AND at < '10000-01-01 00:00:00+00'
    THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    WHEN isfinite(at) THEN at::text END;

CREATE OR REPLACE FUNCTION marea.local_day(given TEXT, at TIMESTAMPTZ) RETURNS DATE LANGUAGE sql IMMUTABLE
-- A day of the years 1 to 9999, as the devices know them.
RETURN CASE WHEN marea.is_day(given)
    THEN make_date(substr(given, 1, 4)::int, substr(given, 6, 2)::int, substr(given, 9, 2)::int)
    ELSE least(greatest((at AT TIME ZONE 'UTC')::date, '0001-01-01'), '9999-12-31') END;

-- marea_sync runs as its caller.
REVOKE ALL ON FUNCTION marea.column_limits(), marea.json_problem(JSONB, BIGINT), marea.values_problem(TEXT, JSONB),
    marea.value_problem(TEXT, JSONB, BIGINT, BIGINT)
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.column_limits(), marea.json_problem(JSONB, BIGINT), marea.values_problem(TEXT, JSONB),
    marea.value_problem(TEXT, JSONB, BIGINT, BIGINT)
TO authenticated;

COMMIT;
