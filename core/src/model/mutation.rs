//! One durable local write on its way to the server.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::{Hlc, MutationId};

/// A table that Marea mirrors or pushes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Table {
    /// The app's sessions (pushed, never pulled).
    Sessions,
    /// Awards that belong to no session (pushed, never pulled).
    ProgressEvents,
    /// One row per user.
    UserProgress,
    /// One row per user and local day.
    DailyActivity,
    /// Exports that the learner asked for.
    ExportHistory,
    /// Sealed API keys, one row per user.
    UserApiKeys,
}

/// How a table's rows come to be, which decides how what the server sends is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// Rows are facts: pushed, never mirrored.
    Events,
    /// Rows are computed from facts.
    Fold,
    /// Rows are written column by column, the last writer wins.
    Registers,
}

impl Table {
    const ALL: [Table; 6] = [
        Table::Sessions,
        Table::ProgressEvents,
        Table::UserProgress,
        Table::DailyActivity,
        Table::ExportHistory,
        Table::UserApiKeys,
    ];

    /// The name on the wire and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Table::Sessions => "sessions",
            Table::ProgressEvents => "progress_events",
            Table::UserProgress => "user_progress",
            Table::DailyActivity => "daily_activity",
            Table::ExportHistory => "export_history",
            Table::UserApiKeys => "user_api_keys",
        }
    }

    /// The table of a name; `None` for one that this version does not know.
    pub fn from_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    pub(crate) fn kind(self) -> TableKind {
        match self {
            Table::Sessions | Table::ProgressEvents => TableKind::Events,
            Table::UserProgress | Table::DailyActivity => TableKind::Fold,
            Table::ExportHistory | Table::UserApiKeys => TableKind::Registers,
        }
    }
}

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
}

impl Op {
    /// The name on the wire and in the mirror.
    pub fn name(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Merge => "merge",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Op> {
        [Op::Insert, Op::Merge].into_iter().find(|op| op.name() == name)
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
}

redacted_debug!(Mutation);
