//! `marea import`: what an app kept before it had Marea, from a file of JSON.

use std::io::Read as _;
use std::path::Path;

use marea_native::block_on;

use crate::cli::{Globals, ImportArgs};
use crate::escape::inline;
use crate::failure::Failure;
use crate::identity::identify_to_record;
use crate::output::Output;

/// What a file of items may hold.
const MOST_MIB: u64 = 256;

pub(crate) fn run(globals: &Globals, args: &ImportArgs, output: &Output) -> Result<(), Failure> {
    let items = read(&args.file)?;
    let identity = identify_to_record(globals)?;
    let client = identity.open()?;
    let outcome = block_on(client.import_once(args.name.as_str(), &items))?;
    identity.warn_of_a_guest(output);
    output.result(&outcome, |outcome| {
        let mut text = format!("{} came in, {} were here already\n", outcome.imported, outcome.known);
        for item in &outcome.refused {
            text += &format!("Item {} did not: {}\n", item.index, inline(&item.message));
        }
        if !outcome.refused.is_empty() {
            text += "Put these right and run the same command again: nothing comes in twice.\n";
        }
        text
    })?;
    match outcome.refused.len() {
        0 => Ok(()),
        count => Err(Failure::new("invalid_input", format!("{count} items did not come in"))),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let from: Box<dyn std::io::Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(|error| unreadable(file, &error))?),
    };
    let most = MOST_MIB * 1024 * 1024;
    // One more tells that there is more: what is cut off is not what was handed in.
    from.take(most + 1).read_to_end(&mut bytes).map_err(|error| unreadable(file, &error))?;
    if bytes.len() as u64 > most {
        let problem =
            format!("it has more than {MOST_MIB} MiB; make several files, each with a NAME of its own");
        return Err(unreadable(file, &problem));
    }
    String::from_utf8(bytes).map_err(|_| unreadable(file, &"it is not UTF-8"))
}

fn unreadable(file: &Path, problem: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("cannot read {}: {problem}", inline(&file.to_string_lossy())))
}
