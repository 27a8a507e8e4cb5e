//! `marea sync`: one conversation with the server, until nothing is left to say.

use std::io::IsTerminal as _;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use marea_native::{Client, Error, Outcome, SyncReport, block_on};
use serde::Serialize;

use super::files;
use crate::cli::Globals;
use crate::failure::Failure;
use crate::identity::{self, Identity};
use crate::output::{Output, count};

#[derive(Serialize)]
struct Report {
    outcome: Outcome,
    /// Mutations that the server acknowledged in this run.
    pushed: u32,
    /// Rows that it sent.
    pulled: u32,
    /// Mutations that it refused in this run. They are kept.
    rejected: u32,
    /// Mutations still waiting.
    pending: u32,
    /// Files of exports, where this device has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<files::Files>,
}

pub(crate) fn run(globals: &Globals, output: &Output) -> Result<(), Failure> {
    let identity = identity::identify_account(globals)?;
    let client = identity.open_to_sync(false)?;
    let mut found = block_on(with_progress(&client, output))?;
    let files = block_on(files::send(&client, &mut found, output))?;
    block_on(client.shutdown(Duration::ZERO))?;
    let report = Report {
        outcome: found.outcome,
        pushed: found.pushed,
        pulled: found.pulled,
        rejected: found.rejected,
        pending: found.pending,
        files,
    };
    output.result(&report, for_people)?;
    failure(&found, &identity).map_or(Ok(()), Err)
}

/// Syncs, and shows on a terminal how far it is: a first sync, or a queue of weeks, takes a while.
async fn with_progress(client: &Client, output: &Output) -> Result<SyncReport, Failure> {
    if output.is_json() || !std::io::stderr().is_terminal() {
        return Ok(client.sync().await?);
    }
    let mut status = client.watch_status().await?;
    let waiting = status.next().await.map_or(0, |status| status.pending);
    let bar = ProgressBar::new(waiting.into()).with_finish(ProgressFinish::AndClear);
    let form = if waiting > 0 { "{spinner} sending {bar:30} {pos} of {len}" } else { "{spinner} {msg}" };
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar.set_message("fetching what is new");
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut sync = pin!(client.sync());
    let report = loop {
        let mut change = pin!(status.next());
        let step = std::future::poll_fn(|context| match sync.as_mut().poll(context) {
            Poll::Ready(report) => Poll::Ready(Err(report)),
            Poll::Pending => change.as_mut().poll(context).map(Ok),
        });
        match step.await {
            Err(report) => break report,
            Ok(Some(status)) => bar.set_position(waiting.saturating_sub(status.pending).into()),
            Ok(None) => break sync.as_mut().await,
        }
    };
    Ok(report?)
}

fn for_people(report: &Report) -> String {
    let sent = format!("Sent {}, received {}", report.pushed, count(report.pulled.into(), "row", "rows"));
    let refused = match report.rejected {
        0 => String::new(),
        number => format!(", {number} refused by the server and kept"),
    };
    let waiting = match report.pending {
        0 => ". Nothing is waiting.".into(),
        number => format!(". {number} still waiting to be sent."),
    };
    let why = if report.rejected > 0 {
        "\n`marea queue rejected` says why it was refused, and what to do."
    } else {
        ""
    };
    let files = report.files.as_ref().map(files::in_words).unwrap_or_default();
    format!("{sent}{refused}{waiting}{why}{files}\n")
}

/// Why the run ended before everything was said. The queue is kept in all these cases.
fn failure(report: &SyncReport, identity: &Identity) -> Option<Failure> {
    let kept = match report.pending {
        0 => "nothing is waiting to be sent".into(),
        number => format!("{number} kept for the next sync"),
    };
    let said = |code: &str, message: &str| match &report.last_error {
        Some(error) => Failure::new(error.code.clone(), format!("{} ({kept})", error.message)),
        None => Failure::new(code, format!("{message} ({kept})")),
    };
    let has_no_token = report.last_error.as_ref().is_some_and(|error| error.code == "token_unavailable");
    match report.outcome {
        Outcome::Done => None,
        // What kept the token away says more than that there is none; a sign-in service that fails is what the code is for.
        _ if has_no_token => Some(match identity.token_problem() {
            Some(problem @ Error::SignInFailed { .. }) => {
                Failure::new("token_unavailable", format!("{problem} ({kept})"))
            }
            Some(problem) => Failure::new(problem.code(), format!("{problem} ({kept})")),
            None => said("token_unavailable", "there is no access token now"),
        }),
        Outcome::Offline => {
            let reason =
                report.last_error.as_ref().map_or("the server cannot be reached", |error| &error.message);
            Some(Failure::new("offline", format!("{reason} ({kept})")))
        }
        Outcome::NeedToken => Some(match identity.token_problem() {
            Some(problem) => Failure::new(problem.code(), format!("{problem} ({kept})")),
            None => Failure::new(
                "unauthorized",
                format!("the server does not accept the token; give a new one ({kept})"),
            ),
        }),
        Outcome::Refused => Some(said("refused", "the server refused the request")),
        _ => Some(said("server_failed", "the server failed; try again later")),
    }
}

/// How many wait, in words.
pub(super) fn waiting_words(pending: u32) -> String {
    match pending {
        0 => "nothing is waiting".into(),
        number => format!("{number} waiting to be sent"),
    }
}
