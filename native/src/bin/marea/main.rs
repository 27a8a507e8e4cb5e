//! The `marea` command line: starts, runs one command, and turns its outcome into an exit code.
//!
//! Commands that need no network start no runtime and open no connection, so that they are as quick as the mirror.

mod cli;
mod commands;
mod escape;
mod failure;
mod identity;
mod output;
mod secrets;
mod style;

use std::process::ExitCode;

use crate::cli::{Cli, Command, EventCommand, SessionCommand};
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let parsed = Cli::read(std::env::args_os());
    let output = Output::new(match &parsed {
        Ok(cli) => cli.globals.json,
        Err(_) => cli::asks_for_json(std::env::args_os()) || cli::wants_json(std::env::var_os("MAREA_JSON")),
    });
    let result = match parsed {
        Ok(cli) => run(&cli, &output),
        Err(error) => Failure::of_parsing(&error, &output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: &Cli, output: &Output) -> Result<(), Failure> {
    let globals = &cli.globals;
    match &cli.command {
        Command::Session { command: SessionCommand::Record(args) } => {
            commands::record::session(globals, args, output)
        }
        Command::Event { command: EventCommand::Record(args) } => {
            commands::record::event(globals, args, output)
        }
        Command::Import(args) => commands::import::run(globals, args, output),
        Command::Progress => commands::progress::run(globals, output),
        Command::Activity(args) => commands::activity::run(globals, args, output),
        Command::Export { command } => commands::export::run(globals, command, output),
        Command::Table { command } => commands::table::run(globals, command, output),
        Command::Query(args) => commands::query::run(globals, args, output),
        Command::Schema(args) => commands::schema::run(globals, args, output),
        Command::Sync(args) if args.watch => commands::follow::run(globals, output),
        Command::Sync(_) => commands::sync::run(globals, output),
        Command::Status => commands::status::run(globals, output),
        Command::Queue { command } => commands::queue::run(globals, command, output),
        Command::Doctor => commands::doctor::run(globals, output),
        Command::Init(args) => commands::init::run(args, output),
        Command::Completions { shell } => commands::teach::completions(*shell, output),
        Command::Man { output: folder } => commands::teach::man(folder.as_deref(), output),
        Command::Account { command } => commands::account::run(globals, command, output),
        Command::Keychain { command } => commands::keychain::run(globals, command, output),
        Command::Key { command } => commands::key::run(globals, command, output),
    }
}
