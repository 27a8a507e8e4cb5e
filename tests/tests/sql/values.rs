//! What the devices refuse the server refuses, and what one takes the other takes: the list of bounds on both sides, and what both
//! make of values at and around each bound.

use marea_core::{Change, Engine, LIMITS, Limit, LimitKind, Location, Table};
use marea_tests::backend::TestBackend;
use marea_tests::engine_device::{Counter, at};
use marea_tests::random::Random;
use marea_tests::sql::{Caller, hlc, mutation, session, with};
use serde_json::{Map, Value, json};

const NOON: i64 = 1_795_435_200_000;
/// Rows of values that both sides judge.
const ROWS: usize = 1_500;

fn engine() -> Engine {
    let user = "00000000-0000-4000-8000-000000000001".parse().expect("an id");
    Engine::open(&Location::Memory, user, Box::new(Counter(7)), at(NOON)).expect("a mirror")
}

fn kind_name(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Text => "text",
        LimitKind::LongText => "long_text",
        LimitKind::Integer => "integer",
        LimitKind::BigInt => "bigint",
        LimitKind::Instant => "instant",
        LimitKind::Day => "day",
        LimitKind::Json => "json",
        LimitKind::Object => "object",
        LimitKind::Names => "names",
        LimitKind::Boolean => "boolean",
        _ => panic!("a kind that SQL does not know"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_lists_are_one() {
    let backend = TestBackend::shared().await;
    let rows = backend
        .sql()
        .await
        .query("SELECT relation, name, kind, lowest, highest FROM marea.column_limits() ORDER BY 1, 2", &[])
        .await
        .expect("the list");
    let there: Vec<(String, String, String, i64, i64)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect();
    let line = |limit: &Limit| {
        let Limit { table, column, kind, least, most } = *limit;
        (table.name().to_owned(), column.to_owned(), kind_name(kind).to_owned(), least, most)
    };
    let mut here: Vec<_> = LIMITS.iter().map(line).collect();
    here.sort();
    assert_eq!(there, here);
}

fn nested(levels: i64) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// A value for a column: mostly a good one, often at a bound, sometimes of another kind.
fn some_value(limit: &Limit, random: &mut Random) -> Value {
    if random.chance(4) {
        return random.one_of(&[json!(true), json!("x"), json!(1.5), json!([1]), json!({ "a": 1 })]).clone();
    }
    let Limit { kind, least, most, .. } = *limit;
    let around = [least, least.saturating_sub(1), least.saturating_add(1), most, most.saturating_sub(1)];
    let beyond = most.saturating_add(1);
    let at_bound = random.chance(15);
    let bound = if random.chance(25) { beyond } else { *random.one_of(&around) };
    match kind {
        LimitKind::Text => {
            let chars = if at_bound { bound } else { random.within(1..=9) };
            json!(random.one_of(&["x", "é", "€"]).repeat(usize::try_from(chars).unwrap_or(0)))
        }
        LimitKind::LongText => {
            let bytes = if at_bound { bound } else { random.within(0..=40) };
            json!("y".repeat(usize::try_from(bytes - 2).unwrap_or(0)))
        }
        LimitKind::Integer if at_bound => json!(bound),
        LimitKind::Integer => json!(random.within(0..=20)),
        LimitKind::BigInt if at_bound => json!(random.one_of(&[-1, 0, i64::MAX]).to_string()),
        LimitKind::BigInt => json!(random.within(0..=1 << 60).to_string()),
        LimitKind::Instant if at_bound => json!(*random.one_of(&[
            "0000-01-01T00:00:00.000000Z",
            "0001-01-01T00:00:00.000000Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
            "infinity",
            "2026-02-30T00:00:00.000000Z",
        ])),
        LimitKind::Instant => {
            let (hour, micros) = (random.within(0..=23), random.within(0..=999_999));
            json!(format!("2026-11-20T{hour:02}:00:00.{micros:06}Z"))
        }
        LimitKind::Day if at_bound => json!(*random.one_of(&[
            "0001-01-01",
            "1969-12-31",
            "1970-01-01",
            "9999-12-31",
            "10000-01-01",
            "2026-02-29",
            "2024-02-29",
        ])),
        LimitKind::Day => json!("2026-11-20"),
        LimitKind::Json | LimitKind::Object if at_bound => {
            let inner = match random.within(0..=4) {
                0 => nested(*random.one_of(&[62, 63, 64, 65, 200])),
                1 => json!("z".repeat(usize::try_from(random.within(65_440..=65_536)).unwrap_or(0))),
                3 => json!([f64::MAX]),
                _ => json!([1e308, -1e308, 5e-324, u64::MAX, i64::MIN, -0.0, "\\u0000", "\u{1f600}"]),
            };
            json!({ "a": inner })
        }
        LimitKind::Json | LimitKind::Object => json!({ "level": random.within(0..=5), "tags": [null, "é"] }),
        LimitKind::Names => {
            let names = if at_bound { *random.one_of(&[0, 1, 100, 101]) } else { 1 };
            let chars = if at_bound { *random.one_of(&[1, 1, 100, 101]) } else { 5 };
            let name = |n: i64| json!(format!("{n:0>width$}", width = usize::try_from(chars).unwrap_or(1)));
            (0..names).map(name).collect()
        }
        LimitKind::Boolean => json!(random.chance(10)),
        _ => Value::Null,
    }
}

/// Some columns of a table with values; `always` are there in each row.
fn some_row(table: Table, always: &[&str], leave_out: &[&str], random: &mut Random) -> Map<String, Value> {
    let limits = LIMITS.iter().filter(|limit| limit.table == table && !leave_out.contains(&limit.column));
    let mut row = Map::new();
    for limit in limits {
        if always.contains(&limit.column) || random.chance(35) {
            row.insert(limit.column.to_owned(), some_value(limit, random));
        }
    }
    row
}

/// What an app hands in, as a page or C does: JSON.
fn change_of(table: Table, op: &str, row: &Map<String, Value>, export: Option<&str>) -> Option<Change> {
    let json = Value::Object(row.clone());
    match (table, op) {
        (Table::Sessions, _) => serde_json::from_value(json).ok().map(Change::RecordSession),
        (Table::ProgressEvents, _) => serde_json::from_value(json).ok().map(Change::RecordEvent),
        (Table::ExportHistory, "insert") => serde_json::from_value(json).ok().map(Change::CreateExport),
        _ => {
            let change = serde_json::from_value(json).ok()?;
            Some(Change::UpdateExport { id: export?.parse().ok()?, change })
        }
    }
}

/// The same row as a raw client would send it.
fn raw_values(table: Table, row: &Map<String, Value>) -> Value {
    let mut values = row.clone();
    // The day that a device adds is part of the size that both look at.
    if let (Table::Sessions, Some(Value::Object(data))) = (table, values.get_mut("session_data")) {
        data.entry("local_date").or_insert_with(|| json!("2026-11-20"));
    }
    if let (Table::ProgressEvents, Some(Value::Array(names))) = (table, values.get("achievements")) {
        let at = row.get("occurred_at").cloned().unwrap_or_default();
        let unlocked: Map<String, Value> =
            names.iter().filter_map(|name| Some((name.as_str()?.to_owned(), at.clone()))).collect();
        // Of two equal names one is left, and too many are too many.
        if unlocked.len() == names.len() {
            values.insert("achievements".to_owned(), unlocked.into());
        }
    }
    Value::Object(values)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_judge_values_alike() {
    let mut random = Random::of_this_run("values");
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let mut engine = engine();
    let export = mutation(
        "export_history",
        "insert",
        None,
        &hlc(1),
        json!({ "export_type": "words", "export_format": "csv" }),
    );
    assert_eq!(caller.push(std::slice::from_ref(&export)).await, ["applied"]);
    let export = export["id"].as_str().expect("an id").to_owned();
    let create = json!({ "id": export, "export_type": "words", "export_format": "csv" });
    let create = Change::CreateExport(serde_json::from_value(create).expect("an export"));
    engine.mutate(create, at(NOON)).expect("an export");

    let once: &[&str] = &["export_type", "export_format", "filters", "created_at"];
    let later: &[&str] = &[
        "created_at",
        "status",
        "records_count",
        "file_size_bytes",
        "file_url",
        "data",
        "error_message",
        "retry_count",
        "started_at",
        "completed_at",
        "processing_time_seconds",
        "expires_at",
    ];
    let mut judged = Vec::new();
    for number in 0..ROWS {
        let (table, op, row) = match random.within(0..=3) {
            0 => (
                Table::Sessions,
                "insert",
                some_row(Table::Sessions, &["session_type", "ended_at"], &[], &mut random),
            ),
            1 => (
                Table::ProgressEvents,
                "insert",
                some_row(Table::ProgressEvents, &["occurred_at", "local_date"], &[], &mut random),
            ),
            2 => (
                Table::ExportHistory,
                "insert",
                some_row(Table::ExportHistory, &["export_type", "export_format"], later, &mut random),
            ),
            _ => (Table::ExportHistory, "merge", some_row(Table::ExportHistory, &[], once, &mut random)),
        };
        let key = (op == "merge").then_some(export.as_str());
        let taken = change_of(table, op, &row, key).and_then(|change| engine.mutate(change, at(NOON)).ok());
        let values = match &taken {
            // As the device sends it.
            Some(_) => {
                let pending = engine.pending().expect("a queue");
                pending.last().expect("what was recorded").values.clone()
            }
            None => raw_values(table, &row),
        };
        // Later than the one before, or its values would not be looked at.
        let clock = hlc(2 + u32::try_from(number).expect("few"));
        let mut sent = mutation(table.name(), op, key, &clock, values);
        // The id in the values is the mutation's.
        if sent["values"].get("id").is_some() {
            let id = sent["id"].clone();
            sent["values"]["id"] = id;
        }
        judged.push((taken.is_some(), sent));
    }
    let (mut good, mut bad) = (0, 0);
    for some in judged.chunks(40) {
        let sent: Vec<Value> = some.iter().map(|(_, sent)| sent.clone()).collect();
        for ((taken, sent), status) in some.iter().zip(caller.push(&sent).await) {
            let accepted = !status.starts_with("rejected");
            let shown: String = sent.to_string().chars().take(900).collect();
            assert_eq!(*taken, accepted, "device: {taken}, server: {status}, {shown}");
            if accepted { good += 1 } else { bad += 1 }
        }
    }
    assert!(good > ROWS / 5 && bad > ROWS / 5, "{good} taken and {bad} refused of {ROWS}");
}

/// The quick looks may be more careful than the close ones, never less.
#[tokio::test(flavor = "multi_thread")]
async fn a_quick_look_lets_nothing_through_that_a_close_one_refuses() {
    let mut random = Random::of_this_run("quick looks");
    let backend = TestBackend::shared().await;
    let sql = backend.sql().await;
    for (table, look) in [(Table::Sessions, "session"), (Table::ProgressEvents, "event")] {
        let mut rows = Vec::new();
        while rows.len() < 1_500 {
            let row = some_row(table, &["ended_at", "occurred_at", "local_date"], &[], &mut random);
            // A day that no calendar has fails where it is compared, which is as good.
            // And so does half a number.
            let text = Value::Object(row.clone()).to_string();
            if !text.contains("2026-02-") && !text.contains(":1.5") {
                rows.push(raw_values(table, &row));
            }
        }
        let query = format!(
            "SELECT count(*) FILTER (WHERE marea.{look}_is_sound(v) AND marea.{look}_problem(v) IS NOT NULL),
                    count(*) FILTER (WHERE marea.{look}_is_sound(v)),
                    min(v::text) FILTER (WHERE marea.{look}_is_sound(v) AND marea.{look}_problem(v) IS NOT NULL)
             FROM jsonb_array_elements($1) AS v"
        );
        let row = sql.query_one(&query, &[&Value::Array(rows)]).await.expect("a count");
        let (slipped, sound, which): (i64, i64, Option<String>) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(slipped, 0, "{look}: {which:?}");
        assert!(sound > 100, "{look}: only {sound} are found sound at once");
    }
}

/// What stood in the way, each by name: rejected alone, and the good one beside it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_rejected_alone_and_by_name() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let of = |values: Value| session("2026-01-01", values);
    let award = |values: Value| marea_tests::sql::event("2026-01-01", values);
    let made = |values: Value| {
        let values = with(values, "export_format", json!("csv"));
        mutation("export_history", "insert", None, &hlc(1), with(values, "export_type", json!("words")))
    };
    let huge: Value = json!({ "n": 1 });
    let cases = [
        (of(json!({ "qa_correct": 99, "qa_attempts": 10 })), "values.qa_correct:"),
        (of(json!({ "qa_correct": 1 })), "values.qa_correct:"),
        (of(json!({ "ended_at": "1969-12-31T23:50:00.000000Z" })), "values.ended_at:"),
        (of(json!({ "started_at": "2026-01-02T00:00:00.000000Z" })), "values.started_at:"),
        (of(json!({ "started_at": "2025-12-31T11:58:00.000000Z" })), "values.started_at:"),
        (of(json!({ "duration_minutes": -1 })), "values.duration_minutes:"),
        (of(json!({ "duration_minutes": i32::MAX })), "values.duration_minutes:"),
        (of(json!({ "session_type": "" })), "values.session_type:"),
        (of(json!({ "session_data": { "deep": nested(64) } })), "values.session_data:"),
        (of(json!({ "session_data": { "long": "x".repeat(65_536) } })), "values.session_data:"),
        (award(json!({})), "values:"),
        (award(json!({ "points": 0, "achievements": {} })), "values:"),
        (award(json!({ "questions_correct": 2, "questions_answered": 1 })), "values.questions_correct:"),
        (award(json!({ "points": 1_000_001 })), "values.points:"),
        (made(json!({ "filters": { "deep": nested(64) } })), "values.filters:"),
        (made(json!({ "data": nested(65) })), "values.data:"),
        (made(json!({ "retry_count": -1 })), "values.retry_count:"),
        (made(json!({ "file_url": "x".repeat(65_535) })), "values.file_url:"),
    ];
    for (bad, field) in cases {
        let good = of(json!({ "session_data": huge }));
        let batch = [good.clone(), bad, good];
        let answer = caller.sync(&marea_tests::sql::request(&batch)).await;
        let statuses = marea_tests::sql::statuses(&answer);
        assert_eq!(statuses, ["applied", "rejected 22023", "duplicate"], "{field} {answer}");
        let message = answer["results"][1]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(field), "{field} {message}");
    }
    // A number that no double holds comes as text: no JSON value of ours holds it.
    let raw = format!(
        "SELECT marea.session_problem('{{\"session_data\": {{\"n\": 1e400}}}}'), marea.register_problem('export_history', '{{\"data\": {}}}')",
        "9".repeat(400)
    );
    let row = backend.sql().await.query_one(&raw, &[]).await.expect("two problems");
    let problems: (Option<String>, Option<String>) = (row.get(0), row.get(1));
    assert!(problems.0.is_some_and(|problem| problem.starts_with("values.session_data: has a number")));
    assert!(problems.1.is_some_and(|problem| problem.starts_with("values.data: has a number")));
}

/// The size of JSON is what Postgres writes, counted alike to the last byte.
#[tokio::test(flavor = "multi_thread")]
async fn both_sides_count_the_bytes_of_json_alike() {
    let mut random = Random::of_this_run("bytes of json");
    let backend = TestBackend::shared().await;
    let sql = backend.sql().await;
    let mut engine = engine();
    for _ in 0..60 {
        let some = some_json(&mut random, 3);
        let count = "SELECT octet_length($1::jsonb::text)";
        let base: i32 =
            sql.query_one(count, &[&json!({ "a": some, "pad": "" })]).await.expect("a count").get(0);
        for (bytes, fits) in [(65_536 - base, true), (65_537 - base, false)] {
            let filters = json!({ "a": some, "pad": "x".repeat(usize::try_from(bytes).expect("room")) });
            let input = json!({ "export_type": "a", "export_format": "b", "filters": filters });
            let change = Change::CreateExport(serde_json::from_value(input).expect("an export"));
            assert_eq!(engine.mutate(change, at(NOON)).is_ok(), fits, "{some}");
        }
    }
}

fn some_json(random: &mut Random, depth: u32) -> Value {
    match random.within(0..=if depth == 0 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => json!(random.chance(50)),
        2 => {
            let float = f64::from_bits(random.bits());
            if float.abs() < 1e308 { json!(float) } else { json!(-0.0) }
        }
        3 => json!(random.bits().cast_signed()),
        4 => {
            let letters = ["a", "é", "\n", "\"", "\\", "\u{1}", "\u{7f}", "\u{1f600}", "\u{8}", "/"];
            json!((0..random.within(0..=9)).map(|_| *random.one_of(&letters)).collect::<String>())
        }
        5 => (0..random.within(0..=4)).map(|_| some_json(random, depth - 1)).collect(),
        _ => {
            let named = (0..random.within(0..=4)).map(|n| (format!("k{n}"), some_json(random, depth - 1)));
            Value::Object(named.collect())
        }
    }
}
