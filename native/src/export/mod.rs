//! Marea's own exports: files made from the mirror, offline. CSV and JSON Lines for programs, a page with charts for people.

mod csv;
mod html;
mod jsonl;

use std::str::FromStr;

use marea_core::{ActivityDay, Export, ExportQuery, LocalDate};
use serde_json::{Map, Value};

use crate::client::Client;
use crate::{Error, NewFile};

/// Days of activity on the page's chart.
const CHART_DAYS: i64 = 182;

/// What an export is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportKind {
    /// Totals, averages and streaks: one record.
    Progress,
    /// A record for each day with activity.
    Activity,
    /// The exports themselves.
    Exports,
}

/// The form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// RFC 4180, UTF-8. What a spreadsheet would run as a formula is made harmless.
    Csv {
        /// Begins with a byte order mark, without which some spreadsheets take it for another encoding.
        byte_order_mark: bool,
    },
    /// A JSON object a line.
    JsonLines,
    /// A page to read, with charts; needs no network and runs no script.
    Html,
}

/// A file that was made.
#[derive(Debug)]
pub struct MadeFile {
    /// Its content.
    pub bytes: Vec<u8>,
    /// The records in it.
    pub records: i32,
    format: ExportFormat,
}

impl FromStr for ExportKind {
    type Err = ();

    fn from_str(name: &str) -> Result<ExportKind, ()> {
        match name {
            "progress" => Ok(ExportKind::Progress),
            "activity" => Ok(ExportKind::Activity),
            "exports" => Ok(ExportKind::Exports),
            _ => Err(()),
        }
    }
}

impl ExportFormat {
    /// The ending of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            ExportFormat::Csv { .. } => "csv",
            ExportFormat::JsonLines => "jsonl",
            ExportFormat::Html => "html",
        }
    }
}

impl From<MadeFile> for NewFile {
    fn from(made: MadeFile) -> NewFile {
        NewFile::from_bytes(made.bytes, made.format.extension())
    }
}

/// Records with the same columns.
struct Records {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Map<String, Value>>,
}

impl Client {
    /// Makes a file from the mirror, as of now: without a network, with everything recorded on this device in it.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn make_export_file(&self, kind: ExportKind, format: ExportFormat) -> Result<MadeFile, Error> {
        let records = self.records(kind).await?;
        let bytes = match format {
            ExportFormat::Csv { byte_order_mark } => csv::write(&records, byte_order_mark),
            ExportFormat::JsonLines => jsonl::write(&records),
            ExportFormat::Html => {
                let until = self.today();
                let since = days_before(until, CHART_DAYS);
                let days = self.activity(since, until).await?;
                html::write(&records, &self.progress().await?, &days, (since, until))
            }
        };
        let count = i32::try_from(records.rows.len()).unwrap_or(i32::MAX);
        Ok(MadeFile { bytes, records: count, format })
    }

    async fn records(&self, kind: ExportKind) -> Result<Records, Error> {
        Ok(match kind {
            ExportKind::Progress => Records {
                title: "Progress",
                columns: PROGRESS.to_vec(),
                rows: vec![object(&self.progress().await?)],
            },
            ExportKind::Activity => {
                let (first, last): (LocalDate, LocalDate) = ("1970-01-01".parse()?, "9999-12-31".parse()?);
                let days = self.activity(first, last).await?;
                Records {
                    title: "Activity",
                    columns: ACTIVITY.to_vec(),
                    rows: days.iter().map(object::<ActivityDay>).collect(),
                }
            }
            ExportKind::Exports => {
                let (mut rows, mut after) = (Vec::new(), None);
                loop {
                    let query = ExportQuery { limit: Some(500), after, ..ExportQuery::default() };
                    let page = self.exports(query).await?;
                    rows.extend(page.exports.iter().map(object::<Export>));
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                Records { title: "Exports", columns: EXPORTS.to_vec(), rows }
            }
        })
    }
}

const PROGRESS: [&str; 19] = [
    "total_sessions",
    "total_time_spent_minutes",
    "total_points",
    "current_streak_days",
    "longest_streak_days",
    "total_questions_answered",
    "total_questions_correct",
    "average_accuracy",
    "average_completion_time_seconds",
    "total_vocabulary_learned",
    "mastered_words_count",
    "learning_words_count",
    "new_words_count",
    "total_descriptions",
    "total_images",
    "achievements",
    "last_activity_at",
    "last_active_on",
    "last_vocabulary_practice_at",
];
const ACTIVITY: [&str; 7] = ["day", "sessions", "minutes", "questions", "correct", "words", "points"];
const EXPORTS: [&str; 10] = [
    "id",
    "export_type",
    "export_format",
    "status",
    "records_count",
    "file_size_bytes",
    "created_at",
    "completed_at",
    "expires_at",
    "error_message",
];

fn object<T: serde::Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn days_before(day: LocalDate, days: i64) -> LocalDate {
    (0..days).fold(day, |day, _| day.previous())
}

/// What a cell holds, as text; nothing where there is nothing.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
