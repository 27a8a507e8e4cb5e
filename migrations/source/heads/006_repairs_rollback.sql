-- Takes back 006: the functions are those of 005 again. Mirrored tables stay mirrored.

BEGIN;

DO $$
BEGIN
    IF to_regprocedure('marea.settle_clocks()') IS NULL AND to_regprocedure('marea.is_live_file(text, timestamptz)') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 005 was taken back before 006; nothing was changed'
            USING HINT = 'Run 005_corrections.sql, then this, then 005_corrections_rollback.sql.';
    ELSIF to_regprocedure('marea.settle_clocks()') IS NULL THEN
        RAISE EXCEPTION 'Marea 006 does not stand; nothing was changed' USING HINT = 'It is taken back before 005, 004, 003, 002 and 001.';
    ELSIF to_regprocedure('marea.is_live_file(text, timestamptz)') IS NULL THEN
        RAISE NOTICE 'Marea 006 does not stand: this run changes nothing.';
    END IF;
END
$$;

DROP TRIGGER IF EXISTS marea_users_version_early_rows ON public.users;
DROP FUNCTION IF EXISTS marea.version_early_rows();

-- The topics come here.

DROP FUNCTION IF EXISTS marea.is_live_file(TEXT, TIMESTAMPTZ), marea.note_missing_rows(marea.tables, REGCLASS);
