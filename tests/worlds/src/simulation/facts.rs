//! Reads a mutation's values as the server would: what they add to progress. Written apart from the engine's own
//! reading, so that the two can disagree.

use std::collections::BTreeMap;

use marea_core::{Fact, FactKind, LocalDate, Timestamp};
use serde_json::{Map, Value};

/// What a pushed session or award adds; `None` for values that are neither.
pub(super) fn fact_of(table: &str, values: &Map<String, Value>) -> Option<Fact> {
    match table {
        "sessions" => session(values),
        "progress_events" => award(values),
        _ => None,
    }
}

fn count(values: &Map<String, Value>, column: &str) -> i64 {
    values.get(column).and_then(Value::as_i64).unwrap_or(0)
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

fn day(value: Option<&Value>) -> Option<LocalDate> {
    value?.as_str()?.parse().ok()
}

fn session(values: &Map<String, Value>) -> Option<Fact> {
    let ended_at = time(values.get("ended_at"))?;
    let named = values.get("session_data").and_then(|data| day(data.get("local_date")));
    let local_day = named.unwrap_or_else(|| ended_at.local_date(0));
    Some(Fact {
        descriptions: count(values, "descriptions_generated").max(0),
        images: count(values, "images_processed").max(0),
        questions_answered: count(values, "qa_attempts").max(0),
        questions_correct: count(values, "qa_correct").max(0),
        vocabulary_learned: count(values, "vocabulary_learned").max(0),
        minutes: count(values, "duration_minutes").max(0),
        ..Fact::empty(FactKind::Session, ended_at, local_day)
    })
}

fn award(values: &Map<String, Value>) -> Option<Fact> {
    let occurred_at = time(values.get("occurred_at"))?;
    let freezes = values.get("freezes_day") == Some(&Value::Bool(true));
    let kind = if freezes { FactKind::Freeze } else { FactKind::Award };
    let unlocked = values.get("achievements").and_then(Value::as_object);
    let achievements: BTreeMap<String, Timestamp> = unlocked
        .into_iter()
        .flatten()
        .filter_map(|(name, at)| Some((name.clone(), time(Some(at))?)))
        .collect();
    Some(Fact {
        descriptions: count(values, "descriptions"),
        images: count(values, "images"),
        questions_answered: count(values, "questions_answered"),
        questions_correct: count(values, "questions_correct"),
        vocabulary_learned: count(values, "vocabulary_learned"),
        minutes: count(values, "minutes"),
        points: count(values, "points"),
        mastered_words: count(values, "mastered_words"),
        learning_words: count(values, "learning_words"),
        new_words: count(values, "new_words"),
        achievements,
        ..Fact::empty(kind, occurred_at, day(values.get("local_date"))?)
    })
}
