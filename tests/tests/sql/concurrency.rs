//! Many connections at once: versions in commit order, no deadlock, no lost update, and a reader who misses nothing.
//! Bounded by transactions, never by time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use marea_tests::backend::TestBackend;
use marea_tests::random::Random;
use marea_tests::sql::{Caller, event, hlc, keys, mutation, progress, request, request_after, session, with};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_commits_late_is_not_stepped_over() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    caller.push(&[session("2026-07-01", json!({}))]).await;
    let start = caller.pull().await["cursor"].clone();
    let admin = backend.sql().await;

    // The first writes a row, takes its version, and does not commit yet.
    let first = caller.again(&backend).await;
    first.client.batch_execute("BEGIN").await.expect("begin");
    let early = first.sync(&request_after(&start, &[event("2026-07-02", json!({ "points": 1 }))])).await;
    let taken = early["cursor"]["version"].as_i64().expect("a version");
    // The second wants to write as well. Until the first commits it has to wait, or it would commit a later version first.
    let second = caller.again(&backend).await;
    let pid: i32 = second.client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    let writing = tokio::spawn(async move {
        second.client.batch_execute("INSERT INTO public.export_history (user_id, export_type, export_format) VALUES (auth.uid(), 'a', 'b')").await.expect("inserted");
    });
    marea_tests::wait::until("the second waits for the first", async || {
        let waits = "SELECT coalesce(bool_or(cardinality(pg_blocking_pids($1)) > 0), false)";
        admin.query_one(waits, &[&pid]).await.expect("asked").get(0)
    })
    .await;
    // A device that syncs in between sees neither, and its cursor stays before both.
    let between = caller.sync(&request_after(&start, &[])).await;
    assert_eq!((&between["cursor"]["version"], &between["rows"]), (&start["version"], &json!({})));

    first.client.batch_execute("COMMIT").await.expect("commit");
    writing.await.expect("the second is through");
    let after = caller.sync(&request_after(&between["cursor"], &[])).await;
    assert_eq!(progress(&after)["total_points"], 1);
    let exports = after["rows"]["export_history"].as_array().expect("the export");
    assert!(exports[0]["version"].as_i64().expect("a version") > taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_change_leaves_no_gap() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    caller.push(&[session("2026-07-01", json!({}))]).await;
    let before = caller.pull().await["cursor"].clone();
    caller.client.batch_execute("BEGIN").await.expect("begin");
    caller.push(&[session("2026-07-02", json!({}))]).await;
    caller.client.batch_execute("ROLLBACK").await.expect("rollback");
    assert_eq!(caller.pull().await["cursor"]["version"], before["version"]);
    caller
        .client
        .batch_execute(
            "BEGIN; SAVEPOINT s; INSERT INTO public.export_history (user_id, export_type, export_format)
             VALUES (auth.uid(), 'a', 'b'); ROLLBACK TO s; COMMIT",
        )
        .await
        .expect("undone");
    assert_eq!(caller.pull().await["cursor"]["version"], before["version"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_of_one_user_neither_deadlock_nor_lose_anything() {
    write_at_once(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_of_two_users_neither_deadlock_nor_lose_anything() {
    write_at_once(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_of_sixteen_users_neither_deadlock_nor_lose_anything() {
    write_at_once(16).await;
}

const WRITERS: usize = 16;

/// Transactions of each writer. `MAREA_TRANSACTIONS=1000` makes it run for minutes.
fn transactions() -> u64 {
    let given = std::env::var("MAREA_TRANSACTIONS").ok();
    given.map_or(20, |text| text.parse().expect("MAREA_TRANSACTIONS is a whole number"))
}

/// Writers of some users, by sync and by plain SQL in both orders of rows, and a reader for each user who follows by
/// cursor.
async fn write_at_once(people: usize) {
    let backend = TestBackend::shared().await;
    let mut random = Random::of_this_run("sql_concurrency");
    let mut users = Vec::new();
    for _ in 0..people {
        users.push(Caller::new(&backend).await);
    }
    for user in &users {
        let export = mutation(
            "export_history",
            "insert",
            None,
            &hlc(1),
            json!({ "export_type": "all", "export_format": "csv" }),
        );
        user.push(&[session("2026-07-01", json!({})), export]).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for user in &users {
        let (reader, done) = (user.again(&backend).await, done.clone());
        readers.push(tokio::spawn(follow(reader, done)));
    }
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let seed = random.bits();
        let caller = users[writer % people].again(&backend).await;
        let admin = backend.sql().await;
        writers.push(tokio::spawn(async move {
            let mut random = Random::of_seed(seed);
            let mut sent = [0_i64; 2];
            for n in 0..transactions() {
                // Half of each user's writers, where there are several.
                if (writer / people).is_multiple_of(2) {
                    sent[0] += by_sync(&caller, &mut random).await;
                } else {
                    sent[1] += by_plain_sql(&caller, &admin, n).await;
                }
            }
            (caller.user, sent)
        }));
    }
    let mut wanted: BTreeMap<_, [i64; 2]> = BTreeMap::new();
    for writer in writers {
        let (user, sent) = writer.await.expect("no writer fails");
        let sum = wanted.entry(user).or_default();
        *sum = [sum[0] + sent[0], sum[1] + sent[1]];
    }
    done.store(true, Ordering::SeqCst);
    for (user, reader) in users.iter().zip(readers) {
        let seen = reader.await.expect("no reader fails");
        let whole = user.pull().await;
        let [sessions, points] = wanted[&user.user];
        assert_eq!(progress(&whole)["total_sessions"], 1 + sessions);
        assert_eq!(progress(&whole)["total_points"], points);
        assert_eq!(seen, rows_of(&whole), "a reader ends with exactly the table");
        // Versions are given once each, and the clock stands at the last.
        let statement = "SELECT count(DISTINCT r.version) = count(*) AND max(r.version) <= max(c.version)
            FROM marea.rows AS r JOIN marea.clocks AS c USING (user_id) WHERE user_id = $1";
        let sound: bool =
            backend.sql().await.query_one(statement, &[&user.user]).await.expect("asked").get(0);
        assert!(sound);
    }
    let admin = backend.sql().await;
    let people: Vec<_> = users.iter().map(|user| user.user).collect();
    let spoil = "UPDATE public.user_progress SET total_points = 0 WHERE user_id = ANY ($1)";
    admin.execute(spoil, &[&people]).await.expect("spoilt");
    admin.query_one("SELECT marea.refold($1)", &[&people]).await.expect("folded");
    for user in &users {
        assert_eq!(progress(&user.pull().await)["total_sessions"], 1 + wanted[&user.user][0]);
    }
}

/// Sessions, a merge and a resend. Returns how many sessions are new.
async fn by_sync(caller: &Caller, random: &mut Random) -> i64 {
    let export: uuid::Uuid = caller
        .client
        .query_one("SELECT id FROM public.export_history LIMIT 1", &[])
        .await
        .expect("it")
        .get(0);
    let mut mutations: Vec<Value> = (0..random.within(1..=5))
        .map(|_| session(&format!("2026-07-{:02}", random.within(1..=28)), json!({})))
        .collect();
    let sessions = i64::try_from(mutations.len()).expect("few");
    mutations.push(mutation(
        "export_history",
        "merge",
        Some(&export.to_string()),
        &hlc(2),
        json!({ "retry_count": random.within(0..=9) }),
    ));
    if random.chance(30) {
        // The slow way, one by one.
        mutations.push(session("2026-07-01", json!({ "qa_attempts": "x" })));
    }
    let statuses = caller.push(&mutations).await;
    assert_eq!(
        statuses[..mutations.len().min(usize::try_from(sessions).expect("few"))]
            .iter()
            .filter(|it| *it != "applied")
            .count(),
        0,
        "{statuses:?}"
    );
    sessions
}

/// Progress and export rows in one transaction, in this order or the other way round. Returns how many points it added.
async fn by_plain_sql(caller: &Caller, admin: &tokio_postgres::Client, n: u64) -> i64 {
    let user = caller.user;
    let progress =
        format!("UPDATE public.user_progress SET total_points = total_points + 1 WHERE user_id = '{user}';");
    let export = format!("UPDATE public.export_history SET error_message = '{n}' WHERE user_id = '{user}';");
    // Two transactions that lock two rows in opposite orders deadlock on their own, so each takes one of the app's rows;
    // what is tested is that Marea's own locks add no such pair.
    let statements = if n.is_multiple_of(2) {
        format!("BEGIN; {progress} {progress} COMMIT")
    } else {
        format!("BEGIN; {export} {export} COMMIT")
    };
    admin.batch_execute(&statements).await.expect("no deadlock");
    if n.is_multiple_of(2) { 2 } else { 0 }
}

type Rows = BTreeMap<(String, String), Value>;

fn rows_of(answer: &Value) -> Rows {
    let mut found = Rows::new();
    for (table, column) in [("user_progress", "user_id"), ("daily_activity", "day"), ("export_history", "id")]
    {
        let names = keys(answer, table, column);
        let rows = answer["rows"][table].as_array().cloned().unwrap_or_default();
        // An update that changes nothing but updated_at is no change, so a device may have an older one of that.
        let rows = rows.into_iter().map(|mut row| {
            row["values"]["updated_at"].take();
            row
        });
        found.extend(names.into_iter().zip(rows).map(|(key, row)| ((table.to_owned(), key), row)));
    }
    found
}

/// Pulls by cursor until the writers are done and nothing is left.
async fn follow(reader: Caller, done: Arc<AtomicBool>) -> Rows {
    let (mut seen, mut cursor) = (Rows::new(), Value::Null);
    loop {
        let was_done = done.load(Ordering::SeqCst);
        let answer = reader.sync(&with(request_after(&cursor, &[]), "limit", json!(3))).await;
        assert_eq!(answer["reset"], false);
        assert_eq!(answer["deleted"], json!({}));
        let is_idle = cursor["version"] == answer["cursor"]["version"];
        cursor = answer["cursor"].clone();
        seen.extend(rows_of(&answer));
        if was_done && is_idle {
            return seen;
        }
    }
}

/// The same queue from two profiles at once, one of them with a mutation that forces it to go one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copied_profile_pushes_the_same_queue_at_the_same_time() {
    let backend = TestBackend::shared().await;
    for _ in 0..10 {
        let caller = Caller::new(&backend).await;
        let queue: Vec<Value> = (1..=20)
            .map(|day| {
                if day % 3 == 0 {
                    mutation(
                        "export_history",
                        "insert",
                        None,
                        &hlc(day),
                        json!({ "export_type": "all", "export_format": "csv" }),
                    )
                } else {
                    session(&format!("2026-07-{day:02}"), json!({}))
                }
            })
            .collect();
        let mut slow = queue.clone();
        slow.push(session("2026-07-01", json!({ "qa_attempts": "x" })));
        let (one, two) = (caller.again(&backend).await, caller.again(&backend).await);
        let (first, second) = (request(&queue), request(&slow));
        let (first, second) = tokio::join!(one.sync(&first), two.sync(&second));
        let (first, second) = (marea_tests::sql::statuses(&first), marea_tests::sql::statuses(&second));
        for (one, two) in first.iter().zip(&second) {
            assert!(
                matches!((one.as_str(), two.as_str()), ("applied", "duplicate") | ("duplicate", "applied")),
                "{first:?} {second:?}"
            );
        }
        assert_eq!(progress(&caller.pull().await)["total_sessions"], 14);
    }
}
