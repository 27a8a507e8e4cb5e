//! Running other programs: one builder, three ways to treat the output, and errors that say what to look at.
//!
//! There is no shell in between, so nothing needs quoting.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{clock::Stopwatch, paths};

/// How much of a failed program's output its error repeats, in lines: some programs begin with what is wrong and end
/// with how to use them, others end with it.
const HEAD_LINES: usize = 10;
const TAIL_LINES: usize = 30;

/// A program about to be run, from the workspace's root unless told otherwise.
pub(crate) struct Run {
    command: Command,
    limit: Option<Duration>,
}

/// How a program ended.
pub(crate) struct Ended {
    /// Whether the program itself said that it succeeded.
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Which of the two streams a line came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

impl Run {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(paths::root()).stdin(Stdio::null());
        for name in
            std::env::vars_os().map(|(name, _)| name).filter(|name| tells_of_xtask(&name.to_string_lossy()))
        {
            command.env_remove(name);
        }
        Self { command, limit: None }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Ends the program when it has taken this long.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Lets all other programs go first: takes what they leave of the processors.
    pub(crate) fn gently(self) -> Self {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(self.command.get_program()).args(self.command.get_args());
        command.stdin(Stdio::null());
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self { command, ..self }
    }

    /// The program and its arguments, for messages.
    pub(crate) fn line(&self) -> String {
        let program = Path::new(self.command.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        self.command.get_args().fold(name, |line, argument| format!("{line} {}", argument.to_string_lossy()))
    }

    /// The command, for a caller that keeps the child itself.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Runs with the output going straight to the terminal.
    pub(crate) fn show(mut self) -> Result<()> {
        let line = self.line();
        let status = self.command.status().with_context(|| format!("cannot run `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        Ok(())
    }

    /// Runs silently and returns standard output; fails, with the end of the output, unless the program succeeds.
    pub(crate) fn read(self) -> Result<String> {
        Ok(self.watch(|_, _| ())?.stdout)
    }

    /// Runs, handing every line to `on_line` as it comes; fails, with the end of the output, unless the program
    /// succeeds.
    pub(crate) fn watch(self, on_line: impl FnMut(Stream, &str)) -> Result<Ended> {
        let line = self.line();
        let ended = self.observe(on_line)?;
        if !ended.success {
            let said = if ended.stderr.trim().is_empty() { &ended.stdout } else { &ended.stderr };
            bail!("`{line}` failed:\n{}", excerpt(said));
        }
        Ok(ended)
    }

    /// Runs, handing every line to `on_line` as it comes; a program that fails is not an error here.
    pub(crate) fn observe(mut self, mut on_line: impl FnMut(Stream, &str)) -> Result<Ended> {
        let line = self.line();
        let watch = Stopwatch::start();
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{line}`"))?;
        let (sender, receiver) = mpsc::channel();
        if let Some(out) = child.stdout.take() {
            forward(Stream::Out, out, sender.clone());
        }
        if let Some(err) = child.stderr.take() {
            forward(Stream::Err, err, sender);
        }
        let (mut stdout, mut stderr) = (String::new(), String::new());
        loop {
            let received = match self.limit {
                None => receiver.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(limit) => receiver.recv_timeout(limit.saturating_sub(watch.elapsed())),
            };
            match received {
                Ok((stream, text)) => {
                    on_line(stream, &text);
                    let kept = if stream == Stream::Out { &mut stdout } else { &mut stderr };
                    kept.push_str(&text);
                    kept.push('\n');
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    child.kill().with_context(|| format!("cannot stop `{line}`"))?;
                    child.wait()?;
                    bail!("`{line}` was stopped after {} s without an end", watch.elapsed().as_secs());
                }
            }
        }
        let success = child.wait()?.success();
        Ok(Ended { success, stdout, stderr })
    }
}

/// Whether `cargo run` set this variable to tell xtask of itself. Handed on, it would be taken for news: ring's
/// build script looks at these, so that every change between a cargo from the shell and one from xtask would compile
/// ring, and all that uses it, anew.
fn tells_of_xtask(name: &str) -> bool {
    let exact = ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_MANIFEST_LINKS", "OUT_DIR"];
    let families = ["CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    exact.contains(&name) || families.iter().any(|family| name.starts_with(family))
}

/// Sends a stream's lines on, from a thread of its own, until the stream ends.
fn forward(stream: Stream, source: impl Read + Send + 'static, sender: mpsc::Sender<(Stream, String)>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(source);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            if sender.send((stream, text)).is_err() {
                break;
            }
        }
    });
}

/// The beginning and the end of a text.
fn excerpt(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    let left_out = lines.len().saturating_sub(HEAD_LINES + TAIL_LINES);
    if left_out == 0 {
        return lines.join("\n");
    }
    let (head, tail) = (&lines[..HEAD_LINES], &lines[HEAD_LINES + left_out..]);
    format!("{}\n[{left_out} lines left out]\n{}", head.join("\n"), tail.join("\n"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_of_xtask_is_not_handed_on() {
        for name in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION_PRE"] {
            assert!(tells_of_xtask(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_BUILD_JOBS", "PATH"] {
            assert!(!tells_of_xtask(name), "{name}");
        }
    }

    #[test]
    fn an_excerpt_keeps_the_beginning_and_the_end() {
        assert_eq!(excerpt("\na\nb\n"), "a\nb");
        let long: String = (0..100).map(|number| format!("line {number}\n")).collect();
        let short = excerpt(&long);
        assert!(short.starts_with("line 0\n") && short.ends_with("line 99"), "{short}");
        assert!(short.contains("[60 lines left out]"), "{short}");
    }

    #[test]
    fn a_failure_repeats_what_the_program_said() {
        let error = Run::new("sh").args(["-c", "echo the reason >&2; exit 3"]).read().unwrap_err();
        assert!(format!("{error:#}").contains("the reason"), "{error:#}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = Run::new("marea-no-such-program").read().unwrap_err();
        assert!(format!("{error:#}").contains("marea-no-such-program"), "{error:#}");
    }

    #[test]
    fn a_program_past_its_limit_is_stopped() {
        let error = Run::new("sleep").arg("600").limit(Duration::from_millis(50)).read().unwrap_err();
        assert!(format!("{error:#}").contains("was stopped"), "{error:#}");
    }

    #[test]
    fn a_gentle_program_is_the_same_one_and_lets_others_go_first() {
        let run = |script: &str| Run::new("sh").args(["-c", script]).env("WORD", "kept").dir("/");
        let words = "echo $WORD $CARGO_PKG_NAME; pwd";
        assert_eq!(run(words).gently().read().unwrap(), "kept\n/\n");
        let niceness = |run: Run| run.read().unwrap().trim().parse::<i32>().unwrap();
        assert!(niceness(run("nice").gently()) >= (niceness(run("nice")) + 10).min(19));
    }

    #[test]
    fn both_streams_are_kept_apart() {
        let mut seen = Vec::new();
        let ended = Run::new("sh")
            .args(["-c", "echo out; echo err >&2"])
            .watch(|stream, line| seen.push((stream == Stream::Out, line.to_owned())))
            .unwrap();
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
        seen.sort();
        assert_eq!(seen, [(false, "err".to_owned()), (true, "out".to_owned())]);
    }
}
