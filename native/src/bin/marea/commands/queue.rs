//! `marea queue`: what waits for the server, what it refused and why, and what a person decides about it.

use std::io::Write as _;
use std::path::Path;

use marea_native::{MutationId, MutationView, block_on};
use serde::Serialize;
use serde_json::json;

use super::words::about;
use crate::cli::{ChosenArgs, Globals, QueueCommand};
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, count};

const NOTHING_REFUSED: &str = "The server has refused nothing.\n";

#[derive(Serialize)]
struct Listed {
    mutations: Vec<MutationView>,
}

pub(crate) fn run(globals: &Globals, command: &QueueCommand, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open()?;
    match command {
        QueueCommand::List => output
            .result(&Listed { mutations: block_on(client.pending())? }, |listed| waiting(&listed.mutations)),
        QueueCommand::Rejected => output
            .result(&Listed { mutations: block_on(client.rejected())? }, |listed| refused(&listed.mutations)),
        QueueCommand::Retry(chosen) => {
            let ids = ids(chosen, || Ok(block_on(client.rejected())?))?;
            settle(&ids, "Queued again", "retried", output, |id| Ok(block_on(client.retry(id))?))
        }
        QueueCommand::Discard(chosen) => {
            let ids = ids(chosen, || Ok(block_on(client.rejected())?))?;
            settle(&ids, "Forgot", "discarded", output, |id| Ok(block_on(client.discard(id))?))
        }
        QueueCommand::Export { output: file } => export(&client, file.as_deref(), output),
    }
}

fn ids(
    chosen: &ChosenArgs,
    rejected: impl FnOnce() -> Result<Vec<MutationView>, Failure>,
) -> Result<Vec<MutationId>, Failure> {
    if chosen.all { Ok(rejected()?.iter().map(|view| view.id).collect()) } else { Ok(chosen.ids.clone()) }
}

fn settle(
    ids: &[MutationId],
    said: &str,
    field: &str,
    output: &Output,
    settle: impl Fn(MutationId) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut done = Vec::new();
    let mut unknown = Vec::new();
    for id in ids {
        if settle(*id)? { done.push(*id) } else { unknown.push(*id) }
    }
    let number = i64::try_from(done.len()).unwrap_or(i64::MAX);
    output.result(&json!({ field: done, "unknown": unknown }), |_| match ids.is_empty() {
        true => NOTHING_REFUSED.to_owned(),
        false => format!("{said} {}\n", count(number, "mutation", "mutations")),
    })?;
    match unknown.first() {
        None => Ok(()),
        Some(id) => Err(Failure::new(
            "not_found",
            format!("nothing refused has the id {id}; `marea queue rejected` lists what was"),
        )),
    }
}

fn waiting(views: &[MutationView]) -> String {
    if views.is_empty() {
        return "Nothing is waiting: everything is on the server, or was refused.\n".into();
    }
    views.iter().map(|view| format!("{}  {}\n", view.id, about(view))).collect()
}

fn refused(views: &[MutationView]) -> String {
    if views.is_empty() {
        return NOTHING_REFUSED.into();
    }
    let reason = |view: &MutationView| match &view.refusal {
        Some(refusal) => format!("    {}: {}\n", refusal.code, refusal.message),
        None => String::new(),
    };
    let mut text: String =
        views.iter().map(|view| format!("{}  {}\n{}", view.id, about(view), reason(view))).collect();
    text += "\nOnce the reason is mended: marea queue retry ID (or --all). To forget one for good: marea queue discard ID.\n";
    text
}

fn export(client: &marea_native::Client, file: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let queue = block_on(client.export_queue())?;
    let Some(path) = file else {
        let text = serde_json::to_string_pretty(&queue).map_err(|_| {
            Failure::new("internal", "the queue could not be written as JSON; please report this")
        })?;
        return output.result(&queue, |_| format!("{text}\n"));
    };
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(&serde_json::to_vec_pretty(&queue).map_err(std::io::Error::other)?)?;
        file.sync_all()
    };
    write().map_err(|error| {
        Failure::new("storage_failed", format!("cannot write {}: {error}", path.display()))
    })?;
    let (pending, rejected) = (queue.pending.len(), queue.rejected.len());
    output.result(&json!({ "file": path, "pending": pending, "rejected": rejected }), |_| {
        format!(
            "Wrote {pending} waiting and {rejected} refused to {}, readable by you alone\n",
            path.display()
        )
    })
}
