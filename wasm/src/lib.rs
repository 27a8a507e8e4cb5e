//! The browser's face of the engine: what JavaScript calls, and nothing else.
//!
//! A bound method is a conversion, a call, a conversion. There is no SQL here, no merge or retry decision and no HTTP:
//! those are `marea-core`'s. Timers, the Web Lock and the page's events are TypeScript's (`wasm/js`).
//!
//! Off wasm32 this crate is empty, so that checks of the whole workspace pass on any machine.

#[cfg(target_family = "wasm")]
mod adopt;
#[cfg(target_family = "wasm")]
mod convert;
#[cfg(target_family = "wasm")]
mod engine;
#[cfg(target_family = "wasm")]
mod error;
#[cfg(target_family = "wasm")]
mod files;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod omitted;
#[cfg(target_family = "wasm")]
mod query;
#[cfg(target_family = "wasm")]
mod storage;
#[cfg(target_family = "wasm")]
mod tables;
#[cfg(target_family = "wasm")]
mod transfers;
#[cfg(target_family = "wasm")]
pub mod types;
#[cfg(target_family = "wasm")]
pub mod vault;
#[cfg(target_family = "wasm")]
mod wakeups;
#[cfg(target_family = "wasm")]
pub mod write;
