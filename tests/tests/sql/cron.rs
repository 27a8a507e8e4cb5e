//! The jobs as docs/FILES.md and docs/migrations/OPERATIONS.md schedule them, by a real pg_cron. npm's Postgres has no extensions, so it is
//! Debian's, of version 15; pg_net and Vault, which Debian does not have, are their stand-ins.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use marea_backend::Options;
use marea_tests::backend::{TestBackend, send};
use marea_tests::cluster::{debians_with, root};
use marea_tests::wait::until;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::files::carry_out;

/// pg_cron begins a job as a minute begins.
const TWO_MINUTES: Duration = Duration::from_secs(120);

async fn text(database: &Client, query: &str) -> String {
    database.query_one(query, &[]).await.expect("one row").get(0)
}

/// The lines of a document that schedule something.
fn scheduled(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs").join(document)).expect("the document");
    text.lines().filter(|line| line.contains("cron.schedule(")).map(str::to_owned).collect()
}

/// A backend on Debian's Postgres with pg_cron, which has to be there when the server starts.
async fn backend_with_cron(data: PathBuf) -> TestBackend {
    let options = || Options {
        postgres_bin: Some(debians_with("pg_cron")),
        data: Some(data.clone()),
        ..Options::default()
    };
    let backend = TestBackend::start_with(options()).await;
    let folder =
        text(&backend.sql().await, "SELECT setting FROM pg_settings WHERE name = 'data_directory'").await;
    backend.stop().await;
    let settings =
        std::fs::OpenOptions::new().append(true).open(PathBuf::from(folder).join("postgresql.conf"));
    // Without a connection of its own, which would need a password.
    let lines = b"shared_preload_libraries = 'pg_cron'\ncron.use_background_workers = on\n";
    settings.and_then(|mut file| file.write_all(lines)).expect("the settings");
    TestBackend::start_with(options()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_pg_cron_expires_exports_and_sweeps_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("its Postgres may be another user's");
    let backend = backend_with_cron(folder.path().join("data")).await;
    let database = backend.sql().await;
    let fixture = std::fs::read_to_string(root().join("tests/fixtures/net_vault.sql")).expect("the fixture");
    database.batch_execute("CREATE EXTENSION pg_cron").await.expect("pg_cron");
    database.batch_execute(&fixture).await.expect("the stand-ins");
    let ready = backend.ready();
    for (name, secret) in [("marea_project_url", &ready.url), ("marea_service_key", &ready.service_key)] {
        let statement = "INSERT INTO vault.secrets (name, secret) VALUES ($1, $2)";
        database.execute(statement, &[&name, secret]).await.expect("a secret");
    }
    // One that was deleted and one that is due, each with its object, and one that is not.
    let user = backend.new_user().await;
    for number in 1..=3_u128 {
        let id = Uuid::from_u128(number);
        let path = format!("{}/{id}/{}.csv", user.id, "0".repeat(64));
        let statement = "INSERT INTO public.export_history (id, user_id, export_type, export_format, status, file_url, expires_at)
            VALUES ($1, $2, 't', 'csv', 'completed', 'storage://marea-exports/' || $3::text, now() + $4::int * interval '1 hour')";
        let hours = if number == 2 { -1 } else { 1 };
        database.execute(statement, &[&id, &user.id, &path, &hours]).await.expect("an export");
        let url = format!("{}/storage/v1/object/marea-exports/{path}", ready.url);
        let call = reqwest::Client::new()
            .post(url)
            .bearer_auth(&ready.service_key)
            .header("content-type", "text/csv");
        assert_eq!(send(call.body("a\r\n")).await.status, 200);
    }
    let gone = Uuid::from_u128(1);
    database.execute("DELETE FROM public.export_history WHERE id = $1", &[&gone]).await.expect("a deletion");

    let lines = [scheduled("FILES.md"), scheduled("migrations/OPERATIONS.md")].concat();
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in &lines {
        database.batch_execute(line).await.unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    // As they are, but for when: nobody waits for a quarter of an hour here.
    let every_minute = "SELECT cron.alter_job(jobid, schedule := '* * * * *') FROM cron.job";
    database.execute(every_minute, &[]).await.expect("changed");
    let succeeded = "SELECT count(DISTINCT jobid)::text FROM cron.job_run_details WHERE status = 'succeeded'";
    let all_ran = async {
        while text(&database, succeeded).await != "5" {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    if tokio::time::timeout(TWO_MINUTES, all_ran).await.is_err() {
        let details = "SELECT coalesce(string_agg(command || ': ' || status || ' ' || coalesce(return_message, ''), '; '), 'none') FROM cron.job_run_details";
        panic!("not all jobs have run: {}", text(&database, details).await);
    }
    database.batch_execute("SELECT cron.unschedule(jobid) FROM cron.job").await.expect("unscheduled");

    let left = "SELECT string_agg(status, ' ' ORDER BY id) FROM public.export_history";
    // A job is said to have succeeded a moment before it is committed.
    until("what was due has expired", || async { text(&database, left).await == "expired completed" }).await;
    // What the job asked for is carried out. What expired in the same minute the next one would ask for.
    let kept = "SELECT string_agg(split_part(name, '/', 2), ' ') FROM storage.objects WHERE bucket_id = 'marea-exports'";
    until("their files are gone", || async {
        carry_out(&database).await;
        database.execute("SELECT marea.sweep_files()", &[]).await.expect("a sweep");
        text(&database, kept).await == Uuid::from_u128(3).to_string()
    })
    .await;
    backend.stop().await;
}
