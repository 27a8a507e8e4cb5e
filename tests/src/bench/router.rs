//! What the router of several pairs costs a device: the same calls past it and through it, in turn on kept connections, of the gateway as
//! devices call it, and of a bare PostgREST, beside which the router weighs most.

use std::time::Duration;

use marea_backend::Router;
use serde_json::{Value, json};
use uuid::Uuid;

use super::http::Caller;
use super::{Figure, Rounds};
use crate::cluster::Cluster;

const ROUNDS: usize = 31;
const IDLE_CALLS: u32 = 60;
const PUSHES: u32 = 20;
const BAR: f64 = 1.2;

/// A device, asked past the router and through it in turn.
struct Device {
    user: Uuid,
    callers: [Caller; 2],
    cursor: Value,
}

impl Device {
    /// The mean time of a call of this side, over some.
    fn time(&mut self, side: usize, calls: u32, is_push: bool) -> Duration {
        let mut took = Duration::ZERO;
        for _ in 0..calls {
            let mutations = if is_push { session() } else { json!([]) };
            let body = json!({ "request": { "protocol": 1, "client_id": self.user, "schema": 1, "cursor": self.cursor,
                                            "limit": 500, "packed": true, "mutations": mutations } });
            let body = body.to_string();
            let began = super::now();
            let (status, answer) = self.callers[side].call("marea_sync", &body);
            took += began.elapsed();
            assert_eq!(status, 200, "{answer}");
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            self.cursor = answer["cursor"].clone();
        }
        took / calls
    }

    fn rounds(&mut self, calls: u32, is_push: bool) -> Rounds {
        let mut rounds = Rounds::new();
        for side in [0, 1] {
            self.time(side, calls, is_push); // plans and caches
        }
        for round in 0..ROUNDS {
            // Whoever comes second finds warmer caches.
            let first = round % 2;
            let one = self.time(first, calls, is_push);
            let other = self.time(1 - first, calls, is_push);
            let (past, through) = if first == 0 { (one, other) } else { (other, one) };
            rounds.add(past, through);
        }
        rounds
    }
}

fn session() -> Value {
    let id = crate::sql::new_id();
    json!([{ "id": id, "key": id, "hlc": "1795435200000-0000", "table": "sessions", "op": "insert",
             "values": { "id": id, "session_type": "qa", "ended_at": "2026-11-23T12:00:00.000000Z", "duration_minutes": 10,
                         "session_data": { "local_date": "2026-11-23" } } }])
}

/// An idle sync and a push of a session, through the router against past it.
///
/// # Panics
/// When something is not answered.
pub async fn figures() -> Vec<Figure> {
    let cluster = Cluster::start().await;
    let ready = cluster.backend().ready().clone();
    let database = crate::backend::connect(&ready.database_url).await;
    let key = format!("apikey: {}\r\n", ready.anon_key);
    let mut figures = Vec::new();
    for (name, url, path, headers) in [
        ("the gateway", ready.url.as_str(), "/rest/v1/rpc", key.as_str()),
        ("PostgREST alone", cluster.backend().postgrest_url(), "/rpc", ""),
    ] {
        let address = url.trim_start_matches("http://").to_owned();
        let router = Router::start(0, None, vec![address]).await.expect("a router");
        for (what, calls, is_push) in
            [("a sync with nothing to do", IDLE_CALLS, false), ("a push of a session", PUSHES, true)]
        {
            let user = crate::sql::new_id();
            database.execute("INSERT INTO public.users (id) VALUES ($1)", &[&user]).await.expect("a user");
            let callers = [url, &router.url()].map(|url| Caller::of(&cluster, user, url, path, headers));
            let mut device = Device { user, callers, cursor: Value::Null };
            figures.push(device.rounds(calls, is_push).figure(
                &format!("{what}, through the router to {name}"),
                "past the router",
                BAR,
                &format!("{calls} calls a round on one kept connection each, in turn"),
            ));
        }
        router.stop().await;
    }
    cluster.stop().await;
    figures
}
