//! What wake-ups cost the gateway: the time from a commit to the frame, and the processor time of joined devices that nobody says
//! anything to, but for their heartbeats. Linux alone tells the latter. Arguments: `--json`, and how many devices (2,000), each of a user of
//! its own. The devices are a process of their own (`--devices`), so that only the backend's time is counted.

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use marea_backend::Options;
use marea_tests::backend::TestBackend;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const WRITES: usize = 500;
const IDLE: Duration = Duration::from_secs(60);
/// As devices send them.
const HEARTBEAT: Duration = Duration::from_secs(25);

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

async fn join((url, key): (&str, &str), (user, token): (&str, &str)) -> Socket {
    let url = format!("{}/realtime/v1/websocket?apikey={key}&vsn=1.0.0", url.replacen("http", "ws", 1));
    let (mut socket, _) = connect_async(url).await.expect("a socket");
    let payload = json!({ "config": { "private": true }, "access_token": token });
    let topic = format!("realtime:marea:{user}");
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
    if let [word, url, key] = &arguments[..]
        && word == "--devices"
    {
        return devices(url, key).await;
    }
    let sockets = arguments.iter().find_map(|it| it.parse().ok()).unwrap_or(2_000);
    let backend = TestBackend::start_with(Options { wakeups: true, ..Options::default() }).await;
    let user = backend.new_user().await;
    let ready = backend.ready();
    let (address, id) = ((ready.url.as_str(), ready.anon_key.as_str()), user.id.to_string());
    let mut socket = join(address, (&id, &user.token)).await;
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

    let program = std::env::current_exe().expect("this program");
    let mut others = Command::new(program)
        .args(["--devices", address.0, address.1])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the devices");
    let mut to_them = others.stdin.take().expect("their input");
    for _ in 0..sockets {
        let user = backend.new_user().await;
        writeln!(to_them, "{} {}", user.id, user.token).expect("a device");
    }
    writeln!(to_them).expect("all of them");
    let mut said = String::new();
    std::io::BufReader::new(others.stdout.take().expect("their output"))
        .read_line(&mut said)
        .expect("a line");
    let joined: usize = said.trim().parse().expect("how many have joined");
    assert_eq!(joined, sockets, "all have joined");
    let before = processor_seconds();
    tokio::time::sleep(IDLE).await;
    let idle_percent = (processor_seconds() - before) / IDLE.as_secs_f64() * 100.0;
    // Still there: a change reaches whoever it is for.
    assert!(others.try_wait().expect("the devices").is_none(), "the devices have gone");
    let figures = json!({
        "commit_to_frame_ms": { "p50": at(50), "p99": at(99), "writes": WRITES },
        "idle": { "devices": joined, "heartbeat_seconds": HEARTBEAT.as_secs(), "percent_of_a_core": idle_percent },
    });
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{figures:#}\n").as_bytes());
    let _ = others.kill();
    let _ = others.wait();
    backend.stop().await;
}

/// Joins for each line of standard input, a user and a token, up to an empty one; says how many, and sends heartbeats for ever. One that is
/// cut ends the program.
async fn devices(url: &str, key: &str) {
    let lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let users: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let mut sockets = Vec::new();
    for line in &users {
        let (user, token) = line.split_once(' ').expect("a user and a token");
        sockets.push(join((url, key), (user, token)).await);
    }
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{}\n", sockets.len()).as_bytes());
    let _ = out.flush();
    let mut tick = tokio::time::interval(HEARTBEAT / u32::try_from(sockets.len()).expect("a number"));
    for reference in 2.. {
        for socket in &mut sockets {
            tick.tick().await;
            let reference = reference.to_string();
            let frame = json!({ "topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": reference });
            socket.send(Message::text(frame.to_string())).await.expect("it is still open");
            while next(socket).await["ref"] != reference.as_str() {}
        }
    }
}
