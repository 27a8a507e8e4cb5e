//! What the one who runs the Postgres looks at (migration 004): the views, the notes of devices, the jobs, the ready
//! dashboard. The dashboard's SQL is taken out of the file and run, with the rights that the document gives.

use std::fs;

use marea_backend::LEARNER1;
use marea_tests::cluster::{Cluster, Database, migrations, root};
use serde_json::{Value, json};
use tokio_postgres::Client;

const CLIENT: &str = "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11";

async fn migrated(cluster: &Cluster, name: &str) -> Database {
    cluster.database(name, migrations().last().expect("migrations").0).await
}

/// Syncs as the learner, straight in Postgres.
async fn sync(client: &Client, user: &str, device: &str, cursor: &Value) -> Value {
    let claims = json!({ "sub": user, "role": "authenticated" });
    let request =
        json!({ "protocol": 1, "client_id": device, "schema": 1, "cursor": cursor, "mutations": [] });
    let role = format!("SET ROLE authenticated; SELECT set_config('request.jwt.claims', '{claims}', false)");
    client.batch_execute(&role).await.expect("the learner's role");
    let answer = client.query_one("SELECT public.marea_sync($1)", &[&request]).await.expect("a sync").get(0);
    client.batch_execute("RESET ROLE").await.expect("the superuser again");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_noted_once_an_hour_and_falls_behind() {
    let cluster = Cluster::start().await;
    let database = migrated(&cluster, "lag").await;
    let user = LEARNER1.id.to_string();
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{user}')")).await;
    let lag = "SELECT versions_behind || ' behind, version ' || version || ', ' || (silent_seconds / 3600) || ' h' FROM marea.client_lag";

    let first = sync(&database.client, &user, CLIENT, &Value::Null).await;
    assert_eq!(database.text(lag).await, "0 behind, version 0, 0 h");
    let session = format!("INSERT INTO public.sessions (user_id, ended_at) VALUES ('{user}', '2026-11-01')");
    database.execute(&session).await;
    assert_eq!(database.text(lag).await, "2 behind, version 0, 0 h", "a progress row and a day");

    // Within the hour it is not written again: the row is the very same.
    let row = "SELECT ctid::text || xmin FROM marea.clients";
    let before = database.text(row).await;
    sync(&database.client, &user, CLIENT, &first["cursor"]).await;
    assert_eq!(database.text(row).await, before);
    database.execute("UPDATE marea.clients SET noted_at = now() - interval '5 hours'").await;
    assert_eq!(database.text(lag).await, "2 behind, version 0, 5 h");
    sync(&database.client, &user, CLIENT, &first["cursor"]).await;
    assert_eq!(database.text(lag).await, "0 behind, version 2, 0 h");

    // Whoever makes up an id each time does not fill the disk.
    for n in 0..60 {
        let device = format!("0b0e5a8e-5b0f-4f3a-9a53-0000000000{n:02}");
        sync(&database.client, &user, &device, &Value::Null).await;
    }
    assert_eq!(database.text("SELECT count(*) FROM marea.clients").await, "50");

    // A replica's or a read-only transaction's pull is answered all the same, and so is that of somebody without a row.
    database.execute("SET default_transaction_read_only = on").await;
    sync(&database.client, &user, "0b0e5a8e-5b0f-4f3a-9a53-00000000ffff", &Value::Null).await;
    database.execute("SET default_transaction_read_only = off").await;
    sync(&database.client, "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c99", CLIENT, &Value::Null).await;
    assert_eq!(database.text("SELECT count(DISTINCT user_id) FROM marea.clients").await, "1");

    // Deleting a user leaves nothing behind.
    database.execute("DELETE FROM public.users").await;
    assert_eq!(database.text("SELECT count(*) FROM marea.clients").await, "0");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_counts_what_is_there() {
    let cluster = Cluster::start().await;
    let database = migrated(&cluster, "health").await;
    database
        .execute(
            "INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, 3);
             INSERT INTO public.sessions (user_id, ended_at) SELECT id, '2026-11-01' FROM public.users;
             INSERT INTO public.export_history (user_id, export_type, export_format, status, expires_at, created_at)
             SELECT id, 'all', 'json', status, now() - interval '1 day', now() - interval '2 hours'
             FROM public.users, unnest(ARRAY['pending', 'completed', 'failed']) AS status;
             DELETE FROM public.sessions WHERE id IN (SELECT id FROM public.sessions LIMIT 1);",
        )
        .await;
    database.execute("UPDATE marea.rows SET changed_at = now() - interval '100 days' WHERE deleted").await;
    let check = async |measure: &str, subject: &str, expected: &str| {
        let query =
            format!("SELECT value FROM marea.health WHERE measure = '{measure}' AND subject = '{subject}'");
        assert_eq!(database.text(&query).await, expected, "{measure} {subject}");
    };
    check("users", "all", "3").await;
    check("pending", "left behind", "0").await;
    check("tombstones", "older than 90 days", "2").await; // the session and its day
    check("exports", "waiting", "3").await;
    // In one transaction now() stands still.
    let age =
        "UPDATE public.export_history SET created_at = now() - interval '2 hours' WHERE status = 'pending'";
    database.execute(&format!("BEGIN; {age}")).await;
    check("age", "oldest waiting export", "7200").await;
    database.execute("COMMIT").await;
    check("exports", "failed in a day", "3").await;
    check("exports", "past their expiry", "3").await;
    check("backfill", "users left", "0").await;
    assert_eq!(database.text("SELECT sum(rows) FROM marea.largest_users").await, "16");

    // The jobs, as the document schedules them, take away what the figures point at.
    let document = fs::read_to_string(root().join("docs/migrations/OPERATIONS.md")).expect("the document");
    let jobs: Vec<&str> = document
        .lines()
        .filter(|line| line.contains("cron.schedule("))
        .filter_map(|line| line.split('\'').rev().nth(1))
        .collect();
    assert_eq!(jobs.len(), 3);
    for job in jobs {
        database.sql(&[&format!("SET ROLE service_role; {job}")]).await.succeeds();
    }
    check("tombstones", "older than 90 days", "0").await;
    check("exports", "past their expiry", "0").await;

    // All of it, by those who may: the backend, and a dashboard's own login.
    database.execute("CREATE ROLE watcher; GRANT pg_monitor TO watcher; GRANT USAGE ON SCHEMA marea TO watcher; GRANT SELECT ON marea.health TO watcher").await;
    for role in ["service_role", "watcher"] {
        database.sql(&[&format!("SET ROLE {role}; SELECT * FROM marea.health")]).await.succeeds();
    }

    // No learner sees any of it.
    for view in ["health", "client_lag", "largest_users", "clients", "backfill"] {
        for role in ["anon", "authenticated"] {
            let look = format!("SET ROLE {role}; SELECT * FROM marea.{view}");
            database.sql(&[&look]).await.fails_with("permission denied");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_runs_with_the_rights_that_the_document_gives() {
    let cluster = Cluster::start().await;
    let database = migrated(&cluster, "dashboard").await;
    database
        .execute("SET track_functions = 'pl'; INSERT INTO public.users (id) VALUES (gen_random_uuid())")
        .await;

    let document = fs::read_to_string(root().join("docs/migrations/OPERATIONS.md")).expect("the document");
    let (_, grants) = document.split_once("CREATE ROLE grafana").expect("the role");
    let (grants, _) = grants.split_once("```").expect("the end of the block");
    let grants = format!("CREATE ROLE grafana{}", grants.replace(":'password'", "'secret'"));
    database.execute(&grants).await;
    database.execute("SET ROLE grafana").await;

    let text = fs::read_to_string(root().join("docs/grafana/marea.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() > 10);
    let mut places = Vec::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().expect("targets") {
            let sql = target["rawSql"].as_str().expect("SQL");
            let rows = database.client.query(&format!("SELECT to_jsonb(q) FROM ({sql}) AS q"), &[]).await;
            let rows = rows.unwrap_or_else(|error| panic!("{title}: {error:?}"));
            // A figure that is misspelt gives no row at all.
            assert!(panel["type"] != "stat" || rows.len() == 1, "{title}: {} rows", rows.len());
        }
        let at = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        places.push((title, at("x"), at("y"), at("w"), at("h")));
    }
    for (n, (title, x, y, w, h)) in places.iter().enumerate() {
        assert!(x + w <= 24, "{title} is off the grid");
        for (other, x2, y2, w2, h2) in &places[n + 1..] {
            let apart = x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y;
            assert!(apart, "{title} lies on {other}");
        }
    }
    // It is a login for figures: nothing of a learner can be read with it.
    for table in
        ["public.users", "public.user_progress", "marea.rows", "marea.clients", "public.user_api_keys"]
    {
        let read = database.client.query(&format!("SELECT * FROM {table}"), &[]).await;
        assert!(read.is_err(), "{table} can be read");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_says_what_it_needs_and_can_be_taken_back() {
    let cluster = Cluster::start().await;
    let early = cluster.database("early", 2).await;
    early.migration("004_operations.sql").await.fails_with("Missing: the backfill (migration 003)");

    let database = cluster.database("back", 3).await;
    let schema = "SELECT md5(string_agg(o::text, ',' ORDER BY o::text)) FROM (
        SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE pronamespace = 'marea'::regnamespace
        UNION ALL SELECT c.oid::regclass || ' ' || c.relkind::text FROM pg_class AS c WHERE relnamespace = 'marea'::regnamespace) AS o";
    let before = database.text(schema).await;
    database.migration("004_operations.sql").await.succeeds();
    database.migration("validate_004.sql").await.succeeds();
    database.migration("003_backfill_rollback.sql").await.fails_with("Marea 004 stands on 003");

    let script = fs::read_to_string(root().join("migrations/validate_004.sql")).expect("the validation");
    for breakage in [
        "DROP VIEW marea.largest_users",
        "GRANT SELECT ON marea.health TO authenticated",
        "REVOKE SELECT ON marea.health FROM service_role",
        "ALTER FUNCTION marea.prune_tombstones SECURITY INVOKER",
        "REVOKE EXECUTE ON FUNCTION marea.expire_exports FROM service_role",
        "GRANT EXECUTE ON FUNCTION marea.refresh_streaks TO authenticated",
        "DROP INDEX marea.rows_tombstones_idx",
        "DROP TRIGGER export_history_files_delete ON public.export_history",
        "GRANT EXECUTE ON FUNCTION marea.sweep_files TO authenticated",
    ] {
        let broken = script.replacen("BEGIN;", &format!("BEGIN; {breakage};"), 1);
        database.sql(&[&broken]).await.fails_with("Marea 004: ");
    }
    // Running 002 again leaves all of it alone.
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{}')", LEARNER1.id)).await;
    database.migration("002_sync_layer.sql").await.succeeds();
    sync(&database.client, &LEARNER1.id.to_string(), CLIENT, &Value::Null).await;
    database.migration("validate_004.sql").await.succeeds();

    database.migration("004_operations_rollback.sql").await.succeeds();
    assert_eq!(database.text(schema).await, before);
    sync(&database.client, &LEARNER1.id.to_string(), CLIENT, &Value::Null).await;
    cluster.stop().await;
}
