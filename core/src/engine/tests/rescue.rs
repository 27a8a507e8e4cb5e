//! Damaged mirrors: set aside as they are, their queue saved as far as it can be read, and a fresh mirror in their place.

use std::path::{Path, PathBuf};

use super::*;
use crate::engine::SetAside;
use crate::model::{ExportInput, Rescued};
use crate::store::{Store, probe, rescue};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.sqlite3");
        Place { _folder: folder, path }
    }

    fn location(&self) -> Location {
        Location::File(self.path.clone())
    }

    /// A mirror with so many sessions of one minute in its queue, an export, and a refused session.
    fn fill(&self, sessions: usize) -> Vec<MutationId> {
        let mut engine = open(&self.location()).unwrap();
        let refused = record(&mut engine, 99);
        let mut server = Server { reject: vec![refused], ..Server::default() };
        let outgoing = send(&mut engine);
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
        let changes = (0..sessions).map(|_| (None, session(1).into())).collect();
        engine.mutate_all(changes, at(0)).unwrap();
        let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
        let export = ExportInput { export_type, export_format, ..ExportInput::default() };
        engine.mutate(Change::CreateExport(export), at(0)).unwrap();
        let ids = engine.pending().unwrap().iter().map(|view| view.id).collect();
        engine.close().unwrap();
        ids
    }

    fn damage(&self, work: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = std::fs::read(&self.path).unwrap();
        work(&mut bytes);
        std::fs::write(&self.path, &bytes).unwrap();
        bytes
    }

    fn recover(&self) -> Result<(Engine, Option<SetAside>), Error> {
        Engine::open_or_recover(&self.location(), user(), Box::new(Counter(99 << 40)), at(60))
    }

    /// Does so many steps of what setting a damaged mirror aside is, and dies.
    fn die_after(&self, steps: usize) {
        let aside = rescue::free_name(&self.path, at(60).unix_ms.0);
        let found = serde_json::to_string(&rescue::from_file(&self.path).unwrap()).unwrap();
        let doings: [&dyn Fn(); 4] = [
            &|| rescue::save(&aside, &found).unwrap(),
            &|| rescue::set_aside(&self.path, &aside).unwrap(),
            &|| drop(Store::open(&self.location()).unwrap()),
            &|| {
                self.recover().unwrap();
                // The last step of all is to note that it is done.
                let of = |ending: &str| format!("{}{ending}", aside.display());
                std::fs::rename(of(".rescued.json"), of(".unrestored.json")).unwrap();
            },
        ];
        doings[..steps].iter().for_each(|step| step());
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.path.parent().unwrap()).unwrap().count()
    }
}

fn document(path: &Path) -> Rescued {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A mirror that was fresh for a while may have given the id of a rescued write to another one.
#[test]
fn what_cannot_be_restored_is_not_said_to_be() {
    let place = Place::new();
    let ids = place.fill(2);
    let rescued = rescue::from_file(&place.path).unwrap();
    let mut fresh = engine();
    let award = crate::model::EventInput { id: Some(ids[0]), points: 7, ..Default::default() };
    fresh.mutate(award.into(), at(0)).unwrap();
    assert_eq!(fresh.restore_what_is_ours(&rescued, at(0)).unwrap(), (4, 3));
    assert_eq!(fresh.restore_what_is_ours(&rescued, at(0)).unwrap(), (4, 3), "and again");
}

#[test]
fn a_sound_mirror_is_simply_opened() {
    let place = Place::new();
    let ids = place.fill(3);
    let (engine, aside) = place.recover().unwrap();
    assert_eq!((aside, engine.pending().unwrap().len()), (None, ids.len()));
}

#[test]
fn a_mirror_without_its_header_loses_nothing_of_its_queue() {
    let place = Place::new();
    let ids = place.fill(20);
    let damaged = place.damage(|bytes| bytes[..16].fill(b'x'));
    let (mut engine, aside) = place.recover().unwrap();
    let aside = aside.unwrap();
    assert_eq!(std::fs::read(&aside.damaged).unwrap(), damaged, "as it was, under another name");
    assert_eq!((aside.found, aside.restored), (22, 22));
    assert_eq!(document(&aside.rescued).mutations.len(), 22);
    assert_eq!(place.files(), 5, "the mirror and its log, what was damaged, what was rescued");
    let queued: Vec<MutationId> = engine.pending().unwrap().iter().map(|view| view.id).collect();
    assert_eq!(queued, ids, "the same mutations in the same order");
    let refused = engine.rejected().unwrap();
    assert_eq!((refused.len(), refused[0].refusal.as_ref().unwrap().code.as_str()), (1, "22023"));
    assert_eq!(totals(&engine), (20, 20), "and they are seen");
    assert_eq!(engine.exports(&ExportQuery::default()).unwrap().exports.len(), 1);
    assert_eq!(engine.status(at(0)).unwrap().last_error.unwrap().code, "mirror_set_aside", "and it is told");
    let diagnostics: serde_json::Value = serde_json::from_str(&engine.diagnostics(at(0)).unwrap()).unwrap();
    let noted = diagnostics["journal"].as_array().unwrap().last().unwrap();
    assert_eq!((&noted["at_ms"], &noted["pending"]), (&json!(at(60).unix_ms), &json!(21)), "{noted}");
    assert_eq!(noted["code"], "mirror_set_aside");
    assert!(noted["message"].as_str().unwrap().contains("22 of 22"), "{noted}");

    // The server has some of them already; they count once.
    let mut server = Server::default();
    let outgoing = send(&mut engine);
    server.take(&outgoing.request);
    let answer = server.take(&outgoing.request);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!((totals(&engine), engine.status(at(0)).unwrap().pending), ((20, 20), 0));
}

#[test]
fn whoever_opens_a_mirror_goes_on_where_a_program_died_that_set_it_aside() {
    for (steps, plainly) in [(0, false), (1, false), (2, false), (2, true), (3, false), (3, true), (4, true)]
    {
        let place = Place::new();
        let ids = place.fill(20);
        place.damage(|bytes| bytes[..16].fill(b'x'));
        place.die_after(steps);
        let engine = if plainly {
            open(&place.location()).unwrap()
        } else {
            let (engine, aside) = place.recover().unwrap();
            let aside = aside.unwrap();
            assert_eq!((aside.found, aside.restored), (22, 22), "{steps}");
            assert!(aside.damaged.exists() && aside.rescued.exists(), "{steps}: {aside:?}");
            engine
        };
        let queued: Vec<MutationId> = engine.pending().unwrap().iter().map(|view| view.id).collect();
        assert_eq!((queued, totals(&engine)), (ids, (20, 20)), "{steps}: all of it, and once");
        assert_eq!(engine.rejected().unwrap().len(), 1);
        assert!(engine.diagnostics(at(0)).unwrap().contains("22 of 22"), "{steps}: and it is told");
        drop(engine);
        let (engine, aside) = place.recover().unwrap();
        assert_eq!((aside, engine.pending().unwrap().len()), (None, 21), "{steps}: done for good");
    }
}

#[test]
fn a_document_that_says_nothing_keeps_nobody_from_opening() {
    let place = Place::new();
    let ids = place.fill(3);
    rescue::save(&rescue::free_name(&place.path, 60), "{").unwrap();
    let (engine, aside) = place.recover().unwrap();
    assert_eq!((aside, engine.pending().unwrap().len(), place.files()), (None, ids.len(), 4));
}

#[test]
fn a_whole_header_that_is_overwritten_hides_nothing() {
    for page in [4096, 8192] {
        for filler in [0, b'x', 0xff] {
            let place = Place::new();
            let ids = place.fill(20);
            probe::repack(&place.path, page);
            place.damage(|bytes| bytes[..100].fill(filler));
            let (engine, aside) = place.recover().unwrap();
            assert_eq!(aside.unwrap().restored, 22, "pages of {page}, {filler:#x}");
            assert_eq!((engine.pending().unwrap().len(), totals(&engine)), (ids.len(), (20, 20)));
        }
    }
}

#[test]
fn a_page_that_cannot_be_read_hides_only_what_is_on_it() {
    let place = Place::new();
    let ids = place.fill(400);
    let lost = ids[200].to_string();
    place.damage(|bytes| {
        let rows = bytes.windows(lost.len()).enumerate().filter(|(_, found)| *found == lost.as_bytes());
        let pages: Vec<usize> = rows.map(|(at, _)| at / 4096 * 4096).collect();
        pages.into_iter().for_each(|page| bytes[page..page + 4096].fill(0xff));
    });
    let (engine, aside) = place.recover().unwrap();
    let aside = aside.unwrap();
    assert!((360..400).contains(&aside.found), "{aside:?}");
    assert_eq!(aside.restored, aside.found);
    let queued: Vec<MutationId> = engine.pending().unwrap().iter().map(|view| view.id).collect();
    assert_eq!((queued.first(), queued.last()), (ids.first(), ids.last()), "from both ends");
    assert!(!queued.contains(&ids[200]));
}

#[test]
fn of_a_heap_of_bytes_nothing_is_rescued_and_nothing_is_deleted() {
    for bytes in [vec![b'x'; 8192], b"SQLite format 3\0".to_vec()] {
        let place = Place::new();
        std::fs::write(&place.path, &bytes).unwrap();
        let (mut engine, aside) = place.recover().unwrap();
        let aside = aside.unwrap();
        assert_eq!((aside.found, std::fs::read(&aside.damaged).unwrap()), (0, bytes));
        record(&mut engine, 1);
        // A second time at the same moment: no name is used twice.
        engine.close().unwrap();
        place.damage(|bytes| bytes[..16].fill(b'x'));
        let again = place.recover().unwrap().1.unwrap();
        assert_ne!(again.damaged, aside.damaged);
        assert_eq!(again.restored, 1);
    }
}

#[test]
fn what_is_sound_and_somebody_elses_is_left_alone() {
    let place = Place::new();
    probe::make_strangers(&place.path);
    assert_eq!(place.recover().unwrap_err().code(), "mirror_corrupt");
    assert_eq!(place.files(), 1);

    let place = Place::new();
    place.fill(5);
    let damaged = place.damage(|bytes| bytes[..16].fill(b'x'));
    let other = "00000000-0000-4000-8000-000000000002".parse().unwrap();
    let error = Engine::open_or_recover(&place.location(), other, Box::new(Counter(1)), at(0)).unwrap_err();
    assert_eq!(error.code(), "wrong_user");
    assert_eq!((std::fs::read(&place.path).unwrap(), place.files()), (damaged, 1));
}

#[test]
fn a_rescue_can_be_put_into_any_mirror_of_its_user_and_is_harmless_twice() {
    let place = Place::new();
    let ids = place.fill(3);
    let mut image = std::fs::read(&place.path).unwrap();
    image[..16].fill(0);
    let mut rescued = Engine::rescue(&image, &[]);
    let mut engine = engine();
    assert_eq!(engine.restore(&rescued, at(0)).unwrap(), 5);
    assert_eq!(engine.restore(&rescued, at(0)).unwrap(), 0);
    assert_eq!((totals(&engine), engine.pending().unwrap().len()), ((3, 3), ids.len()));
    let text = serde_json::to_string(&engine.rejected().unwrap()).unwrap();
    assert!(text.contains("22023") && text.contains("99"), "{text}");
    for owner in [None, Some("00000000-0000-4000-8000-000000000002".parse().unwrap())] {
        rescued.user_id = owner;
        assert_eq!(engine.restore(&rescued, at(0)).unwrap_err().code(), "wrong_user");
    }
    assert!(Engine::rescue(b"", b"").mutations.is_empty());
}

#[test]
fn a_session_under_another_key_than_its_own_is_not_restored() {
    let place = Place::new();
    place.fill(2);
    let mut found = rescue::from_file(&place.path).unwrap();
    let restored = |found: &Rescued| engine().restore(found, at(0)).unwrap();
    let all = restored(&found);
    let session = found.mutations.iter_mut().find(|it| it.table == Table::Sessions).unwrap();
    session.key = MutationId::from(Uuid::nil()).to_string();
    assert_eq!((all, restored(&found)), (4, 3));
}

#[test]
fn two_files_that_are_set_aside_at_the_same_time_have_names_of_their_own() {
    let place = Place::new();
    let names = [(); 3].map(|()| {
        let name = rescue::free_name(&place.path, 7);
        std::fs::write(&name, "").unwrap();
        name.display().to_string()
    });
    for (name, ending) in names.iter().zip([".damaged-7", ".damaged-7-2", ".damaged-7-3"]) {
        assert!(name.ends_with(ending), "{name}");
    }
}
