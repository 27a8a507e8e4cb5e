//! Marea for Tauri: a window has the npm package's face (`@marea/client/tauri`), and its calls are carried out by the native engine in the
//! app's process. The mirror is a file in the app's own data folder, which a window neither names nor sees.
//!
//! ```ignore
//! tauri::Builder::default().plugin(tauri_plugin_marea::init())
//! ```
//!
//! Each call is a text, and what is absent here decides: see `marea_native::calls`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marea_native::Error;
use marea_native::calls::{Answer, Calls, error_text};
use serde::Serialize;
use serde_json::Value;
use tauri::ipc::Channel;
use tauri::plugin::TauriPlugin;
use tauri::webview::PageLoadEvent;
use tauri::{AppHandle, Manager, Runtime, State, Webview};

/// The mirrors that are open, each with the window that opened it.
#[derive(Default)]
struct Mirrors {
    open: Mutex<HashMap<u32, (String, Calls)>>,
    opened: AtomicU32,
    /// Where they lie, if not in the app's local data folder.
    dir: Option<PathBuf>,
}

impl Mirrors {
    fn open(&self) -> MutexGuard<'_, HashMap<u32, (String, Calls)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mirror, if this window has opened it.
    fn of(&self, window: &str, mirror: u32) -> Result<Calls, Error> {
        let open = self.open();
        let found = open.get(&mirror).filter(|(owner, _)| owner == window);
        found.map(|(_, calls)| calls.clone()).ok_or(Error::Closed)
    }

    /// Takes away what a window has open: its page is gone.
    fn leave(&self, window: &str) -> Vec<Calls> {
        let mut open = self.open();
        let gone: Vec<u32> =
            open.iter().filter(|(_, (owner, _))| owner == window).map(|(mirror, _)| *mirror).collect();
        gone.iter().filter_map(|mirror| open.remove(mirror)).map(|(_, calls)| calls).collect()
    }
}

/// What became of a call: one of these is there.
#[derive(Default, Serialize)]
struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// In Base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<Result<Answer, Error>> for Outcome {
    fn from(answer: Result<Answer, Error>) -> Outcome {
        let nothing = Outcome::default();
        match answer {
            Ok(Answer::Json(json)) => Outcome { json: Some(json), ..nothing },
            Ok(Answer::Text(text)) => Outcome { text: Some(text), ..nothing },
            Ok(Answer::Key(key)) => Outcome { bytes: Some(STANDARD.encode(&*key)), ..nothing },
            Ok(Answer::File { bytes, content_type }) => {
                Outcome { bytes: Some(STANDARD.encode(bytes)), text: Some(content_type), ..nothing }
            }
            Err(error) => Outcome { error: Some(error_text(&error)), ..nothing },
        }
    }
}

/// Opens a mirror in the app's data folder. Gives its number, or an error as JSON.
#[tauri::command]
async fn open<R: Runtime>(
    app: AppHandle<R>,
    webview: Webview<R>,
    mirrors: State<'_, Mirrors>,
    options: String,
    listener: Channel<String>,
) -> Result<u32, String> {
    let dir = match &mirrors.dir {
        Some(dir) => dir.clone(),
        None => app.path().app_local_data_dir().map_err(|_| error_text(&Error::Closed))?.join("marea"),
    };
    let mut options: Value = serde_json::from_str(&options).unwrap_or_default();
    options["dir"] = dir.to_string_lossy().into();
    let told = move |event: String| {
        // A page that is gone hears nothing.
        let _ = listener.send(event);
    };
    let calls =
        Calls::open(&options.to_string(), Arc::new(told)).await.map_err(|error| error_text(&error))?;
    let mirror = mirrors.opened.fetch_add(1, Ordering::Relaxed);
    mirrors.open().insert(mirror, (webview.label().to_owned(), calls));
    Ok(mirror)
}

/// Carries a call out.
#[tauri::command]
async fn call<R: Runtime>(
    webview: Webview<R>,
    mirrors: State<'_, Mirrors>,
    mirror: u32,
    method: String,
    arguments: String,
    bytes: Option<String>,
) -> Result<Outcome, ()> {
    let calls = match mirrors.of(webview.label(), mirror) {
        Ok(calls) => calls,
        Err(error) => return Ok(Err(error).into()),
    };
    let bytes = bytes.and_then(|bytes| STANDARD.decode(bytes).ok());
    Ok(calls.call(&method, &arguments, bytes).await.into())
}

/// Answers a question for a token.
#[tauri::command]
fn token<R: Runtime>(
    webview: Webview<R>,
    mirrors: State<'_, Mirrors>,
    mirror: u32,
    question: u32,
    token: Option<String>,
    failed: bool,
) {
    if let Ok(calls) = mirrors.of(webview.label(), mirror) {
        calls.token(question, token, failed);
    }
}

/// Closes a mirror; `erase` to remove it for good.
#[tauri::command]
async fn close<R: Runtime>(
    webview: Webview<R>,
    mirrors: State<'_, Mirrors>,
    mirror: u32,
    erase: bool,
) -> Result<Outcome, ()> {
    let calls = match mirrors.of(webview.label(), mirror) {
        Ok(calls) => calls,
        Err(error) => return Ok(Err(error).into()),
    };
    mirrors.open().remove(&mirror);
    let closed = match erase {
        true => calls.erase().await.map(drop),
        false => calls.close().await,
    };
    Ok(closed.map(|()| Answer::Json("null".to_owned())).into())
}

/// How the plugin is made.
#[derive(Default)]
pub struct Builder {
    dir: Option<PathBuf>,
}

impl Builder {
    /// With the mirrors in `marea` in the app's local data folder.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Another folder for them.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Builder {
        self.dir = Some(dir.into());
        self
    }

    /// The plugin, for `tauri::Builder::plugin`.
    pub fn build<R: Runtime>(self) -> TauriPlugin<R> {
        tauri::plugin::Builder::new("marea")
            .invoke_handler(tauri::generate_handler![open, call, token, close])
            .setup(|app, _| {
                app.manage(Mirrors { dir: self.dir, ..Mirrors::default() });
                Ok(())
            })
            .on_page_load(|webview, load| {
                // A page that is loaded again opens its mirror again; what the last one had open would stay for ever.
                if load.event() == PageLoadEvent::Started {
                    for calls in webview.state::<Mirrors>().leave(webview.label()) {
                        // Nothing that was acknowledged depends on it.
                        tauri::async_runtime::spawn(async move { drop(calls.close().await) });
                    }
                }
            })
            .build()
    }
}

/// The plugin as it is made unless an app says otherwise.
pub fn init<R: Runtime>() -> TauriPlugin<R> {
    Builder::new().build()
}
