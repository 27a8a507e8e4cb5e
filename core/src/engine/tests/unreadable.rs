//! Values that jobs and apps write into the server's rows and that no device can read: each costs itself and nothing else. One of
//! them once kept every device of a user from ever syncing again.

use serde_json::{Value, value::RawValue};

use super::*;
use crate::model::{ExportChange, ExportStatus, Unreadable};
use crate::store::probe;

const ID: &str = "018f9d3e-7a00-7000-8000-000000000001";
const OTHER: &str = "018f9d3e-7a00-7000-8000-000000000002";

fn row(json: &str) -> WireRow {
    WireRow { values: RawValue::from_string(json.to_owned()).unwrap(), hlc: json!({}), version: 1 }
}

fn answer(rows: &[(&str, &str)], packed: Option<&str>) -> SyncAnswer {
    let mut by_table: BTreeMap<String, Vec<WireRow>> = BTreeMap::new();
    for (table, json) in rows {
        by_table.entry((*table).to_owned()).or_default().push(row(json));
    }
    let packed = packed.map(|text| ("export_history".to_owned(), text.to_owned())).into_iter().collect();
    SyncAnswer { rows: by_table, packed, ..Server::default().page() }
}

fn pull(engine: &mut Engine, answer: SyncAnswer) {
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(engine);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!(engine.status(at(0)).unwrap().last_error, None, "a value is no reason to stop");
}

/// What the status tells: column, code and rows.
fn told(engine: &Engine) -> Vec<(String, String, u32)> {
    let told = engine.status(at(0)).unwrap().unreadable;
    let short = |u: Unreadable| (format!("{}.{}", u.table.name(), u.column), u.code, u.rows);
    told.into_iter().map(short).collect()
}

fn one(column: &str) -> Vec<(String, String, u32)> {
    vec![(column.to_owned(), Unreadable::VALUE.to_owned(), 1)]
}

fn deep(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// An export with one column in another way; all by their names.
fn export(id: &str, column: &str, json: &str) -> String {
    let columns = [
        ("id", format!("\"{id}\"")),
        ("export_type", "\"words\"".to_owned()),
        ("export_format", "\"csv\"".to_owned()),
        ("status", "\"completed\"".to_owned()),
        ("records_count", "3".to_owned()),
        ("file_size_bytes", "\"12\"".to_owned()),
        ("filters", "{}".to_owned()),
        ("data", "null".to_owned()),
        ("expires_at", "null".to_owned()),
        ("created_at", format!("\"{}\"", at(1).timestamp())),
    ];
    let column_of =
        |(name, value): &(&str, String)| format!("\"{name}\":{}", if *name == column { json } else { value });
    format!("{{{}}}", columns.iter().map(column_of).collect::<Vec<_>>().join(","))
}

/// The same rows column by column.
fn packed(rows: &[String]) -> String {
    let rows: Vec<BTreeMap<String, &RawValue>> =
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    let values = |name: &String| rows.iter().map(|row| row[name].get()).collect::<Vec<_>>().join(",");
    let columns = rows[0].keys().map(|name| format!("\"{name}\":[{}]", values(name)));
    let clocks = format!("\"clocks\":[{}]", vec!["{}"; rows.len()].join(","));
    format!("{{{}}}", columns.chain([clocks]).collect::<Vec<_>>().join(","))
}

#[test]
fn one_value_of_an_export_costs_itself() {
    let (levels, long) = (deep(200), "9".repeat(400));
    let numbers = r#"{"n": 1e400}"#;
    for (column, json) in [
        ("data", numbers),
        ("data", &levels),
        ("data", &long),
        ("data", r#""\ud800""#),
        ("filters", numbers),
        ("status", "5"),
        ("export_type", "null"),
        ("records_count", "1.5"),
        ("records_count", "1e300"),
        ("records_count", "\"many\""),
        ("file_size_bytes", "\"9223372036854775808\""),
        ("expires_at", "\"20000-01-01 00:00:00+00\""),
        ("expires_at", "\"0044-03-15T00:00:00+00:00 BC\""),
        ("expires_at", "7"),
        ("created_at", "\"infinity\""),
        ("created_at", "\"0044-03-15T00:00:00+00:00 BC\""),
    ] {
        let rows = [export(ID, column, json), export(OTHER, "", "")];
        let by_name = answer(&[("export_history", &rows[0]), ("export_history", &rows[1])], None);
        for answer in [by_name, answer(&[], Some(&packed(&rows)))] {
            let mut engine = engine();
            pull(&mut engine, answer);
            assert_eq!(told(&engine), one(&format!("export_history.{column}")), "{json}");
            let shown = engine.exports(&ExportQuery::default()).unwrap().exports;
            assert_eq!(shown.len(), 2, "both rows are there: {column} {json}");
            let spoilt = engine.export(ID.parse().unwrap()).unwrap().unwrap();
            let whole = engine.export(OTHER.parse().unwrap()).unwrap().unwrap();
            for (name, value) in serde_json::to_value(&spoilt).unwrap().as_object().unwrap() {
                let expected = &serde_json::to_value(&whole).unwrap()[name];
                assert!(value == expected || name == "id" || name == column, "{column} {json}: {name}");
            }
            let diagnostics = engine.diagnostics(at(0)).unwrap();
            assert!(diagnostics.contains(column) && !diagnostics.contains(json) || json.len() < 5, "{json}");
            // Written on, and then read again as it should be: nothing is left of it.
            let change = ExportChange { status: Some(ExportStatus::Failed), ..ExportChange::default() };
            engine.mutate(Change::UpdateExport { id: ID.parse().unwrap(), change }, at(0)).unwrap();
            engine.rebuild_visible().unwrap();
            assert_eq!(engine.export(ID.parse().unwrap()).unwrap().unwrap().status, "failed");
        }
    }
}

#[test]
fn of_one_column_a_hundred_rows_are_told_apart() {
    let mut engine = engine();
    for (rows, known) in [(100, 100), (101, 100)] {
        let spoilt: Vec<String> = (0..rows)
            .map(|row| export(&format!("018f9d3e-7a00-7000-8000-{row:012}"), "data", "1e400"))
            .collect();
        pull(&mut engine, answer(&[], Some(&packed(&spoilt))));
        assert_eq!(told(&engine)[0].2, known);
    }
}

#[test]
fn what_can_be_read_again_is_told_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let mut engine = open(&location).unwrap();
    let spoilt = [export(ID, "data", "1e400"), export(OTHER, "data", "1e400")];
    pull(&mut engine, answer(&[], Some(&packed(&spoilt))));
    drop(engine);
    let mut engine = open(&location).unwrap();
    let mut expected = one("export_history.data");
    expected[0].2 = 2;
    assert_eq!(told(&engine), expected, "known after a restart");
    pull(&mut engine, answer(&[("export_history", &export(ID, "data", "[1]"))], None));
    assert_eq!(told(&engine), one("export_history.data"));
    let mut gone = answer(&[], None);
    gone.deleted.insert("export_history".to_owned(), vec![OTHER.to_owned()]);
    pull(&mut engine, gone);
    assert_eq!(told(&engine), []);
    assert_eq!(engine.export(ID.parse().unwrap()).unwrap().unwrap().data, Some(json!([1])));
}

#[test]
fn one_value_of_progress_costs_itself() {
    let achievements =
        format!(r#"{{"first": "{}", "odd": {}, "huge": 1e400}}"#, at(0).timestamp(), deep(200));
    for (column, json, is_told) in [
        ("average_accuracy", "\"NaN\"", true),
        ("average_accuracy", "1e400", true),
        ("average_accuracy", "null", true),
        ("total_points", "1.5", true),
        ("total_points", "99999999999999999999", true),
        ("last_activity_at", "\"20000-01-01T00:00:00.000000Z\"", true),
        ("last_active_on", "\"20000-01-01\"", true),
        ("created_at", "[]", true),
        ("achievements", achievements.as_str(), false),
        ("achievements", "[1, 2]", false),
        ("something_new", "1e400", false),
    ] {
        let user = user();
        let progress =
            format!(r#"{{"user_id":"{user}","total_sessions":7,"longest_streak_days":3,"{column}":{json}}}"#);
        let day = r#"{"day":"2025-11-22","sessions":7}"#;
        let mut engine = engine();
        pull(&mut engine, answer(&[("user_progress", &progress), ("daily_activity", day)], None));
        let expected = if is_told { one(&format!("user_progress.{column}")) } else { Vec::new() };
        assert_eq!(told(&engine), expected, "{json}");
        assert_eq!(totals(&engine).0, 7, "{column} {json}");
        assert_eq!(engine.progress(at(0)).unwrap().longest_streak_days, 3, "{column} {json}");
        let unlocked = usize::from(json == achievements);
        assert_eq!(engine.progress(at(0)).unwrap().achievements.len(), unlocked, "{column} {json}");
        record(&mut engine, 10);
        assert_eq!(totals(&engine).0, 8, "{column} {json}");
    }
}

#[test]
fn days_before_1970_are_days_and_a_row_without_a_key_is_left_out() {
    let mut engine = engine();
    let days = [
        r#"{"day":"1969-12-31","sessions":2}"#,
        r#"{"day":"2025-11-22","sessions":"x","minutes":5}"#,
        r#"{"day":"20000-01-01","sessions":4}"#,
        r#"{"sessions":4}"#,
        "[]",
        "1e400",
    ];
    let rows: Vec<(&str, &str)> = days.iter().map(|day| ("daily_activity", *day)).collect();
    let exports = [export("no id", "", ""), export(OTHER, "", "")];
    pull(&mut engine, answer(&rows, Some(&packed(&exports))));
    let shown = engine.activity("0000-01-01".parse().unwrap(), "9999-12-31".parse().unwrap()).unwrap();
    let shown: Vec<_> = shown.iter().map(|day| (day.day.to_string(), day.sessions, day.minutes)).collect();
    assert_eq!(shown, [("1969-12-31".to_owned(), 2, 0), ("2025-11-22".to_owned(), 0, 5)]);
    assert_eq!(engine.exports(&ExportQuery::default()).unwrap().exports.len(), 1);
    let told = told(&engine);
    assert!(told.contains(&("daily_activity.day".into(), Unreadable::ROW.into(), 1)), "{told:?}");
    assert!(told.contains(&("daily_activity.sessions".into(), Unreadable::VALUE.into(), 1)), "{told:?}");
    assert!(told.contains(&("export_history.id".into(), Unreadable::ROW.into(), 1)), "{told:?}");
}

/// Register clocks that are none: the row counts as written by nobody.
#[test]
fn clocks_that_cannot_be_read_cost_no_row() {
    let text = format!(
        r#"{{"protocol":1,"server_time":"{}","cursor":{{"version":1,"epoch":"e"}},
            "rows":{{"export_history":[{{"values":{},"hlc":{{"status":1e400}}}},{{"values":{},"hlc":[1]}}]}}}}"#,
        at(0).timestamp(),
        export(ID, "", ""),
        export(OTHER, "", "")
    );
    let mut engine = engine();
    pull(&mut engine, serde_json::from_str(&text).expect("an answer reads whatever its clocks are"));
    assert_eq!(engine.exports(&ExportQuery::default()).unwrap().exports.len(), 2);
    assert_eq!(told(&engine), one("export_history.clocks"));
}

/// Whatever an older version let into the queue, the mirror can be read and the rest of it goes on.
#[test]
fn a_mutation_that_cannot_be_read_spoils_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirror.sqlite3");
    let mut engine = open(&Location::File(path.clone())).unwrap();
    let spoilt = record(&mut engine, 10);
    record(&mut engine, 5);
    drop(engine);
    probe::nest_data(&path, &spoilt.to_string(), 127);
    let mut engine = open(&Location::File(path)).unwrap();
    engine.rebuild_visible().unwrap();
    assert_eq!(totals(&engine), (1, 5));
    let listed = engine.pending().unwrap();
    assert_eq!((listed.len(), &listed[0].values), (2, &Value::Null));
    assert_eq!(send(&mut engine).request.mutations.len(), 2, "the server judges both");
}
