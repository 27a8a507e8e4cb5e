//! Random histories of one learner, as plain SQL on the app's tables and, beside it, as the facts that must be left in the end.
//!
//! It makes what apps and people do to `sessions`: open, complete, correct, reopen, delete; values missing, negative or
//! nonsense; days across midnight and time zones; any order. It compares nothing.

use std::collections::BTreeMap;

use marea_core::{Fact, FactKind, LocalDate, Session, Timestamp, UnixMillis};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::random::Random;

/// 2026-01-05T00:00:00Z. The histories lie in the three weeks after it.
const BEGIN_MS: i64 = 1_767_571_200_000;
const DAY_MS: i64 = 86_400_000;

const METRICS: [&str; 7] = [
    "duration_minutes",
    "images_processed",
    "descriptions_generated",
    "qa_attempts",
    "qa_correct",
    "vocabulary_learned",
    "phrases_saved",
];

const DELTAS: [&str; 10] = [
    "descriptions",
    "images",
    "questions_answered",
    "questions_correct",
    "vocabulary_learned",
    "minutes",
    "points",
    "mastered_words",
    "learning_words",
    "new_words",
];

/// Days that are none, or only look so: the fold has to fall back on the end's day in UTC, and never fail.
const ODD_DAYS: [&str; 23] = [
    "",
    "tomorrow",
    "infinity",
    "2026-02-30",
    "2023-02-29",
    "2024-02-29",
    "2026-00-10",
    "2026-01-00",
    "26-01-10",
    "2026-1-10",
    " 2026-01-10",
    "2026-01-10 ",
    "2026-01-1 ",
    "2026-01-10T00:00:00Z",
    "2026/01/10",
    "20260110",
    "2026-W02-6",
    "1969-12-31",
    "1970-01-01",
    "9999-12-31",
    "10000-01-01",
    "+026-01-10",
    "２０２６-01-10",
];

/// One learner's past, and how it was written.
#[derive(Clone)]
pub struct History {
    /// The learner.
    pub user: Uuid,
    /// The statements so far, for the report of a failure.
    pub log: Vec<String>,
    sessions: BTreeMap<Uuid, Row>,
    awards: Vec<Fact>,
}

/// A row of `sessions`, as far as the fold looks.
#[derive(Clone)]
struct Row {
    ended_at: Option<Timestamp>,
    metrics: [Option<i32>; METRICS.len()],
    data: Option<Value>,
}

impl History {
    /// Nothing has happened yet.
    pub fn new(user: Uuid) -> History {
        History { user, log: Vec::new(), sessions: BTreeMap::new(), awards: Vec::new() }
    }

    /// Lets one more thing happen; gives the statement that does it.
    pub fn step(&mut self, random: &mut Random) -> String {
        let statement = match random.within(0..=99) {
            0..45 => self.insert(random),
            45..72 => self.update_one(random),
            72..76 => self.update_all(random),
            76..84 => self.delete(random),
            84..92 => self.freeze(random),
            _ => self.award(random),
        };
        self.log.push(statement.clone());
        statement
    }

    /// What must count in the end.
    pub fn facts(&self) -> Vec<Fact> {
        let completed = self.sessions.iter().filter_map(|(id, row)| row.completed(*id));
        completed.map(|session| Fact::from(&session)).chain(self.awards.iter().cloned()).collect()
    }

    fn insert(&mut self, random: &mut Random) -> String {
        let id = match self.any_session(random) {
            // The same id again: the app tried twice.
            Some(known) if random.chance(5) => known,
            _ => random.uuid(),
        };
        let row = Row {
            ended_at: random.chance(70).then(|| instant(random)),
            metrics: std::array::from_fn(|_| metric(random)),
            data: data(random),
        };
        let names = METRICS.join(", ");
        let values: Vec<String> = row.metrics.iter().map(sql_number).collect();
        let statement = format!(
            "INSERT INTO public.sessions (id, user_id, session_type, started_at, ended_at, session_data, {names}) \
             VALUES ('{id}', '{}', 'practice', '{}', {}, {}, {}) ON CONFLICT (id) DO NOTHING",
            self.user,
            instant(random),
            sql_time(row.ended_at),
            sql_json(row.data.as_ref()),
            values.join(", ")
        );
        self.sessions.entry(id).or_insert(row);
        statement
    }

    /// Completes, reopens or corrects one session, or changes nothing that counts.
    fn update_one(&mut self, random: &mut Random) -> String {
        let Some(id) = self.any_session(random) else { return self.insert(random) };
        let Some(row) = self.sessions.get_mut(&id) else { return self.insert(random) };
        let mut changes = vec!["session_type = 'corrected'".to_owned()];
        if random.chance(50) {
            row.ended_at = random.chance(80).then(|| instant(random));
            changes.push(format!("ended_at = {}", sql_time(row.ended_at)));
        }
        if random.chance(30) {
            row.data = data(random);
            changes.push(format!("session_data = {}", sql_json(row.data.as_ref())));
        }
        for (name, value) in METRICS.iter().zip(&mut row.metrics) {
            if random.chance(25) {
                *value = metric(random);
                changes.push(format!("{name} = {}", sql_number(value)));
            }
        }
        format!("UPDATE public.sessions SET {} WHERE id = '{id}'", changes.join(", "))
    }

    /// One statement, many rows.
    fn update_all(&mut self, random: &mut Random) -> String {
        let minutes = metric(random);
        self.sessions.values_mut().for_each(|row| row.metrics[0] = minutes);
        let value = sql_number(&minutes);
        format!("UPDATE public.sessions SET duration_minutes = {value} WHERE user_id = '{}'", self.user)
    }

    fn delete(&mut self, random: &mut Random) -> String {
        let Some(id) = self.any_session(random) else { return self.insert(random) };
        self.sessions.remove(&id);
        format!("DELETE FROM public.sessions WHERE id = '{id}'")
    }

    fn award(&mut self, random: &mut Random) -> String {
        let occurred_at = instant(random);
        let day = near(occurred_at, random);
        // The first seven only grow; words move from one heap to another and may go down.
        let deltas: [i64; DELTAS.len()] = std::array::from_fn(|column| match random.chance(50) {
            true => 0,
            false if column < 7 => random.within(0..=40),
            false => random.within(-20..=20),
        });
        let mut achievements = BTreeMap::new();
        for name in ["first steps", "ten in a row", "o'clock"] {
            if random.chance(20) {
                achievements.insert(name.to_owned(), instant(random));
            }
        }
        let values: Vec<String> = deltas.iter().map(i64::to_string).collect();
        let statement = format!(
            "INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, achievements, {}) \
             VALUES ('{}', '{}', '{occurred_at}', '{day}', {}, {})",
            DELTAS.join(", "),
            random.uuid(),
            self.user,
            sql_json(Some(&json!(achievements))),
            values.join(", ")
        );
        let [
            descriptions,
            images,
            questions_answered,
            questions_correct,
            vocabulary_learned,
            minutes,
            points,
            rest @ ..,
        ] = deltas;
        let [mastered_words, learning_words, new_words] = rest;
        self.awards.push(Fact {
            descriptions,
            images,
            questions_answered,
            questions_correct,
            vocabulary_learned,
            minutes,
            points,
            mastered_words,
            learning_words,
            new_words,
            achievements,
            ..Fact::empty(FactKind::Award, occurred_at, day)
        });
        statement
    }

    /// A day that joins runs, and is no active one.
    fn freeze(&mut self, random: &mut Random) -> String {
        let occurred_at = instant(random);
        let day = near(occurred_at, random);
        self.awards.push(Fact::empty(FactKind::Freeze, occurred_at, day));
        format!(
            "INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, freezes_day) VALUES ('{}', '{}', \
             '{occurred_at}', '{day}', true)",
            random.uuid(),
            self.user
        )
    }

    fn any_session(&self, random: &mut Random) -> Option<Uuid> {
        let ids: Vec<Uuid> = self.sessions.keys().copied().collect();
        (!ids.is_empty()).then(|| *random.one_of(&ids))
    }
}

impl Row {
    fn completed(&self, id: Uuid) -> Option<Session> {
        let [duration_minutes, images, descriptions, attempts, correct, vocabulary, phrases] = self.metrics;
        let ended_at = self.ended_at?;
        Some(Session {
            id: id.into(),
            session_type: "practice".into(),
            started_at: ended_at,
            ended_at,
            duration_minutes,
            images_processed: images,
            descriptions_generated: descriptions,
            qa_attempts: attempts,
            qa_correct: correct,
            vocabulary_learned: vocabulary,
            phrases_saved: phrases,
            session_data: match &self.data {
                Some(Value::Object(object)) => object.clone(),
                _ => Map::new(),
            },
        })
    }
}

/// Mostly small, sometimes missing, negative or large.
fn metric(random: &mut Random) -> Option<i32> {
    let value = match random.within(0..=9) {
        0..=2 => return None,
        3 => random.within(-9..=-1),
        4 => 0,
        5 => random.within(1_000..=100_000),
        _ => random.within(1..=30),
    };
    i32::try_from(value).ok()
}

/// An instant to the microsecond; one in four within a microsecond of midnight.
fn instant(random: &mut Random) -> Timestamp {
    let micros = match random.chance(25) {
        true => random.within(0..=21) * DAY_MS * 1000 + random.within(-1..=1),
        false => random.within(0..=21 * DAY_MS * 1000),
    } + BEGIN_MS * 1000;
    let to_the_milli = Timestamp::from_millis(UnixMillis(micros.div_euclid(1000))).to_string();
    let text = format!("{}{:03}Z", &to_the_milli[..23], micros.rem_euclid(1000));
    text.parse().expect("a timestamp")
}

/// The learner's day of an instant, somewhere between the two ends of the world.
fn near(instant: Timestamp, random: &mut Random) -> LocalDate {
    let offset_minutes = i32::try_from(random.within(-12..=14) * 60).unwrap_or(0);
    instant.local_date(offset_minutes)
}

fn data(random: &mut Random) -> Option<Value> {
    Some(match random.within(0..=19) {
        0 => return None,
        1 => json!({}),
        2 => json!([{"local_date": "2026-01-10"}]),
        3 => json!("2026-01-10"),
        4 => Value::Null,
        5 => {
            json!({"local_date": random.one_of(&[json!(20_260_110), Value::Null, json!(true), json!(["2026-01-10"]), json!({})])})
        }
        6..=9 => json!({"local_date": random.one_of(&ODD_DAYS)}),
        _ => {
            let instant = instant(random);
            json!({"local_date": near(instant, random), "note": "it's \"quoted\" \\ and not"})
        }
    })
}

fn sql_number(value: &Option<i32>) -> String {
    value.map_or("NULL".into(), |value| value.to_string())
}

fn sql_time(value: Option<Timestamp>) -> String {
    value.map_or("NULL".into(), |value| format!("'{value}'"))
}

fn sql_json(value: Option<&Value>) -> String {
    value.map_or("NULL".into(), |value| format!("'{}'::jsonb", value.to_string().replace('\'', "''")))
}
