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
