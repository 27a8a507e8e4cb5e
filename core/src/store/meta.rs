//! The file's own facts.

use rusqlite::OptionalExtension;

use crate::error::Error;
use crate::model::{Hlc, Table};
use crate::store::{Rows, stored};

/// A key of `meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    /// Whose mirror it is.
    UserId,
    /// This installation.
    ClientId,
    /// The greatest hybrid logical clock given out or seen, but for those of the newest facts: see [`Rows::clock`].
    Hlc,
    /// The cursor's version.
    CursorVersion,
    /// The cursor's epoch.
    CursorEpoch,
    /// Present once the server has had a version for this user, which it gives to no account that the app has not made.
    KnownUser,
    /// When the mirror last agreed with the server, Unix milliseconds.
    LastSyncedMs,
    /// Present while everything is pulled anew: the arrived rows will replace all confirmed ones.
    Refilling,
    /// Bytes of requests sent, all in all.
    BytesSent,
    /// Bytes of answers received, all in all.
    BytesReceived,
    /// Exports that are no newer than this are left out, for want of room: see `room`.
    LeftOutBefore,
    /// Mutations acknowledged, mutations refused and rows received, all in all.
    Exchanged,
    /// How often the sizes of requests and of pages are halved.
    Limits,
    /// The header of the vault that this device knows to be good: wraps, no key.
    VaultHeader,
    /// Which rows have a column that cannot be read: JSON, column by table to keys. Absent while all can.
    Unreadable,
    /// The newest envelope of each provider that this device knows.
    VaultKnown,
    /// The catalogue that the mirrored tables are made from.
    Catalogue,
    /// Minutes after midnight at which the learner's day begins; absent: at midnight.
    DayStartsAt,
    /// The names of imports that are done: a JSON list.
    Imported,
    /// Of a guest's mirror: the account that has begun to claim what is in it.
    HandedTo,
    /// Present once the mirrored sessions are those that the confirmed rows of progress contain.
    SessionsComplete,
}

impl Meta {
    fn name(self) -> &'static str {
        match self {
            Meta::UserId => "user_id",
            Meta::ClientId => "client_id",
            Meta::Hlc => "hlc",
            Meta::CursorVersion => "cursor_version",
            Meta::CursorEpoch => "cursor_epoch",
            Meta::KnownUser => "known_user",
            Meta::LastSyncedMs => "last_synced_ms",
            Meta::Refilling => "refilling",
            Meta::BytesSent => "bytes_sent",
            Meta::BytesReceived => "bytes_received",
            Meta::LeftOutBefore => "left_out_before",
            Meta::Exchanged => "exchanged",
            Meta::Limits => "limits",
            Meta::VaultHeader => "vault_header",
            Meta::Unreadable => "unreadable",
            Meta::VaultKnown => "vault_known",
            Meta::Catalogue => "catalogue",
            Meta::DayStartsAt => "day_starts_at",
            Meta::Imported => "imported",
            Meta::HandedTo => "handed_to",
            Meta::SessionsComplete => "sessions_complete",
        }
    }
}

impl Rows<'_> {
    pub(crate) fn meta(self, key: Meta) -> Result<Option<String>, Error> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
        Ok(statement.query_row([key.name()], |row| row.get(0)).optional()?)
    }

    pub(crate) fn set_meta(self, key: Meta, value: &str) -> Result<(), Error> {
        let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.connection.prepare_cached(sql)?.execute([key.name(), value])?;
        Ok(())
    }

    pub(crate) fn clear_meta(self, key: Meta) -> Result<(), Error> {
        self.connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key.name()])?;
        Ok(())
    }

    /// The greatest hybrid logical clock given out or seen. That of most mutations is found at the mutation: to note it here too
    /// would be one more page of each commit.
    pub(crate) fn clock(self) -> Result<Hlc, Error> {
        let sql = "SELECT max(hlc) FROM (SELECT value AS hlc FROM meta WHERE key = 'hlc'
                   UNION ALL SELECT hlc FROM (SELECT hlc FROM mutations
                     WHERE table_name NOT IN (?1, ?2) ORDER BY seq DESC LIMIT 1))";
        let noted = [Table::ExportHistory.name(), Table::UserApiKeys.name()];
        let found: Option<String> =
            self.connection.prepare_cached(sql)?.query_row(noted, |row| row.get(0))?;
        found.map_or(Ok(Hlc::ZERO), |text| stored(text.parse().ok()))
    }

    /// Notes the clock, before anything becomes of the newest fact.
    pub(super) fn keep_clock(self) -> Result<(), Error> {
        let clock = self.clock()?.to_string();
        let known = self.meta(Meta::Hlc)?;
        if clock == Hlc::ZERO.to_string() || known.is_some_and(|known| known >= clock) {
            return Ok(());
        }
        self.set_meta(Meta::Hlc, &clock)
    }

    /// A number that changes when another connection commits, and only then.
    pub(crate) fn data_version(self) -> Result<i64, Error> {
        Ok(self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
    }

    /// SQLite's own look at the whole file: every page is where it belongs, or it is [`Error::MirrorCorrupt`]. Takes as
    /// long as reading it.
    pub(crate) fn check(self) -> Result<(), Error> {
        let verdict: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict == "ok" { Ok(()) } else { Err(Error::MirrorCorrupt) }
    }

    /// What the file holds that no version of a mirror makes: triggers and virtual tables, by name. None of it is run.
    pub(crate) fn foreign_objects(self) -> Result<Vec<String>, Error> {
        let sql = "SELECT type || ' ' || name FROM sqlite_schema
                   WHERE type = 'trigger' OR type = 'table' AND sql LIKE 'CREATE VIRTUAL%' ORDER BY 1";
        let mut statement = self.connection.prepare(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }
}
