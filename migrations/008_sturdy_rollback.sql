-- Takes back 008: the functions that it replaced are put back as they were.

BEGIN;

DO $$
DECLARE
    old RECORD;
BEGIN
    FOR old IN SELECT name, definition FROM marea.replaced WHERE name LIKE '008 %' ORDER BY name LOOP
        EXECUTE old.definition;
    END LOOP;
    DELETE FROM marea.replaced WHERE name LIKE '008 %';
END
$$;

COMMIT;
