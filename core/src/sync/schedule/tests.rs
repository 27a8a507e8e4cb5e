//! When the next attempt is, after everything that can come back, and that none is never.

use super::*;
use crate::sync::TlsProblem;
use crate::sync::backoff::LEAST_MS;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// The pause of the first attempt that `random` of so much draws.
fn due_in(schedule: &Schedule) -> u64 {
    match schedule.due(true, NOW) {
        Due::Now => 0,
        Due::At(at) => (at.0 - NOW.0).unsigned_abs(),
    }
}

fn unauthorized() -> Failure {
    Failure::Unauthorized { code: "PGRST301".to_owned() }
}

fn server(status: u16, retry_after_ms: Option<u64>) -> Failure {
    Failure::Server { status, retry_after_ms }
}

/// Everything that is no success.
fn all() -> Vec<Failure> {
    vec![
        Failure::Offline,
        Failure::NameNotFound,
        Failure::ConnectionRefused,
        Failure::ConnectionLost,
        Failure::Tls { problem: TlsProblem::Untrusted },
        Failure::CaptivePortal,
        Failure::Timeout,
        unauthorized(),
        Failure::no_token(),
        Failure::TokenUnavailable,
        Failure::ApiKeyRefused,
        Failure::OtherUser,
        Failure::TooLarge,
        Failure::ProxyTooLarge,
        Failure::AnswerTooLarge,
        Failure::ServerTimeout,
        Failure::UserMissing,
        Failure::NoProgress,
        Failure::UpgradeRequired,
        Failure::Refused { status: 404, code: "PGRST202".to_owned() },
        Failure::Refused { status: 403, code: "unknown".to_owned() },
        Failure::Refused { status: 400, code: "PT400".to_owned() },
        server(503, None),
        server(429, Some(u64::MAX)),
        Failure::Unintelligible,
    ]
}

#[test]
fn a_new_engine_looks_at_the_server_once_and_then_rests() {
    let mut schedule = Schedule::new();
    assert_eq!(schedule.due(false, NOW), Due::Now);
    schedule.started(NOW);
    assert_eq!(schedule.succeeded(false, false, NOW), Next::Wait);
    assert_eq!(schedule.due(false, NOW), Due::At(NOW.plus_ms(POLL_MS)));
    assert_eq!(schedule.due(true, NOW.plus_ms(GATHER_MS)), Due::Now);
}

#[test]
fn failures_wait_and_signals_cut_the_wait_short() {
    let mut schedule = Schedule::new();
    assert_eq!(schedule.failed(&Failure::Offline, false, NOW, 600), Next::Wait);
    assert_eq!(schedule.due(true, NOW), Due::At(NOW.plus_ms(600 + LEAST_MS)));
    schedule.signal(Signal::Online);
    assert_eq!(schedule.due(true, NOW), Due::Now);
}

#[test]
fn after_every_failure_there_is_a_pause_and_a_next_attempt_and_each_signal_ends_the_wait() {
    for failure in all() {
        for (random, repeats) in [(0, 1), (u64::MAX, 1), (u64::MAX, 40), (12_345_678_901, 40)] {
            let mut schedule = Schedule::new();
            let mut next = Next::Wait;
            for _ in 0..repeats {
                next = schedule.failed(&failure, false, NOW, random);
            }
            if next == Next::RefreshToken {
                schedule.failed(&failure, false, NOW, random);
            }
            assert!((LEAST_MS..=LONGEST_MS).contains(&due_in(&schedule)), "{failure:?}: {schedule:?}");
            assert!(schedule.due(false, NOW) != Due::Now, "{failure:?}");
            for signal in [Signal::Online, Signal::Visible, Signal::NewToken, Signal::SyncNow] {
                let mut schedule = Schedule { last_error: None, ..Schedule::new() };
                for _ in 0..2 {
                    schedule.failed(&failure, false, NOW, random);
                }
                schedule.signal(signal);
                assert_eq!(schedule.due(false, NOW), Due::Now, "{failure:?}, {signal:?}");
            }
            schedule.succeeded(false, false, NOW);
            assert_eq!(schedule.due(false, NOW), Due::At(NOW.plus_ms(POLL_MS)), "{failure:?}: no hold stays");
            assert_eq!(schedule.due(true, NOW), Due::Now, "{failure:?}");
        }
    }
}

#[test]
fn waits_grow_with_each_failure_and_begin_anew_after_a_success_and_after_a_signal() {
    // The longest that the dice allow: one below each bound's own multiple.
    let longest = |schedule: &mut Schedule| {
        let attempt = schedule.failures();
        let bound = (1_000u64 << attempt.min(20)).min(300_000);
        schedule.failed(&server(503, None), false, NOW, bound - LEAST_MS);
        due_in(schedule)
    };
    let mut schedule = Schedule::new();
    let grown: Vec<u64> = (0..10).map(|_| longest(&mut schedule)).collect();
    assert_eq!(grown, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map(|seconds| seconds * 1_000));
    schedule.succeeded(false, false, NOW);
    assert_eq!((longest(&mut schedule), longest(&mut schedule)), (1_000, 2_000));
    schedule.signal(Signal::Visible);
    assert_eq!(longest(&mut schedule), 1_000);
}

#[test]
fn a_write_ends_a_long_wait_early_but_does_not_beat_upon_the_server() {
    let mut schedule = Schedule::new();
    for _ in 0..10 {
        schedule.failed(&server(503, None), false, NOW, 299_000);
    }
    assert!(due_in(&schedule) > 200_000);
    schedule.wrote();
    assert_eq!(due_in(&schedule), WRITE_MS);
    schedule.wrote();
    assert_eq!(schedule.due(true, NOW.plus_ms(WRITE_MS)), Due::Now);

    schedule.failed(&server(503, Some(120_000)), false, NOW, 0);
    schedule.wrote();
    assert_eq!(due_in(&schedule), 120_000, "the server has said how long");
    let mut short = Schedule::new();
    short.failed(&Failure::Offline, false, NOW, 0);
    short.wrote();
    assert_eq!(due_in(&short), LEAST_MS, "never later");
}

#[test]
fn writes_one_upon_the_other_share_a_request_a_second() {
    let mut schedule = Schedule::new();
    schedule.started(NOW);
    schedule.succeeded(false, false, NOW);
    let soon = |ms| NOW.plus_ms(ms);
    assert_eq!(schedule.due(true, soon(10)), Due::At(soon(GATHER_MS)));
    assert_eq!(schedule.due(true, soon(GATHER_MS)), Due::Now);
    schedule.started(soon(60_000));
    assert_eq!(schedule.succeeded(false, true, soon(60_050)), Next::Wait, "recorded meanwhile: gathered too");
    assert_eq!(schedule.due(true, soon(60_050)), Due::At(soon(61_000)));
    assert_eq!(schedule.due(true, UnixMillis(0)), Due::Now, "a clock that was set back");
    // What did not fit into one request is no burst.
    schedule.started(soon(70_000));
    assert_eq!(schedule.succeeded(true, true, soon(70_050)), Next::Continue);
    assert_eq!(schedule.due(true, soon(70_050)), Due::Now);
}

#[test]
fn whoever_asks_for_a_sync_waits_for_no_gathering() {
    let mut schedule = Schedule::new();
    schedule.started(NOW);
    schedule.succeeded(false, false, NOW);
    schedule.signal(Signal::SyncNow);
    assert_eq!(schedule.due(true, NOW), Due::Now);
    schedule.started(NOW);
    assert_eq!(schedule.succeeded(false, true, NOW), Next::Continue, "what was recorded meanwhile goes too");
    assert_eq!(schedule.due(true, NOW), Due::Now);
    assert_eq!(schedule.succeeded(false, false, NOW), Next::Wait);
    assert_eq!(schedule.due(true, NOW), Due::At(NOW.plus_ms(GATHER_MS)), "and then it is over");
}

#[test]
fn a_smaller_request_follows_after_a_short_pause_however_many_steps_that_takes() {
    let mut schedule = Schedule::new();
    for _ in 0..9 {
        assert_eq!(schedule.failed(&Failure::ProxyTooLarge, true, NOW, 900), Next::Pause);
        assert_eq!(due_in(&schedule), 1_000);
    }
    assert_eq!(schedule.failed(&Failure::ProxyTooLarge, false, NOW, 900), Next::Wait);
    assert_eq!(schedule.failed(&Failure::Timeout, true, NOW, 900), Next::Wait, "nobody has answered");
}

#[test]
fn a_lost_network_is_told_and_holds_nothing_back() {
    let mut schedule = Schedule::new();
    schedule.signal(Signal::Offline);
    assert_eq!(schedule.connection, Connection::Offline);
    assert_eq!(schedule.due(true, NOW), Due::Now, "the system may be wrong");
    schedule.succeeded(false, false, NOW);
    assert_eq!(schedule.connection, Connection::Online);
}

#[test]
fn a_refused_token_is_refreshed_once_then_waited_for_and_the_next_one_that_ends_is_refreshed_too() {
    let mut schedule = Schedule::new();
    assert_eq!(schedule.failed(&unauthorized(), false, NOW, 0), Next::RefreshToken);
    assert!(schedule.wants_fresh_token());
    assert_eq!(schedule.due(true, NOW), Due::Now);
    assert_eq!(schedule.failed(&unauthorized(), false, NOW, 0), Next::NeedToken);
    assert!(!schedule.wants_fresh_token(), "the next attempt begins with the token that there is then");
    assert!(due_in(&schedule) > 0);
    assert_eq!(schedule.failed(&unauthorized(), false, NOW, 0), Next::RefreshToken);
    schedule.signal(Signal::NewToken);
    assert!(!schedule.wants_fresh_token());
    assert_eq!(schedule.due(true, NOW), Due::Now);

    assert_eq!(schedule.failed(&unauthorized(), false, NOW, 0), Next::RefreshToken);
    schedule.succeeded(false, false, NOW);
    assert!(!schedule.wants_fresh_token());
    assert_eq!(
        schedule.failed(&unauthorized(), false, NOW, 0),
        Next::RefreshToken,
        "the second one that ends"
    );
}

#[test]
fn a_token_that_cannot_be_had_now_is_asked_for_again_and_a_fresh_one_is_still_wanted() {
    let mut schedule = Schedule::new();
    assert_eq!(schedule.failed(&unauthorized(), false, NOW, 0), Next::RefreshToken);
    assert_eq!(schedule.failed(&Failure::TokenUnavailable, false, NOW, 600), Next::Wait);
    assert_eq!(due_in(&schedule), 600 + LEAST_MS);
    assert!(schedule.wants_fresh_token());
    schedule.succeeded(false, false, NOW);
    assert!(!schedule.wants_fresh_token());
}

#[test]
fn a_network_that_comes_back_is_not_told_as_away() {
    let mut schedule = Schedule::new();
    schedule.failed(&Failure::Offline, false, NOW, 0);
    schedule.signal(Signal::Online);
    assert_eq!(schedule.connection, Connection::Unknown);
}

#[test]
fn a_missing_token_says_nothing_about_the_network() {
    let mut schedule = Schedule::new();
    schedule.failed(&Failure::OtherUser, false, NOW, 0);
    assert_eq!(schedule.connection, Connection::Unknown);
    schedule.failed(&unauthorized(), false, NOW, 0);
    assert_eq!(schedule.connection, Connection::Online);
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let mut schedule = Schedule::new();
    schedule.failed(&server(503, Some(30_000)), false, NOW, 5);
    assert_eq!(schedule.due(true, NOW), Due::At(NOW.plus_ms(30_000)));
    schedule.failed(&Failure::UpgradeRequired, false, NOW, 5);
    assert_eq!(schedule.due(true, NOW), Due::At(NOW.plus_ms(LONGEST_MS)));
}

#[test]
fn a_mirror_that_fails_is_told_and_not_tried_again_at_once() {
    let mut schedule = Schedule::new();
    schedule.mirror_failed(&Error::StorageFull, NOW, 500);
    assert_eq!(schedule.last_error.as_ref().unwrap().code, "storage_full");
    assert_eq!(schedule.due(true, NOW), Due::At(NOW.plus_ms(500 + LEAST_MS)));
}

#[test]
fn what_never_moves_on_is_asked_ever_more_rarely() {
    let mut schedule = Schedule::new();
    let mut waits = Vec::new();
    for failures in 0..5 {
        schedule.succeeded(true, false, NOW);
        assert_eq!(schedule.stalled(NOW, (1_000 << failures) - LEAST_MS, failures), Next::Wait);
        waits.push(due_in(&schedule));
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000]);
    assert_eq!(schedule.last_error.as_ref().unwrap().code, "no_progress");
}

#[test]
fn a_clock_set_back_by_years_does_not_make_it_wait_for_years() {
    let mut schedule = Schedule::new();
    schedule.succeeded(false, false, NOW);
    let years_ago = UnixMillis(NOW.0 - 3 * 365 * 86_400_000);
    assert_eq!(schedule.due(false, years_ago), Due::Now);
    schedule.failed(&Failure::UpgradeRequired, false, NOW, 0);
    assert_eq!(schedule.due(false, years_ago), Due::Now);
}
