//! The calls of the npm package as text, for faces in other languages: a call's name and its arguments as a JSON list, and its answer
//! as JSON. The same calls, and the same values, as the package's page sends to the worker that leads (wasm/js/protocol.ts).
//!
//! A face adds nothing but how the texts travel: from Node into this process, from a window of Tauri's into its app. What the
//! arguments must be is checked here once more, because they may come from anywhere.
//!
//! Deliberately absent: who is told of what. [`Calls::open`] takes one listener, which hears of every change and is asked for tokens.

mod carry_out;
mod changes;
mod options;
mod tokens;
mod vault;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::worker::Message;
use crate::{Client, Error};
use changes::Changes;
use tokens::Questions;

/// Whoever is told of events, each a JSON object: `changed` with what can be read again, `token-wanted` with the number of the
/// question. Called on the client's thread, which waits meanwhile.
pub type Listener = Arc<dyn Fn(String) + Send + Sync>;

/// An open mirror, as a face of another language calls it.
#[derive(Clone)]
pub struct Calls {
    client: Client,
    questions: Arc<Questions>,
}

/// What a call gives.
pub enum Answer {
    /// A value, as JSON.
    Json(String),
    /// A text that is no JSON to the caller, or that the caller reads by itself: rows, a query's result, diagnostics.
    Text(String),
    /// A key in the clear. This copy is wiped.
    Key(Zeroizing<Vec<u8>>),
    /// A file.
    File {
        /// All of it.
        bytes: Vec<u8>,
        /// Its media type; empty where only the server knows it.
        content_type: String,
    },
}

impl Calls {
    /// Opens a mirror as `options` say, a JSON object (`native/src/calls/options.rs`).
    ///
    /// # Errors
    ///
    /// As [`Client::open`], and `invalid_input` for options that are none.
    pub async fn open(options: &str, listener: Listener) -> Result<Calls, Error> {
        let questions = Arc::new(Questions::new(Arc::clone(&listener)));
        let client = Client::open(options::config(options, &questions)?).await?;
        client.send(Message::Watch(Box::new(Changes::new(listener)))).await?;
        Ok(Calls { client, questions })
    }

    /// Carries a call out. `bytes` are those of the file of the one call that brings one.
    ///
    /// # Errors
    ///
    /// Those of the [`Client`]'s call of the same purpose; `invalid_input` for a call that does not exist, or arguments that are not
    /// its own.
    pub async fn call(&self, method: &str, arguments: &str, bytes: Option<Vec<u8>>) -> Result<Answer, Error> {
        match method.starts_with("keys") {
            true => vault::carry_out(&self.client, method, arguments).await,
            false => carry_out::carry_out(&self.client, method, arguments, bytes).await,
        }
    }

    /// Answers a question for a token: with one, with none where nobody is signed in, or that it could not be said now.
    pub fn token(&self, question: u32, token: Option<String>, failed: bool) {
        self.questions.answer(question, token, failed);
    }

    /// An id for a write whose caller makes none.
    ///
    /// # Errors
    ///
    /// `closed`, `no_entropy`.
    pub async fn make_id(&self) -> Result<String, Error> {
        self.client.call(|engine| Ok(engine.make_export_id(crate::clock::now())?.to_string())).await
    }

    /// Closes the mirror, for all clones. What waits is kept for the next time.
    ///
    /// # Errors
    ///
    /// As [`Client::shutdown`].
    pub async fn close(&self) -> Result<(), Error> {
        self.client.shutdown(Duration::ZERO).await.map(drop)
    }

    /// Closes the mirror and removes it for good.
    ///
    /// # Errors
    ///
    /// As [`Client::erase`].
    pub async fn erase(&self) -> Result<u32, Error> {
        self.client.clone().erase().await
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Calls").finish_non_exhaustive()
    }
}

/// An error as it travels: `code`, `message`, and whether the same call may succeed later (`retry`).
pub fn error_text(error: &Error) -> String {
    let (code, message, retry) = (error.code(), error.to_string(), error.may_retry());
    serde_json::json!({ "code": code, "message": message, "retry": retry }).to_string()
}

fn json<T: Serialize>(value: &T) -> Result<Answer, Error> {
    match serde_json::to_string(value) {
        Ok(text) => Ok(Answer::Json(text)),
        Err(_) => Err(marea_core::Error::Internal("an answer is no JSON").into()),
    }
}

/// Reads a call's arguments. What serde says of a wrong one may quote it: nothing of that is told.
fn read<T: DeserializeOwned>(arguments: &str) -> Result<T, Error> {
    serde_json::from_str(arguments).map_err(|_| invalid("arguments", "are not those of this call"))
}

fn unknown_call() -> Error {
    invalid("method", "is no call of this version")
}

fn invalid(field: &'static str, problem: &str) -> Error {
    marea_core::Error::InvalidInput { field, problem: problem.to_owned() }.into()
}
