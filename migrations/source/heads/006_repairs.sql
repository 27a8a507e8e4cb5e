-- 006: an app's own names, policies and constraints do less to the sync: a deferred constraint in a schema that devices may not name, a
-- column called m, a policy whose function has no search_path of its own, a key with a collation of its own. A table that was mirrored
-- once comes back without what was deleted meanwhile, and a row gets its version though its owner comes later. Files of exports with
-- another sign-in service, and bounds of what one user may leave behind of them.
--
-- Makes functions of 002, 004 and 005 anew, and the pages of tables that are mirrored. Adds a trigger to public.users.
--
-- Needs 005. One transaction; run twice, the second run changes nothing. After an earlier file has been run again, run this one again
-- too: that one has put its own functions back. Taken back by 006_repairs_rollback.sql, counted by validate_006.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
BEGIN
    IF to_regprocedure('marea.settle_clocks()') IS NULL OR to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Marea 006 cannot be applied; nothing was changed. Missing: the function marea.settle_clocks() (migration 005)'
            USING HINT = 'Apply 005_corrections.sql first.';
    END IF;
    IF to_regprocedure('marea.is_live_file(text, timestamptz)') IS NOT NULL THEN
        RAISE NOTICE 'Marea 006 stands already: this run makes its functions again.';
    END IF;
END
$$;
