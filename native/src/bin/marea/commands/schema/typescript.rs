//! A catalogue as a TypeScript module with the types of its tables: the same text as `npx marea-client schema` writes.

use serde_json::Value;

use super::list;

/// What a row holds, by the column's type; and what writing takes, where that is more.
const TYPES: [(&str, &str, &str); 19] = [
    ("text", "string", ""),
    ("uuid", "string", ""),
    ("smallint", "number", ""),
    ("integer", "number", ""),
    ("bigint", "string", "string | number | bigint"),
    ("numeric", "string", "string | number"),
    ("real", "Float", ""),
    ("double", "Float", ""),
    ("boolean", "boolean", ""),
    ("date", "string", ""),
    ("time", "string", ""),
    ("timestamp", "string", ""),
    ("timestamptz", "string", "string | Date"),
    ("json", "Json", ""),
    ("jsonb", "Json", ""),
    ("bytea", "string", "string | Uint8Array"),
    ("text[]", "(string | null)[]", "readonly (string | null)[]"),
    ("uuid[]", "(string | null)[]", "readonly (string | null)[]"),
    ("integer[]", "(number | null)[]", "readonly (number | null)[]"),
];

/// The module; `json` is the document as it is written in it.
pub(super) fn rendered(document: &Value, json: &str) -> String {
    let tables = list(document, "tables").iter().map(table).collect::<String>();
    let used = ["Float", "Json"].into_iter().filter(|name| names(&tables, name));
    let used = ["Catalogue"].into_iter().chain(used).collect::<Vec<_>>().join(", ");
    format!(
        "// Written by `npx marea-client schema` from the server's catalogue; write it again after a migration, do not edit it.
/* eslint-disable */

import type {{ {used} }} from '@marea/client'

/** For `open({{ schema }})`. */
export const schema = {} as const satisfies Catalogue

/**
 * What each table's rows hold, and what its operations take. What the server fills in (a default, a column of its own) is null in a row
 * that was made here, until the server has answered.
 */
export interface Schema {{
{tables}}}

declare module '@marea/client' {{
  interface Register {{
    schema: Schema
  }}
}}
",
        json.trim_end()
    )
}

/// Whether a type is named in the text, outside of quotes: labels may be called as a type is.
fn names(text: &str, name: &str) -> bool {
    let (mut outside, mut quoted, mut escaped) = (String::new(), false, false);
    for sign in text.chars() {
        match (quoted, sign) {
            (true, _) if escaped => escaped = false,
            (true, '\\') => escaped = true,
            (_, '"') => quoted = !quoted,
            (true, _) => {}
            (false, _) => outside.push(sign),
        }
    }
    outside.split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_')).any(|word| word == name)
}

fn table(table: &Value) -> String {
    let key = &table["key"];
    let columns = list(table, "columns");
    let is_written = table["write"] != false;
    let of_rule = |rules: &[&str]| -> Vec<&Value> {
        let fits =
            |column: &&Value| is_written && column["rule"].as_str().is_some_and(|rule| rules.contains(&rule));
        columns.iter().filter(fits).collect()
    };
    // What the server fills in is not there until it has: null, in a row that was made here.
    let may_lack = |column: &Value| is_written && (column["rule"] == "server" || is_true(&column["default"]));
    let row = columns.iter().map(|column| {
        let nullable = may_lack(column) || is_nullable(column, key);
        member(column, false, &or_null(row_type(column), nullable && column["name"] != *key))
    });
    let insert = of_rule(&["key", "register", "once", "counter", "union"]);
    let insert = insert.into_iter().map(|column| {
        let type_ = or_null(input_type(column), is_nullable(column, key));
        member(column, is_optional(column, key), &type_)
    });
    let update = of_rule(&["register", "union"]).into_iter();
    let update =
        update.map(|column| member(column, true, &or_null(input_type(column), is_nullable(column, key))));
    let add = of_rule(&["counter"]).into_iter().map(|column| member(column, true, &input_type(column)));
    let parts: [(&str, String); 4] = [
        ("Row", row.collect()),
        ("Insert", insert.collect()),
        ("Update", update.collect()),
        ("Add", add.collect()),
    ];
    let part = |(name, members): (&str, String)| match members.is_empty() {
        true => format!("    {name}: never\n"),
        false => format!("    {name}: {{\n{members}    }}\n"),
    };
    format!("  {}: {{\n{}  }}\n", text(&table["name"]), parts.map(part).concat())
}

fn member(column: &Value, optional: bool, type_: &str) -> String {
    let name = text(&column["name"]);
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '$');
    let is_name = name.starts_with(|first: char| !first.is_ascii_digit()) && name.chars().all(is_sign);
    let name = if is_name { name.to_owned() } else { column["name"].to_string() };
    format!("      {name}{}: {type_}\n", if optional { "?" } else { "" })
}

fn special(column: &Value) -> Option<String> {
    if column["type"] == "enum" {
        let labels = list(column, "labels").iter().map(Value::to_string).collect::<Vec<_>>();
        return Some(if labels.is_empty() { "never".to_owned() } else { labels.join(" | ") });
    }
    (column["rule"] == "union").then(|| "{ [key: string]: Json }".to_owned())
}

fn row_type(column: &Value) -> String {
    let known = TYPES.iter().find(|(name, ..)| column["type"] == *name);
    special(column).unwrap_or_else(|| known.map_or("unknown", |(_, row, _)| row).to_owned())
}

fn input_type(column: &Value) -> String {
    let known = TYPES.iter().find(|(name, _, input)| column["type"] == *name && !input.is_empty());
    special(column)
        .or_else(|| known.map(|(_, _, input)| (*input).to_owned()))
        .unwrap_or_else(|| row_type(column))
}

fn is_nullable(column: &Value, key: &Value) -> bool {
    column["nullable"] != false && column["name"] != *key
}

fn or_null(type_: String, nullable: bool) -> String {
    if nullable && type_ != "unknown" { format!("{type_} | null") } else { type_ }
}

/// A key of uuids is made on the device.
fn is_optional(column: &Value, key: &Value) -> bool {
    if column["name"] == *key {
        return column["type"] == "uuid";
    }
    is_true(&column["default"]) || is_nullable(column, key)
}

fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
