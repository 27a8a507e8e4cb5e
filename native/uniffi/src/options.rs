//! What a mirror is opened with, and what an app implements: where tokens come from, and who is told of changes.

use serde_json::{Value, json};

use crate::error::MareaError;

/// Which folder, whose mirror, which server.
#[derive(uniffi::Record)]
pub struct OpenOptions {
    /// The folder that the mirrors are in, one SQLite file for each user.
    pub dir: String,
    /// The signed-in user's UUID, the token's `sub`; none for a guest.
    pub user_id: Option<String>,
    /// Where Supabase or PostgREST is served, without `/rest/v1`.
    pub url: String,
    /// The project's public key.
    pub publishable_key: String,
    /// The app's catalogue: what `marea schema` writes as `marea.schema.json`. None to learn it from the server.
    #[uniffi(default = None)]
    pub schema: Option<String>,
    /// True to let `url` be another machine by `http://`.
    #[uniffi(default = false)]
    pub allow_http: bool,
    /// False to begin without using the network.
    #[uniffi(default = true)]
    pub online: bool,
    /// False to open no socket for wake-ups.
    #[uniffi(default = true)]
    pub wakeups: bool,
    /// At which minute after midnight the learner's day begins, 0 to 360; none to leave it as it is.
    #[uniffi(default = None)]
    pub day_starts_at: Option<u16>,
    /// How many bytes files of exports may take on this device.
    #[uniffi(default = None)]
    pub file_quota_bytes: Option<u64>,
}

impl OpenOptions {
    pub(crate) fn to_json(&self) -> String {
        let user = self.user_id.clone().unwrap_or_else(|| marea_native::UserId::GUEST.to_string());
        json!({
            "dir": self.dir,
            "userId": user,
            "schema": self.schema,
            "url": self.url,
            "publishableKey": self.publishable_key,
            "allowHttp": self.allow_http,
            "online": self.online,
            "wakeups": self.wakeups,
            "dayStartsAt": self.day_starts_at,
            "fileQuotaBytes": self.file_quota_bytes,
        })
        .to_string()
    }
}

/// Where access tokens come from.
#[uniffi::export(with_foreign)]
pub trait TokenSource: Send + Sync {
    /// The user's access token, or none when nobody is signed in. `fresh` when the server refused the last one. An error when it cannot
    /// be said now: it is asked again, a little later each time. Called on a thread of its own.
    fn access_token(&self, fresh: bool) -> Result<Option<String>, MareaError>;
}

/// Who is told of changes.
#[uniffi::export(with_foreign)]
pub trait ChangeListener: Send + Sync {
    /// These can be read again. Called on the mirror's thread: return soon, and call no mirror from inside. What it throws is ignored.
    fn changed(&self, topics: Vec<Topic>) -> Result<(), MareaError>;
}

/// What can be read again.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Topic {
    /// All there is: at the beginning, on a new day.
    Everything,
    /// Rows of this table, a built-in one (`user_progress`, `daily_activity`, `export_history`, `user_api_keys`) or one of the app's.
    Table {
        /// Its name.
        name: String,
    },
    /// `status`, and the queue with it.
    Status,
    /// The files of exports.
    Files,
    /// Whether the vault is open.
    Keys,
    /// Which tables there are.
    Catalogue,
}

pub(crate) fn topics(event: &Value) -> Vec<Topic> {
    let Some(tables) = event["tables"].as_array() else { return vec![Topic::Everything] };
    let named = tables.iter().filter_map(Value::as_str).map(|name| Topic::Table { name: name.to_owned() });
    let others = [
        ("status", Topic::Status),
        ("files", Topic::Files),
        ("keys", Topic::Keys),
        ("catalogue", Topic::Catalogue),
    ];
    let told = others.into_iter().filter(|(name, _)| event[name] == true).map(|(_, topic)| topic);
    named.chain(told).collect()
}
