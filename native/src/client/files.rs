//! Files of exports: made with them, moved beside the sync, read from here or from the server.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use marea_core::{ExportInput, FileHash, FileInput, FileSource, FileView, MutationId, Recorded};
use tokio::sync::oneshot;

use super::Client;
use crate::bytes::{Bytes, KeptBytes};
use crate::files::write_new;
use crate::worker::{FetchedFile, Message, Of, State, fetch_file, fetch_link, move_files_now, sweep};
use crate::{Error, Watch};

/// Ten years: what a server may make of more is not known.
const LONGEST_LINK_SECONDS: u32 = 10 * 365 * 86_400;

/// A file for an export.
pub struct NewFile {
    content: Content,
    /// None: as its export's format.
    extension: Option<String>,
    content_type: Option<String>,
}

enum Content {
    Bytes(Vec<u8>),
    Path(PathBuf),
}

impl NewFile {
    /// These bytes; `extension` is the ending of the file's name, without the dot.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>, extension: &str) -> NewFile {
        let extension = Some(extension.to_owned());
        NewFile { content: Content::Bytes(bytes.into()), extension, content_type: None }
    }

    /// A copy of the file that is at this place now. Where its name has no ending of up to 10 letters and digits, it gets that of the
    /// export's format.
    pub fn from_path(path: impl Into<PathBuf>) -> NewFile {
        let path = path.into();
        let extension = path.extension().map(|it| it.to_string_lossy().to_lowercase());
        let extension = extension.filter(|it| FileInput::may_end_in(it));
        NewFile { content: Content::Path(path), extension, content_type: None }
    }

    /// The media type, where it is not the usual one of files that end so.
    pub fn content_type(mut self, content_type: impl Into<String>) -> NewFile {
        self.content_type = Some(content_type.into());
        self
    }

    fn media_type(&self, extension: &str) -> String {
        let usual = match extension {
            "csv" => "text/csv",
            "jsonl" | "ndjson" => "application/x-ndjson",
            "json" => "application/json",
            "html" => "text/html",
            "txt" => "text/plain",
            "pdf" => "application/pdf",
            "zip" => "application/zip",
            _ => "application/octet-stream",
        };
        self.content_type.clone().unwrap_or_else(|| usual.to_owned())
    }

    /// Its bytes, and how many are to be expected: what is no regular file does not say.
    fn open(self) -> Result<(u64, Box<dyn Read + Send>), Error> {
        match self.content {
            Content::Bytes(bytes) => Ok((bytes.len() as u64, Box::new(Cursor::new(bytes)))),
            Content::Path(path) => {
                let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
                let (size, file) = opened.map_err(|source| Error::of_files("read", path, source))?;
                Ok((size, Box::new(file)))
            }
        }
    }
}

impl Client {
    /// Asks for an export and keeps its file: both are durable when this returns, without a network. The file is uploaded once
    /// the export has reached the server, then the export's `file_url` says where it is.
    ///
    /// # Errors
    ///
    /// `storage_full` when files take more than [`Config::file_quota_bytes`](crate::Config::file_quota_bytes) then: the export is recorded without its file. Else as
    /// [`Client::create_export`].
    pub async fn create_export_with_file(
        &self,
        mut export: ExportInput,
        file: NewFile,
    ) -> Result<Recorded, Error> {
        let id = match export.id {
            Some(id) => id,
            None => self.call(|engine| engine.make_export_id(crate::clock::now())).await?,
        };
        export.id = Some(id);
        let kept = self.keep(id, file, &export.export_format).await?;
        let (input, quota) = (kept.input.clone(), self.quota_of(&kept));
        let recorded = self
            .call(move |engine| engine.create_export_with_file(export, input, quota, crate::clock::now()))
            .await;
        self.kept(kept, recorded).await
    }

    /// Gives an export that is there its file: one that had none, or whose file was refused.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an export that this mirror does not have, or that has another file; as
    /// [`Client::create_export_with_file`].
    pub async fn attach_file(&self, export_id: MutationId, file: NewFile) -> Result<(), Error> {
        let format = match &file.extension {
            Some(_) => None,
            None => self.call(move |engine| engine.export(export_id)).await?.map(|it| it.export_format),
        };
        let kept = self.keep(export_id, file, &format.unwrap_or_default()).await?;
        let (input, quota) = (kept.input.clone(), self.quota_of(&kept));
        let attached =
            self.call(move |engine| engine.attach_file(export_id, input, quota, crate::clock::now())).await;
        self.kept(kept, attached).await
    }

    /// Writes and flushes the bytes of a file, on a thread of its own: on the engine's nothing else would be answered meanwhile.
    async fn keep(&self, id: MutationId, file: NewFile, format: &str) -> Result<KeptBytes, Error> {
        let (bytes, quota) = (Bytes::beside(&self.shared.mirror_path), self.shared.file_quota_bytes);
        let format = Some(format.to_lowercase()).filter(|it| FileInput::may_end_in(it));
        let extension = file.extension.clone().or(format).unwrap_or_else(|| "bin".to_owned());
        if !FileInput::may_end_in(&extension) {
            // Before it is a part of a path.
            let problem = "must be 1 to 10 lower-case letters and digits".into();
            return Err(marea_core::Error::InvalidInput { field: "extension", problem }.into());
        }
        let content_type = file.media_type(&extension);
        off_this_thread(move || {
            let (size, mut source) = file.open()?;
            bytes.keep(id, &extension, &content_type, quota, (size, &mut *source))
        })
        .await
    }

    /// What files may take, once it is known whether the disk had room for this one.
    fn quota_of(&self, kept: &KeptBytes) -> u64 {
        if kept.fit { self.shared.file_quota_bytes } else { 0 }
    }

    /// The row of kept bytes is written, or could not be: then they go, unless another row wants them.
    async fn kept<T>(&self, kept: KeptBytes, outcome: Result<T, Error>) -> Result<T, Error> {
        drop(kept);
        if outcome.is_err() {
            // What cannot be removed now goes when the mirror is opened again.
            let _ = self.task(|state| async move { sweep(&state) }).await;
        }
        self.send(Message::FilesNudge).await?;
        outcome
    }

    /// The file of an export as [`Client::export_file`] writes it, in memory.
    ///
    /// # Errors
    ///
    /// As [`Client::export_file`].
    #[cfg(feature = "calls")]
    pub(crate) async fn export_file_bytes(&self, id: MutationId) -> Result<Vec<u8>, Error> {
        let beside = self.shared.mirror_path.parent().unwrap_or(Path::new("."));
        let failed = |action| move |source| Error::of_files(action, beside.to_owned(), source);
        let folder =
            tempfile::Builder::new().prefix(".marea-").tempdir_in(beside).map_err(failed("write to"))?;
        let file = folder.path().join("file");
        self.export_file(id, &file).await?;
        std::fs::read(&file).map_err(failed("read from"))
    }

    /// All files that this device knows of, oldest first.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn files(&self) -> Result<Vec<FileView>, Error> {
        self.call(|engine| engine.files()).await
    }

    /// The same, whenever one of them gets on.
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn watch_files(&self) -> Result<Watch<Vec<FileView>>, Error> {
        self.follow(Of::Status, |engine| engine.files()).await
    }

    /// Moves all files that can be moved now, whatever their backoff, and gives what is known of each then.
    ///
    /// # Errors
    ///
    /// `invalid_input` without a server or tokens; the mirror's errors. What the server says of a file is in its
    /// [`FileView::last_error`].
    pub async fn send_files(&self) -> Result<Vec<FileView>, Error> {
        self.task(|state| async move { move_files_now(&state).await }).await?;
        self.files().await
    }

    /// Holds a file back, or lets it go on.
    ///
    /// # Errors
    ///
    /// `invalid_input` where this device has no such file.
    pub async fn pause_file(&self, export_id: MutationId, paused: bool) -> Result<(), Error> {
        self.call(move |engine| engine.pause_file(export_id, paused)).await?;
        self.send(Message::FilesNudge).await
    }

    /// Tries a file again that was refused, or that waits for its next attempt.
    ///
    /// # Errors
    ///
    /// `invalid_input` where this device has no such file or not its bytes.
    pub async fn retry_file(&self, export_id: MutationId) -> Result<(), Error> {
        self.call(move |engine| engine.retry_file(export_id)).await?;
        self.send(Message::FilesNudge).await
    }

    /// Gives a file up, here and at the server. The export stays.
    ///
    /// # Errors
    ///
    /// `invalid_input` where this device has no such file.
    pub async fn cancel_file(&self, export_id: MutationId) -> Result<(), Error> {
        self.call(move |engine| engine.cancel_file(export_id, crate::clock::now())).await?;
        self.send(Message::FilesNudge).await
    }

    /// Writes an export's file to `to`, which must not be there yet: from this device, else from the server. It appears whole,
    /// with the hash that its name promises, or not at all. Gives its size in bytes.
    ///
    /// # Errors
    ///
    /// `invalid_input` for an export that is not there or has no file; `offline`, `unauthorized` or `server_failed` when the server
    /// does not give it, or gives another one; `storage_failed` when `to` cannot be written.
    pub async fn export_file(&self, id: MutationId, to: &Path) -> Result<u64, Error> {
        let to = to.to_owned();
        let failed = |to: PathBuf| move |source: io::Error| Error::of_files("write", to, source);
        let mut source = self.call(move |engine| engine.file_source(id)).await?;
        if let FileSource::Local { name, sha256, .. } = source {
            let (from, to) = (Bytes::beside(&self.shared.mirror_path).path(&name), to.clone());
            let copied = off_this_thread(move || {
                let mut source = File::open(&from).map_err(|it| Error::of_files("read", from, it))?;
                let copy = |file: &mut File| copy_checked(&mut source, file, &sha256);
                write_new(&to, copy).map_err(failed(to))
            })
            .await;
            let damage = match copied {
                Err(error) if is_damaged(&error) => error,
                done => return done,
            };
            match self.call(move |engine| engine.remote_file(id)).await {
                Ok(remote @ FileSource::Remote { .. }) => source = remote,
                _ => return Err(damage),
            }
        }
        let FileSource::Remote { path, sha256, .. } = source else {
            let problem = "this export has no file".to_owned();
            return Err(marea_core::Error::InvalidInput { field: "id", problem }.into());
        };
        let FetchedFile { chunks } = self.task(move |state| fetch_file(state, path)).await?;
        off_this_thread(move || {
            let mut arriving = Chunks { chunks, rest: Cursor::default() };
            let copy = |file: &mut File| copy_checked(&mut arriving, file, &sha256);
            write_new(&to, copy).map_err(|source| match source.kind() {
                io::ErrorKind::InvalidData => Error::OtherFile,
                // What cut it off has its own name.
                _ => source.downcast::<Error>().unwrap_or_else(failed(to)),
            })
        })
        .await
    }

    /// A link that opens an export's file for whoever has it, for `expires_in_seconds`: at least one, at most ten years.
    ///
    /// # Errors
    ///
    /// `invalid_input` for another time; as [`Client::export_file`].
    pub async fn export_url(&self, id: MutationId, expires_in_seconds: u32) -> Result<String, Error> {
        if !(1..=LONGEST_LINK_SECONDS).contains(&expires_in_seconds) {
            let problem = format!("must be 1 to {LONGEST_LINK_SECONDS} seconds");
            return Err(marea_core::Error::InvalidInput { field: "expires_in_seconds", problem }.into());
        }
        let file = self.call(move |engine| engine.remote_file(id)).await?;
        match file {
            FileSource::Remote { link_path, .. } => {
                self.task(move |state| fetch_link(state, link_path, expires_in_seconds)).await
            }
            _ => {
                let problem = "this export has no file at the server yet".to_owned();
                Err(marea_core::Error::InvalidInput { field: "id", problem }.into())
            }
        }
    }

    /// Work on the engine's thread that waits for a network.
    async fn task<T, F>(&self, work: impl FnOnce(Rc<State>) -> F + Send + 'static) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = move |state| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
            let work = work(state);
            Box::pin(async move { drop(reply.send(work.await)) })
        };
        self.send(Message::Task(Box::new(work))).await?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// Copies, and fails when the bytes are not those that their name promises.
fn copy_checked(source: &mut dyn Read, to: &mut File, sha256: &str) -> io::Result<u64> {
    let (mut hash, mut size, mut block) = (FileHash::new(), 0, vec![0; 128 * 1024]);
    loop {
        let read = source.read(&mut block)?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
        to.write_all(&block[..read])?;
        size += read as u64;
    }
    match hash.finish() == sha256 {
        true => Ok(size),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not the one that was uploaded")),
    }
}

/// Whether the bytes on this device are gone, or are others than their name says.
fn is_damaged(error: &Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound};
    matches!(error, Error::Files { source, .. } if matches!(source.kind(), InvalidData | NotFound))
}

/// A file that arrives, as something to read from.
struct Chunks {
    chunks: tokio::sync::mpsc::Receiver<Result<Vec<u8>, Error>>,
    rest: Cursor<Vec<u8>>,
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.rest.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.rest = Cursor::new(chunk),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
    }
}

/// Work that waits for the disk, on a thread of its own: any executor will do.
async fn off_this_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("marea-files".into());
    let started = thread.spawn(move || drop(done.send(work())));
    started.map_err(|source| Error::NoResources { source })?;
    answer.await.map_err(|_| Error::Closed)?
}
