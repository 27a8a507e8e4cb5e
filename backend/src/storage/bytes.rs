//! The bytes of objects: a local folder, or S3 when told, both through `object_store`. They lie under random ids, never under
//! names that a client chose.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes as Chunk;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
};
use uuid::Uuid;

use super::{Body, StorageError};
use crate::Error;

/// The parts in which an object goes to the store; S3 wants at least 5 MiB.
const PART: usize = 6 << 20;
/// Parts on their way at a time: what bounds the memory of an upload.
const PARALLEL: usize = 2;

/// So long an S3 that does not answer is tried. Not the three minutes of `object_store`: whoever asked waits, and tries again by itself.
const RETRY: Duration = Duration::from_secs(5);

/// What was kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) size: u64,
}

/// Where the bytes are. A clone is another handle to the same place.
#[derive(Clone)]
pub(crate) struct Bytes {
    store: Arc<dyn ObjectStore>,
}

impl Bytes {
    /// In a folder, which is made.
    pub(crate) fn in_folder(folder: &FilePath) -> Result<Bytes, Error> {
        std::fs::create_dir_all(folder).map_err(Error::file("could not make", folder))?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|_| Error::ObjectStore)?;
        Ok(Bytes { store: Arc::new(store.with_automatic_cleanup(true)) })
    }

    /// In a bucket of S3, or of what speaks its language: `s3://bucket`. Endpoint and credentials come from the usual
    /// `AWS_*` variables.
    pub(crate) fn in_s3(url: &str) -> Result<Bytes, Error> {
        let retry = RetryConfig { max_retries: 3, retry_timeout: RETRY, ..RetryConfig::default() };
        let builder = AmazonS3Builder::from_env().with_url(url).with_allow_http(true).with_retry(retry);
        Ok(Bytes { store: Arc::new(builder.build().map_err(|_| Error::ObjectStore)?) })
    }

    /// Keeps an object; nothing of it stays when the body breaks or passes the limit.
    pub(super) async fn put(&self, id: Uuid, mut body: impl Body, limit: u64) -> Result<Kept, StorageError> {
        let upload = self.store.put_multipart(&object(id)).await.map_err(failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut size: u64 = 0;
        let refused = loop {
            let chunk = match body.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(_)) => break Some(StorageError::request("aborted")),
                None => break None,
            };
            size += chunk.len() as u64;
            if size > limit {
                break Some(StorageError::too_large());
            }
            if writer.wait_for_capacity(PARALLEL).await.is_err() {
                break Some(StorageError::internal());
            }
            writer.put(chunk);
        };
        match refused {
            Some(refused) => {
                let _ = writer.abort().await;
                Err(refused)
            }
            None => writer.finish().await.map(|_| Kept { size }).map_err(failed),
        }
    }

    /// The object, or `range` of it.
    pub(crate) async fn get(
        &self,
        id: Uuid,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Chunk, object_store::Error>>, StorageError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(&object(id), options).await.map_err(failed)?;
        Ok(found.into_stream())
    }

    /// Deletes an object. What is not there is as good as deleted, and what fails here is an orphan, not an error.
    pub(super) async fn remove(&self, id: Uuid) {
        let _ = self.store.delete(&object(id)).await;
    }

    /// Keeps a part of a resumable upload.
    pub(super) async fn put_piece(&self, id: Uuid, offset: u64, bytes: Chunk) -> Result<(), StorageError> {
        let payload = PutPayload::from_bytes(bytes);
        self.store.put(&piece(id, offset), payload).await.map(|_| ()).map_err(failed)
    }

    /// Makes the pieces one object, streaming: their sum is never in memory.
    pub(super) async fn join(&self, id: Uuid, offsets: &[u64]) -> Result<Kept, StorageError> {
        let store = Arc::clone(&self.store);
        let paths: Vec<Path> = offsets.iter().map(|offset| piece(id, *offset)).collect();
        let pieces = stream::iter(paths).then(move |path| {
            let store = Arc::clone(&store);
            async move { store.get(&path).await.map(object_store::GetResult::into_stream) }
        });
        let body = pieces.try_flatten().map_err(axum::Error::new).boxed();
        self.put(id, body, u64::MAX).await
    }

    /// Deletes the pieces.
    pub(super) async fn remove_pieces(&self, id: Uuid, offsets: &[u64]) {
        for offset in offsets {
            let _ = self.store.delete(&piece(id, *offset)).await;
        }
    }
}

fn object(id: Uuid) -> Path {
    Path::from(format!("objects/{id}"))
}

fn piece(id: Uuid, offset: u64) -> Path {
    Path::from(format!("uploads/{id}/{offset:020}"))
}

fn failed(_: object_store::Error) -> StorageError {
    StorageError::internal()
}
