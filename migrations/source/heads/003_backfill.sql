-- 003: progress, daily activity and streaks for the sessions that were completed before Marea was here.
--
-- Makes the tools and runs them: marea.run_backfill() goes through all users in batches of 100, each batch a transaction of
-- its own, so that no lock is held longer than a batch takes (tenths of a second). New sessions may keep arriving. It can
-- be stopped at any time and goes on where it was; marea.backfill and a NOTICE after each batch tell how far it is.
--
-- How it stays right beside running triggers: the progress row is the mutex of a learner's fold (002). marea.refold locks
-- the progress rows first and reads afterwards, so every session that is committed by then is read, and every other one
-- has its trigger waiting for the lock and adds itself to what the batch wrote.
--
-- Needs 002. What follows the COMMIT below is a statement of its own, and must not be put inside a transaction. In a script that is sent
-- as one, as SQL editors do, it makes one batch and says how to go on. Run twice, the second run changes nothing. Taken back by 003_backfill_rollback.sql, counted by
-- validate_003.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
BEGIN
    IF to_regprocedure('marea.refold(uuid[])') IS NULL THEN
        RAISE EXCEPTION 'Marea 003 cannot be applied; nothing was changed. Missing: the sync layer (migration 002)'
            USING HINT = 'Apply 002_sync_layer.sql first.';
    END IF;
    IF to_regclass('marea.backfill') IS NOT NULL THEN
        RAISE NOTICE 'Marea 003 stands already: this run goes on with an unfinished backfill, or changes nothing.';
    END IF;
END
$$;
