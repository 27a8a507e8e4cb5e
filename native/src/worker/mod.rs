//! The one thread that owns an engine: it takes calls, talks to the server, and tells those who watch.
//!
//! It has a small runtime of its own, so that the client works from any executor and from none, and an engine call never blocks
//! a thread that is not its own. What to send and when to try again is the engine's decision.

mod asking;
mod new_day;
mod opening;
mod state;
mod surroundings;
mod syncing;
mod transfers;
mod vault_timer;
#[cfg(feature = "wakeups")]
mod wakeups;
mod watchers;

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use marea_core::{Change, Engine, MutationId, Recorded, Signal, SyncReport};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet, LocalSet};

use crate::Error;
use crate::config::Config;
use crate::files::make_dir;

pub(crate) use state::State;
pub(crate) use transfers::{FetchedFile, fetch_file, fetch_link, move_files_now, sweep};
pub(crate) use watchers::{Follow, Of, Watcher};

/// Calls that may wait for the thread. Whoever comes later waits for room first: the memory stays bounded.
const INBOX: usize = 256;

/// A call that was carried out.
pub(crate) struct Done {
    /// Tells the caller.
    pub(crate) reply: Box<dyn FnOnce()>,
    /// It met damage in the mirror's file.
    pub(crate) is_damaged: bool,
}

/// A local write and who waits for it.
pub(crate) struct Write {
    /// The mutation's, where the caller has made it: the same one again is not done again.
    pub(crate) id: Option<MutationId>,
    pub(crate) change: Change,
    pub(crate) done: oneshot::Sender<Result<Recorded, marea_core::Error>>,
}

/// What the thread is asked to do, in order.
pub(crate) enum Message {
    /// One engine call. It gives back how to tell the caller, who is told last: who watches knows by then.
    Call(Box<dyn FnOnce(&mut Engine) -> Done + Send>),
    /// A local write. Those that wait together share a transaction.
    Write(Write),
    /// Somebody wants to be told.
    Watch(Box<dyn Watcher>),
    /// A sync, now.
    Sync(oneshot::Sender<Result<SyncReport, Error>>),
    /// Work that waits for a network and for nothing else: on this thread, beside everything.
    Task(Task),
    /// There may be a file to move.
    FilesNudge,
    /// Something happened outside.
    Signal(Signal),
    /// The app allows the network, or forbids it.
    SetOnline { online: bool, done: oneshot::Sender<()> },
    /// The end: at most `flush` for what still waits. Answers how much that was in the end.
    Close { flush: Duration, done: oneshot::Sender<Result<u32, Error>> },
}

/// See [`Message::Task`].
pub(crate) type Task = Box<dyn FnOnce(Rc<State>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Starts the thread and waits until the mirror is open.
pub(crate) async fn start(config: Config) -> Result<mpsc::Sender<Message>, Error> {
    let (sender, inbox) = mpsc::channel(INBOX);
    let (opened, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("marea".into());
    thread.spawn(move || run(config, inbox, opened)).map_err(|source| Error::NoResources { source })?;
    answer.await.map_err(|_| Error::Closed)??;
    Ok(sender)
}

fn run(config: Config, inbox: mpsc::Receiver<Message>, opened: oneshot::Sender<Result<(), Error>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return drop(opened.send(Err(Error::NoResources { source }))),
    };
    let schema = config.schema.as_deref();
    let opening = make_dir(&config.dir)
        .and_then(|()| opening::open(&config.mirror_path(), config.user_id, schema, config.day_starts_at));
    let (engine, in_use) = match opening {
        Ok(opened) => opened,
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    LocalSet::new().block_on(&runtime, serve(Rc::new(State::new(engine, in_use, config)), inbox));
    // A thread that waits for another program's lock must not keep this one.
    runtime.shutdown_background();
}

async fn serve(state: Rc<State>, mut inbox: mpsc::Receiver<Message>) {
    let mut tasks = JoinSet::new();
    let mut looks_around = false;
    tasks.spawn_local(vault_timer::watch(Rc::clone(&state)));
    if state.syncs_by_itself() {
        tasks.spawn_local(syncing::in_the_background(Rc::clone(&state)));
        tasks.spawn_local(transfers::in_the_background(Rc::clone(&state)));
        #[cfg(feature = "wakeups")]
        tasks.spawn_local(wakeups::listen(Rc::clone(&state)));
    }
    let mut next = None;
    let (flush, done) = loop {
        if !looks_around && (state.syncs_by_itself() || state.is_watched()) {
            looks_around = true;
            tasks.spawn_local(surroundings::watch(Rc::clone(&state)));
            tasks.spawn_local(new_day::watch(Rc::clone(&state)));
        }
        let message = match next.take() {
            Some(message) => Some(message),
            None => tokio::select! {
                message = inbox.recv() => message,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => { pass_on(ended); continue }
            },
        };
        match message {
            None => break (Duration::ZERO, None),
            Some(Message::Close { flush, done }) => break (flush, Some(done)),
            Some(Message::Call(call)) => state.answer(call),
            Some(Message::Write(first)) => next = state.write(gather(first, &mut inbox)),
            Some(Message::Watch(watcher)) => state.add_watcher(watcher),
            Some(Message::Task(task)) => drop(tasks.spawn_local(task(Rc::clone(&state)))),
            Some(Message::FilesNudge) => state.files_nudge.notify_one(),
            Some(Message::Signal(signal)) => state.signal(signal),
            Some(Message::SetOnline { online, done }) => {
                state.set_online(online);
                // Whoever has stopped waiting does not want to know.
                let _ = done.send(());
            }
            Some(Message::Sync(reply)) => {
                let state = Rc::clone(&state);
                tasks.spawn_local(async move {
                    let _ = reply.send(syncing::converse(&state, syncing::Why::Asked).await);
                });
            }
        }
    };
    // From here on nobody is heard; who waits in the inbox is told that the client is closed.
    drop(inbox);
    if !flush.is_zero() && state.can_sync() && state.pending() > 0 {
        let last = syncing::converse(&state, syncing::Why::Asked);
        if tokio::time::timeout(flush, last).await.is_err() {
            tracing::info!("there was no time to send everything; it is kept for the next start");
        }
    }
    tasks.shutdown().await;
    state.end_questions().await;
    let closed = state.close();
    // What the app has handed in (a token source, listeners) is let go of before it is told: its program may end then.
    drop(state);
    if let Some(done) = done {
        let _ = done.send(closed);
    }
}

/// The write and those that wait behind it, and the message after them.
fn gather(first: Write, inbox: &mut mpsc::Receiver<Message>) -> (Vec<Write>, Option<Message>) {
    let mut writes = vec![first];
    while writes.len() < INBOX {
        match inbox.try_recv() {
            Ok(Message::Write(write)) => writes.push(write),
            Ok(other) => return (writes, Some(other)),
            Err(_) => break,
        }
    }
    (writes, None)
}

/// A panic in a task is this thread's panic: memory and file may disagree, and only opening anew puts that right.
fn pass_on(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
