//! What is too large, too slow or never ends: asked for smaller, after a pause, and nothing is set aside for it.

use super::*;
use crate::engine::exchange::BATCH_BYTES;
use crate::queue::weight;
use crate::sync::Next;

fn record_many(engine: &mut Engine, count: usize) {
    for _ in 0..count {
        record(engine, 1);
    }
}

/// Lets the time pass and the device send whenever it wants to, for so many seconds. Gives the requests that it made.
fn live(
    engine: &mut Engine,
    from: i64,
    seconds: i64,
    mut answer: impl FnMut(&SyncRequest) -> Result<SyncAnswer, Failure>,
) -> Vec<SyncRequest> {
    let mut requests = Vec::new();
    let mut now = at(from);
    while now.unix_ms < at(from + seconds).unix_ms {
        match engine.next_request(now).unwrap() {
            Some(outgoing) => {
                // A good line: 10 ms for an answer.
                now.unix_ms = now.unix_ms.plus_ms(10);
                let outcome = answer(&outgoing.request);
                engine.apply_response(outgoing.ticket, outcome, now).unwrap();
                requests.push(outgoing.request);
            }
            None => {
                let wake = engine.next_wake(now).unwrap().expect("a next attempt");
                now.unix_ms = wake.max(now.unix_ms.plus_ms(1));
            }
        }
    }
    requests
}

#[test]
fn a_proxy_that_refuses_for_twenty_seconds_costs_a_few_requests_and_no_session() {
    let (mut engine, mut server) = (engine(), Server::default());
    record_many(&mut engine, 500);
    let refused = live(&mut engine, 0, 20, |_| Err(Failure::ProxyTooLarge));
    assert!((5..=30).contains(&refused.len()), "{} requests", refused.len());
    let sizes: Vec<usize> = refused.iter().map(|request| request.mutations.len()).collect();
    assert!(sizes.windows(2).all(|two| two[1] <= two[0].div_ceil(2).max(1)), "{sizes:?}");
    let status = engine.status(at(20)).unwrap();
    assert_eq!((status.pending, status.rejected, totals(&engine)), (500, 0, (500, 500)));
    assert_eq!(status.last_error.unwrap().code, "proxy_too_large");

    let sent = live(&mut engine, 20, 400, |request| Ok(server.take(request)));
    assert_eq!((engine.status(at(420)).unwrap().pending, server.sessions.len()), (0, 500));
    assert!(sent.len() < 30, "it grows again: {} requests", sent.len());
}

#[test]
fn an_answer_that_is_too_large_is_asked_for_smaller_and_nothing_is_set_aside() {
    let (mut engine, mut server) = (engine(), Server::default());
    record_many(&mut engine, 4);
    let asked = live(&mut engine, 0, 60, |request| match request.limit {
        0..=250 => Ok(server.take(request)),
        _ => Err(Failure::AnswerTooLarge),
    });
    let limits: Vec<(u32, Option<u32>)> =
        asked.iter().map(|request| (request.limit, request.limit_bytes)).take(4).collect();
    let kib = |kib: u32| Some(kib * 1024);
    assert_eq!(limits, [(2_000, None), (1_000, kib(512)), (500, kib(256)), (250, kib(128))]);
    let status = engine.status(at(60)).unwrap();
    assert_eq!((status.pending, status.rejected, server.sessions.len()), (0, 0, 4));
}

#[test]
fn timeouts_halve_the_bytes_and_the_time_limit_follows_them() {
    let mut engine = engine();
    let heavy = |n: usize| SessionInput {
        session_data: serde_json::from_value(json!({ "words": format!("{n}").repeat(2_000) })).unwrap(),
        ..session(1)
    };
    for n in 100..400 {
        engine.mutate(heavy(n).into(), at(0)).unwrap();
    }
    let mut last: Option<(usize, u64)> = None;
    for _ in 0..4 {
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = send(&mut engine);
        let bytes: usize = outgoing.request.mutations.iter().map(|sent| sent.values.get().len()).sum();
        // On a line of 20 KB/s.
        assert!(outgoing.timeout_ms > bytes as u64 / 20 + 20_000, "{bytes} bytes in {}", outgoing.timeout_ms);
        if let Some((before, limit)) = last {
            assert!(bytes <= before / 2 && outgoing.timeout_ms < limit, "{bytes} after {before}");
        }
        last = Some((bytes, outgoing.timeout_ms));
        engine.apply_response(outgoing.ticket, Err(Failure::Timeout), at(0)).unwrap();
    }
    assert!(engine.status(at(0)).unwrap().limits.batch_bytes < 100_000);
}

#[test]
fn a_batch_has_one_to_five_hundred_changes_that_fit_into_one_request() {
    for (count, fits) in [(0, false), (1, true), (500, true), (501, false)] {
        let made = engine().mutate_batch(None, (0..count).map(|_| session(1).into()).collect(), at(0));
        let made = made.map(|made| made.len()).map_err(|error| error.code());
        assert_eq!(made, if fits { Ok(count) } else { Err("invalid_input") });
    }
    let letters = |length: usize| -> Change {
        let session_data = serde_json::from_value(json!({ "words": "x".repeat(length) })).unwrap();
        SessionInput { session_data, ..session(1) }.into()
    };
    let mut one = engine();
    one.mutate(letters(10), at(0)).unwrap();
    let least = weight(send(&mut one).request.mutations[0].values.get()) - 10;
    let (count, room) = (20, BATCH_BYTES - 20 * least);
    for (more, fits) in [(0, true), (1, false)] {
        let lengths = (0..count).map(|at| if at == 0 { room % count + more } else { 0 } + room / count);
        let made = engine().mutate_batch(None, lengths.map(letters).collect(), at(0));
        assert_eq!(
            made.map(|made| made.len()).ok(),
            fits.then_some(count),
            "{more} more than a request takes"
        );
    }
}

#[test]
fn a_program_that_runs_once_at_a_time_learns_too() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let (mut sizes, mut server) = (Vec::new(), Server::default());
    for turn in 0..6 {
        let mut engine = open(&location).unwrap();
        if turn == 0 {
            record_many(&mut engine, 500);
        }
        let outgoing = send(&mut engine);
        sizes.push(outgoing.request.mutations.len());
        let outcome = if turn < 3 { Err(Failure::ServerTimeout) } else { Ok(server.take(&outgoing.request)) };
        engine.apply_response(outgoing.ticket, outcome, at(0)).unwrap();
    }
    assert_eq!(sizes, [500, 250, 125, 62, 125, 250], "from what fails, and from what goes well");
}

/// What is too large alone must not be sent again; what came together may go one by one.
#[test]
fn of_what_is_too_large_only_what_cannot_be_divided_is_set_aside() {
    for (batches, rejected) in [(0, 0), (1, 2), (2, 0)] {
        let mut engine = engine();
        let changes = || vec![session(1).into(), session(2).into()];
        engine
            .mutate_all(changes().into_iter().filter(|_| batches == 0).map(|it| (None, it)).collect(), at(0))
            .unwrap();
        for _ in 0..batches {
            engine.mutate_batch(None, changes(), at(0)).unwrap();
        }
        let outgoing = send(&mut engine);
        assert_eq!(outgoing.request.mutations.len(), 2 * batches.max(1));
        engine.apply_response(outgoing.ticket, Err(Failure::TooLarge), at(0)).unwrap();
        assert_eq!(engine.status(at(0)).unwrap().rejected, rejected, "{batches} batches");
    }
}

#[test]
fn a_cursor_that_does_not_move_is_a_failure_and_what_came_with_it_counts() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let requests = live(&mut engine, 0, 45, |request| {
        let cursor = request.cursor.clone().unwrap_or(Cursor { version: 1, epoch: "0".to_owned() });
        Ok(SyncAnswer { has_more: true, cursor, ..server.take(request) })
    });
    assert!((3..=30).contains(&requests.len()), "{} requests in 45 s", requests.len());
    assert!(requests[1].mutations.is_empty(), "it was acknowledged");
    let status = engine.status(at(45)).unwrap();
    assert_eq!((status.pending, status.last_error.unwrap().code.as_str()), (0, "no_progress"));
    let well = live(&mut engine, 400, 1, |request| Ok(server.take(request)));
    assert_eq!((well.len(), engine.status(at(401)).unwrap().last_error), (1, None));
}

#[test]
fn a_new_history_with_each_answer_is_no_progress_either() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let mut epoch = 1;
    let requests = live(&mut engine, 0, 45, |request| {
        epoch += 1;
        server.epoch = epoch;
        Ok(SyncAnswer { reset: true, ..server.take(request) })
    });
    assert!(requests.len() <= 30, "{} requests in 45 s", requests.len());
    assert_eq!(totals(&engine), (1, 10));
}

#[test]
fn what_cannot_be_read_is_told_with_what_was_applied() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let outgoing = send(&mut engine);
    let answer = SyncAnswer { protocol: 2, ..server.take(&outgoing.request) };
    let applied = engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((applied.failure, applied.next), (Some(Failure::Unintelligible), Next::Wait));
}

#[test]
fn ten_writes_a_second_share_a_request_a_second_and_a_single_one_goes_at_once() {
    let (mut engine, mut server) = (engine(), Server::default());
    live(&mut engine, 0, 10, |request| Ok(server.take(request)));
    let mut requests = 0;
    for tenth in 0..50 {
        let now = Now { unix_ms: at(20).unix_ms.plus_ms(tenth * 100), ..at(0) };
        engine.mutate(session(1).into(), now).unwrap();
        if let Some(outgoing) = engine.next_request(now).unwrap() {
            assert!(tenth > 0 || outgoing.request.mutations.len() == 1, "the first one goes at once");
            requests += 1;
            let answer = server.take(&outgoing.request);
            engine.apply_response(outgoing.ticket, Ok(answer), now).unwrap();
        }
    }
    assert_eq!(requests, 5, "in five seconds");
    assert_eq!(live(&mut engine, 25, 2, |request| Ok(server.take(request))).len(), 1);
    assert_eq!(server.sessions.len(), 50);

    // Whoever asks does not wait.
    engine.mutate(session(1).into(), at(26)).unwrap();
    engine.signal(Signal::SyncNow, at(26));
    let outgoing = engine.next_request(at(26)).unwrap().expect("at once");
    engine.mutate(session(1).into(), at(26)).unwrap();
    let applied = engine.apply_response(outgoing.ticket, Ok(server.take(&outgoing.request)), at(26)).unwrap();
    assert_eq!(applied.next, Next::Continue);
    assert!(engine.next_request(at(26)).unwrap().is_some());
}

#[test]
fn a_long_queue_is_no_burst() {
    let (mut engine, mut server) = (engine(), Server::default());
    record_many(&mut engine, 2_000);
    let requests = live(&mut engine, 0, 1, |request| Ok(server.take(request)));
    assert_eq!((requests.len(), server.sessions.len()), (4, 2_000), "one after the other, within a second");
}

#[test]
fn a_mark_tells_what_was_exchanged_since_by_whichever_engine() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let (mut one, mut other, mut server) =
        (open(&location).unwrap(), open(&location).unwrap(), Server::default());
    let refused = record(&mut one, 1);
    server.reject.push(refused);
    record_many(&mut one, 3);
    let mark = one.sync_mark().unwrap();
    let outgoing = send(&mut other);
    other.apply_response(outgoing.ticket, Ok(server.take(&outgoing.request)), at(0)).unwrap();
    let [pushed, rejected, pulled] = mark.until(one.sync_mark().unwrap());
    assert_eq!((pushed, rejected), (3, 1));
    assert!(pulled > 0);
}

#[test]
fn the_doctor_asks_what_the_next_sync_would_ask_and_sends_nothing() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    let first = send(&mut engine);
    engine.apply_response(first.ticket, Ok(server.take(&first.request)), at(0)).unwrap();
    record(&mut engine, 10);
    let status = engine.status(at(0)).unwrap();
    assert_eq!((status.cursor, status.limits.mutations, status.limits.page_rows), (Some(1), 500, 2_000));
    let probe = engine.probe().unwrap();
    assert_eq!((probe.mutations.len(), probe.cursor.map(|cursor| cursor.version)), (0, Some(1)));
    assert!(engine.can_read(&server.page()));
    assert!(!engine.can_read(&SyncAnswer { protocol: 2, ..server.page() }));
}
