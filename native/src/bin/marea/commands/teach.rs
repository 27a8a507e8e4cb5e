//! `marea completions` and `marea man`: made from the definition of the command line, so that they cannot lag behind it.

use std::io;
use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::json;

use crate::cli;
use crate::escape::inline;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn completions(shell: Shell, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::definition(), "marea", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match output.is_json() {
        true => output.result(&json!({ "shell": shell.to_string(), "script": script }), |_| String::new()),
        false => output.exact(&script),
    }
}

pub(crate) fn man(folder: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(cli::definition())
            .render(&mut page)
            .map_err(|error| unwritten(Path::new("the page"), &error))?;
        let page = String::from_utf8_lossy(&page).into_owned();
        return match output.is_json() {
            true => output.result(&json!({ "page": page }), |_| String::new()),
            false => output.exact(&page),
        };
    };
    pages(folder).map_err(|error| unwritten(folder, &error))?;
    let shown = inline(&folder.to_string_lossy()).into_owned();
    output.result(&json!({ "folder": folder }), |_| {
        format!("Wrote a page for each command to {shown}; read them with: man -l {shown}/marea.1\n")
    })
}

/// Each page is made beside the folder's own files, and takes its name when it is whole.
fn pages(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let unfinished = tempfile::Builder::new().prefix(".marea-").tempdir_in(folder)?;
    clap_mangen::generate_to(cli::definition(), unfinished.path())?;
    for page in std::fs::read_dir(unfinished.path())? {
        let page = page?;
        std::fs::File::open(page.path())?.sync_all()?;
        std::fs::rename(page.path(), folder.join(page.file_name()))?;
    }
    Ok(())
}

fn unwritten(place: &Path, error: &io::Error) -> Failure {
    Failure::new("storage_failed", format!("cannot write {}: {error}", place.display()))
}
