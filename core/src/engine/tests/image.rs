//! A mirror in memory whose image is kept elsewhere: what was kept is there again, and what was refused never happened.

use std::sync::{Arc, Mutex};

use super::*;
use crate::store::ImageKeeper;

#[derive(Default)]
struct Shelf {
    image: Option<Vec<u8>>,
    full: bool,
}

struct Keeper(Arc<Mutex<Shelf>>);

impl ImageKeeper for Keeper {
    fn load(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().unwrap().image.clone())
    }

    fn keep(&mut self, image: &[u8]) -> Result<(), Error> {
        let mut shelf = self.0.lock().unwrap();
        if shelf.full {
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
