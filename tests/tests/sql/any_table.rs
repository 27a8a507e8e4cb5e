//! Tables that `marea.mirror` has declared: every operation there and back, sent once, sent again, in batches.

use marea_tests::mirrored::{MirroredApp, deleted, in_batch, pull, pull_after, rows, send};
use marea_tests::sql::{DEVICE, hlc, mutation, new_id, request, statuses, with};
use serde_json::{Value, json};

pub(crate) fn new_key() -> String {
    new_id().to_string()
}

/// A list, an item of it, a review of that; and their keys.
pub(crate) fn furnished() -> (Vec<Value>, [String; 3]) {
    let [list, item, review] = [new_key(), new_key(), new_key()];
    let mutations = vec![
        mutation(
            "word_lists",
            "insert",
            Some(&list),
            &hlc(1),
            json!({ "title": "Frutas", "language": "es" }),
        ),
        mutation(
            "vocabulary_items",
            "insert",
            Some(&item),
            &hlc(2),
            json!({ "word": "manzana", "list_id": list, "level": "a2", "tags": ["a", null, "b"], "source": "book" }),
        ),
        mutation(
            "word_reviews",
            "insert",
            Some(&review),
            &hlc(3),
            json!({ "item_id": item, "times_seen": 3, "ease": 2.25, "due_on": "2026-01-31", "score": "1.25" }),
        ),
    ];
    (mutations, [list, item, review])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_does_what_its_rule_says_and_a_resend_does_nothing() {
    let app = MirroredApp::start(&["words.sql", "inventory.sql"]).await;
    let one = app.user().await;
    let (mut sent, [list, item, review]) = furnished();
    let me = one.user.to_string();
    let description = new_key();
    sent.extend([
        mutation("word_reviews", "add", Some(&review), &hlc(4), json!({ "times_seen": 2, "times_right": "9000000000", "score": "0.75" })),
        mutation("word_reviews", "add", Some(&review), &hlc(5), json!({ "times_seen": -1 })),
        mutation("vocabulary_items", "merge", Some(&item), &hlc(6), json!({ "translation": "apple", "level": "b1" })),
        mutation(
            "saved_descriptions",
            "insert",
            Some(&description),
            &hlc(7),
            json!({ "image_url": "x", "content": { "a": [1] }, "seen_at": { "a": "2", "c": "4" }, "thumbnail": "aGVsbG8=" }),
        ),
        mutation("saved_descriptions", "merge", Some(&description), &hlc(8), json!({ "seen_at": { "a": "1", "b": "3" } })),
        mutation("user_settings", "insert", Some(&me), &hlc(9), json!({ "theme": "dark" })),
        mutation("user_settings", "merge", Some(&me), &hlc(10), json!({ "daily_goal": 20 })),
        mutation("question_answers", "insert", Some("q-1"), &hlc(11), json!({ "question": "?", "confidence": "NaN" })),
        mutation("question_answers", "delete", Some("q-1"), &hlc(12), json!({})),
        mutation("stock_places", "insert", Some("A-1"), &hlc(13), json!({ "label": "shelf" })),
    ]);
    assert_eq!(send(&one, &sent).await, vec!["applied"; sent.len()]);

    let answer = pull(&one).await;
    let found = rows(&answer, "word_reviews").remove(0);
    assert_eq!(
        (&found["times_seen"], &found["times_right"], &found["score"], &found["ease"], &found["due_on"]),
        (&json!(4), &json!("9000000000"), &json!("2.00"), &json!(2.25), &json!("2026-01-31"))
    );
    let found = rows(&answer, "vocabulary_items").remove(0);
    assert_eq!(
        (&found["translation"], &found["level"], &found["word_length"], &found["source"], &found["tags"]),
        (&json!("apple"), &json!("b1"), &json!(7), &json!("book"), &json!(["a", null, "b"]))
    );
    assert_eq!(found["clocks"]["level"], json!([hlc(6), DEVICE]));
    assert_eq!(found["clocks"].get("source"), None, "what never changes has no clock");
    assert_eq!(found.get("user_id"), None, "whose it is, is the token's");
    let found = rows(&answer, "saved_descriptions").remove(0);
    assert_eq!(
        (&found["seen_at"], &found["thumbnail"]),
        (&json!({ "a": "1", "b": "3", "c": "4" }), &json!("aGVsbG8="))
    );
    let found = rows(&answer, "user_settings").remove(0);
    assert_eq!(
        (&found["user_id"], &found["theme"], &found["daily_goal"]),
        (&json!(me), &json!("dark"), &json!(20))
    );
    assert_eq!(rows(&answer, "question_answers"), Vec::<Value>::new());
    assert_eq!(rows(&answer, "stock_places")[0]["label"], "shelf");

    // Everything again, from a device that has a cursor: nothing changes.
    let before = one.pull().await;
    let again = send(&one, &sent).await;
    assert!(again.iter().all(|status| status == "duplicate" || status == "applied"), "{again:?}");
    assert_eq!(one.pull().await["rows"], before["rows"]);

    // A deleted row stays deleted for whoever wrote before, and takes along what hangs on it.
    let cursor = &pull(&one).await["cursor"];
    let late = [
        mutation("word_lists", "delete", Some(&list), &hlc(20), json!({})),
        mutation("word_lists", "merge", Some(&list), &hlc(30), json!({ "title": "late" })),
        mutation("word_reviews", "add", Some(&review), &hlc(30), json!({ "times_seen": 1 })),
    ];
    assert_eq!(send(&one, &late).await, ["applied"; 3]);
    // In a request of its own: what the deletion has left must say that this is older.
    let late = mutation("word_lists", "insert", Some(&list), &hlc(19), json!({ "title": "late" }));
    assert_eq!(send(&one, &[late]).await, ["applied"]);
    let answer = pull_after(&one, cursor).await;
    for (table, key) in [("word_lists", &list), ("vocabulary_items", &item), ("word_reviews", &review)] {
        assert_eq!(deleted(&answer, table), [key.as_str()], "{table}");
    }
    // An insert that is later brings it back, as a new row; what was written to the old one does not reach it.
    let back = [
        mutation("word_lists", "insert", Some(&list), &hlc(40), json!({ "title": "back" })),
        mutation(
            "word_lists",
            "merge",
            Some(&list),
            &hlc(35),
            json!({ "title": "of the old", "position": 1 }),
        ),
        mutation("word_lists", "merge", Some(&list), &hlc(41), json!({ "position": 2 })),
        mutation("word_lists", "delete", Some(&list), &hlc(20), json!({})),
    ];
    assert_eq!(send(&one, &back).await, ["applied"; 4]);
    let found = rows(&pull(&one).await, "word_lists").remove(0);
    assert_eq!((&found["title"], &found["position"]), (&json!("back"), &json!(2)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_applied_whole_or_not_at_all() {
    let app = MirroredApp::start(&["words.sql", "inventory.sql"]).await;
    let one = app.user().await;
    let answer = |key: &str, question: Value| {
        mutation("question_answers", "insert", Some(key), &hlc(1), json!({ "question": question }))
    };
    let [good, bad] = [new_id(), new_id()];
    const REFUSED: &str = "MB001: batch: refused because another mutation of it was refused";
    let mutations = [
        answer("before", json!("?")),
        in_batch(answer("q-1", json!("?")), good),
        in_batch(mutation("question_answers", "merge", Some("q-1"), &hlc(2), json!({ "answer": "!" })), good),
        in_batch(answer("q-2", json!("?")), bad),
        in_batch(answer("q-3", json!(5)), bad),
        in_batch(answer("q-4", json!("?")), bad),
        answer("after", json!("?")),
    ];
    let expected = [
        "applied",
        "applied",
        "applied",
        REFUSED,
        "22023: values.question: must be a text",
        REFUSED,
        "applied",
    ];
    assert_eq!(send(&one, &mutations).await, expected);
    let keys: Vec<Value> =
        rows(&pull(&one).await, "question_answers").into_iter().map(|row| row["id"].clone()).collect();
    assert_eq!(keys, ["after", "before", "q-1"].map(|key| json!(key)));
    // And again: what was refused is refused, what was applied is known.
    let again = send(&one, &mutations).await;
    assert_eq!((again[3].as_str(), again[0].as_str()), (REFUSED, "duplicate"));

    // A foreign key that is deferred may be broken within a batch, but not behind it.
    let part = new_key();
    let [whole, broken] = [new_id(), new_id()];
    let in_place = |key: &str, place: &str, name: &str, batch| {
        in_batch(
            mutation("stock_parts", "insert", Some(key), &hlc(1), json!({ "name": name, "place": place })),
            batch,
        )
    };
    let mended = [
        in_place(&part, "B-1", "nut", whole),
        in_batch(mutation("stock_places", "insert", Some("B-1"), &hlc(1), json!({ "label": "box" })), whole),
        in_place(&new_key(), "B-2", "washer", broken),
        in_place(&new_key(), "B-1", "screw", broken),
    ];
    let said = send(&one, &mended).await;
    assert_eq!(said[..3], ["applied", "applied", REFUSED], "{said:?}");
    assert!(said[3].starts_with("23503: insert or update on table \"parts\""), "{said:?}");

    // Batches that are not one stretch of the queue, or have no proper name, are the client's defect.
    let torn = [
        in_batch(answer("t-1", json!("?")), good),
        answer("t-2", json!("?")),
        in_batch(answer("t-3", json!("?")), good),
    ];
    let refusal = one.try_sync(&request(&torn)).await.expect_err("refused");
    assert_eq!((refusal.code.as_str(), refusal.message.get(..19)), ("PT400", Some("mutations[2].batch:")));
    let named = [with(answer("t-1", json!("?")), "batch", json!("mine"))];
    assert_eq!(one.try_sync(&request(&named)).await.expect_err("refused").code, "PT400");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_comes_to_who_asks_and_has_another_one() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let one = app.user().await;
    let document: Value = app
        .database
        .client
        .query_one("SELECT public.marea_catalogue()", &[])
        .await
        .expect("a document")
        .get(0);
    let tables: Vec<&str> = document["tables"]
        .as_array()
        .expect("tables")
        .iter()
        .filter_map(|table| table["name"].as_str())
        .collect();
    assert!(tables.is_sorted() && tables.contains(&"vocabulary_items"), "{tables:?}");
    let parsed = marea_core::Catalogue::parse(&document.to_string()).expect("the engine reads it");
    assert_eq!(parsed.hash(), document["hash"].as_str().expect("a hash"));
    assert_eq!(parsed.tables().collect::<Vec<_>>(), tables);
    let reserved: Vec<String> =
        app.database.client.query_one("SELECT marea.reserved_names()", &[]).await.expect("a list").get(0);
    assert_eq!(reserved, marea_core::RESERVED_NAMES, "both sides keep the same names for themselves");
    let items =
        &document["tables"][tables.iter().position(|name| *name == "vocabulary_items").expect("there")];
    assert_eq!(
        (&items["key"], &items["owner"], &items["schema"], &items["write"]),
        (&json!("id"), &json!("user_id"), &json!("public"), &json!(true))
    );
    assert_eq!(items["indexes"], json!([["list_id"]]));
    let columns = items["columns"].as_array().expect("columns");
    let column = |name: &str| columns.iter().find(|column| column["name"] == name).unwrap_or(&Value::Null);
    assert_eq!(column("id"), &json!({ "name": "id", "type": "uuid", "rule": "key" }));
    assert_eq!(column("user_id"), &Value::Null);
    assert_eq!(
        column("level"),
        &json!({ "name": "level", "type": "enum", "rule": "register", "nullable": false, "default": true,
            "labels": ["a1", "a2", "b1", "b2", "c1", "c2"] })
    );
    assert_eq!(
        column("word_length"),
        &json!({ "name": "word_length", "type": "integer", "rule": "server", "nullable": true, "default": true })
    );

    // A user without any rows has no clock, and is never idle.
    let row =
        mutation("vocabulary_items", "insert", Some(&new_id().to_string()), &hlc(1), json!({ "word": "x" }));
    assert_eq!(send(&one, &[row]).await, ["applied"]);
    let asking = |hash: &str| with(request(&[]), "catalogue", json!(hash));
    assert_eq!(one.sync(&request(&[])).await.get("catalogue"), None, "who does not ask gets none");
    assert_eq!(one.sync(&asking("")).await["catalogue"], document);
    let hash = document["hash"].as_str().expect("a hash");
    let current = one.sync(&asking(hash)).await;
    assert_eq!(current.get("catalogue"), None);
    // Also where there is nothing else to answer.
    let idle = with(asking(hash), "cursor", current["cursor"].clone());
    assert_eq!(one.sync(&idle).await.get("catalogue"), None);
    assert_eq!(statuses(&one.sync(&idle).await), Vec::<String>::new());
    app.database.execute("SELECT marea.unmirror('public.word_lists')").await;
    let changed = &one.sync(&idle).await["catalogue"]["hash"];
    assert!(changed.is_string() && *changed != document["hash"], "{changed}");
    assert_eq!(
        one.try_sync(&with(request(&[]), "catalogue", json!(1))).await.expect_err("refused").code,
        "PT400"
    );
    app.stop().await;
}
