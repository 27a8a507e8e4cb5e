//! Each call but the vault's, as one call of the client.

use marea_core::{Asked, FileSource, Handover, ListQuery, MutationId, Signal, from_json};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Answer, invalid, json, read, unknown_call};
use crate::client::NewFile;
use crate::{Client, Error, clock};

pub(super) async fn carry_out(
    client: &Client,
    method: &str,
    arguments: &str,
    bytes: Option<Vec<u8>>,
) -> Result<Answer, Error> {
    match method {
        "write" => write(client, arguments).await,
        "progress" => json(&client.progress().await?),
        "activity" => {
            let (from, to) = read(arguments)?;
            json(&client.activity(from, to).await?)
        }
        "exports" => {
            let (query,): (Box<RawValue>,) = read(arguments)?;
            json(&client.exports(understood(from_json(query.get()))?).await?)
        }
        "export" => json(&client.export(id(arguments)?).await?),
        "pending" => json(&client.pending().await?),
        "rejected" => json(&client.rejected().await?),
        "queue" => queue(client, arguments).await,
        "retry" => json(&client.retry(id(arguments)?).await?),
        "discard" => json(&client.discard(id(arguments)?).await?),
        "retryAll" => json(&client.retry_all().await?.len()),
        "discardAll" => json(&client.discard_all().await?.len()),
        "status" => status(client).await,
        "diagnostics" => client.diagnostics().await.map(Answer::Text),
        "sync" => json(&client.sync().await?),
        "signal" => {
            let (name,): (String,) = read(arguments)?;
            json(&client.signal(signal(&name)?).await?)
        }
        "setOnline" => {
            let (online,) = read(arguments)?;
            json(&client.set_online(online).await?)
        }
        "dayStart" => {
            let (minutes,): (Option<u16>,) = read(arguments)?;
            if let Some(minutes) = minutes {
                client.set_day_start(minutes).await?;
            }
            json(&client.call(|engine| Ok(engine.day_starts_at())).await?)
        }
        "catalogue" => json(&client.catalogue().await?.map(|catalogue| catalogue.to_json().to_owned())),
        "row" | "list" | "count" | "query" => rows(client, method, arguments).await,
        "keepFile" | "files" | "changeFile" | "exportFile" | "exportUrl" => {
            files(client, method, arguments, bytes).await
        }
        "importOnce" => {
            let (name, items): (String, String) = read(arguments)?;
            Ok(Answer::Json(client.import_once(name, &items).await?.to_json()))
        }
        "handOver" => {
            let (user,): (String,) = read(arguments)?;
            let user = user.parse().map_err(|_| invalid("userId", "must be a UUID"))?;
            client.call(move |engine| engine.hand_over(user)?.to_text()).await.map(Answer::Text)
        }
        "takeOver" => {
            let handover = handover(arguments)?;
            let claimed = client.call(move |engine| engine.take_over(&handover, clock::now())).await?;
            Ok(Answer::Json(claimed.to_json()))
        }
        "handedOver" => {
            let handover = handover(arguments)?;
            json(&client.call(move |engine| engine.handed_over(&handover)).await?)
        }
        _ => Err(unknown_call()),
    }
}

async fn write(client: &Client, arguments: &str) -> Result<Answer, Error> {
    let (write,): (Box<RawValue>,) = read(arguments)?;
    match understood(Asked::from_json(write.get()))? {
        Asked::One(id, change) => json(&client.mutate_as(Some(id), change).await?),
        Asked::Batch(id, changes) => {
            let last = client.batch(Some(id), changes).await?.pop();
            json(&last.ok_or(marea_core::Error::Internal("an empty batch"))?)
        }
    }
}

async fn queue(client: &Client, arguments: &str) -> Result<Answer, Error> {
    // What the caller has of it already is of use where a message costs more than this one.
    let (limit, _known): (u32, Value) = read(arguments)?;
    let queue = client.call(move |engine| engine.queue(limit)).await?;
    json(&json!({
        "mark": "",
        "pending_count": queue.pending_count,
        "rejected_count": queue.rejected_count,
        "lists": { "pending": queue.pending, "rejected": queue.rejected },
    }))
}

/// As a browser's: what that says of its storage, a file has not.
async fn status(client: &Client) -> Result<Answer, Error> {
    let mut status = serde_json::to_value(client.status().await?).unwrap_or_default();
    for absent in ["persisted", "usage_bytes", "quota_bytes", "storage_reason", "recovery"] {
        status[absent] = Value::Null;
    }
    json(&status)
}

async fn rows(client: &Client, method: &str, arguments: &str) -> Result<Answer, Error> {
    if method == "query" {
        let (sql, parameters): (String, String) = read(arguments)?;
        let parameters = read(&parameters)?;
        let result = client.query(sql, parameters).await?;
        return Ok(Answer::Text(json!(result).to_string()));
    }
    if method == "row" {
        let (table, key): (String, String) = read(arguments)?;
        let row = client.call(move |engine| engine.get_row(&table, &key)).await?;
        return Ok(Answer::Text(row.unwrap_or_else(|| "null".to_owned())));
    }
    if method == "count" {
        let (table, filter): (String, Map<String, Value>) = read(arguments)?;
        return json(&client.table(table).count(filter).await?);
    }
    let (table, query): (String, Box<RawValue>) = read(arguments)?;
    let query: ListQuery = from_json(query.get()).map_err(|_| invalid("query", "is none"))?;
    let rows = client.call(move |engine| engine.list_rows(&table, &query)).await?;
    Ok(Answer::Text(format!("[{}]", rows.join(","))))
}

/// A file that is to be kept, beside its bytes. Its quota is that with which the mirror was opened.
#[derive(serde::Deserialize)]
struct Kept {
    id: MutationId,
    input: Option<Box<RawValue>>,
    extension: String,
    content_type: String,
}

async fn files(
    client: &Client,
    method: &str,
    arguments: &str,
    bytes: Option<Vec<u8>>,
) -> Result<Answer, Error> {
    match method {
        "files" => json(&client.files().await?),
        "keepFile" => {
            let (asked,): (Kept,) = read(arguments)?;
            let bytes = bytes.ok_or_else(|| invalid("file", "is missing"))?;
            let file = NewFile::from_bytes(bytes, &asked.extension).content_type(asked.content_type);
            let Some(input) = asked.input else {
                client.attach_file(asked.id, file).await?;
                return json(&Value::Null);
            };
            let mut input: marea_core::ExportInput = understood(from_json(input.get()))?;
            input.id = Some(asked.id);
            json(&client.create_export_with_file(input, file).await?)
        }
        "changeFile" => {
            let (id, what): (MutationId, String) = read(arguments)?;
            json(&match what.as_str() {
                "pause" => client.pause_file(id, true).await?,
                "resume" => client.pause_file(id, false).await?,
                "retry" => client.retry_file(id).await?,
                "cancel" => client.cancel_file(id).await?,
                _ => return Err(invalid("what", "must be pause, resume, retry or cancel")),
            })
        }
        "exportFile" => {
            let id = id(arguments)?;
            let content_type = match client.call(move |engine| engine.file_source(id)).await? {
                FileSource::Local { content_type, .. } => content_type,
                _ => String::new(),
            };
            Ok(Answer::File { bytes: client.export_file_bytes(id).await?, content_type })
        }
        _ => {
            let (id, expires_in): (MutationId, u32) = read(arguments)?;
            json(&client.export_url(id, expires_in).await?)
        }
    }
}

fn id(arguments: &str) -> Result<MutationId, Error> {
    let (id,): (MutationId,) = read(arguments)?;
    Ok(id)
}

fn handover(arguments: &str) -> Result<Handover, Error> {
    let (text,): (String,) = read(arguments)?;
    Ok(Handover::from_text(&text)?)
}

fn signal(name: &str) -> Result<Signal, Error> {
    match name {
        "online" => Ok(Signal::Online),
        "offline" => Ok(Signal::Offline),
        "visible" => Ok(Signal::Visible),
        "new_token" => Ok(Signal::NewToken),
        _ => Err(invalid("name", "is no signal")),
    }
}

/// Serde's words without the place in a text that the caller never saw.
fn understood<T>(read: Result<T, serde_json::Error>) -> Result<T, Error> {
    read.map_err(|error| {
        let text = error.to_string();
        invalid("input", text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words))
    })
}
