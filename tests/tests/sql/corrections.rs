//! Migrations 005 and 006 on a database that people use: what is mirrored stays mirrored, all becomes what the source makes, and goes back.

use marea_tests::cluster::{Cluster, Database};
use marea_tests::schema::{SNAPSHOT, assert_same, seen_to_fail};

/// A mirrored table of the app, mirrored sessions.
const MIRRORED: &str = "
    CREATE TABLE public.notes (id uuid PRIMARY KEY, user_id uuid NOT NULL, note text);
    ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
    GRANT ALL ON public.notes TO authenticated;
    CREATE POLICY own ON public.notes TO authenticated USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
    DO $$ BEGIN PERFORM marea.mirror('public.notes'), marea.mirror('public.sessions'); END $$;";
const ROWS: &str = "
    INSERT INTO public.users (id) VALUES ('0cc00000-0000-4000-8000-000000000001');
    INSERT INTO public.notes SELECT gen_random_uuid(), id, 'one' FROM public.users;
    INSERT INTO public.sessions (user_id, ended_at, qa_attempts) SELECT id, '2026-01-01Z', 3 FROM public.users;";
const VERSIONS: &str =
    "SELECT string_agg(format('%s %s %s %s', table_name, row_key, version, hlc), ',' ORDER BY user_id, version)
     FROM marea.rows";

async fn run(database: &Database, files: &[&str]) {
    for file in files {
        database.migration(file).await.succeeds();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_becomes_what_the_source_makes_and_goes_back() {
    const FORWARD: &str = "005_corrections.sql";
    const BACK: &str = "005_corrections_rollback.sql";
    let cluster = Cluster::start().await;
    let early = cluster.database("early", 3).await;
    early.migration(FORWARD).await.fails_with("Missing: the view marea.health (migration 004)");
    early.migration(BACK).await.fails_with("Marea 005 does not stand; nothing was changed");

    let (used, fresh) = (cluster.database("used", 4).await, cluster.database("fresh", 5).await);
    used.execute(&format!("{MIRRORED}{ROWS}")).await;
    fresh.execute(MIRRORED).await;
    let (before, versions) = (used.text(SNAPSHOT).await, used.text(VERSIONS).await);
    run(&used, &[FORWARD, "validate_005.sql"]).await;
    let after = used.text(SNAPSHOT).await;
    assert_same(&fresh.text(SNAPSHOT).await, &after, "the schema, what was generated included");
    assert_same(&versions, &used.text(VERSIONS).await, "versions and clocks");

    let twice = used.migration(FORWARD).await.succeeds();
    assert!(twice.stderr.contains("005 stands already"), "{twice:#?}");
    assert_same(&after, &used.text(SNAPSHOT).await, "005 run twice");
    // An earlier file that is run again puts its own functions back; this one is run again behind it.
    run(&used, &["002_sync_layer.sql"]).await;
    used.migration("validate_005.sql").await.fails_with("Run 005_corrections.sql again");
    run(&used, &[FORWARD, "validate_002.sql", "validate_005.sql"]).await;
    assert_same(&after, &used.text(SNAPSHOT).await, "005 run behind 002");

    run(&used, &[BACK, "validate_002.sql", BACK]).await;
    assert_same(&before, &used.text(SNAPSHOT).await, "005 taken back");
    assert_same(&versions, &used.text(VERSIONS).await, "versions and clocks, taken back");
    used.execute("UPDATE public.notes SET note = 'two'; DELETE FROM public.sessions").await;

    // A table that was altered and not mirrored again stands in nobody's way.
    used.execute("ALTER TABLE public.notes DROP COLUMN note").await;
    run(&used, &[FORWARD, "validate_005.sql"]).await;

    // Taken back in the wrong order, it says what to do.
    run(&used, &["004_operations_rollback.sql"]).await;
    used.migration(BACK).await.fails_with("Marea 004 was taken back before 005");
    run(&used, &["004_operations.sql", BACK, "004_operations_rollback.sql", "003_backfill_rollback.sql"])
        .await;
    run(&used, &["002_sync_layer_rollback.sql"]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repairs_go_on_and_come_back() {
    const FORWARD: &str = "006_repairs.sql";
    const BACK: &str = "006_repairs_rollback.sql";
    let cluster = Cluster::start().await;
    let early = cluster.database("early", 4).await;
    early.migration(FORWARD).await.fails_with("Missing: the function marea.settle_clocks() (migration 005)");
    early.migration(BACK).await.fails_with("Marea 006 does not stand; nothing was changed");

    let (used, fresh) = (cluster.database("used", 5).await, cluster.database("fresh", u32::MAX).await);
    used.execute(&format!("{MIRRORED}{ROWS}")).await;
    fresh.execute(MIRRORED).await;
    let (before, versions) = (used.text(SNAPSHOT).await, used.text(VERSIONS).await);
    used.migration(BACK).await.succeeds();
    run(&used, &[FORWARD, "validate_006.sql"]).await;
    let after = used.text(SNAPSHOT).await;
    assert_same(&fresh.text(SNAPSHOT).await, &after, "the schema, what was generated included");
    assert_same(&versions, &used.text(VERSIONS).await, "versions and clocks");
    let twice = used.migration(FORWARD).await.succeeds();
    assert!(twice.stderr.contains("006 stands already"), "{twice:#?}");
    run(&used, &["005_corrections.sql"]).await;
    used.migration("validate_006.sql").await.fails_with("Run 006_repairs.sql again");
    run(&used, &[FORWARD, "validate_005.sql", "validate_006.sql"]).await;
    assert_same(&after, &used.text(SNAPSHOT).await, "006 run behind 005");
    run(&used, &[BACK, "validate_005.sql", BACK]).await;
    assert_same(&before, &used.text(SNAPSHOT).await, "006 taken back");
    assert_same(&versions, &used.text(VERSIONS).await, "versions and clocks, taken back");
    run(&used, &[FORWARD, "005_corrections_rollback.sql"]).await;
    used.migration(BACK).await.fails_with("Marea 005 was taken back before 006");
    run(&used, &["005_corrections.sql", BACK]).await;
    assert_same(&before, &used.text(SNAPSHOT).await, "006 taken back behind 005");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_006_is_seen_to_fail() {
    let cluster = Cluster::start().await;
    let database = cluster.database("validate_006", u32::MAX).await;
    database.execute(MIRRORED).await;
    let broken = [
        (
            "GRANT EXECUTE ON FUNCTION marea.note_missing_rows TO authenticated",
            "functions of it that a signed-in user may execute",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION marea.is_live_file FROM service_role",
            "functions that the view of files to delete needs, for who reads it",
        ),
        (
            "ALTER TABLE public.users DISABLE TRIGGER marea_users_version_early_rows",
            "triggers that give versions to rows whose owner comes later",
        ),
        (
            "ALTER FUNCTION marea.may_add_file SECURITY INVOKER",
            "functions that let files of any sign-in service in",
        ),
        ("ALTER FUNCTION marea.lock_mirrored RENAME TO lock", "functions as 006 makes them"),
        (
            "ALTER FUNCTION marea.mirror_1_page RENAME TO page_1",
            "mirrored tables whose pages are not made as 006 makes them",
        ),
    ];
    seen_to_fail(&database, "validate_006.sql", 6, &broken).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_005_is_seen_to_fail() {
    // As the file before has it.
    const WITHOUT: &[(&str, &str, &str)] = &[
        (
            "note_changes",
            "marea.settle_clocks()",
            "functions that write the clocks first that were to come with the versions",
        ),
        ("merge_mirrored", "marea.note_stamps(", "functions that note clocks by the row"),
        ("assign_versions", "t.clocks, k.stamp", "functions that give clocks together with versions"),
        (
            "mirrored_problem",
            "marea.correction_problem(",
            "functions that hold corrections of sessions to their bounds",
        ),
        ("page", "t.facts", "pages that say how many facts lie on a day"),
        (
            "insert_sessions",
            "IF is_usual",
            "functions of a push and of a page that do only what there is to do",
        ),
        (
            "mirror_1_weights",
            "pg_column_compression(s.hlc)",
            "mirrored tables whose pages are not made as 005 makes them",
        ),
    ];
    let cluster = Cluster::start().await;
    let database = cluster.database("validate_005", 5).await;
    database.execute(MIRRORED).await;
    let replaced: Vec<String> = WITHOUT
        .iter()
        .map(|(function, part, _)| {
            format!(
                "SET check_function_bodies = off; DO $do$ BEGIN
                   EXECUTE replace(pg_get_functiondef('marea.{function}'::regproc), '{part}', 'marea.other('); END $do$"
            )
        })
        .collect();
    let mut broken: Vec<(&str, &str)> =
        replaced.iter().zip(WITHOUT).map(|(breaking, (.., check))| (breaking.as_str(), *check)).collect();
    broken.extend([
        (
            "ALTER TABLE marea.pending RENAME COLUMN stamps TO clock",
            "columns that bring clocks together with versions",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION marea.note_stamps FROM authenticated",
            "functions of it that a signed-in user needs",
        ),
        (
            "GRANT EXECUTE ON FUNCTION marea.settle_clocks TO service_role",
            "functions of it that others may execute",
        ),
    ]);
    seen_to_fail(&database, "validate_005.sql", 10, &broken).await;
    cluster.stop().await;
}
