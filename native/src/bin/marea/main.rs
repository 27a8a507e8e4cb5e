//! The `marea` command line.
fn main() {}
