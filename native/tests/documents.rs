//! The Rust that the documents show, compiled: each line of each block stands in here, and a test compares. Nothing of it is run.

#![allow(dead_code, unused_variables, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use marea_native::{Error, ExportFormat, ExportInput, ExportKind, StaticToken, UserId};

fn show(total_sessions: i64, current_streak_days: i64) {}

#[rustfmt::skip]
async fn readme(folder: PathBuf, user_id: UserId, url: &str, publishable_key: &str, session: StaticToken) -> Result<(), Error> {
    use marea_native::{Client, Config, SessionInput};

    let client = Client::open(Config::new(folder, user_id).server(url, publishable_key).tokens(session)).await?;
    client.record_session(SessionInput { duration_minutes: Some(12), ..SessionInput::new("qa") }).await?;   // durable, sent later
    let mut progress = client.watch_progress().await?;
    while let Some(progress) = progress.next().await { show(progress.total_sessions, progress.current_streak_days) }
    Ok(())
}

#[rustfmt::skip]
async fn desktop(folder: PathBuf, user_id: UserId, url: &str, publishable_key: &str, session: StaticToken) -> Result<(), Error> {
    use marea_native::{Client, Config, SessionInput};

    let client = Client::open(Config::new(folder, user_id).server(url, publishable_key).tokens(session)).await?;
    client.record_session(SessionInput { duration_minutes: Some(12), ..SessionInput::new("qa") }).await?;
    let mut progress = client.watch_progress().await?;
    while let Some(progress) = progress.next().await { /* show it */ }
    Ok(())
}

#[rustfmt::skip]
async fn files(client: marea_native::Client) -> Result<(), Error> {
    let made = client.make_export_file(ExportKind::Activity, ExportFormat::Csv { byte_order_mark: false }).await?;
    let export = ExportInput { export_type: "activity".into(), export_format: "csv".into(), ..ExportInput::default() };
    let recorded = client.create_export_with_file(export, made.into()).await?;      // durable, uploaded later
    let files = client.watch_files().await?;                                         // state, bytes sent, last error
    Ok(())
}

/// The documents of the repository that have blocks of Rust.
fn documents(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.extension() {
            _ if path.is_dir() => documents(&path, found),
            Some(extension) if extension == "md" => {
                found.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
            _ => {}
        }
    }
}

#[test]
fn every_block_of_rust_is_compiled_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let here: Vec<&str> = include_str!("documents.rs").lines().map(str::trim).collect();
    let mut all = vec![(root.join("README.md"), std::fs::read_to_string(root.join("README.md")).unwrap())];
    documents(&root.join("docs"), &mut all);
    let mut blocks = 0;
    for (path, text) in all {
        for block in text.split("\n```rust\n").skip(1) {
            blocks += 1;
            for line in block.split("\n```").next().unwrap().lines() {
                assert!(here.contains(&line.trim()), "{}: not compiled: {line}", path.display());
            }
        }
    }
    assert!(blocks >= 3, "{blocks} blocks");
}
