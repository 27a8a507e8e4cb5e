-- Takes back 005: the functions are those of 002 again. Mirrored tables stay mirrored; sessions too, for as long as no device of today
-- corrects one by columns that the app has added.

BEGIN;

DO $$
BEGIN
    IF to_regclass('marea.health') IS NULL AND to_regprocedure('marea.settle_clocks()') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 004 was taken back before 005; nothing was changed'
            USING HINT = 'Run 004_operations.sql, then this, then 004_operations_rollback.sql.';
    ELSIF to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Marea 005 does not stand; nothing was changed' USING HINT = 'It is taken back before 004, 003, 002 and 001.';
    ELSIF to_regprocedure('marea.settle_clocks()') IS NULL THEN
        RAISE NOTICE 'Marea 005 does not stand: this run changes nothing.';
    END IF;
END
$$;

LOCK TABLE public.sessions, public.user_progress, public.export_history, public.user_api_keys, marea.progress_events,
    marea.daily_activity IN SHARE ROW EXCLUSIVE MODE;

-- The topics come here.

DROP FUNCTION IF EXISTS marea.settle_clocks(), marea.note_stamps(TEXT, TEXT[], TEXT[], TEXT[], TEXT), marea.correction_problem(JSONB),
    marea.rows_of_others(UUID), marea.key_columns(OID), marea.health_notes();
ALTER TABLE marea.pending DROP COLUMN IF EXISTS clocks, DROP COLUMN IF EXISTS stamps;
DO $$
BEGIN
    PERFORM marea.make_checks(t), marea.make_page(t, marea.relation_of(t))
    FROM marea.tables AS t
    WHERE marea.relation_of(t) IS NOT NULL AND NOT marea.has_drifted(t.name);
END
$$;
