//! A program that runs until it is told to stop: started, waited for until it says that it is ready, and never
//! left behind.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{run::Run, stop::Event};

/// Starting takes a second or two; a machine that is busy building takes longer.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// A service that has been told to stop gets this long to tidy up.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running program. Dropped, it is stopped.
pub(crate) struct Service {
    name: &'static str,
    pid: u32,
    ended: mpsc::Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Service {
    /// Starts a program and waits for the line of JSON by which it says that it is ready.
    pub(crate) fn start(name: &'static str, run: Run, events: mpsc::Sender<Event>) -> Result<(Self, Value)> {
        let mut command = run.into_command();
        command.stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        let Some(stdout) = child.stdout.take() else { bail!("the {name} has no output") };
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // Reads on after the first line, so that the program never stands before a full pipe.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut service = Self::watch(name, child, events);
        let Ok(line) = lines.recv_timeout(READY_LIMIT) else {
            service.stop();
            bail!("the {name} ended or stayed silent before it was ready; what it said is above");
        };
        let ready =
            serde_json::from_str(&line).with_context(|| format!("the {name} said no JSON when ready"))?;
        Ok((service, ready))
    }

    /// Starts a program that has nothing to say before its work; its output goes to the terminal.
    pub(crate) fn start_loud(name: &'static str, run: Run, events: mpsc::Sender<Event>) -> Result<Self> {
        let child = run.into_command().spawn().with_context(|| format!("cannot start the {name}"))?;
        Ok(Self::watch(name, child, events))
    }

    fn watch(name: &'static str, mut child: Child, events: mpsc::Sender<Event>) -> Self {
        let (sender, ended) = mpsc::channel();
        let pid = child.id();
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = sender.send(status);
            }
            let _ = events.send(Event::Ended(name));
        });
        Self { name, pid, ended, status: None }
    }

    /// How it ended, once an event has said that it did.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.ended.try_recv().ok();
        }
        self.status
    }

    /// Asks it to end, and ends it when it does not.
    fn stop(&mut self) {
        if self.status().is_some() {
            return;
        }
        self.signal("-TERM");
        self.status = self.ended.recv_timeout(STOP_LIMIT).ok();
        if self.status.is_none() {
            eprintln!("the {} did not stop when asked and is killed", self.name);
            self.signal("-KILL");
            self.status = self.ended.recv_timeout(STOP_LIMIT).ok();
        }
    }

    /// The standard library cannot send a signal; `kill` can.
    fn signal(&self, signal: &str) {
        let _ = Run::new("kill").args([signal, &self.pid.to_string()]).read();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Run {
        Run::new("sh").args(["-c", script])
    }

    #[test]
    fn a_service_says_that_it_is_ready_and_is_stopped_when_dropped() {
        let (sender, events) = mpsc::channel();
        let script = r#"echo '{"url":"here"}'; exec sleep 600"#;
        let (service, ready) = Service::start("sleeper", shell(script), sender).unwrap();
        assert_eq!(ready["url"], "here");
        drop(service);
        assert_eq!(events.recv().unwrap(), Event::Ended("sleeper"));
    }

    #[test]
    fn a_service_that_ends_before_it_is_ready_is_an_error() {
        let (sender, _events) = mpsc::channel();
        let error = Service::start("stillborn", shell("exit 3"), sender).err().unwrap();
        assert!(error.to_string().contains("stillborn"), "{error:#}");
    }

    #[test]
    fn how_a_service_ended_is_known() {
        let (sender, events) = mpsc::channel();
        let mut service = Service::start_loud("short", shell("exit 7"), sender).unwrap();
        assert_eq!(events.recv().unwrap(), Event::Ended("short"));
        assert_eq!(service.status().and_then(|status| status.code()), Some(7));
    }
}
