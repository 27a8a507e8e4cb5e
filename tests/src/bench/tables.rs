//! A mirrored table of an app, as large as the exports of `core`: its first sync, a durable insert, a page of a list, the app's own SQL, each
//! beside the same by bare SQLite.

use std::path::Path;
use std::time::Duration;

use marea_core::{Change, Engine, Host, ListQuery, Outcome, QueryLimits, sync_until_idle};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::core::{FileDevice, NOON, transport};
use super::{Figure, Rounds, Spread, millis, now};
use crate::engine_device::at;
use crate::world::World;

const ROUNDS: usize = 15;
const WRITES: u32 = 100;

/// What the app asks in SQL: something over all rows, and a page by an index.
const QUERIES: [(&str, &str); 2] = [
    (
        "SELECT level, count(*), avg(ease), sum(times_seen) FROM bench_words GROUP BY level ORDER BY level",
        "all rows",
    ),
    (
        "SELECT word, translation, due_on, ease FROM bench_words WHERE due_on >= '2026-12-05' ORDER BY due_on, word LIMIT 500",
        "500 by an index",
    ),
];

/// All figures of a mirrored table with this many rows.
///
/// # Panics
/// When a server or the mirror does not do what it must.
pub async fn figures(world: &World, rows: usize) -> Vec<Figure> {
    super::core::fill_exports(world, 1, rows).await;
    fill(world, rows).await;
    let folder = tempfile::tempdir().expect("a folder");
    let exports = first_sync(world, &folder.path().join("exports.sqlite3"), 1, rows).await.0;
    let path = folder.path().join("words.sqlite3");
    let (words, device) = first_sync(world, &path, 2, rows).await;
    let mut figures = vec![sync_figure(rows, words, exports)];
    figures.push(device.with_engine(|engine| insert_figure(engine, folder.path())));
    figures.push(device.with_engine(|engine| list_figure(engine, rows)));
    figures.extend(
        QUERIES.map(|(sql, what)| device.with_engine(|engine| query_figure(engine, &path, sql, what))),
    );
    figures
}

/// The second learner's rows, mirrored.
async fn fill(world: &World, rows: usize) {
    world.execute(include_str!("../../fixtures/bench_words.sql")).await;
    let user = world.learner(2);
    let fill = format!(
        "INSERT INTO public.bench_words (user_id, word, translation, level, times_seen, ease, due_on, learned, extra, updated_at)
         SELECT '{user}', 'palabra ' || n, 'word ' || n, (ARRAY['a1', 'a2', 'b1', 'b2'])[1 + n % 4], n % 50, 1.3 + n % 20 * 0.1,
                date '2026-11-01' + n % 90, n % 3 = 0, jsonb_build_object('list', n % 7), now() - ({rows} - n) * interval '1 minute'
         FROM generate_series(1, {rows}) AS n"
    );
    world.execute(&fill).await;
    world.execute("VACUUM (ANALYZE)").await;
}

async fn first_sync(world: &World, path: &Path, learner: usize, rows: usize) -> (Duration, FileDevice) {
    let device = FileDevice::new(path, world.learner(learner).into(), world.token(learner, 3600));
    device
        .with_engine(|engine| engine.use_catalogue(None, at(NOON)))
        .expect("a mirror that learns its tables");
    let begun = now();
    let report = sync_until_idle(&device, &transport(world)).await.expect("a sound mirror");
    let took = begun.elapsed();
    assert!(report.outcome == Outcome::Done && report.pulled as usize >= rows, "{report:?}");
    (took, device)
}

fn sync_figure(rows: usize, words: Duration, exports: Duration) -> Figure {
    let per_second = |took: Duration| rows as f64 / took.as_secs_f64();
    Figure {
        what: format!("first sync of {rows} rows of a mirrored table with ten columns, end to end"),
        baseline: format!("as many exports in the same run: {:.0} rows/s", per_second(exports)),
        bar: ">= 60000 rows/s".into(),
        passed: per_second(words) >= 60_000.0,
        measured: Spread::of("rows/s", [per_second(words)]),
        how: format!(
            "{:.0} ms from the first request to the last row in a file, through PostgREST",
            millis(words)
        ),
    }
}

fn word(n: u64) -> Value {
    json!({ "word": format!("palabra {n}"), "translation": format!("word {n}"), "level": "b1", "times_seen": 0, "ease": 2.5,
            "due_on": "2026-12-01", "learned": false, "extra": { "list": n % 7 }, "updated_at": "2026-11-30T00:00:00.000000Z" })
}

/// A durable row beside one of the same columns with the same settings of SQLite.
fn insert_figure(engine: &mut Engine, folder: &Path) -> Figure {
    let bare = Connection::open(folder.join("bare.sqlite3")).expect("a database");
    let table = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        CREATE TABLE t (id TEXT PRIMARY KEY, word TEXT, translation TEXT, level TEXT, times_seen INTEGER, ease REAL, due_on TEXT,
            learned INTEGER, extra TEXT, updated_at TEXT) STRICT;
        CREATE INDEX t_due_on ON t (due_on)";
    bare.execute_batch(table).expect("a table");
    let mut rounds = Rounds::new();
    let mut n = 0;
    for _ in 0..ROUNDS {
        let begun = now();
        for _ in 0..WRITES {
            n += 1;
            let mut insert = bare
                .prepare_cached("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
                .expect("a statement");
            let (id, word, translation) =
                (format!("018f9d3e-7a00-7000-8000-{n:012}"), format!("palabra {n}"), format!("word {n}"));
            let row = rusqlite::params![
                id,
                word,
                translation,
                "b1",
                0,
                2.5,
                "2026-12-01",
                0,
                "{\"list\": 1}",
                "2026-11-30T00:00:00.000000Z"
            ];
            insert.execute(row).expect("a row");
        }
        let baseline = begun.elapsed();
        let begun = now();
        for _ in 0..WRITES {
            n += 1;
            let Value::Object(values) = word(n) else { unreachable!("an object") };
            let change = Change::Insert { table: "bench_words".into(), key: None, values };
            engine.mutate(change, at(NOON)).expect("a durable row");
        }
        rounds.add(baseline, begun.elapsed());
    }
    rounds.figure(
        "one durable insert into a mirrored table",
        "one bare INSERT of the same columns + commit, same settings",
        1.5,
        "rounds of 100 on a file with the rows of the first sync, WAL, synchronous FULL",
    )
}

/// A page of a list by an index.
fn list_figure(engine: &Engine, rows: usize) -> Figure {
    const LISTS: u32 = 200;
    let query = |n: u32| ListQuery {
        filter: json!({ "due_on": { "gte": format!("2026-12-{:02}", 1 + n % 28) } })
            .as_object()
            .cloned()
            .unwrap_or_default(),
        order: vec!["due_on".into()],
        limit: Some(50),
        ..ListQuery::default()
    };
    let rounds = (0..ROUNDS).map(|_| {
        let begun = now();
        for n in 0..LISTS {
            assert_eq!(engine.list_rows("bench_words", &query(n)).expect("rows").len(), 50);
        }
        millis(begun.elapsed()) / f64::from(LISTS)
    });
    let measured = Spread::of("ms", rounds.collect::<Vec<_>>());
    Figure {
        what: format!("`list` of 50 out of {rows} rows by an index"),
        baseline: "none".into(),
        bar: "<= 1 ms".into(),
        passed: measured.median <= 1.0,
        measured,
        how: format!("rounds of {LISTS}, each from another day on"),
    }
}

/// The app's SQL by `query`, beside the same on a connection of its own to the same file.
fn query_figure(engine: &mut Engine, path: &Path, sql: &str, what: &str) -> Figure {
    const QUERIES: u32 = 20;
    let bare = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the mirror's file");
    let mut rounds = Rounds::new();
    for round in 0..=ROUNDS {
        let begun = now();
        for _ in 0..QUERIES {
            let mut statement = bare.prepare_cached(sql).expect("a statement");
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                (0..columns).map(|n| row.get(n)).collect::<Result<Vec<rusqlite::types::Value>, _>>()
            });
            std::hint::black_box(rows.expect("rows").collect::<Result<Vec<_>, _>>().expect("rows"));
        }
        let baseline = begun.elapsed();
        let begun = now();
        for _ in 0..QUERIES {
            std::hint::black_box(engine.query(sql, &[], QueryLimits::default()).expect("rows"));
        }
        if round > 0 {
            rounds.add(baseline, begun.elapsed()); // the first one warms both caches
        }
    }
    rounds.figure(
        &format!("`query`, {what}"),
        "the same SQL by bare SQLite on the same file",
        1.3,
        "rounds of 20, each value read on both sides",
    )
}
