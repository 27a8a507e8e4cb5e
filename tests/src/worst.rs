//! The worst requests that an account can send, as text: no value of Rust holds such numbers. `docs/COSTS.md` has a line for each.

use crate::sql::{DEVICE, new_id};

/// More than 100 KB of digits, in eight letters.
pub const LONG: &str = "1e131071";
/// 16 KB of zeros.
pub const SMALL: &str = "0e-16000";

/// A request as text: no value of Rust holds such numbers.
pub fn text_of(mutations: &[String], more: &str) -> String {
    format!(
        r#"{{"protocol":1,"client_id":"{DEVICE}","schema":1,"cursor":null,"limit":2000,"mutations":[{}]{more}}}"#,
        mutations.join(",")
    )
}

/// So many mutations of a table with these values; `{n}` is their number.
fn many(count: usize, table: &str, op: &str, values: &str) -> Vec<String> {
    let one = |n: usize| {
        let (id, values) = (new_id(), values.replace("{n}", &n.to_string()));
        format!(
            r#"{{"id":"{id}","key":"{id}","hlc":"1700000000000-0000","table":"{table}","op":"{op}","values":{values}}}"#
        )
    };
    (0..count).map(one).collect()
}

/// So many sessions, with more columns.
pub fn sessions(count: usize, columns: &str) -> Vec<String> {
    let values = format!(r#"{{"session_type":"qa","ended_at":"2026-07-01T12:00:00.000000Z"{columns}}}"#);
    many(count, "sessions", "insert", &values)
}

fn awards(count: usize, columns: &str) -> Vec<String> {
    let values =
        format!(r#"{{"occurred_at":"2026-07-01T12:00:00.000000Z","local_date":"2026-07-01"{columns}}}"#);
    many(count, "progress_events", "insert", &values)
}

fn exports(count: usize, columns: &str) -> Vec<String> {
    let values = format!(r#"{{"export_type":"all","export_format":"csv"{columns}}}"#);
    many(count, "export_history", "insert", &values)
}

/// The worst that an account can send, by name.
pub fn requests() -> Vec<(&'static str, String)> {
    let list = |item: &str, count: usize| vec![item; count].join(",");
    let names = |count: usize| {
        let name = |n: usize| format!(r#""{n:0>90}":"2026-07-01T12:00:00.000000Z""#);
        (0..count).map(name).collect::<Vec<_>>().join(",")
    };
    let long_data = format!(r#","session_data":{{"n":[{}]}}"#, list(LONG, 7_000));
    let zeros = format!(r#","session_data":{{"n":[{}]}}"#, list(SMALL, 7_000));
    let wide = format!(r#","session_data":{{"n":[{}]}}"#, list("1e308", 120));
    let filler = "x".repeat(60_000);
    vec![
        ("500 sessions", text_of(&sessions(500, ""), "")),
        ("500 awards", text_of(&awards(500, r#","points":1"#), "")),
        ("500 exports", text_of(&exports(500, ""), "")),
        (
            "500 sessions of long numbers",
            text_of(&sessions(500, &format!(r#","duration_minutes":{LONG}"#)), ""),
        ),
        ("500 sessions of long zeros", text_of(&sessions(500, &format!(r#","qa_attempts":{SMALL}"#)), "")),
        ("8 sessions of 7,000 long numbers", text_of(&sessions(8, &long_data), "")),
        ("8 sessions of 7,000 long zeros", text_of(&sessions(8, &zeros), "")),
        ("500 sessions of 120 wide numbers", text_of(&sessions(500, &wide), "")),
        ("500 sessions with a long key", {
            let good = sessions(500, "");
            let long = good
                .iter()
                .map(|one| one.replace(r#""hlc":"1700000000000-0000""#, &format!(r#""hlc":{LONG}"#)));
            text_of(&long.collect::<Vec<_>>(), "")
        }),
        ("500 sessions out of bounds", text_of(&sessions(500, r#","duration_minutes":9999"#), "")),
        ("500 sessions of one id", {
            let one = sessions(1, "").remove(0);
            text_of(&vec![one; 500], "")
        }),
        ("500 exports that the table refuses", text_of(&exports(500, r#","status":"nonsense""#), "")),
        ("250 exports and 250 that the table refuses", {
            let bad = exports(250, r#","status":"nonsense""#);
            text_of(&[exports(250, ""), bad].concat(), "")
        }),
        ("15 exports of 60 KB", text_of(&exports(15, &format!(r#","data":"{filler}""#)), "")),
        (
            "70 awards of 100 achievements",
            text_of(&awards(70, &format!(r#","achievements":{{{}}}"#, names(100))), ""),
        ),
        (
            "an award of 8,000 achievements",
            text_of(&awards(1, &format!(r#","achievements":{{{}}}"#, names(8_000))), ""),
        ),
        (
            "a column with a name of 900 KB",
            text_of(&sessions(1, &format!(r#","{}":1"#, "c".repeat(900_000))), ""),
        ),
        (
            "500 merges of a row that is not there",
            text_of(&many(500, "export_history", "merge", r#"{"status":"failed"}"#), ""),
        ),
        (
            "a limit of 100,000 long numbers",
            text_of(&[], &format!(r#","limit_bytes":[{}]"#, list(LONG, 100_000))),
        ),
        (
            "a cursor of long numbers",
            text_of(&[], &format!(r#","cursor":{{"version":{LONG},"epoch":{LONG}}}"#)),
        ),
    ]
}
