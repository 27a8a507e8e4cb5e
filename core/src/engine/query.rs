//! The app's own SQL over what is mirrored: read only.

use serde_json::Value;

use crate::engine::Engine;
use crate::error::Error;
use crate::store::{QueryLimits, QueryResult};

impl Engine {
    /// Runs one SELECT, WITH or VALUES statement on the mirror: SQLite's own SQL, over the mirrored tables and nothing else.
    ///
    /// `params` are bound by their places. A list or an object is bound as its JSON text, for `json_each(?)`.
    ///
    /// # Errors
    /// [`Error::QueryRefused`] for another statement, a second one, or a table that is not mirrored; [`Error::QueryLimit`] when
    /// it needs more than `limits` allow; [`Error::InvalidInput`] with SQLite's message for SQL that is wrong, and for parameters
    /// that do not fit it; and the storage errors.
    pub fn query(&mut self, sql: &str, params: &[Value], limits: QueryLimits) -> Result<QueryResult, Error> {
        self.store.query(sql, params, limits)
    }
}
