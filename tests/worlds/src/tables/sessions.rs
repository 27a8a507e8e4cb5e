//! Sessions in a world of tables: facts that are recorded by every device, corrected and deleted where they are mirrored, and the fold
//! that the server makes of them.

use std::collections::BTreeMap;

use marea_core::{
    Change, Error, Fact, FactKind, Fold, LocalDate, Now, Progress, SessionInput, Timestamp, UserId,
};
use serde_json::{Map, Value, json};

use super::server::{Place, Row, Taken};
use super::world::{Checked, Recorded, World, text};
use crate::random::Random;

pub(super) const TABLE: &str = "sessions";

const COLUMNS: [(&str, &str); 11] = [
    ("session_type", "text"),
    ("started_at", "timestamptz"),
    ("ended_at", "timestamptz"),
    ("duration_minutes", "integer"),
    ("images_processed", "integer"),
    ("descriptions_generated", "integer"),
    ("qa_attempts", "integer"),
    ("qa_correct", "integer"),
    ("vocabulary_learned", "integer"),
    ("phrases_saved", "integer"),
    ("session_data", "jsonb"),
];

/// Their entry in a catalogue.
pub(super) fn described() -> Value {
    let column = |(name, kind): &(&str, &str)| json!({ "name": name, "type": kind, "rule": "register" });
    let key = json!({ "name": "id", "type": "uuid", "rule": "key" });
    let columns: Vec<Value> = [key].into_iter().chain(COLUMNS.iter().map(column)).collect();
    json!({ "name": TABLE, "schema": "public", "key": "id", "owner": "user_id", "columns": columns })
}

pub(super) fn place(key: &str) -> Place {
    (TABLE.to_owned(), key.to_owned())
}

/// What the mutations of a session come to: its insert counts once, a deletion for ever, and of each column the latest correction.
pub(super) fn row_of(key: &str, taken: &Taken) -> Option<Row> {
    let (_, begins) = taken.iter().find(|(_, said)| said.op == "insert")?;
    if taken.iter().any(|(_, said)| said.op == "delete") {
        return None;
    }
    let mut row = Row::default();
    for (name, _) in COLUMNS {
        row.values.insert(name.to_owned(), begins.values.get(name).cloned().unwrap_or_default());
    }
    row.values.insert("id".to_owned(), key.into());
    let mut corrections: Vec<_> =
        taken.iter().map(|(_, said)| said).filter(|said| said.op == "merge").collect();
    corrections.sort_by_key(|said| said.stamp.clone());
    for said in corrections {
        for (name, value) in &said.values {
            row.values.insert(name.clone(), value.clone());
            row.clocks.insert(name.clone(), said.stamp.clone());
        }
    }
    Some(row)
}

/// What sessions add up to, and how many lie on each day.
pub(super) struct Folded {
    pub(super) fold: Fold,
    pub(super) facts: BTreeMap<LocalDate, i64>,
}

/// The fold of sessions, from nothing.
pub(super) fn fold<'r>(user: UserId, rows: impl IntoIterator<Item = &'r Map<String, Value>>) -> Folded {
    let mut folded = Folded { fold: Fold::empty(user), facts: BTreeMap::new() };
    let facts: Vec<Fact> = rows.into_iter().filter_map(fact_of).collect();
    for fact in &facts {
        *folded.facts.entry(fact.day).or_default() += 1;
    }
    folded.fold.add(&facts);
    folded
}

fn fact_of(values: &Map<String, Value>) -> Option<Fact> {
    let ended_at: Timestamp = values.get("ended_at")?.as_str()?.parse().ok()?;
    let day = values.get("session_data").and_then(|data| data["local_date"].as_str()?.parse().ok());
    let count = |name: &str| values.get(name).and_then(Value::as_i64).unwrap_or(0).max(0);
    Some(Fact {
        descriptions: count("descriptions_generated"),
        questions_answered: count("qa_attempts"),
        questions_correct: count("qa_correct"),
        vocabulary_learned: count("vocabulary_learned"),
        images: count("images_processed"),
        minutes: count("duration_minutes"),
        ..Fact::empty(FactKind::Session, ended_at, day.unwrap_or_else(|| ended_at.local_date(0)))
    })
}

impl Folded {
    /// The progress as somebody reads it then.
    pub(super) fn progress(&self, now: Now) -> Progress {
        let today = now.local_date();
        let mut fold = self.fold.clone();
        fold.count_days_until(today.next());
        fold.progress.as_of(today)
    }

    /// The rows that are sent of it, by their places.
    pub(super) fn rows(&self, user: UserId) -> BTreeMap<Place, Value> {
        let mut rows = BTreeMap::new();
        if self.facts.is_empty() {
            return rows;
        }
        for day in self.fold.days.values() {
            let mut values = serde_json::to_value(day).expect("JSON");
            values["facts"] = self.facts[&day.day].into();
            rows.insert(("daily_activity".to_owned(), day.day.to_string()), values);
        }
        let progress = serde_json::to_value(&self.fold.progress).expect("JSON");
        rows.insert(("user_progress".to_owned(), user.to_string()), progress);
        rows
    }
}

/// A session that somebody has just ended: on one of a few days.
pub(super) fn some_session(random: &mut Random) -> Map<String, Value> {
    let (day, attempts) = (random.within(10..=23), random.within(0..=9));
    let values = json!({
        "session_type": "practice", "ended_at": format!("2026-11-{day}T{:02}:00:00.000000Z", random.within(0..=23)),
        "duration_minutes": random.within(0..=60), "qa_attempts": attempts, "qa_correct": random.within(0..=attempts),
        "vocabulary_learned": random.within(0..=2),
    });
    values.as_object().cloned().unwrap_or_default()
}

/// A correction of a session.
pub(super) fn some_correction(random: &mut Random) -> Map<String, Value> {
    let day = format!("2026-11-{}", random.within(10..=23));
    let values = match random.within(0..=3) {
        0 => json!({ "duration_minutes": random.within(0..=60) }),
        1 => json!({ "qa_attempts": 9, "qa_correct": random.within(0..=9) }),
        2 => json!({ "session_data": { "local_date": day } }),
        _ => {
            json!({ "vocabulary_learned": random.within(0..=2), "session_data": { "local_date": day, "note": "late" } })
        }
    };
    values.as_object().cloned().unwrap_or_default()
}

impl World {
    /// Somebody ends a session, corrects one or deletes one.
    pub(super) fn change_sessions(&mut self, chosen: usize) -> Checked {
        let shown = self.devices[chosen].rows()?;
        let keys: Vec<String> =
            shown.into_keys().filter(|place| place.0 == TABLE).map(|place| place.1).collect();
        let mirrors = self.devices[chosen].tables().iter().any(|table| table == TABLE);
        let (table, now) = (TABLE.to_owned(), self.devices[chosen].now(self.now_ms));
        let (op, key, change) = match self.random.within(0..=9) {
            0..=4 if mirrors && self.random.chance(30) => {
                let values = some_session(&mut self.random);
                ("insert", None, Change::Insert { table, key: None, values })
            }
            5..=7 if !keys.is_empty() => {
                let (key, values) = (self.random.one_of(&keys).clone(), some_correction(&mut self.random));
                ("merge", Some(key.clone()), Change::Update { table, key, values })
            }
            8..=9 if !keys.is_empty() => {
                let key = self.random.one_of(&keys).clone();
                ("delete", Some(key.clone()), Change::Delete { table, key })
            }
            _ => {
                let values = some_session(&mut self.random);
                let input: SessionInput = serde_json::from_value(values.into()).expect("a session");
                ("insert", None, Change::RecordSession(input))
            }
        };
        let before = self.devices[chosen].engine.status(now).map_err(text)?.pending;
        let done = match self.devices[chosen].engine.mutate(change, now) {
            // Another device has corrected the other count of the two.
            Err(Error::InvalidValue { column, .. }) if op == "merge" && column == "qa_correct" => {
                return Ok(());
            }
            done => done.map_err(text)?,
        };
        let key = key.unwrap_or_else(|| done.key.clone());
        self.devices[chosen].knows.wrote(&key, op == "delete");
        if done.pending < before {
            // Taken back: nothing of it is ever sent from here.
            return Ok(());
        }
        let recorded = Recorded { place: place(&key), op, values: Map::new() };
        self.note(chosen, done.id, key, recorded);
        Ok(())
    }
}
