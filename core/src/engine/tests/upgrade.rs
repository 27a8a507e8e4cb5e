//! A mirror of each released version, with rows and a queue: it upgrades to the newest, equals a fresh one, and sends what
//! it held.
//!
//! The fixtures are frozen. That of the present version is made by this program, once, right before the next migration is
//! added: `MAREA_WRITE_FIXTURE=core/src/store/fixtures/mirror_vN.sqlite3 cargo test -p marea-core upgrade::the_fixture`.

use std::path::{Path, PathBuf};

use super::*;
use crate::model::{EventInput, ExportChange, ExportInput};
use crate::store::probe;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/fixtures")
}

/// Something of everything that a mirror can hold.
fn live(engine: &mut Engine) {
    let mut server = Server::default();
    let exchange = |engine: &mut Engine, server: &mut Server| {
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = send(engine);
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    };
    let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
    let export = ExportInput { export_type, export_format, ..ExportInput::default() };
    record(engine, 10);
    record(engine, 20);
    let made = engine.mutate(Change::CreateExport(export.clone()), at(1)).unwrap().id;
    exchange(engine, &mut server);
    server.reject.push(record(engine, 99));
    exchange(engine, &mut server);
    // The queue: in a request whose answer was lost, and behind it.
    record(engine, 30);
    let lost = send(engine);
    engine.apply_response(lost.ticket, Err(Failure::Timeout), at(2)).unwrap();
    let award =
        EventInput { points: 7, achievements: vec!["first_steps".to_owned()], ..EventInput::default() };
    engine.mutate(award.into(), at(3)).unwrap();
    let change = ExportChange { records_count: Some(3), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id: made, change }, at(4)).unwrap();
    engine.mutate(Change::CreateExport(export), at(5)).unwrap();
    engine.mutate(Change::KeysValidated { at: at(6).timestamp() }, at(6)).unwrap();
}

#[test]
fn the_fixture_of_this_version_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirror.sqlite3");
    let mut engine = open(&Location::File(path.clone())).unwrap();
    live(&mut engine);
    assert_eq!((engine.pending().unwrap().len(), engine.rejected().unwrap().len()), (5, 1));
    engine.close().unwrap();
    if let Some(to) = std::env::var_os("MAREA_WRITE_FIXTURE") {
        let name = Path::new(&to).file_name().unwrap().to_owned();
        std::fs::create_dir_all(fixtures()).unwrap();
        probe::compact(&path);
        std::fs::copy(&path, fixtures().join(name)).unwrap();
    }
}

#[test]
fn a_mirror_of_every_version_upgrades_equals_a_fresh_one_and_sends_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("fresh.sqlite3");
    open(&Location::File(fresh.clone())).unwrap().close().unwrap();
    for version in 1..=MIRROR_VERSION {
        let path = folder.path().join(format!("v{version}.sqlite3"));
        let fixture = fixtures().join(format!("mirror_v{version}.sqlite3"));
        if version == MIRROR_VERSION && version > 1 && !fixture.exists() {
            continue; // Not released yet.
        }
        std::fs::copy(fixture, &path).unwrap();
        let held = probe::queue(&path);
        assert_eq!(held.len(), 5, "version {version}");
        let mut engine = open(&Location::File(path.clone())).unwrap();
        assert_eq!(totals(&engine), (3, 60), "version {version}");
        assert_eq!(engine.progress(at(0)).unwrap().total_points, 7);
        assert_eq!(engine.rejected().unwrap().len(), 1);
        assert!(engine.status(at(0)).unwrap().last_synced_at.is_some());
        engine.check().unwrap();

        engine.signal(Signal::SyncNow, at(10));
        let outgoing = engine.next_request(at(10)).unwrap().unwrap();
        let sent: Vec<_> = outgoing
            .request
            .mutations
            .iter()
            .map(|m| (m.id.to_string(), m.table.clone(), m.key.clone(), m.values.get().to_owned()))
            .collect();
        assert_eq!(sent, held, "version {version}");
        assert_eq!(outgoing.request.schema, MIRROR_VERSION);
        engine.abandon(outgoing.ticket);
        engine.close().unwrap();
        assert_eq!(probe::shape(&path), probe::shape(&fresh), "version {version}");
    }
}
