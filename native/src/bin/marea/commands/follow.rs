//! `marea sync --watch`: goes on until Ctrl-C, syncs whenever there is something, and prints what changes as it comes.
//!
//! With `--json` each change is one document on a line of its own, because it has no end to wait for.

use std::time::Duration;

use marea_native::{Progress, Status};
use serde_json::json;

use super::sync::waiting_words;
use crate::cli::Globals;
use crate::escape::inline;
use crate::failure::Failure;
use crate::identity::{self, identify_account};
use crate::output::{Output, wall};
use crate::style::Ink;

/// How long the end may take to send what still waits.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What of a status is worth a line.
#[derive(Clone, Default, PartialEq)]
struct Seen {
    pending: u32,
    rejected: u32,
    error: Option<String>,
    synced: Option<marea_native::Timestamp>,
    /// Worth a line to a program alone: a person has read that it goes on trying.
    next_attempt: Option<marea_native::Timestamp>,
    /// It was said that everything is in step, and nothing has happened since.
    in_step: bool,
}

pub(crate) fn run(globals: &Globals, output: &Output) -> Result<(), Failure> {
    let client = identify_account(globals)?.open_to_sync(true)?;
    identity::runtime()?.block_on(async {
        let mut statuses = client.watch_status().await?;
        let mut progresses = client.watch_progress().await?;
        let (mut seen, mut last) = (None, None);
        let mut asked_to_end = std::pin::pin!(asked_to_end());
        loop {
            tokio::select! {
                () = &mut asked_to_end => break,
                Some(status) = statuses.next() => tell_status(&status, &mut seen, output)?,
                Some(progress) = progresses.next() => tell_progress(progress, &mut last, output)?,
                else => break,
            }
            // Nobody is told of anything any more.
            if output.is_closed() {
                break;
            }
        }
        let waiting = client.shutdown(LAST_WORDS).await?;
        let said = format!("ended; {}", waiting_words(waiting));
        line(output, "ended", &json!({ "pending": waiting }), Ink::Dim, &said)
    })
}

/// Ctrl-C, or what a service manager sends.
async fn asked_to_end() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn tell_status(status: &Status, seen: &mut Option<Seen>, output: &Output) -> Result<(), Failure> {
    let (now, said, ink) = news(status, seen.as_ref());
    let has_changed = seen.as_ref() != Some(&now);
    *seen = Some(now);
    // A program is told of each change, a person of those that are worth a line.
    if said.is_empty() && !(output.is_json() && has_changed) {
        return Ok(());
    }
    line(output, "status", &json!(status), ink, &said)
}

/// What is new since the last look, in words; nothing when nothing is worth any.
fn news(status: &Status, before: Option<&Seen>) -> (Seen, String, Ink) {
    // What was in step before the start is no news.
    let has_synced = before.is_some_and(|before| before.synced != status.last_synced_at);
    let before = before.cloned().unwrap_or_default();
    let settled = status.pending == 0 && status.last_error.is_none();
    let now = Seen {
        pending: status.pending,
        rejected: status.rejected,
        error: status.last_error.as_ref().map(|error| error.code.clone()),
        synced: status.last_synced_at,
        next_attempt: status.next_attempt_at,
        in_step: settled && (has_synced || before.in_step),
    };
    let mut parts = Vec::new();
    let mut ink = Ink::Good;
    if now.pending != before.pending {
        parts.push(waiting_words(now.pending));
    }
    if now.rejected > before.rejected {
        ink = Ink::Bad;
        parts.push(format!("{} refused (`marea queue rejected` says why)", now.rejected - before.rejected));
    }
    if let Some(error) = status.last_error.as_ref().filter(|_| now.error != before.error) {
        ink = Ink::Warning;
        let again = status.next_attempt_at.map(|at| format!(", again at {}", wall(at, "%H:%M:%S")));
        parts.push(format!("{} ({}{})", error.message, error.code, again.unwrap_or_default()));
    }
    if now.in_step && !before.in_step {
        parts.push("in step with the server".into());
    }
    (now, parts.join("; "), ink)
}

fn tell_progress(progress: Progress, last: &mut Option<Progress>, output: &Output) -> Result<(), Failure> {
    let said = format!(
        "{} sessions, {} min, {} words, {} points, streak {}",
        progress.total_sessions,
        progress.total_time_spent_minutes,
        progress.total_vocabulary_learned,
        progress.total_points,
        progress.current_streak_days
    );
    let value = json!(progress);
    // What it is at the start is known to whoever asks; what it becomes is news.
    match last.replace(progress) {
        None => Ok(()),
        Some(_) => line(output, "progress", &value, Ink::Strong, &said),
    }
}

fn line(
    output: &Output,
    change: &str,
    value: &serde_json::Value,
    ink: Ink,
    said: &str,
) -> Result<(), Failure> {
    let now = jiff::Timestamp::now();
    let clock = now.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
    let style = output.style();
    output.result(&json!({ "at": now.to_string(), "change": change, change: value }), |_| {
        format!("{}  {}\n", style.paint(Ink::Dim, &clock), style.paint(ink, &inline(said)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pending: u32, synced_second: Option<u32>, error: Option<&str>) -> Status {
        let at = |second| format!("2026-11-25T12:00:{second:02}.000000Z");
        let error = error.map(|code| json!({ "code": code, "message": "no network", "at": at(0) }));
        let id = "00000000-0000-4000-8000-000000000001";
        let json = json!({ "user_id": id, "client_id": id, "storage": "file", "pending": pending, "rejected": 0,
            "connection": "unknown", "online": true, "paused": false, "syncing": false, "last_synced_at": synced_second.map(at),
            "last_error": error, "next_attempt_at": null, "bytes_sent": 0, "bytes_received": 0, "mirror_version": 2, "unreadable": [] });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_change_is_said_once_and_nothing_else() {
        let mut seen = None;
        let mut check = |status: Status, expected: &str| {
            let (now, said, _) = news(&status, seen.as_ref());
            assert_eq!(said, expected);
            seen = Some(now);
        };
        check(status(0, Some(1), None), "");
        check(status(0, Some(2), None), "in step with the server");
        check(status(0, Some(3), None), "");
        check(status(2, Some(3), None), "2 waiting to be sent");
        check(status(2, Some(3), Some("offline")), "no network (offline)");
        check(status(2, Some(3), Some("offline")), "");
        check(status(1, Some(4), None), "1 waiting to be sent");
        check(status(0, Some(5), None), "nothing is waiting; in step with the server");
        check(status(0, Some(6), None), "");
    }
}
