//! The addon of Node, Bun and Electron: `marea-native`'s calls, as promises.
//!
//! A call is a name and its arguments as JSON, and what comes back is never a rejection but an outcome with an error in it: what an app
//! sees is made in TypeScript, the same as in a browser (`wasm/js/node/`). Nothing is decided here.
//!
//! **Architecture Invariant:** no panic crosses. One in a call ends that call, one on the mirror's thread closes the mirror.
#![allow(unsafe_code, reason = "napi's macros write it; there is none of our own")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use marea_native::Error;
use marea_native::calls::{Answer, Calls, error_text};
use napi::Status;
use napi::bindgen_prelude::{Buffer, Either, Env, PromiseRaw, Result, create_custom_tokio_runtime};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode, UnknownReturnValue};
use napi_derive::napi;
use zeroize::Zeroizing;

/// Told of events. Weak: an open mirror does not keep a program from ending, and nothing acknowledged depends on its end.
type Listener = ThreadsafeFunction<String, UnknownReturnValue, String, Status, false, true>;

/// One thread is enough: the mirror has its own, and here calls only wait.
#[napi_derive::module_init]
fn start() {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("marea-node")
        .enable_all()
        .build();
    // Without it napi makes one of its own at the first call, or says what is missing.
    if let Ok(runtime) = built {
        create_custom_tokio_runtime(runtime);
    }
}

/// An open mirror.
#[napi]
pub struct Mirror {
    calls: Calls,
}

/// What became of a call: one of these is there.
#[napi(object)]
pub struct Outcome {
    /// A value, as JSON.
    pub json: Option<String>,
    /// A text; with bytes their media type.
    pub text: Option<String>,
    /// Bytes.
    pub bytes: Option<Buffer>,
    /// An error, as JSON: `code`, `message`, `retry`.
    pub error: Option<String>,
}

/// Opens a mirror as the options say, a JSON object. Gives the mirror, or an error as JSON.
#[napi(catch_unwind)]
pub fn open<'env>(
    env: &'env Env,
    options: String,
    listener: Listener,
) -> Result<PromiseRaw<'env, Either<Mirror, String>>> {
    let listener = Arc::new(move |event: String| {
        // Where the environment has ended there is nobody to tell.
        let _ = listener.call(event, ThreadsafeFunctionCallMode::NonBlocking);
    });
    env.spawn_future(async move {
        Ok(match Calls::open(&options, listener).await {
            Ok(calls) => Either::A(Mirror { calls }),
            Err(error) => Either::B(error_text(&error)),
        })
    })
}

#[napi]
impl Mirror {
    /// Carries a call out. `bytes` are those of the file of the one call that brings one.
    #[napi(catch_unwind)]
    pub fn call<'env>(
        &self,
        env: &'env Env,
        method: String,
        arguments: String,
        bytes: Option<Buffer>,
    ) -> Result<PromiseRaw<'env, Outcome>> {
        let calls = self.calls.clone();
        // A passphrase may be among them.
        let arguments = Zeroizing::new(arguments);
        let bytes = bytes.map(|bytes| bytes.to_vec());
        let mut call = Box::pin(async move { outcome(calls.call(&method, &arguments, bytes).await) });
        // Begun before this returns: calls that are not waited for reach the mirror in the order in which they were made.
        let begun = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        env.spawn_future(async move {
            Ok(match begun {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => call.await,
            })
        })
    }

    /// Answers the question for a token of this number.
    #[napi(catch_unwind)]
    pub fn token(&self, question: u32, token: Option<String>, failed: bool) {
        self.calls.token(question, token, failed);
    }

    /// Closes the mirror; `erase` to remove it for good.
    #[napi(catch_unwind)]
    pub fn close<'env>(&self, env: &'env Env, erase: bool) -> Result<PromiseRaw<'env, Outcome>> {
        let calls = self.calls.clone();
        env.spawn_future(async move {
            let closed = match erase {
                true => calls.erase().await.map(drop),
                false => calls.close().await,
            };
            Ok(outcome(closed.map(|()| Answer::Json("null".to_owned()))))
        })
    }
}

fn outcome(answer: std::result::Result<Answer, Error>) -> Outcome {
    let nothing = Outcome { json: None, text: None, bytes: None, error: None };
    match answer {
        Ok(Answer::Json(json)) => Outcome { json: Some(json), ..nothing },
        Ok(Answer::Text(text)) => Outcome { text: Some(text), ..nothing },
        Ok(Answer::Key(key)) => Outcome { bytes: Some(key.to_vec().into()), ..nothing },
        Ok(Answer::File { bytes, content_type }) => {
            Outcome { bytes: Some(bytes.into()), text: Some(content_type), ..nothing }
        }
        Err(error) => Outcome { error: Some(error_text(&error)), ..nothing },
    }
}
