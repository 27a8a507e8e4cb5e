//! A page costs what is on it, also where Postgres has no statistics of the rows.

use marea_tests::cluster::{Cluster, Database};

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
    let database = cluster.database("steady", u32::MAX).await;
    fill(&database).await;
    // Where the order of versions is of no use all lines of the user are read: else this would prove nothing.
    let plain = "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('marea.page(uuid, bigint, integer, boolean)'::regprocedure),
        'r.version > since', 'r.version + 0 > since'); END $do$;
        ALTER FUNCTION marea.page(uuid, bigint, integer, boolean) RESET enable_sort;
        ALTER FUNCTION marea.page(uuid, bigint, integer, boolean) RESET enable_bitmapscan";
    database.execute(plain).await;
    let read = lines_read(&database).await;
    assert!(read >= EXPORTS - KNOWN, "there is nothing to keep it from: {read} lines");
    for file in ["005_corrections.sql", "006_repairs.sql"] {
        database.migration(file).await.succeeds();
    }
    // A connection that has read nothing yet.
    let database = Database { client: database.connect().await, url: database.url };
    let read = lines_read(&database).await;
    // The page's end is looked for, then its exports are read, then what else is on it.
    assert!(read <= 3 * 11, "{read} lines for a page of ten");
    cluster.stop().await;
}
