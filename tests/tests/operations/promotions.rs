//! Servers that take over from one another, on real clusters: a copy of the data folder that recovers becomes a server of its own, on a
//! new timeline, as a standby does when it is promoted. Who lost something is told to pull everything again; nobody else is.

use std::path::{Path, PathBuf};

use marea_backend::Options;
use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, request_after, session, with};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// A folder for clusters. The servers run as another user, who must get into it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("an open folder");
    folder
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(status.success());
}

/// The folder with the cluster's own files in a data folder of the backend.
fn cluster(data: &Path) -> PathBuf {
    let found = std::fs::read_dir(data).expect("a folder").filter_map(Result::ok).map(|entry| entry.path());
    let mut candidates = found.filter(|path| path.join("PG_VERSION").exists());
    candidates.next().unwrap_or_else(|| data.to_owned())
}

/// A copy of a stopped server that recovers to the end of what it has before it takes anybody, and goes on from there on a timeline
/// of its own.
fn promoted(from: &Path, to: &Path) {
    copy(from, to);
    let cluster = cluster(to);
    let settings = cluster.join("postgresql.auto.conf");
    let before = std::fs::read_to_string(&settings).unwrap_or_default();
    std::fs::write(
        &settings,
        before + "hot_standby = off\nrestore_command = 'false'\nrecovery_target_timeline = 'current'\n",
    )
    .expect("settings");
    std::fs::write(cluster.join("recovery.signal"), "").expect("a signal");
}

async fn start(data: &Path) -> TestBackend {
    TestBackend::start_with(Options { data: Some(data.to_owned()), ..Options::default() }).await
}

async fn timeline(backend: &TestBackend) -> String {
    let query = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
    backend.sql().await.query_one(query, &[]).await.expect("a timeline").get(0)
}

/// A sync from a cursor; whether it was told to pull everything again, and the cursor that it has now.
async fn sync(backend: &TestBackend, user: Uuid, cursor: &Value, mutations: &[Value]) -> (bool, Value) {
    let caller = Caller::of(&backend.ready().database_url, user).await;
    let answer = caller.sync(&request_after(cursor, mutations)).await;
    for result in answer["results"].as_array().expect("results") {
        assert_eq!(result["status"], "applied", "{answer}");
    }
    (answer["reset"] == true, answer["cursor"].clone())
}

fn work(day: u32) -> Value {
    session(&format!("2026-04-{day:02}"), json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_that_lost_nothing_sends_nobody_back() {
    let folder = folder();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let backend = start(&first).await;
    let before = timeline(&backend).await;
    let mut cursors = Vec::new();
    for _ in 0..20 {
        let user = backend.new_user().await.id;
        cursors.push((user, sync(&backend, user, &Value::Null, &[work(1), work(2)]).await.1));
    }
    backend.stop().await;
    promoted(&first, &second);
    let backend = start(&second).await;
    assert_ne!(timeline(&backend).await, before, "it was promoted");
    for (user, cursor) in cursors {
        let (reset, cursor) = sync(&backend, user, &cursor, &[work(3)]).await;
        assert!(!reset, "nothing was lost");
        assert!(!sync(&backend, user, &cursor, &[]).await.0);
    }
    backend.stop().await;
}

/// Both call themselves timeline 2 of the same system.
#[tokio::test(flavor = "multi_thread")]
async fn two_take_overs_from_one_state_are_two_histories() {
    let folder = folder();
    let place = |name: &str| folder.path().join(name);
    let backend = start(&place("first")).await;
    let (busy, quiet) = (backend.new_user().await.id, backend.new_user().await.id);
    let (_, behind) = sync(&backend, busy, &Value::Null, &[work(1)]).await;
    let (_, untouched) = sync(&backend, quiet, &Value::Null, &[work(1)]).await;
    backend.stop().await;

    promoted(&place("first"), &place("second"));
    promoted(&place("first"), &place("third"));
    let backend = start(&place("second")).await;
    let named = timeline(&backend).await;
    let (reset, ahead) = sync(&backend, busy, &behind, &[work(2)]).await;
    assert!(!reset);
    backend.stop().await;

    let backend = start(&place("third")).await;
    assert_eq!(timeline(&backend).await, named, "by its timeline alone nobody could tell");
    // Another device of the learner has overtaken the lost state when the first one comes.
    let (reset, _) = sync(&backend, busy, &behind, &[work(3), work(4), work(5)]).await;
    assert!(!reset, "that device lost nothing");
    assert!(sync(&backend, busy, &ahead, &[]).await.0, "what it saw is in no history any more");
    assert!(!sync(&backend, quiet, &untouched, &[]).await.0);
    backend.stop().await;
}

/// A crash that takes the last commits along, as with `synchronous_commit = off`: the same timeline, and all within one hour.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_a_crash_took_is_noticed_after_it_was_overtaken() {
    // A session that has not ended changes no row of progress: its push is as silent as one can be.
    let silent = with(
        work(2),
        "values",
        json!({ "session_type": "practice", "started_at": "2026-04-02T10:00:00.000000Z" }),
    );
    for lost in [work(2), silent] {
        let folder = folder();
        let (data, earlier) = (folder.path().join("data"), folder.path().join("earlier"));
        let backend = start(&data).await;
        let (user, other) = (backend.new_user().await.id, backend.new_user().await.id);
        let (_, behind) = sync(&backend, user, &Value::Null, &[work(1)]).await;
        let (_, untouched) = sync(&backend, other, &Value::Null, &[work(1)]).await;
        backend.stop().await;
        copy(&data, &earlier);

        let backend = start(&data).await;
        let (_, ahead) = sync(&backend, user, &behind, &[lost]).await;
        backend.stop().await;
        std::fs::remove_dir_all(&data).expect("the folder goes");
        copy(&earlier, &data);

        let backend = start(&data).await;
        let (reset, _) = sync(&backend, user, &behind, &[work(3), work(4)]).await;
        assert!(!reset);
        assert!(sync(&backend, user, &ahead, &[]).await.0, "the push that it saw applied is gone");
        assert!(!sync(&backend, other, &untouched, &[]).await.0);
        backend.stop().await;
    }
}

/// Some hosts drop unlogged tables when they fail over.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_unlogged_tables_goes_on() {
    let backend = TestBackend::start().await;
    let user = backend.new_user().await.id;
    let (_, cursor) = sync(&backend, user, &Value::Null, &[work(1)]).await;
    let sql = backend.sql().await;
    let unlogged =
        "SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relpersistence = 'u' AND c.relkind = 'r'";
    let rows = sql.query(unlogged, &[]).await.expect("the tables");
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["marea.this_run"]);
    sql.batch_execute(&format!("DROP TABLE {}", names[0])).await.expect("dropped");
    let (reset, cursor) = sync(&backend, user, &cursor, &[]).await;
    assert!(!reset);
    sql.batch_execute("DROP TABLE marea.this_run").await.expect("it was made again");
    assert!(!sync(&backend, user, &cursor, &[work(2)]).await.0);
    backend.stop().await;
}

/// What a replica is asked, or a reader: the first one after a start finds no run, and may not begin one.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_only_read_pulls_after_a_restart() {
    let folder = folder();
    let data = folder.path().join("first");
    let backend = start(&data).await;
    let user = backend.new_user().await.id;
    let (_, cursor) = sync(&backend, user, &Value::Null, &[work(1)]).await;
    backend.stop().await;

    let backend = start(&data).await;
    let caller = Caller::of(&backend.ready().database_url, user).await;
    caller.client.batch_execute("SET default_transaction_read_only = on").await.expect("a reader");
    let answer = caller.sync(&request_after(&cursor, &[])).await;
    assert_eq!((&answer["reset"], &answer["rows"]), (&json!(false), &json!({})));
    let read = answer["cursor"].clone();
    // One of a history that this server has never had: told, and not noted.
    let ahead = read["epoch"].as_str().expect("an epoch").replacen('.', ".9", 1);
    assert_eq!(
        caller.sync(&request_after(&with(read.clone(), "epoch", json!(ahead)), &[])).await["reset"],
        true
    );
    // Whoever writes begins the run; the reader's cursor goes on there.
    let (reset, cursor) = sync(&backend, user, &read, &[work(2)]).await;
    assert!(!reset);
    let answer = caller.sync(&request_after(&cursor, &[])).await;
    assert_eq!(answer["reset"], false);
    let ahead = cursor["epoch"].as_str().expect("an epoch").replacen('.', ".9", 1);
    assert_eq!(caller.sync(&request_after(&with(cursor, "epoch", json!(ahead)), &[])).await["reset"], true);
    backend.stop().await;
}
