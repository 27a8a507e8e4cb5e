//! The development backend: a private real Postgres, a real PostgREST, and a thin gateway in front of them that behaves
//! the way Supabase's does. The demo and the whole-system tests run against it.
//!
//! It owns processes, never semantics: there is no line of sync logic here. All of that is SQL in `migrations/`, and the
//! same SQL runs on Supabase. It is for development: it listens on the loopback interface only, and its accounts,
//! passwords and keys are worth nothing anywhere else.

#[cfg(not(unix))]
compile_error!(
    "marea-backend runs on Linux and macOS: it hands Postgres and PostgREST to another user and signals them"
);

mod accounts;
mod backend;
mod bare;
mod binaries;
mod clock;
mod database;
mod error;
mod gateway;
mod home;
mod leftover;
mod pairs;
mod postgres;
mod postgrest;
mod private_copy;
mod process;
mod realtime;
mod repository;
mod router;
mod run_as;
mod secrets;
mod signing;
mod storage;
mod tokens;

pub use accounts::{LEARNER1, LEARNER2, Learner};
pub use backend::{Backend, Options, Ready};
pub use bare::BarePostgres;
pub use error::Error;
pub use gateway::faults::{Fault, FaultKind, FaultReport, Faults};
pub use pairs::Pairs;
pub use router::Router;
