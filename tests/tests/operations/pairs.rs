//! Two pairs of Postgres and PostgREST behind the router of `docs/migrations/PAIRS.md`: each user's requests reach the pair that has the
//! user, word for word, and whoever is in no map is nobody.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use marea_tests::backend::TestBackend;
use marea_tests::cluster::root;
use marea_tests::sql::{request, session, statuses};
use serde_json::{Value, json};

/// The router, which ends with the test.
struct Router(Child);

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn address(url: &str) -> &str {
    url.trim_start_matches("http://")
}

/// The document's configuration, with the addresses of this test.
fn configuration(port: u16, map: &str, pairs: [&TestBackend; 2]) -> String {
    let document = fs::read_to_string(root().join("docs/migrations/PAIRS.md")).expect("the document");
    let (_, rest) = document.split_once("```haproxy\n").expect("a configuration");
    let (text, _) = rest.split_once("```").expect("its end");
    let mut text = text.to_owned();
    let [one, two] = pairs.map(|backend| address(&backend.ready().url).to_owned());
    for (from, to) in [
        ("127.0.0.1:8080", format!("127.0.0.1:{port}")),
        ("/etc/haproxy/users.map", map.to_owned()),
        ("127.0.0.1:3001", one),
        ("127.0.0.1:3002", two),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, &to);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_brings_each_user_to_the_pair_that_has_the_user() {
    let (one, two) = (TestBackend::start().await, TestBackend::start().await);
    let (first, second, stranger) = (one.new_user().await, two.new_user().await, one.new_user().await);
    let folder = tempfile::tempdir().expect("a folder");
    let (map, file, port) = (folder.path().join("users.map"), folder.path().join("haproxy.cfg"), free_port());
    fs::write(&map, format!("{} pair_1\n{} pair_2\n", first.id, second.id)).expect("a map");
    fs::write(&file, configuration(port, &map.display().to_string(), [&one, &two])).expect("a file");
    let started = Command::new("haproxy")
        .arg("-db")
        .arg("-f")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _router =
        Router(started.expect("haproxy is not installed: cargo xtask setup, or apt-get install haproxy"));
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::task::yield_now().await;
    }

    let http = reqwest::Client::new();
    let sync = async |path: &str, key: &str, token: Option<&str>, body: Value| {
        let mut call = http.post(format!("http://127.0.0.1:{port}{path}")).header("apikey", key).json(&body);
        if let Some(token) = token {
            call = call.bearer_auth(token);
        }
        let answer = call.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    const RPC: &str = "/rest/v1/rpc/marea_sync";
    for (user, backend) in [(&first, &one), (&second, &two)] {
        let key = backend.ready().anon_key.clone();
        let push = json!({ "request": request(&[session("2026-05-01", json!({}))]) });
        let (status, answer) = sync(RPC, &key, Some(&user.token), push).await;
        assert_eq!((status, statuses(&answer)), (200, vec!["applied".to_owned()]), "{answer}");
        let total = "SELECT total_sessions FROM public.user_progress WHERE user_id = $1";
        assert_eq!(
            backend.sql().await.query_one(total, &[&user.id]).await.expect("there").get::<_, i32>(0),
            1
        );
        // A refusal comes as the pair says it.
        let bent = json!({ "request": { "protocol": 7 } });
        let direct = backend.sync(&user.token, &bent["request"]).await;
        assert_eq!(sync(RPC, &key, Some(&user.token), bent).await, (direct.status.as_u16(), direct.body));
        // The app's own REST goes there too.
        let call = http
            .get(format!("http://127.0.0.1:{port}/rest/v1/sessions?select=user_id"))
            .header("apikey", &key);
        let rows: Value =
            call.bearer_auth(&user.token).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(rows, json!([{ "user_id": user.id }]));
    }
    let key = one.ready().anon_key.clone();
    for token in [None, Some(stranger.token.as_str()), Some("a.b.c")] {
        let (status, answer) = sync(RPC, &key, token, json!({ "request": request(&[]) })).await;
        assert_eq!((status, &answer["code"]), (401, &json!("PT401")), "{token:?}");
    }
    // The router believes any token; the pair does not.
    let (head, signature) = first.token.rsplit_once('.').expect("a token");
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(sync(RPC, &key, Some(&forged), json!({ "request": request(&[]) })).await.0, 401);
    one.stop().await;
    two.stop().await;
}
