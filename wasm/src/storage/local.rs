//! Storage where the browser gives no file system: the mirror in memory, its image in `localStorage`.
//!
//! The page has made sure that there is a `localStorage`. Only one tab at a time may own an image. The Web Lock, or
//! where there is none the tabs' agreement, sees to that; the owner's name beside the image makes sure of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gloo_storage::errors::StorageError;
use gloo_storage::{LocalStorage, Storage as _};
use marea_core::{Engine, Entropy, Error, ImageKeeper, SystemEntropy, UserId};

use super::{has_met_nothing, open_kept};
use crate::host::now;

struct Keeper {
    image_key: String,
    owner_key: String,
    /// This opening's own name.
    name: String,
}

/// Opens the user's mirror; says whether a damaged one was set aside for it, and whether there was none.
pub(super) fn open(user: UserId) -> Result<(Engine, bool, bool), Error> {
    let image_key = format!("marea:{user}:image");
    let fresh = raw(&image_key).is_none();
    let keeper = || -> Result<Box<Keeper>, Error> {
        let mut bytes = [0u8; 12];
        SystemEntropy::new().fill(&mut bytes)?;
        let name = STANDARD.encode(bytes);
        let keeper = Keeper { image_key: image_key.clone(), owner_key: format!("marea:{user}:owner"), name };
        LocalStorage::set(&keeper.owner_key, &keeper.name).map_err(|error| failure(&error))?;
        Ok(Box::new(keeper))
    };
    let (mut opened, mut set_aside) = (open_kept(keeper()?, user), false);
    if matches!(opened, Err(Error::MirrorCorrupt)) {
        put_aside(&image_key)?;
        (opened, set_aside) = (open_kept(keeper()?, user), true);
    }
    let mut engine = opened?;
    // Also where a tab put it aside and died before it had restored what was left of it.
    if has_met_nothing(&engine)?
        && let Some(damaged) = newest_aside(&image_key)
    {
        let image = damaged.strip_prefix('"').and_then(|text| STANDARD.decode(text.strip_suffix('"')?).ok());
        engine.restore_what_is_ours(&Engine::rescue(&image.unwrap_or_default(), &[]), now())?;
        set_aside = true;
    }
    Ok((engine, set_aside, fresh))
}

impl ImageKeeper for Keeper {
    fn load(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match LocalStorage::get::<String>(&self.image_key) {
            Ok(text) => STANDARD.decode(text).map(Some).map_err(|_| Error::MirrorCorrupt),
            Err(StorageError::KeyNotFound(_)) => Ok(None),
            Err(_) => Err(Error::MirrorCorrupt),
        }
    }

    fn keep(&mut self, image: &[u8]) -> Result<(), Error> {
        // Another tab has come to own the image, because this one did not answer: what it writes must stay.
        let owner = LocalStorage::get::<String>(&self.owner_key);
        if !owner.is_ok_and(|owner| owner == self.name) {
            return Err(Error::MirrorLocked);
        }
        LocalStorage::set(&self.image_key, STANDARD.encode(image)).map_err(|error| failure(&error))
    }
}

/// What follows an image's key in that of a damaged one, before the time.
const ASIDE: &str = ":damaged-";

/// Moves a damaged image to another key. Where there is no room for that, it stays where it is and the opening fails.
fn put_aside(image_key: &str) -> Result<(), Error> {
    let Some(damaged) = raw(image_key) else { return Ok(()) };
    let aside = format!("{image_key}{ASIDE}{}", js_sys::Date::now());
    LocalStorage::raw().set_item(&aside, &damaged).map_err(|_| Error::MirrorCorrupt)?;
    LocalStorage::delete(image_key);
    Ok(())
}

/// The damaged image that was put aside last.
fn newest_aside(image_key: &str) -> Option<String> {
    let storage = LocalStorage::raw();
    let keys = (0..storage.length().unwrap_or(0)).filter_map(|index| storage.key(index).ok().flatten());
    let ours = format!("{image_key}{ASIDE}");
    // Times of as many digits, until the year 2286.
    raw(&keys.filter(|key| key.starts_with(&ours)).max()?)
}

fn raw(key: &str) -> Option<String> {
    LocalStorage::raw().get_item(key).ok().flatten()
}

fn failure(error: &StorageError) -> Error {
    match error {
        StorageError::JsError(error) if error.name == "QuotaExceededError" => Error::StorageFull,
        _ => Error::StorageFailed { code: 0 },
    }
}
