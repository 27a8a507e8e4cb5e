//! Those who want to be told: each has one place for the latest value, so that a slow reader delays nobody.

use marea_core::{Engine, Table};
use tokio::sync::watch;

/// What a watched value is made of.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    /// The visible rows of these tables.
    Tables(Vec<Table>),
    /// Anything that a call may move: the queue, the connection, the last error.
    Status,
}

/// Somebody who wants to be told.
pub(crate) trait Watcher: Send {
    /// Whether these changes may concern it.
    fn concerns(&self, changed: &[Table]) -> bool;
    /// Reads the value anew and passes it on when it is another.
    fn update(&self, engine: &mut Engine);
    /// Whether anybody still listens.
    fn is_watched(&self) -> bool;
}

/// A value, how it is read, and where the latest one lies.
pub(crate) struct Follow<T, F> {
    pub(crate) of: Of,
    pub(crate) read: F,
    pub(crate) latest: watch::Sender<Option<T>>,
}

impl<T, F> Watcher for Follow<T, F>
where
    T: PartialEq + Send + Sync,
    F: Fn(&mut Engine) -> Result<T, marea_core::Error> + Send,
{
    fn concerns(&self, changed: &[Table]) -> bool {
        match &self.of {
            Of::Tables(tables) => changed.iter().any(|table| tables.contains(table)),
            Of::Status => true,
        }
    }

    fn update(&self, engine: &mut Engine) {
        match (self.read)(engine) {
            Ok(value) => {
                self.latest.send_if_modified(|latest| {
                    let differs = latest.as_ref() != Some(&value);
                    *latest = Some(value);
                    differs
                });
            }
            // The last value stays; the next change is the next try.
            Err(error) => tracing::warn!(code = error.code(), "a watched value could not be read"),
        }
    }

    fn is_watched(&self) -> bool {
        !self.latest.is_closed()
    }
}

#[derive(Default)]
pub(super) struct Watchers(Vec<Box<dyn Watcher>>);

impl Watchers {
    pub(super) fn add(&mut self, watcher: Box<dyn Watcher>, engine: &mut Engine) {
        watcher.update(engine);
        self.0.push(watcher);
    }

    pub(super) fn tell(&mut self, engine: &mut Engine, changed: &[Table]) {
        self.0.retain(|watcher| watcher.is_watched());
        self.0.iter().filter(|watcher| watcher.concerns(changed)).for_each(|watcher| watcher.update(engine));
    }

    pub(super) fn refresh(&mut self, engine: &mut Engine) {
        self.0.iter().for_each(|watcher| watcher.update(engine));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
