//! Whom Postgres and PostgREST run as. Root hands them to another user, because Postgres refuses to run as root; anybody
//! else keeps them. It decides and checks; the hand-over itself is in `process.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

use crate::Error;

/// The other user, when there has to be one.
#[derive(Clone)]
pub(crate) struct RunAs {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl RunAs {
    /// `None` unless this process is root's.
    pub(crate) fn find() -> Result<Option<RunAs>, Error> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.filter(|user| !user.uid.is_root()).ok_or(Error::NoUser)?;
        Ok(Some(RunAs { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }

    /// Whether this user has all of `bits` (read 4, write 2, search or execute 1) on this one entry.
    fn has(&self, path: &Path, bits: u32) -> bool {
        let Ok(entry) = fs::metadata(path) else { return false };
        let granted = if entry.uid() == self.uid {
            entry.mode() >> 6
        } else if entry.gid() == self.gid {
            entry.mode() >> 3
        } else {
            entry.mode()
        };
        granted & bits == bits
    }

    /// Whether this user can walk to `path` and has `bits` on it.
    pub(crate) fn can_use(&self, path: &Path, bits: u32) -> bool {
        let Ok(path) = path.canonicalize() else { return false };
        self.has(&path, bits) && path.ancestors().skip(1).all(|folder| self.has(folder, 1))
    }
}

/// Gives `path` to the other user, if there is one.
pub(crate) fn hand_over(path: &Path, run_as: Option<&RunAs>) -> Result<(), Error> {
    let Some(user) = run_as else { return Ok(()) };
    chown(path, Some(user.uid), Some(user.gid)).map_err(Error::file("could not hand over", path))
}

/// The folder for temporary things: the system's, unless it is a private one that the other user cannot enter.
pub(crate) fn temp_root(run_as: Option<&RunAs>) -> PathBuf {
    let usual = std::env::temp_dir();
    match run_as {
        Some(user) if !user.can_use(&usual, 1) => PathBuf::from("/tmp"),
        _ => usual,
    }
}
