//! One account sends its worst from fourteen connections at once while another one syncs: by itself, beside each of the worst requests, and
//! beside fourteen honest accounts that push as fast as they are answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Caller;
use super::{Figure, Spread, cpu};
use crate::cluster::Cluster;
use crate::worst;

/// More than PostgREST has connections.
const ATTACKERS: usize = 14;
const QUIET: usize = 300;

/// How everybody calls: `Caller::at_gateway`, or `Caller::new` for what Postgres and PostgREST bear by themselves.
type Door = fn(&Cluster, uuid::Uuid) -> Caller;

/// Makes what is sent next.
type Body = Box<dyn Fn() -> String + Send>;

/// How the neighbour fared beside one load.
pub struct Beside {
    /// What the load sent.
    pub name: &'static str,
    /// The neighbour's times, shortest first.
    pub times: Vec<Duration>,
    /// Cores that were in use, by program.
    pub cores: BTreeMap<String, f64>,
    /// Answers to the load, a second, by status.
    pub answers: BTreeMap<u16, f64>,
}

impl Beside {
    fn percentile(&self, percent: usize) -> f64 {
        super::percentile(&self.times, percent)
    }

    /// A line for people.
    fn line(&self) -> String {
        let answers: Vec<String> =
            self.answers.iter().map(|(status, rate)| format!("{status}: {rate:.0}/s")).collect();
        let cores: Vec<String> =
            self.cores.iter().map(|(name, cores)| format!("{name} {cores:.2}")).collect();
        format!(
            "{}: p50 {:.1} ms, p99 {:.1} ms; cores: {}; answers: {}",
            self.name,
            self.percentile(50),
            self.percentile(99),
            cores.join(", "),
            answers.join(", ")
        )
    }
}

async fn user(cluster: &Cluster) -> uuid::Uuid {
    let url = &cluster.backend().ready().database_url;
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("Postgres");
    tokio::spawn(connection);
    let made = "INSERT INTO public.users (id) VALUES (gen_random_uuid()) RETURNING id";
    client.query_one(made, &[]).await.expect("a learner").get(0)
}

/// A device that has synced once and asks for what is new since.
struct Neighbour {
    caller: Caller,
    body: String,
}

impl Neighbour {
    async fn new(cluster: &Cluster, door: Door) -> Neighbour {
        let mut caller = door(cluster, user(cluster).await);
        let mut request = json!({ "request": { "protocol": 1, "client_id": "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11", "schema": 1,
                                               "cursor": null, "limit": 500, "mutations": [] } });
        let (status, answer) = caller.call("marea_sync", &request.to_string());
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        request["request"]["cursor"] = answer["cursor"].clone();
        Neighbour { caller, body: request.to_string() }
    }

    fn sync(&mut self, beside: &str) -> Duration {
        let started = super::now();
        let (status, answer) = self.caller.call("marea_sync", &self.body);
        assert_eq!(status, 200, "{beside}: {answer}");
        started.elapsed()
    }

    /// So many syncs beside a load: each of these is sent again and again until they are done.
    fn beside(&mut self, name: &'static str, calls: usize, load: Vec<(Caller, Body)>) -> Beside {
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = load
            .into_iter()
            .map(|(mut caller, body)| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    let mut answers: BTreeMap<u16, f64> = BTreeMap::new();
                    while !stop.load(Ordering::SeqCst) {
                        *answers.entry(caller.call("marea_sync", &body()).0).or_default() += 1.0;
                    }
                    answers
                })
            })
            .collect();
        let (began, cpu_before) = (super::now(), cpu::used());
        let mut times: Vec<Duration> = (0..calls).map(|_| self.sync(name)).collect();
        let (took, cpu_after) = (began.elapsed().as_secs_f64(), cpu::used());
        stop.store(true, Ordering::SeqCst);
        let mut answers: BTreeMap<u16, f64> = BTreeMap::new();
        for sender in senders {
            for (status, count) in sender.join().expect("a sender that was answered") {
                *answers.entry(status).or_default() += count / took;
            }
        }
        times.sort_unstable();
        let cores = cpu_after
            .into_iter()
            .map(|(name, seconds)| {
                let cores = (seconds - cpu_before.get(&name).unwrap_or(&0.0)) / took;
                (name, cores)
            })
            .collect();
        let beside = Beside { name, times, cores, answers };
        eprintln!("  {}", beside.line());
        beside
    }
}

/// How the neighbour fares during each attack, which every connection goes on with until the neighbour is done.
///
/// # Panics
/// When the neighbour is not served.
pub async fn measure(cluster: &Cluster, calls: usize) -> Vec<Beside> {
    attacked(cluster, Caller::new, calls).await
}

/// The request with other mutations than the last time: those would be duplicates, which are answered sooner.
fn with_fresh_ids(body: &str) -> String {
    static SENT: AtomicU32 = AtomicU32::new(0);
    let fresh = format!("{:08x}", SENT.fetch_add(1, Ordering::Relaxed));
    let mut text = body.to_owned();
    for field in [r#""id":""#, r#""key":""#] {
        for (at, _) in body.match_indices(field) {
            let from = at + field.len();
            text.replace_range(from..from + fresh.len(), &fresh);
        }
    }
    text
}

async fn attacked(cluster: &Cluster, door: Door, calls: usize) -> Vec<Beside> {
    let mut measured = Vec::new();
    for (name, text) in worst::requests() {
        let account = user(cluster).await;
        let body = format!(r#"{{"request":{text}}}"#);
        let load = (0..ATTACKERS).map(|_| {
            let body = body.clone();
            (door(cluster, account), Box::new(move || with_fresh_ids(&body)) as Body)
        });
        measured.push(Neighbour::new(cluster, door).await.beside(name, calls, load.collect()));
    }
    measured
}

/// As many honest accounts, each of which pushes a session of today again and again.
async fn honest(cluster: &Cluster, door: Door, calls: usize) -> Beside {
    let mut load = Vec::new();
    for _ in 0..ATTACKERS {
        let account = user(cluster).await;
        let body = || format!(r#"{{"request":{}}}"#, worst::text_of(&worst::sessions(1, ""), ""));
        load.push((door(cluster, account), Box::new(body) as Body));
    }
    Neighbour::new(cluster, door).await.beside("fourteen honest accounts", calls, load)
}

/// The neighbour's times: quiet, beside honest accounts, and under attack.
async fn figure(through: &str, door: Door, calls: usize) -> Figure {
    eprintln!(" {through}");
    let cluster = Cluster::start().await;
    let quiet = Neighbour::new(&cluster, door).await.beside("quiet", QUIET, Vec::new());
    let honest = honest(&cluster, door, calls * 4).await;
    let mut measured = attacked(&cluster, door, calls).await;
    cluster.stop().await;
    measured.sort_by(|one, other| one.percentile(99).total_cmp(&other.percentile(99)));
    let worst = measured.last().map_or((0.0, ""), |one| (one.percentile(99), one.name));
    let mut times: Vec<Duration> = measured.into_iter().flat_map(|one| one.times).collect();
    times.sort_unstable();
    let all = Beside { name: "all attacks", times, cores: BTreeMap::new(), answers: BTreeMap::new() };
    Figure {
        what: format!("another account's sync while one does its worst, {through}, p99"),
        baseline: format!(
            "the same without: p50 {:.1} ms, p99 {:.1} ms; beside {ATTACKERS} honest accounts: p50 {:.1} ms, p99 {:.1} ms",
            quiet.percentile(50),
            quiet.percentile(99),
            honest.percentile(50),
            honest.percentile(99)
        ),
        bar: "<= 2 x".into(),
        measured: Spread::of("ms", [all.percentile(99)]),
        passed: all.percentile(99) <= 2.0 * quiet.percentile(99),
        how: format!(
            "20 worst requests, each again and again from {ATTACKERS} connections; {} syncs meanwhile, p50 {:.1} ms; the worst p99 \
             {:.1} ms, during {}; attackers, PostgREST, Postgres and neighbour share the machine",
            all.times.len(),
            all.percentile(50),
            worst.0,
            worst.1
        ),
    }
}

/// Both ways: a deployment has a gateway in front, or has not.
pub async fn figures(calls: usize) -> Vec<Figure> {
    vec![
        figure("through the gateway", Caller::at_gateway, calls).await,
        figure("straight to PostgREST", Caller::new, calls).await,
    ]
}
