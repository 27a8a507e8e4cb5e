//! Errors as JavaScript expects them: a real `Error` with `name`, `code` and `retry`.
//!
//! Makes no messages of its own but those of storage, which only this crate knows; the rest say what `marea-core` said.

use js_sys::{Error as JsError, Reflect};
use marea_core::Error;
use wasm_bindgen::JsValue;

/// The `name` that every error of this package has, on both sides of the worker.
const NAME: &str = "MareaError";

/// Converts an engine error.
pub(crate) fn from_core(error: &Error) -> JsValue {
    new(error.code(), &error.to_string(), error.may_retry())
}

/// An error with a stable code. `retry` says whether the same call may succeed later without a change.
pub(crate) fn new(code: &str, message: &str, retry: bool) -> JsValue {
    let error = JsError::new(message);
    error.set_name(NAME);
    set(&error, "code", &JsValue::from_str(code));
    set(&error, "retry", &JsValue::from_bool(retry));
    error.into()
}

/// Input that could not be read. `detail` comes from serde and names the field and what was expected.
pub(crate) fn invalid_input(detail: &str) -> JsValue {
    new("invalid_input", detail, false)
}

fn set(error: &JsError, key: &str, value: &JsValue) {
    // Setting a property on a fresh Error cannot fail.
    let _ = Reflect::set(error, &JsValue::from_str(key), value);
}
