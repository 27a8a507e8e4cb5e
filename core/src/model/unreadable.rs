//! What of the server's rows this version cannot read: which column of how many rows, and never the value.

use serde::{Deserialize, Serialize};

use crate::model::Table;

/// A column in which rows of the server hold something that this version cannot read. The value shows as none; all the rest of
/// the row, and all other rows, are there. It goes away by itself once the rows can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Unreadable {
    /// The table.
    pub table: Table,
    /// The column.
    pub column: String,
    /// `unreadable_value`, or `unreadable_row` where the column is the row's key and the whole row is left out.
    pub code: String,
    /// How many rows, at most 100.
    pub rows: u32,
}

impl Unreadable {
    /// The value shows as none.
    pub(crate) const VALUE: &str = "unreadable_value";
    /// The row is left out.
    pub(crate) const ROW: &str = "unreadable_row";
}
