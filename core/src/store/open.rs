//! Opens a mirror's file: settings, then the embedded migrations.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use crate::catalogue::compare_decimals;
use crate::error::Error;
use crate::planted::{self, Fault};
use crate::store::bare_sql::sql;
use crate::store::{Location, image};

/// The embedded migrations, in order: number `n` brings a file from version `n - 1` to `n`.
pub(super) const MIGRATIONS: &[&str] = &[
    sql!("schema/001_mirror.sql"),
    sql!("schema/002_journal_traffic.sql"),
    sql!("schema/003_fewer_pages.sql"),
    sql!("schema/004_any_table.sql"),
    sql!("schema/005_files.sql"),
    sql!("schema/006_frozen_days.sql"),
    sql!("schema/007_sessions.sql"),
];

/// The newest mirror schema that this program knows.
pub const MIRROR_VERSION: u32 = MIGRATIONS.len() as u32;

/// "MARE" in the file's header, so that `file` and people can tell what it is.
pub(super) const APPLICATION_ID: i32 = 0x4d41_5245;

/// More than the engine has statements. The default of 16 would have it parse nearly every one anew.
const CACHED_STATEMENTS: usize = 128;

/// How long a write waits for another process to finish its own.
const BUSY_TIMEOUT_MS: u64 = 5_000;

pub(super) fn open(location: &Location) -> Result<Connection, Error> {
    let connection = match location {
        Location::File(path) => Connection::open(path)?,
        Location::Vfs(name) => Connection::open(name)?,
        Location::Memory => Connection::open_in_memory()?,
    };
    if let Location::Vfs(_) = location {
        // Before the file is looked at: the pool of the browser has no shared memory, and without it only the sole owner
        // of a file may use a write-ahead log.
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE")?;
        // A commit writes whole pages to the log. The browser's SQLite makes them of 8 KiB, twice what a session's rows need.
        connection.execute_batch("PRAGMA page_size = 4096")?;
    }
    prepare(connection, location)
}

/// A mirror in memory, from the image that was kept of it.
pub(super) fn open_image(kept: Option<&[u8]>) -> Result<Connection, Error> {
    let mut connection = Connection::open_in_memory()?;
    if let Some(kept) = kept {
        image::restore(kept, &mut connection)?;
    }
    prepare(connection, &Location::Memory)
}

/// What a file brings along beside rows is not run: a mirror has no trigger and no view, and whoever could write the file may have put
/// some there (SQLite, "Defense Against The Dark Arts").
pub(super) fn defend(connection: &Connection) -> Result<(), Error> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.execute_batch("PRAGMA cell_size_check = ON")?;
    Ok(())
}

fn prepare(mut connection: Connection, location: &Location) -> Result<Connection, Error> {
    defend(&connection)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.create_collation("marea_numeric", compare_decimals)?;
    // Else SQLite parses a statement anew each time that other values are bound to it, to look for a better plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS))?;
    // Before anything is written: a newer file or a stranger's must be left as it is.
    let found = {
        // One snapshot: another process may be making this very file between two questions.
        let snapshot = connection.transaction()?;
        check_owner(&snapshot)?
    };
    configure(&connection, location)?;
    flush_log(&connection)?;
    if found < MIRROR_VERSION {
        migrate(&mut connection, MIGRATIONS)?;
    }
    Ok(connection)
}

/// The file's schema version; refuses files of others and of newer programs.
fn check_owner(connection: &Connection) -> Result<u32, Error> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let sql = "SELECT count(*), count(*) FILTER (WHERE type = 'view') FROM sqlite_schema";
    let (tables, views): (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let strange = if tables == 0 { application != 0 } else { application != APPLICATION_ID };
    if strange {
        return Err(Error::MirrorCorrupt);
    }
    if found > MIRROR_VERSION {
        return Err(Error::MirrorNewer { found, known: MIRROR_VERSION });
    }
    // It may stand where a table was, and no version makes one.
    if views > 0 {
        return Err(Error::MirrorCorrupt);
    }
    Ok(found)
}

fn configure(connection: &Connection, location: &Location) -> Result<(), Error> {
    // With a log a commit costs one flush. A rollback journal costs four, and six where files come from a pool.
    if !matches!(location, Location::Memory) {
        connection.execute_batch("PRAGMA journal_mode = WAL")?;
    }
    // NORMAL may lose the last commits, and the caller was told that they are safe.
    let lax = planted::is(Fault::NotSynced);
    connection.execute_batch(if lax { "PRAGMA synchronous = OFF" } else { "PRAGMA synchronous = FULL" })?;
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    Ok(())
}

/// What a program that died had written to the log and not flushed is read as committed, and the next power cut would take
/// it from under a caller that was shown it. A checkpoint flushes the log before it copies anything.
fn flush_log(connection: &Connection) -> Result<(), Error> {
    // Without a log, and while another process is at it, this does nothing.
    match connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").map_err(Error::from) {
        // By then the log is flushed, and what there is no room for stays in it.
        Err(Error::StorageFull) => Ok(()),
        flushed => flushed,
    }
}

/// Says whose the file is and which version of the schema it has. rusqlite would do it with code that writes every kind of value, which
/// nothing else needs.
pub(super) fn mark(connection: &Connection, application: i32, version: usize) -> Result<(), Error> {
    let sql = format!("PRAGMA application_id = {application}; PRAGMA user_version = {version}");
    Ok(connection.execute_batch(&sql)?)
}

/// Applies what is missing in one transaction: a crash leaves the old version or the new one.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let found = check_owner(&transaction)?;
    for sql in &migrations[found as usize..] {
        transaction.execute_batch(sql)?;
        if planted::is(Fault::MigrationNotAtomic) {
            transaction.execute_batch("COMMIT; BEGIN")?;
        }
    }
    mark(&transaction, APPLICATION_ID, migrations.len())?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(prepare: &str) -> Error {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.sqlite3");
        Connection::open(&path).unwrap().execute_batch(prepare).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = open(&Location::File(path.clone())).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before, "a refused file must be left as it was");
        error
    }

    #[test]
    fn files_of_newer_programs_and_of_strangers_are_left_alone() {
        let newer =
            format!("PRAGMA application_id={APPLICATION_ID}; CREATE TABLE t(a); PRAGMA user_version=99;");
        assert_eq!(refusal(&newer).code(), "mirror_newer");
        assert_eq!(refusal("CREATE TABLE somebody_elses(a);").code(), "mirror_corrupt");
        let view =
            format!("PRAGMA application_id={APPLICATION_ID}; CREATE VIEW mutations AS SELECT 1 AS seq;");
        assert_eq!(refusal(&view).code(), "mirror_corrupt");
    }

    #[test]
    fn what_somebody_has_put_into_the_file_is_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.sqlite3");
        drop(open(&Location::File(path.clone())).unwrap());
        let sql = "CREATE TRIGGER foreign_one AFTER INSERT ON meta BEGIN DELETE FROM meta; END;";
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let connection = open(&Location::File(path)).unwrap();
        connection.execute("INSERT INTO meta (key, value) VALUES ('user_id', 'u')", []).unwrap();
        let kept: i64 = connection.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 1);
        for sql in
            ["PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = ''", "CREATE TABLE sqlite_x(a)"]
        {
            connection.execute_batch(sql).unwrap_err();
        }
    }

    #[test]
    fn a_file_that_is_no_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.sqlite3");
        std::fs::write(&path, "x".repeat(4096)).unwrap();
        assert_eq!(open(&Location::File(path.clone())).unwrap_err().code(), "mirror_corrupt");
        assert_eq!(std::fs::read(&path).unwrap(), "x".repeat(4096).as_bytes());
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_with_all_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.sqlite3");
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, &MIGRATIONS[..1]).unwrap();
        connection.execute("INSERT INTO meta (key, value) VALUES ('user_id', 'u')", []).unwrap();
        let before = std::fs::read(&path).unwrap();
        let half = "CREATE TABLE made(a) STRICT; DROP TABLE meta; INSERT INTO no_such_table VALUES (1);";
        migrate(&mut connection, &[MIGRATIONS[0], half]).unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let whole = "ALTER TABLE meta ADD COLUMN extra TEXT; UPDATE meta SET extra = value;";
        migrate(&mut connection, &[MIGRATIONS[0], whole]).unwrap();
        let found: (String, u32) = connection
            .query_row("SELECT extra, user_version FROM meta, pragma_user_version", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .unwrap();
        assert_eq!(found, ("u".to_owned(), 2));
    }

    #[test]
    fn commits_are_synchronous() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&Location::File(folder.path().join("mirror.sqlite3"))).unwrap();
        let synchronous: i32 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }
}
