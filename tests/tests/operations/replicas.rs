//! What a hot standby answers while it follows its primary: pulls, the views of whoever watches; and that it takes no push.

use marea_core::SessionInput;
use marea_tests::cluster::root;
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::mirrored::{in_batch, pull, rows};
use marea_tests::sql::{Caller, hlc, mutation, new_id, request, request_after, session, with};
use marea_tests::standby::{Server, Servers};
use marea_tests::wait;
use serde_json::json;
use uuid::Uuid;

/// 2026-11-23T12:00:00Z.
const NOON_MS: i64 = 1_795_435_200_000;

async fn primary_and_standby(servers: &Servers) -> (Server, Server, Uuid) {
    let primary = servers.primary("primary").await;
    let user = new_id();
    primary.execute(&[&format!("INSERT INTO public.users (id) VALUES ('{user}')")]).await;
    let standby = servers.standby("standby", &primary).await;
    (primary, standby, user)
}

/// A device of a user, and how it stands.
struct Reader {
    device: EngineDevice,
    user: Uuid,
}

impl Reader {
    fn new(user: Uuid) -> Reader {
        Reader { device: EngineDevice::new(user.into(), "", at(NOON_MS)), user }
    }

    fn record(&self) {
        self.device.record(SessionInput::new("practice"));
    }

    /// Syncs with a server; whether it was sent back to the beginning, and how many sessions it shows.
    async fn sync(&self, server: &Server) -> (bool, i64) {
        let caller = Caller::of(server.url(), self.user).await;
        let mut reset = false;
        let synced = self.device.sync_by_sql(&caller.client, |answer| reset |= answer.reset).await;
        synced.expect("an answer");
        (reset, self.device.progress().total_sessions)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_go_from_the_primary_to_its_standby_and_back() {
    let servers = Servers::new().await;
    let (primary, standby, user) = primary_and_standby(&servers).await;
    let [writer, reader] = [(); 2].map(|()| Reader::new(user));
    writer.record();
    assert_eq!(writer.sync(&primary).await, (false, 1));
    standby.catch_up_with(&primary).await;
    // The first pull of a new device, and one with a cursor of the primary.
    assert_eq!(reader.sync(&standby).await, (false, 1));
    assert_eq!(writer.sync(&standby).await, (false, 1));

    writer.record();
    assert_eq!(writer.sync(&primary).await, (false, 2));
    standby.catch_up_with(&primary).await;
    assert_eq!(reader.sync(&standby).await, (false, 2));
    reader.record();
    assert_eq!(reader.sync(&primary).await, (false, 3));

    // What the primary has begun since its restart comes to the standby too.
    let primary = Server::start(primary.stop().await).await;
    let again = format!("ALTER SYSTEM SET primary_conninfo = '{}'", primary.url());
    standby.execute(&[&again, "SELECT pg_reload_conf()"]).await;
    assert_eq!(writer.sync(&primary).await, (false, 3));
    standby.catch_up_with(&primary).await;
    assert_eq!(writer.sync(&standby).await, (false, 3));

    // A standby that lags has not seen everything. Who has seen more is sent back, as by a server that has lost it.
    standby.execute(&["SELECT pg_wal_replay_pause()"]).await;
    standby.until("replay is paused", "pg_get_wal_replay_pause_state() = 'paused'").await;
    writer.record();
    assert_eq!(writer.sync(&primary).await, (false, 4));
    assert_eq!(reader.sync(&standby).await, (false, 3));
    let seen = Caller::of(primary.url(), user).await.pull().await;
    let caller = Caller::of(standby.url(), user).await;
    let after = request_after(&seen["cursor"], &[]);
    assert_eq!(caller.sync(&after).await["reset"], true);
    standby.execute(&["SELECT pg_wal_replay_resume()"]).await;
    standby.catch_up_with(&primary).await;
    assert_eq!(reader.sync(&standby).await, (false, 4));

    // A connection that is open goes on when the standby is promoted.
    let pulled = caller.sync(&after).await;
    assert_eq!(pulled["reset"], false);
    primary.kill().await;
    standby.promote().await;
    let pushed = caller.sync(&request_after(&pulled["cursor"], &[session("2026-11-22", json!({}))])).await;
    assert_eq!((&pushed["reset"], &pushed["results"][0]["status"]), (&json!(false), &json!("applied")));
    for device in [&writer, &reader] {
        assert_eq!(device.sync(&standby).await, (false, 5));
    }
    standby.stop().await;
}

/// Cleaning up on the primary cancels what still looks at it on the standby.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_recovery_cancels_is_made_again() {
    let servers = Servers::new().await;
    let (primary, standby, user) = primary_and_standby(&servers).await;
    let [writer, reader] = [(); 2].map(|()| Reader::new(user));
    writer.record();
    writer.sync(&primary).await;
    standby.catch_up_with(&primary).await;

    let slow = Caller::of(standby.url(), user).await;
    slow.client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("a transaction");
    slow.pull().await;
    writer.record();
    writer.sync(&primary).await;
    primary.execute(&["VACUUM marea.rows, marea.clocks, public.user_progress"]).await;
    wait::until("recovery cancels the pull", || async {
        slow.client.query_one("SELECT public.marea_sync($1)", &[&request(&[])]).await.is_err()
    })
    .await;
    standby.catch_up_with(&primary).await;
    assert_eq!(reader.sync(&standby).await, (false, 2));
    assert_eq!(reader.sync(&primary).await, (false, 2));
    standby.stop().await;
    primary.stop().await;
}

/// A standby can keep nothing: whatever is sent stays in the queue, and is no mutation's fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_refuses_a_push_as_a_whole() {
    let servers = Servers::new().await;
    let (primary, standby, user) = primary_and_standby(&servers).await;
    let words = std::fs::read_to_string(root().join("tests/fixtures/words.sql")).expect("the fixture");
    primary.execute(&[&words]).await;
    let list = new_id().to_string();
    let made = |key: &str| mutation("word_lists", "insert", Some(key), &hlc(1), json!({ "title": "t" }));
    let there = Caller::of(primary.url(), user).await;
    assert_eq!(there.push(&[made(&list)]).await, ["applied"]);
    standby.catch_up_with(&primary).await;

    // What it has it gives, the catalogue too.
    let on_standby = Caller::of(standby.url(), user).await;
    assert_eq!(rows(&pull(&on_standby).await, "word_lists")[0]["id"], json!(list));
    let asked = with(request(&[]), "catalogue", json!(""));
    assert_eq!(on_standby.sync(&asked).await["catalogue"], there.sync(&asked).await["catalogue"]);
    let batch = new_id();
    for mutations in [
        vec![session("2026-11-22", json!({}))],
        vec![made(&new_id().to_string())],
        vec![mutation("word_lists", "merge", Some(&list), &hlc(2), json!({ "title": "u" }))],
        vec![mutation("word_lists", "delete", Some(&list), &hlc(2), json!({}))],
        vec![session("2026-11-22", json!({})), made(&new_id().to_string())],
        vec![in_batch(made(&new_id().to_string()), batch), in_batch(session("2026-11-22", json!({})), batch)],
    ] {
        let refused = on_standby.try_sync(&request(&mutations)).await;
        assert_eq!(refused.expect_err("a standby").code, "25006", "{mutations:?}");
        // The connection is as before.
        assert_eq!(on_standby.pull().await["reset"], false);
    }
    standby.stop().await;
    primary.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_may_look_at_a_standby() {
    let servers = Servers::new().await;
    let (primary, standby, user) = primary_and_standby(&servers).await;
    let device = Reader::new(user);
    device.record();
    device.sync(&primary).await;
    standby.catch_up_with(&primary).await;
    for view in ["health", "client_lag", "largest_users", "foreign_writers"] {
        // What does not change by itself from one look to the next.
        let shape = match view {
            "health" => {
                "SELECT string_agg(measure || ' ' || subject, ', ' ORDER BY measure, subject) FROM marea.health"
            }
            _ => &format!("SELECT count(*) FROM marea.{view}"),
        };
        assert_eq!(standby.text(shape).await, primary.text(shape).await, "{view}");
    }
    let users = "SELECT value FROM marea.health WHERE measure = 'users'";
    assert_eq!(standby.text(users).await, primary.text(users).await);
    standby
        .execute(&["SET ROLE service_role", "SELECT * FROM marea.health", "SELECT * FROM marea.client_lag"])
        .await;
    standby.stop().await;
    primary.stop().await;
}
