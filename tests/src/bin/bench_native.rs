//! Measures the desktop and prints a table, or JSON with `--json`. `--quick` uses a tenth of the rows and of the time: a look, not a
//! figure. `cargo xtask bench native` runs it, after building the programs for release. It judges nothing by its exit code.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use marea_tests::bench::{self, files, native};
use marea_tests::world::World;

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (json, quick) =
        (words.iter().any(|word| word == "--json"), words.iter().any(|word| word == "--quick"));
    let only = |part: &str| {
        let named: Vec<&String> = words.iter().filter(|word| !word.starts_with("--")).collect();
        named.is_empty() || named.iter().any(|word| *word == part)
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release");
    let programs = native::Programs {
        marea: folder.join("marea"),
        bare: folder.join("bare_tokio"),
        idle: folder.join("idle_client"),
    };
    let world = World::alone().await;
    let scale = if quick { 10 } else { 1 };
    let mut figures = Vec::new();
    if only("start") {
        figures.push(native::start_figure(&programs, &world).await);
    }
    if only("size") {
        figures.push(native::size_figure(&programs));
    }
    if only("idle") {
        figures.extend(native::idle_figures(&programs, &world, Duration::from_secs(60 / scale)).await);
    }
    if only("sync") {
        figures.push(native::first_sync_figure(&programs, &world, 100_000 / scale as usize).await);
    }
    if only("files") {
        figures.extend(files::figures(&programs, &world, 300 / scale as usize).await);
    }
    world.stop().await;
    let text = if json { serde_json::to_string_pretty(&figures) } else { Ok(bench::table(&figures)) };
    match text {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("bench_native: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
