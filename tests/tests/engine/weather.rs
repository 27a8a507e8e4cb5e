//! What proxies, limits and slow servers do, against the real PostgREST: nothing is set aside for it, nothing stops for good,
//! and what is too large goes in smaller parts.

use marea_core::{ExportQuery, Host as _, Outcome, SessionInput, SyncReport, Transport, sync_until_idle};
use marea_tests::backend::SYNC;
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::world::{Fault, FaultKind, World};

/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000;
const QUARTER_HOUR_MS: i64 = 15 * 60 * 1000;

fn transport(world: &World) -> Transport {
    let ready = world.backend().ready();
    Transport::new(&ready.url, &ready.anon_key).expect("an address")
}

fn device(world: &World, learner: usize, sessions: usize) -> EngineDevice {
    let device = EngineDevice::new(world.learner(learner).into(), world.token(learner, 3600), at(NOON));
    for _ in 0..sessions {
        device.record(SessionInput { duration_minutes: Some(1), ..SessionInput::new("practice") });
    }
    device
}

/// Lets the time pass until the device wants to try again by itself, which it does.
async fn at_the_next_attempt(device: &EngineDevice, transport: &Transport) -> SyncReport {
    let now = device.now();
    let wake = device.with_engine(|engine| engine.next_wake(now)).expect("a readable mirror");
    let wake = wake.expect("a next attempt");
    assert!((0..=QUARTER_HOUR_MS).contains(&(wake.0 - now.unix_ms.0)), "{wake:?} after {now:?}");
    device.set_now(at(wake.0));
    sync_until_idle(device, transport).await.expect("a sound mirror")
}

fn last_error(report: &SyncReport) -> &str {
    report.last_error.as_ref().map_or("none", |error| error.code.as_str())
}

/// Puts a function of the test in front of `marea_sync`, which is `marea_sync_behind` then. `body` may use `request`.
async fn in_front(world: &World, body: &str) {
    let sql = format!(
        "ALTER FUNCTION public.marea_sync(jsonb) RENAME TO marea_sync_behind;
         CREATE FUNCTION public.marea_sync(request JSONB) RETURNS JSONB LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
         GRANT EXECUTE ON FUNCTION public.marea_sync(jsonb) TO authenticated"
    );
    world.execute(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_every_size_for_a_while_costs_nobody_a_session() {
    let world = World::alone().await;
    let (transport, device) = (transport(&world), device(&world, 1, 500));
    world.fault(Fault { times: None, ..Fault::new(FaultKind::Status, SYNC, 0).with_status(413) });
    let refused = device.sync(&transport).await;
    assert_eq!((refused.outcome, refused.rejected, refused.pending), (Outcome::RetryLater, 0, 500));
    assert_eq!(last_error(&refused), "proxy_too_large");
    let asked = world.backend().faults().list()[0].fired;
    assert!((5..=25).contains(&asked), "{asked} requests");
    assert_eq!(device.progress().total_sessions, 500);

    world.clear_faults();
    let mut report = at_the_next_attempt(&device, &transport).await;
    assert_eq!((report.outcome, report.pending), (Outcome::Done, 0), "{report:?}");
    report = device.sync(&transport).await;
    assert_eq!((report.outcome, report.rejected, report.last_error), (Outcome::Done, 0, None));
    assert_eq!(world.total_sessions_of(1).await, 500);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_refusal_is_tried_again_by_itself() {
    let world = World::alone().await;
    let (transport, device) = (transport(&world), device(&world, 1, 1));
    for status in [400, 403, 404, 405, 409, 410, 413, 421, 426, 451, 500, 502, 504, 511] {
        device.record(SessionInput::new("practice"));
        world.fault(Fault::new(FaultKind::Status, SYNC, 1).with_status(status));
        let refused = device.sync(&transport).await;
        let done = match refused.outcome {
            // A smaller request has followed already.
            Outcome::Done => refused,
            _ => at_the_next_attempt(&device, &transport).await,
        };
        assert_eq!((done.outcome, done.pending), (Outcome::Done, 0), "{status}: {done:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_whose_row_comes_after_the_sign_up_is_synced_by_itself() {
    let world = World::alone().await;
    let late = uuid::Uuid::from_u128(0x1a7e);
    let token = world.backend().token(late, 3600);
    let device = EngineDevice::new(late.into(), token, at(NOON));
    device.record(SessionInput::new("practice"));
    let refused = device.sync(&transport(&world)).await;
    assert_eq!((refused.outcome, last_error(&refused)), (Outcome::Refused, "user_missing"), "{refused:?}");
    assert_eq!(at_the_next_attempt(&device, &transport(&world)).await.outcome, Outcome::Refused);
    world
        .execute(&format!("INSERT INTO public.users (id, email) VALUES ('{late}', 'late@test.example')"))
        .await;
    let done = at_the_next_attempt(&device, &transport(&world)).await;
    assert_eq!((done.outcome, done.pushed, done.pending), (Outcome::Done, 1, 0), "{done:?}");
    world.stop().await;
}

/// 57014 is what Postgres says when the role's `statement_timeout` is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_gets_only_some_done_in_its_time_is_sent_less_at_once() {
    let world = World::alone().await;
    let slow = "CREATE FUNCTION public.slow() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM added) > 60 THEN
                RAISE EXCEPTION USING ERRCODE = '57014', MESSAGE = 'canceling statement due to statement timeout';
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER slow AFTER INSERT ON public.sessions REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION public.slow()";
    world.execute(slow).await;
    let (transport, device) = (transport(&world), device(&world, 1, 500));
    let report = device.sync(&transport).await;
    assert_eq!((report.outcome, report.pushed, report.pending), (Outcome::Done, 500, 0), "{report:?}");
    assert_eq!(world.total_sessions_of(1).await, 500);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_for_postgres_is_asked_for_smaller_and_refuses_nobody() {
    let world = World::alone().await;
    in_front(
        &world,
        "IF (request ->> 'limit')::int > 100 THEN
             RAISE EXCEPTION USING ERRCODE = '54000', MESSAGE = 'total size of jsonb object elements exceeds the maximum of 268435455 bytes';
         END IF;
         RETURN public.marea_sync_behind(request);",
    )
    .await;
    let (transport, device) = (transport(&world), device(&world, 1, 4));
    let report = device.sync(&transport).await;
    assert_eq!((report.outcome, report.pushed, report.rejected), (Outcome::Done, 4, 0), "{report:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_gets_heavy_exports_page_by_page() {
    let world = World::alone().await;
    let sql = format!(
        "INSERT INTO public.export_history (user_id, export_type, export_format, data)
         SELECT '{}', 'all', 'json', jsonb_build_object('words', repeat('word ', 20000)) FROM generate_series(1, 60)",
        world.learner(1)
    );
    world.execute(&sql).await;
    let (transport, device) = (transport(&world), device(&world, 1, 0));
    let first =
        device.with_engine(|engine| engine.next_request(at(NOON))).expect("sound").expect("a request");
    let token = world.token(1, 3600);
    let carried = transport.post(&first.request, world.learner(1).into(), &token, 30_000).await;
    assert!(carried.bytes_received < 2 * 1024 * 1024, "{} bytes", carried.bytes_received);
    device
        .with_engine(|engine| engine.apply_response(first.ticket, carried.outcome, at(NOON)))
        .expect("sound");
    let report = device.sync(&transport).await;
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    let query = ExportQuery { limit: Some(500), ..ExportQuery::default() };
    let shown = device.with_engine(|engine| engine.exports(&query)).expect("a readable mirror");
    assert_eq!(shown.exports.len(), 60);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_for_ever_is_a_failure_and_is_told() {
    let world = World::alone().await;
    in_front(&world, "RETURN public.marea_sync_behind(request) || '{\"has_more\": true}';").await;
    let (transport, device) = (transport(&world), device(&world, 1, 2));
    let report = device.sync(&transport).await;
    assert_eq!((report.outcome, report.pushed, report.pending), (Outcome::RetryLater, 2, 0), "{report:?}");
    assert_eq!(last_error(&report), "no_progress");
    world.execute("DROP FUNCTION public.marea_sync(jsonb); ALTER FUNCTION public.marea_sync_behind(jsonb) RENAME TO marea_sync").await;
    assert_eq!(at_the_next_attempt(&device, &transport).await.outcome, Outcome::Done);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_read_is_no_success() {
    let world = World::alone().await;
    in_front(&world, "RETURN public.marea_sync_behind(request) || '{\"results\": []}';").await;
    let (transport, device) = (transport(&world), device(&world, 1, 2));
    let report = device.sync(&transport).await;
    assert_ne!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!((last_error(&report), report.pending), ("unintelligible_answer", 2));
    world.stop().await;
}
