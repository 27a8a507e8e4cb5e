//! Exports: what an app asks for, what it reports about them, and how they are listed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::limits::{
    check_instant, check_json, check_long_text, check_number, check_object, check_text,
};
use crate::model::{MutationId, Table, Timestamp};

/// How an export stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExportStatus {
    /// Asked for.
    Pending,
    /// Being made.
    Processing,
    /// Ready.
    Completed,
    /// Could not be made.
    Failed,
    /// Its file is gone.
    Expired,
}

impl ExportStatus {
    /// The name on the wire and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            ExportStatus::Pending => "pending",
            ExportStatus::Processing => "processing",
            ExportStatus::Completed => "completed",
            ExportStatus::Failed => "failed",
            ExportStatus::Expired => "expired",
        }
    }
}

/// A new export. What it is made of never changes afterwards.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(default, deny_unknown_fields)]
pub struct ExportInput {
    /// The export's id, a UUID, for callers that may call twice: the same id again is a no-op. Made when absent.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub id: Option<MutationId>,
    /// What is exported, 1 to 50 characters.
    pub export_type: String,
    /// The file format, 1 to 20 characters.
    pub export_format: String,
    /// Which rows, as the app understands it; at most 64 KiB as JSON and 64 levels deep.
    #[cfg_attr(feature = "tsify", tsify(optional, type = "Record<string, unknown>"))]
    pub filters: Option<Map<String, Value>>,
}

/// What became of an export: only the fields that are set change, each the last writer wins.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(default, deny_unknown_fields)]
pub struct ExportChange {
    /// How it stands.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ExportStatus>,
    /// Rows exported, 0 or more.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_count: Option<i32>,
    /// Size of the file in bytes. Text in JSON, because it may pass 2^53.
    #[cfg_attr(feature = "tsify", tsify(optional, type = "string"))]
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::model::bytes_as_text")]
    pub file_size_bytes: Option<i64>,
    /// Where the file is.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_url: Option<String>,
    /// The export itself, when it is small; at most 64 KiB as JSON and 64 levels deep.
    #[cfg_attr(feature = "tsify", tsify(optional, type = "unknown"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Why it failed, for people.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Attempts beyond the first.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_count: Option<i32>,
    /// When the work began.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it was ready.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How long the work took, in seconds.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_time_seconds: Option<i32>,
    /// When the file goes away.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// An export as the app reads it. Columns as in Postgres.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Export {
    /// The export.
    pub id: MutationId,
    /// What is exported.
    pub export_type: String,
    /// The file format.
    pub export_format: String,
    /// How it stands; a status that this version does not know stays text.
    pub status: String,
    /// Rows exported.
    pub records_count: Option<i64>,
    /// Size of the file in bytes, as text.
    #[serde(default, with = "crate::model::bytes_as_text")]
    #[cfg_attr(feature = "tsify", tsify(type = "string | null"))]
    pub file_size_bytes: Option<i64>,
    /// Where the file is.
    pub file_url: Option<String>,
    /// Which rows.
    #[cfg_attr(feature = "tsify", tsify(type = "unknown"))]
    pub filters: Option<Value>,
    /// The export itself, when it is small.
    #[cfg_attr(feature = "tsify", tsify(type = "unknown"))]
    pub data: Option<Value>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// Attempts beyond the first.
    pub retry_count: Option<i64>,
    /// When the work began.
    pub started_at: Option<Timestamp>,
    /// When it was ready.
    pub completed_at: Option<Timestamp>,
    /// How long the work took, in seconds.
    pub processing_time_seconds: Option<i64>,
    /// When the file goes away.
    pub expires_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the server last wrote it; `None` before the first sync.
    pub updated_at: Option<Timestamp>,
}

/// Which exports to list: newest first.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(default, deny_unknown_fields)]
pub struct ExportQuery {
    /// Only this status.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub status: Option<ExportStatus>,
    /// Only this type.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub export_type: Option<String>,
    /// Continue after this one: the `next` of the page before.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub after: Option<ExportKey>,
    /// Rows of the page, 1 to 500; 50 when absent.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub limit: Option<u32>,
}

/// Where a page of exports ends.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct ExportKey {
    /// `created_at` of the last row.
    pub created_at: Timestamp,
    /// `id` of the last row.
    pub id: MutationId,
}

/// One page of exports.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct ExportPage {
    /// Newest first.
    pub exports: Vec<Export>,
    /// Hand this to the next query; `None` when there are no more.
    pub next: Option<ExportKey>,
}

redacted_debug!(ExportInput, ExportChange, Export, ExportQuery, ExportKey, ExportPage);

const MAX_PAGE: u32 = 500;
const DEFAULT_PAGE: u32 = 50;

const TABLE: Table = Table::ExportHistory;

impl ExportInput {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_text(TABLE, "export_type", &self.export_type)?;
        check_text(TABLE, "export_format", &self.export_format)?;
        check_object(TABLE, "filters", self.filters.as_ref())
    }
}

impl ExportChange {
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (column, value) in [
            ("records_count", self.records_count.map(i64::from)),
            ("file_size_bytes", self.file_size_bytes),
            ("retry_count", self.retry_count.map(i64::from)),
            ("processing_time_seconds", self.processing_time_seconds.map(i64::from)),
        ] {
            check_number(TABLE, column, value)?;
        }
        for (column, at) in [
            ("started_at", self.started_at),
            ("completed_at", self.completed_at),
            ("expires_at", self.expires_at),
        ] {
            check_instant(TABLE, column, at)?;
        }
        check_long_text(TABLE, "file_url", self.file_url.as_ref())?;
        check_long_text(TABLE, "error_message", self.error_message.as_ref())?;
        check_json(TABLE, "data", self.data.as_ref())?;
        if *self == Self::default() { Err(Error::invalid("change", "sets nothing")) } else { Ok(()) }
    }
}

impl ExportQuery {
    /// Rows of the page.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] outside 1 to 500.
    pub(crate) fn page_rows(&self) -> Result<u32, Error> {
        let rows = self.limit.unwrap_or(DEFAULT_PAGE);
        let allowed = (1..=MAX_PAGE).contains(&rows);
        if allowed { Ok(rows) } else { Err(Error::invalid("limit", format!("must be from 1 to {MAX_PAGE}"))) }
    }
}
