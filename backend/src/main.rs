//! Starts the development backend.
fn main() {}
