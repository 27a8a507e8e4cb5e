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
