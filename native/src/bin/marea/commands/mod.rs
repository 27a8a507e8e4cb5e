//! One file for each command: open, one call, and how the result reads.

pub(crate) mod account;
pub(crate) mod activity;
mod calendar;
pub(crate) mod doctor;
mod doctor_mirror;
pub(crate) mod export;
mod files;
pub(crate) mod follow;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod key;
mod key_shown;
pub(crate) mod keychain;
pub(crate) mod progress;
pub(crate) mod query;
pub(crate) mod queue;
pub(crate) mod record;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod teach;
mod words;
