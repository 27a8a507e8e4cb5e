//! Makes each SQL mutation in turn in the databases of the SQL tests, and says which the tests do not notice.
//! `cargo xtask mutants --sql` runs it.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Mutex;

use marea_tests::sql_mutation::{self, CANNOT, SqlMutation, VARIABLE};

const USAGE: &str =
    "usage: sql_mutations PROGRAM [WORD]: the program of `--test sql`, and a word of the names to try";
/// Programs at the same time: each often waits for Postgres.
const LANES: usize = 2;

enum Seen {
    Noticed,
    Missed,
    Unmade(String),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(program) = words.first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let wanted = words.get(1).map_or("", String::as_str);
    let tried: Vec<SqlMutation> =
        sql_mutation::all().into_iter().filter(|mutation| mutation.name.contains(wanted)).collect();
    let (waiting, failed) = (Mutex::new(tried.iter()), Mutex::new(Vec::new()));
    let lane = || {
        loop {
            let next = waiting.lock().expect("no lane panics").next();
            let Some(mutation) = next else { return };
            match try_one(Path::new(program), mutation) {
                Seen::Noticed => println!("noticed  {}", mutation.name),
                Seen::Missed => {
                    println!("MISSED   {} (by {})", mutation.name, mutation.noticed_by);
                    failed.lock().expect("no lane panics").push(mutation.name.clone());
                }
                Seen::Unmade(why) => {
                    println!("UNMADE   {}: {why}", mutation.name);
                    failed.lock().expect("no lane panics").push(mutation.name.clone());
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..LANES).for_each(|_| drop(scope.spawn(lane)));
    });
    let failed = failed.into_inner().expect("no lane panics");
    println!("{} of {} SQL mutations noticed", tried.len() - failed.len(), tried.len());
    if failed.is_empty() && !tried.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the tests that are to notice it. They fail, and not because it could not be made.
fn try_one(program: &Path, mutation: &SqlMutation) -> Seen {
    let ran = Command::new(program).arg(&mutation.noticed_by).env(VARIABLE, &mutation.name).output();
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => return Seen::Unmade(error.to_string()),
    };
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    if let Some(line) = said.lines().find(|line| line.contains(CANNOT)) {
        return Seen::Unmade(line.to_owned());
    }
    if said.contains("running 0 tests") {
        return Seen::Unmade(format!("there is no test {}", mutation.noticed_by));
    }
    if ran.status.success() { Seen::Missed } else { Seen::Noticed }
}
