//! Each fault does to a call what it says, and only to the calls that it is meant for.

use std::sync::Arc;

use marea_backend::{Fault, FaultKind};
use marea_tests::backend::{TestBackend, TestUser, send};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

const SESSIONS: &str = "/rest/v1/sessions";

struct Case {
    backend: Arc<TestBackend>,
    user: TestUser,
    _alone: MutexGuard<'static, ()>,
}

/// The shared backend for one test at a time: its faults would hit the others' calls.
async fn backend() -> (Arc<TestBackend>, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let backend = TestBackend::shared().await;
    let alone = ALONE.lock().await;
    // A test that failed may have left some.
    backend.faults().clear();
    (backend, alone)
}

impl Case {
    async fn with(fault: Fault) -> Case {
        let (backend, alone) = backend().await;
        let user = backend.new_user().await;
        backend.faults().set(fault);
        Case { backend, user, _alone: alone }
    }

    /// A call that writes one row.
    fn write(&self) -> RequestBuilder {
        let call = self.backend.call(Method::POST, SESSIONS).bearer_auth(&self.user.token);
        call.header("Prefer", "return=representation").json(&json!({ "user_id": self.user.id }))
    }

    async fn rows(&self) -> i64 {
        let statement = "SELECT count(*) FROM public.sessions WHERE user_id = $1";
        self.backend.sql().await.query_one(statement, &[&self.user.id]).await.expect("a count").get(0)
    }

    /// The switched-on fault is used up: a call is served.
    async fn ends_well(self, rows: i64) {
        assert_eq!(send(self.write()).await.status, StatusCode::CREATED);
        assert_eq!(self.rows().await, rows);
    }
}

#[tokio::test]
async fn drop_answer_does_the_work_and_says_nothing() {
    let case = Case::with(Fault::new(FaultKind::DropAnswer, SESSIONS, 1)).await;
    assert!(case.write().send().await.is_err(), "there is no answer");
    assert_eq!(case.rows().await, 1, "the work is done");
    assert_eq!(case.backend.faults().list()[0].fired, 1);
    case.ends_well(2).await;
}

#[tokio::test]
async fn offline_does_nothing_and_says_nothing() {
    let case = Case::with(Fault::new(FaultKind::Offline, SESSIONS, 2)).await;
    for _ in 0..2 {
        assert!(case.write().send().await.is_err());
    }
    assert_eq!(case.rows().await, 0);
    case.ends_well(1).await;
}

#[tokio::test]
async fn status_answers_it_and_does_nothing() {
    let case = Case::with(Fault::new(FaultKind::Status, SESSIONS, 1).with_status(401)).await;
    case.backend.faults().set(Fault::new(FaultKind::Status, SESSIONS, 1));
    assert_eq!(send(case.write()).await.status, StatusCode::UNAUTHORIZED);
    let answer = case.write().header("Origin", "http://localhost:5173").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("access-control-allow-origin"), "a page sees the status");
    assert_eq!(case.rows().await, 0);
    case.ends_well(1).await;
}

#[tokio::test]
async fn reset_mid_body_does_the_work_and_breaks_the_answer() {
    let case = Case::with(Fault::new(FaultKind::ResetMidBody, SESSIONS, 1)).await;
    let answer = case.write().send().await.expect("the head of the answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert!(answer.bytes().await.is_err(), "the body breaks off");
    assert_eq!(case.rows().await, 1);
    case.ends_well(2).await;
}

#[tokio::test]
async fn delay_waits_and_then_serves() {
    let case = Case::with(Fault::new(FaultKind::Delay, SESSIONS, 1).with_delay_ms(60_000)).await;
    // A minute: the caller's patience ends first, and the call was not made.
    let impatient = case.write().timeout(std::time::Duration::from_millis(200)).send().await;
    assert!(impatient.expect_err("no answer yet").is_timeout());
    assert_eq!(case.rows().await, 0);
    case.backend.faults().clear();
    case.backend.faults().set(Fault::new(FaultKind::Delay, SESSIONS, 1).with_delay_ms(50));
    assert_eq!(send(case.write()).await.status, StatusCode::CREATED);
    assert_eq!(case.backend.faults().list()[0].fired, 1);
    case.ends_well(2).await;
}

#[tokio::test]
async fn other_calls_are_left_alone() {
    let case = Case::with(Fault { times: None, ..Fault::new(FaultKind::Offline, SESSIONS, 0) }).await;
    assert!(case.write().send().await.is_err());
    let users = case.backend.call(Method::GET, "/rest/v1/users").bearer_auth(&case.user.token);
    assert_eq!(send(users).await.status, StatusCode::OK);
    assert_eq!(send(case.backend.call(Method::GET, "/health")).await.status, StatusCode::OK);
    case.backend.faults().clear();
    case.ends_well(1).await;
}

#[tokio::test]
async fn the_switches_work_over_http_for_whoever_has_the_service_key() {
    let (backend, _alone) = backend().await;
    let switch = |method: Method, key: &str, body: &Value| {
        send(backend.call(method, "/_marea/faults").bearer_auth(key).json(body))
    };
    let ready = backend.ready();
    let fault = json!({ "kind": "status", "path": SESSIONS, "times": 1, "status": 418 });
    let refused = switch(Method::POST, &ready.anon_key, &fault).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);

    let key = &ready.service_key;
    assert_eq!(switch(Method::POST, key, &fault).await.status, StatusCode::OK);
    assert_eq!(send(backend.call(Method::GET, SESSIONS)).await.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(send(backend.call(Method::GET, SESSIONS)).await.status, StatusCode::OK);
    let listed = switch(Method::GET, key, &Value::Null).await.body;
    assert_eq!((&listed[0]["kind"], &listed[0]["fired"]), (&json!("status"), &json!(1)));
    assert_eq!(switch(Method::DELETE, key, &Value::Null).await.body, json!([]));

    for (wrong, word) in [
        (json!({ "kind": "explode" }), "explode"),
        (json!({ "kind": "delay", "delay": 5 }), "delay"),
        (json!({ "kind": "status", "status": 42 }), "status"),
        (json!({ "kind": "offline", "path": "rest" }), "path"),
        (json!({}), "kind"),
    ] {
        let answer = switch(Method::POST, key, &wrong).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(message.contains(word), "{wrong}: {message}");
    }
}
