//! Mirrored tables in a dump: what was declared, made and known works in the database that it is restored to.

use marea_tests::mirrored::{MirroredApp, pull, rows, send};
use marea_tests::sql::{Caller, hlc, mutation, new_id};
use serde_json::json;
use tokio::process::Command;

use crate::documents::dumpable_server;

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_takes_the_mirrored_tables_along() {
    let app = MirroredApp::on(dumpable_server().await, &["words.sql", "inventory.sql"]).await;
    let one = app.user().await;
    let list = new_id().to_string();
    let insert = [mutation("word_lists", "insert", Some(&list), &hlc(1), json!({ "title": "t" }))];
    assert_eq!(send(&one, &insert).await, ["applied"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump.sql");
    let dumped = Command::new("pg_dump")
        .arg("-f")
        .arg(&file)
        .arg(&app.database.url)
        .output()
        .await
        .expect("pg_dump starts");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));

    let restored = app.cluster.empty_database("restored").await;
    restored.file(&file).await.succeeds();
    assert_eq!(restored.text("SELECT count(*) FROM marea.mirror_drift()").await, "0");
    let hash = "SELECT hash FROM marea.catalogue";
    assert_eq!(restored.text(hash).await, app.database.text(hash).await);
    let there = Caller::of(&restored.url, one.user).await;
    assert_eq!(rows(&pull(&there).await, "word_lists")[0]["id"], json!(list));
    let merge = [mutation("word_lists", "merge", Some(&list), &hlc(2), json!({ "title": "u" }))];
    assert_eq!(send(&there, &merge).await, ["applied"]);
    restored.execute("UPDATE public.word_lists SET position = 7").await;
    let found = rows(&pull(&there).await, "word_lists").remove(0);
    assert_eq!((&found["title"], &found["position"]), (&json!("u"), &json!(7)));
    app.stop().await;
}
