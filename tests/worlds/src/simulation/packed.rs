//! Exports as the real server packs them for who asks: column by column.

use std::collections::BTreeMap;

use marea_core::{SyncAnswer, Timestamp, WireRow};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

const CLOCKS: &str = "clocks";
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
    let read =
        |export: &WireRow| serde_json::from_str::<Map<String, Value>>(export.values.get()).expect("columns");
    let rows: Vec<Map<String, Value>> = exports.iter().map(read).collect();
    let values = |column: &str| rows.iter().map(|row| row.get(column).cloned().unwrap_or_default()).collect();
    let clocks = exports.iter().map(|export| export.hlc.clone()).collect();
    let columns = COLUMNS.map(|column| (column.to_owned(), values(column)));
    let columns: Map<String, Value> = columns.into_iter().chain([(CLOCKS.to_owned(), clocks)]).collect();
    answer.packed.insert("export_history".to_owned(), Value::from(columns).to_string());
}

/// An answer with each row by its columns' names. What is packed comes without its version.
pub fn unpacked(answer: &SyncAnswer) -> SyncAnswer {
    let mut answer = answer.clone();
    for (table, packed) in std::mem::take(&mut answer.packed) {
        let mut columns: BTreeMap<String, Vec<Value>> = serde_json::from_str(&packed).expect("columns");
        let clocks = columns.remove(CLOCKS).expect("clocks");
        answer.rows.entry(table).or_default().extend(clocks.into_iter().enumerate().map(|(at, hlc)| {
            let values =
                columns.iter().map(|(column, values)| (column.clone(), wire_form(column, &values[at])));
            // What the model's rows do not have is null among the values.
            let values: Map<String, Value> = values.filter(|(_, value)| !value.is_null()).collect();
            WireRow { values: to_raw_value(&values).expect("JSON"), version: 0, hlc }
        }));
    }
    answer
}

/// A value as it comes by its column's name: among packed ones Postgres writes times its own way.
fn wire_form(column: &str, value: &Value) -> Value {
    let time = value.as_str().filter(|_| column.ends_with("_at"));
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    time.map_or_else(|| value.clone(), |time| Value::from(time.to_string()))
}
