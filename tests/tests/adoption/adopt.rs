//! What `adopt.sql` takes and gives back, before Marea is there.

use marea_tests::cluster::Cluster;
use marea_tests::schema::{SNAPSHOT, assert_same};

use crate::app::{Supabase, rows};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_comes_back_exactly() {
    let server = Supabase::start().await;
    let database = server.awkward("taken", false).await;
    database.execute("ALTER TABLE public.sessions ENABLE ALWAYS TRIGGER sessions_count").await;
    let (schema, data) = (database.text(SNAPSHOT).await, rows(&database).await);

    let ran = database.migration("adopt.sql").await.succeeds();
    assert!(
        ran.stderr.contains("trigger sessions_count on public.sessions wrote progress and is switched off"),
        "{ran:#?}"
    );
    for table in ["user_api_keys", "user_progress", "export_history"] {
        let gone = database.text(&format!("SELECT to_regclass('public.{table}') IS NULL")).await;
        assert_eq!(gone, "true", "{table}");
        assert_ne!(
            database.text(&format!("SELECT count(*) FROM marea_adopted.{table}")).await,
            "0",
            "{table}"
        );
    }
    // What clients could read they cannot reach there.
    let denied = database.sql(&["SET ROLE authenticated; SELECT * FROM marea_adopted.user_api_keys"]).await;
    denied.fails_with("permission denied for schema marea_adopted");
    let taken = database.text(SNAPSHOT).await;
    let again = database.migration("adopt.sql").await.succeeds();
    assert!(again.stderr.contains("Nothing has to be adopted: this run changes nothing"), "{again:#?}");
    assert_same(&taken, &database.text(SNAPSHOT).await, "adopted twice");

    database.migration("adopt_rollback.sql").await.succeeds();
    assert_same(&schema, &database.text(SNAPSHOT).await, "taken back");
    assert_same(&data, &rows(&database).await, "the app's rows");
    database.migration("adopt_rollback.sql").await.succeeds();
    server.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_tidy_app_there_is_nothing_to_adopt() {
    let cluster = Cluster::start().await;
    let database = cluster.database("tidy", 0).await;
    for (up_to, what) in [(0, "the app alone"), (u32::MAX, "Marea's own tables")] {
        let database = if up_to == 0 { &database } else { &cluster.database("with_marea", up_to).await };
        let before = database.text(SNAPSHOT).await;
        let ran = database.migration("adopt.sql").await.succeeds();
        assert!(ran.stderr.contains("Nothing has to be adopted"), "{what}: {ran:#?}");
        assert_same(&before, &database.text(SNAPSHOT).await, what);
    }
    cluster.stop().await;
}
