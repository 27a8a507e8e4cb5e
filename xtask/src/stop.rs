//! Ctrl-C, and what else asks a program to end (SIGTERM, a closed terminal).
//!
//! Asked to end, xtask does not simply die: it ends what it has started, then itself.

use std::sync::{OnceLock, mpsc};

use anyhow::{Context, Result};

/// What a waiting task is woken by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody wants this to end.
    Stop,
    /// The service of that name ended by itself.
    Ended(&'static str),
}

/// The receiving end, together with a sender to give to services.
pub(crate) struct Events {
    pub(crate) sender: mpsc::Sender<Event>,
    receiver: mpsc::Receiver<Event>,
}

impl Events {
    /// Listens for signals; once in a process.
    pub(crate) fn listen() -> Result<Self> {
        static SENDER: OnceLock<mpsc::Sender<Event>> = OnceLock::new();
        let (sender, receiver) = mpsc::channel();
        let _ = SENDER.set(sender.clone());
        ctrlc::set_handler(|| {
            if let Some(sender) = SENDER.get() {
                let _ = sender.send(Event::Stop);
            }
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(Self { sender, receiver })
    }

    /// Waits for the next event.
    pub(crate) fn next(&self) -> Event {
        self.receiver.recv().unwrap_or(Event::Stop)
    }
}
