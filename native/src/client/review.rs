//! The queue as people meet it: what waits, what was refused and why, and what they decide about it; and what support asks for.

use marea_core::{MutationId, MutationView, Timestamp, UserId};
use serde::Serialize;

use super::Client;
use crate::{Error, clock};

/// Everything that the server does not have, in a form that outlives the mirror.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueueExport {
    /// When it was written.
    pub exported_at: Timestamp,
    /// Whose work it is.
    pub user_id: UserId,
    /// What waits for the server, oldest first.
    pub pending: Vec<MutationView>,
    /// What the server has refused, oldest first.
    pub rejected: Vec<MutationView>,
}

impl std::fmt::Debug for QueueExport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (pending, rejected) = (self.pending.len(), self.rejected.len());
        formatter.debug_struct("QueueExport").field("pending", &pending).field("rejected", &rejected).finish()
    }
}

impl Client {
    /// What waits for the server, oldest first, at most 10,000.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn pending(&self) -> Result<Vec<MutationView>, Error> {
        self.call(|engine| engine.pending()).await
    }

    /// What the server refused, oldest first, at most 10,000, each with the reason and what it would have changed.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn rejected(&self) -> Result<Vec<MutationView>, Error> {
        self.call(|engine| engine.rejected()).await
    }

    /// Queues a refused mutation again; says whether there was one with this id.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be written.
    pub async fn retry(&self, id: MutationId) -> Result<bool, Error> {
        self.call(move |engine| engine.retry(id)).await
    }

    /// Forgets a refused mutation for good; says whether there was one with this id.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be written.
    pub async fn discard(&self, id: MutationId) -> Result<bool, Error> {
        self.call(move |engine| engine.discard(id)).await
    }

    /// All that the server does not have, as one document: what was recorded, in plain columns. For its owner only.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn export_queue(&self) -> Result<QueueExport, Error> {
        self.call(|engine| {
            Ok(QueueExport {
                exported_at: clock::now().timestamp(),
                user_id: engine.user_id(),
                pending: engine.pending()?,
                rejected: engine.rejected()?,
            })
        })
        .await
    }

    /// State and last syncs as one JSON document for support: codes, counts and times; no learner's data, no secret.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn diagnostics(&self) -> Result<String, Error> {
        self.call(|engine| engine.diagnostics(clock::now())).await
    }

    /// Reads the whole mirror and says whether its file is in order.
    ///
    /// # Errors
    ///
    /// `mirror_corrupt` when it is not; when it cannot be read.
    pub async fn check(&self) -> Result<(), Error> {
        self.call(|engine| engine.check()).await
    }
}
