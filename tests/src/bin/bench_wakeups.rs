//! What wake-ups cost the gateway: the time from a commit to the frame, and the processor time of joined sockets that nobody
//! says anything to. Linux alone tells the latter. Arguments: `--json`, and how many sockets (2,000).

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use marea_backend::Options;
use marea_tests::backend::{TestBackend, TestUser};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const WRITES: usize = 500;
const IDLE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The one place of this program that reads a clock: it measures.
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Processor time of this process, in seconds; the backend's gateway is in it, Postgres is not.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

async fn join(backend: &TestBackend, user: &TestUser) -> Socket {
    let base = backend.ready().url.replacen("http", "ws", 1);
    let url = format!("{base}/realtime/v1/websocket?apikey={}&vsn=1.0.0", backend.ready().anon_key);
    let (mut socket, _) = connect_async(url).await.expect("a socket");
    let payload = json!({ "config": { "private": true }, "access_token": user.token });
    let topic = format!("realtime:marea:{}", user.id);
    let frame = json!({ "topic": topic, "event": "phx_join", "payload": payload, "ref": "1" });
    socket.send(Message::text(frame.to_string())).await.expect("sent");
    next(&mut socket).await;
    socket
}

async fn next(socket: &mut Socket) -> Value {
    let frame = socket.next().await.expect("a frame").expect("a frame");
    serde_json::from_str(frame.to_text().expect("a text")).expect("JSON")
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let sockets = arguments.iter().find_map(|it| it.parse().ok()).unwrap_or(2_000);
    let backend = TestBackend::start_with(Options { wakeups: true, ..Options::default() }).await;
    let user = backend.new_user().await;
    let mut socket = join(&backend, &user).await;
    let database = backend.sql().await;
    let mut times = Vec::new();
    for _ in 0..WRITES {
        let statement = "INSERT INTO public.sessions (user_id, ended_at) VALUES ($1, now())";
        database.execute(statement, &[&user.id]).await.expect("a session");
        let committed = now();
        next(&mut socket).await;
        times.push(committed.elapsed());
    }
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3;

    let mut joined = Vec::new();
    for _ in 0..sockets {
        joined.push(join(&backend, &user).await);
    }
    let before = processor_seconds();
    tokio::time::sleep(IDLE).await;
    let idle_percent = (processor_seconds() - before) / IDLE.as_secs_f64() * 100.0;
    let figures = json!({
        "commit_to_frame_ms": { "p50": at(50), "p99": at(99), "writes": WRITES },
        "idle": { "sockets": joined.len(), "percent_of_a_core": idle_percent },
    });
    let mut out = std::io::stdout().lock();
    let _ = std::io::Write::write_all(&mut out, format!("{figures:#}\n").as_bytes());
    drop(joined);
    backend.stop().await;
}
