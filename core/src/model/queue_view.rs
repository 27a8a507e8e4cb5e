//! Mutations as the app sees them: what waits, and what was refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{MutationId, Op, Table, Timestamp};

/// A mutation that the server has not acknowledged, or has refused.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct MutationView {
    /// The mutation.
    pub id: MutationId,
    /// The table that it writes.
    pub table: Table,
    /// What it does.
    pub op: Op,
    /// The row that it concerns.
    pub key: String,
    /// What it would change: the columns.
    #[cfg_attr(feature = "tsify", tsify(type = "Record<string, unknown>"))]
    pub values: Value,
    /// When it was recorded, by the device's clock.
    pub recorded_at: Timestamp,
    /// Why the server refused it; `None` while it waits.
    pub refusal: Option<Refusal>,
    /// What all mutations of one batch share: they are taken, refused, sent again and discarded together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<MutationId>,
}

redacted_debug!(MutationView);

/// The queue at a glance. The lists are its beginning, oldest first; the counts are of all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct QueueView {
    /// How many mutations the server has not acknowledged.
    pub pending_count: u32,
    /// How many it has refused.
    pub rejected_count: u32,
    /// The first of those that wait.
    pub pending: Vec<MutationView>,
    /// The first of those that were refused, each with the reason.
    pub rejected: Vec<MutationView>,
}

/// Why the server refused a mutation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Refusal {
    /// SQLSTATE.
    pub code: String,
    /// The reason, as the server put it. May repeat what was refused: show it to its owner, keep it out of logs.
    pub message: String,
    /// When it was refused, by the device's clock.
    pub at: Timestamp,
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refusal").field("code", &self.code).finish_non_exhaustive()
    }
}
