//! Reads a catalogue's document.

use serde::Deserialize;

use crate::catalogue::{Catalogue, Column, ColumnType, MirroredTable, Rule};
use crate::error::Error;
use crate::model::object::read_by_names;
use crate::model::{FewMap, Table, from_json};

/// Names that the mirror uses itself, of tables and of indexes, and names of the tables that it has code of its own for, but for
/// `sessions`, which the catalogue describes where they are mirrored. Beside them everything that begins with `sqlite_` or `marea_`.
/// `marea.mirror` has the same list and asks for another name; a table of an older server that has one is left out.
pub const RESERVED_NAMES: &[&str] = &[
    "arrived_rows",
    "confirmed_rows",
    "daily_activity",
    "export_history",
    "export_history_newest",
    "files",
    "journal",
    "meta",
    "mutations",
    "mutations_by_state",
    "mutations_in_batches",
    "mutations_kept",
    "mutations_of_rows",
    "progress_events",
    "refilled_rows",
    "shadow_rows",
    "user_api_keys",
    "user_progress",
];

/// The counts of a session that the fold reads, beside `ended_at` and `session_data`.
const FOLDED_COUNTS: [&str; 6] = [
    "duration_minutes",
    "images_processed",
    "descriptions_generated",
    "qa_attempts",
    "qa_correct",
    "vocabulary_learned",
];

/// More tables than a project has that knows what it mirrors.
const MAX_TABLES: usize = 1_000;
/// What SQLite takes, less the mirror's own.
const MAX_COLUMNS: usize = 1_900;
/// Each costs every row that comes.
const MAX_INDEXES: usize = 16;

#[derive(Deserialize)]
struct Document {
    version: u32,
    hash: String,
    tables: Vec<TableEntry>,
    #[serde(default)]
    labels: FewMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
struct TableEntry {
    name: String,
    key: String,
    owner: String,
    #[serde(default = "yes")]
    write: bool,
    columns: Vec<ColumnEntry>,
    #[serde(default)]
    indexes: Vec<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
struct ColumnEntry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    rule: String,
    #[serde(default = "yes")]
    nullable: bool,
    #[serde(default)]
    default: bool,
    max: Option<u32>,
    #[serde(default)]
    labels: Vec<String>,
    precision: Option<u32>,
    scale: Option<i32>,
}

read_by_names!(TableEntry, ColumnEntry);

fn yes() -> bool {
    true
}

pub(super) fn parse(json: &str) -> Result<Catalogue, Error> {
    let refused = |problem: String| Error::invalid("schema", problem);
    let document: Document = from_json(json).map_err(|error| {
        // Where, and nothing of what: an app may have passed anything.
        refused(format!(
            "is no catalogue (line {}, column {}); pass what `marea-client schema` or `marea schema` wrote",
            error.line(),
            error.column()
        ))
    })?;
    if document.version != 1 {
        let version = document.version;
        return Err(refused(format!("has version {version}, this program knows version 1; update it")));
    }
    if document.tables.len() > MAX_TABLES {
        return Err(refused(format!("has more than {MAX_TABLES} tables")));
    }
    let mut tables: Vec<MirroredTable> = Vec::new();
    for entry in document.tables {
        let name = entry.name.clone();
        let problem = |problem: &str| refused(format!("table {name}: {problem}"));
        if is_reserved(&entry.name) {
            continue;
        }
        let Some(table) = Table::named(&entry.name) else {
            return Err(problem(
                "has a name that no mirrored table can have; give another one to marea.mirror",
            ));
        };
        if tables.iter().any(|known| known.table == table) {
            return Err(problem("is there twice"));
        }
        if let Some(table) = read_table(table, entry).map_err(|reason| problem(&reason))? {
            tables.push(table);
        }
    }
    Ok(Catalogue { hash: document.hash, json: json.to_owned(), tables, labels: document.labels })
}

fn is_reserved(name: &str) -> bool {
    name.starts_with("sqlite_") || name.starts_with("marea_") || RESERVED_NAMES.contains(&name)
}

/// `None` for a table whose key is of a type that this version does not know.
fn read_table(table: Table, entry: TableEntry) -> Result<Option<MirroredTable>, String> {
    if entry.columns.len() > MAX_COLUMNS {
        return Err(format!("has more than {MAX_COLUMNS} columns"));
    }
    let mut columns: Vec<Column> = Vec::new();
    let mut key = None;
    for column in entry.columns {
        let is_key = column.name == entry.key;
        let (name, known) = (column.name.clone(), read_column(column)?);
        // SQLite knows a column by its name in any case, and the clocks by a name of the mirror's own.
        let taken = |other: &Column| other.name.eq_ignore_ascii_case(&name);
        if columns.iter().chain(&key).any(taken) {
            return Err(format!("column {name}: another column has the same name in other letters"));
        }
        if name.eq_ignore_ascii_case("clocks") || name.to_ascii_lowercase().starts_with("marea_") {
            return Err(format!("column {name}: the mirror uses this name itself"));
        }
        let Some(known) = known else { continue };
        if is_key {
            key = Some(Column { rule: Rule::Key, nullable: false, ..known });
        } else if known.rule == Rule::Key {
            return Err(format!("column {name}: only {} is the key", entry.key));
        } else {
            columns.push(known);
        }
    }
    let Some(key) = key.filter(|key| matches!(key.kind, ColumnType::Uuid | ColumnType::Text)) else {
        return Ok(None);
    };
    if table == Table::Sessions && !has_folded_columns(&key, &columns) {
        return Ok(None);
    }
    let owner = (entry.owner == key.name).then(|| key.name.clone());
    columns.insert(0, key);
    let is_known = |name: &String| columns.iter().any(|column| column.name == *name);
    let mut indexes = entry.indexes;
    indexes.retain(|index| !index.is_empty() && index.iter().all(is_known));
    indexes.truncate(MAX_INDEXES);
    Ok(Some(MirroredTable { table, columns, write: entry.write, owner, begun_by_update: false, indexes }))
}

/// Whether sessions have what the fold reads of them. Without it nobody could tell here what a correction does to progress.
fn has_folded_columns(key: &Column, columns: &[Column]) -> bool {
    let holds = |name: &str, kinds: &[ColumnType]| {
        columns.iter().any(|column| column.name == name && kinds.contains(&column.kind))
    };
    let counts = FOLDED_COUNTS.iter().all(|name| holds(name, &[ColumnType::SmallInt, ColumnType::Integer]));
    key.name == "id"
        && key.kind == ColumnType::Uuid
        && counts
        && holds("ended_at", &[ColumnType::Timestamptz])
        && holds("session_data", &[ColumnType::Json])
}

/// `None` for one of a type or with a rule that this version does not know: it is left out.
fn read_column(entry: ColumnEntry) -> Result<Option<Column>, String> {
    let ColumnEntry { name, kind, rule, nullable, default, max, labels, precision, scale } = entry;
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        return Err("a column has no name that Postgres would give it".to_owned());
    }
    let (Some(kind), Some(rule)) = (ColumnType::from_name(&kind), Rule::from_name(&rule)) else {
        return Ok(None);
    };
    let counts = kind.whole_range().is_some() || kind == ColumnType::Numeric;
    if (rule == Rule::Counter && !counts) || (rule == Rule::Union && kind != ColumnType::Json) {
        return Err(format!("column {name}: its type cannot have this rule"));
    }
    let has_default = default;
    Ok(Some(Column { name, kind, rule, nullable, has_default, max, labels, precision, scale }))
}
