//! The program `marea-backend`: one line when it is ready, a clean end on a signal, and after `kill -9` neither processes
//! nor a folder that the next start trips over. Runs on Linux: it looks at processes through /proc.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as PlainCommand, Stdio};

use marea_backend::{Backend, Error, LEARNER1, Options};
use marea_tests::backend::{TestBackend, connect};
use marea_tests::program;
use marea_tests::wait::{self, until};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

struct Running {
    child: Child,
    lines: program::Lines,
    ready: Value,
    pid: u32,
}

impl Running {
    async fn start(arguments: &[&str]) -> Running {
        let (child, lines, ready) = program::backend(arguments, wait::BOUND).await;
        let pid = child.id().expect("it runs");
        Running { child, lines, ready, pid }
    }

    fn signal(&self, name: &str) {
        let sent = PlainCommand::new("kill").args([name, &self.pid.to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Sends the signal and waits for the end.
    async fn end(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        let status = tokio::time::timeout(wait::BOUND, self.child.wait()).await.expect("it ends in time");
        status.expect("a status").code()
    }

    fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap_or_default()
    }

    async fn sign_in(&self) -> StatusCode {
        let http = marea_core::http_client_builder().no_proxy().build().expect("a client");
        let call = http.post(format!("{}/auth/v1/token?grant_type=password", self.text("url")));
        let body = json!({ "email": LEARNER1.email, "password": LEARNER1.password });
        call.header("apikey", self.text("anon_key")).json(&body).send().await.expect("an answer").status()
    }
}

/// The living processes below `pid`. A dead one that nobody has collected yet is not living.
fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|it| it.parse::<u32>().ok()) else { continue };
        if let Some(parent) = living_parent(child) {
            parents.push((child, parent));
        }
    }
    let mut found = BTreeSet::from([pid]);
    // Children have been seen when a round adds nothing.
    loop {
        let before = found.len();
        found.extend(
            parents.iter().filter(|(_, parent)| found.contains(parent)).map(|it| it.0).collect::<Vec<_>>(),
        );
        if found.len() == before {
            found.remove(&pid);
            return found;
        }
    }
}

/// The parent of a process that is not a zombie.
fn living_parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    words.next()?.parse().ok()
}

async fn gone(pids: &BTreeSet<u32>) {
    until("all processes are gone", || async { pids.iter().all(|pid| living_parent(*pid).is_none()) }).await;
}

/// The folder of the cluster that a postmaster among `pids` works in.
fn cluster_of(pids: &BTreeSet<u32>) -> (u32, PathBuf) {
    let mut clusters = pids.iter().filter_map(|pid| {
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let number = fs::read_to_string(folder.join("postmaster.pid")).ok()?;
        (number.lines().next() == Some(pid.to_string().as_str())).then_some((*pid, folder))
    });
    clusters.next().expect("a postmaster")
}

#[tokio::test]
async fn it_prints_one_line_and_each_stop_signal_ends_it_cleanly() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let mut running = Running::start(&[]).await;
        let lasting = ["url", "anon_key", "service_key", "jwt_secret", "database_url"];
        let since = ["publishable_key", "secret_key", "jwks_url"];
        for field in lasting.iter().chain(&since) {
            assert!(!running.text(field).is_empty(), "{field}");
        }
        assert_eq!(running.ready.as_object().map(serde_json::Map::len), Some(lasting.len() + since.len()));
        assert_eq!(running.sign_in().await, StatusCode::OK);
        let children = descendants(running.pid);
        assert!(children.len() > 3, "Postgres, its own children, PostgREST: {children:?}");
        let (_, cluster) = cluster_of(&children);
        assert_eq!(running.end(signal).await, Some(0), "{signal}");
        assert!(running.lines.next_line().await.expect("readable").is_none(), "one line");
        gone(&children).await;
        assert!(!cluster.parent().expect("a folder").exists(), "a temporary folder is gone");
    }
}

#[tokio::test]
async fn a_signal_during_the_start_leaves_nothing() {
    let mut child = Command::new(program::built("marea-backend", "marea-backend"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let pid = child.id().expect("it runs");
    let mut words = [0; 1];
    // The first word comes before the first child.
    child.stderr.as_mut().expect("a pipe").read_exact(&mut words).await.expect("a word");
    until("initdb runs", || async { making(pid).is_some() }).await;
    let folder = making(pid);
    let children = descendants(pid);
    PlainCommand::new("kill").arg(pid.to_string()).status().expect("kill runs");
    let status = tokio::time::timeout(wait::BOUND, child.wait()).await.expect("it ends in time");
    assert!(status.expect("a status").success());
    gone(&children).await;
    assert!(folder.is_none_or(|it| !it.exists()), "the temporary folder is gone");
}

/// The temporary folder of the backend `pid`, while it makes its cluster.
fn making(pid: u32) -> Option<PathBuf> {
    descendants(pid).into_iter().find_map(|child| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?;
        line.split('\0').find_map(|word| word.strip_suffix("/postgres.making").map(PathBuf::from))
    })
}

#[tokio::test]
async fn after_kill_9_nothing_runs_and_the_data_starts_again() {
    let data = tempfile::tempdir().expect("a folder");
    let arguments = ["--data", data.path().to_str().expect("a path")];
    let mut first = Running::start(&arguments).await;
    let sql = connect(first.text("database_url")).await;
    sql.batch_execute("INSERT INTO public.users (id, email) VALUES (gen_random_uuid(), 'kept@test.example')")
        .await
        .expect("a row");
    let children = descendants(first.pid);
    assert_eq!(first.end("-KILL").await, None);
    gone(&children).await;

    let mut second = Running::start(&arguments).await;
    for field in ["anon_key", "service_key", "jwt_secret"] {
        assert_eq!(first.text(field), second.text(field), "{field}");
    }
    let sql = connect(second.text("database_url")).await;
    let statement = "SELECT count(*) FROM public.users WHERE email = ANY ($1)";
    let emails = ["kept@test.example", LEARNER1.email];
    let kept: i64 = sql.query_one(statement, &[&emails.as_slice()]).await.expect("a count").get(0);
    assert_eq!(kept, 2);
    assert_eq!(second.sign_in().await, StatusCode::OK);
    assert_eq!(second.end("-TERM").await, Some(0));
    assert!(data.path().join("postgres/PG_VERSION").exists(), "the data stays");
}

#[tokio::test]
async fn a_request_may_take_as_long_as_is_recommended_or_as_the_command_says() {
    for (arguments, expected) in [(&[][..], 8_000), (&["--statement-timeout", "90"], 90_000)] {
        let mut running = Running::start(arguments).await;
        let client = connect(running.text("database_url")).await;
        let bound = "SELECT value::bigint FROM marea.health WHERE (measure, subject) = ('limits', 'statement_timeout of authenticated')";
        let bound: i64 = client.query_one(bound, &[]).await.expect("health").get(0);
        assert_eq!(bound, expected);
        drop(client);
        assert_eq!(running.end("-TERM").await, Some(0));
    }
}

#[tokio::test]
async fn a_postgres_that_still_runs_on_the_data_is_stopped_first() {
    let data = tempfile::tempdir().expect("a folder");
    let arguments = ["--data", data.path().to_str().expect("a path")];
    let mut first = Running::start(&arguments).await;
    let (postmaster, cluster) = cluster_of(&descendants(first.pid));
    let program = fs::read_link(format!("/proc/{postmaster}/exe")).expect("its program");
    first.end("-TERM").await;

    // What a system that does not tie children to their parents would have left.
    let mut left = orphan(&program, &cluster);
    until("it has written its pid file", || async { cluster.join("postmaster.pid").exists() }).await;
    let mut second = Running::start(&arguments).await;
    assert!(left.wait().expect("a status").code().is_some(), "asked to stop, not shot");
    assert_eq!(second.sign_in().await, StatusCode::OK);
    second.end("-TERM").await;
}

fn orphan(program: &Path, cluster: &Path) -> std::process::Child {
    let owner = fs::metadata(cluster).expect("a folder");
    let mut command = PlainCommand::new(program);
    command.arg("-D").arg(cluster).args([
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "unix_socket_directories=",
    ]);
    command.args(["-p", &free_port().to_string()]);
    if owner.uid() != fs::metadata("/proc/self").expect("this process").uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("Postgres starts")
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn a_stranger_that_got_the_number_in_the_pid_file_is_left_alone() {
    let data = tempfile::tempdir().expect("a folder");
    let arguments = ["--data", data.path().to_str().expect("a path")];
    let mut first = Running::start(&arguments).await;
    let (_, cluster) = cluster_of(&descendants(first.pid));
    let owner = fs::metadata(&cluster).expect("a folder");
    first.end("-TERM").await;

    let mut command = PlainCommand::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    if owner.uid() != fs::metadata("/proc/self").expect("this process").uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut stranger = command.spawn().expect("cat starts");
    let text = format!("{}\n{}\n1\n1\n\n\n", stranger.id(), cluster.display());
    fs::write(cluster.join("postmaster.pid"), text).expect("a pid file");
    let mut second = Running::start(&arguments).await;
    assert!(stranger.try_wait().expect("a status").is_none(), "it still runs");
    second.end("-TERM").await;
    drop(stranger.stdin.take());
    stranger.wait().expect("its end");
}

#[tokio::test]
async fn the_temporary_folder_of_a_killed_run_goes_at_the_next_start() {
    let mut killed = Running::start(&[]).await;
    let children = descendants(killed.pid);
    let (_, cluster) = cluster_of(&children);
    let folder = cluster.parent().expect("a folder").to_owned();
    killed.end("-KILL").await;
    gone(&children).await;
    // Another test's start may have been faster; either way it is gone after ours.
    let next = TestBackend::start().await;
    assert!(!folder.exists());
    next.stop().await;
}

#[tokio::test]
async fn two_backends_on_one_folder_are_one_too_many() {
    let data = tempfile::tempdir().expect("a folder");
    let options = || Options { data: Some(data.path().to_owned()), ..Options::default() };
    let first = TestBackend::start_with(options()).await;
    match Backend::start(options()).await {
        Err(Error::InUse { path }) => assert_eq!(path, data.path().canonicalize().expect("a path")),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("two on one folder"),
    }
    first.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let taken = holder.local_addr().expect("an address").port();
    let Err(error) = Backend::start(Options { port: taken, ..Options::default() }).await else {
        panic!("it started")
    };
    assert!(matches!(error, Error::PortTaken { port, .. } if port == taken));
    assert!(error.to_string().contains(&taken.to_string()));
}
