//! What a live Postgres says about its tables, and what that is in TypeScript, in SQLite and in a Rust row. It only reads
//! catalogues and reflects; it decides nothing about the tables themselves.

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use tokio_postgres::Client;

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as `pg_type` has it: `int4`, `timestamptz`.
    pub kind: String,
    /// NOT NULL.
    pub not_null: bool,
    /// An INSERT may leave it out.
    pub has_default: bool,
}

/// A foreign key.
#[derive(Debug)]
pub struct Relationship {
    /// Its constraint.
    pub name: String,
    /// The columns that refer.
    pub columns: Vec<String>,
    /// The table of `public` that they refer to.
    pub referred: String,
    /// The columns there.
    pub referred_columns: Vec<String>,
    /// Whether they are unique here: at most one row refers to each.
    pub is_one_to_one: bool,
}

/// The columns of a table (`schema.name`), in their order.
///
/// # Panics
/// When there is no such table.
pub async fn columns(client: &Client, table: &str) -> Vec<Column> {
    let query = "
        SELECT a.attname::text, t.typname::text, a.attnotnull, a.atthasdef OR a.attidentity <> ''
        FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
        WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum";
    let rows = client.query(query, &[&table]).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
    rows.iter()
        .map(|row| Column {
            name: row.get(0),
            kind: row.get(1),
            not_null: row.get(2),
            has_default: row.get(3),
        })
        .collect()
}

/// The foreign keys of a table (`schema.name`), by name.
///
/// # Panics
/// When there is no such table.
pub async fn relationships(client: &Client, table: &str) -> Vec<Relationship> {
    let query = "
        SELECT c.conname::text, r.relname::text,
               (SELECT array_agg(a.attname::text ORDER BY k.n)
                FROM unnest(c.conkey) WITH ORDINALITY AS k (column_number, n)
                JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.column_number),
               (SELECT array_agg(a.attname::text ORDER BY k.n)
                FROM unnest(c.confkey) WITH ORDINALITY AS k (column_number, n)
                JOIN pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = k.column_number),
               EXISTS (SELECT FROM pg_constraint AS u
                       WHERE u.conrelid = c.conrelid AND u.contype IN ('u', 'p') AND u.conkey <@ c.conkey)
        FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.confrelid
        WHERE c.conrelid = $1::text::regclass AND c.contype = 'f'
        ORDER BY c.conname";
    let rows = client.query(query, &[&table]).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
    rows.iter()
        .map(|row| Relationship {
            name: row.get(0),
            referred: row.get(1),
            columns: row.get(2),
            referred_columns: row.get(3),
            is_one_to_one: row.get(4),
        })
        .collect()
}

/// The type of a value of this column in a row that PostgREST answers with, without `null`.
///
/// # Panics
/// When the type is new here: say what it is in TypeScript.
pub fn typescript_type(kind: &str) -> &'static str {
    match kind {
        "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" => "number",
        "bool" => "boolean",
        "text" | "varchar" | "bpchar" | "uuid" | "date" | "timestamptz" | "timestamp" => "string",
        "json" | "jsonb" => "Json",
        // As Supabase's generator writes it.
        "void" => "undefined",
        other => panic!("no TypeScript type for {other} yet"),
    }
}

/// The type that the mirror keeps such a value as.
///
/// # Panics
/// When the type is new here.
pub fn mirror_type(kind: &str) -> &'static str {
    match kind {
        "int2" | "int4" | "int8" => "INTEGER",
        "numeric" => "REAL",
        "text" | "varchar" | "uuid" | "date" | "timestamptz" | "jsonb" => "TEXT",
        other => panic!("the mirror has no {other} yet"),
    }
}

/// The names under which a Rust struct reads its fields.
pub fn fields_of<T: DeserializeOwned>() -> Vec<String> {
    let mut names: &'static [&'static str] = &[];
    // It always fails: there is nothing to read. By then it has said what it wanted.
    let _ = T::deserialize(Reflect(&mut names));
    names.iter().map(ToString::to_string).collect()
}

struct Reflect<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Reflect<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("only the names of the fields are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
