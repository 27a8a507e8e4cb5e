-- Takes back 004: the views and the jobs. Syncs go on as before.

BEGIN;

DROP VIEW IF EXISTS marea.health;
DROP VIEW IF EXISTS marea.foreign_writers;
DROP VIEW IF EXISTS marea.largest_users;
DROP VIEW IF EXISTS marea.client_lag;
DROP FUNCTION IF EXISTS marea.prune_tombstones(INTERVAL), marea.expire_exports(), marea.refresh_streaks();
DROP INDEX IF EXISTS marea.rows_tombstones_idx;

COMMIT;
