//! The server's fold rows: those that count (`confirmed_rows`) and those that wait (`arrived_rows`).

use rusqlite::params;

use crate::error::Error;
use crate::model::Table;
use crate::store::Rows;

impl Rows<'_> {
    /// Keeps a row that the server sent; `None` says that it deleted the row.
    pub(crate) fn put_arrived(self, table: Table, key: &str, json: Option<&str>) -> Result<(), Error> {
        let sql = "INSERT INTO arrived_rows (table_name, row_key, value_json) VALUES (?1, ?2, ?3)
                   ON CONFLICT (table_name, row_key) DO UPDATE SET value_json = excluded.value_json";
        self.connection.prepare_cached(sql)?.execute(params![table.name(), key, json])?;
        Ok(())
    }

    pub(crate) fn clear_arrived(self) -> Result<(), Error> {
        self.connection.execute("DELETE FROM arrived_rows", [])?;
        Ok(())
    }

    pub(crate) fn clear_confirmed(self) -> Result<(), Error> {
        self.connection.execute("DELETE FROM confirmed_rows", [])?;
        Ok(())
    }

    /// Lets the arrived rows count; says whether there were any.
    pub(crate) fn confirm_arrived(self) -> Result<bool, Error> {
        self.connection.execute(
            "DELETE FROM confirmed_rows WHERE (table_name, row_key) IN
               (SELECT table_name, row_key FROM arrived_rows WHERE value_json IS NULL)",
            [],
        )?;
        self.connection.execute(
            "INSERT INTO confirmed_rows (table_name, row_key, value_json)
             SELECT table_name, row_key, value_json FROM arrived_rows WHERE value_json IS NOT NULL
             ON CONFLICT (table_name, row_key) DO UPDATE SET value_json = excluded.value_json",
            [],
        )?;
        Ok(self.connection.execute("DELETE FROM arrived_rows", [])? > 0)
    }

    /// All confirmed rows of a table: key and JSON.
    pub(crate) fn confirmed(self, table: Table) -> Result<Vec<(String, String)>, Error> {
        let sql = "SELECT row_key, value_json FROM confirmed_rows WHERE table_name = ?1 ORDER BY row_key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([table.name()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
