//! The rows of a mirrored table, as records.

use marea_core::ListQuery;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::value::text;
use super::{Column, Records};
use crate::Error;
use crate::client::Client;

/// A page of rows.
const PAGE: u32 = 1_000;
/// Their values come as text where a number of JSON could not hold them.
const NUMBERS: [&str; 6] = ["smallint", "integer", "bigint", "numeric", "real", "double"];

/// As much of a catalogue as is needed here.
#[derive(Deserialize)]
struct Document {
    tables: Vec<Described>,
}

#[derive(Deserialize)]
pub(super) struct Described {
    name: String,
    key: String,
    columns: Vec<DescribedColumn>,
}

#[derive(Deserialize)]
struct DescribedColumn {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

pub(super) async fn records(client: &Client, table: &str) -> Result<Records, Error> {
    let unknown = || marea_core::Error::UnknownTable { table: table.to_owned() };
    let catalogue = client.catalogue().await?.ok_or_else(unknown)?;
    let document: Document = serde_json::from_str(catalogue.to_json()).map_err(|_| unknown())?;
    let described = document.tables.into_iter().find(|it| it.name == table).ok_or_else(unknown)?;
    let (name, key) = (table.to_owned(), described.key.clone());
    // In one call: what a sync changes meanwhile is in all of the file, or in nothing of it.
    let rows = client
        .call(move |engine| {
            let (mut rows, mut after) = (Vec::new(), None);
            loop {
                let query = ListQuery { limit: Some(PAGE), after, ..ListQuery::default() };
                let page = engine.list_rows(&name, &query)?;
                let is_last = page.len() < PAGE as usize;
                for row in page {
                    let damaged = |_| marea_core::Error::Internal("a row that is no JSON");
                    rows.push(serde_json::from_str::<Map<String, Value>>(&row).map_err(damaged)?);
                }
                after = rows.last().map(|row| text(row.get(&key)));
                if is_last {
                    return Ok(rows);
                }
            }
        })
        .await?;
    Ok(of(described, rows))
}

pub(super) fn of(table: Described, rows: Vec<Map<String, Value>>) -> Records {
    let column =
        |it: DescribedColumn| Column { is_number: NUMBERS.contains(&it.kind.as_str()), name: it.name };
    Records { title: table.name, columns: table.columns.into_iter().map(column).collect(), rows }
}
