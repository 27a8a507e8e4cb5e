-- Takes back 004: the views, and the notes of when each device was seen. Syncs go on as before.

BEGIN;

DROP VIEW IF EXISTS marea.health;
DROP VIEW IF EXISTS marea.largest_users;
DROP VIEW IF EXISTS marea.client_lag;
DROP FUNCTION IF EXISTS marea.note_client(UUID, INTEGER, BIGINT);
DROP TABLE IF EXISTS marea.clients;

COMMIT;
