//! A Tauri app with Marea: its page has the npm package's face, and the plugin carries the calls out in this process.
//!
//! `MAREA_USER` says whose mirror. With `MAREA_URL`, `MAREA_KEY` and `MAREA_TOKEN` it syncs by itself; without, it records. An app's
//! page would know the user and the tokens from its own sign-in.

use std::error::Error;

use serde::Serialize;

/// What the page opens the mirror with.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    user_id: String,
    url: String,
    publishable_key: String,
    token: Option<String>,
    online: bool,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tauri::command]
fn settings() -> Result<Settings, String> {
    let user_id = variable("MAREA_USER").ok_or("MAREA_USER says whose progress it is: the user's id")?;
    let server = variable("MAREA_URL").zip(variable("MAREA_KEY"));
    let online = server.is_some();
    let (url, publishable_key) = server.unwrap_or_else(|| ("http://localhost".into(), "none".into()));
    Ok(Settings { user_id, url, publishable_key, token: variable("MAREA_TOKEN"), online })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut marea = tauri_plugin_marea::Builder::new();
    if let Some(dir) = variable("MAREA_DIR") {
        marea = marea.dir(dir);
    }
    tauri::Builder::default()
        .plugin(marea.build())
        .invoke_handler(tauri::generate_handler![settings])
        .run(tauri::generate_context!())?;
    Ok(())
}
