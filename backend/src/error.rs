//! Why the backend could not start or went wrong. Messages say what to do next and never hold a password, a token or a row.

use std::io;
use std::path::PathBuf;

/// What can go wrong with the backend itself. (What goes wrong with a single HTTP call is an HTTP answer.)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that is needed is not on this machine.
    #[error("{program} was not found. Run `cargo xtask setup`, or point {variable} to it")]
    MissingProgram {
        /// What was looked for.
        program: &'static str,
        /// The environment variable that names it by hand.
        variable: &'static str,
    },
    /// The place that an option or a variable names does not hold what it should.
    #[error("{path} has no {wanted}: correct {named_by}, or leave it out to let the backend look for itself")]
    WrongPlace {
        /// The folder or file that was named.
        path: PathBuf,
        /// The file that should be there.
        wanted: &'static str,
        /// The option or variable that named it.
        named_by: &'static str,
    },
    /// A program ended or stayed silent instead of becoming ready.
    #[error("{program} did not start: {reason}\n{log_tail}")]
    NotStarted {
        /// Which program.
        program: &'static str,
        /// What was seen.
        reason: String,
        /// The last lines that it wrote.
        log_tail: String,
    },
    /// Root may not run Postgres, and there is no other user to run it as.
    #[error(
        "Postgres does not run as root, and there is neither a user `postgres` nor `nobody` to run it as"
    )]
    NoUser,
    /// The user that Postgres runs as cannot get at a folder.
    #[error("the user {user} cannot reach {path}: choose another folder, outside of private ones")]
    Unreachable {
        /// The user that Postgres runs as.
        user: String,
        /// The folder.
        path: PathBuf,
    },
    /// Another backend has the data folder open.
    #[error("another marea-backend is using {path}: stop it, or choose another --data folder")]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// No pair was asked for.
    #[error("at least one pair is needed: correct --pairs")]
    NoPairs,
    /// The router's maps send users to pairs that are not there.
    #[error("there are users in {needed} pairs: start as many with --pairs, or more")]
    TooFewPairs {
        /// How many it takes.
        needed: usize,
    },
    /// The router did not do what it was told.
    #[error("HAProxy did not do what it was told: {said}")]
    Router {
        /// What it said.
        said: String,
    },
    /// The data folder was made by another kind of start.
    #[error("{path} has the data of {of}: start it as that, or choose another --data folder")]
    OtherData {
        /// The data folder.
        path: PathBuf,
        /// Whose data it has.
        of: &'static str,
    },
    /// The place for files cannot be used.
    #[error("files cannot be kept there: check --objects and the AWS_* variables")]
    ObjectStore,
    /// The gateway's port is taken.
    #[error("port {port} is not free: choose another --port, or 0 for any free one")]
    PortTaken {
        /// The wanted port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Postgres refused a statement or a connection.
    #[error("Postgres: {doing}: {said}")]
    Postgres {
        /// What was being done.
        doing: String,
        /// Its message and code. Not the whole error, whose detail quotes rows.
        said: String,
    },
    /// A migration file is not what was applied to this database.
    #[error(
        "{file} was changed after it was applied to this database: add a new migration, or start with a fresh database"
    )]
    ChangedMigration {
        /// The file's name.
        file: String,
    },
    /// A migration file began a transaction and did not end it.
    #[error("{file} leaves a transaction open: nothing of it was kept. Its last statement should be COMMIT")]
    OpenMigration {
        /// The file's name.
        file: String,
    },
    /// A file or folder could not be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The SQL files are not to be found.
    #[error(
        "neither above the current folder nor where it was built is a repository with migrations/: run it inside one"
    )]
    NoRepository,
    /// The database URL could not be read.
    #[error("the database URL is not one: it should look like postgres://user:password@host:5432/name")]
    DatabaseUrl,
    /// HTTP to PostgREST could not be set up.
    #[error("the HTTP client could not be made: {0}")]
    Http(#[from] reqwest::Error),
    /// The system gave no randomness, or a token could not be signed with it.
    #[error("the system's cryptography does not work: no random bytes, or no signature")]
    Cryptography,
}

/// Code and message, without the detail: a detail quotes the row.
fn plain(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => error.to_string(),
    }
}

impl Error {
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { doing, path, source }
    }

    pub(crate) fn postgres(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
        let doing = doing.into();
        move |error| Error::Postgres { doing, said: plain(&error) }
    }
}
