//! A mirror's file, looked at past the engine: what is in it, whether it is sound, and what an older program would have
//! left of it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use marea_core::{MIRROR_MIGRATIONS, MIRROR_VERSION};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::disk::{Disk, Files};

/// "MARE": what tells a mirror from other SQLite files.
const APPLICATION_ID: i32 = 0x4d41_5245;

/// A mirror of the newest version in which nobody has written yet.
///
/// # Panics
/// When the schema is not SQL.
pub fn empty_files() -> Files {
    static EMPTY: LazyLock<Files> = LazyLock::new(|| {
        let disk = Disk::new();
        let connection = Connection::open(disk.address()).expect("an empty mirror");
        MIRROR_MIGRATIONS.iter().try_for_each(|sql| connection.execute_batch(sql)).expect("the schema");
        connection.pragma_update(None, "application_id", APPLICATION_ID).expect("a name");
        connection.pragma_update(None, "user_version", MIRROR_VERSION).expect("a version");
        connection.close().expect("closed");
        durable(&disk)
    });
    EMPTY.clone()
}

/// The same mirror with the schema of an earlier version: what an older program would have left. What later versions
/// added is gone.
///
/// # Panics
/// When the older schema cannot hold the rows.
pub fn files_of_version(files: Files, version: u32) -> Files {
    let (newest, older) = (Disk::with(files), Disk::new());
    let connection = Connection::open(older.address()).expect("an empty mirror");
    rewrite(&connection, &newest, version).expect("a mirror of an older version");
    connection.close().expect("closed");
    durable(&older)
}

/// What has long been on the disk: no power cut brings back the journals with which it was made.
fn durable(disk: &Disk) -> Files {
    Files::of_mirror(disk.as_it_is().mirror().to_vec())
}

/// All rows of all tables, in an order that does not depend on how they are stored.
///
/// # Panics
/// When SQLite cannot read it.
pub fn dump(files: &Files) -> Vec<String> {
    let disk = Disk::with(files.clone());
    let connection = Connection::open(disk.address()).expect("a mirror");
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence'";
    let mut rows: Vec<String> = names(&connection, tables)
        .expect("tables")
        .iter()
        .flat_map(|table| rows_of(&connection, table).expect("rows"))
        .collect();
    rows.sort();
    rows
}

fn rows_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}"))?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values: Vec<Value> = (0..columns).map(|column| row.get(column)).collect::<Result<_, _>>()?;
        Ok(format!("{table} {values:?}"))
    })?;
    rows.collect()
}

/// What `PRAGMA integrity_check` complains about, if it does.
///
/// # Panics
/// When SQLite cannot even look.
pub fn damage(files: &Files) -> Option<String> {
    let disk = Disk::with(files.clone());
    let connection = Connection::open(disk.address()).expect("a mirror");
    let found: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    (found != "ok").then_some(found)
}

fn rewrite(older: &Connection, newest: &Disk, version: u32) -> rusqlite::Result<()> {
    older.pragma_update(None, "foreign_keys", false)?;
    let migrations = &MIRROR_MIGRATIONS[..version as usize];
    migrations.iter().try_for_each(|sql| older.execute_batch(sql))?;
    older.execute("ATTACH ?1 AS newest", [newest.address()])?;
    older.execute_batch("BEGIN")?;
    for table in
        names(older, "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")?
    {
        let of = |schema: &str| {
            columns(older, &format!("SELECT name, type FROM pragma_table_info('{table}', '{schema}')"))
        };
        let (own, known) = (of("main")?, of("newest")?);
        let (names, values): (Vec<&str>, Vec<String>) = own
            .iter()
            .filter_map(|(name, kind)| Some((name.as_str(), as_it_was(name, kind, known.get(name)?))))
            .unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        older.execute_batch(&format!(
            "INSERT INTO main.{table} ({names}) SELECT {values} FROM newest.{table}"
        ))?;
    }
    // Numbers that were given out are not given out again.
    older.execute_batch(
        "DELETE FROM main.sqlite_sequence;
         INSERT INTO main.sqlite_sequence SELECT s.* FROM newest.sqlite_sequence AS s
         WHERE s.name IN (SELECT name FROM main.sqlite_schema);",
    )?;
    older.pragma_update(Some("main"), "application_id", APPLICATION_ID)?;
    older.pragma_update(Some("main"), "user_version", version)?;
    older.execute_batch("COMMIT; DETACH newest;")
}

/// A column's value as an older version kept it: of ids that are bytes today it kept the text.
fn as_it_was(name: &str, older: &str, newest: &str) -> String {
    match (older, newest) {
        ("TEXT", "BLOB") => {
            let parts = [(1, 8), (9, 4), (13, 4), (17, 4), (21, 12)];
            parts
                .map(|(from, digits)| format!("substr(lower(hex({name})), {from}, {digits})"))
                .join(" || '-' || ")
        }
        _ => name.to_owned(),
    }
}

/// Columns and their types.
fn columns(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    columns.collect()
}

fn names(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}
