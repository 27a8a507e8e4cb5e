//! Resumable uploads (TUS 1.0.0): what has been received of each, kept in Postgres and in pieces beside the objects, so that
//! an upload outlives a connection and this process.

use axum::body::Bytes as Chunk;
use futures_util::StreamExt;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{Body, Caller, NewObject, ObjectName, Storage, StorageError, records};

/// How long an address is good for; Supabase says a day to those who ask.
const LIFETIME: &str = "24 hours";
/// What is held in memory of a request before it is kept.
const PIECE: usize = 6 << 20;

/// An upload that a client wants to begin.
pub(crate) struct NewUpload {
    pub(crate) object: NewObject,
    pub(crate) length: u64,
}

/// An upload as it stands.
pub(crate) struct Upload {
    pub(crate) object: NewObject,
    pub(crate) length: u64,
    pub(crate) offset: u64,
    /// When its address ends, as HTTP writes it.
    pub(crate) expires: String,
    pieces: Vec<i64>,
    is_over: bool,
}

/// What a request brought.
pub(crate) struct Received {
    pub(crate) offset: u64,
    pub(crate) is_complete: bool,
    pub(crate) expires: String,
}

impl Storage {
    /// Begins an upload, if this caller may keep such an object.
    pub(crate) async fn create_upload(&self, caller: &Caller, new: &NewUpload) -> Result<(), StorageError> {
        let mut client = self.connect().await?;
        let object = &new.object;
        records::bucket(&client, &object.name.bucket).await?.check(object)?;
        records::try_insert(&mut client, caller, object).await?;
        let statement = format!(
            "INSERT INTO marea_backend.uploads (id, bucket, name, owner, length, content_type, cache_control,
                user_metadata, upsert, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + interval '{LIFETIME}')"
        );
        let length = i64::try_from(new.length).map_err(|_| StorageError::too_large())?;
        client
            .execute(
                &statement,
                &[
                    &object.version,
                    &object.name.bucket,
                    &object.name.key,
                    &object.owner,
                    &length,
                    &object.content_type,
                    &object.cache_control,
                    &object.user_metadata,
                    &object.upsert,
                ],
            )
            .await?;
        Ok(())
    }

    /// How an upload stands.
    pub(crate) async fn upload(&self, name: &ObjectName, id: Uuid) -> Result<Upload, StorageError> {
        let upload = read(&self.connect().await?, name, id).await?;
        if upload.is_over {
            return Err(StorageError::tus(410, "The file for this url no longer exists\n"));
        }
        Ok(upload)
    }

    /// Takes what a request brings from `offset` on. What came before a break is kept.
    pub(crate) async fn receive(
        &self,
        caller: &Caller,
        name: &ObjectName,
        id: Uuid,
        offset: u64,
        mut body: impl Body,
    ) -> Result<Received, StorageError> {
        let held = self.locks.take(id).await?;
        let mut upload = self.upload(name, id).await?;
        let mut client = self.connect().await?;
        if offset != upload.offset {
            return Err(StorageError::tus(409, "Upload-Offset conflict\n"));
        }
        if upload.offset < upload.length {
            records::try_insert(&mut client, caller, &upload.object).await?;
        }
        let mut buffer = Vec::new();
        let broke = loop {
            // Enabled before the next chunk is waited for, so that no call is missed.
            let newer = held.newer.notified();
            let chunk = tokio::select! {
                chunk = body.next() => chunk,
                () = newer => break true,
            };
            match chunk {
                Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
                Some(Err(_)) => break true,
                None => break false,
            }
            if upload.offset + buffer.len() as u64 > upload.length {
                return Err(StorageError::tus(413, "Maximum size exceeded\n"));
            }
            if buffer.len() >= PIECE {
                self.keep_piece(&client, id, &mut upload, std::mem::take(&mut buffer)).await?;
            }
        };
        self.keep_piece(&client, id, &mut upload, buffer).await?;
        if broke {
            return Err(StorageError::tus(400, "aborted"));
        }
        let is_complete = upload.offset == upload.length;
        if is_complete {
            self.finish(&mut client, id, &upload).await?;
        }
        Ok(Received { offset: upload.offset, is_complete, expires: upload.expires })
    }

    async fn keep_piece(
        &self,
        client: &Client,
        id: Uuid,
        upload: &mut Upload,
        bytes: Vec<u8>,
    ) -> Result<(), StorageError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let size = bytes.len() as u64;
        self.bytes.put_piece(id, upload.offset, Chunk::from(bytes)).await?;
        let at = i64::try_from(upload.offset).map_err(|_| StorageError::internal())?;
        let after = i64::try_from(upload.offset + size).map_err(|_| StorageError::internal())?;
        let statement =
            "UPDATE marea_backend.uploads SET received = $2, pieces = pieces || $3::bigint WHERE id = $1";
        client.execute(statement, &[&id, &after, &at]).await?;
        upload.pieces.push(at);
        upload.offset += size;
        Ok(())
    }

    /// The pieces become an object. After a crash in between the next request does this again.
    async fn finish(&self, client: &mut Client, id: Uuid, upload: &Upload) -> Result<(), StorageError> {
        let done = "SELECT 1 FROM storage.objects WHERE bucket_id = $1 AND name = $2 AND version = $3";
        let name = &upload.object.name;
        if client.query_opt(done, &[&name.bucket, &name.key, &id.to_string()]).await?.is_none() {
            let kept = self.bytes.join(id, &offsets(&upload.pieces)).await?;
            let (_, replaced) = records::complete(client, &upload.object, kept).await?;
            if let Some(replaced) = replaced.filter(|it| *it != id) {
                self.bytes.remove(replaced).await;
            }
        }
        self.bytes.remove_pieces(id, &offsets(&upload.pieces)).await;
        self.locks.forget(id);
        Ok(())
    }

    /// Gives an upload up.
    pub(crate) async fn terminate(&self, name: &ObjectName, id: Uuid) -> Result<(), StorageError> {
        let _held = self.locks.take(id).await?;
        let upload = self.upload(name, id).await?;
        if upload.offset == upload.length {
            return Err(StorageError::tus(400, "Cannot terminate an already completed upload"));
        }
        self.connect().await?.execute("DELETE FROM marea_backend.uploads WHERE id = $1", &[&id]).await?;
        self.bytes.remove_pieces(id, &offsets(&upload.pieces)).await;
        self.locks.forget(id);
        Ok(())
    }
}

fn offsets(pieces: &[i64]) -> Vec<u64> {
    pieces.iter().map(|at| at.unsigned_abs()).collect()
}

async fn read(client: &Client, name: &ObjectName, id: Uuid) -> Result<Upload, StorageError> {
    let statement =
        "SELECT owner, length, received, pieces, content_type, cache_control, user_metadata, upsert,
            to_char(expires_at AT TIME ZONE 'GMT', 'Dy, DD Mon YYYY HH24:MI:SS \"GMT\"'),
            expires_at <= now() AND received < length
        FROM marea_backend.uploads WHERE id = $1 AND bucket = $2 AND name = $3";
    let row = client.query_opt(statement, &[&id, &name.bucket, &name.key]).await?;
    let row = row.ok_or_else(|| StorageError::tus(404, "The file for this url was not found\n"))?;
    let size = |at: usize| row.get::<_, i64>(at).unsigned_abs();
    let length = size(1);
    Ok(Upload {
        object: NewObject {
            name: name.clone(),
            version: id,
            owner: row.get(0),
            content_type: row.get(4),
            cache_control: row.get(5),
            user_metadata: row.get::<_, Option<Value>>(6),
            announced: Some(length),
            upsert: row.get(7),
        },
        length,
        offset: size(2),
        pieces: row.get(3),
        expires: row.get(8),
        is_over: row.get(9),
    })
}
