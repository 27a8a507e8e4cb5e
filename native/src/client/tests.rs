//! The client without a server: calls from anywhere, watching, two clients on one file, and the end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::{EventInput, SessionInput, block_on};

fn user() -> UserId {
    "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().unwrap()
}

fn session(minutes: i32) -> SessionInput {
    SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("practice") }
}

fn open(dir: &Path) -> Client {
    block_on(Client::open(Config::new(dir, user()))).unwrap()
}

fn shared_by_threads<T: Send + Sync + Clone + 'static>() {}
fn sent<T: Send>(_: &T) {}

#[test]
fn a_client_can_be_shared_by_threads_and_its_calls_spawned() {
    shared_by_threads::<Client>();
    let _checked_by_the_compiler = |client: Client| {
        sent(&client.sync());
        sent(&client.progress());
        sent(&client.watch_progress());
    };
}

#[test]
fn what_was_recorded_is_there_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir.path().join("made"));
    let recorded = block_on(first.record_session(session(5))).unwrap();
    assert_eq!(block_on(first.clone().shutdown(Duration::ZERO)).unwrap(), 1);
    assert_eq!(block_on(first.progress()).unwrap_err().code(), "closed");
    assert_eq!(block_on(first.shutdown(Duration::ZERO)).unwrap_err().code(), "closed");

    let second = open(&dir.path().join("made"));
    let again =
        block_on(second.record_session(SessionInput { id: Some(recorded.id), ..session(5) })).unwrap();
    assert_eq!((again.id, again.pending), (recorded.id, 1));
    assert_eq!(block_on(second.progress()).unwrap().total_sessions, 1);
    assert_eq!(block_on(second.activity(second.today(), second.today())).unwrap().len(), 1);
    assert_eq!(block_on(second.status()).unwrap().pending, 1);
}

#[test]
fn syncing_without_a_server_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path());
    assert!(matches!(block_on(client.sync()), Err(Error::NotConfigured { missing: "server" })));
    // Nothing waits for it at the end either.
    block_on(client.record_session(session(1))).unwrap();
    assert_eq!(block_on(client.shutdown(Duration::from_secs(60))).unwrap(), 1);
}

#[tokio::test]
async fn many_tasks_write_at_once_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::open(Config::new(dir.path(), user())).await.unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.record_session(session(2)).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let progress = client.progress().await.unwrap();
    assert_eq!((progress.total_sessions, progress.total_time_spent_minutes), (50, 100));
}

#[test]
fn who_watches_sees_what_is_now_and_the_last_of_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path());
    let mut progress = block_on(client.watch_progress()).unwrap();
    let mut status = block_on(client.watch_status()).unwrap();
    assert_eq!(block_on(progress.next()).unwrap().total_sessions, 0);
    assert_eq!(block_on(status.next()).unwrap().pending, 0);
    for _ in 0..10 {
        block_on(client.record_event(EventInput { points: 3, ..EventInput::default() })).unwrap();
    }
    // Nobody read in between: only the last value is left, and the writer waited for nobody.
    assert_eq!(block_on(progress.next()).unwrap().total_points, 30);
    assert_eq!(block_on(status.next()).unwrap().pending, 10);
    block_on(client.shutdown(Duration::ZERO)).unwrap();
    assert_eq!(block_on(progress.next()), None, "it ends with the client");
}

#[test]
fn another_programs_write_is_seen_by_who_watches() {
    let dir = tempfile::tempdir().unwrap();
    let (app, command) = (open(dir.path()), open(dir.path()));
    let mut progress = block_on(app.watch_progress()).unwrap();
    assert_eq!(block_on(progress.next()).unwrap().total_sessions, 0);
    block_on(command.record_session(session(4))).unwrap();
    assert_eq!(block_on(progress.next()).unwrap().total_sessions, 1);
    block_on(command.record_session(session(4))).unwrap();
    assert_eq!(block_on(progress.next()).unwrap().total_sessions, 2);
}

#[test]
fn the_last_handle_closes_the_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path());
    let mut progress = block_on(client.watch_progress()).unwrap();
    block_on(progress.next()).unwrap();
    drop(client);
    assert_eq!(block_on(progress.next()), None);
}

#[test]
fn an_erased_mirror_is_gone_and_one_in_use_is_not_erased() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (open(dir.path()), open(dir.path()));
    block_on(first.record_session(session(5))).unwrap();
    assert_eq!(block_on(first.erase()).unwrap_err().code(), "mirror_locked");
    assert_eq!(block_on(second.progress()).unwrap().total_sessions, 1, "nothing was lost");
    assert_eq!(crate::users_of(dir.path()).unwrap(), [user()]);
    assert_eq!(block_on(second.erase()).unwrap(), 1, "what went unsent");
    assert!(crate::users_of(dir.path()).unwrap().is_empty());
    assert_eq!(block_on(open(dir.path()).progress()).unwrap().total_sessions, 0);
}

#[test]
fn a_mirror_that_cannot_be_opened_is_an_error_of_open() {
    let dir = tempfile::tempdir().unwrap();
    let opened = |dir| block_on(Client::open(Config::new(dir, user()))).unwrap_err();
    std::fs::write(dir.path().join("file"), "not a folder").unwrap();
    assert_eq!(opened(dir.path().join("file")).code(), "storage_failed");
    let other = dir.path().join(format!("{}.sqlite3", user()));
    std::fs::create_dir(&other).unwrap();
    assert_eq!(opened(dir.path().to_owned()).code(), "storage_failed");
}

/// A closed mirror with so many sessions in its queue, and one of their ids.
fn filled(dir: &Path, sessions: usize) -> (PathBuf, String) {
    let client = open(dir);
    let ids: Vec<_> =
        (0..sessions).map(|_| block_on(client.record_session(session(1))).unwrap().id).collect();
    block_on(client.shutdown(Duration::ZERO)).unwrap();
    (client.mirror_path().to_owned(), ids[sessions / 2].to_string())
}

/// Spoils the pages that an id is on.
fn spoil(mirror: &Path, id: &str) {
    let mut bytes = std::fs::read(mirror).unwrap();
    let found: Vec<usize> =
        (0..bytes.len() - id.len()).filter(|at| bytes[*at..].starts_with(id.as_bytes())).collect();
    assert!(!found.is_empty());
    for at in found {
        let page = at / 4096 * 4096;
        bytes[page..page + 4096].fill(0xff);
    }
    std::fs::write(mirror, bytes).unwrap();
}

#[test]
fn a_damaged_mirror_is_set_aside_and_its_queue_is_in_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, _) = filled(dir.path(), 3);
    let mut damaged = std::fs::read(&mirror).unwrap();
    damaged[..16].fill(b'x');
    std::fs::write(&mirror, &damaged).unwrap();
    let client = open(dir.path());
    let status = block_on(client.status()).unwrap();
    assert_eq!((status.pending, status.last_error.unwrap().code.as_str()), (3, "mirror_set_aside"));
    assert_eq!(block_on(client.progress()).unwrap().total_sessions, 3);
    let aside = client.set_aside();
    assert_eq!((aside.len(), std::fs::read(&aside[0]).unwrap()), (1, damaged), "as it was");
    #[cfg(unix)]
    for entry in std::fs::read_dir(dir.path()).unwrap().flatten() {
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
        let name = entry.file_name().to_string_lossy().into_owned();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

#[test]
fn what_a_program_saved_of_a_damaged_mirror_and_died_is_restored_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, _) = filled(dir.path(), 3);
    let mut damaged = std::fs::read(&mirror).unwrap();
    damaged[..100].fill(0);
    std::fs::write(&mirror, &damaged).unwrap();
    drop(open(dir.path()));
    // As it was before the queue was in the fresh mirror: there is only the document.
    let of = |ending: &str| std::path::PathBuf::from(format!("{}{ending}", mirror.display()));
    for made in [mirror.clone(), of("-wal"), of("-shm")] {
        let _ = std::fs::remove_file(made);
    }
    let beside = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.path());
    let document = beside.into_iter().find(|path| path.to_string_lossy().ends_with(".rescued.json")).unwrap();
    let unrestored = document.to_string_lossy().replace(".rescued.json", ".unrestored.json");
    std::fs::rename(&document, unrestored).unwrap();
    let client = open(dir.path());
    let status = block_on(client.status()).unwrap();
    assert_eq!((status.pending, status.last_error.unwrap().code.as_str()), (3, "mirror_set_aside"));
    assert!(document.exists(), "and is noted to be");
}

#[test]
fn damage_that_shows_while_the_mirror_is_open_is_met_by_a_fresh_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, id) = filled(dir.path(), 200);
    spoil(&mirror, &id);
    let client = open(dir.path());
    let mut progress = block_on(client.watch_progress()).unwrap();
    assert_eq!(
        block_on(client.pending()).unwrap_err().code(),
        "mirror_corrupt",
        "the call that met it is told"
    );
    let left = block_on(client.pending()).unwrap().len();
    assert!((150..200).contains(&left), "{left}");
    block_on(client.record_session(session(1))).unwrap();
    assert_eq!(block_on(client.status()).unwrap().pending as usize, left + 1);
    let seen = block_on(progress.next()).unwrap().total_sessions;
    assert_eq!(usize::try_from(seen).unwrap(), left + 1, "who watched before goes on watching");
    assert_eq!(client.set_aside().len(), 1);
}

#[test]
fn a_damaged_mirror_is_not_moved_from_under_another_program() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, id) = filled(dir.path(), 200);
    spoil(&mirror, &id);
    let (first, second) = (open(dir.path()), open(dir.path()));
    for client in [&first, &second] {
        assert_eq!(block_on(client.pending()).unwrap_err().code(), "mirror_corrupt");
        assert!(client.set_aside().is_empty());
    }
    block_on(first.shutdown(Duration::ZERO)).unwrap();
    block_on(second.shutdown(Duration::ZERO)).unwrap();
    // What opens without complaint is looked at closely, because somebody has met damage.
    let client = open(dir.path());
    assert_eq!(client.set_aside().len(), 1);
    let left = block_on(client.pending()).unwrap().len();
    assert!(left >= 150);
    // Whoever erases a mirror erases what was set aside of it.
    assert_eq!(block_on(client.erase()).unwrap() as usize, left);
    let rest = std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name());
    let rest: Vec<_> = rest.filter(|name| name.to_string_lossy().contains("damaged")).collect();
    assert!(rest.is_empty(), "{rest:?}");
}

/// A place for all that is traced.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_traced_says_what_happened_and_nothing_of_the_learners() {
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || to.clone())
        .finish();
    // For the whole test program: the engine has a thread of its own.
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(dir.path(), user()).server("http://127.0.0.1:1", "anon-secret");
    let client = block_on(Client::open(config.tokens(crate::StaticToken::new("token-secret")))).unwrap();
    let mut secret = session(1);
    secret.session_data = Some(serde_json::Map::from_iter([("note".to_owned(), "diary-secret".into())]));
    block_on(client.record_session(secret)).unwrap();
    block_on(client.sync()).unwrap();
    block_on(client.shutdown(Duration::ZERO)).unwrap();

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("marea_sync") && text.contains("synced"), "{text}");
    for secret in ["diary-secret", "token-secret", "anon-secret", &user().to_string()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn a_vault_that_nobody_asks_anything_locks_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path());
    let vault = client.vault();
    block_on(vault.set_up(&crate::Passphrase::new("orbit velvet canoe".into()).unwrap())).unwrap();
    // Looking at the time is no use of the vault, and locks nothing.
    let locks_at = || block_on(client.call(|engine| Ok(engine.vault_locks_at()))).unwrap();
    assert!(locks_at().is_some(), "after a quarter of an hour, unless told otherwise");
    block_on(vault.lock_after(None)).unwrap();
    assert_eq!(locks_at(), None);
    block_on(vault.lock_after(Some(Duration::from_millis(30)))).unwrap();
    let bound = clock::now().unix_ms.plus_ms(60_000);
    while locks_at().is_some() {
        assert!(clock::now().unix_ms < bound, "it stays open");
        std::thread::yield_now();
    }
    assert_eq!(block_on(vault.status()).unwrap().state, crate::VaultState::Locked);
}

/// Nobody writes anything; the streak of yesterday ends all the same.
#[tokio::test]
async fn who_watches_is_told_when_a_new_day_begins() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::open(Config::new(dir.path(), user())).await.unwrap();
    let today = client.call(|_| {
        clock::shift::to_before_midnight(1_000);
        Ok(clock::now().local_date())
    });
    let yesterday = today.await.unwrap().previous();
    client.record_session(SessionInput { local_date: Some(yesterday), ..session(5) }).await.unwrap();
    let mut watched = client.watch_progress().await.unwrap();
    let midnight = async { while watched.next().await.unwrap().current_streak_days != 0 {} };
    tokio::time::timeout(Duration::from_secs(60), midnight).await.expect("a new day is told");
    client.shutdown(Duration::ZERO).await.unwrap();
}

#[test]
fn a_queue_is_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(&dir.path().join("made"));
    block_on(client.record_session(session(5))).unwrap();
    let path = dir.path().join("queue.json");
    assert_eq!(block_on(client.write_queue_to(&path)).unwrap().pending, 1);
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(written["pending"].as_array().map(Vec::len), Some(1));
    let refused = block_on(client.write_queue_to(&path)).unwrap_err();
    assert_eq!(refused.code(), "storage_failed");
    assert!(refused.to_string().contains("queue.json"), "{refused}");

    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(block_on(client.write_queue(Full, "")).unwrap_err().code(), "storage_failed");
    assert!(
        block_on(client.retry_all()).unwrap().is_empty()
            && block_on(client.discard_all()).unwrap().is_empty()
    );
}

#[test]
fn a_new_passphrase_that_is_refused_is_no_guess_at_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let client = open(&dir.path().join("made"));
    let passphrase = |text: &str| crate::Passphrase::new(text.into()).unwrap();
    let (vault, right) = (client.vault(), passphrase("orbit velvet canoe drum"));
    block_on(vault.set_up(&right)).unwrap();
    for _ in 0..12 {
        let refused = block_on(vault.change_passphrase(&right, &passphrase("too short"))).unwrap_err();
        assert_eq!(refused.code(), "invalid_input");
    }
    block_on(vault.lock()).unwrap();
    block_on(vault.unlock(&right)).unwrap();
}
