//! Pulling: pages, tombstones, and the three ways in which a cursor can be of no more use.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, hlc, keys, mutation, progress, request, request_after, session, with};
use serde_json::{Value, json};

fn export() -> Value {
    mutation(
        "export_history",
        "insert",
        None,
        &hlc(1),
        json!({ "export_type": "all", "export_format": "csv" }),
    )
}

/// Pulls page by page; what a device would hold in the end, by table and key, and how many pages it took.
async fn all_pages(caller: &Caller, from: Value, limit: u32) -> (Vec<String>, Value, usize) {
    let (mut seen, mut cursor, mut pages) = (Vec::new(), from, 0);
    loop {
        let answer = caller.sync(&with(request_after(&cursor, &[]), "limit", json!(limit))).await;
        assert!(pages == 0 || answer["reset"] == false, "page {pages} starts anew");
        let page: Vec<String> = [
            keys(&answer, "daily_activity", "day"),
            keys(&answer, "export_history", "id"),
            keys(&answer, "user_progress", "user_id"),
            keys(&answer, "user_api_keys", "user_id"),
        ]
        .concat();
        assert!(page.len() <= limit as usize);
        seen.extend(page);
        pages += 1;
        cursor = answer["cursor"].clone();
        if answer["has_more"] == false {
            seen.sort();
            return (seen, cursor, pages);
        }
        assert!(pages < 1000, "it never ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_everything_once() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let mutations: Vec<Value> = (1..=25)
        .map(|day| session(&format!("2026-04-{day:02}"), json!({})))
        .chain((0..15).map(|_| export()))
        .collect();
    caller.push(&mutations).await;
    let (whole, end, pages) = all_pages(&caller, json!(null), 2000).await;
    assert_eq!((whole.len(), pages), (25 + 15 + 1, 1));
    for limit in [1, 2, 7, 40, 41, 42] {
        let (seen, cursor, pages) = all_pages(&caller, json!(null), limit).await;
        assert_eq!((&seen, &cursor["version"]), (&whole, &end["version"]), "limit {limit}");
        assert_eq!(pages, 41usize.div_ceil(limit as usize), "limit {limit}");
    }
    // From the end there is nothing, and from the middle the rest.
    let (seen, cursor, pages) = all_pages(&caller, end.clone(), 5).await;
    assert_eq!((seen.len(), &cursor["version"], pages), (0, &end["version"], 1));
    let middle = with(end, "version", json!(20));
    assert_eq!(all_pages(&caller, middle, 5).await.0.len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_told_to_those_who_may_have_the_row() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let kept = export();
    let gone = export();
    let key = gone["id"].as_str().expect("an id").to_owned();
    let before = caller.sync(&request(&[kept, gone])).await["cursor"].clone();
    let deleted = caller
        .sync(&request_after(
            &before,
            &[mutation("export_history", "delete", Some(&key), &hlc(2), json!({}))],
        ))
        .await;
    assert_eq!(deleted["deleted"], json!({ "export_history": [key] }));
    assert_eq!(deleted["rows"], json!({}));
    // Who has nothing need not forget anything.
    let fresh = caller.pull().await;
    assert_eq!(
        (&fresh["deleted"], fresh["rows"]["export_history"].as_array().map(Vec::len)),
        (&json!({}), Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_a_correction_empties_is_deleted() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let cursor = caller
        .sync(&request(&[session("2026-04-01", json!({})), session("2026-04-02", json!({}))]))
        .await["cursor"]
        .clone();
    let change = "UPDATE public.sessions SET session_data = '{\"local_date\": \"2026-04-03\"}', ended_at = '2026-04-03T12:00Z'
        WHERE session_data ->> 'local_date' = '2026-04-01'";
    caller.client.batch_execute(change).await.expect("one's own session");
    let answer = caller.sync(&request_after(&cursor, &[])).await;
    assert_eq!(answer["deleted"], json!({ "daily_activity": ["2026-04-01"] }));
    assert_eq!(keys(&answer, "daily_activity", "day"), ["2026-04-03"]);
    assert_eq!(progress(&answer)["last_active_on"], "2026-04-03");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_history_starts_anew() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let cursor = caller.sync(&request(&[session("2026-04-01", json!({}))])).await["cursor"].clone();
    let version = cursor["version"].as_i64().expect("a version");
    let epoch = cursor["epoch"].as_str().expect("an epoch");
    assert!(!epoch.is_empty() && epoch.len() <= 64);
    for (case, cursor, reset) in [
        ("its own", cursor.clone(), false),
        ("another epoch", with(cursor.clone(), "epoch", json!("another")), true),
        ("from the future", with(cursor.clone(), "version", json!(version + 1)), true),
        ("from the far future", with(cursor.clone(), "version", json!(999_999_999_999_999_i64)), true),
        ("from the beginning", with(cursor.clone(), "version", json!(0)), false),
    ] {
        let answer = caller.sync(&request_after(&cursor, &[])).await;
        assert_eq!(answer["reset"], reset, "{case}");
        assert_eq!(progress(&answer).is_object(), case != "its own", "{case}");
        assert_eq!(answer["cursor"]["version"], version, "{case}");
    }
    // A fresh device is told nothing of the kind.
    assert_eq!(caller.pull().await["reset"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_changes_when_the_tables_are_restored() {
    let backend = TestBackend::shared().await;
    let admin = backend.sql().await;
    let epoch = "SELECT marea.epoch()";
    let before: String = admin.query_one(epoch, &[]).await.expect("an epoch").get(0);
    let again: String = backend.sql().await.query_one(epoch, &[]).await.expect("an epoch").get(0);
    assert_eq!(before, again);
    // A restored dump has new tables: the same names, other oids.
    admin
        .batch_execute(
            "BEGIN; ALTER TABLE marea.clocks RENAME TO old; CREATE TABLE marea.clocks (LIKE marea.old)",
        )
        .await
        .expect("restored");
    let restored: String = admin.query_one(epoch, &[]).await.expect("an epoch").get(0);
    admin.batch_execute("ROLLBACK").await.expect("undone");
    assert_ne!(before, restored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_from_before_a_pruned_tombstone_starts_anew_and_no_other() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let admin = backend.sql().await;
    let victims = [export(), export()];
    let mutations: Vec<Value> =
        (1..=9).map(|day| session(&format!("2026-04-{day:02}"), json!({}))).chain(victims.clone()).collect();
    let stale = caller.sync(&request(&mutations)).await["cursor"].clone();
    for victim in &victims {
        caller.push(&[mutation("export_history", "delete", victim["id"].as_str(), &hlc(2), json!({}))]).await;
    }
    let current = caller.pull().await["cursor"].clone();
    let prune = "SELECT marea.prune_tombstones('30 days')";
    let pruned = async || -> i64 { admin.query_one(prune, &[]).await.expect("pruned").get(0) };
    // Not old enough.
    pruned().await;
    let tombstones = "SELECT count(*) FROM marea.rows WHERE user_id = $1 AND deleted";
    assert_eq!(admin.query_one(tombstones, &[&caller.user]).await.expect("a count").get::<_, i64>(0), 2);

    let age = "UPDATE marea.rows SET changed_at = now() - interval '31 days' WHERE user_id = $1 AND deleted";
    admin.execute(age, &[&caller.user]).await.expect("aged");
    assert!(pruned().await >= 2);
    assert_eq!(admin.query_one(tombstones, &[&caller.user]).await.expect("a count").get::<_, i64>(0), 0);

    let answer = caller.sync(&request_after(&stale, &[])).await;
    assert_eq!((&answer["reset"], keys(&answer, "daily_activity", "day").len()), (&json!(true), 9));
    // Who was up to date is not sent back to the start.
    let answer = caller.sync(&request_after(&current, &[])).await;
    assert_eq!(answer["reset"], false);
    // And who starts anew in small pages gets to the end.
    for start in [json!(null), stale] {
        let (seen, _, pages) = all_pages(&caller, start, 3).await;
        assert_eq!((seen.len(), pages), (10, 4));
    }
    let refused = admin
        .query_one("SELECT marea.prune_tombstones('1 day')", &[])
        .await
        .expect_err("clients resend for 30 days");
    assert_eq!(marea_tests::sql::refusal(refused).code, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_exports_lose_their_data_and_devices_hear_of_it() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let values = json!({ "export_type": "all", "export_format": "csv", "status": "completed", "data": { "a": 1 },
        "file_url": "https://example.org/x", "expires_at": "2026-01-01T00:00:00.000000Z" });
    let cursor = caller.sync(&request(&[mutation("export_history", "insert", None, &hlc(1), values)])).await
        ["cursor"]
        .clone();
    let admin = backend.sql().await;
    let expired: i64 = admin.query_one("SELECT marea.expire_exports()", &[]).await.expect("expired").get(0);
    assert!(expired >= 1);
    let answer = caller.sync(&request_after(&cursor, &[])).await;
    let row = &answer["rows"]["export_history"][0]["values"];
    assert_eq!(
        (&row["status"], &row["data"], &row["file_url"]),
        (&json!("expired"), &json!(null), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_takes_no_lock_and_writes_nothing() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    caller.push(&[session("2026-04-01", json!({}))]).await;
    let admin = backend.sql().await;
    admin.batch_execute("BEGIN").await.expect("begin");
    for table in ["public.user_progress", "marea.clocks", "marea.rows"] {
        let lock = format!("SELECT FROM {table} WHERE user_id = $1 FOR UPDATE");
        admin.query(&lock, &[&caller.user]).await.expect("locked");
    }
    caller.client.batch_execute("BEGIN READ ONLY; SET LOCAL statement_timeout = '20s'").await.expect("begin");
    let answer = caller.pull().await;
    assert_eq!(progress(&answer)["total_sessions"], 1);
    let xact: Option<String> = caller
        .client
        .query_one("SELECT pg_current_xact_id_if_assigned()::text", &[])
        .await
        .expect("asked")
        .get(0);
    assert_eq!(xact, None);
    caller.client.batch_execute("COMMIT").await.expect("commit");
    admin.batch_execute("ROLLBACK").await.expect("rollback");
}
