//! What was there before the account was: an app's own history, and a guest's work.

use std::time::Duration;

use marea_core::{Claimed, Error as EngineError, ImportItem, Imported, UserId};

use super::Client;
use crate::{Config, Error, clock};

impl Client {
    /// Brings in what an app kept before it had Marea: sessions and awards with the times that they have, rows of mirrored tables.
    /// Again, in another program or on another device, nothing comes in twice; once nothing of a `name` was refused, it is done, and
    /// a call with it does nothing. `items` is a JSON list as `ImportItem::list` reads it.
    ///
    /// # Errors
    ///
    /// `invalid_input` for a name or a list that cannot be; what is wrong with one item is in the outcome. `storage_full` and
    /// `storage_failed` mean that nothing has come in.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marea_native::Client) -> Result<(), marea_native::Error> {
    /// let items = r#"[{ "session": { "session_type": "qa", "ended_at": "2025-03-01T18:00:00Z", "duration_minutes": 12 } }]"#;
    /// let outcome = client.import_once("history of version 1", items).await?;
    /// println!("{} came in, {} were here, {} are wrong", outcome.imported, outcome.known, outcome.refused.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn import_once(&self, name: impl Into<String>, items: &str) -> Result<Imported, Error> {
        let (name, items) = (name.into(), ImportItem::list(items)?);
        self.call(move |engine| engine.import_once(&name, items, clock::now())).await
    }

    /// Brings what was done in this folder before anybody signed in ([`Config::guest`]) into this account, exactly once: what is
    /// interrupted is ended by the next call. Without any such work it does nothing. The guest's mirror may be open meanwhile; what
    /// is written there in between waits for the next call.
    ///
    /// # Errors
    ///
    /// `invalid_input` on a guest's own client; the storage errors: call again, nothing is lost and nothing counts twice.
    pub async fn claim(&self) -> Result<Claimed, Error> {
        let account = self.user_id();
        if account.is_guest() {
            return Err(EngineError::NeedsAccount { what: "claim" }.into());
        }
        let config = Config::guest(self.mirror_path().parent().unwrap_or(self.mirror_path()));
        if !crate::has_guest(&config.dir) {
            return Ok(Claimed::default());
        }
        let guest = Client::open(config).await?;
        let claimed = self.claim_from(&guest, account).await;
        // Another client of this program may have it open too, and everything is durable either way.
        let _ = guest.shutdown(Duration::ZERO).await;
        claimed
    }

    async fn claim_from(&self, guest: &Client, account: UserId) -> Result<Claimed, Error> {
        let handover = guest.call(move |engine| engine.hand_over(account)).await?;
        let taken = handover.clone();
        let claimed = self.call(move |engine| engine.take_over(&taken, clock::now())).await?;
        guest.call(move |engine| engine.handed_over(&handover)).await?;
        tracing::info!(claimed = claimed.claimed, kept = claimed.kept, "a guest's work was claimed");
        Ok(claimed)
    }
}
