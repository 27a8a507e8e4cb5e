//! What a broken invariant looks like from JavaScript: one console line that names the place in the code.
//!
//! The panic's own message is left out on purpose: it may quote a value, and a learner's data belongs in no log. After
//! a panic wasm traps, and nothing of this module is called any more: who drives it is told, and begins with a new one.

use std::cell::RefCell;

use js_sys::Function;
use wasm_bindgen::prelude::*;

thread_local! {
    /// Who is told. A trap inside of a promise reaches no caller.
    static STOPPED: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Has `listener` told when the engine stops. It must call nothing of this module.
#[wasm_bindgen(js_name = onEngineStopped)]
pub fn on_engine_stopped(listener: Function) {
    STOPPED.with(|stopped| stopped.replace(Some(listener)));
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(text: &str);
}

/// Runs once, when the module is instantiated.
#[wasm_bindgen(start)]
fn install() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        console_error(&format!("marea: the engine stopped at {place}; and is started again"));
        // A second panic, while the first is told, finds it borrowed; there is nothing more to tell.
        STOPPED.with(|stopped| {
            if let Ok(listener) = stopped.try_borrow()
                && let Some(listener) = listener.as_ref()
            {
                let _ = listener.call0(&JsValue::NULL);
            }
        });
    }));
}
