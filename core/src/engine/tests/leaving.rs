//! Users on one device: who signs out finds everything again, who is erased leaves nothing, and an answer for one never
//! reaches another.

use super::*;
use crate::store::ImageKeeper;

fn other_user() -> UserId {
    "00000000-0000-4000-8000-000000000002".parse().unwrap()
}

fn file() -> (tempfile::TempDir, std::path::PathBuf, Location) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirror.sqlite3");
    let location = Location::File(path.clone());
    (folder, path, location)
}

fn open_as(location: &Location, user: UserId) -> Result<Engine, Error> {
    Engine::open(location, user, Box::new(Counter(77 << 40)), at(0))
}

/// One mutation that waits and one that was refused.
fn with_unsent(engine: &mut Engine) {
    let secret = SessionInput { phrases_saved: Some(98_765), ..session(20) };
    let refused = engine.mutate(secret.into(), at(0)).unwrap().id;
    let mut server = Server { reject: vec![refused], ..Server::default() };
    let outgoing = send(engine);
    let answer = server.take(&outgoing.request);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    record(engine, 10);
}

#[test]
fn signing_out_keeps_the_queue_and_the_file_stays_that_users() {
    let (_folder, _, location) = file();
    let mut engine = open(&location).unwrap();
    with_unsent(&mut engine);
    let left = engine.sign_out().unwrap();
    assert_eq!((left.pending, left.rejected, left.removed), (1, 1, false));
    assert_eq!(open_as(&location, other_user()).unwrap_err().code(), "wrong_user");
    let status = open(&location).unwrap().status(at(0)).unwrap();
    assert_eq!((status.pending, status.rejected), (1, 1));
}

#[test]
fn erasing_says_what_went_and_leaves_no_file_and_no_trace() {
    let (folder, _, location) = file();
    let mut engine = open(&location).unwrap();
    with_unsent(&mut engine);
    let left = engine.erase().unwrap();
    assert_eq!((left.pending, left.rejected, left.removed), (1, 1, true));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no log, nothing");
    // Anybody may begin there.
    assert_eq!(totals(&open_as(&location, other_user()).unwrap()), (0, 0));
}

#[test]
fn a_mirror_that_another_program_has_open_is_emptied_and_takes_no_more_writes() {
    let (_folder, path, location) = file();
    let (mut app, mut other) = (open(&location).unwrap(), open(&location).unwrap());
    with_unsent(&mut app);
    totals(&other);
    let left = app.erase().unwrap();
    assert_eq!((left.pending, left.removed), (1, false));
    other.mutate(session(1).into(), at(0)).unwrap_err();
    drop(other);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(5).any(|found| found == b"98765"), "overwritten, not only forgotten");
    assert_eq!(totals(&open_as(&location, other_user()).unwrap()), (0, 0));
}

#[test]
fn an_image_is_erased_where_it_is_kept() {
    #[derive(Clone, Default)]
    struct Shelf(std::sync::Arc<std::sync::Mutex<Option<Vec<u8>>>>);
    impl ImageKeeper for Shelf {
        fn load(&mut self) -> Result<Option<Vec<u8>>, Error> {
            Ok(self.0.lock().unwrap().clone())
        }
        fn keep(&mut self, image: &[u8]) -> Result<(), Error> {
            *self.0.lock().unwrap() = Some(image.to_vec());
            Ok(())
        }
    }
    let shelf = Shelf::default();
    let open = |user| Engine::open_image(Box::new(shelf.clone()), user, Box::new(Counter(5 << 40)), at(0));
    let mut engine = open(user()).unwrap();
    with_unsent(&mut engine);
    let left = engine.erase().unwrap();
    assert_eq!((left.pending, left.removed), (1, false), "the host removes what is left");
    let image = shelf.0.lock().unwrap().clone().unwrap();
    assert!(!image.windows(5).any(|found| found == b"98765"));
    assert_eq!(totals(&open(other_user()).unwrap()), (0, 0));
}

#[test]
fn an_answer_for_the_user_before_reaches_nobody() {
    let (_first, _, of_one) = file();
    let (_second, _, of_other) = file();
    let mut engine = open(&of_one).unwrap();
    record(&mut engine, 10);
    // Switched in the middle of a sync: the request is under way.
    let (mut server, outgoing) = (Server::default(), send(&mut engine));
    assert_eq!(outgoing.user_id, user(), "and its token has to be that user's");
    let answer = server.take(&outgoing.request);
    assert_eq!(engine.sign_out().unwrap().pending, 1);
    let mut other = open_as(&of_other, other_user()).unwrap();
    record(&mut other, 3);
    let next = send(&mut other);
    assert_eq!(other.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap_err().code(), "stale_ticket");
    assert_eq!((totals(&other), next.request.mutations.len()), ((1, 3), 1));
    // Back again: what the server has already is not counted twice.
    let mut back = open(&of_one).unwrap();
    let again = send(&mut back);
    assert_eq!(again.request.mutations[0].id, outgoing.request.mutations[0].id);
    back.apply_response(again.ticket, Ok(server.take(&again.request)), at(0)).unwrap();
    assert_eq!((totals(&back), back.status(at(0)).unwrap().pending), ((1, 10), 0));
}
