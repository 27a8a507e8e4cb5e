//! Writes `wasm/js/database.types.ts` from a freshly migrated Postgres; with `--check` it only compares. `cargo xtask types`
//! runs it. The rows of the Rust core and of the mirror are compared by the tests (`types_rows`).

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::fs;
use std::process::ExitCode;

use marea_tests::cluster::{Cluster, migrations};
use marea_tests::typescript;

#[tokio::main]
async fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("types: {other}: only --check is known");
            return ExitCode::FAILURE;
        }
    };
    let cluster = Cluster::start().await;
    let last = migrations().last().map_or(0, |(number, _)| *number);
    let database = cluster.database("types", last).await;
    let wanted = typescript::database_types(&database.client).await;
    cluster.stop().await;

    let file = typescript::file();
    let stands = fs::read_to_string(&file).unwrap_or_default();
    if stands == wanted {
        println!("{} is up to date", typescript::NAME);
        return ExitCode::SUCCESS;
    }
    if check {
        eprintln!("types: {} is not what the migrations say: cargo xtask types", typescript::NAME);
        return ExitCode::FAILURE;
    }
    match fs::write(&file, wanted) {
        Ok(()) => {
            println!("{} written", typescript::NAME);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("types: {}: {error}", typescript::NAME);
            ExitCode::FAILURE
        }
    }
}
