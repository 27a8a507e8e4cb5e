//! The page of an answer that the model of the server gives.

use marea_core::{SyncAnswer, UserId, WireRow};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::server::Books;

/// Fills an answer with what changed after `start`.
pub(super) fn page(
    books: &Books,
    user: UserId,
    start: i64,
    anew: bool,
    most: usize,
    answer: &mut SyncAnswer,
) {
    let mut found: Vec<_> = books
        .lines
        .iter()
        .filter(|(_, line)| line.version > start && !(line.deleted && anew))
        .map(|((table, key), line)| (line.version, line.deleted, table, key))
        .collect();
    found.sort();
    answer.has_more = found.len() > most;
    found.truncate(most);
    if let (true, Some((last, ..))) = (answer.has_more, found.last()) {
        answer.cursor.version = *last;
    }
    for (version, deleted, table, key) in found {
        if deleted {
            answer.deleted.entry(table.clone()).or_default().push(key.clone());
        } else {
            let (values, hlc) = row_of(books, user, table, key);
            let values = to_raw_value(&values).expect("JSON");
            answer.rows.entry(table.clone()).or_default().push(WireRow { values, hlc, version });
        }
    }
}

fn row_of(books: &Books, user: UserId, table: &str, key: &str) -> (Value, Value) {
    let with_user = |mut values: Value| {
        values["user_id"] = json!(user);
        values
    };
    match table {
        "user_progress" => {
            let mut values = json!(books.fold.progress);
            // Only a device counts them.
            values
                .as_object_mut()
                .expect("columns")
                .retain(|name, _| !["future_days", "frozen_days"].contains(&name.as_str()));
            if books.is_odd {
                values["created_at"] = json!(20_000);
            }
            (values, json!({}))
        }
        "daily_activity" => {
            let day = key.parse().ok().and_then(|day| books.fold.days.get(&day)).expect("a tracked day");
            let facts = books.facts.values().filter(|fact| fact.day == day.day).count();
            let mut values = json!(day);
            values["facts"] = json!(facts);
            (with_user(values), json!({}))
        }
        _ => {
            let row = &books.rows[&(table.to_owned(), key.to_owned())];
            (with_user(Value::from(row.values.clone())), json!(row.stamps))
        }
    }
}
