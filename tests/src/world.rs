//! A backend, its database, and devices of two learners: what a test of the whole system begins with.
//!
//! It checks nothing by itself.

use std::sync::Arc;

pub use marea_backend::{Fault, FaultKind};
use marea_backend::{LEARNER1, LEARNER2};
use reqwest::Method;
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::types::FromSqlOwned;
use uuid::Uuid;

use crate::backend::{TestBackend, send};
use crate::command::Device;

/// The password of every account here, the demo's too.
pub const PASSWORD: &str = LEARNER1.password;

/// A running backend, a superuser's connection to its database, and two learners, called 1 and 2.
pub struct World {
    backend: Arc<TestBackend>,
    database: Client,
    learners: [Uuid; 2],
}

impl World {
    /// Two new learners on the backend that the tests of this process share. No faults, no changes of the schema.
    pub async fn shared() -> World {
        let backend = TestBackend::shared().await;
        let learners = [backend.new_user().await.id, backend.new_user().await.id];
        World { database: backend.sql().await, backend, learners }
    }

    /// The same, with learners who have signed up: by the emails of [`World::email`] and [`PASSWORD`].
    pub async fn shared_with_accounts() -> World {
        let backend = TestBackend::shared().await;
        let learners = [sign_up(&backend).await, sign_up(&backend).await];
        World { database: backend.sql().await, backend, learners }
    }

    /// A backend for this test alone, whose learners are the two demo accounts.
    pub async fn alone() -> World {
        let backend = Arc::new(TestBackend::start().await);
        World { database: backend.sql().await, backend, learners: [LEARNER1.id, LEARNER2.id] }
    }

    /// Stops a backend of one's own, so that the rest of the test has none.
    pub async fn stop(self) {
        drop(self.database);
        if let Some(backend) = Arc::into_inner(self.backend) {
            backend.stop().await;
        }
    }

    /// The backend itself.
    pub fn backend(&self) -> &TestBackend {
        &self.backend
    }

    /// The superuser's connection.
    pub fn database(&self) -> &Client {
        &self.database
    }

    /// What learner 1 or 2 signs in with.
    pub async fn email(&self, learner: usize) -> String {
        self.one(&format!("SELECT email FROM public.users WHERE id = '{}'", self.learner(learner))).await
    }

    /// The id of learner 1 or 2.
    pub fn learner(&self, number: usize) -> Uuid {
        self.learners[number - 1]
    }

    /// A new device that knows the server and nobody's account.
    pub fn device(&self) -> Device {
        let ready = self.backend.ready();
        Device::new().with("MAREA_URL", &ready.url).with("MAREA_ANON_KEY", &ready.anon_key)
    }

    /// A new device of a learner, with a token for the next hour.
    pub fn device_of(&self, learner: usize) -> Device {
        self.device().with("MAREA_TOKEN", self.token(learner, 3600))
    }

    /// An access token of a learner; a negative time gives an expired one.
    pub fn token(&self, learner: usize, ttl_seconds: i64) -> String {
        self.backend.token(self.learner(learner), ttl_seconds)
    }

    /// Switches a fault on.
    pub fn fault(&self, fault: Fault) {
        self.backend.faults().set(fault);
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.backend.faults().clear();
    }

    /// The first column of the only row of a query.
    pub async fn one<T: FromSqlOwned>(&self, query: &str) -> T {
        self.database.query_one(query, &[]).await.expect("one row").get(0)
    }

    /// Carries out SQL as the superuser.
    pub async fn execute(&self, sql: &str) {
        self.database.batch_execute(sql).await.expect("the statements");
    }

    /// The ids of a learner's sessions in Postgres.
    pub async fn sessions_of(&self, learner: usize) -> Vec<String> {
        let query = "SELECT id::text FROM public.sessions WHERE user_id = $1 ORDER BY id";
        let rows = self.database.query(query, &[&self.learner(learner)]).await.expect("the sessions");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// What Postgres has counted for a learner: `user_progress.total_sessions`, 0 without a row.
    pub async fn total_sessions_of(&self, learner: usize) -> i64 {
        let query =
            "SELECT coalesce(sum(total_sessions), 0)::bigint FROM public.user_progress WHERE user_id = $1";
        self.database.query_one(query, &[&self.learner(learner)]).await.expect("a sum").get(0)
    }
}

/// A new account that can sign in.
async fn sign_up(backend: &TestBackend) -> Uuid {
    let unused: Uuid =
        backend.sql().await.query_one("SELECT gen_random_uuid()", &[]).await.expect("a UUID").get(0);
    let email = format!("{unused}@example.com");
    let call = backend.call(Method::POST, "/auth/v1/signup");
    let answer = send(call.json(&json!({ "email": email, "password": PASSWORD }))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["user"]["id"].as_str().and_then(|id| id.parse().ok()).expect("a user")
}
