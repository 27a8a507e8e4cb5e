//! Exports that come packed: as good as by their columns' names, and refused as a whole when one does not fit.

use serde_json::{Value, value::RawValue};

use super::*;

const COLUMNS: &str = r#"["id","surprise","export_type","export_format","status","records_count","file_size_bytes",
  "filters","error_message","created_at"]"#;

fn id(number: u32) -> String {
    format!("018f9d3e-7a00-7000-8000-{number:012}")
}

fn row(number: u32, status: &str, hlc: &str) -> String {
    format!(
        r#"[{number}, {hlc}, "{}", [1], "words", "csv", "{status}", 3, "9007199254740993",
            {{"tags": ["a\"b"]}}, "it said \"no\"\n", "{}"]"#,
        id(number),
        at(i64::from(number)).timestamp()
    )
}

fn packed(columns: &str, rows: &[String]) -> BTreeMap<String, Box<RawValue>> {
    let text = format!(r#"{{"columns": {columns}, "rows": [{}]}}"#, rows.join(","));
    BTreeMap::from([("export_history".to_owned(), RawValue::from_string(text).unwrap())])
}

fn pull(engine: &mut Engine, packed: BTreeMap<String, Box<RawValue>>) -> Option<String> {
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(engine);
    assert!(outgoing.request.packed);
    let answer = SyncAnswer { packed, ..Server::default().page() };
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    engine.status(at(0)).unwrap().last_error.map(|error| error.code)
}

#[test]
fn packed_rows_are_kept_column_by_column() {
    let mut engine = engine();
    let subscription = engine.subscribe();
    let stamps = r#"{"status": ["1763899200000-0001", "server"]}"#;
    let rows = [row(1, "pending", "{}"), row(2, "completed", stamps), row(3, "failed", "null")];
    assert_eq!(pull(&mut engine, packed(COLUMNS, &rows)), None);
    let kept = engine.exports(&ExportQuery::default()).unwrap().exports;
    assert_eq!(kept.iter().map(|kept| kept.id.to_string()).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
    let one = serde_json::to_value(&kept[1]).unwrap();
    for (column, value) in [
        ("status", json!("completed")),
        ("records_count", json!(3)),
        ("file_size_bytes", json!("9007199254740993")),
        ("filters", json!({"tags": ["a\"b"]})),
        ("error_message", json!("it said \"no\"\n")),
        ("file_url", Value::Null),
    ] {
        assert_eq!(one[column], value, "{column}");
    }
    let changes = engine.take_changed_rows(subscription);
    let named = changes.iter().find(|change| change.table == Table::ExportHistory).unwrap();
    assert_eq!(named.keys.as_ref().unwrap().len(), 3);
}

#[test]
fn a_local_write_stays_on_top_of_a_packed_row() {
    let mut engine = engine();
    pull(&mut engine, packed(COLUMNS, &[row(1, "pending", "{}"), row(2, "pending", "{}")]));
    let change = crate::model::ExportChange { status: Some(ExportStatus::Failed), ..Default::default() };
    let export = id(1).parse().unwrap();
    engine.mutate(Change::UpdateExport { id: export, change }, at(1)).unwrap();
    // An answer that was under way before the write: both rows again, neither with it.
    engine.signal(Signal::SyncNow, at(1));
    let outgoing = send(&mut engine);
    let results = outgoing.request.mutations.iter().map(|mutation| MutationResult {
        id: mutation.id,
        status: ResultStatus::Rejected,
        code: Some("42501".to_owned()),
        message: None,
    });
    let rows = [row(1, "processing", "{}"), row(2, "processing", "{}")];
    let held = SyncAnswer { packed: packed(COLUMNS, &rows), ..Server::default().page() };
    let refused = SyncAnswer { results: results.collect(), ..held.clone() };
    engine.apply_response(outgoing.ticket, Err(Failure::Timeout), at(1)).unwrap();
    let shown = |engine: &Engine| engine.export(export).unwrap().unwrap().status;
    assert_eq!(shown(&engine), "failed", "still on top");
    engine.signal(Signal::SyncNow, at(1));
    let again = send(&mut engine);
    engine.apply_response(again.ticket, Ok(refused), at(1)).unwrap();
    assert_eq!(shown(&engine), "processing", "as the server has it, once the write was refused");
}

#[test]
fn packed_rows_that_do_not_fit_are_refused_with_their_whole_answer() {
    let good = row(1, "pending", "{}");
    let with = |from: &str, to: &str| vec![good.clone(), good.replace(from, to)];
    let unnamed = COLUMNS.replace("\"status\"", "\"stat\"");
    let owned = COLUMNS.replace("surprise", "user_id");
    let cases = [
        ("too short", COLUMNS, vec!["[1, {}]".to_owned()]),
        ("no list", COLUMNS, vec!["{}".to_owned()]),
        ("a required column is null", COLUMNS, with("\"words\"", "null")),
        ("a required column is missing", &unnamed, vec![good.clone()]),
        ("text for a number", COLUMNS, with(" 3,", " \"many\",")),
        ("a number that no integer holds", COLUMNS, with(" 3,", " 1e300,")),
        ("JSON that cannot be read back", COLUMNS, with("[\"a\\\"b\"]", "1e999")),
        ("an id that is none", COLUMNS, with("018f9d3e-7a00-7000-8000", "018f9d3e")),
        ("an id written another way", COLUMNS, with("018f9d3e-7a00", "018F9D3E-7A00")),
        ("no instant where one is required", COLUMNS, with("Z\"]", "\"]")),
        ("clocks that are none", COLUMNS, with("{}", "{\"status\": 1}")),
        ("another user's", &owned, with("[1]", "\"00000000-0000-4000-8000-000000000002\"")),
    ];
    for (case, columns, rows) in cases {
        let mut engine = engine();
        let error = pull(&mut engine, packed(columns, &rows));
        assert_eq!(error.as_deref(), Some("unintelligible_answer"), "{case}");
        assert!(engine.exports(&ExportQuery::default()).unwrap().exports.is_empty(), "{case}");
    }
}

#[test]
fn an_instant_that_no_mirror_can_hold_is_none_and_others_are_written_the_one_way_that_sorts() {
    // As `to_char` writes infinity and a late year, and as JSON of a bare timestamptz looks.
    for (sent, kept) in [
        ("", Value::Null),
        ("10000-01-01T00:00:00.000000Z", Value::Null),
        ("2026-026-11-23T12:00:00.000000Z", Value::Null),
        ("2026-11-23T13:00:00.5+01:00", json!("2026-11-23T12:00:00.500000Z")),
    ] {
        let columns = COLUMNS.replace("surprise", "expires_at");
        let rows = [row(1, "completed", "{}").replace("[1]", &json!(sent).to_string())];
        let by_list = packed(&columns, &rows);
        let values = json!({ "id": id(1), "export_type": "words", "export_format": "csv", "status": "completed",
            "created_at": at(1).timestamp().to_string(), "expires_at": sent });
        let named = WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version: 7 };
        let by_name = BTreeMap::from([("export_history".to_owned(), vec![named])]);
        for answer in [
            SyncAnswer { packed: by_list, ..Server::default().page() },
            SyncAnswer { rows: by_name, ..Server::default().page() },
        ] {
            let mut engine = engine();
            engine.signal(Signal::SyncNow, at(0));
            let outgoing = send(&mut engine);
            engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
            assert_eq!(engine.status(at(0)).unwrap().last_error, None, "{sent}");
            let shown = engine.exports(&ExportQuery::default()).unwrap().exports.remove(0);
            assert_eq!(serde_json::to_value(shown).unwrap()["expires_at"], kept, "{sent}");
        }
    }
}
