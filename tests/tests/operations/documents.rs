//! The documents for the one who runs the Postgres are true: the commands of DEPLOY.md are taken out and run in order, and
//! the inventory is compared with a live database.

use std::path::PathBuf;

use marea_tests::artifacts;
use marea_tests::cluster::{Cluster, Database, root};
use marea_tests::program;
use tokio::process::Command;

/// The blocks of a document that are meant for `bash`.
pub(crate) fn commands(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).expect("the document");
    let blocks = text.split("```bash\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("the end of a block").0.to_owned()).collect()
}

/// The programs of a Postgres that the installed `pg_dump` can dump: it refuses a newer one than itself. `None`: the usual ones.
pub(crate) async fn dumpable_programs() -> Option<PathBuf> {
    let said = Command::new("pg_dump").arg("--version").output().await.expect("pg_dump is on PATH");
    let said = String::from_utf8(said.stdout).expect("UTF-8");
    let version: String =
        said.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let version: u32 = version.parse().expect("a version of pg_dump");
    let bin = root().join(format!("node_modules/postgres-{version}/native/bin"));
    (version < 18 && bin.exists()).then_some(bin)
}

/// A server of those.
pub(crate) async fn dumpable_server() -> Cluster {
    match dumpable_programs().await {
        None => Cluster::start().await,
        Some(bin) => Cluster::of_programs(bin).await,
    }
}

/// `cargo xtask` as it is built already: to compile it anew, for itself alone, takes a minute.
const CARGO: &str =
    r#"cargo() { if [ "$1" = xtask ]; then "$XTASK" "${@:2}"; else command cargo "$@"; fi; }"#;

async fn bash(database: &Database, folder: &str, script: &str) {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("{CARGO}\n{script}")])
        .current_dir(root())
        .env("XTASK", program::built("xtask", "xtask"))
        .env("DATABASE_URL", &database.url)
        .env("BACKUP_DIR", folder)
        .output()
        .await
        .expect("bash starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

/// The schema `public` as `pg_dump` writes it, without what it draws by lot for each dump.
async fn schema(database: &Database) -> String {
    let dumped = Command::new("pg_dump")
        .args(["--schema-only", "--schema=public", "--schema=auth", &database.url])
        .output()
        .await
        .expect("pg_dump starts");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let text = String::from_utf8(dumped.stdout).expect("UTF-8");
    text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checklist_can_be_followed_to_the_letter() {
    let cluster = dumpable_server().await;
    let database = cluster.database("deploy", 0).await;
    database
        .execute(
            "INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, 150);
             INSERT INTO public.sessions (user_id, ended_at, duration_minutes)
             SELECT id, timestamptz '2026-11-01' - n * interval '1 day', 5 FROM public.users, generate_series(1, 4) AS n;",
        )
        .await;
    let before = schema(&database).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("a plain path").to_owned();

    let blocks = commands("docs/migrations/DEPLOY.md");
    assert_eq!(blocks.len(), 10, "as many as the document has; a new one belongs into the story below");
    let (forward, back) = blocks.split_at(8);
    for block in forward {
        bash(&database, &folder, block).await;
    }
    let counted =
        "SELECT count(*) FROM public.user_progress WHERE total_sessions = 4 AND current_streak_days = 4";
    assert_eq!(database.text(counted).await, "150");
    assert_eq!(database.text("SELECT count(*) FROM public.sessions").await, "600");

    // Roll back: what the app had is as it was.
    bash(&database, &folder, &back[0]).await;
    assert_eq!(schema(&database).await, before);
    assert_eq!(database.text("SELECT count(*) FROM public.sessions").await, "600");

    // Restore: everything is there again, beside it.
    bash(&database, &folder, &back[1]).await;
    let (server, _) = database.url.rsplit_once('/').expect("a path");
    let (client, connection) =
        tokio_postgres::connect(&format!("{server}/marea_restored"), tokio_postgres::NoTls)
            .await
            .expect("it is there");
    tokio::spawn(connection);
    let restored: i64 = client.query_one(counted, &[]).await.expect("a count").get(0);
    assert_eq!(restored, 150);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_is_what_the_migrations_make() {
    let cluster = Cluster::start().await;
    let database = cluster.database("inventory", 0).await;
    let wanted = artifacts::summary(&database).await;
    let stands = std::fs::read_to_string(artifacts::file()).expect("the inventory");
    assert!(stands == wanted, "{} is stale: cargo xtask types", artifacts::NAME);
    // The counts that are part of the contract, in the words of the document.
    let (_, first) = wanted.split_once("## 001_add_missing_tables.sql").expect("001");
    let (first, _) = first.split_once("\n## ").expect("the next");
    for line in [
        "| tables | 3 | `public.export_history` (18 columns, RLS), `public.user_api_keys` (8 columns, RLS), `public.user_progress` (25 columns, RLS) |",
        "| indexes beside primary keys | 7 |",
        "| unique constraints | 2 |",
        "| foreign keys | 3 |",
        "| functions and procedures | 4 |",
        "| triggers | 4 |",
        "| policies | 12 |",
    ] {
        assert!(first.contains(line), "{line}");
    }
    cluster.stop().await;
}

/// Every document that the README of the migrations and this folder's pages link to is there.
#[test]
fn links_between_the_documents_lead_somewhere() {
    let folder = root().join("docs/migrations");
    let mut links = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let path: PathBuf = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a page");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains("://") {
                assert!(folder.join(link).exists(), "{} links to {link}", path.display());
                links += 1;
            }
        }
    }
    assert!(links > 0);
}
