//! A sync with nothing to do takes a short way. It answers what the long way does, to the letter, and every
//! request that is not exactly that goes the long way.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, OTHER_DEVICE, event, request, request_after, session, with};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// Whether the short way answers this, as the caller.
async fn is_idle(caller: &Caller, request: &Value) -> bool {
    let statement = "SELECT marea.idle_answer($1) IS NOT NULL";
    caller.client.query_one(statement, &[request]).await.expect("an answer or none").get(0)
}

/// An answer or a refusal, less the server's time, which is never the same.
async fn said(caller: &Caller, request: &Value) -> Value {
    match caller.try_sync(request).await {
        Ok(mut answer) => {
            answer["server_time"].take();
            let epoch = answer["cursor"]["epoch"].as_str().expect("an epoch").to_owned();
            let (name, _) = epoch.rsplit_once('.').expect("its time");
            answer["cursor"]["epoch"] = json!(name);
            answer
        }
        Err(refusal) => json!([refusal.code, refusal.message, refusal.hint]),
    }
}

/// The device is to be noted again, which the short way does not do.
async fn forget_devices(admin: &Client, caller: &Caller) {
    admin.execute("DELETE FROM marea.clients WHERE user_id = $1", &[&caller.user]).await.expect("forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_way_answers_what_the_long_way_does() {
    let backend = TestBackend::shared().await;
    let (caller, admin) = (Caller::new(&backend).await, backend.sql().await);
    let first = caller.sync(&request(&[session("2026-05-01", json!({}))])).await;
    let cursor = &first["cursor"];
    let epoch = cursor["epoch"].as_str().expect("text").to_owned();
    let parts: Vec<&str> = epoch.split('.').collect();
    let version = cursor["version"].as_i64().expect("a version");
    let idle = request_after(cursor, &[]);
    let without = |field: &str| {
        let mut request = idle.clone();
        request.as_object_mut().expect("an object").remove(field);
        request
    };
    let of = |version: Value, epoch: String| {
        with(idle.clone(), "cursor", json!({ "version": version, "epoch": epoch }))
    };
    let same = |middle: &str, last: &str| format!("{}.{middle}.{last}", parts[0]);
    let cases: Vec<(bool, Value)> = vec![
        (true, idle.clone()),
        (true, without("mutations")),
        (true, without("limit")),
        (true, with(idle.clone(), "limit", json!(1))),
        (true, with(idle.clone(), "more", json!("unknown members are ignored"))),
        // A cursor that claims less, as of a moment ago.
        (true, of(json!(version), same("1", parts[2]))),
        // Not sound.
        (false, json!([])),
        (false, json!(null)),
        (false, without("protocol")),
        (false, with(idle.clone(), "protocol", json!(2))),
        (false, with(idle.clone(), "protocol", json!("1"))),
        (false, without("client_id")),
        (false, with(idle.clone(), "client_id", json!("10000000-0000-4000-8000-00000000000A"))),
        (false, without("schema")),
        (false, with(idle.clone(), "schema", json!("1"))),
        (false, with(idle.clone(), "schema", json!(0))),
        (false, with(idle.clone(), "limit", json!(0))),
        (false, with(idle.clone(), "limit", json!(2001))),
        (false, with(idle.clone(), "limit", json!("500"))),
        (false, with(idle.clone(), "limit", json!(null))),
        (false, with(idle.clone(), "limit", json!(1.5))),
        (false, with(idle.clone(), "mutations", json!(null))),
        (false, with(idle.clone(), "mutations", json!({}))),
        (false, with(idle.clone(), "cursor", json!(5))),
        (false, with(idle.clone(), "filler", json!("x".repeat(1_100_000)))),
        // Sound, and something to do or to say.
        (false, with(idle.clone(), "client_id", json!(OTHER_DEVICE))),
        (false, with(idle.clone(), "schema", json!(2))),
        (false, with(idle.clone(), "cursor", json!(null))),
        (false, with(idle.clone(), "mutations", json!([event("2026-05-01", json!({ "points": 0 }))]))),
        (false, of(json!(version - 1), epoch.clone())),
        (false, of(json!(version + 1), epoch.clone())),
        (false, of(json!(version.to_string()), epoch.clone())),
        (false, of(json!(version), same(&(version + 1).to_string(), parts[2]))),
        (false, of(json!(version), same(parts[1], "now"))),
        (false, of(json!(version), parts[0].to_owned())),
        (false, of(json!(version), epoch.replace(parts[0], "0123456789abcdef"))),
        // As of a time that has not come.
        (false, of(json!(version), same(parts[1], "9999999999999999"))),
        // Nothing that is known since then belies it.
        (true, of(json!(version), same(parts[1], "0"))),
    ];
    for (short, request) in cases {
        // Noted, so that the short way is open where it may be.
        forget_devices(&admin, &caller).await;
        caller.sync(&idle).await;
        assert_eq!(is_idle(&caller, &request).await, short, "{request:.300}");
        if request["mutations"].as_array().is_some_and(|all| !all.is_empty()) {
            continue; // it would move the clock
        }
        let quickly = said(&caller, &request).await;
        forget_devices(&admin, &caller).await;
        assert!(!is_idle(&caller, &request).await, "an unknown device");
        assert_eq!(quickly, said(&caller, &request).await, "{request:.300}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_way_sees_every_change_and_every_loss() {
    let backend = TestBackend::shared().await;
    let (caller, admin) = (Caller::new(&backend).await, backend.sql().await);
    let first = caller.sync(&request(&[session("2026-05-01", json!({}))])).await;
    let idle = request_after(&first["cursor"], &[]);
    assert!(is_idle(&caller, &idle).await);
    // Another user with the same cursor has no clock that stands there.
    assert!(!is_idle(&Caller::new(&backend).await, &idle).await);

    // The hour is over: the device is noted again.
    let age = "UPDATE marea.clients SET noted_at = noted_at - interval '61 minutes' WHERE user_id = $1";
    admin.execute(age, &[&caller.user]).await.expect("aged");
    assert!(!is_idle(&caller, &idle).await);
    caller.sync(&idle).await;
    assert!(is_idle(&caller, &idle).await);

    // The server was set back after this cursor was given out, and nobody has overtaken it yet.
    let lost =
        "INSERT INTO marea.checkpoints (user_id, at, version) SELECT user_id, clock_timestamp(), version - 1
        FROM marea.clocks WHERE user_id = $1";
    admin.execute(lost, &[&caller.user]).await.expect("a checkpoint that belies the cursor");
    assert!(!is_idle(&caller, &idle).await);
    assert_eq!(caller.sync(&idle).await["reset"], true);
    admin.execute("DELETE FROM marea.checkpoints WHERE user_id = $1", &[&caller.user]).await.expect("undone");
    assert!(is_idle(&caller, &idle).await);

    admin
        .execute("UPDATE public.user_progress SET total_points = 5 WHERE user_id = $1", &[&caller.user])
        .await
        .expect("a change by somebody else");
    assert!(!is_idle(&caller, &idle).await);
}
