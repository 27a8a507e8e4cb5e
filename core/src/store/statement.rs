//! What can be said of the app's SQL before SQLite sees it: that it is one statement, and of which kind.
//!
//! This is no parser: it knows comments, quotes and semicolons, as SQLite's tokenizer does. It matters for what the
//! browser's SQLite was built without: the parser must not come to the other statements.

use crate::error::Error;

/// The longest statement.
const MAX_BYTES: usize = 100_000;

const KINDS: [&str; 3] = ["SELECT", "WITH", "VALUES"];

/// The statement, without what follows its semicolon; refuses a second one, and one that is not a query.
pub(crate) fn only(sql: &str) -> Result<&str, Error> {
    if sql.len() > MAX_BYTES {
        return Err(Error::QueryLimit { limit: "bytes of the statement", most: MAX_BYTES as u64 });
    }
    if sql.contains('\0') {
        return Err(Error::invalid("sql", "holds U+0000"));
    }
    let start = skip_blank(sql, 0);
    let word = word_at(sql, start);
    if !KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(word)) {
        return Err(Error::refused("a query only reads: one SELECT, WITH or VALUES"));
    }
    let end = end_of_statement(sql, start)?;
    let mut rest = end;
    while rest < sql.len() {
        rest = skip_blank(sql, rest + 1);
        if sql.as_bytes().get(rest).is_some_and(|byte| *byte != b';') {
            return Err(Error::refused("one statement at a time"));
        }
    }
    Ok(&sql[start..end])
}

/// The statement with one more table that it may name: `rows`, as it stands behind `WITH`.
pub(crate) fn with(sql: &str, rows: &str) -> String {
    let first = word_at(sql, 0);
    if !first.eq_ignore_ascii_case("WITH") {
        return format!("WITH {rows} {sql}");
    }
    let next = skip_blank(sql, first.len());
    let word = word_at(sql, next);
    let (recursive, at) =
        if word.eq_ignore_ascii_case("RECURSIVE") { ("RECURSIVE ", next + word.len()) } else { ("", next) };
    format!("WITH {recursive}{rows}, {}", &sql[at..])
}

/// Whether the statement's own `WITH` makes a table of this name, which is what the name means in it.
pub(crate) fn defines(sql: &str, name: &str) -> bool {
    let bytes = sql.as_bytes();
    let mut at = word_at(sql, 0).len();
    if !sql[..at].eq_ignore_ascii_case("WITH") {
        return false;
    }
    // A name is expected first, and behind each comma that is in no brackets.
    let (mut depth, mut expected) = (0, true);
    while at < sql.len() {
        at = skip_blank(sql, at);
        let word = word_at(sql, at);
        let (token, end) = match bytes.get(at) {
            _ if !word.is_empty() => (word, at + word.len()),
            Some(quote @ (b'\'' | b'"' | b'`')) => quoted(sql, at, *quote),
            Some(b'[') => quoted(sql, at, b']'),
            Some(sign) => {
                match sign {
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    b',' if depth == 0 => expected = true,
                    _ => {}
                }
                at += 1;
                continue;
            }
            None => return false,
        };
        if depth == 0 && expected && !word.eq_ignore_ascii_case("RECURSIVE") {
            if token.eq_ignore_ascii_case(name) {
                return true;
            }
            expected = false;
        } else if depth == 0 && ["SELECT", "VALUES"].iter().any(|it| word.eq_ignore_ascii_case(it)) {
            return false;
        }
        at = end;
    }
    false
}

/// What is in the quotes that begin there, and the place behind them.
fn quoted(sql: &str, at: usize, end: u8) -> (&str, usize) {
    let behind = after(sql.as_bytes(), at + 1, &[end]);
    (sql.get(at + 1..behind - 1).unwrap_or_default(), behind)
}

fn word_at(sql: &str, start: usize) -> &str {
    let is_in_word = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(**byte, b'_' | b'$' | 0x80..);
    &sql[start..start + sql.as_bytes()[start..].iter().take_while(is_in_word).count()]
}

/// Where the statement that begins there ends: at its semicolon, or with the text.
fn end_of_statement(sql: &str, start: usize) -> Result<usize, Error> {
    let bytes = sql.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        let word = word_at(sql, at);
        if !word.is_empty() {
            at += word.len();
            // A SQLite without triggers takes it for NULL.
            if word.eq_ignore_ascii_case("RAISE") && bytes.get(skip_blank(sql, at)) == Some(&b'(') {
                return Err(Error::invalid("sql", "RAISE() may only be used within a trigger-program"));
            }
            continue;
        }
        at = match bytes[at] {
            b';' => return Ok(at),
            quote @ (b'\'' | b'"' | b'`') => after(bytes, at + 1, &[quote]),
            b'[' => after(bytes, at + 1, b"]"),
            _ => match after_comment(bytes, at) {
                Some(after) => after,
                None => at + 1,
            },
        };
    }
    Ok(at)
}

/// The place behind blanks and comments.
fn skip_blank(sql: &str, start: usize) -> usize {
    let bytes = sql.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        if matches!(bytes[at], b' ' | b'\t' | b'\n' | b'\x0c' | b'\r') {
            at += 1;
        } else if let Some(after) = after_comment(bytes, at) {
            at = after;
        } else {
            break;
        }
    }
    at.min(bytes.len())
}

/// The place behind the comment that begins there, if one does.
fn after_comment(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes[at..] {
        [b'-', b'-', ..] => Some(after(bytes, at + 2, b"\n")),
        // SQLite takes the two characters at the very end for signs.
        [b'/', b'*', _, ..] => Some(after(bytes, at + 2, b"*/")),
        _ => None,
    }
}

/// The place behind the next such bytes. A quote in a quoted text is doubled there: the second one begins another text.
fn after(bytes: &[u8], start: usize, end: &[u8]) -> usize {
    let found = bytes.get(start..).and_then(|rest| rest.windows(end.len()).position(|bytes| bytes == end));
    found.map_or(bytes.len(), |found| start + found + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_query_is_taken_without_what_ends_it() {
        for (sql, taken) in [
            ("SELECT 1", "SELECT 1"),
            (" \n/* ; */ -- ;\nselect 1 ; -- done\n;;", "select 1 "),
            ("WITH a AS (SELECT ';') SELECT * FROM a;", "WITH a AS (SELECT ';') SELECT * FROM a"),
            ("VALUES (1), ('it''s; so')", "VALUES (1), ('it''s; so')"),
            ("SELECT \"a;b\", `c;d`, [e;f] -- ;", "SELECT \"a;b\", `c;d`, [e;f] -- ;"),
            ("SELECT 1 /* ; never ended", "SELECT 1 /* ; never ended"),
            ("SELECT 'é;ü'; ", "SELECT 'é;ü'"),
            ("SELECT 'never ended; ", "SELECT 'never ended; "),
        ] {
            assert_eq!(only(sql).unwrap(), taken, "{sql}");
        }
    }

    #[test]
    fn a_table_is_put_in_front_of_all_others() {
        for (sql, expected) in [
            ("SELECT * FROM t", "WITH t AS (SELECT 1) SELECT * FROM t"),
            ("with a AS (SELECT 2) SELECT 1", "WITH t AS (SELECT 1), a AS (SELECT 2) SELECT 1"),
            (
                "WITH /* x */ RECURSIVE a AS (SELECT 2) SELECT 1",
                "WITH RECURSIVE t AS (SELECT 1),  a AS (SELECT 2) SELECT 1",
            ),
        ] {
            assert_eq!(with(sql, "t AS (SELECT 1)"), expected);
        }
    }

    #[test]
    fn a_table_of_the_statements_own_is_found() {
        for (sql, is_defined) in [
            ("WITH t AS (SELECT 1) SELECT * FROM t", true),
            ("with recursive a(n) AS (SELECT 1, (2)), T(x, y) AS (VALUES (1, 2)) SELECT 1", true),
            ("WITH a AS MATERIALIZED (SELECT ')'), /* t */ \"t\" AS (SELECT 1) SELECT 1", true),
            ("WITH a AS (SELECT 1), [t] AS (SELECT 1) SELECT 1", true),
            ("WITH a AS (SELECT 1) SELECT 1, t FROM t", false),
            ("WITH a AS (WITH t AS (SELECT 1) SELECT * FROM t) SELECT 1", false),
            ("WITH a(t) AS (SELECT 1) VALUES (1), (2)", false),
            ("SELECT 1, t FROM t", false),
            ("WITH a AS (SELECT 'é", false),
            ("WITH", false),
            ("WITH \"", false),
        ] {
            assert_eq!(defines(sql, "t"), is_defined, "{sql}");
        }
    }

    #[test]
    fn anything_else_is_refused_before_sqlite_sees_it() {
        for sql in [
            "",
            " -- nothing\n",
            ";SELECT 1",
            "INSERT INTO t VALUES (1)",
            "EXPLAIN SELECT 1",
            "PRAGMA user_version",
            "ATTACH 'x' AS y",
            "SELECTED",
            "(SELECT 1)",
            "é",
            "SELECT 1; SELECT 2",
            "SELECT 1; -- ;\n DROP TABLE t",
            "SELECT 1;;/**/x",
            "\u{feff}SELECT 1",
        ] {
            assert_eq!(only(sql).unwrap_err().code(), "query_refused", "{sql}");
        }
        assert_eq!(only("SELECT '\0'").unwrap_err().code(), "invalid_input");
        let long = |bytes: usize| format!("SELECT {}1", " ".repeat(bytes - "SELECT 1".len()));
        assert!(only(&long(MAX_BYTES)).is_ok());
        assert_eq!(only(&long(MAX_BYTES + 1)).unwrap_err().code(), "query_limit");
    }
}
