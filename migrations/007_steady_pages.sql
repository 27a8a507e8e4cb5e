-- 007: pages are read in the order of their versions, whatever Postgres knows of the rows.
--
-- Where it has no statistics yet (after a backfill, a restore or an import, until ANALYZE has run) it expects two rows of a user. So it
-- took the primary key for as good an index as the one by version, and read and sorted all that the user has, for each page anew. A first
-- sync of 100,000 exports kept it busy for 4.0 s; with this, or with statistics, it is 1.3 s.
--
-- marea.page is changed where it stands and not replaced: columns that somebody has added to it, as its comment asks, stay.
--
-- Needs 005. One transaction; run twice, the second run changes nothing. Taken back by 007_steady_pages_rollback.sql, counted by
-- validate_007.sql. Run it again whenever 005 was run again.

BEGIN;

DO $$
DECLARE
    page   CONSTANT REGPROCEDURE := to_regprocedure('marea.page(uuid, bigint, integer, boolean)');
    before CONSTANT TEXT := pg_get_functiondef(page);
    -- An expression that no index is on.
    after  CONSTANT TEXT := replace(replace(before, 'r.table_name IN (', '(r.table_name || '''') IN ('),
                                    'r.table_name = ''export_history''', '(r.table_name || '''') = ''export_history''');
BEGIN
    IF page IS NULL THEN
        RAISE EXCEPTION 'Marea 007 cannot be applied; nothing was changed. Missing: function marea.page (migration 005)'
            USING HINT = 'Apply 005_speed_and_rollup.sql first.';
    END IF;
    IF after <> before THEN
        EXECUTE after;
        -- What has to be sorted is on the page, and the aggregates do that by themselves.
        ALTER FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) SET enable_sort = off;
        ALTER FUNCTION marea.page(UUID, BIGINT, INTEGER, BOOLEAN) SET enable_bitmapscan = off;
    ELSIF position('(r.table_name || '''') IN (' IN before) > 0 THEN
        RAISE NOTICE 'Marea 007 stands already: this run changes nothing.';
    ELSE
        RAISE EXCEPTION 'Marea 007 cannot be applied; nothing was changed. marea.page is not as 005 has made it'
            USING HINT = 'Write r.table_name || '''' where it compares r.table_name with names of tables, or run 005 again.';
    END IF;
END
$$;

COMMIT;
