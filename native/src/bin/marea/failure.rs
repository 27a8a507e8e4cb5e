//! How a command fails: a stable code, one line for people, and the exit code that scripts branch on.

use std::process::ExitCode;

use clap::error::ErrorKind;
use marea_native::Error;

use crate::cli;
use crate::output::Output;

/// Why a command did not do what it was asked. Holds no token and no password.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { code: code.into(), message: message.into() }
    }

    /// The command line itself is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new("usage", message)
    }

    /// What clap says of a line that it could not take: help and version are answers, the rest are failures.
    pub(crate) fn of_parsing(error: &clap::Error, output: &Output) -> Result<(), Failure> {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output.text(&error.render().to_string()),
            // Which of the two it is depends on what the environment gives.
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
                if !output.is_json() =>
            {
                Err(Failure::usage(cli::help_for(std::env::args_os())))
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Err(Failure::usage("a command is missing; `marea --help` lists them"))
            }
            _ => {
                let text = error.render().to_string();
                Err(Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end()))
            }
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.code.as_str() {
            "usage" | "invalid_input" | "query_refused" => ExitCode::from(2),
            "offline" => ExitCode::from(3),
            _ => ExitCode::from(1),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(error.code(), error.to_string())
    }
}
