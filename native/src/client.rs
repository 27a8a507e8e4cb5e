//! [`Client`]: one learner's mirror, open, shared by everybody in the program who holds a clone.
//!
//! A call is a conversion, a lock, one call of the engine. What to send and when to try again is the engine's decision; here
//! are only the file, the clock and the network that it lacks. No background thread: a host calls [`Client::sync`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use marea_core::{
    ActivityDay, Engine, Host, LocalDate, Location, Now, Progress, Recorded, SessionInput, Signal, Status,
    SyncReport, SystemEntropy, Table, Transport, UserId, sync_until_idle,
};

use crate::config::{Config, Server};
use crate::files::{FileLock, ensure_private, make_dir};
use crate::tokens::TokenSource;
use crate::{Error, clock};

/// A learner's mirror, open. `Send + Sync`; a clone is the same client and costs nothing.
///
/// Recording and reading block for as long as the disk takes (milliseconds) and never wait for a network, not even
/// while a sync is under way.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    /// Held for one engine call at a time, never across an await.
    engine: Mutex<Engine>,
    /// One conversation with the server at a time: a second caller waits, then has its own.
    turn: tokio::sync::Mutex<()>,
    user_id: UserId,
    mirror_path: PathBuf,
    server: Option<Server>,
    tokens: Option<Arc<dyn TokenSource>>,
    /// Made by the first sync: a program that only records never pays for it.
    transport: OnceLock<Transport>,
}

impl Client {
    /// Opens the mirror of `config`'s user, making folder and file when they are missing. Uses no network.
    ///
    /// # Errors
    ///
    /// `storage_failed` when the folder or the file cannot be used, `mirror_locked` while another program holds it,
    /// `mirror_newer` for one that a newer program wrote, `mirror_corrupt` for a damaged one, `wrong_user` for another
    /// user's. The file is left as it is in all these cases.
    pub fn open(config: Config) -> Result<Client, Error> {
        make_dir(&config.dir)?;
        let mirror_path = config.mirror_path();
        // SQLite would make it readable for whom the umask allows, and its journal like it.
        ensure_private(&mirror_path)?;
        let location = Location::File(mirror_path.clone());
        // SQLite does not wait its turn for the switch to WAL of a new file: one program makes it, the others find it made.
        let opening = FileLock::wait_for(&mirror_path.with_extension("open-lock"))?;
        let engine = Engine::open(&location, config.user_id, Box::new(SystemEntropy::new()), clock::now())?;
        drop(opening);
        let inner = Inner {
            engine: Mutex::new(engine),
            turn: tokio::sync::Mutex::default(),
            user_id: config.user_id,
            mirror_path,
            server: config.server,
            tokens: config.tokens,
            transport: OnceLock::new(),
        };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// Records a completed session. It is on the disk when this returns, counts at once in [`Client::progress`], and reaches
    /// the server exactly once, by this program or a later one.
    ///
    /// # Errors
    ///
    /// `invalid_input` names the field that was refused; `storage_full` and `storage_failed` mean that nothing was written.
    pub fn record_session(&self, session: SessionInput) -> Result<Recorded, Error> {
        Ok(self.engine().mutate(session.into(), clock::now())?)
    }

    /// Totals, averages and streaks, with everything recorded on this device in them. The streak is as of today.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub fn progress(&self) -> Result<Progress, Error> {
        Ok(self.engine().progress(clock::now())?)
    }

    /// The days from `from` to `to`, both included, oldest first; days without activity are left out.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub fn activity(&self, from: LocalDate, to: LocalDate) -> Result<Vec<ActivityDay>, Error> {
        Ok(self.engine().activity(from, to)?)
    }

    /// What is waiting, what was refused, and how the last sync went.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub fn status(&self) -> Result<Status, Error> {
        Ok(self.engine().status(clock::now())?)
    }

    /// Sends what is waiting and fetches what is new, until nothing is left to say or the server cannot be spoken to.
    /// Being offline is an outcome, not an error: what was recorded stays queued.
    ///
    /// No request waits longer than its timeout. Whoever drops the future stops waiting, not the conversation: it goes on in
    /// the background to its end.
    ///
    /// # Errors
    ///
    /// `invalid_input` without a usable server or tokens; the mirror's errors when an answer cannot be written.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with timers and I/O.
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
        self.inner.transport()?;
        self.inner.tokens()?;
        // A task of its own: a caller who stops waiting must not leave the engine waiting for an answer that never comes.
        match tokio::spawn(converse(Arc::clone(&self.inner))).await {
            Ok(result) => result,
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(_) => Err(Error::ShuttingDown),
        }
    }

    /// The learner's local day, by this machine's clock and time zone.
    pub fn today(&self) -> LocalDate {
        clock::now().local_date()
    }

    /// Whose mirror it is.
    pub fn user_id(&self) -> UserId {
        self.inner.user_id
    }

    /// The mirror's file.
    pub fn mirror_path(&self) -> &Path {
        &self.inner.mirror_path
    }

    /// Gives this handle back. The last one closes the mirror and learns whether that went well; nothing that was recorded
    /// depends on it.
    ///
    /// # Errors
    ///
    /// `storage_failed` when the file could not be closed in order. The next open puts it right.
    pub fn close(self) -> Result<(), Error> {
        match Arc::try_unwrap(self.inner) {
            // A panic inside the engine has poisoned the lock: there is no order left to close in.
            Ok(inner) => Ok(inner.engine.into_inner().map_or(Ok(()), Engine::close)?),
            Err(_) => Ok(()),
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.inner.engine()
    }
}

impl Inner {
    /// # Panics
    ///
    /// After a panic inside the engine: its memory and its file may disagree, and only opening anew puts that right.
    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().expect("the engine panicked earlier; open the mirror anew")
    }

    fn transport(&self) -> Result<&Transport, Error> {
        if let Some(transport) = self.transport.get() {
            return Ok(transport);
        }
        let server = self.server.as_ref().ok_or(Error::NotConfigured { missing: "server" })?;
        let made = Transport::new(&server.url, &server.anon_key)?;
        Ok(self.transport.get_or_init(|| made))
    }

    fn tokens(&self) -> Result<&dyn TokenSource, Error> {
        self.tokens.as_deref().ok_or(Error::NotConfigured { missing: "tokens" })
    }
}

async fn converse(inner: Arc<Inner>) -> Result<SyncReport, Error> {
    let _turn = inner.turn.lock().await;
    // The same between processes: of two conversations at once, the later answer could be the older one.
    let path = inner.mirror_path.with_extension("sync-lock");
    let waiting = tokio::task::spawn_blocking(move || FileLock::wait_for(&path));
    let _turn_of_this_process = waiting.await.map_err(|_| Error::ShuttingDown)??;
    // Whoever calls wants it now, however long a backoff the last failure has set.
    inner.engine().signal(Signal::SyncNow, clock::now());
    let host = Conversation { inner: &inner, tokens: inner.tokens()? };
    Ok(sync_until_idle(&host, inner.transport()?).await?)
}

/// What the engine's loop sees of this client.
struct Conversation<'a> {
    inner: &'a Inner,
    tokens: &'a dyn TokenSource,
}

impl Host for Conversation<'_> {
    fn with_engine<R>(&self, call: impl FnOnce(&mut Engine) -> R) -> R {
        call(&mut self.inner.engine())
    }

    fn now(&self) -> Now {
        clock::now()
    }

    async fn access_token(&self, fresh: bool) -> Option<String> {
        self.tokens.access_token(fresh).await
    }

    /// Readers ask when they want to know; nobody is watching yet.
    fn changed(&self, _tables: &[Table]) {}
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("mirror", &self.inner.mirror_path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_by_threads<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send>(_: &T) {}

    #[test]
    fn a_client_can_be_shared_by_threads_and_its_sync_spawned() {
        shared_by_threads::<Client>();
        let _checked_by_the_compiler = |client: Client| sent(&client.sync());
    }

    #[test]
    fn what_was_recorded_is_there_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let user: UserId = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().unwrap();
        let session = SessionInput { session_type: "practice".into(), ..SessionInput::default() };
        let first = Client::open(Config::new(dir.path().join("made"), user)).unwrap();
        let recorded = first.record_session(session.clone()).unwrap();
        first.clone().close().unwrap();
        first.close().unwrap();

        let second = Client::open(Config::new(dir.path().join("made"), user)).unwrap();
        let again = second.record_session(SessionInput { id: Some(recorded.id), ..session }).unwrap();
        assert_eq!((again.id, again.pending), (recorded.id, 1));
        assert_eq!(second.progress().unwrap().total_sessions, 1);
        assert_eq!(second.activity(second.today(), second.today()).unwrap().len(), 1);
        assert_eq!(second.status().unwrap().pending, 1);
    }

    #[tokio::test]
    async fn syncing_without_a_server_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let user: UserId = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse().unwrap();
        let client = Client::open(Config::new(dir.path(), user)).unwrap();
        assert!(matches!(client.sync().await, Err(Error::NotConfigured { missing: "server" })));
    }
}
