//! The desktop client with its background sync, against the real server: alone, beside the `marea` command on the same mirror,
//! without a network for a while, and with a sign-in that ends.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use marea_native::auth::{self, Accounts, RememberedAccount, Secret};
use marea_native::{
    Client, Config, Connection, Failure, Outcome, Progress, SessionInput, Signal, StaticToken, TokenFuture,
    TokenSource, TryTokenFuture, Watch,
};
use marea_tests::backend::SYNC;
use marea_tests::command::Device;
use marea_tests::wait::{BOUND, until};
use marea_tests::world::{Fault, FaultKind, PASSWORD, World};

fn session(minutes: i32) -> SessionInput {
    SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("practice") }
}

/// An app of learner 1 on this folder, which syncs by itself.
async fn app(world: &World, dir: &Path) -> Client {
    let ready = world.backend().ready();
    let config = Config::new(dir, world.learner(1).into()).server(&ready.url, &ready.anon_key);
    Client::open(config.tokens(StaticToken::new(world.token(1, 3600)))).await.expect("a client")
}

async fn shows(progress: &mut Watch<Progress>, what: &str, holds: impl Fn(&Progress) -> bool) {
    let look = async {
        while let Some(progress) = progress.next().await {
            if holds(&progress) {
                return;
            }
        }
        panic!("it ended before: {what}");
    };
    tokio::time::timeout(BOUND, look).await.unwrap_or_else(|_| panic!("not within {BOUND:?}: {what}"));
}

async fn pending(client: &Client) -> u32 {
    client.status().await.expect("a status").pending
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_sent_without_being_asked_and_another_devices_is_fetched() {
    let world = World::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let client = app(&world, folder.path()).await;
    let mut progress = client.watch_progress().await.unwrap();
    client.record_session(session(7)).await.unwrap();
    until("the session is in Postgres", || async { world.total_sessions_of(1).await == 1 }).await;
    until("and known to be", || async { pending(&client).await == 0 }).await;

    let other = world.device_of(1);
    other.record(&["--minutes", "30"]).await;
    other.json(&["sync"]).await;
    // What a window does that is shown again. Otherwise the client looks every few minutes.
    client.signal(Signal::Visible).await.unwrap();
    shows(&mut progress, "both devices' sessions", |progress| progress.total_time_spent_minutes == 37).await;
    assert_eq!(client.shutdown(Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_app_and_the_command_work_on_one_mirror() {
    let world = World::shared().await;
    let device = world.device_of(1);
    let client = app(&world, &device.dir()).await;
    let mut progress = client.watch_progress().await.unwrap();

    // The command records, the app sees it, and sends it.
    device.record(&["--minutes", "5"]).await;
    shows(&mut progress, "the command's session in the app", |progress| progress.total_sessions == 1).await;
    until("the app has sent it", || async { world.total_sessions_of(1).await == 1 }).await;

    // Both at once, both syncing.
    let commands = async {
        for _ in 0..8 {
            device.record(&["--minutes", "1"]).await;
            device.json(&["sync"]).await;
        }
    };
    let app = async {
        for _ in 0..40 {
            client.record_session(session(1)).await.unwrap();
        }
    };
    tokio::join!(commands, app);
    until("all have arrived", || async { world.total_sessions_of(1).await == 49 }).await;
    until("nothing waits", || async { pending(&client).await == 0 }).await;
    shows(&mut progress, "all sessions in the app", |progress| progress.total_sessions == 49).await;
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 49);
    assert_eq!(world.sessions_of(1).await.len(), 49, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_it_waits_and_a_signal_ends_the_wait() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().unwrap();
    world.fault(Fault::new(FaultKind::Offline, SYNC, 1_000));
    let client = app(&world, folder.path()).await;
    client.record_session(session(7)).await.unwrap();
    until("it knows that it is offline", || async {
        let status = client.status().await.unwrap();
        status.connection == Connection::Offline && status.last_error.is_some()
    })
    .await;
    assert_eq!(pending(&client).await, 1);
    world.clear_faults();
    client.signal(Signal::Online).await.unwrap();
    until("it has arrived", || async { world.total_sessions_of(1).await == 1 }).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_sends_what_waits_and_takes_no_longer_than_it_may() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().unwrap();
    let ready = world.backend().ready();
    let config = Config::new(folder.path(), world.learner(1).into()).server(&ready.url, &ready.anon_key);
    let config = config.tokens(StaticToken::new(world.token(1, 3600))).background_sync(false);
    let client = Client::open(config.clone()).await.unwrap();
    client.record_session(session(7)).await.unwrap();
    assert_eq!(client.shutdown(BOUND).await.unwrap(), 0);
    assert_eq!(world.total_sessions_of(1).await, 1);

    // A server that takes the request and is silent for longer than anybody waits.
    world.fault(Fault::new(FaultKind::Delay, SYNC, 1).with_delay_ms(20_000));
    let client = Client::open(config.clone()).await.unwrap();
    client.record_session(session(7)).await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(client.shutdown(Duration::from_millis(200)).await.unwrap(), 1, "kept");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    world.clear_faults();
    let client = Client::open(config).await.unwrap();
    client.sync().await.unwrap();
    assert_eq!(world.total_sessions_of(1).await, 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_was_used_up_elsewhere_is_asked_for_again_and_keeps_the_queue() {
    let world = World::shared_with_accounts().await;
    let (ready, email) = (world.backend().ready(), world.email(1).await);
    let device: Device = world.device().with("MAREA_EMAIL", &email).with("MAREA_PASSWORD", PASSWORD);
    let password = Secret::new(PASSWORD);
    let account = auth::sign_in(&ready.url, &ready.anon_key, &email, &password).await.unwrap();
    // Somebody with a copy of this folder has used the refresh token up; and the access token is spent.
    let call = world.backend().call(reqwest::Method::POST, "/auth/v1/token?grant_type=refresh_token");
    let spent = serde_json::json!({ "refresh_token": account.refresh_token.expose() });
    assert!(call.json(&spent).send().await.unwrap().status().is_success());
    let ended = auth::Account { expires_at: 1, ..account.clone() };
    Accounts::remember(&device.dir(), ended.clone()).unwrap();

    let source = RememberedAccount::new(&device.dir(), ended, None);
    let config = Config::new(device.dir(), account.user_id).server(&ready.url, &ready.anon_key);
    let client = Client::open(config.tokens(source.clone())).await.unwrap();
    client.record_session(session(7)).await.unwrap();
    until("it asks to sign in again", || async {
        let error = client.status().await.unwrap().last_error;
        error.is_some_and(|error| error.code == "unauthorized")
    })
    .await;
    assert!(matches!(source.take_problem(), Some(marea_native::Error::SignInEnded)));
    assert_eq!((pending(&client).await, world.total_sessions_of(1).await), (1, 0), "the queue is kept");

    // Signing in with another program is enough: the open app notices, and goes on.
    let renewed = auth::sign_in(&ready.url, &ready.anon_key, &email, &password).await.unwrap();
    Accounts::remember(&device.dir(), renewed).unwrap();
    until("it has arrived", || async { world.total_sessions_of(1).await == 1 }).await;

    // Signing out ends the session at the server and on the device, and keeps the mirror.
    let account = Accounts::load(&device.dir()).unwrap().all()[0].clone();
    assert!(auth::sign_out(&device.dir(), &account).await.unwrap(), "the server has heard of it");
    assert!(Accounts::load(&device.dir()).unwrap().all().is_empty());
    let call = world.backend().call(reqwest::Method::POST, "/auth/v1/token?grant_type=refresh_token");
    let ended = serde_json::json!({ "refresh_token": account.refresh_token.expose() });
    assert!(call.json(&ended).send().await.unwrap().status().is_client_error());
    assert_eq!(client.progress().await.unwrap().total_sessions, 1);
}

/// How many requests of a sync have come to the server since [`count_requests`].
fn requests(world: &World) -> u32 {
    world.backend().faults().list().iter().map(|fault| fault.fired).sum()
}

/// Counts them from now on, and does nothing to them.
fn count_requests(world: &World) {
    world.fault(Fault { times: None, ..Fault::new(FaultKind::Delay, SYNC, 0) });
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_app_forbids_the_network_no_request_begins_not_even_of_a_round_under_way() {
    let world = World::alone().await;
    let folder = tempfile::tempdir().unwrap();
    let ready = world.backend().ready();
    count_requests(&world);
    // The client asks for a token, and gets it only when the test says so.
    let (asked, gate) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Semaphore::new(0)));
    let token = world.token(1, 3600);
    let source = {
        let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
        move |_| {
            let (asked, gate, token) = (Arc::clone(&asked), Arc::clone(&gate), token.clone());
            async move {
                asked.notify_one();
                gate.acquire_owned().await.ok()?.forget();
                Some(token)
            }
        }
    };
    let config = Config::new(folder.path(), world.learner(1).into()).server(&ready.url, &ready.anon_key);
    let client = Client::open(config.tokens(source)).await.unwrap();
    client.record_session(session(7)).await.unwrap();
    asked.notified().await;
    client.set_online(false).await.unwrap();
    gate.add_permits(1);
    // It waits for the round that was under way, and is forbidden itself.
    assert_eq!(client.sync().await.unwrap().outcome, Outcome::Offline);
    let status = client.status().await.unwrap();
    assert_eq!((status.paused, status.online, status.pending, requests(&world)), (true, false, 1, 0));
    client.signal(Signal::Visible).await.unwrap();
    assert_eq!(client.sync().await.unwrap().outcome, Outcome::Offline);
    assert_eq!(requests(&world), 0);

    gate.add_permits(1_000);
    client.set_online(true).await.unwrap();
    until("it has arrived", || async { world.total_sessions_of(1).await == 1 }).await;
    until("and the client knows", || async { pending(&client).await == 0 }).await;
    let status = client.status().await.unwrap();
    assert_eq!((status.paused, status.online), (false, true));
    client.shutdown(Duration::ZERO).await.unwrap();

    // Opened so, it does not begin either.
    world.clear_faults();
    count_requests(&world);
    let config = Config::new(folder.path(), world.learner(1).into()).server(&ready.url, &ready.anon_key);
    let config = config.tokens(StaticToken::new(world.token(1, 3600))).online(false);
    let client = Client::open(config).await.unwrap();
    client.record_session(session(7)).await.unwrap();
    assert_eq!(client.sync().await.unwrap().outcome, Outcome::Offline);
    assert_eq!((requests(&world), pending(&client).await), (0, 1));
    client.shutdown(Duration::ZERO).await.unwrap();
    world.stop().await;
}

/// A source that cannot say at first.
struct Hesitant {
    asked: AtomicU32,
    token: String,
}

impl TokenSource for Hesitant {
    fn access_token(&self, refused: bool) -> TokenFuture<'_> {
        Box::pin(async move { self.try_access_token(refused).await.ok().flatten() })
    }

    fn try_access_token(&self, _refused: bool) -> TryTokenFuture<'_> {
        let answer = match self.asked.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Failure::TokenUnavailable),
            _ => Ok(Some(self.token.clone())),
        };
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_cannot_give_a_token_now_is_asked_again() {
    let world = World::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let ready = world.backend().ready();
    let config = Config::new(folder.path(), world.learner(1).into()).server(&ready.url, &ready.anon_key);
    let source = Hesitant { asked: AtomicU32::new(0), token: world.token(1, 3600) };
    let client = Client::open(config.tokens(source)).await.unwrap();
    client.record_session(session(7)).await.unwrap();
    until("it has arrived", || async { world.total_sessions_of(1).await == 1 }).await;
}

/// The turn of a sync is every program's.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_never_answers_for_a_token_holds_nobody_up() {
    let world = World::shared().await;
    let folder = tempfile::tempdir().unwrap();
    let ready = world.backend().ready();
    let config = Config::new(folder.path(), world.learner(1).into()).server(&ready.url, &ready.anon_key);
    let silent = Client::open(config.tokens(|_| std::future::pending())).await.unwrap();
    silent.record_session(session(7)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), silent.sync()).await.expect("it ends").unwrap();
    assert_eq!(silent.status().await.unwrap().last_error.unwrap().code, "token_unavailable");
    let other = app(&world, folder.path()).await;
    let report = tokio::time::timeout(Duration::from_secs(50), other.sync()).await.expect("its turn");
    assert_eq!((report.unwrap().outcome, world.total_sessions_of(1).await), (Outcome::Done, 1));
    silent.shutdown(Duration::ZERO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_nobody_waits_for_any_more_keeps_the_new_token() {
    let world = World::alone().await;
    let (ready, folder) = (world.backend().ready(), tempfile::tempdir().unwrap());
    let (email, password) = (world.email(1).await, Secret::new(PASSWORD));
    let account = auth::sign_in(&ready.url, &ready.anon_key, &email, &password).await.unwrap();
    let ended = auth::Account { expires_at: 1, ..account.clone() };
    Accounts::remember(folder.path(), ended.clone()).unwrap();
    let source = RememberedAccount::new(folder.path(), ended, None);
    world.fault(Fault::new(FaultKind::Delay, "/auth/v1/token", 1).with_delay_ms(1_000));
    let given_up = tokio::time::timeout(Duration::from_millis(300), source.access_token(false)).await;
    assert!(given_up.is_err(), "it takes a second");
    let kept = || Accounts::load(folder.path()).unwrap().all()[0].clone();
    until("the new token is kept", || async { kept().refresh_token != account.refresh_token }).await;
    assert_eq!(source.access_token(false).await.as_deref(), Some(kept().access_token.expose()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_cannot_be_opened_with_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().unwrap();
    let config = || Config::new(folder.path().join("made"), user);
    let tokens = || StaticToken::new("e30.e30.x");
    let server = "https://x.supabase.co";
    for (config, told) in [
        (config().server(format!("{server}/rest/v1"), "key").tokens(tokens()), "url: "),
        (config().server("x.supabase.co", "key").tokens(tokens()), "url: "),
        (config().server(server, "").tokens(tokens()), "publishable_key: "),
        (config().server(server, "key"), "Config::tokens"),
        (config().tokens(tokens()), "Config::server"),
    ] {
        let error = Client::open(config).await.expect_err(told);
        assert_eq!(error.code(), "invalid_input", "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    assert!(!folder.path().join("made").exists(), "nothing was made");
}
