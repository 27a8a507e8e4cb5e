//! One account sends its worst from fourteen connections at once, through PostgREST, while another one syncs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::http::Caller;
use super::{Figure, Spread};
use crate::cluster::Cluster;
use crate::worst;

/// More than PostgREST has connections.
const ATTACKERS: usize = 14;
const QUIET: usize = 300;

/// A sync with nothing new to send, of a device that has a row or two.
fn body() -> String {
    json!({ "request": { "protocol": 1, "client_id": "0b0e5a8e-5b0f-4f3a-9a53-2f1d6f6a7c11", "schema": 1, "cursor": null,
                         "limit": 500, "mutations": [] } })
    .to_string()
}

async fn user(cluster: &Cluster) -> uuid::Uuid {
    let url = &cluster.backend().ready().database_url;
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("Postgres");
    tokio::spawn(connection);
    let made = "INSERT INTO public.users (id) VALUES (gen_random_uuid()) RETURNING id";
    client.query_one(made, &[]).await.expect("a learner").get(0)
}

fn sync(neighbour: &mut Caller, name: &str) -> Duration {
    let started = super::now();
    let (status, answer) = neighbour.call("marea_sync", &body());
    assert_eq!(status, 200, "{name}: {answer}");
    started.elapsed()
}

/// What each of so many calls of the neighbour took during each attack, which every connection goes on with until the neighbour is done.
///
/// # Panics
/// When the neighbour is not served.
pub async fn measure(cluster: &Cluster, calls: usize) -> Vec<(&'static str, Vec<Duration>)> {
    let mut neighbour = Caller::new(cluster, user(cluster).await);
    let mut measured = Vec::new();
    for (name, text) in worst::requests() {
        let account = user(cluster).await;
        let stop = Arc::new(AtomicBool::new(false));
        let body = Arc::new(format!(r#"{{"request":{text}}}"#));
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|_| {
                let (mut caller, stop, body) =
                    (Caller::new(cluster, account), Arc::clone(&stop), Arc::clone(&body));
                thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        caller.call("marea_sync", &body);
                    }
                })
            })
            .collect();
        let mut times: Vec<Duration> = (0..calls).map(|_| sync(&mut neighbour, name)).collect();
        stop.store(true, Ordering::SeqCst);
        eprintln!(
            "  {name}: p50 {:.1} ms, p99 {:.1} ms",
            percentile(&mut times, 50),
            percentile(&mut times, 99)
        );
        for attacker in attackers {
            attacker.join().expect("an attacker that was answered");
        }
        measured.push((name, times));
    }
    measured
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times
        .get((times.len() * percent / 100).min(times.len().saturating_sub(1)))
        .map_or(0.0, |time| super::millis(*time))
}

/// The neighbour's times, quiet and under attack.
pub async fn figure(calls: usize) -> Figure {
    let cluster = Cluster::start().await;
    let mut neighbour = Caller::new(&cluster, user(&cluster).await);
    let mut quiet: Vec<Duration> = (0..QUIET).map(|_| sync(&mut neighbour, "quiet")).collect();
    let measured = measure(&cluster, calls).await;
    let worst = measured.iter().map(|(name, times)| (percentile(&mut times.clone(), 99), *name));
    let worst = worst.max_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or_default();
    let mut all: Vec<Duration> = measured.into_iter().flat_map(|(_, times)| times).collect();
    cluster.stop().await;
    let (quiet_99, attacked_99) = (percentile(&mut quiet, 99), percentile(&mut all, 99));
    Figure {
        what: "another account's sync while one does its worst, p99".into(),
        baseline: format!("the same without: p50 {:.1} ms, p99 {quiet_99:.1} ms", percentile(&mut quiet, 50)),
        bar: "<= 2 x".into(),
        measured: Spread::of("ms", [attacked_99]),
        passed: attacked_99 <= 2.0 * quiet_99,
        how: format!(
            "20 worst requests, each again and again from {ATTACKERS} connections; {} syncs meanwhile, p50 {:.1} ms; the worst p99 \
             {:.1} ms, during {}; attackers, PostgREST, Postgres and neighbour share the machine",
            all.len(),
            percentile(&mut all, 50),
            worst.0,
            worst.1
        ),
    }
}
