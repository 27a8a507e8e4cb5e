//! Who is told of what: the rows while they are few, the table when they are many, and nothing of what did not change.

use super::*;
use crate::engine::TableChanges;
use crate::model::{ExportChange, ExportInput, ExportStatus};

fn export() -> Change {
    let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
    Change::CreateExport(ExportInput { export_type, export_format, ..ExportInput::default() })
}

fn named(table: Table, keys: &[&str]) -> TableChanges {
    TableChanges { table, keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()) }
}

#[test]
fn rows_are_named_while_they_are_few() {
    let mut engine = engine();
    let watcher = engine.subscribe();
    let id = engine.mutate(export(), at(0)).unwrap().id.to_string();
    record(&mut engine, 1);
    let next_day = Now { unix_ms: UnixMillis(START_MS + 86_400_000), utc_offset_minutes: 0 };
    engine.mutate(session(2).into(), next_day).unwrap();
    let progress = named(Table::UserProgress, &[&user().to_string()]);
    let days = named(Table::DailyActivity, &["2025-11-23", "2025-11-24"]);
    assert_eq!(engine.take_changed_rows(watcher), [progress, days, named(Table::ExportHistory, &[&id])]);
    assert!(engine.take_changed_rows(watcher).is_empty(), "told once");

    engine.mutate_all((0..101).map(|_| (None, export())).collect(), at(0)).unwrap();
    engine.mutate(export(), at(0)).unwrap();
    let many = TableChanges { table: Table::ExportHistory, keys: None };
    assert_eq!(engine.take_changed_rows(watcher), [many], "a slow watcher costs no more than a table's name");
}

#[test]
fn an_answer_that_changes_nothing_visible_tells_nobody() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 5);
    let watcher = engine.subscribe();
    let outgoing = send(&mut engine);
    let answer = server.take(&outgoing.request);
    let applied = engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert!(!applied.changed.contains(&Table::DailyActivity), "it was counted when it was recorded");
    engine.take_changed_rows(watcher);
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(&mut engine);
    let answer = server.take(&outgoing.request);
    let applied = engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((applied.pulled > 0, applied.changed), (true, vec![]), "the same rows again");
    assert!(engine.take_changed_rows(watcher).is_empty());

    // Another device's session.
    server.sessions.insert("018f9d3e-7a00-7000-8000-0123456789ab".parse().unwrap(), 7);
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(&mut engine);
    let answer = server.take(&outgoing.request);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    let told = engine.take_changed_rows(watcher);
    assert_eq!(told[0], named(Table::UserProgress, &[&user().to_string()]));
    assert_eq!(told[1].table, Table::DailyActivity);
    assert_eq!(totals(&engine), (2, 12));
}

#[test]
fn a_slow_watcher_misses_no_final_state_and_delays_nobody() {
    let mut engine = engine();
    let (slow, quick) = (engine.subscribe(), engine.subscribe());
    for minutes in 1..=50 {
        record(&mut engine, minutes);
        assert_eq!(engine.take_changes(quick), [Table::UserProgress, Table::DailyActivity]);
    }
    assert_eq!(engine.take_changes(slow), [Table::UserProgress, Table::DailyActivity], "merged");
    assert_eq!(totals(&engine), (50, 1275), "what it reads then is the last state");
}

/// One exchange with what a test has to answer.
fn exchange(engine: &mut Engine, answer: impl FnOnce(&SyncRequest) -> Result<SyncAnswer, Failure>) {
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(engine);
    let answer = answer(&outgoing.request);
    engine.apply_response(outgoing.ticket, answer, at(0)).unwrap();
}

fn another_export(server: &mut Server, number: u128) -> String {
    let id = Uuid::from_u128(number).to_string();
    let values = json!({"id": id, "export_type": "words", "export_format": "csv", "status": "processing",
                        "filters": {}, "created_at": at(0).timestamp()});
    server.exports.insert(id.clone(), values.as_object().unwrap().clone());
    id
}

fn set_status(engine: &mut Engine, id: &str) -> MutationId {
    let change = ExportChange { status: Some(ExportStatus::Completed), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id: id.parse().unwrap(), change }, at(0)).unwrap().id
}

fn told_of(engine: &mut Engine, watcher: Subscription, table: Table) -> Option<Vec<String>> {
    let told = engine.take_changed_rows(watcher);
    told.into_iter().find(|changes| changes.table == table).map(|changes| changes.keys.unwrap())
}

/// An engine that has seen another device's export, whoever watches it, the export, and the server.
fn seen() -> (Engine, Subscription, String, Server) {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = another_export(&mut server, 7);
    exchange(&mut engine, |request| Ok(server.take(request)));
    let watcher = engine.subscribe();
    (engine, watcher, id, server)
}

#[test]
fn an_export_that_another_device_made_or_changed_is_told() {
    let (mut engine, watcher, id, mut server) = seen();
    server.exports.get_mut(&id).unwrap().insert("status".to_owned(), json!("failed"));
    let other = another_export(&mut server, 8);
    exchange(&mut engine, |request| Ok(server.take(request)));
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id, other]));
}

#[test]
fn an_export_that_was_deleted_elsewhere_is_told() {
    let (mut engine, watcher, id, mut server) = seen();
    server.exports.clear();
    exchange(&mut engine, |request| {
        let deleted = BTreeMap::from([("export_history".to_owned(), vec![id.clone()])]);
        Ok(SyncAnswer { deleted, ..server.take(request) })
    });
    assert!(engine.export(id.parse().unwrap()).unwrap().is_none());
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id]));
}

#[test]
fn an_export_that_a_server_has_lost_is_told() {
    let (mut engine, watcher, id, _) = seen();
    let mut restored = Server { epoch: 1, ..Server::default() };
    exchange(&mut engine, |request| Ok(restored.take(request)));
    assert!(engine.export(id.parse().unwrap()).unwrap().is_none(), "nobody keeps it");
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id]));
}

#[test]
fn a_refused_change_of_an_export_and_what_is_decided_about_it_are_told() {
    let (mut engine, watcher, id, mut server) = seen();
    let change = set_status(&mut engine, &id);
    engine.take_changed_rows(watcher);
    let status = |engine: &Engine| engine.export(id.parse().unwrap()).unwrap().unwrap().status;
    assert_eq!(status(&engine), "completed");
    server.reject = vec![change];
    exchange(&mut engine, |request| Ok(SyncAnswer { rows: BTreeMap::new(), ..server.take(request) }));
    assert_eq!(status(&engine), "processing", "as the server has it");
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id.clone()]));
    assert!(engine.retry(change).unwrap());
    assert_eq!(status(&engine), "completed");
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id.clone()]));
    exchange(&mut engine, |request| Ok(SyncAnswer { rows: BTreeMap::new(), ..server.take(request) }));
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id.clone()]));
    assert!(engine.discard(change).unwrap());
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id.clone()]));
}

#[test]
fn a_refused_session_and_what_is_decided_about_it_are_told() {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = record(&mut engine, 5);
    let watcher = engine.subscribe();
    server.reject = vec![id];
    exchange(&mut engine, |request| Ok(server.take(request)));
    assert_eq!(totals(&engine), (0, 0));
    let today = at(0).local_date().to_string();
    let both = [named(Table::UserProgress, &[&user().to_string()]), named(Table::DailyActivity, &[&today])];
    assert_eq!(engine.take_changed_rows(watcher), both, "the day is gone from what is shown");
    server.reject.clear();
    assert!(engine.retry(id).unwrap());
    assert!(engine.take_changed_rows(watcher).is_empty(), "it counts once the server has taken it");
    exchange(&mut engine, |request| Ok(server.take(request)));
    assert_eq!(totals(&engine), (1, 5));
    assert_eq!(engine.take_changed_rows(watcher), both);
}

#[test]
fn what_is_too_large_even_alone_is_told() {
    let (mut engine, watcher, id, _) = seen();
    set_status(&mut engine, &id);
    engine.take_changed_rows(watcher);
    exchange(&mut engine, |_| Err(Failure::TooLarge));
    assert_eq!(engine.rejected().unwrap().len(), 1);
    assert_eq!(told_of(&mut engine, watcher, Table::ExportHistory), Some(vec![id]));
    record(&mut engine, 5);
    engine.take_changed_rows(watcher);
    exchange(&mut engine, |_| Err(Failure::TooLarge));
    assert_eq!(totals(&engine), (0, 0));
    let tables: Vec<Table> = engine.take_changes(watcher);
    assert_eq!(tables, [Table::UserProgress, Table::DailyActivity]);
}

#[test]
fn a_day_that_is_empty_again_is_told() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 5);
    exchange(&mut engine, |request| Ok(server.take(request)));
    let watcher = engine.subscribe();
    let today = at(0).local_date().to_string();
    // The session was deleted elsewhere.
    server.sessions.clear();
    exchange(&mut engine, |request| {
        let deleted = BTreeMap::from([("daily_activity".to_owned(), vec![today.clone()])]);
        Ok(SyncAnswer { deleted, ..server.take(request) })
    });
    assert_eq!(totals(&engine), (0, 0));
    assert_eq!(told_of(&mut engine, watcher, Table::DailyActivity), Some(vec![today]));
}

#[test]
fn an_unsubscribed_watcher_is_told_nothing_and_others_go_on() {
    let (mut engine, watcher, id, _) = seen();
    let other = engine.subscribe();
    engine.unsubscribe(watcher);
    set_status(&mut engine, &id);
    assert!(engine.take_changed_rows(watcher).is_empty());
    assert_eq!(told_of(&mut engine, other, Table::ExportHistory), Some(vec![id]));
}
