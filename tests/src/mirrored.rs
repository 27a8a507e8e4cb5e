//! An app whose tables are mirrored, in a database of its own: `tests/fixtures/words.sql`, `inventory.sql`. What its users send and
//! get, by SQL. It expects nothing of the answers.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::cluster::{Cluster, Database, root};
use crate::sql::{Caller, new_id, request, with};

/// The database and its server.
pub struct MirroredApp {
    /// The server.
    pub cluster: Cluster,
    /// The database.
    pub database: Database,
}

impl MirroredApp {
    /// With all migrations and these fixtures.
    ///
    /// # Panics
    /// When one does not apply.
    pub async fn start(fixtures: &[&str]) -> MirroredApp {
        MirroredApp::on(Cluster::start().await, fixtures).await
    }

    /// The same on a server that runs already.
    ///
    /// # Panics
    /// When a fixture does not apply.
    pub async fn on(cluster: Cluster, fixtures: &[&str]) -> MirroredApp {
        let database = cluster.database("mirrored", u32::MAX).await;
        for fixture in fixtures {
            database.file(&root().join("tests/fixtures").join(fixture)).await.succeeds();
        }
        MirroredApp { cluster, database }
    }

    /// A new user.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn user(&self) -> Caller {
        let id = new_id();
        self.database.execute(&format!("INSERT INTO public.users (id) VALUES ('{id}')")).await;
        Caller::of(&self.database.url, id).await
    }

    /// Another connection of a user.
    ///
    /// # Panics
    /// When Postgres does not answer.
    pub async fn again(&self, user: Uuid) -> Caller {
        Caller::of(&self.database.url, user).await
    }

    /// Stops the server.
    pub async fn stop(self) {
        self.cluster.stop().await;
    }
}

/// Sends mutations; of each what came of it: its status, or code and message.
///
/// # Panics
/// When the request itself is refused.
pub async fn send(caller: &Caller, mutations: &[Value]) -> Vec<String> {
    results(&caller.sync(&with(request(mutations), "packed", json!(true))).await)
}

/// Of each mutation its status, or code and message of one that was rejected.
///
/// # Panics
/// When the answer has no results, or one that was not rejected has a code.
pub fn results(answer: &Value) -> Vec<String> {
    let one = |result: &Value| match (result["status"].as_str(), &result["code"], &result["message"]) {
        (Some("rejected"), Value::String(code), Value::String(message)) => format!("{code}: {message}"),
        (Some(status), Value::Null, _) => status.to_owned(),
        _ => panic!("a result that cannot be: {result}"),
    };
    answer["results"].as_array().expect("results").iter().map(one).collect()
}

/// All that a new device gets, packed.
pub async fn pull(caller: &Caller) -> Value {
    caller.sync(&with(request(&[]), "packed", json!(true))).await
}

/// What a device gets that has this cursor.
pub async fn pull_after(caller: &Caller, cursor: &Value) -> Value {
    caller.sync(&with(with(request(&[]), "packed", json!(true)), "cursor", cursor.clone())).await
}

/// The rows of a packed table, each an object; its clocks are the member `clocks`.
///
/// # Panics
/// When it is not packed as the protocol says.
pub fn rows(answer: &Value, table: &str) -> Vec<Value> {
    let Some(text) = answer["packed"][table].as_str() else { return Vec::new() };
    let columns: Map<String, Value> = serde_json::from_str(text).expect("columns");
    let count = columns["clocks"].as_array().expect("clocks").len();
    let row =
        |place: usize| columns.iter().map(|(name, values)| (name.clone(), values[place].clone())).collect();
    let mut rows: Vec<Map<String, Value>> = (0..count).map(row).collect();
    rows.sort_by_key(|row| row.get("id").map(Value::to_string));
    rows.into_iter().map(Value::Object).collect()
}

/// The keys of the deleted rows of a table, sorted.
///
/// # Panics
/// When they are no texts.
pub fn deleted(answer: &Value, table: &str) -> Vec<String> {
    let keys = answer["deleted"][table].as_array().cloned().unwrap_or_default();
    let mut keys: Vec<String> = keys.iter().map(|key| key.as_str().expect("a key").to_owned()).collect();
    keys.sort();
    keys
}

/// The same mutation as part of a batch.
pub fn in_batch(mutation: Value, batch: Uuid) -> Value {
    with(mutation, "batch", json!(batch))
}
