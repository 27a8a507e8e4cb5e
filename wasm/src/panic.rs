//! What a broken invariant looks like from JavaScript: one console line that names the place in the code.
//!
//! The panic's own message is left out on purpose: it may quote a value, and a learner's data belongs in no log. After
//! a panic wasm traps; the worker that catches the trap turns it into an error with code `internal`.

use wasm_bindgen::prelude::*;

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
        console_error(&format!("marea: the engine stopped at {place}; reload the page to start it again"));
    }));
}
