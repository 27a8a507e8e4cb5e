//! Reads what can still be read of a damaged mirror's queue, and moves the damaged file out of the way.
//!
//! The damaged file itself is never opened: SQLite would write to it. Its bytes are read, and it is renamed, never deleted.
//! What could be read is a document beside it that outlives the program, so that the next one can go on where this one died.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, MAIN_DB, OpenFlags, Row};

use crate::error::Error;
use crate::model::{Hlc, MutationId, Op, Rescued, RescuedMutation, RescuedRefusal, Table, sort_few};
use crate::store::erase::beside;
use crate::store::open::defend;
use crate::store::{Rows, stored};

/// The bytes with which every SQLite file begins (SQLite's "Database File Format", 1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long the header is, and where in it stand the page size, the versions of the format (of a file with a log beside it
/// others than of an image, over which its log is laid), and three numbers that are the same in every file (1.3.2 to 1.3.4).
const HEADER: usize = 100;
const PAGE_SIZE: std::ops::Range<usize> = 16..18;
const FORMAT_VERSIONS: std::ops::Range<usize> = 18..20;
const FRACTIONS: std::ops::Range<usize> = 21..24;

/// What else a reader wants to know: the schema's format, 4 since 2006, and the encoding of texts, 1 for UTF-8.
const SCHEMA_FORMAT: (usize, u8) = (47, 4);
const ENCODING: (usize, u8) = (59, 1);

/// The sizes that pages of mirrors have: files' and, where the browser's SQLite chose, images'.
const PAGES: [u16; 2] = [4096, 8192];

/// A document that was saved and not restored yet, and one that was: endings of a damaged file's new name.
const UNRESTORED: &str = ".unrestored.json";
const RESTORED: &str = ".rescued.json";

/// What a read of the queue asks for. Without an index: an index that is damaged would hide rows that are not.
const QUEUE: &str =
    "SELECT seq, id, hlc, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message,
   settled_ms, BATCH FROM mutations NOT INDEXED WHERE state IN ('pending', 'in_doubt', 'resend', 'rejected')";

/// Reads what is left in the bytes of a damaged mirror and of its log. Never fails: there may be nothing.
pub(crate) fn from_image(image: &[u8], log: &[u8]) -> Rescued {
    let mut image = image.to_vec();
    super::log::lay_over(&mut image, log);
    // With the header that it has, if only its beginning was lost; else with one that every mirror could have.
    for page in [None].into_iter().chain(PAGES.map(Some)) {
        mend_header(&mut image, page);
        let found = read_image(&image).unwrap_or_default();
        if found.user_id.is_some() || !found.mutations.is_empty() {
            return found;
        }
    }
    Rescued::default()
}

fn read_image(image: &[u8]) -> Option<Rescued> {
    let mut connection = Connection::open_in_memory().ok()?;
    defend(&connection).ok()?;
    connection.deserialize_read_exact(MAIN_DB, image, image.len(), true).ok()?;
    Some(from_connection(&connection))
}

/// The same for a file and the log beside it.
pub(crate) fn from_file(path: &Path) -> Result<Rescued, Error> {
    let read = || -> io::Result<Rescued> {
        let image = std::fs::read(path)?;
        let log = match std::fs::read(with_ending(path, "-wal")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            log => log?,
        };
        Ok(from_image(&image, &log))
    };
    read().map_err(|error| storage_failed(&error))
}

/// What a damaged file may be called: a name that nothing has.
pub(crate) fn free_name(path: &Path, at_ms: i64) -> PathBuf {
    let mut aside = with_ending(path, &format!(".damaged-{at_ms}"));
    let mut number = 1;
    while ["", UNRESTORED, RESTORED].iter().any(|ending| with_ending(&aside, ending).exists()) {
        number += 1;
        aside = with_ending(path, &format!(".damaged-{at_ms}-{number}"));
    }
    aside
}

/// Renames a damaged file and its log.
pub(crate) fn set_aside(path: &Path, aside: &Path) -> Result<(), Error> {
    let rename = || -> io::Result<()> {
        // The log first: one that stays behind would be taken for the next mirror's.
        for (from, to) in beside(path).iter().zip(beside(aside)) {
            match std::fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(path, aside)
    };
    rename().map_err(|error| storage_failed(&error))
}

/// Saves what was read of a damaged mirror under its new name, whole and durable or not at all.
pub(crate) fn save(aside: &Path, text: &str) -> Result<(), Error> {
    use io::Write;
    let unfinished = with_ending(aside, ".saving");
    let write = || -> io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        // A learner's data, for nobody else to read.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.write(true).create(true).truncate(true).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, with_ending(aside, UNRESTORED))?;
        sync_folder(aside)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&unfinished);
        storage_failed(&error)
    })
}

/// The names of damaged mirrors of which something was saved that was not restored, oldest first.
pub(crate) fn unrestored(path: &Path) -> Vec<PathBuf> {
    let Some((folder, name)) = path.parent().zip(path.file_name()) else { return Vec::new() };
    let beginning = format!("{}.damaged-", name.to_string_lossy());
    // A folder that cannot be listed has no mirror that opens.
    let names = std::fs::read_dir(or_here(folder)).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = names
        .filter_map(|entry| {
            let name = entry.file_name();
            let aside = name.to_str()?.strip_suffix(UNRESTORED)?;
            aside.starts_with(&beginning).then(|| folder.join(aside))
        })
        .collect();
    sort_few(&mut found, |a, b| a < b);
    found
}

/// What was saved under this name; `None` if it is no rescue any more.
pub(crate) fn saved(aside: &Path) -> Result<Option<Rescued>, Error> {
    let text = std::fs::read(with_ending(aside, UNRESTORED)).map_err(|error| storage_failed(&error))?;
    Ok(str::from_utf8(&text).ok().and_then(|text| serde_json::from_str(text).ok()))
}

/// Notes that it is restored; says what the document is called now.
pub(crate) fn note_restored(aside: &Path) -> Result<PathBuf, Error> {
    let document = with_ending(aside, RESTORED);
    std::fs::rename(with_ending(aside, UNRESTORED), &document).map_err(|error| storage_failed(&error))?;
    Ok(document)
}

/// Makes names durable where a folder is a file that can be flushed.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => std::fs::File::open(or_here(folder))?.sync_all(),
        _ => Ok(()),
    }
}

/// The folder of a name without one.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
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

fn with_ending(path: &Path, ending: &str) -> PathBuf {
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

/// A header that was overwritten hides pages that are whole. With a page size, all of it is made anew; what it would say of
/// free pages and of versions nobody asks who only reads.
fn mend_header(image: &mut [u8], page: Option<u16>) {
    let Some(head) = image.get_mut(..HEADER) else { return };
    if let Some(page) = page {
        head.fill(0);
        head[PAGE_SIZE].copy_from_slice(&page.to_be_bytes());
        head[FRACTIONS].copy_from_slice(&[64, 32, 32]);
        for (place, value) in [SCHEMA_FORMAT, ENCODING] {
            head[place] = value;
        }
    }
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[FORMAT_VERSIONS].fill(1);
}

impl Rows<'_> {
    /// What waits for a server, oldest first, as it is handed over to another mirror.
    pub(crate) fn unsent(self) -> Result<Vec<RescuedMutation>, Error> {
        let sql = format!("{} ORDER BY seq", QUEUE.replace("BATCH", "batch"));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(stored(read(row))?.1);
        }
        Ok(found)
    }
}

fn from_connection(connection: &Connection) -> Rescued {
    let owner = "SELECT value FROM meta WHERE key = 'user_id'";
    let owner: Option<String> = connection.query_row(owner, [], |row| row.get(0)).ok();
    let mut found = BTreeMap::new();
    // From both ends: the page that cannot be read hides only what is on it. Older mirrors know no batches.
    for (direction, batch) in [("ASC", "batch"), ("DESC", "batch"), ("ASC", "NULL"), ("DESC", "NULL")] {
        let sql = format!("{} ORDER BY seq {direction}", QUEUE.replace("BATCH", batch));
        let Ok(mut statement) = connection.prepare(&sql) else { continue };
        let Ok(mut rows) = statement.query([]) else { continue };
        while let Ok(Some(row)) = rows.next() {
            if let Some((seq, mutation)) = read(row) {
                found.entry(seq).or_insert(mutation);
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
        table: Table::named(&text(3)?)?,
        op: Op::from_name(&text(4)?)?,
        key: text(5)?,
        values: serde_json::from_str(&text(6)?).ok()?,
        recorded_ms: row.get(7).ok()?,
        refusal,
        batch: text(11).and_then(|batch| batch.parse().ok()),
    };
    Some((row.get(0).ok()?, mutation))
}
