-- Takes back 007: marea.page compares the names of tables as 005 has written it.

BEGIN;

DO $$
DECLARE
    page   CONSTANT REGPROCEDURE := to_regprocedure('marea.page(uuid, bigint, integer, boolean)');
    before CONSTANT TEXT := pg_get_functiondef(page);
    after  CONSTANT TEXT := replace(before, '(r.table_name || '''')', 'r.table_name');
BEGIN
    IF page IS NULL OR after = before THEN
        RAISE NOTICE 'Marea 007 does not stand: nothing to take back.';
        RETURN;
    END IF;
    EXECUTE after;
    ALTER FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) RESET enable_sort;
    ALTER FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) RESET enable_bitmapscan;
END
$$;

COMMIT;
