//! The app's own wish to use the network: nothing begins without it, and it is told apart from what the network does.

use super::*;
use crate::sync::{Failure, Next};

#[test]
fn no_request_begins_while_the_app_forbids_the_network() {
    let mut engine = engine();
    assert!(!engine.is_paused());
    engine.set_online(false);
    assert!(engine.is_paused());
    record(&mut engine, 5);
    for signal in [Signal::Online, Signal::Visible, Signal::NewToken, Signal::SyncNow] {
        engine.signal(signal, at(0));
        assert!(engine.next_request(at(0)).unwrap().is_none(), "{signal:?}");
        assert_eq!(engine.next_wake(at(0)).unwrap(), None, "{signal:?}");
    }
    let status = engine.status(at(0)).unwrap();
    assert_eq!((status.paused, status.online, status.next_attempt_at), (true, false, None));

    engine.set_online(true);
    let outgoing = send(&mut engine);
    engine.apply_response(outgoing.ticket, Err(Failure::Offline), at(0)).unwrap();
    let status = engine.status(at(0)).unwrap();
    assert_eq!((status.paused, status.online), (false, false));
    // Allowed already: to say so once more is no reason to try at once.
    engine.set_online(true);
    assert_eq!(engine.status(at(0)).unwrap().next_attempt_at, status.next_attempt_at);
    engine.set_online(false);
    engine.set_online(true);
    assert!(engine.status(at(0)).unwrap().online, "what the last attempt found is past");
    send(&mut engine);
}

#[test]
fn an_answer_under_way_is_taken_and_nothing_follows_it() {
    let mut engine = engine();
    record(&mut engine, 5);
    let outgoing = send(&mut engine);
    record(&mut engine, 6);
    engine.set_online(false);
    let answer = SyncAnswer { has_more: true, ..Server::default().take(&outgoing.request) };
    assert!(engine.look_ahead(outgoing.ticket, &answer).unwrap().is_none());
    let applied = engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((applied.pushed, applied.next), (1, Next::Continue));
    assert!(engine.next_request(at(0)).unwrap().is_none());
    let status = engine.status(at(0)).unwrap();
    assert_eq!((status.pending, status.online, status.paused), (1, false, true));
}

#[test]
fn a_network_that_comes_back_is_not_told_as_away_while_a_token_is_waited_for() {
    let mut engine = engine();
    for _ in 0..2 {
        let outgoing = send(&mut engine);
        engine.apply_response(outgoing.ticket, Err(Failure::no_token()), at(0)).unwrap();
    }
    engine.signal(Signal::Offline, at(0));
    assert!(!engine.status(at(0)).unwrap().online);
    engine.signal(Signal::Online, at(0));
    let status = engine.status(at(0)).unwrap();
    assert!(status.online && status.last_error.unwrap().code == "unauthorized");
}

#[test]
fn a_token_that_cannot_be_had_now_is_asked_for_again_and_nobody_counts_as_signed_out() {
    let mut engine = engine();
    record(&mut engine, 5);
    let mut now = at(0);
    for _ in 0..5 {
        let outgoing = engine.next_request(now).unwrap().expect("a request is due");
        let applied = engine.apply_response(outgoing.ticket, Err(Failure::TokenUnavailable), now).unwrap();
        assert_eq!(applied.next, Next::Wait);
        let status = engine.status(now).unwrap();
        assert_eq!(status.last_error.unwrap().code, "token_unavailable");
        assert!(status.online, "nothing is known about the network");
        now.unix_ms = engine.next_wake(now).unwrap().expect("another attempt is planned");
        assert!(now.unix_ms.0 <= at(15 * 60).unix_ms.0, "within 15 minutes");
    }
}

#[test]
fn a_refused_api_key_is_nobodys_sign_in() {
    let mut engine = engine();
    let outgoing = send(&mut engine);
    let applied = engine.apply_response(outgoing.ticket, Err(Failure::ApiKeyRefused), at(0)).unwrap();
    assert_eq!(applied.next, Next::Stopped, "another token would not help");
    let error = engine.status(at(0)).unwrap().last_error.unwrap();
    assert_eq!(error.code, "api_key_refused");
    assert!(error.message.contains("anon key") && !error.message.contains("password"), "{}", error.message);
    engine.signal(Signal::SyncNow, at(0));
    send(&mut engine);
}
