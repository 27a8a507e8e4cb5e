//! An open mirror: recording, reading, the queue, and the sync.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use marea_native::block_on;
use marea_native::calls::{Answer, Calls};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::error::{MareaError, unreadable};
use crate::options::{ChangeListener, OpenOptions, TokenSource, topics};
use crate::records::{ActivityDay, EventInput, Progress, Recorded, SessionInput, Status, SyncReport};

pub(crate) type Result<T> = std::result::Result<T, MareaError>;

/// One user's mirror, open.
#[derive(uniffi::Object)]
pub struct Marea {
    pub(crate) calls: Calls,
    asking: Arc<Asking>,
}

#[uniffi::export]
impl Marea {
    /// Opens the user's mirror, making it if it is not there yet, and starts to sync in the background. Needs no network.
    #[uniffi::constructor]
    pub async fn open(
        options: OpenOptions,
        tokens: Arc<dyn TokenSource>,
        listener: Option<Arc<dyn ChangeListener>>,
    ) -> Result<Arc<Marea>> {
        let (opened, asking): (Arc<OnceLock<Calls>>, Arc<Asking>) = Default::default();
        let (waiting, asked) = (Arc::clone(&opened), Arc::clone(&asking));
        let told = move |event: String| {
            let Ok(event) = serde_json::from_str::<Value>(&event) else { return };
            if event["kind"] == "changed" {
                if let Some(listener) = &listener {
                    // Its own affair, and none of the mirror's.
                    let _ = listener.changed(topics(&event));
                }
                return;
            }
            ask(Arc::clone(&tokens), Arc::clone(&waiting), Arc::clone(&asked), &event);
        };
        let calls = Calls::open(&options.to_json(), Arc::new(told)).await?;
        // Nobody else sets it.
        let _ = opened.set(calls.clone());
        Ok(Arc::new(Marea { calls, asking }))
    }

    /// Writes a session down. It is durable when this returns, and reaches the server later, exactly once.
    pub async fn record_session(&self, session: SessionInput) -> Result<Recorded> {
        let id = session.id.clone();
        self.write("record_session", id, input(&session)?).await
    }

    /// Writes an award down that belongs to no session.
    pub async fn record_event(&self, event: EventInput) -> Result<Recorded> {
        let id = event.id.clone();
        self.write("record_event", id, input(&event)?).await
    }

    /// The learner's progress.
    pub async fn progress(&self) -> Result<Progress> {
        self.ask("progress", json!([])).await
    }

    /// The days with activity from `from` to `to` (`YYYY-MM-DD`, both included), oldest first.
    pub async fn activity(&self, from: String, to: String) -> Result<Vec<ActivityDay>> {
        self.ask("activity", json!([from, to])).await
    }

    /// How much waits, whether the server can be reached, what went wrong last. Offline is a state, not an error.
    pub async fn status(&self) -> Result<Status> {
        self.ask("status", json!([])).await
    }

    /// Sends and pulls now instead of when it is due.
    pub async fn sync(&self) -> Result<SyncReport> {
        self.ask("sync", json!([])).await
    }

    /// What the server refused, oldest first, each a JSON text with `id`, `refusal` and `values`.
    pub async fn rejected(&self) -> Result<Vec<String>> {
        let rejected: Vec<Value> = self.ask("rejected", json!([])).await?;
        Ok(rejected.iter().map(Value::to_string).collect())
    }

    /// Queues a refused mutation again; says whether there was one with this id.
    pub async fn retry(&self, id: String) -> Result<bool> {
        self.ask("retry", json!([id])).await
    }

    /// Forgets a refused mutation for good; says whether there was one with this id.
    pub async fn discard(&self, id: String) -> Result<bool> {
        self.ask("discard", json!([id])).await
    }

    /// With false, no request is started until it is true again.
    pub async fn set_online(&self, online: bool) -> Result<()> {
        self.ask("setOnline", json!([online])).await
    }

    /// Tells Marea that the token source has something new to give.
    pub async fn token_changed(&self) -> Result<()> {
        self.ask("signal", json!(["new_token"])).await
    }

    /// State and last syncs as one JSON document for support: no learner's data, no secret.
    pub async fn diagnostics(&self) -> Result<String> {
        self.text("diagnostics", json!([])).await
    }

    /// Any other call of the npm package's (`wasm/js/protocol.ts`), its arguments as a JSON list, its answer as JSON.
    pub async fn call(&self, method: String, arguments: String) -> Result<String> {
        match self.calls.call(&method, &arguments, None).await? {
            Answer::Json(text) | Answer::Text(text) => Ok(text),
            _ => Err(unreadable()),
        }
    }

    /// Closes the mirror. What waits is kept for the next time; later calls fail with `closed`. It blocks until that is done, some
    /// milliseconds: from then on nothing of the mirror's calls into the app's language, and a program may end.
    pub fn shut_down(&self) -> Result<()> {
        let closed = block_on(self.calls.close());
        self.asking.ended();
        Ok(closed?)
    }

    /// Closes the mirror and takes it off the device, with everything that was not sent. Gives how much that was. It blocks, as
    /// `shut_down`.
    pub fn erase(&self) -> Result<u32> {
        let erased = block_on(self.calls.erase());
        self.asking.ended();
        Ok(erased?)
    }
}

impl Marea {
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, arguments: Value) -> Result<T> {
        let arguments = Zeroizing::new(arguments.to_string());
        match self.calls.call(method, &arguments, None).await? {
            Answer::Json(text) => serde_json::from_str(&text).map_err(|_| unreadable()),
            _ => Err(unreadable()),
        }
    }

    pub(crate) async fn text(&self, method: &str, arguments: Value) -> Result<String> {
        match self.calls.call(method, &arguments.to_string(), None).await? {
            Answer::Text(text) => Ok(text),
            _ => Err(unreadable()),
        }
    }

    pub(crate) async fn key(&self, arguments: Value) -> Result<Vec<u8>> {
        match self.calls.call("keysOpen", &arguments.to_string(), None).await? {
            Answer::Key(key) => Ok(key.to_vec()),
            _ => Err(unreadable()),
        }
    }

    pub(crate) async fn write(&self, kind: &str, id: Option<String>, input: Value) -> Result<Recorded> {
        let id = match id {
            Some(id) => id,
            None => self.calls.make_id().await?,
        };
        self.ask("write", json!([{ "kind": kind, "id": id, "input": input }])).await
    }
}

/// Asks for a token on a thread of its own: an app may take its time, or call the mirror meanwhile.
fn ask(tokens: Arc<dyn TokenSource>, opened: Arc<OnceLock<Calls>>, asking: Arc<Asking>, event: &Value) {
    let (Some(id), fresh) = (event["id"].as_u64(), event["fresh"] == true) else { return };
    let asked = Asked::begin(asking);
    let answering = move || {
        let told = tokens.access_token(fresh);
        // Its last owner calls into the app's language too.
        drop(tokens);
        drop(asked);
        // It is asked for by a mirror that is open, or about to be.
        let calls = opened.wait();
        let failed = told.is_err();
        calls.token(id as u32, told.ok().flatten(), failed);
    };
    // Without a thread nobody answers, and the question runs out of time.
    let _ = std::thread::Builder::new().name("marea-token".to_owned()).spawn(answering);
}

/// How long a closing waits for an app that is asked for a token.
const ASKED_LIMIT: Duration = Duration::from_secs(2);

/// How many threads ask the app for a token now.
#[derive(Default)]
struct Asking {
    threads: Mutex<u32>,
    fewer: Condvar,
}

impl Asking {
    fn threads(&self) -> MutexGuard<'_, u32> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until none does, and not for ever: the app may be waiting for whoever closes.
    fn ended(&self) {
        drop(self.fewer.wait_timeout_while(self.threads(), ASKED_LIMIT, |threads| *threads > 0));
    }
}

/// One of them.
struct Asked(Arc<Asking>);

impl Asked {
    fn begin(asking: Arc<Asking>) -> Asked {
        *asking.threads() += 1;
        Asked(asking)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        *self.0.threads() -= 1;
        self.0.fewer.notify_all();
    }
}

fn input(value: &impl serde::Serialize) -> Result<Value> {
    let mut value = serde_json::to_value(value).map_err(|_| unreadable())?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, field| !field.is_null());
    }
    Ok(value)
}
