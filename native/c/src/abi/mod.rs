//! The entries, by subject, as the header lists them. `edge` reads and writes what pointers point at, and catches panics.

mod adopt;
mod client;
mod edge;
mod exports;
mod general;
mod queue;
mod sign_in;
mod tables;
mod vault;
mod watch;
