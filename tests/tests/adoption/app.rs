//! The two apps that Marea is brought into, as their developers have them: the awkward one of `tests/fixtures/awkward.sql`,
//! whose role `postgres` is no superuser, and the tidy one.

use std::collections::BTreeMap;

use marea_tests::cluster::{Cluster, Database, root};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// One line of the preflight.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// Its number in the file.
    pub(crate) place: u32,
    pub(crate) severity: String,
    pub(crate) subject: String,
    pub(crate) finding: String,
    pub(crate) remedy: String,
}

/// A server on which `postgres` is what it is on Supabase: the owner of the app, and no superuser.
pub(crate) struct Supabase {
    pub(crate) cluster: Cluster,
    admin_url: String,
    app_url: String,
}

impl Supabase {
    pub(crate) async fn start() -> Supabase {
        let cluster = Cluster::start().await;
        let app_url = cluster.backend().ready().database_url.clone();
        let password = app_url.split(['@', ':']).nth(2).expect("a password in the URL").to_owned();
        let admin_url = app_url.replacen("//postgres:", "//supabase_admin:", 1);
        let first = connect(&app_url).await;
        let make = format!("CREATE ROLE supabase_admin SUPERUSER LOGIN PASSWORD '{password}'");
        first.batch_execute(&make).await.expect("a second superuser");
        let admin = connect(&admin_url).await;
        // Postgres does not let its first superuser be one no more; another of that name can be made.
        let swap = format!(
            "ALTER ROLE postgres RENAME TO first_superuser;
             CREATE ROLE postgres LOGIN CREATEDB CREATEROLE BYPASSRLS PASSWORD '{password}'"
        );
        admin.batch_execute(&swap).await.expect("postgres as Supabase has it");
        Supabase { cluster, admin_url, app_url }
    }

    /// The awkward app in a database of its own, and the way into it as `postgres`.
    pub(crate) async fn awkward(&self, name: &str, automatic_grants: bool) -> Database {
        let admin = connect(&self.admin_url).await;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a new database");
        let database = self.connect(name).await;
        if automatic_grants {
            self.admin(name).await.execute(AUTOMATIC_GRANTS).await;
        }
        self.admin(name).await.file(&root().join("tests/fixtures/awkward.sql")).await.succeeds();
        database
    }

    /// As `postgres`.
    pub(crate) async fn connect(&self, name: &str) -> Database {
        open(&self.app_url, name).await
    }

    /// As the superuser, whom Supabase's customers are not.
    pub(crate) async fn admin(&self, name: &str) -> Database {
        open(&self.admin_url, name).await
    }
}

/// What Supabase did for all projects before 2026-10-30.
const AUTOMATIC_GRANTS: &str = "
    DO $$ BEGIN
        CREATE ROLE anon NOLOGIN NOINHERIT; CREATE ROLE authenticated NOLOGIN NOINHERIT;
        CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
    EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;";

async fn open(url: &str, name: &str) -> Database {
    let (server, _) = url.rsplit_once('/').expect("a path in the URL");
    let url = format!("{server}/{name}");
    Database { client: connect(&url).await, url }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("Postgres answers");
    tokio::spawn(connection);
    client
}

/// Asks the preflight, in a session that may only read. One statement: the extended protocol takes no second one.
pub(crate) async fn preflight(database: &Database) -> Vec<Finding> {
    preflight_with(database, |text| text).await
}

/// The same, with its text changed.
pub(crate) async fn preflight_with(database: &Database, change: impl Fn(String) -> String) -> Vec<Finding> {
    let text = std::fs::read_to_string(root().join("migrations/preflight.sql")).expect("preflight.sql");
    let reader = database.connect().await;
    reader.batch_execute("SET default_transaction_read_only = on").await.expect("a session that only reads");
    let (shown, numbered) = (
        "SELECT severity, subject, finding, remedy\nFROM (",
        "SELECT severity, subject, finding, remedy, place\nFROM (",
    );
    assert!(text.contains(shown), "the last SELECT of preflight.sql is another one now");
    let text = change(text.replace(shown, numbered));
    reader.prepare(&text).await.unwrap_or_else(|error| panic!("one statement: {error:?}"));
    let messages =
        reader.simple_query(&text).await.unwrap_or_else(|error| panic!("the preflight: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(Finding {
            severity: row.get(0).unwrap_or_default().into(),
            subject: row.get(1).unwrap_or_default().into(),
            finding: row.get(2).unwrap_or_default().into(),
            remedy: row.get(3).unwrap_or_default().into(),
            place: row.get(4).and_then(|place| place.parse().ok()).expect("a place"),
        }),
        _ => None,
    });
    rows.collect()
}

/// The findings that say something has to be looked at, by subject and severity.
pub(crate) fn by_subject(findings: &[Finding]) -> BTreeMap<(&str, &str), &Finding> {
    let looked_at = findings.iter().filter(|one| !matches!(&*one.severity, "fact" | "verdict"));
    looked_at.map(|one| ((one.subject.as_str(), one.severity.as_str()), one)).collect()
}

/// The last row.
#[track_caller]
pub(crate) fn verdict(findings: &[Finding]) -> &Finding {
    let last = findings.last().expect("a verdict");
    assert_eq!(last.severity, "verdict", "{findings:#?}");
    last
}

/// Every row of the app, as text, but for these tables.
pub(crate) async fn rows(database: &Database, but: &[&str]) -> String {
    let tables = "SELECT coalesce(string_agg(format('%I', relname), ',' ORDER BY relname), '') FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    let mut all = String::new();
    for table in database.text(tables).await.split(',').filter(|table| !but.contains(table)) {
        let query = format!(
            "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM public.{table} AS t"
        );
        all += &format!("{table}\n{}\n", database.text(&query).await);
    }
    all
}
