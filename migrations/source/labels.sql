-- Labels: what the enums of built-in tables may hold, so that a device refuses a typing mistake when it is made. Looked up each time: an
-- ALTER TYPE ... ADD VALUE tells nobody.

CREATE OR REPLACE FUNCTION marea.built_in_labels() RETURNS JSONB LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT jsonb_build_object('sessions.session_type', jsonb_agg(l.enumlabel ORDER BY l.enumsortorder))
    FROM pg_catalog.pg_attribute AS a
    JOIN pg_catalog.pg_enum AS l ON l.enumtypid = marea.base_type(a.atttypid)
    WHERE a.attrelid = to_regclass('public.sessions') AND a.attname = 'session_type' AND NOT a.attisdropped
    HAVING count(*) > 0;
END;

COMMENT ON FUNCTION marea.built_in_labels() IS
    'Column of a built-in table -> the labels of its enum, in their order; NULL where the app has texts there.';

CREATE OR REPLACE FUNCTION public.marea_catalogue() RETURNS JSONB
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c.document || CASE WHEN l.labels IS NULL THEN '{}' ELSE jsonb_build_object('labels', l.labels,
        'hash', left(encode(sha256(convert_to(c.hash || l.labels::text, 'UTF8')), 'hex'), 16)) END
    FROM marea.catalogue AS c CROSS JOIN (SELECT marea.built_in_labels() AS labels) AS l;
END;

COMMENT ON FUNCTION public.marea_catalogue() IS
    'The mirrored tables, their columns, types and rules, and the labels of built-in enums; no rows. For everybody who may call the '
    'API: names are no secret.';

REVOKE ALL ON FUNCTION marea.built_in_labels FROM PUBLIC, anon, authenticated, service_role;
