//! Writes `wasm/js/database.types.ts` and the inventory of the migrations from a freshly migrated Postgres; with `--check` it
//! only compares. `cargo xtask types` runs it. The rows of the Rust core and of the mirror are compared by the tests (`tests/sql/types.rs`).

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::fs;
use std::process::ExitCode;

use marea_tests::cluster::Cluster;
use marea_tests::{artifacts, typescript};

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
    let database = cluster.database("types", 0).await;
    // Before the types: it applies the migrations, one by one.
    let inventory = artifacts::summary(&database).await;
    let types = typescript::database_types(&database.client).await;
    cluster.stop().await;

    let files =
        [(typescript::NAME, typescript::file(), types), (artifacts::NAME, artifacts::file(), inventory)];
    let mut code = ExitCode::SUCCESS;
    for (name, path, wanted) in files {
        if fs::read_to_string(&path).is_ok_and(|stands| stands == wanted) {
            println!("{name} is up to date");
        } else if check {
            eprintln!("types: {name} is not what the migrations say: cargo xtask types");
            code = ExitCode::FAILURE;
        } else if let Err(error) = fs::write(&path, wanted) {
            eprintln!("types: {name}: {error}");
            code = ExitCode::FAILURE;
        } else {
            println!("{name} written");
        }
    }
    code
}
