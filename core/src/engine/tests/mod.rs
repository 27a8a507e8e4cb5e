//! Golden conversations between one engine and a scripted server, and what survives a restart.
//!
//! The server here is a few lines of bookkeeping; the real one is met in the whole-system tests.

mod ahead;
mod conversation;
mod day_start;
mod days;
mod durability;
mod files_end;
mod freeze;
mod guest;
mod healing;
pub(crate) mod image;
mod import;
mod labels;
mod leaving;
mod odd_tables;
mod online;
mod packed;
mod printed;
mod query;
mod registers;
mod rescue;
mod review;
mod sessions;
mod sessions_apart;
mod set_back;
mod sizes;
mod table_server;
mod table_values;
mod tables;
mod together;
mod transfers;
mod transfers_steps;
mod unreadable;
mod upgrade;
mod vault;
mod vault_attacks;
mod vault_model;
mod vault_old;
mod vault_thief;
mod wakeups;
mod watching;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{json, value::to_raw_value};

use super::*;
use crate::model::SessionInput;
use crate::sync::Failure;
use crate::wire::{Cursor, MutationResult, ResultStatus, SyncAnswer, SyncRequest, WireRow};

const START_MS: i64 = 1_763_899_200_000; // 2025-11-23T12:00:00Z

/// A counter instead of randomness: every id is new, every run is the same.
struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        for chunk in buffer.chunks_mut(8) {
            self.0 += 1;
            let bytes = self.0.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

fn user() -> UserId {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

fn at(seconds: i64) -> Now {
    Now { unix_ms: UnixMillis(START_MS + seconds * 1000), utc_offset_minutes: 0 }
}

fn open(location: &Location) -> Result<Engine, Error> {
    // Each engine draws other numbers, as real ones do: in bytes that a UUID leaves alone.
    static SEED: AtomicI64 = AtomicI64::new(0);
    let seed = SEED.fetch_add(1 << 32, Ordering::Relaxed);
    Engine::open(location, user(), Box::new(Counter(seed.unsigned_abs())), at(0))
}

fn engine() -> Engine {
    open(&Location::Memory).unwrap()
}

fn session(minutes: i32) -> SessionInput {
    SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("qa") }
}

fn record(engine: &mut Engine, minutes: i32) -> MutationId {
    engine.mutate(session(minutes).into(), at(0)).unwrap().id
}

fn totals(engine: &Engine) -> (i64, i64) {
    let progress = engine.progress(at(0)).unwrap();
    let days = engine.activity("1970-01-01".parse().unwrap(), "9999-12-31".parse().unwrap()).unwrap();
    assert_eq!(
        days.iter().map(|day| day.sessions).sum::<i64>(),
        progress.total_sessions,
        "days and totals agree"
    );
    (progress.total_sessions, progress.total_time_spent_minutes)
}

/// The next request. A write right behind another request is gathered for a second.
fn send(engine: &mut Engine) -> Outgoing {
    let at_once = engine.next_request(at(0)).unwrap();
    at_once.or_else(|| engine.next_request(at(1)).unwrap()).expect("a request is due within a second")
}

/// A scripted server: remembers sessions by id, counts them, and numbers its changes.
#[derive(Default)]
struct Server {
    sessions: BTreeMap<MutationId, i64>,
    exports: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
    deleted: Vec<String>,
    epoch: u32,
    reject: Vec<MutationId>,
}

impl Server {
    fn take(&mut self, request: &SyncRequest) -> SyncAnswer {
        let results = request.mutations.iter().map(|mutation| self.take_one(mutation)).collect();
        let stale = request.cursor.as_ref().is_some_and(|cursor| cursor.epoch != self.epoch.to_string());
        SyncAnswer { results, reset: stale, ..self.page() }
    }

    fn take_one(&mut self, mutation: &crate::wire::WireMutation) -> MutationResult {
        let id = mutation.id;
        if self.reject.contains(&id) {
            let (code, message) = (Some("22023".to_owned()), Some("refused".to_owned()));
            return MutationResult { id, status: ResultStatus::Rejected, code, message };
        }
        let values: serde_json::Value = serde_json::from_str(mutation.values.get()).unwrap();
        if mutation.table != "sessions" {
            if mutation.table == "export_history" && mutation.op == "delete" {
                self.exports.remove(&mutation.key);
                self.deleted.push(mutation.key.clone());
            } else if mutation.table == "export_history" {
                let columns = values.as_object().unwrap().clone();
                self.exports.entry(mutation.key.clone()).or_default().extend(columns);
            }
            return MutationResult { id, status: ResultStatus::Applied, code: None, message: None };
        }
        let minutes = values["duration_minutes"].as_i64().unwrap();
        let status = match self.sessions.insert(id, minutes) {
            None => ResultStatus::Applied,
            Some(_) => ResultStatus::Duplicate,
        };
        MutationResult { id, status, code: None, message: None }
    }

    /// Everything the server has, as one page.
    fn page(&self) -> SyncAnswer {
        let (sessions, minutes) = (self.sessions.len(), self.sessions.values().sum::<i64>());
        let version = i64::try_from(sessions).unwrap();
        let row = |values: serde_json::Value| {
            vec![WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version }]
        };
        let day = at(0).local_date();
        let mut rows = BTreeMap::from([(
            "user_progress".to_owned(),
            row(json!({"user_id": user(), "total_sessions": sessions, "total_time_spent_minutes": minutes,
                       "last_active_on": (sessions > 0).then_some(day), "current_streak_days": 1})),
        )]);
        if sessions > 0 {
            let values = json!({"day": day, "sessions": sessions, "minutes": minutes});
            rows.insert("daily_activity".to_owned(), row(values));
        }
        if !self.exports.is_empty() {
            let exports = self.exports.values().flat_map(|values| row(values.clone().into()));
            rows.insert("export_history".to_owned(), exports.collect());
        }
        SyncAnswer {
            protocol: 1,
            server_time: at(0).timestamp(),
            reset: false,
            results: Vec::new(),
            rows,
            packed: BTreeMap::new(),
            deleted: BTreeMap::from([("export_history".to_owned(), self.deleted.clone())]),
            cursor: Cursor { version, epoch: self.epoch.to_string() },
            has_more: false,
            user_missing: false,
            wakeups: false,
            catalogue: None,
        }
    }
}
