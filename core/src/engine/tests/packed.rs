//! Exports that come packed: as good as by their columns' names, and refused as a whole when they have no shape. What becomes
//! of single values is in `unreadable.rs`.

use serde_json::{Value, value::to_raw_value};

use super::*;

const COLUMNS: [&str; 11] = [
    "clocks",
    "id",
    "surprise",
    "export_type",
    "export_format",
    "status",
    "records_count",
    "file_size_bytes",
    "filters",
    "error_message",
    "created_at",
];

fn id(number: u32) -> String {
    format!("018f9d3e-7a00-7000-8000-{number:012}")
}

/// In the order of the columns.
fn row(number: u32, status: &str, clocks: Value) -> Vec<Value> {
    let created_at = json!(at(i64::from(number)).timestamp());
    let (words, csv, bytes) = (json!("words"), json!("csv"), json!("9007199254740993"));
    let (filters, said) = (json!({ "tags": ["a\"b"] }), json!("it said \"no\"\n"));
    vec![
        clocks,
        json!(id(number)),
        json!([1]),
        words,
        csv,
        json!(status),
        json!(3),
        bytes,
        filters,
        said,
        created_at,
    ]
}

fn packed(columns: &[&str], rows: &[Vec<Value>]) -> BTreeMap<String, String> {
    let values = |at: usize| rows.iter().map(|row| row[at].clone()).collect::<Value>();
    let named = columns.iter().enumerate().map(|(at, column)| ((*column).to_owned(), values(at)));
    in_text(&Value::Object(named.collect()).to_string())
}

fn in_text(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("export_history".to_owned(), text.to_owned())])
}

fn pull(engine: &mut Engine, packed: BTreeMap<String, String>) -> Option<String> {
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
    let stamps = json!({ "status": ["1763899200000-0001", "server"] });
    let rows = [row(1, "pending", json!({})), row(2, "completed", stamps), row(3, "failed", Value::Null)];
    assert_eq!(pull(&mut engine, packed(&COLUMNS, &rows)), None);
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
    pull(&mut engine, packed(&COLUMNS, &[row(1, "pending", json!({})), row(2, "pending", json!({}))]));
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
    let rows = [row(1, "processing", json!({})), row(2, "processing", json!({}))];
    let held = SyncAnswer { packed: packed(&COLUMNS, &rows), ..Server::default().page() };
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
fn packed_rows_of_no_shape_or_another_user_are_refused_with_their_whole_answer() {
    let good = packed(&COLUMNS, &[row(1, "pending", json!({})), row(2, "pending", json!({}))]);
    let good = &good["export_history"];
    assert!(pull(&mut engine(), in_text(good)).is_none());
    let another = "00000000-0000-4000-8000-000000000002";
    let owned_by_another = format!("\"user_id\":[\"{}\",\"{another}\"]", engine().user_id);
    let (own, surprise) = (owned_by_another.replace(another, &user().to_string()), "\"surprise\":[[1],[1]]");
    assert!(pull(&mut engine(), in_text(&good.replacen(surprise, &own, 1))).is_none());
    for (case, part, instead) in [
        ("no columns", good.as_str(), "[]"),
        ("not JSON", "]", ""),
        ("one column is shorter", "[{},{}]", "[{}]"),
        ("no clocks", "clocks", "watches"),
        ("another user's", surprise, &owned_by_another),
        ("nobody's", surprise, "\"user_id\":[7,8]"),
    ] {
        assert!(good.contains(part), "{case}");
        let mut engine = engine();
        let error = pull(&mut engine, in_text(&good.replacen(part, instead, 1)));
        assert_eq!(error.as_deref(), Some("unintelligible_answer"), "{case}");
        assert!(engine.exports(&ExportQuery::default()).unwrap().exports.is_empty(), "{case}");
    }
}

#[test]
fn a_row_by_its_columns_names_is_refused_with_its_answer_when_it_is_another_users() {
    let another = json!("00000000-0000-4000-8000-000000000002");
    for (owner, code) in [(json!(user()), None), (another, Some("unintelligible_answer"))] {
        let mut engine = engine();
        let values = json!({ "id": id(1), "user_id": owner, "export_type": "words", "export_format": "csv",
            "status": "completed", "created_at": at(1).timestamp() });
        let row = WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version: 7 };
        let rows = BTreeMap::from([("export_history".to_owned(), vec![row])]);
        let outgoing = send(&mut engine);
        let answer = SyncAnswer { rows, ..Server::default().page() };
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
        let said = engine.status(at(0)).unwrap().last_error.map(|error| error.code);
        assert_eq!(said.as_deref(), code, "{owner}");
        let kept = engine.exports(&ExportQuery::default()).unwrap().exports.len();
        assert_eq!(kept, usize::from(code.is_none()), "{owner}");
    }
}

#[test]
fn an_instant_that_no_mirror_can_hold_is_none_and_others_are_written_the_one_way_that_sorts() {
    for (sent, kept) in [
        ("infinity", Value::Null),
        ("-infinity", Value::Null),
        ("10000-01-01T00:00:00+00:00", Value::Null),
        ("0044-03-15T00:00:00+00:00 BC", Value::Null),
        ("2026-026-11-23T12:00:00.000000Z", Value::Null),
        ("2026-11-23T13:00:00.5+01:00", json!("2026-11-23T12:00:00.500000Z")),
    ] {
        let columns = COLUMNS.map(|column| if column == "surprise" { "expires_at" } else { column });
        let mut row = row(1, "completed", json!({}));
        row[2] = json!(sent);
        let by_column = packed(&columns, &[row]);
        let values = json!({ "id": id(1), "export_type": "words", "export_format": "csv", "status": "completed",
            "created_at": at(1).timestamp().to_string(), "expires_at": sent });
        let named = WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version: 7 };
        let by_name = BTreeMap::from([("export_history".to_owned(), vec![named])]);
        for answer in [
            SyncAnswer { packed: by_column, ..Server::default().page() },
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
