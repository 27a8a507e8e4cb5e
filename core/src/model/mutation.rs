//! One durable local write on its way to the server.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Hlc, MutationId, Table};

/// What a mutation does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Op {
    /// Adds an event or a row; the same id again changes nothing.
    Insert,
    /// Sets register columns; for each column the last writer wins.
    Merge,
    /// Adds to counters; each addition counts once.
    Add,
    /// Takes the row away, whatever else was written to it.
    Delete,
}

impl Op {
    /// The name on the wire and in the mirror.
    pub fn name(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Merge => "merge",
            Op::Add => "add",
            Op::Delete => "delete",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Op> {
        [Op::Insert, Op::Merge, Op::Add, Op::Delete].into_iter().find(|op| op.name() == name)
    }
}

/// Where a mutation stands between the device and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MutationState {
    /// To be sent. The server may have it all the same, from a request whose answer was lost or from a copy of this file.
    Pending,
    /// As `Pending`, in all that is decided: the server had it, and lost its past. (The first programs also noted so what
    /// they had put into a request.)
    InDoubt,
    /// The server has it, but the confirmed rows do not show it yet.
    Acknowledged,
    /// The confirmed rows contain it. Kept for a while, to heal a server set back to an older state.
    Reflected,
    /// To be sent once more, and perhaps contained in the confirmed rows: the server's past was replaced, or it refused the
    /// mutation at least once. An event in this state is not added to them.
    Resend,
    /// The server refused it for a reason that a retry cannot change.
    Rejected,
}

impl MutationState {
    /// The states in which a mutation lies on its row.
    pub(crate) const LAID: [MutationState; 4] =
        [MutationState::Pending, MutationState::InDoubt, MutationState::Acknowledged, MutationState::Resend];

    pub(crate) fn name(self) -> &'static str {
        match self {
            MutationState::Pending => "pending",
            MutationState::InDoubt => "in_doubt",
            MutationState::Acknowledged => "acknowledged",
            MutationState::Reflected => "reflected",
            MutationState::Resend => "resend",
            MutationState::Rejected => "rejected",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<MutationState> {
        use MutationState::*;
        [Pending, InDoubt, Acknowledged, Reflected, Resend, Rejected].into_iter().find(|s| s.name() == name)
    }
}

/// A mutation as it is stored and sent.
#[derive(Clone)]
pub(crate) struct Mutation {
    pub(crate) id: MutationId,
    pub(crate) hlc: Hlc,
    pub(crate) table: Table,
    pub(crate) op: Op,
    pub(crate) key: String,
    /// A JSON object, as it goes over the wire.
    pub(crate) values: Box<RawValue>,
    /// What was written together with it, all or nothing.
    pub(crate) batch: Option<MutationId>,
}

redacted_debug!(Mutation);
