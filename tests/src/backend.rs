//! A real backend for a test: Postgres, PostgREST and the gateway, in this process. Shared by the tests that run at the
//! same time, with users of their own, or one for a test alone. It holds no expectation of what the backend should answer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use marea_backend::{Backend, Faults, Options, Ready};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::sql_mutation;

/// The path of the one function that clients call.
pub const SYNC: &str = "/rest/v1/rpc/marea_sync";

/// A running backend. It has a runtime of its own, because each `#[tokio::test]` takes its runtime away at its end.
pub struct TestBackend {
    // Dropped in this order: the backend stops its processes, then its runtime may go.
    backend: Option<Backend>,
    runtime: Option<Runtime>,
    ready: Ready,
    http: Client,
}

/// A user of one test.
pub struct TestUser {
    /// `public.users.id`, and the token's `sub`.
    pub id: Uuid,
    /// An access token, good for an hour.
    pub token: String,
}

/// An HTTP answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; `Null` when it is empty or not JSON.
    pub body: Value,
}

/// With time for requests on a busy machine.
pub(crate) fn patient(options: Options) -> Options {
    Options { statement_timeout_s: options.statement_timeout_s.or(Some(60)), ..options }
}

impl TestBackend {
    /// The backend that the tests of this process share; it stops when none of them has it any more. Use users of your
    /// own, and for faults [`TestBackend::start`]: they would hit the others.
    pub async fn shared() -> Arc<TestBackend> {
        static SHARED: Mutex<Weak<TestBackend>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(TestBackend::start().await);
        *shared = Arc::downgrade(&started);
        started
    }

    /// A backend for this test alone.
    pub async fn start() -> TestBackend {
        TestBackend::start_with(Options::default()).await
    }

    /// The same, with a data folder for example.
    ///
    /// # Panics
    /// When it does not start; a missing server fails the test, it never skips it.
    pub async fn start_with(options: Options) -> TestBackend {
        let options = patient(options);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let started = runtime.spawn(Backend::start(options)).await.expect("no panic at start");
        let backend = match started {
            Ok(backend) => backend,
            Err(error) => {
                runtime.shutdown_background();
                panic!("the backend does not start: {error}");
            }
        };
        let ready = backend.ready().clone();
        sql_mutation::make_asked(&connect(&ready.database_url).await).await;
        TestBackend { backend: Some(backend), runtime: Some(runtime), ready, http: http_client() }
    }

    fn backend(&self) -> &Backend {
        self.backend.as_ref().expect("it runs until it is stopped")
    }

    /// Stops it and waits for the end of its processes. Dropping it does the same, but blocks.
    pub async fn stop(mut self) {
        if let (Some(backend), Some(runtime)) = (self.backend.take(), self.runtime.as_ref()) {
            runtime.spawn(backend.stop()).await.expect("no panic at stop");
        }
    }

    /// How to reach it.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Its fault switches.
    pub fn faults(&self) -> &Faults {
        self.backend().faults()
    }

    /// Breaks all sockets of `/realtime/v1` that are open.
    pub fn cut_sockets(&self) {
        self.backend().cut_sockets();
    }

    /// How many channels the sockets of `/realtime/v1` have joined.
    pub fn joined(&self) -> usize {
        self.backend().joined_sockets()
    }

    /// An access token for `user`, already expired when `ttl_seconds` is negative.
    pub fn token(&self, user: Uuid, ttl_seconds: i64) -> String {
        self.backend().mint_token(user, ttl_seconds)
    }

    /// A token of these claims, as of another sign-in service that the project trusts.
    pub fn token_of(&self, claims: &Value) -> String {
        self.backend().mint(claims)
    }

    /// A connection as the superuser, who stands above row level security.
    pub async fn sql(&self) -> tokio_postgres::Client {
        connect(&self.ready.database_url).await
    }

    /// A user that no other test knows. It has a row in `public.users` and cannot sign in with a password.
    pub async fn new_user(&self) -> TestUser {
        let statement = "INSERT INTO public.users (id, email)
            SELECT id, id || '@test.example' FROM gen_random_uuid() AS id RETURNING id";
        let row = self.sql().await.query_one(statement, &[]).await.expect("a new user");
        let id = row.get(0);
        TestUser { id, token: self.token(id, 3600) }
    }

    /// A call with the app's `apikey`, ready for a body and a `bearer_auth`.
    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.ready.url);
        self.http.request(method, url).header("apikey", &self.ready.anon_key)
    }

    /// Calls `marea_sync` with `request`, as the owner of `token`.
    pub async fn sync(&self, token: &str, request: &Value) -> Answer {
        let call = self.call(Method::POST, SYNC).bearer_auth(token);
        send(call.json(&json!({ "request": request }))).await
    }

    /// Signs in with a password; the answer is the session, with `access_token`, `refresh_token` and `user`.
    pub async fn sign_in(&self, email: &str, password: &str) -> Answer {
        let call = self.call(Method::POST, "/auth/v1/token?grant_type=password");
        send(call.json(&json!({ "email": email, "password": password }))).await
    }
}

impl Drop for TestBackend {
    fn drop(&mut self) {
        drop(self.backend.take());
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would wait for its tasks, which is not allowed inside another runtime.
            runtime.shutdown_background();
        }
    }
}

/// Sends a call that has to be answered.
///
/// # Panics
/// When the connection fails.
pub async fn send(call: RequestBuilder) -> Answer {
    let answer = call.send().await.expect("an answer");
    let status = answer.status();
    let text = answer.bytes().await.expect("a whole answer");
    Answer { status, body: serde_json::from_slice(&text).unwrap_or(Value::Null) }
}

/// Connects to Postgres by URL.
///
/// # Panics
/// When it does not answer.
pub async fn connect(database_url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await.expect("Postgres answers");
    tokio::spawn(connection);
    client
}

/// A client that keeps no connection: one that was made in another test's runtime dies with it.
fn http_client() -> Client {
    let client = Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(60));
    client.build().expect("an HTTP client")
}
