//! Watching: the latest value of something, now and whenever it changes, whoever changed it.

use marea_core::{
    ActivityDay, Engine, ExportPage, ExportQuery, LocalDate, MutationView, Progress, Status, Table,
};
use tokio::sync::watch;

use super::Client;
use crate::worker::{Follow, Message, Of};
use crate::{Error, Watch, clock};

impl Client {
    /// Totals, averages and streaks, whenever they change: by this program, by another one on this machine, by the server.
    ///
    /// # Errors
    ///
    /// `closed`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marea_native::Client) -> Result<(), marea_native::Error> {
    /// let mut progress = client.watch_progress().await?;
    /// while let Some(progress) = progress.next().await {
    ///     println!("{} days in a row", progress.current_streak_days);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn watch_progress(&self) -> Result<Watch<Progress>, Error> {
        self.follow(Of::Tables(vec![Table::UserProgress]), |engine| engine.progress(clock::now())).await
    }

    /// The days from `from` to `to`, both included, whenever one of them changes.
    ///
    /// # Errors
    ///
    /// `invalid_input` when `from` is after `to`; `closed`.
    pub async fn watch_activity(
        &self,
        from: LocalDate,
        to: LocalDate,
    ) -> Result<Watch<Vec<ActivityDay>>, Error> {
        self.activity(from, to).await?;
        self.follow(Of::Tables(vec![Table::DailyActivity]), move |engine| engine.activity(from, to)).await
    }

    /// A page of exports, whenever one of them changes.
    ///
    /// # Errors
    ///
    /// `invalid_input` for a page size outside 1 to 500; `closed`.
    pub async fn watch_exports(&self, query: ExportQuery) -> Result<Watch<ExportPage>, Error> {
        self.exports(query.clone()).await?;
        self.follow(Of::Tables(vec![Table::ExportHistory]), move |engine| engine.exports(&query)).await
    }

    /// The status, whenever it changes. `next_attempt_at` is `None` while an attempt is due at once.
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn watch_status(&self) -> Result<Watch<Status>, Error> {
        let read = |engine: &mut Engine| {
            let now = clock::now();
            let mut status = engine.status(now)?;
            // "Now" would be another time at every look.
            status.next_attempt_at.take_if(|at| at.as_millis() <= now.unix_ms);
            Ok(status)
        };
        self.follow(Of::Status, read).await
    }

    /// What the server has refused, whenever that changes.
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn watch_rejected(&self) -> Result<Watch<Vec<MutationView>>, Error> {
        self.follow(Of::Status, |engine| engine.rejected()).await
    }

    pub(super) async fn follow<T: Clone + PartialEq + Send + Sync + 'static>(
        &self,
        of: Of,
        read: impl Fn(&mut Engine) -> Result<T, marea_core::Error> + Send + 'static,
    ) -> Result<Watch<T>, Error> {
        let (latest, watched) = watch::channel(None);
        self.send(Message::Watch(Box::new(Follow { of, read, latest }))).await?;
        Ok(Watch::new(watched))
    }
}
