//! What an app does with files of exports: adds them, reads them, holds them back. Moving them is in `transfers`.

use crate::engine::{Change, Engine, Recorded};
use crate::error::Error;
use crate::model::{
    BUCKET, ExportInput, FileInput, FileRecord, FileState, FileView, FilesStatus, MutationId, Now, Table,
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
        /// The media type.
        content_type: String,
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
        let mut fits = false;
        let recorded = self.mutate_beside(
            Change::CreateExport(export),
            &mut |rows| {
                fits = add(rows, id, &file, quota, now)?;
                Ok(())
            },
            now,
        )?;
        if fits { Ok(recorded) } else { Err(Error::FilesFull) }
    }

    /// Gives an export that is there its file: one that had none, or whose file was refused.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for an export that is not there or has another file, [`Error::FileLeaving`] where the one that it had
    /// is not deleted yet, [`Error::FilesFull`], and the storage errors.
    pub fn attach_file(
        &mut self,
        export_id: MutationId,
        file: FileInput,
        quota: u64,
        now: Now,
    ) -> Result<(), Error> {
        file.check()?;
        self.needs_account("files")?;
        let mut fits = false;
        self.store.change(&mut |rows| {
            if rows.register(Table::ExportHistory, &export_id.to_string())?.is_none() {
                return Err(Error::invalid("id", "there is no such export in this mirror"));
            }
            fits = add(rows, export_id, &file, quota, now)?;
            Ok(())
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

    /// How they stand, all in all.
    pub(super) fn files_status(&self) -> Result<FilesStatus, Error> {
        let mut status = FilesStatus::default();
        let current = self.transfers.under_way();
        for file in self.files()? {
            match file.state {
                FileState::Waiting | FileState::Uploading => {
                    status.waiting += 1;
                    status.bytes_waiting += file.size - file.sent;
                }
                FileState::Uploaded => status.uploaded += 1,
                FileState::Refused => status.refused += 1,
                FileState::Gone => {}
            }
            if file.on_device {
                status.bytes_on_device += file.size;
            }
            if current == Some(file.export_id) {
                status.current = Some(file);
            }
        }
        Ok(status)
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
        let found = self.change_file(export_id, &mut |file| file.paused = paused)?;
        self.transfers.forget_failure(export_id);
        if found { Ok(()) } else { Err(no_file()) }
    }

    /// Tries a file again that was refused, or that waits for its next attempt. An upload goes on where it was.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where this device has no such file or not its bytes, and the storage errors.
    pub fn retry_file(&mut self, export_id: MutationId) -> Result<(), Error> {
        self.transfers.forget_failure(export_id);
        // They are counted with the waits between.
        self.transfers.stalls.remove(&export_id);
        let file = self.store.read().file(export_id)?.ok_or_else(no_file)?;
        if file.state != FileState::Refused {
            return Ok(());
        }
        if !file.has_bytes {
            return Err(Error::invalid("id", "this file's bytes are not on this device; attach them again"));
        }
        self.change_file(export_id, &mut |file| file.set_state(FileState::Waiting)).map(|_| ())
    }

    /// Every file that waits for its next attempt may have it at once.
    pub fn signal_files(&mut self) {
        self.transfers.signal();
    }

    /// Gives a file up: its bytes go from this device, and from the server what it has of them. The export stays, and names it no
    /// more.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where this device has no such file, and the storage errors.
    pub fn cancel_file(&mut self, export_id: MutationId, now: Now) -> Result<(), Error> {
        self.transfers.forget(export_id);
        let mut file = self.store.read().file(export_id)?.ok_or_else(no_file)?;
        let url = file.input.url(self.user_id, export_id);
        let is_named = self.export(export_id)?.is_some_and(|export| export.file_url == Some(url));
        file.set_state(FileState::Gone);
        if is_named {
            let change = Change::DropFile { id: export_id };
            return self.mutate_beside(change, &mut |rows| rows.put_file(&file), now).map(|_| ());
        }
        self.store.change(&mut |rows| rows.put_file(&file))
    }

    /// Changes what is known of a file; says whether there is one.
    pub(super) fn change_file(
        &mut self,
        export_id: MutationId,
        change: &mut dyn FnMut(&mut FileRecord),
    ) -> Result<bool, Error> {
        let mut found = false;
        self.store.change(&mut |rows| {
            let Some(mut file) = rows.file(export_id)? else { return Ok(()) };
            found = true;
            change(&mut file);
            rows.put_file(&file)
        })?;
        Ok(found)
    }

    /// Where an export's file is. A `file_url` is read only when it is exactly this user's and this export's. Where two devices gave
    /// one export a file each, it is the one that the row names, on both.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when this mirror has no such export, and the storage errors.
    pub fn file_source(&self, export_id: MutationId) -> Result<FileSource, Error> {
        let rows = self.store.read();
        let file = rows.file(export_id)?.filter(|file| file.has_bytes && file.state != FileState::Gone);
        if let Some(file) = file {
            if file.state == FileState::Uploaded
                && let FileSource::Remote { sha256, .. } = &self.remote_file(export_id)?
                && *sha256 != file.input.sha256
            {
                return self.remote_file(export_id);
            }
            let name = file.input.local_name(export_id);
            let FileInput { sha256, content_type, .. } = file.input;
            return Ok(FileSource::Local { name, sha256, content_type });
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
        let mut unwanted = found.to_vec();
        for file in self.store.read().files()? {
            if !file.has_bytes || file.state == FileState::Gone {
                continue;
            }
            let name = file.input.local_name(file.export_id);
            match unwanted.iter().position(|it| *it == name) {
                Some(at) => drop(unwanted.remove(at)),
                None => drop(self.change_file(file.export_id, &mut FileRecord::lose_bytes)?),
            }
        }
        Ok(unwanted)
    }
}

/// Adds a file, with as many uploaded ones leaving the device as make room for it. Says whether there was room.
fn add(rows: Rows<'_>, id: MutationId, input: &FileInput, quota: u64, now: Now) -> Result<bool, Error> {
    let files = rows.files()?;
    let before = files.iter().find(|file| file.export_id == id);
    if let Some(known) = before.filter(|known| known.state != FileState::Refused) {
        if known.state == FileState::Gone {
            // The request that deletes it would delete these bytes as well: an object is named by what is in it.
            return Err(Error::FileLeaving);
        }
        return match known.input == *input {
            true => Ok(true),
            false => Err(Error::invalid("file", "this export has another file already")),
        };
    }
    let others = || files.iter().filter(|file| file.has_bytes && file.export_id != id);
    let mut taken = others().fold(0_u64, |sum, file| sum.saturating_add(file.input.size));
    if input.size <= quota {
        for file in others().filter(|file| file.state == FileState::Uploaded) {
            if taken.saturating_add(input.size) <= quota {
                break;
            }
            taken -= file.input.size;
            let mut file = file.clone();
            file.lose_bytes();
            rows.put_file(&file)?;
        }
    }
    let fits = taken.saturating_add(input.size) <= quota;
    let mut record = FileRecord {
        export_id: id,
        input: input.clone(),
        state: FileState::Waiting,
        has_bytes: fits,
        tried: before.is_some_and(|before| before.tried),
        upload_id: None,
        paused: false,
        failure: None,
        added_ms: now.unix_ms,
    };
    if !fits {
        let message = "there was no room for the file on this device; make some and attach it again";
        record.refuse("storage_full", message);
    }
    rows.put_file(&record)?;
    Ok(fits)
}

fn no_file() -> Error {
    Error::invalid("id", "this device has no file of such an export")
}
