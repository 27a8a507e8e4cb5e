//! `/realtime/v1/websocket`: both forms of its frames, who may join, tokens that end, and what its faults do.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use marea_backend::{Fault, FaultKind, Options};
use marea_tests::backend::{TestBackend, TestUser};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

/// Long enough on any machine; nothing waits for it where all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that speaks one form of the protocol.
struct Socket {
    raw: WebSocketStream<MaybeTlsStream<TcpStream>>,
    version: u8,
    next: u32,
}

impl Socket {
    async fn open(backend: &TestBackend, version: u8) -> Socket {
        let url = url(backend, &backend.ready().anon_key, &format!("{version}.0.0"));
        Socket { raw: connect_async(url).await.expect("a socket").0, version, next: 0 }
    }

    async fn send(&mut self, topic: &str, event: &str, payload: Value) -> String {
        self.next += 1;
        let reference = self.next.to_string();
        let frame = match self.version {
            1 => {
                json!({ "topic": topic, "event": event, "payload": payload, "ref": reference, "join_ref": "1" })
            }
            _ => json!(["1", reference, topic, event, payload]),
        };
        self.raw.send(Message::text(frame.to_string())).await.expect("sent");
        reference
    }

    /// The next frame, as topic, event and payload; `None` when the connection has ended.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        let raw = tokio::time::timeout(PATIENCE, self.raw.next()).await.expect("in time");
        let Some(Ok(Message::Text(text))) = raw else { return None };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        let [topic, event, payload] = match self.version {
            1 => ["topic", "event", "payload"].map(|name| frame[name].clone()),
            _ => [2, 3, 4].map(|at| frame[at].clone()),
        };
        let text = |it: Value| it.as_str().expect("a text").to_owned();
        Some((text(topic), text(event), payload))
    }

    /// Joins a topic; what the reply says.
    async fn join(&mut self, topic: &str, token: &str) -> Value {
        let config = json!({ "private": true, "broadcast": { "self": false, "replication_ready": true } });
        let payload = json!({ "config": config, "access_token": token });
        self.send(&format!("realtime:{topic}"), "phx_join", payload).await;
        let (_, event, payload) = self.next().await.expect("a reply");
        assert_eq!(event, "phx_reply");
        payload
    }

    /// Joins its own topic, and is told that the database is listened to.
    async fn join_own(&mut self, user: &TestUser) {
        assert_eq!(self.join(&own(user), &user.token).await["status"], "ok");
        let (_, event, payload) = self.next().await.expect("a system message");
        assert_eq!((event.as_str(), &payload["status"]), ("system", &json!("ok")));
    }

    async fn next_version(&mut self) -> i64 {
        let (_, event, payload) = self.next().await.expect("a message");
        assert_eq!((event.as_str(), &payload["event"]), ("broadcast", &json!("changed")));
        payload["payload"]["version"].as_i64().expect("a version")
    }
}

fn url(backend: &TestBackend, key: &str, vsn: &str) -> String {
    let base = backend.ready().url.replacen("http", "ws", 1);
    format!("{base}/realtime/v1/websocket?apikey={key}&vsn={vsn}")
}

fn own(user: &TestUser) -> String {
    format!("marea:{}", user.id)
}

/// A change of this user; the version that it took.
async fn change(backend: &TestBackend, user: &TestUser) -> i64 {
    let client = backend.sql().await;
    let statement = "INSERT INTO public.sessions (user_id, ended_at) VALUES ($1, now())";
    client.execute(statement, &[&user.id]).await.expect("a session");
    client
        .query_one("SELECT version FROM marea.clocks WHERE user_id = $1", &[&user.id])
        .await
        .expect("a clock")
        .get(0)
}

async fn awake() -> TestBackend {
    TestBackend::start_with(Options { wakeups: true, ..Options::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_to_whom_it_concerns_in_both_forms() {
    let backend = awake().await;
    let (ada, eve) = (backend.new_user().await, backend.new_user().await);
    for (key, vsn, status) in [
        ("nobody's", "1.0.0", StatusCode::UNAUTHORIZED),
        (backend.ready().anon_key.as_str(), "9.0.0", StatusCode::BAD_REQUEST),
    ] {
        let refused = connect_async(url(&backend, key, vsn)).await.err();
        assert!(matches!(&refused, Some(Error::Http(it)) if it.status() == status.as_u16()), "{refused:?}");
    }
    for version in [1, 2] {
        let mut socket = Socket::open(&backend, version).await;
        let mut other = Socket::open(&backend, version).await;
        socket.join_own(&ada).await;
        other.join_own(&eve).await;
        assert_eq!(socket.next_version_after(change(&backend, &ada)).await, 0);
        let theirs = change(&backend, &eve).await;
        assert_eq!(other.next_version().await, theirs, "only the own one");
        socket.send("phoenix", "heartbeat", json!({})).await;
        let (topic, event, payload) = socket.next().await.expect("a heartbeat");
        assert_eq!(
            (topic.as_str(), event.as_str(), &payload["status"]),
            ("phoenix", "phx_reply", &json!("ok"))
        );
        socket.send(&format!("realtime:{}", own(&ada)), "phx_leave", json!({})).await;
        socket.next().await.expect("a reply");
        change(&backend, &ada).await;
        socket.send("phoenix", "heartbeat", json!({})).await;
        assert_eq!(socket.next().await.expect("no message before it").0, "phoenix");
    }
    backend.stop().await;
}

impl Socket {
    /// How far the next message is from the version of a change.
    async fn next_version_after(&mut self, change: impl Future<Output = i64>) -> i64 {
        let version = change.await;
        version - self.next_version().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_listen_is_refused_and_a_token_ends() {
    let backend = awake().await;
    let (ada, eve) = (backend.new_user().await, backend.new_user().await);
    let mut socket = Socket::open(&backend, 1).await;
    for (topic, token, reason) in [
        (own(&eve), ada.token.clone(), "Unauthorized"),
        ("marea:".to_owned(), ada.token.clone(), "Unauthorized"),
        (own(&ada), backend.ready().anon_key.clone(), "Unauthorized"),
        (own(&ada), backend.token(ada.id, -5), "InvalidJWTToken: Token has expired"),
        (own(&ada), "nonsense".to_owned(), "InvalidJWTToken"),
        (own(&ada), backend.token(Uuid::nil(), 60), "Unauthorized"),
    ] {
        let reply = socket.join(&topic, &token).await;
        let said = reply["response"]["reason"].as_str().unwrap_or_default();
        assert!(reply["status"] == "error" && said.starts_with(reason), "{topic}: {reply}");
    }
    // A token that ends closes its channel, unless a new one came.
    let topic = format!("realtime:{}", own(&ada));
    assert_eq!(socket.join(&own(&ada), &backend.token(ada.id, 2)).await["status"], "ok");
    socket.next().await.expect("the system message");
    let (_, event, payload) = socket.next().await.expect("the end");
    assert_eq!((event.as_str(), &payload["message"]), ("system", &json!("Token has expired")));
    assert_eq!(socket.next().await.expect("the close").1, "phx_close");
    assert_eq!(socket.join(&own(&ada), &backend.token(ada.id, 2)).await["status"], "ok");
    socket.next().await.expect("the system message");
    socket.send(&topic, "access_token", json!({ "access_token": ada.token })).await;
    let mut short = Socket::open(&backend, 2).await;
    short.join(&own(&ada), &backend.token(ada.id, 3)).await;
    short.next().await.expect("the system message");
    assert_eq!(short.next().await.expect("the end of the short one").1, "system");
    assert_eq!(socket.next_version_after(change(&backend, &ada)).await, 0, "the first one goes on");
    // A new token of somebody else.
    socket.send(&topic, "access_token", json!({ "access_token": eve.token })).await;
    let (_, event, payload) = socket.next().await.expect("a refusal");
    assert!(
        event == "system" && payload["message"].as_str().is_some_and(|it| it.starts_with("Unauthorized"))
    );
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_lose_delay_and_cut() {
    let backend = awake().await;
    let ada = backend.new_user().await;
    let fault = |kind, path: &str, times| Fault::new(kind, &format!("/realtime/v1/{path}"), times);
    let mut socket = Socket::open(&backend, 2).await;
    socket.join_own(&ada).await;
    assert_eq!(backend.joined(), 1);

    backend.faults().set(fault(FaultKind::Offline, "message", 1));
    change(&backend, &ada).await;
    let second = change(&backend, &ada).await;
    assert_eq!(socket.next_version().await, second, "the first is lost");
    backend.faults().set(fault(FaultKind::Delay, "message", 1).with_delay_ms(300));
    let (late, early) = (change(&backend, &ada).await, change(&backend, &ada).await);
    assert_eq!((socket.next_version().await, socket.next_version().await), (early, late));
    backend.faults().set(fault(FaultKind::CutRequest, "message", 1));
    change(&backend, &ada).await;
    assert_eq!(socket.next().await, None);

    let mut socket = Socket::open(&backend, 1).await;
    for (status, reason) in [(403, "Unauthorized"), (503, "DatabaseConnectionIssue")] {
        backend.faults().set(fault(FaultKind::Status, "join", 1).with_status(status));
        let reply = socket.join(&own(&ada), &ada.token).await;
        assert!(reply["response"]["reason"].as_str().is_some_and(|it| it.starts_with(reason)), "{reply}");
    }
    socket.join_own(&ada).await;
    // The partition of the day is missing: the message is lost, the write is not.
    let database = backend.sql().await;
    let partition = |word: &str, of: &str| {
        format!("ALTER TABLE realtime.messages {word} PARTITION realtime.messages_every_day {of}")
    };
    database.batch_execute(&partition("DETACH", "")).await.expect("no partition");
    change(&backend, &ada).await;
    database.batch_execute(&partition("ATTACH", "DEFAULT")).await.expect("a partition");
    assert_eq!(socket.next_version_after(change(&backend, &ada)).await, 0);
    // The gateway's own connection breaks: sockets are told when it is back.
    let broken = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%LISTEN marea_wakeups' AND pid <> pg_backend_pid()";
    database.execute(broken, &[]).await.expect("broken");
    assert_eq!(socket.next().await.expect("ready again").1, "system");
    assert_eq!(socket.next_version_after(change(&backend, &ada)).await, 0);

    backend.cut_sockets();
    assert_eq!(socket.next().await, None);
    backend.faults().set(fault(FaultKind::Status, "websocket", 1));
    let refused = connect_async(url(&backend, &backend.ready().anon_key, "1.0.0")).await.err();
    assert!(matches!(&refused, Some(Error::Http(it)) if it.status() == 503), "{refused:?}");
    // Sockets end with the backend.
    let mut socket = Socket::open(&backend, 1).await;
    socket.join_own(&ada).await;
    backend.stop().await;
    assert_eq!(socket.next().await, None);
}

/// Where there is no Realtime the gateway bridges NOTIFY.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_postgres_wakes_through_the_gateway() {
    let server = TestBackend::start().await;
    let database = server.sql().await;
    database
        .batch_execute("DROP SCHEMA realtime CASCADE; SELECT marea.set_wakeups(true)")
        .await
        .expect("plain");
    let (ada, eve) = (server.new_user().await, server.new_user().await);
    let mut socket = Socket::open(&server, 2).await;
    let reply = socket.join(&own(&eve), &ada.token).await;
    assert!(reply["response"]["reason"].as_str().is_some_and(|it| it.starts_with("Unauthorized")), "{reply}");
    socket.join_own(&ada).await;
    change(&server, &eve).await;
    assert_eq!(socket.next_version_after(change(&server, &ada)).await, 0);
    server.stop().await;
}
