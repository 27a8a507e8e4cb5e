//! Sessions that are mirrored: corrected and deleted offline, with progress behind them; taken back before they are sent.

use serde_json::{Map, Value};

use super::tables::{map, row};
use super::*;
use crate::catalogue::Catalogue;
use crate::merge::{Fact, Fold};

const SESSIONS: &str = r#"{ "version": 1, "hash": "00000000000000aa", "tables": [
  { "name": "sessions", "schema": "public", "key": "id", "owner": "user_id", "write": true, "columns": [
    { "name": "id", "type": "uuid", "rule": "key" },
    { "name": "session_type", "type": "text", "rule": "register", "max": 50 },
    { "name": "started_at", "type": "timestamptz", "rule": "register" },
    { "name": "ended_at", "type": "timestamptz", "rule": "register" },
    { "name": "duration_minutes", "type": "integer", "rule": "register" },
    { "name": "images_processed", "type": "integer", "rule": "register" },
    { "name": "descriptions_generated", "type": "integer", "rule": "register" },
    { "name": "qa_attempts", "type": "integer", "rule": "register" },
    { "name": "qa_correct", "type": "integer", "rule": "register" },
    { "name": "vocabulary_learned", "type": "integer", "rule": "register" },
    { "name": "phrases_saved", "type": "integer", "rule": "register" },
    { "name": "session_data", "type": "jsonb", "rule": "register" },
    { "name": "note", "type": "text", "rule": "register" } ] } ] }"#;

pub(super) fn catalogue() -> Catalogue {
    Catalogue::parse(SESSIONS).unwrap()
}

pub(super) fn device() -> Engine {
    let mut engine = engine();
    engine.use_catalogue(Some(&catalogue()), at(0)).unwrap();
    engine
}

/// A server that keeps sessions, merges them by the order in which corrections come, and folds them.
#[derive(Default)]
pub(super) struct Folding {
    pub(super) rows: BTreeMap<String, Map<String, Value>>,
    gone: Vec<String>,
    version: i64,
    epoch: u32,
}

impl Folding {
    pub(super) fn take(&mut self, request: &SyncRequest) -> SyncAnswer {
        let mut results = Vec::new();
        for mutation in &request.mutations {
            let values: Map<String, Value> = serde_json::from_str(mutation.values.get()).unwrap();
            let key = mutation.key.clone();
            assert_eq!(mutation.table, "sessions");
            match &*mutation.op {
                "insert" if !self.gone.contains(&key) => drop(self.rows.entry(key).or_insert(values)),
                "merge" => drop(self.rows.get_mut(&key).map(|row| row.extend(values))),
                "delete" if self.rows.remove(&key).is_some() => self.gone.push(key),
                _ => {}
            }
            self.version += 1;
            results.push(MutationResult {
                id: mutation.id,
                status: ResultStatus::Applied,
                code: None,
                message: None,
            });
        }
        self.page(request, results)
    }

    fn page(&self, request: &SyncRequest, results: Vec<MutationResult>) -> SyncAnswer {
        let row = |values: &Value| WireRow {
            values: to_raw_value(values).unwrap(),
            hlc: json!({}),
            version: self.version,
        };
        let mut fold = Fold::empty(user());
        let mut counts = BTreeMap::<_, i64>::new();
        for values in self.rows.values() {
            let session: crate::model::Session = serde_json::from_value(columns(values)).unwrap();
            let fact = Fact::from(&session);
            *counts.entry(fact.day).or_default() += 1;
            fold.add([&fact]);
        }
        let stale = request.cursor.as_ref().is_some_and(|cursor| cursor.epoch != self.epoch.to_string());
        let begins = stale || request.cursor.is_none();
        let days = fold.days.values().map(|day| {
            let mut values = serde_json::to_value(day).unwrap();
            values["facts"] = counts[&day.day].into();
            row(&values)
        });
        // Everything each time: a row that has not changed comes as it was.
        let sessions = self.rows.values().map(|values| row(&Value::from(values.clone())));
        let mut deleted = BTreeMap::new();
        if !begins {
            deleted.insert("sessions".to_owned(), self.gone.clone());
            let all = (1..=28).map(|day| format!("2025-11-{day:02}"));
            let empty = all.filter(|day| !fold.days.contains_key(&day.parse().unwrap()));
            deleted.insert("daily_activity".to_owned(), empty.collect());
        }
        SyncAnswer {
            protocol: 1,
            server_time: at(0).timestamp(),
            reset: stale,
            results,
            rows: BTreeMap::from([
                ("sessions".to_owned(), sessions.collect()),
                ("daily_activity".to_owned(), days.collect()),
                ("user_progress".to_owned(), vec![row(&serde_json::to_value(&fold.progress).unwrap())]),
            ]),
            packed: BTreeMap::new(),
            deleted,
            cursor: Cursor { version: self.version, epoch: self.epoch.to_string() },
            has_more: false,
            user_missing: false,
            wakeups: false,
            catalogue: None,
        }
    }
}

/// The columns of a session that were not sent, and that no row is without.
fn columns(values: &Map<String, Value>) -> Value {
    let mut all =
        json!({ "started_at": "2025-11-20T00:00:00.000000Z", "session_type": "qa", "session_data": {} });
    all.as_object_mut().unwrap().extend(values.clone());
    all.as_object_mut().unwrap().remove("note");
    all
}

pub(super) fn sync(engine: &mut Engine, server: &mut Folding) {
    engine.signal(Signal::SyncNow, at(0));
    while let Some(outgoing) = engine.next_request(at(0)).unwrap() {
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
    assert_eq!(engine.status(at(0)).unwrap().pending, 0);
}

pub(super) fn on(engine: &mut Engine, day: &str, minutes: i32) -> String {
    let input = SessionInput {
        ended_at: Some(format!("{day}T10:00:00Z").parse().unwrap()),
        qa_attempts: Some(minutes),
        qa_correct: Some(minutes / 2),
        ..session(minutes)
    };
    engine.mutate(input.into(), at(0)).unwrap().key
}

pub(super) fn correct(engine: &mut Engine, key: &str, values: Value) -> Result<Recorded, Error> {
    engine.mutate(Change::Update { table: "sessions".into(), key: key.into(), values: map(values) }, at(0))
}

pub(super) fn delete(engine: &mut Engine, key: &str) -> Recorded {
    engine.mutate(Change::Delete { table: "sessions".into(), key: key.into() }, at(0)).unwrap()
}

/// Progress, and all days.
fn shown(engine: &Engine) -> (Value, Value) {
    let days = engine.activity("1970-01-01".parse().unwrap(), "9999-12-31".parse().unwrap()).unwrap();
    (serde_json::to_value(engine.progress(at(0)).unwrap()).unwrap(), serde_json::to_value(days).unwrap())
}

#[test]
fn progress_follows_a_correction_and_a_deletion_at_once_and_as_the_server_folds() {
    let (mut one, mut two, mut server) = (device(), device(), Folding::default());
    let keys: Vec<String> =
        ["2025-11-20", "2025-11-21", "2025-11-22", "2025-11-22"].map(|day| on(&mut one, day, 10)).into();
    assert_eq!(totals(&one), (4, 40));
    assert_eq!(row(&one, "sessions", &keys[0])["duration_minutes"], 10);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!(one.count_rows("sessions", &Map::new()).unwrap(), 4);
    assert_eq!(shown(&one), shown(&two));
    assert_eq!(two.progress(at(0)).unwrap().longest_streak_days, 3);

    correct(&mut two, &keys[1], json!({ "duration_minutes": 25, "qa_correct": 10, "note": "mine" })).unwrap();
    assert_eq!(totals(&two), (4, 55));
    correct(&mut two, &keys[1], json!({ "local_date": "2025-11-10" })).unwrap();
    delete(&mut two, &keys[3]);
    assert_eq!(totals(&two), (3, 45));
    let progress = two.progress(at(0)).unwrap();
    assert_eq!(progress.longest_streak_days, 1);
    assert_eq!(progress.last_active_on, Some("2025-11-22".parse().unwrap()));
    delete(&mut two, &keys[2]);
    let progress = two.progress(at(0)).unwrap();
    assert_eq!(progress.last_active_on, Some("2025-11-20".parse().unwrap()));
    assert_eq!(progress.last_activity_at.unwrap().to_string(), "2025-11-21T10:00:00.000000Z");
    assert_eq!(row(&two, "sessions", &keys[1])["session_data"], json!({ "local_date": "2025-11-10" }));

    let before = shown(&two);
    two.rebuild_visible().unwrap();
    assert_eq!(shown(&two), before);
    sync(&mut two, &mut server);
    assert_eq!(shown(&two), before, "the server folds the same");
    sync(&mut one, &mut server);
    assert_eq!(shown(&one), before);
    assert_eq!(row(&one, "sessions", &keys[3]), Value::Null);
    assert_eq!(row(&one, "sessions", &keys[1])["note"], "mine");
}

#[test]
fn what_cannot_be_a_session_is_refused_by_name() {
    let mut one = device();
    let key = on(&mut one, "2025-11-20", 10);
    for (values, refusal) in [
        (
            json!({ "duration_minutes": 1441 }),
            "sessions.duration_minutes: must be a whole number from 0 to 1440",
        ),
        (json!({ "qa_correct": 11 }), "sessions.qa_correct: is greater than qa_attempts"),
        (json!({ "started_at": "2025-11-20T11:00:00Z" }), "sessions.started_at: is after ended_at"),
        (json!({ "session_type": "" }), "sessions.session_type: must have 1 to 50 characters"),
        (json!({ "session_data": [] }), "sessions.session_data: must be an object"),
        (json!({ "local_date": "2025-02-30" }), "sessions.local_date: must be a day like 2026-11-23"),
        (json!({ "minutes": 3 }), "sessions.minutes: there is no such column"),
    ] {
        assert_eq!(correct(&mut one, &key, values).unwrap_err().to_string(), refusal);
    }
    let unknown =
        correct(&mut one, "00000000-0000-4000-8000-00000000000f", json!({ "note": "x" })).unwrap_err();
    assert_eq!(unknown.to_string(), "sessions.id: there is no such row in this mirror");
    assert_eq!((totals(&one), one.pending().unwrap().len()), ((1, 10), 1));
    // Where sessions are not mirrored there is no such table.
    assert_eq!(correct(&mut engine(), &key, json!({ "note": "x" })).unwrap_err().code(), "unknown_table");
}

#[test]
fn an_insert_into_the_table_records_a_session() {
    let mut one = device();
    let key = "00000000-0000-7000-8000-0000000000aa";
    let insert = |values: Value| Change::Insert {
        table: "sessions".into(),
        key: Some(key.into()),
        values: map(values),
    };
    let other = MutationId::make(at(0).unix_ms, &mut Counter(77)).unwrap();
    let values = json!({ "session_type": "qa", "duration_minutes": 7, "note": null });
    let done = one.mutate_all(vec![(Some(other), insert(values))], at(0)).unwrap().pop().unwrap().unwrap();
    assert_eq!((done.id.to_string().as_str(), done.key.as_str()), (key, key));
    assert_eq!(totals(&one), (1, 7));
    let sent = one.next_request(at(0)).unwrap().unwrap().request.mutations.remove(0);
    assert_eq!((sent.op.as_str(), sent.key.as_str()), ("insert", key));
    let refused = one.mutate(insert(json!({ "session_type": "qa", "color": "red" })), at(0)).unwrap_err();
    assert_eq!(refused.to_string(), "sessions.color: there is no such column");
}

#[test]
fn an_unsent_session_is_taken_back_and_leaves_nothing() {
    let (mut one, mut server) = (device(), Folding::default());
    let kept = on(&mut one, "2025-11-20", 10);
    sync(&mut one, &mut server);
    let before = shown(&one);
    let key = on(&mut one, "2025-11-22", 30);
    correct(&mut one, &key, json!({ "duration_minutes": 20 })).unwrap();
    assert_eq!(one.status(at(0)).unwrap().pending, 2);
    assert_eq!(delete(&mut one, &key).pending, 0);
    assert_eq!((shown(&one), row(&one, "sessions", &key)), (before.clone(), Value::Null));
    assert!(one.pending().unwrap().is_empty());
    sync(&mut one, &mut server);
    assert_eq!((server.rows.len(), shown(&one)), (1, before));
    assert_ne!(row(&one, "sessions", &kept), Value::Null);
}

#[test]
fn a_session_in_doubt_is_deleted_behind_it() {
    let (mut one, mut server) = (device(), Folding::default());
    let key = on(&mut one, "2025-11-22", 30);
    one.signal(Signal::SyncNow, at(0));
    let outgoing = one.next_request(at(0)).unwrap().unwrap();
    // Its request is under way.
    assert_eq!(delete(&mut one, &key).pending, 2);
    assert_eq!((totals(&one), row(&one, "sessions", &key)), ((0, 0), Value::Null));
    let answer = server.take(&outgoing.request);
    one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((totals(&one), row(&one, "sessions", &key)), ((0, 0), Value::Null));
    sync(&mut one, &mut server);
    assert_eq!((server.rows.len(), totals(&one)), (0, (0, 0)));
}

/// The program died with the answer outstanding, or a copy of its file sends the session: nobody here knows that it was sent.
#[test]
fn a_session_that_was_taken_back_and_comes_all_the_same_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["a.sqlite3", "b.sqlite3"].map(|name| folder.path().join(name));
    let mut one = open(&Location::File(path.clone())).unwrap();
    one.use_catalogue(Some(&catalogue()), at(0)).unwrap();
    let mut server = Folding::default();
    let kept = on(&mut one, "2025-11-20", 10);
    sync(&mut one, &mut server);
    let key = on(&mut one, "2025-11-22", 30);
    one.close().unwrap();
    std::fs::copy(&path, &copy).unwrap();
    let (mut one, mut two) = (open(&Location::File(path)).unwrap(), open(&Location::File(copy)).unwrap());
    delete(&mut one, &key);
    let before = shown(&one);
    sync(&mut two, &mut server);
    assert_eq!(server.rows.len(), 2);
    one.signal(Signal::SyncNow, at(0));
    let outgoing = one.next_request(at(0)).unwrap().unwrap();
    let answer = server.take(&outgoing.request);
    one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((shown(&one), row(&one, "sessions", &key)), (before.clone(), Value::Null));
    assert_eq!(one.status(at(0)).unwrap().pending, 1);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    for device in [&one, &two] {
        assert_eq!((shown(device), row(device, "sessions", &key)), (before.clone(), Value::Null));
        assert_ne!(row(device, "sessions", &kept), Value::Null);
    }
}

/// Two devices record one session of a given id. The other one's has come by the time that it is deleted here, and nothing comes again.
#[test]
fn an_unsent_session_that_the_server_has_already_is_deleted_there_too() {
    let (mut one, mut two, mut server) = (device(), device(), Folding::default());
    one.signal(Signal::SyncNow, at(0));
    let outgoing = one.next_request(at(0)).unwrap().unwrap();
    let key = "00000000-0000-7000-8000-0000000000aa";
    for engine in [&mut one, &mut two] {
        let values = map(json!({ "session_type": "qa", "duration_minutes": 7, "qa_attempts": 0,
            "ended_at": "2025-11-20T10:00:00.000000Z" }));
        let insert = Change::Insert { table: "sessions".into(), key: Some(key.into()), values };
        engine.mutate(insert, at(0)).unwrap();
    }
    sync(&mut two, &mut server);
    let answer = server.take(&outgoing.request);
    one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!(delete(&mut one, key).pending, 2);
    assert_eq!((totals(&one), row(&one, "sessions", key)), ((0, 0), Value::Null));
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!(server.rows.len(), 0);
    for device in [&one, &two] {
        assert_eq!((totals(device), row(device, "sessions", key)), ((0, 0), Value::Null));
    }
}

#[test]
fn a_device_that_learns_of_the_table_shows_its_own_sessions_at_once_and_counts_none_twice() {
    let (mut one, mut server) = (engine(), Folding::default());
    let sent = on(&mut one, "2025-11-20", 10);
    sync(&mut one, &mut server);
    let unsent = on(&mut one, "2025-11-21", 5);
    let before = shown(&one);
    one.use_catalogue(Some(&catalogue()), at(0)).unwrap();
    assert_eq!(shown(&one), before);
    for key in [&sent, &unsent] {
        assert_ne!(row(&one, "sessions", key), Value::Null);
    }
    correct(&mut one, &sent, json!({ "duration_minutes": 20 })).unwrap();
    correct(&mut one, &unsent, json!({ "duration_minutes": 6 })).unwrap();
    assert_eq!(totals(&one), (2, 26));
    sync(&mut one, &mut server);
    assert_eq!(totals(&one), (2, 26));
    // And forgets it again, with what waits.
    let key = on(&mut one, "2025-11-22", 1);
    correct(&mut one, &key, json!({ "duration_minutes": 2 })).unwrap();
    let none = Catalogue::parse(r#"{ "version": 1, "hash": "0", "tables": [] }"#).unwrap();
    one.use_catalogue(Some(&none), at(0)).unwrap();
    assert_eq!(totals(&one), (3, 27), "what is not mirrored cannot be corrected here");
}

#[test]
fn a_server_that_lost_its_past_is_healed_with_sessions_as_they_are_now() {
    let (mut one, mut server) = (device(), Folding::default());
    let [kept, deleted] = [on(&mut one, "2025-11-20", 10), on(&mut one, "2025-11-21", 5)];
    sync(&mut one, &mut server);
    correct(&mut one, &kept, json!({ "duration_minutes": 20 })).unwrap();
    delete(&mut one, &deleted);
    sync(&mut one, &mut server);
    let before = shown(&one);
    server = Folding { epoch: 1, ..Folding::default() };
    sync(&mut one, &mut server);
    assert_eq!(shown(&one), before);
    assert_eq!((server.rows.len(), &server.rows[&kept]["duration_minutes"]), (1, &json!(20)));
}

#[test]
fn a_refused_session_counts_again_as_soon_as_it_is_tried_again() {
    let (mut one, server) = (device(), Folding::default());
    let key = on(&mut one, "2025-11-20", 10);
    let id = key.parse().unwrap();
    let refuse = |one: &mut Engine| {
        one.signal(Signal::SyncNow, at(0));
        let outgoing = one.next_request(at(0)).unwrap().unwrap();
        let code = Some("23514".to_owned());
        let results = vec![MutationResult { id, status: ResultStatus::Rejected, code, message: None }];
        let answer = server.page(&outgoing.request, results);
        one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
        assert_eq!((totals(one), row(one, "sessions", &key)), ((0, 0), Value::Null));
    };
    refuse(&mut one);
    let watcher = one.subscribe();
    assert!(one.retry(id).unwrap());
    assert_eq!((totals(&one), &row(&one, "sessions", &key)["duration_minutes"]), ((1, 10), &json!(10)));
    let told = one.take_changes(watcher);
    assert!([Table::UserProgress, Table::DailyActivity, Table::Sessions].iter().all(|it| told.contains(it)));
    refuse(&mut one);
    assert!(one.discard(id).unwrap());
    assert_eq!((totals(&one), row(&one, "sessions", &key)), ((0, 0), Value::Null));
}
