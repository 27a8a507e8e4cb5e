//! What differs between the catalogue in a file and the server's, a line for each difference.

use serde_json::Value;

use super::list;

/// The lines, as `npx marea-client schema --check` prints them.
pub(super) fn between(before: &Value, after: &Value) -> Vec<String> {
    let (was, is) = (list(before, "tables"), list(after, "tables"));
    let mut lines = Vec::new();
    for gone in was.iter().filter(|table| named(&is, table).is_none()) {
        lines.push(format!("- table {}", name(gone)));
    }
    for table in &is {
        match named(&was, table) {
            Some(known) => in_table(known, table, &mut lines),
            None => lines.push(format!("+ table {}", name(table))),
        }
    }
    lines
}

fn in_table(before: &Value, after: &Value, lines: &mut Vec<String>) {
    let table = name(after);
    lines
        .extend(members(before, after, "columns").into_iter().map(|line| format!("~ table {table}: {line}")));
    let (was, is) = (list(before, "columns"), list(after, "columns"));
    for gone in was.iter().filter(|column| named(&is, column).is_none()) {
        lines.push(format!("- {table}.{}", name(gone)));
    }
    for column in &is {
        match named(&was, column) {
            Some(known) => {
                let column_name = name(column);
                let changed = members(known, column, "").into_iter();
                lines.extend(changed.map(|line| format!("~ {table}.{column_name}: {line}")));
            }
            None => lines.push(format!(
                "+ {table}.{} ({}, {})",
                name(column),
                column["type"].as_str().unwrap_or_default(),
                column["rule"].as_str().unwrap_or_default()
            )),
        }
    }
    let order = |of: &[Value], others: &[Value]| -> Vec<String> {
        of.iter()
            .filter(|column| named(others, column).is_some())
            .map(|column| name(column).to_owned())
            .collect()
    };
    if order(&was, &is) != order(&is, &was) {
        lines.push(format!("~ table {table}: its columns are in another order"));
    }
}

fn members(before: &Value, after: &Value, except: &str) -> Vec<String> {
    let keys =
        |of: &Value| of.as_object().map(|of| of.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let mut names = keys(before);
    names.extend(keys(after).into_iter().filter(|name| before.get(name).is_none()));
    let text = |of: &Value, name: &str| {
        of.get(name).filter(|value| !value.is_null()).map_or("not set".to_owned(), Value::to_string)
    };
    let differs = names.iter().filter(|name| *name != except && text(before, name) != text(after, name));
    differs.map(|name| format!("{name} {} -> {}", text(before, name), text(after, name))).collect()
}

fn named<'v>(all: &'v [Value], one: &Value) -> Option<&'v Value> {
    all.iter().find(|other| other["name"] == one["name"])
}

fn name(of: &Value) -> &str {
    of["name"].as_str().unwrap_or_default()
}
