//! The words of the command line: options, commands, and the help that teaches them. Runs nothing.

mod export;
mod folders;
mod import;
mod key;
mod queue;
mod session;
mod table;
mod variables;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;
use marea_native::LocalDate;
use marea_native::auth::Secret;

pub(crate) use export::{CreateArgs, ExportCommand, ListArgs, UpdateArgs};
pub(crate) use import::ImportArgs;
pub(crate) use key::{From, KeyCommand, New};
pub(crate) use queue::QueueCommand;
pub(crate) use session::{EventArgs, EventCommand, RecordArgs, SessionCommand};
pub(crate) use table::{QueryArgs, RowArgs, SchemaArgs, TableCommand, TableListArgs};

use crate::commands::account::AccountCommand;
use crate::commands::init::InitArgs;
use crate::commands::keychain::KeychainCommand;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  Once, with a network:
    marea account sign-in --url https://project.supabase.co --key KEY --email ada@example.com
                                     asks for the password; scripts set MAREA_PASSWORD

  What is recorded before that is kept here, and comes into the account with the sign-in.

  From then on nothing more is asked; nothing but `sync`, `schema` and `doctor` uses the network:
    marea session record --minutes 12 --questions 10 --correct 8 --words 5
    marea progress
    marea activity --days 30
    marea sync                       or `marea sync --watch`, which goes on until Ctrl-C
    marea status                     what waits, what was refused and why, and what to do
    marea table list vocabulary_items --order -seen
    marea query 'SELECT level, count(*) FROM vocabulary_items GROUP BY level'
    marea doctor                     checks mirror, server, token, clock and versions

Every value can also come from the environment. The variables of the options above are beside them; those of a command \
are MAREA, the command and the option, as in MAREA_SESSION_RECORD_MINUTES=12 or MAREA_ACTIVITY_DAYS=30.

Colours and charts are for terminals: NO_COLOR=1 leaves the colours away, CLICOLOR_FORCE=1 has both in a pipe too.

Exit codes:
  0  done
  1  failed: the line on stderr says why
  2  the command line is wrong
  3  offline: what was recorded is kept, and is sent by the next `marea sync` that reaches the server

Passwords are never stored. The session that a sign-in gives is kept in DIR/session.json, readable by you alone (mode 0600).
";

/// Under which heading the help lists what every command takes, apart from what only this one takes.
const GLOBAL: &str = "Everywhere";

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
    /// The folder of the mirrors, one file for each user; made when it is missing [default: marea in the system's folder of the
    /// user's data, as ~/.local/share/marea]
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_DIR", value_name = "DIR", hide_env_values = true)]
    dir: Option<PathBuf>,

    /// The server's address: what stands before /rest/v1. Remembered by a sign-in
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_URL", value_name = "URL", hide_env_values = true)]
    url: Option<String>,

    /// Let the server be another machine by http://, where everybody on the way can read the access token. Remembered by a sign-in
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_ALLOW_HTTP", hide_env_values = true)]
    pub(crate) allow_http: bool,

    /// The project's public key: sb_publishable_..., or the anon key of a project from before. Remembered by a sign-in
    // `--anon-key` is the older name, for scripts that have it; so is MAREA_ANON_KEY, below.
    #[arg(long, alias = "anon-key", global = true, help_heading = GLOBAL, env = "MAREA_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,

    #[arg(skip = std::env::var("MAREA_ANON_KEY").ok())]
    anon_key: Option<String>,

    /// An access token of the signed-in user; goes before --email, and is not remembered
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_TOKEN", value_name = "JWT", hide_env_values = true)]
    token: Option<Secret>,

    /// The user's id, for a token of another sign-in service whose `sub` is not it
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_USER", value_name = "UUID", hide_env_values = true)]
    user: Option<String>,

    /// The account to use: signs in when this folder does not know it yet
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_EMAIL", value_name = "EMAIL", hide_env_values = true)]
    email: Option<String>,

    /// The account's password. Better given by MAREA_PASSWORD: other users of a machine can see command lines
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    password: Option<Secret>,

    /// Print exactly one JSON document on stdout, and errors as one JSON object on stderr
    #[arg(long, global = true, help_heading = GLOBAL, env = "MAREA_JSON", hide_env_values = true)]
    pub(crate) json: bool,
}

/// An empty value counts as none: that is what an unset variable looks like in many scripts.
impl Globals {
    /// The folder of the mirrors.
    pub(crate) fn dir(&self) -> Result<PathBuf, Failure> {
        self.dir
            .clone()
            .filter(|dir| !dir.as_os_str().is_empty())
            .or_else(folders::of_the_users_data)
            .ok_or_else(|| Failure::usage("say which folder holds the mirror: --dir DIR or MAREA_DIR"))
    }

    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref().filter(|text| !text.is_empty())
    }

    /// A flag of either name, then the newer variable, then the older one.
    pub(crate) fn key(&self) -> Option<&str> {
        [&self.key, &self.anon_key].into_iter().filter_map(|key| key.as_deref()).find(|text| !text.is_empty())
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        self.token.as_ref().filter(|secret| !secret.expose().is_empty())
    }

    /// Only with a token: a sign-in knows whose it is.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref().filter(|text| !text.is_empty())
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
    /// Sign in and out, see whose mirrors are here, remove one
    Account {
        #[command(subcommand)]
        command: AccountCommand,
    },
    /// Record practice sessions
    Session {
        #[command(subcommand)]
        command: SessionCommand,
    },
    /// Record awards that belong to no session: points, achievements, words by state
    Event {
        #[command(subcommand)]
        command: EventCommand,
    },
    /// Bring in what an app kept before it had Marea, once
    Import(ImportArgs),
    /// Show totals, averages and streaks, with everything recorded on this machine in them
    Progress,
    /// Show what was done: the weeks as a calendar, and totals as small charts
    Activity(ActivityArgs),
    /// Ask for exports, say what became of them, list them
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// Read and write the rows of mirrored tables; works offline
    Table {
        #[command(subcommand)]
        command: TableCommand,
    },
    /// Ask what is mirrored with SQL of your own; reads only, works offline
    Query(QueryArgs),
    /// Write the server's description of its mirrored tables to a file, or compare it with one
    Schema(SchemaArgs),
    /// Send what is waiting and fetch what is new, until nothing is left to say
    Sync(SyncArgs),
    /// Show what is waiting, what was refused and why, and what to do
    Status,
    /// Look into the queue: what waits for the server, what it refused
    Queue {
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// Check mirror, server, token, clock and versions, and say how to mend each
    Doctor,
    /// Write the SQL for the project's Postgres, as its migration tool wants it
    Init(InitArgs),
    /// Print the completions for a shell
    #[command(after_help = "\
Examples:
  marea completions bash > ~/.local/share/bash-completion/completions/marea
  marea completions zsh  > ~/.zfunc/_marea
  marea completions fish > ~/.config/fish/completions/marea.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command into a folder
    #[command(after_help = "\
Examples:
  marea man | man -l -
  marea man --output ~/.local/share/man/man1")]
    Man {
        /// The folder, made when it is missing
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Keep the tokens of sign-ins in the system's keychain
    Keychain {
        #[command(subcommand)]
        command: KeychainCommand,
    },
    /// Keep API keys, sealed with a passphrase on this machine
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
}

#[derive(Args)]
pub(crate) struct SyncArgs {
    /// Go on until Ctrl-C: sync whenever there is something, and print what changes
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Args)]
#[command(after_help = "\
On a terminal the days are drawn as a calendar, a column for each week. In a pipe they are a table of the days with \
activity; with --json, a document.")]
pub(crate) struct ActivityArgs {
    /// The first day to show [default: the Monday 17 weeks ago]
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "days")]
    pub(crate) from: Option<LocalDate>,
    /// The last day to show [default: today]
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "days")]
    pub(crate) to: Option<LocalDate>,
    /// The last N days, today included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_600))]
    pub(crate) days: Option<u32>,
}

/// The whole definition: what is derived here, and an environment variable for every value.
pub(crate) fn definition() -> clap::Command {
    variables::with_variables(Cli::command())
}

impl Cli {
    /// Reads a command line.
    pub(crate) fn read<T: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = T>,
    ) -> Result<Cli, clap::Error> {
        Cli::from_arg_matches(&definition().try_get_matches_from(words)?)
    }
}

/// The help of the command that was named without saying which of its own commands.
pub(crate) fn help_for(words: impl Iterator<Item = OsString>) -> String {
    let asked = definition().try_get_matches_from(words.chain([OsString::from("-h")]));
    asked.err().map(|help| help.render().to_string()).unwrap_or_default()
}

/// Whether `--json` was among the words of a command line that could not be parsed.
pub(crate) fn asks_for_json(words: impl Iterator<Item = OsString>) -> bool {
    words.take_while(|word| word != "--").any(|word| word == "--json")
}

/// Whether the variable of `--json` switches it on, by the same words as clap.
pub(crate) fn wants_json(variable: Option<OsString>) -> bool {
    let off = ["", "n", "no", "f", "false", "off", "0"];
    variable.is_some_and(|value| !off.contains(&value.to_string_lossy().to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        definition().debug_assert();
    }

    #[test]
    fn what_every_command_takes_is_told_apart_in_its_help() {
        let help = help_for(["marea", "session", "record"].map(OsString::from).into_iter());
        let (own, everywhere) = help.split_once(GLOBAL).expect("two lists");
        assert!(own.contains("--minutes") && !own.contains("--key"), "{help}");
        assert!(everywhere.contains("--key") && !everywhere.contains("--minutes <"), "{help}");
    }

    #[test]
    fn a_command_without_its_own_gets_its_help() {
        let help = help_for(["marea", "queue"].map(OsString::from).into_iter());
        assert!(help.contains("Usage: marea queue") && help.contains("discard"), "{help}");
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in ["marea --dir D --json progress", "marea progress --dir D --json"] {
            let cli = Cli::read(line.split(' ')).unwrap();
            assert_eq!(
                (cli.globals.dir().ok(), cli.globals.json),
                (Some(PathBuf::from("D")), true),
                "{line}"
            );
        }
    }

    #[test]
    fn every_value_has_a_variable() {
        fn check(command: &clap::Command, checked: &mut Vec<String>) {
            for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
                let named = argument.get_env().map(|name| name.to_string_lossy().into_owned());
                checked.push(named.unwrap_or_else(|| {
                    let (command, option) = (command.get_name(), argument.get_id());
                    panic!("{command} {option} has no variable")
                }));
            }
            command.get_subcommands().for_each(|command| check(command, checked));
        }
        let mut variables = Vec::new();
        for command in definition().get_subcommands() {
            check(command, &mut variables);
        }
        for expected in ["MAREA_SESSION_RECORD_MINUTES", "MAREA_EXPORT_SHOW_ID", "MAREA_SYNC_WATCH"] {
            assert!(variables.iter().any(|variable| variable == expected), "{expected} of {variables:?}");
        }
    }

    #[test]
    fn switches_understand_the_words_that_people_write() {
        for (word, on) in
            [("1", true), ("yes", true), ("true", true), ("0", false), ("false", false), ("", false)]
        {
            let command = definition().mut_args(|argument| match argument.get_id().as_str() {
                "json" => argument.default_value(word),
                _ => argument,
            });
            let found = command.try_get_matches_from(["marea", "status"]).expect(word);
            assert_eq!((found.get_flag("json"), wants_json(Some(word.into()))), (on, on), "{word}");
        }
    }

    #[test]
    fn json_is_seen_even_in_a_wrong_line() {
        let words = |line: &'static str| line.split(' ').map(OsString::from);
        assert!(asks_for_json(words("marea nonsense --json")));
        assert!(!asks_for_json(words("marea nonsense -- --json")));
    }
}
