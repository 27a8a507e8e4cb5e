//! A learner's own way into Postgres, without HTTP: a connection that acts as PostgREST would for a signed-in user, the
//! requests to `marea_sync`, and what it answers. It expects nothing of the answers.

use std::hash::{BuildHasher as _, RandomState};

use serde_json::{Map, Value, json};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::backend::{TestBackend, connect};

/// The device that all requests come from, unless a test says otherwise.
pub const DEVICE: &str = "10000000-0000-4000-8000-000000000001";
/// A second device.
pub const OTHER_DEVICE: &str = "20000000-0000-4000-8000-000000000002";

/// A connection on behalf of a user, with the rights of `authenticated` and no more.
pub struct Caller {
    /// The connection.
    pub client: Client,
    /// Whose it is.
    pub user: Uuid,
}

/// What Postgres said instead of doing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE.
    pub code: String,
    /// The message, which names the field.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Caller {
    /// A new user of the shared backend.
    pub async fn new(backend: &TestBackend) -> Caller {
        Caller::of(&backend.ready().database_url, backend.new_user().await.id).await
    }

    /// Another connection of the same user.
    pub async fn again(&self, backend: &TestBackend) -> Caller {
        Caller::of(&backend.ready().database_url, self.user).await
    }

    /// A connection for this user.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn of(url: &str, user: Uuid) -> Caller {
        let client = connect(url).await;
        act_as(&client, "authenticated", Some(user)).await;
        Caller { client, user }
    }

    /// Calls `marea_sync`.
    ///
    /// # Errors
    /// When the request itself is refused.
    pub async fn try_sync(&self, request: &Value) -> Result<Value, Refusal> {
        let statement = "SELECT public.marea_sync($1)";
        self.client.query_one(statement, &[request]).await.map(|row| row.get(0)).map_err(refusal)
    }

    /// The same, for a request that has to be accepted.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn sync(&self, request: &Value) -> Value {
        loop {
            match self.try_sync(request).await {
                Ok(answer) => return answer,
                // Four requests of this user are under way: one more when the push among them is through.
                Err(busy) if busy.code == "PT429" => {
                    let turn =
                        "SELECT pg_advisory_xact_lock(hashtextextended('marea_sync ' || auth.uid(), 0))";
                    self.client.execute(turn, &[]).await.expect("a turn");
                }
                Err(refusal) => panic!("{refusal:?} for {request}"),
            }
        }
    }

    /// Sends mutations with a cursor of nothing; the status of each, in order, a rejected one with its code.
    pub async fn push(&self, mutations: &[Value]) -> Vec<String> {
        statuses(&self.sync(&request(mutations)).await)
    }

    /// What a fresh device gets, all pages together.
    pub async fn pull(&self) -> Value {
        self.sync(&request(&[])).await
    }
}

/// Makes a connection act as PostgREST would: this role, and the token's claims.
///
/// # Panics
/// When the role cannot be taken.
pub async fn act_as(client: &Client, role: &str, user: Option<Uuid>) {
    try_act_as(client, role, user).await.expect("the role");
}

/// The same on a server that may be gone.
///
/// # Errors
/// When the role cannot be taken.
pub async fn try_act_as(client: &Client, role: &str, user: Option<Uuid>) -> Result<(), Error> {
    let claims = user.map_or(String::new(), |user| json!({ "sub": user, "role": role }).to_string());
    let statement = format!(
        "RESET ROLE; SELECT set_config('request.jwt.claims', '{claims}', false); SET ROLE {role}; SET lock_timeout = '60s'"
    );
    client.batch_execute(&statement).await
}

/// What Postgres said.
///
/// # Panics
/// When the connection broke instead.
pub fn refusal(error: Error) -> Refusal {
    let error: &DbError = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    Refusal {
        code: error.code().code().to_owned(),
        message: error.message().to_owned(),
        hint: error.hint().unwrap_or_default().to_owned(),
    }
}

/// A whole request with these mutations, from a device that has nothing yet.
pub fn request(mutations: &[Value]) -> Value {
    json!({ "protocol": 1, "client_id": DEVICE, "schema": 1, "cursor": null, "limit": 2000, "mutations": mutations })
}

/// The same, from a cursor.
pub fn request_after(cursor: &Value, mutations: &[Value]) -> Value {
    with(request(mutations), "cursor", cursor.clone())
}

/// A value with one field set.
pub fn with(mut value: Value, field: &str, to: Value) -> Value {
    value[field] = to;
    value
}

/// A mutation; `key` is its id where the table wants that.
pub fn mutation(table: &str, op: &str, key: Option<&str>, hlc: &str, values: Value) -> Value {
    let id = new_id().to_string();
    json!({ "id": id, "hlc": hlc, "table": table, "op": op, "key": key.unwrap_or(&id), "values": values })
}

/// An id that nobody else has. Which one it is decides nothing here, so it needs no seed.
pub fn new_id() -> Uuid {
    let [high, low] = [0, 1].map(|half: u8| RandomState::new().hash_one(half));
    uuid::Builder::from_random_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes()).into_uuid()
}

/// An early clock; `n` orders mutations.
pub fn hlc(n: u32) -> String {
    format!("{:013}-{:04x}", 1_700_000_000_000_u64, n)
}

/// A completed session on a day, with other columns set on top.
pub fn session(day: &str, columns: Value) -> Value {
    let mut values = Map::new();
    values.insert("session_type".into(), json!("qa"));
    values.insert("ended_at".into(), json!(format!("{day}T12:00:00.000000Z")));
    values.insert("session_data".into(), json!({ "local_date": day }));
    values.extend(columns.as_object().cloned().unwrap_or_default());
    mutation("sessions", "insert", None, &hlc(0), Value::Object(values))
}

/// An award on a day, with other columns set on top.
pub fn event(day: &str, columns: Value) -> Value {
    let mut values = Map::new();
    values.insert("occurred_at".into(), json!(format!("{day}T13:00:00.000000Z")));
    values.insert("local_date".into(), json!(day));
    values.extend(columns.as_object().cloned().unwrap_or_default());
    mutation("progress_events", "insert", None, &hlc(0), Value::Object(values))
}

/// The status of each result, in order; a rejected one with its code: `rejected 22023`.
pub fn statuses(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().expect("results");
    results
        .iter()
        .map(|result| match (result["status"].as_str(), result["code"].as_str()) {
            (Some(status), Some(code)) => format!("{status} {code}"),
            (Some(status), None) => status.to_owned(),
            _ => panic!("no status in {result}"),
        })
        .collect()
}

/// The only `user_progress` row of an answer.
pub fn progress(answer: &Value) -> &Value {
    &answer["rows"]["user_progress"][0]["values"]
}

/// The keys of an answer's rows of a table.
pub fn keys(answer: &Value, table: &str, column: &str) -> Vec<String> {
    let rows = answer["rows"][table].as_array().cloned().unwrap_or_default();
    rows.iter().map(|row| row["values"][column].as_str().expect("a key").to_owned()).collect()
}
