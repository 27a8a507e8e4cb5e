//! The bytes of files, beside the mirror: written whole and flushed before their row, under a name that says whose they are
//! and what they hash to. Which of them are wanted is the engine's decision.

use std::fs::{self, DirEntry, File, FileType};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use marea_core::{FileHash, FileInput, MutationId};
use tempfile::NamedTempFile;

use crate::Error;
use crate::files::{FileLock, is_there, make_dir, remove};

const BLOCK: usize = 128 * 1024;

/// What the names of bytes begin with that are not whole yet.
const INCOMING: &str = ".incoming-";

/// The folder of one mirror's files.
#[derive(Clone)]
pub(crate) struct Bytes {
    folder: PathBuf,
}

/// Bytes that have been flushed, and are swept by nobody until their row is written.
pub(crate) struct KeptBytes {
    pub(crate) input: FileInput,
    /// False where there was no room: then the hash is of what was read until that was clear.
    pub(crate) fit: bool,
    _lock: FileLock,
}

impl Bytes {
    pub(crate) fn beside(mirror: &Path) -> Bytes {
        Bytes { folder: mirror.with_extension("files") }
    }

    /// Where the bytes of this name are.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes and flushes the bytes of an export's file, of which `size` are expected. Nothing stays of more than `quota`, or than the
    /// disk has room for, and no more is read.
    pub(crate) fn keep(
        &self,
        export_id: MutationId,
        extension: &str,
        content_type: &str,
        quota: u64,
        (size, source): (u64, &mut dyn Read),
    ) -> Result<KeptBytes, Error> {
        self.is_there()?;
        make_dir(&self.folder)?;
        let lock = FileLock::shared(&self.lock_path())?;
        let failed = |action| {
            let path = self.folder.clone();
            move |source: io::Error| Error::of_files(action, path, source)
        };
        let made = tempfile::Builder::new().prefix(INCOMING).tempfile_in(&self.folder);
        let mut made = made.map_err(failed("write to"))?;
        let (mut hash, mut read, mut block) = (FileHash::new(), 0_u64, vec![0; BLOCK]);
        let mut fit = size <= quota;
        while fit {
            let more = source.read(&mut block).map_err(failed("read the file for"))?;
            if more == 0 {
                break;
            }
            hash.update(&block[..more]);
            read += more as u64;
            fit = read <= quota
                && has_room(made.as_file_mut().write_all(&block[..more])).map_err(failed("write to"))?;
        }
        let input = FileInput {
            sha256: hash.finish(),
            extension: extension.to_owned(),
            content_type: content_type.to_owned(),
            size: if fit { read } else { size.max(read) },
        };
        fit = fit && has_room(self.flush(made, &input.local_name(export_id))).map_err(failed("write to"))?;
        Ok(KeptBytes { input, fit, _lock: lock })
    }

    fn flush(&self, made: NamedTempFile, name: &str) -> io::Result<()> {
        made.as_file().sync_all()?;
        made.persist(self.path(name))?;
        // The name too has to be on the disk.
        #[cfg(unix)]
        File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    /// A part of a file; `None` when it is not there or is shorter, or when the whole of it has another hash than `sha256`.
    pub(crate) fn read(&self, name: &str, offset: u64, length: u64, sha256: Option<&str>) -> Option<Vec<u8>> {
        let mut file = File::open(self.path(name)).ok()?;
        if let Some(expected) = sha256 {
            let mut hash = FileHash::new();
            io::copy(&mut file, &mut hash).ok()?;
            if hash.finish() != expected {
                return None;
            }
        }
        file.seek(SeekFrom::Start(offset)).ok()?;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Whether there is a folder. A link in its place is refused.
    pub(crate) fn is_there(&self) -> Result<bool, Error> {
        is_there(&self.folder, FileType::is_dir)
    }

    /// The names of all bytes, if nobody is adding any now. What somebody else has put there is not looked at.
    pub(crate) fn names(&self) -> Result<Option<(Vec<String>, FileLock)>, Error> {
        if !self.is_there()? {
            return Ok(None);
        }
        let Some(lock) = FileLock::try_for(&self.lock_path())? else { return Ok(None) };
        let entries = fs::read_dir(&self.folder).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
        let entries = entries.map_err(|source| Error::of_files("read", self.folder.clone(), source))?;
        let files = entries.iter().filter(|entry| entry.file_type().is_ok_and(|it| it.is_file()));
        let names = files.filter_map(|entry| entry.file_name().into_string().ok());
        let is_own = |name: &String| name.starts_with(INCOMING) || FileInput::is_local_name(name);
        Ok(Some((names.filter(is_own).collect(), lock)))
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        remove(&self.path(name))
    }

    /// Moves everything to where a damaged mirror is kept.
    pub(crate) fn set_aside(&self, to: &Path) -> Result<(), Error> {
        match fs::rename(&self.folder, to) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::of_files("move", self.folder.clone(), source))
            }
            _ => Ok(()),
        }
    }

    /// Removes everything.
    pub(crate) fn erase(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::of_files("remove", self.folder.clone(), source))
            }
            _ => Ok(()),
        }
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join(LOCK)
    }
}

const LOCK: &str = ".lock";

/// Whether there was room for what was written.
fn has_room(written: io::Result<()>) -> io::Result<bool> {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match written {
        Err(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) => Ok(false),
        done => done.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "018f9d3e-7a00-7000-8000-0123456789ab";

    fn keep(bytes: &Bytes, quota: u64, (size, source): (u64, &mut dyn Read)) -> Result<KeptBytes, Error> {
        bytes.keep(ID.parse().unwrap(), "csv", "text/csv", quota, (size, source))
    }

    #[test]
    fn what_somebody_else_has_put_beside_bytes_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::beside(&dir.path().join("mirror.sqlite3"));
        assert!(bytes.names().unwrap().is_none());
        let name = keep(&bytes, 10, (3, &mut &b"abc"[..])).unwrap().input.local_name(ID.parse().unwrap());
        let other = name.replace(ID, "018f9d3e-7a00-7000-8000-0123456789ac");
        fs::create_dir(bytes.path("@eaDir")).unwrap();
        fs::create_dir(bytes.path(&format!("{other}x"))).unwrap();
        fs::write(bytes.path("thesis.csv"), "mine").unwrap();
        fs::write(bytes.path(".incoming-0"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(bytes.path("thesis.csv"), bytes.path(&other)).unwrap();
        let (mut names, _lock) = bytes.names().unwrap().unwrap();
        names.sort();
        assert_eq!(names, [".incoming-0".to_owned(), name]);
    }

    /// The bytes of whoever's folder it led to were swept.
    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_folder_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::beside(&dir.path().join("mirror.sqlite3"));
        let theirs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(theirs.path(), dir.path().join("mirror.files")).unwrap();
        for refused in [bytes.names().err(), keep(&bytes, 10, (3, &mut &b"abc"[..])).err()] {
            assert!(refused.unwrap().to_string().contains("link"));
        }
        assert_eq!(fs::read_dir(theirs.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_part_is_given_only_of_what_has_the_hash_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::beside(&dir.path().join("mirror.sqlite3"));
        let input = keep(&bytes, 10, (3, &mut &b"abc"[..])).unwrap().input;
        let name = input.local_name(ID.parse().unwrap());
        let read = |sha256| bytes.read(&name, 1, 2, sha256);
        assert_eq!(read(None).as_deref(), Some(&b"bc"[..]));
        assert_eq!(read(Some(&*input.sha256)).as_deref(), Some(&b"bc"[..]));
        fs::write(bytes.path(&name), "xbc").unwrap();
        assert_eq!((read(None).as_deref(), read(Some(&*input.sha256))), (Some(&b"bc"[..]), None));
    }

    /// A source without an end was read for ever.
    #[test]
    fn no_more_is_read_than_there_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::beside(&dir.path().join("mirror.sqlite3"));
        let kept = keep(&bytes, 1000, (0, &mut io::repeat(7))).unwrap();
        assert!(!kept.fit && kept.input.size > 1000);
        let mut source = &[7; 2000][..];
        let kept = keep(&bytes, 1000, (2000, &mut source)).unwrap();
        assert_eq!((kept.fit, kept.input.size, source.len()), (false, 2000, 2000), "nothing of it");
        let kept = keep(&bytes, 1000, (1000, &mut &[7; 1000][..])).unwrap();
        assert_eq!((kept.fit, kept.input.size), (true, 1000));
    }
}
