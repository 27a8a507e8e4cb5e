//! What could be read of a damaged mirror's queue: a document that outlives the mirror and can be put into another one.
//!
//! Harmless wherever it is put, and however often: every mutation keeps its id.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Hlc, MutationId, Op, Table, UserId};

/// The unsent and the refused mutations of a damaged mirror, oldest first, as far as they could be read.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Rescued {
    /// Whose they are; `None` when that could not be read.
    pub user_id: Option<UserId>,
    /// The mutations.
    pub mutations: Vec<RescuedMutation>,
}

/// One of them.
#[derive(Clone, Serialize, Deserialize)]
pub struct RescuedMutation {
    /// Its id.
    pub id: MutationId,
    /// Its hybrid logical clock.
    pub hlc: Hlc,
    /// The table that it writes.
    pub table: Table,
    /// What it does.
    pub op: Op,
    /// The row that it concerns.
    pub key: String,
    /// The columns, a JSON object, as they would have been sent.
    pub values: Box<RawValue>,
    /// When it was recorded, by the device's clock, Unix milliseconds.
    pub recorded_ms: i64,
    /// Why the server refused it; `None` for one that was still to be sent.
    pub refusal: Option<RescuedRefusal>,
    /// What all mutations of one batch share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<MutationId>,
}

/// Why the server refused a rescued mutation.
#[derive(Clone, Serialize, Deserialize)]
pub struct RescuedRefusal {
    /// SQLSTATE.
    pub code: String,
    /// The reason, as the server put it.
    pub message: String,
    /// When, by the device's clock, Unix milliseconds.
    pub at_ms: i64,
}

redacted_debug!(Rescued, RescuedMutation, RescuedRefusal);
