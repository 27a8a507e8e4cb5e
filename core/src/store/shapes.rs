//! The mirrored tables as SQLite has them, and the statements on them, derived from the catalogue.

use rusqlite::types::ToSqlOutput;

use crate::catalogue::{Catalogue, Column, ColumnType, MirroredTable, builtin};
use crate::model::{FewMap, Op, Table, TableKind};

/// A mirrored table, and its statements.
pub(crate) struct Shape {
    pub(crate) table: MirroredTable,
    /// Its columns and its clocks, in the order in which they are bound and read.
    pub(super) columns: String,
    pub(super) put: String,
    pub(super) get: String,
    pub(super) delete: String,
    pub(super) sweep: String,
}

impl Shape {
    fn of(table: &MirroredTable) -> Shape {
        let name = quoted(table.table.name());
        let key = quoted(&table.key().name);
        let quoted_names = table.columns.iter().map(|column| quoted(&column.name));
        let columns = quoted_names.chain([clocks(table).to_owned()]).collect::<Vec<_>>().join(", ");
        let places =
            (1..=table.columns.len() + 1).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ");
        // Keys in the lists of the mirror are texts.
        let row_key =
            if table.key().kind == ColumnType::UuidBytes { "unhex(row_key, '-')" } else { "row_key" };
        let listed = |list: &str| {
            format!("{key} NOT IN (SELECT {row_key} FROM {list} WHERE table_name = '{}')", table.table.name())
        };
        Shape {
            put: format!("INSERT OR REPLACE INTO {name} ({columns}) VALUES ({places})"),
            get: format!("SELECT {columns} FROM {name} WHERE {key} = ?1"),
            delete: format!("DELETE FROM {name} WHERE {key} = ?1"),
            sweep: format!(
                "DELETE FROM {name} WHERE {} AND {} RETURNING {key}",
                listed("refilled_rows"),
                listed("shadow_rows")
            ),
            columns,
            table: table.clone(),
        }
    }

    /// A row's key for SQLite; `None` when no row can have it.
    pub(super) fn key<'k>(&self, key: &'k str) -> Option<ToSqlOutput<'k>> {
        self.table.key().kind.bind_text(key)
    }

    /// Whether a row must have something in a column: the built-in tables' code reads it.
    pub(super) fn requires(&self, column: &Column) -> bool {
        !column.nullable && !is_mirrored(self.table.table)
    }

    /// Makes the table and its indexes.
    pub(super) fn create(&self) -> String {
        let name = self.table.table.name();
        let columns = self.table.columns.iter().enumerate().map(|(place, column)| {
            let key = if place == 0 { " PRIMARY KEY NOT NULL" } else { "" };
            format!("{} {}{key}, ", quoted(&column.name), column.kind.declared())
        });
        let columns = columns.collect::<String>();
        // Rows lie in the order in which they came, and only their keys by key: keys come in any order.
        let mut sql = format!("CREATE TABLE {} ({columns}{CLOCKS} TEXT NOT NULL) STRICT;", quoted(name));
        for (number, index) in self.table.indexes.iter().enumerate() {
            // The key comes last, as it does in the order of a list: rows that are alike before it need no sorting.
            let key = Some(&self.table.key().name).filter(|key| !index.contains(key));
            let columns = index.iter().chain(key).map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
            sql += &format!("CREATE INDEX \"marea_{name}_{number}\" ON {} ({columns});", quoted(name));
        }
        sql
    }
}

/// Where a table of the catalogue has its rows' clocks. No column of an app has this name.
pub(super) const CLOCKS: &str = "marea_clocks";

fn clocks(table: &MirroredTable) -> &'static str {
    if is_mirrored(table.table) { CLOCKS } else { "clocks" }
}

pub(super) fn is_mirrored(table: Table) -> bool {
    table.is_of_catalogue()
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// All mirrored tables: the built-in ones, and those of the catalogue.
pub(crate) struct Shapes {
    shapes: FewMap<Table, Shape>,
    catalogue: Option<Catalogue>,
}

impl Shapes {
    pub(super) fn of(catalogue: Option<Catalogue>) -> Shapes {
        let mut shapes = FewMap::default();
        let of_app = catalogue.iter().flat_map(Catalogue::mirrored);
        builtin().iter().chain(of_app).for_each(|table| shapes.insert(table.table, Shape::of(table)));
        Shapes { shapes, catalogue }
    }

    /// `None` for a table without rows of registers, and for one that is not mirrored (any more).
    pub(crate) fn get(&self, table: Table) -> Option<&Shape> {
        self.shapes.get(&table)
    }

    /// How what the server sends of a table is kept: of sessions that are mirrored, as registers.
    pub(crate) fn kind(&self, table: Table) -> TableKind {
        if self.get(table).is_some() { TableKind::Registers } else { table.kind() }
    }

    /// How a mutation's effect comes to be in the server's rows: an addition counts once, as a fact does, whatever table it is for.
    pub(crate) fn kind_of(&self, table: Table, op: Op) -> TableKind {
        if op == Op::Add { TableKind::Events } else { self.kind(table) }
    }

    /// The table of a name, if rows of it are kept.
    pub(crate) fn named(&self, name: &str) -> Option<Table> {
        let mirrored = || self.shapes.keys().find(|table| table.name() == name).copied();
        Table::from_name(name).or_else(mirrored)
    }

    pub(crate) fn catalogue(&self) -> Option<&Catalogue> {
        self.catalogue.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Shape> {
        self.shapes.values()
    }

    /// The tables of the catalogue.
    pub(crate) fn mirrored(&self) -> impl Iterator<Item = Table> + '_ {
        self.shapes.keys().copied().filter(|table| is_mirrored(*table))
    }
}
