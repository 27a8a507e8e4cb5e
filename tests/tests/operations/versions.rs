//! Everything in `migrations/` on every Postgres that it promises to run on: applied, validated, synced with through
//! PostgREST, applied again, taken back. Each server is a real one, from npm; a missing one fails.

use std::path::PathBuf;

use marea_backend::LEARNER1;
use marea_tests::cluster::{Cluster, migrations, root};
use serde_json::{Value, json};

/// The packages of the older servers are for this platform only; elsewhere the usual server stands for all.
const VERSIONS: &[u32] =
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) { &[14, 15, 16, 17, 18] } else { &[18] };

fn programs(version: u32) -> Option<PathBuf> {
    if version == 18 {
        return None; // the usual one
    }
    let bin = root().join(format!("node_modules/postgres-{version}/native/bin"));
    assert!(bin.join("postgres").is_file(), "Postgres {version} is not installed: npm ci");
    Some(bin)
}

async fn works_on(version: u32) {
    // The backend applies all migrations to its own database at start.
    let cluster = match programs(version) {
        Some(bin) => Cluster::of_programs(bin).await,
        None => Cluster::start().await,
    };
    let all = migrations();
    let last = all.last().expect("migrations").0;
    let database = cluster.database("versions", last).await;
    let said = database.text("current_setting('server_version_num')::int / 10000").await;
    assert_eq!(said, version.to_string());

    syncs(&cluster).await;

    // Once more, with what is there: nothing changes.
    let schema = "SELECT md5(string_agg(format('%s %s', p.oid::regprocedure, p.prosrc), ',' ORDER BY p.oid::regprocedure::text))
                  FROM pg_proc AS p WHERE pronamespace IN ('marea'::regnamespace, 'public'::regnamespace)";
    let before = database.text(schema).await;
    for (number, file) in &all {
        database.file(file).await.succeeds();
        let validation = database.migration(&format!("validate_{number:03}.sql")).await.succeeds();
        assert!(validation.stdout.contains("PASS") && !validation.stdout.contains("FAIL"), "{validation:#?}");
    }
    assert_eq!(database.text(schema).await, before);

    for (_, file) in all.iter().rev() {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        database.migration(&format!("{name}_rollback.sql")).await.succeeds();
    }
    let left =
        "SELECT count(*) FROM pg_class WHERE relname IN ('user_progress', 'user_api_keys', 'export_history')";
    assert_eq!(database.text(left).await, "0");
    cluster.stop().await;
}

/// One sync through PostgREST: a session, an award, an export, a key.
async fn syncs(cluster: &Cluster) {
    let backend = cluster.backend();
    let ready = backend.ready();
    let mutation = |n: u32, table: &str, op: &str, key: Option<&str>, values: Value| {
        let id = format!("019a9d3e-7a00-7000-8000-00000000000{n}");
        json!({ "id": id, "hlc": "1763899200000-0000", "table": table, "op": op, "key": key.unwrap_or(&id),
                "values": values })
    };
    let user = LEARNER1.id.to_string();
    let request = json!({ "request": {
        "protocol": 1, "client_id": "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11", "schema": 1, "cursor": null, "limit": 500,
        "mutations": [
            mutation(1, "sessions", "insert", None, json!({
                "session_type": "qa", "ended_at": "2026-11-23T12:00:00.000000Z", "duration_minutes": 10,
                "session_data": { "local_date": "2026-11-23" } })),
            mutation(2, "progress_events", "insert", None, json!({
                "occurred_at": "2026-11-23T12:00:00.000000Z", "local_date": "2026-11-23", "points": 5 })),
            mutation(3, "export_history", "insert", None, json!({ "export_type": "all", "export_format": "json" })),
            mutation(4, "user_api_keys", "merge", Some(&user), json!({ "openai_api_key": marea_tests::vault::of_shape("a") })),
        ],
    }});
    let call = reqwest::Client::new()
        .post(format!("{}/rest/v1/rpc/marea_sync", ready.url))
        .header("apikey", &ready.anon_key)
        .bearer_auth(backend.mint_token(LEARNER1.id, 600))
        .json(&request);
    let answer: Value = call.send().await.expect("an answer").json().await.expect("JSON");
    let statuses: Vec<&Value> =
        answer["results"].as_array().into_iter().flatten().map(|result| &result["status"]).collect();
    assert_eq!(statuses, ["applied"; 4], "{answer}");
    let progress = &answer["rows"]["user_progress"][0]["values"];
    assert_eq!((&progress["total_sessions"], &progress["total_points"]), (&json!(1), &json!(5)), "{answer}");
    assert_eq!(answer["rows"].as_object().expect("tables").len(), 4, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_runs_on_every_postgres_from_14_to_18() {
    for version in VERSIONS {
        eprintln!("Postgres {version}");
        works_on(*version).await;
    }
}
