//! What the demo and the tests run: the native programs, the npm package and the demo's page.
//!
//! The module for the browser is `wasm`'s business.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    run::{Run, Stream},
    say::Step,
};

/// A program that cargo built.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Program {
    /// The folder of its package.
    pub(crate) package: PathBuf,
    /// The target's name: of a test file, a library or a binary.
    pub(crate) name: String,
    pub(crate) is_test: bool,
    pub(crate) path: PathBuf,
}

/// Builds with cargo and lists the programs that came of it.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Vec<Program>> {
    cargo_with("build", arguments, &[])
}

/// The same with another command of cargo that builds, in another environment.
pub(crate) fn cargo_with(
    command: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<Vec<Program>> {
    let run =
        Run::new("cargo").arg(command).args(arguments).args(["--message-format", "json-render-diagnostics"]);
    let run = environment.iter().fold(run, |run, (name, value)| run.env(name, value));
    // Cargo's progress goes to standard error; a person should see it, and the messages themselves nobody.
    let ended = run.observe(|stream, line| {
        if stream == Stream::Err {
            eprintln!("{line}");
        }
    })?;
    if !ended.success {
        bail!("cargo could not build it; why is above");
    }
    Ok(programs(&ended.stdout))
}

/// The two programs that the demo and the browser's tests run: the backend and the command line.
pub(crate) struct Binaries {
    pub(crate) backend: PathBuf,
    pub(crate) marea: PathBuf,
}

impl Binaries {
    pub(crate) fn build() -> Result<Self> {
        Self::among(&cargo(&["--package", "marea-backend", "--package", "marea-native", "--bins"])?)
    }

    /// Picks them from what a larger build made.
    pub(crate) fn among(programs: &[Program]) -> Result<Self> {
        Ok(Self { backend: find(programs, "marea-backend")?, marea: find(programs, "marea")? })
    }
}

/// One program of what cargo built.
pub(crate) fn find(programs: &[Program], name: &str) -> Result<PathBuf> {
    let program = programs.iter().find(|program| !program.is_test && program.name == name);
    program.map(|program| program.path.clone()).with_context(|| format!("cargo built no `{name}`"))
}

/// Builds the npm package from the generated module and its TypeScript.
pub(crate) fn npm_package() -> Result<()> {
    npm_script("@marea/client", "build the npm package")
}

/// Builds the demo's page.
pub(crate) fn page() -> Result<()> {
    npm_script("marea-demo", "build the demo's page")
}

fn npm_script(workspace: &str, label: &str) -> Result<()> {
    let step = Step::start(label);
    step.run(Run::new("npm").args(["run", "build", "--silent", "--workspace", workspace]))?;
    step.done();
    Ok(())
}

/// One of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn programs(messages: &str) -> Vec<Program> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    parsed
        .filter_map(|message| {
            Some(Program {
                package: message.manifest_path?.parent()?.to_path_buf(),
                name: message.target?.name,
                is_test: message.profile?.test,
                path: message.executable?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"
{"reason":"compiler-artifact","manifest_path":"/m/core/Cargo.toml","target":{"name":"marea_core"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/m/core/Cargo.toml","target":{"name":"marea_core"},"profile":{"test":true},"executable":"/t/core-1"}
{"reason":"compiler-artifact","manifest_path":"/m/native/Cargo.toml","target":{"name":"marea"},"profile":{"test":false},"executable":"/t/marea"}
{"reason":"build-finished","success":true}
not json"#;

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let found = programs(MESSAGES);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].is_test), ("marea_core", true));
        assert_eq!(found[1].path, PathBuf::from("/t/marea"));
        assert_eq!(found[1].package, PathBuf::from("/m/native"));
    }

    #[test]
    fn a_program_that_was_not_built_is_named() {
        let error = Binaries::among(&programs(MESSAGES)).err().unwrap();
        assert_eq!(error.to_string(), "cargo built no `marea-backend`");
    }
}
