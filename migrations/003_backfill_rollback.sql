-- Takes back 003: the tools and the record of their runs. What they computed stays: it is what the triggers keep up to date.

BEGIN;

DO $$
BEGIN
    IF to_regclass('marea.health') IS NOT NULL THEN
        RAISE EXCEPTION 'Marea 004 stands on 003; nothing was changed'
            USING HINT = 'Run 004_operations_rollback.sql first.';
    END IF;
END
$$;

DROP PROCEDURE IF EXISTS marea.run_backfill(INTEGER, BOOLEAN);
DROP FUNCTION IF EXISTS marea.backfill_batch(INTEGER, BOOLEAN), marea.is_called_alone(TEXT), marea.carry_over(UUID[]),
    marea.old_rows(TEXT, UUID[]), marea.old_achievements(JSONB), marea.old_time(JSONB, TEXT[]), marea.old_number(JSONB, TEXT[]),
    marea.old_text(JSONB, TEXT[]);
DROP TABLE IF EXISTS marea.backfill;

COMMIT;
