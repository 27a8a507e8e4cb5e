//! `marea account ...`: who has signed in on this folder; signing in, signing out, and leaving nothing on this machine.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use marea_native::auth::{self, Account, Accounts};
use marea_native::{Claimed, Config, UserId, block_on, has_guest, users_of};
use serde::Serialize;
use serde_json::json;

use crate::cli::Globals;
use crate::escape::inline;
use crate::failure::Failure;
use crate::identity::{self, identify, identify_account};
use crate::output::{Output, count};

#[derive(Subcommand)]
#[command(after_help = "\
Examples:
  marea account sign-in --email ada@example.com     asks for the password
  marea account claim                               what was recorded before anybody had signed in
  marea account list
  marea account sign-out                            mirror and queue stay, for the next sign-in
  marea account erase --yes                         nothing of the account stays on this machine

With several accounts on one folder, commands use the one that signed in last, or --email names another.")]
pub(crate) enum AccountCommand {
    /// List who has signed in on this folder, whom commands work for, and what waits for each
    List,
    /// Sign in, for the first time or again; what is not given is taken from the last sign-in, or asked for. What was recorded
    /// here before anybody had signed in comes into the account
    SignIn {
        /// Leave what was recorded before anybody had signed in where it is; `marea account claim` brings it in later
        #[arg(long)]
        no_claim: bool,
    },
    /// Bring what was recorded here before anybody had signed in into the account, once
    Claim,
    /// End the sign-in, here and at the server. Mirror and queue stay, for the next one
    SignOut,
    /// Remove the mirror with all that was recorded, and sign out. What the server has stays there
    Erase {
        /// Yes, also what the server does not have yet
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) fn run(globals: &Globals, command: &AccountCommand, output: &Output) -> Result<(), Failure> {
    match command {
        AccountCommand::List => list(&globals.dir()?, globals, output),
        AccountCommand::SignIn { no_claim } => sign_in(globals, *no_claim, output),
        AccountCommand::Claim => {
            let identity = identify_account(globals)?;
            let claimed = claim(&globals.dir()?, identity.user_id())?;
            output.result(&claimed, |claimed| match came_in(claimed) {
                text if text.is_empty() => "There was nothing to bring in.\n".to_owned(),
                text => format!("{}\n", text.trim_start()),
            })
        }
        AccountCommand::SignOut => {
            let dir = globals.dir()?;
            let account = chosen(&dir, globals)?.ok_or_else(|| {
                Failure::usage("there is no such sign-in on this folder; `marea account list` shows those that there are")
            })?;
            sign_out(&dir, &account, output)
        }
        AccountCommand::Erase { yes } => erase(globals, *yes, output),
    }
}

fn sign_in(globals: &Globals, no_claim: bool, output: &Output) -> Result<(), Failure> {
    let account = identity::sign_in_anew(globals)?;
    let dir = globals.dir()?;
    let claimed = match no_claim {
        true => Claimed::default(),
        // Signed in is signed in: what went wrong then is told, and is done by the next call.
        false => claim(&dir, account.user_id).unwrap_or_else(|failure| {
            let message = format!(
                "what was recorded before the sign-in has not come in yet: {}; run `marea account claim`",
                failure.message
            );
            output.warning(&failure.code, &message);
            Claimed::default()
        }),
    };
    let said =
        json!({ "email": account.email, "url": account.url, "user_id": account.user_id, "claimed": claimed });
    output.result(&said, |_| {
        format!(
            "Signed in to {} as {}. Nothing more has to be given from now on.{}\n",
            inline(&account.url),
            inline(&account.email),
            came_in(&claimed)
        )
    })
}

/// What a guest has recorded in this folder comes into the account.
fn claim(dir: &Path, user_id: UserId) -> Result<Claimed, Failure> {
    if !has_guest(dir) {
        return Ok(Claimed::default());
    }
    let client = identity::opened(Config::new(dir, user_id))?;
    Ok(block_on(client.claim())?)
}

fn came_in(claimed: &Claimed) -> String {
    let mut text = String::new();
    if claimed.claimed + claimed.known > 0 {
        let number = count((claimed.claimed + claimed.known).into(), "mutation", "mutations");
        text += &format!(" {number} of before came into the account: `marea sync` sends them.");
    }
    if claimed.kept > 0 {
        text += &format!(" {} more stay for the account that began to claim them.", claimed.kept);
    }
    text
}

/// The account that a command without a token works for.
fn chosen(dir: &Path, globals: &Globals) -> Result<Option<Account>, Failure> {
    Ok(Accounts::load(dir)?.find(globals.url(), globals.email()).cloned())
}

#[derive(Serialize)]
struct Known {
    user_id: UserId,
    /// Nothing for a mirror whose user has signed out, or never signed in here (`--token`).
    email: Option<String>,
    url: Option<String>,
    /// Commands work for this one.
    in_use: bool,
    /// Mutations that wait for the server; nothing where there is no mirror yet, or none that can be read.
    pending: Option<u32>,
}

#[derive(Serialize)]
struct Listed {
    accounts: Vec<Known>,
    /// What was recorded before anybody had signed in, and waits for an account.
    guest_pending: u32,
}

fn list(dir: &Path, globals: &Globals, output: &Output) -> Result<(), Failure> {
    let (signed_in, mirrors) = (Accounts::load(dir)?, users_of(dir)?);
    let in_use = chosen(dir, globals)?;
    let pending = |user_id: UserId| mirrors.contains(&user_id).then(|| waiting(dir, user_id)).flatten();
    let mut accounts: Vec<Known> = signed_in
        .all()
        .iter()
        .map(|account| Known {
            user_id: account.user_id,
            email: Some(account.email.clone()),
            url: Some(account.url.clone()),
            in_use: in_use.as_ref() == Some(account),
            pending: pending(account.user_id),
        })
        .collect();
    let unknown: Vec<UserId> = mirrors
        .iter()
        .copied()
        .filter(|mirror| signed_in.all().iter().all(|account| account.user_id != *mirror))
        .collect();
    accounts.extend(unknown.into_iter().map(|user_id| Known {
        user_id,
        email: None,
        url: None,
        in_use: false,
        pending: pending(user_id),
    }));
    let guest_pending = if has_guest(dir) { waiting(dir, UserId::GUEST).unwrap_or(0) } else { 0 };
    output.result(&Listed { accounts, guest_pending }, for_people)
}

fn waiting(dir: &Path, user_id: UserId) -> Option<u32> {
    let client = identity::opened(Config::new(dir, user_id)).ok()?;
    Some(block_on(client.status()).ok()?.pending)
}

fn for_people(listed: &Listed) -> String {
    let accounts = &listed.accounts;
    let guest = match listed.guest_pending {
        0 => String::new(),
        number => {
            format!(
                "{number} recorded before anybody had signed in: marea account claim brings them into the account\n"
            )
        }
    };
    if accounts.is_empty() {
        return format!("Nobody has signed in on this folder: marea account sign-in --email EMAIL\n{guest}");
    }
    let line = |known: &Known| {
        let mark = if known.in_use { "*" } else { " " };
        let who = match (&known.email, &known.url) {
            (Some(email), Some(url)) => inline(&format!("{email} at {url}")).into_owned(),
            _ => format!("{}, signed out", known.user_id),
        };
        let waits = match known.pending {
            None => "no mirror".into(),
            Some(0) => "nothing waits".into(),
            Some(number) => format!("{number} waiting to be sent"),
        };
        format!("{mark} {who} ({waits})\n")
    };
    accounts.iter().map(line).chain([guest]).collect()
}

fn sign_out(dir: &Path, account: &Account, output: &Output) -> Result<(), Failure> {
    let server_told = identity::runtime()?.block_on(auth::sign_out(dir, account))?;
    let has_mirror = users_of(dir)?.contains(&account.user_id);
    let pending = if has_mirror { waiting(dir, account.user_id) } else { None };
    let said = json!({
        "email": account.email, "url": account.url, "user_id": account.user_id, "server_told": server_told, "pending": pending,
    });
    output.result(&said, |_| {
        let told =
            if server_told { "" } else { " The server could not be told; the sign-in ends there by itself." };
        let kept = match pending {
            None | Some(0) => String::new(),
            Some(number) => format!(" {number} kept, to be sent after the next sign-in."),
        };
        format!("Signed {} out.{told}{kept}\n", inline(&account.email))
    })
}

fn erase(globals: &Globals, yes: bool, output: &Output) -> Result<(), Failure> {
    let identity = identify(globals)?;
    let client = identity.open_to_report()?;
    let pending = block_on(client.status())?.pending;
    if !yes {
        let lost = match pending {
            0 => "the server has all of it".to_owned(),
            number => format!(
                "{} on the server, and would be lost",
                count(number.into(), "mutation is not yet", "mutations are not yet")
            ),
        };
        return Err(Failure::usage(format!("say --yes to remove the mirror from this machine: {lost}")));
    }
    let mirror: PathBuf = client.mirror_path().to_owned();
    let vault = client.vault();
    let unsent = block_on((*client).clone().erase())?;
    // Where there is no keychain it holds nothing.
    let _ = block_on(vault.forget_device());
    let dir = globals.dir()?;
    let account =
        Accounts::load(&dir)?.all().iter().find(|known| known.user_id == identity.user_id()).cloned();
    let signed_out = account.is_some();
    if let Some(account) = account {
        identity::runtime()?.block_on(auth::sign_out(&dir, &account))?;
    }
    output.result(&json!({ "erased": mirror, "unsent": unsent, "signed_out": signed_out }), |_| {
        let lost = match unsent {
            0 => String::new(),
            number => format!(", {} with it", count(number.into(), "unsent mutation", "unsent mutations")),
        };
        format!("Removed {}{lost}. What the server has is there still.\n", inline(&mirror.to_string_lossy()))
    })
}
