//! What devices may not write to mirrored tables: refused by name, alone, and without a trace.

use marea_tests::mirrored::{MirroredApp, send};
use marea_tests::sql::{hlc, mutation, with};
use serde_json::{Value, json};

use crate::any_table::{furnished, new_key};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_by_name_and_alone() {
    let app = MirroredApp::start(&["words.sql", "inventory.sql"]).await;
    let one = app.user().await;
    let (made, [_, item, review]) = furnished();
    assert_eq!(send(&one, &made).await, ["applied"; 3]);
    let part = new_key();
    let parts = [mutation("stock_parts", "insert", Some(&part), &hlc(1), json!({ "name": "bolt" }))];
    assert_eq!(send(&one, &parts).await, ["applied"]);
    let nobody = new_key();
    let long = "x".repeat(201);
    let to =
        |table: &str, op: &str, key: &str, values: Value| mutation(table, op, Some(key), &hlc(30), values);
    let cases = [
        (to("nope", "insert", "x", json!({})), "22023: table: not mirrored"),
        (
            to("word_of_the_day", "insert", &nobody, json!({ "word": "x" })),
            "22023: table: is written by the server alone",
        ),
        (
            to("vocabulary_items", "upsert", &item, json!({})),
            "22023: op: must be insert, merge, add or delete",
        ),
        (
            to("vocabulary_items", "merge", "AAAA", json!({ "word": "x" })),
            "22023: key: must be a lower-case uuid",
        ),
        (
            to("question_answers", "insert", "", json!({ "question": "x" })),
            "22023: key: must have 1 to 1000 bytes",
        ),
        (
            to("user_settings", "insert", &nobody, json!({})),
            "22023: key: must be the id of the signed-in user",
        ),
        (to("vocabulary_items", "merge", &item, json!([])), "22023: values: must be an object"),
        (to("vocabulary_items", "merge", &item, json!({})), "22023: values: set nothing"),
        (to("vocabulary_items", "delete", &item, json!({ "word": "x" })), "22023: values: must be empty"),
        (to("vocabulary_items", "merge", &nobody, json!({ "word": "x" })), "22023: key: no such row"),
        (to("word_reviews", "add", &nobody, json!({ "times_seen": 1 })), "22023: key: no such row"),
        (to("vocabulary_items", "merge", &item, json!({ "nope": 1 })), "22023: values.nope: unknown column"),
        (
            to("vocabulary_items", "merge", &item, json!({ "user_id": nobody })),
            "22023: values.user_id: unknown column",
        ),
        (to("vocabulary_items", "merge", &item, json!({ "id": item })), "22023: values.id: is the key"),
        (
            to("vocabulary_items", "merge", &item, json!({ "source": "x" })),
            "22023: values.source: is set once and never changes",
        ),
        (
            to("vocabulary_items", "merge", &item, json!({ "word_length": 1 })),
            "22023: values.word_length: is written by the server alone",
        ),
        (
            to("vocabulary_items", "merge", &item, json!({ "updated_at": null })),
            "22023: values.updated_at: is written by the server alone",
        ),
        (
            to("word_reviews", "merge", &review, json!({ "times_seen": 1 })),
            "22023: values.times_seen: is a counter; use add",
        ),
        (to("word_reviews", "add", &review, json!({ "ease": 1 })), "22023: values.ease: is no counter"),
        (
            to("word_reviews", "add", &review, json!({ "score": null })),
            "22023: values.score: must be a number to add",
        ),
        (
            to("word_reviews", "add", &review, json!({ "score": "NaN" })),
            "22023: values.score: must be a number to add",
        ),
        (
            to("word_reviews", "add", &review, json!({ "times_seen": i32::MAX })),
            "22003: integer out of range",
        ),
        (to("vocabulary_items", "merge", &item, json!({ "word": 5 })), "22023: values.word: must be a text"),
        (
            to("vocabulary_items", "merge", &item, json!({ "word": null })),
            "22023: values.word: must not be null",
        ),
        (
            to("vocabulary_items", "merge", &item, json!({ "level": "z9" })),
            "22023: values.level: must be one of a1, a2, b1, b2, c1, c2",
        ),
        (
            to("vocabulary_items", "merge", &item, json!({ "tags": [1] })),
            "22023: values.tags: must be an array of text",
        ),
        (
            to("word_reviews", "merge", &review, json!({ "due_on": "2026-02-30" })),
            "22023: values.due_on: is no date that Postgres can hold",
        ),
        (
            to("word_reviews", "merge", &review, json!({ "due_on": "tomorrow" })),
            "22023: values.due_on: must be a date as Postgres prints it",
        ),
        (
            to("word_reviews", "merge", &review, json!({ "interval_days": 40000 })),
            "22023: values.interval_days: must be from -32768 to 32767",
        ),
        (
            to("word_reviews", "merge", &review, json!({ "interval_days": 1.5 })),
            "22023: values.interval_days: must be a whole number",
        ),
        (
            to("word_reviews", "merge", &review, json!({ "ease": 1e300 })),
            "22023: values.ease: is no real that Postgres can hold",
        ),
        (
            to("stock_parts", "merge", &part, json!({ "price": "1.23456" })),
            "22023: values.price: has more than 4 decimals",
        ),
        (
            to("stock_parts", "merge", &part, json!({ "price": "123456789" })),
            "22023: values.price: has more than 8 digits before the point",
        ),
        (
            to("stock_parts", "merge", &part, json!({ "price": true })),
            "22023: values.price: must be a text that holds a numeric",
        ),
        (to("stock_parts", "merge", &part, json!({ "photo": "???" })), "22023: values.photo: must be base64"),
        (
            to("word_lists", "insert", &nobody, json!({ "title": long })),
            "22023: values.title: has more than 200 characters",
        ),
        (
            to("word_lists", "insert", &nobody, json!({ "title": "x".repeat(300_000) })),
            "22023: values: have more than 256 KiB as JSON",
        ),
        // What the app's own rules refuse, in Postgres's words.
        (
            to("word_lists", "insert", &nobody, json!({ "title": "x", "language": "english" })),
            "23514: value for domain public.language_code violates",
        ),
        (
            to("word_lists", "insert", &nobody, json!({ "language": "en" })),
            "23502: null value in column \"title\"",
        ),
        (
            to("word_reviews", "merge", &review, json!({ "interval_days": 4000 })),
            "23514: new row for relation \"word_reviews\" violates",
        ),
        (
            to("word_reviews", "insert", &nobody, json!({ "item_id": nobody })),
            "23503: insert or update on table \"word_reviews\" violates",
        ),
        (
            to("stock_parts", "merge", &part, json!({ "place": "NOPE" })),
            "23503: insert or update on table \"parts\" violates",
        ),
        (
            to("stock_parts", "insert", &nobody, json!({ "name": "bolt" })),
            "23505: duplicate key value violates",
        ),
        (
            with(to("vocabulary_items", "merge", &item, json!({ "word": "x" })), "hlc", json!("now")),
            "22023: hlc: must be 13 digits",
        ),
    ];
    let before = one.pull().await;
    for (mutation, expected) in &cases {
        let said = send(&one, std::slice::from_ref(mutation)).await.remove(0);
        let said = said.replace("domain language_code", "domain public.language_code");
        assert!(
            said.starts_with(expected),
            "{said}, not {expected}, of {}",
            mutation["values"].to_string().get(..90).unwrap_or_default()
        );
    }
    assert_eq!(one.pull().await["rows"], before["rows"], "what is refused leaves nothing");
    // All of them in one request, with a good one at the end. (One of them alone is as large as the rest.)
    let mut all: Vec<Value> = cases.iter().map(|(mutation, _)| mutation.clone()).collect();
    all.push(to("vocabulary_items", "merge", &item, json!({ "word": "good" })));
    let said = send(&one, &all).await;
    assert!(said[..cases.len()].iter().all(|one| one.contains(": ")), "{said:?}");
    assert_eq!(said[cases.len()], "applied");
    app.stop().await;
}
