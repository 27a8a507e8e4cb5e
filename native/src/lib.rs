//! Marea for the desktop: progress that is written on this machine at once, and reaches the app's Postgres later,
//! exactly once.
//!
//! A [`Client`] is one learner's mirror, open. What it records is durable when the call returns, with or without a network;
//! what it reads includes everything that was recorded, sent or not; [`Client::sync`] talks to the server until nothing
//! is left to say.
//!
//! ```
//! use marea_native::{Client, Config, SessionInput};
//!
//! # fn main() -> Result<(), marea_native::Error> {
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let data_dir = folder.path();
//! // The id of the signed-in user, as the server knows it: the `sub` of the access token.
//! let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse()?;
//! let client = Client::open(Config::new(data_dir, user))?;
//!
//! // No network is needed, and none is tried.
//! let recorded = client.record_session(SessionInput {
//!     session_type: "practice".into(),
//!     duration_minutes: Some(12),
//!     qa_attempts: Some(10),
//!     qa_correct: Some(8),
//!     ..SessionInput::default()
//! })?;
//! assert_eq!(recorded.pending, 1);
//!
//! // It counts at once.
//! let progress = client.progress()?;
//! assert_eq!(progress.total_sessions, 1);
//! assert_eq!(progress.current_streak_days, 1);
//! assert_eq!(progress.average_accuracy, 80.0);
//! # Ok(())
//! # }
//! ```
//!
//! To send it, say which server, and where access tokens come from:
//!
//! ```no_run
//! use marea_native::{Client, Config, Outcome};
//!
//! # async fn current_token(refused: bool) -> Option<String> { None }
//! # async fn example(user: marea_native::UserId) -> Result<(), marea_native::Error> {
//! let client = Client::open(
//!     Config::new("/home/ada/.local/share/app", user)
//!         .server("https://project.supabase.co", "the project's anon key")
//!         .tokens(|refused| async move { current_token(refused).await }),
//! )?;
//!
//! let report = client.sync().await?;
//! match report.outcome {
//!     Outcome::Done => println!("{} sent, {} rows received", report.pushed, report.pulled),
//!     // A state, not an error: the work is kept, and the next call goes on where this one stopped.
//!     _ => println!("{} still waiting", report.pending),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An app that has no session of its own can sign in with [`auth`], which is what the `marea` command does.
//!
//! Deliberately not here: SQL, merge rules, and any decision about what to send or when to try again. Those are the engine's
//! (`marea-core`); this crate gives it a file, a clock, a network and a face.

pub mod auth;
mod client;
mod clock;
mod config;
mod error;
mod files;
mod tokens;

pub use client::Client;
pub use config::Config;
pub use error::Error;
pub use marea_core::{
    ActivityDay, ClientId, Connection, LocalDate, MutationId, Outcome, Progress, Recorded, SessionInput,
    Status, StatusError, SyncReport, Timestamp, UserId,
};
pub use tokens::{StaticToken, TokenFuture, TokenSource};
