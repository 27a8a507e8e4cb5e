//! The few values that exist only in the browser; all others are `marea-core`'s own types.

use marea_core::Status;
use serde::{Deserialize, Serialize};
use tsify::Tsify;

/// Where the mirror lives on this device.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, Tsify)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// The origin private file system: durable, private to this site.
    Opfs,
}

/// The engine's status, and where the mirror is kept.
#[derive(Debug, Serialize, Tsify)]
// A flattened struct reaches JavaScript as a map, which must be an object there too.
#[tsify(hashmap_as_object)]
pub struct ClientStatus {
    #[serde(flatten)]
    pub(crate) status: Status,
    /// Where the mirror lives on this device.
    pub(crate) storage: Storage,
}
