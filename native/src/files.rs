//! Folders and files that belong to one person: made for the owner alone, and locked between processes.
//!
//! It knows no file's content.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::Error;

/// Makes a folder for this account of the machine alone. One that exists keeps its permissions.
pub(crate) fn make_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| Error::Files { action: "create", path: PathBuf::from(dir), source })
}

/// Makes a file that only its owner can read. Fails when there is one.
pub(crate) fn make_private(path: &Path) -> io::Result<File> {
    private().create_new(true).open(path)
}

/// Makes sure of an own file, empty when it is new, that only its owner can read. One that exists stays as it is.
pub(crate) fn ensure_private(path: &Path) -> Result<(), Error> {
    match make_private(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::Files { action: "create", path: PathBuf::from(path), source })
        }
        _ => Ok(()),
    }
}

/// An exclusive lock between processes, held as long as the value lives. The system frees it when a process ends, however
/// it ends.
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Waits until no other process holds the lock of this file. Blocks the thread.
    pub(crate) fn wait_for(path: &Path) -> Result<FileLock, Error> {
        let locked = open_lock(path).and_then(|file| file.lock().map(|()| FileLock { _file: file }));
        locked.map_err(|source| Error::Files { action: "lock", path: PathBuf::from(path), source })
    }

    /// A share of the lock: others may have theirs, and nobody has it alone. Blocks the thread.
    pub(crate) fn shared(path: &Path) -> Result<FileLock, Error> {
        let locked = open_lock(path).and_then(|file| file.lock_shared().map(|()| FileLock { _file: file }));
        locked.map_err(|source| Error::Files { action: "lock", path: PathBuf::from(path), source })
    }

    /// The lock if it is free now.
    pub(crate) fn try_for(path: &Path) -> Result<Option<FileLock>, Error> {
        let tried = open_lock(path).and_then(|file| match file.try_lock() {
            Ok(()) => Ok(Some(FileLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        });
        tried.map_err(|source| Error::Files { action: "lock", path: PathBuf::from(path), source })
    }
}

/// Removes a file; one that is not there is as good.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Files { action: "remove", path: PathBuf::from(path), source })
        }
        _ => Ok(()),
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    private().create(true).open(path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
