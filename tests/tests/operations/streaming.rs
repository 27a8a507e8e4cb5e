//! Real primaries with standbys that stream from them, and devices that go from one to the other: caught up, lagging, forked, crashed,
//! started without a promotion, restored from a dump of a standby. Who lost something is sent back to the beginning, and nobody else;
//! in the end everything that was recorded is there, once. `tests/src/fleet.rs` says what is known of that, and how.

use marea_backend::{LEARNER1, Options};
use marea_core::{SessionInput, Transport};
use marea_tests::backend::TestBackend;
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::fleet::Fleet;
use marea_tests::random::Random;
use marea_tests::sql::{Caller, event, request_after, session, with};
use marea_tests::standby::{Server, Servers};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::restore::copy_rows;

/// Devices and their users: device n is of user n % 5.
const DEVICES: usize = 20;
const USERS: usize = 5;

/// A primary that the devices know, each with something on it.
async fn begun(test: &str) -> (Servers, Server, Fleet) {
    let servers = Servers::new().await;
    let primary = servers.primary("primary").await;
    let mut fleet = Fleet::new(&primary, USERS, DEVICES, &mut Random::of_this_run(test)).await;
    fleet.write(0..DEVICES).await;
    fleet.all_is_there_once(&primary).await;
    (servers, primary, fleet)
}

/// One device of user 0 and one of user 1: they alone see what is lost.
const LOSERS: [usize; 2] = [0, 1];

/// All others write until the clocks have passed what the losers know; then these come. Nobody else is sent back.
async fn are_overtaken(fleet: &mut Fleet, server: &Server) {
    for _ in 0..2 {
        fleet.write((0..DEVICES).filter(|device| !LOSERS.contains(device))).await;
    }
    assert_eq!(fleet.resets(), 0);
    fleet.all_is_there_once(server).await;
    assert_eq!(fleet.resets(), 2);
}

/// The devices of the users in this range.
fn of_users(range: std::ops::Range<usize>) -> impl Iterator<Item = usize> + Clone {
    (0..DEVICES).filter(move |device| range.contains(&(device % USERS)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_had_caught_up_sends_nobody_back() {
    let (servers, primary, mut fleet) = begun("caught_up").await;
    let standby = servers.standby("standby", &primary).await;
    fleet.write(of_users(0..3)).await;
    standby.catch_up_with(&primary).await;
    let before = primary.timeline().await;
    primary.kill().await;
    standby.promote().await;
    assert_ne!(standby.timeline().await, before);
    fleet.moves_to(&standby, None).await;
    fleet.write(of_users(1..5)).await;
    fleet.all_is_there_once(&standby).await;
    assert_eq!(fleet.resets(), 0);
    standby.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lagged_sends_back_only_those_who_lost_something() {
    let (servers, primary, mut fleet) = begun("lagged").await;
    let standby = servers.standby("standby", &primary).await;
    standby.cut_off().await;
    // One device of user 0 and all of user 1 write into the tail; of user 0 only that device has seen it.
    fleet.write([0]).await;
    fleet.write(of_users(1..2)).await;
    primary.kill().await;
    standby.promote().await;
    fleet.moves_to(&standby, None).await;
    // Others overtake what was lost before those come who lost it.
    fleet.write((0..DEVICES).rev().filter(|device| *device != 0)).await;
    fleet.write([5, 10, 15, 5, 0]).await;
    fleet.all_is_there_once(&standby).await;
    assert_eq!(fleet.resets(), 1 + 4);
    standby.stop().await;
}

/// The second one to be promoted knows nothing of the first, and calls itself the same timeline.
#[tokio::test(flavor = "multi_thread")]
async fn two_standbys_promoted_one_after_the_other_are_two_histories() {
    let (servers, primary, mut fleet) = begun("forked").await;
    let [first, second] =
        [servers.standby("first", &primary).await, servers.standby("second", &primary).await];
    primary.kill().await;
    first.promote().await;
    let named = first.timeline().await;
    fleet.moves_to(&first, None).await;
    fleet.write(LOSERS).await;
    assert_eq!(fleet.resets(), 0);
    first.kill().await;
    second.promote().await;
    assert_eq!(second.timeline().await, named);
    fleet.moves_to(&second, Some(0)).await;
    are_overtaken(&mut fleet, &second).await;
    second.stop().await;
}

/// `synchronous_commit = off`: what was acknowledged last dies with the processes. Once the whole server starts again; once Postgres
/// recovers by itself, and is the same one by its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_that_takes_acknowledged_commits_along_is_noticed() {
    for by_itself in [false, true] {
        let (_servers, mut primary, mut fleet) = begun("crashed").await;
        let timeline = primary.timeline().await;
        let started = primary.text("pg_postmaster_start_time()").await;
        let count = "SELECT count(*) FROM public.sessions";
        let kept = primary.text(count).await;
        primary.hold_commits().await;
        fleet.write(LOSERS).await;
        assert_ne!(primary.text(count).await, kept);
        match by_itself {
            true => primary.crash().await,
            false => primary = Server::start(primary.kill().await).await,
        }
        assert_eq!(primary.text(count).await, kept, "the tail is lost");
        assert_eq!(primary.timeline().await, timeline);
        assert_eq!(primary.text("pg_postmaster_start_time()").await == started, by_itself);
        fleet.moves_to(&primary, None).await;
        are_overtaken(&mut fleet, &primary).await;
        primary.stop().await;
    }
}

/// A standby that becomes a server by taking its signal file away: the same timeline as its primary's.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_started_without_a_promotion_is_another_history() {
    let (servers, primary, mut fleet) = begun("unpromoted").await;
    let standby = servers.standby("standby", &primary).await;
    let timeline = primary.timeline().await;
    standby.cut_off().await;
    fleet.write(LOSERS).await;
    primary.stop().await;
    let data = standby.stop().await;
    std::fs::remove_file(data.join("postgres/standby.signal")).expect("the signal goes");
    let standby = Server::start(data).await;
    assert_eq!(standby.timeline().await, timeline);
    fleet.moves_to(&standby, None).await;
    are_overtaken(&mut fleet, &standby).await;
    standby.stop().await;
}

/// The clock has passed what was lost before anybody comes: by the job that prunes.
#[tokio::test(flavor = "multi_thread")]
async fn who_lost_something_is_told_after_the_tombstones_were_pruned_first() {
    let (servers, primary, mut fleet) = begun("pruned").await;
    // An old tombstone of each user; what is older than it and alive gets new versions.
    primary
        .execute(&[
            "INSERT INTO public.export_history (user_id, export_type, export_format) SELECT id, 'all', 'json' FROM public.users",
            "DELETE FROM public.export_history",
            "UPDATE marea.rows SET changed_at = now() - interval '100 days' WHERE deleted",
        ])
        .await;
    fleet.all_is_there_once(&primary).await;
    let standby = servers.standby("standby", &primary).await;
    standby.cut_off().await;
    fleet.write([0]).await;
    primary.kill().await;
    standby.promote().await;
    fleet.moves_to(&standby, None).await;
    let clocks = "SELECT sum(version) FROM marea.clocks";
    let before: i64 = standby.text(clocks).await.parse().expect("a number");
    standby.execute(&["SELECT marea.prune_tombstones()"]).await;
    let moved = standby.text(clocks).await.parse::<i64>().expect("a number") - before;
    assert!(moved >= USERS as i64 * 2, "progress and a day of each user have moved: {moved}");
    fleet.all_is_there_once(&standby).await;
    assert_eq!(fleet.resets(), 1);
    standby.stop().await;
}

/// A dump is often made where it disturbs nobody. Its unlogged tables cannot be read there.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_a_standby_is_healed_by_those_who_have_seen_more() {
    let (servers, primary, mut fleet) = begun("dumped").await;
    let standby = servers.standby("standby", &primary).await;
    fleet.write(of_users(0..1)).await;
    standby.catch_up_with(&primary).await;
    let restored = servers.primary("restored").await;
    copy_rows(&standby.sql().await, &restored.sql().await).await;
    fleet.write(LOSERS).await;
    primary.kill().await;
    fleet.moves_to(&restored, None).await;
    are_overtaken(&mut fleet, &restored).await;
    restored.stop().await;
    standby.stop().await;
}

/// One push as an app's own requests make it.
async fn push(server: &Server, user: Uuid, cursor: &Value, mutations: &[Value]) -> Value {
    Caller::of(server.url(), user).await.sync(&request_after(cursor, mutations)).await
}

async fn new_user(server: &Server) -> Uuid {
    let row = server
        .sql()
        .await
        .query_one("INSERT INTO public.users (id) VALUES (gen_random_uuid()) RETURNING id", &[])
        .await;
    row.expect("a user").get(0)
}

/// A session without an end changes nothing that devices see: its push is as silent as one can be.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_push_in_a_lost_tail_is_noticed() {
    let servers = Servers::new().await;
    let primary = servers.primary("primary").await;
    let (user, other) = (new_user(&primary).await, new_user(&primary).await);
    let [first, untouched] = [
        push(&primary, user, &Value::Null, &[session("2026-04-01", json!({}))]).await,
        push(&primary, other, &Value::Null, &[]).await,
    ];
    let standby = servers.standby("standby", &primary).await;
    standby.cut_off().await;
    let silent = with(
        session("2026-04-02", json!({})),
        "values",
        json!({ "session_type": "practice", "started_at": "2026-04-02T10:00:00.000000Z" }),
    );
    let ahead = push(&primary, user, &first["cursor"], &[silent]).await;
    assert_eq!((&ahead["results"][0]["status"], &ahead["rows"]), (&json!("applied"), &json!({})));
    primary.kill().await;
    standby.promote().await;
    let overtaken =
        push(&standby, user, &first["cursor"], &[event("2026-04-03", json!({ "points": 1 }))]).await;
    assert_eq!(overtaken["reset"], false, "that device lost nothing");
    assert_eq!(push(&standby, user, &ahead["cursor"], &[]).await["reset"], true);
    assert_eq!(push(&standby, other, &untouched["cursor"], &[]).await["reset"], false);
    standby.stop().await;
}

/// The same through the gateway and PostgREST, as devices come; the keys of the project are in the database and go along.
#[tokio::test(flavor = "multi_thread")]
async fn devices_go_on_over_http_when_a_standby_takes_over() {
    let servers = Servers::new().await;
    let primary = servers.primary("primary").await;
    let in_front = async |server: &Server| {
        let database_url = Some(server.url().to_owned());
        TestBackend::start_with(Options { database_url, ..Options::default() }).await
    };
    let backend = in_front(&primary).await;
    let user = backend.new_user().await;
    let devices = [(); 4].map(|()| EngineDevice::new(user.id.into(), &*user.token, at(1_795_435_200_000)));
    let sync = async |backend: &TestBackend| {
        let transport = Transport::new(&backend.ready().url, &backend.ready().anon_key).expect("an address");
        for device in devices.iter().chain(&devices) {
            let report = device.sync(&transport).await;
            assert_eq!((report.pending, report.last_error), (0, None));
        }
    };
    let record = || devices.iter().for_each(|device| drop(device.record(SessionInput::new("qa"))));
    record();
    sync(&backend).await;
    let standby = servers.standby("standby", &primary).await;
    standby.cut_off().await;
    record();
    sync(&backend).await;
    primary.kill().await;
    backend.stop().await;
    standby.promote().await;
    let backend = in_front(&standby).await;
    record();
    sync(&backend).await;
    let counted = format!("SELECT total_sessions FROM public.user_progress WHERE user_id = '{}'", user.id);
    assert_eq!(standby.text(&counted).await, "12");
    assert!(devices.iter().all(|device| device.progress().total_sessions == 12));
    backend.stop().await;
    standby.stop().await;
}

/// Some hosts drop unlogged tables when they fail over. What a running transaction notes is in a table that they keep.
#[tokio::test(flavor = "multi_thread")]
async fn a_fail_over_that_drops_unlogged_tables_breaks_no_write() {
    let (servers, primary, mut fleet) = begun("dropped").await;
    let standby = servers.standby("standby", &primary).await;
    primary.kill().await;
    standby.promote().await;
    let unlogged = "SELECT string_agg(oid::regclass::text, ' ') FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'";
    assert_eq!(standby.text(unlogged).await, "marea.this_run");
    standby.execute(&["DROP TABLE marea.this_run"]).await;
    assert_eq!(standby.text("SELECT count(*) FROM marea.pending").await, "0");
    fleet.moves_to(&standby, None).await;
    // The app's own write first, with a learner's rights.
    let app = Caller::of(standby.url(), LEARNER1.id).await;
    let write = "INSERT INTO public.sessions (user_id, ended_at) VALUES (auth.uid(), now())";
    app.client.execute(write, &[]).await.expect("a session");
    fleet.write(0..DEVICES).await;
    fleet.all_is_there_once(&standby).await;
    assert_eq!(standby.text(unlogged).await, "marea.this_run");
    assert_eq!(fleet.resets(), 0);
    standby.stop().await;
}
