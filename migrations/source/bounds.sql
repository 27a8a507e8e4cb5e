-- Bounds of what a signed-in user can make grow. What a job, a backfill or an import writes has none: they know what they do.

CREATE OR REPLACE FUNCTION marea.most_rows() RETURNS BIGINT
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT s.value::bigint FROM marea.settings AS s WHERE s.name = 'rows_per_user' AND s.value ~ '^[0-9]{1,18}$'), 100000);
END
$$;

COMMENT ON FUNCTION marea.most_rows() IS
    'How many rows of one table a user may have, tombstones with them: marea.settings, rows_per_user; 100,000 where it says nothing.';

CREATE OR REPLACE FUNCTION marea.refuse_growth(relation TEXT, most BIGINT) RETURNS VOID
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The constraint tells it from an error of the app's own with this code.
    RAISE EXCEPTION USING ERRCODE = 'MB002', MESSAGE = format('%s: a user has at most %s rows here', relation, most),
        SCHEMA = 'marea', CONSTRAINT = 'rows_per_user',
        HINT = 'INSERT INTO marea.settings VALUES (''rows_per_user'', ...) changes that.';
END
$$;

COMMENT ON FUNCTION marea.refuse_growth(TEXT, BIGINT) IS 'Refuses a row that would be one too many.';

CREATE OR REPLACE FUNCTION marea.bound_lines(relation TEXT, added BIGINT) RETURNS VOID
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- A user has no more lines than changes, so nearly always the clock says enough.
DECLARE
    me   CONSTANT UUID := auth.uid();
    most BIGINT;
BEGIN
    IF me IS NULL THEN
        RETURN;
    END IF;
    most := marea.most_rows();
    -- A request brings 500 at most, and what it has brought so far has no version yet.
    IF coalesce((SELECT c.version FROM marea.clocks AS c WHERE c.user_id = me), 0) + added + 500 > most AND (
        SELECT count(*) FROM (SELECT FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = relation LIMIT most + 1) AS l
    ) + (
        SELECT count(DISTINCT k.row_key)
        FROM marea.pending AS p, unnest(p.user_ids, p.row_keys) AS k (user_id, row_key)
        WHERE p.xact = pg_current_xact_id_if_assigned() AND p.table_name = relation AND k.user_id = me
          AND NOT EXISTS (SELECT FROM marea.rows AS r WHERE r.user_id = me AND r.table_name = relation AND r.row_key = k.row_key)
    ) + added > most THEN
        PERFORM marea.refuse_growth(relation, most);
    END IF;
END
$$;

COMMENT ON FUNCTION marea.bound_lines(TEXT, BIGINT) IS
    'Refuses more rows of a synced table than a user may have. For what a signed-in user inserts; deleted rows count until they are pruned.';

CREATE OR REPLACE FUNCTION marea.bound_sessions() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Fires after the fold (its name comes later): nearly always the total says enough, because whoever has fewer sessions counted has no
-- more than that; but for those without an end.
DECLARE
    me   CONSTANT UUID := auth.uid();
    most BIGINT;
BEGIN
    IF me IS NULL THEN
        RETURN NULL;
    END IF;
    most := marea.most_rows();
    IF ((SELECT p.total_sessions FROM public.user_progress AS p WHERE p.user_id = me) <= most) IS NOT TRUE
        OR EXISTS (SELECT FROM added AS s WHERE isfinite(s.ended_at) IS NOT TRUE) THEN
        IF (SELECT count(*) FROM (SELECT FROM public.sessions AS s WHERE s.user_id = me LIMIT most + 1) AS l) > most THEN
            PERFORM marea.refuse_growth('sessions', most);
        END IF;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.bound_sessions() IS 'Trigger: refuses more sessions than a user may have.';

CREATE OR REPLACE TRIGGER marea_sessions_within_bounds AFTER INSERT ON public.sessions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.bound_sessions();

CREATE OR REPLACE FUNCTION marea.bound_ledger() RETURNS TRIGGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
-- Nothing else knows how many there are: they are counted at every large statement, and at one in sixteen small ones; at every one
-- where marea.push_without looks for what still fits.
DECLARE
    me   CONSTANT UUID := auth.uid();
    most BIGINT;
BEGIN
    IF me IS NULL OR ((SELECT count(*) FROM added) < 50 AND random() > 0.0625
        AND coalesce(current_setting('marea.count_rows', true), '') <> 'on') THEN
        RETURN NULL;
    END IF;
    most := marea.most_rows();
    IF TG_TABLE_NAME = 'additions' THEN
        -- Several to a row.
        most := 10 * most;
        IF (SELECT count(*) FROM (SELECT FROM marea.additions AS a WHERE a.user_id = me LIMIT most + 1) AS l) > most THEN
            PERFORM marea.refuse_growth('additions', most);
        END IF;
    ELSIF (SELECT count(*) FROM (SELECT FROM marea.progress_events AS e WHERE e.user_id = me LIMIT most + 1) AS l) > most THEN
        PERFORM marea.refuse_growth('progress_events', most);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION marea.bound_ledger() IS 'Trigger: refuses more awards, or additions to counters, than a user may have.';

CREATE OR REPLACE TRIGGER additions_within_bounds AFTER INSERT ON marea.additions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.bound_ledger();
CREATE OR REPLACE TRIGGER events_within_room AFTER INSERT ON marea.progress_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION marea.bound_ledger();

CREATE OR REPLACE FUNCTION marea.guard_export() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
-- What a push may write has bounds; this is for who writes past it, by a PATCH. A number that is stored in 8 bytes is looked at before it
-- is printed.
DECLARE
    name    TEXT;
    given   JSONB;
    before  JSONB;
    problem TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['data', 'filters'] LOOP
        given := CASE name WHEN 'data' THEN NEW.data ELSE NEW.filters END;
        before := CASE WHEN TG_OP = 'UPDATE' THEN CASE name WHEN 'data' THEN OLD.data ELSE OLD.filters END END;
        IF given IS NOT NULL AND given IS DISTINCT FROM before THEN
            problem := CASE WHEN marea.has_long_number(given) THEN 'has a number beyond 1.8e308 or of more than 400 decimal places'
                ELSE marea.json_problem(given, 65536) END;
            EXIT WHEN problem IS NOT NULL;
        END IF;
    END LOOP;
    IF problem IS NULL AND octet_length(NEW.file_url) > 65536 THEN
        name := 'file_url';
        problem := 'has more than 65536 bytes';
    ELSIF problem IS NULL AND octet_length(NEW.error_message) > 65536 THEN
        name := 'error_message';
        problem := 'has more than 65536 bytes';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('values.%s: %s', name, problem);
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION marea.guard_export() IS 'Trigger: the bounds of marea.column_limits() for what a learner writes to an export by whatever way.';

CREATE OR REPLACE TRIGGER marea_export_history_guarded BEFORE INSERT OR UPDATE ON public.export_history
    FOR EACH ROW WHEN (current_user = 'authenticated') EXECUTE FUNCTION marea.guard_export();

REVOKE ALL ON FUNCTION marea.most_rows, marea.refuse_growth, marea.bound_lines, marea.bound_sessions, marea.bound_ledger, marea.guard_export
FROM PUBLIC, anon, authenticated, service_role;
