//! The wasm-bindgen generator.
fn main() {}
