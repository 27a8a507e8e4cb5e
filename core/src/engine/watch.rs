//! Who is told of changes: after the commit, once per transaction, in order.
//!
//! A subscriber has no queue that could fill up: what it has not taken yet is merged. So a slow one delays nobody,
//! bounds nothing but itself, and always learns of the final state.

use crate::engine::Engine;
use crate::engine::changed::Changed;
#[cfg(any(test, feature = "planted-faults"))]
use crate::engine::changed::TableChanges;
use crate::error::Error;
use crate::model::{FewMap, Table};

/// The tables whose rows an app reads.
const VISIBLE: [Table; 4] =
    [Table::UserProgress, Table::DailyActivity, Table::ExportHistory, Table::UserApiKeys];

/// Names one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription(u64);

#[derive(Debug, Default)]
pub(super) struct Watchers {
    next: u64,
    changed: FewMap<Subscription, Changed>,
    /// SQLite's `data_version` when it was last looked at.
    others: Option<i64>,
}

impl Watchers {
    fn announce(&mut self, changed: &Changed) {
        for waiting in self.changed.values_mut() {
            waiting.merge(changed);
        }
    }
}

impl Engine {
    /// Begins to note which tables' visible rows change.
    pub fn subscribe(&mut self) -> Subscription {
        let subscription = Subscription(self.watchers.next);
        self.watchers.next += 1;
        self.watchers.changed.insert(subscription, Changed::default());
        subscription
    }

    /// The tables that have changed since the last call, all changes merged; empty when nothing has.
    pub fn take_changes(&mut self, subscription: Subscription) -> Vec<Table> {
        self.take(subscription).tables()
    }

    /// The same with the rows that changed, as far as they are few enough to be named: for tests, which look at what is announced.
    #[cfg(any(test, feature = "planted-faults"))]
    pub fn take_changed_rows(&mut self, subscription: Subscription) -> Vec<TableChanges> {
        self.take(subscription).into_rows()
    }

    fn take(&mut self, subscription: Subscription) -> Changed {
        self.watchers.changed.get_mut(&subscription).map(std::mem::take).unwrap_or_default()
    }

    /// Forgets a subscriber.
    pub fn unsubscribe(&mut self, subscription: Subscription) {
        self.watchers.changed.remove(&subscription);
    }

    /// Whether another program has written to this mirror since the last call; the first call only begins to look. If one
    /// has, every visible table is announced: which of them it was, SQLite does not say.
    ///
    /// # Errors
    /// The storage errors.
    pub fn look_for_other_writers(&mut self) -> Result<bool, Error> {
        let version = self.store.read().data_version()?;
        let wrote = self.watchers.others.replace(version).is_some_and(|seen| seen != version);
        if wrote {
            let mirrored = self.store.shapes().mirrored();
            let visible: Vec<Table> = VISIBLE.into_iter().chain(mirrored).collect();
            self.announce(&visible);
        }
        Ok(wrote)
    }

    /// To be called after the commit.
    pub(super) fn announce(&mut self, tables: &[Table]) {
        self.announce_rows(&Changed::of(tables));
    }

    /// The same, row by row.
    pub(super) fn announce_rows(&mut self, changed: &Changed) {
        self.watchers.announce(changed);
    }
}
