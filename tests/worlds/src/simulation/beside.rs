//! A real server beside the model of one.

use marea_core::{Failure, SyncAnswer, SyncRequest, UserId};

/// A real server that the devices talk to, while the model is sent the same requests, so that it is known of which facts
/// the answers are made.
pub trait Beside {
    /// Answers a request as its user. `model` is the model's answer; the cursors of the two differ, and times of the server.
    ///
    /// # Errors
    /// When the server does not answer.
    fn answer(
        &mut self,
        user: UserId,
        request: &SyncRequest,
        model: &SyncAnswer,
    ) -> Result<SyncAnswer, Failure>;

    /// What comes back for a token that has expired.
    fn refuse(&mut self, user: UserId, request: &SyncRequest) -> Failure;
}
