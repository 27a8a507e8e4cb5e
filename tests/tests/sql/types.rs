//! Rows have the same columns and compatible types everywhere: in a live migrated Postgres, in the Rust structs, in the
//! mirror, in the TypeScript types. Whoever changes one of them is told here what else to change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use marea_backend::LEARNER1;
use marea_core::{ActivityDay, ApiKeys, Export, Progress, Session};
use marea_tests::catalogue::{Column, columns, fields_of, mirror_type};
use marea_tests::cluster::{Cluster, Database, migrations, root};
use marea_tests::typescript;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

async fn migrated(cluster: &Cluster, name: &str) -> Database {
    cluster.database(name, migrations().last().expect("migrations").0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_types_are_those_of_the_migrations() {
    let cluster = Cluster::start().await;
    let database = migrated(&cluster, "typescript").await;
    let wanted = typescript::database_types(&database.client).await;
    let stands = fs::read_to_string(typescript::file()).expect("wasm/js/database.types.ts");
    assert!(stands == wanted, "wasm/js/database.types.ts is stale: cargo xtask types");

    // The check is seen to fail.
    for drift in [
        "ALTER TABLE public.user_progress ADD COLUMN hearts INTEGER",
        "ALTER TABLE public.export_history ALTER COLUMN filters DROP NOT NULL",
        "ALTER TABLE public.user_api_keys ALTER COLUMN id DROP DEFAULT",
        "CREATE FUNCTION public.marea_more(request JSONB) RETURNS TEXT LANGUAGE sql AS 'SELECT NULL::text'",
    ] {
        database.execute(&format!("BEGIN; {drift}")).await;
        assert!(typescript::database_types(&database.client).await != wanted, "{drift} shows nowhere");
        database.execute("ROLLBACK").await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_rows_have_the_columns_of_postgres() {
    let cluster = Cluster::start().await;
    let database = migrated(&cluster, "rust_rows").await;
    // `future_days` is counted on the device, by its own day: no table has it. Beside each table what only the server keeps,
    // and what no app reads.
    let cases: [(&str, Vec<String>, &[&str]); 5] = [
        ("public.user_progress", fields_of::<Progress>(), &["id", "created_at", "updated_at"]),
        ("marea.daily_activity", fields_of::<ActivityDay>(), &["user_id", "facts"]),
        ("public.sessions", fields_of::<Session>(), &["user_id", "created_at"]),
        ("public.export_history", fields_of::<Export>(), &["user_id"]),
        ("public.user_api_keys", fields_of::<ApiKeys>(), &["id", "user_id", "created_at", "updated_at"]),
    ];
    for (table, rust, absent) in cases {
        let postgres: BTreeSet<String> =
            columns(&database.client, table).await.into_iter().map(|column| column.name).collect();
        let expected: BTreeSet<String> =
            postgres.into_iter().filter(|name| !absent.contains(&name.as_str())).collect();
        let mut rust: BTreeSet<String> = rust.into_iter().collect();
        let counted_here = rust.remove("future_days") && rust.remove("frozen_days");
        assert_eq!(counted_here, table == "public.user_progress", "{table}.future_days");
        // Worked out from the events where it is sent.
        rust.remove("frozen");
        assert_eq!(rust, expected, "{table}");
    }
    cluster.stop().await;
}

/// A mirrored table, and its columns that the other side does not have.
const MIRRORED: [(&str, &str, &[&str], &[&str]); 4] = [
    ("user_progress", "public.user_progress", &[], &[]),
    ("daily_activity", "marea.daily_activity", &["frozen"], &["user_id", "facts"]),
    ("export_history", "public.export_history", &["clocks"], &["user_id"]),
    ("user_api_keys", "public.user_api_keys", &["clocks"], &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_has_the_columns_of_postgres() {
    let cluster = Cluster::start().await;
    let database = migrated(&cluster, "mirror").await;
    let mirror = fresh_mirror();
    for (table, original, only_here, only_there) in MIRRORED {
        let mut expected: BTreeMap<String, Column> = columns(&database.client, original)
            .await
            .into_iter()
            .filter(|column| !only_there.contains(&column.name.as_str()))
            .map(|column| (column.name.clone(), column))
            .collect();
        let query = "SELECT name, type, \"notnull\" FROM pragma_table_info(?1)";
        let mut statement = mirror.prepare(query).expect("a look at the mirror");
        let mut rows = statement.query([table]).expect("the mirror's columns");
        while let Some(row) = rows.next().expect("a column") {
            let (name, kind, not_null): (String, String, bool) =
                (row.get(0).expect("text"), row.get(1).expect("text"), row.get(2).expect("a flag"));
            if only_here.contains(&name.as_str()) {
                continue;
            }
            let Some(column) = expected.remove(&name) else { panic!("{table}.{name} is not in Postgres") };
            // Of the many exports the mirror keeps an id's bytes only.
            let kept_as = if (table, name.as_str()) == ("export_history", "id") {
                "BLOB"
            } else {
                mirror_type(&column.kind)
            };
            assert_eq!(kind, kept_as, "{table}.{name}, {} in Postgres", column.kind);
            assert!(column.not_null || !not_null, "{table}.{name} may be NULL in Postgres");
        }
        assert!(expected.is_empty(), "{table} lacks {:?}", expected.keys());
    }
    cluster.stop().await;
}

/// All files of the mirror's schema, applied to an empty SQLite.
fn fresh_mirror() -> rusqlite::Connection {
    let mirror = rusqlite::Connection::open_in_memory().expect("SQLite");
    let mut files: Vec<_> = fs::read_dir(root().join("core/src/store/schema"))
        .expect("the mirror's schema")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        mirror
            .execute_batch(&fs::read_to_string(&file).expect("the file"))
            .expect("the mirror's schema applies");
    }
    mirror
}

/// What `marea_sync` answers with, every column filled, is read by the Rust rows without losing anything.
#[tokio::test(flavor = "multi_thread")]
async fn the_rust_rows_read_what_postgres_sends() {
    let cluster = Cluster::start().await;
    let (user, url) = (LEARNER1.id, &cluster.backend().ready().database_url);
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("Postgres");
    tokio::spawn(connection);
    let at = "2026-11-23T12:34:56.123456Z";
    let sealed = marea_tests::vault::of_shape("filled");
    let filled = format!(
        "INSERT INTO public.sessions (user_id, started_at, ended_at, duration_minutes, images_processed,
             descriptions_generated, qa_attempts, qa_correct, vocabulary_learned, phrases_saved, session_data)
         VALUES ('{user}', '{at}', '{at}', 7, 1, 2, 3, 1, 4, 5, '{{\"local_date\": \"2026-11-23\", \"mood\": [1.5]}}');
         INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, points, mastered_words, achievements)
         VALUES (gen_random_uuid(), '{user}', '{at}', '2026-11-22', 9, -2, '{{\"first\": \"{at}\"}}');
         INSERT INTO public.export_history (user_id, export_type, export_format, status, records_count, file_size_bytes,
             file_url, filters, data, error_message, retry_count, started_at, completed_at, processing_time_seconds,
             expires_at)
         VALUES ('{user}', 'all', 'json', 'completed', 3, 9007199254740993, 'https://example.com/a', '{{\"a\": 1}}',
             '{{\"b\": [null]}}', 'none', 1, '{at}', '{at}', 5, '{at}');
         INSERT INTO public.user_api_keys (user_id, openai_api_key, unsplash_api_key, anthropic_api_key,
             last_validated_at)
         VALUES ('{user}', '{sealed}', '{sealed}', '{sealed}', '{at}');"
    );
    client.batch_execute(&filled).await.expect("rows with every column filled");

    let answer = pull(&cluster).await;
    let rows = |table: &str| -> Map<String, Value> {
        let values = &answer["rows"][table][0]["values"];
        values.as_object().unwrap_or_else(|| panic!("no {table} in {answer}")).clone()
    };
    for (table, values) in answer["rows"].as_object().expect("tables") {
        let first = values[0]["values"].as_object().expect("values");
        let empty: Vec<&String> =
            first.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name).collect();
        assert!(empty.is_empty(), "{table}: nothing in {empty:?}");
    }
    reads::<Progress>(rows("user_progress"));
    reads::<ActivityDay>(rows("daily_activity"));
    reads::<Export>(rows("export_history"));
    reads::<ApiKeys>(rows("user_api_keys"));

    // `sessions` only go up; the struct writes what the table has.
    let row =
        client.query_one("SELECT to_jsonb(s) FROM public.sessions AS s", &[]).await.expect("the session");
    let mut session: Map<String, Value> = serde_json::from_value(row.get::<_, Value>(0)).expect("an object");
    for name in ["started_at", "ended_at"] {
        session.insert(name.into(), at.into());
    }
    reads::<Session>(session);
    cluster.stop().await;
}

async fn pull(cluster: &Cluster) -> Value {
    let backend = cluster.backend();
    let request = json!({ "request": { "protocol": 1, "client_id": "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11", "schema": 1,
                                       "cursor": null, "limit": 500, "mutations": [] }});
    let call = reqwest::Client::new()
        .post(format!("{}/rest/v1/rpc/marea_sync", backend.ready().url))
        .header("apikey", &backend.ready().anon_key)
        .bearer_auth(backend.mint_token(LEARNER1.id, 600))
        .json(&request);
    call.send().await.expect("an answer").json().await.expect("JSON")
}

/// Reads a row into the struct and writes it again: each column that the struct has must be what it was.
fn reads<T: DeserializeOwned + Serialize>(row: Map<String, Value>) {
    let name = std::any::type_name::<T>();
    let read: T =
        serde_json::from_value(Value::Object(row.clone())).unwrap_or_else(|error| panic!("{name}: {error}"));
    let Value::Object(mut written) = serde_json::to_value(&read).expect("JSON") else {
        panic!("{name} is no object")
    };
    // Counted on the device: a row that comes from the server says nothing of it.
    for days in ["future_days", "frozen_days"] {
        assert!(written.remove(days).is_none_or(|days| days == 0), "{name}.{days}");
    }
    // Told only of a day that is.
    assert!(written.remove("frozen").is_none_or(|frozen| frozen == false), "{name}.frozen");
    for (column, value) in written {
        let equal = match (value.as_f64(), row[&column].as_f64()) {
            (Some(one), Some(other)) => one == other, // 0 and 0.0
            _ => value == row[&column],
        };
        assert!(equal, "{name}.{column} does not come back as it was");
    }
}
