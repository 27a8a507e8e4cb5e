//! Pages that are asked for while the last one is applied: all come, in order, once; and none counts that does not fit.

use super::*;
use crate::sync::Next;

const PAGES: i64 = 4;

/// Page `number` of a history, each with one export, asked for with the cursor of the page before.
fn page(request: &SyncRequest) -> SyncAnswer {
    let number = request.cursor.as_ref().map_or(0, |cursor| cursor.version) + 1;
    let id = format!("018f9d3e-7a00-7000-8000-{number:012}");
    let values = json!({"id": id, "export_type": "words", "export_format": "csv", "status": "pending",
                        "created_at": at(number).timestamp()});
    let row = WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version: number };
    SyncAnswer {
        rows: BTreeMap::from([("export_history".to_owned(), vec![row])]),
        cursor: Cursor { version: number, epoch: "0".to_owned() },
        has_more: number < PAGES,
        ..Server::default().page()
    }
}

fn exports(engine: &Engine) -> usize {
    engine.exports(&ExportQuery::default()).unwrap().exports.len()
}

#[test]
fn every_page_is_asked_for_before_the_last_one_is_applied() {
    let mut engine = engine();
    let mut outgoing = send(&mut engine);
    for number in 1..=PAGES {
        let answer = page(&outgoing.request);
        assert_eq!(answer.cursor.version, number);
        let ahead = engine.look_ahead(outgoing.ticket, &answer).unwrap();
        assert!(engine.look_ahead(outgoing.ticket, &answer).unwrap().is_none(), "one page ahead, no more");
        let applied = engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
        assert_eq!(exports(&engine), usize::try_from(number).unwrap());
        match ahead {
            Some(ahead) => {
                assert_eq!(applied.next, Next::Continue);
                assert!(engine.awaits(ahead.ticket));
                assert!(engine.next_request(at(0)).unwrap().is_none(), "one is under way");
                assert!(engine.status(at(0)).unwrap().syncing);
                outgoing = ahead;
            }
            None => assert_eq!((number, applied.next), (PAGES, Next::Wait)),
        }
    }
    assert!(!engine.status(at(0)).unwrap().syncing);
}

#[test]
fn a_page_ahead_of_one_that_is_not_applied_counts_for_nothing() {
    let mut engine = engine();
    let first = send(&mut engine);
    let answer = page(&first.request);
    let ahead = engine.look_ahead(first.ticket, &answer).unwrap().unwrap();
    let early = engine.apply_response(ahead.ticket, Ok(page(&ahead.request)), at(0)).unwrap_err();
    assert_eq!(early.code(), "stale_ticket", "not before the first one");
    let spoilt = SyncAnswer { protocol: 2, ..answer };
    engine.apply_response(first.ticket, Ok(spoilt), at(0)).unwrap();
    assert!(!engine.awaits(ahead.ticket));
    let late = engine.apply_response(ahead.ticket, Ok(page(&ahead.request)), at(0)).unwrap_err();
    assert_eq!((late.code(), exports(&engine)), ("stale_ticket", 0));
    engine.signal(Signal::SyncNow, at(0));
    assert_eq!(send(&mut engine).request.cursor, None, "it begins where the rows end");
}

#[test]
fn giving_up_a_page_gives_up_the_one_ahead_of_it() {
    let mut engine = engine();
    let first = send(&mut engine);
    let ahead = engine.look_ahead(first.ticket, &page(&first.request)).unwrap().unwrap();
    engine.abandon(first.ticket);
    assert!(!engine.awaits(first.ticket) && !engine.awaits(ahead.ticket));
    assert_eq!(send(&mut engine).request.cursor, None);
}

#[test]
fn what_waits_for_the_server_goes_before_a_page_is_asked_for_ahead() {
    let mut engine = engine();
    let first = send(&mut engine);
    record(&mut engine, 10);
    let answer = page(&first.request);
    assert!(engine.look_ahead(first.ticket, &answer).unwrap().is_none());
    engine.apply_response(first.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!(send(&mut engine).request.mutations.len(), 1);
}

#[test]
fn what_is_recorded_after_the_page_was_asked_for_ahead_stays_visible_and_is_sent_next() {
    let mut engine = engine();
    let first = send(&mut engine);
    let answer = page(&first.request);
    let ahead = engine.look_ahead(first.ticket, &answer).unwrap().unwrap();
    engine.apply_response(first.ticket, Ok(answer), at(0)).unwrap();
    record(&mut engine, 10);
    engine.apply_response(ahead.ticket, Ok(page(&ahead.request)), at(0)).unwrap();
    assert_eq!((totals(&engine), exports(&engine)), ((1, 10), 2));
    assert_eq!(send(&mut engine).request.mutations.len(), 1);
}

/// A server that lost its past answers from the beginning; the page behind that one is not asked for ahead, because what
/// this device keeps goes first.
#[test]
fn a_reset_is_not_looked_beyond() {
    let mut engine = engine();
    let first = send(&mut engine);
    let answer = SyncAnswer { reset: true, ..page(&first.request) };
    assert!(engine.look_ahead(first.ticket, &answer).unwrap().is_none());
}

/// Whoever asked from there again would get the same page again.
#[test]
fn a_page_that_ends_where_it_began_is_not_looked_beyond() {
    let mut engine = engine();
    let first = send(&mut engine);
    let answer = page(&first.request);
    let ahead = engine.look_ahead(first.ticket, &answer).unwrap().unwrap();
    engine.apply_response(first.ticket, Ok(answer), at(0)).unwrap();
    let answer = page(&ahead.request);
    for (version, moves) in [(0, false), (1, false), (2, true)] {
        let cursor = Cursor { version, ..answer.cursor.clone() };
        let next = engine.look_ahead(ahead.ticket, &SyncAnswer { cursor, ..answer.clone() }).unwrap();
        assert_eq!(next.is_some(), moves, "from 1 to {version}");
    }
}

#[test]
fn a_page_ahead_does_not_count_once_another_program_has_moved_the_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let (mut engine, mut other) = (open(&location).unwrap(), open(&location).unwrap());
    let first = send(&mut engine);
    let answer = page(&first.request);
    let ahead = engine.look_ahead(first.ticket, &answer).unwrap().unwrap();
    engine.apply_response(first.ticket, Ok(answer), at(0)).unwrap();
    for _ in 0..2 {
        other.signal(Signal::SyncNow, at(0));
        let outgoing = send(&mut other);
        other.apply_response(outgoing.ticket, Ok(page(&outgoing.request)), at(0)).unwrap();
    }
    let applied = engine.apply_response(ahead.ticket, Ok(page(&ahead.request)), at(0)).unwrap();
    assert_eq!((applied.next, applied.pulled), (Next::Continue, 0));
    assert_eq!(send(&mut engine).request.cursor.unwrap().version, 3, "it goes on where the other one ended");
}
