//! What the backend does to a database: the fixture and the migrations once, the accounts once, and an existing server is
//! served without being taken over.

use std::path::Path;

use marea_backend::{Backend, Error, LEARNER1, Options};
use marea_tests::backend::TestBackend;
use reqwest::StatusCode;
use tokio_postgres::Client;

async fn count(sql: &Client, statement: &str) -> i64 {
    sql.query_one(statement, &[]).await.expect("a count").get(0)
}

#[tokio::test]
async fn a_second_start_on_the_same_data_changes_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    // The app's own SQL is run at each start: the demo's is such.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("demo").join("tables.sql");
    let options =
        || Options { data: Some(data.path().to_owned()), sql: vec![own.clone()], ..Options::default() };
    let seen = async || {
        let backend = TestBackend::start_with(options()).await;
        let sql = backend.sql().await;
        let files = sql.query(
            "SELECT name, digest, applied_at::text FROM marea_backend.applied_files ORDER BY name",
            &[],
        );
        let files = files.await.expect("rows");
        let files: Vec<[String; 3]> = files.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect();
        let users =
            count(&sql, "SELECT count(*) FROM public.users u JOIN auth.users a USING (id, email)").await;
        let mirrored = count(&sql, "SELECT count(*) FROM marea.tables WHERE name = 'words'").await;
        assert_eq!(mirrored, 1, "the table of the app's own SQL");
        let ready = backend.ready().clone();
        backend.stop().await;
        (files, users, ready.anon_key, ready.jwt_secret)
    };
    let first = seen().await;
    assert!(first.0.iter().any(|[name, ..]| name == "001_add_missing_tables.sql"));
    assert_eq!(first.1, 2, "both demo accounts, in both tables");
    assert_eq!(first, seen().await);
}

#[tokio::test]
async fn a_migration_that_was_changed_afterwards_is_refused_by_name() {
    let data = tempfile::tempdir().expect("a folder");
    let options = || Options { data: Some(data.path().to_owned()), ..Options::default() };
    let backend = TestBackend::start_with(options()).await;
    let statement = "UPDATE marea_backend.applied_files SET digest = 'x' WHERE name LIKE '001%'";
    backend.sql().await.batch_execute(statement).await.expect("another digest");
    backend.stop().await;
    match Backend::start(options()).await {
        Err(Error::ChangedMigration { file }) => assert_eq!(file, "001_add_missing_tables.sql"),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn an_existing_server_is_served_and_left_running() {
    let server = TestBackend::start().await;
    let options = Options { database_url: Some(server.ready().database_url.clone()), ..Options::default() };
    let guest = TestBackend::start_with(options).await;
    assert_eq!(guest.ready().jwt_secret, server.ready().jwt_secret, "the secret belongs to the database");
    let user = server.new_user().await;
    let path = "/rest/v1/users?select=id";
    for backend in [&server, &guest] {
        let signed_in = backend.sign_in(LEARNER1.email, LEARNER1.password).await;
        assert_eq!(signed_in.status, StatusCode::OK);
        let call = backend.call(reqwest::Method::GET, path).bearer_auth(&user.token);
        let rows = marea_tests::backend::send(call).await;
        assert_eq!(rows.body, serde_json::json!([{ "id": user.id }]));
    }
    guest.stop().await;
    assert_eq!(count(&server.sql().await, "SELECT count(*) FROM auth.users").await, 2);
    server.stop().await;
}

#[tokio::test]
async fn a_bare_server_gets_the_fixture_and_the_migrations() {
    let server = TestBackend::start().await;
    server.sql().await.batch_execute("CREATE DATABASE bare").await.expect("a database");
    let (address, _) = server.ready().database_url.rsplit_once('/').expect("a URL");
    let bare = format!("{address}/bare");
    let options = Options { database_url: Some(bare), ..Options::default() };
    let guest = TestBackend::start_with(options).await;
    let user = guest.new_user().await;
    let call = guest.call(reqwest::Method::GET, "/rest/v1/users?select=id").bearer_auth(&user.token);
    assert_eq!(marea_tests::backend::send(call).await.body, serde_json::json!([{ "id": user.id }]));
    guest.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn in_somebody_elses_database_nobody_has_a_password_that_everybody_knows() {
    let server = TestBackend::start().await;
    server.sql().await.batch_execute("CREATE DATABASE theirs").await.expect("a database");
    let (address, _) = server.ready().database_url.rsplit_once('/').expect("a URL");
    let url = format!("{address}/theirs");
    let options =
        |demo_accounts| Options { database_url: Some(url.clone()), demo_accounts, ..Options::default() };
    let accounts = async || {
        let sql = marea_tests::backend::connect(&url).await;
        let users = count(&sql, "SELECT count(*) FROM auth.users").await;
        (users, count(&sql, "SELECT count(*) FROM public.users").await)
    };
    let sign_in =
        async |backend: &TestBackend| backend.sign_in(LEARNER1.email, LEARNER1.password).await.status;

    let plain = TestBackend::start_with(options(false)).await;
    assert_eq!(sign_in(&plain).await, StatusCode::BAD_REQUEST);
    let theirs = plain.new_user().await;
    plain.stop().await;
    let before = accounts().await;

    // Asked for, they are there until it ends, and what was recorded with them goes too.
    let asked = TestBackend::start_with(options(true)).await;
    assert_eq!(sign_in(&asked).await, StatusCode::OK);
    assert_eq!(accounts().await, (before.0 + 2, before.1 + 2));
    asked.stop().await;
    assert_eq!(accounts().await, before, "{}", theirs.id);

    // One that was killed has left them; the next one takes them back.
    drop(Backend::start(options(true)).await.expect("it starts"));
    assert_eq!(accounts().await, (before.0 + 2, before.1 + 2));
    let next = TestBackend::start_with(options(false)).await;
    assert_eq!((sign_in(&next).await, accounts().await), (StatusCode::BAD_REQUEST, before));
    next.stop().await;

    // Where something of the app's holds on to one, it stays without a password.
    let held = TestBackend::start_with(options(true)).await;
    let sql = marea_tests::backend::connect(&url).await;
    let statement = "CREATE TABLE public.held (user_id UUID REFERENCES public.users (id));
                     INSERT INTO public.held SELECT id FROM public.users WHERE email = 'learner1@example.com'";
    sql.batch_execute(statement).await.expect("a table");
    held.stop().await;
    let open =
        "SELECT count(*) FROM auth.users WHERE encrypted_password IS NOT NULL AND email LIKE 'learner_@%'";
    assert_eq!(count(&sql, open).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_repeating_it() {
    for url in ["not a url", "postgres://postgres:hidden@127.0.0.1:1/postgres"] {
        let options = Options { database_url: Some(url.to_owned()), ..Options::default() };
        let Err(error) = Backend::start(options).await else { panic!("it started") };
        assert!(!format!("{error} {error:?}").contains("hidden"));
    }
}
