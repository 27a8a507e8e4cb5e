//! The tables of registers that Marea itself brings, described as any other.

use std::sync::LazyLock;

use crate::catalogue::{Column, ColumnType, MirroredTable, Rule};
use crate::model::Table;

use ColumnType::{BigInt, Envelope, Instant, Integer, ReadJson, Text, Uuid, UuidBytes};
use Rule::{Key, Once, Register, Server};

/// A column, and whether every row has a value in it.
type Described = (&'static str, ColumnType, Rule, bool);

const EXPORTS: [Described; 17] = [
    ("id", UuidBytes, Key, true),
    ("export_type", Text, Once, true),
    ("export_format", Text, Once, true),
    ("status", Text, Register, true),
    ("records_count", Integer, Register, false),
    ("file_size_bytes", BigInt, Register, false),
    ("file_url", Text, Register, false),
    ("filters", ReadJson, Once, false),
    ("data", ReadJson, Register, false),
    ("error_message", Text, Register, false),
    ("retry_count", Integer, Register, false),
    ("started_at", Instant, Register, false),
    ("completed_at", Instant, Register, false),
    ("processing_time_seconds", Integer, Register, false),
    ("expires_at", Instant, Register, false),
    ("created_at", Instant, Once, true),
    ("updated_at", Instant, Server, false),
];

const KEYS: [Described; 8] = [
    ("user_id", Uuid, Key, true),
    ("id", Text, Server, false),
    ("openai_api_key", Envelope, Register, false),
    ("unsplash_api_key", Envelope, Register, false),
    ("anthropic_api_key", Envelope, Register, false),
    ("last_validated_at", Instant, Register, false),
    ("created_at", Instant, Server, false),
    ("updated_at", Instant, Server, false),
];

static BUILTIN: LazyLock<[MirroredTable; 2]> = LazyLock::new(|| {
    let keys = describe(Table::UserApiKeys, &KEYS);
    [describe(Table::ExportHistory, &EXPORTS), MirroredTable { begun_by_update: true, ..keys }]
});

/// The built-in tables of registers.
pub(crate) fn builtin() -> &'static [MirroredTable] {
    &*BUILTIN
}

fn describe(table: Table, columns: &[Described]) -> MirroredTable {
    let column = |(name, kind, rule, is_required): &Described| Column {
        name: (*name).to_owned(),
        kind: *kind,
        rule: *rule,
        nullable: !is_required,
        has_default: false,
        max: None,
        labels: Vec::new(),
        precision: None,
        scale: None,
    };
    MirroredTable {
        table,
        columns: columns.iter().map(column).collect(),
        write: true,
        owner: Some("user_id".to_owned()),
        begun_by_update: false,
        // The one that exports have stands in the schema.
        indexes: Vec::new(),
    }
}
