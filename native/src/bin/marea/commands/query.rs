//! `marea query`: the learner's own SQL over what is mirrored, as a table, as comma-separated values, or as JSON.

use std::io::IsTerminal as _;

use marea_native::{QueryResult, block_on};
use serde_json::Value;

use super::record::json;
use super::table::cell;
use crate::cli::{Globals, QueryArgs};
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, table};

pub(crate) fn run(globals: &Globals, args: &QueryArgs, output: &Output) -> Result<(), Failure> {
    if args.csv && output.is_json() {
        return Err(Failure::usage("--csv or --json, not both"));
    }
    let params = args.params.iter().map(|text| json("--param", text)).collect::<Result<_, _>>()?;
    let client = identify(globals)?.open()?;
    let result = block_on(client.query(args.sql.as_str(), params))?;
    if args.csv {
        let text = csv(&result);
        // A program gets it byte for byte; nothing in it steers a terminal.
        return if std::io::stdout().is_terminal() { output.text(&text) } else { output.exact(&text) };
    }
    output.result(&result, |result| {
        let head: Vec<&str> = result.columns.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = result.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        table(&head, &rows)
    })
}

/// RFC 4180, with line feeds. NULL is nothing, an empty text two quotes.
fn csv(result: &QueryResult) -> String {
    let quoted = |text: &str| match text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let field = |value: &Value| match value {
        Value::Null => String::new(),
        value => quoted(&cell(value)),
    };
    let mut text = result.columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",") + "\n";
    for row in &result.rows {
        text += &(row.iter().map(field).collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comma_separated_values_are_read_back_as_they_were() {
        let columns = vec!["a".to_owned(), "b,c".to_owned()];
        let rows = vec![vec![json!(null), json!("")], vec![json!("x \"y\"\n"), json!(1.5)]];
        let result = QueryResult { columns, rows, tables: Vec::new() };
        assert_eq!(csv(&result), "a,\"b,c\"\n,\"\"\n\"x \"\"y\"\"\n\",1.5\n");
    }
}
