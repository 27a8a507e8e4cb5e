//! What a [`Client`](crate::Client) is opened with. Opening checks it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marea_core::{Catalogue, FILE_QUOTA_BYTES, UserId};

use crate::Error;
use crate::tokens::TokenSource;

/// Which folder, whose mirror, which server.
///
/// Only the folder and the user are needed to record and to read; a server and tokens are needed to sync.
#[derive(Clone)]
pub struct Config {
    pub(crate) dir: PathBuf,
    pub(crate) user_id: UserId,
    pub(crate) schema: Option<Arc<Catalogue>>,
    pub(crate) server: Option<Server>,
    pub(crate) tokens: Option<Arc<dyn TokenSource>>,
    pub(crate) background_sync: bool,
    pub(crate) wakeups: bool,
    pub(crate) online: bool,
    pub(crate) allow_http: bool,
    pub(crate) file_quota_bytes: u64,
    pub(crate) day_starts_at: Option<u16>,
}

/// The address of PostgREST's gateway and the key that it asks of every caller. The key is public.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) publishable_key: String,
}

impl Config {
    /// A mirror for `user_id` at `dir/<user_id>.sqlite3`. The folder is made when it is missing, for this account only.
    pub fn new(dir: impl Into<PathBuf>, user_id: UserId) -> Config {
        Config {
            dir: dir.into(),
            user_id,
            schema: None,
            server: None,
            tokens: None,
            background_sync: true,
            wakeups: cfg!(feature = "wakeups"),
            online: true,
            allow_http: false,
            file_quota_bytes: FILE_QUOTA_BYTES,
            day_starts_at: None,
        }
    }

    /// A mirror for who has not signed in yet, in the same folder: it records and reads, and makes no requests, whatever server is
    /// given. At sign-in [`Client::claim`](crate::Client::claim) brings what is in it into the account.
    pub fn guest(dir: impl Into<PathBuf>) -> Config {
        Config::new(dir, UserId::GUEST)
    }

    /// Which tables are mirrored, as the app was built for: `Catalogue::parse` reads the `marea.schema.json` that `marea schema`
    /// writes. Without one the client learns it from the server at its first sync, and keeps it in the mirror.
    #[must_use]
    pub fn schema(mut self, catalogue: Catalogue) -> Config {
        self.schema = Some(Arc::new(catalogue));
        self
    }

    /// The server to sync with: the address before `/rest/v1`, and the project's publishable (or anon) key.
    #[must_use]
    pub fn server(mut self, url: impl Into<String>, publishable_key: impl Into<String>) -> Config {
        self.server = Some(Server { url: url.into(), publishable_key: publishable_key.into() });
        self
    }

    /// Whether the server may be another machine without TLS. Off unless it is switched on: everybody on the way can then read
    /// the access token and change what is sent. This machine itself (`localhost`, `127.0.0.0/8`, `[::1]`) needs no leave.
    #[must_use]
    pub fn allow_http(mut self, allow: bool) -> Config {
        self.allow_http = allow;
        self
    }

    /// Where access tokens come from: a closure, a [`StaticToken`](crate::StaticToken), or a
    /// [`RememberedAccount`](crate::auth::RememberedAccount).
    #[must_use]
    pub fn tokens(mut self, source: impl TokenSource + 'static) -> Config {
        self.tokens = Some(Arc::new(source));
        self
    }

    /// Whether the client syncs by itself: after a write, when the network returns, every few minutes for what other devices
    /// wrote. On unless it is switched off, and of no effect without a server and tokens.
    #[must_use]
    pub fn background_sync(mut self, on: bool) -> Config {
        self.background_sync = on;
        self
    }

    /// Whether a client that syncs by itself listens to the server, where that tells of changes (`marea.set_wakeups(true)`): what
    /// another device wrote is here within a second or so. On unless it is switched off; of no effect without the feature `wakeups`.
    #[must_use]
    pub fn wakeups(mut self, on: bool) -> Config {
        self.wakeups = on && cfg!(feature = "wakeups");
        self
    }

    /// Whether the network may be used. With false, no request begins until [`Client::set_online`](crate::Client::set_online)
    /// allows it.
    #[must_use]
    pub fn online(mut self, online: bool) -> Config {
        self.online = online;
        self
    }

    /// How many bytes files of exports may take on this device: 200 MB unless it is given. Uploaded ones leave it when others need
    /// the room; what finds none all the same is refused with `storage_full`.
    #[must_use]
    pub fn file_quota_bytes(mut self, bytes: u64) -> Config {
        self.file_quota_bytes = bytes;
        self
    }

    /// At which minute after midnight the learner's day begins, 0 to 360: what is recorded before counts for the day before, and a
    /// streak lives until then. Kept in the mirror; without a call it is what was kept, at first midnight.
    #[must_use]
    pub fn day_starts_at(mut self, minutes: u16) -> Config {
        self.day_starts_at = Some(minutes);
        self
    }

    /// Looks whether what was given can be used, before anything is opened with it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.user_id.is_guest() {
            return Ok(());
        }
        match (&self.server, &self.tokens) {
            (Some(server), Some(_)) => check_server(&server.url, &server.publishable_key, self.allow_http),
            (Some(_), None) => Err(Error::NotConfigured { missing: "tokens" }),
            (None, Some(_)) => Err(Error::NotConfigured { missing: "server" }),
            (None, None) => Ok(()),
        }
    }

    /// The file that the mirror is in: one for each user, so that two people on one machine never mix.
    pub(crate) fn mirror_path(&self) -> PathBuf {
        mirror_path(&self.dir, self.user_id)
    }
}

/// Whether there can be a server behind this address and this key, and tokens may go there.
pub(crate) fn check_server(url: &str, publishable_key: &str, allow_http: bool) -> Result<(), Error> {
    match allow_http {
        true => marea_core::check_server_allowing_http(url, publishable_key)?,
        false => marea_core::check_server(url, publishable_key)?,
    };
    Ok(())
}

fn mirror_path(dir: &Path, user_id: UserId) -> PathBuf {
    dir.join(format!("{user_id}.sqlite3"))
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("dir", &self.dir)
            .field("user_id", &self.user_id)
            .field("server", &self.server.as_ref().map(|server| server.url.as_str()))
            .finish_non_exhaustive()
    }
}
