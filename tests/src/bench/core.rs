//! The engine by itself and against the real PostgREST: what a durable write costs beside a bare one, what a read costs,
//! what a long queue costs, and how fast much is pulled and pushed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marea_core::{
    Engine, Host, Location, Now, Outcome, SessionInput, Signal, SyncAnswer, SystemEntropy, Table, Transport,
    UserId, sync_until_idle,
};
use rusqlite::Connection;

use super::{Figure, Rounds, Spread, millis, now};
use crate::engine_device::at;
use crate::small_server;
use crate::world::World;

/// 2026-11-23T12:00:00Z.
pub(super) const NOON: i64 = 1_795_435_200_000;
const ROUNDS: usize = 15;
/// Writes of one round: enough to even out single flushes of a disk.
const WRITES: u32 = 100;

/// A mirror in a file, and a host around it.
pub(super) struct FileDevice {
    engine: Mutex<Engine>,
    token: String,
}

impl FileDevice {
    pub(super) fn new(path: &Path, user: UserId, token: String) -> FileDevice {
        let entropy = Box::new(SystemEntropy::new());
        let engine =
            Engine::open(&Location::File(path.to_owned()), user, entropy, at(NOON)).expect("a mirror");
        FileDevice { engine: Mutex::new(engine), token }
    }
}

impl Host for FileDevice {
    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
        work(&mut self.engine.lock().expect("no panic"))
    }

    fn now(&self) -> Now {
        at(NOON)
    }

    async fn access_token(&self, _fresh: bool) -> Option<String> {
        Some(self.token.clone())
    }

    fn changed(&self, _tables: &[Table]) {}
}

fn user() -> UserId {
    "00000000-0000-4000-8000-000000000001".parse().expect("a UUID")
}

fn session() -> SessionInput {
    let counts = (Some(12), Some(10), Some(8));
    SessionInput {
        duration_minutes: counts.0,
        qa_attempts: counts.1,
        qa_correct: counts.2,
        ..SessionInput::new("qa")
    }
}

fn mirror(folder: &Path, name: &str) -> Engine {
    let location = Location::File(folder.join(name));
    Engine::open(&location, user(), Box::new(SystemEntropy::new()), at(NOON)).expect("a mirror")
}

fn record(engine: &mut Engine, writes: u32) -> Duration {
    let begun = now();
    for _ in 0..writes {
        engine.mutate(session().into(), at(NOON)).expect("a durable session");
    }
    begun.elapsed()
}

/// A durable session beside a bare row with the same settings of SQLite.
pub fn write_figure() -> Figure {
    let folder = tempfile::tempdir().expect("a folder");
    let bare = Connection::open(folder.path().join("bare.sqlite3")).expect("a database");
    bare.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t(id TEXT PRIMARY KEY, v TEXT)",
    )
    .expect("a table");
    let mut engine = mirror(folder.path(), "mirror.sqlite3");
    let value = "x".repeat(300); // As long as a session's columns are as JSON.
    let mut rounds = Rounds::new();
    let mut id = 0;
    for _ in 0..ROUNDS {
        let begun = now();
        for _ in 0..WRITES {
            id += 1;
            let mut insert = bare.prepare_cached("INSERT INTO t VALUES (?1, ?2)").expect("a statement");
            insert.execute((format!("018f9d3e-7a00-7000-8000-{id:012}"), &value)).expect("a row");
        }
        rounds.add(begun.elapsed(), record(&mut engine, WRITES));
    }
    let baseline = "one bare INSERT + commit, same settings";
    rounds.figure(
        "one durable `record_session`",
        baseline,
        1.5,
        "rounds of 100 on a file, WAL, synchronous FULL",
    )
}

/// What it costs to read the progress.
pub fn read_figure() -> Figure {
    const READS: u32 = 1_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut engine = mirror(folder.path(), "mirror.sqlite3");
    record(&mut engine, 10);
    let rounds = (0..ROUNDS).map(|_| {
        let begun = now();
        for _ in 0..READS {
            std::hint::black_box(engine.progress(at(NOON)).expect("a readable mirror"));
        }
        millis(begun.elapsed()) * 1000.0 / f64::from(READS)
    });
    let measured = Spread::of("us", rounds);
    Figure {
        what: "`progress()`".into(),
        baseline: "none".into(),
        bar: "<= 20 us".into(),
        passed: measured.median <= 20.0,
        measured,
        how: "rounds of 1,000 on a file".into(),
    }
}

/// One more mutation behind 10,000 that wait, beside one behind none.
pub fn queue_figure(waiting: usize) -> Figure {
    let folder = tempfile::tempdir().expect("a folder");
    let mut long = mirror(folder.path(), "long.sqlite3");
    let queue = (0..waiting).map(|_| (None, session().into())).collect();
    long.mutate_all(queue, at(NOON)).expect("a queue");
    let mut rounds = Rounds::new();
    for round in 0..ROUNDS {
        let mut short = mirror(folder.path(), &format!("short-{round}.sqlite3"));
        rounds.add(record(&mut short, WRITES), record(&mut long, WRITES));
    }
    let what = format!("one more mutation with {waiting} unsent");
    rounds.figure(&what, "with none", 2.0, "rounds of 100 on a file each, the visible progress kept up")
}

/// Many exports of a learner, as an app in use would have left them: made one after the other.
pub(super) async fn fill_exports(world: &World, learner: usize, rows: usize) {
    let user = world.learner(learner);
    let fill = format!(
        "INSERT INTO public.export_history (user_id, export_type, export_format, filters, created_at)
         SELECT '{user}', 'vocabulary', 'csv', '{{}}', now() - ({rows} - n) * interval '1 minute'
         FROM generate_series(1, {rows}) AS n"
    );
    world.execute(&fill).await;
}

/// The first sync of many exports: its speed, the shares of its time, and its memory.
pub async fn pull_figures(world: &World, rows: usize) -> Vec<Figure> {
    let learners = [(1, rows), (2, rows / 4)];
    for (learner, rows) in learners {
        fill_exports(world, learner, rows).await;
    }
    world.execute("VACUUM (ANALYZE)").await;
    let transport = transport(world);
    let folder = tempfile::tempdir().expect("a folder");
    let mut memory = Vec::new();
    let mut took = Duration::ZERO;
    for (learner, rows) in learners {
        let path = folder.path().join(format!("{learner}.sqlite3"));
        let device = FileDevice::new(&path, world.learner(learner).into(), world.token(learner, 3600));
        let idle = resident_kib("VmRSS");
        std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
        let begun = now();
        let report = sync_until_idle(&device, &transport).await.expect("a sound mirror");
        if learner == 1 {
            took = begun.elapsed();
        }
        assert!(report.outcome == Outcome::Done && report.pulled as usize >= rows, "{report:?}");
        memory.push(resident_kib("VmHWM").saturating_sub(idle) as f64 / 1024.0);
    }
    let per_second = rows as f64 / took.as_secs_f64();
    let shares = shares(world, &transport, folder.path()).await;
    vec![
        Figure {
            what: format!("first sync of {rows} export rows, end to end"),
            baseline: format!(
                "its parts one after the other: {:.0} ms",
                millis(shares.fetched + shares.applied)
            ),
            bar: ">= 50000 rows/s".into(),
            passed: per_second >= 50_000.0,
            measured: Spread::of("rows/s", [per_second]),
            how: format!(
                "{:.0} ms in all, {} pages of {:.0} KiB. Each part alone: Postgres {:.0} ms (the function, called by SQL), \
                 PostgREST and the gateway {:.0} ms (the rest of the fetching), the wire {:.0} ms (from a server that only \
                 repeats the answer), reading JSON {:.0} ms, SQLite {:.0} ms (checking the rows and applying them to a file)",
                millis(took),
                shares.pages,
                shares.bytes as f64 / f64::from(shares.pages.max(1)) / 1024.0,
                millis(shares.postgres),
                millis(shares.fetched.saturating_sub(shares.postgres + shares.wire + shares.json)),
                millis(shares.wire),
                millis(shares.json),
                millis(shares.applied)
            ),
        },
        Figure {
            what: "memory of that sync".into(),
            baseline: format!("of a quarter of the rows: {:.1} MiB", memory[1]),
            bar: "<= 64 MiB over idle".into(),
            passed: memory[0] <= 64.0,
            measured: Spread::of("MiB", [memory[0]]),
            how: "greatest resident size during the sync less that before it (VmHWM, VmRSS)".into(),
        },
    ]
}

#[derive(Default)]
struct Shares {
    pages: u32,
    bytes: u64,
    fetched: Duration,
    postgres: Duration,
    wire: Duration,
    json: Duration,
    applied: Duration,
}

/// The parts of a first sync, each done alone.
async fn shares(world: &World, transport: &Transport, folder: &Path) -> Shares {
    let (user, token) = (world.learner(1), world.token(1, 3600));
    let device = FileDevice::new(&folder.join("parts.sqlite3"), user.into(), token.clone());
    world
        .execute(&format!(
            "SET ROLE authenticated; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{user}\",\"role\":\"authenticated\"}}', false)"
        ))
        .await;
    // A server that says again what Postgres has just said: what it takes to fetch that is the wire and the client.
    let said = Arc::new(Mutex::new(Vec::new()));
    let echo = Arc::clone(&said);
    let url = small_server::start(move || echo.lock().expect("no panic").clone());
    let repeated = Transport::new(&url, "key").expect("an address");
    let mut shares = Shares::default();
    while let Some(outgoing) =
        device.with_engine(|engine| engine.next_request(at(NOON))).expect("a sound mirror")
    {
        let request = serde_json::to_string(&outgoing.request).expect("JSON");
        let begun = now();
        let _: String = world.one(&format!("SELECT public.marea_sync('{request}'::jsonb)::text")).await;
        shares.postgres += begun.elapsed();
        let begun = now();
        let carried = transport.post(&outgoing.request, user.into(), &token, 60_000).await;
        shares.fetched += begun.elapsed();
        shares.pages += 1;
        shares.bytes += carried.bytes_received;
        let answer = carried.outcome.expect("an answer");
        let text = serde_json::to_vec(&answer).expect("JSON");
        let begun = now();
        std::hint::black_box(serde_json::from_slice::<SyncAnswer>(&text).expect("an answer"));
        let json = begun.elapsed();
        shares.json += json;
        *said.lock().expect("no panic") = text;
        let begun = now();
        let again = repeated.post(&outgoing.request, user.into(), &token, 60_000).await;
        shares.wire += begun.elapsed().saturating_sub(json);
        assert!(again.outcome.is_ok(), "the same answer");
        let begun = now();
        device
            .with_engine(|engine| engine.apply_response(outgoing.ticket, Ok(answer), at(NOON)))
            .expect("a sound mirror");
        shares.applied += begun.elapsed();
    }
    world.execute("RESET ROLE").await;
    shares
}

/// A long queue, pushed end to end.
pub async fn push_figure(world: &World, sessions: usize) -> Figure {
    let folder = tempfile::tempdir().expect("a folder");
    let device =
        FileDevice::new(&folder.path().join("m.sqlite3"), world.learner(1).into(), world.token(1, 3600));
    let transport = transport(world);
    sync_until_idle(&device, &transport).await.expect("a sound mirror");
    let queue = (0..sessions).map(|_| (None, session().into())).collect();
    device.with_engine(|engine| engine.mutate_all(queue, at(NOON))).expect("a queue");
    device.with_engine(|engine| engine.signal(Signal::SyncNow, at(NOON)));
    let begun = now();
    let report = sync_until_idle(&device, &transport).await.expect("a sound mirror");
    let took = begun.elapsed();
    assert_eq!((report.pushed as usize, report.pending), (sessions, 0), "{report:?}");
    let per_second = sessions as f64 / took.as_secs_f64();
    Figure {
        what: format!("a queue of {sessions} sessions pushed, end to end"),
        baseline: "none".into(),
        bar: ">= 5000/s".into(),
        passed: per_second >= 5_000.0,
        measured: Spread::of("/s", [per_second]),
        how: format!("{:.0} ms, 500 a request, from a file to a real PostgREST", millis(took)),
    }
}

pub(super) fn transport(world: &World) -> Transport {
    let ready = world.backend().ready();
    Transport::new(&ready.url, &ready.anon_key).expect("an address")
}

/// A line of `/proc/self/status`, in KiB.
fn resident_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line of the kernel's");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}
