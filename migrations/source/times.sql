-- Times, days and hybrid logical clocks. RETURN bodies are parsed once, here: nothing that a caller makes later can change what
-- they mean.

CREATE OR REPLACE FUNCTION marea.wire_time(at TIMESTAMPTZ) RETURNS TEXT LANGUAGE sql STABLE
-- A year before 1 has no sign in to_char: it would be read as another year. A device that cannot read it says so.
RETURN CASE WHEN at >= '0001-01-01 00:00:00+00' AND at < '10000-01-01 00:00:00+00'
    THEN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    WHEN isfinite(at) THEN at::text END;

COMMENT ON FUNCTION marea.wire_time(TIMESTAMPTZ) IS 'A time as it crosses the wire: UTC, six digits, Z; sorts as text.';

CREATE OR REPLACE FUNCTION marea.is_day(given TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN given ~ '^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$' THEN
        substr(given, 9, 2)::int <= CASE substr(given, 6, 2)
            WHEN '02' THEN CASE
                WHEN substr(given, 1, 4)::int % 4 = 0
                    AND (substr(given, 1, 4)::int % 100 <> 0 OR substr(given, 1, 4)::int % 400 = 0) THEN 29
                ELSE 28
            END
            WHEN '04' THEN 30 WHEN '06' THEN 30 WHEN '09' THEN 30 WHEN '11' THEN 30
            ELSE 31
        END
    ELSE false
END;

COMMENT ON FUNCTION marea.is_day(TEXT) IS 'Whether a text is a calendar date YYYY-MM-DD of the years 1970 to 9999.';

CREATE OR REPLACE FUNCTION marea.local_day(given TEXT, at TIMESTAMPTZ) RETURNS DATE LANGUAGE sql IMMUTABLE
-- A day of the years 1 to 9999, as the devices know them.
RETURN CASE WHEN marea.is_day(given)
    THEN make_date(substr(given, 1, 4)::int, substr(given, 6, 2)::int, substr(given, 9, 2)::int)
    ELSE least(greatest((at AT TIME ZONE 'UTC')::date, '0001-01-01'), '9999-12-31') END;

COMMENT ON FUNCTION marea.local_day(TEXT, TIMESTAMPTZ) IS
    'The learner''s day: the given one if it is a date, else the UTC day of the time. Never fails on garbage.';

CREATE OR REPLACE FUNCTION marea.tomorrow() RETURNS DATE LANGUAGE sql STABLE
RETURN (now() AT TIME ZONE 'UTC')::date + 1;

COMMENT ON FUNCTION marea.tomorrow() IS
    'The last day that counts for streaks: it is tomorrow in UTC, and today already where the clocks are ahead of that.';

CREATE OR REPLACE FUNCTION marea.server_hlc(after TEXT) RETURNS TEXT
LANGUAGE sql VOLATILE
RETURN CASE
    WHEN after IS NULL OR substr(after, 1, 13)::bigint < floor(extract(epoch FROM clock_timestamp()) * 1000)
        THEN lpad(floor(extract(epoch FROM clock_timestamp()) * 1000)::text, 13, '0') || '-0000'
    WHEN right(after, 4) = 'ffff' THEN lpad((substr(after, 1, 13)::bigint + 1)::text, 13, '0') || '-0000'
    ELSE substr(after, 1, 14) || lpad(to_hex(('x' || right(after, 4))::bit(16)::int + 1), 4, '0')
END;

COMMENT ON FUNCTION marea.server_hlc(TEXT) IS 'A hybrid logical clock of the server, later than the given one.';

CREATE OR REPLACE FUNCTION marea.clamp_hlc(hlc TEXT) RETURNS TEXT LANGUAGE sql VOLATILE
RETURN CASE
    WHEN substr(hlc, 1, 13)::bigint > floor(extract(epoch FROM clock_timestamp()) * 1000) + 300000
        -- The microseconds as counter: a device's writes of one request keep their order.
        THEN (SELECT lpad((micros / 1000)::text, 13, '0') || '-' || lpad(to_hex(micros % 1000), 4, '0')
              FROM (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros) AS at)
    ELSE hlc
END;

COMMENT ON FUNCTION marea.clamp_hlc(TEXT) IS
    'A device''s clock; one that is more than 5 minutes ahead of the server''s becomes the server''s.';
