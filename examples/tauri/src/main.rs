//! A Tauri app on `marea-native`: shows the progress as it changes, whoever changed it, and records a session.
//!
//! `MAREA_USER` says whose mirror. With `MAREA_URL`, `MAREA_KEY` and `MAREA_TOKEN` it syncs by itself; without, it records.
//! An app would take the user and the tokens from its own sign-in, or from `marea_native::auth`.

use std::error::Error;
use std::time::Duration;

use marea_native::{Client, Config, Progress, Recorded, SessionInput, StaticToken, Status, Watch, block_on};
use tauri::{AppHandle, Emitter, Manager, RunEvent, State};

/// Errors are for the page to show; their text says what to do.
#[tauri::command]
async fn record(client: State<'_, Client>, minutes: i32) -> Result<Recorded, String> {
    let session = SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("practice") };
    client.record_session(session).await.map_err(|error| error.to_string())
}

/// What is shown first.
#[tauri::command]
async fn now(client: State<'_, Client>) -> Result<(Progress, Status), String> {
    let read = async { Ok((client.progress().await?, client.status().await?)) };
    read.await.map_err(|error: marea_native::Error| error.to_string())
}

fn open(app: &tauri::App) -> Result<Client, Box<dyn Error>> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = var("MAREA_USER").ok_or("MAREA_USER says whose progress it is: the user's id")?;
    let dir = var("MAREA_DIR").map_or_else(|| app.path().app_local_data_dir(), |dir| Ok(dir.into()))?;
    let mut config = Config::new(dir, user.parse()?);
    if let (Some(url), Some(key), Some(token)) = (var("MAREA_URL"), var("MAREA_KEY"), var("MAREA_TOKEN")) {
        config = config.server(url, key).tokens(StaticToken::new(token));
    }
    Ok(block_on(Client::open(config))?)
}

/// Passes on to the page what is watched.
fn tell<T>(app: &AppHandle, event: &'static str, mut watch: Watch<T>)
where
    T: serde::Serialize + Clone + Send + Sync + 'static,
{
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        while let Some(value) = watch.next().await {
            // A page that is gone hears nothing.
            let _ = app.emit(event, value);
        }
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let app = tauri::Builder::default()
        .setup(|app| {
            let client = open(app)?;
            tell(app.handle(), "progress", block_on(client.watch_progress())?);
            tell(app.handle(), "status", block_on(client.watch_status())?);
            app.manage(client);
            Ok(())
        })
        .invoke_handler(tauri::generate_handler![record, now])
        .build(tauri::generate_context!())?;
    app.run(|app, event| {
        if let RunEvent::Exit = event {
            // Two seconds for what still waits; what does not get through is sent after the next start.
            let _ = block_on(app.state::<Client>().shutdown(Duration::from_secs(2)));
        }
    });
    Ok(())
}
