//! `marea queue`: what waits for the server, what it refused and why, and what a person decides about it.

use std::io::{BufWriter, ErrorKind};
use std::path::Path;

use marea_native::{Client, Error, MutationId, MutationView, block_on};
use serde::Serialize;
use serde_json::json;

use super::words::about;
use crate::cli::{Globals, QueueCommand};
use crate::escape::{self, inline};
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
            let settled = match chosen.all {
                true => Settled::all(block_on(client.retry_all())?),
                false => settle(&chosen.ids, |id| Ok(block_on(client.retry(id))?))?,
            };
            settled.tell("Queued again", "retried", output)
        }
        QueueCommand::Discard(chosen) => {
            let settled = match chosen.all {
                true => Settled::all(block_on(client.discard_all())?),
                false => settle(&chosen.ids, |id| Ok(block_on(client.discard(id))?))?,
            };
            settled.tell("Forgot", "discarded", output)
        }
        QueueCommand::Export { output: file } => export(&client, file.as_deref(), output),
    }
}

/// What was decided about, and what there was not.
#[derive(Default)]
struct Settled {
    done: Vec<MutationId>,
    unknown: Vec<MutationId>,
}

fn settle(
    ids: &[MutationId],
    settle: impl Fn(MutationId) -> Result<bool, Failure>,
) -> Result<Settled, Failure> {
    let mut settled = Settled::default();
    for id in ids {
        if settle(*id)? { settled.done.push(*id) } else { settled.unknown.push(*id) }
    }
    Ok(settled)
}

impl Settled {
    fn all(done: Vec<MutationId>) -> Settled {
        Settled { done, unknown: Vec::new() }
    }

    fn tell(&self, said: &str, field: &str, output: &Output) -> Result<(), Failure> {
        let number = i64::try_from(self.done.len()).unwrap_or(i64::MAX);
        let is_nothing = self.done.is_empty() && self.unknown.is_empty();
        output.result(&json!({ field: self.done, "unknown": self.unknown }), |_| match is_nothing {
            true => NOTHING_REFUSED.to_owned(),
            false => format!("{said} {}\n", count(number, "mutation", "mutations")),
        })?;
        match self.unknown.first() {
            None => Ok(()),
            Some(id) => Err(Failure::new(
                "not_found",
                format!("nothing refused has the id {id}; `marea queue rejected` lists what was"),
            )),
        }
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
        Some(refusal) => format!("    {}: {}\n", inline(&refusal.code), inline(&refusal.message)),
        None => String::new(),
    };
    let mut text: String =
        views.iter().map(|view| format!("{}  {}\n{}", view.id, about(view), reason(view))).collect();
    text += "\nOnce the reason is mended: marea queue retry ID (or --all). To forget one for good: marea queue discard ID.\n";
    text
}

fn export(client: &Client, file: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let Some(path) = file else {
        let between = if output.is_json() { "" } else { "\n" };
        let out = escape::JsonWriter(BufWriter::with_capacity(1 << 16, std::io::stdout()));
        return match block_on(client.write_queue(out, between)) {
            Err(Error::Output { source }) if source.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
                "storage_failed",
                format!("cannot write to standard output: {source}; the queue was not written whole"),
            )),
            Err(Error::Output { source }) => output.written(Err(source)),
            written => Ok(written.map(drop)?),
        };
    };
    let written = block_on(client.write_queue_to(path))?;
    let (pending, rejected) = (written.pending, written.rejected);
    output.result(&json!({ "file": path, "pending": pending, "rejected": rejected }), |_| {
        format!(
            "Wrote {pending} waiting and {rejected} refused to {}, readable by you alone\n",
            inline(&path.to_string_lossy())
        )
    })
}
