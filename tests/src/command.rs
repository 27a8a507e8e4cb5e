//! Runs the real `marea` command, as a person or a script would: a process, its words, its exit code, its output.
//!
//! It knows nothing of what the command should answer.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::program;

/// No command may take longer: its requests end after 30 seconds, and it makes few.
const BOUND: Duration = Duration::from_secs(180);

/// One device: a data folder of its own, and the options that all its commands get.
pub struct Device {
    folder: TempDir,
    options: Vec<(String, String)>,
}

impl Device {
    /// A device that nobody has used yet.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Device {
        Device { folder: tempfile::tempdir().expect("a temporary folder"), options: Vec::new() }
    }

    /// Sets an option of all following commands by its environment variable, `MAREA_URL` for example. Empty takes it away.
    #[must_use]
    pub fn with(mut self, variable: &str, value: impl Into<String>) -> Device {
        self.set(variable, value);
        self
    }

    /// As [`Device::with`], later.
    pub fn set(&mut self, variable: &str, value: impl Into<String>) {
        let value = value.into();
        self.options.retain(|(known, _)| known != variable);
        if !value.is_empty() {
            self.options.push((variable.to_owned(), value));
        }
    }

    /// The data folder.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command of this device, not started yet. Killed when its handle is dropped.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program::built("marea-native", "marea"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("MAREA_") {
                command.env_remove(variable);
            }
        }
        // No test asks the keychain of whoever runs it.
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
        command.env("MAREA_DIR", self.dir()).envs(self.options.iter().cloned()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, words: &[&str]) -> Ran {
        let output = tokio::time::timeout(BOUND, self.command(words).output());
        let output = output.await.expect("marea ends within its bound").expect("marea starts");
        let text = |bytes| String::from_utf8(bytes).expect("marea writes UTF-8");
        Ran {
            words: words.join(" "),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command with `--json` that must succeed, and reads what it printed.
    pub async fn json(&self, words: &[&str]) -> Value {
        self.run(&[words, &["--json"]].concat()).await.exits(0).json()
    }

    /// Records one session with these metrics and gives its id back.
    pub async fn record(&self, metrics: &[&str]) -> String {
        let recorded = self.json(&[&["session", "record"], metrics].concat()).await;
        recorded["id"].as_str().expect("an id").to_owned()
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// The words that it was given.
    pub words: String,
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// All that it wrote to stdout.
    pub stdout: String,
    /// All that it wrote to stderr.
    pub stderr: String,
}

impl Ran {
    /// Fails the test, with all that was written, unless the command ended so.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        if code == 0 {
            assert_eq!(self.stderr, "", "a success writes no error: {self:#?}");
        }
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Checks that the one JSON object on stderr is an error with this code, and gives its message.
    #[track_caller]
    pub fn error(&self, code: &str) -> String {
        let found: Value =
            serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error} in {self:#?}"));
        assert_eq!(found["error"]["code"], code, "{self:#?}");
        found["error"]["message"].as_str().expect("a message").to_owned()
    }
}
