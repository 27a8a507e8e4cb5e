//! What survives a restart, and what a repeated or a wrong call does.

use super::*;
use crate::model::MutationState;
use crate::model::{EventInput, ExportChange, ExportInput, ExportStatus};

fn file() -> (tempfile::TempDir, Location) {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    (folder, location)
}

#[test]
fn a_recorded_session_survives_an_engine_that_never_closed() {
    let (_folder, location) = file();
    let mut first = open(&location).unwrap();
    record(&mut first, 10);
    send(&mut first);
    std::mem::forget(first);

    let mut second = open(&location).unwrap();
    assert_eq!(totals(&second), (1, 10));
    assert_eq!(send(&mut second).request.mutations.len(), 1, "in doubt is sent again");
}

#[test]
fn a_new_process_knows_why_the_last_sync_failed() {
    let (_folder, location) = file();
    let mut first = open(&location).unwrap();
    let outgoing = send(&mut first);
    first.apply_response(outgoing.ticket, Err(Failure::Offline), at(0)).unwrap();
    first.close().unwrap();
    let mut second = open(&location).unwrap();
    assert_eq!(second.status(at(0)).unwrap().last_error.unwrap().code, "offline");
    let outgoing = send(&mut second);
    let answer = Server::default().take(&outgoing.request);
    second.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    second.close().unwrap();
    assert_eq!(open(&location).unwrap().status(at(0)).unwrap().last_error, None);
}

#[test]
fn another_programs_write_is_noticed_and_ones_own_is_not() {
    let (_folder, location) = file();
    let (mut app, mut command) = (open(&location).unwrap(), open(&location).unwrap());
    let subscription = app.subscribe();
    assert!(!app.look_for_other_writers().unwrap(), "the first look only begins");
    record(&mut app, 10);
    assert!(!app.look_for_other_writers().unwrap(), "its own");
    app.take_changes(subscription);
    record(&mut command, 10);
    assert!(app.look_for_other_writers().unwrap());
    assert!(app.take_changes(subscription).contains(&Table::UserProgress));
    assert_eq!(totals(&app), (2, 20));
    assert!(!app.look_for_other_writers().unwrap(), "once");
    app.check().unwrap();
}

#[test]
fn what_waits_is_counted_whoever_recorded_it() {
    let (_folder, location) = file();
    let (mut app, mut command) = (open(&location).unwrap(), open(&location).unwrap());
    let pending = |engine: &Engine| engine.status(at(0)).unwrap().pending;
    let recorded = |engine: &mut Engine| engine.mutate(session(10).into(), at(0)).unwrap().pending;
    assert_eq!((recorded(&mut app), recorded(&mut app), pending(&command)), (1, 2, 2));
    assert_eq!((recorded(&mut command), recorded(&mut app), pending(&command)), (3, 4, 4));
    assert!(app.mutate(SessionInput::new("").into(), at(0)).is_err());
    assert_eq!(pending(&app), 4, "a refused input does not wait");
    let (outgoing, mut server) = (send(&mut app), Server::default());
    assert_eq!(recorded(&mut command), 5);
    let answer = server.take(&outgoing.request);
    app.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((pending(&app), pending(&command), recorded(&mut app)), (1, 1, 2));
}

#[test]
fn an_abandoned_request_is_sent_again() {
    let mut engine = engine();
    record(&mut engine, 10);
    let abandoned = send(&mut engine);
    assert!(engine.next_request(at(0)).unwrap().is_none());
    engine.abandon(abandoned.ticket);
    assert_eq!(send(&mut engine).request.mutations.len(), 1);
}

#[test]
fn the_same_id_again_changes_nothing() {
    let mut engine = engine();
    let id = record(&mut engine, 10);
    let again = engine.mutate(SessionInput { id: Some(id), ..session(10) }.into(), at(60)).unwrap();
    assert_eq!((again.id, again.pending), (id, 1));
    assert_eq!(totals(&engine), (1, 10));
}

/// A second write under an id said *recorded* and was dropped.
#[test]
fn an_id_belongs_to_one_write_of_one_table() {
    let mut engine = engine();
    let (session_id, award_id, export_id) = (id_of(1), id_of(2), id_of(3));
    let award = |id| EventInput {
        id: Some(id),
        points: 5,
        achievements: vec!["first".to_owned()],
        ..EventInput::default()
    };
    let export = |id, format: &str| {
        let (export_type, export_format) = ("words".to_owned(), format.to_owned());
        Change::CreateExport(ExportInput { id: Some(id), export_type, export_format, filters: None })
    };
    let practice = |id, minutes| SessionInput { id: Some(id), ..session(minutes) };
    let failed = ExportChange { status: Some(ExportStatus::Failed), ..ExportChange::default() };
    engine.mutate(practice(session_id, 10).into(), at(0)).unwrap();
    engine.mutate(award(award_id).into(), at(0)).unwrap();
    engine.mutate(export(export_id, "csv"), at(0)).unwrap();
    let update = Change::UpdateExport { id: export_id, change: failed };
    engine.mutate_all(vec![(Some(id_of(4)), update.clone())], at(0)).unwrap().remove(0).unwrap();

    // The same calls, later: no-ops, whatever the clock has filled in.
    for again in [practice(session_id, 10).into(), award(award_id).into(), export(export_id, "csv")] {
        engine.mutate(again, at(3_600)).unwrap();
    }
    engine.mutate_all(vec![(Some(id_of(4)), update.clone())], at(9)).unwrap().remove(0).unwrap();
    let pending = engine.pending().unwrap().len();

    let day = Some("2025-01-01".parse().unwrap());
    let data = json!({ "level": 3 }).as_object().cloned();
    for (case, other) in [
        ("an award with a session's id", award(session_id).into()),
        ("a session with an award's id", practice(award_id, 10).into()),
        ("an export with a session's id", export(session_id, "csv")),
        ("a session with an export's id", practice(export_id, 10).into()),
        ("a session with the id of an export's change", practice(id_of(4), 10).into()),
        ("another length", practice(session_id, 11).into()),
        ("another day", SessionInput { local_date: day, ..practice(session_id, 10) }.into()),
        ("other data", SessionInput { session_data: data, ..practice(session_id, 10) }.into()),
        ("other points", EventInput { points: 6, ..award(award_id) }.into()),
        ("other achievements", EventInput { achievements: vec!["b".into()], ..award(award_id) }.into()),
        ("another format", export(export_id, "json")),
    ] {
        match engine.mutate(other, at(1)) {
            Err(Error::InvalidInput { field: "id", .. }) => {}
            other => panic!("{case}: {other:?}"),
        }
    }
    let refused = engine.mutate_all(vec![(Some(session_id), update)], at(1)).unwrap().remove(0);
    assert_eq!(refused.unwrap_err().code(), "invalid_input");
    assert_eq!(engine.pending().unwrap().len(), pending, "nothing was written for any of them");
    assert_eq!(totals(&engine), (1, 10));
}

fn id_of(last: u32) -> MutationId {
    format!("01890a5d-ac96-774b-bcce-{last:012}").parse().unwrap()
}

#[test]
fn a_refused_input_writes_nothing() {
    let mut engine = engine();
    let error = engine.mutate(session(-1).into(), at(0)).unwrap_err();
    assert_eq!(error.code(), "invalid_input");
    assert_eq!((totals(&engine), engine.status(at(0)).unwrap().pending), ((0, 0), 0));
}

#[test]
fn a_mirror_is_one_users() {
    let (_folder, location) = file();
    open(&location).unwrap().close().unwrap();
    let other = "00000000-0000-4000-8000-000000000002".parse().unwrap();
    let error = Engine::open(&location, other, Box::new(Counter(0)), at(0)).unwrap_err();
    assert_eq!(error.code(), "wrong_user");
}

#[test]
fn the_installation_and_its_clock_outlive_the_process() {
    let (_folder, location) = file();
    let mut first = open(&location).unwrap();
    record(&mut first, 1);
    let client_id = first.client_id;
    first.close().unwrap();

    let mut second = open(&location).unwrap();
    assert_eq!(second.client_id, client_id);
    let years_back = Now { unix_ms: UnixMillis(START_MS - 100_000_000_000), utc_offset_minutes: 0 };
    second.mutate(session(1).into(), years_back).unwrap();
    let hlcs: Vec<_> = send(&mut second).request.mutations.iter().map(|m| m.hlc).collect();
    assert!(hlcs[0] < hlcs[1], "a clock that steps back does not reorder");
}

#[test]
fn the_clock_outlives_the_mutation_that_it_was_given_to() {
    let mut engine = engine();
    let id = record(&mut engine, 10);
    let first = send(&mut engine);
    let hlc = first.request.mutations[0].hlc;
    let mut server = Server { reject: vec![id], ..Server::default() };
    let answer = server.take(&first.request);
    engine.apply_response(first.ticket, Ok(answer), at(0)).unwrap();
    engine.discard(id).unwrap();
    assert_eq!(engine.store.read().sent_mutation(id).unwrap().map(|sent| sent.state), None);
    engine.mutate(session(20).into(), at(-86_400)).unwrap();
    assert!(send(&mut engine).request.mutations[0].hlc > hlc);
}

#[test]
fn acknowledged_mutations_are_kept_for_thirty_days() {
    let (mut engine, mut server) = (engine(), Server::default());
    let id = record(&mut engine, 10);
    for (day, kept) in [(0, Some(MutationState::Reflected)), (29, Some(MutationState::Reflected)), (31, None)]
    {
        let now = at(day * 86_400);
        engine.signal(Signal::SyncNow, now);
        let outgoing = engine.next_request(now).unwrap().unwrap();
        let answer = SyncAnswer { server_time: now.timestamp(), ..server.take(&outgoing.request) };
        engine.apply_response(outgoing.ticket, Ok(answer), now).unwrap();
        assert_eq!(engine.store.read().sent_mutation(id).unwrap().map(|sent| sent.state), kept, "day {day}");
    }
    assert_eq!(totals(&engine), (1, 10));
}

#[test]
fn debug_shows_nothing_of_the_learner() {
    let mut engine = engine();
    let mut input = session(20);
    input.phrases_saved = Some(98_765);
    input.session_type = "secret-type".to_owned();
    let printed = format!("{input:?} {:?}", Change::from(input.clone()));
    engine.mutate(input.into(), at(0)).unwrap();
    let outgoing = send(&mut engine);
    let all = format!("{printed} {engine:?} {outgoing:?} {:?}", engine.progress(at(0)).unwrap());
    assert!(!all.contains("secret-type") && !all.contains("98765"), "{all}");
}
