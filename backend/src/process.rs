//! Starting and stopping child processes so that none outlives this one, however this one ends. It knows neither Postgres
//! nor PostgREST.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Error;
use crate::run_as::RunAs;

/// How often a wait looks again.
pub(crate) const POLL: Duration = Duration::from_millis(10);
/// How long a child may take to obey a signal before it is killed.
const STOP_BOUND: Duration = Duration::from_secs(10);

/// A child that ends with this process, and on drop.
pub(crate) struct Service {
    child: Child,
    stop_signal: Signal,
    log: PathBuf,
}

/// A command as the other user, with an empty environment (a stray `PGPORT` or `PGRST_DB_URI` must not matter), in a
/// folder that everybody can enter.
pub(crate) fn command(program: &Path, run_as: Option<&RunAs>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    for kept in ["PATH", "LD_LIBRARY_PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    if let Some(user) = run_as {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

impl Service {
    /// Starts `command`, its output going to the file `log`. `stop_signal` is what asks it to end.
    pub(crate) fn start(mut command: Command, stop_signal: Signal, log: &Path) -> Result<Service, Error> {
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(log);
        let out = opened.map_err(Error::file("could not write", log))?;
        let err = out.try_clone().map_err(Error::file("could not write", log))?;
        command.stdout(out).stderr(err);
        // A group of its own: Ctrl-C in a terminal goes to the whole foreground group, and the order of stopping is ours.
        command.process_group(0);
        let program = PathBuf::from(command.get_program());
        let child = spawn_tied(command, stop_signal).map_err(Error::file("could not start", program))?;
        Ok(Service { child, stop_signal, log: log.to_owned() })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The last lines that it wrote.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn wait(&mut self, bound: Duration) -> Option<ExitStatus> {
        let ended = async {
            loop {
                if let Some(status) = self.ended() {
                    return status;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(bound, ended).await.ok()
    }

    /// Ends it with SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(STOP_BOUND).await;
    }

    /// Asks it to end, and kills it when it does not.
    pub(crate) async fn stop(mut self) {
        self.signal(self.stop_signal);
        self.wait(STOP_BOUND).await;
    }

    fn signal(&mut self, signal: Signal) {
        // Only while it has not been waited for: afterwards the number may be somebody else's.
        if self.ended().is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            // The whole group: initdb has children of its own.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.signal(self.stop_signal);
        if !wait_blocking(STOP_BOUND, || self.ended().is_some()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for something that tells nobody when it happens, in places that cannot be async (a `drop`). False when it has not
/// happened within `bound`.
pub(crate) fn wait_blocking(bound: Duration, mut happened: impl FnMut() -> bool) -> bool {
    for _ in 0..bound.as_millis() / POLL.as_millis() {
        if happened() {
            return true;
        }
        thread::sleep(POLL);
    }
    happened()
}

/// What an exit status says in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Starts the child from a thread that lives as long as this process: the kernel ties a child to the *thread* that made
/// it, and the caller may be a test's thread that ends early.
fn spawn_tied(mut command: Command, signal_at_death: Signal) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for job in inbox {
                job();
            }
        });
        jobs
    });
    tie_to_parent(&mut command, signal_at_death);
    let (reply, answer) = mpsc::channel();
    let job: Job = Box::new(move || {
        let _ = reply.send(command.spawn());
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner.send(job).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// Linux sends the child `signal` when this process dies, even by `kill -9`. Elsewhere the next start cleans up.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "pre_exec is the only place where a child can be tied to its parent")]
fn tie_to_parent(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    let tie = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // The parent may have died before the line above took effect.
        if nix::unistd::getppid() != parent {
            return Err(io::Error::from(io::ErrorKind::NotConnected));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. `tie` makes two plain system calls (prctl,
    // getppid), allocates nothing and takes no lock. It runs after the change of user, which would clear the setting.
    unsafe {
        command.pre_exec(tie);
    }
}

#[cfg(not(target_os = "linux"))]
fn tie_to_parent(_command: &mut Command, _signal: Signal) {}
