//! How a server refuses one mutation: in its own words, or with whatever a trigger of the app raises.

use marea_core::{MutationId, MutationResult, ResultStatus};

/// Why poison is refused.
pub(super) const REFUSED: &str = "refused";

/// The SQLSTATE with which a trigger of the app refuses a mutation: each has its own, and some look like Marea's.
pub fn refusal_of(id: MutationId) -> &'static str {
    const CODES: [&str; 8] = ["22023", "P0001", "PT402", "PT409", "UP001", "P0002", "42703", "P0004"];
    CODES[usize::from(id.as_uuid().as_bytes()[15]) % CODES.len()]
}

/// What is told of a mutation that was not taken.
pub(super) fn rejected(id: MutationId, why: &str) -> MutationResult {
    let code = if why == REFUSED { refusal_of(id) } else { "22023" };
    let (code, message) = (Some(code.to_owned()), Some(why.to_owned()));
    MutationResult { id, status: ResultStatus::Rejected, code, message }
}
