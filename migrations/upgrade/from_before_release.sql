-- Assembled from migrations/source by `cargo xtask migrations`: change it there.
-- Brings over a database that has the migrations of before the first release (001_schema_alignment to 008_sturdy, all eight): the
-- result is the same as that of 001 to 004 of today, and every row is kept, with its version.
--
-- One transaction: syncs wait for it, for the seconds that it takes, and go on. Afterwards run the validations; 001 to 004 need not
-- be run, and change nothing if they are. Refuses a database that has none of it, not all of it, or awards that were rolled up
-- (docs/adr/0091 says why there is no roll-up any more). Back up first; there is no way back but the backup.

BEGIN;

DO $$
DECLARE
    rolled BIGINT := 0;
BEGIN
    IF to_regclass('marea.replaced') IS NULL THEN
        RAISE EXCEPTION 'Nothing was changed: this database has not the migrations of before the first release'
            USING HINT = 'If it has none of Marea, apply 001 to 004. If it was brought over already, there is nothing to do.';
    END IF;
    IF NOT EXISTS (SELECT FROM marea.replaced WHERE name LIKE '008 %') OR to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Nothing was changed: this database has some of the eight migrations of before the first release, not all'
            USING HINT = 'Take back what it has with the rollbacks that came with it, or apply the rest of them, and run this then.';
    END IF;
    IF to_regclass('marea.rolled_up') IS NOT NULL THEN
        SELECT count(*) INTO rolled FROM marea.rolled_up;
    END IF;
    IF rolled > 0 THEN
        RAISE EXCEPTION 'Nothing was changed: awards of % learners were rolled up (marea.rolled_up), and could be counted twice without it', rolled
            USING HINT = 'If every device of theirs has synced since, empty the table: DELETE FROM marea.rolled_up.';
    END IF;
END
$$;

-- Nobody writes while there are no triggers.
LOCK TABLE public.sessions, public.user_progress, public.export_history, public.user_api_keys, marea.progress_events,
    marea.daily_activity IN SHARE ROW EXCLUSIVE MODE;

-- The name of this history, which the devices' cursors carry: nobody needs to pull everything again.
SELECT set_config('marea.epoch_before', marea.epoch(), true);
ALTER TABLE marea.clocks ADD COLUMN run BIGINT NOT NULL DEFAULT 0;
ALTER TABLE marea.pending SET LOGGED;

-- All functions go, with the triggers that call them, and are made again below. What holds rows stays.
DO $$
DECLARE
    old RECORD;
BEGIN
    SET LOCAL client_min_messages = warning;
    FOR old IN
        SELECT oid::regprocedure AS routine FROM pg_proc
        WHERE pronamespace = 'marea'::regnamespace OR oid = to_regprocedure('public.sessions_fold_into_progress()')
    LOOP
        -- A function that another one is made of may have taken it along.
        IF EXISTS (SELECT FROM pg_proc WHERE oid = old.routine) THEN
            EXECUTE format('DROP ROUTINE %s CASCADE', old.routine);
        END IF;
    END LOOP;
END
$$;
DROP TABLE marea.replaced, marea.rolled_up, marea.rolling_up;
ALTER TABLE public.user_api_keys
    DROP CONSTRAINT user_api_keys_openai_sealed,
    DROP CONSTRAINT user_api_keys_unsplash_sealed,
    DROP CONSTRAINT user_api_keys_anthropic_sealed;

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

        progress.total_sessions := progress.total_sessions + change.sessions;
        progress.total_time_spent_minutes := progress.total_time_spent_minutes + change.minutes;
        progress.total_images := progress.total_images + change.images;
        progress.total_descriptions := progress.total_descriptions + change.descriptions;
        progress.total_questions_answered := progress.total_questions_answered + change.answered;
        progress.total_questions_correct := progress.total_questions_correct + change.correct;
        progress.total_vocabulary_learned := progress.total_vocabulary_learned + change.words;

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
            round(60::numeric * progress.total_time_spent_minutes / progress.total_sessions) END;

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

GRANT SELECT, INSERT, UPDATE, DELETE ON public.user_api_keys TO authenticated;
GRANT SELECT, INSERT, UPDATE ON public.user_progress, public.export_history TO authenticated;

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

-- ---------------------------------------------------------------------------------------------------------------------
-- state
-- ---------------------------------------------------------------------------------------------------------------------

-- What the sync layer keeps: one counter for each user, one line for each synced row, and what the running transactions changed.
--
-- Lock order, the same for everybody: the app's rows first, their lines in marea.rows next, the user's clock last.

CREATE SCHEMA IF NOT EXISTS marea;

COMMENT ON SCHEMA marea IS 'Marea''s sync layer. Not exposed through the API; clients call public.marea_sync.';

CREATE TABLE IF NOT EXISTS marea.clocks (
    user_id UUID PRIMARY KEY, -- its foreign key comes at the end, when the rows are in
    version BIGINT NOT NULL CHECK (version >= 0),
    pruned  BIGINT NOT NULL DEFAULT 0 CHECK (pruned >= 0),
    checked_at      TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    checked_version BIGINT NOT NULL DEFAULT 0,
    run             BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50); -- updated with every change of the user: room for the new row on the same page

COMMENT ON TABLE marea.clocks IS
    'One counter per user. Whoever changes a synced row holds the user''s clock to commit, so commit order is version order.';
COMMENT ON COLUMN marea.clocks.user_id IS 'The user.';
COMMENT ON COLUMN marea.clocks.version IS 'Versions given so far, count; written by marea.assign_versions() at the end of a transaction.';
COMMENT ON COLUMN marea.clocks.pruned IS
    'Highest version of a tombstone that was pruned; a client with an older cursor pulls everything again; written by marea.prune_tombstones().';
COMMENT ON COLUMN marea.clocks.checked_at IS 'When the last checkpoint was made, server clock; written by marea.assign_versions().';
COMMENT ON COLUMN marea.clocks.checked_version IS 'The version before that moment; written by marea.assign_versions().';
COMMENT ON COLUMN marea.clocks.run IS 'The run (marea.runs) in which the clock moved last; written by whoever moves it.';

CREATE TABLE IF NOT EXISTS marea.checkpoints (
    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    at      TIMESTAMPTZ NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 0),
    PRIMARY KEY (user_id, at)
);

COMMENT ON TABLE marea.checkpoints IS
    'What a user''s clock had never passed before a moment; at most one an hour. A cursor that says otherwise comes from a '
    'history that was lost: the server was set back to an older state, and has gone on from there.';
COMMENT ON COLUMN marea.checkpoints.user_id IS 'The user.';
COMMENT ON COLUMN marea.checkpoints.at IS 'The moment, server clock.';
COMMENT ON COLUMN marea.checkpoints.version IS 'The greatest version given before it; by marea.assign_versions() and marea.is_lost_history().';

CREATE TABLE IF NOT EXISTS marea.rows (
    user_id    UUID NOT NULL, -- its foreign key comes at the end, when the rows are in
    table_name TEXT COLLATE "C" NOT NULL,
    row_key    TEXT COLLATE "C" NOT NULL,
    version    BIGINT,
    deleted    BOOLEAN NOT NULL DEFAULT false,
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    hlc        JSONB NOT NULL DEFAULT '{}',
    PRIMARY KEY (user_id, table_name, row_key),
    CONSTRAINT rows_version_once UNIQUE (user_id, version)
) WITH (fillfactor = 80);

COMMENT ON TABLE marea.rows IS 'One line per synced row: at which version it last changed, and its register clocks.';
COMMENT ON COLUMN marea.rows.user_id IS 'Owner of the row.';
COMMENT ON COLUMN marea.rows.table_name IS
    'user_progress, daily_activity, export_history, user_api_keys; sessions and progress_events only as tombstones.';
COMMENT ON COLUMN marea.rows.row_key IS 'Key on the wire: row id, user id (one row per user) or day (YYYY-MM-DD).';
COMMENT ON COLUMN marea.rows.version IS
    'The user''s counter when the row last changed; NULL only inside the transaction that makes the line; by marea.assign_versions().';
COMMENT ON COLUMN marea.rows.deleted IS 'The row is gone: this line is its tombstone.';
COMMENT ON COLUMN marea.rows.changed_at IS 'When the version was given, server clock; tells the age of a tombstone.';
COMMENT ON COLUMN marea.rows.hlc IS 'Register column -> [hybrid logical clock, client id or "server"] of its last writer.';

-- Rows live from a statement to the end of its transaction and are never committed. Logged all the same: some hosts drop unlogged
-- tables when they fail over, and without this one nobody could write. EXTERNAL: the arrays of a bulk statement are large and do not
-- compress.
CREATE TABLE IF NOT EXISTS marea.pending (
    xact       XID8 NOT NULL DEFAULT pg_current_xact_id(),
    seq        BIGINT GENERATED ALWAYS AS IDENTITY,
    table_name TEXT COLLATE "C" NOT NULL,
    deleted    BOOLEAN NOT NULL,
    user_ids   UUID[] NOT NULL,
    row_keys   TEXT[],
    PRIMARY KEY (xact, seq)
);

ALTER TABLE marea.pending ALTER COLUMN user_ids SET STORAGE EXTERNAL, ALTER COLUMN row_keys SET STORAGE EXTERNAL;

COMMENT ON TABLE marea.pending IS
    'What the statements of a running transaction changed, one row per statement; marea.assign_versions() empties it before commit.';
COMMENT ON COLUMN marea.pending.xact IS 'The transaction.';
COMMENT ON COLUMN marea.pending.seq IS 'Order of the statements; the last word on a row holds.';
COMMENT ON COLUMN marea.pending.table_name IS 'Table of the changed rows.';
COMMENT ON COLUMN marea.pending.deleted IS 'Whether the rows were deleted.';
COMMENT ON COLUMN marea.pending.user_ids IS 'Owners of the changed rows.';
COMMENT ON COLUMN marea.pending.row_keys IS 'Keys of the changed rows, beside user_ids; NULL where the owner is the key.';

-- ---------------------------------------------------------------------------------------------------------------------
-- facts
-- ---------------------------------------------------------------------------------------------------------------------

-- Awards that belong to no session, and the fold by the learner's local day.

CREATE TABLE IF NOT EXISTS marea.progress_events (
    id                 UUID PRIMARY KEY,
    user_id            UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    occurred_at        TIMESTAMPTZ NOT NULL CONSTRAINT progress_events_time_sane CHECK (isfinite(occurred_at)),
    local_date         DATE NOT NULL CONSTRAINT progress_events_day_sane
        CHECK (local_date BETWEEN '1970-01-01' AND '9999-12-31'),
    descriptions       INTEGER NOT NULL DEFAULT 0 CHECK (descriptions >= 0),
    images             INTEGER NOT NULL DEFAULT 0 CHECK (images >= 0),
    questions_answered INTEGER NOT NULL DEFAULT 0 CHECK (questions_answered >= 0),
    questions_correct  INTEGER NOT NULL DEFAULT 0 CHECK (questions_correct >= 0),
    vocabulary_learned INTEGER NOT NULL DEFAULT 0 CHECK (vocabulary_learned >= 0),
    minutes            INTEGER NOT NULL DEFAULT 0 CHECK (minutes >= 0),
    points             INTEGER NOT NULL DEFAULT 0 CHECK (points >= 0),
    mastered_words     INTEGER NOT NULL DEFAULT 0,
    learning_words     INTEGER NOT NULL DEFAULT 0,
    new_words          INTEGER NOT NULL DEFAULT 0,
    achievements       JSONB NOT NULL DEFAULT '{}' CONSTRAINT progress_events_achievements_are_times CHECK (
        jsonb_typeof(achievements) = 'object' AND NOT jsonb_path_exists(achievements,
            '$.* ? (!(@.type() == "string" && @ like_regex "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$"))')),
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS progress_events_user_id_idx ON marea.progress_events (user_id);

COMMENT ON TABLE marea.progress_events IS 'Awards that belong to no session; each adds to progress once. Append-only.';
COMMENT ON COLUMN marea.progress_events.id IS 'Event id (UUIDv7), made by the device; the idempotency key.';
COMMENT ON COLUMN marea.progress_events.user_id IS 'The learner; from the token of the writer.';
COMMENT ON COLUMN marea.progress_events.occurred_at IS 'When it happened, by the device''s clock.';
COMMENT ON COLUMN marea.progress_events.local_date IS 'The learner''s local day then.';
COMMENT ON COLUMN marea.progress_events.descriptions IS 'Adds to total_descriptions, count; device; event.';
COMMENT ON COLUMN marea.progress_events.images IS 'Adds to total_images, count; device; event.';
COMMENT ON COLUMN marea.progress_events.questions_answered IS 'Adds to total_questions_answered, count; device; event.';
COMMENT ON COLUMN marea.progress_events.questions_correct IS 'Adds to total_questions_correct, count; device; event.';
COMMENT ON COLUMN marea.progress_events.vocabulary_learned IS 'Adds to total_vocabulary_learned, count; device; event.';
COMMENT ON COLUMN marea.progress_events.minutes IS 'Adds to total_time_spent_minutes, minutes; device; event.';
COMMENT ON COLUMN marea.progress_events.points IS 'Adds to total_points; device; event.';
COMMENT ON COLUMN marea.progress_events.mastered_words IS 'Adds to mastered_words_count, may be negative; device; event.';
COMMENT ON COLUMN marea.progress_events.learning_words IS 'Adds to learning_words_count, may be negative; device; event.';
COMMENT ON COLUMN marea.progress_events.new_words IS 'Adds to new_words_count, may be negative; device; event.';
COMMENT ON COLUMN marea.progress_events.achievements IS
    'Achievement id -> when it was unlocked (YYYY-MM-DDTHH:MM:SS.ffffffZ); device; union, the earlier unlock wins.';
COMMENT ON COLUMN marea.progress_events.created_at IS 'When the event arrived, server clock.';

CREATE TABLE IF NOT EXISTS marea.daily_activity (
    user_id   UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    day       DATE NOT NULL,
    facts     INTEGER NOT NULL,
    sessions  INTEGER NOT NULL,
    minutes   INTEGER NOT NULL,
    questions INTEGER NOT NULL,
    correct   INTEGER NOT NULL,
    words     INTEGER NOT NULL,
    points    INTEGER NOT NULL,
    PRIMARY KEY (user_id, day)
) WITH (fillfactor = 80);

COMMENT ON TABLE marea.daily_activity IS
    'The fold of sessions and events by the learner''s local day; a day is here while something lies on it.';
COMMENT ON COLUMN marea.daily_activity.user_id IS 'The learner.';
COMMENT ON COLUMN marea.daily_activity.day IS 'Local day of the learner.';
COMMENT ON COLUMN marea.daily_activity.facts IS 'Sessions and events on the day, count; not on the wire; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.sessions IS 'Completed sessions, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.minutes IS 'Time spent, minutes; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.questions IS 'Questions answered, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.correct IS 'Questions answered correctly, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.words IS 'Words learned, count; by trigger; fold.';
COMMENT ON COLUMN marea.daily_activity.points IS 'Points awarded; by trigger; fold.';

-- ---------------------------------------------------------------------------------------------------------------------
-- devices
-- ---------------------------------------------------------------------------------------------------------------------

-- Devices, as they were last seen. Nothing here is needed for correctness: a device that has gone silent can be seen, and one
-- that was seen within the hour is answered sooner (idle_answer).

CREATE TABLE IF NOT EXISTS marea.clients (
    user_id   UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    client_id UUID NOT NULL,
    schema    INTEGER NOT NULL CHECK (schema >= 1),
    version   BIGINT NOT NULL CHECK (version >= 0),
    first_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    noted_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, client_id)
);

ALTER TABLE marea.clients ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE marea.clients IS
    'Devices, noted at most once an hour when they sync. For people who watch; no sync depends on it.';
COMMENT ON COLUMN marea.clients.user_id IS 'Whose device.';
COMMENT ON COLUMN marea.clients.client_id IS 'The device''s own id; a copied profile has the same.';
COMMENT ON COLUMN marea.clients.schema IS 'Version of its mirror.';
COMMENT ON COLUMN marea.clients.version IS 'Where its cursor stood after that sync.';
COMMENT ON COLUMN marea.clients.first_at IS 'When it was first noted, server clock.';
COMMENT ON COLUMN marea.clients.noted_at IS 'When it was last noted, server clock; it may have synced in the hour after.';

CREATE OR REPLACE FUNCTION marea.note_client(client UUID, schema INTEGER, version BIGINT) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Called by marea_sync at its end, for the signed-in user. Nearly always it only looks.
#variable_conflict use_column
DECLARE
    me    CONSTANT UUID := auth.uid();
    known TIMESTAMPTZ;
BEGIN
    SELECT noted_at INTO known FROM marea.clients WHERE user_id = me AND client_id = client;
    IF known > now() - interval '1 hour' OR current_setting('transaction_read_only') = 'on'
       OR NOT EXISTS (SELECT FROM public.users WHERE id = me) THEN
        RETURN;
    END IF;
    INSERT INTO marea.clients AS c (user_id, client_id, schema, version)
    VALUES (me, client, note_client.schema, note_client.version)
    ON CONFLICT (user_id, client_id) DO UPDATE SET
        schema = EXCLUDED.schema, version = EXCLUDED.version, noted_at = EXCLUDED.noted_at;
    IF known IS NULL THEN
        -- Whoever makes up an id for each request must not fill the disk: a user has the 50 latest devices.
        DELETE FROM marea.clients
        WHERE user_id = me AND client_id IN (
            SELECT client_id FROM marea.clients WHERE user_id = me ORDER BY noted_at DESC, client_id OFFSET 50);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.note_client(UUID, INTEGER, BIGINT) IS
    'Notes that a device of the caller has synced, at most once an hour.';

CREATE OR REPLACE VIEW marea.known_devices AS
SELECT c.user_id, c.client_id::text AS client_id, c.schema::text AS schema
FROM marea.clients AS c
WHERE c.noted_at > now() - interval '1 hour';

COMMENT ON VIEW marea.known_devices IS 'Devices that need not be noted again yet, in the words of a request.';

-- ---------------------------------------------------------------------------------------------------------------------
-- times
-- ---------------------------------------------------------------------------------------------------------------------

-- Times, days and hybrid logical clocks. RETURN bodies are parsed once, here: nothing that a caller makes later can change what
-- they mean.

CREATE OR REPLACE FUNCTION marea.wire_time(at TIMESTAMPTZ) RETURNS TEXT LANGUAGE sql STABLE
-- A year before 1 has no sign in to_char: it would be read as another year. A device that cannot read it says so.
RETURN CASE WHEN at >= '0001-01-01 00:00:00+00' AND at < '10000-01-01 00:00:00+00'
    THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    WHEN isfinite(at) THEN at::text END;

COMMENT ON FUNCTION marea.wire_time(TIMESTAMPTZ) IS 'A time as it crosses the wire: UTC, six digits, Z; sorts as text.';

CREATE OR REPLACE FUNCTION marea.is_day(given TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN given ~ '^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$' THEN
        substr(given, 9, 2)::int <= CASE substr(given, 6, 2)
            WHEN '02' THEN CASE
                WHEN substr(given, 1, 4)::int % 4 = 0
                    AND (substr(given, 1, 4)::int % 100 <> 0 OR substr(given, 1, 4)::int % 400 = 0) THEN 29
                ELSE 28
            END
            WHEN '04' THEN 30 WHEN '06' THEN 30 WHEN '09' THEN 30 WHEN '11' THEN 30
            ELSE 31
        END
    ELSE false
END;

COMMENT ON FUNCTION marea.is_day(TEXT) IS 'Whether a text is a calendar date YYYY-MM-DD of the years 1970 to 9999.';

CREATE OR REPLACE FUNCTION marea.local_day(given TEXT, at TIMESTAMPTZ) RETURNS DATE LANGUAGE sql IMMUTABLE
-- A day of the years 1 to 9999, as the devices know them.
RETURN CASE WHEN marea.is_day(given)
    THEN make_date(substr(given, 1, 4)::int, substr(given, 6, 2)::int, substr(given, 9, 2)::int)
    ELSE least(greatest((at AT TIME ZONE 'UTC')::date, '0001-01-01'), '9999-12-31') END;

COMMENT ON FUNCTION marea.local_day(TEXT, TIMESTAMPTZ) IS
    'The learner''s day: the given one if it is a date, else the UTC day of the time. Never fails on garbage.';

CREATE OR REPLACE FUNCTION marea.tomorrow() RETURNS DATE LANGUAGE sql STABLE
RETURN (now() AT TIME ZONE 'UTC')::date + 1;

COMMENT ON FUNCTION marea.tomorrow() IS
    'The last day that counts for streaks: it is tomorrow in UTC, and today already where the clocks are ahead of that.';

CREATE OR REPLACE FUNCTION marea.server_hlc(after TEXT) RETURNS TEXT
LANGUAGE sql VOLATILE
RETURN CASE
    WHEN after IS NULL OR substr(after, 1, 13)::bigint < floor(extract(epoch FROM clock_timestamp()) * 1000)
        THEN lpad(floor(extract(epoch FROM clock_timestamp()) * 1000)::text, 13, '0') || '-0000'
    WHEN right(after, 4) = 'ffff' THEN lpad((substr(after, 1, 13)::bigint + 1)::text, 13, '0') || '-0000'
    ELSE substr(after, 1, 14) || lpad(to_hex(('x' || right(after, 4))::bit(16)::int + 1), 4, '0')
END;

COMMENT ON FUNCTION marea.server_hlc(TEXT) IS 'A hybrid logical clock of the server, later than the given one.';

CREATE OR REPLACE FUNCTION marea.clamp_hlc(hlc TEXT) RETURNS TEXT LANGUAGE sql VOLATILE
RETURN CASE
    WHEN substr(hlc, 1, 13)::bigint > floor(extract(epoch FROM clock_timestamp()) * 1000) + 300000
        -- The microseconds as counter: a device's writes of one request keep their order.
        THEN (SELECT lpad((micros / 1000)::text, 13, '0') || '-' || lpad(to_hex(micros % 1000), 4, '0')
              FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros) AS at)
    ELSE hlc
END;

COMMENT ON FUNCTION marea.clamp_hlc(TEXT) IS
    'A device''s clock; one that is more than 5 minutes ahead of the server''s becomes the server''s.';

-- ---------------------------------------------------------------------------------------------------------------------
-- history
-- ---------------------------------------------------------------------------------------------------------------------

-- Who asks, and whether this server still has the history that a cursor comes from.
--
-- A run is one life of one server process group. What a run changes is one line of history: a server that has a run's row in
-- marea.runs has the beginning of that line, and where it ends tells the first note of a later run. docs/adr/0123 has the argument,
-- tests/src/lost_history.rs the model.

CREATE OR REPLACE FUNCTION marea.user_exists() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM public.users WHERE users.id = auth.uid());
END
$$;

COMMENT ON FUNCTION marea.user_exists() IS 'Whether the caller has a row in users; says nothing about anybody else.';

CREATE TABLE IF NOT EXISTS marea.runs (
    number   BIGINT PRIMARY KEY,
    run      TEXT COLLATE "C" NOT NULL UNIQUE CHECK (run ~ '^[0-9a-f]{16}$'),
    began_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE marea.runs IS 'The runs that this history is made of, in their order.';
COMMENT ON COLUMN marea.runs.number IS 'Their order.';
COMMENT ON COLUMN marea.runs.run IS 'The name, drawn at random; the first part of a cursor''s epoch.';
COMMENT ON COLUMN marea.runs.began_at IS 'When it was first needed, server clock.';

-- A database that handed out cursors before it had runs (upgrade/): what named its history then is its first run.
INSERT INTO marea.runs (number, run)
SELECT 1, before.epoch FROM (SELECT current_setting('marea.epoch_before', true)) AS before (epoch) WHERE before.epoch <> ''
ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS marea.run_notes (
    user_id UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    number  BIGINT NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 0),
    PRIMARY KEY (user_id, number)
);

COMMENT ON TABLE marea.run_notes IS 'Where a user''s clock stood before its first move in a run.';
COMMENT ON COLUMN marea.run_notes.user_id IS 'The user.';
COMMENT ON COLUMN marea.run_notes.number IS 'The run.';
COMMENT ON COLUMN marea.run_notes.version IS 'The clock before that move; written by marea.note_run().';

CREATE OR REPLACE FUNCTION marea.make_this_run() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Unlogged, so that a crash, a promotion and a base backup leave it empty. Some hosts drop unlogged tables when they fail over: so
-- it is made when it is missed.
BEGIN
    CREATE UNLOGGED TABLE IF NOT EXISTS marea.this_run (
        one_row  BOOLEAN PRIMARY KEY DEFAULT true CHECK (one_row),
        number   BIGINT NOT NULL,
        run      TEXT COLLATE "C" NOT NULL,
        started  TIMESTAMPTZ NOT NULL,
        file     TEXT NOT NULL
    );
    COMMENT ON TABLE marea.this_run IS 'The run that this server is in.';
    COMMENT ON COLUMN marea.this_run.one_row IS 'One row at most.';
    COMMENT ON COLUMN marea.this_run.number IS 'Its number in marea.runs.';
    COMMENT ON COLUMN marea.this_run.run IS 'Its name.';
    COMMENT ON COLUMN marea.this_run.started IS 'When this server was started: after a restart the row counts no longer.';
    COMMENT ON COLUMN marea.this_run.file IS
        'The path of marea.clocks: a copy of the database has another one, and so have rows that were loaded again.';
    ALTER TABLE marea.this_run ENABLE ROW LEVEL SECURITY;
    REVOKE ALL ON marea.this_run FROM PUBLIC, anon, authenticated, service_role;
END
$$;

COMMENT ON FUNCTION marea.make_this_run() IS 'Makes marea.this_run where it is missing.';

DO $$ BEGIN PERFORM marea.make_this_run(); END $$;

CREATE OR REPLACE FUNCTION marea.known_run() RETURNS TEXT
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('marea.this_run') IS NULL OR pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT t.run FROM marea.this_run AS t
        WHERE t.started = pg_postmaster_start_time() AND t.file = pg_relation_filepath('marea.clocks'));
END
$$;

COMMENT ON FUNCTION marea.known_run() IS 'The name of the run that this server is in; NULL: it has none yet.';

CREATE OR REPLACE FUNCTION marea.this_run_number() RETURNS BIGINT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- The number of the run that this server is in. The first one who needs it begins it.
DECLARE
    known BIGINT;
    begun marea.runs;
BEGIN
    IF to_regclass('marea.this_run') IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('marea runs', 0));
        PERFORM marea.make_this_run();
    END IF;
    SELECT t.number INTO known FROM marea.this_run AS t WHERE t.run = marea.known_run();
    IF known IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('marea runs', 0));
        SELECT t.number INTO known FROM marea.this_run AS t WHERE t.run = marea.known_run();
    END IF;
    IF known IS NULL THEN
        INSERT INTO marea.runs (number, run)
        SELECT coalesce(max(r.number), 0) + 1, left(encode(sha256(uuid_send(gen_random_uuid())), 'hex'), 16) FROM marea.runs AS r
        RETURNING * INTO begun;
        INSERT INTO marea.this_run AS t (number, run, started, file)
        VALUES (begun.number, begun.run, pg_postmaster_start_time(), pg_relation_filepath('marea.clocks'))
        ON CONFLICT (one_row) DO UPDATE SET number = EXCLUDED.number, run = EXCLUDED.run, started = EXCLUDED.started,
            file = EXCLUDED.file;
        known := begun.number;
    END IF;
    RETURN known;
END
$$;

COMMENT ON FUNCTION marea.this_run_number() IS 'The number of the run that this server is in; begins one where there is none.';

CREATE OR REPLACE FUNCTION marea.epoch() RETURNS TEXT
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known       TEXT := marea.known_run();
    this_number BIGINT;
BEGIN
    IF known IS NULL THEN
        this_number := marea.this_run_number();
        SELECT r.run INTO known FROM marea.runs AS r WHERE r.number = this_number;
    END IF;
    RETURN known;
END
$$;

COMMENT ON FUNCTION marea.epoch() IS 'The name of the run that this server is in, as a cursor''s epoch begins with it.';

CREATE OR REPLACE FUNCTION marea.note_run() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO marea.run_notes (user_id, number, version)
    VALUES (NEW.user_id, NEW.run, CASE TG_OP WHEN 'UPDATE' THEN OLD.version ELSE 0 END)
    ON CONFLICT (user_id, number) DO NOTHING;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.note_run() IS 'Trigger: notes where a user''s clock stood before its first move in a run.';

CREATE OR REPLACE TRIGGER clocks_made AFTER INSERT ON marea.clocks
    FOR EACH ROW EXECUTE FUNCTION marea.note_run();
CREATE OR REPLACE TRIGGER clocks_moved AFTER UPDATE ON marea.clocks
    FOR EACH ROW WHEN (OLD.run <> NEW.run) EXECUTE FUNCTION marea.note_run();

CREATE OR REPLACE FUNCTION marea.move_clock() RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Moves the caller's clock unless this transaction has. A push that changed no synced row would leave no trace in the cursor: nobody
-- could tell that it was lost.
BEGIN
    INSERT INTO marea.clocks AS c (user_id, version, run)
    SELECT users.id, 1, marea.this_run_number() FROM public.users WHERE users.id = auth.uid()
    ON CONFLICT (user_id) DO UPDATE SET version = c.version + 1, run = EXCLUDED.run
    WHERE c.xmin <> pg_current_xact_id()::xid;
END
$$;

COMMENT ON FUNCTION marea.move_clock() IS 'Moves the caller''s clock, once in a transaction.';

CREATE OR REPLACE FUNCTION marea.is_lost_history(epoch TEXT) RETURNS BOOLEAN
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Whether the state in which a cursor's epoch, "run.clock.microseconds", was given out is in this history no more: its run is not, or
-- the clock has never been so far, or had not been when a later run began. The checkpoints of each hour tell what no run can: the
-- memory of a running machine that was set back.
DECLARE
    me      CONSTANT UUID := auth.uid();
    parts   CONSTANT TEXT[] := string_to_array(epoch, '.');
    claimed BIGINT;
    at_     TIMESTAMPTZ;
    reached BIGINT;
    given   BIGINT;
BEGIN
    IF epoch IS NULL OR epoch !~ '^[0-9a-f]{16}[.][0-9]{1,18}[.][0-9]{1,16}$' THEN
        RETURN true;
    END IF;
    SELECT r.number INTO given FROM marea.runs AS r WHERE r.run = parts[1];
    IF given IS NULL THEN
        RETURN true;
    END IF;
    claimed := parts[2]::bigint;
    at_ := to_timestamp(0) + parts[3]::bigint * interval '1 microsecond';
    SELECT coalesce(max(c.version), 0) INTO reached FROM marea.clocks AS c WHERE c.user_id = me;
    IF claimed > reached THEN
        -- The proof that something was lost may soon be overtaken: noted now, it still tells the user's other devices. A later run
        -- tells them without it.
        INSERT INTO marea.checkpoints (user_id, at, version)
        SELECT me, clock_timestamp(), reached
        WHERE parts[1] = marea.known_run()
          AND NOT EXISTS (SELECT FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ AND p.version <= reached)
          AND EXISTS (SELECT FROM public.users WHERE users.id = me)
        ON CONFLICT (user_id, at) DO NOTHING;
        RETURN true;
    END IF;
    RETURN claimed > coalesce((
        SELECT n.version FROM marea.run_notes AS n WHERE n.user_id = me AND n.number > given ORDER BY n.number LIMIT 1
    ), claimed) OR claimed > coalesce((
        -- The earliest one says the most.
        SELECT p.version FROM marea.checkpoints AS p WHERE p.user_id = me AND p.at > at_ ORDER BY p.at LIMIT 1
    ), claimed);
END
$$;

COMMENT ON FUNCTION marea.is_lost_history(TEXT) IS 'Whether a cursor''s epoch is of another history than the server has now.';

-- ---------------------------------------------------------------------------------------------------------------------
-- limits
-- ---------------------------------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------------------------------
-- problems
-- ---------------------------------------------------------------------------------------------------------------------

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
    WHEN coalesce(nullif(given -> 'achievements', 'null'), '{}') = '{}'
        AND NOT jsonb_path_exists(given - '{id,occurred_at,local_date,achievements}'::text[], '$.* ? (@ < 0 || @ > 0)')
        THEN 'values: award nothing'
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

-- ---------------------------------------------------------------------------------------------------------------------
-- fold
-- ---------------------------------------------------------------------------------------------------------------------

-- Fold: sessions and events into daily_activity and user_progress.
--
-- Days that lie ahead: a session that a wrong clock dates years from now ends no streak. Its totals count at once, its day counts
-- for the streaks once it has come. Daily activity has it all the time (docs/adr/0077).

CREATE OR REPLACE FUNCTION marea.non_negative(given INTEGER) RETURNS INTEGER LANGUAGE sql IMMUTABLE
RETURN greatest(coalesce(given, 0), 0);

COMMENT ON FUNCTION marea.non_negative(INTEGER) IS 'A metric as the fold counts it: NULL and negative are 0.';

CREATE OR REPLACE FUNCTION marea.union_achievements(one JSONB, other JSONB) RETURNS JSONB LANGUAGE sql IMMUTABLE
RETURN one || coalesce((
    SELECT jsonb_object_agg(unlocked.key, unlocked.value)
    FROM jsonb_each(other) AS unlocked
    -- What is no text is not ours to judge; it was there first.
    WHERE NOT one ? unlocked.key
       OR (jsonb_typeof(one -> unlocked.key) = 'string'
           AND (unlocked.value #>> '{}') COLLATE "C" < (one ->> unlocked.key) COLLATE "C")
), '{}');

COMMENT ON FUNCTION marea.union_achievements(JSONB, JSONB) IS 'Union of two maps; the earlier unlock wins.';

DO $$
BEGIN
    IF to_regtype('marea.fact') IS NULL THEN
        -- What one session or event, or all of a learner's day, adds. What is taken out has minus signs and a removed_at.
        CREATE TYPE marea.fact AS (
            user_id        UUID,
            day            DATE,
            facts          BIGINT,
            sessions       BIGINT,
            minutes        BIGINT,
            questions      BIGINT,
            correct        BIGINT,
            words          BIGINT,
            points         BIGINT,
            descriptions   BIGINT,
            images         BIGINT,
            mastered       BIGINT,
            learning       BIGINT,
            fresh          BIGINT,
            activity_at    TIMESTAMPTZ,
            description_at TIMESTAMPTZ,
            qa_at          TIMESTAMPTZ,
            words_at       TIMESTAMPTZ,
            removed_at     TIMESTAMPTZ,
            achievements   JSONB
        );
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION marea.session_fact(
    sign INTEGER, user_id UUID, ended_at TIMESTAMPTZ, local_date TEXT, minutes INTEGER, images INTEGER,
    descriptions INTEGER, answered INTEGER, correct INTEGER, words INTEGER
) RETURNS marea.fact LANGUAGE sql IMMUTABLE
RETURN ROW(
    user_id, marea.local_day(local_date, ended_at), sign, sign, sign * marea.non_negative(minutes),
    sign * marea.non_negative(answered), sign * marea.non_negative(correct), sign * marea.non_negative(words), 0,
    sign * marea.non_negative(descriptions), sign * marea.non_negative(images), 0, 0, 0,
    CASE WHEN sign > 0 THEN ended_at END, CASE WHEN sign > 0 AND descriptions > 0 THEN ended_at END,
    CASE WHEN sign > 0 AND answered > 0 THEN ended_at END, CASE WHEN sign > 0 AND words > 0 THEN ended_at END,
    CASE WHEN sign < 0 THEN ended_at END, NULL
)::marea.fact;

COMMENT ON FUNCTION marea.session_fact(INTEGER, UUID, TIMESTAMPTZ, TEXT, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER, INTEGER)
    IS 'What a completed session adds (sign 1) or takes out (sign -1).';

CREATE OR REPLACE FUNCTION marea.event_fact(sign INTEGER, event marea.progress_events) RETURNS marea.fact
LANGUAGE sql IMMUTABLE
RETURN ROW(
    (event).user_id, (event).local_date, sign, 0, sign * (event).minutes, sign * (event).questions_answered,
    sign * (event).questions_correct, sign * (event).vocabulary_learned, sign * (event).points,
    sign * (event).descriptions, sign * (event).images, sign * (event).mastered_words,
    sign * (event).learning_words, sign * (event).new_words,
    CASE WHEN sign > 0 THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND (event).descriptions > 0 THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND (event).questions_answered > 0 THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND ((event).vocabulary_learned > 0 OR (event).mastered_words <> 0
        OR (event).learning_words <> 0 OR (event).new_words <> 0) THEN (event).occurred_at END,
    CASE WHEN sign < 0 THEN (event).occurred_at END,
    CASE WHEN sign > 0 AND (event).achievements <> '{}' THEN (event).achievements END
)::marea.fact;

COMMENT ON FUNCTION marea.event_fact(INTEGER, marea.progress_events) IS
    'What an event adds (sign 1) or takes out (sign -1). Achievements are never taken out.';

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
               CASE WHEN how.reread_maxima THEN greatest(latest.activity_at, kept.activity_at)
                   ELSE greatest(old.last_activity_at, new.activity_at) END AS activity_at,
               CASE WHEN how.reread_maxima THEN greatest(latest.description_at, kept.description_at)
                   ELSE greatest(old.last_description_at, new.description_at) END AS description_at,
               CASE WHEN how.reread_maxima THEN greatest(latest.qa_at, kept.qa_at)
                   ELSE greatest(old.last_qa_session_at, new.qa_at) END AS qa_at,
               CASE WHEN how.reread_maxima THEN greatest(latest.words_at, kept.words_at)
                   ELSE greatest(old.last_vocabulary_practice_at, new.words_at) END AS words_at,
               CASE WHEN how.recount_days THEN runs.last_day ELSE new.last_day END AS last_day,
               CASE WHEN how.recount_days THEN coalesce(runs.streak, 0) ELSE next.streak END AS streak,
               CASE WHEN how.recount_days THEN greatest(runs.longest, kept.longest_streak_days, 0)
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
                       old.last_qa_session_at, old.last_vocabulary_practice_at), false) AS reread_maxima,
                   new.removed_at IS NOT NULL OR new.first_day < new.last_day
                       OR coalesce(new.first_day < old.last_active_on, false)
                       OR greatest(new.last_day, old.last_active_on) > tomorrow
                       OR EXISTS (
                           SELECT FROM marea.daily_activity AS d
                           WHERE d.user_id = new.user_id AND d.day <= tomorrow AND d.day <> new.last_day
                             AND d.day > coalesce(old.last_active_on, '-infinity')
                       ) AS recount_days
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
                WHERE how.reread_maxima AND sessions.user_id = new.user_id AND isfinite(ended_at)
                UNION ALL
                SELECT occurred_at, descriptions > 0, questions_answered > 0, vocabulary_learned > 0
                       OR mastered_words <> 0 OR learning_words <> 0 OR new_words <> 0
                FROM marea.progress_events
                WHERE how.reread_maxima AND progress_events.user_id = new.user_id
            ) AS done
        ) AS latest
        CROSS JOIN LATERAL (
            SELECT max(k.activity_at) AS activity_at, max(k.description_at) AS description_at, max(k.qa_at) AS qa_at,
                   max(k.words_at) AS words_at, max(k.longest_streak_days) AS longest_streak_days
            FROM marea.kept_facts AS k
            WHERE (how.reread_maxima OR how.recount_days) AND k.user_id = new.user_id
        ) AS kept
        -- Days that follow one another have the same distance to their rank: that distance names the run.
        CROSS JOIN LATERAL (
            SELECT max(run.last_day) AS last_day, max(run.days) AS longest,
                   (array_agg(run.days ORDER BY run.last_day DESC))[1] AS streak
            FROM (
                SELECT max(ranked.day) AS last_day, count(*) AS days
                FROM (
                    SELECT d.day, d.day - (row_number() OVER (ORDER BY d.day))::int AS run
                    FROM marea.daily_activity AS d
                    WHERE how.recount_days AND d.user_id = new.user_id AND d.day <= tomorrow
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

COMMENT ON FUNCTION marea.fold_many(marea.fact[]) IS 'Adds any number of facts of any learners, by learner and day.';

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

COMMENT ON FUNCTION marea.fold_one(marea.fact) IS
    'Adds one fact of the latest day or after it, as marea.fold does; false: it is another one, and nothing was done.';

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

-- ---------------------------------------------------------------------------------------------------------------------
-- kept_facts
-- ---------------------------------------------------------------------------------------------------------------------

-- What goes on counting although its session is not here: sessions that retention removed, and what an app had counted before
-- Marea came. Beside sessions and awards the third kind of fact.

CREATE TABLE IF NOT EXISTS marea.kept_facts (
    user_id             UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    day                 DATE NOT NULL,
    facts               BIGINT NOT NULL DEFAULT 0,
    sessions            BIGINT NOT NULL DEFAULT 0,
    minutes             BIGINT NOT NULL DEFAULT 0,
    questions           BIGINT NOT NULL DEFAULT 0,
    correct             BIGINT NOT NULL DEFAULT 0,
    words               BIGINT NOT NULL DEFAULT 0,
    points              BIGINT NOT NULL DEFAULT 0,
    descriptions        BIGINT NOT NULL DEFAULT 0,
    images              BIGINT NOT NULL DEFAULT 0,
    mastered            BIGINT NOT NULL DEFAULT 0,
    learning            BIGINT NOT NULL DEFAULT 0,
    fresh               BIGINT NOT NULL DEFAULT 0,
    activity_at         TIMESTAMPTZ,
    description_at      TIMESTAMPTZ,
    qa_at               TIMESTAMPTZ,
    words_at            TIMESTAMPTZ,
    longest_streak_days INTEGER NOT NULL DEFAULT 0 CHECK (longest_streak_days >= 0),
    PRIMARY KEY (user_id, day)
) WITH (fillfactor = 80);

COMMENT ON TABLE marea.kept_facts IS
    'What goes on counting although its session is gone, by the learner''s local day. Written by triggers and jobs.';
COMMENT ON COLUMN marea.kept_facts.user_id IS 'The learner.';
COMMENT ON COLUMN marea.kept_facts.day IS
    'Local day; -infinity: on no day, what an app had counted before Marea came (marea.carry_over), one row at most.';
COMMENT ON COLUMN marea.kept_facts.facts IS 'Sessions on the day that are gone, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.sessions IS 'Adds to total_sessions, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.minutes IS 'Adds to total_time_spent_minutes, minutes; by trigger.';
COMMENT ON COLUMN marea.kept_facts.questions IS 'Adds to total_questions_answered, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.correct IS 'Adds to total_questions_correct, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.words IS 'Adds to total_vocabulary_learned, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.points IS 'Adds to total_points; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.descriptions IS 'Adds to total_descriptions, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.images IS 'Adds to total_images, count; by trigger.';
COMMENT ON COLUMN marea.kept_facts.mastered IS 'Adds to mastered_words_count; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.learning IS 'Adds to learning_words_count; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.fresh IS 'Adds to new_words_count; by marea.carry_over.';
COMMENT ON COLUMN marea.kept_facts.activity_at IS 'Latest end of what is kept here; by trigger.';
COMMENT ON COLUMN marea.kept_facts.description_at IS 'The same, of those with a description; by trigger.';
COMMENT ON COLUMN marea.kept_facts.qa_at IS 'The same, of those with a question answered; by trigger.';
COMMENT ON COLUMN marea.kept_facts.words_at IS 'The same, of those with a word learned; by trigger.';
COMMENT ON COLUMN marea.kept_facts.longest_streak_days IS
    'Only at -infinity: the longest run of days that the app knew of, which the days themselves may not show any more.';

CREATE TABLE IF NOT EXISTS marea.settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

COMMENT ON TABLE marea.settings IS 'What the one who runs the Postgres has switched; written by functions of their own.';
COMMENT ON COLUMN marea.settings.name IS 'keep_counting: see marea.keep_counting().';
COMMENT ON COLUMN marea.settings.value IS 'on or off.';

ALTER TABLE marea.kept_facts ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.settings ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION marea.keeps_counting() RETURNS BOOLEAN
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- What the transaction says comes first: set_config('marea.keep_counting', 'on' or 'off', true).
BEGIN
    RETURN CASE lower(current_setting('marea.keep_counting', true)) WHEN 'on' THEN true WHEN 'off' THEN false
        ELSE auth.uid() IS NULL AND EXISTS (SELECT FROM marea.settings AS s WHERE s.name = 'keep_counting' AND s.value = 'on') END;
END
$$;

COMMENT ON FUNCTION marea.keeps_counting() IS
    'Whether sessions that this transaction deletes go on counting. Never where a signed-in learner deletes, unless it is said so.';

CREATE OR REPLACE FUNCTION marea.keep_counting(jobs BOOLEAN) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO marea.settings (name, value) VALUES ('keep_counting', CASE WHEN jobs THEN 'on' ELSE 'off' END)
    ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value;
END;

COMMENT ON FUNCTION marea.keep_counting(BOOLEAN) IS
    'True: sessions that anybody but a signed-in learner deletes (a nightly job) go on counting from now on. False: they are taken out.';

CREATE OR REPLACE FUNCTION marea.keep_facts(given marea.fact[]) RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO marea.kept_facts AS k (user_id, day, facts, sessions, minutes, questions, correct, words, descriptions, images,
        activity_at, description_at, qa_at, words_at)
    SELECT f.user_id, f.day, sum(f.facts), sum(f.sessions), sum(f.minutes), sum(f.questions), sum(f.correct), sum(f.words),
           sum(f.descriptions), sum(f.images), max(f.activity_at), max(f.description_at), max(f.qa_at), max(f.words_at)
    FROM unnest(given) AS f
    GROUP BY f.user_id, f.day
    ORDER BY f.user_id, f.day
    ON CONFLICT (user_id, day) DO UPDATE SET
        facts = k.facts + EXCLUDED.facts, sessions = k.sessions + EXCLUDED.sessions, minutes = k.minutes + EXCLUDED.minutes,
        questions = k.questions + EXCLUDED.questions, correct = k.correct + EXCLUDED.correct, words = k.words + EXCLUDED.words,
        descriptions = k.descriptions + EXCLUDED.descriptions, images = k.images + EXCLUDED.images,
        activity_at = greatest(k.activity_at, EXCLUDED.activity_at),
        description_at = greatest(k.description_at, EXCLUDED.description_at),
        qa_at = greatest(k.qa_at, EXCLUDED.qa_at), words_at = greatest(k.words_at, EXCLUDED.words_at);
END;

COMMENT ON FUNCTION marea.keep_facts(marea.fact[]) IS 'Notes what sessions that are being deleted have added, so that it stays.';

CREATE OR REPLACE FUNCTION marea.retire_sessions(before TIMESTAMPTZ, most INTEGER DEFAULT 100000) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Removes completed sessions that ended before that, the oldest first, and keeps what they added: totals, days, streaks. Their
-- ids stay taken as long as a device may send one again. Returns how many went; fewer than most: all that there were.
DECLARE
    said CONSTANT TEXT := current_setting('marea.keep_counting', true);
    old  UUID[];
BEGIN
    IF before IS NULL OR NOT isfinite(before) OR before > now() THEN
        RAISE EXCEPTION 'before: must be a time that has passed' USING ERRCODE = '22023',
            HINT = 'For example now() - interval ''90 days''.';
    END IF;
    IF most IS NULL OR most NOT BETWEEN 1 AND 1000000 THEN
        RAISE EXCEPTION 'most: must be 1 to 1000000' USING ERRCODE = '22023';
    END IF;
    SELECT array_agg(held.id) INTO old
    FROM (
        SELECT s.id FROM public.sessions AS s WHERE s.ended_at < before AND isfinite(s.ended_at)
        ORDER BY s.ended_at, s.id LIMIT most FOR UPDATE SKIP LOCKED
    ) AS held;
    -- Under the search_path that the app's triggers are used to.
    PERFORM set_config('marea.keep_counting', 'on', true), set_config('search_path', marea.app_search_path(), true);
    DELETE FROM public.sessions AS s WHERE s.id OPERATOR(pg_catalog.=) ANY (old);
    PERFORM pg_catalog.set_config('marea.keep_counting', coalesce(said, ''), true);
    RETURN coalesce(pg_catalog.cardinality(old), 0);
END
$$;

COMMENT ON FUNCTION marea.retire_sessions(TIMESTAMPTZ, INTEGER) IS
    'Removes sessions that ended before a time and keeps what they added to progress; returns how many, fewer than most when all went.';

REVOKE ALL ON marea.kept_facts, marea.settings FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION marea.keeps_counting, marea.keep_counting, marea.keep_facts, marea.retire_sessions
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.retire_sessions TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- fold_triggers
-- ---------------------------------------------------------------------------------------------------------------------

-- Every statement that inserts, changes or deletes sessions or awards is folded, a whole statement at once.

CREATE OR REPLACE FUNCTION marea.fold_sessions() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Folds the sessions that one statement inserted, changed or deleted.
DECLARE
    kept   BOOLEAN := false;
    facts  marea.fact[];
    owners UUID[];
    keys   TEXT[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(marea.session_fact(1, s.user_id, s.ended_at, s.session_data ->> 'local_date', s.duration_minutes,
            s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned))
        INTO facts
        FROM added AS s
        WHERE isfinite(s.ended_at);
    ELSIF TG_OP = 'DELETE' THEN
        kept := marea.keeps_counting();
        SELECT array_agg(marea.session_fact(CASE WHEN kept THEN 1 ELSE -1 END, s.user_id, s.ended_at, s.session_data ->> 'local_date', s.duration_minutes,
                   s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned))
                   FILTER (WHERE isfinite(s.ended_at)),
               array_agg(s.user_id), array_agg(s.id::text)
        INTO facts, owners, keys
        FROM removed AS s
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = s.user_id);
    ELSE
        -- Set differences, not a join of old and new: sessions whose folded values stay as they were drop out, and no
        -- plan that was made for a statement of one row can turn into a nested loop over a statement of 100,000.
        WITH before AS MATERIALIZED (
            SELECT id, user_id, ended_at, session_data ->> 'local_date' AS local_date, duration_minutes, images_processed,
                   descriptions_generated, qa_attempts, qa_correct, vocabulary_learned
            FROM removed WHERE isfinite(ended_at)
        ), after AS MATERIALIZED (
            SELECT id, user_id, ended_at, session_data ->> 'local_date' AS local_date, duration_minutes, images_processed,
                   descriptions_generated, qa_attempts, qa_correct, vocabulary_learned
            FROM added WHERE isfinite(ended_at)
        )
        SELECT array_agg(marea.session_fact(s.sign, s.user_id, s.ended_at, s.local_date, s.duration_minutes,
            s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned))
        INTO facts
        FROM (
            SELECT -1 AS sign, gone.* FROM (SELECT * FROM before EXCEPT SELECT * FROM after) AS gone
            UNION ALL
            SELECT 1, come.* FROM (SELECT * FROM after EXCEPT SELECT * FROM before) AS come
        ) AS s;
    END IF;

    IF kept AND facts IS NOT NULL THEN
        -- They stay in what is folded already.
        PERFORM marea.keep_facts(facts);
    ELSIF facts IS NOT NULL THEN
        PERFORM marea.fold(facts);
    END IF;
    IF keys IS NOT NULL THEN
        -- Devices do not mirror sessions, but one may send this session again: its id stays taken.
        INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES ('sessions', true, owners, keys);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.fold_sessions() IS 'Trigger: folds the sessions that one statement inserted, changed or deleted.';

CREATE OR REPLACE TRIGGER marea_sessions_inserted AFTER INSERT ON public.sessions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_sessions();
CREATE OR REPLACE TRIGGER marea_sessions_updated AFTER UPDATE ON public.sessions
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_sessions();
CREATE OR REPLACE TRIGGER marea_sessions_deleted AFTER DELETE ON public.sessions
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_sessions();

CREATE OR REPLACE FUNCTION marea.fold_events() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    facts  marea.fact[];
    owners UUID[];
    keys   TEXT[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(marea.event_fact(1, e)) INTO facts FROM added AS e;
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

COMMENT ON FUNCTION marea.fold_events() IS 'Trigger: folds the events that one statement inserted, changed or deleted.';

CREATE OR REPLACE TRIGGER events_inserted AFTER INSERT ON marea.progress_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_events();
CREATE OR REPLACE TRIGGER events_updated AFTER UPDATE ON marea.progress_events
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_events();
CREATE OR REPLACE TRIGGER events_deleted AFTER DELETE ON marea.progress_events
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION marea.fold_events();

-- ---------------------------------------------------------------------------------------------------------------------
-- refold
-- ---------------------------------------------------------------------------------------------------------------------

-- The fold from nothing, which equals what the triggers keep.

CREATE OR REPLACE FUNCTION marea.facts_of(people UUID[]) RETURNS SETOF marea.fact
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT marea.session_fact(1, s.user_id, s.ended_at, s.session_data ->> 'local_date', s.duration_minutes,
        s.images_processed, s.descriptions_generated, s.qa_attempts, s.qa_correct, s.vocabulary_learned)
    FROM public.sessions AS s WHERE s.user_id = ANY (people) AND isfinite(s.ended_at)
    UNION ALL
    SELECT marea.event_fact(1, e) FROM marea.progress_events AS e WHERE e.user_id = ANY (people)
    UNION ALL
    SELECT ROW(k.user_id, k.day, k.facts, k.sessions, k.minutes, k.questions, k.correct, k.words, k.points, k.descriptions,
        k.images, k.mastered, k.learning, k.fresh, k.activity_at, k.description_at, k.qa_at, k.words_at, NULL, NULL)::marea.fact
    FROM marea.kept_facts AS k WHERE k.user_id = ANY (people);
END;

COMMENT ON FUNCTION marea.facts_of(UUID[]) IS 'All that counts of these users, one fact per completed session and event, and what is kept.';

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
    WHERE isfinite(f.day) -- what was carried over lies on no day
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
               coalesce(s.streak, 0)::int AS streak, greatest(s.longest, k.longest_streak_days, 0)::int AS longest,
               marea.union_achievements(p.achievements, coalesce(u.achievements, '{}')) AS achievements
        FROM public.user_progress AS p
        LEFT JOIN totals AS t ON t.user_id = p.user_id
        LEFT JOIN streaks AS s ON s.user_id = p.user_id
        LEFT JOIN unlocked AS u ON u.user_id = p.user_id
        LEFT JOIN marea.kept_facts AS k ON k.user_id = p.user_id AND k.day = '-infinity'
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

COMMENT ON FUNCTION marea.refold(UUID[]) IS
    'Folds these users'' sessions and events from nothing; returns how many progress rows that changed (0 when healthy).';

-- ---------------------------------------------------------------------------------------------------------------------
-- versions
-- ---------------------------------------------------------------------------------------------------------------------

-- Versions: what changed gets its user's next ones, at the end of the transaction.

CREATE OR REPLACE FUNCTION marea.assign_versions() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $$
-- The first firing gives versions to everything that the transaction has changed so far, users in one order for all transactions;
-- the later ones find their row gone. By primary key, whatever the planner thinks of so small a table: a scan would walk
-- over the transaction's dead rows, all of them for each.
DECLARE
    began     CONSTANT TIMESTAMPTZ := clock_timestamp();
    this_hour CONSTANT TIMESTAMPTZ := date_trunc('hour', began);
    this_run  BIGINT;
BEGIN
    IF NOT EXISTS (SELECT FROM marea.pending WHERE xact = NEW.xact AND seq = NEW.seq) THEN
        RETURN NULL;
    END IF;
    this_run := marea.this_run_number();

    WITH taken AS (
        DELETE FROM marea.pending WHERE xact = NEW.xact AND seq >= NEW.seq
        RETURNING seq, table_name, deleted, user_ids, row_keys
    ), changed AS MATERIALIZED (
        SELECT DISTINCT ON (k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text))
               k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text) AS row_key, t.deleted, t.seq
        FROM taken AS t, unnest(t.user_ids, t.row_keys) AS k (user_id, row_key)
        ORDER BY k.user_id, t.table_name, coalesce(k.row_key, k.user_id::text), t.seq DESC
    ), bumped AS (
        INSERT INTO marea.clocks AS c (user_id, version, run)
        SELECT per_user.user_id, per_user.changes, this_run
        FROM (SELECT user_id, count(*) AS changes FROM changed GROUP BY user_id) AS per_user
        WHERE EXISTS (SELECT FROM public.users WHERE users.id = per_user.user_id)
        ORDER BY per_user.user_id
        ON CONFLICT (user_id) DO UPDATE SET
            version = c.version + EXCLUDED.version,
            run = EXCLUDED.run,
            checked_at = CASE WHEN c.checked_at < this_hour THEN began ELSE c.checked_at END,
            checked_version = CASE WHEN c.checked_at < this_hour THEN c.version ELSE c.checked_version END
        RETURNING c.user_id, c.version, c.checked_at, c.checked_version
    ), checked AS (
        INSERT INTO marea.checkpoints (user_id, at, version)
        SELECT b.user_id, b.checked_at, b.checked_version FROM bumped AS b WHERE b.checked_at = began
        ON CONFLICT (user_id, at) DO NOTHING
    )
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, version, deleted)
    SELECT numbered.user_id, numbered.table_name, numbered.row_key, b.version - numbered.place, numbered.deleted
    FROM (
        SELECT changed.*, row_number() OVER (PARTITION BY user_id ORDER BY seq DESC, table_name DESC, row_key DESC) - 1 AS place
        FROM changed
    ) AS numbered
    JOIN bumped AS b ON b.user_id = numbered.user_id
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET
        version = EXCLUDED.version,
        deleted = EXCLUDED.deleted,
        changed_at = EXCLUDED.changed_at,
        -- A deleted export never comes back, so its clocks are of no more use. Deleted keys may be written again, and
        -- then an older write must still lose.
        hlc = CASE WHEN EXCLUDED.deleted AND r.table_name <> 'user_api_keys' THEN '{}' ELSE r.hlc END;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.assign_versions() IS 'Trigger: gives versions to all that the transaction changed; takes the clocks, last of all.';

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'marea.pending'::regclass AND tgname = 'pending_assign_versions') THEN
        CREATE CONSTRAINT TRIGGER pending_assign_versions AFTER INSERT ON marea.pending
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION marea.assign_versions();
    END IF;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- tracking
-- ---------------------------------------------------------------------------------------------------------------------

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
        WHERE ROW(n.sessions, n.minutes, n.questions, n.correct, n.words, n.points)
              IS DISTINCT FROM ROW(o.sessions, o.minutes, o.questions, o.correct, o.words, o.points);
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

-- ---------------------------------------------------------------------------------------------------------------------
-- requests
-- ---------------------------------------------------------------------------------------------------------------------

-- Requests: what is wrong with one, before anything is done; and the answer to one that has nothing to do.

CREATE OR REPLACE FUNCTION marea.refuse(code TEXT, message TEXT, hint TEXT) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, HINT = hint;
END
$$;

COMMENT ON FUNCTION marea.refuse(TEXT, TEXT, TEXT) IS
    'Refuses the whole request. PostgREST answers PTnnn with HTTP status nnn and the message and hint.';

CREATE OR REPLACE FUNCTION marea.check_request(request JSONB) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    field  JSONB;
    place  BIGINT;
BEGIN
    IF jsonb_typeof(request) IS DISTINCT FROM 'object' THEN
        PERFORM marea.refuse('PT400', 'request: must be an object', 'Send {"request": {"protocol": 1, ...}}.');
    END IF;

    field := request -> 'protocol';
    IF jsonb_typeof(field) IS DISTINCT FROM 'number' THEN
        PERFORM marea.refuse('PT400', 'protocol: must be a number', 'This server speaks protocol 1.');
    ELSIF field <> '1' THEN
        PERFORM marea.refuse('PT426', 'protocol: this server does not speak the client''s protocol',
            'Update the app. This server speaks protocol 1.');
    END IF;

    -- As Postgres holds it, which is near the size of the text and costs nothing to know.
    IF pg_column_size(request) > 1048576 THEN
        PERFORM marea.refuse('PT413', 'request: larger than 1 MiB', 'Send fewer mutations at a time.');
    END IF;

    IF coalesce(request ->> 'client_id', '') !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
        PERFORM marea.refuse('PT400', 'client_id: must be a lower-case uuid', 'Each device has one, made once.');
    END IF;

    field := request -> 'schema';
    IF jsonb_typeof(field) IS DISTINCT FROM 'number' OR field::text !~ '^[1-9][0-9]{0,8}$' THEN
        PERFORM marea.refuse('PT400', 'schema: must be an integer of at least 1', 'It is the version of the mirror.');
    END IF;

    field := request -> 'limit';
    IF field IS NOT NULL AND (jsonb_typeof(field) <> 'number' OR field::text !~ '^[1-9][0-9]{0,3}$' OR field::text::int > 2000) THEN
        PERFORM marea.refuse('PT400', 'limit: must be an integer from 1 to 2000', 'Leave it out for 500.');
    END IF;

    field := nullif(request -> 'cursor', 'null');
    IF field IS NOT NULL THEN
        IF jsonb_typeof(field) <> 'object' THEN
            PERFORM marea.refuse('PT400', 'cursor: must be an object or null', 'Send back the cursor of the last answer.');
        ELSIF jsonb_typeof(field -> 'version') IS DISTINCT FROM 'number' OR (field ->> 'version') !~ '^[0-9]{1,18}$' THEN
            PERFORM marea.refuse('PT400', 'cursor.version: must be a whole number', 'Send back the cursor of the last answer.');
        ELSIF jsonb_typeof(field -> 'epoch') IS DISTINCT FROM 'string' OR length(field ->> 'epoch') > 64 THEN
            PERFORM marea.refuse('PT400', 'cursor.epoch: must be a text of at most 64 characters',
                'Send back the cursor of the last answer.');
        END IF;
    END IF;

    field := request -> 'mutations';
    IF field IS NULL OR field = '[]' THEN
        RETURN;
    ELSIF jsonb_typeof(field) <> 'array' THEN
        PERFORM marea.refuse('PT400', 'mutations: must be an array', 'Leave it out, or send [], to pull only.');
    ELSIF jsonb_array_length(field) > 500 THEN
        PERFORM marea.refuse('PT413', 'mutations: more than 500', 'Send the oldest 500 first.');
    END IF;
    -- A quick look first: that every id is its own uuid again says the same as the pattern, at a fifth of the price.
    BEGIN
        IF (
            SELECT bool_and(CASE WHEN m ->> 'id' LIKE '________-____-____-____-____________'
                THEN (m ->> 'id')::uuid::text = m ->> 'id' ELSE false END)
            FROM jsonb_array_elements(field) AS m
        ) THEN
            RETURN;
        END IF;
    EXCEPTION WHEN invalid_text_representation THEN
        NULL; -- which one, is said below
    END;
    SELECT min(m.n) INTO place
    FROM jsonb_array_elements(field) WITH ORDINALITY AS m (value, n)
    WHERE jsonb_typeof(m.value) <> 'object'
       OR coalesce(m.value ->> 'id', '') !~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    IF place IS NOT NULL THEN
        PERFORM marea.refuse('PT400', format('mutations[%s].id: must be a lower-case uuid', place - 1),
            'Every mutation is an object with the id that the device gave it.');
    END IF;
END
$$;

COMMENT ON FUNCTION marea.check_request(JSONB) IS 'Refuses a malformed request, naming the field. Says nothing about single mutations.';

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
    history := marea.known_run();
    IF starts_with(epoch, history || '.') IS NOT TRUE THEN
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
-- app_triggers
-- ---------------------------------------------------------------------------------------------------------------------

-- Refusals: whatever refuses a mutation (a constraint, a policy, a trigger of the app with any SQLSTATE, or one that returns NULL)
-- refuses that one alone, and the app's triggers find what they find in a plain INSERT (docs/adr/0078).

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

CREATE OR REPLACE FUNCTION marea.dry_push(mutation JSONB) RETURNS VOID
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

COMMENT ON FUNCTION marea.dry_push(JSONB) IS 'Fails where a mutation like this one would fail whatever its values are.';

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

CREATE OR REPLACE FUNCTION marea.is_of_server(code TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN code ~ '^(40|53|57|58|XX)' OR code = '55P03';

COMMENT ON FUNCTION marea.is_of_server(TEXT) IS
    'Whether an SQLSTATE is about the server and not about a mutation: a retry may cure it.';

-- ---------------------------------------------------------------------------------------------------------------------
-- push_events
-- ---------------------------------------------------------------------------------------------------------------------

-- Push: sessions and awards, any number at once.

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

COMMENT ON FUNCTION marea.insert_sessions(JSONB) IS 'Inserts sessions from mutations; returns the ids that were new.';

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

COMMENT ON FUNCTION marea.insert_events(JSONB) IS 'Inserts progress events from mutations; returns the ids that were new.';

-- ---------------------------------------------------------------------------------------------------------------------
-- push_registers
-- ---------------------------------------------------------------------------------------------------------------------

-- Push: registers, one mutation at a time. Last writer wins, column by column.

CREATE OR REPLACE FUNCTION marea.record_registers(relation TEXT, key TEXT, clocks JSONB) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Notes who wrote the caller's own registers last. The caller holds the lock of the row itself. The row counts as
-- changed even where the values stayed the same: the other devices must learn the new clocks.
DECLARE
    me CONSTANT UUID := auth.uid();
BEGIN
    IF me IS NULL OR relation NOT IN ('export_history', 'user_api_keys') THEN
        RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'not a row of the caller';
    END IF;
    INSERT INTO marea.rows AS r (user_id, table_name, row_key, hlc) VALUES (me, relation, key, clocks)
    ON CONFLICT (user_id, table_name, row_key) DO UPDATE SET hlc = r.hlc || EXCLUDED.hlc;
    INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys) VALUES (relation, false, ARRAY[me], ARRAY[key]);
END
$$;

COMMENT ON FUNCTION marea.record_registers(TEXT, TEXT, JSONB) IS 'Notes the clocks of the caller''s own registers.';

CREATE OR REPLACE FUNCTION marea.delete_export(export UUID) RETURNS VOID
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM public.export_history WHERE id = export AND user_id = auth.uid();
    IF NOT FOUND AND EXISTS (SELECT FROM public.export_history WHERE id = export AND user_id = auth.uid()) THEN
        PERFORM marea.refuse_left_out('public.export_history', 'DELETE');
    END IF;
END
$$;

COMMENT ON FUNCTION marea.delete_export(UUID) IS
    'Deletes an export of the caller, and no other; the tables'' policies let nobody delete one directly.';

CREATE OR REPLACE FUNCTION marea.insert_export(mutation JSONB, client TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me      CONSTANT UUID := auth.uid();
    fields  CONSTANT JSONB := mutation -> 'values';
    export  CONSTANT UUID := mutation ->> 'id';
    clock   CONSTANT TEXT := marea.clamp_hlc(mutation ->> 'hlc');
    written CONSTANT JSONB := fields - '{id,export_type,export_format,filters,created_at}'::text[];
    problem TEXT;
    found_  UUID;
    columns TEXT[];
    insert_ TEXT;
    again   TEXT;
    row_    JSONB;
BEGIN
    problem := CASE
        WHEN marea.has_wrong_type('string', fields -> 'export_type') THEN 'values.export_type: must be a text'
        WHEN marea.has_wrong_type('string', fields -> 'export_format') THEN 'values.export_format: must be a text'
        WHEN marea.has_wrong_type('object', fields -> 'filters') THEN 'values.filters: must be an object'
        WHEN marea.has_wrong_type('time', fields -> 'created_at') THEN 'values.created_at: must be a time'
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

COMMENT ON FUNCTION marea.insert_export(JSONB, TEXT) IS 'Inserts an export from a mutation: applied or duplicate.';

CREATE OR REPLACE FUNCTION marea.merge_registers(relation TEXT, key TEXT, hlc TEXT, client TEXT, fields JSONB) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
-- Last writer wins, column by column. 'applied' also where every column was lost to a later writer, or the row has been
-- deleted: the mutation has had the effect that the rules give it. 'duplicate' where it had been merged before.
DECLARE
    me      CONSTANT UUID := auth.uid();
    clock   CONSTANT TEXT := marea.clamp_hlc(hlc);
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

COMMENT ON FUNCTION marea.merge_registers(TEXT, TEXT, TEXT, TEXT, JSONB) IS 'Merges registers of one row: applied or duplicate.';

CREATE OR REPLACE FUNCTION marea.apply_register(mutation JSONB, client TEXT) RETURNS TEXT
LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
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

COMMENT ON FUNCTION marea.apply_register(JSONB, TEXT) IS 'Applies a mutation that is no event: applied or duplicate.';

-- ---------------------------------------------------------------------------------------------------------------------
-- push
-- ---------------------------------------------------------------------------------------------------------------------

-- Push: the whole queue prefix of a request.

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

COMMENT ON FUNCTION marea.push_together(JSONB, TEXT) IS 'Applies mutations all together; the results, in their order.';

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
                PERFORM marea.dry_push(mutation);
            END IF;
            -- The innermost function: an app's trigger that misses something has its own remedy, Marea's fold is the server's.
            place := substring(context FROM 'PL/pgSQL function ([^(]+[(][^)]*[)])');
            IF code ~ '^42' AND code <> '42501' THEN
                IF place LIKE 'marea.%' THEN
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

COMMENT ON FUNCTION marea.push(JSONB, TEXT) IS 'Applies mutations, together or singly; the results, in their order.';

-- ---------------------------------------------------------------------------------------------------------------------
-- page
-- ---------------------------------------------------------------------------------------------------------------------

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

CREATE OR REPLACE FUNCTION marea.page(
    me UUID, known BIGINT, most INTEGER, packs BOOLEAN, OUT reset BOOLEAN, OUT upto BIGINT, OUT clock_at BIGINT,
    OUT more BOOLEAN, OUT found_rows JSON, OUT found_packed JSON, OUT found_deleted JSON
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
          AND (r.table_name || '') IN ('user_progress', 'daily_activity', 'export_history', 'user_api_keys')
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

-- ---------------------------------------------------------------------------------------------------------------------
-- sync
-- ---------------------------------------------------------------------------------------------------------------------

-- The one function that clients call.

CREATE OR REPLACE FUNCTION public.marea_sync(request JSONB) RETURNS JSONB
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog, pg_temp AS $$
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
    IF NOT marea.is_lost_history(request -> 'cursor' ->> 'epoch') THEN
        known := (request -> 'cursor' ->> 'version')::bigint;
    END IF;

    IF jsonb_array_length(request -> 'mutations') > 0 THEN
        SET CONSTRAINTS marea.pending_assign_versions DEFERRED;
        -- One push per user at a time: two devices of one user touch the same rows, in whatever order.
        PERFORM pg_advisory_xact_lock(hashtextextended('marea_sync ' || me, 0));
        results := marea.push(request -> 'mutations', request ->> 'client_id');
        -- Versions are taken now, last of all, so that the answer can show what this push did. From here to commit
        -- the user's clock is held.
        SET CONSTRAINTS marea.pending_assign_versions IMMEDIATE;
        SET CONSTRAINTS marea.pending_assign_versions DEFERRED;
        IF results @> '[{"status": "applied"}]' THEN
            PERFORM marea.move_clock();
        END IF;
    ELSIF NOT marea.user_exists() THEN
        -- A push would be refused for it. Whoever only looks is told.
        absent := '{"user_missing": true}';
    END IF;

    most := marea.rows_within(me, known, coalesce((request ->> 'limit')::int, 500),
        least(CASE WHEN fewer ~ '^[1-9][0-9]{0,8}$' THEN fewer::int END, page_bytes));
    SELECT * INTO page FROM marea.page(me, known, most, coalesce(request -> 'packed' = 'true', false));

    -- For people who watch, not for correctness: a device is noted at most once an hour.
    PERFORM marea.note_client((request ->> 'client_id')::uuid, (request ->> 'schema')::integer, page.upto);

    RETURN absent || jsonb_build_object(
        'protocol', 1,
        'server_time', marea.wire_time(clock_timestamp()),
        'reset', page.reset OR (known IS NULL AND nullif(request -> 'cursor', 'null') IS NOT NULL),
        'results', results,
        'rows', page.found_rows,
        'packed', page.found_packed,
        'deleted', page.found_deleted,
        'cursor', jsonb_build_object('version', page.upto, 'epoch',
            concat_ws('.', history, page.clock_at, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)),
        'has_more', page.more);
END
$$;

COMMENT ON FUNCTION public.marea_sync(JSONB) IS
    'The one call of Marea''s clients: sends their waiting mutations and answers with what changed. See docs/PROTOCOL.md.';

-- ---------------------------------------------------------------------------------------------------------------------
-- grants
-- ---------------------------------------------------------------------------------------------------------------------

-- Who may do what in the schema marea. Functions are executable by PUBLIC when made, so everything is taken away first; by name,
-- not ALL FUNCTIONS IN SCHEMA, because this may be run again after later migrations have given their own.

ALTER TABLE marea.clocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.progress_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.daily_activity ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE marea.run_notes ENABLE ROW LEVEL SECURITY;

DO $$
DECLARE
    wanted RECORD;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('clocks', 'clocks_select_own', 'SELECT', 'USING'),
            ('rows', 'rows_select_own', 'SELECT', 'USING'),
            ('daily_activity', 'daily_activity_select_own', 'SELECT', 'USING'),
            ('progress_events', 'progress_events_select_own', 'SELECT', 'USING'),
            ('progress_events', 'progress_events_insert_own', 'INSERT', 'WITH CHECK')
        ) AS policies (relation, name, command, clause)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('marea.' || policies.relation) AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON marea.%I FOR %s TO authenticated %s (user_id = (SELECT auth.uid()))',
            wanted.name, wanted.relation, wanted.command, wanted.clause);
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA marea FROM PUBLIC;
REVOKE ALL ON marea.clocks, marea.checkpoints, marea.rows, marea.progress_events, marea.daily_activity, marea.pending,
    marea.clients, marea.known_devices, marea.runs, marea.run_notes
FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.pending_seq_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.marea_sync(JSONB) FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION
    marea.app_search_path, marea.apply_register, marea.assign_server_hlc, marea.assign_versions, marea.check_deferred,
    marea.check_request, marea.clamp_hlc, marea.column_limits, marea.delete_export, marea.dry_push, marea.epoch,
    marea.event_fact, marea.event_is_sound, marea.event_problem, marea.facts_of, marea.fold, marea.fold_events,
    marea.fold_many, marea.fold_one, marea.fold_sessions, marea.has_wrong_type, marea.idle_answer, marea.insert_events,
    marea.insert_export, marea.insert_sessions, marea.insert_sessions_sql, marea.is_day, marea.is_lost_history,
    marea.is_of_server, marea.json_problem, marea.known_run, marea.local_day, marea.make_this_run, marea.merge_registers,
    marea.move_clock, marea.mutation_problem, marea.non_negative, marea.note_client, marea.note_run, marea.page, marea.push, marea.push_together, marea.record_registers, marea.refold,
    marea.refuse, marea.refuse_left_out, marea.register_problem, marea.rows_within, marea.server_hlc, marea.session_fact,
    marea.session_is_sound, marea.session_problem, marea.this_run_number, marea.tomorrow, marea.track_daily_activity, marea.track_export_history,
    marea.track_user_api_keys, marea.track_user_progress, marea.triggers_before, marea.union_achievements, marea.user_exists,
    marea.value_problem, marea.values_problem, marea.wire_time
FROM PUBLIC, anon, authenticated, service_role;

GRANT EXECUTE ON FUNCTION public.marea_sync(JSONB) TO authenticated;
-- marea_sync runs as its caller, so the caller needs what it uses. The schema is not exposed through the API, and every
-- table below shows a caller only the caller's own rows.
GRANT USAGE ON SCHEMA marea TO authenticated;
GRANT SELECT ON marea.clocks, marea.rows, marea.daily_activity, marea.progress_events TO authenticated;
GRANT INSERT ON marea.progress_events TO authenticated;
GRANT EXECUTE ON FUNCTION
    marea.app_search_path, marea.apply_register, marea.check_deferred, marea.check_request, marea.clamp_hlc,
    marea.column_limits, marea.delete_export, marea.dry_push, marea.epoch, marea.event_is_sound, marea.event_problem,
    marea.has_wrong_type, marea.idle_answer, marea.insert_events, marea.insert_export, marea.insert_sessions,
    marea.insert_sessions_sql, marea.is_day, marea.is_lost_history, marea.is_of_server, marea.json_problem, marea.local_day,
    marea.merge_registers, marea.move_clock, marea.mutation_problem, marea.note_client, marea.page, marea.push, marea.push_together,
    marea.record_registers, marea.refuse, marea.refuse_left_out, marea.register_problem, marea.rows_within,
    marea.session_is_sound, marea.session_problem, marea.tomorrow, marea.triggers_before, marea.user_exists,
    marea.value_problem, marea.values_problem, marea.wire_time
TO authenticated;
-- The backend's own jobs.
GRANT USAGE ON SCHEMA marea TO service_role;
GRANT EXECUTE ON FUNCTION marea.refold(UUID[]) TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- first_versions
-- ---------------------------------------------------------------------------------------------------------------------

-- What is here already gets its first version.

INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
SELECT here.table_name, false, array_agg(here.user_id), array_agg(here.row_key)
FROM (
    SELECT 'user_progress' AS table_name, user_id, user_id::text AS row_key FROM public.user_progress
    UNION ALL SELECT 'export_history', user_id, id::text FROM public.export_history
    UNION ALL SELECT 'user_api_keys', user_id, user_id::text FROM public.user_api_keys
) AS here
WHERE NOT EXISTS (
    SELECT FROM marea.rows AS r
    WHERE r.user_id = here.user_id AND r.table_name = here.table_name AND r.row_key = here.row_key
)
GROUP BY here.table_name;

SET CONSTRAINTS marea.pending_assign_versions IMMEDIATE;

-- Checked for all rows at once, which is many times faster than row by row as they come.
DO $$
DECLARE
    relation TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY['clocks', 'rows'] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = to_regclass('marea.' || relation) AND conname = relation || '_user_id_fkey'
        ) THEN
            EXECUTE format('ALTER TABLE marea.%I ADD CONSTRAINT %I FOREIGN KEY (user_id)'
                ' REFERENCES public.users (id) ON DELETE CASCADE', relation, relation || '_user_id_fkey');
        END IF;
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- carry_over
-- ---------------------------------------------------------------------------------------------------------------------

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

-- ---------------------------------------------------------------------------------------------------------------------
-- backfill
-- ---------------------------------------------------------------------------------------------------------------------

-- Progress, daily activity and streaks for the sessions that were completed before Marea was here, in batches that hold no lock for
-- long.

CREATE TABLE IF NOT EXISTS marea.backfill (
    run           INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at    TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    continued_at  TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    finished_at   TIMESTAMPTZ,
    after_user    UUID,
    users_total   BIGINT NOT NULL CHECK (users_total >= 0),
    users_done    BIGINT NOT NULL DEFAULT 0 CHECK (users_done >= 0),
    users_changed BIGINT NOT NULL DEFAULT 0 CHECK (users_changed >= 0),
    facts_read    BIGINT NOT NULL DEFAULT 0 CHECK (facts_read >= 0)
);

COMMENT ON TABLE marea.backfill IS 'One row per run of the backfill: how far it is. Written by marea.backfill_batch().';
COMMENT ON COLUMN marea.backfill.run IS 'Number of the run.';
COMMENT ON COLUMN marea.backfill.started_at IS 'When its first batch began.';
COMMENT ON COLUMN marea.backfill.continued_at IS 'When its latest batch ended.';
COMMENT ON COLUMN marea.backfill.finished_at IS 'When all users were done; NULL while it runs, or waits to be continued.';
COMMENT ON COLUMN marea.backfill.after_user IS 'The last user done; batches go by id.';
COMMENT ON COLUMN marea.backfill.users_total IS 'Users when the run began, count.';
COMMENT ON COLUMN marea.backfill.users_done IS 'Users looked at, count.';
COMMENT ON COLUMN marea.backfill.users_changed IS 'Users whose progress row was not as their sessions and events say, count.';
COMMENT ON COLUMN marea.backfill.facts_read IS 'Completed sessions and events of the users looked at, count.';

-- One run at a time is open: two callers go on with the same one, batch by batch.
CREATE UNIQUE INDEX IF NOT EXISTS backfill_one_open ON marea.backfill ((true)) WHERE finished_at IS NULL;

ALTER TABLE marea.backfill ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION marea.backfill_batch(batch_users INTEGER DEFAULT 100, again BOOLEAN DEFAULT false) RETURNS INTEGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- One batch, in the caller's transaction. Returns how many users it did; fewer than batch_users: all are done. With again,
-- a backfill that is finished begins again, which repairs whatever plain SQL has done to the counters.
DECLARE
    current  marea.backfill;
    users    UUID[];
    present  UUID[];
    changed_ BIGINT;
BEGIN
    IF batch_users IS NULL OR batch_users NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'batch_users: must be 1 to 10000' USING ERRCODE = '22023';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- An older snapshot would not show what is committed while this waits for the locks.
        RAISE EXCEPTION 'the backfill needs READ COMMITTED' USING ERRCODE = '25001',
            HINT = 'SET default_transaction_isolation = ''read committed'', and begin again.';
    END IF;

    SELECT * INTO current FROM marea.backfill WHERE finished_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        IF NOT again AND EXISTS (SELECT FROM marea.backfill) THEN
            RETURN 0;
        END IF;
        INSERT INTO marea.backfill (users_total) SELECT count(*) FROM public.users RETURNING * INTO current;
    END IF;

    SELECT array_agg(next.id ORDER BY next.id) INTO users
    FROM (
        SELECT u.id FROM public.users AS u WHERE current.after_user IS NULL OR u.id > current.after_user
        ORDER BY u.id LIMIT batch_users
    ) AS next;
    -- Who deletes a user holds the user's row and will want the progress row: so the users come first here too.
    SELECT array_agg(held.id) INTO present
    FROM (SELECT u.id FROM public.users AS u WHERE u.id = ANY (users) ORDER BY u.id FOR KEY SHARE) AS held;
    PERFORM marea.carry_over(coalesce(present, '{}'));
    changed_ := marea.refold(coalesce(present, '{}'));

    UPDATE marea.backfill SET
        continued_at = clock_timestamp(),
        finished_at = CASE WHEN coalesce(cardinality(users), 0) < batch_users THEN clock_timestamp() END,
        after_user = coalesce(users[cardinality(users)], after_user),
        users_done = users_done + coalesce(cardinality(users), 0),
        users_changed = users_changed + changed_,
        facts_read = facts_read
            + coalesce((SELECT sum(d.facts) FROM marea.daily_activity AS d WHERE d.user_id = ANY (present)), 0)
    WHERE run = current.run
    RETURNING * INTO current;
    RAISE NOTICE 'backfill: % of % users, % changed, % facts read', current.users_done, current.users_total,
        current.users_changed, current.facts_read;
    RETURN coalesce(cardinality(users), 0);
END
$$;

COMMENT ON FUNCTION marea.backfill_batch(INTEGER, BOOLEAN) IS
    'Does the next users of the backfill in this transaction; returns how many, fewer than batch_users when all are done.';

CREATE OR REPLACE FUNCTION marea.is_called_alone(routine TEXT) RETURNS BOOLEAN
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
-- By the text that the client has sent. Where that is not tracked, it is taken for alone.
RETURN coalesce((
    SELECT a.query = '' OR regexp_replace(a.query, '--[^\n]*|/\*.*?\*/', ' ', 'g') ~* ('^\s*call\s+' || routine || '\s*\([^;]*\)\s*;?\s*$')
    FROM pg_stat_activity AS a WHERE a.pid = pg_backend_pid()), true);

COMMENT ON FUNCTION marea.is_called_alone(TEXT) IS
    'Whether the CALL of this procedure is all that was sent, so that it may commit; false in a script that is sent as one, as SQL editors do.';

CREATE OR REPLACE PROCEDURE marea.run_backfill(batch_users INTEGER DEFAULT 100, again BOOLEAN DEFAULT false)
LANGUAGE plpgsql AS $$
-- No SET clause: Postgres would not let it commit. So every name is written out.
DECLARE
    attempts CONSTANT pg_catalog.int4 := 5;
    done     pg_catalog.int4;
    afresh   pg_catalog.bool := again;
    alone    CONSTANT pg_catalog.bool := marea.is_called_alone('marea[.]run_backfill');
BEGIN
    LOOP
        FOR attempt IN 1..attempts LOOP
            BEGIN
                done := marea.backfill_batch(batch_users, afresh);
                EXIT;
            EXCEPTION WHEN deadlock_detected OR lock_not_available THEN
                -- Somebody updates many users' progress in an order of their own; that goes by.
                IF attempt OPERATOR(pg_catalog.=) attempts THEN
                    RAISE;
                END IF;
            END;
        END LOOP;
        afresh := false;
        EXIT WHEN done OPERATOR(pg_catalog.<) batch_users;
        IF NOT alone THEN
            RAISE WARNING 'The backfill is not finished: a script that is sent as one cannot be more than one transaction.'
                USING HINT = 'Repeat  SELECT marea.backfill_batch(1000);  until it returns less than 1000.';
            EXIT;
        END IF;
        COMMIT;
    END LOOP;
END
$$;

COMMENT ON PROCEDURE marea.run_backfill(INTEGER, BOOLEAN) IS
    'All batches of the backfill, each committed by itself; goes on where an earlier call was stopped.';

REVOKE ALL ON marea.backfill FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.backfill_run_seq FROM PUBLIC, anon, authenticated, service_role;

REVOKE EXECUTE ON FUNCTION marea.backfill_batch(INTEGER, BOOLEAN), marea.is_called_alone(TEXT) FROM PUBLIC, anon, authenticated, service_role;
REVOKE EXECUTE ON PROCEDURE marea.run_backfill(INTEGER, BOOLEAN) FROM PUBLIC, anon, authenticated, service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- jobs
-- ---------------------------------------------------------------------------------------------------------------------

-- Jobs, for the backend's own role. docs/migrations/OPERATIONS.md schedules them.

CREATE INDEX IF NOT EXISTS rows_tombstones_idx ON marea.rows (changed_at) WHERE deleted;

CREATE OR REPLACE FUNCTION marea.prune_tombstones(keep INTERVAL DEFAULT '90 days') RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Forgets deletions older than that; a client that has not synced since pulls everything again. Users who are syncing right now are
-- left for the next run. Returns how many tombstones went.
DECLARE
    person  UUID;
    horizon BIGINT;
    went    BIGINT;
    pruned_ BIGINT := 0;
BEGIN
    IF keep < '30 days' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'keep: must be at least 30 days',
            HINT = 'Clients may send a mutation again for 30 days, and a tombstone keeps the deleted row from returning.';
    END IF;
    FOR person IN
        SELECT DISTINCT r.user_id FROM marea.rows AS r
        WHERE r.deleted AND r.changed_at < now() - keep ORDER BY r.user_id
    LOOP
        -- The clock first: with it, nobody is giving versions to this user's lines.
        PERFORM FROM marea.clocks WHERE user_id = person FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;

        -- Of sessions and events clients never hear, so losing those tombstones sends nobody back to the start.
        SELECT max(r.version) INTO horizon FROM marea.rows AS r
        WHERE r.user_id = person AND r.deleted AND r.changed_at < now() - keep
          AND r.table_name NOT IN ('sessions', 'progress_events');
        IF horizon IS NOT NULL THEN
            -- The living rows move above the horizon: a client that pulls everything again pages through them by version, and must
            -- never hold a cursor that itself looks too old.
            CONTINUE WHEN (
                SELECT count(*) FROM marea.rows AS r
                WHERE r.user_id = person AND NOT r.deleted AND r.version <= horizon
            ) <> (
                SELECT count(*) FROM (
                    SELECT FROM marea.rows AS r
                    WHERE r.user_id = person AND NOT r.deleted AND r.version <= horizon FOR UPDATE SKIP LOCKED
                ) AS locked
            );
            WITH moved AS (
                SELECT r.table_name, r.row_key, row_number() OVER (ORDER BY r.version) AS place
                FROM marea.rows AS r
                WHERE r.user_id = person AND NOT r.deleted AND r.version <= horizon
            ), bumped AS (
                UPDATE marea.clocks AS c SET version = c.version + (SELECT count(*) FROM moved), pruned = horizon,
                    run = marea.this_run_number()
                WHERE c.user_id = person
                RETURNING c.version - (SELECT count(*) FROM moved) AS base
            )
            UPDATE marea.rows AS r SET version = bumped.base + moved.place
            FROM moved, bumped
            WHERE r.user_id = person AND r.table_name = moved.table_name AND r.row_key = moved.row_key;
        END IF;

        DELETE FROM marea.checkpoints AS p WHERE p.user_id = person AND p.at < now() - keep;
        DELETE FROM marea.rows AS r WHERE r.user_id = person AND r.deleted AND r.changed_at < now() - keep;
        GET DIAGNOSTICS went = ROW_COUNT;
        pruned_ := pruned_ + went;
    END LOOP;
    -- A cursor of a run that is forgotten is of no use any more, so the notes up to the first run that is kept serve nobody.
    DELETE FROM marea.runs AS r WHERE r.number < (
        SELECT max(began.number) FROM marea.runs AS began WHERE began.began_at < now() - keep);
    DELETE FROM marea.run_notes AS n WHERE n.number <= (SELECT min(r.number) FROM marea.runs AS r);
    RETURN pruned_;
END
$$;

COMMENT ON FUNCTION marea.prune_tombstones(INTERVAL) IS 'Forgets old deletions; returns how many.';

CREATE OR REPLACE FUNCTION marea.expire_exports() RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    expired BIGINT;
BEGIN
    UPDATE public.export_history SET status = 'expired', file_url = NULL, data = NULL
    WHERE id IN (
        SELECT id FROM public.export_history
        WHERE status = 'completed' AND expires_at < now() ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS expired = ROW_COUNT;
    RETURN expired;
END
$$;

COMMENT ON FUNCTION marea.expire_exports() IS
    'Marks completed exports past expires_at as expired and drops their data and address; returns how many.';

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
        longest_streak_days = greatest(runs.longest, kept.longest, 0)
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
    CROSS JOIN LATERAL (
        SELECT max(k.longest_streak_days) AS longest FROM marea.kept_facts AS k WHERE k.user_id = person.id AND k.day = '-infinity'
    ) AS kept
    WHERE p.user_id = person.id
      AND ROW(p.last_active_on, p.current_streak_days, p.longest_streak_days)
          IS DISTINCT FROM ROW(runs.last_day, coalesce(runs.streak, 0)::int, greatest(runs.longest, kept.longest, 0)::int);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

COMMENT ON FUNCTION marea.refresh_streaks() IS
    'Counts the days that have come since they were folded; returns how many progress rows changed. To be run once a day.';

REVOKE ALL ON FUNCTION marea.prune_tombstones, marea.expire_exports, marea.refresh_streaks FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.prune_tombstones, marea.expire_exports, marea.refresh_streaks TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- files
-- ---------------------------------------------------------------------------------------------------------------------

-- Files of exports: the private bucket and who may do what in it, on Supabase or wherever schema storage is; and which objects are
-- to be deleted. Devices upload and read with their users' tokens; file_sweep deletes.

CREATE OR REPLACE FUNCTION marea.file_path(file_url TEXT, owner UUID, export UUID) RETURNS TEXT LANGUAGE sql IMMUTABLE
-- A file_url is written by devices. Only one that is exactly the row's own user and id names an object; of all others nothing is
-- ever deleted.
RETURN CASE
    WHEN file_url ~ ('^storage://marea-exports/' || owner || '/' || export || '/[0-9a-f]{64}\.[a-z0-9]{1,10}$')
        THEN substr(file_url, length('storage://marea-exports/') + 1)
END;

COMMENT ON FUNCTION marea.file_path(TEXT, UUID, UUID) IS
    'The object that a file_url names, below the bucket; NULL unless it is exactly this user''s and this export''s.';

CREATE OR REPLACE FUNCTION marea.is_file_name(name TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN coalesce(name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{64}\.[a-z0-9]{1,10}$', false);

COMMENT ON FUNCTION marea.is_file_name(TEXT) IS 'Whether an object is called as Marea calls them: <user>/<export id>/<sha256>.<ending>.';

CREATE OR REPLACE FUNCTION marea.is_own_file(name TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE
RETURN marea.is_file_name(name) AND split_part(name, '/', 1) = (SELECT auth.uid())::text;

COMMENT ON FUNCTION marea.is_own_file(TEXT) IS 'Whether an object lies in the folder of the user who asks. For policies.';

CREATE OR REPLACE FUNCTION marea.may_add_file(name TEXT) RETURNS BOOLEAN LANGUAGE sql STABLE
-- CASE: a name of another form is never cast.
RETURN CASE WHEN marea.is_own_file(name) THEN EXISTS (
    SELECT FROM public.export_history AS e
    WHERE e.id = split_part(name, '/', 2)::uuid AND e.user_id = (SELECT auth.uid()) AND e.status <> 'expired'
) ELSE false END;

COMMENT ON FUNCTION marea.may_add_file(TEXT) IS 'Whether an object is the file of an own export that has not expired. For policies.';

CREATE OR REPLACE FUNCTION marea.prepare_files() RETURNS BOOLEAN
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- Nothing is updated: objects never change. Anybody's other policies on storage.objects stay as they are.
DECLARE
    wanted RECORD;
BEGIN
    IF to_regclass('storage.objects') IS NULL OR to_regclass('storage.buckets') IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE 'INSERT INTO storage.buckets (id, name, public) VALUES ($1, $1, false)
             ON CONFLICT (id) DO UPDATE SET public = false WHERE buckets.public' USING 'marea-exports';
    FOR wanted IN
        SELECT * FROM (VALUES
            ('marea_exports_select', 'SELECT', 'USING', 'marea.is_own_file(name)'),
            ('marea_exports_insert', 'INSERT', 'WITH CHECK', 'marea.may_add_file(name)'),
            ('marea_exports_delete', 'DELETE', 'USING', 'marea.is_own_file(name)')
        ) AS policies (name, command, clause, condition)
        WHERE NOT EXISTS (
            SELECT FROM pg_policy WHERE polrelid = to_regclass('storage.objects') AND polname = policies.name
        )
    LOOP
        EXECUTE format('CREATE POLICY %I ON storage.objects FOR %s TO authenticated %s (bucket_id = %L AND %s)',
            wanted.name, wanted.command, wanted.clause, 'marea-exports', wanted.condition);
    END LOOP;
    RETURN true;
END
$$;

COMMENT ON FUNCTION marea.prepare_files() IS
    'Makes the private bucket marea-exports and its policies where schema storage exists; says whether it does. May be run again.';

CREATE TABLE IF NOT EXISTS marea.file_garbage (
    path       TEXT PRIMARY KEY CONSTRAINT file_garbage_path_known CHECK (marea.is_file_name(path)),
    noted_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    attempts   INTEGER NOT NULL DEFAULT 0,
    asked_at   TIMESTAMPTZ,
    request_id BIGINT,
    last_error TEXT
);

CREATE INDEX IF NOT EXISTS file_garbage_noted_at_idx ON marea.file_garbage (noted_at);

COMMENT ON TABLE marea.file_garbage IS 'Objects of the bucket marea-exports that are to be deleted; filled as exports expire and go.';
COMMENT ON COLUMN marea.file_garbage.path IS 'The object, below the bucket: <user>/<export id>/<sha256>.<ending>.';
COMMENT ON COLUMN marea.file_garbage.noted_at IS 'When its export expired or went; server clock.';
COMMENT ON COLUMN marea.file_garbage.attempts IS 'How often its deletion was asked for, count.';
COMMENT ON COLUMN marea.file_garbage.asked_at IS 'When it was last asked for; server clock.';
COMMENT ON COLUMN marea.file_garbage.request_id IS 'The request of pg_net that is under way.';
COMMENT ON COLUMN marea.file_garbage.last_error IS 'What the last answer was, where it was none of success.';

CREATE OR REPLACE FUNCTION marea.note_file_garbage() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO marea.file_garbage (path)
        SELECT found.path FROM old_rows AS o CROSS JOIN LATERAL (SELECT marea.file_path(o.file_url, o.user_id, o.id)) AS found (path)
        WHERE found.path IS NOT NULL AND EXISTS (
            SELECT FROM new_rows AS n
            WHERE n.id = o.id AND (n.file_url IS DISTINCT FROM o.file_url OR n.status = 'expired'))
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.note_file_garbage() IS 'Trigger: notes the files of exports that expire or go.';

DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_update'
    ) THEN
        CREATE TRIGGER export_history_files_update AFTER UPDATE ON public.export_history
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = 'public.export_history'::regclass AND tgname = 'export_history_files_delete'
    ) THEN
        CREATE TRIGGER export_history_files_delete AFTER DELETE ON public.export_history
            REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION marea.note_file_garbage();
    END IF;
END
$$;

ALTER TABLE marea.file_garbage ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON marea.file_garbage FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION marea.file_path, marea.is_file_name, marea.is_own_file, marea.may_add_file, marea.prepare_files,
    marea.note_file_garbage
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.is_file_name, marea.is_own_file, marea.may_add_file TO authenticated;

DO $$ BEGIN PERFORM marea.prepare_files(); END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- file_sweep
-- ---------------------------------------------------------------------------------------------------------------------

-- Deleting objects that are due. Supabase refuses a DELETE in SQL on storage.objects: it goes by the API, through pg_net with a key
-- from Vault, or, where those are not, by a script that asks marea.files_to_delete and tells marea.files_deleted.

CREATE OR REPLACE FUNCTION marea.restore_live_files() RETURNS VOID
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- A device that was away may have said again where a file is.
    DELETE FROM marea.file_garbage AS g
    USING public.export_history AS e
    WHERE e.id = split_part(g.path, '/', 2)::uuid AND e.status <> 'expired'
      AND marea.file_path(e.file_url, e.user_id, e.id) = g.path
$$;

COMMENT ON FUNCTION marea.restore_live_files() IS 'Forgets garbage that an export names again. Before each sweep.';

CREATE OR REPLACE FUNCTION marea.sweep_files(batch INTEGER DEFAULT 100) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Takes in the answers to earlier requests, then asks for the next deletions; returns how many. Needs pg_net, and in Vault the
-- secrets marea_project_url and marea_service_key; without them it returns 0 and marea.health says what is missing.
DECLARE
    url     TEXT;
    key     TEXT;
    found   RECORD;
    request BIGINT;
    asked   BIGINT := 0;
    missing TEXT;
BEGIN
    IF batch NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'batch: must be from 1 to 10000';
    END IF;
    PERFORM marea.restore_live_files();
    IF to_regclass('net._http_response') IS NULL THEN
        missing := 'the extension pg_net is missing';
    ELSIF to_regclass('vault.decrypted_secrets') IS NULL THEN
        missing := 'the extension supabase_vault is missing';
    ELSE
        EXECUTE 'SELECT rtrim((SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_project_url''), ''/''),
                        (SELECT decrypted_secret FROM vault.decrypted_secrets WHERE name = ''marea_service_key'')' INTO url, key;
        IF url IS NULL OR key IS NULL THEN
            missing := 'the secrets marea_project_url and marea_service_key are missing in Vault';
        END IF;
    END IF;
    IF missing IS NOT NULL THEN
        UPDATE marea.file_garbage SET last_error = missing WHERE last_error IS DISTINCT FROM missing;
        RETURN 0;
    END IF;

    -- What is not there is as good as deleted.
    EXECUTE $answers$
        WITH answers AS (
            SELECT g.path, r.status_code, r.error_msg,
                   coalesce(r.status_code BETWEEN 200 AND 299
                       OR r.content ~ '"(code|error)"\s*:\s*"(NoSuchKey|not_found)"', false) AS done
            FROM marea.file_garbage AS g JOIN net._http_response AS r ON r.id = g.request_id
        ), gone AS (
            DELETE FROM marea.file_garbage AS g USING answers AS a WHERE g.path = a.path AND a.done
        )
        UPDATE marea.file_garbage AS g
        SET request_id = NULL, last_error = coalesce(a.error_msg, 'HTTP ' || a.status_code)
        FROM answers AS a WHERE g.path = a.path AND NOT a.done
    $answers$;

    FOR found IN
        SELECT g.path FROM marea.file_garbage AS g
        WHERE g.asked_at IS NULL OR g.asked_at < now() - least(g.attempts, 6) * interval '10 minutes'
        ORDER BY g.noted_at LIMIT batch FOR UPDATE SKIP LOCKED
    LOOP
        EXECUTE 'SELECT net.http_delete(url := $1, headers := $2)' INTO request
        USING url || '/storage/v1/object/marea-exports/' || found.path,
              jsonb_build_object('Authorization', 'Bearer ' || key, 'apikey', key);
        UPDATE marea.file_garbage SET attempts = attempts + 1, asked_at = now(), request_id = request WHERE path = found.path;
        asked := asked + 1;
    END LOOP;
    RETURN asked;
END
$$;

COMMENT ON FUNCTION marea.sweep_files(INTEGER) IS
    'Asks Storage, through pg_net, to delete objects that are due; returns for how many. To be run every few minutes.';

CREATE OR REPLACE FUNCTION marea.note_orphan_files(older INTERVAL DEFAULT '1 day') RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- An object is made before its export says so: hence the day.
DECLARE
    noted BIGINT := 0;
BEGIN
    IF older < interval '1 hour' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'older: must be at least 1 hour';
    END IF;
    IF to_regclass('storage.objects') IS NOT NULL THEN
        EXECUTE $orphans$
            INSERT INTO marea.file_garbage (path)
            SELECT o.name FROM storage.objects AS o
            WHERE o.bucket_id = 'marea-exports' AND o.created_at < now() - $1 AND marea.is_file_name(o.name)
              AND NOT EXISTS (
                SELECT FROM public.export_history AS e
                WHERE e.id::text = split_part(o.name, '/', 2) AND e.user_id::text = split_part(o.name, '/', 1)
                  AND e.status <> 'expired')
            ON CONFLICT DO NOTHING
        $orphans$ USING older;
        GET DIAGNOSTICS noted = ROW_COUNT;
    END IF;
    RETURN noted;
END
$$;

COMMENT ON FUNCTION marea.note_orphan_files(INTERVAL) IS
    'Compares the bucket with the exports and notes objects that belong to none; returns how many. To be run once a week.';

CREATE OR REPLACE VIEW marea.files_to_delete AS
SELECT g.path, g.noted_at, g.attempts, g.last_error
FROM marea.file_garbage AS g
WHERE NOT EXISTS (
    SELECT FROM public.export_history AS e
    WHERE e.id::text = split_part(g.path, '/', 2) AND e.status <> 'expired' AND marea.file_path(e.file_url, e.user_id, e.id) = g.path)
ORDER BY g.noted_at;

COMMENT ON VIEW marea.files_to_delete IS 'Objects of the bucket marea-exports that are due, oldest first: for a script, where there is no pg_net.';

CREATE OR REPLACE FUNCTION marea.files_deleted(paths TEXT[]) RETURNS BIGINT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    went BIGINT;
BEGIN
    DELETE FROM marea.file_garbage WHERE path = ANY (paths);
    GET DIAGNOSTICS went = ROW_COUNT;
    RETURN went;
END
$$;

COMMENT ON FUNCTION marea.files_deleted(TEXT[]) IS 'Told by a script which objects it has deleted; returns how many were due.';

REVOKE ALL ON marea.files_to_delete FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.files_to_delete TO service_role;
REVOKE ALL ON FUNCTION marea.restore_live_files, marea.sweep_files, marea.note_orphan_files, marea.files_deleted
FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION marea.sweep_files, marea.note_orphan_files, marea.files_deleted TO service_role;

-- ---------------------------------------------------------------------------------------------------------------------
-- views
-- ---------------------------------------------------------------------------------------------------------------------

-- What the one who runs the Postgres looks at. The views show their owner's sight of the tables, so they are for people who run
-- the database, and nobody else.

CREATE OR REPLACE VIEW marea.client_lag AS
SELECT c.user_id, c.client_id, c.schema, c.first_at, c.noted_at,
       extract(epoch FROM now() - c.noted_at)::bigint AS silent_seconds,
       c.version, coalesce(u.version, 0) AS user_version,
       greatest(coalesce(u.version, 0) - c.version, 0) AS versions_behind,
       c.version < coalesce(u.pruned, 0) AS must_start_anew
FROM marea.clients AS c
LEFT JOIN marea.clocks AS u ON u.user_id = c.user_id;

COMMENT ON VIEW marea.client_lag IS
    'Each device: when it last synced (to the hour), and how many of its user''s changes have come since.';

CREATE OR REPLACE VIEW marea.largest_users AS
SELECT r.user_id, count(*) AS rows, count(*) FILTER (WHERE r.deleted) AS tombstones,
       (SELECT c.version FROM marea.clocks AS c WHERE c.user_id = r.user_id) AS version
FROM marea.rows AS r
GROUP BY r.user_id
ORDER BY count(*) DESC, r.user_id
LIMIT 20;

COMMENT ON VIEW marea.largest_users IS 'The 20 users with the most synced rows. Reads all of marea.rows: not for a dashboard.';

CREATE OR REPLACE VIEW marea.foreign_writers AS
WITH RECURSIVE bodies AS MATERIALIZED (
    SELECT p.oid, p.proname, n.nspname, p.prorettype = 'trigger'::regtype AS is_trigger,
           regexp_replace(coalesce(nullif(p.prosrc, ''), pg_get_functiondef(p.oid)), '--[^\n]*|/\*.*?\*/', ' ', 'g') AS body
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'marea', 'marea_adopted') AND n.nspname NOT LIKE 'pg\_%'
      AND NOT (n.nspname = 'public' AND p.proname IN ('sessions_fold_into_progress', 'marea_sync'))
), writers AS (
    SELECT b.* FROM bodies AS b
    WHERE b.body ~* '\m(insert\s+into|update|delete\s+from|merge\s+into|truncate(\s+table)?)\s+(only\s+)?(("?public"?\s*\.\s*)?"?user_progress|"?marea"?\s*\.\s*"?daily_activity)"?(?![a-z0-9_$])'
    UNION
    SELECT b.* FROM bodies AS b JOIN writers AS w ON w.oid <> b.oid AND NOT w.is_trigger
    WHERE b.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\(')
)
SELECT 'trigger' AS kind, format('%I on %s', t.tgname, t.tgrelid::regclass) AS name, format('%I.%I', w.nspname, w.proname) AS function
FROM pg_catalog.pg_trigger AS t JOIN writers AS w ON w.oid = t.tgfoid AND w.is_trigger
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND n.nspname <> 'marea_adopted'
  -- Those make rows for new learners, which is no harm.
  AND c.relname <> 'users'
UNION ALL
SELECT 'function', format('%I.%I', w.nspname, w.proname), format('%I.%I', w.nspname, w.proname)
FROM writers AS w
WHERE NOT w.is_trigger
  AND NOT EXISTS (SELECT FROM writers AS c WHERE c.is_trigger
      AND c.body ~* ('\m' || regexp_replace(w.proname, '([^a-zA-Z0-9_])', '\\\1', 'g') || '"?\s*\('));

COMMENT ON VIEW marea.foreign_writers IS
    'Triggers and functions of the app whose text writes what the fold alone may write: a session may count twice, or be taken back.';

CREATE OR REPLACE VIEW marea.health (measure, subject, value, unit) AS
    SELECT 'users', 'all', (SELECT count(*) FROM marea.clocks)::numeric, 'count'
    UNION ALL
    SELECT 'changes', 'busiest user', (SELECT max(version) FROM marea.clocks), 'count'
    UNION ALL
    SELECT 'tombstones', 'all', (SELECT count(*) FROM marea.rows WHERE deleted), 'count'
    UNION ALL
    SELECT 'tombstones', 'older than 90 days', (
        SELECT count(*) FROM marea.rows WHERE deleted AND changed_at < now() - interval '90 days'), 'count'
    UNION ALL
    SELECT 'age', 'oldest tombstone', (
        SELECT extract(epoch FROM now() - min(changed_at))::bigint FROM marea.rows WHERE deleted), 'seconds'
    UNION ALL
    -- What a statement notes is gone at its transaction's end. A row that stays is a defect.
    SELECT 'pending', 'left behind', (SELECT count(*) FROM marea.pending), 'count'
    UNION ALL
    SELECT 'backfill', 'users left', coalesce((
        SELECT sum(greatest(users_total - users_done, 0)) FROM marea.backfill WHERE finished_at IS NULL), 0), 'count'
    UNION ALL
    SELECT 'exports', 'waiting', (
        SELECT count(*) FROM public.export_history WHERE status IN ('pending', 'processing')), 'count'
    UNION ALL
    SELECT 'age', 'oldest waiting export', (
        SELECT extract(epoch FROM now() - min(created_at))::bigint FROM public.export_history
        WHERE status IN ('pending', 'processing')), 'seconds'
    UNION ALL
    SELECT 'exports', 'failed in a day', (
        SELECT count(*) FROM public.export_history
        WHERE status = 'failed' AND created_at > now() - interval '1 day'), 'count'
    UNION ALL
    SELECT 'exports', 'past their expiry', (
        SELECT count(*) FROM public.export_history WHERE status = 'completed' AND expires_at < now()), 'count'
    UNION ALL
    SELECT 'files', 'to delete', (SELECT count(*) FROM marea.file_garbage), 'count'
    UNION ALL
    SELECT 'age', 'oldest file to delete', (
        SELECT extract(epoch FROM now() - min(noted_at))::bigint FROM marea.file_garbage), 'seconds'
    UNION ALL
    SELECT 'files', 'not deleted: ' || failed.last_error, failed.files, 'count'
    FROM (
        SELECT last_error, count(*) AS files FROM marea.file_garbage WHERE last_error IS NOT NULL
        GROUP BY last_error ORDER BY count(*) DESC, last_error LIMIT 5
    ) AS failed
    UNION ALL
    SELECT 'clients', seen.subject, seen.clients, 'count'
    FROM (
        SELECT count(*) AS every, count(*) FILTER (WHERE silent_seconds < 86400) AS today,
               count(*) FILTER (WHERE silent_seconds >= 604800 AND versions_behind > 0) AS left_behind,
               count(*) FILTER (WHERE must_start_anew) AS too_old
        FROM marea.client_lag
    ) AS counted
    CROSS JOIN LATERAL (VALUES
        ('all', counted.every), ('synced in a day', counted.today),
        ('behind and silent for a week', counted.left_behind), ('will start anew', counted.too_old)
    ) AS seen (subject, clients)
    UNION ALL
    SELECT 'age', 'longest transaction', (
        SELECT coalesce(max(extract(epoch FROM now() - xact_start))::bigint, 0) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'), 'seconds'
    UNION ALL
    SELECT 'sessions', 'waiting for a lock', (
        SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'), 'count'
    UNION ALL
    SELECT of_table.measure, t.schemaname || '.' || t.relname, of_table.value, of_table.unit
    FROM pg_catalog.pg_stat_user_tables AS t
    CROSS JOIN LATERAL (VALUES
        ('rows', t.n_live_tup::numeric, 'count'), ('dead rows', t.n_dead_tup, 'count'),
        ('size', pg_total_relation_size(t.relid), 'bytes')
    ) AS of_table (measure, value, unit)
    WHERE t.schemaname = 'marea'
       OR (t.schemaname = 'public' AND t.relname IN ('sessions', 'user_progress', 'export_history', 'user_api_keys'))
    UNION ALL
    -- Empty unless track_functions is at least pl.
    SELECT of_function.measure, f.schemaname || '.' || f.funcname, of_function.value, of_function.unit
    FROM pg_catalog.pg_stat_user_functions AS f
    CROSS JOIN LATERAL (VALUES
        ('calls', f.calls::numeric, 'count'),
        ('mean time', round((f.total_time / greatest(f.calls, 1))::numeric, 3), 'milliseconds')
    ) AS of_function (measure, value, unit)
    WHERE f.schemaname = 'marea' OR (f.schemaname = 'public' AND f.funcname IN ('marea_sync', 'sessions_fold_into_progress'))
    UNION ALL
    SELECT 'foreign writers', 'all', (SELECT count(*) FROM marea.foreign_writers), 'count'
    UNION ALL
    SELECT 'foreign writers', w.kind || ' ' || w.name, 1, 'count' FROM marea.foreign_writers AS w
    UNION ALL
    -- NULL where there is no auth.users, or whoever asks may not look into it.
    SELECT 'learners', 'without a row in users', CASE WHEN (
        SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = 'auth' AND c.relname = 'users' AND has_table_privilege('public.users', 'SELECT')
    ) THEN substring(query_to_xml('SELECT count(*) AS n FROM auth.users AS a
        WHERE NOT EXISTS (SELECT FROM public.users AS u WHERE u.id = a.id)', false, true, '')::text FROM '<n>([0-9]+)</n>')::numeric END, 'count';

COMMENT ON VIEW marea.health IS 'How Marea is, one figure a row. Cheap enough to be asked every minute.';

REVOKE ALL ON marea.client_lag, marea.largest_users, marea.foreign_writers, marea.health FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON marea.health, marea.client_lag, marea.largest_users TO service_role;

NOTIFY pgrst, 'reload schema';

COMMIT;
