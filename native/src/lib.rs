//! Marea for the desktop: progress that is written on this machine at once, and reaches the app's Postgres later,
//! exactly once.
//!
//! A [`Client`] is one learner's mirror, open. What it records is durable when the call returns, with or without a network;
//! what it reads includes everything that was recorded, sent or not. With a server and tokens it syncs by itself in the
//! background: after a write, when the network returns, when other devices have written; in between it sleeps.
//!
//! ```
//! use marea_native::{Client, Config, SessionInput};
//!
//! # async fn example() -> Result<(), marea_native::Error> {
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let data_dir = folder.path();
//! // The id of the signed-in user, as the server knows it: the `sub` of the access token.
//! let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse()?;
//! let client = Client::open(Config::new(data_dir, user)).await?;
//!
//! // No network is needed, and none is tried.
//! let recorded = client
//!     .record_session(SessionInput {
//!         duration_minutes: Some(12),
//!         qa_attempts: Some(10),
//!         qa_correct: Some(8),
//!         ..SessionInput::new("practice")
//!     })
//!     .await?;
//! assert_eq!(recorded.pending, 1);
//!
//! // It counts at once.
//! let progress = client.progress().await?;
//! assert_eq!(progress.total_sessions, 1);
//! assert_eq!(progress.current_streak_days, 1);
//! assert_eq!(progress.average_accuracy, 80.0);
//! # Ok(())
//! # }
//! # marea_native::block_on(example()).unwrap();
//! ```
//!
//! To sync, say which server, and where access tokens come from. To show, watch:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use marea_native::{Client, Config};
//!
//! # async fn current_token(refused: bool) -> Option<String> { None }
//! # async fn example(user: marea_native::UserId) -> Result<(), marea_native::Error> {
//! let client = Client::open(
//!     Config::new("/home/ada/.local/share/app", user)
//!         .server("https://project.supabase.co", "sb_publishable_...")
//!         .tokens(|refused| async move { current_token(refused).await }),
//! )
//! .await?;
//!
//! let mut progress = client.watch_progress().await?;
//! while let Some(progress) = progress.next().await {
//!     println!("{} days in a row", progress.current_streak_days);
//! #   break;
//! }
//!
//! // At the end of the program: two seconds for what still waits. What does not get through is sent after the next start.
//! let waiting = client.shutdown(Duration::from_secs(2)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The client brings its own thread and runtime: its futures may be awaited in any executor, and on a plain thread with
//! [`block_on`]. An app that has no session of its own can sign in with [`auth`], which is what the `marea` command does.
//! It tells `tracing` what it does, in codes and counts: no token, no id, nothing that a learner wrote.
//!
//! Two features, both on by default. An app switches `cli` off: it is the `marea` command and what that alone needs. `keychain` lets
//! the system's keychain keep tokens and "remember this device"; without it those calls answer `keychain_unavailable`, and nothing
//! else changes. `calls`, off unless it is asked for, are the npm package's calls as text, for faces in other languages.
//!
//! Deliberately not here: SQL, merge rules, and any decision about what to send or when to try again. Those are the engine's
//! (`marea-core`); this crate gives it a file, a clock, a network and a face.

pub mod auth;
mod bytes;
#[cfg(feature = "calls")]
pub mod calls;
mod catalogue;
mod client;
mod clock;
mod config;
mod error;
mod export;
mod files;
mod keychain;
mod tokens;
mod vault;
mod watch;
mod worker;

pub use catalogue::{fetch_catalogue, fetch_catalogue_allowing_http};
pub use client::{Client, MirroredTable, NewFile, QueueExport};
pub use config::Config;
pub use error::Error;
pub use export::{ExportFormat, ExportKind, MadeFile};
pub use files::who_else_may_write;
pub use marea_core::{
    ActivityDay, ApiKey, ApiKeys, Catalogue, Change, Claimed, ClientId, Connection, DataKey, EventInput,
    Export, ExportChange, ExportInput, ExportKey, ExportPage, ExportQuery, ExportStatus, FILE_QUOTA_BYTES,
    Failure, FileState, FileView, Imported, KeyEnvelope, KeyState, KeyView, ListQuery, LocalDate, MutationId,
    MutationView, Op, Outcome, Passphrase, Progress, Provider, QueryResult, QueueCounts, Recorded,
    RecoveryCode, Refusal, RefusedItem, SessionInput, Signal, Status, StatusError, SyncReport, Table,
    Timestamp, UserId, VaultOutcome, VaultState, VaultStatus, WakeUps,
};
pub use tokens::{StaticToken, TokenFuture, TokenSource, TryTokenFuture};
pub use vault::Vault;
pub use watch::Watch;

/// Whose mirrors lie in a data folder: for an app that several learners of one machine use. Opens none of them. A guest's is not
/// among them.
///
/// # Errors
///
/// `storage_failed` when the folder cannot be read. One that does not exist has none.
pub fn users_of(dir: &std::path::Path) -> Result<Vec<UserId>, Error> {
    let unreadable = |source| Error::Files { action: "read", path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut users = Vec::new();
    for entry in entries {
        let name = entry.map_err(unreadable)?.file_name();
        let user = name.to_str().and_then(|name| name.strip_suffix(".sqlite3")?.parse::<UserId>().ok());
        users.extend(user.filter(|user| !user.is_guest()));
    }
    users.sort_unstable_by_key(ToString::to_string);
    Ok(users)
}

/// Whether somebody has worked in a data folder before there was an account ([`Config::guest`]): its mirror is there, with work in
/// it or without.
pub fn has_guest(dir: &std::path::Path) -> bool {
    Config::guest(dir).mirror_path().exists()
}

/// Waits for a call on a thread that has no runtime: `block_on(client.progress())`. It blocks the thread; inside of async code,
/// await the call instead.
pub fn block_on<F: Future>(call: F) -> F::Output {
    pollster::block_on(call)
}
