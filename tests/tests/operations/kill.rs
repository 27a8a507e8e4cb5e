//! Postgres dies in the middle of pushes, again and again. Whatever it acknowledged is there once, and so is the rest in
//! the end.

use std::cell::Cell;
use std::process::Command;
use std::time::Duration;

use marea_core::{SessionInput, Transport};
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::random::Random;
use marea_tests::wait;
use marea_tests::world::World;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// 2026-11-23T12:00:00Z.
const NOON_MS: i64 = 1_795_435_200_000;
const KILLS: usize = 50;

/// A superuser's connection, `None` while Postgres recovers.
async fn connected(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(async move { connection.await.ok() });
    client.simple_query("SELECT 1").await.ok().map(|_| client)
}

const SESSIONS: &str = "SELECT count(*) FROM public.sessions WHERE user_id = $1";
const TOTAL: &str = "SELECT total_sessions::bigint FROM public.user_progress WHERE user_id = $1";

/// What Postgres answers as soon as it can. A crash may show only after a connection was made.
async fn asked(url: &str, query: &str, user: Uuid) -> i64 {
    let answer = Cell::new(None);
    wait::until("Postgres has recovered", || async {
        let Some(client) = connected(url).await else { return false };
        answer.set(client.query_one(query, &[&user]).await.ok().map(|row| row.get(0)));
        answer.get().is_some()
    })
    .await;
    answer.get().expect("an answer")
}

/// Kills one of PostgREST's server processes with SIGKILL. Postgres then throws all of them away, because shared memory may
/// be damaged, and recovers from its log: to everybody connected it is a crash.
async fn crash(url: &str) -> bool {
    let Some(client) = connected(url).await else { return false };
    let query = "SELECT pid FROM pg_stat_activity WHERE usename = 'authenticator' ORDER BY state = 'active' DESC LIMIT 1";
    let Ok(Some(row)) = client.query_opt(query, &[]).await else { return false };
    let pid: i32 = row.get(0);
    Command::new("kill").args(["-9", &pid.to_string()]).status().is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_loses_nothing_that_it_acknowledged_and_counts_nothing_twice() {
    let mut random = Random::of_this_run("recovery_kill");
    let world = World::alone().await;
    let ready = world.backend().ready().clone();
    let transport = Transport::new(&ready.url, &ready.anon_key).expect("an address");
    let device = EngineDevice::new(world.learner(1).into(), world.token(1, 36_000), at(NOON_MS));
    let (mut recorded, mut crashed, mut cut) = (0, 0, 0);
    while crashed < KILLS {
        for _ in 0..random.within(1..=40) {
            device.record(SessionInput { duration_minutes: Some(1), ..SessionInput::new("practice") });
            recorded += 1;
        }
        // A request starts within a few milliseconds; the kill comes before, during or after it.
        let delay = Duration::from_micros(random.bits() % 12_000);
        let (report, killed) = tokio::join!(device.sync(&transport), async {
            tokio::time::sleep(delay).await;
            crash(&ready.database_url).await
        });
        crashed += usize::from(killed);
        cut += usize::from(report.pending > 0);
        let acknowledged = recorded - i64::from(report.pending);
        let kept = asked(&ready.database_url, SESSIONS, world.learner(1)).await;
        assert!((acknowledged..=recorded).contains(&kept), "{acknowledged} <= {kept} <= {recorded}");
        assert_eq!(device.progress().total_sessions, recorded, "the learner sees all of it, always");
    }
    wait::until("everything has arrived", || async { device.sync(&transport).await.pending == 0 }).await;
    assert_eq!(asked(&ready.database_url, SESSIONS, world.learner(1)).await, recorded);
    assert_eq!(asked(&ready.database_url, TOTAL, world.learner(1)).await, recorded);
    assert_eq!(device.progress().total_sessions, recorded);
    eprintln!("{crashed} crashes, {cut} of them left work to be sent again, {recorded} sessions");
    assert!(cut > 0, "no kill came in time to be of interest");
}
