-- 004: what the one who runs the Postgres uses: the jobs marea.expire_exports, marea.prune_tombstones and
-- marea.refresh_streaks, the views marea.health, marea.largest_users and marea.client_lag, and files of exports: bucket and
-- policies where schema storage is, and the sweep of what is due. docs/migrations/OPERATIONS.md says what to do with them. No sync
-- depends on any of it; uploads of files do.
--
-- Needs 003. One transaction; run twice, the second run changes nothing. Taken back by 004_operations_rollback.sql, counted by
-- validate_004.sql.

BEGIN;

-- What must be here before anything is changed.
DO $$
BEGIN
    IF to_regclass('marea.backfill') IS NULL THEN
        RAISE EXCEPTION 'Marea 004 cannot be applied; nothing was changed. Missing: the backfill (migration 003)'
            USING HINT = 'Apply 003_backfill.sql first.';
    END IF;
    IF to_regclass('marea.health') IS NOT NULL THEN
        RAISE NOTICE 'Marea 004 stands already: this run changes nothing.';
    END IF;
END
$$;
