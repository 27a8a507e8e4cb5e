//! Files of exports: made, sent with a sync, listed, fetched.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use marea_native::{
    Client, Error, ExportFormat, ExportKind, FileState, FileView, MutationId, NewFile, Outcome, StatusError,
    SyncReport, block_on,
};
use serde::Serialize;
use serde_json::json;

use super::record::in_words_of_the_command_line;
use crate::cli::{CreateArgs, Globals};
use crate::escape::inline;
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, count, table};

/// How the files of this device stand after a sync.
#[derive(Serialize)]
pub(super) struct Files {
    uploaded: usize,
    waiting: usize,
    refused: usize,
    /// What the first of those that wait has met. Another process does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<StatusError>,
}

/// The file that a line asks for, and how many records are in it where this command makes it.
pub(super) fn file_for(
    client: &Client,
    args: &CreateArgs,
) -> Result<Option<(NewFile, Option<i32>)>, Failure> {
    if let Some(path) = &args.file {
        return Ok(Some((NewFile::from_path(path), None)));
    }
    let format = match args.format.as_str() {
        "csv" => ExportFormat::Csv { byte_order_mark: args.bom },
        "jsonl" => ExportFormat::JsonLines,
        "html" => ExportFormat::Html,
        _ => return Ok(None),
    };
    let made = match args.export_type.parse::<ExportKind>() {
        Ok(kind) => block_on(client.make_export_file(kind, format))?,
        Err(()) => match block_on(client.make_table_file(&args.export_type, format)) {
            // Something of the app's own, which makes its file.
            Err(error) if error.code() == "unknown_table" => return Ok(None),
            made => made?,
        },
    };
    let records = made.records;
    Ok(Some((made.into(), Some(records))))
}

/// Sends the files that can be sent, and what that changes. Not where the sync itself did not get through.
pub(super) async fn send(
    client: &Client,
    report: &mut SyncReport,
    output: &Output,
) -> Result<Option<Files>, Failure> {
    let before = client.files().await?;
    if before.is_empty() {
        return Ok(None);
    }
    let mut files = before.clone();
    if report.outcome == Outcome::Done {
        files = with_progress(client, &before, output).await?;
        let uploaded = |files: &[FileView]| files.iter().filter(|it| it.state == FileState::Uploaded).count();
        if uploaded(&files) != uploaded(&before) {
            let after = client.sync().await?;
            let pushed = report.pushed + after.pushed;
            let (pulled, rejected) = (report.pulled + after.pulled, report.rejected + after.rejected);
            *report = SyncReport { pushed, pulled, rejected, ..after };
        }
    }
    let number = |wanted: &[FileState]| files.iter().filter(|it| wanted.contains(&it.state)).count();
    Ok(Some(Files {
        uploaded: number(&[FileState::Uploaded]),
        waiting: number(&[FileState::Waiting, FileState::Uploading]),
        refused: number(&[FileState::Refused]),
        problem: files.iter().filter(|it| is_open(it)).find_map(|it| it.last_error.clone()),
    }))
}

fn is_open(file: &FileView) -> bool {
    matches!(file.state, FileState::Waiting | FileState::Uploading | FileState::Gone)
}

/// Sends them, and shows on a terminal how far that is.
async fn with_progress(
    client: &Client,
    before: &[FileView],
    output: &Output,
) -> Result<Vec<FileView>, Failure> {
    if output.is_json() || !std::io::stderr().is_terminal() {
        return sent(client, client.send_files().await).await;
    }
    let open =
        |files: &[FileView]| files.iter().filter(|it| is_open(it)).map(|it| it.size - it.sent).sum::<u64>();
    let all = open(before);
    let bar = ProgressBar::new(all).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{spinner} uploading {bar:30} {bytes} of {total_bytes}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    let mut watch = client.watch_files().await?;
    let mut sending = pin!(client.send_files());
    loop {
        let mut change = pin!(watch.next());
        let step = std::future::poll_fn(|context| match sending.as_mut().poll(context) {
            Poll::Ready(sent) => Poll::Ready(Err(sent)),
            Poll::Pending => change.as_mut().poll(context).map(Ok),
        });
        match step.await {
            Err(done) => return sent(client, done).await,
            Ok(Some(files)) => bar.set_position(all.saturating_sub(open(&files))),
            Ok(None) => return sent(client, sending.as_mut().await).await,
        }
    }
}

/// Another program that has this mirror open may be moving them: then it goes on doing so.
async fn sent(client: &Client, done: Result<Vec<FileView>, Error>) -> Result<Vec<FileView>, Failure> {
    match done {
        Err(Error::SyncBusy) => Ok(client.files().await?),
        done => Ok(done?),
    }
}

pub(super) fn in_words(files: &Files) -> String {
    let mut parts = Vec::new();
    for (number, what) in
        [(files.uploaded, "uploaded"), (files.waiting, "waiting to be uploaded"), (files.refused, "refused")]
    {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    let problem = files.problem.as_ref().map(|it| format!(" ({})", inline(&it.message))).unwrap_or_default();
    match parts.is_empty() {
        true => String::new(),
        false => format!("\nFiles: {}{problem}. `marea export files` says more.", parts.join(", ")),
    }
}

pub(super) fn list(globals: &Globals, output: &Output) -> Result<(), Failure> {
    let files = block_on(identify(globals)?.open()?.files())?;
    output.result(&files, |files| {
        if files.is_empty() {
            return "No files of exports on this device.\n".to_owned();
        }
        let rows: Vec<Vec<String>> = files
            .iter()
            .map(|file| {
                let state = if file.paused { "paused" } else { file.state.name() };
                let problem =
                    file.last_error.as_ref().map(|error| format!("{} ({})", error.message, error.code));
                vec![
                    file.export_id.to_string(),
                    state.to_owned(),
                    format!("{} of {}", file.sent, file.size),
                    problem.unwrap_or_default(),
                ]
            })
            .collect();
        table(&["Export", "State", "Bytes", "Problem"], &rows)
    })
}

pub(super) fn download(
    globals: &Globals,
    id: MutationId,
    out: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let identity = identify(globals)?;
    // What is on this device needs no server.
    let client = if identity.server().is_some() { identity.open_to_sync(false)? } else { identity.open()? };
    let export = block_on(client.export(id))?;
    let export = export.ok_or_else(|| {
        Failure::new(
            "not_found",
            format!("there is no export {id} in this mirror; `marea sync` fetches what is new"),
        )
    })?;
    let to = match out {
        Some(path) => path.to_owned(),
        None => {
            let plain = |text: &str| {
                text.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').collect::<String>()
            };
            PathBuf::from(format!("{}-{id}.{}", plain(&export.export_type), plain(&export.export_format)))
        }
    };
    let size = block_on(client.export_file(id, &to)).map_err(|error| match error {
        Error::Files { path, .. } if path == to && to.exists() => {
            Failure::usage(format!("{} is there already; name another place with --out", to.display()))
        }
        error => in_words_of_the_command_line(error),
    })?;
    let value = json!({ "path": to.display().to_string(), "bytes": size });
    output.result(&value, |_| {
        format!(
            "Wrote {} ({})\n",
            to.display(),
            count(i64::try_from(size).unwrap_or(i64::MAX), "byte", "bytes")
        )
    })
}

pub(super) fn link(globals: &Globals, id: MutationId, expires: u32, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open_to_sync(false)?;
    let url = block_on(client.export_url(id, expires)).map_err(in_words_of_the_command_line)?;
    output.result(&json!({ "url": url, "expires_in_seconds": expires }), |_| format!("{url}\n"))
}

/// What is to become of a file.
#[derive(Clone, Copy)]
pub(super) enum Word {
    Pause,
    Retry,
    Cancel,
}

pub(super) fn change(globals: &Globals, id: MutationId, word: Word, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open()?;
    let done = block_on(async {
        match word {
            Word::Pause => client.pause_file(id, true).await,
            Word::Retry => {
                client.pause_file(id, false).await?;
                client.retry_file(id).await
            }
            Word::Cancel => client.cancel_file(id).await,
        }
    });
    done.map_err(in_words_of_the_command_line)?;
    let said = match word {
        Word::Pause => "Held back; `marea export retry` lets it go on",
        Word::Retry => "It goes with the next sync",
        Word::Cancel => "Given up; the export stays",
    };
    output.result(&json!({ "id": id }), |_| format!("{said}\n"))
}
