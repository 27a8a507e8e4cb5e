//! Tokens of another sign-in service: the user's UUID is in a claim of its own, and everything else is as ever.

use marea_tests::backend::{Answer, TestBackend, TestUser, send};
use marea_tests::command::Device;
use marea_tests::wait::until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

const SETUP: &str = "SELECT marea.set_user_claim('app_metadata', 'user_id');
    ALTER ROLE authenticator SET pgrst.db_pre_request = 'public.marea_pre_request';
    NOTIFY pgrst, 'reload config'";

/// What Clerk gives: an id of its own, and what the app has put beside it.
fn token(backend: &TestBackend, more: &Value) -> String {
    let mut claims = json!({ "sub": "user_2xFnSxK0Z", "role": "authenticated", "aud": "authenticated", "exp": 4_000_000_000_u32 });
    claims.as_object_mut().expect("claims").extend(more.as_object().expect("claims").clone());
    backend.token_of(&claims)
}

fn request(session: Option<Uuid>) -> Value {
    let mutation = session.map(|id| {
        json!({ "id": id, "hlc": "1700000000000-0001", "table": "sessions", "op": "insert", "key": id, "values": {
            "id": id, "session_type": "qa", "duration_minutes": 5, "started_at": "2026-11-01T10:00:00.000000Z",
            "ended_at": "2026-11-01T10:05:00.000000Z" } })
    });
    let mutations: Vec<Value> = mutation.into_iter().collect();
    json!({ "protocol": 1, "client_id": Uuid::from_u128(9), "schema": 1, "cursor": null, "mutations": mutations })
}

async fn sessions_of(backend: &TestBackend, token: &str) -> Answer {
    send(backend.call(Method::GET, "/rest/v1/sessions?select=user_id").bearer_auth(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_id_may_be_in_another_claim() {
    let backend = TestBackend::start().await;
    let database = backend.sql().await;
    let (learner, other): (TestUser, TestUser) = (backend.new_user().await, backend.new_user().await);
    let own = token(&backend, &json!({ "app_metadata": { "user_id": learner.id } }));

    // Not told: `sub` is no UUID.
    let answer = backend.sync(&own, &request(None)).await;
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (StatusCode::BAD_REQUEST, &json!("22P02")),
        "{answer:?}"
    );

    database.batch_execute(SETUP).await.expect("set up");
    // PostgREST is told by a notification, which it hears when it does.
    until("PostgREST has heard of the setting", || async {
        backend.sync(&own, &request(None)).await.status == StatusCode::OK
    })
    .await;
    let answer = backend.sync(&own, &request(Some(Uuid::from_u128(7)))).await;
    assert_eq!(answer.body["results"][0]["status"], "applied", "{answer:?}");
    // The app's own policies ask auth.uid(), and are answered alike.
    assert_eq!(sessions_of(&backend, &own).await.body, json!([{ "user_id": learner.id }]));
    // And so are those of Storage, which knows no pre-request.
    let make = "INSERT INTO public.export_history (user_id, export_type, export_format) VALUES ($1, 'a', 'csv') RETURNING id";
    let export: Uuid = database.query_one(make, &[&learner.id]).await.expect("an export").get(0);
    let path = format!("/storage/v1/object/marea-exports/{}/{export}/{}.csv", learner.id, "0".repeat(64));
    let stored = send(backend.call(Method::POST, &path).bearer_auth(&own).body("a,b")).await;
    assert_eq!(stored.status, StatusCode::OK, "{stored:?}");
    let others = token(&backend, &json!({ "app_metadata": { "user_id": other.id } }));
    let foreign = path.replace(&"0".repeat(64), &"1".repeat(64));
    let refused = send(backend.call(Method::POST, &foreign).bearer_auth(&others).body("a,b")).await;
    assert_eq!(
        (refused.status, &refused.body["statusCode"]),
        (StatusCode::BAD_REQUEST, &json!("403")),
        "{refused:?}"
    );
    assert_eq!(sessions_of(&backend, &others).await.body, json!([]));

    // The command, as any other client.
    let device = Device::new()
        .with("MAREA_URL", &backend.ready().url)
        .with("MAREA_KEY", &backend.ready().publishable_key)
        .with("MAREA_TOKEN", &own)
        .with("MAREA_USER", learner.id.to_string());
    device.record(&["--minutes", "5"]).await;
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    assert_eq!(sessions_of(&backend, &own).await.body.as_array().map(Vec::len), Some(2));

    // Without the claim, or with one that is no UUID, nobody: not the `sub`, be it somebody's id.
    for nobody in [
        json!({}),
        json!({ "sub": learner.id }),
        json!({ "app_metadata": "x" }),
        json!({ "sub": learner.id, "app_metadata": { "user_id": "7" } }),
        json!({ "user_id": learner.id, "user_metadata": { "user_id": learner.id } }),
    ] {
        let nobodys = token(&backend, &nobody);
        let answer = backend.sync(&nobodys, &request(None)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{nobody}: {answer:?}");
        assert_eq!(sessions_of(&backend, &nobodys).await.body, json!([]), "{nobody}");
    }
    let answer = send(backend.call(Method::GET, "/rest/v1/sessions?select=user_id")).await;
    assert!(answer.body == json!([]) || answer.status == StatusCode::UNAUTHORIZED, "{answer:?}");

    // What a user can write is no claim for this.
    for (path, told) in [
        ("'user_metadata', 'id'", "its user can write it"),
        ("'a', ''", "expected the names"),
        ("VARIADIC '{}'", "expected the names"),
    ] {
        let error =
            database.batch_execute(&format!("SELECT marea.set_user_claim({path})")).await.expect_err(path);
        assert!(error.as_db_error().is_some_and(|error| error.message().contains(told)), "{path}: {error:?}");
    }

    // And back: the ids of the project's own tokens.
    database.batch_execute("SELECT marea.set_user_claim(NULL)").await.expect("taken back");
    assert_eq!(backend.sync(&learner.token, &request(None)).await.status, StatusCode::OK);

    // The way back of the migrations would leave PostgREST with a call of nothing.
    let rollback = include_str!("../../../migrations/002_sync_layer_rollback.sql");
    for taken_back in [
        "006_repairs_rollback",
        "005_corrections_rollback",
        "004_operations_rollback",
        "003_backfill_rollback",
    ] {
        let path = marea_tests::cluster::root().join(format!("migrations/{taken_back}.sql"));
        database.batch_execute(&std::fs::read_to_string(path).expect("a file")).await.expect("taken back");
    }
    let refused = database.batch_execute(rollback).await.expect_err("refused");
    assert!(
        refused
            .as_db_error()
            .and_then(|error| error.hint())
            .is_some_and(|hint| hint.contains("RESET pgrst.db_pre_request")),
        "{refused:?}"
    );
    database
        .batch_execute("ROLLBACK; ALTER ROLE authenticator RESET pgrst.db_pre_request")
        .await
        .expect("reset");
    database.batch_execute(rollback).await.expect("taken back");
    backend.stop().await;
}
