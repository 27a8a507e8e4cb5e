-- 005: sessions that devices list, correct and delete once they are mirrored (docs/TABLES.md), pushes that write the line of a row
-- once, and pushes and pages that plan and read no more than they must (docs/adr/0155).
--
-- Makes functions of 002 anew. Adds two columns to marea.pending, which is empty outside of a transaction.
--
-- Needs 004. One transaction; run twice, the second run changes nothing. After an earlier file has been run again, run this one again
-- too: that one has put its own functions back. Taken back by 005_corrections_rollback.sql, counted by validate_005.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
BEGIN
    IF to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Marea 005 cannot be applied; nothing was changed. Missing: the view marea.health (migration 004)'
            USING HINT = 'Apply 004_operations.sql first.';
    END IF;
    IF to_regprocedure('marea.settle_clocks()') IS NOT NULL THEN
        RAISE NOTICE 'Marea 005 stands already: this run makes its functions again.';
    END IF;
END
$$;

-- Running writes end first: the lines that they have noted are given their versions as they were noted.
LOCK TABLE public.sessions, public.user_progress, public.export_history, public.user_api_keys, marea.progress_events,
    marea.daily_activity IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE marea.pending ADD COLUMN IF NOT EXISTS clocks TEXT, ADD COLUMN IF NOT EXISTS stamps TEXT[];

-- The topics come here.

-- What marea.mirror has made for tables that are mirrored already is made again. One that has been altered since waits, as before, for
-- marea.mirror to be run again.
DO $$
BEGIN
    PERFORM marea.make_checks(t), marea.make_page(t, marea.relation_of(t))
    FROM marea.tables AS t
    WHERE marea.relation_of(t) IS NOT NULL AND NOT marea.has_drifted(t.name);
END
$$;
