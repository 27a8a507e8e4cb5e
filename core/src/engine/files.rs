//! What an app does with files of exports: adds them, reads them, holds them back. Moving them is in `transfers`.

use crate::engine::changed::Changed;
use crate::engine::plan::Known;
use crate::engine::record::record;
use crate::engine::{Change, Engine, Recorded};
use crate::error::Error;
use crate::model::{
    BUCKET, ExportInput, FileInput, FileRecord, FileState, FileView, MutationId, Now, StatusError, Table,
    read_file_url,
};
use crate::store::Rows;

/// What files may take on a device where the app says nothing else.
pub const FILE_QUOTA_BYTES: u64 = 200_000_000;

/// Where the bytes of an export's file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// On this device.
    Local {
        /// What they are called here.
        name: String,
        /// SHA-256 of the bytes.
        sha256: String,
    },
    /// At the server.
    Remote {
        /// The path to read, below the server's address, with the user's token.
        path: String,
        /// The path to post to for a link that opens without a token.
        link_path: String,
        /// SHA-256 of the bytes, as their name says: what comes must have it.
        sha256: String,
        /// The ending of its name.
        extension: String,
    },
    /// Nowhere that this device knows of.
    Nowhere,
}

impl Engine {
    /// Records an export and its file, whose bytes the host has written and flushed under [`FileInput::local_name`] of the id
    /// that the input must bring. Both are durable when this returns, in one transaction.
    ///
    /// # Errors
    /// [`Error::FilesFull`] when files take more than `quota` bytes then: the export is recorded without its file. Else those of
    /// [`Engine::mutate`].
    pub fn create_export_with_file(
        &mut self,
        export: ExportInput,
        file: FileInput,
        quota: u64,
        now: Now,
    ) -> Result<Recorded, Error> {
        file.check()?;
        self.needs_account("files")?;
        let id = export.id.ok_or_else(|| Error::invalid("id", "is needed for an export with a file"))?;
        let (_, plan) = self.plan(None, Change::CreateExport(export), now)?;
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        let mut changed = Changed::default();
        let (fits, pending) = self.store.write_queueing(|rows, newest| {
            let is_new =
                record(rows, (user_id, &client), (Known::Maybe(id), None), plan, now, newest, &mut changed)??;
            Ok((add(rows, id, file, quota, now)?, u32::from(is_new)))
        })?;
        self.announce_rows(&changed);
        self.schedule.wrote();
        if fits {
            Ok(Recorded { id, pending, counts_from: None, key: id.to_string() })
        } else {
            Err(Error::FilesFull)
        }
    }

    /// Gives an export that is there its file: one that had none, or whose file was refused.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an export that is not there or has another file, [`Error::FilesFull`], and the storage errors.
    pub fn attach_file(
        &mut self,
        export_id: MutationId,
        file: FileInput,
        quota: u64,
        now: Now,
    ) -> Result<(), Error> {
        file.check()?;
        self.needs_account("files")?;
        let fits = self.store.write_beside_queue(|rows| {
            if rows.register(Table::ExportHistory, &export_id.to_string())?.is_none() {
                return Err(Error::invalid("id", "there is no such export in this mirror"));
            }
            add(rows, export_id, file, quota, now)
        })?;
        if fits { Ok(()) } else { Err(Error::FilesFull) }
    }

    /// All files that this device knows of, oldest first.
    ///
    /// # Errors
    /// The storage errors.
    pub fn files(&self) -> Result<Vec<FileView>, Error> {
        let files = self.store.read().files()?;
        Ok(files.into_iter().map(|record| self.view(record)).collect())
    }

    fn view(&self, record: FileRecord) -> FileView {
        let id = record.export_id;
        FileView {
            export_id: id,
            state: record.state,
            size: record.input.size,
            sent: match record.state {
                FileState::Uploaded => record.input.size,
                _ => self.transfers.sent(id).min(record.input.size),
            },
            paused: record.paused,
            on_device: record.has_bytes,
            last_error: record.failure.or_else(|| self.transfers.last_error(id)),
        }
    }

    /// Holds a file back, or lets it go on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where this device has no such file, and the storage errors.
    pub fn pause_file(&mut self, export_id: MutationId, paused: bool) -> Result<(), Error> {
        let found = self.store.write_beside_queue(|rows| rows.pause_file(export_id, paused))?;
        self.transfers.forget_failure(export_id);
        if found { Ok(()) } else { Err(no_file()) }
    }

    /// Tries a file again that was refused, or that waits for its next attempt.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where this device has no such file or not its bytes, and the storage errors.
    pub fn retry_file(&mut self, export_id: MutationId) -> Result<(), Error> {
        self.transfers.forget_failure(export_id);
        self.store.write_beside_queue(|rows| match rows.file(export_id)? {
            Some(file) if file.state == FileState::Refused && !file.has_bytes => {
                Err(Error::invalid("id", "this file's bytes are not on this device; attach them again"))
            }
            Some(file) if file.state == FileState::Refused => {
                rows.set_file_state(export_id, FileState::Waiting)
            }
            Some(_) => Ok(()),
            None => Err(no_file()),
        })
    }

    /// Every file that waits for its next attempt may have it at once.
    pub fn signal_files(&mut self) {
        self.transfers.signal();
    }

    /// Gives a file up: its bytes go from this device, and from the server what it has of them. The export stays.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where this device has no such file, and the storage errors.
    pub fn cancel_file(&mut self, export_id: MutationId) -> Result<(), Error> {
        self.transfers.forget(export_id);
        self.store.write_beside_queue(|rows| match rows.file(export_id)? {
            Some(file) if file.tried => rows.set_file_state(export_id, FileState::Gone),
            Some(_) => rows.forget_file(export_id),
            None => Err(no_file()),
        })
    }

    /// Where an export's file is. A `file_url` is read only when it is exactly this user's and this export's.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when this mirror has no such export, and the storage errors.
    pub fn file_source(&self, export_id: MutationId) -> Result<FileSource, Error> {
        let rows = self.store.read();
        let file = rows.file(export_id)?.filter(|file| file.has_bytes && file.state != FileState::Gone);
        if let Some(file) = file {
            let name = file.input.local_name(export_id);
            return Ok(FileSource::Local { name, sha256: file.input.sha256 });
        }
        self.remote_file(export_id)
    }

    /// Where an export's file is at the server, though it may be here too.
    ///
    /// # Errors
    /// As [`Engine::file_source`].
    pub fn remote_file(&self, export_id: MutationId) -> Result<FileSource, Error> {
        let export = self.export(export_id)?;
        let export = export.ok_or_else(|| Error::invalid("id", "there is no such export in this mirror"))?;
        let url = export.file_url.as_deref().and_then(|url| read_file_url(url, self.user_id, export_id));
        Ok(url.map_or(FileSource::Nowhere, |(sha256, extension)| {
            let object = format!("{BUCKET}/{}/{export_id}/{sha256}.{extension}", self.user_id);
            FileSource::Remote {
                path: format!("/storage/v1/object/authenticated/{object}"),
                link_path: format!("/storage/v1/object/sign/{object}"),
                sha256,
                extension,
            }
        }))
    }

    /// An id for an export whose file has to have a name before its row is written.
    ///
    /// # Errors
    /// [`Error::NoEntropy`].
    pub fn make_export_id(&mut self, now: Now) -> Result<MutationId, Error> {
        MutationId::make(now.unix_ms, self.entropy.as_mut())
    }

    /// Compares the names that the host finds where it keeps bytes with what is wanted. Gives those that are to be removed; a
    /// file whose bytes are missing says so from then on.
    ///
    /// # Errors
    /// The storage errors.
    pub fn sweep_files(&mut self, found: &[String]) -> Result<Vec<String>, Error> {
        let files = self.store.read().files()?;
        let wanted = |file: &&FileRecord| file.has_bytes && file.state != FileState::Gone;
        let wanted: Vec<&FileRecord> = files.iter().filter(wanted).collect();
        let is_here = |file: &FileRecord| found.contains(&file.input.local_name(file.export_id));
        let missing: Vec<&FileRecord> = wanted.iter().copied().filter(|file| !is_here(file)).collect();
        if !missing.is_empty() {
            self.store
                .write_beside_queue(|rows| missing.iter().try_for_each(|file| lost_bytes(rows, file)))?;
        }
        let names: Vec<String> = wanted.iter().map(|file| file.input.local_name(file.export_id)).collect();
        Ok(found.iter().filter(|name| !names.contains(name)).cloned().collect())
    }
}

/// The bytes of a file are not here any more: what was not uploaded cannot be.
pub(super) fn lost_bytes(rows: Rows<'_>, file: &FileRecord) -> Result<(), Error> {
    rows.drop_bytes(file.export_id)?;
    if matches!(file.state, FileState::Waiting | FileState::Uploading) {
        let message = "the file's bytes are no longer on this device; attach them again".to_owned();
        rows.refuse_file(file.export_id, &StatusError { code: "file_missing".to_owned(), message })?;
    }
    Ok(())
}

/// Adds a file, with as many uploaded ones leaving the device as make room for it. Says whether there was room.
fn add(rows: Rows<'_>, id: MutationId, input: FileInput, quota: u64, now: Now) -> Result<bool, Error> {
    let before = rows.file(id)?;
    if let Some(known) = &before
        && known.state != FileState::Refused
    {
        return match known.input == input {
            true => Ok(true),
            false => Err(Error::invalid("file", "this export has another file already")),
        };
    }
    let size = input.size;
    if size <= quota {
        let uploaded = |file: &FileRecord| file.state == FileState::Uploaded && file.has_bytes;
        for file in rows.files()?.into_iter().filter(uploaded) {
            if rows.bytes_of_files()?.saturating_add(size) <= quota {
                break;
            }
            rows.drop_bytes(file.export_id)?;
        }
    }
    let fits = rows.bytes_of_files()?.saturating_add(size) <= quota;
    let message = "there was no room for the file on this device; make some and attach it again".to_owned();
    let failure = (!fits).then(|| StatusError { code: "storage_full".to_owned(), message });
    let record = FileRecord {
        export_id: id,
        input,
        state: if fits { FileState::Waiting } else { FileState::Refused },
        has_bytes: fits,
        tried: before.is_some_and(|before| before.tried),
        upload_id: None,
        paused: false,
        failure,
    };
    rows.add_file(&record, now.unix_ms)?;
    Ok(fits)
}

fn no_file() -> Error {
    Error::invalid("id", "this device has no file of such an export")
}
