//! Tables of the catalogue: written, merged, counted, deleted, rebuilt; with a server that keeps to the protocol's text.

use serde_json::{Map, Value};

use super::*;
use crate::catalogue::Catalogue;
use crate::engine::tests::table_server::TableServer;

pub(super) const WORDS: &str = r#"{ "version": 1, "hash": "0000000000000001", "tables": [
  { "name": "words", "schema": "public", "key": "id", "owner": "user_id", "write": true, "indexes": [["level", "word"]], "columns": [
    { "name": "id", "type": "uuid", "rule": "key" },
    { "name": "word", "type": "text", "rule": "register", "nullable": false, "max": 20 },
    { "name": "level", "type": "enum", "rule": "register", "labels": ["a1", "a2"] },
    { "name": "seen", "type": "integer", "rule": "counter", "nullable": false, "default": true },
    { "name": "price", "type": "numeric", "rule": "counter", "nullable": false, "default": true, "precision": 10, "scale": 2 },
    { "name": "source", "type": "text", "rule": "once" },
    { "name": "data", "type": "jsonb", "rule": "register" },
    { "name": "unlocked", "type": "jsonb", "rule": "union" },
    { "name": "due", "type": "timestamptz", "rule": "register" },
    { "name": "size", "type": "bigint", "rule": "register" },
    { "name": "score", "type": "real", "rule": "server" } ] },
  { "name": "tags", "schema": "public", "key": "name", "owner": "user_id", "write": true, "columns": [
    { "name": "name", "type": "text", "rule": "key" },
    { "name": "color", "type": "text", "rule": "register" } ] },
  { "name": "facts", "schema": "public", "key": "id", "owner": "user_id", "write": false, "columns": [
    { "name": "id", "type": "uuid", "rule": "key" },
    { "name": "text", "type": "text", "rule": "register" } ] } ] }"#;

pub(super) fn catalogue() -> Catalogue {
    Catalogue::parse(WORDS).unwrap()
}

pub(super) fn device() -> Engine {
    let mut engine = engine();
    engine.use_catalogue(Some(&catalogue()), at(0)).unwrap();
    engine
}

pub(super) fn map(values: Value) -> Map<String, Value> {
    values.as_object().unwrap().clone()
}

pub(super) fn insert(engine: &mut Engine, table: &str, key: Option<&str>, values: Value) -> String {
    let change = Change::Insert { table: table.into(), key: key.map(str::to_owned), values: map(values) };
    engine.mutate(change, at(0)).unwrap().key
}

pub(super) fn update(engine: &mut Engine, key: &str, values: Value, seconds: i64) -> Result<Recorded, Error> {
    engine.mutate(Change::Update { table: "words".into(), key: key.into(), values: map(values) }, at(seconds))
}

pub(super) fn add(engine: &mut Engine, key: &str, seen: i64) {
    let values = map(json!({ "seen": seen }));
    engine.mutate(Change::Add { table: "words".into(), key: key.into(), values }, at(0)).unwrap();
}

pub(super) fn delete(engine: &mut Engine, key: &str, seconds: i64) {
    engine.mutate(Change::Delete { table: "words".into(), key: key.into() }, at(seconds)).unwrap();
}

pub(super) fn row(engine: &Engine, table: &str, key: &str) -> Value {
    let row = engine.get_row(table, key).unwrap();
    row.map_or(Value::Null, |json| serde_json::from_str(&json).unwrap())
}

pub(super) fn sync(engine: &mut Engine, server: &mut TableServer) {
    engine.signal(Signal::SyncNow, at(0));
    while let Some(outgoing) = engine.next_request(at(0)).unwrap() {
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
    assert_eq!(engine.status(at(0)).unwrap().pending, 0);
}

/// As [`sync`], but the answer to the first request is lost.
fn lose(engine: &mut Engine, server: &mut TableServer) {
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = engine.next_request(at(0)).unwrap().unwrap();
    server.take(&outgoing.request);
    engine.apply_response(outgoing.ticket, Err(Failure::Timeout), at(0)).unwrap();
}

#[test]
fn a_row_is_written_here_and_read_there() {
    let (mut one, mut two, mut server) = (device(), device(), TableServer::new(WORDS));
    let values = json!({ "word": "mar\"ea", "level": "a1", "seen": 3, "price": "1.5", "source": "book", "data": { "a": [1, null] },
                         "due": "2026-11-23T13:00:00+01:00", "size": "9007199254740993" });
    let key = insert(&mut one, "words", None, values);
    let expected = json!({ "id": key, "word": "mar\"ea", "level": "a1", "seen": 3, "price": "1.50", "source": "book",
        "data": { "a": [1, null] }, "unlocked": null, "due": "2026-11-23T12:00:00.000000Z", "size": "9007199254740993",
        "score": null });
    assert_eq!(row(&one, "words", &key), expected);
    for packed in [false, true] {
        server.packs = packed;
        sync(&mut one, &mut server);
        assert_eq!(row(&one, "words", &key), expected);
        sync(&mut two, &mut server);
        assert_eq!(row(&two, "words", &key), expected);
        two = device();
    }
    insert(&mut one, "tags", Some("a \"b\" \\ é"), json!({ "color": "red" }));
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!(row(&two, "tags", "a \"b\" \\ é"), json!({ "name": "a \"b\" \\ é", "color": "red" }));
}

#[test]
fn the_later_update_wins_column_by_column_and_a_deletion_over_all() {
    let (mut one, mut two, mut server) = (device(), device(), TableServer::new(WORDS));
    let key = insert(&mut one, "words", None, json!({ "word": "a" }));
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    update(&mut one, &key, json!({ "word": "late" }), 20).unwrap();
    update(&mut two, &key, json!({ "word": "early", "level": "a2" }), 10).unwrap();
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    for device in [&one, &two] {
        assert_eq!(row(device, "words", &key)["word"], "late");
        assert_eq!(row(device, "words", &key)["level"], "a2");
    }
    delete(&mut two, &key, 30);
    update(&mut one, &key, json!({ "word": "later" }), 40).unwrap();
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    for device in [&one, &two] {
        assert_eq!(row(device, "words", &key), Value::Null);
    }
    let refused = update(&mut one, &key, json!({ "word": "x" }), 50).unwrap_err();
    assert_eq!(refused.to_string(), "words.id: there is no such row in this mirror");
}

#[test]
fn an_insert_on_top_of_a_deletion_shows_the_row() {
    let (mut one, mut server) = (device(), TableServer::new(WORDS));
    insert(&mut one, "tags", Some("a"), json!({ "color": "red" }));
    sync(&mut one, &mut server);
    one.mutate(Change::Delete { table: "tags".into(), key: "a".into() }, at(1)).unwrap();
    assert_eq!(row(&one, "tags", "a"), Value::Null);
    let again = Change::Insert { table: "tags".into(), key: Some("a".into()), values: Map::new() };
    one.mutate(again, at(2)).unwrap();
    let fresh = json!({ "name": "a", "color": null });
    assert_eq!(row(&one, "tags", "a"), fresh);
    sync(&mut one, &mut server);
    assert_eq!(row(&one, "tags", "a"), fresh);
}

#[test]
fn every_addition_counts_once_on_every_device_whatever_is_lost() {
    let (mut one, mut two, mut server) = (device(), device(), TableServer::new(WORDS));
    let key = insert(&mut one, "words", None, json!({ "word": "a", "seen": 10 }));
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    let seen = |engine: &Engine| row(engine, "words", &key)["seen"].as_i64().unwrap();
    add(&mut one, &key, 5);
    add(&mut two, &key, 100);
    assert_eq!((seen(&one), seen(&two)), (15, 110));
    lose(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!((seen(&one), seen(&two)), (15, 115));
    // The row arrives while it is not certain whether it contains the addition of this device.
    add(&mut one, &key, 1);
    server.page_rows = 0;
    one.signal(Signal::SyncNow, at(0));
    let outgoing = one.next_request(at(10)).unwrap().unwrap();
    assert_eq!(outgoing.request.mutations.len(), 2);
    add(&mut one, &key, 1000);
    let answer = server.take(&outgoing.request);
    one.apply_response(outgoing.ticket, Ok(answer), at(10)).unwrap();
    assert_eq!(seen(&one), 1016, "the arrived counter waits for the addition that was made meanwhile");
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!((seen(&one), seen(&two)), (1116, 1116));
}

#[test]
fn the_first_additions_to_a_row_that_was_made_here_count_once() {
    let (mut one, mut server) = (device(), TableServer::new(WORDS));
    let key = insert(&mut one, "words", None, json!({ "word": "a", "seen": 10 }));
    add(&mut one, &key, 5);
    lose(&mut one, &mut server);
    add(&mut one, &key, 1);
    one.signal(Signal::SyncNow, at(0));
    let outgoing = one.next_request(at(10)).unwrap().unwrap();
    add(&mut one, &key, 100);
    let answer = server.take(&outgoing.request);
    one.apply_response(outgoing.ticket, Ok(answer), at(10)).unwrap();
    assert_eq!(row(&one, "words", &key)["seen"], 116);
    sync(&mut one, &mut server);
    assert_eq!(row(&one, "words", &key)["seen"], 116);
}

#[test]
fn an_addition_that_was_refused_and_tried_again_counts_before_its_row_has_come() {
    let (mut one, mut two, mut server) = (device(), device(), TableServer::new(WORDS));
    for word in ["b", "c", "d"] {
        insert(&mut two, "words", None, json!({ "word": word }));
    }
    sync(&mut two, &mut server);
    server.page_rows = 1;
    // A page of others' rows with each answer; what the server does not take, it refuses.
    let mut exchange = |engine: &mut Engine, takes: bool| {
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = engine.next_request(at(0)).unwrap().unwrap();
        let mut untouched = server.clone();
        let mut answer = if takes { &mut server } else { &mut untouched }.take(&outgoing.request);
        for result in answer.results.iter_mut().filter(|_| !takes) {
            (result.status, result.code) = (ResultStatus::Rejected, Some("23514".to_owned()));
        }
        assert!(answer.has_more);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    };
    let key = insert(&mut one, "words", None, json!({ "word": "a" }));
    add(&mut one, &key, 3);
    exchange(&mut one, true);
    add(&mut one, &key, 2);
    exchange(&mut one, false);
    assert_eq!(row(&one, "words", &key)["seen"], 3);
    let refused = one.rejected().unwrap()[0].id;
    assert!(one.retry(refused).unwrap());
    exchange(&mut one, true);
    assert_eq!(row(&one, "words", &key)["seen"], 5);
    one.rebuild_visible().unwrap();
    assert_eq!(row(&one, "words", &key)["seen"], 5, "made from nothing");
    server.page_rows = 0;
    for device in [&mut one, &mut two] {
        sync(device, &mut server);
        assert_eq!(row(device, "words", &key)["seen"], 5);
    }
}

#[test]
fn a_server_that_lost_its_past_is_healed_rows_counters_and_deletions() {
    let (mut one, mut server) = (device(), TableServer::new(WORDS));
    let old = insert(&mut one, "words", None, json!({ "word": "old", "seen": 1 }));
    let gone = insert(&mut one, "words", None, json!({ "word": "gone" }));
    add(&mut one, &old, 2);
    sync(&mut one, &mut server);
    let backup = server.clone();
    add(&mut one, &old, 10);
    update(&mut one, &old, json!({ "word": "newer" }), 5).unwrap();
    delete(&mut one, &gone, 6);
    let new = insert(&mut one, "words", None, json!({ "word": "new", "seen": 7 }));
    add(&mut one, &new, 1);
    sync(&mut one, &mut server);
    server = backup.set_back();
    sync(&mut one, &mut server);
    let mut two = device();
    sync(&mut two, &mut server);
    for device in [&one, &two] {
        assert_eq!(
            (&row(device, "words", &old)["word"], &row(device, "words", &old)["seen"]),
            (&json!("newer"), &json!(13))
        );
        assert_eq!(row(device, "words", &gone), Value::Null);
        assert_eq!(row(device, "words", &new)["seen"], 8);
    }
}

#[test]
fn a_batch_is_taken_or_refused_as_one_and_decided_about_as_one() {
    let (mut one, mut server) = (device(), TableServer::new(WORDS));
    let insert_of = |word: &str| Change::Insert {
        table: "words".into(),
        key: None,
        values: map(json!({ "word": word })),
    };
    let refused =
        one.mutate_batch(None, vec![insert_of("a"), insert_of(&"b".repeat(21))], at(0)).unwrap_err();
    assert_eq!(refused.to_string(), "words.word: must have at most 20 characters");
    assert_eq!(one.count_rows("words", &Map::new()).unwrap(), 0, "nothing was written");
    let id = "019a9d3e-7a00-7000-8000-0123456789ab".parse().unwrap();
    let made = one.mutate_batch(Some(id), vec![insert_of("a"), insert_of("b")], at(0)).unwrap();
    let again = one.mutate_batch(Some(id), vec![insert_of("a"), insert_of("b")], at(0)).unwrap();
    assert_eq!(
        made.iter().map(|done| &done.key).collect::<Vec<_>>(),
        again.iter().map(|done| &done.key).collect::<Vec<_>>()
    );
    assert_eq!(one.count_rows("words", &Map::new()).unwrap(), 2, "once");
    server.refuses = Some("b".to_owned());
    sync(&mut one, &mut server);
    assert_eq!(one.count_rows("words", &Map::new()).unwrap(), 0, "refused as one");
    let rejected = one.rejected().unwrap();
    assert_eq!(rejected.len(), 2);
    assert_eq!(rejected[0].batch, rejected[1].batch);
    server.refuses = None;
    assert!(one.retry(rejected[0].id).unwrap());
    sync(&mut one, &mut server);
    assert_eq!(one.count_rows("words", &Map::new()).unwrap(), 2);
    server.refuses = Some("c".to_owned());
    one.mutate_batch(None, vec![insert_of("c"), insert_of("d")], at(0)).unwrap();
    sync(&mut one, &mut server);
    assert!(one.discard(one.rejected().unwrap()[1].id).unwrap());
    assert!(one.rejected().unwrap().is_empty());
}

#[test]
fn rows_and_queue_survive_another_catalogue() {
    let (mut one, mut server) = (device(), TableServer::new(WORDS));
    let key = insert(&mut one, "words", None, json!({ "word": "a", "level": "a1", "source": "book" }));
    insert(&mut one, "tags", Some("t"), json!({ "color": "red" }));
    sync(&mut one, &mut server);
    update(&mut one, &key, json!({ "level": "a2" }), 5).unwrap();
    insert(&mut one, "tags", Some("u"), json!({ "color": "blue" }));
    // Without tags, without a column, with another one, and `word` of another type.
    let other = WORDS
        .replace("0000000000000001", "0000000000000002")
        .replace("\"tags\"", "\"labels\"")
        .replace("\"name\": \"source\"", "\"name\": \"origin\"");
    let other = Catalogue::parse(&other).unwrap();
    one.use_catalogue(Some(&other), at(0)).unwrap();
    assert_eq!(
        (&row(&one, "words", &key)["word"], &row(&one, "words", &key)["level"]),
        (&json!("a"), &json!("a2"))
    );
    assert_eq!(one.get_row("tags", "t").unwrap_err().code(), "unknown_table");
    assert_eq!(one.status(at(0)).unwrap().pending, 2, "what the new catalogue does not know is still sent");
    one.use_catalogue(Some(&catalogue()), at(0)).unwrap();
    assert_eq!(row(&one, "tags", "u")["color"], "blue");
    assert_eq!(row(&one, "tags", "t"), Value::Null, "until it is pulled again");
    sync(&mut one, &mut server);
    assert_eq!(row(&one, "tags", "t")["color"], "red");
    assert_eq!(
        (&row(&one, "words", &key)["source"], &row(&one, "words", &key)["level"]),
        (&json!("book"), &json!("a2"))
    );
}

#[test]
fn a_catalogue_is_learned_from_the_server_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let (mut other, mut server) = (device(), TableServer::new(WORDS));
    let key = insert(&mut other, "words", None, json!({ "word": "a" }));
    sync(&mut other, &mut server);
    let mut one = open(&location).unwrap();
    one.use_catalogue(None, at(0)).unwrap();
    assert_eq!(one.get_row("words", &key).unwrap_err().code(), "unknown_table");
    sync(&mut one, &mut server);
    assert_eq!(row(&one, "words", &key)["word"], "a");
    drop(one);
    let mut one = open(&location).unwrap();
    assert_eq!(row(&one, "words", &key)["word"], "a", "kept");
    one.use_catalogue(None, at(0)).unwrap();
    update(&mut one, &key, json!({ "word": "b" }), 5).unwrap();
    server.change_catalogue(
        &WORDS.replace("0000000000000001", "0000000000000002").replace("\"once\"", "\"register\""),
    );
    sync(&mut one, &mut server);
    assert_eq!(one.catalogue().unwrap().hash(), "0000000000000002");
    assert_eq!(row(&one, "words", &key)["word"], "b");
    update(&mut one, &key, json!({ "source": "now it may" }), 6).unwrap();
}

/// Without its epoch the cursor would not tell the server that it has lost anything.
#[test]
fn a_server_that_was_set_back_while_the_catalogue_changed_is_healed() {
    let (mut one, mut server) = (device(), TableServer::new(WORDS));
    let backup = server.clone();
    let key = insert(&mut one, "words", None, json!({ "word": "a", "seen": 3 }));
    add(&mut one, &key, 2);
    sync(&mut one, &mut server);
    let other = WORDS.replace("0000000000000001", "0000000000000002");
    one.use_catalogue(Some(&Catalogue::parse(&other).unwrap()), at(0)).unwrap();
    server = backup.set_back();
    sync(&mut one, &mut server);
    let mut two = device();
    sync(&mut two, &mut server);
    for device in [&one, &two] {
        assert_eq!(row(device, "words", &key)["seen"], 5);
    }
}

/// Only what is recorded once is gone for good.
#[test]
fn a_row_that_was_deleted_elsewhere_is_shown_by_an_insert_that_waits() {
    let (mut one, mut two, mut server) = (device(), device(), TableServer::new(WORDS));
    insert(&mut two, "tags", Some("a"), json!({ "color": "red" }));
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    two.mutate(Change::Delete { table: "tags".into(), key: "a".into() }, at(1)).unwrap();
    sync(&mut two, &mut server);
    one.signal(Signal::SyncNow, at(0));
    let outgoing = one.next_request(at(0)).unwrap().unwrap();
    let answer = server.take(&outgoing.request);
    let values = map(json!({ "color": "blue" }));
    one.mutate(Change::Insert { table: "tags".into(), key: Some("a".into()), values }, at(2)).unwrap();
    one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!(row(&one, "tags", "a")["color"], "blue");
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!([&one, &two].map(|it| row(it, "tags", "a")["color"].clone()), ["blue", "blue"]);
}
