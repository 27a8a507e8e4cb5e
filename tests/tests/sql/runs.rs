//! Runs: what marks the end of one, and that whatever moves a clock first in a new one notes where it stood. A lost end of history is
//! played by setting a user's clock back; `operations` loses it for real.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, hlc, mutation, request, request_after, session, statuses};
use serde_json::{Value, json};
use tokio_postgres::Client;

const RESTARTED: &str = "UPDATE marea.this_run SET started = started - interval '1 second'";

/// Makes what a device pushes.
type Made = fn() -> Value;

fn counted() -> Value {
    session("2026-03-01", json!({}))
}

/// It changes no synced row.
fn silent() -> Value {
    session("2026-03-01", json!({ "ended_at": null }))
}

fn clock(cursor: &Value) -> i64 {
    let epoch = cursor["epoch"].as_str().expect("an epoch");
    epoch.split('.').nth(1).expect("a clock").parse().expect("a number")
}

async fn cursor_after(caller: &Caller, mutations: &[Value]) -> Value {
    let answer = caller.sync(&request(mutations)).await;
    assert!(statuses(&answer).iter().all(|status| status == "applied"), "{answer}");
    answer["cursor"].clone()
}

async fn is_lost(caller: &Caller, cursor: &Value) -> bool {
    caller.sync(&request_after(cursor, &[])).await["reset"] == true
}

/// The server has forgotten all that came after this cursor, and runs again.
async fn lose_what_came_after(admin: &Client, caller: &Caller, cursor: &Value, ends: &str) {
    let back = "UPDATE marea.clocks SET version = $2 WHERE user_id = $1";
    admin.execute(back, &[&caller.user, &clock(cursor)]).await.expect("set back");
    assert_eq!(admin.execute(ends, &[]).await.expect("the run ends"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_run_notes_where_each_clock_stood() {
    let backend = TestBackend::start().await;
    let admin = backend.sql().await;
    let cases: [(&str, Made); 3] = [
        (RESTARTED, counted),
        ("UPDATE marea.this_run SET file = 'base/of/a copy'", counted),
        // A push that changes no row moves the clock too, by itself.
        (RESTARTED, silent),
    ];
    for (ends, overtakes) in cases {
        let (caller, bystander) = (Caller::new(&backend).await, Caller::new(&backend).await);
        let kept = cursor_after(&caller, &[counted()]).await;
        let lost = cursor_after(&caller, &[counted()]).await;
        let untouched = cursor_after(&bystander, &[counted()]).await;
        assert!(clock(&lost) > clock(&kept));
        lose_what_came_after(&admin, &caller, &kept, ends).await;
        let mut reached = clock(&kept);
        while reached < clock(&lost) + 2 {
            let next = clock(&cursor_after(&caller, &[overtakes()]).await);
            assert!(next > reached, "it moved");
            reached = next;
        }
        assert!(is_lost(&caller, &lost).await, "{ends}");
        assert!(!is_lost(&caller, &kept).await, "{ends}");
        assert!(!is_lost(&bystander, &untouched).await, "{ends}");
    }
    backend.stop().await;
}

/// Pruning moves the clock, and may be the first that does.
#[tokio::test(flavor = "multi_thread")]
async fn pruning_first_in_a_run_notes_where_the_clock_stood() {
    let backend = TestBackend::start().await;
    let (admin, caller) = (backend.sql().await, Caller::new(&backend).await);
    let made = mutation(
        "export_history",
        "insert",
        None,
        &hlc(1),
        json!({ "export_type": "t", "export_format": "csv" }),
    );
    let gone = mutation("export_history", "delete", made["id"].as_str(), &hlc(2), json!({}));
    cursor_after(&caller, &[counted(), made]).await;
    let kept = cursor_after(&caller, &[gone]).await;
    let lost = cursor_after(&caller, &[silent()]).await;
    lose_what_came_after(&admin, &caller, &kept, RESTARTED).await;
    let aged =
        "UPDATE marea.rows SET changed_at = now() - interval '100 days' WHERE user_id = $1 AND deleted";
    assert_eq!(admin.execute(aged, &[&caller.user]).await.expect("aged"), 1);
    let pruned = admin.query_one("SELECT marea.prune_tombstones()", &[]).await.expect("pruned");
    assert_eq!(pruned.get::<_, i64>(0), 1);
    let reached = clock(&cursor_after(&caller, &[counted()]).await);
    assert!(reached > clock(&lost));
    assert!(is_lost(&caller, &lost).await);
    assert!(!is_lost(&caller, &kept).await);
    backend.stop().await;
}
