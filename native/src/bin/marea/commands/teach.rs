//! `marea completions` and `marea man`: made from the definition of the command line, so that they cannot lag behind it.

use std::path::Path;

use clap_complete::Shell;
use clap_mangen::Man;
use serde_json::json;

use crate::cli;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn completions(shell: Shell, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::definition(), "marea", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    output.result(&json!({ "shell": shell.to_string(), "script": script }), |_| script.clone())
}

pub(crate) fn man(folder: Option<&Path>, output: &Output) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(cli::definition())
            .render(&mut page)
            .map_err(|error| unwritten(Path::new("the page"), &error))?;
        let page = String::from_utf8_lossy(&page).into_owned();
        return output.result(&json!({ "page": page }), |_| page.clone());
    };
    let written =
        std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(cli::definition(), folder));
    written.map_err(|error| unwritten(folder, &error))?;
    let shown = folder.display();
    output.result(&json!({ "folder": folder }), |_| {
        format!("Wrote a page for each command to {shown}; read them with: man -l {shown}/marea.1\n")
    })
}

fn unwritten(place: &Path, error: &std::io::Error) -> Failure {
    Failure::new("storage_failed", format!("cannot write {}: {error}", place.display()))
}
