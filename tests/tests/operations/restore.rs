//! The server's past is replaced under running clients: they heal it, and nothing that any of them still keeps is lost.

use std::path::Path;
use std::process::Command;

use futures_util::{StreamExt as _, pin_mut};
use marea_backend::Options;
use marea_core::{SessionInput, Transport};
use marea_tests::backend::TestBackend;
use marea_tests::engine_device::{EngineDevice, at};
use tokio_postgres::Client;
use uuid::Uuid;

/// 2026-11-23T12:00:00Z.
const NOON_MS: i64 = 1_795_435_200_000;

fn record(device: &EngineDevice, sessions: usize, days_later: i64) {
    device.set_now(at(NOON_MS + days_later * 86_400_000));
    for _ in 0..sessions {
        device.record(SessionInput { duration_minutes: Some(10), ..SessionInput::new("practice") });
    }
}

async fn sync(backend: &TestBackend, user: Uuid, device: &EngineDevice) {
    let ready = backend.ready();
    device.set_token(backend.token(user, 3600));
    let transport = Transport::new(&ready.url, &ready.anon_key).expect("an address");
    let report = device.sync(&transport).await;
    assert_eq!((report.pending, report.rejected), (0, 0), "{report:?}");
}

async fn total(client: &Client, user: Uuid) -> i64 {
    let query = "SELECT total_sessions::bigint FROM public.user_progress WHERE user_id = $1";
    client.query_one(query, &[&user]).await.expect("a row").get(0)
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_is_healed_by_its_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let options = || Options { data: Some(data.clone()), ..Options::default() };

    let backend = TestBackend::start_with(options()).await;
    let user = backend.new_user().await.id;
    let devices = [(); 2].map(|()| EngineDevice::new(user.into(), backend.token(user, 3600), at(NOON_MS)));
    for (days, device) in devices.iter().enumerate() {
        record(device, 2, days as i64);
        sync(&backend, user, device).await;
    }
    backend.stop().await;
    copy(&data, &backup);

    // What comes now is in no backup.
    let backend = TestBackend::start_with(options()).await;
    for (days, device) in devices.iter().enumerate() {
        record(device, 3, 2 + days as i64);
        sync(&backend, user, device).await;
    }
    sync(&backend, user, &devices[0]).await;
    assert_eq!(total(&backend.sql().await, user).await, 10);
    backend.stop().await;

    std::fs::remove_dir_all(&data).expect("the folder goes");
    copy(&backup, &data);
    let backend = TestBackend::start_with(options()).await;
    assert_eq!(total(&backend.sql().await, user).await, 4, "the backup is older");
    record(&devices[0], 1, 4);
    for device in [&devices[0], &devices[1], &devices[0]] {
        sync(&backend, user, device).await;
    }
    let sql = backend.sql().await;
    assert_eq!(total(&sql, user).await, 11);
    for device in &devices {
        assert_eq!((device.progress().total_sessions, device.progress().longest_streak_days), (11, 5));
        assert_eq!(device.days().len(), 5);
    }
    drop(sql);
    backend.stop().await;
}

/// Nobody is ahead of the restored server any more when the device that was comes back: another one has overtaken it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_history_is_noticed_even_after_it_was_overtaken() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let options = || Options { data: Some(data.clone()), ..Options::default() };
    let backend = TestBackend::start_with(options()).await;
    let user = backend.new_user().await.id;
    let device = || EngineDevice::new(user.into(), backend.token(user, 3600), at(NOON_MS));
    let (busy, early) = (device(), device());
    for device in [&busy, &early] {
        record(device, 1, 0);
        sync(&backend, user, device).await;
    }
    backend.stop().await;
    copy(&data, &backup);

    let backend = TestBackend::start_with(options()).await;
    record(&busy, 2, 1);
    sync(&backend, user, &busy).await;
    backend.stop().await;

    std::fs::remove_dir_all(&data).expect("the folder goes");
    copy(&backup, &data);
    let backend = TestBackend::start_with(options()).await;
    let sql = backend.sql().await;
    for days in 0..5 {
        record(&early, 1, days);
        sync(&backend, user, &early).await;
    }
    sync(&backend, user, &busy).await;
    sync(&backend, user, &early).await;
    assert_eq!(total(&sql, user).await, 9);
    for device in [&busy, &early] {
        assert_eq!(device.progress().total_sessions, 9);
    }
    drop(sql);
    backend.stop().await;
}

/// A logical dump and restore: the rows of the app and of Marea in another cluster. Its history has another name.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_into_a_new_cluster_is_healed_by_its_clients() {
    let old = TestBackend::start().await;
    let user = old.new_user().await.id;
    let device = EngineDevice::new(user.into(), old.token(user, 3600), at(NOON_MS));
    record(&device, 4, 0);
    sync(&old, user, &device).await;

    let new = TestBackend::start().await;
    let (from, to) = (old.sql().await, new.sql().await);
    copy_rows(&from, &to).await;

    // Between the dump and the switch to the new cluster work still went to the old one.
    record(&device, 2, 1);
    sync(&old, user, &device).await;
    assert_eq!(total(&to, user).await, 4);
    sync(&new, user, &device).await;
    assert_eq!(total(&to, user).await, 6);
    let fresh = EngineDevice::new(user.into(), new.token(user, 3600), at(NOON_MS + 86_400_000));
    sync(&new, user, &fresh).await;
    for device in [&device, &fresh] {
        assert_eq!((device.progress().total_sessions, device.progress().current_streak_days), (6, 2));
    }
    drop((from, to));
    old.stop().await;
    new.stop().await;
}

/// All rows of the app and of Marea, as `pg_dump` and `pg_restore --data-only --disable-triggers` take them along: what a standby has
/// of unlogged tables nobody can read.
pub(crate) async fn copy_rows(from: &Client, to: &Client) {
    to.batch_execute("SET session_replication_role = replica").await.expect("a superuser");
    let query = "SELECT oid::regclass::text FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, 'marea'::regnamespace) AND relkind = 'r' AND relname <> 'pending'
          AND NOT (relpersistence = 'u' AND pg_is_in_recovery())";
    let rows = from.query(query, &[]).await.expect("the tables");
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    to.batch_execute(&format!("TRUNCATE {} CASCADE", tables.join(", "))).await.expect("empty tables");
    for table in &tables {
        restore(from, to, table).await;
    }
}

async fn restore(from: &Client, to: &Client, table: &str) {
    let rows = from.copy_out(&format!("COPY {table} TO STDOUT")).await.expect("a dump");
    let sink = to.copy_in(&format!("COPY {table} FROM STDIN")).await.expect("a restore");
    pin_mut!(rows, sink);
    while let Some(chunk) = rows.next().await {
        futures_util::SinkExt::send(&mut sink, chunk.expect("a chunk")).await.expect("a copy");
    }
    sink.finish().await.expect("the end of the copy");
}
