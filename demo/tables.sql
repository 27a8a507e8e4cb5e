-- The demo's own tables: lists of words, words with what is known of them, texts about pictures, and one row of settings for
-- each learner; and the sessions that every app with Marea has. Run by `marea-backend --sql` after the migrations; may be run again.
--
-- An app adds its tables like this: a key that devices make, an owner, row level security, and one line of `marea.mirror`.

CREATE TABLE IF NOT EXISTS public.word_lists (
    id         UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    title      VARCHAR(80) NOT NULL,
    language   VARCHAR(5) NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.words (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    list_id       UUID NOT NULL REFERENCES public.word_lists (id) ON DELETE CASCADE,
    word          VARCHAR(120) NOT NULL,
    meaning       VARCHAR(200) NOT NULL DEFAULT '',
    -- The picture in which it was found.
    picture       VARCHAR(40),
    -- Every device's reviews count, so these two are counters: nobody's are lost.
    times_seen    INTEGER NOT NULL DEFAULT 0,
    times_right   INTEGER NOT NULL DEFAULT 0,
    -- What the last review decided. 0 days: not learned yet.
    interval_days SMALLINT NOT NULL DEFAULT 0 CHECK (interval_days BETWEEN 0 AND 3650),
    due_on        DATE,
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS words_list_idx ON public.words (list_id);
CREATE INDEX IF NOT EXISTS words_owner_idx ON public.words (user_id);

CREATE TABLE IF NOT EXISTS public.descriptions (
    id         UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    UUID NOT NULL REFERENCES public.users (id) ON DELETE CASCADE,
    picture    VARCHAR(40) NOT NULL,
    body       VARCHAR(2000) NOT NULL,
    written_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS descriptions_owner_idx ON public.descriptions (user_id);

CREATE TABLE IF NOT EXISTS public.learner_settings (
    user_id       UUID PRIMARY KEY REFERENCES public.users (id) ON DELETE CASCADE,
    daily_minutes SMALLINT NOT NULL DEFAULT 15 CHECK (daily_minutes BETWEEN 1 AND 600)
);

DO $$
DECLARE
    relation TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY['word_lists', 'words', 'descriptions', 'learner_settings'] LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO authenticated', relation);
        EXECUTE format('DROP POLICY IF EXISTS own ON public.%I', relation);
        EXECUTE format('CREATE POLICY own ON public.%I FOR ALL TO authenticated'
            ' USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()))', relation);
    END LOOP;
END
$$;

SELECT marea.mirror('public.word_lists', rules => '{"language": "once", "created_at": "once"}');
SELECT marea.mirror('public.words', rules =>
    '{"times_seen": "counter", "times_right": "counter", "picture": "once", "created_at": "once"}');
SELECT marea.mirror('public.descriptions', rules => '{"picture": "once", "written_at": "once"}');
SELECT marea.mirror('public.learner_settings');
-- Past sessions come to every device, and are corrected and deleted there.
SELECT marea.mirror('public.sessions');

-- Other devices of a learner are told of a change at once, where this version of Marea can.
DO $$
BEGIN
    IF to_regprocedure('marea.set_wakeups(boolean)') IS NOT NULL THEN
        PERFORM marea.set_wakeups(true);
    END IF;
END
$$;
