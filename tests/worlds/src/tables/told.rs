//! What a device knows beside the counters: which rows it was told to be gone, and what its progress must be.

use std::collections::{BTreeMap, BTreeSet};

use marea_core::{ActivityDay, LocalDate, MutationId, Now, SyncAnswer};
use serde_json::{Map, Value};

use super::device::Device;
use super::server::Place;
use super::sessions::{self, TABLE};

/// A session's columns by its key.
type Sessions = BTreeMap<String, Map<String, Value>>;

#[derive(Clone, Default)]
pub(super) struct Told {
    /// Rows that the server has said to be gone, and has not sent since.
    pub(super) gone: BTreeSet<Place>,
    /// Rows that it has inserted on behalf of the server: they are shown until the server has judged that.
    pub(super) healed: BTreeSet<Place>,
    /// The sessions that the confirmed rows of progress contain; `None` where that cannot be told.
    counted: Option<Sessions>,
    /// Sessions that this device has written to since.
    written: BTreeSet<String>,
    /// Sessions that it has deleted.
    deleted: BTreeSet<String>,
    /// It heard of a refusal since, or of a session that it had taken back: what is counted shows again once all is settled.
    is_unsure: bool,
}

impl Told {
    pub(super) fn wrote(&mut self, key: &str, is_deletion: bool) {
        self.written.insert(key.to_owned());
        if is_deletion {
            self.deleted.insert(key.to_owned());
        }
    }

    pub(super) fn has_deleted(&self, key: &str) -> bool {
        self.deleted.contains(key)
    }

    /// Its tables are others now.
    pub(super) fn forget(&mut self) {
        self.counted = None;
    }

    pub(super) fn heard(&mut self, answer: &SyncAnswer) {
        if answer.catalogue.is_some() {
            // Its tables are others now, and of the answer only the results counted.
            self.gone.clear();
            return;
        }
        for (table, keys) in &answer.deleted {
            self.gone.extend(keys.iter().map(|key| (table.clone(), key.clone())));
        }
        let mut arrived = Vec::new();
        for (table, json) in &answer.packed {
            let columns: BTreeMap<String, Vec<Value>> = serde_json::from_str(json).expect("JSON");
            let keys = columns.get("k").or_else(|| columns.get("id")).expect("keys");
            arrived.extend(keys.iter().map(|key| (table.clone(), key.as_str().expect("a key").to_owned())));
        }
        for (table, rows) in &answer.rows {
            for row in rows {
                let values: Map<String, Value> = serde_json::from_str(row.values.get()).expect("JSON");
                let key = values.get("k").or_else(|| values.get("id")).and_then(Value::as_str);
                arrived.extend(key.map(|key| (table.clone(), key.to_owned())));
            }
        }
        for place in &arrived {
            self.gone.remove(place);
            self.is_unsure |= place.0 == TABLE && self.deleted.contains(&place.1);
        }
        if answer.reset {
            self.gone.clear();
        }
        let refused =
            |result: &marea_core::MutationResult| result.status == marea_core::ResultStatus::Rejected;
        self.is_unsure |= answer.results.iter().any(refused);
    }
}

impl Device {
    /// All that waited is with the server, and all that the server has is here.
    pub(super) fn settled(&mut self) -> Result<(), String> {
        let mirrors = self.tables().iter().any(|table| table == TABLE);
        let counted = mirrors.then(|| self.shown_sessions()).transpose()?;
        let deleted = std::mem::take(&mut self.knows.deleted);
        let (gone, healed) = (std::mem::take(&mut self.knows.gone), std::mem::take(&mut self.knows.healed));
        self.knows = Told { gone, healed, counted, deleted, ..Told::default() };
        Ok(())
    }

    /// What waits for the server.
    pub(super) fn queued(&self) -> Result<BTreeSet<MutationId>, String> {
        let waiting = self.engine.pending().map_err(|error| error.to_string())?;
        Ok(waiting.iter().map(|view| view.id).collect())
    }

    /// A deletion may be queued again by an answer, behind the rows of progress that it confirms.
    pub(super) fn note_what_is_queued(&mut self, before: &BTreeSet<MutationId>) -> Result<(), String> {
        self.knows.is_unsure |= !self.queued()?.is_subset(before);
        Ok(())
    }

    fn shown_sessions(&self) -> Result<Sessions, String> {
        let rows = self.rows()?.into_iter().filter(|(place, _)| place.0 == TABLE);
        Ok(rows.map(|(place, json)| (place.1, serde_json::from_str(&json).expect("JSON"))).collect())
    }

    /// Progress is what the confirmed sessions add, with those as they are shown that this device has written to.
    pub(super) fn check_progress(&self, now: Now) -> Result<(), String> {
        let Some(counted) = self.knows.counted.as_ref().filter(|_| !self.knows.is_unsure) else {
            return Ok(());
        };
        let mut expected = counted.clone();
        let shown = self.shown_sessions()?;
        for key in &self.knows.written {
            match shown.get(key) {
                Some(row) => drop(expected.insert(key.clone(), row.clone())),
                None => drop(expected.remove(key)),
            }
        }
        self.compare_progress(&sessions::fold(self.user(), expected.values()), now)
    }

    pub(super) fn compare_progress(&self, folded: &sessions::Folded, now: Now) -> Result<(), String> {
        let text = |error: marea_core::Error| error.to_string();
        let (shown, expected) = (self.engine.progress(now).map_err(text)?, folded.progress(now));
        let [first, last]: [LocalDate; 2] =
            ["1970-01-01", "9999-12-31"].map(|day| day.parse().expect("a day"));
        let days: Vec<ActivityDay> = self.engine.activity(first, last).map_err(text)?;
        if shown != expected || !folded.fold.days.values().eq(&days) {
            let json = |progress: &marea_core::Progress| serde_json::to_string(progress).expect("JSON");
            return Err(format!(
                "shows progress {} on {} days, expected {} on {}",
                json(&shown),
                days.len(),
                json(&expected),
                folded.fold.days.len()
            ));
        }
        Ok(())
    }

    /// What the server has said to be gone is not shown, unless this device makes it again.
    pub(super) fn check_gone(&self, made_here: impl Fn(&Place) -> bool) -> Result<(), String> {
        let is_made = |place: &Place| made_here(place) || self.knows.healed.contains(place);
        let back = self.knows.gone.iter().find(|place| self.shown.contains_key(*place) && !is_made(place));
        back.map_or(Ok(()), |place| Err(format!("shows {place:?}, which the server has said to be gone")))
    }
}
