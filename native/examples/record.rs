//! Records a session and shows the totals, on a plain thread: no runtime, no network.
//!
//! ```sh
//! cargo run -p marea-native --example record -- /tmp/mirror
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use marea_native::{Client, Config, SessionInput, block_on};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("give the folder of the mirror")?;
    let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse()?;
    let client = block_on(Client::open(Config::new(dir, user)))?;
    let session = SessionInput { duration_minutes: Some(12), ..SessionInput::new("practice") };
    let recorded = block_on(client.record_session(session))?;
    let progress = block_on(client.progress())?;
    println!("recorded {}: {} sessions now", recorded.id, progress.total_sessions);
    Ok(())
}
