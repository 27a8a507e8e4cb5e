//! What was there before the account was: an app's own history, and a guest's work on its way into an account.
//!
//! JSON both ways: it weighs less than values of JavaScript's, and is made once in a mirror's life.

use marea_core::{Handover, ImportItem};
use wasm_bindgen::prelude::*;

use crate::convert::parse_id;
use crate::engine::MareaEngine;
use crate::error::from_core;
use crate::host::now;

#[wasm_bindgen]
impl MareaEngine {
    /// Brings in what an app kept before, once. `items` is a JSON list; gives an `Imported` as JSON.
    #[wasm_bindgen(js_name = importOnce)]
    pub fn import_once(&self, name: &str, items: &str) -> Result<String, JsValue> {
        let items = ImportItem::list(items).map_err(|error| from_core(&error))?;
        Ok(self.host.call(|engine| engine.import_once(name, items, now()))?.to_json())
    }

    /// Of a guest's mirror: gives out what is in it for this account.
    #[wasm_bindgen(js_name = handOver)]
    pub fn hand_over(&self, user_id: &str) -> Result<String, JsValue> {
        let user_id = (*parse_id(user_id)?.as_uuid()).into();
        self.host.call(|engine| engine.hand_over(user_id)?.to_text())
    }

    /// Of an account's mirror: takes in what a guest's gave out. Gives a `Claimed` as JSON.
    #[wasm_bindgen(js_name = takeOver)]
    pub fn take_over(&self, handover: &str) -> Result<String, JsValue> {
        let claimed = self.host.call(|engine| engine.take_over(&Handover::from_text(handover)?, now()))?;
        Ok(claimed.to_json())
    }

    /// Of a guest's mirror: forgets what the account has taken in.
    #[wasm_bindgen(js_name = handedOver)]
    pub fn handed_over(&self, handover: &str) -> Result<(), JsValue> {
        self.host.call(|engine| engine.handed_over(&Handover::from_text(handover)?))
    }
}
