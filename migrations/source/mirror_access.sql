-- Who may do what of the mirrored tables. What is made for each of them is granted where it is made.

REVOKE ALL ON marea.tables, marea.columns, marea.catalogue, marea.additions FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE marea.tables_id_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION public.marea_catalogue() FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON FUNCTION
    marea.add_mirrored, marea.apply_mirrored, marea.base_type, marea.column_problem, marea.correction_problem, marea.count_once,
    marea.delete_mirrored, marea.describe_columns, marea.due_condition, marea.forget_table, marea.form_of, marea.indexes_of, marea.insert_mirrored,
    marea.is_mine, marea.key_of, marea.left_out_keys, marea.lock_mirrored, marea.make_checks, marea.make_page,
    marea.make_tracking, marea.merge_mirrored, marea.mirror, marea.mirror_batch, marea.mirror_drift, marea.mirror_problems,
    marea.mirrored_id, marea.mirrored_page, marea.mirrored_problem, marea.mirrored_rows, marea.mirrored_weights,
    marea.note_changes, marea.note_missing_rows, marea.note_stamps, marea.note_writes, marea.one_by_one, marea.page_sql, marea.publish_catalogue, marea.record_of,
    marea.refuse_absent, marea.rejected, marea.relation_of, marea.reserved_names, marea.rows_due, marea.sound_sql,
    marea.track_truncate, marea.tracking_sql, marea.version_early_rows, marea.unmirror, marea.unmirror_dropped, marea.update_mirrored,
    marea.version_rows, marea.weight_expression, marea.wire_expression, marea.wire_instant, marea.wire_timestamp,
    marea.with_lines, marea.has_drifted, marea.unseen_tables
FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON PROCEDURE marea.mirror_existing FROM PUBLIC, anon, authenticated, service_role;

GRANT EXECUTE ON FUNCTION public.marea_catalogue() TO anon, authenticated, service_role;
-- marea_sync runs as its caller.
GRANT SELECT ON marea.tables, marea.columns, marea.catalogue TO authenticated;
GRANT EXECUTE ON FUNCTION
    marea.add_mirrored, marea.apply_mirrored, marea.column_problem, marea.correction_problem, marea.count_once,
    marea.delete_mirrored, marea.form_of, marea.insert_mirrored, marea.is_mine, marea.left_out_keys, marea.lock_mirrored, marea.merge_mirrored,
    marea.has_drifted, marea.mirrored_page, marea.mirrored_problem, marea.mirrored_rows, marea.mirrored_weights, marea.note_stamps,
    marea.note_writes, marea.one_by_one, marea.page_sql, marea.record_of, marea.refuse_absent, marea.rejected, marea.relation_of,
    marea.union_achievements, marea.update_mirrored, marea.weight_expression, marea.wire_expression, marea.wire_instant,
    marea.wire_timestamp, marea.with_lines, marea.unseen_tables
TO authenticated;

-- What a newer version of this makes for each table is made for those that are mirrored already.
DO $$
DECLARE
    of_table marea.tables;
    relation REGCLASS;
BEGIN
    FOR of_table IN SELECT t.* FROM marea.tables AS t WHERE NOT marea.has_drifted(t.name) LOOP
        relation := marea.relation_of(of_table);
        PERFORM marea.make_checks(of_table), marea.make_page(of_table, relation), marea.make_tracking(of_table, relation);
    END LOOP;
END
$$;
