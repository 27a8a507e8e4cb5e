//! [`Client`]: one learner's mirror, open, shared by everybody in the program who holds a clone.
//!
//! A call is a message to the thread that owns the engine, and its answer. What to send and when to try again is the engine's
//! decision. Writing is in `record`, mirrored tables and the app's own SQL in `tables`, the queue in `review`, watching in
//! `follow`.

mod adopt;
mod files;
mod follow;
mod record;
mod review;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use marea_core::{
    ActivityDay, ApiKeys, Engine, Export, ExportPage, ExportQuery, LocalDate, MutationId, Progress, Signal,
    Status, SyncReport, UserId,
};
use tokio::sync::{mpsc, oneshot};

pub use files::NewFile;
pub use review::QueueExport;
pub use tables::MirroredTable;

use crate::bytes::Bytes;
use crate::config::Config;
use crate::files::{FileLock, remove, remove_set_aside, set_aside_beside};
use crate::worker::{self, Done, Message};
use crate::{Error, clock};

/// A learner's mirror, open. `Send + Sync`; a clone is the same client and costs nothing.
///
/// Every call is answered by one thread that owns the engine: it waits for the disk (milliseconds), never for a network, not even
/// while a sync is under way, and it blocks no thread of the caller's runtime. Any executor will do, and none:
/// [`block_on`](crate::block_on) waits for a call on a plain thread.
///
/// Dropping the last clone ends the thread and closes the mirror; [`Client::shutdown`] does the same, waits for it, and may send
/// what is waiting first. Nothing that was acknowledged depends on either.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: mpsc::Sender<Message>,
    user_id: UserId,
    mirror_path: PathBuf,
    file_quota_bytes: u64,
    day_starts_at: AtomicU16,
}

impl Client {
    /// Opens the mirror of `config`'s user, making folder and file when they are missing. With a server and tokens, the client
    /// then syncs by itself in the background, unless [`Config::background_sync`] says otherwise. Waits for no network.
    ///
    /// # Errors
    ///
    /// `invalid_input` for a server's address or key that cannot be one, a server without tokens or tokens without a server;
    /// `storage_failed` when the folder or the file cannot be used, `mirror_locked` while another program holds it,
    /// `mirror_newer` for one that a newer program wrote, `wrong_user` for another user's, `mirror_corrupt` for another program's
    /// database, or for a damaged mirror that another program has open. The file is left as it is in all these cases; a
    /// damaged mirror that nobody else has open is set aside, and its queue goes into a fresh one.
    pub async fn open(config: Config) -> Result<Client, Error> {
        config.check()?;
        let (user_id, mirror_path) = (config.user_id, config.mirror_path());
        let file_quota_bytes = config.file_quota_bytes;
        let inbox = worker::start(config).await?;
        let day_starts_at = AtomicU16::new(0);
        let client = Client {
            shared: Arc::new(Shared { inbox, user_id, mirror_path, file_quota_bytes, day_starts_at }),
        };
        let kept = client.call(|engine| Ok(engine.day_starts_at())).await?;
        client.shared.day_starts_at.store(kept, Ordering::Relaxed);
        Ok(client)
    }

    /// Totals, averages and streaks, with everything recorded on this device in them. The streak is as of today.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn progress(&self) -> Result<Progress, Error> {
        self.call(|engine| engine.progress(clock::now())).await
    }

    /// The days from `from` to `to`, both included, oldest first; days without activity are left out.
    ///
    /// # Errors
    ///
    /// `invalid_input` when `from` is after `to`; when the mirror cannot be read.
    pub async fn activity(&self, from: LocalDate, to: LocalDate) -> Result<Vec<ActivityDay>, Error> {
        self.call(move |engine| engine.activity(from, to)).await
    }

    /// A page of exports, newest first.
    ///
    /// # Errors
    ///
    /// `invalid_input` for a page size outside 1 to 500; when the mirror cannot be read.
    pub async fn exports(&self, query: ExportQuery) -> Result<ExportPage, Error> {
        self.call(move |engine| engine.exports(&query)).await
    }

    /// One export; `None` when this mirror has none with this id.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn export(&self, id: MutationId) -> Result<Option<Export>, Error> {
        self.call(move |engine| engine.export(id)).await
    }

    /// The sealed API keys.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn api_keys(&self) -> Result<ApiKeys, Error> {
        self.call(|engine| engine.api_keys()).await
    }

    /// What is waiting, what was refused, and how the last sync went.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn status(&self) -> Result<Status, Error> {
        self.call(|engine| engine.status(clock::now())).await
    }

    /// Sends what is waiting and fetches what is new, now, until nothing is left to say or the server cannot be spoken to.
    /// Being offline is an outcome, not an error: what was recorded stays queued.
    ///
    /// No request waits longer than its timeout. Whoever drops the future stops waiting, not the conversation: it goes on in
    /// the background to its end.
    ///
    /// # Errors
    ///
    /// `invalid_input` without a usable server or tokens; the mirror's errors when an answer cannot be written.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: marea_native::Client) -> Result<(), marea_native::Error> {
    /// let report = client.sync().await?;
    /// println!("{:?}: {} sent, {} waiting", report.outcome, report.pushed, report.pending);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sync(&self) -> Result<SyncReport, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Sync(reply)).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Tells the engine what the app has noticed: that the network came back, that it became visible, that there is a new token.
    /// On Linux the client hears of the network by itself.
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.send(Message::Signal(signal)).await
    }

    /// The app's own wish to use the network: once a call with false has returned, no request begins until one with true, and
    /// then one begins at once. A request that is under way is finished. Of this client only, and not kept for the next one:
    /// [`Config::online`](crate::Config::online) says how to begin. [`Status::paused`] shows it; a sync that is asked for
    /// meanwhile ends at once with [`Outcome::Offline`](crate::Outcome::Offline).
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn set_online(&self, online: bool) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.send(Message::SetOnline { online, done }).await?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Closes the client for everybody who holds a clone: later calls fail with `closed`. What is waiting is sent first when that
    /// takes no longer than `flush` (zero: nothing is sent); what was not is kept, and sent after the next start. Gives the
    /// number of mutations that still wait.
    ///
    /// # Errors
    ///
    /// `closed` when somebody else was faster; `storage_failed` when the file could not be closed in order, which the next open
    /// puts right.
    pub async fn shutdown(&self, flush: Duration) -> Result<u32, Error> {
        let (done, answer) = oneshot::channel();
        self.send(Message::Close { flush, done }).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Closes the client and removes its mirror for good, with damaged ones that were set aside: all that was recorded, what
    /// waits for the server too. Gives the number of mutations that went unsent. Sync before, or ask the learner. What the server
    /// has stays there, and a later open fetches it.
    ///
    /// # Errors
    ///
    /// `mirror_locked` while another client or program has it open, and then nothing is removed; `storage_failed` when a file
    /// cannot be removed.
    pub async fn erase(self) -> Result<u32, Error> {
        let unsent = self.shutdown(Duration::ZERO).await?;
        let mirror = &self.shared.mirror_path;
        // Whoever opens waits for this one, and whoever has it open holds a share of that one.
        let _opening = FileLock::wait_for(&mirror.with_extension("open-lock"))?;
        let in_use = mirror.with_extension("use-lock");
        let _alone = FileLock::try_for(&in_use)?.ok_or(marea_core::Error::MirrorLocked)?;
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = mirror.as_os_str().to_owned();
            name.push(suffix);
            remove(Path::new(&name))?;
        }
        remove_set_aside(mirror)?;
        Bytes::beside(mirror).erase()?;
        tracing::info!(unsent, "a mirror was erased");
        Ok(unsent)
    }

    /// The learner's local day, by this machine's clock and time zone. It begins when [`Client::set_day_start`] says.
    pub fn today(&self) -> LocalDate {
        clock::today(self.shared.day_starts_at.load(Ordering::Relaxed))
    }

    /// Says at which minute after midnight the learner's day begins, 0 to 360. Kept in the mirror; days that there are stay as they
    /// are.
    ///
    /// # Errors
    ///
    /// `invalid_input`; the storage errors.
    pub async fn set_day_start(&self, minutes: u16) -> Result<(), Error> {
        self.call(move |engine| engine.set_day_start(minutes)).await?;
        self.shared.day_starts_at.store(minutes, Ordering::Relaxed);
        Ok(())
    }

    /// Whose mirror it is; [`UserId::GUEST`] where nobody has signed in.
    pub fn user_id(&self) -> UserId {
        self.shared.user_id
    }

    /// The mirror's file.
    pub fn mirror_path(&self) -> &Path {
        &self.shared.mirror_path
    }

    /// Damaged mirrors of this user that were set aside, oldest first. What could be read of a queue is in the mirror again;
    /// beside each lies a document of it. Delete them once the learner misses nothing.
    pub fn set_aside(&self) -> Vec<PathBuf> {
        set_aside_beside(&self.shared.mirror_path)
    }

    /// One call of the engine, on its thread.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Engine) -> Result<R, marea_core::Error> + Send + 'static,
    ) -> Result<R, Error> {
        let (reply, answer) = oneshot::channel();
        let job = move |engine: &mut Engine| {
            let result = call(engine);
            // Whoever has stopped waiting does not want to know.
            let is_damaged = matches!(result, Err(marea_core::Error::MirrorCorrupt));
            Done { reply: Box::new(move || drop(reply.send(result))), is_damaged }
        };
        self.send(Message::Call(Box::new(job))).await?;
        Ok(answer.await.map_err(|_| Error::Closed)??)
    }

    pub(crate) async fn send(&self, message: Message) -> Result<(), Error> {
        self.shared.inbox.send(message).await.map_err(|_| Error::Closed)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}
