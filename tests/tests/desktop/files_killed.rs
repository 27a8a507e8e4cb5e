//! `kill -9` of the command and of the backend, its Postgres along with it, in whatever state files are: each file that was acknowledged
//! arrives once and whole. MAREA_KILLS says how often; the page and the browser are killed in tests/browser/files-killed.test.mjs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marea_tests::backend::connect;
use marea_tests::command::Device;
use marea_tests::kills::rounds;
use marea_tests::program;
use marea_tests::random::Random;
use marea_tests::wait::BOUND;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Child;

use crate::files::{kept, write};

/// A backend as a process of its own, at one address for all its lives.
struct Mortal {
    folder: TempDir,
    child: Child,
    ready: Value,
}

impl Mortal {
    async fn start() -> Mortal {
        let folder = tempfile::tempdir().expect("a folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("its Postgres may be another user's");
        let (child, ready) = Mortal::live(&folder, "0").await;
        Mortal { folder, child, ready }
    }

    async fn live(folder: &TempDir, port: &str) -> (Child, Value) {
        let data = folder.path().join("data").display().to_string();
        let words = ["--wakeups", "false", "--statement-timeout", "60", "--port", port, "--data", &data];
        let (child, _, ready) = program::backend(words, 4 * BOUND).await;
        (child, ready)
    }

    fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().expect("a text")
    }

    async fn kill(&mut self) {
        self.child.kill().await.expect("SIGKILL");
    }

    async fn live_again(&mut self) {
        let port = self.text("url").rsplit(':').next().expect("a port").to_owned();
        (self.child, self.ready) = Mortal::live(&self.folder, &port).await;
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> Value {
        let http = marea_core::http_client_builder().no_proxy().build().expect("a client");
        let call = http.post(format!("{}{path}", self.text("url"))).header("apikey", self.text(key));
        let answer = call.bearer_auth(self.text(key)).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    /// On one machine a piece is there in no time, and no kill would find it on its way.
    async fn slow_down(&self) {
        let slow = json!({ "kind": "delay", "path": "/storage/v1", "delay_ms": 30 });
        self.post("/_marea/faults", "service_key", &slow).await;
    }
}

/// Kills a command after `delay`: what it had printed, and whether it was still at it.
async fn run_and_kill(device: &Device, words: &[&str], delay: Duration) -> (String, bool) {
    let mut running = device.command(words).spawn().expect("marea starts");
    let ended_by_itself = tokio::time::timeout(delay, running.wait()).await.is_ok();
    let _ = running.start_kill();
    let output = running.wait_with_output().await.expect("its output");
    (String::from_utf8(output.stdout).expect("UTF-8"), !ended_by_itself)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_any_state_each_acknowledged_file_arrives_once_and_whole() {
    let mut random = Random::of_this_run("files_killed");
    let mut backend = Mortal::start().await;
    backend.slow_down().await;
    let account = json!({ "email": format!("{}@example.com", random.uuid()), "password": "a long one" });
    let signed_up = backend.post("/auth/v1/signup", "anon_key", &account).await;
    let learner = signed_up["user"]["id"].as_str().expect("an id").to_owned();
    let [device, other] = [(), ()].map(|()| {
        Device::new()
            .with("MAREA_URL", backend.text("url"))
            .with("MAREA_ANON_KEY", backend.text("anon_key"))
            .with("MAREA_TOKEN", signed_up["access_token"].as_str().expect("a token"))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let (mut promised, mut killed, mut states) = (Vec::new(), 0, BTreeMap::<String, usize>::new());
    for round in 0.. {
        if killed >= rounds(24) {
            break;
        }
        // Some in one request, some in pieces.
        let size = if random.chance(40) { 13 << 20 } else { 10_000 };
        let source = folder.path().join("source.zip");
        write(&source, size, round);
        let (id, path) = (random.uuid().to_string(), source.display().to_string());
        let words =
            ["export", "create", "--type", "x", "--format", "zip", "--file", &path, "--id", &id, "--json"];
        let delay = Duration::from_micros(random.within(0..=150_000).unsigned_abs());
        let (said, by_us) = run_and_kill(&device, &words, delay).await;
        if said.ends_with('\n') && said.contains(&id) {
            promised.push((id, size));
        }
        let mut victims = vec![("create", by_us)];
        let delay = Duration::from_micros(random.within(0..=500_000).unsigned_abs());
        if round % 3 == 0 {
            let mut syncing = device.command(&["sync", "--json"]).spawn().expect("marea starts");
            tokio::time::sleep(delay).await;
            backend.kill().await;
            syncing.wait().await.expect("it ends");
            victims.push(("backend", true));
        } else {
            victims.push(("sync", run_and_kill(&device, &["sync", "--json"], delay).await.1));
        }
        let files = device.json(&["export", "files"]).await;
        let found: BTreeSet<&str> =
            files.as_array().expect("a list").iter().filter_map(|it| it["state"].as_str()).collect();
        for (victim, _) in victims.into_iter().filter(|(_, by_us)| *by_us) {
            killed += 1;
            for state in &found {
                *states.entry(format!("{victim}, {state}")).or_default() += 1;
            }
        }
        if round % 3 == 0 {
            backend.live_again().await;
            backend.slow_down().await;
        }
    }
    eprintln!("{killed} kills, {} files promised; while files were {states:?}", promised.len());
    assert!(!promised.is_empty(), "none was ever given the time");
    for state in ["waiting", "uploading", "uploaded"] {
        let is_seen = |victim| states.contains_key(&format!("{victim}, {state}"));
        assert!(
            rounds(24) < 100 || ["create", "sync", "backend"].into_iter().all(is_seen),
            "{state}: {states:?}"
        );
    }
    let mut report = Value::Null;
    for _ in 0..40 {
        report = device.json(&["sync"]).await;
        if report["files"]["waiting"] == 0 && report["pending"] == 0 {
            break;
        }
    }
    let database = connect(backend.text("database_url")).await;
    let query =
        "SELECT name, (metadata ->> 'size')::bigint FROM storage.objects WHERE bucket_id = 'marea-exports'";
    let rows = database.query(query, &[]).await.expect("the objects");
    let found: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(found.keys().all(|path| path.starts_with(&learner)), "in another's folder: {found:?}");
    other.json(&["sync"]).await;
    for (id, size) in &promised {
        let of_it: Vec<_> = found.iter().filter(|(path, _)| path.contains(id.as_str())).collect();
        assert_eq!(of_it.len(), 1, "{id}: {report}");
        assert_eq!(*of_it[0].1, i64::try_from(*size).expect("a size"), "{id}");
        let query = format!("SELECT file_url FROM public.export_history WHERE id = '{id}'");
        let url: String = database.query_one(&query, &[]).await.expect("its row").get(0);
        assert!(found.contains_key(url.trim_start_matches("storage://marea-exports/")), "{url}");
        // From the server: nothing is on this device. The hash is checked on the way.
        let copy = folder.path().join("copy");
        other.json(&["export", "download", id, "--out", &copy.display().to_string()]).await;
        std::fs::remove_file(&copy).expect("removed");
    }
    let files = device.json(&["export", "files"]).await;
    let known: Vec<&str> =
        files.as_array().expect("a list").iter().filter_map(|it| it["export_id"].as_str()).collect();
    for name in kept(&device) {
        assert!(known.iter().any(|id| name.starts_with(id)), "bytes without a row: {name}");
    }
}
