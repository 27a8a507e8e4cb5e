//! Values on their way between JavaScript and Rust.
//!
//! They come in as plain objects and are read by way of JSON, because only then does serde refuse a misspelt field
//! instead of dropping what the caller wanted to record. They go out with the types that TypeScript is shown.

use js_sys::JSON;
use marea_core::{LocalDate, MutationId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_wasm_bindgen::Serializer;
use tsify::{Ts, Tsify};
use wasm_bindgen::JsValue;

use crate::error::invalid_input;

pub(crate) fn parse<T: DeserializeOwned>(value: &JsValue) -> Result<T, JsValue> {
    parse_with(value, |text| serde_json::from_str(text))
}

pub(crate) fn parse_with<T>(
    value: &JsValue,
    read: impl FnOnce(&str) -> Result<T, serde_json::Error>,
) -> Result<T, JsValue> {
    let text = JSON::stringify(value)
        .ok()
        .and_then(|text| text.as_string())
        .ok_or_else(|| invalid_input("the input is not plain data"))?;
    read(&text).map_err(|error| invalid_input(&without_position(&error)))
}

/// Serde's words without the place in a text that the caller never saw.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

pub(crate) fn parse_day(name: &str, text: &str) -> Result<LocalDate, JsValue> {
    text.parse().map_err(|_| invalid_input(&format!("`{name}` must be a day written YYYY-MM-DD")))
}

pub(crate) fn parse_id(text: &str) -> Result<MutationId, JsValue> {
    text.parse().map_err(|_| invalid_input("`id` must be a UUID"))
}

pub(crate) fn to_js<T: Tsify + Serialize>(value: &T) -> Result<Ts<T>, JsValue> {
    // Free-form JSON of the app's own (filters, session data) must be objects there, not `Map`s.
    let plain = Serializer::new().serialize_maps_as_objects(true);
    let value = value.serialize(&plain).map_err(|error| invalid_input(&error.to_string()))?;
    Ok(Ts::new_unchecked(value))
}

pub(crate) fn list_to_js<T: Tsify + Serialize>(values: &[T]) -> Result<Vec<Ts<T>>, JsValue> {
    values.iter().map(to_js).collect()
}
