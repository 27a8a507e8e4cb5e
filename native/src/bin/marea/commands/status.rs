//! `marea status`: what is waiting, what was refused and why, when the server was last reached, and what to do about it.

use std::path::PathBuf;

use marea_native::{MutationView, Status, block_on};
use serde::Serialize;

use super::words::{about, summary};
use crate::cli::Globals;
use crate::escape::inline;
use crate::failure::Failure;
use crate::identity::{SET_ASIDE, identify};
use crate::output::{Output, aligned, count, local};
use crate::style::{Ink, Style};

const GUEST: &str =
    "Sign in when there is a network: `marea account sign-in` brings what is here into the account.";

/// So many of the refused are told; `marea queue rejected` has all.
const REFUSED_SHOWN: usize = 5;

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    status: Status,
    mirror: PathBuf,
    /// Nobody has signed in: what was recorded is on this machine alone.
    guest: bool,
    /// Damaged mirrors that were set aside.
    set_aside: Vec<PathBuf>,
    /// What to do, for people.
    advice: String,
    #[serde(skip)]
    waiting: Vec<MutationView>,
    #[serde(skip)]
    refused: Vec<MutationView>,
}

pub(crate) fn run(globals: &Globals, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open_to_report()?;
    let status = block_on(client.status())?;
    let (waiting, refused) = match output.is_json() {
        true => Default::default(),
        false => (block_on(client.pending())?, block_on(client.rejected())?),
    };
    let (mirror, set_aside) = (client.mirror_path().to_owned(), client.set_aside());
    let guest = client.user_id().is_guest();
    let advice = if guest { GUEST.to_owned() } else { advice(&status) };
    let report = Report { advice, guest, status, mirror, set_aside, waiting, refused };
    let style = output.style();
    output.result(&report, |report| for_people(report, style))
}

fn for_people(report: &Report, style: Style) -> String {
    let status = &report.status;
    let waiting = match status.pending {
        0 => "nothing".into(),
        number => format!("{number} to be sent{}", of_what(&report.waiting)),
    };
    let refused = match status.rejected {
        0 => "nothing".into(),
        number => style.paint(Ink::Bad, &number.to_string()),
    };
    let mut lines = vec![
        ("User", if report.guest { "nobody has signed in".to_owned() } else { status.user_id.to_string() }),
        (
            "Mirror",
            format!("{} (schema {})", inline(&report.mirror.to_string_lossy()), status.mirror_version),
        ),
        ("Waiting", waiting),
        ("Refused", refused),
        ("Last sync", status.last_synced_at.map_or("never".into(), local)),
    ];
    let last_error = status.last_error.as_ref();
    if let Some(damaged) = report.set_aside.last() {
        let what = last_error.filter(|error| error.code == SET_ASIDE);
        let what = what.map_or("a damaged mirror", |error| &error.message);
        let damaged = format!("{what}: {}", damaged.display());
        lines.push(("Set aside", style.paint(Ink::Warning, &inline(&damaged))));
    }
    if let Some(error) = last_error.filter(|error| error.code != SET_ASIDE || report.set_aside.is_empty()) {
        lines.push((
            "Last error",
            style.paint(Ink::Warning, &inline(&format!("{} ({})", error.message, error.code))),
        ));
    }
    if !status.unreadable.is_empty() {
        let columns = status.unreadable.iter().map(|unreadable| {
            let left_out = if unreadable.code == "unreadable_row" { ", left out" } else { "" };
            let rows = count(unreadable.rows.into(), "row", "rows");
            format!("{}.{} ({rows}{left_out})", unreadable.table.name(), unreadable.column)
        });
        let columns: Vec<String> = columns.collect();
        let what = format!("{}; mend the values on the server, all else is here", columns.join(", "));
        lines.push(("Unreadable", style.paint(Ink::Warning, &inline(&what))));
    }
    let refusals: String = report.refused.iter().take(REFUSED_SHOWN).map(refusal).collect();
    let heading = if refusals.is_empty() { "" } else { "\nRefused by the server, and kept:\n" };
    let ink = if status.rejected > 0 || status.last_error.is_some() { Ink::Warning } else { Ink::Good };
    format!("{}{heading}{refusals}\n{}\n", aligned(&lines), style.paint(ink, &report.advice))
}

fn of_what(waiting: &[MutationView]) -> String {
    match waiting.first() {
        None => String::new(),
        Some(oldest) => format!(" ({}; the oldest of {})", summary(waiting), local(oldest.recorded_at)),
    }
}

fn refusal(view: &MutationView) -> String {
    let why = view
        .refusal
        .as_ref()
        .map(|refusal| format!("\n    {}: {}", inline(&refusal.code), inline(&refusal.message)));
    format!("  {}{}\n", about(view), why.unwrap_or_default())
}

fn advice(status: &Status) -> String {
    let waits = if status.pending > 0 { " What is waiting is safe until then." } else { "" };
    let by_error = status.last_error.as_ref().and_then(|error| {
        Some(match error.code.as_str() {
            "unauthorized" => {
                "Sign in again (`marea account sign-in`, or a new --token), then run `marea sync`."
            }
            "api_key_refused" => {
                "Give the project's current key in MAREA_KEY (or --key), then run `marea sync`."
            }
            "other_user" => "Give the token of this mirror's user.",
            "captive_portal" => "Sign in to this network in a browser, then run `marea sync`.",
            "dns_failed" => {
                "Look at the network and at the spelling of the server's address, then run `marea sync`."
            }
            "tls_failed" => {
                "Look at this machine's clock and at the server's address; `marea doctor` says more."
            }
            "upgrade_required" => "Update marea, then run `marea sync`.",
            SET_ASIDE => "Run `marea sync`: it fetches again what the server has.",
            "refused" => "Run `marea doctor`: the server does not take this client's requests.",
            "account_deleted" => {
                "The account is gone: `marea queue export` saves what was not sent, `marea account erase` removes the mirror."
            }
            "user_missing" => {
                "Sign in to the app once: its users table has no row for this user. Then run `marea sync`."
            }
            "user_moved" => {
                "Run `marea sync --url` with the address above: this account's data is on another server now."
            }
            "unintelligible_answer" | "no_progress" => {
                "Run `marea doctor`: the server's answer is of no use."
            }
            "proxy_too_large" | "answer_too_large" | "server_timeout" => {
                "Run `marea sync` again: it sends and asks for less each time."
            }
            "storage_full" => "Free some space, then run `marea sync`.",
            _ => return None,
        })
    });
    match (by_error, status.pending, status.rejected) {
        (Some(advice), ..) => format!("{advice}{waits}"),
        (None, 1.., _) => format!("Run `marea sync` when there is a network.{waits}"),
        (None, 0, 1..) => {
            "What the server refused is kept but does not count: mend the reason and run `marea queue retry \
                           --all`, or forget it with `marea queue discard`."
                .into()
        }
        (None, 0, 0) => match status.last_synced_at {
            Some(_) => "Everything is on the server.".into(),
            None => "Nothing was recorded here yet, and nothing fetched: run `marea sync`.".into(),
        },
    }
}
