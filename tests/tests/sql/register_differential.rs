//! The same merge twice: `marea_sync` in Postgres and the engine's merge must agree on every column of exports and keys and
//! on every column's clock, over random writes of several devices: ties, equal stamps, clocks ahead, deletions.

use std::collections::BTreeMap;

use marea_core::{Hlc, MergedRow, Op, Rule, Table, merge_registers, rule_of};
use marea_tests::backend::TestBackend;
use marea_tests::random::Random;
use marea_tests::sql::{Caller, mutation, request, statuses, with};
use marea_tests::vault::of_shape;
use serde_json::{Map, Value, json};

const HISTORIES: usize = 30;
const DEVICES: [&str; 3] = [
    "10000000-0000-4000-8000-000000000001",
    "20000000-0000-4000-8000-000000000002",
    "30000000-0000-4000-8000-000000000003",
];
/// Long before the server's present, so that it believes the clocks.
const EARLY_MS: i64 = 1_763_899_200_000;

/// One write, as a device would send it.
struct Write {
    op: Op,
    device: &'static str,
    hlc: String,
    values: Value,
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_rust_merge_every_column_alike() {
    let backend = TestBackend::shared().await;
    let mut random = Random::of_this_run("register_differential");
    let (mut merged, mut pulled_back, mut ties) = (0, 0, 0);
    for history in 0..HISTORIES {
        let caller = Caller::new(&backend).await;
        let table = *random.one_of(&[Table::ExportHistory, Table::UserApiKeys]);
        let begun = (table == Table::ExportHistory).then(|| begin(&mut random));
        let first = begun.as_ref().map(|write| as_mutation(table, None, write));
        let key = match &first {
            Some(insert) => insert["id"].as_str().expect("an id").to_owned(),
            None => caller.user.to_string(),
        };
        let mut rust: MergedRow = None;
        let mut log = Vec::new();
        for step in 0..random.within(2..=16) {
            let write = match (step, &begun) {
                (0, Some(_)) => begin_of(&begun),
                _ => change(table, &mut random),
            };
            let sent = match (step, &first) {
                (0, Some(first)) => first.clone(),
                _ => as_mutation(table, Some(&key), &write),
            };
            let answer = caller.sync(&with(request(&[sent]), "client_id", json!(write.device))).await;
            log.push(format!(
                "{} {} {} {}: {:?}",
                write.device,
                write.hlc,
                write.op.name(),
                write.values,
                statuses(&answer)
            ));
            let stored = answer["rows"][table.name()][0].clone();
            ties += u32::from(log.len() > 1 && write.hlc.ends_with("0000"));
            let stamp = match is_ahead(&write) {
                false => write.hlc.clone(),
                true => {
                    pulled_back += 1;
                    match stamp_taken(&stored, &write) {
                        Some(stamp) => stamp,
                        None => continue,
                    }
                }
            };
            let stamp: (Hlc, String) = (stamp.parse().expect("a clock"), write.device.to_owned());
            let values = write.values.as_object().cloned().expect("columns");
            rust = merge_registers(table, None, rust, write.op, stamp, values);
            compare(table, &stored, &rust, &log);
            merged += 1;
        }
        if history % 5 == 0 && table == Table::ExportHistory {
            // Deleted in plain SQL: a merge does not bring it back, on either side.
            let delete = "DELETE FROM public.export_history WHERE user_id = $1";
            backend.sql().await.execute(delete, &[&caller.user]).await.expect("deleted");
            let write = change(table, &mut random);
            caller.sync(&request(&[as_mutation(table, Some(&key), &write)])).await;
            assert_eq!(caller.pull().await["rows"][table.name()], Value::Null, "{log:#?}");
            let stamp = (write.hlc.parse().expect("a clock"), write.device.to_owned());
            let values = write.values.as_object().cloned().expect("columns");
            assert!(merge_registers(table, None, None, Op::Merge, stamp, values).is_none());
        }
    }
    assert!(
        merged > 100 && pulled_back > 5 && ties > 25,
        "{merged} merged, {pulled_back} ahead, {ties} ties"
    );
}

/// The insert of an export, with everything that is set once.
fn begin(random: &mut Random) -> Write {
    let values = json!({
        "export_type": "words", "export_format": "csv", "filters": { "level": random.within(0..=3) },
        "status": "pending", "created_at": "2025-11-23T12:00:00.000000Z",
    });
    Write { op: Op::Insert, device: DEVICES[0], hlc: clock(random), values }
}

fn begin_of(begun: &Option<Write>) -> Write {
    let write = begun.as_ref().expect("an insert");
    Write { op: write.op, device: write.device, hlc: write.hlc.clone(), values: write.values.clone() }
}

/// One of few clocks, so that ties and equal stamps are common; one in eight is far ahead of any server.
fn clock(random: &mut Random) -> String {
    if random.chance(12) {
        return format!("{:013}-0000", 9_999_999_000_000 + random.within(0..=9));
    }
    format!("{:013}-{:04x}", EARLY_MS + random.within(0..=3), random.within(0..=1))
}

fn change(table: Table, random: &mut Random) -> Write {
    let mut values = Map::new();
    for _ in 0..random.within(1..=2) {
        let (column, value) = match table {
            Table::ExportHistory => match random.within(0..=5) {
                0 => ("status", json!(random.one_of(&["processing", "completed", "failed", "expired"]))),
                1 => ("records_count", json!(random.within(0..=9))),
                2 => ("file_size_bytes", json!((9_007_199_254_740_993 + random.within(0..=9)).to_string())),
                3 => ("file_url", maybe(random, "https://files.example/")),
                4 => ("data", json!({ "rows": random.within(0..=9), "deep": [null, { "a": 1 }] })),
                _ => ("error_message", maybe(random, "error ")),
            },
            _ => match random.within(0..=3) {
                0 => ("openai_api_key", envelope(random)),
                1 => ("unsplash_api_key", envelope(random)),
                2 => ("anthropic_api_key", envelope(random)),
                _ => (
                    "last_validated_at",
                    json!(format!("2025-11-23T12:00:0{}.000000Z", random.within(0..=9))),
                ),
            },
        };
        values.insert(column.to_owned(), value);
    }
    Write {
        op: Op::Merge,
        device: random.one_of::<&str>(&DEVICES),
        hlc: clock(random),
        values: values.into(),
    }
}

fn maybe(random: &mut Random, start: &str) -> Value {
    if random.chance(25) { Value::Null } else { json!(format!("{start}{}", random.within(0..=99))) }
}

/// Few different ones, so that two devices write the same.
fn envelope(random: &mut Random) -> Value {
    if random.chance(25) { Value::Null } else { json!(of_shape(random.within(0..=99))) }
}

fn as_mutation(table: Table, key: Option<&str>, write: &Write) -> Value {
    mutation(table.name(), write.op.name(), key, &write.hlc, write.values.clone())
}

/// Whether the server will have pulled the clock back to its own.
fn is_ahead(write: &Write) -> bool {
    write.hlc.as_str() > "9999999"
}

/// The clock that the server gave a write instead of its own, if a column of it was taken.
fn stamp_taken(stored: &Value, write: &Write) -> Option<String> {
    let columns = write.values.as_object()?.keys();
    let clocks = columns.filter_map(|column| stored["hlc"][column][0].as_str());
    clocks.max().map(str::to_owned)
}

fn compare(table: Table, stored: &Value, rust: &MergedRow, log: &[String]) {
    let (values, clocks) = rust.as_ref().expect("a row");
    let clocks: BTreeMap<&String, Value> =
        clocks.iter().map(|(column, stamp)| (column, json!([stamp.0.to_string(), stamp.1]))).collect();
    assert_eq!(json!(clocks), stored["hlc"], "{log:#?}");
    let columns = stored["values"].as_object().expect("columns");
    let mut compared = 0;
    for (column, value) in columns {
        let is_merged = matches!(rule_of(table, column), Some(Rule::Register | Rule::Once));
        if let (true, Some(own)) = (is_merged, values.get(column)) {
            assert_eq!(own, value, "{column}: {log:#?}");
            compared += 1;
        }
    }
    assert_eq!(compared, values.keys().filter(|column| columns.contains_key(*column)).count(), "{log:#?}");
}
