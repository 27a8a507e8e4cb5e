//! What a cursor stands for: packed pages follow one another without a gap, a history that cannot have been is another one, and the
//! short way of a device with nothing to do leaves nothing undone.

use std::collections::BTreeSet;

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, hlc, mutation, request, request_after, session, statuses, with};
use serde_json::{Value, json};

/// The ids in a packed page.
fn packed_ids(answer: &Value) -> Vec<String> {
    let Some(text) = answer["packed"]["export_history"].as_str() else { return Vec::new() };
    let columns: Value = serde_json::from_str(text).expect("columns");
    let ids = columns["id"].as_array().expect("ids");
    assert!(
        columns
            .as_object()
            .expect("columns")
            .values()
            .all(|of| of.as_array().map(Vec::len) == Some(ids.len()))
    );
    ids.iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_pages_hold_everything_once() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let values = json!({ "export_type": "all", "export_format": "csv", "status": "pending" });
    let made: Vec<Value> =
        (0..10).map(|_| mutation("export_history", "insert", None, &hlc(1), values.clone())).collect();
    assert_eq!(caller.push(&made).await, ["applied"; 10]);
    let gone = mutation("export_history", "delete", made[4]["id"].as_str(), &hlc(2), json!({}));
    assert_eq!(caller.push(&[gone]).await, ["applied"]);
    let wanted: BTreeSet<&str> = made
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != 4)
        .filter_map(|(_, export)| export["id"].as_str())
        .collect();
    for limit in 1..=11 {
        let (mut cursor, mut found, mut pages) = (Value::Null, Vec::new(), 0);
        loop {
            let asked = with(with(request_after(&cursor, &[]), "packed", json!(true)), "limit", json!(limit));
            let answer = caller.sync(&asked).await;
            found.extend(packed_ids(&answer));
            assert!(answer["rows"]["export_history"].is_null(), "packed, and not by names as well");
            cursor = answer["cursor"].clone();
            pages += 1;
            assert!(pages <= 20, "{limit} rows a page: it never ends");
            if answer["has_more"] == json!(false) {
                break;
            }
        }
        assert_eq!(found.len(), wanted.len(), "{limit} rows a page");
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), wanted, "{limit} rows a page");
    }
}

/// A server that was set back a moment ago, and has not been written to: its clock has never been where the device saw it.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_has_never_been_so_far_is_of_another_history() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    caller.push(&[session("2026-03-01", json!({}))]).await;
    let cursor = caller.pull().await["cursor"].clone();
    let epoch = cursor["epoch"].as_str().expect("an epoch");
    let parts: Vec<&str> = epoch.split('.').collect();
    let claimed: i64 = parts[1].parse().expect("a clock");
    let ahead = json!({ "version": cursor["version"], "epoch": format!("{}.{}.{}", parts[0], claimed + 1, parts[2]) });
    let answer = caller.sync(&request_after(&ahead, &[])).await;
    assert_eq!(answer["reset"], true);
    assert_eq!(answer["rows"]["user_progress"].as_array().map(Vec::len), Some(1), "everything comes again");
    // And it is noted: once the clock has got there, the user's other devices are told as well.
    caller.push(&[session("2026-03-02", json!({})), session("2026-03-03", json!({}))]).await;
    assert_eq!(
        caller.sync(&request_after(&ahead, &[])).await["reset"],
        true,
        "also when the clock has passed it"
    );
    assert_eq!(
        caller.sync(&request_after(&cursor, &[])).await["reset"],
        false,
        "who was there before goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_something_to_send_is_never_idle() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    caller.push(&[session("2026-02-28", json!({}))]).await;
    let cursor = caller.sync(&request(&[])).await["cursor"].clone();
    let idle = caller.sync(&request_after(&cursor, &[])).await;
    assert_eq!((statuses(&idle).len(), &idle["rows"]), (0, &json!({})));
    let answer = caller.sync(&request_after(&idle["cursor"], &[session("2026-03-01", json!({}))])).await;
    assert_eq!(statuses(&answer), ["applied"]);
    assert_eq!(answer["rows"]["daily_activity"].as_array().map(Vec::len), Some(1));
}

/// What a clock had not passed at a moment is noted once an hour: a cursor that says otherwise comes from a history that was lost, and
/// that has gone on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_had_not_been_so_far_then_is_of_another_history() {
    let backend = TestBackend::shared().await;
    let (admin, caller) = (backend.sql().await, Caller::new(&backend).await);
    caller.push(&[session("2026-03-01", json!({}))]).await;
    let early = caller.pull().await["cursor"].clone();
    let parts: Vec<String> =
        early["epoch"].as_str().expect("an epoch").split('.').map(str::to_owned).collect();
    let then: i64 = parts[1].parse().expect("a clock");
    let hours_ago = "UPDATE marea.clocks SET checked_at = now() - interval '2 hours' WHERE user_id = $1";
    admin.execute(hours_ago, &[&caller.user]).await.expect("a new hour");
    let later: Vec<Value> = (2..=6).map(|day| session(&format!("2026-03-{day:02}"), json!({}))).collect();
    caller.push(&later).await;
    let noted = "SELECT count(*) FROM marea.checkpoints WHERE user_id = $1 AND version = $2";
    let noted: i64 = admin.query_one(noted, &[&caller.user, &then]).await.expect("asked").get(0);
    assert_eq!(noted, 1, "what the clock had never passed before this hour");
    // It says that the clock was further at a moment at which it was not.
    let epoch = format!("{}.{}.{}", parts[0], then + 1, parts[2]);
    let lost = json!({ "version": early["version"], "epoch": epoch });
    assert_eq!(caller.sync(&request_after(&lost, &[])).await["reset"], true);
    assert_eq!(caller.sync(&request_after(&early, &[])).await["reset"], false);

    // So does where a clock stood when a later run began, and that alone.
    let forget = "DELETE FROM marea.checkpoints WHERE user_id = $1";
    admin.execute(forget, &[&caller.user]).await.expect("forgotten");
    assert_eq!(caller.sync(&request_after(&lost, &[])).await["reset"], false, "nothing belies it");
    let note = "INSERT INTO marea.run_notes (user_id, number, version) SELECT $1, max(number) + 1, $2 FROM marea.runs";
    admin.execute(note, &[&caller.user, &then]).await.expect("a note");
    assert_eq!(caller.sync(&request_after(&lost, &[])).await["reset"], true);
    assert_eq!(caller.sync(&request_after(&early, &[])).await["reset"], false);
}

/// A session without an end moves no clock when the app inserts it. A device that pushes the same one is told that it is there, and keeps
/// it no longer: so its cursor must show whether that was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_finds_what_came_without_a_trace_leaves_one() {
    let backend = TestBackend::shared().await;
    let (admin, caller) = (backend.sql().await, Caller::new(&backend).await);
    let clock = |answer: &Value| -> i64 {
        let epoch = answer["cursor"]["epoch"].as_str().expect("an epoch");
        epoch.split('.').nth(1).expect("a clock").parse().expect("a number")
    };
    let counted = session("2026-03-01", json!({}));
    let first = clock(&caller.sync(&request(std::slice::from_ref(&counted))).await);
    let open = session("2026-03-02", json!({ "ended_at": null }));
    let id = open["id"].as_str().expect("an id");
    let insert = format!("INSERT INTO public.sessions (id, user_id) VALUES ('{id}', '{}')", caller.user);
    admin.batch_execute(&insert).await.expect("the app's own");
    assert_eq!(clock(&caller.pull().await), first, "the app left no trace");
    let answer = caller.sync(&request(&[open])).await;
    assert_eq!((statuses(&answer), clock(&answer)), (vec!["duplicate".to_owned()], first + 1));
    // What moved the clock when it came needs no other trace.
    let answer = caller.sync(&request(&[counted])).await;
    assert_eq!((statuses(&answer), clock(&answer)), (vec!["duplicate".to_owned()], first + 1));
}
