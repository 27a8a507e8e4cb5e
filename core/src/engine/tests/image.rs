//! A mirror in memory whose image is kept elsewhere: what was kept is there again, and what was refused never happened.

use std::sync::{Arc, Mutex};

use super::*;
use crate::model::{ExportInput, ImportItem};
use crate::store::ImageKeeper;

#[derive(Default)]
struct Shelf {
    image: Option<Vec<u8>>,
    full: bool,
    /// The most bytes that it takes; 0 is any number.
    room: usize,
}

struct Keeper(Arc<Mutex<Shelf>>);

impl ImageKeeper for Keeper {
    fn load(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().unwrap().image.clone())
    }

    fn keep(&mut self, image: &[u8]) -> Result<(), Error> {
        let mut shelf = self.0.lock().unwrap();
        if shelf.full || (shelf.room > 0 && image.len() > shelf.room) {
            return Err(Error::StorageFull);
        }
        shelf.image = Some(image.to_vec());
        Ok(())
    }
}

fn open_on(shelf: &Arc<Mutex<Shelf>>) -> Result<Engine, Error> {
    let seed = shelf.lock().unwrap().image.as_ref().map_or(7, |image| image.len() as u64);
    Engine::open_image(Box::new(Keeper(shelf.clone())), user(), Box::new(Counter(seed << 32)), at(0))
}

fn export() -> Change {
    let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
    Change::CreateExport(ExportInput { export_type, export_format, ..ExportInput::default() })
}

#[test]
fn what_was_kept_is_there_again_with_its_queue() {
    let shelf = Arc::default();
    let mut first = open_on(&shelf).unwrap();
    record(&mut first, 10);
    record(&mut first, 5);
    let client_id = first.status(at(0)).unwrap().client_id;
    // Not closed: a page that is left is not asked.
    drop(first);

    let mut second = open_on(&shelf).unwrap();
    assert_eq!(totals(&second), (2, 15));
    let status = second.status(at(0)).unwrap();
    assert_eq!((status.pending, status.client_id), (2, client_id));
    // What a restored mirror writes is in the next image too.
    record(&mut second, 1);
    assert_eq!(totals(&open_on(&shelf).unwrap()), (3, 16));
}

#[test]
fn what_finds_no_room_is_refused_whole() {
    let shelf = Arc::default();
    let mut engine = open_on(&shelf).unwrap();
    record(&mut engine, 10);
    shelf.lock().unwrap().full = true;
    let kept = shelf.lock().unwrap().image.clone();
    let refused = engine.mutate(session(5).into(), at(0)).unwrap_err();
    assert_eq!((refused.code(), refused.may_retry()), ("storage_full", true));
    assert_eq!(totals(&engine), (1, 10), "memory is as it was");
    assert!(shelf.lock().unwrap().image == kept, "so is the image");

    shelf.lock().unwrap().full = false;
    record(&mut engine, 5);
    assert_eq!(totals(&open_on(&shelf).unwrap()), (2, 15));
}

#[test]
fn an_image_that_is_no_mirror_is_refused_and_left() {
    let shelf: Arc<Mutex<Shelf>> = Arc::default();
    shelf.lock().unwrap().image = Some(vec![b'x'; 4096]);
    assert_eq!(open_on(&shelf).unwrap_err().code(), "mirror_corrupt");
    assert!(shelf.lock().unwrap().image == Some(vec![b'x'; 4096]));
}

/// What a server has: so many exports, one a minute, each with a kilobyte of text.
fn page(from: i64, to: i64, last: i64) -> SyncAnswer {
    let exports = (from..to).map(|index| {
        let values = serde_json::json!({
            "id": format!("019a9d3e-7a00-7000-8000-{index:012x}"), "export_type": "words", "export_format": "csv",
            "status": "completed", "filters": {}, "data": {"text": "x".repeat(1_000)}, "created_at": at(index * 60).timestamp(),
        });
        WireRow { values: to_raw_value(&values).unwrap(), hlc: json!({}), version: index }
    });
    let rows = BTreeMap::from([("export_history".to_owned(), exports.collect())]);
    let cursor = Cursor { version: to, epoch: "0".to_owned() };
    SyncAnswer { rows, cursor, has_more: to < last, ..Server::default().page() }
}

fn pull(engine: &mut Engine, pages: &[(i64, i64)], last: i64) {
    engine.signal(Signal::SyncNow, at(0));
    for (from, to) in pages {
        let outgoing = send(engine);
        let results =
            outgoing.request.mutations.iter().map(|mutation| Server::default().take_one(mutation)).collect();
        let answer = SyncAnswer { results, ..page(*from, *to, last) };
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
}

fn newest(engine: &Engine) -> Vec<i64> {
    let query = ExportQuery { limit: Some(500), ..Default::default() };
    let exports = engine.exports(&query).unwrap().exports;
    let index = |id: &MutationId| i64::from_str_radix(&id.to_string()[24..], 16).unwrap();
    exports.iter().map(|export| index(&export.id)).collect()
}

fn with_more_exports_than_room(shelf: &Arc<Mutex<Shelf>>) -> Engine {
    shelf.lock().unwrap().room = 400_000;
    let mut engine = open_on(shelf).unwrap();
    pull(&mut engine, &[(0, 200), (200, 400), (400, 600)], 600);
    engine
}

/// A mirror that is in step but for exports that found no room, and the time by which nothing is due.
#[cfg(feature = "http")]
pub(crate) fn in_step_without_some_exports() -> (Engine, Now) {
    (with_more_exports_than_room(&Arc::default()), at(0))
}

/// The browser's tests have the real thing: more exports than localStorage has room for.
#[test]
fn of_what_finds_no_room_the_newest_stays_and_the_status_says_so() {
    let shelf: Arc<Mutex<Shelf>> = Arc::default();
    let mut engine = with_more_exports_than_room(&shelf);
    let watcher = engine.subscribe();
    pull(&mut engine, &[(600, 800)], 800);

    let kept = newest(&engine);
    assert!(kept.len() > 100, "{}", kept.len());
    assert_eq!(kept, (800 - kept.len() as i64..800).rev().collect::<Vec<_>>());
    assert!(engine.take_changes(watcher).contains(&Table::ExportHistory));
    let status = engine.status(at(0)).unwrap();
    let told = status.last_error.unwrap();
    assert_eq!(told.code, "storage_full");
    assert!(told.message.contains("2025-11-2"), "{}", told.message);
    assert!(status.last_synced_at.is_some() && status.next_attempt_at > Some(at(60).timestamp()), "no loop");

    // What a learner does makes room for itself, and stays: here an export that is older than all, by a clock that was set back.
    let own = engine.mutate(export(), at(-600)).unwrap().id;
    for _ in 0..20 {
        let data = json!({"note": "y".repeat(10_000)});
        let session = SessionInput { session_data: data.as_object().cloned(), ..session(1) };
        engine.mutate(session.into(), at(0)).unwrap();
    }
    drop(engine);
    let mut again = open_on(&shelf).unwrap();
    assert_eq!(again.status(at(0)).unwrap().pending, 21);
    assert_eq!(again.status(at(0)).unwrap().last_error.unwrap().code, "storage_full");
    let fewer = newest(&again);
    assert!(fewer[0] == 799 && fewer.len() < kept.len());
    assert!(again.export(own).unwrap().is_some());

    // An old one that changed does not come back, and a new one comes.
    pull(&mut again, &[(10, 11)], 901);
    assert!(!newest(&again).contains(&10));
    pull(&mut again, &[(900, 901)], 901);
    assert_eq!(newest(&again)[0], 900);
}

/// Whatever writes makes room for itself, and tells of the exports that it has left out for that.
#[test]
fn an_import_makes_room_as_a_recording_does() {
    let shelf: Arc<Mutex<Shelf>> = Arc::default();
    let mut engine = with_more_exports_than_room(&shelf);
    let before = newest(&engine).len();
    let watcher = engine.subscribe();
    let (day, note) = (at(0).local_date(), "y".repeat(10_000));
    let item =
        json!({ "session": { "session_type": "qa", "local_date": day, "session_data": { "note": note } } });
    let items = || ImportItem::list(&json!(vec![&item; 10]).to_string()).unwrap();
    assert_eq!(engine.import_once("history", items(), at(0)).unwrap().imported, 10);
    assert!(engine.take_changes(watcher).contains(&Table::ExportHistory));
    assert!(newest(&engine).len() < before);
    assert_eq!(open_on(&shelf).unwrap().pending().unwrap().len(), 10);

    // Where no export is left to make room, nothing comes in, and the import can be tried again.
    shelf.lock().unwrap().full = true;
    assert_eq!(engine.import_once("more", items(), at(0)).unwrap_err().code(), "storage_full");
    shelf.lock().unwrap().full = false;
    assert_eq!(engine.import_once("more", Vec::new(), at(0)).unwrap().known, 0);
}
