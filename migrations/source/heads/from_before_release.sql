-- Brings over a database that has the migrations of before the first release (001_schema_alignment to 008_sturdy, all eight): the
-- result is the same as that of 001 to 004 of today, and every row is kept, with its version.
--
-- One transaction: syncs wait for it, for the seconds that it takes, and go on. Afterwards run the validations; 001 to 004 need not
-- be run, and change nothing if they are. Refuses a database that has none of it, not all of it, or awards that were rolled up
-- (docs/adr/0091 says why there is no roll-up any more). Back up first; there is no way back but the backup.

BEGIN;

DO $$
DECLARE
    rolled BIGINT := 0;
BEGIN
    IF to_regclass('marea.replaced') IS NULL THEN
        RAISE EXCEPTION 'Nothing was changed: this database has not the migrations of before the first release'
            USING HINT = 'If it has none of Marea, apply 001 to 004. If it was brought over already, there is nothing to do.';
    END IF;
    IF NOT EXISTS (SELECT FROM marea.replaced WHERE name LIKE '008 %') OR to_regclass('marea.health') IS NULL THEN
        RAISE EXCEPTION 'Nothing was changed: this database has some of the eight migrations of before the first release, not all'
            USING HINT = 'Take back what it has with the rollbacks that came with it, or apply the rest of them, and run this then.';
    END IF;
    IF to_regclass('marea.rolled_up') IS NOT NULL THEN
        SELECT count(*) INTO rolled FROM marea.rolled_up;
    END IF;
    IF rolled > 0 THEN
        RAISE EXCEPTION 'Nothing was changed: awards of % learners were rolled up (marea.rolled_up), and could be counted twice without it', rolled
            USING HINT = 'If every device of theirs has synced since, empty the table: DELETE FROM marea.rolled_up.';
    END IF;
END
$$;

-- Nobody writes while there are no triggers.
LOCK TABLE public.sessions, public.user_progress, public.export_history, public.user_api_keys, marea.progress_events,
    marea.daily_activity IN SHARE ROW EXCLUSIVE MODE;

-- The name of this history, which the devices' cursors carry: nobody needs to pull everything again.
SELECT set_config('marea.epoch_before', marea.epoch(), true);
ALTER TABLE marea.clocks ADD COLUMN run BIGINT NOT NULL DEFAULT 0, ADD COLUMN moving BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE marea.pending SET LOGGED;

-- All functions go, with the triggers that call them, and are made again below. What holds rows stays.
DO $$
DECLARE
    old RECORD;
BEGIN
    SET LOCAL client_min_messages = warning;
    FOR old IN
        SELECT oid::regprocedure AS routine FROM pg_proc
        WHERE pronamespace = 'marea'::regnamespace OR oid = to_regprocedure('public.sessions_fold_into_progress()')
    LOOP
        -- A function that another one is made of may have taken it along.
        IF EXISTS (SELECT FROM pg_proc WHERE oid = old.routine) THEN
            EXECUTE format('DROP ROUTINE %s CASCADE', old.routine);
        END IF;
    END LOOP;
END
$$;
DROP TABLE marea.replaced, marea.rolled_up, marea.rolling_up;
ALTER TABLE public.user_api_keys
    DROP CONSTRAINT user_api_keys_openai_sealed,
    DROP CONSTRAINT user_api_keys_unsplash_sealed,
    DROP CONSTRAINT user_api_keys_anthropic_sealed;
