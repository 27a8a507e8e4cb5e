//! Values on their way between JavaScript and Rust.
//!
//! They come in as plain objects and are read by way of JSON, because only then does serde refuse a misspelt field
//! instead of dropping what the caller wanted to record. They go out with the types that TypeScript is shown.

use js_sys::{Array, JSON, Reflect};
use marea_core::{Export, ExportPage, LocalDate, MutationId, MutationView, QueueView, from_json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_wasm_bindgen::Serializer;
use tsify::{Ts, Tsify};
use wasm_bindgen::JsValue;

use crate::error::invalid_input;

pub(crate) fn parse<T: DeserializeOwned>(value: &JsValue) -> Result<T, JsValue> {
    parse_with(value, |text| from_json(text))
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

/// Puts the app's own JSON into an object as `JSON.parse` reads it. Serde's way would make `undefined` of a `null`, and an error,
/// for all that is listed with it, of a whole number beyond 2^53.
fn set_json(object: &JsValue, field: &str, json: Option<Value>) -> Result<(), JsValue> {
    let Some(json) = json else { return Ok(()) };
    Reflect::set(object, &field.into(), &JSON::parse(&serde_json::to_string(&json).unwrap_or_default())?)
        .map(|_| ())
}

pub(crate) fn export_to_js(mut export: Export) -> Result<Ts<Export>, JsValue> {
    let (filters, data) = (export.filters.take(), export.data.take());
    let value = to_js(&export)?.js_value();
    set_json(&value, "filters", filters)?;
    set_json(&value, "data", data)?;
    Ok(Ts::new_unchecked(value))
}

pub(crate) fn page_to_js(mut page: ExportPage) -> Result<Ts<ExportPage>, JsValue> {
    let exports = Array::new();
    for export in std::mem::take(&mut page.exports) {
        exports.push(&export_to_js(export)?.js_value());
    }
    let value = to_js(&page)?.js_value();
    Reflect::set(&value, &"exports".into(), &exports)?;
    Ok(Ts::new_unchecked(value))
}

fn mutation_to_js(mut mutation: MutationView) -> Result<Ts<MutationView>, JsValue> {
    let values = std::mem::take(&mut mutation.values);
    let value = to_js(&mutation)?.js_value();
    set_json(&value, "values", Some(values))?;
    Ok(Ts::new_unchecked(value))
}

pub(crate) fn mutations_to_js(mutations: Vec<MutationView>) -> Result<Vec<Ts<MutationView>>, JsValue> {
    mutations.into_iter().map(mutation_to_js).collect()
}

pub(crate) fn queue_to_js(mut queue: QueueView) -> Result<Ts<QueueView>, JsValue> {
    let parts =
        [("pending", std::mem::take(&mut queue.pending)), ("rejected", std::mem::take(&mut queue.rejected))];
    let value = to_js(&queue)?.js_value();
    for (field, mutations) in parts {
        let listed = Array::new();
        for mutation in mutations {
            listed.push(&mutation_to_js(mutation)?.js_value());
        }
        Reflect::set(&value, &field.into(), &listed)?;
    }
    Ok(Ts::new_unchecked(value))
}

pub(crate) fn list_to_js<T: Tsify + Serialize>(values: &[T]) -> Result<Vec<Ts<T>>, JsValue> {
    values.iter().map(to_js).collect()
}
