//! Who is told: whatever a device shows now and did not show before, its subscriber has been told of.
//!
//! Deliberately absent: that nobody is told in vain. A row that is read again costs little; one that is not read again is
//! wrong on a learner's screen until something else happens to it.

use std::collections::BTreeMap;

use marea_core::{
    ActivityDay, ApiKeys, Engine, Export, ExportQuery, Now, Progress, Subscription, Table, TableChanges,
    UnixMillis,
};

use super::oracle::{first_day, last_day};

/// 9999-01-01: what depends on the present is the same in each look.
const LATE_MS: i64 = 253_370_764_800_000;

/// A subscriber of a device, and what it would have on its screen.
pub(super) struct Watcher {
    subscription: Subscription,
    shown: Shown,
}

/// Everything that a device shows.
struct Shown {
    progress: Progress,
    days: BTreeMap<String, ActivityDay>,
    exports: BTreeMap<String, Export>,
    keys: ApiKeys,
}

impl Watcher {
    pub(super) fn new(engine: &mut Engine) -> Result<Watcher, String> {
        Ok(Watcher { subscription: engine.subscribe(), shown: Shown::of(engine)? })
    }

    /// Looks again, as a subscriber does that is told something, and compares the rest.
    pub(super) fn check(&mut self, engine: &mut Engine) -> Result<(), String> {
        let told = engine.take_changed_rows(self.subscription);
        let shown = Shown::of(engine)?;
        let before = std::mem::replace(&mut self.shown, shown);
        let user = engine.user_id().to_string();
        if before.progress != self.shown.progress {
            is_told(&told, Table::UserProgress, &user)?;
        }
        if before.keys != self.shown.keys {
            is_told(&told, Table::UserApiKeys, &user)?;
        }
        for day in differing(&before.days, &self.shown.days) {
            is_told(&told, Table::DailyActivity, day)?;
        }
        for export in differing(&before.exports, &self.shown.exports) {
            is_told(&told, Table::ExportHistory, export)?;
        }
        Ok(())
    }
}

impl Shown {
    fn of(engine: &Engine) -> Result<Shown, String> {
        let read = || {
            let now = Now { unix_ms: UnixMillis(LATE_MS), utc_offset_minutes: 0 };
            let days = engine.activity(first_day(), last_day())?;
            let exports =
                engine.exports(&ExportQuery { limit: Some(500), ..ExportQuery::default() })?.exports;
            Ok(Shown {
                progress: engine.progress(now)?,
                days: days.into_iter().map(|day| (day.day.to_string(), day)).collect(),
                exports: exports.into_iter().map(|export| (export.id.to_string(), export)).collect(),
                keys: engine.api_keys()?,
            })
        };
        read().map_err(|error: marea_core::Error| error.to_string())
    }
}

/// The keys of which one of two looks has a row and the other has not, or another one.
fn differing<'m, T: PartialEq>(
    before: &'m BTreeMap<String, T>,
    after: &'m BTreeMap<String, T>,
) -> impl Iterator<Item = &'m String> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    gone.chain(after.iter().filter(|(key, row)| before.get(*key) != Some(row)).map(|(key, _)| key))
}

fn is_told(told: &[TableChanges], table: Table, key: &str) -> Result<(), String> {
    let is_named = |changes: &TableChanges| {
        changes.table == table && changes.keys.as_ref().is_none_or(|keys| keys.iter().any(|told| told == key))
    };
    if told.iter().any(is_named) {
        return Ok(());
    }
    Err(format!("shows another {} {key} than before, and told nobody", table.name()))
}
