//! Folders and files that belong to one person: made for the owner alone, and locked between processes.
//!
//! It knows no file's content.

use std::fs::{DirBuilder, File, FileType, OpenOptions, TryLockError};
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

/// Makes a file that only its owner can read, whole or not at all: it gets its name when everything is in it. Fails when there is
/// one of that name, and leaves it as it is.
pub(crate) fn write_new<T>(path: &Path, write: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // For its owner alone from the beginning; it goes away by itself unless it gets its name.
    let mut unfinished = tempfile::Builder::new().prefix(".marea-").suffix(".part").tempfile_in(dir)?;
    let written = write(unfinished.as_file_mut())?;
    unfinished.as_file().sync_all()?;
    unfinished.persist_noclobber(path).map_err(|failed| failed.error)?;
    Ok(written)
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

/// Makes sure that only its owner can read a file that somebody else has made, where there is one.
pub(crate) fn keep_private(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    {
        let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        match std::fs::set_permissions(path, only_owner) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Files { action: "protect", path: PathBuf::from(path), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a link in the place of a mirror, or of what SQLite keeps beside it.
pub(crate) fn refuse_links(mirror: &Path) -> Result<(), Error> {
    let mut all = ["", "-wal", "-shm", "-journal"].into_iter();
    all.try_for_each(|ending| is_there(&with_ending(mirror, ending), FileType::is_file).map(|_| ()))
}

/// Whether there is something at this path. What does not belong there is refused, and so is a link: what lies behind it may be
/// anybody's.
pub(crate) fn is_there(path: &Path, belongs: fn(&FileType) -> bool) -> Result<bool, Error> {
    let failed = |action, source| Err(Error::of_files(action, path.to_owned(), source));
    let problem = match std::fs::symlink_metadata(path) {
        Ok(found) if belongs(&found.file_type()) => return Ok(true),
        Ok(found) if found.is_symlink() => {
            "it is a link, which Marea does not follow: put what it leads to there itself, or choose the mirror's folder (MAREA_DIR)"
        }
        Ok(_) => "something else is in its place",
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return failed("read", source),
    };
    failed("open", io::Error::other(problem))
}

/// A name with something after it.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Who, beside its owner, may write in a folder and so put other files in the place of the mirror's: in words for a person. Nothing
/// where nobody may, and on systems whose permissions are others.
pub fn who_else_may_write(dir: &Path) -> io::Result<Option<&'static str>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir)?.permissions().mode();
        if mode & 0o002 != 0 {
            return Ok(Some("everybody on this machine"));
        }
        if mode & 0o020 != 0 {
            return Ok(Some("its group"));
        }
    }
    #[cfg(not(unix))]
    std::fs::metadata(dir)?;
    Ok(None)
}

/// The damaged mirrors that were set aside beside a mirror, oldest first.
pub(crate) fn set_aside_beside(mirror: &Path) -> Vec<PathBuf> {
    let mut found = beside(mirror, |ending| ending.chars().all(|it| it.is_ascii_digit() || it == '-'));
    found.sort();
    found
}

/// Removes them, and all that was read of them.
pub(crate) fn remove_set_aside(mirror: &Path) -> Result<(), Error> {
    beside(mirror, |_| true).iter().try_for_each(|path| match path.is_dir() {
        // The files of exports of such a mirror.
        true => std::fs::remove_dir_all(path).map_err(|source| Error::Files {
            action: "remove",
            path: path.clone(),
            source,
        }),
        false => remove(path),
    })
}

/// What lies beside a mirror under its name, `.damaged-`, and such an ending.
fn beside(mirror: &Path, ends_so: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Some((dir, name)) = mirror.parent().zip(mirror.file_name()) else { return Vec::new() };
    let beginning = format!("{}.damaged-", name.to_string_lossy());
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().strip_prefix(&beginning).is_some_and(&ends_so)
    });
    named.map(|entry| entry.path()).collect()
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
