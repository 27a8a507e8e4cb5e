//! The rows of `storage.buckets` and `storage.objects`. What a caller may do is tried as that caller, in a transaction of
//! their role and claims, so the policies that decide are the database's own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::{Client, Row, Transaction};
use uuid::Uuid;

use super::bytes::Kept;
use super::{Caller, ObjectName, StorageError};

/// What Supabase's free plan allows, where a bucket says nothing.
const FILE_SIZE_LIMIT: u64 = 50 << 30;
const COLUMNS: &str = "id, name, bucket_id, version, metadata, user_metadata,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
    to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')";

/// What a bucket allows.
pub(crate) struct Bucket {
    file_size_limit: Option<i64>,
    allowed_mime_types: Option<Vec<String>>,
}

impl Bucket {
    /// The most bytes that an object may have, if this one's type and announced size are allowed.
    pub(crate) fn check(&self, object: &NewObject) -> Result<u64, StorageError> {
        let allowed = self.allowed_mime_types.as_deref().unwrap_or_default();
        let plain = object.content_type.split(';').next().unwrap_or_default().trim();
        let fits = |pattern: &String| match pattern.strip_suffix("/*") {
            Some(family) => plain.split('/').next() == Some(family),
            None => pattern == plain,
        };
        if !allowed.is_empty() && !allowed.iter().any(fits) {
            return Err(StorageError::mime(&object.content_type));
        }
        let limit = self.file_size_limit.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0);
        let limit = limit.unwrap_or(FILE_SIZE_LIMIT);
        if object.announced.is_some_and(|size| size > limit) {
            return Err(StorageError::too_large());
        }
        Ok(limit)
    }
}

/// An object that is about to be kept.
#[derive(Clone)]
pub(crate) struct NewObject {
    pub(crate) name: ObjectName,
    pub(crate) version: Uuid,
    pub(crate) owner: Option<Uuid>,
    pub(crate) content_type: String,
    pub(crate) cache_control: String,
    pub(crate) user_metadata: Option<Value>,
    /// The size that the request announces.
    pub(crate) announced: Option<u64>,
    /// An object of this name is replaced.
    pub(crate) upsert: bool,
}

/// An object that is there.
#[derive(Serialize)]
pub(crate) struct Found {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) bucket_id: String,
    pub(crate) version: Uuid,
    pub(crate) metadata: Value,
    pub(crate) user_metadata: Value,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

impl Found {
    fn read(row: &Row) -> Found {
        Found {
            id: row.get(0),
            name: row.get(1),
            bucket_id: row.get(2),
            version: row.get::<_, Option<String>>(3).and_then(|it| it.parse().ok()).unwrap_or_default(),
            metadata: row.get::<_, Option<Value>>(4).unwrap_or_default(),
            user_metadata: row.get::<_, Option<Value>>(5).unwrap_or_default(),
            created_at: row.get(6),
            updated_at: row.get(7),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.metadata["size"].as_u64().unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.metadata[name].as_str().unwrap_or_default()
    }
}

pub(crate) async fn bucket(client: &Client, id: &str) -> Result<Bucket, StorageError> {
    let statement = "SELECT file_size_limit, allowed_mime_types FROM storage.buckets WHERE id = $1";
    let row = client.query_opt(statement, &[&id]).await?.ok_or_else(StorageError::no_bucket)?;
    Ok(Bucket { file_size_limit: row.get(0), allowed_mime_types: row.get(1) })
}

/// A transaction in which everything is done as the caller.
async fn begin<'c>(client: &'c mut Client, caller: &Caller) -> Result<Transaction<'c>, StorageError> {
    let transaction = client.transaction().await?;
    let statement = "SELECT set_config('request.jwt.claims', $1, true), set_config('role', $2, true),
        set_config('storage.allow_delete_query', 'true', true)";
    transaction.execute(statement, &[&caller.claims, &caller.role]).await?;
    Ok(transaction)
}

/// Whether the caller may make this object: tried, and taken back.
pub(crate) async fn try_insert(
    client: &mut Client,
    caller: &Caller,
    object: &NewObject,
) -> Result<(), StorageError> {
    let transaction = begin(client, caller).await?;
    let size = object.announced.map(i64::try_from).and_then(Result::ok);
    let metadata = json!({ "mimetype": object.content_type, "contentLength": size });
    insert(&transaction, object, metadata).await?;
    transaction.rollback().await?;
    Ok(())
}

async fn insert(
    transaction: &Transaction<'_>,
    object: &NewObject,
    metadata: Value,
) -> Result<Uuid, StorageError> {
    let conflict = match object.upsert {
        true => {
            "ON CONFLICT (bucket_id, name) DO UPDATE SET version = excluded.version, metadata = excluded.metadata,
                owner = excluded.owner, owner_id = excluded.owner_id, user_metadata = excluded.user_metadata,
                updated_at = now()"
        }
        false => "",
    };
    let statement = format!(
        "INSERT INTO storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
         VALUES ($1, $2, $3, $4, $5, $6, $7) {conflict} RETURNING id"
    );
    let owner_id = object.owner.map(|it| it.to_string());
    let (name, version) = (&object.name, object.version.to_string());
    let row = transaction
        .query_one(
            &statement,
            &[&name.bucket, &name.key, &object.owner, &owner_id, &version, &metadata, &object.user_metadata],
        )
        .await?;
    Ok(row.get(0))
}

/// Makes the row of an object whose bytes are kept; gives its id, and the version whose bytes it replaces.
pub(crate) async fn complete(
    client: &mut Client,
    object: &NewObject,
    kept: Kept,
) -> Result<(Uuid, Option<Uuid>), StorageError> {
    let transaction = client.transaction().await?;
    let before = transaction
        .query_opt(
            "SELECT version FROM storage.objects WHERE bucket_id = $1 AND name = $2 FOR UPDATE",
            &[&object.name.bucket, &object.name.key],
        )
        .await?;
    let metadata = json!({
        "eTag": format!("\"{}\"", object.version.simple()), "size": kept.size, "mimetype": object.content_type,
        "cacheControl": object.cache_control, "contentLength": kept.size, "httpStatusCode": 200,
    });
    let id = insert(&transaction, object, metadata).await?;
    transaction.commit().await?;
    Ok((id, before.and_then(|row| row.get::<_, Option<String>>(0)).and_then(|it| it.parse().ok())))
}

pub(crate) async fn find(
    client: &mut Client,
    caller: &Caller,
    name: &ObjectName,
) -> Result<Found, StorageError> {
    let transaction = begin(client, caller).await?;
    let statement = format!("SELECT {COLUMNS} FROM storage.objects WHERE bucket_id = $1 AND name = $2");
    let row = transaction.query_opt(&statement, &[&name.bucket, &name.key]).await?;
    row.as_ref().map(Found::read).ok_or_else(StorageError::no_object)
}

pub(crate) async fn find_any(client: &Client, name: &ObjectName) -> Result<Found, StorageError> {
    let statement = format!("SELECT {COLUMNS} FROM storage.objects WHERE bucket_id = $1 AND name = $2");
    let row = client.query_opt(&statement, &[&name.bucket, &name.key]).await?;
    row.as_ref().map(Found::read).ok_or_else(StorageError::no_object)
}

pub(crate) async fn delete(
    client: &mut Client,
    caller: &Caller,
    bucket: &str,
    names: &[&str],
) -> Result<Vec<Found>, StorageError> {
    let transaction = begin(client, caller).await?;
    let statement =
        format!("DELETE FROM storage.objects WHERE bucket_id = $1 AND name = ANY ($2) RETURNING {COLUMNS}");
    let rows = transaction.query(&statement, &[&bucket, &names]).await?;
    transaction.commit().await?;
    Ok(rows.iter().map(Found::read).collect())
}

/// Which part of a folder is asked for.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    search: String,
}

/// A file or a folder, by its name in the folder that was asked for.
#[derive(Serialize)]
pub(crate) struct Entry {
    name: String,
    id: Option<Uuid>,
    updated_at: Option<String>,
    created_at: Option<String>,
    last_accessed_at: Option<String>,
    metadata: Option<Value>,
}

pub(crate) async fn list(
    client: &mut Client,
    caller: &Caller,
    bucket: &str,
    query: &ListQuery,
) -> Result<Vec<Entry>, StorageError> {
    let prefix = match query.prefix.as_str() {
        "" => String::new(),
        folder => format!("{}/", folder.trim_end_matches('/')),
    };
    let transaction = begin(client, caller).await?;
    let statement =
        format!("SELECT {COLUMNS} FROM storage.objects WHERE bucket_id = $1 AND starts_with(name, $2)");
    let rows = transaction.query(&statement, &[&bucket, &prefix]).await?;
    let mut entries = BTreeMap::new();
    for found in rows.iter().map(Found::read) {
        let rest = &found.name[prefix.len()..];
        let (name, is_folder) = rest.split_once('/').map_or((rest, false), |(folder, _)| (folder, true));
        let file = (!is_folder).then_some(&found);
        let at = |at: &String| Some(at.clone());
        let entry = Entry {
            name: name.to_owned(),
            id: file.map(|it| it.id),
            updated_at: file.and_then(|it| at(&it.updated_at)),
            created_at: file.and_then(|it| at(&it.created_at)),
            last_accessed_at: file.and_then(|it| at(&it.updated_at)),
            metadata: file.map(|it| it.metadata.clone()),
        };
        entries.insert((name.to_owned(), is_folder), entry);
    }
    let wanted = entries.into_values().filter(|entry| entry.name.starts_with(&query.search));
    Ok(wanted.skip(query.offset).take(query.limit.unwrap_or(100)).collect())
}
