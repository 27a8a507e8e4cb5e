//! SQL without its comments and its indentation, made while the crate is compiled: the comments are for people who read the file on
//! a desktop, and the browser would download 5 kB of them. It does not parse SQL: `--` begins a comment wherever it stands,
//! and a test sees to it that no text holds one.

/// The text of a file of SQL: bare in the browser.
macro_rules! sql {
    ($file:literal) => {{
        const WHOLE: &str = include_str!($file);
        #[cfg(not(target_family = "wasm"))]
        const TEXT: &str = WHOLE;
        #[cfg(target_family = "wasm")]
        const TEXT: &str = {
            const BARE: [u8; $crate::store::bare_sql::length(WHOLE)] = $crate::store::bare_sql::bare(WHOLE);
            match std::str::from_utf8(&BARE) {
                Ok(text) => text,
                Err(_) => panic!("a comment ends within a character"),
            }
        };
        TEXT
    }};
}

pub(super) use sql;

/// How many bytes are left.
#[cfg(any(test, target_family = "wasm"))]
pub(super) const fn length(sql: &str) -> usize {
    write(sql, &mut [])
}

/// What is left.
#[cfg(any(test, target_family = "wasm"))]
pub(super) const fn bare<const N: usize>(sql: &str) -> [u8; N] {
    let mut out = [0; N];
    write(sql, &mut out);
    out
}

/// Writes what fits and says how long all of it is. A loop over bytes: constants have no iterators.
#[cfg(any(test, target_family = "wasm"))]
const fn write(sql: &str, out: &mut [u8]) -> usize {
    let sql = sql.as_bytes();
    let (mut at, mut length) = (0, 0);
    let mut blanks_before = true;
    while at < sql.len() {
        if sql[at] == b'-' && at + 1 < sql.len() && sql[at + 1] == b'-' {
            while at < sql.len() && sql[at] != b'\n' {
                at += 1;
            }
            continue;
        }
        let blank = sql[at].is_ascii_whitespace();
        if !(blank && blanks_before) {
            if length < out.len() {
                out[length] = if blank { b' ' } else { sql[at] };
            }
            length += 1;
        }
        blanks_before = blank;
        at += 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::{bare, length};
    use crate::store::open::MIGRATIONS;

    #[test]
    fn comments_and_indentation_go() {
        const SQL: &str =
            "-- What it is.\nCREATE TABLE a (\n  b TEXT, -- why\n  -- and how\n  c TEXT\n) STRICT;\n";
        const LENGTH: usize = length(SQL);
        assert_eq!(bare::<LENGTH>(SQL), *b"CREATE TABLE a ( b TEXT, c TEXT ) STRICT; ");
    }

    #[test]
    fn no_text_in_the_schema_looks_like_a_comment() {
        for sql in MIGRATIONS {
            for line in sql.lines() {
                let code = line.split("--").next().unwrap_or_default();
                assert_eq!(code.matches(['\'', '"']).count() % 2, 0, "{line}");
                let mut texts = code.split('\'').skip(1).step_by(2);
                assert!(texts.all(|text| !text.contains("  ")), "{line}");
            }
        }
    }
}
