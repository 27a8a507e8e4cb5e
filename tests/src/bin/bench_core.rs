//! Measures the engine and prints a table, or JSON with `--json`. `--quick` uses a tenth of the rows: a look, not a figure.
//! `cargo xtask bench core` builds it for release and runs it. It judges nothing by its exit code: figures depend on the
//! machine.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::process::ExitCode;

use marea_tests::bench::{self, core};
use marea_tests::world::World;

#[tokio::main]
async fn main() -> ExitCode {
    let (mut json, mut scale, mut only) = (false, 1, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            "--quick" => scale = 10,
            "write" | "read" | "queue" | "pull" | "push" | "tables" => only.push(argument),
            other => {
                eprintln!(
                    "bench_core: {other}: known are --json, --quick, write, read, queue, pull, push, tables"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let wanted = |part: &str| only.is_empty() || only.iter().any(|one| one == part);
    let mut figures = Vec::new();
    if wanted("write") {
        figures.push(core::write_figure());
    }
    if wanted("read") {
        figures.push(core::read_figure());
    }
    if wanted("queue") {
        figures.push(core::queue_figure(10_000));
    }
    if wanted("pull") || wanted("push") {
        let world = World::alone().await;
        if wanted("pull") {
            figures.extend(core::pull_figures(&world, 100_000 / scale).await);
        }
        if wanted("push") {
            figures.push(core::push_figure(&world, 10_000 / scale).await);
        }
        world.stop().await;
    }
    if wanted("tables") {
        let world = World::alone().await;
        figures.extend(bench::tables::figures(&world, 100_000 / scale).await);
        world.stop().await;
    }
    let text = if json { serde_json::to_string_pretty(&figures) } else { Ok(bench::table(&figures)) };
    match text {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("bench_core: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
