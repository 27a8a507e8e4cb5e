//! Each lock that the sync layer takes, and what would go wrong without it: told by who waits for whom, never by time.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, hlc, mutation, progress, session, statuses};
use marea_tests::vault::of_shape;
use marea_tests::wait::until;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

async fn pid(client: &Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0)
}

/// Waits until a connection is blocked by another.
async fn is_blocked(admin: &Client, pid: i32) {
    until("one waits for the other", async || {
        let waits = "SELECT cardinality(pg_blocking_pids($1)) > 0";
        admin.query_one(waits, &[&pid]).await.expect("asked").get(0)
    })
    .await;
}

/// New exports of a caller, which nobody has changed yet.
async fn exports(caller: &Caller, count: u32) -> Vec<String> {
    let values = json!({ "export_type": "all", "export_format": "csv", "status": "pending" });
    let made: Vec<Value> =
        (0..count).map(|_| mutation("export_history", "insert", None, &hlc(1), values.clone())).collect();
    assert!(caller.push(&made).await.iter().all(|status| status == "applied"));
    made.iter().map(|export| export["id"].as_str().expect("an id").to_owned()).collect()
}

fn failing(export: &str, clock: u32) -> Value {
    mutation("export_history", "merge", Some(export), &hlc(clock), json!({ "status": "failed" }))
}

/// Two devices of one user change the same two exports, each in its own order. Without the lock of a push each would hold what
/// the other wants.
#[tokio::test(flavor = "multi_thread")]
async fn two_pushes_of_one_user_never_hold_what_the_other_wants() {
    let backend = TestBackend::shared().await;
    let (admin, one) = (backend.sql().await, Caller::new(&backend).await);
    let made = exports(&one, 2).await;
    let two = one.again(&backend).await;
    one.client.batch_execute("BEGIN").await.expect("begin");
    assert_eq!(one.push(&[failing(&made[0], 5)]).await, ["applied"]);
    let waiting = pid(&two.client).await;
    let batch = [failing(&made[1], 6), failing(&made[0], 6)];
    let second = tokio::spawn(async move { two.push(&batch).await });
    is_blocked(&admin, waiting).await;
    assert_eq!(one.push(&[failing(&made[1], 5)]).await, ["applied"], "no deadlock");
    one.client.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(second.await.expect("the second is through"), ["applied", "applied"]);
}

/// And users do not wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_of_two_users_do_not_wait_for_each_other() {
    let backend = TestBackend::shared().await;
    let (one, two) = (Caller::new(&backend).await, Caller::new(&backend).await);
    // The first request after the server's start begins its run, and others wait for that to commit.
    one.pull().await;
    one.client.batch_execute("BEGIN").await.expect("begin");
    one.push(&[session("2026-07-01", json!({}))]).await;
    two.client.batch_execute("SET lock_timeout = '5s'").await.expect("an error instead of waiting for ever");
    assert_eq!(two.push(&[session("2026-07-01", json!({}))]).await, ["applied"]);
    one.client.batch_execute("COMMIT").await.expect("commit");
}

/// The backend's worker has changed a row and not committed yet; an older change of a device comes meanwhile. It waits for the
/// worker's clock, and loses to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_waits_for_whoever_is_changing_the_row_and_then_sees_its_clock() {
    let backend = TestBackend::shared().await;
    let admin = backend.sql().await;
    let worker = backend.sql().await;
    for table in ["export_history", "user_api_keys"] {
        let caller = Caller::new(&backend).await;
        let user = caller.user.to_string();
        let sealed = |number: u64| json!({ "openai_api_key": of_shape(number) });
        let key = if table == "export_history" {
            exports(&caller, 1).await.remove(0)
        } else {
            caller.push(&[mutation(table, "merge", Some(&user), &hlc(1), sealed(1))]).await;
            user.clone()
        };
        let (written, old) = match table {
            "export_history" => ("status = 'completed'".to_owned(), json!({ "status": "failed" })),
            _ => (format!("openai_api_key = '{}'", of_shape(2)), sealed(3)),
        };
        worker
            .batch_execute(&format!("BEGIN; UPDATE public.{table} SET {written} WHERE user_id = '{user}'"))
            .await
            .expect("the worker writes");
        let device = caller.again(&backend).await;
        let waiting = pid(&device.client).await;
        let merge = mutation(table, "merge", Some(&key), &hlc(5), old);
        let merged = tokio::spawn(async move { device.push(&[merge]).await });
        is_blocked(&admin, waiting).await;
        worker.batch_execute("COMMIT").await.expect("commit");
        assert_eq!(merged.await.expect("merged"), ["applied"]);
        let still = format!("SELECT count(*) FROM public.{table} WHERE user_id = $1 AND {written}");
        let kept: i64 = admin.query_one(&still, &[&caller.user]).await.expect("asked").get(0);
        assert_eq!(kept, 1, "{table}: the older write lost");
    }
}

/// A transaction changes rows of 30 users. It takes their clocks in one order, so that no two such transactions can hold what the
/// other wants: whoever waits for one clock holds all those before it and none behind it.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_of_many_users_are_taken_in_their_order() {
    const USERS: usize = 30;
    let backend = TestBackend::shared().await;
    let (admin, blocker, many) = (backend.sql().await, backend.sql().await, backend.sql().await);
    let mut users = Vec::new();
    for _ in 0..USERS {
        let caller = Caller::new(&backend).await;
        exports(&caller, 1).await;
        users.push(caller.user);
    }
    // Postgres orders them by their bytes, as Rust does.
    users.sort();
    let places = [USERS / 4, USERS / 2, USERS - 2];
    for place in places {
        let holding =
            format!("BEGIN; SELECT FROM marea.clocks WHERE user_id = '{}' FOR UPDATE", users[place]);
        blocker.batch_execute(&holding).await.expect("held");
        let waiting = pid(&many).await;
        let list: Vec<String> = users.iter().rev().map(|user| format!("'{user}'")).collect();
        let statement = format!(
            "BEGIN; UPDATE public.export_history SET retry_count = coalesce(retry_count, 0) + 1 WHERE user_id IN ({}); COMMIT",
            list.join(", ")
        );
        let changing = async { many.batch_execute(&statement).await.expect("changed") };
        let looking = async {
            is_blocked(&admin, waiting).await;
            let free = "SELECT user_id FROM marea.clocks WHERE user_id = ANY ($1) ORDER BY user_id FOR UPDATE SKIP LOCKED";
            let free: Vec<Uuid> =
                admin.query(free, &[&users]).await.expect("asked").iter().map(|row| row.get(0)).collect();
            assert_eq!(
                free,
                users[place + 1..],
                "held are those before the one that is waited for, and that one"
            );
            blocker.batch_execute("COMMIT").await.expect("let go");
        };
        tokio::join!(changing, looking);
    }
}

/// The learner's progress row is the mutex of the fold. Two statements of many sessions each, at once, count both.
#[tokio::test(flavor = "multi_thread")]
async fn folds_of_one_learner_wait_for_each_other() {
    let backend = TestBackend::shared().await;
    let (admin, one) = (backend.sql().await, Caller::new(&backend).await);
    assert_eq!(one.push(&[session("2026-07-10", json!({}))]).await, ["applied"]);
    let insert = |days: std::ops::RangeInclusive<u32>| {
        let rows: Vec<String> = days
            .map(|day| {
                format!(
                    "('{}', 'qa', '2026-07-{day:02}T12:00:00Z', '{{\"local_date\": \"2026-07-{day:02}\"}}')",
                    one.user
                )
            })
            .collect();
        format!(
            "INSERT INTO public.sessions (user_id, session_type, ended_at, session_data) VALUES {}",
            rows.join(", ")
        )
    };
    let (first, second) = (backend.sql().await, backend.sql().await);
    first.batch_execute(&format!("BEGIN; {}", insert(1..=3))).await.expect("inserted");
    let waiting = pid(&second).await;
    let statement = insert(4..=9);
    let folding = async { second.batch_execute(&statement).await.expect("inserted") };
    let looking = async {
        is_blocked(&admin, waiting).await;
        first.batch_execute("COMMIT").await.expect("commit");
    };
    tokio::join!(folding, looking);
    let answer = one.pull().await;
    let shown = progress(&answer);
    assert_eq!(shown["total_sessions"], 10);
    assert_eq!((&shown["current_streak_days"], &shown["longest_streak_days"]), (&json!(10), &json!(10)));
    assert!(statuses(&answer).is_empty());
}
