//! What `localStorage` holds of one user's mirror: an image, a log of what has changed since, one entry a write, and who owns both.
//!
//! Everything has a revision, which only grows: a tab that comes to lead knows by it whether it sees what the last leader wrote
//! (wasm/js/image.ts). The image's own follows its bytes; log entries carry theirs in their key, and go on from it without a gap.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gloo_storage::errors::StorageError;
use gloo_storage::{LocalStorage, Storage as _};
use marea_core::{Error, apply_image_change};

/// What follows an image's key in that of a log entry, before its revision.
const LOG: &str = ":log-";
/// What follows an image's key in that of a damaged one, before the time.
const ASIDE: &str = ":damaged-";
/// The revision behind an image's bytes, which are whole pages of SQLite: so it is seen whether there is one.
const TRAILER: usize = size_of::<u64>();
const SMALLEST_PAGE: usize = 512;

#[derive(Clone)]
pub(super) struct Shelf {
    image: String,
    owner: String,
}

impl Shelf {
    pub(super) fn of(user: &str) -> Shelf {
        Shelf { image: format!("marea:{user}:image"), owner: format!("marea:{user}:owner") }
    }

    pub(super) fn has_image(&self) -> bool {
        raw(&self.image).is_some()
    }

    pub(super) fn own(&self, name: &str) -> Result<(), Error> {
        LocalStorage::set(&self.owner, name).map_err(|error| failure(&error))
    }

    /// Whether this name, or another (`Some(false)`), is that of who owns it. Nobody does where the app has cleared `localStorage`.
    pub(super) fn is_owned_by(&self, name: &str) -> Option<bool> {
        raw(&self.owner).map(|owner| owner.trim_matches('"') == name)
    }

    /// The newest state: the image, with its log.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(text) = raw(&self.image) else { return Ok(None) };
        let mut image = decode(&text).ok_or(Error::MirrorCorrupt)?;
        let last = self.replay(&mut image)?;
        // One that is missing in between would be work that was acknowledged.
        if self.entries().into_iter().any(|entry| entry > last) {
            return Err(Error::MirrorCorrupt);
        }
        Ok(Some(image))
    }

    /// Takes the trailer off an image and applies its log; says to which revision.
    fn replay(&self, image: &mut Vec<u8>) -> Result<u64, Error> {
        let mut revision = split_trailer(image);
        while let Some(entry) = raw(&self.entry(revision + 1)) {
            let change = STANDARD.decode(entry).map_err(|_| Error::MirrorCorrupt)?;
            apply_image_change(image, &change)?;
            revision += 1;
        }
        Ok(revision)
    }

    /// Writes an image in place of the last one and its log; says how many characters it takes.
    pub(super) fn put_image(&self, revision: u64, image: &[u8]) -> Result<usize, Error> {
        let text = STANDARD.encode([image, &revision.to_le_bytes()].concat());
        LocalStorage::set(&self.image, &text).map_err(|error| failure(&error))?;
        for entry in self.entries().into_iter().filter(|entry| *entry <= revision) {
            LocalStorage::delete(self.entry(entry));
        }
        Ok(text.len())
    }

    pub(super) fn put_entry(&self, revision: u64, entry: &str) -> Result<(), Error> {
        LocalStorage::raw().set_item(&self.entry(revision), entry).map_err(|_| Error::StorageFull)
    }

    /// The greatest revision that anything here was written under.
    pub(super) fn newest(&self) -> u64 {
        let base = raw(&self.image).map_or(0, |text| revision_of(&text));
        self.entries().into_iter().fold(base, u64::max)
    }

    /// Moves a damaged image to another key, with as much of its log as can be read. Where there is no room for that, it stays
    /// where it is and the opening fails.
    pub(super) fn put_aside(&self) -> Result<(), Error> {
        let Some(mut damaged) = raw(&self.image) else { return Ok(()) };
        if let Some(mut image) = decode(&damaged) {
            // Up to the entry that cannot be read.
            let _ = self.replay(&mut image);
            damaged = format!("\"{}\"", STANDARD.encode(image));
        }
        let aside = format!("{}{ASIDE}{}", self.image, js_sys::Date::now());
        LocalStorage::raw().set_item(&aside, &damaged).map_err(|_| Error::MirrorCorrupt)?;
        LocalStorage::delete(&self.image);
        for entry in self.entries() {
            LocalStorage::delete(self.entry(entry));
        }
        Ok(())
    }

    /// The bytes of the damaged image that was put aside last: none when they cannot be read.
    pub(super) fn newest_aside(&self) -> Option<Vec<u8>> {
        let ours = format!("{}{ASIDE}", self.image);
        // Times of as many digits, until the year 2286.
        let text = raw(&keys().filter(|key| key.starts_with(&ours)).max()?)?;
        Some(decode(&text).unwrap_or_default())
    }

    fn entry(&self, revision: u64) -> String {
        format!("{}{LOG}{revision}", self.image)
    }

    /// The revisions that there are log entries of, in no order.
    fn entries(&self) -> Vec<u64> {
        let start = format!("{}{LOG}", self.image);
        keys().filter_map(|key| key.strip_prefix(&start)?.parse().ok()).collect()
    }
}

/// Takes an image's revision off its end; 0 of one that was written before there were any.
fn split_trailer(image: &mut Vec<u8>) -> u64 {
    match image.split_last_chunk::<TRAILER>() {
        Some((pages, revision)) if pages.len() % SMALLEST_PAGE == 0 => {
            let revision = u64::from_le_bytes(*revision);
            image.truncate(image.len() - TRAILER);
            revision
        }
        _ => 0,
    }
}

/// The revision of an image as it is kept, of which only the end is read.
fn revision_of(text: &str) -> u64 {
    let text = text.trim_matches('"');
    let pages = text.trim_end_matches('=').len() * 3 / 4 - TRAILER.min(text.len() * 3 / 4);
    let end = text.get(text.len().saturating_sub(16)..).and_then(|end| STANDARD.decode(end).ok());
    match end.as_deref().and_then(|end| end.last_chunk::<TRAILER>()) {
        Some(revision) if pages.is_multiple_of(SMALLEST_PAGE) => u64::from_le_bytes(*revision),
        _ => 0,
    }
}

/// An image's bytes, from the JSON text of their base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.strip_prefix('"')?.strip_suffix('"')?).ok()
}

fn keys() -> impl Iterator<Item = String> {
    let storage = LocalStorage::raw();
    (0..storage.length().unwrap_or(0)).filter_map(move |index| storage.key(index).ok().flatten())
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
