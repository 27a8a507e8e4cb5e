//! Step by step: how long a request about a file may take, what is told while it is under way, and what a break leaves.

use super::transfers::{Storage, answer, export, input, state, stored, sync};
use super::*;
use crate::engine::transfers::{Transfer, TransferFailure};
use crate::model::{ExportChange, ExportStatus, FileState, FileView};
use crate::transfer::{PIECE_BYTES, TransferAnswer, TransferBody};

/// An engine with files of these sizes, whose exports the server has.
fn with_files<const N: usize>(sizes: [u64; N]) -> (Engine, [MutationId; N]) {
    let (mut engine, mut server) = (engine(), Server::default());
    let ids = sizes.map(|size| export(&mut engine, size));
    sync(&mut engine, &mut server, 0);
    (engine, ids)
}

fn next(engine: &mut Engine, seconds: i64) -> Transfer {
    engine.next_transfer(at(seconds)).unwrap().expect("a request")
}

fn take(engine: &mut Engine, transfer: &Transfer, answer: TransferAnswer, seconds: i64) {
    engine.apply_transfer(transfer.ticket, Ok(answer), at(seconds)).unwrap();
}

fn view(engine: &Engine, id: MutationId) -> FileView {
    engine.files().unwrap().into_iter().find(|file| file.export_id == id).unwrap()
}

fn last_error(engine: &Engine, id: MutationId) -> Option<String> {
    view(engine, id).last_error.map(|error| error.code)
}

#[test]
fn a_request_may_take_as_long_as_its_bytes_do_on_a_slow_line() {
    let (mut engine, _) = with_files([10]);
    assert_eq!(next(&mut engine, 1).timeout_ms, 30_000);
    let (mut engine, _) = with_files([PIECE_BYTES]);
    assert_eq!(next(&mut engine, 1).timeout_ms, 30_000 + PIECE_BYTES / 16);
    let (mut engine, _) = with_files([PIECE_BYTES + 160]);
    let mut storage = Storage::default();
    // Asking for an upload, its first piece, its last one.
    for expected in [30_000, 30_000 + PIECE_BYTES / 16, 30_010] {
        let transfer = next(&mut engine, 1);
        assert_eq!((transfer.timeout_ms, transfer.fresh_token), (expected, false));
        let answer = storage.take(&transfer, None);
        take(&mut engine, &transfer, answer, 1);
    }
}

#[test]
fn what_is_under_way_is_told_and_only_of_its_own_file() {
    let (mut engine, [first, second]) = with_files([2 * PIECE_BYTES, 10]);
    let mut storage = Storage::default();
    let current = |engine: &Engine| engine.status(at(1)).unwrap().files.current.map(|file| file.export_id);
    assert_eq!(current(&engine), None);
    let created = next(&mut engine, 1);
    assert_eq!((created.export_id, current(&engine)), (first, Some(first)));
    let answer = storage.take(&created, None);
    take(&mut engine, &created, answer, 1);
    assert_eq!((current(&engine), state(&engine, first)), (None, Some(FileState::Uploading)));
    let piece = next(&mut engine, 1);
    engine.note_transfer(piece.ticket, 7);
    engine.note_transfer(created.ticket, 99);
    assert_eq!(
        (view(&engine, first).sent, view(&engine, second).sent),
        (7, 0),
        "of a request that is over nothing"
    );
    let answer = storage.take(&piece, None);
    take(&mut engine, &piece, answer, 1);
    assert_eq!(view(&engine, first).sent, PIECE_BYTES);
    let piece = next(&mut engine, 1);
    engine.note_transfer(piece.ticket, 7);
    assert_eq!(view(&engine, first).sent, PIECE_BYTES + 7, "on top of what the server has");
    let files = engine.status(at(1)).unwrap().files;
    assert_eq!((files.current.unwrap().sent, files.bytes_waiting), (PIECE_BYTES + 7, PIECE_BYTES - 7 + 10));
}

#[test]
fn one_request_that_is_given_up_or_whose_file_is_leaves_the_others() {
    let (mut engine, [first, second]) = with_files([2 * PIECE_BYTES, 10]);
    let mut storage = Storage::default();
    let created = next(&mut engine, 1);
    let answer = storage.take(&created, None);
    take(&mut engine, &created, answer, 1);
    let piece = next(&mut engine, 1);
    assert!(engine.next_transfer_wake(at(1)).unwrap().is_none(), "one is under way");
    engine.abandon_transfer(created.ticket);
    assert!(engine.next_transfer(at(1)).unwrap().is_none(), "and still is");
    engine.abandon_transfer(piece.ticket);
    assert_eq!(engine.next_transfer_wake(at(1)).unwrap(), Some(at(1).unix_ms));
    let asked = next(&mut engine, 1);
    assert_eq!(asked.request.method, "HEAD", "how much of the piece came is not known");
    let late = engine.apply_transfer(piece.ticket, Ok(stored(&piece)), at(1)).unwrap_err();
    assert_eq!(late.code(), "stale_ticket");
    // The other file is given up, and nothing is to be asked about it.
    engine.cancel_file(second, at(1)).unwrap();
    let answer = storage.take(&asked, None);
    take(&mut engine, &asked, answer, 1);
    let piece = next(&mut engine, 1);
    engine.cancel_file(first, at(1)).unwrap();
    let late = engine.apply_transfer(piece.ticket, Ok(stored(&piece)), at(1)).unwrap_err();
    assert_eq!((late.code(), next(&mut engine, 1).request.method), ("stale_ticket", "DELETE"));
}

#[test]
fn nothing_is_asked_while_the_app_forbids_the_network_or_there_is_no_file() {
    assert_eq!(engine().next_transfer_wake(at(0)).unwrap(), None);
    let (mut engine, _) = with_files([10]);
    engine.set_online(false);
    assert!(engine.next_transfer(at(1)).unwrap().is_none());
    assert_eq!(engine.next_transfer_wake(at(1)).unwrap(), None);
    engine.set_online(true);
    let transfer = next(&mut engine, 1);
    take(&mut engine, &transfer, stored(&transfer), 1);
    assert_eq!(engine.next_transfer_wake(at(1)).unwrap(), Some(at(901).unix_ms), "for what expires");
}

/// The last piece arrived and its answer did not: nothing tells whether an object was made of it.
#[test]
fn an_upload_that_turns_out_complete_is_looked_for() {
    let (mut engine, [id]) = with_files([PIECE_BYTES + 1]);
    let mut storage = Storage::default();
    for _ in 0..2 {
        let transfer = next(&mut engine, 1);
        let answer = storage.take(&transfer, None);
        take(&mut engine, &transfer, answer, 1);
    }
    let last = next(&mut engine, 1);
    storage.take(&last, None);
    let lost = Err(TransferFailure::Network(Failure::ConnectionLost));
    engine.apply_transfer(last.ticket, lost, at(1)).unwrap();
    assert_eq!(last_error(&engine, id).as_deref(), Some("connection_lost"));
    for method in ["HEAD", "GET"] {
        let transfer = next(&mut engine, 3);
        assert_eq!(transfer.request.method, method);
        let answer = storage.take(&transfer, None);
        take(&mut engine, &transfer, answer, 3);
    }
    assert_eq!((state(&engine, id), last_error(&engine, id)), (Some(FileState::Uploaded), None));
}

#[test]
fn a_piece_of_which_nothing_was_taken_is_not_sent_again_at_once() {
    let (mut engine, [id]) = with_files([2 * PIECE_BYTES]);
    let created = next(&mut engine, 1);
    let answer = Storage::default().take(&created, None);
    take(&mut engine, &created, answer, 1);
    let piece = next(&mut engine, 1);
    take(&mut engine, &piece, TransferAnswer { upload_offset: Some(0), ..self::answer(204, "") }, 1);
    assert_eq!(last_error(&engine, id).as_deref(), Some("no_progress"));
    assert!(engine.next_transfer(at(1)).unwrap().is_none());
    assert_eq!(next(&mut engine, 3).request.method, "HEAD");
}

#[test]
fn waits_grow_and_a_person_or_a_signal_ends_them() {
    let (mut engine, [id]) = with_files([10]);
    let mut longest = Vec::new();
    for round in 0..12 {
        let seconds = 1 + round * 1_000;
        let transfer = next(&mut engine, seconds);
        take(&mut engine, &transfer, answer(503, ""), seconds);
        let wake = engine.next_transfer_wake(at(seconds)).unwrap().unwrap();
        longest.push(wake.0 - at(seconds).unix_ms.0);
    }
    assert!(longest.iter().all(|wait| (100..=300_000).contains(wait)), "{longest:?}");
    assert!(longest[0] <= 1_000 && longest.iter().any(|wait| *wait > 30_000), "{longest:?}");
    let asks: [fn(&mut Engine, MutationId); 3] = [
        |engine, id| engine.retry_file(id).unwrap(),
        |engine, id| engine.pause_file(id, false).unwrap(),
        |engine, _| engine.signal_files(),
    ];
    for ask in asks {
        let transfer = next(&mut engine, 20_000);
        take(
            &mut engine,
            &transfer,
            TransferAnswer { retry_after_ms: Some(600_000), ..answer(503, "") },
            20_000,
        );
        assert!(engine.next_transfer(at(20_599)).unwrap().is_none(), "the server has said how long");
        ask(&mut engine, id);
        let wake = engine.next_transfer_wake(at(20_000)).unwrap();
        assert!(wake.is_some_and(|wake| wake <= at(20_000).unix_ms), "{wake:?}");
    }
    // A clock that was set back by years makes nothing wait for them.
    let transfer = next(&mut engine, 20_000);
    take(&mut engine, &transfer, answer(503, ""), 20_000);
    next(&mut engine, -100_000_000);
}

#[test]
fn an_export_that_was_decided_about_stays_so_whatever_becomes_of_its_file() {
    for (status, shown, is_dated) in
        [(None, "completed", true), (Some(ExportStatus::Failed), "failed", false)]
    {
        let (mut engine, [id]) = with_files([10]);
        if status.is_some() {
            let change = ExportChange { status, ..ExportChange::default() };
            engine.mutate(Change::UpdateExport { id, change }, at(1)).unwrap();
        }
        let transfer = next(&mut engine, 2);
        take(&mut engine, &transfer, stored(&transfer), 2);
        let export = engine.export(id).unwrap().unwrap();
        assert_eq!(
            (export.status.as_str(), export.completed_at),
            (shown, is_dated.then(|| at(2).timestamp()))
        );
        assert_eq!(export.file_url, Some(input(10).url(user(), id)));
    }
    // One that says when it was completed keeps that.
    let (mut engine, [id]) = with_files([10]);
    let change = ExportChange { completed_at: Some(at(1).timestamp()), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id, change }, at(1)).unwrap();
    let transfer = next(&mut engine, 2);
    take(&mut engine, &transfer, stored(&transfer), 2);
    assert_eq!(engine.export(id).unwrap().unwrap().completed_at, Some(at(1).timestamp()));
}

#[test]
fn a_file_that_is_held_back_waits_until_it_is_let_go() {
    let (mut engine, [id]) = with_files([10]);
    engine.pause_file(id, true).unwrap();
    assert!(engine.next_transfer(at(1)).unwrap().is_none() && view(&engine, id).paused);
    engine.pause_file(id, false).unwrap();
    next(&mut engine, 1);
    let unknown = engine.make_export_id(at(0)).unwrap();
    for refused in
        [engine.pause_file(unknown, true), engine.retry_file(unknown), engine.cancel_file(unknown, at(1))]
    {
        assert_eq!(refused.unwrap_err().code(), "invalid_input");
    }
}

#[test]
fn a_refused_file_can_be_tried_again_only_with_its_bytes() {
    let (mut engine, [id]) = with_files([10]);
    engine.retry_file(id).unwrap();
    assert_eq!(state(&engine, id), Some(FileState::Waiting), "nothing was refused");
    engine.sweep_files(&[]).unwrap();
    assert_eq!(
        (state(&engine, id), last_error(&engine, id).as_deref()),
        (Some(FileState::Refused), Some("file_missing"))
    );
    assert_eq!(engine.retry_file(id).unwrap_err().code(), "invalid_input");
    // A file that was uploaded loses its bytes here without a word.
    let (mut engine, [id]) = with_files([10]);
    let transfer = next(&mut engine, 1);
    take(&mut engine, &transfer, stored(&transfer), 1);
    engine.sweep_files(&[]).unwrap();
    assert_eq!((state(&engine, id), last_error(&engine, id)), (Some(FileState::Uploaded), None));
    assert!(!view(&engine, id).on_device);
}

/// The bytes were gone, or others, when they were to be sent.
#[test]
fn bytes_that_cannot_be_read_are_told_and_not_asked_for_again() {
    let (mut engine, [id]) = with_files([10]);
    let transfer = next(&mut engine, 1);
    engine.apply_transfer(transfer.ticket, Err(TransferFailure::Bytes), at(1)).unwrap();
    assert_eq!(
        (state(&engine, id), last_error(&engine, id).as_deref()),
        (Some(FileState::Refused), Some("file_missing"))
    );
    assert!(engine.next_transfer(at(1_000)).unwrap().is_none());
}

/// Bytes that were damaged on the device went up under the hash of the good ones, and no device could read them.
#[test]
fn what_makes_or_begins_an_object_names_the_hash_that_its_bytes_must_have() {
    for (size, expected) in [
        (10, vec![("POST", 10, true)]),
        (
            2 * PIECE_BYTES + 1,
            vec![
                ("POST", 0, true),
                ("PATCH", PIECE_BYTES, false),
                ("PATCH", PIECE_BYTES, false),
                ("PATCH", 1, true),
            ],
        ),
    ] {
        let (mut engine, [_]) = with_files([size]);
        let mut storage = Storage::default();
        for (method, bytes, is_checked) in expected {
            let transfer = next(&mut engine, 1);
            let TransferBody::File { length, sha256, .. } = &transfer.request.body else {
                panic!("{transfer:?}")
            };
            assert_eq!((transfer.request.method, *length), (method, bytes));
            assert_eq!(*sha256, is_checked.then(|| input(size).sha256));
            let answer = storage.take(&transfer, None);
            take(&mut engine, &transfer, answer, 1);
        }
        assert!(engine.next_transfer(at(1)).unwrap().is_none());
    }
}

/// Asked for ever how much it had, a server answered for ever something else.
#[test]
fn an_upload_about_which_the_server_says_nothing_of_use_begins_again() {
    let more_than_all = TransferAnswer { upload_offset: Some(3 * PIECE_BYTES), ..answer(200, "") };
    for (said, is_at_once) in [
        (more_than_all, true),
        (answer(400, ""), false),
        (answer(405, ""), false),
        (answer(403, ""), false),
        (answer(500, ""), false),
        (answer(200, ""), false),
    ] {
        for asks in [true, false] {
            let (mut engine, [id]) = with_files([2 * PIECE_BYTES]);
            let mut storage = Storage::default();
            let created = next(&mut engine, 1);
            let begun = storage.take(&created, None);
            take(&mut engine, &created, begun, 1);
            if asks {
                let piece = next(&mut engine, 1);
                engine.abandon_transfer(piece.ticket);
            }
            let mut answers = 0;
            let mut now = 1;
            let again = loop {
                let Some(transfer) = engine.next_transfer(at(now)).unwrap() else {
                    now += 10;
                    continue;
                };
                if transfer.request.path.ends_with("/resumable") {
                    break transfer;
                }
                answers += 1;
                assert!(answers < 100, "{said:?}: it asks for ever");
                take(&mut engine, &transfer, said.clone(), now);
            };
            assert!(if is_at_once { answers <= 2 } else { answers > 30 }, "{said:?}: {answers}");
            // And from there it gets on.
            let begun = storage.take(&again, None);
            take(&mut engine, &again, begun, now);
            while let Some(transfer) = engine.next_transfer(at(now)).unwrap() {
                let answer = storage.take(&transfer, None);
                take(&mut engine, &transfer, answer, now);
            }
            assert_eq!(state(&engine, id), Some(FileState::Uploaded));
        }
    }
}

#[test]
fn who_retries_goes_on_where_the_upload_was() {
    let folder = tempfile::tempdir().unwrap();
    let place = Location::File(folder.path().join("mirror.sqlite3"));
    let (mut engine, mut server, mut storage) =
        (open(&place).unwrap(), Server::default(), Storage::default());
    let id = export(&mut engine, 3 * PIECE_BYTES);
    sync(&mut engine, &mut server, 0);
    let step = |engine: &mut Engine| {
        let transfer = next(engine, 1);
        let said =
            format!("{} {}", transfer.request.method, transfer.request.path.rsplit('/').next().unwrap());
        engine.abandon_transfer(transfer.ticket);
        said
    };
    let mut send = |engine: &mut Engine| {
        let transfer = next(engine, 1);
        let answer = storage.take(&transfer, None);
        take(engine, &transfer, answer, 1);
    };
    send(&mut engine);
    send(&mut engine);
    // The network broke: what has arrived is there.
    engine.retry_file(id).unwrap();
    let piece = next(&mut engine, 1);
    assert_eq!(piece.request.method, "PATCH");
    let lost = Err(TransferFailure::Network(Failure::ConnectionLost));
    engine.apply_transfer(piece.ticket, lost, at(1)).unwrap();
    engine.retry_file(id).unwrap();
    let asked = next(&mut engine, 1);
    assert_eq!(asked.request.method, "HEAD");
    take(&mut engine, &asked, answer(400, ""), 1);
    engine.retry_file(id).unwrap();
    assert_eq!(step(&mut engine), "HEAD u0");
    // Another process has heard nothing of it, and asks.
    engine.close().unwrap();
    let mut engine = open(&place).unwrap();
    engine.retry_file(id).unwrap();
    assert_eq!(step(&mut engine), "HEAD u0");
}
