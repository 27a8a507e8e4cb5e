//! Several complete pairs of Postgres and PostgREST behind HAProxy: each user is wholly in one, whatever is killed, and moves to
//! another one while its devices write.

use std::collections::BTreeSet;

use marea_backend::{Backend, Options, Pairs};
use marea_core::{Outcome, SessionInput, Transport};
use marea_tests::engine_device::{EngineDevice, at};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// 2026-11-23T12:00:00Z.
const NOON_MS: i64 = 1_795_435_200_000;
const USERS: usize = 12;

struct Learner {
    id: Uuid,
    token: String,
    devices: Vec<EngineDevice>,
    recorded: i64,
}

struct Stage {
    pairs: Pairs,
    databases: Vec<Client>,
    transport: Transport,
}

impl Stage {
    async fn start(count: usize) -> Stage {
        let pairs = Pairs::start(Options::default(), count, |_| {}).await.expect("pairs and a router");
        let mut databases = Vec::new();
        for number in 0..count {
            let pair = pairs.pair(number).expect("it runs");
            databases.push(connect(&pair.ready().database_url).await);
        }
        let ready = pairs.ready();
        let transport = Transport::new(&ready.url, &ready.anon_key).expect("an address");
        Stage { pairs, databases, transport }
    }

    async fn sign_up(&self, number: usize) -> Learner {
        let account =
            json!({"email": format!("pupil{number}@example.com"), "password": "a pass phrase of one"});
        let answer = self.post("/auth/v1/signup", None, &account).await;
        let id: Uuid = answer["user"]["id"].as_str().expect("an id").parse().expect("a UUID");
        let token = answer["access_token"].as_str().expect("a token").to_owned();
        let devices = (0..3).map(|_| EngineDevice::new(id.into(), token.clone(), at(NOON_MS))).collect();
        Learner { id, token, devices, recorded: 0 }
    }

    async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Value {
        answer_of(&self.pairs.ready().url, &self.pairs.ready().anon_key, path, token, body).await.1
    }

    /// The pairs that have a row of this user in a table.
    async fn pairs_with(&self, table: &str, column: &str, user: Uuid) -> Vec<usize> {
        let mut found = Vec::new();
        for (number, database) in self.databases.iter().enumerate() {
            let query = format!("SELECT EXISTS (SELECT FROM {table} WHERE {column} = $1)");
            if database.query_one(&query, &[&user]).await.expect("an answer").get(0) {
                found.push(number);
            }
        }
        found
    }

    async fn sessions(&self, pair: usize, user: Uuid) -> (i64, i64) {
        let query = "SELECT (SELECT count(*) FROM public.sessions WHERE user_id = $1),
            coalesce((SELECT total_sessions::bigint FROM public.user_progress WHERE user_id = $1), 0)";
        let row = self.databases[pair].query_one(query, &[&user]).await.expect("sums");
        (row.get(0), row.get(1))
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

async fn answer_of(url: &str, key: &str, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.post(format!("{url}{path}")).header("apikey", key).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

impl Learner {
    fn record(&mut self, device: usize) {
        let session = SessionInput { duration_minutes: Some(10), ..SessionInput::new("practice") };
        self.devices[device].record(session);
        self.recorded += 1;
    }

    async fn sync(&self, stage: &Stage, device: usize) -> Outcome {
        self.devices[device].sync(&stage.transport).await.outcome
    }

    async fn sync_all(&self, stage: &Stage) {
        for device in 0..self.devices.len() {
            assert_eq!(self.sync(stage, device).await, Outcome::Done);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_is_wholly_in_one_pair_whatever_is_killed_and_moves_while_it_writes() {
    let mut stage = Stage::start(3).await;
    let mut learners = Vec::new();
    for number in 0..USERS {
        learners.push(stage.sign_up(number).await);
    }
    for learner in &mut learners {
        for device in 0..3 {
            learner.record(device);
        }
        learner.sync_all(&stage).await;
    }

    // Each in one pair, and not all in the same. Accounts are the first pair's.
    let mut homes = Vec::new();
    for learner in &learners {
        let with_rows = stage.pairs_with("public.sessions", "user_id", learner.id).await;
        assert_eq!(with_rows.len(), 1, "{with_rows:?}");
        homes.push(with_rows[0]);
        assert_eq!(stage.sessions(homes[homes.len() - 1], learner.id).await, (3, 3));
        assert_eq!(stage.pairs_with("auth.users", "id", learner.id).await, [0]);
    }
    assert!(homes.iter().collect::<BTreeSet<_>>().len() > 1, "{homes:?}");

    errors_are_the_pairs_own(&stage, &learners[0], stage.pairs.pair(homes[0]).expect("it runs")).await;

    // Without the router nothing arrives and nothing is lost.
    stage.pairs.router().kill().await;
    learners[0].record(0);
    assert_ne!(learners[0].sync(&stage, 0).await, Outcome::Done);
    stage.pairs.router().open().await.expect("the router, again");
    learners[0].sync_all(&stage).await;
    assert_eq!(stage.sessions(homes[0], learners[0].id).await, (4, 4));

    move_while_writing(&mut stage, &mut learners[0], homes[0]).await;

    for (learner, home) in learners.iter().zip(&homes).skip(1) {
        learner.sync_all(&stage).await;
        assert_eq!(stage.sessions(*home, learner.id).await, (3, 3));
        assert_eq!(learner.devices[0].progress().total_sessions, 3);
    }
    stage.pairs.stop().await;
}

/// What the router passes on is what the pair said, word for word.
async fn errors_are_the_pairs_own(stage: &Stage, learner: &Learner, home: &Backend) {
    let key = &home.ready().anon_key;
    let wrong = json!({"request": {"protocol": 1}});
    let call = "/rest/v1/rpc/marea_sync";
    let token = Some(learner.token.as_str());
    let direct = answer_of(&home.ready().url, key, call, token, &wrong).await;
    let routed = answer_of(&stage.pairs.ready().url, key, call, token, &wrong).await;
    assert!(direct.0 >= 400);
    assert_eq!(routed, direct);
    let forged = format!("{}x", learner.token);
    let direct = answer_of(&home.ready().url, key, call, Some(&forged), &wrong).await;
    let routed = answer_of(&stage.pairs.ready().url, key, call, Some(&forged), &wrong).await;
    assert_eq!((routed.0, &routed), (401, &direct));
    // The app's own requests go there too.
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let rows = client
        .get(format!("{}/rest/v1/sessions?select=user_id", stage.pairs.ready().url))
        .header("apikey", key);
    let rows = rows
        .bearer_auth(&learner.token)
        .send()
        .await
        .expect("an answer")
        .json::<Value>()
        .await
        .expect("JSON");
    assert_eq!(
        rows,
        json!([{ "user_id": learner.id }, { "user_id": learner.id }, { "user_id": learner.id }])
    );
    // A token that names nobody goes nowhere.
    let nobody = answer_of(&stage.pairs.ready().url, key, call, None, &wrong).await;
    assert_eq!((nobody.0, nobody.1["code"].as_str()), (401, Some("PGRST301")));
}

/// Three devices write before, between and after the steps.
async fn move_while_writing(stage: &mut Stage, learner: &mut Learner, from: usize) {
    let to = (from + 1) % stage.databases.len();
    learner.record(1);
    let moving = "SELECT marea.move_user($1, 'another pair')";
    let document: Value =
        stage.databases[from].query_one(moving, &[&learner.id]).await.expect("a document").get(0);

    // In between it is told so by name, and waits.
    let report = learner.devices[1].sync(&stage.transport).await;
    assert_ne!(report.outcome, Outcome::Done);
    assert_eq!(report.rejected, 0);
    learner.record(2);

    stage.databases[to].execute("SELECT marea.import_user($1)", &[&document]).await.expect("the rows");
    stage.pairs.router().route(learner.id, to).await.expect("the router");
    learner.record(0);
    learner.sync_all(stage).await;
    learner.sync_all(stage).await;
    assert_eq!(stage.sessions(to, learner.id).await, (learner.recorded, learner.recorded));
    for device in &learner.devices {
        assert_eq!(device.progress().total_sessions, learner.recorded);
        assert_eq!(device.pending(), 0);
    }

    // What is left behind is erased, and a router that starts again still knows.
    stage.databases[from].execute("SELECT marea.erase_user($1, true)", &[&learner.id]).await.expect("erased");
    assert_eq!(stage.pairs_with("public.sessions", "user_id", learner.id).await, [to]);
    late_requests_are_refused(stage, learner, from).await;
    stage.pairs.router().kill().await;
    stage.pairs.router().open().await.expect("the router, again");
    learner.record(1);
    learner.sync_all(stage).await;
    assert_eq!(stage.sessions(to, learner.id).await.0, learner.recorded);
}

/// Of the app's own, at the pair where the user was: from a router that has not heard of it.
async fn late_requests_are_refused(stage: &Stage, learner: &Learner, from: usize) {
    let ready = stage.pairs.pair(from).expect("it runs").ready();
    let table = format!("{}/rest/v1/sessions", ready.url);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for call in [client.get(&table), client.post(&table).json(&json!({ "user_id": learner.id }))] {
        let answer = call.header("apikey", &ready.anon_key).bearer_auth(&learner.token).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 421);
        assert_eq!(answer.json::<Value>().await.expect("JSON")["details"], "another pair");
    }
    assert_eq!(stage.pairs_with("public.sessions", "user_id", learner.id).await.len(), 1);
    assert!(!stage.pairs_with("public.users", "id", learner.id).await.contains(&from));
}
