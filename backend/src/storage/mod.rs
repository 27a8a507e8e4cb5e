//! Object storage as Supabase's: the rows of `storage.objects`, tried as the caller under row level security, and the bytes
//! behind them. It knows no HTTP: the routes are in `gateway/storage`.

mod bytes;
mod error;
mod locks;
mod names;
mod records;
mod uploads;

use axum::body::Bytes as Chunk;
use futures_util::Stream;
use uuid::Uuid;

use crate::{Error, database};

pub(crate) use bytes::Bytes;
pub(crate) use error::StorageError;
pub(crate) use names::ObjectName;
pub(crate) use records::{Entry, Found, ListQuery, NewObject};
pub(crate) use uploads::{NewUpload, Received};

/// Who calls, and as which role Postgres is to try it.
#[derive(Clone)]
pub(crate) struct Caller {
    /// `anon`, `authenticated` or `service_role`.
    pub(crate) role: String,
    /// The token's claims, as policies read them.
    pub(crate) claims: String,
    /// The token's `sub`.
    pub(crate) owner: Option<Uuid>,
}

/// What a client's body brings: chunks, until it ends or breaks.
pub(crate) trait Body: Stream<Item = Result<Chunk, axum::Error>> + Send + Unpin + 'static {}
impl<T: Stream<Item = Result<Chunk, axum::Error>> + Send + Unpin + 'static> Body for T {}

/// The storage of one backend.
pub(crate) struct Storage {
    database_url: String,
    bytes: Bytes,
    locks: locks::Locks,
}

impl Storage {
    pub(crate) fn new(database_url: String, bytes: Bytes) -> Storage {
        Storage { database_url, bytes, locks: locks::Locks::default() }
    }

    /// A connection for one request: as fast as this backend has to be, and a request that hangs holds up no other.
    async fn connect(&self) -> Result<tokio_postgres::Client, StorageError> {
        database::connect(&self.database_url).await.map_err(|_: Error| StorageError::internal())
    }

    /// Keeps a whole object that comes in one request.
    pub(crate) async fn put(
        &self,
        caller: &Caller,
        object: NewObject,
        body: impl Body,
    ) -> Result<Uuid, StorageError> {
        let mut client = self.connect().await?;
        let limit = records::bucket(&client, &object.name.bucket).await?.check(&object)?;
        records::try_insert(&mut client, caller, &object).await?;
        let kept = self.bytes.put(object.version, body, limit).await?;
        let completed = records::complete(&mut client, &object, kept).await;
        if completed.is_err() {
            self.bytes.remove(object.version).await;
        }
        let (id, replaced) = completed?;
        if let Some(replaced) = replaced {
            self.bytes.remove(replaced).await;
        }
        Ok(id)
    }

    /// The object, if this caller may read it.
    pub(crate) async fn find(&self, caller: &Caller, name: &ObjectName) -> Result<Found, StorageError> {
        let mut client = self.connect().await?;
        records::bucket(&client, &name.bucket).await?;
        records::find(&mut client, caller, name).await
    }

    /// The object whatever the policies say: for a link that was signed by somebody who may read it.
    pub(crate) async fn find_signed(&self, name: &ObjectName) -> Result<Found, StorageError> {
        records::find_any(&self.connect().await?, name).await
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Deletes one object, if this caller may.
    pub(crate) async fn delete(&self, caller: &Caller, name: &ObjectName) -> Result<(), StorageError> {
        let mut client = self.connect().await?;
        records::bucket(&client, &name.bucket).await?;
        records::find_any(&client, name).await?;
        let deleted = records::delete(&mut client, caller, &name.bucket, &[name.key.as_str()]).await?;
        if deleted.is_empty() {
            return Err(StorageError::denied("Access denied"));
        }
        self.remove_all(&deleted).await;
        Ok(())
    }

    /// Deletes those of these objects that this caller may delete, and says which those were.
    pub(crate) async fn delete_many(
        &self,
        caller: &Caller,
        bucket: &str,
        names: &[String],
    ) -> Result<Vec<Found>, StorageError> {
        let mut client = self.connect().await?;
        records::bucket(&client, bucket).await?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let deleted = records::delete(&mut client, caller, bucket, &names).await?;
        self.remove_all(&deleted).await;
        Ok(deleted)
    }

    async fn remove_all(&self, objects: &[Found]) {
        for object in objects {
            self.bytes.remove(object.version).await;
        }
    }

    /// What lies in a folder, as far as this caller may see.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        bucket: &str,
        query: &ListQuery,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut client = self.connect().await?;
        records::list(&mut client, caller, bucket, query).await
    }
}
