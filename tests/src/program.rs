//! The workspace's programs as processes of their own, for tests that kill them. `cargo xtask test` has built them and says
//! where; else each is built once for each test program. Cargo cannot hand them over by itself, because they belong to
//! other packages.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};

/// Where `cargo xtask test` says that it has built a program.
const GIVEN: [(&str, &str); 3] =
    [("marea", "MAREA_BIN"), ("marea-backend", "MAREA_BACKEND_BIN"), ("xtask", "MAREA_XTASK_BIN")];

/// The program `name` of `package`: the given one, else built when it is older than its sources.
///
/// # Panics
/// When it does not build.
pub fn built(package: &str, name: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    known.entry(name.to_owned()).or_insert_with(|| build(package, name)).clone()
}

fn build(package: &str, name: &str) -> PathBuf {
    let given =
        GIVEN.iter().find(|(known, _)| *known == name).and_then(|(_, variable)| std::env::var_os(variable));
    if let Some(path) = given {
        return PathBuf::from(path);
    }
    executable(&cargo_build(&["--package", package, "--bin", name]))
}

/// What the backend's program says on its standard output behind its first line.
pub type Lines = tokio::io::Lines<BufReader<ChildStdout>>;

/// The backend as a process of its own, ready: it, the rest of what it says, and the line that it says when it is.
///
/// # Panics
/// When it is not ready within this time.
pub async fn backend<W: AsRef<OsStr>>(
    words: impl IntoIterator<Item = W>,
    within: Duration,
) -> (Child, Lines, Value) {
    let mut child = tokio::process::Command::new(built("marea-backend", "marea-backend"))
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = tokio::time::timeout(within, lines.next_line()).await.expect("a line in time");
    let line = line.expect("readable").expect("a line");
    (child, lines, serde_json::from_str(&line).expect("JSON"))
}

/// The folder of libmarea, shared and static: the given one, else built.
///
/// # Panics
/// When it does not build.
pub fn c_libraries() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let messages = cargo_build(&["--package", "marea-c"]);
        let files = messages.iter().filter_map(|message| message["filenames"].as_array()).flatten();
        let library =
            files.filter_map(Value::as_str).map(Path::new).find(|path| path.ends_with("libmarea.a"));
        library.and_then(Path::parent).expect("cargo says where the library is").to_owned()
    };
    let given = || std::env::var_os("MAREA_C_LIBRARIES").map(PathBuf::from);
    BUILT.get_or_init(|| given().unwrap_or_else(build)).clone()
}

fn executable(messages: &[Value]) -> PathBuf {
    let found = messages.iter().find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.expect("cargo says where the program is")
}

/// Builds, and gives what cargo says about it.
fn cargo_build(what: &[&str]) -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What Cargo says to this program of its own package would be taken for news by build scripts, ring's among them, and
    // much be compiled anew.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    let built = command
        .args(["build", "--quiet"])
        .args(what)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(built.status.success(), "{} does not build", what.join(" "));
    let messages = String::from_utf8(built.stdout).expect("cargo speaks UTF-8");
    messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
