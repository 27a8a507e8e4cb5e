-- Assembled from migrations/source by `cargo xtask migrations`: change it there.
-- 001: the app's tables that Marea keeps in step with its devices.
--
-- Makes user_api_keys, user_progress and export_history (8, 25 and 18 columns) with row level security, and folds every
-- completed session into its learner's progress. Adds to sessions one trigger and nothing else.
-- Needs users, sessions, auth.uid() and the roles anon, authenticated, service_role; looks for them before it changes
-- anything. One transaction; run twice, the second run changes nothing. Taken back by 001_add_missing_tables_rollback.sql,
-- counted by validate_001.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
DECLARE
    missing TEXT;
BEGIN
    SELECT string_agg('  - ' || problem, E'\n' ORDER BY place, problem) INTO missing
    FROM (
        SELECT 1 AS place, format('role %s', name) AS problem
        FROM unnest(ARRAY['anon', 'authenticated', 'service_role']) AS name
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
        UNION ALL
        SELECT 2, 'function auth.uid() returning uuid (the id of the signed-in user)'
        WHERE NOT EXISTS (
            SELECT FROM pg_proc AS function JOIN pg_namespace AS schema ON schema.oid = function.pronamespace
            WHERE schema.nspname = 'auth' AND function.proname = 'uid' AND function.pronargs = 0
              AND function.prorettype = 'uuid'::regtype
        )
        UNION ALL
        SELECT 3, format('table public.%s', name)
        FROM unnest(ARRAY['users', 'sessions']) AS name
        WHERE to_regclass('public.' || name) IS NULL
        UNION ALL
        SELECT 4, format('column public.%s.%s of type %s', wanted.relation, wanted.name, wanted.type)
        FROM (VALUES
            ('users', 'id', 'uuid'),
            ('sessions', 'id', 'uuid'),
            ('sessions', 'user_id', 'uuid'),
            ('sessions', 'ended_at', 'timestamp with time zone'),
            ('sessions', 'duration_minutes', 'integer'),
            ('sessions', 'images_processed', 'integer'),
            ('sessions', 'descriptions_generated', 'integer'),
            ('sessions', 'qa_attempts', 'integer'),
            ('sessions', 'qa_correct', 'integer'),
            ('sessions', 'vocabulary_learned', 'integer'),
            ('sessions', 'session_data', 'jsonb')
        ) AS wanted (relation, name, type)
        WHERE to_regclass('public.' || wanted.relation) IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = to_regclass('public.' || wanted.relation) AND attname = wanted.name
              AND NOT attisdropped AND format_type(atttypid, NULL) = wanted.type
          )
        UNION ALL
        SELECT 5, 'a primary key or unique constraint on public.users (id)'
        WHERE to_regclass('public.users') IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = to_regclass('public.users') AND i.indisunique AND i.indnkeyatts = 1
              AND i.indpred IS NULL AND a.attname = 'id'
          )
        UNION ALL
        SELECT 6, format('public.%s is in the way: it exists, but not as this migration makes it (adopt.sql makes room)', standing.name)
        FROM (VALUES
            ('user_api_keys', 'anthropic_api_key text, created_at timestamp with time zone, id uuid, last_validated_at timestamp with time '
                'zone, openai_api_key text, unsplash_api_key text, updated_at timestamp with time zone, user_id uuid'),
            ('user_progress', 'achievements jsonb, average_accuracy numeric, average_completion_time_seconds integer, created_at timestamp '
                'with time zone, current_streak_days integer, id uuid, last_active_on date, last_activity_at timestamp with time zone, '
                'last_description_at timestamp with time zone, last_qa_session_at timestamp with time zone, last_vocabulary_practice_at '
                'timestamp with time zone, learning_words_count integer, longest_streak_days integer, mastered_words_count integer, '
                'new_words_count integer, total_descriptions integer, total_images integer, total_points integer, total_questions_answered '
                'integer, total_questions_correct integer, total_sessions integer, total_time_spent_minutes integer, '
                'total_vocabulary_learned integer, updated_at timestamp with time zone, user_id uuid'),
            ('export_history', 'completed_at timestamp with time zone, created_at timestamp with time zone, data jsonb, error_message text, '
                'expires_at timestamp with time zone, export_format character varying, export_type character varying, file_size_bytes '
                'bigint, file_url text, filters jsonb, id uuid, processing_time_seconds integer, records_count integer, retry_count integer, '
                'started_at timestamp with time zone, status character varying, updated_at timestamp with time zone, user_id uuid')
        ) AS standing (name, columns)
        WHERE to_regclass('public.' || standing.name) IS NOT NULL
          AND standing.columns IS DISTINCT FROM (
            SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attname COLLATE "C")
            FROM pg_attribute AS a
            WHERE a.attrelid = to_regclass('public.' || standing.name) AND a.attnum > 0 AND NOT a.attisdropped
          )
    ) AS problems;

    IF to_regclass('marea.replaced') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 001 cannot be applied; nothing was changed. This database has the migrations of before the first release'
            USING HINT = 'Run migrations/upgrade/from_before_release.sql instead.';
    END IF;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION E'Marea 001 cannot be applied; nothing was changed. Missing:\n%', missing
            USING HINT = 'docs/migrations/001-add-missing-tables.md says what each is for.';
    END IF;

    IF to_regclass('public.user_api_keys') IS NOT NULL AND to_regclass('public.user_progress') IS NOT NULL
       AND to_regclass('public.export_history') IS NOT NULL THEN
        RAISE NOTICE 'Marea 001 stands already: this run changes nothing.';
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- api_keys
-- ---------------------------------------------------------------------------------------------------------------------

-- user_api_keys: third-party API keys, sealed on the device. Only envelopes of the documented formats (docs/VAULT.md) come in.

CREATE TABLE IF NOT EXISTS public.user_api_keys (
    id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id           UUID NOT NULL UNIQUE REFERENCES public.users (id) ON DELETE CASCADE,
    openai_api_key    TEXT,
    unsplash_api_key  TEXT,
    anthropic_api_key TEXT,
    last_validated_at TIMESTAMPTZ,
    created_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at        TIMESTAMPTZ NOT NULL DEFAULT now()
);

COMMENT ON TABLE public.user_api_keys IS
    'One row per user: API keys sealed on the device. The server holds ciphertext only and cannot open it.';
COMMENT ON COLUMN public.user_api_keys.id IS 'Row id; made by the server; never changes (once).';
COMMENT ON COLUMN public.user_api_keys.user_id IS 'Owner; from the token of the writer; never changes (once).';
COMMENT ON COLUMN public.user_api_keys.openai_api_key IS
    'Sealed envelope (docs/VAULT.md), at most 2790 characters, NULL = none; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.unsplash_api_key IS
    'Sealed envelope (docs/VAULT.md), at most 2790 characters, NULL = none; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.anthropic_api_key IS
    'Sealed envelope (docs/VAULT.md), at most 2790 characters, NULL = none; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.last_validated_at IS
    'When a device last saw the providers accept its keys; written by devices; register.';
COMMENT ON COLUMN public.user_api_keys.created_at IS 'When the row was made; server clock; never changes (once).';
COMMENT ON COLUMN public.user_api_keys.updated_at IS 'When the row was last written; set by trigger; not synced as a change.';

-- Every part has its length and its letters, and the rounds of the passphrase have their bounds, so that neither a key in the
-- clear nor half an envelope is kept. What Postgres cannot see without the passphrase, whether an envelope opens, is the devices'
-- affair. A client that writes a newer format needs the migration that lets it in first.
DO $$
DECLARE
    provider TEXT;
BEGIN
    FOREACH provider IN ARRAY ARRAY['openai', 'unsplash', 'anthropic'] LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = 'public.user_api_keys'::regclass AND conname = format('user_api_keys_%s_envelope', provider));
        EXECUTE format($add$
            ALTER TABLE public.user_api_keys ADD CONSTRAINT user_api_keys_%1$s_envelope CHECK (
                length(%1$s_api_key) <= 1715 AND %1$s_api_key ~
                '^marea1\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                OR length(%1$s_api_key) <= 2790 AND %1$s_api_key ~
                '^marea2\.[A-Za-z0-9_-]{16}\.pbkdf2-sha256-[1-9][0-9]{5,6}\.[0-9]{13}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{80}\.[A-Za-z0-9_-]{20}\.(0|[0-9]{13}[A-Za-z0-9_-]{100})\.[A-Za-z0-9_-]{20,}\.[0-9]{13}-[0-9a-f]{4}\.[A-Za-z0-9_-]{39,}\.[A-Za-z0-9_-]{12}$'
                -- The list of superseded data keys: at most 8 entries of 129 characters, and a MAC. The key itself, padded.
                AND length(split_part(%1$s_api_key, '.', 9)) %% 129 = 20 AND length(split_part(%1$s_api_key, '.', 9)) <= 1052
                AND length(split_part(%1$s_api_key, '.', 11)) IN (382, 723, 1406))
        $add$, provider);
        EXECUTE format('COMMENT ON CONSTRAINT user_api_keys_%1$s_envelope ON public.user_api_keys IS %2$L',
            provider, 'An envelope of format 1 or 2 (docs/VAULT.md), part by part; NULL = none.');
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- progress
-- ---------------------------------------------------------------------------------------------------------------------

-- user_progress: what a learner has done, all sessions and awards together.

CREATE TABLE IF NOT EXISTS public.user_progress (
    id                              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id                         UUID NOT NULL UNIQUE, -- its foreign key comes at the end, when the rows are in
    total_descriptions              INTEGER NOT NULL DEFAULT 0,
    total_images                    INTEGER NOT NULL DEFAULT 0,
    total_questions_answered        INTEGER NOT NULL DEFAULT 0,
    total_questions_correct         INTEGER NOT NULL DEFAULT 0,
    total_vocabulary_learned        INTEGER NOT NULL DEFAULT 0,
    total_sessions                  INTEGER NOT NULL DEFAULT 0,
    total_time_spent_minutes        INTEGER NOT NULL DEFAULT 0,
    current_streak_days             INTEGER NOT NULL DEFAULT 0,
    longest_streak_days             INTEGER NOT NULL DEFAULT 0,
    total_points                    INTEGER NOT NULL DEFAULT 0,
    average_accuracy                NUMERIC(5, 2) NOT NULL DEFAULT 0,
    average_completion_time_seconds INTEGER NOT NULL DEFAULT 0,
    mastered_words_count            INTEGER NOT NULL DEFAULT 0,
    learning_words_count            INTEGER NOT NULL DEFAULT 0,
    new_words_count                 INTEGER NOT NULL DEFAULT 0,
    achievements                    JSONB NOT NULL DEFAULT '{}' CONSTRAINT user_progress_achievements_object
        CHECK (jsonb_typeof(achievements) = 'object'),
    last_activity_at                TIMESTAMPTZ,
    last_description_at             TIMESTAMPTZ,
    last_qa_session_at              TIMESTAMPTZ,
    last_vocabulary_practice_at     TIMESTAMPTZ,
    last_active_on                  DATE,
    created_at                      TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at                      TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS user_progress_last_activity_at_idx ON public.user_progress (last_activity_at DESC);

COMMENT ON TABLE public.user_progress IS
    'One row per user: the fold of all completed sessions and awards. Written by triggers, read by everybody.';
COMMENT ON COLUMN public.user_progress.id IS 'Row id; made by the server; never changes (once).';
COMMENT ON COLUMN public.user_progress.user_id IS 'The learner; never changes (once).';
COMMENT ON COLUMN public.user_progress.total_descriptions IS 'Descriptions generated, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.total_images IS 'Images processed, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.total_questions_answered IS 'Questions answered, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.total_questions_correct IS
    'Questions answered correctly, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.total_vocabulary_learned IS 'Words learned, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.total_sessions IS
    'Completed sessions (ended_at set), each once; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.total_time_spent_minutes IS 'Time spent, minutes; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.current_streak_days IS
    'Consecutive local days that end at last_active_on; readers show 0 when that is before yesterday; by trigger; fold.';
COMMENT ON COLUMN public.user_progress.longest_streak_days IS
    'Longest run of consecutive local days ever; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.total_points IS 'Points awarded; written by trigger, sessions give none; fold.';
COMMENT ON COLUMN public.user_progress.average_accuracy IS
    'Percent, 0 to 100: correct / answered over all time, 2 decimals; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.average_completion_time_seconds IS
    'Seconds: 60 * minutes / sessions over all time, rounded; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.mastered_words_count IS 'Words mastered now, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.learning_words_count IS 'Words being learned now, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.new_words_count IS 'Words not started yet, count; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.achievements IS
    'Achievement id -> when it was unlocked, UTC timestamp text; written by trigger; union, the earlier unlock wins.';
COMMENT ON COLUMN public.user_progress.last_activity_at IS 'End of the latest session or award; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.last_description_at IS
    'The same, of those with a description; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.last_qa_session_at IS
    'The same, of those with a question answered; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.last_vocabulary_practice_at IS
    'The same, of those with a word learned or moved; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.last_active_on IS
    'Latest local day of the learner with a session or award; written by trigger; fold.';
COMMENT ON COLUMN public.user_progress.created_at IS 'When the row was made; server clock; never changes (once).';
COMMENT ON COLUMN public.user_progress.updated_at IS 'When the row was last written; set by trigger; not synced as a change.';

-- ---------------------------------------------------------------------------------------------------------------------
-- exports
-- ---------------------------------------------------------------------------------------------------------------------

-- export_history: exports that a learner asked for, and how they went.

CREATE TABLE IF NOT EXISTS public.export_history (
    id                      UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id                 UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    export_type             VARCHAR(50) NOT NULL,
    export_format           VARCHAR(20) NOT NULL,
    status                  VARCHAR(20) NOT NULL DEFAULT 'pending' CONSTRAINT export_history_status_known
        CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'expired')),
    records_count           INTEGER CONSTRAINT export_history_records_count_positive CHECK (records_count >= 0),
    file_size_bytes         BIGINT CONSTRAINT export_history_file_size_positive CHECK (file_size_bytes >= 0),
    file_url                TEXT,
    filters                 JSONB NOT NULL DEFAULT '{}',
    data                    JSONB,
    error_message           TEXT,
    retry_count             INTEGER NOT NULL DEFAULT 0 CONSTRAINT export_history_retry_count_positive CHECK (retry_count >= 0),
    started_at              TIMESTAMPTZ,
    completed_at            TIMESTAMPTZ,
    processing_time_seconds INTEGER CONSTRAINT export_history_processing_time_positive CHECK (processing_time_seconds >= 0),
    expires_at              TIMESTAMPTZ,
    created_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at              TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS export_history_user_id_idx ON public.export_history (user_id);
CREATE INDEX IF NOT EXISTS export_history_status_idx ON public.export_history (status);
CREATE INDEX IF NOT EXISTS export_history_created_at_idx ON public.export_history (created_at DESC);
CREATE INDEX IF NOT EXISTS export_history_export_type_idx ON public.export_history (export_type);

COMMENT ON TABLE public.export_history IS
    'One row per export: asked for by a device, worked on by the backend (service_role).';
COMMENT ON COLUMN public.export_history.id IS 'Export id (UUIDv7), made by the device that asks; never changes (once).';
COMMENT ON COLUMN public.export_history.user_id IS 'Owner; from the token of the writer; never changes (once).';
COMMENT ON COLUMN public.export_history.export_type IS 'What is exported, up to 50 characters; device; never changes (once).';
COMMENT ON COLUMN public.export_history.export_format IS 'File format, up to 20 characters; device; never changes (once).';
COMMENT ON COLUMN public.export_history.status IS
    'pending, processing, completed, failed or expired; device and backend; register.';
COMMENT ON COLUMN public.export_history.records_count IS 'Records in the export, count; backend; register.';
COMMENT ON COLUMN public.export_history.file_size_bytes IS 'Size of the file, bytes; backend; register.';
COMMENT ON COLUMN public.export_history.file_url IS 'Where the file can be fetched; backend; register.';
COMMENT ON COLUMN public.export_history.filters IS 'What the learner chose to export; device; never changes (once).';
COMMENT ON COLUMN public.export_history.data IS 'A small export itself, instead of a file; backend; register.';
COMMENT ON COLUMN public.export_history.error_message IS 'Why the export failed, for people; backend; register.';
COMMENT ON COLUMN public.export_history.retry_count IS 'Attempts after the first, count; backend; register.';
COMMENT ON COLUMN public.export_history.started_at IS 'When work began; backend; register.';
COMMENT ON COLUMN public.export_history.completed_at IS 'When work ended; backend; register.';
COMMENT ON COLUMN public.export_history.processing_time_seconds IS 'How long the work took, seconds; backend; register.';
COMMENT ON COLUMN public.export_history.expires_at IS 'When the file may be thrown away; backend; register.';
COMMENT ON COLUMN public.export_history.created_at IS 'When the export was asked for; never changes (once).';
COMMENT ON COLUMN public.export_history.updated_at IS 'When the row was last written; set by trigger; not synced as a change.';

-- ---------------------------------------------------------------------------------------------------------------------
-- updated_at
-- ---------------------------------------------------------------------------------------------------------------------

-- updated_at of the three tables: when a row was last written, whoever writes it.

CREATE OR REPLACE FUNCTION public.user_api_keys_set_updated_at() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION public.user_api_keys_set_updated_at() IS 'Trigger: sets updated_at.';

CREATE OR REPLACE FUNCTION public.user_progress_set_updated_at() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION public.user_progress_set_updated_at() IS 'Trigger: sets updated_at.';

CREATE OR REPLACE FUNCTION public.export_history_set_updated_at() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION public.export_history_set_updated_at() IS 'Trigger: sets updated_at.';

REVOKE EXECUTE ON FUNCTION public.user_api_keys_set_updated_at(), public.user_progress_set_updated_at(),
    public.export_history_set_updated_at() FROM PUBLIC, anon, authenticated, service_role;

CREATE OR REPLACE TRIGGER user_api_keys_set_updated_at BEFORE UPDATE ON public.user_api_keys
    FOR EACH ROW EXECUTE FUNCTION public.user_api_keys_set_updated_at();
CREATE OR REPLACE TRIGGER user_progress_set_updated_at BEFORE UPDATE ON public.user_progress
    FOR EACH ROW EXECUTE FUNCTION public.user_progress_set_updated_at();
CREATE OR REPLACE TRIGGER export_history_set_updated_at BEFORE UPDATE ON public.export_history
    FOR EACH ROW EXECUTE FUNCTION public.export_history_set_updated_at();

-- ---------------------------------------------------------------------------------------------------------------------
-- row_fold
-- ---------------------------------------------------------------------------------------------------------------------

-- The fold of an app without the sync layer: one session at a time, sessions alone. Where the schema marea stands its own triggers
-- fold (fold_triggers.sql), a whole statement at once, and this one is not called: see its WHEN.

CREATE OR REPLACE FUNCTION public.sessions_fold_into_progress() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Folds one inserted, changed or deleted session into user_progress. A session counts while its ended_at is set; a
-- change takes the old values out and puts the new ones in, so that the row always equals the fold of all sessions.
-- Runs as the owner because a learner's own policies need not allow what the fold writes.
DECLARE
    change   RECORD;
    progress public.user_progress%ROWTYPE;
BEGIN
    -- Most updates of a session do not touch what is folded.
    IF TG_OP = 'UPDATE' AND ROW(OLD.user_id, OLD.ended_at, OLD.duration_minutes, OLD.images_processed,
            OLD.descriptions_generated, OLD.qa_attempts, OLD.qa_correct, OLD.vocabulary_learned,
            OLD.session_data ->> 'local_date')
        IS NOT DISTINCT FROM ROW(NEW.user_id, NEW.ended_at, NEW.duration_minutes, NEW.images_processed,
            NEW.descriptions_generated, NEW.qa_attempts, NEW.qa_correct, NEW.vocabulary_learned,
            NEW.session_data ->> 'local_date') THEN
        RETURN NULL;
    END IF;

    -- One line per learner, two when a session was moved to somebody else; in one order for all transactions.
    FOR change IN
        SELECT fact.user_id,
               sum(sign) AS sessions,
               sum(sign * greatest(coalesce(fact.minutes, 0), 0)) AS minutes,
               sum(sign * greatest(coalesce(fact.images, 0), 0)) AS images,
               sum(sign * greatest(coalesce(fact.descriptions, 0), 0)) AS descriptions,
               sum(sign * greatest(coalesce(fact.answered, 0), 0)) AS answered,
               sum(sign * greatest(coalesce(fact.correct, 0), 0)) AS correct,
               sum(sign * greatest(coalesce(fact.words, 0), 0)) AS words,
               bool_or(sign < 0) AS takes_out,
               max(fact.ended_at) FILTER (WHERE sign > 0) AS activity_at,
               max(fact.ended_at) FILTER (WHERE sign > 0 AND fact.descriptions > 0) AS description_at,
               max(fact.ended_at) FILTER (WHERE sign > 0 AND fact.answered > 0) AS qa_at,
               max(fact.ended_at) FILTER (WHERE sign > 0 AND fact.words > 0) AS words_at,
               -- The learner's local day; the UTC day where that is missing or no date at all.
               max(CASE
                   WHEN NOT fact.local_date ~ '^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
                       OR fact.local_date IS NULL THEN (fact.ended_at AT TIME ZONE 'UTC')::date
                   WHEN substr(fact.local_date, 9, 2)::int <= date_part('day', make_date(substr(fact.local_date, 1, 4)::int,
                       substr(fact.local_date, 6, 2)::int, 1) + interval '1 month' - interval '1 day')
                       THEN make_date(substr(fact.local_date, 1, 4)::int, substr(fact.local_date, 6, 2)::int,
                           substr(fact.local_date, 9, 2)::int)
                   ELSE (fact.ended_at AT TIME ZONE 'UTC')::date
               END) FILTER (WHERE sign > 0) AS day
        FROM (
            SELECT -1 AS sign, OLD.user_id, OLD.ended_at, OLD.duration_minutes AS minutes,
                   OLD.images_processed AS images, OLD.descriptions_generated AS descriptions,
                   OLD.qa_attempts AS answered, OLD.qa_correct AS correct, OLD.vocabulary_learned AS words,
                   OLD.session_data ->> 'local_date' AS local_date
            WHERE TG_OP <> 'INSERT'
            UNION ALL
            SELECT 1, NEW.user_id, NEW.ended_at, NEW.duration_minutes, NEW.images_processed,
                   NEW.descriptions_generated, NEW.qa_attempts, NEW.qa_correct, NEW.vocabulary_learned,
                   NEW.session_data ->> 'local_date'
            WHERE TG_OP <> 'DELETE'
        ) AS fact
        WHERE isfinite(fact.ended_at) -- neither NULL nor "infinity", which lies on no day
        GROUP BY fact.user_id
        ORDER BY fact.user_id
    LOOP
        -- A learner who is being deleted takes the sessions along, one trigger each, and is gone already.
        CONTINUE WHEN NOT EXISTS (SELECT FROM public.users WHERE users.id = change.user_id);

        -- The row's lock comes before anything is read, so that no session of a parallel transaction is missed.
        SELECT * INTO progress FROM public.user_progress WHERE user_id = change.user_id FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            INSERT INTO public.user_progress (user_id) VALUES (change.user_id) ON CONFLICT (user_id) DO NOTHING;
            SELECT * INTO progress FROM public.user_progress WHERE user_id = change.user_id FOR NO KEY UPDATE;
        END IF;

        progress.total_sessions := least(progress.total_sessions + change.sessions, 2147483647);
        progress.total_time_spent_minutes := least(progress.total_time_spent_minutes + change.minutes, 2147483647);
        progress.total_images := least(progress.total_images + change.images, 2147483647);
        progress.total_descriptions := least(progress.total_descriptions + change.descriptions, 2147483647);
        progress.total_questions_answered := least(progress.total_questions_answered + change.answered, 2147483647);
        progress.total_questions_correct := least(progress.total_questions_correct + change.correct, 2147483647);
        progress.total_vocabulary_learned := least(progress.total_vocabulary_learned + change.words, 2147483647);

        IF NOT change.takes_out THEN
            progress.last_activity_at := greatest(progress.last_activity_at, change.activity_at);
            progress.last_description_at := greatest(progress.last_description_at, change.description_at);
            progress.last_qa_session_at := greatest(progress.last_qa_session_at, change.qa_at);
            progress.last_vocabulary_practice_at := greatest(progress.last_vocabulary_practice_at, change.words_at);
        ELSE
            SELECT max(ended_at), max(ended_at) FILTER (WHERE descriptions_generated > 0),
                   max(ended_at) FILTER (WHERE qa_attempts > 0), max(ended_at) FILTER (WHERE vocabulary_learned > 0)
            INTO progress.last_activity_at, progress.last_description_at, progress.last_qa_session_at,
                 progress.last_vocabulary_practice_at
            FROM public.sessions
            WHERE user_id = change.user_id AND isfinite(ended_at);
        END IF;

        IF NOT change.takes_out AND (progress.last_active_on IS NULL OR change.day >= progress.last_active_on) THEN
            progress.current_streak_days := CASE change.day - progress.last_active_on
                WHEN 0 THEN progress.current_streak_days
                WHEN 1 THEN progress.current_streak_days + 1
                ELSE 1
            END;
            progress.longest_streak_days := greatest(progress.longest_streak_days, progress.current_streak_days);
            progress.last_active_on := change.day;
        ELSE
            -- Days that follow one another have the same distance to their rank: that distance names the run.
            SELECT max(run.last_day), coalesce((array_agg(run.days ORDER BY run.last_day DESC))[1], 0),
                   coalesce(max(run.days), 0)
            INTO progress.last_active_on, progress.current_streak_days, progress.longest_streak_days
            FROM (
                SELECT max(ranked.day) AS last_day, count(*) AS days
                FROM (
                    SELECT active.day, active.day - (row_number() OVER (ORDER BY active.day))::int AS run
                    FROM (
                        SELECT DISTINCT CASE
                            WHEN NOT local.date ~ '^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
                                OR local.date IS NULL THEN (session.ended_at AT TIME ZONE 'UTC')::date
                            WHEN substr(local.date, 9, 2)::int <= date_part('day', make_date(substr(local.date, 1, 4)::int,
                                substr(local.date, 6, 2)::int, 1) + interval '1 month' - interval '1 day')
                                THEN make_date(substr(local.date, 1, 4)::int, substr(local.date, 6, 2)::int,
                                    substr(local.date, 9, 2)::int)
                            ELSE (session.ended_at AT TIME ZONE 'UTC')::date
                        END AS day
                        FROM public.sessions AS session, LATERAL (SELECT session.session_data ->> 'local_date') AS local (date)
                        WHERE session.user_id = change.user_id AND isfinite(session.ended_at)
                    ) AS active
                ) AS ranked
                GROUP BY ranked.run
            ) AS run;
        END IF;

        progress.average_accuracy := CASE WHEN progress.total_questions_answered <= 0 THEN 0 ELSE least(100,
            round(100::numeric * progress.total_questions_correct / progress.total_questions_answered, 2)) END;
        progress.average_completion_time_seconds := CASE WHEN progress.total_sessions <= 0 THEN 0 ELSE
            least(round(60::numeric * progress.total_time_spent_minutes / progress.total_sessions), 2147483647) END;

        UPDATE public.user_progress SET
            total_sessions = progress.total_sessions,
            total_time_spent_minutes = progress.total_time_spent_minutes,
            total_images = progress.total_images,
            total_descriptions = progress.total_descriptions,
            total_questions_answered = progress.total_questions_answered,
            total_questions_correct = progress.total_questions_correct,
            total_vocabulary_learned = progress.total_vocabulary_learned,
            average_accuracy = progress.average_accuracy,
            average_completion_time_seconds = progress.average_completion_time_seconds,
            last_activity_at = progress.last_activity_at,
            last_description_at = progress.last_description_at,
            last_qa_session_at = progress.last_qa_session_at,
            last_vocabulary_practice_at = progress.last_vocabulary_practice_at,
            last_active_on = progress.last_active_on,
            current_streak_days = progress.current_streak_days,
            longest_streak_days = progress.longest_streak_days
        WHERE user_id = change.user_id;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION public.sessions_fold_into_progress() IS
    'Trigger: folds completed sessions into user_progress, each once, corrections by their difference.';

REVOKE EXECUTE ON FUNCTION public.sessions_fold_into_progress() FROM PUBLIC, anon, authenticated, service_role;

-- to_regnamespace, because it asks for no privilege: this is evaluated as whoever writes to sessions.
CREATE OR REPLACE TRIGGER sessions_fold_into_progress AFTER INSERT OR UPDATE OR DELETE ON public.sessions
    FOR EACH ROW WHEN (pg_catalog.to_regnamespace('marea') IS NULL)
    EXECUTE FUNCTION public.sessions_fold_into_progress();

-- ---------------------------------------------------------------------------------------------------------------------
-- app_access
-- ---------------------------------------------------------------------------------------------------------------------

-- Who may do what with the three tables: row level security, twelve policies, grants.

ALTER TABLE public.user_api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_progress ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.export_history ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    own    CONSTANT TEXT := 'user_id = (SELECT auth.uid())';
    wanted RECORD;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('user_api_keys', 'user_api_keys_select_own', 'SELECT', 'authenticated', own, NULL),
            ('user_api_keys', 'user_api_keys_insert_own', 'INSERT', 'authenticated', NULL, own),
            ('user_api_keys', 'user_api_keys_update_own', 'UPDATE', 'authenticated', own, own),
            ('user_api_keys', 'user_api_keys_delete_own', 'DELETE', 'authenticated', own, NULL),
            ('user_progress', 'user_progress_select_own', 'SELECT', 'authenticated', own, NULL),
            ('user_progress', 'user_progress_insert_own', 'INSERT', 'authenticated', NULL, own),
            ('user_progress', 'user_progress_update_own', 'UPDATE', 'authenticated', own, own),
            ('user_progress', 'user_progress_service', 'ALL', 'service_role', 'true', 'true'),
            ('export_history', 'export_history_select_own', 'SELECT', 'authenticated', own, NULL),
            ('export_history', 'export_history_insert_own', 'INSERT', 'authenticated', NULL, own),
            ('export_history', 'export_history_update_own', 'UPDATE', 'authenticated', own, own),
            ('export_history', 'export_history_service', 'ALL', 'service_role', 'true', 'true')
        ) AS policies (relation, name, command, role, readable, writable)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('public.' || policies.relation) AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON public.%I FOR %s TO %I', wanted.name, wanted.relation, wanted.command, wanted.role)
            || coalesce(' USING (' || wanted.readable || ')', '')
            || coalesce(' WITH CHECK (' || wanted.writable || ')', '');
    END LOOP;
END
$$;

-- Supabase's default privileges have given all of this to all three roles; a plain Postgres has given nothing.
REVOKE ALL ON public.user_api_keys, public.user_progress, public.export_history FROM PUBLIC, anon;

REVOKE ALL ON public.user_api_keys FROM service_role; -- no job may read keys, not even one that bypasses policies
REVOKE ALL ON public.user_api_keys, public.user_progress, public.export_history FROM authenticated;

-- By column: what is set once stays, what the server sets is the server's, and the fold's columns are written by the fold alone.
-- marea_sync writes with the same rights.
GRANT SELECT, DELETE,
    INSERT (user_id, openai_api_key, unsplash_api_key, anthropic_api_key, last_validated_at),
    UPDATE (openai_api_key, unsplash_api_key, anthropic_api_key, last_validated_at)
ON public.user_api_keys TO authenticated;
GRANT SELECT, INSERT (user_id) ON public.user_progress TO authenticated;
GRANT SELECT,
    INSERT (id, user_id, export_type, export_format, status, records_count, file_size_bytes, file_url, filters, data, error_message,
        retry_count, started_at, completed_at, processing_time_seconds, expires_at, created_at),
    UPDATE (status, records_count, file_size_bytes, file_url, data, error_message, retry_count, started_at, completed_at,
        processing_time_seconds, expires_at)
ON public.export_history TO authenticated;
GRANT ALL ON public.user_progress, public.export_history TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- first_rows
-- ---------------------------------------------------------------------------------------------------------------------

-- A progress row for every learner who is here already.

INSERT INTO public.user_progress (user_id)
SELECT id FROM public.users ORDER BY id
ON CONFLICT (user_id) DO NOTHING;

-- Checked for all rows at once, which is many times faster than row by row as they come.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'public.user_progress'::regclass AND conname = 'user_progress_user_id_fkey'
    ) THEN
        ALTER TABLE public.user_progress ADD CONSTRAINT user_progress_user_id_fkey
            FOREIGN KEY (user_id) REFERENCES public.users (id) ON DELETE CASCADE;
    END IF;
END
$$;

NOTIFY pgrst, 'reload schema';

COMMIT;
