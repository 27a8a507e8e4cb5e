//! The app's own SQL, as a page hands it in: JSON both ways, because a result has any shape.

use js_sys::Date;
use marea_core::QueryLimits;
use serde_json::Value;
use wasm_bindgen::prelude::*;

use crate::engine::MareaEngine;
use crate::error::invalid_input;

/// How long one query may take. The worker does nothing else meanwhile.
const QUERY_MS: f64 = 5_000.0;

#[wasm_bindgen]
impl MareaEngine {
    /// Runs one read-only statement. `params` is a JSON array, the answer a JSON object with `columns`, `rows` (each an array) and
    /// `tables` (those that were read).
    pub fn query(&self, sql: &str, params: &str) -> Result<String, JsValue> {
        let params: Vec<Value> = serde_json::from_str(params)
            .map_err(|_| invalid_input("params must be an array of JSON values"))?;
        let until = Date::now() + QUERY_MS;
        let limits =
            QueryLimits { expired: Some(Box::new(move || Date::now() > until)), ..QueryLimits::default() };
        let result = self.host.call(|engine| engine.query(sql, &params, limits))?;
        serde_json::to_string(&result).map_err(|_| invalid_input("the result is no JSON"))
    }
}
