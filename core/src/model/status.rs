//! How the engine is doing, in one value, without any learner's data.

use serde::{Deserialize, Serialize};

use crate::model::{ClientId, FileView, Timestamp, Unreadable, UserId};

/// What the last attempt to reach the server showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// Not tried yet.
    Unknown,
    /// The server answered.
    Online,
    /// The server could not be reached. A state, not an error.
    Offline,
}

/// Whether the server tells this client of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
pub enum WakeUps {
    /// It does not, or nobody asks for it: changes of other devices are looked for every five minutes.
    #[default]
    Off,
    /// It would, and the socket for it is not open yet, or open no more.
    Joining,
    /// It does: a change of another device is here within a second or so.
    Joined,
    /// It refuses to tell this user: a policy is missing (`marea.set_wakeups(true)` makes it).
    Refused,
}

/// Where a mirror is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// A file of the desktop.
    File,
    /// A file of the browser's origin private file system.
    Opfs,
    /// The browser's `localStorage`, as an image: small, and as durable as the browser makes it.
    LocalStorage,
    /// Nowhere: what is not sent is gone when the program ends.
    Memory,
}

/// Why the last sync did not finish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct StatusError {
    /// Stable code, for programs.
    pub code: String,
    /// What happened and what to do, for people.
    pub message: String,
}

/// What one request carries and asks for at most. Smaller than usual while something on the way takes no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct SyncLimits {
    /// Mutations of one request.
    pub mutations: u32,
    /// Bytes of the mutations of one request.
    pub batch_bytes: u32,
    /// Rows of one page.
    pub page_rows: u32,
    /// Bytes of one page.
    pub page_bytes: u32,
}

/// The engine's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Status {
    /// Whose mirror it is.
    pub user_id: UserId,
    /// This installation.
    pub client_id: ClientId,
    /// Where the mirror is kept.
    pub storage: StorageKind,
    /// Mutations that the server has not acknowledged yet.
    pub pending: u32,
    /// Mutations that the server refused; kept until the app retries or discards them.
    pub rejected: u32,
    /// What the last attempt to reach the server showed.
    pub connection: Connection,
    /// False while the network is known to be away, or the app has forbidden it: nothing is wrong then, work goes on and
    /// waits.
    pub online: bool,
    /// True while the app itself has forbidden the network: no request begins until it allows it again.
    #[serde(default)]
    pub paused: bool,
    /// Whether a request is under way.
    pub syncing: bool,
    /// When the mirror last agreed with the server.
    pub last_synced_at: Option<Timestamp>,
    /// Why the last sync did not finish; `None` after one that did.
    pub last_error: Option<StatusError>,
    /// When the next attempt is due, if one is planned.
    pub next_attempt_at: Option<Timestamp>,
    /// Bytes of requests that this mirror has sent, all in all: bodies, without headers.
    #[cfg_attr(feature = "tsify", tsify(type = "number"))]
    pub bytes_sent: u64,
    /// Bytes of answers that this mirror has received, all in all: bodies, without headers, as they were before they
    /// were compressed for the way.
    #[cfg_attr(feature = "tsify", tsify(type = "number"))]
    pub bytes_received: u64,
    /// The schema version of the mirror's file.
    pub mirror_version: u32,
    /// What of the server's rows this version cannot read; empty nearly always.
    pub unreadable: Vec<Unreadable>,
    /// The version up to which the mirror has the server's changes; `None` before the first sync.
    #[serde(default)]
    #[cfg_attr(feature = "tsify", tsify(type = "number | null"))]
    pub cursor: Option<i64>,
    /// Whether the server tells this client of changes.
    #[serde(default)]
    pub wakeups: WakeUps,
    /// What one request carries and asks for at most.
    #[serde(default)]
    pub limits: SyncLimits,
    /// How the files of exports stand.
    #[serde(default)]
    pub files: FilesStatus,
}

/// The files of exports, all in all. [`crate::Engine::files`] lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(default)]
pub struct FilesStatus {
    /// Files that the server has not all of yet, those that are held back included.
    pub waiting: u32,
    /// Bytes that are still to be sent of them.
    #[cfg_attr(feature = "tsify", tsify(type = "number"))]
    pub bytes_waiting: u64,
    /// Files that the server has.
    pub uploaded: u32,
    /// Files that the server or this device does not take.
    pub refused: u32,
    /// Bytes that files take on this device.
    #[cfg_attr(feature = "tsify", tsify(type = "number"))]
    pub bytes_on_device: u64,
    /// The file about which a request is under way, with how far it is.
    pub current: Option<FileView>,
}
