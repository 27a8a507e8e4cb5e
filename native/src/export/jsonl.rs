//! JSON Lines: one object a line, UTF-8, a line feed after each.

use serde_json::Value;

use super::Records;
use super::value::object;

pub(super) fn write(records: &Records) -> Vec<u8> {
    let mut out = String::new();
    for row in &records.rows {
        let members =
            records.columns.iter().map(|it| (it.name.as_str(), row.get(&it.name).unwrap_or(&Value::Null)));
        out += &object(members);
        out.push('\n');
    }
    out.into_bytes()
}
