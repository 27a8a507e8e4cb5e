//! The model of the server in the seeded worlds, and `marea_sync` in a real Postgres: sent the same requests by the same
//! engines, they answer the same, result by result and column by column. So what the worlds show holds for Postgres.

use std::collections::BTreeMap;

use marea_core::{SyncAnswer, SyncRequest, UserId};
use marea_tests::backend::{TestBackend, connect};
use marea_tests::simulation::{self, Story};
use marea_tests::sql::Caller;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use uuid::Uuid;

/// Worlds of every test run; `MAREA_SEEDS` asks for more.
const SEEDS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_the_server_answers_as_postgres_does() {
    let backend = TestBackend::start().await;
    let url = backend.ready().database_url.clone();
    let given = std::env::var("MAREA_SEEDS").ok();
    let seeds = given.map_or(SEEDS, |text| text.parse().expect("MAREA_SEEDS is a whole number"));
    let handle = Handle::current();
    let lived = tokio::task::spawn_blocking(move || {
        for seed in 0..seeds {
            let mut real = Real::new(&url, &handle);
            let compare = move |user: UserId, request: &SyncRequest, answer: &SyncAnswer| {
                real.compare(*user.as_uuid(), request, answer);
            };
            if let Err(violation) =
                simulation::run_beside(seed, &mut Story::untold(), Some(Box::new(compare)))
            {
                panic!("{violation}");
            }
        }
    });
    lived.await.expect("the servers agree");
    backend.stop().await;
}

/// The real server, and which of its cursors stands for which of the model's.
struct Real {
    url: String,
    handle: Handle,
    callers: BTreeMap<Uuid, Caller>,
    cursors: BTreeMap<(Uuid, i64), Value>,
}

impl Real {
    fn new(url: &str, handle: &Handle) -> Real {
        Real {
            url: url.to_owned(),
            handle: handle.clone(),
            callers: BTreeMap::new(),
            cursors: BTreeMap::new(),
        }
    }

    fn compare(&mut self, user: Uuid, request: &SyncRequest, answer: &SyncAnswer) {
        let mut asked = as_json(request);
        if let Some(cursor) = &request.cursor {
            asked["cursor"] = self.cursors[&(user, cursor.version)].clone();
        }
        let real = self.handle.clone().block_on(self.ask(user, &asked));
        let model = as_json(answer);
        self.cursors.insert((user, answer.cursor.version), real["cursor"].clone());
        let context = || format!("asked {asked}\nreal {real}\nmodel {model}");
        assert_eq!(results(&real), results(&model), "{}", context());
        for field in ["reset", "has_more"] {
            assert_eq!(real[field], model[field], "{field}: {}", context());
        }
        assert_eq!(rows(&real), rows(&model), "{}", context());
    }

    async fn ask(&mut self, user: Uuid, request: &Value) -> Value {
        if !self.callers.contains_key(&user) {
            let admin = connect(&self.url).await;
            let statement = "INSERT INTO public.users (id, email) VALUES ($1, $1 || '@test.example')";
            let statement = statement.replace("$1 ||", "$1::uuid ||");
            admin.execute(&statement, &[&user]).await.expect("a new user");
            self.callers.insert(user, Caller::of(&self.url, user).await);
        }
        self.callers[&user].sync(request).await
    }
}

fn as_json(value: &impl serde::Serialize) -> Value {
    let text = serde_json::to_string(value).expect("JSON");
    serde_json::from_str(&text).expect("JSON")
}

fn results(answer: &Value) -> Vec<(Value, Value, Value)> {
    let results = answer["results"].as_array().expect("results");
    results.iter().map(|r| (r["id"].clone(), r["status"].clone(), r["code"].clone())).collect()
}

/// Packed rows, with their columns' names.
fn unpacked(packed: &Value) -> Value {
    let columns = packed["columns"].as_array().expect("names");
    let rows = packed["rows"].as_array().expect("rows").iter().map(|row| {
        let row = row.as_array().expect("a list");
        assert_eq!(row.len(), columns.len() + 2);
        let names = columns.iter().map(|name| name.as_str().expect("a name").to_owned());
        let values: Map<String, Value> = names.zip(row[2..].iter().cloned()).collect();
        json!({ "version": row[0], "hlc": row[1], "values": values })
    });
    Value::from_iter(rows)
}

/// The rows of an answer by table and key, without what only a real table has, and without progress that is still nothing:
/// of that a server need not have a row.
fn rows(answer: &Value) -> BTreeMap<String, (Map<String, Value>, Value)> {
    let mut found = BTreeMap::new();
    let mut tables = answer["rows"].as_object().cloned().expect("tables");
    for (table, packed) in answer["packed"].as_object().expect("tables") {
        tables.insert(table.clone(), unpacked(packed));
    }
    for (table, of_table) in &tables {
        for row in of_table.as_array().expect("rows") {
            let mut values = row["values"].as_object().cloned().expect("columns");
            let (key, own): (&str, &[&str]) = match table.as_str() {
                "export_history" => ("id", &["updated_at"]),
                "daily_activity" => ("day", &[]),
                _ => ("user_id", &["id", "created_at", "updated_at"]),
            };
            own.iter().for_each(|column| drop(values.remove(*column)));
            for value in values.values_mut() {
                // 0 and 0.0 are the same number.
                if let Some(number) = value.as_f64() {
                    *value = json!(number);
                }
            }
            let nothing = table == "user_progress" && values["last_activity_at"].is_null();
            if !nothing {
                let place = format!("{table} {}", row["values"][key]);
                found.insert(place, (values, row["hlc"].clone()));
            }
        }
    }
    found
}
