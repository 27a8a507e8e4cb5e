//! The conversation with the server's object storage about one file: which request a step is, and what an answer to it means.
//! Pure: what is asked next, and when, is the engine's decision.

mod judge;
mod request;

pub(crate) use judge::{Verdict, judge};
pub(crate) use request::{Step, steps_request};
pub use request::{TransferBody, TransferRequest};

/// Up to so many bytes a file goes in one request. Supabase recommends the other way from 6 MiB on, and wants pieces of exactly
/// this size there.
pub(crate) const PIECE_BYTES: u64 = 6 << 20;

/// What came back for a request, as far as a transfer needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferAnswer {
    /// HTTP status.
    pub status: u16,
    /// The header `Location`.
    pub location: Option<String>,
    /// The header `Upload-Offset`.
    pub upload_offset: Option<u64>,
    /// The header `Retry-After`, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The beginning of the body: a refusal is short.
    pub body: String,
}
