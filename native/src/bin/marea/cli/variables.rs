//! An environment variable for every value, by one rule: MAREA, the command, the option. Globals have shorter ones.

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, Command};

/// Gives each option and each value of each command its variable.
pub(crate) fn with_variables(command: Command) -> Command {
    command.mut_args(switched).mut_subcommands(|command| named(command, "MAREA"))
}

/// A switch is on by any word in its variable but those for no, and nothing: people write 1, yes, true.
fn switched(argument: Arg) -> Arg {
    match argument.get_action() {
        ArgAction::SetTrue => argument.value_parser(FalseyValueParser::new()),
        _ => argument,
    }
}

fn named(command: Command, above: &str) -> Command {
    let prefix = format!("{above}_{}", shouted(command.get_name()));
    let below = prefix.clone();
    command
        .mut_args(|argument| {
            let argument = switched(argument);
            let id = argument.get_id().as_str().to_owned();
            // Help is no value, and a global option has its variable already.
            if ["help", "version"].contains(&id.as_str()) || argument.get_env().is_some() {
                return argument;
            }
            let name = argument.get_long().map_or(id, str::to_owned);
            // Named once, at the end of the help, instead of beside every option.
            argument.env(format!("{prefix}_{}", shouted(&name))).hide_env(true)
        })
        .mut_subcommands(|command| named(command, &below))
}

fn shouted(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
