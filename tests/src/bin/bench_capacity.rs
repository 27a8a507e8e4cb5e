//! What one server carries, and what a router in front of several costs: `bench_capacity [--users N] [--devices N]`, or `--router` for the
//! second alone. `cargo xtask bench capacity` runs it; `docs/CAPACITY.md` says how to read it.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::process::ExitCode;

use marea_tests::bench::{self, capacity, router};

#[tokio::main]
async fn main() -> ExitCode {
    let (mut users, mut devices, mut only_router) = (1_000_u64, 1_000_u64, false);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let target = match word.as_str() {
            "--users" => &mut users,
            "--devices" => &mut devices,
            "--router" => {
                only_router = true;
                continue;
            }
            other => {
                eprintln!("bench_capacity: {other}: known are --users N, --devices N, --router");
                return ExitCode::FAILURE;
            }
        };
        match words.next().and_then(|number| number.parse().ok()) {
            Some(number) if number > 0 => *target = number,
            _ => {
                eprintln!("bench_capacity: {word} needs a number of at least 1");
                return ExitCode::FAILURE;
            }
        }
    }
    let devices = usize::try_from(devices.min(users)).unwrap_or(usize::MAX);
    if !only_router {
        for line in capacity::report(users, devices).await {
            println!("{line}");
        }
    }
    println!("\n{}", bench::table(&router::figures().await));
    ExitCode::SUCCESS
}
