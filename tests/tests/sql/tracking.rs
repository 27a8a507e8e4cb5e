//! Plain SQL changes one column of one row: devices are told of it, whichever column it is. The columns are those that the
//! catalogue of the live database has, so a new one is tried without anybody's doing.

use std::collections::BTreeMap;

use marea_core::{Rule, rule_of};
use marea_tests::backend::TestBackend;
use marea_tests::catalogue::{Column, columns};
use marea_tests::sql::{Caller, hlc, mutation, request, request_after, session, with};
use marea_tests::vault::of_shape;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

/// A mirrored table, and its columns of which no device is told: who owns the row, its key, and what is kept for the server.
const TABLES: [(&str, &str, &[&str]); 4] = [
    ("user_progress", "public.user_progress", &["id", "user_id", "updated_at"]),
    ("daily_activity", "marea.daily_activity", &["user_id", "day", "facts"]),
    ("export_history", "public.export_history", &["id", "user_id", "updated_at"]),
    ("user_api_keys", "public.user_api_keys", &["id", "user_id", "updated_at"]),
];

/// A value that this column does not have, in SQL.
fn other_value(column: &Column) -> String {
    match (column.name.as_str(), column.kind.as_str()) {
        ("status", _) => "'completed'".to_owned(),
        (name, "text") if name.ends_with("_api_key") => format!("'{}'", of_shape(77)),
        ("achievements", _) => "'{\"first\": \"2026-01-01T00:00:00.000000Z\"}'".to_owned(),
        (name, "int2" | "int4" | "int8") => format!("coalesce({name}, 0) + 1"),
        (name, "numeric") => format!("coalesce({name}, 0) + 1.25"),
        (_, "timestamptz") => "'2026-02-03T04:05:06.070809Z'".to_owned(),
        (_, "date") => "'2026-02-03'".to_owned(),
        (_, "jsonb" | "json") => "'{\"changed\": true}'".to_owned(),
        (_, "text" | "varchar") => "'changed'".to_owned(),
        (name, kind) => panic!("no other value for {name} ({kind}) yet"),
    }
}

/// A caller with a row in each mirrored table.
async fn furnished(backend: &TestBackend) -> Caller {
    let caller = Caller::new(backend).await;
    let export = json!({ "export_type": "all", "export_format": "csv", "status": "pending" });
    let sealed = json!({ "openai_api_key": of_shape(1) });
    let batch = [
        session("2026-01-05", json!({ "qa_attempts": 4, "qa_correct": 3 })),
        mutation("export_history", "insert", None, &hlc(1), export),
        mutation("user_api_keys", "merge", Some(&caller.user.to_string()), &hlc(1), sealed),
    ];
    assert_eq!(caller.push(&batch).await, ["applied"; 3]);
    caller
}

/// What a device that has this cursor is told, by names.
async fn told(caller: &Caller, cursor: &Value) -> Value {
    caller.sync(&with(request_after(cursor, &[]), "packed", json!(false))).await
}

/// The rows of a table in an answer.
fn rows(answer: &Value, table: &str) -> Vec<Value> {
    answer["rows"][table].as_array().cloned().unwrap_or_default()
}

/// The tables of which an answer tells something.
fn tables(answer: &Value) -> Vec<String> {
    let of = |member: &str| answer[member].as_object().expect("a map").keys().cloned().collect::<Vec<_>>();
    [of("rows"), of("deleted")].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_that_plain_sql_changes_is_told() {
    let backend = TestBackend::shared().await;
    let admin = backend.sql().await;
    let mut tried = BTreeMap::new();
    for (table, relation, silent) in TABLES {
        let caller = furnished(&backend).await;
        for column in columns(&admin, relation).await {
            let name = column.name.as_str();
            if silent.contains(&name) {
                continue;
            }
            let before = caller.sync(&with(request(&[]), "packed", json!(false))).await;
            let cursor = &before["cursor"];
            change(&admin, relation, &column, caller.user).await;
            let answer = told(&caller, cursor).await;
            assert_eq!(tables(&answer), [table], "{table}.{name}");
            let (was, is) = (&rows(&before, table)[0], &rows(&answer, table)[0]);
            assert_ne!(was["values"][name], is["values"][name], "{table}.{name} comes as it was");
            for (other, value) in is["values"].as_object().expect("columns") {
                let same = other == name || other == "updated_at" || *value == was["values"][other];
                assert!(same, "{table}.{other} changed with {name}");
            }
            check_clocks(table, name, &was["hlc"], &is["hlc"]);
            // The same again changes nothing, and nobody is told.
            let again = &answer["cursor"];
            let same = format!("UPDATE {relation} SET {name} = {name} WHERE user_id = $1");
            admin.execute(&same, &[&caller.user]).await.expect("the same again");
            assert_eq!(tables(&told(&caller, again).await), Vec::<String>::new(), "{table}.{name}");
            *tried.entry(table).or_insert(0) += 1;
        }
    }
    let tried: Vec<(&str, i32)> = tried.into_iter().collect();
    assert!(tried.len() == 4 && tried.iter().all(|(_, columns)| *columns >= 5), "{tried:?}");
}

async fn change(admin: &Client, relation: &str, column: &Column, user: Uuid) {
    let statement =
        format!("UPDATE {relation} SET {} = {} WHERE user_id = $1", column.name, other_value(column));
    let changed = admin.execute(&statement, &[&user]).await;
    assert_eq!(changed.unwrap_or_else(|error| panic!("{statement}: {error:?}")), 1, "{statement}");
}

/// A register gets the server's clock, and keeps those of the others; what is no register has none.
fn check_clocks(table: &str, column: &str, was: &Value, is: &Value) {
    let mut expected = was.clone();
    if table_of(table).is_some_and(|table| rule_of(table, column) == Some(Rule::Register)) {
        assert_eq!(is[column][1], "server", "{table}.{column} gets the server's clock");
        assert!(was[column].is_null() || was[column][0].as_str() < is[column][0].as_str());
        expected[column] = is[column].clone();
    }
    assert_eq!(*is, expected, "the clocks of {table} after {column} changed");
}

fn table_of(name: &str) -> Option<marea_core::Table> {
    marea_core::Table::from_name(name)
}

/// What is kept for the server alone, and when a row was written last, is nobody's news.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_device_mirrors_is_not_told() {
    let backend = TestBackend::shared().await;
    let (admin, caller) = (backend.sql().await, furnished(&backend).await);
    let cursor = caller.pull().await["cursor"].clone();
    for statement in [
        "UPDATE public.user_progress SET updated_at = '2020-01-01' WHERE user_id = $1",
        "UPDATE public.export_history SET updated_at = '2020-01-01' WHERE user_id = $1",
        "UPDATE public.user_api_keys SET updated_at = '2020-01-01' WHERE user_id = $1",
    ] {
        assert_eq!(admin.execute(statement, &[&caller.user]).await.expect("changed"), 1);
        let answer = told(&caller, &cursor).await;
        assert_eq!(tables(&answer), Vec::<String>::new(), "{statement}");
        assert_eq!(answer["cursor"]["version"], cursor["version"], "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_plain_sql_deletes_and_makes_again_is_told_both_times() {
    let backend = TestBackend::shared().await;
    let admin = backend.sql().await;
    for (table, relation, _) in TABLES {
        let caller = furnished(&backend).await;
        let mut cursor = caller.pull().await["cursor"].clone();
        let kept = format!(
            "CREATE TEMPORARY TABLE kept AS SELECT * FROM {relation} WHERE user_id = '{}'",
            caller.user
        );
        admin.batch_execute(&kept).await.expect("kept");
        let deletion = format!("DELETE FROM {relation} WHERE user_id = $1");
        assert_eq!(admin.execute(&deletion, &[&caller.user]).await.expect("deleted"), 1);
        let answer = told(&caller, &cursor).await;
        assert_eq!((tables(&answer), rows(&answer, table).len()), (vec![table.to_owned()], 0));
        let age = "SELECT bool_and(changed_at > now() - interval '1 minute') FROM marea.rows WHERE user_id = $1 AND deleted";
        admin
            .execute("UPDATE marea.rows SET changed_at = '2020-01-01' WHERE user_id = $1", &[&caller.user])
            .await
            .expect("an old tombstone");
        cursor = answer["cursor"].clone();
        admin.batch_execute(&format!("INSERT INTO {relation} SELECT * FROM kept")).await.expect("made again");
        let answer = told(&caller, &cursor).await;
        assert_eq!((tables(&answer), rows(&answer, table).len()), (vec![table.to_owned()], 1), "{table}");
        cursor = answer["cursor"].clone();
        // Both in one transaction: the last word holds. And its tombstone is as old as that, not as the line.
        admin
            .batch_execute(&format!(
                "BEGIN; {}; INSERT INTO {relation} SELECT * FROM kept; COMMIT",
                in_words(&deletion, caller.user)
            ))
            .await
            .expect("deleted and made");
        let answer = told(&caller, &cursor).await;
        assert_eq!((tables(&answer), rows(&answer, table).len()), (vec![table.to_owned()], 1), "{table}");
        assert_eq!(admin.execute(&deletion, &[&caller.user]).await.expect("deleted"), 1);
        let is_young: bool = admin.query_one(age, &[&caller.user]).await.expect("asked").get(0);
        assert!(is_young, "{table}: the tombstone is as old as its line");
        admin.batch_execute("DROP TABLE kept").await.expect("forgotten");
    }
}

fn in_words(statement: &str, user: Uuid) -> String {
    statement.replace("$1", &format!("'{user}'"))
}

/// An operator merges two accounts: the row goes from the first and comes to the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_moves_to_another_owner_is_told_to_both() {
    let backend = TestBackend::shared().await;
    let admin = backend.sql().await;
    for (table, relation, _) in TABLES.into_iter().filter(|(table, ..)| *table != "daily_activity") {
        let (from, to) = (furnished(&backend).await, Caller::new(&backend).await);
        admin
            .execute(&format!("DELETE FROM {relation} WHERE user_id = $1"), &[&to.user])
            .await
            .expect("room");
        let cursors = (from.pull().await["cursor"].clone(), to.pull().await["cursor"].clone());
        let moving = format!("UPDATE {relation} SET user_id = $2 WHERE user_id = $1");
        assert_eq!(admin.execute(&moving, &[&from.user, &to.user]).await.expect("moved"), 1);
        let (left, came) = (told(&from, &cursors.0).await, told(&to, &cursors.1).await);
        assert_eq!(left["deleted"][table].as_array().map(Vec::len), Some(1), "{table}: {left}");
        assert_eq!(rows(&came, table).len(), 1, "{table}: {came}");
    }
}
