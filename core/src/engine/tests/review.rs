//! Awards, what was refused and what people decide about it, who is told of changes, and what support may see.

use super::*;
use crate::model::{EventInput, ExportInput};

#[test]
fn an_award_counts_for_points_and_days_but_not_as_a_session() {
    let mut engine = engine();
    let award = EventInput {
        points: 50,
        new_words: 3,
        learning_words: -1,
        achievements: vec!["first_steps".to_owned()],
        ..EventInput::default()
    };
    engine.mutate(award.into(), at(0)).unwrap();
    let progress = engine.progress(at(0)).unwrap();
    assert_eq!((progress.total_points, progress.total_sessions, progress.current_streak_days), (50, 0, 1));
    assert_eq!((progress.new_words_count, progress.learning_words_count), (3, -1));
    assert_eq!(progress.achievements["first_steps"], at(0).timestamp());
    assert_eq!(progress.last_vocabulary_practice_at, Some(at(0).timestamp()));
    assert_eq!(progress.last_qa_session_at, None);
}

fn refuse(engine: &mut Engine, id: MutationId) {
    let mut server = Server { reject: vec![id], ..Server::default() };
    let outgoing = send(engine);
    let answer = server.take(&outgoing.request);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
}

#[test]
fn a_refused_mutation_can_be_seen_retried_and_discarded() {
    let mut engine = engine();
    let id = record(&mut engine, 42);
    refuse(&mut engine, id);
    let refused = engine.rejected().unwrap();
    assert_eq!(refused[0].id, id);
    assert_eq!(refused[0].values["duration_minutes"], 42);
    assert_eq!(refused[0].refusal.as_ref().unwrap().code, "22023");
    assert_eq!(totals(&engine), (0, 0));

    assert!(engine.retry(id).unwrap());
    assert_eq!(totals(&engine), (0, 0), "it counts once the server has taken it");
    assert_eq!(engine.pending().unwrap()[0].id, id);
    engine.signal(Signal::SyncNow, at(0));
    refuse(&mut engine, id);

    assert!(engine.discard(id).unwrap());
    assert!(
        engine.rejected().unwrap().is_empty() && !engine.discard(id).unwrap() && !engine.retry(id).unwrap()
    );
    assert_eq!(totals(&engine), (0, 0));
}

/// A repeated request was done once and refused once, and only the refusal arrived. The rows already count the session.
#[test]
fn what_was_refused_and_yet_taken_counts_once() {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = record(&mut engine, 42);
    let twice = send(&mut engine);
    server.take(&twice.request);
    engine.apply_response(twice.ticket, Err(Failure::TooLarge), at(0)).unwrap();
    let pull = send(&mut engine);
    engine.apply_response(pull.ticket, Ok(server.take(&pull.request)), at(0)).unwrap();
    assert_eq!(totals(&engine), (1, 42));
    assert!(engine.retry(id).unwrap());
    assert_eq!(totals(&engine), (1, 42));
    let again = send(&mut engine);
    engine.apply_response(again.ticket, Ok(server.take(&again.request)), at(0)).unwrap();
    assert_eq!((totals(&engine), engine.status(at(0)).unwrap().pending), ((1, 42), 0));
}

#[test]
fn a_waiting_mutation_cannot_be_discarded() {
    let mut engine = engine();
    let id = record(&mut engine, 42);
    assert!(!engine.discard(id).unwrap());
    assert_eq!(engine.pending().unwrap().len(), 1);
}

#[test]
fn a_subscriber_learns_of_each_changed_table_once() {
    let mut engine = engine();
    let slow = engine.subscribe();
    record(&mut engine, 1);
    record(&mut engine, 2);
    let export =
        ExportInput { export_type: "words".into(), export_format: "csv".into(), ..Default::default() };
    engine.mutate(Change::CreateExport(export), at(0)).unwrap();
    let changed = engine.take_changes(slow);
    assert_eq!(changed, [Table::UserProgress, Table::DailyActivity, Table::ExportHistory]);
    assert!(engine.take_changes(slow).is_empty());
    engine.mutate(session(-1).into(), at(0)).unwrap_err();
    assert!(engine.take_changes(slow).is_empty(), "nothing was committed");
    engine.unsubscribe(slow);
    record(&mut engine, 3);
    assert!(engine.take_changes(slow).is_empty());
}

#[test]
fn diagnostics_hold_the_last_syncs_and_nothing_of_the_learner() {
    let mut engine = engine();
    let mut input = session(20);
    input.phrases_saved = Some(98_765);
    input.session_type = "private".to_owned();
    let id = engine.mutate(input.into(), at(0)).unwrap().id;
    for _ in 0..250 {
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = send(&mut engine);
        engine.count_bytes(700, 30);
        engine.apply_response(outgoing.ticket, Err(Failure::Offline), at(0)).unwrap();
    }
    engine.signal(Signal::SyncNow, at(0));
    refuse(&mut engine, id);
    let text = engine.diagnostics(at(0)).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let journal = parsed["journal"].as_array().unwrap();
    assert_eq!(journal.len(), 200, "bounded");
    assert_eq!((&journal[0]["code"], &journal[199]["rejected"]), (&json!("offline"), &json!(1)));
    let bytes = |at: usize| (journal[at]["bytes_sent"].clone(), journal[at]["bytes_received"].clone());
    assert_eq!((bytes(0), bytes(199)), ((json!(700), json!(30)), (json!(0), json!(0))), "each its own");
    assert!(!text.contains("98765") && !text.contains("private") && !text.contains("duration"), "{text}");
}

#[test]
fn the_status_is_one_value_that_outlives_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let mut engine = open(&location).unwrap();
    assert_eq!(open(&Location::Memory).unwrap().status(at(0)).unwrap().storage, StorageKind::Memory);
    record(&mut engine, 1);
    let first = engine.status(at(0)).unwrap();
    assert_eq!((first.storage, first.online, first.pending), (StorageKind::File, true, 1));
    assert_eq!((first.bytes_sent, first.bytes_received), (0, 0));

    let outgoing = send(&mut engine);
    engine.count_bytes(900, 0);
    engine.apply_response(outgoing.ticket, Err(Failure::Offline), at(0)).unwrap();
    let away = engine.status(at(0)).unwrap();
    assert_eq!((away.online, away.last_error.unwrap().code.as_str()), (false, "offline"));
    assert!(away.next_attempt_at.is_some());
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(&mut engine);
    engine.count_bytes(900, 4_000);
    engine.apply_response(outgoing.ticket, Ok(Server::default().take(&outgoing.request)), at(0)).unwrap();
    let again = open(&location).unwrap();
    let total = again.status(at(0)).unwrap();
    assert_eq!((total.bytes_sent, total.bytes_received), (1_800, 4_000), "counted once, and kept");
    let json = serde_json::to_value(again.status(at(0)).unwrap()).unwrap();
    assert_eq!((&json["storage"], &json["online"]), (&json!("file"), &json!(true)));
    for (kind, name) in [
        (StorageKind::File, "file"),
        (StorageKind::Opfs, "opfs"),
        (StorageKind::Memory, "memory"),
        (StorageKind::LocalStorage, "local-storage"),
    ] {
        assert_eq!(serde_json::to_value(kind).unwrap(), name);
    }
}

/// More than any list was once cut off at.
const MANY: usize = 10_050;

#[test]
fn nothing_of_a_long_queue_is_left_out() {
    let mut engine = engine();
    let refused: Vec<MutationId> = (0..3).map(|_| record(&mut engine, 7)).collect();
    let mut server = Server { reject: refused.clone(), ..Server::default() };
    let outgoing = send(&mut engine);
    let answer = server.take(&outgoing.request);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    engine.mutate_all((0..MANY).map(|_| (None, session(1).into())).collect(), at(0)).unwrap();

    let waiting = engine.pending().unwrap();
    assert_eq!((waiting.len(), engine.rejected().unwrap().len()), (MANY, 3));
    for between in ["", "\n"] {
        let mut text = Vec::new();
        let counts = engine.write_queue(at(0), &mut text, between).unwrap().unwrap();
        assert_eq!((counts.pending, counts.rejected), (MANY as u64, 3));
        let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(document["user_id"], json!(user()));
        assert_eq!(document["exported_at"], json!(at(0).timestamp()));
        assert_eq!(document["pending"], json!(waiting));
        assert_eq!(document["rejected"], json!(engine.rejected().unwrap()));
    }
}

/// Room for so many bytes.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_queue_that_has_no_room_says_so_wherever_it_ends() {
    let mut engine = engine();
    record(&mut engine, 7);
    let mut text = Vec::new();
    engine.write_queue(at(0), &mut text, "").unwrap().unwrap();
    for room in 0..text.len() {
        let failed = engine.write_queue(at(0), &mut Full(room), "").unwrap().unwrap_err();
        assert_eq!(failed.kind(), std::io::ErrorKind::StorageFull, "{room} bytes");
    }
    assert!(engine.write_queue(at(0), &mut Full(text.len()), "").unwrap().is_ok());
}

#[test]
fn all_that_was_refused_is_decided_about_at_once() {
    let mut engine = engine();
    let ids: Vec<MutationId> = (0..3).map(|_| record(&mut engine, 7)).collect();
    let export = ExportInput {
        export_type: "words".to_owned(),
        export_format: "csv".to_owned(),
        ..ExportInput::default()
    };
    let export = engine.mutate(Change::CreateExport(export), at(0)).unwrap().id;
    let all: Vec<MutationId> = ids.iter().copied().chain([export]).collect();
    let waiting = record(&mut engine, 5);
    let mut server = Server { reject: all.clone(), ..Server::default() };
    let mut exchange = |engine: &mut Engine| {
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = send(engine);
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    };
    exchange(&mut engine);
    assert_eq!(engine.rejected().unwrap().len(), 4);
    assert!(engine.export(export).unwrap().is_none());

    assert_eq!(engine.retry_all().unwrap(), all);
    assert!(engine.rejected().unwrap().is_empty() && engine.retry_all().unwrap().is_empty());
    assert_eq!(engine.pending().unwrap().len(), 4);
    assert!(engine.export(export).unwrap().is_some(), "what waits is shown again");
    exchange(&mut engine);
    let watched = engine.subscribe();
    assert_eq!(engine.discard_all().unwrap(), all);
    assert!(engine.take_changes(watched).contains(&Table::ExportHistory));
    assert!(engine.rejected().unwrap().is_empty() && engine.discard_all().unwrap().is_empty());
    assert_eq!((totals(&engine), engine.export(export).unwrap()), ((1, 5), None));
    assert!(!all.contains(&waiting));
}

#[test]
fn a_refusal_is_one_whatever_code_the_server_gives_it() {
    for (code, shown) in [(Some("22023"), "22023"), (Some("PT402"), "PT402"), (None, "unknown")] {
        let (mut engine, mut server) = (engine(), Server::default());
        let id = record(&mut engine, 42);
        server.reject.push(id);
        let outgoing = send(&mut engine);
        let mut answer = server.take(&outgoing.request);
        answer.results[0].code = code.map(str::to_owned);
        let applied = engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
        assert_eq!((applied.pushed, applied.rejected, totals(&engine)), (0, 1, (0, 0)));
        assert_eq!(engine.rejected().unwrap()[0].refusal.as_ref().unwrap().code, shown);
    }
}
