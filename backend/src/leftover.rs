//! A Postgres that a killed backend left running on a data folder: found by its pid file, checked to be one, stopped. It
//! never touches a process that it cannot show to be Postgres on exactly that folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::wait_blocking;

/// How long each signal is given before the next, stronger one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Stops a Postgres that still runs on `data`, and removes its pid file if the number now belongs to another process.
pub(crate) fn stop_leftover(data: &Path) {
    let file = data.join("postmaster.pid");
    let Some(pid) = recorded_pid(&file) else { return };
    // Fast, immediate, and at last by force.
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
        if !is_alive(pid) {
            return;
        }
        if !is_postgres_on(pid, data) {
            // The number was given to another process. Postgres would take that for a running server.
            let _ = fs::remove_file(&file);
            return;
        }
        let _ = kill(pid, signal);
        wait_blocking(PATIENCE, || !is_alive(pid));
    }
}

fn recorded_pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    // 0 and negative numbers mean whole process groups to `kill`.
    (number > 1).then(|| Pid::from_raw(number))
}

fn is_alive(pid: Pid) -> bool {
    // A process of another user answers EPERM: it is alive too.
    !matches!(kill(pid, None), Err(Errno::ESRCH))
}

/// Postgres works in its data folder, so its current folder tells.
#[cfg(target_os = "linux")]
fn is_postgres_on(pid: Pid, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let same_folder = match (fs::read_link(process.join("cwd")), data.canonicalize()) {
        (Ok(folder), Ok(data)) => folder == data,
        _ => false,
    };
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    same_folder && name.trim_end() == "postgres"
}

#[cfg(not(target_os = "linux"))]
fn is_postgres_on(pid: Pid, data: &Path) -> bool {
    let shown = std::process::Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    let Ok(shown) = shown else { return false };
    let line = String::from_utf8_lossy(&shown.stdout).into_owned();
    line.contains("postgres") && line.contains(&*data.to_string_lossy())
}
