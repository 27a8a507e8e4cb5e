//! `marea table`: the rows of mirrored tables. Which there are is learned from the server at the first sync; from then on all of
//! it works offline.

use marea_native::{Client, ListQuery, Recorded, block_on};
use serde_json::{Map, Value, json};

use super::record::object;
use crate::cli::{Globals, RowArgs, TableCommand, TableListArgs};
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, aligned, table as as_table};

/// The most rows that one call of the client gives.
const MOST_ROWS: u32 = 1_000;

pub(crate) fn run(globals: &Globals, command: &TableCommand, output: &Output) -> Result<(), Failure> {
    match command {
        TableCommand::Insert { table, row } => {
            let row = object("JSON", row)?;
            let client = identify(globals)?.open()?;
            said(&block_on(client.table(&table.table).insert(&row))?, "Inserted", &table.table, output)
        }
        TableCommand::Get(args) => get(globals, args, output),
        TableCommand::Update { row, values } => {
            let values = object("JSON", values)?;
            let client = identify(globals)?.open()?;
            said(
                &block_on(client.table(&row.table).update(&row.key, &values))?,
                "Updated",
                &row.table,
                output,
            )
        }
        TableCommand::Add { row, additions } => {
            let additions = object("JSON", additions)?;
            let client = identify(globals)?.open()?;
            said(
                &block_on(client.table(&row.table).add(&row.key, &additions))?,
                "Added to",
                &row.table,
                output,
            )
        }
        TableCommand::Delete(row) => {
            let client = identify(globals)?.open()?;
            said(&block_on(client.table(&row.table).delete(&row.key))?, "Deleted", &row.table, output)
        }
        TableCommand::List(args) => list(globals, args, output),
    }
}

fn said(recorded: &Recorded, what: &str, table: &str, output: &Output) -> Result<(), Failure> {
    output.result(recorded, |recorded| {
        format!("{what} {table} {} ({} waiting to be sent)\n", recorded.key, recorded.pending)
    })
}

fn get(globals: &Globals, RowArgs { table, key }: &RowArgs, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open()?;
    let row: Option<Value> = block_on(client.table(table).get(key))?;
    let missing = || {
        let problem = format!("{table} has no row {key} in this mirror; `marea sync` fetches what is new");
        Failure::new("not_found", problem)
    };
    let (_, columns) = shape(&client, table)?;
    output.result(&row.ok_or_else(missing)?, |row| {
        let lines = columns.iter().map(|column| (column.as_str(), cell(&row[column.as_str()])));
        aligned(&lines.collect::<Vec<_>>())
    })
}

fn list(globals: &Globals, args: &TableListArgs, output: &Output) -> Result<(), Failure> {
    let filter = args.filter.as_deref().map(|text| object("--where", text)).transpose()?;
    let query = ListQuery {
        filter: filter.unwrap_or_default(),
        order: args.order.clone(),
        // One more tells whether there are more.
        limit: Some((args.limit + 1).min(MOST_ROWS)),
        after: args.after.clone(),
    };
    let table = &args.table.table;
    let client = identify(globals)?.open()?;
    let mut rows: Vec<Map<String, Value>> = block_on(client.table(table).list(query))?;
    let has_more = rows.len() > args.limit as usize || rows.len() == MOST_ROWS as usize;
    rows.truncate(args.limit as usize);
    let (key, columns) = shape(&client, table)?;
    let next = rows.last().filter(|_| has_more).map(|row| row[&key].clone());
    let page = json!({ "rows": rows, "next": next });
    output.result(&page, |_| {
        if rows.is_empty() {
            return format!("No rows. Make one with: marea table insert {table} JSON\n");
        }
        let cells = |row: &Map<String, Value>| columns.iter().map(|column| cell(&row[column])).collect();
        let head: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut text = as_table(&head, &rows.iter().map(cells).collect::<Vec<Vec<String>>>());
        if let Some(next) = &next {
            text += &format!("More: the same with --after {}\n", cell(next));
        }
        text
    })
}

/// The name of a table's key, and its columns in the catalogue's order.
fn shape(client: &Client, table: &str) -> Result<(String, Vec<String>), Failure> {
    let catalogue = block_on(client.catalogue())?;
    let document: Value =
        catalogue.and_then(|found| serde_json::from_str(found.to_json()).ok()).unwrap_or_default();
    let tables = document["tables"].as_array().into_iter().flatten();
    let found = tables.into_iter().find(|known| known["name"] == table);
    let found =
        found.ok_or_else(|| Failure::new("unknown_table", format!("{table} is not mirrored any more")))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let columns = found["columns"].as_array().into_iter().flatten();
    Ok((text(&found["key"]), columns.map(|column| text(&column["name"])).collect()))
}

/// A value in a table for people: a text as it is, nothing for null, JSON for the rest.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
