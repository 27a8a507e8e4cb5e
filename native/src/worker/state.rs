//! What the thread's tasks share: the engine, lent for one call at a time, and those who want to be told.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use marea_core::{
    Catalogue, Connection, Engine, Failure, Signal, Subscription, SyncMark, Transport, UnixMillis, UserId,
};
use tokio::sync::Notify;

use super::asking::Questions;
use super::watchers::{Watcher, Watchers};
use super::{Done, Message, Write, opening};
use crate::bytes::Bytes;
use crate::config::{Config, Server};
use crate::files::FileLock;
use crate::tokens::TokenSource;
use crate::{Error, clock};

pub(crate) struct State {
    /// `None` once it is closed, which happens after every task has ended.
    engine: RefCell<Option<Engine>>,
    /// Nobody may erase a mirror that is open.
    in_use: RefCell<Option<FileLock>>,
    subscription: Cell<Subscription>,
    watchers: RefCell<Watchers>,
    /// Something may have become due.
    pub(super) nudge: Notify,
    /// What the engine says of the socket of wake-ups may be another now.
    pub(super) socket_nudge: Notify,
    /// There may be a file to move.
    pub(super) files_nudge: Notify,
    /// One program of this client moves files at a time.
    pub(super) files_turn: tokio::sync::Mutex<()>,
    bytes: Bytes,
    /// When the vault locks by itself has changed.
    pub(super) vault_nudge: Notify,
    vault_locks_at: Cell<Option<UnixMillis>>,
    /// One conversation with the server at a time: a second caller waits, then has its own.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Where the mirror stood when the conversation that is under way began.
    pub(super) conversation_began: Cell<Option<SyncMark>>,
    mirror_path: PathBuf,
    user_id: UserId,
    schema: Option<Arc<Catalogue>>,
    /// What it was opened with, or set to since.
    day_starts_at: Cell<u16>,
    server: Option<Server>,
    tokens: Option<Arc<dyn TokenSource>>,
    questions: Questions,
    background_sync: bool,
    wakeups: bool,
    /// Whether the app allows the network: an engine that takes another one's place is told too.
    online: Cell<bool>,
    /// Made by the first sync: a program that only records never pays for it.
    transport: OnceCell<Transport>,
}

impl State {
    pub(super) fn new(mut engine: Engine, in_use: FileLock, config: Config) -> State {
        engine.set_online(config.online);
        engine.want_wakeups(config.wakeups);
        let day_starts_at = engine.day_starts_at();
        State {
            subscription: Cell::new(engine.subscribe()),
            engine: RefCell::new(Some(engine)),
            in_use: RefCell::new(Some(in_use)),
            watchers: RefCell::default(),
            nudge: Notify::new(),
            socket_nudge: Notify::new(),
            files_nudge: Notify::new(),
            files_turn: tokio::sync::Mutex::default(),
            bytes: Bytes::beside(&config.mirror_path()),
            vault_nudge: Notify::new(),
            vault_locks_at: Cell::default(),
            turn: tokio::sync::Mutex::default(),
            conversation_began: Cell::default(),
            mirror_path: config.mirror_path(),
            user_id: config.user_id,
            schema: config.schema,
            day_starts_at: Cell::new(day_starts_at),
            background_sync: config.background_sync,
            wakeups: config.wakeups,
            online: Cell::new(config.online),
            server: config.server,
            tokens: config.tokens,
            questions: Questions::default(),
            transport: OnceCell::new(),
        }
    }

    /// Lends the engine for one call, then tells everybody what has changed.
    pub(super) fn with_engine<R>(&self, call: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine.borrow_mut();
        let engine = engine.as_mut().expect("the engine is taken away after the last task");
        let result = call(engine);
        let changed = engine.take_changes(self.subscription.get());
        if !changed.is_empty() {
            self.nudge.notify_one();
            self.files_nudge.notify_one();
        }
        self.watchers.borrow_mut().tell(engine, &changed);
        self.day_starts_at.set(engine.day_starts_at());
        let vault_locks_at = engine.vault_locks_at();
        if self.vault_locks_at.replace(vault_locks_at) != vault_locks_at {
            self.vault_nudge.notify_one();
        }
        result
    }

    /// Carries out a call. Damage that it meets is dealt with before the caller is told: trying again is of use then.
    pub(super) fn answer(&self, call: impl FnOnce(&mut Engine) -> Done) {
        let done = self.with_engine(call);
        if done.is_damaged {
            self.recover();
        }
        (done.reply)();
    }

    /// The file is damaged: a fresh mirror takes its place. Not while another program has it open: then whoever opens it
    /// first, once all have closed it, does this.
    pub(super) fn recover(&self) {
        opening::suspect(&self.mirror_path);
        if !opening::is_alone(&self.mirror_path, &mut self.in_use.borrow_mut()) {
            tracing::warn!(
                "the mirror is damaged, and open in other programs; it is set aside once they have closed it"
            );
            return;
        }
        // The file is read and moved now: no connection to it may be left.
        drop(self.engine.borrow_mut().take());
        let day_starts_at = Some(self.day_starts_at.get());
        match opening::open(&self.mirror_path, self.user_id, self.schema.as_deref(), day_starts_at) {
            Ok((mut engine, in_use)) => {
                engine.set_online(self.online.get());
                engine.want_wakeups(self.wakeups);
                self.subscription.set(engine.subscribe());
                *self.engine.borrow_mut() = Some(engine);
                *self.in_use.borrow_mut() = Some(in_use);
                self.refresh_watchers();
                self.nudge.notify_one();
            }
            Err(error) => {
                tracing::error!(code = error.code(), "the damaged mirror could not be replaced");
                // Everybody is told that the client is closed, as after a panic: opening anew puts it right.
                std::panic::resume_unwind(Box::new("the mirror is damaged"));
            }
        }
    }

    /// Carries out writes in one transaction, tells those who watch, then each writer. Gives the message that came after them back.
    pub(super) fn write(&self, (writes, next): (Vec<Write>, Option<Message>)) -> Option<Message> {
        let now = clock::now();
        let (changes, writers): (Vec<_>, Vec<_>) =
            writes.into_iter().map(|write| ((write.id, write.change), write.done)).unzip();
        let carry_out = || -> Vec<_> {
            self.with_engine(|engine| match engine.mutate_all(changes.clone(), now) {
                Ok(outcomes) => outcomes,
                // None was written: each gets a try, and an error, of its own.
                Err(_) => changes
                    .iter()
                    .map(|change| engine.mutate_all(vec![change.clone()], now)?.swap_remove(0))
                    .collect(),
            })
        };
        let mut outcomes = carry_out();
        if outcomes.iter().all(|outcome| matches!(outcome, Err(marea_core::Error::MirrorCorrupt))) {
            self.recover();
            outcomes = carry_out();
        }
        for (writer, outcome) in writers.into_iter().zip(outcomes) {
            // Whoever has stopped waiting does not want to know.
            let _ = writer.send(outcome);
        }
        next
    }

    /// Minutes after midnight at which the learner's day begins.
    pub(super) fn day_starts_at(&self) -> u16 {
        self.day_starts_at.get()
    }

    /// When the vault locks by itself, if nothing is asked of it until then.
    pub(super) fn vault_locks_at(&self) -> Option<UnixMillis> {
        self.vault_locks_at.get()
    }

    pub(super) fn add_watcher(&self, watcher: Box<dyn Watcher>) {
        self.with_engine(|engine| self.watchers.borrow_mut().add(watcher, engine));
    }

    pub(super) fn is_watched(&self) -> bool {
        !self.watchers.borrow().is_empty()
    }

    /// Reads everything that is watched anew: the day may have changed.
    pub(super) fn refresh_watchers(&self) {
        self.with_engine(|engine| self.watchers.borrow_mut().refresh(engine));
    }

    pub(super) fn signal(&self, signal: Signal) {
        if signal == Signal::NewToken {
            self.questions.forget_late();
        }
        self.with_engine(|engine| engine.signal(signal, clock::now()));
        self.nudge.notify_one();
        self.socket_nudge.notify_one();
        self.files_nudge.notify_one();
    }

    pub(super) fn set_online(&self, online: bool) {
        self.online.set(online);
        self.with_engine(|engine| engine.set_online(online));
        self.nudge.notify_one();
        self.socket_nudge.notify_one();
        self.files_nudge.notify_one();
    }

    /// Whether the last attempt found no network.
    pub(super) fn is_offline(&self) -> bool {
        let status = self.with_engine(|engine| engine.status(clock::now()));
        status.is_ok_and(|status| status.connection == Connection::Offline)
    }

    /// Looks whether another program has written, and tells those who watch.
    pub(super) fn look_for_other_writers(&self) {
        if let Err(error) = self.with_engine(Engine::look_for_other_writers) {
            tracing::warn!(code = error.code(), "the mirror could not be looked at");
        }
    }

    pub(super) fn pending(&self) -> u32 {
        self.with_engine(|engine| engine.status(clock::now())).map_or(0, |status| status.pending)
    }

    /// Whether somebody has signed in anew since the last token was handed out.
    pub(super) fn has_newer_token(&self) -> bool {
        self.tokens.as_deref().is_some_and(TokenSource::has_newer)
    }

    pub(super) fn can_sync(&self) -> bool {
        self.server.is_some() && self.tokens.is_some() && !self.user_id.is_guest()
    }

    pub(super) fn syncs_by_itself(&self) -> bool {
        self.background_sync && self.can_sync()
    }

    pub(super) fn user_id(&self) -> UserId {
        self.user_id
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its address and key.
    #[cfg(feature = "wakeups")]
    pub(super) fn server(&self) -> Option<(&str, &str)> {
        self.server.as_ref().map(|server| (server.url.as_str(), server.publishable_key.as_str()))
    }

    pub(super) fn server_url(&self) -> &str {
        self.server.as_ref().map_or("", |server| server.url.as_str())
    }

    pub(super) fn mirror_path(&self) -> &Path {
        &self.mirror_path
    }

    pub(super) fn transport(&self) -> Result<&Transport, Error> {
        if let Some(transport) = self.transport.get() {
            return Ok(transport);
        }
        let server = self.server.as_ref().ok_or(Error::NotConfigured { missing: "server" })?;
        // `Config::check` has seen to `http://`.
        let made = Transport::allowing_http(&server.url, &server.publishable_key)?;
        Ok(self.transport.get_or_init(|| made))
    }

    /// Whether there is anybody to ask for a token.
    pub(super) fn has_tokens(&self) -> Result<(), Error> {
        self.tokens.as_ref().map(drop).ok_or(Error::NotConfigured { missing: "tokens" })
    }

    /// The app's token.
    pub(super) async fn token(&self, fresh: bool) -> Result<String, Failure> {
        let source = self.tokens.as_ref().ok_or(Failure::TokenUnavailable)?;
        self.questions.token(source, fresh).await
    }

    pub(super) async fn end_questions(&self) {
        self.questions.end().await;
    }

    /// Closes the mirror and says how many mutations still wait.
    pub(super) fn close(&self) -> Result<u32, Error> {
        let pending = self.pending();
        match self.engine.borrow_mut().take() {
            Some(engine) => engine.close()?,
            None => return Err(Error::Closed),
        }
        self.in_use.borrow_mut().take();
        tracing::debug!(pending, "the mirror is closed");
        Ok(pending)
    }
}
