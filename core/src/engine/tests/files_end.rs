//! How files end: with their export, by the server's clock, or because somebody gives them up.

use super::transfers::{QUOTA, Storage, export, input, state, sync};
use super::*;
use crate::engine::FileSource;
use crate::model::{ExportChange, ExportStatus, FileState, Timestamp};
use crate::transfer::{PIECE_BYTES, TransferAnswer};

#[test]
fn an_export_that_is_deleted_or_expires_takes_its_file_along() {
    for deleted_early in [false, true] {
        let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
        let id = export(&mut engine, 2 * PIECE_BYTES);
        sync(&mut engine, &mut server, 0);
        let mut steps = 0;
        while let Some(transfer) = engine.next_transfer(at(1)).unwrap() {
            if deleted_early && steps == 1 {
                expire(&mut engine, id, at(0).timestamp());
                sync(&mut engine, &mut server, 1);
            }
            let answer = storage.take(&transfer, None);
            engine.apply_transfer(transfer.ticket, Ok(answer), at(1)).unwrap();
            steps += 1;
        }
        if !deleted_early {
            assert_eq!(storage.objects.len(), 1);
            expire(&mut engine, id, at(0).timestamp());
            sync(&mut engine, &mut server, 2);
            let transfer = engine.next_transfer(at(3)).unwrap().expect("the device deletes its own");
            assert_eq!(transfer.request.method, "DELETE");
            let answer = storage.take(&transfer, None);
            engine.apply_transfer(transfer.ticket, Ok(answer), at(3)).unwrap();
        }
        assert!(engine.next_transfer(at(4)).unwrap().is_none());
        assert!(engine.files().unwrap().is_empty());
        let name = input(2 * PIECE_BYTES).local_name(id);
        assert_eq!(engine.sweep_files(std::slice::from_ref(&name)).unwrap(), [name]);
    }
}

fn expire(engine: &mut Engine, id: MutationId, expires_at: Timestamp) {
    let change = ExportChange { expires_at: Some(expires_at), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id, change }, at(1)).unwrap();
}

fn upload(engine: &mut Engine, storage: &mut Storage) {
    while let Some(transfer) = engine.next_transfer(at(1)).unwrap() {
        let answer = storage.take(&transfer, None);
        engine.apply_transfer(transfer.ticket, Ok(answer), at(1)).unwrap();
    }
}

/// A storage that was turned off refused the deletion, which was asked for again at once and without end.
#[test]
fn a_deletion_that_is_not_answered_as_one_is_tried_later() {
    let said = |status: u16, body: &str| TransferAnswer {
        status,
        body: body.to_owned(),
        ..TransferAnswer::default()
    };
    for answer in [
        said(400, r#"{"statusCode":"403","error":"x","code":"FeatureNotEnabled","message":"x"}"#),
        said(400, r#"{"statusCode":"409","error":"Duplicate","message":"x"}"#),
        said(200, "<html></html>"),
        said(302, ""),
    ] {
        let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
        let id = export(&mut engine, 10);
        sync(&mut engine, &mut server, 0);
        upload(&mut engine, &mut storage);
        engine.cancel_file(id, at(2)).unwrap();
        let transfer = engine.next_transfer(at(3)).unwrap().expect("the deletion");
        engine.apply_transfer(transfer.ticket, Ok(answer.clone()), at(3)).unwrap();
        assert!(engine.next_transfer(at(3)).unwrap().is_none(), "{answer:?}");
        assert_eq!(state(&engine, id), Some(FileState::Gone), "{answer:?}");
        let transfer = engine.next_transfer(at(1000)).unwrap().expect("again");
        let answer = storage.take(&transfer, None);
        engine.apply_transfer(transfer.ticket, Ok(answer), at(1000)).unwrap();
        assert_eq!((state(&engine, id), storage.objects.len()), (None, 0));
    }
}

/// A device whose clock was a year fast deleted objects that were valid for another year.
#[test]
fn whether_an_export_has_expired_is_for_the_servers_clock_to_say() {
    const YEAR: i64 = 365 * 24 * 3600;
    let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
    let id = export(&mut engine, 10);
    sync(&mut engine, &mut server, 0);
    upload(&mut engine, &mut storage);
    expire(&mut engine, id, at(24 * 3600).timestamp());
    sync(&mut engine, &mut server, YEAR);
    assert!(engine.next_transfer(at(YEAR)).unwrap().is_none());
    assert!(engine.next_transfer_wake(at(YEAR)).unwrap() > Some(at(YEAR).unix_ms), "nothing is due");
    assert_eq!(state(&engine, id), Some(FileState::Uploaded));
    expire(&mut engine, id, at(0).timestamp());
    sync(&mut engine, &mut server, -YEAR);
    let transfer = engine.next_transfer(at(-YEAR)).unwrap().expect("however slow this clock is");
    assert_eq!(transfer.request.method, "DELETE");
}

/// The row named an object that was deleted, and other devices were told 404.
#[test]
fn an_export_whose_file_is_given_up_names_it_no_more() {
    let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
    let id = export(&mut engine, 10);
    sync(&mut engine, &mut server, 0);
    upload(&mut engine, &mut storage);
    sync(&mut engine, &mut server, 1);
    engine.cancel_file(id, at(2)).unwrap();
    assert_eq!(engine.export(id).unwrap().unwrap().file_url, None);
    assert_eq!(engine.remote_file(id).unwrap(), FileSource::Nowhere);
    sync(&mut engine, &mut server, 2);
    assert_eq!(server.exports[&id.to_string()]["file_url"], serde_json::Value::Null);
    assert_eq!(engine.status(at(2)).unwrap().pending, 0);
    upload(&mut engine, &mut storage);
    assert!(storage.objects.is_empty());
    // A row that names what another device has uploaded keeps it.
    engine.attach_file(id, input(20), QUOTA, at(3)).unwrap();
    upload(&mut engine, &mut storage);
    let url = input(30).url(user(), id);
    let change = ExportChange { file_url: Some(url.clone()), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id, change }, at(3)).unwrap();
    engine.cancel_file(id, at(4)).unwrap();
    assert_eq!(engine.export(id).unwrap().unwrap().file_url, Some(url));
}

/// The call returned, the file stayed marked for deletion, and its bytes were swept.
#[test]
fn a_file_that_is_still_to_be_deleted_is_not_taken_again_before_it_is() {
    for size in [10, 20] {
        let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
        let id = export(&mut engine, 10);
        // Of a file that no request was made about nothing is to be deleted.
        engine.cancel_file(id, at(0)).unwrap();
        engine.attach_file(id, input(10), QUOTA, at(0)).unwrap();
        sync(&mut engine, &mut server, 0);
        upload(&mut engine, &mut storage);
        engine.cancel_file(id, at(2)).unwrap();
        let refused = engine.attach_file(id, input(size), QUOTA, at(3)).unwrap_err();
        assert_eq!((refused.code(), refused.may_retry()), ("file_leaving", true));
        upload(&mut engine, &mut storage);
        engine.attach_file(id, input(size), QUOTA, at(3)).unwrap();
        upload(&mut engine, &mut storage);
        assert_eq!(state(&engine, id), Some(FileState::Uploaded));
        assert_eq!(storage.objects.len(), 1);
    }
}

/// A row that another table needs came back, named its file, and the file had been deleted here and at the server.
#[test]
fn what_the_server_refuses_leaves_the_file_where_it_is() {
    let expired = ExportChange { status: Some(ExportStatus::Expired), ..ExportChange::default() };
    let dated = ExportChange { expires_at: Some(at(-1).timestamp()), ..ExportChange::default() };
    let update = |id, change: &ExportChange| Change::UpdateExport { id, change: change.clone() };
    let changes: [&dyn Fn(MutationId) -> Change; 3] =
        [&|id| Change::DeleteExport { id }, &|id| update(id, &expired), &|id| update(id, &dated)];
    for (change, is_refused) in changes.iter().flat_map(|it| [(it, true), (it, false)]) {
        // When it is given up: before its upload, in the middle of a request, and after it.
        for when in 0..3 {
            let (mut engine, mut server, mut storage) = (engine(), Server::default(), Storage::default());
            let id = export(&mut engine, 10);
            sync(&mut engine, &mut server, 0);
            let mut moving = None;
            match when {
                1 => moving = engine.next_transfer(at(1)).unwrap(),
                2 => upload(&mut engine, &mut storage),
                _ => {}
            }
            sync(&mut engine, &mut server, 1);
            let given_up = engine.mutate(change(id), at(2)).unwrap().id;
            if let Some(transfer) = moving {
                let answer = storage.take(&transfer, None);
                engine.apply_transfer(transfer.ticket, Ok(answer), at(2)).unwrap();
            }
            let name = input(10).local_name(id);
            assert_ne!(state(&engine, id), Some(FileState::Gone), "the server has not said so");
            assert!(engine.sweep_files(std::slice::from_ref(&name)).unwrap().is_empty());
            if is_refused {
                server.reject.push(given_up);
            }
            sync(&mut engine, &mut server, 3);
            upload(&mut engine, &mut storage);
            sync(&mut engine, &mut server, 4);
            upload(&mut engine, &mut storage);
            let swept = engine.sweep_files(std::slice::from_ref(&name)).unwrap();
            if is_refused {
                assert_eq!(state(&engine, id), Some(FileState::Uploaded), "{when}");
                assert!(engine.export(id).unwrap().unwrap().file_url.is_some(), "{when}");
                assert_eq!((storage.objects.len(), swept.len()), (1, 0), "{when}");
            } else {
                assert_eq!((state(&engine, id), storage.objects.len(), swept.len()), (None, 0, 1), "{when}");
            }
        }
    }
}
