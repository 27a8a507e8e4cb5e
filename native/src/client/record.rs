//! Writing: each call is durable when it returns, and reaches the server exactly once, by this program or a later one.

use marea_core::{Change, EventInput, ExportChange, ExportInput, MutationId, Recorded, SessionInput};

use tokio::sync::oneshot;

use super::Client;
use crate::Error;
use crate::worker::{Message, Write};

impl Client {
    /// Records a completed session. It is on the disk when this returns and counts at once in [`Client::progress`].
    ///
    /// # Errors
    ///
    /// `invalid_input` names the field that was refused; `storage_full` and `storage_failed` mean that nothing was written.
    pub async fn record_session(&self, session: SessionInput) -> Result<Recorded, Error> {
        self.mutate(session).await
    }

    /// Records an award that belongs to no session.
    ///
    /// # Errors
    ///
    /// As [`Client::record_session`].
    pub async fn record_event(&self, event: EventInput) -> Result<Recorded, Error> {
        self.mutate(event).await
    }

    /// Asks for an export. Its id is the export's.
    ///
    /// # Errors
    ///
    /// As [`Client::record_session`].
    pub async fn create_export(&self, export: ExportInput) -> Result<Recorded, Error> {
        self.mutate(Change::CreateExport(export)).await
    }

    /// Says what became of an export. Of two devices that say it differently, the later one wins, column by column.
    ///
    /// # Errors
    ///
    /// As [`Client::record_session`]; `invalid_input` when this mirror has no such export.
    pub async fn update_export(&self, id: MutationId, change: ExportChange) -> Result<Recorded, Error> {
        self.mutate(Change::UpdateExport { id, change }).await
    }

    /// Deletes an export, on all devices. Its file, if it has one, leaves this device and the server.
    ///
    /// # Errors
    ///
    /// As [`Client::update_export`].
    pub async fn delete_export(&self, id: MutationId) -> Result<Recorded, Error> {
        self.mutate(Change::DeleteExport { id }).await
    }

    /// Any local write. Calls that wait at the same time share a transaction: many at once are as durable as one by one, and quicker.
    ///
    /// # Errors
    ///
    /// As [`Client::record_session`].
    pub async fn mutate(&self, change: impl Into<Change>) -> Result<Recorded, Error> {
        self.mutate_as(None, change.into()).await
    }

    /// The same with the id of its mutation: one that was done before is not done again.
    pub(crate) async fn mutate_as(&self, id: Option<MutationId>, change: Change) -> Result<Recorded, Error> {
        let (done, answer) = oneshot::channel();
        self.send(Message::Write(Write { id, change, done })).await?;
        Ok(answer.await.map_err(|_| Error::Closed)??)
    }
}
