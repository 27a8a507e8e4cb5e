//! CSV (RFC 4180): commas, CRLF, quotes where they are needed.

use serde_json::Value;

use super::value::text;
use super::{Column, Records};

const BYTE_ORDER_MARK: &str = "\u{feff}";

pub(super) fn write(records: &Records, byte_order_mark: bool) -> Vec<u8> {
    let mut out = String::new();
    if byte_order_mark {
        out.push_str(BYTE_ORDER_MARK);
    }
    line(&mut out, records.columns.iter().map(|column| harmless(column.name.clone())));
    for row in &records.rows {
        line(&mut out, records.columns.iter().map(|column| cell(column, row.get(&column.name))));
    }
    out.into_bytes()
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&quoted(&cell));
    }
    out.push_str("\r\n");
}

/// What somebody wrote must not become what a spreadsheet does: text that begins like a formula gets an apostrophe before it
/// (OWASP, "CSV Injection"). Numbers are left alone, negative ones too, also those that are too long for a number of JSON.
fn cell(column: &Column, value: Option<&Value>) -> String {
    let found = text(value);
    match column.is_number || matches!(value, Some(Value::Number(_) | Value::Bool(_))) {
        true => found,
        false => harmless(found),
    }
}

fn harmless(found: String) -> String {
    match found.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        true => format!("'{found}"),
        false => found,
    }
}

fn quoted(cell: &str) -> String {
    let needs_quotes = cell.contains([',', '"', '\r', '\n', ';', '\t']) || cell.trim_matches(' ') != cell;
    match needs_quotes {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_harmless() {
        for (value, expected) in [
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"hi\""), "\"say \"\"hi\"\"\""),
            (json!("two\r\nlines"), "\"two\r\nlines\""),
            (json!("=HYPERLINK(\"http://x\")"), "\"'=HYPERLINK(\"\"http://x\"\")\""),
            (json!("+1"), "'+1"),
            (json!("-1"), "'-1"),
            (json!("@SUM(A1)"), "'@SUM(A1)"),
            (json!("\t=1"), "\"'\t=1\""),
            (json!("＝1"), "'＝1"),
            (json!(-5), "-5"),
            (json!(2.5), "2.5"),
            (json!(null), ""),
            (json!({ "a": 1 }), "\"{\"\"a\"\":1}\""),
            (json!(" padded "), "\" padded \""),
        ] {
            assert_eq!(quoted(&cell(&Column::from("a"), Some(&value))), expected, "{value}");
        }
    }

    #[test]
    fn lines_end_as_the_standard_says() {
        let row = json!({ "a": 1, "b": "x" }).as_object().cloned().unwrap_or_default();
        let columns = ["a", "b", "c"].map(Column::from).to_vec();
        let records = Records { title: "T".to_owned(), columns, rows: vec![row] };
        assert_eq!(write(&records, false), b"a,b,c\r\n1,x,\r\n");
        assert_eq!(write(&records, true), b"\xef\xbb\xbfa,b,c\r\n1,x,\r\n");
    }
}
