-- Takes back 005: syncs go on as before it, a little slower. What was rolled up stays so, and would be counted once more if a
-- device still sent it again; so this refuses while anything is rolled up, unless marea.give_up_rolled_up is set:
--   PGOPTIONS="-c marea.give_up_rolled_up=on" psql ...

BEGIN;

DO $$
DECLARE
    old RECORD;
BEGIN
    IF to_regclass('marea.rolled_up') IS NULL THEN
        RAISE NOTICE 'Marea 005 does not stand: nothing to take back.';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM marea.rolled_up) AND current_setting('marea.give_up_rolled_up', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'Awards have been rolled up: without 005 a device that sends one again would count it twice; nothing was changed'
            USING HINT = 'To go on nevertheless: PGOPTIONS="-c marea.give_up_rolled_up=on".';
    END IF;

    FOR old IN SELECT name, definition FROM marea.replaced WHERE name LIKE '005 %' ORDER BY name LOOP
        EXECUTE old.definition;
    END LOOP;
    DELETE FROM marea.replaced WHERE name LIKE '005 %';
    COMMENT ON FUNCTION marea.pull(UUID, BIGINT, INTEGER) IS
        'What of a user''s rows changed after a version, at most so many, as the caller''s policies let it be seen.';

    DROP FUNCTION marea.fold(marea.fact[]);
    ALTER FUNCTION marea.fold_many(marea.fact[]) RENAME TO fold;

    DROP TRIGGER events_counted_once ON marea.progress_events;
END
$$;

DROP FUNCTION IF EXISTS marea.roll_up_events(INTERVAL, INTEGER);
DROP FUNCTION IF EXISTS marea.count_events_once();
DROP FUNCTION IF EXISTS marea.spare_rolled_up(JSONB, JSONB);
DROP FUNCTION IF EXISTS marea.rolled_up_of(UUID[]);
DROP FUNCTION IF EXISTS marea.bucket_of(UUID);
DROP FUNCTION IF EXISTS marea.fold_one(marea.fact);
DROP FUNCTION IF EXISTS marea.page(UUID, BIGINT, INTEGER, BOOLEAN);
DROP FUNCTION IF EXISTS marea.idle_answer(JSONB);
DROP VIEW IF EXISTS marea.known_devices;
DROP TABLE IF EXISTS marea.rolling_up;
DROP TABLE IF EXISTS marea.rolled_up;

NOTIFY pgrst, 'reload schema';

COMMIT;
