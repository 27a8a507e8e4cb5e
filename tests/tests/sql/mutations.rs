//! The list of SQL mutations is up to date: each can still be made, and changes something. That each is noticed is for
//! `cargo xtask mutants --sql` to see.

use marea_tests::cluster::{Cluster, migrations};
use marea_tests::schema::SNAPSHOT;
use marea_tests::sql_mutation;

/// Fewer would leave whole functions without one.
const FEWEST: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn every_listed_mutation_can_be_made() {
    if std::env::var(sql_mutation::VARIABLE).is_ok() {
        return;
    }
    let cluster = Cluster::start().await;
    let database = cluster.database("mutations", migrations().last().expect("migrations").0).await;
    let whole = database.text(SNAPSHOT).await;
    let all = sql_mutation::all();
    assert!(all.len() >= FEWEST, "{} mutations", all.len());
    let mut stale = Vec::new();
    for mutation in all {
        database.execute("BEGIN").await;
        match mutation.make(&database.client).await {
            Err(why) => stale.push(why),
            Ok(()) if database.text(SNAPSHOT).await == whole => {
                stale.push(format!("{}: changes nothing", mutation.name));
            }
            Ok(()) => {}
        }
        database.execute("ROLLBACK").await;
    }
    assert!(stale.is_empty(), "{stale:#?}");
    cluster.stop().await;
}
