//! `marea status`: what is waiting, what was refused, when the server was last reached, and what to do about it.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use marea_native::{Status, Timestamp, block_on};
use serde::Serialize;

use crate::cli::Globals;
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, aligned};

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    status: Status,
    /// Where the mirror lives; the web client says "opfs" and others here.
    storage: &'static str,
    mirror: PathBuf,
}

pub(crate) fn run(globals: &Globals, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open()?;
    let report = Report {
        status: block_on(client.status())?,
        storage: "file",
        mirror: client.mirror_path().to_owned(),
    };
    output.result(&report, for_people)
}

fn for_people(report: &Report) -> String {
    let status = &report.status;
    let waiting = match status.pending {
        0 => "nothing".into(),
        number => format!("{number} to be sent"),
    };
    let mut lines = vec![
        ("User", status.user_id.to_string()),
        ("Mirror", format!("{} (schema {})", report.mirror.display(), status.mirror_version)),
        ("Waiting", waiting),
        ("Refused", if status.rejected == 0 { "nothing".into() } else { status.rejected.to_string() }),
        ("Last sync", status.last_synced_at.map_or("never".into(), local)),
    ];
    if let Some(error) = &status.last_error {
        lines.push(("Last error", format!("{} ({})", error.message, error.code)));
    }
    format!("{}\n{}\n", aligned(&lines), advice(status))
}

fn advice(status: &Status) -> &'static str {
    let unauthorized = status.last_error.as_ref().is_some_and(|error| error.code == "unauthorized");
    match (status.pending, status.rejected) {
        (1.., _) if unauthorized => {
            "Sign in again (--email and --password, or a new --token) with `marea sync`."
        }
        (1.., _) => "Run `marea sync` when there is a network. What is waiting is safe until then.",
        (0, 1..) => "What the server refused is kept in the mirror, but does not count.",
        (0, 0) => "Everything is on the server.",
    }
}

/// The time on the wall here, to the minute.
fn local(instant: Timestamp) -> String {
    match instant.to_string().parse::<jiff::Timestamp>() {
        Ok(parsed) => parsed.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => instant.to_string(),
    }
}
