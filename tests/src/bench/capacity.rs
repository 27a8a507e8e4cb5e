//! What one server carries: a year of so many users made by SQL, then devices with tokens of their own that sync through the gateway from
//! several threads. Requests a second, times, the CPU of each part, and what a year of a user takes on disk. It judges nothing.
//!
//! The load and the gateway are this process: their share of CPU stands beside the others. There is no pgbouncer in between.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::cpu;
use super::http::Caller;
use crate::cluster::{Cluster, Database};

/// Sessions, awards and exports of a user in a year.
const YEAR: [u64; 3] = [300, 60, 6];
/// Connections of the load; PostgREST has ten to Postgres.
const THREADS: usize = 6;
const TABLES: &str = "
    SELECT jsonb_object_agg(name, jsonb_build_array(rows, bytes)) FROM (
        SELECT t.schemaname || '.' || t.relname AS name, t.n_live_tup AS rows, pg_total_relation_size(t.relid) AS bytes
        FROM pg_stat_user_tables AS t WHERE t.schemaname IN ('public', 'marea') AND t.n_live_tup > 100
    ) AS t";

/// One device that has synced once.
struct Device {
    user: Uuid,
    token: String,
    cursor: Value,
}

/// One line of the report.
pub struct Phase {
    /// What was done.
    pub name: &'static str,
    /// Requests that were answered.
    pub requests: usize,
    /// How long all of them took.
    pub took: Duration,
    /// Milliseconds: half of the requests were faster, and 99 of 100.
    pub percentiles: [f64; 2],
    /// Seconds of CPU, by the program's name.
    pub cpu: BTreeMap<String, f64>,
    /// Bytes of WAL.
    pub wal: i64,
}

async fn wal(database: &Database) -> i64 {
    database.text("SELECT (pg_current_wal_lsn() - '0/0')::bigint").await.parse().expect("bytes")
}

/// A year of so many users, 500 at a time. The days are those before now, so that nothing of it lies ahead.
async fn fill(database: &Database, users: u64) {
    let [sessions, awards, exports] = YEAR;
    let mut left = users;
    while left > 0 {
        let batch = left.min(500);
        left -= batch;
        let sql = format!(
            "SET synchronous_commit = off;
             CREATE TEMPORARY TABLE fresh AS SELECT gen_random_uuid() AS id FROM generate_series(1, {batch});
             INSERT INTO public.users (id) TABLE fresh;
             INSERT INTO public.sessions (user_id, started_at, ended_at, duration_minutes, qa_attempts, qa_correct, vocabulary_learned, session_data)
             SELECT f.id, at, at + interval '10 minutes', 10, 10, 7, 3, jsonb_build_object('local_date', at::date, 'level', 'b1')
             FROM fresh AS f, generate_series(1, {sessions}) AS n, LATERAL (SELECT now() - n * interval '29 hours' AS at) AS t;
             INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, points)
             SELECT gen_random_uuid(), f.id, now() - n * interval '6 days', current_date - n::int * 6, 10 FROM fresh AS f, generate_series(1, {awards}) AS n;
             INSERT INTO public.export_history (user_id, export_type, export_format, status)
             SELECT f.id, 'progress', 'csv', 'completed' FROM fresh AS f, generate_series(1, {exports}) AS n;
             DROP TABLE fresh"
        );
        database.execute(&sql).await;
    }
    database.execute("VACUUM (ANALYZE)").await;
}

fn request(device: &Device, mutations: &Value, first: bool) -> String {
    let cursor = if first { &Value::Null } else { &device.cursor };
    json!({ "request": { "protocol": 1, "client_id": device.user, "schema": 1, "cursor": cursor, "limit": 2000, "packed": true,
                         "mutations": mutations } })
    .to_string()
}

/// A session of a day as a device sends it: all columns, those that say nothing with null.
fn session(day: &str) -> Value {
    let id = crate::sql::new_id();
    json!([{ "id": id, "key": id, "hlc": "1795435200000-0000", "table": "sessions", "op": "insert", "values": {
        "id": id, "session_type": "qa", "started_at": format!("{day}T00:00:00.000000Z"), "ended_at": format!("{day}T00:10:00.000000Z"),
        "duration_minutes": 10, "images_processed": null, "descriptions_generated": null, "qa_attempts": 10, "qa_correct": 7,
        "vocabulary_learned": 3, "phrases_saved": null, "session_data": { "local_date": day } } }])
}

/// Each device once, from all threads, until all have been served.
async fn phase(
    cluster: &Cluster,
    database: &Database,
    name: &'static str,
    devices: &mut [Device],
    first: bool,
    day: Option<&str>,
) -> Phase {
    let (cpu_before, wal_before) = (cpu::used(), wal(database).await);
    let started = super::now();
    let (next, count) = (AtomicUsize::new(0), devices.len());
    let share = count.div_ceil(THREADS);
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = devices
            .chunks_mut(share)
            .map(|mine| {
                let next = &next;
                scope.spawn(move || {
                    let mut caller = Caller::at_gateway(cluster, Uuid::nil());
                    let mut times = Vec::with_capacity(mine.len());
                    for device in mine {
                        let body = request(device, &day.map_or_else(|| json!([]), session), first);
                        caller.speak_for(&device.token);
                        let began = super::now();
                        let (status, answer) = caller.call("marea_sync", &body);
                        times.push(super::millis(began.elapsed()));
                        assert_eq!(status, 200, "{answer}");
                        let answer: Value = serde_json::from_str(&answer).expect("JSON");
                        device.cursor = answer["cursor"].clone();
                        next.fetch_add(1, Ordering::Relaxed);
                    }
                    times
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread that was answered")).collect()
    });
    let took = started.elapsed();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let after = cpu::used();
    let used =
        after.iter().map(|(name, seconds)| (name.clone(), seconds - cpu_before.get(name).unwrap_or(&0.0)));
    Phase {
        name,
        requests: next.into_inner(),
        took,
        percentiles: [at(50), at(99)],
        cpu: used.filter(|(_, seconds)| *seconds > 0.005).collect(),
        wal: wal(database).await - wal_before,
    }
}

/// What is to be measured, as lines of a document.
///
/// # Panics
/// When something is not answered.
pub async fn report(users: u64, devices: usize) -> Vec<String> {
    let cluster = Cluster::start().await;
    let backend = cluster.backend();
    let url = backend.ready().database_url.clone();
    let database = Database { client: crate::backend::connect(&url).await, url };
    let before = wal(&database).await;
    let began = super::now();
    fill(&database, users).await;
    let [sessions, awards, exports] = YEAR;
    let mut lines = vec![format!(
        "{users} users with a year each ({sessions} sessions, {awards} awards, {exports} exports), made in {:.0} s, {:.1} MB of WAL",
        began.elapsed().as_secs_f64(),
        (wal(&database).await - before) as f64 / 1e6
    )];
    let tables: Value = serde_json::from_str(&database.text(TABLES).await).expect("sizes");
    let mut total = 0.0;
    for (name, row) in tables.as_object().expect("tables") {
        let (rows, bytes) = (row[0].as_f64().unwrap_or(0.0), row[1].as_f64().unwrap_or(0.0));
        total += bytes;
        lines.push(format!(
            "| {name} | {:.1} rows a user | {:.1} KB a user |",
            rows / users as f64,
            bytes / users as f64 / 1e3
        ));
    }
    lines.push(format!(
        "| all | | {:.1} KB a user-year, {:.2} KB a session |",
        total / users as f64 / 1e3,
        total / (users * sessions) as f64 / 1e3
    ));

    let chosen =
        format!("SELECT jsonb_agg(id) FROM (SELECT id FROM public.users ORDER BY id LIMIT {devices}) AS u");
    let chosen: Vec<Uuid> = serde_json::from_str(&database.text(&chosen).await).expect("ids");
    let mut all: Vec<Device> = chosen
        .into_iter()
        .map(|user| Device { user, token: backend.mint_token(user, 36_000), cursor: Value::Null })
        .collect();
    let today = database.text("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')").await;
    let earlier =
        database.text("SELECT to_char(now() AT TIME ZONE 'UTC' - interval '8 days', 'YYYY-MM-DD')").await;
    for (name, first, day) in [
        ("first sync", true, None),
        ("idle", false, None),
        ("idle again", false, None),
        ("Monday morning: a session of today each", false, Some(today.as_str())),
        ("once more", false, Some(today.as_str())),
        ("a session of a week ago each: the streak is counted again", false, Some(earlier.as_str())),
    ] {
        let phase = phase(&cluster, &database, name, &mut all, first, day).await;
        let each = |seconds: f64| seconds * 1e3 / phase.requests as f64;
        let by_part: Vec<String> =
            phase.cpu.iter().map(|(name, seconds)| format!("{name} {:.2} ms", each(*seconds))).collect();
        lines.push(format!(
            "| {} | {} | {:.0}/s | {:.1} ms | {:.1} ms | {} | {:.0} B |",
            phase.name,
            phase.requests,
            phase.requests as f64 / phase.took.as_secs_f64(),
            phase.percentiles[0],
            phase.percentiles[1],
            by_part.join(", "),
            phase.wal as f64 / phase.requests as f64
        ));
    }
    let began = super::now();
    database.execute("VACUUM (ANALYZE)").await;
    lines.push(format!("VACUUM of everything after that: {:.1} s", began.elapsed().as_secs_f64()));
    cluster.stop().await;
    lines
}
