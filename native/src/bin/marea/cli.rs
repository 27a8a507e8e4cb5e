//! The words of the command line: options, commands, and the help that teaches them. Runs nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use marea_native::auth::Secret;
use marea_native::{LocalDate, MutationId, Timestamp};

const EXAMPLES: &str = "\
Examples:
  Once, with a network: sign in by giving the account with any command.
    export MAREA_DIR=~/.local/share/marea MAREA_URL=https://project.supabase.co MAREA_ANON_KEY=...
    MAREA_PASSWORD=... marea sync --email ada@example.com

  From then on the folder is enough; nothing but `sync` uses the network:
    marea session record --minutes 12 --questions 10 --correct 8 --words 5
    marea progress
    marea activity --days 30
    marea sync
    marea status --json

Exit codes:
  0  done
  1  failed: the line on stderr says why
  2  the command line is wrong
  3  offline: what was recorded is kept, and is sent by the next `marea sync` that reaches the server

Passwords are never stored. The session that a sign-in gives is kept in DIR/session.json, readable by you alone (mode 0600).
";

/// Learning progress that works offline: recorded on this machine at once, on the server later, exactly once.
#[derive(Parser)]
#[command(name = "marea", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Accepted before and after the command, and each from the environment too.
#[derive(Args)]
pub(crate) struct Globals {
    /// The folder of the mirrors, one file for each user; made when it is missing
    #[arg(long, global = true, env = "MAREA_DIR", value_name = "DIR", hide_env_values = true)]
    dir: Option<PathBuf>,

    /// The server's address: what stands before /rest/v1. Remembered by a sign-in
    #[arg(long, global = true, env = "MAREA_URL", value_name = "URL", hide_env_values = true)]
    url: Option<String>,

    /// The project's anon key (public). Remembered by a sign-in
    #[arg(long, global = true, env = "MAREA_ANON_KEY", value_name = "KEY", hide_env_values = true)]
    anon_key: Option<String>,

    /// An access token of the signed-in user; goes before --email, and is not remembered
    #[arg(long, global = true, env = "MAREA_TOKEN", value_name = "JWT", hide_env_values = true)]
    token: Option<Secret>,

    /// The account to use: signs in when this folder does not know it yet
    #[arg(long, global = true, env = "MAREA_EMAIL", value_name = "EMAIL", hide_env_values = true)]
    email: Option<String>,

    /// The account's password. Better given by MAREA_PASSWORD: other users of a machine can see command lines
    #[arg(long, global = true, env = "MAREA_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    password: Option<Secret>,

    /// Print exactly one JSON document on stdout, and errors as one JSON object on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// An empty value counts as none: that is what an unset variable looks like in many scripts.
impl Globals {
    pub(crate) fn dir(&self) -> Option<PathBuf> {
        self.dir.clone().filter(|dir| !dir.as_os_str().is_empty())
    }

    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref().filter(|text| !text.is_empty())
    }

    pub(crate) fn anon_key(&self) -> Option<&str> {
        self.anon_key.as_deref().filter(|text| !text.is_empty())
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        self.token.as_ref().filter(|secret| !secret.expose().is_empty())
    }

    pub(crate) fn email(&self) -> Option<&str> {
        self.email.as_deref().filter(|text| !text.is_empty())
    }

    pub(crate) fn password(&self) -> Option<&Secret> {
        self.password.as_ref().filter(|secret| !secret.expose().is_empty())
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Record practice sessions
    Session {
        #[command(subcommand)]
        command: SessionCommand,
    },
    /// Show totals, averages and streaks, with everything recorded on this machine in them
    Progress,
    /// Show what was done on each day
    Activity(ActivityArgs),
    /// Send what is waiting and fetch what is new, until nothing is left to say
    Sync,
    /// Show what is waiting, what was refused, and what to do
    Status,
}

#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// Record a completed session, durably, without using the network
    Record(RecordArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  marea session record --minutes 12 --questions 10 --correct 8
  marea session record --type reading --started-at 2026-11-22T23:50:00+01:00 --ended-at 2026-11-23T00:10:00+01:00

A script that may run the same line twice gives the session an id of its own (a UUID); the second time changes nothing:
  marea session record --id 019ab0d2-7c00-7000-8000-000000000001 --minutes 5")]
pub(crate) struct RecordArgs {
    /// What kind of session, 1 to 50 characters
    #[arg(long = "type", value_name = "TYPE", default_value = "practice")]
    pub(crate) session_type: String,
    /// Minutes practised [default: from --started-at to --ended-at]
    #[arg(long, value_name = "N")]
    pub(crate) minutes: Option<i32>,
    /// Images worked with
    #[arg(long, value_name = "N")]
    pub(crate) images: Option<i32>,
    /// Descriptions written
    #[arg(long, value_name = "N")]
    pub(crate) descriptions: Option<i32>,
    /// Questions answered
    #[arg(long, value_name = "N")]
    pub(crate) questions: Option<i32>,
    /// Questions answered correctly
    #[arg(long, value_name = "N")]
    pub(crate) correct: Option<i32>,
    /// Words learned
    #[arg(long, value_name = "N")]
    pub(crate) words: Option<i32>,
    /// Phrases saved
    #[arg(long, value_name = "N")]
    pub(crate) phrases: Option<i32>,
    /// When it began, as in 2026-11-23T14:00:00+01:00 [default: the end less the minutes]
    #[arg(long, value_name = "TIME")]
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) ended_at: Option<Timestamp>,
    /// The learner's own day that it counts for [default: the local day of its end]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) local_date: Option<LocalDate>,
    /// An id of your own, so that the same line run twice records one session
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<MutationId>,
    /// More about the session, as a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<String>,
}

#[derive(Args)]
pub(crate) struct ActivityArgs {
    /// The first day to show
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "days")]
    pub(crate) from: Option<LocalDate>,
    /// The last day to show [default: today]
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "days")]
    pub(crate) to: Option<LocalDate>,
    /// The last N days, today included [default: 14]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_600))]
    pub(crate) days: Option<u32>,
}

/// Whether `--json` was among the words of a command line that could not be parsed.
pub(crate) fn asks_for_json(words: impl Iterator<Item = OsString>) -> bool {
    words.take_while(|word| word != "--").any(|word| word == "--json")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in ["marea --dir D --json progress", "marea progress --dir D --json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((cli.globals.dir(), cli.globals.json), (Some(PathBuf::from("D")), true), "{line}");
        }
    }

    #[test]
    fn json_is_seen_even_in_a_wrong_line() {
        let words = |line: &'static str| line.split(' ').map(OsString::from);
        assert!(asks_for_json(words("marea nonsense --json")));
        assert!(!asks_for_json(words("marea nonsense -- --json")));
    }
}
