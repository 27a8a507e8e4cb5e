//! Answers that come, fail to come, come late, come in pages, refuse, and replace the past.

use super::*;
use crate::store::Meta;
use crate::sync::Next;

fn exchange(engine: &mut Engine, server: &mut Server) -> Applied {
    let outgoing = send(engine);
    let answer = server.take(&outgoing.request);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap()
}

#[test]
fn a_session_shows_at_once_and_is_sent_once() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    assert_eq!(totals(&engine), (1, 10));
    assert_eq!(engine.status(at(0)).unwrap().pending, 1);

    let applied = exchange(&mut engine, &mut server);
    assert_eq!((applied.pushed, applied.next), (1, Next::Wait));
    assert_eq!(totals(&engine), (1, 10));
    let status = engine.status(at(0)).unwrap();
    assert_eq!((status.pending, status.connection), (0, Connection::Online));
    assert!(engine.next_request(at(0)).unwrap().is_none(), "nothing is due");
}

#[test]
fn a_lost_answer_counts_once() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let lost = send(&mut engine);
    server.take(&lost.request);
    engine.apply_response(lost.ticket, Err(Failure::Timeout), at(0)).unwrap();
    engine.signal(Signal::Online, at(0));
    exchange(&mut engine, &mut server);
    assert_eq!(totals(&engine), (1, 10));
    assert_eq!(server.sessions.len(), 1);
}

#[test]
fn a_late_answer_is_dropped() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let late = send(&mut engine);
    let late_answer = server.take(&late.request);
    engine.apply_response(late.ticket, Err(Failure::Timeout), at(0)).unwrap();
    engine.signal(Signal::SyncNow, at(0));
    let second = send(&mut engine);
    let error = engine.apply_response(late.ticket, Ok(late_answer), at(0)).unwrap_err();
    assert_eq!(error.code(), "stale_ticket");
    engine.apply_response(second.ticket, Ok(server.take(&second.request)), at(0)).unwrap();
    assert_eq!(totals(&engine), (1, 10));
}

#[test]
fn what_is_recorded_during_a_request_stays_queued() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let outgoing = send(&mut engine);
    record(&mut engine, 5);
    let applied = engine.apply_response(outgoing.ticket, Ok(server.take(&outgoing.request)), at(0)).unwrap();
    assert_eq!(
        applied.next,
        Next::Wait,
        "it was not there to be carried: it is gathered with what follows it"
    );
    assert_eq!(engine.next_wake(at(0)).unwrap(), Some(at(1).unix_ms));
    assert_eq!(totals(&engine), (2, 15));
    assert_eq!(engine.status(at(0)).unwrap().pending, 1);
}

/// The first request carried both sessions and was done, but its answer was lost. The second carries only one: its
/// rows hold both, and nobody can tell. They must wait.
#[test]
fn rows_wait_while_a_mutation_outside_the_answer_is_in_doubt() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    record(&mut engine, 5);
    let lost = send(&mut engine);
    server.take(&lost.request);
    engine.apply_response(lost.ticket, Err(Failure::TooLarge), at(0)).unwrap();
    assert_eq!(engine.limits.mutations(), 1);
    engine.signal(Signal::SyncNow, at(0));

    let half = send(&mut engine);
    assert_eq!(half.request.mutations.len(), 1);
    let applied = engine.apply_response(half.ticket, Ok(server.take(&half.request)), at(0)).unwrap();
    assert_eq!(totals(&engine), (2, 15), "neither doubled nor lost while in doubt");
    assert_eq!(applied.next, Next::Continue);
    exchange(&mut engine, &mut server);
    assert_eq!(totals(&engine), (2, 15));
}

#[test]
fn an_acknowledged_session_stays_visible_until_its_page_has_come() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let first = send(&mut engine);
    let answer = SyncAnswer { rows: BTreeMap::new(), has_more: true, ..server.take(&first.request) };
    let applied = engine.apply_response(first.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((applied.next, totals(&engine)), (Next::Continue, (1, 10)));
    exchange(&mut engine, &mut server);
    assert_eq!(totals(&engine), (1, 10));
}

#[test]
fn a_refused_mutation_is_set_aside_and_blocks_nobody() {
    let (mut engine, mut server) = (engine(), Server::default());
    let poison = record(&mut engine, 100);
    record(&mut engine, 5);
    server.reject.push(poison);
    let applied = exchange(&mut engine, &mut server);
    assert_eq!((applied.pushed, applied.rejected), (1, 1));
    assert_eq!(totals(&engine), (1, 5));
    let status = engine.status(at(0)).unwrap();
    assert_eq!((status.pending, status.rejected), (0, 1));
}

#[test]
fn a_server_set_back_is_healed() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    exchange(&mut engine, &mut server);
    server = Server { epoch: 1, ..Server::default() };
    engine.signal(Signal::SyncNow, at(0));
    let applied = exchange(&mut engine, &mut server);
    assert_eq!(applied.next, Next::Continue);
    assert_eq!(totals(&engine), (1, 10), "the learner sees no step back");
    exchange(&mut engine, &mut server);
    assert_eq!((totals(&engine), server.sessions.len()), ((1, 10), 1));
    assert_eq!(engine.status(at(0)).unwrap().pending, 0);
}

#[test]
fn a_mutation_that_the_server_itself_finds_too_large_alone_is_set_aside() {
    let mut engine = engine();
    record(&mut engine, 10);
    let outgoing = send(&mut engine);
    let applied = engine.apply_response(outgoing.ticket, Err(Failure::TooLarge), at(0)).unwrap();
    assert_eq!((applied.rejected, applied.next, totals(&engine)), (1, Next::Pause, (0, 0)));
    let empty = send(&mut engine);
    let applied = engine.apply_response(empty.ticket, Err(Failure::TooLarge), at(0)).unwrap();
    assert_eq!((applied.rejected, applied.next), (0, Next::Wait));
}

#[test]
fn an_answer_that_is_not_whole_changes_nothing() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let bad_row = |values: serde_json::Value| {
        let row = WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version: 1 };
        BTreeMap::from([("user_progress".to_owned(), vec![row])])
    };
    let other_user = "00000000-0000-4000-8000-000000000002";
    for spoil in [
        |answer: &mut SyncAnswer| answer.results.clear(),
        |answer: &mut SyncAnswer| answer.protocol = 2,
        |answer: &mut SyncAnswer| answer.cursor.version = -1,
    ] {
        refuse(&mut engine, &mut server, spoil);
    }
    refuse(&mut engine, &mut server, |answer| answer.rows = bad_row(json!({"user_id": other_user})));
    assert_eq!(totals(&engine), (1, 10));
}

fn refuse(engine: &mut Engine, server: &mut Server, spoil: impl Fn(&mut SyncAnswer)) {
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = send(engine);
    let mut answer = server.take(&outgoing.request);
    spoil(&mut answer);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    let status = engine.status(at(0)).unwrap();
    assert_eq!(status.last_error.unwrap().code, "unintelligible_answer");
    assert_eq!(status.pending, 1);
}

#[test]
fn a_queue_longer_than_a_request_goes_in_order() {
    let (mut engine, mut server) = (engine(), Server::default());
    let ids: Vec<_> = (0..1_001).map(|_| record(&mut engine, 1)).collect();
    let mut sent = Vec::new();
    for expected in [500, 500, 1] {
        let outgoing = send(&mut engine);
        assert_eq!(outgoing.request.mutations.len(), expected);
        sent.extend(outgoing.request.mutations.iter().map(|m| m.id));
        engine.apply_response(outgoing.ticket, Ok(server.take(&outgoing.request)), at(0)).unwrap();
        assert_eq!(totals(&engine), (1_001, 1_001));
    }
    assert!(sent == ids);
}

/// A page takes its time on a slow network; the answer of an engine that has all is small, and must not be waited for as long.
#[test]
fn only_who_expects_a_page_waits_for_as_long_as_one_takes() {
    let (mut engine, mut server) = (engine(), Server::default());
    let [page, small] = [true, false].map(|expects_page| engine.limits.timeout_ms(0, expects_page));
    assert!(page > small);
    // The first has no cursor, the second follows a page, the third has everything.
    for (has_more, expected) in [(true, page), (false, page), (false, small)] {
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = send(&mut engine);
        assert_eq!(outgoing.timeout_ms, expected);
        let answer = SyncAnswer { has_more, ..server.take(&outgoing.request) };
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
}

/// Their ids follow from the batch's, whatever its last digits are: a second call finds what the first has recorded.
#[test]
fn changes_of_a_batch_without_ids_get_some_of_their_own() {
    let id = |text: &str| text.parse::<MutationId>().unwrap();
    let mut engine = engine();
    let batch = id("00000000-0000-7000-8000-000000000003");
    let expected = ["00000000-0000-7000-8000-000000000002", "00000000-0000-7000-8000-000000000001"].map(id);
    for _ in 0..2 {
        let changes = vec![session(5).into(), session(6).into()];
        let recorded = engine.mutate_batch(Some(batch), changes, at(0)).unwrap();
        assert_eq!(recorded.iter().map(|recorded| recorded.id).collect::<Vec<_>>(), expected);
    }
    assert_eq!(totals(&engine), (2, 11));
}

#[test]
fn what_the_server_has_taken_is_shown_by_its_rows_alone() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 5);
    let outgoing = send(&mut engine);
    let answer = SyncAnswer { rows: BTreeMap::new(), ..server.take(&outgoing.request) };
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    let shown = totals(&engine);
    engine.rebuild_visible().unwrap();
    assert_eq!((shown, totals(&engine)), ((0, 0), (0, 0)), "no row counts it");
}

#[test]
fn the_same_id_for_the_same_change_of_another_row_is_refused() {
    let mut engine = engine();
    let create = |engine: &mut Engine| {
        let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
        let input = crate::model::ExportInput { export_type, export_format, ..Default::default() };
        engine.mutate(Change::CreateExport(input), at(0)).unwrap().id
    };
    let id = "00000000-0000-7000-8000-00000000000a".parse().unwrap();
    let failed = |export: MutationId| {
        let change = crate::model::ExportChange { status: Some(ExportStatus::Failed), ..Default::default() };
        (Some(id), Change::UpdateExport { id: export, change })
    };
    let (one, other) = (create(&mut engine), create(&mut engine));
    let done = engine.mutate_all(vec![failed(one), failed(one), failed(other)], at(0)).unwrap();
    assert_eq!(done.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(engine.pending().unwrap().len(), 3);
}

#[test]
fn the_servers_own_columns_of_progress_can_be_read() {
    let mut engine = engine();
    let outgoing = send(&mut engine);
    let (id, then) = ("018f9d3e-7a00-7000-8000-000000000001", "2025-11-23T12:00:00.000000Z");
    let values = json!({ "user_id": user(), "total_sessions": 2, "total_time_spent_minutes": 3,
        "current_streak_days": 0, "id": id, "created_at": then, "updated_at": then });
    let row = WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version: 1 };
    let rows = BTreeMap::from([("user_progress".to_owned(), vec![row])]);
    let answer = SyncAnswer { rows, ..Server::default().page() };
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    let sql = "SELECT total_sessions, id, created_at, updated_at FROM user_progress";
    let found = engine.query(sql, &[], crate::store::QueryLimits::default()).unwrap().rows;
    assert_eq!(json!(found), json!([[2, id, then, then]]));
}

/// A cursor at 0 may be that of a server that has never heard of the user: of such an account nobody says that it was deleted.
#[test]
fn an_account_is_known_once_the_server_has_had_something_of_it() {
    let (mut engine, mut server) = (engine(), Server::default());
    let known =
        |engine: &Engine| (engine.status(at(0)).unwrap().cursor, engine.store.read().meta(Meta::KnownUser));
    engine.signal(Signal::SyncNow, at(0));
    exchange(&mut engine, &mut server);
    assert!(matches!(known(&engine), (Some(0), Ok(None))));
    record(&mut engine, 10);
    exchange(&mut engine, &mut server);
    assert!(matches!(known(&engine), (Some(1), Ok(Some(_)))));
}
