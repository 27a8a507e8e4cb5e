//! Wake-ups on the desktop: what one device writes another one shows without asking for it, through lost messages, cut sockets,
//! refused joins and tokens that end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use marea_backend::{Fault, FaultKind, Options};
use marea_core::{SessionInput, Signal, WakeUps};
use marea_native::{Client, Config};
use marea_tests::backend::{TestBackend, TestUser};
use marea_tests::wait::until;

/// A device of this user, whose tokens live for so long.
async fn device(backend: &Arc<TestBackend>, user: &TestUser, folder: &Path, ttl_seconds: i64) -> Client {
    let ready = backend.ready();
    let (tokens, id) = (Arc::clone(backend), user.id);
    let config = Config::new(folder, user.id.into()).server(&ready.url, &ready.anon_key);
    let config = config.tokens(move |_refused| std::future::ready(Some(tokens.token(id, ttl_seconds))));
    Client::open(config).await.expect("a client")
}

async fn joins(client: &Client, expected: WakeUps) {
    until("the socket is as expected", || async {
        client.status().await.expect("a status").wakeups == expected
    })
    .await;
}

async fn write(client: &Client) {
    client.record_session(SessionInput::new("qa")).await.expect("a session");
}

async fn shows(client: &Client, sessions: i64) {
    until("the sessions are shown", || async {
        client.progress().await.expect("progress").total_sessions == sessions
    })
    .await;
}

/// Messages are lost on the way, and nothing else.
fn lose(backend: &TestBackend, times: u32) {
    backend.faults().set(Fault::new(FaultKind::Offline, "/realtime/v1/message", times));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_shows_what_another_one_writes() {
    let backend = Arc::new(TestBackend::start_with(Options { wakeups: true, ..Options::default() }).await);
    let user = backend.new_user().await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = device(&backend, &user, folders[0].path(), 3600).await;
    // Its tokens end every few seconds: each is replaced, or the next join brings another.
    let other = device(&backend, &user, folders[1].path(), 4).await;
    joins(&one, WakeUps::Joined).await;
    joins(&other, WakeUps::Joined).await;
    for sessions in 1..=5 {
        write(&one).await;
        shows(&other, sessions).await;
    }
    write(&other).await;
    shows(&one, 6).await;

    // A lost message: the next one brings both, and so does a join.
    lose(&backend, 2);
    write(&one).await;
    until("the message is lost", || async { backend.faults().list().first().is_some_and(|it| it.fired > 0) })
        .await;
    backend.faults().clear();
    write(&one).await;
    shows(&other, 8).await;
    lose(&backend, 1_000_000);
    write(&one).await;
    until("both messages are lost", || async {
        backend.faults().list().first().is_some_and(|it| it.fired >= 2)
    })
    .await;
    backend.faults().clear();
    backend.cut_sockets();
    shows(&other, 9).await;
    joins(&other, WakeUps::Joined).await;

    // The app forbids the network, and allows it again.
    other.set_online(false).await.unwrap();
    joins(&other, WakeUps::Joining).await;
    until("its socket is closed", || async { backend.joined() == 1 }).await;
    write(&one).await;
    other.set_online(true).await.unwrap();
    shows(&other, 10).await;
    joins(&other, WakeUps::Joined).await;

    // Who does not want it has no socket.
    let ready = backend.ready();
    let token = backend.token(user.id, 3600);
    let config = Config::new(folders[2].path(), user.id.into()).server(&ready.url, &ready.anon_key);
    let config = config.tokens(move |_refused| std::future::ready(Some(token.clone()))).wakeups(false);
    let quiet = Client::open(config).await.unwrap();
    shows(&quiet, 10).await;
    assert_eq!(quiet.status().await.unwrap().wakeups, WakeUps::Off);
    for client in [one, other, quiet] {
        client.shutdown(Duration::ZERO).await.unwrap();
    }
    until("all sockets are closed", || async { backend.joined() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_goes_on_syncing_and_is_not_a_nuisance() {
    let backend = Arc::new(TestBackend::start_with(Options { wakeups: true, ..Options::default() }).await);
    let (user, database) = (backend.new_user().await, backend.sql().await);
    database.batch_execute("DROP POLICY marea_wakeups_select ON realtime.messages").await.expect("no policy");
    let folder = tempfile::tempdir().unwrap();
    let client = device(&backend, &user, folder.path(), 3600).await;
    joins(&client, WakeUps::Refused).await;
    write(&client).await;
    until("it has arrived", || async { client.status().await.unwrap().pending == 0 }).await;
    for signal in [Signal::Online, Signal::Visible, Signal::NewToken] {
        client.signal(signal).await.unwrap();
    }
    client.sync().await.unwrap();
    assert_eq!(client.status().await.unwrap().wakeups, WakeUps::Refused);
    // Switched off and on, it is right again.
    for (wanted, expected) in [(false, WakeUps::Off), (true, WakeUps::Joined)] {
        database.execute("SELECT marea.set_wakeups($1)", &[&wanted]).await.expect("switched");
        client.sync().await.unwrap();
        joins(&client, expected).await;
    }
    // A server in trouble is asked again, a little later each time.
    backend.faults().set(Fault::new(FaultKind::Status, "/realtime/v1/join", 2).with_status(503));
    backend.faults().set(Fault::new(FaultKind::Status, "/realtime/v1/websocket", 1));
    backend.cut_sockets();
    until("all have been met", || async { backend.faults().list().iter().all(|it| it.fired > 0) }).await;
    joins(&client, WakeUps::Joined).await;
    client.shutdown(Duration::ZERO).await.unwrap();
}
