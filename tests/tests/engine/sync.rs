//! The engine and its transport against the real PostgREST: lost answers, servers that say nothing or something else,
//! mutations that are refused, and other people's rows.

use marea_core::{
    ExportQuery, Failure, Host as _, Now, Outcome, ResultStatus, SessionInput, SyncRequest, Transport, UserId,
};
use marea_tests::backend::SYNC;
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::world::{Fault, FaultKind, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000;

fn noon() -> Now {
    at(NOON)
}

fn transport(world: &World) -> Transport {
    let ready = world.backend().ready();
    Transport::new(&ready.url, &ready.anon_key).expect("an address")
}

fn device(world: &World, learner: usize) -> EngineDevice {
    EngineDevice::new(world.learner(learner).into(), world.token(learner, 3600), noon())
}

fn session(minutes: i32) -> SessionInput {
    SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("practice") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_never_counts_twice_anywhere() {
    let world = World::alone().await;
    let (transport, device) = (transport(&world), device(&world, 1));
    device.record(session(5));
    world.fault(Fault::new(FaultKind::DropAnswer, SYNC, 1));
    let lost = device.sync(&transport).await;
    assert_eq!((lost.outcome, lost.pushed, lost.pending), (Outcome::Offline, 0, 1), "{lost:?}");
    assert_eq!(world.total_sessions_of(1).await, 1, "the server had done the work");
    assert_eq!(device.progress().total_sessions, 1);

    // More is recorded before anybody knows what became of the first.
    device.record(session(7));
    assert_eq!(device.progress().total_sessions, 2);
    let report = device.sync(&transport).await;
    assert_eq!((report.outcome, report.pushed, report.pending), (Outcome::Done, 2, 0), "{report:?}");
    assert_eq!(device.progress().total_time_spent_minutes, 12);
    assert_eq!((world.sessions_of(1).await.len(), world.total_sessions_of(1).await), (2, 2));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_queues_cross_in_parts_even_when_an_answer_between_them_is_lost() {
    let world = World::alone().await;
    let (transport, device) = (transport(&world), device(&world, 1));
    for _ in 0..1_203 {
        device.record(session(1));
    }
    // The first part arrives, the answer of the second is lost.
    world.fault(Fault::new(FaultKind::Delay, SYNC, 1).with_delay_ms(1));
    world.fault(Fault::new(FaultKind::DropAnswer, SYNC, 1));
    let lost = device.sync(&transport).await;
    assert_eq!(lost.outcome, Outcome::Offline, "{lost:?}");
    assert!(lost.pushed > 0 && lost.pending > 0, "{lost:?}");
    assert_eq!(device.progress().total_sessions, 1_203);
    let report = device.sync(&transport).await;
    assert_eq!((report.outcome, report.pending, report.rejected), (Outcome::Done, 0, 0), "{report:?}");
    assert_eq!(lost.pushed + report.pushed, 1_203);
    assert_eq!((world.sessions_of(1).await.len(), world.total_sessions_of(1).await), (1_203, 1_203));
    assert_eq!(device.progress().total_time_spent_minutes, 1_203);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_that_were_offline_both_count() {
    let world = World::shared().await;
    let transport = transport(&world);
    let (phone, laptop) = (device(&world, 1), device(&world, 1));
    phone.record(session(5));
    laptop.record(session(7));
    laptop.record(session(9));
    for device in [&phone, &laptop, &phone] {
        assert_eq!(device.sync(&transport).await.outcome, Outcome::Done);
    }
    assert_eq!(phone.progress(), laptop.progress());
    assert_eq!(phone.days(), laptop.days());
    assert_eq!((phone.progress().total_sessions, phone.progress().total_time_spent_minutes), (3, 21));
    assert_eq!(world.total_sessions_of(1).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_mutation_stands_in_nobodys_way() {
    let world = World::alone().await;
    world.execute("ALTER TABLE public.sessions ADD CHECK (session_type <> 'forbidden')").await;
    let (transport, device) = (transport(&world), device(&world, 1));
    device.record(SessionInput { session_type: "forbidden".into(), ..session(100) });
    for _ in 0..600 {
        device.record(session(1));
    }
    let report = device.sync(&transport).await;
    assert_eq!(
        (report.outcome, report.pushed, report.rejected, report.pending),
        (Outcome::Done, 600, 1, 0),
        "{report:?}"
    );
    assert_eq!(world.total_sessions_of(1).await, 600);
    // What the server will never have does not count here either: the devices agree.
    assert_eq!(device.progress().total_time_spent_minutes, 600);
    assert_eq!(device.sync(&transport).await.rejected, 0, "it is not sent again");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_learners_token_sends_nothing_and_shows_nothing() {
    let world = World::shared().await;
    let transport = transport(&world);
    let (ada, ben) = (device(&world, 1), device(&world, 2));
    let recorded = ada.record(session(5));
    ada.sync(&transport).await;
    ada.record(session(6));

    ada.set_token(world.token(2, 3600));
    let report = ada.sync(&transport).await;
    assert_eq!((report.outcome, report.pending), (Outcome::NeedToken, 1), "{report:?}");
    assert!(world.sessions_of(2).await.is_empty());

    ben.sync(&transport).await;
    assert_eq!((ben.progress().total_sessions, ben.days().len()), (0, 0));

    // Ben forges what a client of his would never send: Ada's id, and Ada's name on a row of his own.
    let hers = forged(&world, json!({"id": recorded.id}), &recorded.id.to_string()).await;
    assert_ne!(hers["results"][0]["status"], "applied", "{hers}");
    let other_id = uuid::Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001).to_string();
    let named = forged(&world, json!({"id": other_id, "user_id": world.learner(1)}), &other_id).await;
    assert_eq!(named["results"][0]["status"], "rejected", "{named}");
    for answer in [&hers, &named] {
        let text = answer["rows"].to_string();
        assert!(!text.contains(&world.learner(1).to_string()), "{text}");
    }
    assert_eq!(world.sessions_of(1).await, [recorded.id.to_string()]);
    assert_eq!(world.total_sessions_of(2).await, 0);
}

/// Sends one handmade session as learner 2.
async fn forged(world: &World, mut values: Value, id: &str) -> Value {
    for (column, value) in
        [("session_type", json!("forged")), ("ended_at", json!("2026-11-23T12:00:00.000000Z"))]
    {
        values[column] = value;
    }
    let request = json!({
        "protocol": 1, "client_id": world.learner(2), "schema": 1, "cursor": null, "limit": 500,
        "mutations": [{
            "id": id, "hlc": "1795435200000-0000", "table": "sessions", "op": "insert", "key": id, "values": values,
        }],
    });
    let answer = world.backend().sync(&world.token(2, 3600), &request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_names_every_mutation_that_it_was_sent() {
    let world = World::shared().await;
    let (transport, device) = (transport(&world), device(&world, 1));
    let recorded = device.record(session(5));
    let outgoing = marea_core::Host::with_engine(&device, |engine| engine.next_request(noon()))
        .unwrap()
        .expect("work to do");
    let (user, token) = (world.learner(1).into(), world.token(1, 3600));
    for status in [ResultStatus::Applied, ResultStatus::Duplicate] {
        let answer = transport.post(&outgoing.request, user, &token, 10_000).await.outcome.unwrap();
        let results: Vec<_> = answer.results.iter().map(|result| (result.id, result.status)).collect();
        assert_eq!(results, [(recorded.id, status)]);
    }
    assert_eq!(world.total_sessions_of(1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ended_is_told_and_nothing_is_lost() {
    let world = World::shared().await;
    let (transport, device) = (transport(&world), device(&world, 1));
    device.record(session(5));
    device.set_token(world.token(1, -60));
    let report = device.sync(&transport).await;
    assert_eq!((report.outcome, report.pending), (Outcome::NeedToken, 1), "{report:?}");
    device.set_token(world.token(1, 60));
    assert_eq!(device.sync(&transport).await.pushed, 1);
}

/// What comes back from a server that sends `answer` (nothing: it stays silent) and keeps the connection open.
async fn post_to(answer: &'static str, timeout_ms: u64) -> Failure {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback connection");
    let url = format!("http://{}", listener.local_addr().expect("a loopback connection"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a loopback connection");
        let mut request = [0; 16 * 1024];
        assert!(stream.read(&mut request).await.expect("a loopback connection") > 0);
        stream.write_all(answer.as_bytes()).await.expect("a loopback connection");
        std::future::pending::<()>().await;
    });
    // {"sub":"11111111-1111-4111-8111-111111111111"}, signed by nobody.
    let token = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";
    let user: UserId = "11111111-1111-4111-8111-111111111111".parse().expect("a UUID");
    let request: SyncRequest = serde_json::from_value(json!({
        "protocol": 1, "client_id": "22222222-2222-4222-8222-222222222222", "schema": 1, "cursor": null, "limit": 500,
        "mutations": [],
    }))
    .expect("a request");
    let transport = Transport::new(&url, "anon").expect("an address");
    let carried = transport.post(&request, user, token, timeout_ms).await;
    assert!(carried.bytes_sent > 0);
    let failure = carried.outcome.expect_err("no answer of Marea's");
    server.abort();
    failure
}

#[tokio::test]
async fn no_request_waits_longer_than_its_timeout() {
    // Nothing at all; the head alone; a body that stops in the middle.
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"pro",
    ] {
        assert_eq!(post_to(answer, 200).await, Failure::Timeout, "{answer:?}");
    }
}

#[tokio::test]
async fn a_captive_portal_is_no_server_and_gets_no_second_request() {
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>";
    assert_eq!(post_to(page, 30_000).await, Failure::CaptivePortal);
    let redirect =
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(post_to(redirect, 30_000).await, Failure::CaptivePortal);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_instants_no_mirror_can_hold_is_listed_without_them() {
    let world = World::alone().await;
    let (transport, device) = (transport(&world), device(&world, 1));
    let export =
        "INSERT INTO public.export_history (user_id, export_type, export_format, started_at, expires_at)";
    let values = format!("VALUES ('{}', 'words', 'csv', '10000-01-01Z', 'infinity')", world.learner(1));
    world.execute(&format!("{export} {values}")).await;
    assert_eq!(device.sync(&transport).await.outcome, Outcome::Done);
    let listed =
        device.with_engine(|engine| engine.exports(&ExportQuery::default())).expect("a sound mirror");
    let instants: Vec<_> =
        listed.exports.iter().map(|export| (export.started_at, export.expires_at)).collect();
    assert_eq!(instants, [(None, None)]);
    world.stop().await;
}
