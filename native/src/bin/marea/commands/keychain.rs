//! `marea keychain ...`: where the tokens of the sign-ins on this folder are kept.

use clap::Subcommand;
use marea_native::auth::Accounts;
use serde::Serialize;

use crate::cli::Globals;
use crate::failure::Failure;
use crate::output::{Output, count};

#[derive(Subcommand)]
#[command(after_help = "\
Without a keychain the tokens are in session.json in the data folder, readable by you alone (mode 0600). With one, syncing needs \
the keychain unlocked; recording and reading never do. `marea key remember` is the same for the passphrase of `marea key`.")]
pub(crate) enum KeychainCommand {
    /// Move the tokens into the system's keychain, those of later sign-ins too
    Use,
    /// Move them back into the file
    Leave,
    /// Say where they are
    Status,
}

#[derive(Serialize)]
struct Kept {
    /// `keychain` or `file`.
    tokens: &'static str,
    accounts: usize,
}

pub(crate) fn run(globals: &Globals, command: &KeychainCommand, output: &Output) -> Result<(), Failure> {
    let dir = globals.dir()?;
    match command {
        KeychainCommand::Use => Accounts::move_to_keychain(&dir)?,
        KeychainCommand::Leave => Accounts::move_to_file(&dir)?,
        KeychainCommand::Status => {}
    }
    let accounts = Accounts::load(&dir)?;
    let tokens = if accounts.are_in_keychain() { "keychain" } else { "file" };
    output.result(&Kept { tokens, accounts: accounts.all().len() }, |kept| {
        let number = i64::try_from(kept.accounts).unwrap_or(i64::MAX);
        let place = match kept.tokens {
            "keychain" => "the system's keychain",
            _ => "session.json, readable by you alone",
        };
        format!("The tokens of {} are kept in {place}.\n", count(number, "sign-in", "sign-ins"))
    })
}
