//! An app in twenty lines: opens a learner's mirror, syncs by itself, prints what changes, and ends in order at Ctrl-C.
//!
//! ```sh
//! cargo run -p marea-native --example background -- ~/.local/share/marea https://project.supabase.co KEY ACCESS_TOKEN
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use marea_native::{Client, Config, StaticToken, auth};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, url, publishable_key, token] = arguments.as_slice() else {
        return Err("give DIR URL KEY ACCESS_TOKEN".into());
    };
    let user = auth::user_of_token(token)?;
    let config = Config::new(dir, user).server(url, publishable_key).tokens(StaticToken::new(token));
    let client = Client::open(config).await?;

    let mut progress = client.watch_progress().await?;
    let mut status = client.watch_status().await?;
    loop {
        tokio::select! {
            Some(progress) = progress.next() => println!("{} sessions", progress.total_sessions),
            Some(status) = status.next() => println!("{} waiting, {:?}", status.pending, status.connection),
            _ = tokio::signal::ctrl_c() => break,
            else => break,
        }
    }
    let waiting = client.shutdown(Duration::from_secs(2)).await?;
    println!("{waiting} kept for the next start");
    Ok(())
}
