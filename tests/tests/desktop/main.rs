//! The desktop: the crate, the C library and the command line, as programs against the real backend.

mod adopt;
mod c_kill;
mod c_library;
mod client;
mod commands;
mod days;
mod disk;
mod doctor;
mod files;
mod files_altered;
mod files_killed;
mod files_trouble;
mod keychain;
mod keys;
mod kill;
mod network;
mod offline;
mod outputs;
mod sign_in;
mod sync;
mod tables;
mod tables_synced;
mod tls;
mod wakeups;
