//! Measures the Postgres side and prints a table, or JSON with `--json`. `--quick` uses a tenth of the rows: a look, not a
//! figure. `cargo xtask bench postgres` runs it. It judges nothing by its exit code: figures depend on the machine.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::process::ExitCode;

use marea_tests::bench::{self, Figure};

#[tokio::main]
async fn main() -> ExitCode {
    let (mut json, mut quick, mut only) = (false, false, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            "--quick" => quick = true,
            "http" | "single" | "migration" | "update" | "backfill" | "attack" | "sweep" | "existing" => {
                only.push(argument)
            }
            other => {
                eprintln!(
                    "bench_postgres: {other}: known are --json, --quick, http, single, migration, update, backfill, attack, sweep, existing"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let wanted = |part: &str| only.is_empty() || only.iter().any(|one| one == part);
    let scale = if quick { 10 } else { 1 };
    let mut figures: Vec<Figure> = Vec::new();
    if wanted("http") {
        eprintln!("measuring syncs through PostgREST");
        figures.extend(bench::http::figures(1_000_000 / scale).await);
    }
    if wanted("single") {
        eprintln!("measuring one learner's writes");
        figures.extend(bench::single::figures().await);
    }
    if wanted("migration") {
        eprintln!("measuring the migrations");
        figures.extend(bench::bulk::migration_figures(100_000 / scale).await);
    }
    if wanted("update") {
        eprintln!("measuring a bulk update");
        figures.push(bench::bulk::update_figure(100_000 / scale).await);
    }
    if wanted("backfill") {
        eprintln!("measuring the backfill");
        figures.push(bench::bulk::backfill_figure(1_000_000 / scale).await);
    }
    if wanted("attack") {
        eprintln!("measuring a neighbour under attack");
        figures.extend(bench::attack::figures(100 / scale as usize).await);
    }
    if wanted("sweep") {
        eprintln!("measuring the sweep of files");
        figures.extend(bench::sweep::figures(10_000 / scale).await);
    }
    if wanted("existing") {
        eprintln!("measuring a large table that is mirrored");
        figures.extend(bench::existing::figures(1_000_000 / scale).await);
    }
    if json {
        match serde_json::to_string_pretty(&figures) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("bench_postgres: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        println!("{}", bench::table(&figures));
    }
    ExitCode::SUCCESS
}
