//! The few values that exist only in the browser; all others are `marea-core`'s own types.

use marea_core::{Status, StatusError};
use serde::{Deserialize, Serialize};
use tsify::Tsify;

/// Why this mirror did not begin with what this device had before.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// The browser had deleted it (the disk was nearly full, or the site's data was cleared). Everything that the server
    /// has is pulled anew; what had not been sent is lost.
    Evicted,
    /// It was damaged. It is kept aside, what could be read of its unsent work is in the new one, and everything that the
    /// server has is pulled anew. The journal in the diagnostics says how much that was.
    SetAside,
}

/// What the browser says about the place in which the mirror is kept.
#[derive(Debug, Default, Clone, Serialize, Tsify)]
pub struct Surroundings {
    /// Whether the browser has promised not to delete it when the disk is nearly full; null when it did not say.
    pub(crate) persisted: Option<bool>,
    /// What this site has on the device, in bytes, as far as the browser tells.
    pub(crate) usage_bytes: Option<f64>,
    /// What this site may have on the device, in bytes, as far as the browser tells.
    pub(crate) quota_bytes: Option<f64>,
    /// Why the mirror is not in the browser's file system; null where it is.
    pub(crate) storage_reason: Option<StatusError>,
    /// Set when the mirror of this device had to be begun anew at this opening.
    pub(crate) recovery: Option<Recovery>,
}

/// The engine's status, and what the browser says about the place in which the mirror is kept.
#[derive(Debug, Serialize, Tsify)]
// A flattened struct reaches JavaScript as a map, which must be an object there too.
#[tsify(hashmap_as_object)]
pub struct ClientStatus {
    #[serde(flatten)]
    pub(crate) status: Status,
    #[serde(flatten)]
    pub(crate) surroundings: Surroundings,
}
