//! Makes the mirrored tables from the catalogue, and makes them again when it has changed: in one transaction, with their rows.

use rusqlite::Connection;

use crate::catalogue::{Catalogue, MirroredTable};
use crate::error::Error;
use crate::model::Table;
use crate::planted::{self, Fault};
use crate::store::shapes::{CLOCKS, Shape, is_mirrored, quoted};
use crate::store::{Meta, Rows, Shapes, Store};

/// The tables as the file has them. One that this version does not understand says nothing: its tables are made again.
pub(super) fn kept(connection: &Connection) -> Result<Shapes, Error> {
    let none = Shapes::of(None);
    let json = Rows { connection, shapes: &none }.meta(Meta::Catalogue)?;
    Ok(Shapes::of(json.and_then(|json| Catalogue::parse(&json).ok())))
}

impl Store {
    /// Makes the tables that the catalogue describes, where they are not there yet. `also` is done in the same transaction. The
    /// queue stays as it is: what the new catalogue does not know any more is still sent.
    pub(crate) fn adopt(
        &mut self,
        catalogue: &Catalogue,
        also: impl FnOnce(Rows<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Idle statements would hold the tables.
        self.connection.flush_prepared_statement_cache();
        let before = std::mem::replace(&mut self.shapes, Shapes::of(Some(catalogue.clone())));
        let adopted = self.write(|rows| {
            rows.make_tables(&before)?;
            rows.set_meta(Meta::Catalogue, catalogue.to_json())?;
            also(rows)
        });
        if adopted.is_err() {
            self.shapes = before;
        }
        self.connection.flush_prepared_statement_cache();
        adopted
    }
}

impl Rows<'_> {
    fn make_tables(self, before: &Shapes) -> Result<(), Error> {
        for gone in before.mirrored().filter(|table| self.shapes.get(*table).is_none()) {
            self.drop_table(gone)?;
        }
        for shape in self.shapes.iter().filter(|shape| is_mirrored(shape.table.table)) {
            match before.get(shape.table.table) {
                Some(known) if known.table == shape.table && self.has_table(shape.table.table)? => {}
                Some(known)
                    if known.table.key() == shape.table.key() && self.has_table(shape.table.table)? =>
                {
                    self.remake(shape, &known.table)?;
                }
                _ => {
                    self.drop_table(shape.table.table)?;
                    self.connection.execute_batch(&shape.create())?;
                }
            }
        }
        Ok(())
    }

    fn has_table(self, table: Table) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
        Ok(self.connection.query_row(sql, [table.name()], |row| row.get(0))?)
    }

    /// Takes a table away, and what the server has of its rows. The mutations stay.
    fn drop_table(self, table: Table) -> Result<(), Error> {
        self.connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(table.name())))?;
        self.connection.execute("DELETE FROM shadow_rows WHERE table_name = ?1", [table.name()])?;
        if planted::is(Fault::RebuiltTableForgetsQueue) {
            self.connection.execute("DELETE FROM mutations WHERE table_name = ?1", [table.name()])?;
        }
        Ok(())
    }

    /// Makes a table again with the rows that it has. What a column of another type held comes again from the server, but for a whole
    /// number that the new one can have: until then nobody should miss it.
    fn remake(self, shape: &Shape, known: &MirroredTable) -> Result<(), Error> {
        let name = quoted(shape.table.table.name());
        let stays = |column: &&crate::catalogue::Column| {
            known.column(&column.name).is_some_and(|before| column.kind.takes_over(before.kind))
        };
        let columns = shape.table.columns.iter().filter(stays).map(|column| quoted(&column.name));
        let columns = columns.chain([CLOCKS.to_owned()]).collect::<Vec<_>>().join(", ");
        let indexes = (0..known.indexes.len())
            .map(|number| format!("DROP INDEX IF EXISTS \"marea_{}_{number}\";", known.table.name()));
        let (indexes, create) = (indexes.collect::<String>(), shape.create());
        self.connection.execute_batch(&format!(
            "CREATE TABLE marea_before AS SELECT * FROM {name}; {indexes} DROP TABLE {name}; {create}
             INSERT INTO {name} ({columns}) SELECT {columns} FROM marea_before ORDER BY rowid;
             DROP TABLE marea_before;"
        ))?;
        if planted::is(Fault::RebuiltTableForgetsRows) {
            self.connection.execute_batch(&format!("DELETE FROM {name}"))?;
        }
        if planted::is(Fault::RebuiltTableForgetsQueue) {
            let sql = "DELETE FROM mutations WHERE table_name = ?1 AND state = 'pending'";
            self.connection.execute(sql, [shape.table.table.name()])?;
        }
        Ok(())
    }
}
