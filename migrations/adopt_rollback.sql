-- Takes back adopt.sql: the app's tables and functions have their places again, with the rows that they had, and its triggers
-- run as before. What Marea has counted since does not come into them. Refuses while a table of 001 is in the place. What somebody has
-- dropped there meanwhile (keys in the clear) is named, and the rest comes back.

BEGIN;

DO $$
DECLARE
    found RECORD;
BEGIN
    IF to_regclass('marea_adopted.taken') IS NULL THEN
        RAISE NOTICE 'Nothing was adopted: nothing to take back.';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'marea')
        OR EXISTS (SELECT FROM marea_adopted.taken AS t WHERE t.kind IN ('table', 'view', 'materialized view', 'foreign table')
                   AND to_regclass(format('%I.%I', t.schema, t.name)) IS NOT NULL) THEN
        RAISE EXCEPTION 'Marea''s own tables are in the place of the app''s; nothing was changed'
            USING HINT = 'Take 005 to 001 back first, the newest first.';
    END IF;
    -- Tables first: a trigger that was switched off may write them.
    FOR found IN SELECT * FROM marea_adopted.taken ORDER BY kind = 'trigger', kind, name LOOP
        CONTINUE WHEN found.kind = 'text';
        IF found.kind = 'trigger' THEN
            CONTINUE WHEN NOT EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = to_regclass(format('%I.%I', found.schema, found.relation)) AND tgname = found.name);
            EXECUTE format('ALTER TABLE %I.%I ENABLE %s TRIGGER %I', found.schema, found.relation,
                CASE found.state WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, found.name);
        ELSIF found.kind = 'function' AND to_regprocedure(format('marea_adopted.%I(%s)', found.name, found.state)) IS NULL
            OR found.kind <> 'function' AND to_regclass(format('marea_adopted.%I', found.name)) IS NULL THEN
            RAISE NOTICE '% marea_adopted.% is there no more and does not come back', found.kind, found.name;
        ELSE
            EXECUTE format('ALTER %s marea_adopted.%I%s SET SCHEMA %I', found.kind, found.name,
                CASE found.kind WHEN 'function' THEN '(' || found.state || ')' ELSE '' END, found.schema);
        END IF;
    END LOOP;
    DROP TABLE IF EXISTS marea_adopted.counted, marea_adopted.taken;
    -- Not CASCADE: what somebody else has put there stays, and says so.
    DROP SCHEMA marea_adopted;
END
$$;

NOTIFY pgrst, 'reload schema';

COMMIT;
