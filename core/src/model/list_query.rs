//! Which rows of a mirrored table, and in which order.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which rows are listed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(default, deny_unknown_fields)]
pub struct ListQuery {
    /// By column: a value, which the row must have (`null`: it has none), or an object with `gt`, `gte`, `lt`, `lte`, `ne`, `in`.
    /// All must hold. `ne` is also true where there is no value.
    #[serde(rename = "where")]
    #[cfg_attr(feature = "tsify", tsify(optional, type = "Record<string, unknown>"))]
    pub filter: Map<String, Value>,
    /// Columns, the first decides; with `-` in front from the greatest to the least. No value is less than every value. Rows that
    /// are alike in all of them are ordered by the key.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub order: Vec<String>,
    /// 1 to 1,000 rows; 100 when absent.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub limit: Option<u32>,
    /// The key of the last row of the page before.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub after: Option<String>,
}

super::redacted_debug!(ListQuery);
