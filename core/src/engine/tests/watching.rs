//! Who is told of what: the rows while they are few, the table when they are many, and nothing of what did not change.

use super::*;
use crate::engine::TableChanges;
use crate::model::ExportInput;

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
