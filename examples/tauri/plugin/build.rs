//! Tells Tauri the plugin's commands, so that an app can say which windows may call them.

fn main() {
    tauri_plugin::Builder::new(&["open", "call", "token", "close"]).build();
}
