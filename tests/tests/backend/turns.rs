//! The gateway gives each user's requests a few turns at PostgREST, whatever one of them sends.

use std::net::TcpListener;

use marea_tests::backend::{SYNC, TestBackend, TestUser, send};
use marea_tests::cluster::{Cluster, root};
use marea_tests::sql::{request, session};
use marea_tests::wait;
use reqwest::{Client as Http, Method, RequestBuilder, StatusCode};
use serde_json::json;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// As in `backend/src/gateway/turns.rs`.
const MOST: usize = 32;
type Ask = fn(&TestBackend, &TestUser) -> RequestBuilder;

/// How many at a time, and the request: an app's own, and a sync.
const KINDS: [(i64, Ask); 2] = [(2, sessions_of), (1, push_of)];

/// Until it commits, nobody reads sessions: whoever wants to holds its turn.
async fn close_sessions(backend: &TestBackend) -> Client {
    let holder = backend.sql().await;
    holder.batch_execute("BEGIN; LOCK TABLE public.sessions").await.expect("the lock");
    holder
}

fn sessions_of(backend: &TestBackend, user: &TestUser) -> RequestBuilder {
    backend.call(Method::GET, "/rest/v1/sessions").bearer_auth(&user.token)
}

fn push_of(backend: &TestBackend, user: &TestUser) -> RequestBuilder {
    let call = backend.call(Method::POST, SYNC).bearer_auth(&user.token);
    call.json(&json!({ "request": request(&[session("2026-07-01", json!({}))]) }))
}

/// Requests that wait for a lock: for sessions, or a sync for another one of its user.
async fn waiting(admin: &Client) -> i64 {
    let query = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted";
    admin.query_one(query, &[]).await.expect("a count").get(0)
}

/// So many, and no more while another user is answered ten times.
async fn assert_under_way(backend: &TestBackend, admin: &Client, other: &TestUser, at_a_time: i64) {
    wait::until("the turns to be taken", || async { waiting(admin).await == at_a_time }).await;
    for _ in 0..10 {
        let answer = backend.sync(&other.token, &request(&[])).await;
        assert_eq!(answer.status, StatusCode::OK, "another user is not served: {answer:?}");
        assert_eq!(waiting(admin).await, at_a_time, "requests of one user at PostgREST");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_requests_take_turns_and_everybody_else_is_served() {
    let backend = TestBackend::start().await;
    for (at_a_time, ask) in KINDS {
        let (admin, ana, ben) = (backend.sql().await, backend.new_user().await, backend.new_user().await);
        let holder = close_sessions(&backend).await;
        let mut asked = JoinSet::new();
        for _ in 0..=MOST {
            asked.spawn(ask(&backend, &ana).send());
        }
        // One is too many: the others have come then.
        let refused = asked.join_next().await.expect("one").expect("no panic").expect("an answer");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_under_way(&backend, &admin, &ben, at_a_time).await;

        holder.batch_execute("COMMIT").await.expect("commit");
        while let Some(answer) = asked.join_next().await {
            assert_eq!(answer.expect("no panic").expect("an answer").status(), StatusCode::OK);
        }
    }
    backend.stop().await;
}

/// PostgREST goes on with a request whose caller has gone.
#[tokio::test(flavor = "multi_thread")]
async fn going_away_frees_no_turn_before_postgrest_has_answered() {
    let backend = TestBackend::start().await;
    for (at_a_time, ask) in KINDS {
        let (admin, ana, ben) = (backend.sql().await, backend.new_user().await, backend.new_user().await);
        let holder = close_sessions(&backend).await;
        let mut gone = JoinSet::new();
        for _ in 0..at_a_time {
            gone.spawn(ask(&backend, &ana).send());
        }
        wait::until("the turns to be taken", || async { waiting(&admin).await == at_a_time }).await;
        gone.shutdown().await;
        let next = tokio::spawn(ask(&backend, &ana).send());
        assert_under_way(&backend, &admin, &ben, at_a_time).await;

        holder.batch_execute("COMMIT").await.expect("commit");
        assert_eq!(next.await.expect("no panic").expect("an answer").status(), StatusCode::OK);
    }
    backend.stop().await;
}

/// What is no JSON is refused by whoever parses it: `PGRST102` would be PostgREST.
#[tokio::test]
async fn a_syncs_body_is_parsed_by_postgres_alone() {
    let backend = TestBackend::shared().await;
    let user = backend.new_user().await;
    for query in ["", "?columns=more", "?select=a"] {
        let path = format!("{SYNC}{query}");
        let call = || {
            let call = backend.call(Method::POST, &path).bearer_auth(&user.token);
            call.header("content-type", "application/json")
        };
        let refused = send(call().body(r#"{"request":"#)).await;
        assert_eq!(refused.body["code"], "22P02", "{query}: {refused:?}");
        let answer = send(call().json(&json!({ "request": request(&[]) }))).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {answer:?}");
    }
}

/// What `docs/migrations/DEPLOY.md` shows, before the same PostgREST: a token has two turns, and a sync the same query.
/// HAProxy does not let the next ones wait, it refuses them: so two.
#[tokio::test(flavor = "multi_thread")]
async fn haproxy_gives_turns_too() {
    const AT_A_TIME: i64 = 2;
    let cluster = Cluster::start().await;
    let backend = cluster.backend();
    let admin = marea_tests::backend::connect(&backend.ready().database_url).await;
    let document = std::fs::read_to_string(root().join("docs/migrations/DEPLOY.md")).expect("the document");
    let shown = document
        .split("```")
        .find(|block| block.trim_start().starts_with("backend postgrest"))
        .expect("a block");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("haproxy.cfg");
    let configuration = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend gateway\n bind 127.0.0.1:{port}\n default_backend postgrest\n{}",
        shown.replace("127.0.0.1:3000", backend.postgrest_url().trim_start_matches("http://"))
    );
    std::fs::write(&file, configuration).expect("the configuration");
    let program = std::env::var("MAREA_HAPROXY").unwrap_or_else(|_| "/usr/sbin/haproxy".to_owned());
    let mut router = Command::new(program).arg("-f").arg(&file).kill_on_drop(true).spawn().expect("HAProxy");

    let url = format!("http://127.0.0.1:{port}/rest/v1");
    let http = Http::builder().no_proxy().build().expect("a client");
    let users = "INSERT INTO public.users (id) VALUES (gen_random_uuid()), (gen_random_uuid()) RETURNING id";
    let users = admin.query(users, &[]).await.expect("two users");
    let [ana, ben] = [0, 1].map(|n| backend.mint_token(users[n].get(0), 3600));
    let sync = |body: String| {
        let call = http.post(format!("{url}/rpc/marea_sync")).bearer_auth(&ben);
        call.header("content-type", "application/json").body(body).send()
    };
    wait::until("HAProxy listens", || async { sync(String::new()).await.is_ok() }).await;
    let refused = sync(r#"{"request":"#.to_owned()).await.expect("an answer").text().await.expect("a text");
    assert!(refused.contains("22P02"), "{refused}");

    let holder = marea_tests::backend::connect(&backend.ready().database_url).await;
    holder.batch_execute("BEGIN; LOCK TABLE public.sessions").await.expect("the lock");
    let mut asked = JoinSet::new();
    for _ in 0..14 {
        asked.spawn(http.get(format!("{url}/sessions")).bearer_auth(&ana).send());
    }
    for _ in AT_A_TIME..14 {
        let refused = asked.join_next().await.expect("one").expect("no panic").expect("an answer");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
    }
    wait::until("both turns to be taken", || async { waiting(&admin).await == AT_A_TIME }).await;
    assert_eq!(
        sync(json!({ "request": request(&[]) }).to_string()).await.expect("an answer").status(),
        StatusCode::OK
    );
    holder.batch_execute("COMMIT").await.expect("commit");
    while let Some(answer) = asked.join_next().await {
        assert_eq!(answer.expect("no panic").expect("an answer").status(), StatusCode::OK);
    }
    router.kill().await.expect("it ends");
    drop((admin, holder));
    cluster.stop().await;
}
