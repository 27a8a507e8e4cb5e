//! What the whole-system tests share. Each module opens with what it offers; nothing here is part of the product.

pub mod artifacts;
pub mod backend;
pub mod bench;
pub mod c_program;
pub mod catalogue;
pub mod cluster;
pub mod command;
pub mod engine_device;
pub mod fleet;
pub mod header;
pub mod history;
pub mod keyring;
pub mod kills;
pub mod lost_history;
pub mod mirrored;
pub mod normalised;
pub mod paired;
pub mod program;
pub mod recorded;
pub mod schema;
pub mod small_server;
pub mod sql;
pub mod sql_mutation;
pub mod standby;
pub mod typescript;
pub mod vault;
pub mod wait;
pub mod world;
pub mod worst;

pub use marea_worlds::{disk, fuzz, mirror, random, simulation};
