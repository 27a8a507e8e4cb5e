//! Marea's own exports: files made from the mirror, offline. CSV and JSON Lines for programs, a page with charts for people.

mod csv;
mod html;
mod jsonl;
mod table;
mod value;

use std::str::FromStr;

use marea_core::{ActivityDay, Export, ExportQuery, LocalDate, Progress};
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
    title: String,
    columns: Vec<Column>,
    rows: Vec<Map<String, Value>>,
}

#[derive(Clone)]
struct Column {
    name: String,
    /// Its values are numbers, though some are too long for a number of JSON and come as text.
    is_number: bool,
}

impl From<&str> for Column {
    fn from(name: &str) -> Column {
        Column { name: name.to_owned(), is_number: false }
    }
}

fn columns(names: &[&str]) -> Vec<Column> {
    names.iter().copied().map(Column::from).collect()
}

impl Client {
    /// Makes a file from the mirror, as of now: without a network, with everything recorded on this device in it.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn make_export_file(&self, kind: ExportKind, format: ExportFormat) -> Result<MadeFile, Error> {
        let records = self.records(kind).await?;
        self.write_records(&records, format).await
    }

    /// The same of a mirrored table: all its rows, by their keys.
    ///
    /// # Errors
    ///
    /// `unknown_table`, and when the mirror cannot be read.
    pub async fn make_table_file(&self, table: &str, format: ExportFormat) -> Result<MadeFile, Error> {
        let records = table::records(self, table).await?;
        self.write_records(&records, format).await
    }

    async fn write_records(&self, records: &Records, format: ExportFormat) -> Result<MadeFile, Error> {
        let bytes = match format {
            ExportFormat::Csv { byte_order_mark } => csv::write(records, byte_order_mark),
            ExportFormat::JsonLines => jsonl::write(records),
            ExportFormat::Html => {
                let until = self.today();
                let since = days_before(until, CHART_DAYS);
                let days = self.activity(since, until).await?;
                html::write(records, &self.progress().await?, &days, (since, until))
            }
        };
        let count = i32::try_from(records.rows.len()).unwrap_or(i32::MAX);
        Ok(MadeFile { bytes, records: count, format })
    }

    async fn records(&self, kind: ExportKind) -> Result<Records, Error> {
        Ok(match kind {
            ExportKind::Progress => of_progress(&self.progress().await?),
            ExportKind::Activity => {
                of_activity(&self.activity("1970-01-01".parse()?, "9999-12-31".parse()?).await?)
            }
            ExportKind::Exports => {
                let (mut exports, mut after) = (Vec::new(), None);
                loop {
                    let query = ExportQuery { limit: Some(500), after, ..ExportQuery::default() };
                    let page = self.exports(query).await?;
                    exports.extend(page.exports);
                    after = page.next;
                    if after.is_none() {
                        break of_exports(&exports);
                    }
                }
            }
        })
    }
}

fn of_progress(progress: &Progress) -> Records {
    Records { title: "Progress".to_owned(), columns: columns(&PROGRESS), rows: vec![object(progress)] }
}

fn of_activity(days: &[ActivityDay]) -> Records {
    let rows = days.iter().map(object).collect();
    Records { title: "Activity".to_owned(), columns: columns(&ACTIVITY), rows }
}

fn of_exports(exports: &[Export]) -> Records {
    let rows = exports.iter().map(object).collect();
    Records { title: "Exports".to_owned(), columns: columns(&EXPORTS), rows }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a mirror holds, and the files that are made of it: the browser's writers are tested with the same.
    const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/exports.json");

    /// After a change of the writers: MAREA_WRITE_FIXTURES=1 writes down what they make now.
    #[test]
    fn the_same_mirror_gives_the_same_bytes_everywhere() {
        let mut shared: Value = serde_json::from_str(&std::fs::read_to_string(SHARED).unwrap()).unwrap();
        let part = |name: &str| serde_json::to_string(&shared[name]).unwrap();
        let progress: Progress = serde_json::from_str(&part("progress")).unwrap();
        let days: Vec<ActivityDay> = serde_json::from_str(&part("activity")).unwrap();
        let exports: Vec<Export> = serde_json::from_str(&part("exports")).unwrap();
        let until: LocalDate = shared["day"].as_str().unwrap().parse().unwrap();
        let table = table::of(
            serde_json::from_str(&part("table")).unwrap(),
            serde_json::from_str(&part("rows")).unwrap(),
        );
        let mut made = Map::new();
        let all = [of_progress(&progress), of_activity(&days), of_exports(&exports), table];
        for records in &all {
            let name = records.title.to_lowercase();
            let span = (days_before(until, CHART_DAYS), until);
            for (ending, bytes) in [
                ("csv", csv::write(records, false)),
                ("bom.csv", csv::write(records, true)),
                ("jsonl", jsonl::write(records)),
                ("html", html::write(records, &progress, &days, span)),
            ] {
                made.insert(format!("{name}.{ending}"), String::from_utf8(bytes).unwrap().into());
            }
        }
        if std::env::var_os("MAREA_WRITE_FIXTURES").is_some() {
            shared["files"] = made.into();
            std::fs::write(SHARED, serde_json::to_string_pretty(&shared).unwrap() + "\n").unwrap();
            return;
        }
        for (name, bytes) in &made {
            assert_eq!(&shared["files"][name], bytes, "{name}");
        }
    }
}
