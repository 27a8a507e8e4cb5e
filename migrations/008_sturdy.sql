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
        'marea.delete_export(uuid)',
        'marea.event_is_sound(jsonb)',
        'marea.event_problem(jsonb)',
        'marea.fold_many(marea.fact[])',
        'marea.fold_one(marea.fact)',
        'marea.insert_events(jsonb)',
        'marea.insert_export(jsonb,text)',
        'marea.insert_sessions(jsonb)',
        'marea.local_day(text,timestamptz)',
        'marea.merge_registers(text,text,text,text,jsonb)',
        'marea.push(jsonb,text)',
        'marea.push_together(jsonb,text)',
        'marea.refold(uuid[])',
        'marea.register_problem(text,jsonb)',
        'marea.session_is_sound(jsonb)',
        'marea.session_problem(jsonb)',
        'marea.wire_time(timestamptz)',
        'public.marea_sync(jsonb)'
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

-- ---------------------------------------------------------------------------------------------------------------------
-- Days that lie ahead: a session that a wrong clock dates years from now ends no streak. Its totals count at once, its day
-- counts for the streaks once it has come. Daily activity has it all the time.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION marea.tomorrow() RETURNS DATE LANGUAGE sql STABLE
RETURN (now() AT TIME ZONE 'UTC')::date + 1;

COMMENT ON FUNCTION marea.tomorrow() IS
    'The last day that counts for streaks: it is tomorrow in UTC, and today already where the clocks are ahead of that.';

CREATE OR REPLACE FUNCTION marea.fold_many(given marea.fact[]) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
-- Adds facts to daily_activity and user_progress, so that both equal the fold of everything that is there. The
-- learner's progress row is locked before anything is read or added: it is the mutex of that learner's fold.
-- plan_cache_mode: a plan for the very array at hand always looks a little cheaper, and making one costs 2 ms each time.
DECLARE
    days      marea.fact[];
    takes_out BOOLEAN;
    tomorrow  CONSTANT DATE := marea.tomorrow();
BEGIN
    -- By learner and day. A learner who is being deleted takes everything along and is gone already.
    SELECT array_agg(on_day::marea.fact ORDER BY on_day.user_id, on_day.day), bool_or(on_day.removed_at IS NOT NULL)
    INTO days, takes_out
    FROM (
        SELECT fact.user_id, fact.day, sum(fact.facts)::bigint AS facts, sum(fact.sessions)::bigint AS sessions,
               sum(fact.minutes)::bigint AS minutes, sum(fact.questions)::bigint AS questions,
               sum(fact.correct)::bigint AS correct, sum(fact.words)::bigint AS words,
               sum(fact.points)::bigint AS points, sum(fact.descriptions)::bigint AS descriptions,
               sum(fact.images)::bigint AS images, sum(fact.mastered)::bigint AS mastered,
               sum(fact.learning)::bigint AS learning, sum(fact.fresh)::bigint AS fresh,
               max(fact.activity_at) AS activity_at, max(fact.description_at) AS description_at,
               max(fact.qa_at) AS qa_at, max(fact.words_at) AS words_at, max(fact.removed_at) AS removed_at,
               NULL::jsonb AS achievements
        FROM unnest(given) AS fact
        GROUP BY fact.user_id, fact.day
    ) AS on_day
    WHERE EXISTS (SELECT FROM public.users WHERE users.id = on_day.user_id);

    IF days IS NULL THEN
        RETURN;
    END IF;

    IF EXISTS (
        SELECT FROM unnest(days) AS fact
        WHERE NOT EXISTS (SELECT FROM public.user_progress WHERE user_progress.user_id = fact.user_id)
    ) THEN
        INSERT INTO public.user_progress (user_id)
        SELECT DISTINCT fact.user_id FROM unnest(days) AS fact ORDER BY fact.user_id
        ON CONFLICT (user_id) DO NOTHING;
    END IF;
    PERFORM FROM public.user_progress AS p
    WHERE p.user_id IN (SELECT fact.user_id FROM unnest(days) AS fact)
    ORDER BY p.user_id FOR NO KEY UPDATE OF p;

    INSERT INTO marea.daily_activity AS d (user_id, day, facts, sessions, minutes, questions, correct, words, points)
    SELECT fact.user_id, fact.day, fact.facts, fact.sessions, fact.minutes, fact.questions, fact.correct, fact.words,
           fact.points
    FROM unnest(days) AS fact
    ON CONFLICT (user_id, day) DO UPDATE SET
        facts = d.facts + EXCLUDED.facts, sessions = d.sessions + EXCLUDED.sessions,
        minutes = d.minutes + EXCLUDED.minutes, questions = d.questions + EXCLUDED.questions,
        correct = d.correct + EXCLUDED.correct, words = d.words + EXCLUDED.words, points = d.points + EXCLUDED.points;

    IF takes_out THEN
        DELETE FROM marea.daily_activity AS d USING unnest(days) AS fact
        WHERE d.user_id = fact.user_id AND d.day = fact.day AND d.facts <= 0;
    END IF;

    UPDATE public.user_progress AS p SET
        total_sessions = n.sessions,
        total_time_spent_minutes = n.minutes,
        total_questions_answered = n.questions,
        total_questions_correct = n.correct,
        total_vocabulary_learned = n.words,
        total_points = n.points,
        total_descriptions = n.descriptions,
        total_images = n.images,
        mastered_words_count = n.mastered,
        learning_words_count = n.learning,
        new_words_count = n.fresh,
        average_accuracy = CASE WHEN n.questions <= 0 THEN 0
            ELSE least(100, round(100::numeric * n.correct / n.questions, 2)) END,
        average_completion_time_seconds = CASE WHEN n.sessions <= 0 THEN 0
            ELSE round(60::numeric * n.minutes / n.sessions) END,
        last_activity_at = n.activity_at,
        last_description_at = n.description_at,
        last_qa_session_at = n.qa_at,
        last_vocabulary_practice_at = n.words_at,
        last_active_on = n.last_day,
        current_streak_days = n.streak,
        longest_streak_days = n.longest
    FROM (
        SELECT old.user_id,
               old.total_sessions + new.sessions AS sessions,
               old.total_time_spent_minutes + new.minutes AS minutes,
               old.total_questions_answered + new.questions AS questions,
               old.total_questions_correct + new.correct AS correct,
               old.total_vocabulary_learned + new.words AS words,
               old.total_points + new.points AS points,
               old.total_descriptions + new.descriptions AS descriptions,
               old.total_images + new.images AS images,
               old.mastered_words_count + new.mastered AS mastered,
               old.learning_words_count + new.learning AS learning,
               old.new_words_count + new.fresh AS fresh,
               CASE WHEN how.maxima_anew THEN latest.activity_at
                   ELSE greatest(old.last_activity_at, new.activity_at) END AS activity_at,
               CASE WHEN how.maxima_anew THEN latest.description_at
                   ELSE greatest(old.last_description_at, new.description_at) END AS description_at,
               CASE WHEN how.maxima_anew THEN latest.qa_at
                   ELSE greatest(old.last_qa_session_at, new.qa_at) END AS qa_at,
               CASE WHEN how.maxima_anew THEN latest.words_at
                   ELSE greatest(old.last_vocabulary_practice_at, new.words_at) END AS words_at,
               CASE WHEN how.days_anew THEN runs.last_day ELSE new.last_day END AS last_day,
               CASE WHEN how.days_anew THEN coalesce(runs.streak, 0) ELSE next.streak END AS streak,
               CASE WHEN how.days_anew THEN coalesce(runs.longest, 0)
                   ELSE greatest(old.longest_streak_days, next.streak) END AS longest
        FROM (
            SELECT fact.user_id, sum(fact.sessions) AS sessions, sum(fact.minutes) AS minutes,
                   sum(fact.questions) AS questions, sum(fact.correct) AS correct, sum(fact.words) AS words,
                   sum(fact.points) AS points, sum(fact.descriptions) AS descriptions, sum(fact.images) AS images,
                   sum(fact.mastered) AS mastered, sum(fact.learning) AS learning, sum(fact.fresh) AS fresh,
                   max(fact.activity_at) AS activity_at, max(fact.description_at) AS description_at,
                   max(fact.qa_at) AS qa_at, max(fact.words_at) AS words_at, max(fact.removed_at) AS removed_at,
                   min(fact.day) AS first_day, max(fact.day) AS last_day
            FROM unnest(days) AS fact
            GROUP BY fact.user_id
        ) AS new
        JOIN public.user_progress AS old ON old.user_id = new.user_id
        -- Looking at everything again is only needed when a latest fact may have gone, when days came out of order, or when
        -- days lie ahead, or have lain ahead and have come since.
        CROSS JOIN LATERAL (
            SELECT coalesce(new.removed_at >= least(old.last_activity_at, old.last_description_at,
                       old.last_qa_session_at, old.last_vocabulary_practice_at), false) AS maxima_anew,
                   new.removed_at IS NOT NULL OR new.first_day < new.last_day
                       OR coalesce(new.first_day < old.last_active_on, false)
                       OR greatest(new.last_day, old.last_active_on) > tomorrow
                       OR EXISTS (
                           SELECT FROM marea.daily_activity AS d
                           WHERE d.user_id = new.user_id AND d.day <= tomorrow AND d.day <> new.last_day
                             AND d.day > coalesce(old.last_active_on, '-infinity')
                       ) AS days_anew
        ) AS how
        CROSS JOIN LATERAL (
            SELECT CASE new.last_day - old.last_active_on
                WHEN 0 THEN old.current_streak_days
                WHEN 1 THEN old.current_streak_days + 1
                ELSE 1
            END AS streak
        ) AS next
        CROSS JOIN LATERAL (
            SELECT max(done.at) AS activity_at, max(done.at) FILTER (WHERE done.descriptions) AS description_at,
                   max(done.at) FILTER (WHERE done.questions) AS qa_at, max(done.at) FILTER (WHERE done.words) AS words_at
            FROM (
                SELECT ended_at AS at, descriptions_generated > 0 AS descriptions, qa_attempts > 0 AS questions,
                       vocabulary_learned > 0 AS words
                FROM public.sessions
                WHERE how.maxima_anew AND sessions.user_id = new.user_id AND isfinite(ended_at)
                UNION ALL
                SELECT occurred_at, descriptions > 0, questions_answered > 0, vocabulary_learned > 0
                       OR mastered_words <> 0 OR learning_words <> 0 OR new_words <> 0
                FROM marea.progress_events
                WHERE how.maxima_anew AND progress_events.user_id = new.user_id
            ) AS done
        ) AS latest
        -- Days that follow one another have the same distance to their rank: that distance names the run.
        CROSS JOIN LATERAL (
            SELECT max(run.last_day) AS last_day, max(run.days) AS longest,
                   (array_agg(run.days ORDER BY run.last_day DESC))[1] AS streak
            FROM (
                SELECT max(ranked.day) AS last_day, count(*) AS days
                FROM (
                    SELECT d.day, d.day - (row_number() OVER (ORDER BY d.day))::int AS run
                    FROM marea.daily_activity AS d
                    WHERE how.days_anew AND d.user_id = new.user_id AND d.day <= tomorrow
                ) AS ranked
                GROUP BY ranked.run
            ) AS run
        ) AS runs
    ) AS n
    WHERE p.user_id = n.user_id;

    IF EXISTS (SELECT FROM unnest(given) AS fact WHERE fact.achievements IS NOT NULL) THEN
        UPDATE public.user_progress AS p SET achievements = marea.union_achievements(p.achievements, n.unlocked)
        FROM (
            SELECT earliest.user_id, jsonb_object_agg(earliest.name, earliest.at) AS unlocked
            FROM (
                SELECT fact.user_id, unlocked.key AS name, min(unlocked.value COLLATE "C") AS at
                FROM unnest(given) AS fact, jsonb_each_text(fact.achievements) AS unlocked
                GROUP BY fact.user_id, unlocked.key
            ) AS earliest
            GROUP BY earliest.user_id
        ) AS n
        WHERE p.user_id = n.user_id
          AND p.achievements IS DISTINCT FROM marea.union_achievements(p.achievements, n.unlocked);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.fold_one(fact marea.fact) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- What marea.fold does with one fact that is added on the learner's latest day or after it: two statements for five. False,
-- and nothing done, for every other fact. The progress row is changed first: it is the mutex of the learner's fold.
DECLARE
    tomorrow CONSTANT DATE := marea.tomorrow();
BEGIN
    IF fact.day > tomorrow OR fact.removed_at IS NOT NULL OR fact.achievements IS NOT NULL THEN
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
    WHERE p.user_id = fact.user_id AND (fact.day < p.last_active_on) IS NOT TRUE
      -- Nor have days come that lay ahead when they were recorded.
      AND NOT EXISTS (
          SELECT FROM marea.daily_activity AS d
          WHERE d.user_id = fact.user_id AND d.day <= tomorrow AND d.day <> fact.day
            AND d.day > coalesce(p.last_active_on, '-infinity'));
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

CREATE OR REPLACE FUNCTION marea.refold(people UUID[]) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
-- The fold from nothing: makes daily_activity and user_progress of these users what all their sessions and events say.
-- Equal to what the triggers keep, so on healthy data it changes nothing. Returns how many progress rows it changed.
-- jit: a plan that cannot do without a nested loop looks so dear that compiling it seems to pay, and takes a second.
DECLARE
    changed BIGINT;
    days    marea.fact[];
BEGIN
    INSERT INTO public.user_progress (user_id)
    SELECT users.id FROM public.users
    WHERE users.id = ANY (people)
      AND NOT EXISTS (SELECT FROM public.user_progress AS p WHERE p.user_id = users.id)
    ORDER BY users.id
    ON CONFLICT (user_id) DO NOTHING;
    PERFORM FROM public.user_progress AS p WHERE p.user_id = ANY (people) ORDER BY p.user_id FOR NO KEY UPDATE;

    -- Everything is read once, and by learner and day. It is read after the locks, in a statement of its own.
    SELECT array_agg(on_day::marea.fact ORDER BY on_day.user_id, on_day.day) INTO days
    FROM (
        SELECT f.user_id, f.day, sum(f.facts)::bigint AS facts, sum(f.sessions)::bigint AS sessions,
               sum(f.minutes)::bigint AS minutes, sum(f.questions)::bigint AS questions,
               sum(f.correct)::bigint AS correct, sum(f.words)::bigint AS words, sum(f.points)::bigint AS points,
               sum(f.descriptions)::bigint AS descriptions, sum(f.images)::bigint AS images,
               sum(f.mastered)::bigint AS mastered, sum(f.learning)::bigint AS learning,
               sum(f.fresh)::bigint AS fresh, max(f.activity_at) AS activity_at,
               max(f.description_at) AS description_at, max(f.qa_at) AS qa_at, max(f.words_at) AS words_at,
               NULL::timestamptz AS removed_at, NULL::jsonb AS achievements
        FROM marea.facts_of(people) AS f
        GROUP BY f.user_id, f.day
    ) AS on_day;

    DELETE FROM marea.daily_activity AS d
    WHERE d.user_id = ANY (people)
      AND NOT EXISTS (SELECT FROM unnest(days) AS f WHERE f.user_id = d.user_id AND f.day = d.day);
    INSERT INTO marea.daily_activity AS d (user_id, day, facts, sessions, minutes, questions, correct, words, points)
    SELECT f.user_id, f.day, f.facts, f.sessions, f.minutes, f.questions, f.correct, f.words, f.points
    FROM unnest(days) AS f
    ON CONFLICT (user_id, day) DO UPDATE SET
        facts = EXCLUDED.facts, sessions = EXCLUDED.sessions, minutes = EXCLUDED.minutes, questions = EXCLUDED.questions,
        correct = EXCLUDED.correct, words = EXCLUDED.words, points = EXCLUDED.points
    WHERE ROW(d.facts, d.sessions, d.minutes, d.questions, d.correct, d.words, d.points)
        IS DISTINCT FROM ROW(EXCLUDED.facts, EXCLUDED.sessions, EXCLUDED.minutes, EXCLUDED.questions, EXCLUDED.correct,
            EXCLUDED.words, EXCLUDED.points);

    WITH totals AS MATERIALIZED (
        SELECT f.user_id, sum(f.sessions) AS sessions, sum(f.minutes) AS minutes, sum(f.questions) AS questions,
               sum(f.correct) AS correct, sum(f.words) AS words, sum(f.points) AS points,
               sum(f.descriptions) AS descriptions, sum(f.images) AS images, sum(f.mastered) AS mastered,
               sum(f.learning) AS learning, sum(f.fresh) AS fresh, max(f.activity_at) AS activity_at,
               max(f.description_at) AS description_at, max(f.qa_at) AS qa_at, max(f.words_at) AS words_at
        FROM unnest(days) AS f
        GROUP BY f.user_id
    ), streaks AS MATERIALIZED (
        SELECT run.user_id, max(run.last_day) AS last_day, max(run.days) AS longest,
               (array_agg(run.days ORDER BY run.last_day DESC))[1] AS streak
        FROM (
            SELECT ranked.user_id, max(ranked.day) AS last_day, count(*) AS days
            FROM (
                SELECT d.user_id, d.day,
                       d.day - (row_number() OVER (PARTITION BY d.user_id ORDER BY d.day))::int AS run
                FROM marea.daily_activity AS d
                WHERE d.user_id = ANY (people) AND d.day <= marea.tomorrow()
            ) AS ranked
            GROUP BY ranked.user_id, ranked.run
        ) AS run
        GROUP BY run.user_id
    ), unlocked AS MATERIALIZED (
        SELECT earliest.user_id, jsonb_object_agg(earliest.name, earliest.at) AS achievements
        FROM (
            SELECT e.user_id, one.key AS name, min(one.value COLLATE "C") AS at
            FROM marea.progress_events AS e, jsonb_each_text(e.achievements) AS one
            WHERE e.user_id = ANY (people)
            GROUP BY e.user_id, one.key
        ) AS earliest
        GROUP BY earliest.user_id
    ), wanted AS MATERIALIZED (
        SELECT p.user_id,
               coalesce(t.sessions, 0)::int AS sessions, coalesce(t.minutes, 0)::int AS minutes,
               coalesce(t.questions, 0)::int AS questions, coalesce(t.correct, 0)::int AS correct,
               coalesce(t.words, 0)::int AS words, coalesce(t.points, 0)::int AS points,
               coalesce(t.descriptions, 0)::int AS descriptions, coalesce(t.images, 0)::int AS images,
               coalesce(t.mastered, 0)::int AS mastered, coalesce(t.learning, 0)::int AS learning,
               coalesce(t.fresh, 0)::int AS fresh,
               CASE WHEN coalesce(t.questions, 0) = 0 THEN 0
                   ELSE least(100, round(100::numeric * t.correct / t.questions, 2)) END AS accuracy,
               CASE WHEN coalesce(t.sessions, 0) = 0 THEN 0
                   ELSE round(60::numeric * t.minutes / t.sessions)::int END AS completion,
               t.activity_at, t.description_at, t.qa_at, t.words_at, s.last_day,
               coalesce(s.streak, 0)::int AS streak, coalesce(s.longest, 0)::int AS longest,
               marea.union_achievements(p.achievements, coalesce(u.achievements, '{}')) AS achievements
        FROM public.user_progress AS p
        LEFT JOIN totals AS t ON t.user_id = p.user_id
        LEFT JOIN streaks AS s ON s.user_id = p.user_id
        LEFT JOIN unlocked AS u ON u.user_id = p.user_id
        WHERE p.user_id = ANY (people)
    )
    UPDATE public.user_progress AS p SET
        total_sessions = w.sessions, total_time_spent_minutes = w.minutes, total_questions_answered = w.questions,
        total_questions_correct = w.correct, total_vocabulary_learned = w.words, total_points = w.points,
        total_descriptions = w.descriptions, total_images = w.images, mastered_words_count = w.mastered,
        learning_words_count = w.learning, new_words_count = w.fresh, average_accuracy = w.accuracy,
        average_completion_time_seconds = w.completion, last_activity_at = w.activity_at,
        last_description_at = w.description_at, last_qa_session_at = w.qa_at, last_vocabulary_practice_at = w.words_at,
        last_active_on = w.last_day, current_streak_days = w.streak, longest_streak_days = w.longest,
        achievements = w.achievements
    FROM wanted AS w
    WHERE p.user_id = w.user_id
      AND ROW(p.total_sessions, p.total_time_spent_minutes, p.total_questions_answered, p.total_questions_correct,
              p.total_vocabulary_learned, p.total_points, p.total_descriptions, p.total_images, p.mastered_words_count,
              p.learning_words_count, p.new_words_count, p.average_accuracy, p.average_completion_time_seconds,
              p.last_activity_at, p.last_description_at, p.last_qa_session_at, p.last_vocabulary_practice_at,
              p.last_active_on, p.current_streak_days, p.longest_streak_days, p.achievements)
          IS DISTINCT FROM
          ROW(w.sessions, w.minutes, w.questions, w.correct, w.words, w.points, w.descriptions, w.images, w.mastered,
              w.learning, w.fresh, w.accuracy, w.completion, w.activity_at, w.description_at, w.qa_at, w.words_at,
              w.last_day, w.streak, w.longest, w.achievements);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

CREATE OR REPLACE FUNCTION marea.refresh_streaks() RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
-- For whom days have come that lay ahead when they were folded, or whose streak ends at a day that lies ahead: the streak of
-- the days up to tomorrow. A learner's next session does the same, and devices count by themselves: this job is for those who
-- read user_progress beside Marea's clients. Returns how many rows it changed.
DECLARE
    tomorrow CONSTANT DATE := marea.tomorrow();
    people   UUID[];
    changed  BIGINT;
BEGIN
    -- The progress row is the mutex of the learner's fold: it is locked before the days are read.
    SELECT array_agg(held.user_id) INTO people
    FROM (
        SELECT p.user_id FROM public.user_progress AS p
        WHERE p.last_active_on > tomorrow OR p.user_id IN (
            SELECT d.user_id FROM marea.daily_activity AS d
            JOIN public.user_progress AS behind ON behind.user_id = d.user_id
            WHERE d.day <= tomorrow AND d.day > coalesce(behind.last_active_on, '-infinity'))
        ORDER BY p.user_id FOR NO KEY UPDATE
    ) AS held;
    UPDATE public.user_progress AS p SET
        last_active_on = runs.last_day, current_streak_days = coalesce(runs.streak, 0),
        longest_streak_days = coalesce(runs.longest, 0)
    FROM unnest(people) AS person (id)
    -- Days that follow one another have the same distance to their rank: that distance names the run.
    CROSS JOIN LATERAL (
        SELECT max(run.last_day) AS last_day, max(run.days) AS longest,
               (array_agg(run.days ORDER BY run.last_day DESC))[1] AS streak
        FROM (
            SELECT max(ranked.day) AS last_day, count(*) AS days
            FROM (
                SELECT d.day, d.day - (row_number() OVER (ORDER BY d.day))::int AS run
                FROM marea.daily_activity AS d
                WHERE d.user_id = person.id AND d.day <= tomorrow
            ) AS ranked
            GROUP BY ranked.run
        ) AS run
    ) AS runs
    WHERE p.user_id = person.id
      AND ROW(p.last_active_on, p.current_streak_days, p.longest_streak_days)
          IS DISTINCT FROM ROW(runs.last_day, coalesce(runs.streak, 0)::int, coalesce(runs.longest, 0)::int);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

COMMENT ON FUNCTION marea.refresh_streaks() IS
    'Counts the days that have come since they were folded; returns how many progress rows changed. To be run once a day.';

-- What stands in the table now may end at a day that lies ahead.
DO $$ BEGIN PERFORM marea.refresh_streaks(); END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Refusals: whatever refuses a mutation (a constraint, a policy, a trigger of the app with any SQLSTATE, or one that returns
-- NULL) refuses that one alone, and the app's triggers find what they find in a plain INSERT.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION marea.app_search_path() RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Under which search_path the app's triggers run: that of the caller's role, else the connection's own, with what PostgREST
-- adds. Marea's own statements name every schema and are not moved by it.
DECLARE
    path TEXT;
    more TEXT;
BEGIN
    SELECT substr(setting, length('search_path=') + 1) INTO path
    FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
    WHERE s.setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
      AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND setting LIKE 'search_path=%'
    ORDER BY s.setdatabase DESC LIMIT 1;
    IF path IS NULL THEN
        SET LOCAL search_path TO DEFAULT; -- until this function ends
        path := current_setting('search_path');
    END IF;
    FOREACH more IN ARRAY ARRAY['public', 'extensions']
        || string_to_array(coalesce(current_setting('pgrst.db_extra_search_path', true), ''), ',') || ARRAY['pg_temp']
    LOOP
        more := btrim(more, ' "');
        IF (more = 'pg_temp' OR EXISTS (SELECT FROM pg_namespace WHERE nspname = more))
            AND more <> ALL (SELECT btrim(one, ' "') FROM unnest(string_to_array(path, ',')) AS one) THEN
            path := concat_ws(', ', CASE WHEN btrim(path, ' "') <> '' THEN path END, quote_ident(more));
        END IF;
    END LOOP;
    RETURN path;
END
$$;

COMMENT ON FUNCTION marea.app_search_path() IS
    'The search_path under which the app''s triggers run while Marea writes to the app''s tables.';

CREATE OR REPLACE FUNCTION marea.triggers_before(relation REGCLASS, op TEXT) RETURNS TEXT LANGUAGE sql STABLE
RETURN (
    -- For each row, before, and which statement (pg_trigger.h).
    SELECT string_agg(quote_ident(tgname), ', ' ORDER BY tgname)
    FROM pg_catalog.pg_trigger, LATERAL (SELECT CASE op WHEN 'INSERT' THEN 7 WHEN 'DELETE' THEN 11 ELSE 19 END) AS kind (bits)
    WHERE tgrelid = relation AND tgtype & kind.bits = kind.bits AND tgenabled <> 'D' AND NOT tgisinternal
);

COMMENT ON FUNCTION marea.triggers_before(REGCLASS, TEXT) IS
    'The row triggers that see a row before an INSERT, UPDATE or DELETE, and can leave it out; NULL: none.';

CREATE OR REPLACE FUNCTION marea.insert_sessions_sql(sample JSONB, any_gone BOOLEAN, conflict TEXT) RETURNS TEXT LANGUAGE sql STABLE
RETURN format($insert$
    WITH added AS (
        INSERT INTO public.sessions (user_id, id%1$s)
        SELECT $2, (m OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid%2$s
        FROM pg_catalog.jsonb_array_elements($1) AS m,
             LATERAL pg_catalog.jsonb_populate_record(NULL::public.sessions, m OPERATOR(pg_catalog.->) 'values') AS v
        %3$s
        %4$s
        RETURNING id
    )
    SELECT pg_catalog.array_agg(id) FROM added $insert$,
    coalesce((SELECT string_agg(format(', %I', k), '' ORDER BY k) FROM jsonb_object_keys(sample - 'id') AS k), ''),
    coalesce((SELECT string_agg(format(', v.%I', k), '' ORDER BY k) FROM jsonb_object_keys(sample - 'id') AS k), ''),
    -- A look-up by key for each: a join could be planned for the few tombstones there were when last counted.
    CASE WHEN any_gone THEN $unless$
        WHERE (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id OPERATOR(pg_catalog.=) $2 AND tombstone.table_name OPERATOR(pg_catalog.=) 'sessions'
              AND tombstone.row_key OPERATOR(pg_catalog.=) (m OPERATOR(pg_catalog.->>) 'id')
        ) IS NOT TRUE $unless$ ELSE '' END,
    conflict);

COMMENT ON FUNCTION marea.insert_sessions_sql(JSONB, BOOLEAN, TEXT) IS
    'The statement that inserts sessions of the columns of a sample: $1 are mutations, $2 is whose.';

CREATE OR REPLACE FUNCTION marea.refuse_left_out(relation REGCLASS, op TEXT, other_id BOOLEAN DEFAULT false) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '39P01', -- trigger_protocol_violated
        MESSAGE = format(CASE WHEN other_id THEN 'a trigger of the app gave this row another id (BEFORE %s on %s: %s)'
            ELSE 'a trigger of the app left this row out: it returned NULL (BEFORE %s on %s: %s)' END,
            op, relation, coalesce(marea.triggers_before(relation, op), 'none that is enabled'));
END
$$;

COMMENT ON FUNCTION marea.refuse_left_out(REGCLASS, TEXT, BOOLEAN) IS 'Refuses a row that a trigger did not let in as it was sent.';

CREATE OR REPLACE FUNCTION marea.insert_sessions(batch JSONB) RETURNS UUID[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Inserts sessions under the caller's own policies; returns those that were new. An id that the caller has already is
-- passed over; one that belongs to somebody else fails the batch, and so does one that a trigger of the app leaves out.
DECLARE
    me       CONSTANT UUID := auth.uid();
    names    CONSTANT TEXT[] := ARRAY(
        SELECT jsonb_object_keys(batch #> '{0,values}') WHERE jsonb_typeof(batch #> '{0,values}') = 'object');
    triggers CONSTANT TEXT := marea.triggers_before('public.sessions', 'INSERT');
    path     CONSTANT TEXT := marea.app_search_path();
    any_gone CONSTANT BOOLEAN := EXISTS (SELECT FROM marea.rows WHERE user_id = me AND table_name = 'sessions');
    problem  TEXT;
    alike    BOOLEAN;
    part     RECORD;
    missing  JSONB;
    insert_  TEXT;
    inserted UUID[] := '{}';
    added    UUID[];
BEGIN
    WITH given AS MATERIALIZED (
        SELECT m ->> 'id' AS id, m ->> 'key' AS key, m ->> 'hlc' AS hlc, m -> 'values' AS fields
        FROM jsonb_array_elements(batch) AS m
    )
    SELECT min(coalesce(marea.mutation_problem('insert', id, key, hlc, fields),
               CASE WHEN NOT marea.session_is_sound(fields) THEN marea.session_problem(fields) END)),
           bool_and(fields ?& names AND fields - names = '{}')
    INTO problem, alike
    FROM given;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    -- A column that is left out keeps the table's default, which only a statement that does not name it can do: so one
    -- statement for each set of columns. Nearly always there is one set.
    FOR part IN
        SELECT batch -> 0 -> 'values' AS sample, batch AS mutations WHERE alike
        UNION ALL
        SELECT (jsonb_agg(m -> 'values') -> 0), jsonb_agg(m)
        FROM jsonb_array_elements(batch) AS m
        WHERE NOT alike
        GROUP BY (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(m -> 'values') AS k)
    LOOP
        insert_ := marea.insert_sessions_sql(part.sample, any_gone, 'ON CONFLICT (id) DO NOTHING');
        -- Under the app's search_path, which must not decide what Marea's own words mean: each names its schema.
        PERFORM set_config('search_path', path, true);
        EXECUTE insert_ INTO added USING part.mutations, me;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        inserted := inserted || coalesce(added, '{}');
    END LOOP;

    -- A trigger may also have given a row another id.
    IF cardinality(inserted) < jsonb_array_length(batch) OR triggers IS NOT NULL THEN
        SELECT m INTO missing
        FROM jsonb_array_elements(batch) AS m
        LEFT JOIN unnest(inserted) AS i (id) ON i.id = (m ->> 'id')::uuid
        WHERE i.id IS NULL
          AND (SELECT s.user_id FROM public.sessions AS s WHERE s.id = (m ->> 'id')::uuid) IS DISTINCT FROM me
          AND (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id = me AND tombstone.table_name = 'sessions' AND tombstone.row_key = m ->> 'id'
          ) IS NOT TRUE
        LIMIT 1;
    END IF;
    IF missing IS NOT NULL THEN
        -- Somebody else has this id, or a trigger has left the row out: a plain INSERT fails in the first case alone.
        insert_ := marea.insert_sessions_sql(missing -> 'values', false, '');
        missing := jsonb_build_array(missing);
        PERFORM set_config('search_path', path, true);
        BEGIN
            EXECUTE insert_ INTO added USING missing, me;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'id: is taken';
        END;
        PERFORM marea.refuse_left_out('public.sessions', 'INSERT', added IS NOT NULL);
    END IF;
    RETURN inserted;
END
$$;

CREATE OR REPLACE FUNCTION marea.insert_events(batch JSONB) RETURNS UUID[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The same for progress_events, whose defaults are known.
DECLARE
    me       CONSTANT UUID := auth.uid();
    triggers CONSTANT TEXT := marea.triggers_before('marea.progress_events', 'INSERT');
    problem  TEXT;
    inserted UUID[];
    added    UUID[];
    missing  JSONB;
BEGIN
    WITH given AS MATERIALIZED (
        SELECT m ->> 'id' AS id, m ->> 'key' AS key, m ->> 'hlc' AS hlc, m -> 'values' AS fields
        FROM jsonb_array_elements(batch) AS m
    )
    SELECT min(coalesce(marea.mutation_problem('insert', id, key, hlc, fields),
        CASE WHEN NOT marea.event_is_sound(fields) THEN marea.event_problem(fields) END))
    INTO problem FROM given;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    PERFORM set_config('search_path', marea.app_search_path(), true);
    WITH added AS (
        INSERT INTO marea.progress_events (user_id, id, occurred_at, local_date, descriptions, images, questions_answered,
            questions_correct, vocabulary_learned, minutes, points, mastered_words, learning_words, new_words, achievements)
        SELECT me, (m OPERATOR(pg_catalog.->>) 'id')::pg_catalog.uuid, v.occurred_at, v.local_date, coalesce(v.descriptions, 0),
               coalesce(v.images, 0), coalesce(v.questions_answered, 0), coalesce(v.questions_correct, 0),
               coalesce(v.vocabulary_learned, 0), coalesce(v.minutes, 0), coalesce(v.points, 0), coalesce(v.mastered_words, 0),
               coalesce(v.learning_words, 0), coalesce(v.new_words, 0), coalesce(v.achievements, '{}')
        FROM pg_catalog.jsonb_array_elements(batch) AS m,
             LATERAL pg_catalog.jsonb_populate_record(NULL::marea.progress_events, m OPERATOR(pg_catalog.->) 'values') AS v
        -- A look-up by key for each: a join could be planned for the few tombstones there were when last counted.
        WHERE (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id OPERATOR(pg_catalog.=) me AND tombstone.table_name OPERATOR(pg_catalog.=) 'progress_events'
              AND tombstone.row_key OPERATOR(pg_catalog.=) (m OPERATOR(pg_catalog.->>) 'id')
        ) IS NOT TRUE
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT coalesce(pg_catalog.array_agg(id), '{}') INTO inserted FROM added;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    IF cardinality(inserted) < jsonb_array_length(batch) OR triggers IS NOT NULL THEN
        SELECT m INTO missing
        FROM jsonb_array_elements(batch) AS m
        LEFT JOIN unnest(inserted) AS i (id) ON i.id = (m ->> 'id')::uuid
        WHERE i.id IS NULL
          AND (SELECT e.user_id FROM marea.progress_events AS e WHERE e.id = (m ->> 'id')::uuid) IS DISTINCT FROM me
          AND (
            SELECT tombstone.deleted FROM marea.rows AS tombstone
            WHERE tombstone.user_id = me AND tombstone.table_name = 'progress_events' AND tombstone.row_key = m ->> 'id'
          ) IS NOT TRUE
        LIMIT 1;
    END IF;
    IF missing IS NOT NULL THEN
        -- Somebody else has this id, or a trigger has left the row out: a plain INSERT fails in the first case alone.
        BEGIN
            WITH again AS (
                INSERT INTO marea.progress_events (user_id, id, occurred_at, local_date)
                SELECT me, (missing ->> 'id')::uuid, v.occurred_at, v.local_date
                FROM jsonb_populate_record(NULL::marea.progress_events, missing -> 'values') AS v
                RETURNING id
            )
            SELECT array_agg(id) INTO added FROM again;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'id: is taken';
        END;
        PERFORM marea.refuse_left_out('marea.progress_events', 'INSERT', added IS NOT NULL);
    END IF;
    RETURN inserted;
END
$$;

CREATE OR REPLACE FUNCTION marea.insert_export(mutation JSONB, client TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me      CONSTANT UUID := auth.uid();
    fields  CONSTANT JSONB := mutation -> 'values';
    export  CONSTANT UUID := mutation ->> 'id';
    clock   CONSTANT TEXT := marea.pulled_back(mutation ->> 'hlc');
    written CONSTANT JSONB := fields - '{id,export_type,export_format,filters,created_at}'::text[];
    problem TEXT;
    found_  UUID;
    columns TEXT[];
    insert_ TEXT;
    again   TEXT;
    row_    JSONB;
BEGIN
    problem := CASE
        WHEN marea.not_a('string', fields -> 'export_type') THEN 'values.export_type: must be a text'
        WHEN marea.not_a('string', fields -> 'export_format') THEN 'values.export_format: must be a text'
        WHEN marea.not_a('object', fields -> 'filters') THEN 'values.filters: must be an object'
        WHEN marea.not_a('time', fields -> 'created_at') THEN 'values.created_at: must be a time'
        ELSE marea.register_problem('export_history', written)
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    -- A deleted export never comes back, not even when its insert is sent again.
    IF EXISTS (
        SELECT FROM marea.rows
        WHERE user_id = me AND table_name = 'export_history' AND row_key = export::text AND deleted
    ) THEN
        RETURN 'duplicate';
    END IF;

    columns := ARRAY(SELECT quote_ident(k) FROM jsonb_object_keys('{"user_id": 0, "id": 0}' || fields) AS k ORDER BY k);
    again := format('INSERT INTO public.export_history (%s) SELECT v.%s FROM pg_catalog.jsonb_populate_record('
        'NULL::public.export_history, $1) AS v', array_to_string(columns, ', '), array_to_string(columns, ', v.'));
    insert_ := again || ' ON CONFLICT (id) DO NOTHING RETURNING id';
    again := again || ' RETURNING id';
    row_ := fields || jsonb_build_object('user_id', me, 'id', export);
    -- Under the app's search_path, which must not decide what Marea's own words mean: each names its schema.
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE insert_ INTO found_ USING row_;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    IF found_ IS NULL THEN
        IF EXISTS (SELECT FROM public.export_history WHERE id = export AND user_id = me) THEN
            RETURN 'duplicate';
        END IF;
        -- Somebody else has this id, or a trigger has left the row out: a plain INSERT fails in the first case alone.
        PERFORM set_config('search_path', marea.app_search_path(), true);
        BEGIN
            EXECUTE again INTO found_ USING row_;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'id: is taken';
        END;
        PERFORM marea.refuse_left_out('public.export_history', 'INSERT', found_ IS NOT NULL);
    ELSIF found_ <> export THEN
        PERFORM marea.refuse_left_out('public.export_history', 'INSERT', true);
    END IF;
    PERFORM marea.record_registers('export_history', export::text, coalesce(
        (SELECT jsonb_object_agg(k, jsonb_build_array(clock, client)) FROM jsonb_object_keys(written) AS k), '{}'));
    RETURN 'applied';
END
$$;

CREATE OR REPLACE FUNCTION marea.merge_registers(relation TEXT, key TEXT, hlc TEXT, client TEXT, fields JSONB) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Last writer wins, column by column. 'applied' also where every column was lost to a later writer, or the row has been
-- deleted: the mutation has had the effect that the rules give it. 'duplicate' where it had been merged before.
DECLARE
    me      CONSTANT UUID := auth.uid();
    clock   CONSTANT TEXT := marea.pulled_back(hlc);
    problem TEXT := marea.register_problem(relation, fields);
    stored  JSONB;
    winners JSONB;
    repeats BIGINT;
    id      UUID;
    update_ TEXT;
    touched BIGINT;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = problem;
    END IF;

    -- The row's lock comes first: who holds it knows the clocks that are stored for it.
    IF relation = 'user_api_keys' THEN
        IF key <> me::text THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: must be the id of the signed-in user';
        END IF;
        SELECT k.id INTO id FROM public.user_api_keys AS k WHERE k.user_id = me FOR NO KEY UPDATE;
    ELSE
        IF key !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: must be a lower-case uuid';
        END IF;
        SELECT e.id INTO id FROM public.export_history AS e WHERE e.id = key::uuid AND e.user_id = me FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            IF EXISTS (
                SELECT FROM marea.rows AS r
                WHERE r.user_id = me AND r.table_name = relation AND r.row_key = key AND r.deleted
            ) THEN
                RETURN 'applied';
            END IF;
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'key: no such row';
        END IF;
    END IF;

    SELECT coalesce((
        SELECT r.hlc FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = relation AND r.row_key = key
    ), '{}') INTO stored;
    SELECT jsonb_object_agg(field.key, field.value) FILTER (WHERE NOT stored ? field.key
               OR ROW(clock COLLATE "C", client COLLATE "C") > ROW(stored -> field.key ->> 0, stored -> field.key ->> 1)),
           count(*) FILTER (WHERE stored -> field.key = jsonb_build_array(clock, client))
    INTO winners, repeats
    FROM jsonb_each(fields) AS field;
    IF winners IS NULL THEN
        RETURN CASE WHEN repeats > 0 THEN 'duplicate' ELSE 'applied' END;
    END IF;

    IF relation = 'user_api_keys' AND id IS NULL THEN
        PERFORM set_config('search_path', marea.app_search_path(), true);
        INSERT INTO public.user_api_keys AS k (user_id) VALUES (me) ON CONFLICT (user_id) DO NOTHING;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
        SELECT k.id INTO id FROM public.user_api_keys AS k WHERE k.user_id = me FOR NO KEY UPDATE;
        IF id IS NULL THEN
            PERFORM marea.refuse_left_out('public.user_api_keys', 'INSERT');
        END IF;
    END IF;
    update_ := format('UPDATE public.%I AS t SET %s FROM pg_catalog.jsonb_populate_record(NULL::public.%I, $1) AS v '
        'WHERE t.id OPERATOR(pg_catalog.=) $2 AND t.user_id OPERATOR(pg_catalog.=) $3',
        relation, (SELECT string_agg(format('%1$I = v.%1$I', k), ', ' ORDER BY k) FROM jsonb_object_keys(winners) AS k), relation);
    PERFORM set_config('search_path', marea.app_search_path(), true);
    EXECUTE update_ USING winners, id, me;
    GET DIAGNOSTICS touched = ROW_COUNT;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF touched = 0 THEN
        PERFORM marea.refuse_left_out(('public.' || relation)::regclass, 'UPDATE');
    END IF;
    PERFORM marea.record_registers(relation, key,
        (SELECT jsonb_object_agg(k, jsonb_build_array(clock, client)) FROM jsonb_object_keys(winners) AS k));
    RETURN 'applied';
END
$$;

CREATE OR REPLACE FUNCTION marea.delete_export(export UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.export_history WHERE id = export AND user_id = auth.uid();
    IF NOT FOUND AND EXISTS (SELECT FROM public.export_history WHERE id = export AND user_id = auth.uid()) THEN
        PERFORM marea.refuse_left_out('public.export_history', 'DELETE');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.push_together(mutations JSONB, client TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- All mutations at once: each kind of event in one statement, the registers in their order. Any failure fails all.
DECLARE
    statuses TEXT[] := array_fill('applied'::text, ARRAY[jsonb_array_length(mutations)]);
    events   BIGINT := 0;
    kind     RECORD;
    batch    JSONB;
    inserted UUID[];
    late     RECORD;
    tomorrow CONSTANT DATE := marea.tomorrow();
BEGIN
    FOR kind IN
        SELECT events.name, count(*) AS mutations
        FROM jsonb_array_elements(mutations) AS m
        JOIN (VALUES ('progress_events'), ('sessions')) AS events (name)
            ON m ->> 'table' = events.name AND m ->> 'op' = 'insert'
        GROUP BY events.name
        ORDER BY events.name
    LOOP
        -- Nearly always a batch is all of one kind, and need not be taken apart.
        batch := mutations;
        IF kind.mutations < cardinality(statuses) THEN
            SELECT jsonb_agg(m.value ORDER BY m.n) INTO batch
            FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n)
            WHERE m.value ->> 'table' = kind.name AND m.value ->> 'op' = 'insert';
        END IF;
        events := events + kind.mutations;
        inserted := CASE kind.name WHEN 'sessions' THEN marea.insert_sessions(batch)
            ELSE marea.insert_events(batch) END;
        IF cardinality(inserted) < kind.mutations THEN
            FOR late IN
                SELECT m.n
                FROM (
                    SELECT value ->> 'id' AS id, n, row_number() OVER (PARTITION BY value ->> 'id' ORDER BY n) AS time
                    FROM jsonb_array_elements(mutations) WITH ORDINALITY AS each (value, n)
                    WHERE value ->> 'table' = kind.name AND value ->> 'op' = 'insert'
                ) AS m
                WHERE m.time > 1 OR m.id NOT IN (SELECT i::text FROM unnest(inserted) AS i)
            LOOP
                statuses[late.n] := 'duplicate';
            END LOOP;
        END IF;
    END LOOP;

    FOR kind IN
        SELECT m.value, m.n
        FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n)
        WHERE events < cardinality(statuses)
          AND (m.value ->> 'table' IN ('sessions', 'progress_events') AND m.value ->> 'op' = 'insert') IS NOT TRUE
        ORDER BY m.n
    LOOP
        statuses[kind.n] := marea.apply_register(kind.value, client);
    END LOOP;

    -- Nearly never: a day that lies ahead counts for the streaks once it has come, and the device is told so.
    IF EXISTS (
        SELECT FROM jsonb_array_elements(mutations) AS m
        WHERE coalesce(m #>> '{values,session_data,local_date}', m #>> '{values,local_date}', m #>> '{values,ended_at}')
            COLLATE "C" > tomorrow::text
    ) THEN
        RETURN (
            SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', m.value -> 'id', 'status', m.status, 'counts_from',
                (SELECT nullif(greatest(day, tomorrow), tomorrow) FROM marea.local_day(
                    coalesce(m.value #>> '{values,session_data,local_date}', m.value #>> '{values,local_date}'),
                    (m.value #>> '{values,ended_at}')::timestamptz) AS day
                 WHERE m.value ->> 'table' IN ('sessions', 'progress_events')))) ORDER BY m.n)
            FROM ROWS FROM (jsonb_array_elements(mutations), unnest(statuses)) WITH ORDINALITY AS m (value, status, n)
        );
    END IF;
    RETURN (
        SELECT jsonb_agg(jsonb_build_object('id', m.value -> 'id', 'status', m.status) ORDER BY m.n)
        FROM ROWS FROM (jsonb_array_elements(mutations), unnest(statuses)) WITH ORDINALITY AS m (value, status, n)
    );
END
$$;

CREATE OR REPLACE FUNCTION marea.push_nothing(mutation JSONB) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Writes no row where this mutation would write one. What fails here (a missing table, column or privilege, a database that
-- may only be read) would refuse every mutation, and is no fault of any.
DECLARE
    relation CONSTANT TEXT := mutation ->> 'table';
    place    CONSTANT TEXT := CASE relation WHEN 'progress_events' THEN 'marea.' ELSE 'public.' END || relation;
    columns  TEXT[];
    insert_  TEXT;
BEGIN
    IF relation NOT IN ('sessions', 'progress_events', 'export_history', 'user_api_keys') IS NOT FALSE
        OR jsonb_typeof(mutation -> 'values') IS DISTINCT FROM 'object' THEN
        RETURN;
    END IF;
    PERFORM FROM marea.rows LIMIT 0;
    IF mutation ->> 'op' = 'insert' THEN
        columns := ARRAY(SELECT quote_ident(k) FROM jsonb_object_keys('{"user_id": 0, "id": 0}' || (mutation -> 'values')) AS k);
        insert_ := format('INSERT INTO %1$s (%2$s) SELECT v.%3$s FROM pg_catalog.jsonb_populate_record(NULL::%1$s, ''{}'') AS v '
            'WHERE false', place, array_to_string(columns, ', '), array_to_string(columns, ', v.'));
        PERFORM set_config('search_path', marea.app_search_path(), true);
        EXECUTE insert_;
    ELSIF relation = 'user_api_keys' THEN
        INSERT INTO public.user_api_keys (user_id) SELECT k.user_id FROM public.user_api_keys AS k WHERE false;
        UPDATE public.user_api_keys SET last_validated_at = NULL WHERE false;
    ELSIF relation = 'export_history' THEN
        UPDATE public.export_history SET status = 'failed' WHERE false;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.push_nothing(JSONB) IS 'Fails where a mutation like this one would fail whatever its values are.';

CREATE OR REPLACE FUNCTION marea.check_deferred(named TEXT) RETURNS VOID
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- The app's constraints and constraint triggers that wait for the end of the transaction look now: at the end, when nothing
-- can be refused alone any more, one of them would fail the whole request, again and again.
DECLARE
    look CONSTANT TEXT := 'SET CONSTRAINTS ' || named || ' IMMEDIATE';
    wait CONSTANT TEXT := 'SET CONSTRAINTS ' || named || ' DEFERRED';
BEGIN
    IF named IS NOT NULL THEN
        PERFORM set_config('search_path', marea.app_search_path(), true);
        EXECUTE look;
        EXECUTE wait;
    END IF;
END
$$;

COMMENT ON FUNCTION marea.check_deferred(TEXT) IS 'Lets constraints that are deferred look at what was written so far.';

CREATE OR REPLACE FUNCTION marea.push(mutations JSONB, client TEXT) RETURNS JSONB
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- All together; where that fails, one by one, so that only those are rejected that cannot be accepted, for whatever reason.
-- What is wrong with the server (a deadlock, a full disk, a timeout) and what a batch of nothing would meet too is not for
-- one mutation to suffer for: it fails the request, and nothing of it is kept.
DECLARE
    gone     CONSTANT TEXT := 'the signed-in user is not in users';
    remedy   CONSTANT TEXT := 'Make the user''s row first; nothing was kept of this request, send it again then.';
    -- Names that stand for a constraint that cannot be deferred as well are left out: SET CONSTRAINTS takes no table.
    deferred CONSTANT TEXT := (
        SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
        FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
        WHERE c.condeferred AND n.nspname <> 'marea' AND NOT EXISTS (
            SELECT FROM pg_constraint AS other
            WHERE other.connamespace = c.connamespace AND other.conname = c.conname AND NOT other.condeferrable));
    results  JSONB := '[]';
    mutation JSONB;
    result   JSONB;
    code     TEXT;
    message  TEXT;
    context  TEXT;
    place    TEXT;
BEGIN
    IF NOT marea.user_exists() THEN
        PERFORM marea.refuse('PT409', gone, remedy);
    END IF;

    BEGIN
        results := marea.push_together(mutations, client);
        PERFORM marea.check_deferred(deferred);
        RETURN results;
    EXCEPTION WHEN assert_failure OR OTHERS THEN
        IF marea.is_of_server(SQLSTATE) THEN
            RAISE;
        END IF;
        results := '[]';
    END;

    FOR mutation IN
        SELECT m.value FROM jsonb_array_elements(mutations) WITH ORDINALITY AS m (value, n) ORDER BY m.n
    LOOP
        BEGIN
            result := marea.push_together(jsonb_build_array(mutation), client) -> 0;
            PERFORM marea.check_deferred(deferred);
        EXCEPTION WHEN assert_failure OR OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
            IF marea.is_of_server(code) THEN
                RAISE;
            END IF;
            -- Deleted while this ran. To reject the mutation would set a learner's work aside for no fault of its own.
            IF code = '23503' AND NOT marea.user_exists() THEN
                PERFORM marea.refuse('PT409', gone, remedy);
            END IF;
            IF code !~ '^(22|23|39|P0)' THEN
                PERFORM marea.push_nothing(mutation);
            END IF;
            -- The innermost function: an app's trigger that misses something has its own remedy, Marea's fold is the server's.
            place := substring(context FROM 'PL/pgSQL function ([^(]+[(][^)]*[)])');
            IF code ~ '^42' AND code <> '42501' THEN
                IF place LIKE 'marea.%' OR place LIKE 'public.sessions_fold_into_progress(%' THEN
                    RAISE;
                ELSIF place IS NOT NULL AND code IN ('42P01', '42883', '42704') THEN -- no such table, function, type
                    message := format('%s (in %s; if a plain INSERT works, give that function its own search_path: '
                        'ALTER FUNCTION %s SET search_path = ...)', message, place, place);
                END IF;
            END IF;
            result := jsonb_build_object('id', mutation -> 'id', 'status', 'rejected', 'code', code, 'message', message);
        END;
        results := results || result;
    END LOOP;
    RETURN results;
END
$$;

CREATE OR REPLACE FUNCTION marea.is_of_server(code TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN code ~ '^(40|53|57|58|XX)' OR code = '55P03';

COMMENT ON FUNCTION marea.is_of_server(TEXT) IS
    'Whether an SQLSTATE is about the server and not about a mutation: a retry may cure it.';

-- The functions that are new above; those that were replaced keep what they had.
DO $$
DECLARE
    made REGPROCEDURE;
BEGIN
    FOR made IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'marea'::regnamespace AND proname IN (
            'tomorrow', 'refresh_streaks', 'app_search_path', 'triggers_before', 'insert_sessions_sql', 'refuse_left_out',
            'push_nothing', 'check_deferred', 'is_of_server')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated, service_role', made);
    END LOOP;
END
$$;

-- marea_sync runs as its caller.
GRANT EXECUTE ON FUNCTION marea.tomorrow(), marea.app_search_path(), marea.triggers_before(REGCLASS, TEXT),
    marea.insert_sessions_sql(JSONB, BOOLEAN, TEXT), marea.refuse_left_out(REGCLASS, TEXT, BOOLEAN), marea.push_nothing(JSONB),
    marea.check_deferred(TEXT), marea.is_of_server(TEXT), marea.local_day(TEXT, TIMESTAMPTZ)
TO authenticated;
GRANT EXECUTE ON FUNCTION marea.refresh_streaks() TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- Pages by bytes: 2,000 exports may weigh a megabyte or 200. What is too large for Postgres (54000), for a line or for a
-- phone's memory never arrives, however often it is asked for.
-- ---------------------------------------------------------------------------------------------------------------------

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
    bytes    BIGINT;
BEGIN
    SELECT coalesce(max(c.version), 0), coalesce(max(c.pruned), 0) INTO clock_at, pruned
    FROM marea.clocks AS c WHERE c.user_id = me;
    empty := (known BETWEEN pruned AND clock_at) IS NOT TRUE;
    since := CASE WHEN empty THEN 0 ELSE known END;
    FOR bytes IN
        -- 300: what a small row weighs.
        SELECT 300 + coalesce((
            SELECT coalesce(octet_length(t.data::text), 0) + coalesce(octet_length(t.filters::text), 0)
                 + coalesce(octet_length(t.file_url), 0) + coalesce(octet_length(t.error_message), 0)
            FROM public.export_history AS t WHERE t.id = line.id AND t.user_id = me), 0)
        FROM (
            SELECT r.version, CASE WHEN r.table_name = 'export_history' AND NOT r.deleted THEN r.row_key::uuid END AS id
            FROM marea.rows AS r
            WHERE r.user_id = me AND r.version > since
              AND (r.table_name || '') IN ('user_progress', 'daily_activity', 'export_history', 'user_api_keys')
              AND NOT (r.deleted AND empty)
            ORDER BY r.version
            LIMIT most
        ) AS line
        ORDER BY line.version
    LOOP
        total := total + bytes;
        EXIT WHEN total > most_bytes;
        place := place + 1;
    END LOOP;
    RETURN CASE WHEN total > most_bytes THEN greatest(place, 1) ELSE most END;
END
$$;

COMMENT ON FUNCTION marea.rows_within(UUID, BIGINT, INTEGER, INTEGER) IS
    'How many rows of the page behind a version fit into so many bytes, at least one; at most the number given.';

CREATE OR REPLACE FUNCTION public.marea_sync(request JSONB) RETURNS JSONB
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $function$
-- One sync: pushes the request's mutations, pulls what changed after its cursor, in one transaction. See docs/PROTOCOL.md.
DECLARE
    idle       CONSTANT JSONB := marea.idle_answer(request);
    page_bytes CONSTANT INTEGER := 1048576;
    fewer      CONSTANT TEXT := request -> 'limit_bytes';
    most       INTEGER;
    me         UUID;
    history    TEXT;
    known      BIGINT;
    results    JSONB := '[]';
    page       RECORD;
    absent     JSONB := '{}';
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
    ELSIF NOT marea.user_exists() THEN
        -- A push would be refused for it. Whoever only looks is told.
        absent := '{"user_missing": true}';
    END IF;

    most := marea.rows_within(me, known, coalesce((request ->> 'limit')::int, 500),
        least(CASE WHEN fewer ~ '^[1-9][0-9]{0,8}$' THEN fewer::int END, page_bytes));
    SELECT * INTO page FROM marea.page(me, known, most, coalesce(request -> 'packed' = 'true', false));

    -- For people who watch (004), not for correctness: a device is noted at most once an hour.
    PERFORM marea.note_client((request ->> 'client_id')::uuid, (request ->> 'schema')::integer, page.upto);

    RETURN absent || jsonb_build_object(
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
$function$;

REVOKE ALL ON FUNCTION marea.rows_within(UUID, BIGINT, INTEGER, INTEGER) FROM PUBLIC, anon, authenticated, service_role;
-- marea_sync runs as its caller.
GRANT EXECUTE ON FUNCTION marea.rows_within(UUID, BIGINT, INTEGER, INTEGER) TO authenticated;

NOTIFY pgrst, 'reload schema';

COMMIT;
