//! JSON Lines: one object a line, UTF-8, a line feed after each.

use serde_json::{Map, Value};

use super::Records;

pub(super) fn write(records: &Records) -> Vec<u8> {
    let mut out = Vec::new();
    for row in &records.rows {
        let known =
            records.columns.iter().filter_map(|name| Some(((*name).to_owned(), row.get(*name)?.clone())));
        let object: Map<String, Value> = known.collect();
        out.extend_from_slice(Value::Object(object).to_string().as_bytes());
        out.push(b'\n');
    }
    out
}
