//! Files against a scripted object storage: every break, every refusal, and in which order an export and its file reach the
//! server. The real routes are met in the whole-system tests.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::engine::FileSource;
use crate::engine::transfers::{Transfer, TransferFailure};
use crate::model::{ExportChange, ExportInput, FileInput, FileState};
use crate::transfer::{PIECE_BYTES, TransferAnswer, TransferBody};

pub(super) const QUOTA: u64 = 100 * PIECE_BYTES;

/// Supabase's Storage, as far as a device sees it.
#[derive(Default)]
pub(super) struct Storage {
    pub(super) objects: BTreeSet<String>,
    /// Uploads by id: whose object, how long, how much of it has come.
    uploads: BTreeMap<String, (String, u64, u64)>,
    /// Objects that have been made, each as often as it was.
    made: Vec<String>,
}

pub(super) fn answer(status: u16, body: &str) -> TransferAnswer {
    TransferAnswer { status, body: body.to_owned(), ..TransferAnswer::default() }
}

fn refusal(code: &str) -> TransferAnswer {
    answer(
        400,
        &format!(r#"{{"statusCode":"400","error":"x","code":"{code}","message":"row-level security"}}"#),
    )
}

impl Storage {
    /// Carries a request out. `taken`: how many bytes of its body arrive before the connection breaks.
    pub(super) fn take(&mut self, transfer: &Transfer, taken: Option<u64>) -> TransferAnswer {
        let request = &transfer.request;
        let header =
            |name: &str| request.headers.iter().find(|(it, _)| *it == name).map(|(_, it)| it.as_str());
        let path = request.path.strip_prefix("/storage/v1/").unwrap();
        let length = match &request.body {
            TransferBody::File { length, .. } => taken.unwrap_or(*length).min(*length),
            TransferBody::Empty => 0,
        };
        match (request.method, path) {
            ("POST", "upload/resumable") => {
                let metadata = header("upload-metadata").unwrap();
                let id = format!("u{}", self.uploads.len());
                let object = metadata.split(',').find_map(|it| it.strip_prefix("objectName ")).unwrap();
                let size = header("upload-length").unwrap().parse().unwrap();
                self.uploads.insert(id.clone(), (object.to_owned(), size, 0));
                let location = Some(format!("http://x/storage/v1/upload/resumable/{id}"));
                TransferAnswer { location, ..answer(201, "") }
            }
            (method, path) if path.starts_with("upload/resumable/") => {
                let id = path.strip_prefix("upload/resumable/").unwrap();
                let Some((object, size, offset)) = self.uploads.get_mut(id) else { return answer(404, "") };
                if method == "PATCH" {
                    if header("upload-offset") != Some(&offset.to_string()) {
                        return answer(409, "Upload-Offset conflict");
                    }
                    *offset += length;
                    if *offset == *size {
                        let object = object.clone();
                        self.objects.insert(object.clone());
                        self.made.push(object);
                    }
                }
                let offset = self.uploads[id].2;
                TransferAnswer {
                    upload_offset: Some(offset),
                    ..answer(if method == "HEAD" { 200 } else { 204 }, "")
                }
            }
            ("POST", object) => {
                let whole = matches!(&request.body, TransferBody::File { length: all, .. } if *all == length);
                if !whole {
                    return answer(400, "");
                }
                if !self.objects.insert(object.to_owned()) {
                    return refusal("ResourceAlreadyExists");
                }
                self.made.push(object.to_owned());
                stored(transfer)
            }
            ("GET", _) if self.objects.is_empty() => refusal("NoSuchKey"),
            ("GET", _) => {
                let name = path.strip_prefix("object/info/authenticated/").unwrap();
                answer(200, &format!(r#"{{"id":"1","name":"{name}"}}"#))
            }
            ("DELETE", object) => {
                if !self.objects.remove(object) && !self.uploads.is_empty() {
                    self.objects.clear();
                }
                answer(200, r#"{"message":"Successfully deleted"}"#)
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn input(size: u64) -> FileInput {
    let sha256 = format!("{size:064x}");
    FileInput { sha256, extension: "csv".to_owned(), content_type: "text/csv".to_owned(), size }
}

pub(super) fn export(engine: &mut Engine, size: u64) -> MutationId {
    let id = engine.make_export_id(at(0)).unwrap();
    let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
    let export = ExportInput { id: Some(id), export_type, export_format, ..ExportInput::default() };
    engine.create_export_with_file(export, input(size), QUOTA, at(0)).unwrap();
    id
}

pub(super) fn sync(engine: &mut Engine, server: &mut Server, now: i64) {
    engine.signal(Signal::SyncNow, at(now));
    while let Some(outgoing) = engine.next_request(at(now)).unwrap() {
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(now)).unwrap();
    }
}

pub(super) fn state(engine: &Engine, id: MutationId) -> Option<FileState> {
    engine.files().unwrap().into_iter().find(|it| it.export_id == id).map(|it| it.state)
}

#[test]
fn a_file_goes_after_its_export_and_then_the_export_says_where_it_is() {
    for (size, requests) in [(0, 1), (10, 1), (PIECE_BYTES, 1), (PIECE_BYTES + 1, 3), (3 * PIECE_BYTES, 4)] {
        let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
        let id = export(&mut engine, size);
        assert!(engine.next_transfer(at(0)).unwrap().is_none(), "the server has no row for it yet");
        sync(&mut engine, &mut server, 0);
        let mut sent = 0;
        while let Some(transfer) = engine.next_transfer(at(1)).unwrap() {
            assert!(engine.next_transfer(at(1)).unwrap().is_none(), "one at a time");
            let answer = storage.take(&transfer, None);
            engine.apply_transfer(transfer.ticket, Ok(answer), at(1)).unwrap();
            sent += 1;
        }
        assert_eq!((sent, storage.made.len()), (requests, 1), "{size}");
        assert_eq!(state(&engine, id), Some(FileState::Uploaded));
        let known = engine.export(id).unwrap().unwrap();
        let url = format!("storage://marea-exports/{}/{id}/{size:064x}.csv", user());
        assert_eq!((known.file_url, known.status.as_str()), (Some(url.clone()), "completed"));
        assert_eq!(known.file_size_bytes, i64::try_from(size).ok());
        sync(&mut engine, &mut server, 2);
        assert_eq!(server.exports[&id.to_string()]["file_url"], url);
        assert_eq!(engine.status(at(2)).unwrap().pending, 0);
    }
}

#[test]
fn whatever_breaks_it_arrives_once_and_whole() {
    for seed in 0..400_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut dice = move |sides: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % sides
        };
        let folder = tempfile::tempdir().unwrap();
        let place = Location::File(folder.path().join("mirror.sqlite3"));
        let (mut engine, mut server, mut storage) =
            (open(&place).unwrap(), Server::default(), Storage::default());
        let size = dice(4 * PIECE_BYTES);
        let id = export(&mut engine, size);
        sync(&mut engine, &mut server, 0);
        let mut now = 0;
        let mut set_by = 0_i64;
        for round in 0.. {
            assert!(round < 500, "seed {seed}: it never arrives");
            // Somebody sets the clock, by years.
            if dice(10) == 0 {
                set_by = [0, 0, 100_000_000, -100_000_000][usize::try_from(dice(4)).unwrap()];
            }
            let at = |seconds| at(seconds + set_by);
            if state(&engine, id) == Some(FileState::Uploaded) {
                break;
            }
            now += 400;
            let Some(transfer) = engine.next_transfer(at(now)).unwrap() else { continue };
            let lost = Err(TransferFailure::Network(Failure::ConnectionLost));
            match dice(if round < 60 { 8 } else { 1 }) {
                // Nothing gets through.
                1 => engine.apply_transfer(transfer.ticket, lost, at(now)).unwrap(),
                // The answer is lost.
                2 => {
                    storage.take(&transfer, None);
                    engine.apply_transfer(transfer.ticket, lost, at(now)).unwrap();
                }
                // The piece is cut.
                3 => {
                    storage.take(&transfer, Some(dice(PIECE_BYTES)));
                    engine.apply_transfer(transfer.ticket, lost, at(now)).unwrap();
                }
                // The program dies, before or after the request got through.
                4 => {
                    if dice(2) == 0 {
                        storage.take(&transfer, Some(dice(PIECE_BYTES)));
                    }
                    engine.close().unwrap();
                    engine = open(&place).unwrap();
                }
                // The address ends.
                5 => {
                    storage.uploads.retain(|_, upload| upload.1 == upload.2);
                    engine.abandon_transfer(transfer.ticket);
                }
                6 => engine.apply_transfer(transfer.ticket, Ok(answer(503, "")), at(now)).unwrap(),
                7 => engine.apply_transfer(transfer.ticket, Ok(answer(401, "")), at(now)).unwrap(),
                _ => {
                    let answer = storage.take(&transfer, None);
                    engine.apply_transfer(transfer.ticket, Ok(answer), at(now)).unwrap();
                }
            }
        }
        assert!(
            !storage.made.is_empty() && storage.made.iter().all(|it| *it == storage.made[0]),
            "seed {seed}"
        );
        assert!(engine.export(id).unwrap().unwrap().file_url.is_some(), "seed {seed}");
    }
}

/// A proxy that knows the address of uploads and not those below it, and one that breaks off each piece: an upload began again, or was
/// asked about, twice a second, each time with a piece of 6 MiB.
#[test]
fn an_upload_that_gets_no_further_is_tried_less_and_less_often() {
    for is_forgotten in [true, false] {
        // Counted from 0 on, each number that is drawn would be a wait of next to nothing.
        let mut engine = Engine::open(&Location::Memory, user(), Box::new(Counter(1 << 63)), at(0)).unwrap();
        let (mut server, mut storage) = (Server::default(), Storage::default());
        let id = export(&mut engine, 2 * PIECE_BYTES);
        sync(&mut engine, &mut server, 0);
        let mut pieces = 0;
        for now in 0..3600 {
            while let Some(transfer) = engine.next_transfer(at(now)).unwrap() {
                let outcome = match (transfer.request.method, is_forgotten) {
                    ("PATCH", true) => Ok(answer(404, "")),
                    ("PATCH", false) => Err(TransferFailure::Network(Failure::ConnectionLost)),
                    _ => Ok(storage.take(&transfer, None)),
                };
                pieces += u32::from(transfer.request.method == "PATCH");
                assert!(pieces < 100, "after {now} s");
                engine.apply_transfer(transfer.ticket, outcome, at(now)).unwrap();
            }
        }
        // Once it gets on, each piece follows the one before at once.
        engine.retry_file(id).unwrap();
        while let Some(transfer) = engine.next_transfer(at(3600)).unwrap() {
            let answer = storage.take(&transfer, None);
            engine.apply_transfer(transfer.ticket, Ok(answer), at(3600)).unwrap();
        }
        assert_eq!(state(&engine, id), Some(FileState::Uploaded));
    }
}

#[test]
fn each_refusal_is_what_it_is() {
    let sent_so = |engine: &mut Engine, now, answer: &dyn Fn(&Transfer) -> TransferAnswer| {
        let transfer = engine.next_transfer(at(now)).unwrap().expect("a request");
        let answer = answer(&transfer);
        engine.apply_transfer(transfer.ticket, Ok(answer), at(now)).unwrap();
        transfer.fresh_token
    };
    let sent = |engine: &mut Engine, now, answer: TransferAnswer| sent_so(engine, now, &|_| answer.clone());
    let begin = || {
        let (mut engine, mut server) = (engine(), Server::default());
        let id = export(&mut engine, 10);
        sync(&mut engine, &mut server, 0);
        (engine, id)
    };
    let code = |engine: &Engine| engine.files().unwrap()[0].last_error.clone().map(|it| it.code);
    for (answer, state_then, code_then) in [
        (refusal("ResourceAlreadyExists"), FileState::Uploaded, None),
        (refusal("EntityTooLarge"), FileState::Refused, Some("file_too_large")),
        (refusal("InvalidMimeType"), FileState::Refused, Some("file_type_refused")),
        (refusal("NoSuchBucket"), FileState::Waiting, Some("bucket_missing")),
        (refusal("ResourceLocked"), FileState::Waiting, Some("file_locked")),
        (refusal("AccessDenied"), FileState::Waiting, Some("file_not_allowed")),
        (answer(413, "<html>"), FileState::Waiting, Some("proxy_too_large")),
        (answer(500, ""), FileState::Waiting, Some("server_failed")),
        (answer(402, "{}"), FileState::Waiting, Some("server_full")),
        (answer(200, "<html>sign in</html>"), FileState::Waiting, Some("unintelligible_answer")),
    ] {
        let (mut engine, id) = begin();
        sent(&mut engine, 1, answer.clone());
        assert_eq!(state(&engine, id), Some(state_then), "{answer:?}");
        assert_eq!(code(&engine).as_deref(), code_then, "{answer:?}");
        if state_then == FileState::Refused {
            assert!(engine.next_transfer(at(10_000)).unwrap().is_none(), "nobody asks again");
            engine.retry_file(id).unwrap();
            assert!(!sent_so(&mut engine, 10_001, &stored));
        }
    }
    // A policy that says no is asked again: the row may be on its way. Not for ever.
    let (mut engine, id) = begin();
    for round in 0..11 {
        sent(&mut engine, 1 + round * 1000, refusal("AccessDenied"));
    }
    assert_eq!(state(&engine, id), Some(FileState::Refused));
    // What broke before does not count for it.
    let (mut engine, id) = begin();
    for round in 0..11 {
        sent(&mut engine, 1 + round * 1000, answer(503, ""));
    }
    sent(&mut engine, 11_001, refusal("AccessDenied"));
    assert_eq!(state(&engine, id), Some(FileState::Waiting));
    // A token that is refused: at once with a fresh one, then later.
    let (mut engine, id) = begin();
    assert!(!sent(&mut engine, 1, answer(401, "")));
    assert!(sent(&mut engine, 1, answer(401, "")));
    assert!(engine.next_transfer(at(1)).unwrap().is_none());
    engine.signal(Signal::NewToken, at(1));
    sent_so(&mut engine, 1, &stored);
    assert_eq!(state(&engine, id), Some(FileState::Uploaded));
}

/// What a server says that has the whole object.
pub(super) fn stored(transfer: &Transfer) -> TransferAnswer {
    let key = transfer.request.path.strip_prefix("/storage/v1/object/").unwrap_or_default();
    answer(200, &format!(r#"{{"Id":"1","Key":"{key}"}}"#))
}

#[test]
fn room_is_made_by_uploaded_files_and_none_is_lost_for_it() {
    let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
    let first = export(&mut engine, 60);
    sync(&mut engine, &mut server, 0);
    let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
    let mut second = ExportInput { export_type, export_format, ..ExportInput::default() };
    second.id = Some(engine.make_export_id(at(0)).unwrap());
    let refused = engine.create_export_with_file(second.clone(), input(50), 100, at(0)).unwrap_err();
    assert_eq!(refused.code(), "storage_full");
    let id = second.id.unwrap();
    assert!(engine.export(id).unwrap().is_some(), "the export itself is recorded");
    assert_eq!(state(&engine, id), Some(FileState::Refused));

    let transfer = engine.next_transfer(at(1)).unwrap().unwrap();
    let answer = storage.take(&transfer, None);
    engine.apply_transfer(transfer.ticket, Ok(answer), at(1)).unwrap();
    engine.attach_file(id, input(50), 100, at(1)).unwrap();
    let files = engine.files().unwrap();
    let of = |id| files.iter().find(|it| it.export_id == id).map(|it| (it.state, it.on_device));
    assert_eq!(of(first), Some((FileState::Uploaded, false)), "the server has it");
    assert_eq!(of(id), Some((FileState::Waiting, true)));
    let here = [input(50).local_name(id), input(60).local_name(first), "strange".to_owned()];
    assert_eq!(engine.sweep_files(&here).unwrap(), &here[1..]);
    // Bytes that somebody deleted: the file says so, and is not asked for again.
    assert!(engine.sweep_files(&[]).unwrap().is_empty());
    assert_eq!(engine.files().unwrap()[1].last_error.as_ref().unwrap().code, "file_missing");
}

/// Another device gave the same export another file, and its row names that one: here too it is read from the server.
#[test]
fn of_two_files_of_one_export_the_one_that_its_row_names_is_read() {
    let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
    let id = export(&mut engine, 100);
    sync(&mut engine, &mut server, 0);
    let transfer = engine.next_transfer(at(1)).unwrap().expect("the file");
    let answer = storage.take(&transfer, None);
    engine.apply_transfer(transfer.ticket, Ok(answer), at(1)).unwrap();
    assert!(matches!(engine.file_source(id).unwrap(), FileSource::Local { .. }));
    let own = engine.export(id).unwrap().unwrap().file_url.expect("where it is");
    let (before, name) = own.rsplit_once('/').unwrap();
    let (_, ending) = name.split_once('.').unwrap();
    let others = format!("{before}/{}.{ending}", "5".repeat(64));
    for (url, is_local) in [(&others, false), (&own, true), (&"https://example.com/x".to_owned(), true)] {
        let change = ExportChange { file_url: Some(url.clone()), ..ExportChange::default() };
        engine.mutate(Change::UpdateExport { id, change }, at(2)).unwrap();
        let found = engine.file_source(id).unwrap();
        assert_eq!(matches!(found, FileSource::Local { .. }), is_local, "{url}: {found:?}");
    }
}

#[test]
fn the_status_says_how_many_bytes_wait_and_how_many_are_here() {
    let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
    let figures = |engine: &Engine| {
        let status = engine.status(at(1)).unwrap().files;
        (status.waiting, status.bytes_waiting, status.bytes_on_device, status.uploaded)
    };
    export(&mut engine, 2 * PIECE_BYTES);
    export(&mut engine, 10);
    assert_eq!(figures(&engine), (2, 2 * PIECE_BYTES + 10, 2 * PIECE_BYTES + 10, 0));
    sync(&mut engine, &mut server, 0);
    let mut seen = vec![figures(&engine)];
    while let Some(transfer) = engine.next_transfer(at(1)).unwrap() {
        let answer = storage.take(&transfer, None);
        engine.apply_transfer(transfer.ticket, Ok(answer), at(1)).unwrap();
        seen.push(figures(&engine));
        sync(&mut engine, &mut server, 1);
    }
    assert!(seen.contains(&(2, PIECE_BYTES + 10, 2 * PIECE_BYTES + 10, 0)), "half of the first: {seen:?}");
    // They stay until they are swept or their room is needed.
    assert_eq!(seen.last(), Some(&(0, 0, 2 * PIECE_BYTES + 10, 2)));
}
