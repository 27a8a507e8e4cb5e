//! Looks into a mirror's file past the engine, and prepares files, for tests.

use std::path::Path;

use rusqlite::Connection;

use crate::store::Store;

/// A mutation as it lies in the queue: id, table, key, columns.
pub(crate) type Queued = (String, String, String, String);

/// What the queue of a file holds.
pub(crate) fn queue(path: &Path) -> Vec<Queued> {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT id, table_name, row_key, value_json FROM mutations
               WHERE state IN ('pending', 'in_doubt', 'resend') ORDER BY seq";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Tables, columns and indexes, without how they came to be.
pub(crate) fn shape(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk
                 FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%'
               UNION ALL SELECT name || ': ' || coalesce(sql, '') FROM sqlite_schema WHERE type <> 'table'
               UNION ALL SELECT 'application_id ' || application_id FROM pragma_application_id
               UNION ALL SELECT 'user_version ' || user_version FROM pragma_user_version ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The names of an open mirror's tables and indexes.
pub(crate) fn own_names(store: &Store) -> Vec<String> {
    let mut statement = store.connection.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Makes a file that stands for itself, without a log.
pub(crate) fn compact(path: &Path) {
    Connection::open(path).unwrap().execute_batch("PRAGMA journal_mode = DELETE; VACUUM").unwrap();
}

/// Makes a file with pages of that size, without a log.
pub(crate) fn repack(path: &Path, page: u32) {
    let sql = format!("PRAGMA journal_mode = DELETE; PRAGMA page_size = {page}; VACUUM");
    Connection::open(path).unwrap().execute_batch(&sql).unwrap();
}

/// Makes a sound database of somebody else's.
pub(crate) fn make_strangers(path: &Path) {
    Connection::open(path).unwrap().execute_batch("CREATE TABLE somebody_elses(a)").unwrap();
}

/// Puts something so many levels deep into a session's data.
pub(crate) fn nest_data(path: &Path, id: &str, levels: usize) {
    let deep = "[".repeat(levels) + &"]".repeat(levels);
    let sql = "UPDATE mutations SET value_json = replace(value_json, '\"session_data\":{', '\"session_data\":{\"a\":' || ?1 || ',')
               WHERE id = ?2";
    assert_eq!(Connection::open(path).unwrap().execute(sql, (deep, id)).unwrap(), 1);
}

/// The names of all functions that this build of SQLite has.
pub(crate) fn functions() -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    let mut statement =
        connection.prepare("SELECT DISTINCT name FROM pragma_function_list ORDER BY 1").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The names of all modules of virtual tables that this build of SQLite has.
pub(crate) fn modules() -> Vec<String> {
    let connection = Connection::open_in_memory().unwrap();
    let mut statement = connection.prepare("SELECT name FROM pragma_module_list ORDER BY 1").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}
