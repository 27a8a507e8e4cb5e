//! One mirrored table: its columns, their types and their merge rules.

use crate::model::Table;

/// How concurrent changes of one column become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A row is a fact, inserted once; its id is the idempotency key.
    Event,
    /// Computed from events on both sides, never written by a client.
    Fold,
    /// A map that only grows; of two values for one key the lesser wins: of two times the earlier.
    Union,
    /// The last writer wins, by hybrid logical clock, column by column.
    Register,
    /// Set when the row is made, never changed.
    Once,
    /// Devices add, nobody sets; every addition counts once.
    Counter,
    /// Names the row.
    Key,
    /// Set by the server, taken as it comes.
    Server,
}

impl Rule {
    pub(super) fn from_name(name: &str) -> Option<Rule> {
        Some(match name {
            "key" => Rule::Key,
            "register" => Rule::Register,
            "once" => Rule::Once,
            "counter" => Rule::Counter,
            "union" => Rule::Union,
            "server" => Rule::Server,
            _ => return None,
        })
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// `text`, `varchar(n)`, `char(n)`, and domains over them.
    Text,
    /// One of the column's labels.
    Enum,
    Uuid,
    SmallInt,
    Integer,
    /// Text on the wire, because a JavaScript number cannot hold it; an integer in SQLite.
    BigInt,
    /// Text, as Postgres prints it: exact, of any length.
    Numeric,
    Real,
    Double,
    Boolean,
    Date,
    Time,
    /// Without a zone.
    Timestamp,
    Timestamptz,
    /// `json` and `jsonb`: its text is kept as it came.
    Json,
    /// Base64 on the wire, bytes in SQLite.
    Bytea,
    TextArray,
    IntegerArray,
    UuidArray,
    /// Of the built-in tables: a UUID, of which the bytes are kept.
    UuidBytes,
    /// Of the built-in tables: an instant. `infinity` is none: always and never have no date.
    Instant,
    /// Of the built-in tables: JSON that was read.
    ReadJson,
    /// Of the built-in tables: a sealed key.
    Envelope,
}

impl ColumnType {
    pub(super) fn from_name(name: &str) -> Option<ColumnType> {
        Some(match name {
            "text" => ColumnType::Text,
            "enum" => ColumnType::Enum,
            "uuid" => ColumnType::Uuid,
            "smallint" => ColumnType::SmallInt,
            "integer" => ColumnType::Integer,
            "bigint" => ColumnType::BigInt,
            "numeric" => ColumnType::Numeric,
            "real" => ColumnType::Real,
            "double" => ColumnType::Double,
            "boolean" => ColumnType::Boolean,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time,
            "timestamp" => ColumnType::Timestamp,
            "timestamptz" => ColumnType::Timestamptz,
            "json" | "jsonb" => ColumnType::Json,
            "bytea" => ColumnType::Bytea,
            "text[]" => ColumnType::TextArray,
            "integer[]" => ColumnType::IntegerArray,
            "uuid[]" => ColumnType::UuidArray,
            _ => return None,
        })
    }

    /// Whether the mirror keeps JSON text of it.
    pub(crate) fn is_json_text(self) -> bool {
        matches!(
            self,
            ColumnType::Json | ColumnType::TextArray | ColumnType::IntegerArray | ColumnType::UuidArray
        )
    }

    /// The least and the greatest of a type of whole numbers.
    pub(crate) fn whole_range(self) -> Option<(i64, i64)> {
        match self {
            ColumnType::SmallInt => Some((i16::MIN.into(), i16::MAX.into())),
            ColumnType::Integer => Some((i32::MIN.into(), i32::MAX.into())),
            ColumnType::BigInt => Some((i64::MIN, i64::MAX)),
            _ => None,
        }
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnType,
    pub(crate) rule: Rule,
    pub(crate) nullable: bool,
    /// May be left out of an insert although it is not nullable.
    pub(crate) has_default: bool,
    /// Characters of a text at most.
    pub(crate) max: Option<u32>,
    /// Of an enum.
    pub(crate) labels: Vec<String>,
    /// Digits of a numeric, and how many of them stand behind the point.
    pub(crate) precision: Option<u32>,
    pub(crate) scale: Option<i32>,
}

/// One mirrored table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MirroredTable {
    pub(crate) table: Table,
    /// The key first.
    pub(crate) columns: Vec<Column>,
    /// Whether devices may write it.
    pub(crate) write: bool,
    /// A column of the wire that must hold the user's id.
    pub(crate) owner: Option<String>,
    /// Whether an update begins a row that is not there: the one row per user of `user_api_keys`.
    pub(crate) begun_by_update: bool,
    /// The columns of each index that the mirror is to have.
    pub(crate) indexes: Vec<Vec<String>>,
}

impl MirroredTable {
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column that a row is known by.
    pub(crate) fn key(&self) -> &Column {
        // Every constructor puts one there.
        &self.columns[0]
    }

    pub(crate) fn rule(&self, column: &str) -> Option<Rule> {
        self.column(column).map(|column| column.rule)
    }

    /// The columns that devices add to.
    pub(crate) fn counters(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.rule == Rule::Counter)
    }
}
