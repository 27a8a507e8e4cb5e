//! Registers as the SQL merges them: last writer wins per column, clocks from the far future are pulled back.
//!
//! Written apart from the engine's own merge, so that the two can disagree.

use std::collections::BTreeMap;

use marea_core::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Who wrote a column last: clock, and client or `server`. Compares as the rule does.
pub(super) type Stamp = (String, String);

/// One row as the server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) values: Map<String, Value>,
    pub(super) stamps: BTreeMap<String, Stamp>,
}

/// One write to one row, by whoever.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) table: String,
    pub(super) key: String,
    pub(super) begins: bool,
    pub(super) stamp: Stamp,
    pub(super) values: Map<String, Value>,
}

const ONCE: [&str; 5] = ["id", "export_type", "export_format", "filters", "created_at"];
/// Further ahead of the server's clock than this is not believed.
pub(super) const MAX_AHEAD_MS: i64 = 5 * 60 * 1000;

/// The clock of what only heals.
const BEFORE_ALL: &str = "0000000000000-0000";

/// Whether a column is set at insert and never again.
pub(super) fn is_once(column: &str) -> bool {
    ONCE.contains(&column)
}

/// A clock as the server takes it; `place` keeps the order within a request, as the passing microseconds do.
pub(super) fn pulled_back(hlc: &str, now_ms: i64, place: usize) -> String {
    let millis: i64 = hlc[..13].parse().expect("the engine sends clocks");
    if millis > now_ms + MAX_AHEAD_MS { format!("{now_ms:013}-{place:04x}") } else { hlc.to_owned() }
}

/// A clock of the server, later than the given one.
pub(super) fn server_clock(after: Option<&Stamp>, now_ms: i64) -> String {
    let fresh = format!("{now_ms:013}-0000");
    match after {
        Some((after, _)) if *after >= fresh => {
            let millis: i64 = after[..13].parse().expect("a clock");
            let counter = u32::from_str_radix(&after[14..], 16).expect("a clock");
            if counter == 0xffff {
                format!("{:013}-0000", millis + 1)
            } else {
                format!("{millis:013}-{:04x}", counter + 1)
            }
        }
        _ => fresh,
    }
}

impl Row {
    /// A new export with the table's defaults.
    pub(super) fn new_export(values: &Map<String, Value>, stamp: &Stamp, now: &str) -> Row {
        let mut row = Row { values: defaults(now), stamps: BTreeMap::new() };
        for (column, value) in values {
            row.values.insert(column.clone(), value.clone());
            if !is_once(column) {
                row.stamps.insert(column.clone(), stamp.clone());
            }
        }
        row
    }

    /// The empty row of keys that a user's first write begins.
    pub(super) fn new_keys(user: &str, now: &str) -> Row {
        let values = json!({
            "user_id": user, "id": user, "openai_api_key": null, "unsplash_api_key": null, "anthropic_api_key": null,
            "last_validated_at": null, "created_at": now, "updated_at": now,
        });
        Row { values: values.as_object().cloned().unwrap_or_default(), stamps: BTreeMap::new() }
    }

    /// Whether a device brought the row back, as it was seen there, to a server that had lost it. An insert that comes
    /// after it changes nothing, whatever its clock.
    pub(super) fn is_brought_back(&self) -> bool {
        self.stamps.values().any(|(clock, _)| clock == BEFORE_ALL)
    }

    /// Takes the columns that no later writer has written; says whether there was one.
    pub(super) fn merge(&mut self, values: &Map<String, Value>, stamp: &Stamp) -> bool {
        let mut took = false;
        for (column, value) in values {
            if self.stamps.get(column).is_none_or(|standing| standing < stamp) {
                self.values.insert(column.clone(), value.clone());
                self.stamps.insert(column.clone(), stamp.clone());
                took = true;
            }
        }
        took
    }
}

/// A row as an app reads it: a time that no device can hold is none.
pub(super) fn read<T: DeserializeOwned>(row: &Row) -> T {
    let is_odd = |text: &str| text.parse::<Timestamp>().is_err();
    let mut values = row.values.clone();
    for (column, value) in &mut values {
        if column.ends_with("_at") && value.as_str().is_some_and(is_odd) {
            *value = Value::Null;
        }
    }
    serde_json::from_value(values.into()).expect("a row as the app reads it")
}

fn defaults(now: &str) -> Map<String, Value> {
    let values = json!({
        "status": "pending", "records_count": null, "file_size_bytes": null, "file_url": null, "filters": {},
        "data": null, "error_message": null, "retry_count": 0, "started_at": null, "completed_at": null,
        "processing_time_seconds": null, "expires_at": null, "created_at": now, "updated_at": now,
    });
    values.as_object().cloned().unwrap_or_default()
}
