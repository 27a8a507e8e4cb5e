//! `marea schema`: the server's catalogue as a file, and whether a file is still what the server has.

mod differences;
mod typescript;

use std::path::Path;

use marea_native::{fetch_catalogue, fetch_catalogue_allowing_http};
use serde_json::Value;

use crate::cli::{Globals, SchemaArgs};
use crate::escape;
use crate::failure::Failure;
use crate::identity::{identify_account, runtime};
use crate::output::{Output, count};

const TABLE_MEMBERS: [&str; 7] = ["name", "schema", "key", "owner", "write", "indexes", "columns"];
const COLUMN_MEMBERS: [&str; 9] =
    ["name", "type", "rule", "nullable", "default", "max", "precision", "scale", "labels"];

pub(crate) fn run(globals: &Globals, args: &SchemaArgs, output: &Output) -> Result<(), Failure> {
    let ending = |out: &Path| out.extension().and_then(|end| end.to_str()).unwrap_or_default().to_owned();
    if let Some(out) = args.out.as_deref().filter(|out| !matches!(&*ending(out), "json" | "ts" | "mts")) {
        return Err(Failure::usage(format!(
            "--out {}: expected a name that ends in .ts or .json",
            out.display()
        )));
    }
    let (url, key) = match (globals.url(), globals.key()) {
        (Some(url), Some(key)) => (url.to_owned(), key.to_owned()),
        // That of the sign-in.
        _ => identify_account(globals)?
            .server()
            .map(|(url, key)| (url.to_owned(), key.to_owned()))
            .ok_or_else(|| {
                Failure::usage("say which server: --url and --key (or MAREA_URL and MAREA_KEY)")
            })?,
    };
    let catalogue = runtime()?.block_on(async {
        match globals.allow_http {
            true => fetch_catalogue_allowing_http(&url, &key).await,
            false => fetch_catalogue(&url, &key).await,
        }
    })?;
    let document: Value = serde_json::from_str(catalogue.to_json())
        .map_err(|_| Failure::new("internal", "the catalogue is no JSON; please report this"))?;
    let text = rendered(&document);
    let Some(out) = args.out.as_deref() else { return output.exact(&escape::json(&text)) };
    let text = if ending(out) == "json" { text } else { typescript::rendered(&document, &text) };
    let tables = count(catalogue.tables().count() as i64, "table", "tables");
    let before = read(out)?;
    if args.check {
        return match before.as_deref() == Some(text.as_str()) {
            true => output.text(&format!("{} is up to date ({tables})\n", out.display())),
            false => Err(Failure::new("schema_differs", what_differs(out, before.as_deref(), &document))),
        };
    }
    if before.as_deref() != Some(text.as_str()) {
        write(out, &text)?;
    }
    output.result(&document, |_| format!("{} holds {tables}\n", out.display()))
}

/// What a person needs to know of a file that is not what the server has.
fn what_differs(out: &Path, before: Option<&str>, document: &Value) -> String {
    let again = "write it again without --check";
    let Some(before) = before else { return format!("{} does not exist; {again}", out.display()) };
    let found = document_in(before).map(|known| differences::between(&known, document)).unwrap_or_default();
    let found = if found.is_empty() {
        vec!["the same tables, but the file was edited, or written by another version".to_owned()]
    } else {
        found
    };
    format!("{} is not what the server has; {again}:\n  {}", out.display(), found.join("\n  "))
}

/// The catalogue in a file that was written here; `None` where there is none to be read.
fn document_in(text: &str) -> Option<Value> {
    let module = text.split_once("export const schema = ").map(|(_, rest)| rest);
    let json = module
        .and_then(|rest| rest.split_once(" as const satisfies Catalogue"))
        .map_or(text, |(json, _)| json);
    serde_json::from_str(json).ok()
}

fn list(of: &Value, member: &str) -> Vec<Value> {
    of[member].as_array().cloned().unwrap_or_default()
}

/// The file's text with the line ends that are written here; `None` when there is none.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.replace("\r\n", "\n"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new("storage_failed", format!("cannot read {}: {error}", path.display()))),
    }
}

/// Whole or not at all: a build that runs beside this never reads half of it.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, path));
    written.map_err(|error| {
        // It may not even be there.
        let _ = std::fs::remove_file(&unfinished);
        Failure::new("storage_failed", format!("cannot write {}: {error}", path.display()))
    })
}

/// A line for each column, members in one order: the same text as `npx marea-client schema` writes.
fn rendered(document: &Value) -> String {
    let table = |table: Value| {
        let columns = list(&table, "columns")
            .iter()
            .map(|column| format!("        {}", line(column, &COLUMN_MEMBERS, "")))
            .collect::<Vec<_>>();
        let head = line(&table, &TABLE_MEMBERS, "columns");
        format!(
            "    {},\n      \"columns\": [\n{}\n      ] }}",
            head.trim_end_matches(" }"),
            columns.join(",\n")
        )
    };
    let tables = list(document, "tables").into_iter().map(table).collect::<Vec<_>>();
    let tables = if tables.is_empty() { "[]".to_owned() } else { format!("[\n{}\n  ]", tables.join(",\n")) };
    format!(
        "{{ \"version\": {},\n  \"hash\": {},\n  \"tables\": {tables} }}\n",
        document["version"], document["hash"]
    )
}

fn line(object: &Value, order: &[&str], without: &str) -> String {
    let Some(members) = object.as_object() else { return "{ }".to_owned() };
    // What a newer server adds comes last, by name.
    let others = members.keys().map(String::as_str).filter(|name| !order.contains(name));
    let names = order.iter().copied().filter(|name| members.contains_key(*name)).chain(others);
    let given = names.filter(|name| *name != without && !members[*name].is_null());
    let text = given.map(|name| format!("{}: {}", Value::from(name), members[name])).collect::<Vec<_>>();
    format!("{{ {} }}", text.join(", "))
}
