//! What the server says. Unknown fields, tables and columns are ignored, so that a newer server can say more.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::model::object::read_by_names_and_written;
use crate::model::{MutationId, Timestamp, redacted_debug};
use crate::wire::Cursor;

/// What became of one mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultStatus {
    /// The server has it now.
    Applied,
    /// The server had it already.
    Duplicate,
    /// The server will never take it.
    Rejected,
}

/// The answer to one mutation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct MutationResult {
    /// The mutation.
    pub id: MutationId,
    /// What became of it.
    pub status: ResultStatus,
    /// SQLSTATE of a rejection.
    #[serde(default)]
    pub code: Option<String>,
    /// The reason of a rejection.
    #[serde(default)]
    pub message: Option<String>,
}

/// One row as the server has it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct WireRow {
    /// All columns by name, a JSON object.
    pub values: Box<RawValue>,
    /// Register clocks by column; null where they cannot be read.
    #[serde(default, deserialize_with = "readable")]
    pub hlc: serde_json::Value,
    /// The version at which the row last changed.
    #[serde(default)]
    pub version: i64,
}

/// One answer.
#[derive(Clone, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// The protocol version.
    pub protocol: u32,
    /// The server's clock.
    pub server_time: Timestamp,
    /// The cursor was of no use: this page starts from nothing.
    #[serde(default)]
    pub reset: bool,
    /// One for each mutation of the request, in its order.
    #[serde(default)]
    pub results: Vec<MutationResult>,
    /// Changed rows by table.
    #[serde(default)]
    pub rows: BTreeMap<String, Vec<WireRow>>,
    /// More changed rows by table, column by column: a JSON text each, because there may be very many.
    #[serde(default)]
    pub packed: BTreeMap<String, String>,
    /// Keys of deleted rows by table.
    #[serde(default)]
    pub deleted: BTreeMap<String, Vec<String>>,
    /// Where the next request begins.
    pub cursor: Cursor,
    /// Whether there is more to pull at once.
    #[serde(default)]
    pub has_more: bool,
    /// The app has no row for this user in `users` yet: what is pushed will be refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user_missing: bool,
    /// The server tells devices of changes: they may listen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wakeups: bool,
    /// The server's catalogue, for who asked for it and has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<Box<RawValue>>,
}

read_by_names_and_written!(MutationResult, WireRow);
redacted_debug!(WireRow, SyncAnswer);

/// Reads JSON, and takes what no parser of ours holds (a number like 1e400, 200 levels) for null: it must not cost the answer.
fn readable<'de, D: Deserializer<'de>>(from: D) -> Result<serde_json::Value, D::Error> {
    let raw = Box::<RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_a_newer_server_still_reads() {
        let text = r#"{"protocol":1,"server_time":"2026-11-23T12:00:00.000000Z","reset":false,"surprise":[1],
            "results":[{"id":"018f9d3e-7a00-7000-8000-0123456789ab","status":"applied","extra":true}],
            "rows":{"user_progress":[{"values":{"total_sessions":1,"new":2},"hlc":{},"version":7}],"unheard_of":[]},
            "deleted":{},"cursor":{"version":7,"epoch":"e"},"has_more":false}"#;
        let answer: SyncAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(answer.cursor.version, 7);
        assert_eq!(answer.results[0].status, ResultStatus::Applied);
        assert_eq!(answer.rows["user_progress"][0].version, 7);
    }
}
