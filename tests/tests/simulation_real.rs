//! The seeded worlds with a real server: the devices talk over HTTP to the gateway, PostgREST and `marea_sync` in Postgres,
//! with real tokens, while the model of the fast worlds is sent the same requests. Answer by answer, and at the end as a
//! whole, Postgres holds what the model holds: so what thousands of fast worlds show, holds for Postgres.

use std::collections::{BTreeMap, BTreeSet};

use marea_core::{Failure, ResultStatus, SyncAnswer, SyncRequest, Transport, UserId};
use marea_tests::backend::{TestBackend, connect};
use marea_tests::simulation::{self, Beside, Story, refusal_of, unpacked};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio_postgres::Client;
use uuid::Uuid;

/// Worlds of every test run; `MAREA_SEEDS` asks for more.
const SEEDS: u64 = 200;
/// Worlds that are lived through at the same time.
const AT_ONCE: u64 = 2;
const TIMEOUT_MS: u64 = 30_000;

/// Makes Postgres refuse what a world calls poison, as an app's own trigger would.
const POISON: &str = "
    CREATE TABLE public.poison (id uuid PRIMARY KEY, code text NOT NULL);
    CREATE FUNCTION public.refuse_poison() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
    DECLARE
      code CONSTANT text := (SELECT p.code FROM public.poison AS p WHERE p.id = NEW.id);
    BEGIN
      IF code IS NOT NULL THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = code;
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER poison BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.refuse_poison();
    CREATE TRIGGER poison BEFORE INSERT ON marea.progress_events FOR EACH ROW EXECUTE FUNCTION public.refuse_poison();
    CREATE TRIGGER poison BEFORE INSERT ON public.export_history FOR EACH ROW EXECUTE FUNCTION public.refuse_poison();";

#[tokio::test(flavor = "multi_thread")]
async fn devices_and_postgres_agree_in_every_world() {
    let backend = TestBackend::start().await;
    backend.sql().await.batch_execute(POISON).await.expect("triggers");
    let given = std::env::var("MAREA_SEEDS").ok();
    let seeds = given.map_or(SEEDS, |text| text.parse().expect("MAREA_SEEDS is a whole number"));
    let backend = std::sync::Arc::new(backend);
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let (backend, handle) = (std::sync::Arc::clone(&backend), Handle::current());
            tokio::task::spawn_blocking(move || {
                let own = (0..seeds).filter(|seed| seed % AT_ONCE == worker);
                own.map(|seed| live(seed, &backend, &handle)).sum::<u32>()
            })
        })
        .collect();
    let mut requests = 0;
    for worker in workers {
        requests += worker.await.expect("devices, model and Postgres agree");
    }
    eprintln!("simulation_real: {seeds} worlds, {requests} requests");
    assert!(u64::from(requests) > seeds * 10, "{requests} requests in {seeds} worlds");
}

/// Lives through one world; returns how many requests were answered.
fn live(seed: u64, backend: &std::sync::Arc<TestBackend>, handle: &Handle) -> u32 {
    let answered = std::rc::Rc::new(std::cell::Cell::new(0));
    let real = Real::new(backend, handle, std::rc::Rc::clone(&answered));
    if let Err(violation) = simulation::run_beside(seed, &mut Story::untold(), Some(Box::new(real))) {
        panic!("{violation}");
    }
    answered.get()
}

/// The way to the real server.
struct Real {
    backend: std::sync::Arc<TestBackend>,
    handle: Handle,
    transport: Transport,
    admin: Client,
    tokens: BTreeMap<Uuid, String>,
    refused: BTreeSet<Uuid>,
    answered: std::rc::Rc<std::cell::Cell<u32>>,
}

impl Real {
    fn new(
        backend: &std::sync::Arc<TestBackend>,
        handle: &Handle,
        answered: std::rc::Rc<std::cell::Cell<u32>>,
    ) -> Real {
        let ready = backend.ready();
        Real {
            backend: std::sync::Arc::clone(backend),
            handle: handle.clone(),
            transport: Transport::new(&ready.url, &ready.anon_key).expect("an address"),
            admin: handle.block_on(connect(&ready.database_url)),
            tokens: BTreeMap::new(),
            refused: BTreeSet::new(),
            answered,
        }
    }

    fn token(&mut self, user: Uuid) -> String {
        if let Some(token) = self.tokens.get(&user) {
            return token.clone();
        }
        let statement = "INSERT INTO public.users (id, email) VALUES ($1, $1::uuid || '@test.example')";
        self.handle.block_on(self.admin.execute(statement, &[&user])).expect("a new user");
        let token = self.backend.token(user, 3600);
        self.tokens.insert(user, token.clone());
        token
    }

    /// Has Postgres refuse what the model refused because the world calls it poison, and only that.
    fn poison(&mut self, model: &SyncAnswer) {
        for result in &model.results {
            let id = *result.id.as_uuid();
            let is_poison =
                result.status == ResultStatus::Rejected && result.message.as_deref() == Some("refused");
            let told = match (is_poison, self.refused.contains(&id)) {
                (true, false) => {
                    let code = refusal_of(result.id);
                    let statement = "INSERT INTO public.poison (id, code) VALUES ($1, $2)";
                    self.handle.block_on(self.admin.execute(statement, &[&id, &code]))
                }
                (false, true) => self
                    .handle
                    .block_on(self.admin.execute("DELETE FROM public.poison WHERE id = $1", &[&id])),
                _ => continue,
            };
            told.expect("told");
            if is_poison {
                self.refused.insert(id)
            } else {
                self.refused.remove(&id)
            };
        }
    }
}

impl Beside for Real {
    fn answer(
        &mut self,
        user: UserId,
        request: &SyncRequest,
        model: &SyncAnswer,
    ) -> Result<SyncAnswer, Failure> {
        self.poison(model);
        let token = self.token(*user.as_uuid());
        let carried = self.handle.block_on(self.transport.post(request, user, &token, TIMEOUT_MS));
        let real = carried.outcome.unwrap_or_else(|failure| panic!("{failure} for {}", json!(request)));
        compare(request, &real, model);
        self.answered.set(self.answered.get() + 1);
        Ok(real)
    }

    fn refuse(&mut self, user: UserId, request: &SyncRequest) -> Failure {
        self.token(*user.as_uuid());
        let expired = self.backend.token(*user.as_uuid(), -60);
        let carried = self.handle.block_on(self.transport.post(request, user, &expired, TIMEOUT_MS));
        let failure = carried.outcome.expect_err("an expired token is refused");
        assert!(matches!(failure, Failure::Unauthorized { .. }), "{failure:?}");
        failure
    }
}

fn compare(request: &SyncRequest, real: &SyncAnswer, model: &SyncAnswer) {
    let context = || format!("asked {}\nreal {}\nmodel {}", json!(request), json!(real), json!(model));
    let results = |answer: &SyncAnswer| -> Vec<_> {
        answer.results.iter().map(|result| (result.id, result.status, result.code.clone())).collect()
    };
    assert_eq!(results(real), results(model), "{}", context());
    assert_eq!((real.reset, real.has_more), (model.reset, model.has_more), "{}", context());
    assert_eq!(rows(real), rows(model), "{}", context());
}

/// The rows of an answer by table and key, without what only a real table has, and without progress that is still nothing:
/// of that a server need not have a row.
fn rows(answer: &SyncAnswer) -> BTreeMap<String, (Map<String, Value>, Value)> {
    let mut found = BTreeMap::new();
    for (table, of_table) in &unpacked(answer).rows {
        for row in of_table {
            let mut values: Map<String, Value> = serde_json::from_str(row.values.get()).expect("columns");
            let (key, own): (&str, &[&str]) = match table.as_str() {
                "export_history" => ("id", &["updated_at"]),
                "daily_activity" => ("day", &[]),
                _ => ("user_id", &["id", "created_at", "updated_at"]),
            };
            own.iter().for_each(|column| drop(values.remove(*column)));
            // A day that is not frozen says nothing of it.
            if values.get("frozen") == Some(&json!(false)) {
                values.remove("frozen");
            }
            for value in values.values_mut() {
                // 0 and 0.0 are the same number.
                if let Some(number) = value.as_f64() {
                    *value = json!(number);
                }
            }
            let nothing = table == "user_progress" && values["last_activity_at"].is_null();
            if !nothing {
                let place = format!("{table} {}", values[key]);
                found.insert(place, (values, row.hlc.clone()));
            }
        }
    }
    found
}
