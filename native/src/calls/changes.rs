//! What can be read again after something changed, told as one event for each call of the engine that moved anything.

use std::cell::{Cell, RefCell};

use marea_core::{Engine, Status, Table, UnixMillis};
use serde_json::json;

use super::Listener;
use crate::clock;
use crate::worker::Watcher;

/// What was seen at the last look.
#[derive(PartialEq)]
struct Seen {
    status: Option<Status>,
    vault_locks_at: Option<UnixMillis>,
    catalogue: Option<String>,
}

/// Follows everything.
pub(super) struct Changes {
    listener: Listener,
    /// The tables that the call has changed; `None` when everything is to be read again, as on a new day.
    changed: Cell<Option<Vec<Table>>>,
    seen: RefCell<Seen>,
}

impl Changes {
    pub(super) fn new(listener: Listener) -> Changes {
        let nothing = Seen { status: None, vault_locks_at: None, catalogue: None };
        Changes { listener, changed: Cell::new(None), seen: RefCell::new(nothing) }
    }

    fn look(&self, engine: &mut Engine) -> Seen {
        let now = clock::now();
        let mut status = engine.status(now).ok();
        if let Some(status) = &mut status {
            // "Now" would be another time at every look.
            status.next_attempt_at.take_if(|at| at.as_millis() <= now.unix_ms);
        }
        let catalogue = engine.catalogue().map(|catalogue| catalogue.hash().to_owned());
        Seen { status, vault_locks_at: engine.vault_locks_at(), catalogue }
    }
}

impl Watcher for Changes {
    fn concerns(&self, changed: &[Table]) -> bool {
        self.changed.set(Some(changed.to_vec()));
        true
    }

    fn update(&self, engine: &mut Engine) {
        let tables = self.changed.take();
        let now = self.look(engine);
        let before = self.seen.replace(now);
        let now = self.seen.borrow();
        if *now == before && tables.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        let files = |seen: &Seen| seen.status.as_ref().map(|status| status.files.clone());
        let names = tables.map(|tables| tables.iter().map(|table| table.name()).collect::<Vec<_>>());
        let event = json!({
            "kind": "changed",
            "tables": names,
            "status": now.status != before.status,
            "files": files(&now) != files(&before),
            "keys": now.vault_locks_at != before.vault_locks_at,
            "catalogue": now.catalogue != before.catalogue,
        });
        (self.listener)(event.to_string());
    }

    fn is_watched(&self) -> bool {
        true
    }
}
