//! What is shown while a server that was set back is healed: nothing of one's own vanishes, and nothing counts twice.
//!
//! The states in between are rare: acknowledged while pages are missing, in doubt, to be sent once more.

use super::table_server::TableServer;
use super::*;
use crate::model::{ExportChange, ExportInput, ExportStatus};

/// Answers one request; `has_more` keeps what was acknowledged from being reflected.
fn answer(engine: &mut Engine, server: &mut Server, has_more: bool) {
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(engine);
    let answer = SyncAnswer { has_more, ..server.take(&outgoing.request) };
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
}

fn exchange(engine: &mut Engine, server: &mut Server) {
    engine.signal(Signal::SyncNow, at(0));
    while let Some(outgoing) = engine.next_request(at(0)).unwrap() {
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
}

fn create(engine: &mut Engine) -> MutationId {
    let input =
        ExportInput { export_type: "words".into(), export_format: "csv".into(), ..ExportInput::default() };
    engine.mutate(Change::CreateExport(input), at(0)).unwrap().id
}

fn complete(engine: &mut Engine, id: MutationId) {
    let change = ExportChange { status: Some(ExportStatus::Completed), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id, change }, at(1)).unwrap();
}

fn status(engine: &Engine, id: MutationId) -> Option<String> {
    engine.export(id).unwrap().map(|export| export.status)
}

/// The same server with another history, without what came after `keep`.
fn set_back(server: &Server, keep: impl Fn(&MutationId) -> bool) -> Server {
    let sessions = server.sessions.iter().filter(|(id, _)| keep(id)).map(|(id, minutes)| (*id, *minutes));
    let exports = server.exports.iter().filter(|(id, _)| keep(&id.parse().unwrap()));
    Server {
        sessions: sessions.collect(),
        exports: exports.map(|(id, values)| (id.clone(), values.clone())).collect(),
        epoch: server.epoch + 1,
        ..Server::default()
    }
}

/// Acknowledged, but a page is missing, and the server is set back to when it had the session: its rows count it, and it
/// waits in doubt.
#[test]
fn a_session_in_doubt_counts_once_where_the_new_history_has_it() {
    let (mut engine, mut server) = (engine(), Server::default());
    exchange(&mut engine, &mut server);
    record(&mut engine, 10);
    answer(&mut engine, &mut server, true);
    assert_eq!(totals(&engine), (1, 10));
    let mut restored = set_back(&server, |_| true);
    answer(&mut engine, &mut restored, false);
    assert_eq!(totals(&engine), (1, 10), "the rows that count it wait until it is out of doubt");
    assert_eq!(engine.status(at(0)).unwrap().pending, 1);
    exchange(&mut engine, &mut restored);
    assert_eq!((totals(&engine), engine.status(at(0)).unwrap().pending), ((1, 10), 0));
}

#[test]
fn a_session_in_doubt_is_shown_and_sent_where_the_new_history_lacks_it() {
    let (mut engine, mut server) = (engine(), Server::default());
    let refused = record(&mut engine, 5);
    server.reject = vec![refused];
    exchange(&mut engine, &mut server);
    record(&mut engine, 10);
    answer(&mut engine, &mut server, true);
    let mut restored = set_back(&server, |_| false);
    answer(&mut engine, &mut restored, true);
    assert_eq!(totals(&engine), (1, 10));
    // What has the visible rows made again meanwhile leaves it there.
    assert!(engine.discard(refused).unwrap());
    assert_eq!(totals(&engine), (1, 10));
    exchange(&mut engine, &mut restored);
    assert_eq!((restored.sessions.len(), totals(&engine)), (1, (1, 10)));
}

#[test]
fn a_reflected_session_is_shown_until_it_is_on_the_server_again() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    exchange(&mut engine, &mut server);
    let mut restored = set_back(&server, |_| false);
    answer(&mut engine, &mut restored, true);
    answer(&mut engine, &mut restored, true);
    assert_eq!(totals(&engine), (1, 10), "the confirmed rows stay until all new ones have come");
    exchange(&mut engine, &mut restored);
    assert_eq!((restored.sessions.len(), totals(&engine)), (1, (1, 10)));
}

#[test]
fn an_own_change_in_doubt_stays_over_the_row_that_comes_without_it() {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = create(&mut engine);
    exchange(&mut engine, &mut server);
    let before = set_back(&server, |_| true);
    complete(&mut engine, id);
    answer(&mut engine, &mut server, true);
    assert_eq!(status(&engine, id).as_deref(), Some("completed"));
    let mut restored = before;
    answer(&mut engine, &mut restored, true);
    assert_eq!(status(&engine, id).as_deref(), Some("completed"), "in doubt, and shown");
    exchange(&mut engine, &mut restored);
    assert_eq!(status(&engine, id).as_deref(), Some("completed"));
    assert_eq!(restored.exports[&id.to_string()]["status"], "completed");
}

#[test]
fn an_own_reflected_change_stays_over_the_row_that_comes_without_it() {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = create(&mut engine);
    exchange(&mut engine, &mut server);
    let before = set_back(&server, |_| true);
    complete(&mut engine, id);
    exchange(&mut engine, &mut server);
    let watcher = engine.subscribe();
    let mut restored = before;
    answer(&mut engine, &mut restored, true);
    assert_eq!(status(&engine, id).as_deref(), Some("completed"), "it is kept, and will be sent again");
    exchange(&mut engine, &mut restored);
    assert_eq!(status(&engine, id).as_deref(), Some("completed"));
    assert_eq!(restored.exports[&id.to_string()]["status"], "completed");
    assert!(engine.take_changes(watcher).contains(&Table::ExportHistory));
    assert_eq!(engine.store.count_rows("shadow_rows"), 0);
}

#[test]
fn an_own_reflected_export_stays_where_the_new_history_lacks_it() {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = create(&mut engine);
    exchange(&mut engine, &mut server);
    let mut restored = set_back(&server, |_| false);
    answer(&mut engine, &mut restored, false);
    assert_eq!(status(&engine, id).as_deref(), Some("pending"));
    exchange(&mut engine, &mut restored);
    assert_eq!(status(&engine, id).as_deref(), Some("pending"));
    assert!(restored.exports.contains_key(&id.to_string()));
}

/// Deleted elsewhere, and then the server is set back to when it had it: what was to become of the export is forgotten with it.
#[test]
fn an_export_that_was_deleted_is_not_sent_again() {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = create(&mut engine);
    exchange(&mut engine, &mut server);
    let mut restored = set_back(&server, |_| false);
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(&mut engine);
    let deleted = BTreeMap::from([("export_history".to_owned(), vec![id.to_string()])]);
    server.exports.clear();
    let gone = SyncAnswer { deleted, ..server.take(&outgoing.request) };
    engine.apply_response(outgoing.ticket, Ok(gone), at(0)).unwrap();
    assert_eq!(status(&engine, id), None);
    exchange(&mut engine, &mut restored);
    assert!(restored.exports.is_empty());
    assert_eq!((status(&engine, id), engine.status(at(0)).unwrap().pending), (None, 0));
}

/// JSON stays JSON, and what was added twice to a counter stands once.
#[test]
fn a_row_of_a_table_is_on_a_server_that_has_lost_it_as_it_was() {
    let (mut one, mut server) = (tables::device(), TableServer::new(tables::WORDS));
    let values = json!({ "word": "a", "data": { "a": ["b"] }, "unlocked": { "c": "2025-11-23T12:00:00Z" } });
    let key = tables::insert(&mut one, "words", None, values);
    tables::add(&mut one, &key, 3);
    tables::sync(&mut one, &mut server);
    let kept = server.clone();
    tables::add(&mut one, &key, 4);
    tables::sync(&mut one, &mut server);
    let row = tables::row(&one, "words", &key);
    assert_eq!((&row["data"]["a"][0], &row["seen"]), (&json!("b"), &json!(7)));
    let mut restored = kept.set_back();
    let mut other = tables::device();
    tables::sync(&mut one, &mut restored);
    tables::sync(&mut other, &mut restored);
    assert_eq!([&one, &other].map(|it| tables::row(it, "words", &key)), [row.clone(), row.clone()]);
    // One that has nothing at all, and its own count of the ways back.
    let mut empty = TableServer::new(tables::WORDS).set_back().set_back();
    let mut third = tables::device();
    tables::sync(&mut one, &mut empty);
    tables::sync(&mut third, &mut empty);
    assert_eq!([&one, &third].map(|it| tables::row(it, "words", &key)), [row.clone(), row.clone()]);
}

/// The device that made it is gone: one that has changed it since gives it back, with all that a device may insert.
#[test]
fn a_row_that_another_device_made_is_given_back_to_a_server_that_has_lost_it() {
    let (mut one, mut server) = (tables::device(), TableServer::new(tables::WORDS));
    let key = "00000000-0000-4000-8000-0000000000aa";
    let made = format!(
        r#"{{ "id": "{key}", "word": "a", "level": null, "seen": 3, "price": "1.50", "source": "book", "data": {{"a":["b"]}},
              "unlocked": {{"c":"2025-11-23T12:00:00Z"}}, "due": null, "size": "9007199254740993", "score": 2.5 }}"#
    );
    server.put_raw("words", key, &made);
    tables::sync(&mut one, &mut server);
    tables::update(&mut one, key, json!({ "level": "a2" }), 5).unwrap();
    tables::add(&mut one, key, 4);
    tables::sync(&mut one, &mut server);
    let mut expected = tables::row(&one, "words", key);
    assert_eq!((&expected["seen"], &expected["data"]["a"][0]), (&json!(7), &json!("b")));
    let mut empty = TableServer::new(tables::WORDS).set_back();
    let mut other = tables::device();
    tables::sync(&mut one, &mut empty);
    tables::sync(&mut other, &mut empty);
    // The server's own column is the server's to fill.
    expected["score"] = json!(null);
    assert_eq!([&one, &other].map(|it| tables::row(it, "words", key)), [expected.clone(), expected]);
}

/// Its table was not in the catalogue for a while, and its rows are still to come: that this one is not here says nothing.
#[test]
fn a_row_that_is_still_to_come_is_not_taken_for_a_deleted_one() {
    let (mut one, mut server) = (tables::device(), TableServer::new(tables::WORDS));
    let before = server.clone();
    let key = tables::insert(&mut one, "words", None, json!({ "word": "a" }));
    tables::sync(&mut one, &mut server);
    let without =
        tables::WORDS.replace("0000000000000001", "0000000000000002").replace("\"words\"", "\"verbs\"");
    for json in [&*without, tables::WORDS] {
        one.use_catalogue(Some(&crate::catalogue::Catalogue::parse(json).unwrap()), at(0)).unwrap();
    }
    assert_eq!(tables::row(&one, "words", &key), json!(null));
    let (mut restored, mut other) = (before.set_back(), tables::device());
    tables::sync(&mut one, &mut restored);
    tables::sync(&mut other, &mut restored);
    assert_eq!([&one, &other].map(|it| tables::row(it, "words", &key)["word"].clone()), ["a", "a"]);
}
