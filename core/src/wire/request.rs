//! What the client says.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::object::read_by_names_and_written;
use crate::model::{ClientId, Hlc, Mutation, MutationId, redacted_debug};

/// The protocol version that this crate speaks.
pub const PROTOCOL: u32 = 1;

/// What a request may weigh at most; the server refuses more by name (`PT413`).
pub(crate) const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// How far a client has applied its user's changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Cursor {
    /// The last version applied.
    pub version: i64,
    /// Names the server's history; changes when that history was replaced.
    pub epoch: String,
}

/// One mutation on the wire.
#[derive(Clone, Serialize, Deserialize)]
pub struct WireMutation {
    /// The idempotency key.
    pub id: MutationId,
    /// The mutation's hybrid logical clock.
    pub hlc: Hlc,
    /// The table's name.
    pub table: String,
    /// `insert`, `merge`, `add` or `delete`.
    pub op: String,
    /// The row's key.
    pub key: String,
    /// The columns, a JSON object.
    pub values: Box<RawValue>,
    /// What all mutations of one batch share: the server takes all of them or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<MutationId>,
}

/// One request: carries up and asks down.
#[derive(Clone, Serialize, Deserialize)]
pub struct SyncRequest {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// This installation.
    pub client_id: ClientId,
    /// The mirror's schema version; the server only records it.
    pub schema: u32,
    /// `None` on the first sync.
    pub cursor: Option<Cursor>,
    /// How many rows the answer may hold.
    pub limit: u32,
    /// How many bytes of rows the answer may hold, if fewer than the server gives. A server that does not know this goes by
    /// `limit` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u32>,
    /// Whether the answer may pack rows. A server that does not know this sends them all by their columns' names.
    #[serde(default)]
    pub packed: bool,
    /// The hash of the catalogue that this client has, or an empty text: the answer is to bring the server's where it is another.
    /// Absent where the app itself has brought one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<String>,
    /// The oldest prefix of the queue, in order.
    pub mutations: Vec<WireMutation>,
}

read_by_names_and_written!(Cursor);
redacted_debug!(WireMutation, SyncRequest);

impl From<Mutation> for WireMutation {
    fn from(mutation: Mutation) -> Self {
        WireMutation {
            id: mutation.id,
            hlc: mutation.hlc,
            table: mutation.table.name().to_owned(),
            op: mutation.op.name().to_owned(),
            key: mutation.key,
            values: mutation.values,
            batch: mutation.batch,
        }
    }
}
