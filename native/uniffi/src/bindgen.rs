//! Writes the bindings: `cargo xtask bindings` runs it over the built library.

fn main() {
    uniffi::uniffi_bindgen_main();
}
