//! Rows whose columns are registers, and writes to them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{FewMap, Hlc, Op};

/// When, and by which client, a column was written. Equal clocks are ordered by the client's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp(pub(crate) Hlc, pub(crate) String);

/// The stamp of each register column that was ever written.
pub(crate) type Clocks = FewMap<String, Stamp>;

/// A row of registers: its columns, and their stamps.
#[derive(Clone, PartialEq, Default)]
pub(crate) struct RegisterRow {
    pub(crate) values: Map<String, Value>,
    pub(crate) clocks: Clocks,
}

/// One mutation of a register row.
#[derive(Clone)]
pub(crate) struct RegisterWrite {
    pub(crate) op: Op,
    pub(crate) stamp: Stamp,
    pub(crate) values: Map<String, Value>,
    /// Whether an addition is to be counted: not one that the row may hold already.
    pub(crate) counts: bool,
}

redacted_debug!(RegisterRow, RegisterWrite);
