//! Channels as Supabase's Realtime has them, as far as broadcasts from the database go: messages of `realtime.send` (the fixture
//! schema tells of them by NOTIFY), and the `NOTIFY marea_wakeups` of a Postgres without Realtime. Who may listen is decided by
//! Postgres, at the join and at each new token.
//!
//! Messages are kept for nobody: a socket that is away, or slow, misses them, as it does there.

mod authorize;
mod frames;
mod joined;
mod socket;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification};

pub(crate) use frames::Version;
pub(crate) use socket::serve;

/// Messages that wait for one socket. What comes then is lost to it.
const WAITING: usize = 256;

/// Messages that are looked up no more, as on Supabase.
const FORGET_OLD: &str = "DO $$ BEGIN
    IF to_regclass('realtime.messages') IS NOT NULL THEN
        DELETE FROM realtime.messages WHERE inserted_at < now() - interval '3 days';
    END IF;
END $$";

/// What was said on a channel.
#[derive(Debug)]
pub(crate) struct Message {
    topic: String,
    event: String,
    private: bool,
    payload: Value,
}

/// A line of `NOTIFY realtime_messages`, by the fixture's trigger.
#[derive(Deserialize)]
struct Told {
    topic: String,
    event: String,
    private: bool,
    payload: Value,
}

/// A line of `NOTIFY marea_wakeups`, where there is no Realtime.
#[derive(Deserialize)]
struct Woken {
    user: String,
    version: i64,
    writer: Option<String>,
}

type Listeners = HashMap<String, HashMap<u64, mpsc::Sender<Arc<Message>>>>;

/// The channels of one backend.
pub(crate) struct Realtime {
    database_url: String,
    listeners: Arc<Mutex<Listeners>>,
    numbers: AtomicU64,
    /// Whether the database is being listened to.
    ready: watch::Receiver<bool>,
    /// Rises when all open sockets are to be cut; at the end it goes.
    cuts: watch::Sender<u64>,
    authorizing: tokio::sync::Mutex<Option<Client>>,
    listening: JoinHandle<()>,
}

impl Realtime {
    /// Begins to listen.
    pub(crate) fn start(database_url: String) -> Realtime {
        let listeners = Arc::default();
        let (says_ready, ready) = watch::channel(false);
        let listening = tokio::spawn(listen(database_url.clone(), Arc::clone(&listeners), says_ready));
        let (numbers, cuts) = (AtomicU64::new(0), watch::Sender::new(0));
        Realtime {
            database_url,
            listeners,
            numbers,
            ready,
            cuts,
            authorizing: tokio::sync::Mutex::default(),
            listening,
        }
    }

    /// Breaks all connections that are open, without a word.
    pub(crate) fn cut_sockets(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// How many sockets have joined a channel.
    pub(crate) fn joined(&self) -> usize {
        lock(&self.listeners).values().map(HashMap::len).sum()
    }

    fn subscribe(self: &Arc<Self>, topic: &str, sender: mpsc::Sender<Arc<Message>>) -> Subscription {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        lock(&self.listeners).entry(topic.to_owned()).or_default().insert(number, sender);
        Subscription { listeners: Arc::clone(&self.listeners), topic: topic.to_owned(), number }
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A socket's place on a channel; dropped, it has left.
struct Subscription {
    listeners: Arc<Mutex<Listeners>>,
    topic: String,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = lock(&self.listeners);
        if let Some(of_topic) = listeners.get_mut(&self.topic) {
            of_topic.remove(&self.number);
            if of_topic.is_empty() {
                listeners.remove(&self.topic);
            }
        }
    }
}

fn lock(listeners: &Mutex<Listeners>) -> MutexGuard<'_, Listeners> {
    // Whole after every step, so a panic elsewhere does not spoil it.
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens for as long as the backend lives, on a new connection where one has broken.
async fn listen(url: String, listeners: Arc<Mutex<Listeners>>, ready: watch::Sender<bool>) {
    loop {
        if let Ok((client, mut connection)) = tokio_postgres::connect(&url, NoTls).await {
            let (said, mut notifications) = mpsc::unbounded_channel();
            let carrying = tokio::spawn(async move {
                let mut messages = stream::poll_fn(|context| connection.poll_message(context));
                while let Some(Ok(message)) = messages.next().await {
                    if let AsyncMessage::Notification(notification) = message {
                        let _ = said.send(notification);
                    }
                }
            });
            let begun = async {
                client.batch_execute(FORGET_OLD).await?;
                client.batch_execute("LISTEN realtime_messages; LISTEN marea_wakeups").await
            };
            if begun.await.is_ok() {
                ready.send_replace(true);
                while let Some(notification) = notifications.recv().await {
                    deliver(&listeners, &notification);
                }
                ready.send_replace(false);
            }
            carrying.abort();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn deliver(listeners: &Mutex<Listeners>, notification: &Notification) {
    let message = match notification.channel() {
        "marea_wakeups" => serde_json::from_str(notification.payload()).map(|it: Woken| Message {
            topic: format!("marea:{}", it.user),
            event: "changed".to_owned(),
            private: true,
            payload: json!({ "version": it.version, "writer": it.writer }),
        }),
        _ => serde_json::from_str(notification.payload()).map(|it: Told| Message {
            topic: it.topic,
            event: it.event,
            private: it.private,
            payload: it.payload,
        }),
    };
    // Anybody who may connect may NOTIFY anything.
    let Ok(message) = message.map(Arc::new) else { return };
    if let Some(of_topic) = lock(listeners).get(&message.topic) {
        for listener in of_topic.values() {
            let _ = listener.try_send(Arc::clone(&message));
        }
    }
}
