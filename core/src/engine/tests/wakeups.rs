//! Wake-ups and the schedule: what is news causes one request, however often it is told, and nothing else moves.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::model::WakeUps;
use crate::sync::{Next, SocketAsk, SocketEvent, SocketStep};

fn after_ms(ms: i64) -> Now {
    Now { unix_ms: UnixMillis(START_MS + ms), utc_offset_minutes: 0 }
}

fn answer(version: i64) -> SyncAnswer {
    SyncAnswer {
        cursor: Cursor { version, epoch: "0".to_owned() },
        wakeups: true,
        ..Server::default().page()
    }
}

/// Syncs once; the request must be due.
fn sync(engine: &mut Engine, version: i64, now: Now) -> Next {
    let outgoing = engine.next_request(now).unwrap().expect("a request is due");
    engine.apply_response(outgoing.ticket, Ok(answer(version)), now).unwrap().next
}

fn says(engine: &mut Engine, event: &str, payload: serde_json::Value, now: Now) -> SocketStep {
    let topic = format!("realtime:marea:{}", user());
    let frame = json!({ "topic": topic, "event": event, "payload": payload, "ref": "1" }).to_string();
    engine.socket(SocketEvent::Text(&frame), now).unwrap()
}

fn changed(engine: &mut Engine, version: i64, now: Now) -> bool {
    says(engine, "broadcast", json!({ "event": "changed", "payload": { "version": version } }), now).sync
}

/// An engine that has synced up to version 5, has joined, and has synced for that.
fn joined() -> Engine {
    let mut engine = engine();
    engine.want_wakeups(true);
    assert_eq!(
        engine.socket(SocketEvent::Look, at(0)).unwrap(),
        SocketStep::default(),
        "nobody has offered it"
    );
    sync(&mut engine, 5, at(0));
    assert_eq!(engine.status(at(0)).unwrap().wakeups, WakeUps::Joining);
    assert_eq!(engine.socket(SocketEvent::Look, at(0)).unwrap().ask, SocketAsk::Open);
    let token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(json!({ "sub": user() }).to_string()));
    engine.socket(SocketEvent::Opened(&token), at(0)).unwrap();
    assert!(says(&mut engine, "phx_reply", json!({ "status": "ok" }), at(0)).sync, "a join causes a sync");
    assert_eq!(engine.status(at(0)).unwrap().wakeups, WakeUps::Joined);
    sync(&mut engine, 5, at(1));
    engine
}

#[test]
fn a_change_causes_a_sync_and_moves_no_cursor() {
    let mut engine = joined();
    assert!(engine.next_request(at(10)).unwrap().is_none());
    for known in [5, 1, -1] {
        assert!(!changed(&mut engine, known, at(10)), "{known} is known");
    }
    assert!(engine.next_request(at(10)).unwrap().is_none());
    assert!(changed(&mut engine, 7, at(10)));
    let outgoing = engine.next_request(at(10)).unwrap().expect("at once");
    assert_eq!(outgoing.request.cursor.as_ref().map(|cursor| cursor.version), Some(5));
    engine.apply_response(outgoing.ticket, Ok(answer(7)), at(10)).unwrap();
    assert!(
        says(&mut engine, "system", json!({ "status": "ok" }), at(20)).sync,
        "messages may have been missed"
    );
    assert_eq!(sync(&mut engine, 7, at(20)), Next::Wait);
    assert!(
        says(&mut engine, "broadcast", json!({ "event": "changed", "payload": {} }), at(30)).sync,
        "unreadable"
    );
    assert_eq!(sync(&mut engine, 7, at(30)), Next::Wait);
    assert!(engine.next_request(at(40)).unwrap().is_none(), "one for each, no more");
}

/// `navigator.onLine` is false for good on some machines with a network.
#[test]
fn an_answer_shows_that_there_is_a_network() {
    let mut engine = engine();
    engine.want_wakeups(true);
    sync(&mut engine, 5, at(0));
    engine.signal(Signal::Offline, at(0));
    assert_eq!(engine.socket(SocketEvent::Look, at(0)).unwrap().ask, SocketAsk::Nothing);
    engine.signal(Signal::SyncNow, at(1));
    sync(&mut engine, 5, at(1));
    assert_eq!(engine.socket(SocketEvent::Look, at(1)).unwrap().ask, SocketAsk::Open);
}

#[test]
fn a_thousand_events_a_second_cause_one_sync_a_second() {
    let mut engine = joined();
    let mut syncs = 0;
    for ms in 10_000..20_000 {
        let now = after_ms(ms);
        changed(&mut engine, ms, now);
        if let Some(outgoing) = engine.next_request(now).unwrap() {
            syncs += 1;
            engine.apply_response(outgoing.ticket, Ok(answer(ms)), now).unwrap();
        }
    }
    assert_eq!(syncs, 10);
}

#[test]
fn what_is_heard_during_a_request_is_asked_for_unless_the_answer_brought_it() {
    for (told, extra) in [(9, false), (10, true), (i64::MAX, true)] {
        let mut engine = joined();
        record(&mut engine, 1);
        let outgoing = engine.next_request(at(10)).unwrap().expect("a push");
        assert!(!changed(&mut engine, told, at(10)), "its answer may bring it");
        let mut server = Server::default();
        let answer = SyncAnswer {
            cursor: Cursor { version: 9, epoch: "0".to_owned() },
            wakeups: true,
            ..server.take(&outgoing.request)
        };
        engine.apply_response(outgoing.ticket, Ok(answer), at(10)).unwrap();
        assert_eq!(engine.next_request(at(11)).unwrap().is_some(), extra, "{told}");
    }
    // A server that claims what it does not have is asked once.
    let mut engine = joined();
    changed(&mut engine, i64::MAX, at(10));
    sync(&mut engine, 5, at(10));
    assert!(engine.next_request(at(60)).unwrap().is_none());
}

#[test]
fn a_failure_waits_as_ever_and_the_news_is_not_forgotten() {
    let mut engine = joined();
    changed(&mut engine, 6, at(10));
    let outgoing = engine.next_request(at(10)).unwrap().expect("a request");
    let failure = Failure::Server { status: 503, retry_after_ms: Some(5_000) };
    engine.apply_response(outgoing.ticket, Err(failure), at(10)).unwrap();
    changed(&mut engine, 7, at(11));
    assert!(engine.next_request(at(12)).unwrap().is_none(), "the server has asked for patience");
    sync(&mut engine, 7, at(16));
}

/// A poll fails, and nothing else waits: what was heard of meanwhile is asked for after the failure's wait, and not at the next poll.
#[test]
fn what_is_heard_during_a_request_that_fails_is_asked_for_after_it() {
    let mut engine = joined();
    let outgoing = engine.next_request(at(2_000)).unwrap().expect("a poll");
    assert!(!changed(&mut engine, 6, at(2_000)), "its answer may bring it");
    engine.apply_response(outgoing.ticket, Err(Failure::ConnectionLost), at(2_000)).unwrap();
    let next = engine.next_wake(at(2_000)).unwrap().expect("a time");
    assert!(next <= at(2_001).unix_ms, "{next:?}");
}

#[test]
fn the_poll_is_slower_while_it_listens_and_never_absent() {
    let mut engine = joined();
    let wake = |engine: &Engine, now: Now| engine.next_wake(now).unwrap().map(|at| at.0 - START_MS);
    assert_eq!(wake(&engine, at(2)), Some(1_000 + 30 * 60 * 1_000));
    engine.socket(SocketEvent::Closed, at(2)).unwrap();
    assert_eq!(wake(&engine, at(2)), Some(1_000 + 5 * 60 * 1_000));
    let mut engine = joined();
    assert!(engine.socket(SocketEvent::Closed, at(600)).unwrap().sync, "the next look is due already");
    assert!(engine.next_request(at(600)).unwrap().is_some());
    let mut engine = joined();
    assert!(engine.next_request(at(30 * 60 + 1)).unwrap().is_some());
}

#[test]
fn the_next_attempt_is_told_as_it_will_be() {
    let next = |engine: &Engine, now: Now| {
        let (wake, told) = (engine.next_wake(now).unwrap(), engine.status(now).unwrap().next_attempt_at);
        assert_eq!(wake.map(Timestamp::from_millis), told);
        wake.map(|wake| (wake.0 - START_MS) / 1_000)
    };
    let mut engine = engine();
    assert_eq!(next(&engine, at(7)), Some(7), "the first one is due");
    let outgoing = engine.next_request(at(7)).unwrap().unwrap();
    assert_eq!(next(&engine, at(7)), None, "one is under way");
    engine.apply_response(outgoing.ticket, Ok(Server::default().page()), at(7)).unwrap();
    assert_eq!(next(&engine, at(8)), Some(7 + 300), "nothing waits");
    record(&mut engine, 1);
    assert_eq!((next(&engine, at(7)), next(&engine, at(9))), (Some(8), Some(9)), "a session waits");
}

#[test]
fn the_waits_after_failures_are_spread() {
    let mut engine = engine();
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..8 {
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = send(&mut engine);
        engine.apply_response(outgoing.ticket, Err(Failure::ConnectionLost), at(0)).unwrap();
        waits.insert(engine.next_wake(at(0)).unwrap());
    }
    assert_eq!(waits.len(), 8, "{waits:?}");
}

#[test]
fn the_app_decides_and_the_network_too() {
    for (change, status) in [
        ((|engine: &mut Engine| engine.want_wakeups(false)) as fn(&mut Engine), WakeUps::Off),
        (|engine| engine.set_online(false), WakeUps::Joining),
        (|engine| engine.signal(Signal::Offline, at(2)), WakeUps::Joining),
    ] {
        let mut engine = joined();
        change(&mut engine);
        assert_eq!(engine.socket(SocketEvent::Look, at(2)).unwrap().ask, SocketAsk::Close);
        assert_eq!(engine.status(at(2)).unwrap().wakeups, status);
        engine.want_wakeups(true);
        engine.set_online(true);
        engine.signal(Signal::Online, at(2));
        assert_eq!(engine.socket(SocketEvent::Look, at(2)).unwrap().ask, SocketAsk::Open);
    }
    // The server has switched it off.
    let mut engine = joined();
    changed(&mut engine, 6, at(10));
    let outgoing = engine.next_request(at(10)).unwrap().expect("a request");
    engine.apply_response(outgoing.ticket, Ok(SyncAnswer { wakeups: false, ..answer(6) }), at(10)).unwrap();
    assert_eq!(engine.socket(SocketEvent::Look, at(10)).unwrap().ask, SocketAsk::Close);
    assert_eq!(engine.status(at(10)).unwrap().wakeups, WakeUps::Off);
}
