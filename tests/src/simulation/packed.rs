//! Exports as the real server packs them for who asks: the columns named once, each row a list.

use marea_core::{SyncAnswer, WireRow};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

/// In the real server's order.
const COLUMNS: [&str; 17] = [
    "id",
    "export_type",
    "export_format",
    "status",
    "records_count",
    "file_size_bytes",
    "file_url",
    "filters",
    "data",
    "error_message",
    "retry_count",
    "started_at",
    "completed_at",
    "processing_time_seconds",
    "expires_at",
    "created_at",
    "updated_at",
];

/// Moves an answer's exports to its packed rows.
pub(super) fn pack(answer: &mut SyncAnswer) {
    let Some(exports) = answer.rows.remove("export_history") else { return };
    let rows: Vec<Value> = exports
        .iter()
        .map(|export| {
            let values: Map<String, Value> = serde_json::from_str(export.values.get()).expect("columns");
            let columns = COLUMNS.map(|column| values.get(column).cloned().unwrap_or_default());
            Value::from_iter([json!(export.version), export.hlc.clone()].into_iter().chain(columns))
        })
        .collect();
    let packed = to_raw_value(&json!({ "columns": COLUMNS, "rows": rows })).expect("JSON");
    answer.packed.insert("export_history".to_owned(), packed);
}

/// An answer with each row by its columns' names.
pub fn unpacked(answer: &SyncAnswer) -> SyncAnswer {
    let mut answer = answer.clone();
    for (table, packed) in std::mem::take(&mut answer.packed) {
        let packed: Value = serde_json::from_str(packed.get()).expect("JSON");
        let columns: Vec<String> = serde_json::from_value(packed["columns"].clone()).expect("names");
        let rows: Vec<Vec<Value>> = serde_json::from_value(packed["rows"].clone()).expect("lists");
        answer.rows.entry(table).or_default().extend(rows.into_iter().map(|mut row| {
            let values = columns.iter().cloned().zip(row.split_off(2));
            // What the model's rows do not have is null in a list.
            let values: Map<String, Value> = values.filter(|(_, value)| !value.is_null()).collect();
            WireRow {
                values: to_raw_value(&values).expect("JSON"),
                version: row[0].as_i64().expect("a version"),
                hlc: row[1].take(),
            }
        }));
    }
    answer
}
