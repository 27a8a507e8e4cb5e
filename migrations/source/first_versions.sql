-- What is here already gets its first version.

INSERT INTO marea.pending (table_name, deleted, user_ids, row_keys)
SELECT here.table_name, false, array_agg(here.user_id), array_agg(here.row_key)
FROM (
    SELECT 'user_progress' AS table_name, user_id, user_id::text AS row_key FROM public.user_progress
    UNION ALL SELECT 'export_history', user_id, id::text FROM public.export_history
    UNION ALL SELECT 'user_api_keys', user_id, user_id::text FROM public.user_api_keys
) AS here
WHERE NOT EXISTS (
    SELECT FROM marea.rows AS r
    WHERE r.user_id = here.user_id AND r.table_name = here.table_name AND r.row_key = here.row_key
)
GROUP BY here.table_name;

SET CONSTRAINTS marea.pending_assign_versions IMMEDIATE;

-- Checked for all rows at once, which is many times faster than row by row as they come.
DO $$
DECLARE
    relation TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY['clocks', 'rows'] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_constraint
            WHERE conrelid = to_regclass('marea.' || relation) AND conname = relation || '_user_id_fkey'
        ) THEN
            EXECUTE format('ALTER TABLE marea.%I ADD CONSTRAINT %I FOREIGN KEY (user_id)'
                ' REFERENCES public.users (id) ON DELETE CASCADE', relation, relation || '_user_id_fkey');
        END IF;
    END LOOP;
END
$$;
