//! What a device sends arrives: each mutation once and with its own result, each column of an event with its value, and a clock as it
//! was sent unless it is too far ahead.

use std::collections::BTreeSet;

use marea_tests::backend::TestBackend;
use marea_tests::catalogue::columns;
use marea_tests::sql::{Caller, event, mutation, request, session, statuses};
use marea_tests::vault::of_shape;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn each_result_is_that_of_its_mutation() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let (one, two) = (session("2026-03-01", json!({})), event("2026-03-01", json!({ "points": 1 })));
    let user = caller.user.to_string();
    let sealed = json!({ "openai_api_key": of_shape(1) });
    let key = mutation("user_api_keys", "merge", Some(&user), &marea_tests::sql::hlc(1), sealed);
    // All together, and one by one because of the last.
    let bad = session("2026-03-01", json!({ "qa_attempts": "x" }));
    for (batch, expected) in [
        (vec![&one, &one, &key, &two, &two], vec!["applied", "duplicate", "applied", "applied", "duplicate"]),
        (vec![&two, &key, &one, &bad], vec!["duplicate", "duplicate", "duplicate", "rejected 22023"]),
    ] {
        let batch: Vec<Value> = batch.into_iter().cloned().collect();
        let answer = caller.sync(&request(&batch)).await;
        assert_eq!(statuses(&answer), expected);
        let ids = |of: &Value| of["id"].clone();
        let answered: Vec<Value> = answer["results"].as_array().expect("results").iter().map(ids).collect();
        assert_eq!(answered, batch.iter().map(ids).collect::<Vec<_>>(), "in the order of the request");
    }
}

/// A value for each column of an event, no two alike.
fn values(names: &[String]) -> Value {
    let mut values = serde_json::Map::new();
    for (number, name) in names.iter().enumerate() {
        let value = match name.as_str() {
            "session_type" => json!("qa"),
            "started_at" => json!("2026-03-01T10:11:12.000001Z"),
            "ended_at" | "occurred_at" => json!("2026-03-01T10:21:12.000002Z"),
            "local_date" => json!("2026-03-02"),
            "session_data" => json!({ "local_date": "2026-03-02", "kept": [1, null, "as it is"] }),
            "achievements" => json!({ "first": "2026-03-01T10:21:12.000003Z" }),
            // What freezes a day adds nothing beside.
            "freezes_day" => json!(false),
            // No more is right than was answered.
            "qa_correct" | "questions_correct" => json!(1),
            _ => json!(number + 2),
        };
        values.insert(name.clone(), value);
    }
    values.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_an_event_arrives_with_its_value() {
    let backend = TestBackend::shared().await;
    let (admin, caller) = (backend.sql().await, Caller::new(&backend).await);
    for (table, relation) in [("sessions", "public.sessions"), ("progress_events", "marea.progress_events")] {
        let own: BTreeSet<&str> = BTreeSet::from(["id", "user_id", "created_at", "updated_at"]);
        let names: Vec<String> =
            columns(&admin, relation).await.into_iter().map(|column| column.name).collect();
        let names: Vec<String> = names.into_iter().filter(|name| !own.contains(name.as_str())).collect();
        assert!(names.len() > 8, "{names:?}");
        let sent = mutation(table, "insert", None, &marea_tests::sql::hlc(1), values(&names));
        assert_eq!(caller.push(std::slice::from_ref(&sent)).await, ["applied"]);
        let id = sent["id"].as_str().expect("an id");
        let statement =
            format!("SELECT to_jsonb(t) FROM {relation} AS t WHERE id::text = $1 AND user_id = $2");
        let kept: Value = admin.query_one(&statement, &[&id, &caller.user]).await.expect("the row").get(0);
        for name in &names {
            let (is, was) = (&kept[name], &sent["values"][name]);
            let is_time = name.ends_with("_at");
            let same = if is_time { text(is)[..26] == text(was)[..26] } else { is == was };
            assert!(same, "{table}.{name} is {is}, not {was}");
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Five minutes ahead of the server is what a clock may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_counts_as_it_is_up_to_five_minutes_ahead() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let user = caller.user.to_string();
    for (column, minutes, counts) in
        [("openai_api_key", 4, true), ("unsplash_api_key", 7, false), ("anthropic_api_key", -600, true)]
    {
        let statement =
            "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000 + $1::int * 60000)::bigint || '-0007'";
        let clock: String = caller.client.query_one(statement, &[&minutes]).await.expect("a time").get(0);
        let sealed = json!({ column: of_shape(1) });
        let merge = mutation("user_api_keys", "merge", Some(&user), &clock, sealed);
        assert_eq!(caller.push(&[merge]).await, ["applied"]);
        let kept = caller.pull().await["rows"]["user_api_keys"][0]["hlc"][column][0].clone();
        assert_eq!(kept == json!(clock), counts, "{minutes} minutes ahead: {clock} is kept as {kept}");
        if !counts {
            assert!(kept.as_str() < Some(clock.as_str()), "it is pulled back");
        }
    }
}
