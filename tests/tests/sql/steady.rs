//! Migration 007: a page costs what is on it, also where Postgres has no statistics of the rows.

use marea_tests::cluster::{Cluster, Database, root};

const LEARNER: &str = "1ea40000-0000-4000-8000-00000000abcd";
const EXPORTS: i64 = 3_000;
/// The version that the client has: its page begins behind it.
const KNOWN: i64 = 1_000;

/// How many lines of `marea.rows` Postgres reads for a page of ten.
async fn lines_read(database: &Database) -> i64 {
    let script = format!(
        "BEGIN;
         SELECT set_config('request.jwt.claims', '{{\"sub\": \"{LEARNER}\", \"role\": \"authenticated\"}}', true);
         SET LOCAL ROLE authenticated;
         SELECT count(*) FROM marea.page('{LEARNER}', {KNOWN}, 10, true) WHERE found_packed::text LIKE '%clocks%';
         RESET ROLE;
         SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'marea.rows'::regclass;
         COMMIT;"
    );
    let messages = database.client.simple_query(&script).await.expect("a page");
    let values: Vec<String> = messages
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect();
    let [_, found, read] = values.as_slice() else { panic!("{values:?}") };
    assert_eq!(found, "1", "the page has rows");
    read.parse().expect("a number")
}

async fn fill(database: &Database) {
    database.execute("ALTER TABLE marea.rows SET (autovacuum_enabled = false)").await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    database
        .execute(&format!(
            "INSERT INTO public.export_history (user_id, export_type, export_format)
             SELECT '{LEARNER}', 'vocabulary', 'csv' FROM generate_series(1, {EXPORTS})"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_reads_no_more_than_is_on_it_before_anybody_has_analyzed() {
    let cluster = Cluster::start().await;
    let before = cluster.database("before", 6).await;
    fill(&before).await;
    let read = lines_read(&before).await;
    assert!(read >= EXPORTS - KNOWN, "007 has nothing to mend: {read} lines");
    let database = cluster.database("steady", 7).await;
    fill(&database).await;
    let read = lines_read(&database).await;
    // The page's end is looked for, then its exports are read, then what else is on it.
    assert!(read <= 3 * 11, "{read} lines for a page of ten");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_added_to_the_function_stays_and_the_file_can_be_taken_back() {
    let cluster = Cluster::start().await;
    let early = cluster.database("early", 4).await;
    let missing = "Missing: function marea.page (migration 005)";
    early.migration("007_steady_pages.sql").await.fails_with(missing);

    let database = cluster.database("back", 6).await;
    let stands = "SELECT pg_get_functiondef('marea.page(uuid, bigint, integer, boolean)'::regprocedure)";
    let note = "-- with a column of our own";
    let added =
        format!("DO $do$ BEGIN EXECUTE replace(({stands}), '-- known: ', E'{note}\\n-- known: '); END $do$");
    database.execute(&added).await;
    let before = database.text(stands).await;
    assert!(before.contains(note));
    database.migration("007_steady_pages.sql").await.succeeds();
    database.migration("validate_007.sql").await.succeeds();
    let with = database.text(stands).await;
    assert!(with.contains(note) && with != before);
    let twice = database.migration("007_steady_pages.sql").await.succeeds();
    assert!(twice.stderr.contains("007 stands already: this run changes nothing"), "{twice:#?}");
    assert_eq!(database.text(stands).await, with);

    let script = std::fs::read_to_string(root().join("migrations/validate_007.sql")).expect("the validation");
    let again = "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('marea.page(uuid, bigint, integer, boolean)'::regprocedure),
        'AND (r.table_name || '''') =', 'AND r.table_name ='); END $do$";
    let sorts = "ALTER FUNCTION marea.page(uuid, bigint, integer, boolean) RESET enable_sort";
    for breakage in [again, sorts, "DROP FUNCTION marea.page(uuid, bigint, integer, boolean)"] {
        let broken = script.replacen("BEGIN;", &format!("BEGIN; {breakage};"), 1);
        database.sql(&[&broken]).await.fails_with("Marea 007: ");
    }
    database.migration("007_steady_pages_rollback.sql").await.succeeds();
    assert_eq!(database.text(stands).await, before);
    database.migration("007_steady_pages_rollback.sql").await.succeeds();

    let strange = "CREATE OR REPLACE FUNCTION marea.page(
        me UUID, known BIGINT, most INTEGER, packs BOOLEAN, OUT anew BOOLEAN, OUT upto BIGINT, OUT clock_at BIGINT,
        OUT more BOOLEAN, OUT found_rows JSON, OUT found_packed JSON, OUT found_deleted JSON)
        LANGUAGE plpgsql AS 'BEGIN END'";
    database.execute(strange).await;
    database.migration("007_steady_pages.sql").await.fails_with("marea.page is not as 005 has made it");
    cluster.stop().await;
}
