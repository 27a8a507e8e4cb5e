//! What a mirror is opened with, as JSON.

use std::path::PathBuf;
use std::sync::Arc;

use marea_core::Catalogue;
use serde::Deserialize;

use super::tokens::{Asking, Questions};
use super::{invalid, read};
use crate::{Config, Error};

/// As `open` of the package takes them, and the folder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Options {
    /// The folder that the mirrors are in.
    dir: PathBuf,
    /// The user's UUID; of a guest the one that stands for nobody.
    user_id: String,
    /// The app's catalogue, as JSON; none to learn it from the server.
    schema: Option<String>,
    url: String,
    publishable_key: String,
    allow_http: bool,
    online: bool,
    wakeups: bool,
    /// In minutes after midnight.
    day_starts_at: Option<u16>,
    file_quota_bytes: Option<u64>,
}

pub(super) fn config(options: &str, questions: &Arc<Questions>) -> Result<Config, Error> {
    let given: Options = read(options)?;
    let user = given.user_id.parse().map_err(|_| invalid("userId", "must be the user's UUID"))?;
    let mut config = Config::new(given.dir, user)
        .server(given.url, given.publishable_key)
        .allow_http(given.allow_http)
        .tokens(Asking(Arc::clone(questions)))
        .online(given.online)
        .wakeups(given.wakeups);
    if let Some(schema) = given.schema {
        config = config.schema(Catalogue::parse(&schema)?);
    }
    if let Some(minutes) = given.day_starts_at {
        config = config.day_starts_at(minutes);
    }
    if let Some(bytes) = given.file_quota_bytes {
        config = config.file_quota_bytes(bytes);
    }
    Ok(config)
}
