//! The protocol's messages, as `docs/PROTOCOL.md` describes them. Shapes only: no decision is taken here.

mod answer;
mod request;

pub use answer::{MutationResult, ResultStatus, SyncAnswer, WireRow};
pub(crate) use request::MAX_REQUEST_BYTES;
pub use request::{Cursor, PROTOCOL, SyncRequest, WireMutation};
