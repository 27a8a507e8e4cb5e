//! `/rest/v1` is PostgREST behind an `apikey`, with the app's row level security in force and CORS for every page.

use marea_tests::backend::{SYNC, TestBackend, TestUser, send};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn without_a_known_apikey_nothing_is_served() {
    let backend = TestBackend::shared().await;
    let user = backend.new_user().await;
    let http = Client::builder().no_proxy().build().expect("a client");
    for path in ["/rest/v1/sessions", "/rest/v1/", SYNC, "/auth/v1/user"] {
        let url = format!("{}{path}", backend.ready().url);
        let bare = send(http.get(&url).bearer_auth(&user.token)).await;
        assert_eq!(bare.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(bare.body["message"], "No API key found in request");
        // A user's token is no key.
        let wrong = send(http.get(&url).header("apikey", &user.token).bearer_auth(&user.token)).await;
        assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(wrong.body["message"], "Invalid API key");
    }
}

#[tokio::test]
async fn marea_sync_without_a_token_is_401() {
    let backend = TestBackend::shared().await;
    let body = json!({ "request": {} });
    let keyed = send(backend.call(Method::POST, SYNC).json(&body)).await;
    assert_eq!(keyed.status, StatusCode::UNAUTHORIZED, "{keyed:?}");
    assert_eq!(keyed.body["code"], "42501", "anon has no right to execute it");
    let anon = backend.ready().anon_key.clone();
    let bearer = send(backend.call(Method::POST, SYNC).bearer_auth(anon).json(&body)).await;
    assert_eq!(bearer.status, StatusCode::UNAUTHORIZED, "{bearer:?}");
}

#[tokio::test]
async fn an_expired_or_forged_token_is_401() {
    let backend = TestBackend::shared().await;
    let user = backend.new_user().await;
    let (head, signature) = user.token.rsplit_once('.').expect("a JWT");
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for token in [backend.token(user.id, -60), forged, "nonsense".to_owned()] {
        let answer = send(backend.call(Method::GET, "/rest/v1/sessions").bearer_auth(token)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    }
}

async fn add_session(backend: &TestBackend, caller: &TestUser, owner: &TestUser) -> StatusCode {
    let row = json!({ "user_id": owner.id, "session_type": "vocabulary" });
    send(backend.call(Method::POST, "/rest/v1/sessions").bearer_auth(&caller.token).json(&row)).await.status
}

async fn own_sessions(backend: &TestBackend, caller: &TestUser, filter: &str) -> Value {
    let path = format!("/rest/v1/sessions?select=user_id{filter}");
    send(backend.call(Method::GET, &path).bearer_auth(&caller.token)).await.body
}

#[tokio::test]
async fn one_user_neither_reads_nor_writes_what_is_anothers() {
    let backend = TestBackend::shared().await;
    let (ana, ben) = (backend.new_user().await, backend.new_user().await);
    assert_eq!(add_session(&backend, &ana, &ana).await, StatusCode::CREATED);
    assert_eq!(add_session(&backend, &ben, &ana).await, StatusCode::FORBIDDEN);
    assert_eq!(own_sessions(&backend, &ana, "").await, json!([{ "user_id": ana.id }]));
    assert_eq!(own_sessions(&backend, &ben, "").await, json!([]));
    assert_eq!(own_sessions(&backend, &ben, &format!("&user_id=eq.{}", ana.id)).await, json!([]));

    let path = format!("/rest/v1/sessions?user_id=eq.{}", ana.id);
    let stolen = json!({ "session_type": "stolen" });
    send(backend.call(Method::PATCH, &path).bearer_auth(&ben.token).json(&stolen)).await;
    send(backend.call(Method::DELETE, &path).bearer_auth(&ben.token)).await;
    let statement = "SELECT session_type FROM public.sessions WHERE user_id = $1";
    let rows = backend.sql().await.query(statement, &[&ana.id]).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), ["vocabulary"]);
}

#[tokio::test]
async fn a_row_set_ends_at_a_thousand_rows_as_on_supabase() {
    let backend = TestBackend::shared().await;
    let user = backend.new_user().await;
    let statement = "INSERT INTO public.sessions (user_id) SELECT $1 FROM generate_series(1, 1001)";
    backend.sql().await.execute(statement, &[&user.id]).await.expect("many sessions");
    let rows = own_sessions(&backend, &user, "").await;
    assert_eq!(rows.as_array().map(Vec::len), Some(1000));
}

#[tokio::test]
async fn queries_are_handed_on_untouched() {
    let backend = TestBackend::shared().await;
    let user = backend.new_user().await;
    let strange = "a&b=c d/ü%25";
    let row = json!({ "user_id": user.id, "session_type": strange });
    let call = backend.call(Method::POST, "/rest/v1/sessions").bearer_auth(&user.token);
    let made = send(call.header("Prefer", "return=representation").json(&row)).await;
    assert_eq!(made.body[0]["session_type"], strange);
    let found = "/rest/v1/sessions?select=session_type&session_type=eq.a%26b%3Dc%20d%2F%C3%BC%2525";
    let answer = send(backend.call(Method::GET, found).bearer_auth(&user.token)).await;
    assert_eq!(answer.body, json!([{ "session_type": strange }]));
    let single = backend.call(Method::GET, found).bearer_auth(&user.token);
    let answer = send(single.header("Accept", "application/vnd.pgrst.object+json")).await;
    assert_eq!(answer.body, json!({ "session_type": strange }));
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    assert!(headers.get_all(name).iter().count() <= 1, "a browser refuses {name} twice");
    headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default()
}

#[tokio::test]
async fn every_page_may_call() {
    let backend = TestBackend::shared().await;
    let asked = "apikey,authorization,content-type,x-client-info";
    let preflight = backend
        .call(Method::OPTIONS, SYNC)
        .header("Origin", "http://localhost:5173")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", asked);
    let answer = preflight.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(answer.headers(), "access-control-allow-origin"), "*");
    assert_eq!(header(answer.headers(), "access-control-allow-headers"), asked);
    assert!(header(answer.headers(), "access-control-allow-methods").contains("POST"));

    // Refusals too: a page that may not read them would see a network error.
    let http = Client::builder().no_proxy().build().expect("a client");
    let refused = http.get(format!("{}/rest/v1/sessions", backend.ready().url)).header("Origin", "null");
    let refused = refused.send().await.expect("an answer");
    assert_eq!(header(refused.headers(), "access-control-allow-origin"), "*");
    let served = backend.call(Method::GET, "/rest/v1/sessions").header("Origin", "http://localhost:5173");
    let served = served.send().await.expect("an answer");
    assert_eq!(served.status(), StatusCode::OK);
    assert_eq!(header(served.headers(), "access-control-allow-origin"), "*");
    assert!(header(served.headers(), "access-control-expose-headers").contains("Content-Range"));
}

#[tokio::test]
async fn a_huge_request_is_told_so_and_the_next_one_is_served() {
    let backend = TestBackend::shared().await;
    let user = backend.new_user().await;
    let call = backend.call(Method::POST, SYNC).bearer_auth(&user.token);
    let huge = send(call.header("Content-Type", "application/json").body(vec![b' '; 100 << 20])).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(own_sessions(&backend, &user, "").await, json!([]));
}

#[tokio::test]
async fn unknown_paths_and_health_answer() {
    let backend = TestBackend::shared().await;
    let health = send(backend.call(Method::GET, "/health")).await;
    assert_eq!((health.status, &health.body["status"]), (StatusCode::OK, &json!("ok")));
    for path in ["/", "/rest", "/rest/v2/sessions", "/storage/v1/x"] {
        assert_eq!(send(backend.call(Method::GET, path)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
