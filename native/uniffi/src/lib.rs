//! Marea for Kotlin, Swift and Python: `marea-native`'s calls with types, from which uniffi makes the bindings.
//!
//! Each function is one call (`marea_native::calls`), and each record the value that it gives: the same names and the same values as in
//! the browser's face. Rows of an app's own tables are JSON texts, because only the app knows their columns. Nothing is decided here.
//!
//! **Architecture Invariant:** no panic crosses. uniffi catches one in a call, one on the mirror's thread closes the mirror.
#![allow(
    unsafe_code,
    unreachable_pub,
    reason = "uniffi's macros write it; what other languages see is `pub`, and only they see it"
)]

mod error;
mod mirror;
mod options;
mod records;
mod rows;
mod vault;

uniffi::setup_scaffolding!("marea");
