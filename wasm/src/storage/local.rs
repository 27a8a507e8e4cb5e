//! Storage where the browser gives no file system: the mirror in memory, its image in `localStorage`.
//!
//! The page has made sure that there is a `localStorage`. Only one tab at a time may own an image. The Web Lock, or
//! where there is none the tabs' agreement, sees to that; the owner's name beside the image makes sure of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use marea_core::{Engine, Entropy, Error, ImageKeeper, SystemEntropy, UserId, image_change};

use super::shelf::Shelf;
use super::{has_met_nothing, open_kept};
use crate::host::now;

/// A log larger than this part of the image, and than [`LOG_CHARS`], is written into it.
const LOG_SHARE: usize = 8;
/// So much of a log is read in no time, beside whatever image.
const LOG_CHARS: usize = 64 * 1024;
/// An opening begins so much later than what it found: entries of a leader that was thought dead, which arrive only now, are then
/// older than the image and are left out.
const OPENING: u64 = 1_000;

/// What an opening shares with its host.
pub(crate) struct Held {
    /// What the mirror has come to; it grows with each write.
    revision: AtomicU64,
    /// Whether the host has left it, to others or because it was erased.
    left: AtomicBool,
}

impl Held {
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// What a request that is under way brings is not written any more.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

/// Writes an image whole when the log has grown, and what has changed since it otherwise.
struct Keeper {
    shelf: Shelf,
    /// This opening's own name.
    name: String,
    /// The newest image; empty before this opening has written one.
    last: Vec<u8>,
    held: Arc<Held>,
    image_chars: usize,
    log_chars: usize,
}

/// Opens the user's mirror; says whether a damaged one was set aside for it, and whether there was none.
pub(super) fn open(user: UserId) -> Result<(Engine, Arc<Held>, bool, bool), Error> {
    let shelf = Shelf::of(&user.to_string());
    let fresh = !shelf.has_image();
    let revision = AtomicU64::new(shelf.newest() + OPENING);
    let held = Arc::new(Held { revision, left: AtomicBool::new(false) });
    let keeper = || -> Result<Box<Keeper>, Error> {
        let mut bytes = [0u8; 12];
        SystemEntropy::new().fill(&mut bytes)?;
        let name = STANDARD.encode(bytes);
        shelf.own(&name)?;
        let (shelf, held) = (shelf.clone(), held.clone());
        Ok(Box::new(Keeper { shelf, name, last: Vec::new(), held, image_chars: 0, log_chars: 0 }))
    };
    let (mut opened, mut set_aside) = (open_kept(keeper()?, user), false);
    if matches!(opened, Err(Error::MirrorCorrupt)) {
        shelf.put_aside()?;
        (opened, set_aside) = (open_kept(keeper()?, user), true);
    }
    let mut engine = opened?;
    // Also where a tab put it aside and died before it had restored what was left of it.
    if has_met_nothing(&engine)?
        && let Some(damaged) = shelf.newest_aside()
    {
        engine.restore_what_is_ours(&Engine::rescue(&damaged, &[]), now())?;
        set_aside = true;
    }
    Ok((engine, held, set_aside, fresh))
}

/// The newest revision of the user's mirror that this page can see; 0 when there is none.
pub(super) fn image_revision(user_id: &str) -> f64 {
    Shelf::of(&user_id.to_ascii_lowercase()).newest() as f64
}

impl ImageKeeper for Keeper {
    fn load(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.shelf.read()
    }

    fn keep(&mut self, image: &[u8]) -> Result<(), Error> {
        match self.shelf.is_owned_by(&self.name) {
            Some(true) => {}
            // The app has cleared `localStorage`: what it held is here, whole, and nowhere else.
            None if !self.held.left.load(Ordering::Relaxed) => {
                self.shelf.own(&self.name)?;
                self.last.clear();
            }
            // Another tab has come to own the image, because this one did not answer: what it writes must stay.
            _ => return Err(Error::MirrorLocked),
        }
        let revision = self.held.revision() + 1;
        if !self.append(revision, image) {
            self.image_chars = self.shelf.put_image(revision, image)?;
            self.log_chars = 0;
        }
        self.last = image.to_vec();
        self.held.revision.store(revision, Ordering::Relaxed);
        Ok(())
    }
}

impl Keeper {
    /// Writes what has changed; false when the image had better be written whole.
    fn append(&mut self, revision: u64, image: &[u8]) -> bool {
        if self.last.is_empty() {
            return false;
        }
        let entry = STANDARD.encode(image_change(&self.last, image));
        let grown = self.log_chars + entry.len();
        let written = grown <= LOG_CHARS.max(self.image_chars / LOG_SHARE)
            && self.shelf.put_entry(revision, &entry).is_ok();
        if written {
            self.log_chars = grown;
        }
        written
    }
}
