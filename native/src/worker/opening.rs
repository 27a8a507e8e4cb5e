//! Opening the mirror, and what is done with a damaged one: it is set aside beside the new one, and what can be read of its
//! queue goes into that. What and how is the engine's; here is when, and that nobody else has the file open meanwhile.

use std::path::{Path, PathBuf};

use marea_core::{Catalogue, Engine, Location, SetAside, SystemEntropy, UserId};

use crate::bytes::Bytes;
use crate::files::{FileLock, ensure_private, keep_private, refuse_links, remove, with_ending};
use crate::{Error, clock};

/// Opens the user's mirror, or makes it; with it comes the share of its lock that says it is in use.
pub(super) fn open(
    mirror: &Path,
    user_id: UserId,
    schema: Option<&Catalogue>,
    day_starts_at: Option<u16>,
) -> Result<(Engine, FileLock), Error> {
    // SQLite does not wait its turn for the switch to WAL of a new file: one program makes it, the others find it made.
    let _opening = FileLock::wait_for(&mirror.with_extension("open-lock"))?;
    refuse_links(mirror)?;
    Bytes::beside(mirror).is_there()?;
    // SQLite would make it readable for whom the umask allows, and its journal like it.
    ensure_private(mirror)?;
    let opened = match suspicion(mirror).exists() {
        true => Err(marea_core::Error::MirrorCorrupt),
        false => Engine::open(&location(mirror), user_id, Box::new(SystemEntropy::new()), clock::now()),
    };
    let mut engine = match opened {
        Err(marea_core::Error::MirrorCorrupt) => recover(mirror, user_id)?,
        opened => opened?,
    };
    engine.set_zone(Box::new(clock::SystemZone));
    if let Some(minutes) = day_starts_at {
        engine.set_day_start(minutes)?;
    }
    engine.use_catalogue(schema, clock::now())?;
    let in_use = FileLock::shared(&mirror.with_extension("use-lock"))?;
    // The first look only begins: from here on, every write of another program is noticed.
    engine.look_for_other_writers()?;
    tracing::debug!("the mirror is open");
    Ok((engine, in_use))
}

/// Notes that the file may be damaged, so that whoever opens it next looks at all of it.
pub(super) fn suspect(mirror: &Path) {
    if let Err(error) = ensure_private(&suspicion(mirror)) {
        tracing::warn!(code = error.code(), "that the mirror is damaged could not be noted");
    }
}

/// Whether this program alone has the mirror open, as the holder of that share. A file must not be moved from under others.
pub(super) fn is_alone(mirror: &Path, in_use: &mut Option<FileLock>) -> bool {
    let lock = mirror.with_extension("use-lock");
    *in_use = None;
    let alone = FileLock::try_for(&lock).is_ok_and(|free| free.is_some());
    if !alone {
        *in_use = FileLock::shared(&lock).ok();
    }
    alone
}

fn recover(mirror: &Path, user_id: UserId) -> Result<Engine, Error> {
    let Some(_alone) = FileLock::try_for(&mirror.with_extension("use-lock"))? else {
        return Err(marea_core::Error::MirrorCorrupt.into());
    };
    let entropy = Box::new(SystemEntropy::new());
    let opened = Engine::open_or_recover(&location(mirror), user_id, entropy, clock::now());
    let (engine, set_aside) = opened?;
    if let Some(SetAside { rescued, found, restored, .. }) = &set_aside {
        // SQLite has made the new file for whom the umask allows, and its log like it.
        for made in [mirror, &with_ending(mirror, "-wal"), &with_ending(mirror, "-shm"), rescued] {
            keep_private(made)?;
        }
        // Its files with it: the new mirror knows of none, and would sweep them.
        Bytes::beside(mirror).set_aside(&with_ending(rescued, ".files"))?;
        tracing::warn!(
            found,
            restored,
            "the mirror was damaged; it was set aside, and its unsent mutations that could be read were restored"
        );
    }
    remove(&suspicion(mirror))?;
    Ok(engine)
}

fn location(mirror: &Path) -> Location {
    Location::File(mirror.to_owned())
}

fn suspicion(mirror: &Path) -> PathBuf {
    mirror.with_extension("suspect")
}
