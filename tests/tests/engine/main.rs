//! The engine and the vault against the real backend.

mod ahead;
mod protocol;
mod random;
mod sync;
mod tools;
mod values;
mod vault_openers;
mod vault_secrecy;
mod weather;
