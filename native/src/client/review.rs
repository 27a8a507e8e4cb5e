//! The queue as people meet it: what waits, what was refused and why, and what they decide about it; and what support asks for.

use std::io::{self, Write};
use std::path::Path;

use marea_core::{MutationId, MutationView, QueueCounts, SyncAnswer, SyncRequest, Timestamp, UserId};
use serde::Serialize;

use super::Client;
use crate::files::write_new;
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
    /// All that waits for the server, oldest first.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn pending(&self) -> Result<Vec<MutationView>, Error> {
        self.call(|engine| engine.pending()).await
    }

    /// All that the server refused, oldest first, each with the reason and what it would have changed.
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

    /// Queues all refused mutations again, all or none; gives their ids, oldest first.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be written.
    pub async fn retry_all(&self) -> Result<Vec<MutationId>, Error> {
        self.call(|engine| engine.retry_all()).await
    }

    /// Forgets all refused mutations for good, all or none; gives their ids, oldest first.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be written.
    pub async fn discard_all(&self) -> Result<Vec<MutationId>, Error> {
        self.call(|engine| engine.discard_all()).await
    }

    /// Writes all that the server does not have as one JSON document, mutation by mutation: a queue of any length needs no memory
    /// for all of it. `between` stands between two of them, a line break for people. For its owner only.
    ///
    /// It is written on the client's thread, and other calls wait meanwhile.
    ///
    /// # Errors
    ///
    /// `storage_failed` when `out` cannot be written, and then the document is not whole; when the mirror cannot be read.
    pub async fn write_queue(
        &self,
        mut out: impl Write + Send + 'static,
        between: &'static str,
    ) -> Result<QueueCounts, Error> {
        let written = self.call(move |engine| {
            let counts = engine.write_queue(clock::now(), &mut out, between)?;
            Ok(counts.and_then(|counts| out.flush().map(|()| counts)))
        });
        written.await?.map_err(|source| Error::Output { source })
    }

    /// The same into a file that must not exist yet, for its owner alone. It is there when everything is in it, and not before.
    ///
    /// # Errors
    ///
    /// `storage_failed` when the file cannot be made or written, and then there is none; when the mirror cannot be read.
    pub async fn write_queue_to(&self, path: &Path) -> Result<QueueCounts, Error> {
        let file = path.to_owned();
        let written = self.call(move |engine| {
            let mut refused = None;
            let counts = write_new(&file, |out| {
                let mut out = io::BufWriter::new(out);
                let counts = engine.write_queue(clock::now(), &mut out, "\n");
                let counts = counts.unwrap_or_else(|error| {
                    refused = Some(error);
                    Err(io::ErrorKind::Other.into())
                })?;
                out.flush()?;
                Ok(counts)
            });
            refused.map_or(Ok(counts), Err)
        });
        written.await?.map_err(|source| Error::Files { action: "write", path: path.to_owned(), source })
    }

    /// All that the server does not have, as one value: what was recorded, in plain columns. For its owner only. A long queue needs
    /// less memory by [`Client::write_queue`].
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

    /// What the mirror's file holds that Marea has not made and does not run, by name: triggers, virtual tables. Somebody else has
    /// written into it.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn foreign_objects(&self) -> Result<Vec<String>, Error> {
        self.call(|engine| engine.foreign_objects()).await
    }

    /// The request that this mirror would send next, without what waits in it. For `marea doctor`.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    #[doc(hidden)]
    pub async fn probe(&self) -> Result<SyncRequest, Error> {
        self.call(|engine| engine.probe()).await
    }

    /// Whether this mirror could take an answer to [`Client::probe`]. For `marea doctor`.
    ///
    /// # Errors
    ///
    /// `closed`.
    #[doc(hidden)]
    pub async fn can_read(&self, answer: SyncAnswer) -> Result<bool, Error> {
        self.call(move |engine| Ok(engine.can_read(&answer))).await
    }
}
