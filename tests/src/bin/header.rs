//! Writes `native/include/marea.h` from `native/c`; with `--check` it only compares. `cargo xtask header` runs it.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::fs;
use std::process::ExitCode;

use marea_tests::header;

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("header: {other}: only --check is known");
            return ExitCode::FAILURE;
        }
    };
    let wanted = header::generate();
    if fs::read_to_string(header::file()).is_ok_and(|stands| stands == wanted) {
        println!("{} is up to date", header::NAME);
    } else if check {
        eprintln!("header: {} is not what native/c says: cargo xtask header", header::NAME);
        return ExitCode::FAILURE;
    } else if let Err(error) = fs::write(header::file(), wanted) {
        eprintln!("header: {}: {error}", header::NAME);
        return ExitCode::FAILURE;
    } else {
        println!("{} written", header::NAME);
    }
    ExitCode::SUCCESS
}
