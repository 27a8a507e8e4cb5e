//! Reads what can still be read of a damaged mirror's queue, and moves the damaged file out of the way.
//!
//! The damaged file itself is never opened: SQLite would write to it. It is read from a copy, and it is renamed, never
//! deleted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, MAIN_DB, OpenFlags, Row};

use crate::error::Error;
use crate::model::{Hlc, MutationId, Op, Rescued, RescuedMutation, RescuedRefusal, Table};
use crate::store::erase::beside;

/// The bytes with which every SQLite file begins (SQLite's "Database File Format", 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where a file says that it has a log beside it (the same, 1.3.3). An image has none, once its log is laid over it.
const FORMAT_VERSIONS: std::ops::Range<usize> = 18..20;

/// What a read of the queue asks for. Without an index: an index that is damaged would hide rows that are not.
const QUEUE: &str =
    "SELECT seq, id, hlc, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message,
   settled_ms FROM mutations NOT INDEXED WHERE state IN ('pending', 'in_doubt', 'resend', 'rejected')";

/// Reads what is left in the bytes of a damaged mirror and of its log. Never fails: there may be nothing.
pub(crate) fn from_image(image: &[u8], log: &[u8]) -> Rescued {
    let mut image = image.to_vec();
    super::log::lay_over(&mut image, log);
    mend_header(&mut image);
    if let Some(versions) = image.get_mut(FORMAT_VERSIONS) {
        versions.fill(1);
    }
    let read = || -> Option<Rescued> {
        let mut connection = Connection::open_in_memory().ok()?;
        connection.deserialize_read_exact(MAIN_DB, image.as_slice(), image.len(), true).ok()?;
        Some(from_connection(&connection))
    };
    read().unwrap_or_default()
}

/// The same for a file and its log, by way of a copy beside it, which is removed again.
pub(crate) fn from_file(path: &Path) -> Result<Rescued, Error> {
    let copy = with_ending(path, ".reading");
    let log = |path: &Path| with_ending(path, "-wal");
    let read = || -> io::Result<Rescued> {
        let mut bytes = std::fs::read(path)?;
        mend_header(&mut bytes);
        std::fs::write(&copy, &bytes)?;
        if log(path).exists() {
            std::fs::copy(log(path), log(&copy))?;
        }
        let opened = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE);
        Ok(opened.map(|connection| from_connection(&connection)).unwrap_or_default())
    };
    let rescued = read();
    for left in beside(&copy).iter().chain([&copy]) {
        // Whether there was one or not: what counts is that none is left.
        let _ = std::fs::remove_file(left);
    }
    rescued.map_err(|error| storage_failed(&error))
}

/// Renames a file and its log, and says what it is called now.
pub(crate) fn set_aside(path: &Path, at_ms: i64) -> Result<PathBuf, Error> {
    let mut aside = with_ending(path, &format!(".damaged-{at_ms}"));
    let mut number = 1;
    while aside.exists() {
        number += 1;
        aside = with_ending(path, &format!(".damaged-{at_ms}-{number}"));
    }
    // The log first: one that stays behind would be taken for the next mirror's.
    for (from, to) in beside(path).iter().zip(beside(&aside)) {
        match std::fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(storage_failed(&error)),
            _ => {}
        }
    }
    std::fs::rename(path, &aside).map_err(|error| storage_failed(&error))?;
    Ok(aside)
}

/// Writes a file that is there whole and durable, or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    use io::Write;
    let write = || -> io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(path);
        storage_failed(&error)
    })
}

/// Whether a file is a sound database of somebody else's: nothing to rescue, and not ours to move.
pub(crate) fn is_strangers(path: &Path) -> bool {
    let read = || -> rusqlite::Result<bool> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok(application != super::open::APPLICATION_ID && sound == "ok")
    };
    read().unwrap_or(false)
}

pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn storage_failed(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull => Error::StorageFull,
        _ => Error::StorageFailed { code: error.raw_os_error().unwrap_or(0) },
    }
}

/// A header that was overwritten hides pages that are whole.
fn mend_header(bytes: &mut [u8]) {
    if let Some(head) = bytes.get_mut(..MAGIC.len()) {
        head.copy_from_slice(MAGIC);
    }
}

fn from_connection(connection: &Connection) -> Rescued {
    let owner = "SELECT value FROM meta WHERE key = 'user_id'";
    let owner: Option<String> = connection.query_row(owner, [], |row| row.get(0)).ok();
    let mut found = BTreeMap::new();
    // From both ends: the page that cannot be read hides only what is on it.
    for direction in ["ASC", "DESC"] {
        let sql = format!("{QUEUE} ORDER BY seq {direction}");
        let Ok(mut statement) = connection.prepare(&sql) else { continue };
        let Ok(mut rows) = statement.query([]) else { continue };
        while let Ok(Some(row)) = rows.next() {
            if let Some((seq, mutation)) = read(row) {
                found.insert(seq, mutation);
            }
        }
    }
    Rescued { user_id: owner.and_then(|text| text.parse().ok()), mutations: found.into_values().collect() }
}

fn read(row: &Row<'_>) -> Option<(i64, RescuedMutation)> {
    let text = |index: usize| row.get::<_, String>(index).ok();
    let refusal = text(8).map(|code| RescuedRefusal {
        code,
        message: text(9).unwrap_or_default(),
        at_ms: row.get(10).unwrap_or(0),
    });
    let mutation = RescuedMutation {
        id: text(1)?.parse::<MutationId>().ok()?,
        hlc: text(2)?.parse::<Hlc>().ok()?,
        table: Table::from_name(&text(3)?)?,
        op: Op::from_name(&text(4)?)?,
        key: text(5)?,
        values: serde_json::from_str(&text(6)?).ok()?,
        recorded_ms: row.get(7).ok()?,
        refusal,
    };
    Some((row.get(0).ok()?, mutation))
}
