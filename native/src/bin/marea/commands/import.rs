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
const MOST_BYTES: u64 = 256 * 1024 * 1024;

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
    let mut text = String::new();
    let from: Box<dyn std::io::Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(file).map_err(|error| unreadable(file, &error))?),
    };
    from.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| unreadable(file, &error))?;
    Ok(text)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {}: {error}", inline(&file.to_string_lossy())))
}
