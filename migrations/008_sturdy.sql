-- 008: what real apps, clocks and clients do to the sync layer, one section for each kind. Functions are replaced whole; what they were
-- before is kept in marea.replaced, under names that begin with "008", so that the rollback puts back exactly that.
--
-- Needs 007. One transaction; run twice, the second run changes nothing. Taken back by 008_sturdy_rollback.sql, counted by
-- validate_008.sql. Run it again whenever 002, 005 or 007 was run again.

BEGIN;

DO $$
DECLARE
    -- Every function that this file replaces. A function that it makes new stands in the rollback.
    replaced CONSTANT TEXT[] := ARRAY[]::text[];
BEGIN
    IF to_regprocedure('marea.page(uuid, bigint, integer, boolean)') IS NULL
        OR position('(r.table_name || '''') IN (' IN pg_get_functiondef('marea.page(uuid, bigint, integer, boolean)'::regprocedure)) = 0 THEN
        RAISE EXCEPTION 'Marea 008 cannot be applied; nothing was changed. Missing: marea.page as migration 007 leaves it'
            USING HINT = 'Apply 007_steady_pages.sql first.';
    END IF;
    IF EXISTS (SELECT FROM marea.replaced WHERE name LIKE '008 %') THEN
        RAISE NOTICE 'Marea 008 stands already: this run changes nothing.';
    END IF;
    INSERT INTO marea.replaced (name, definition)
    SELECT '008 ' || old, pg_get_functiondef(old::regprocedure) FROM unnest(replaced) AS old
    ON CONFLICT DO NOTHING;
END
$$;

COMMIT;
