//! The mirrored tables: which there are, and their rows. JSON both ways, because only the app and its server know their columns.

use marea_core::{Catalogue, ListQuery, from_json};
use serde_json::{Map, Value};
use wasm_bindgen::prelude::*;

use crate::engine::MareaEngine;
use crate::error::{from_core, invalid_input};
use crate::host::now;

#[wasm_bindgen]
impl MareaEngine {
    /// Which tables are mirrored: those of the app's own catalogue (JSON), or without one those that the server describes.
    #[wasm_bindgen(js_name = useCatalogue)]
    pub fn use_catalogue(&self, document: Option<String>) -> Result<(), JsValue> {
        let read = document.map(|text| Catalogue::parse(&text)).transpose();
        let catalogue = read.map_err(|error| from_core(&error))?;
        self.host.call(|engine| engine.use_catalogue(catalogue.as_ref(), now()))
    }

    /// The catalogue that is in use, as JSON; undefined while there is none.
    pub fn catalogue(&self) -> Result<Option<String>, JsValue> {
        self.host.call(|engine| Ok(engine.catalogue().map(|catalogue| catalogue.to_json().to_owned())))
    }

    /// The hash of the catalogue that is in use: another one for other tables.
    #[wasm_bindgen(js_name = catalogueHash)]
    pub fn catalogue_hash(&self) -> Result<Option<String>, JsValue> {
        self.host.call(|engine| Ok(engine.catalogue().map(|catalogue| catalogue.hash().to_owned())))
    }

    /// One row as JSON; undefined when this mirror has none with this key.
    #[wasm_bindgen(js_name = getRow)]
    pub fn get_row(&self, table: &str, key: &str) -> Result<Option<String>, JsValue> {
        self.host.call(|engine| engine.get_row(table, key))
    }

    /// A page of rows as a JSON array. `query` is a `ListQuery` as JSON.
    #[wasm_bindgen(js_name = listRows)]
    pub fn list_rows(&self, table: &str, query: &str) -> Result<String, JsValue> {
        let query: ListQuery = from_json(query).map_err(|_| invalid_input("the query is none"))?;
        let rows = self.host.call(|engine| engine.list_rows(table, &query))?;
        Ok(format!("[{}]", rows.join(",")))
    }

    /// How many rows there are. `filter` is JSON, as `where` of a `ListQuery`.
    #[wasm_bindgen(js_name = countRows)]
    pub fn count_rows(&self, table: &str, filter: &str) -> Result<f64, JsValue> {
        let filter: Map<String, Value> =
            serde_json::from_str(filter).map_err(|_| invalid_input("where: expected an object"))?;
        Ok(self.host.call(|engine| engine.count_rows(table, &filter))? as f64)
    }
}
