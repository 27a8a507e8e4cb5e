//! The `marea` command line: starts, runs one command, and turns its outcome into an exit code.
//!
//! Commands that need no network start no runtime and open no connection, so that they are as quick as the mirror.

mod cli;
mod commands;
mod failure;
mod identity;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, SessionCommand};
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let parsed = Cli::try_parse();
    let output = Output::new(match &parsed {
        Ok(cli) => cli.globals.json,
        Err(_) => cli::asks_for_json(std::env::args_os()),
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
    match &cli.command {
        Command::Session { command: SessionCommand::Record(args) } => {
            commands::record::run(&cli.globals, args, output)
        }
        Command::Progress => commands::progress::run(&cli.globals, output),
        Command::Activity(args) => commands::activity::run(&cli.globals, args, output),
        Command::Sync => commands::sync::run(&cli.globals, output),
        Command::Status => commands::status::run(&cli.globals, output),
    }
}
