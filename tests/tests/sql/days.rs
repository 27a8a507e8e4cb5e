//! Days that lie ahead on the server: in the totals and in the calendar at once, in the streaks once they have come.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, event, keys, progress, request, session, statuses};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// A day so many days after the server's.
async fn day(sql: &Client, after: i32) -> String {
    let query = "SELECT ((now() AT TIME ZONE 'UTC')::date + $1::integer)::text";
    sql.query_one(query, &[&after]).await.expect("a day").get(0)
}

fn streaks(answer: &Value) -> Value {
    let row = progress(answer);
    json!([row["current_streak_days"], row["longest_streak_days"], row["last_active_on"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_a_wrong_clock_dates_years_ahead_ends_no_streak() {
    let backend = TestBackend::shared().await;
    let sql = backend.sql().await;
    let caller = Caller::new(&backend).await;
    let days = [
        day(&sql, -2).await,
        day(&sql, -1).await,
        day(&sql, 0).await,
        day(&sql, 1).await,
        day(&sql, 2).await,
    ];
    let [before_yesterday, yesterday, today, tomorrow, later] = &days;

    let far = caller.sync(&request(&[session("2099-01-01", json!({})), session(later, json!({}))])).await;
    assert_eq!(statuses(&far), ["applied", "applied"]);
    assert_eq!(far["results"][0]["counts_from"], "2099-01-01");
    assert_eq!(far["results"][1]["counts_from"], json!(later));
    assert_eq!(streaks(&far), json!([0, 0, null]));
    assert_eq!(
        (&progress(&far)["total_sessions"], keys(&far, "daily_activity", "day").len()),
        (&json!(2), 2)
    );

    // One by one, which is another way through the fold than all together; and out of order.
    for (day, expected) in [
        (before_yesterday, json!([1, 1, before_yesterday])),
        (today, json!([1, 1, today])),
        (yesterday, json!([3, 3, today])),
    ] {
        let answer = caller.sync(&request(&[session(day, json!({}))])).await;
        assert!(answer["results"][0].get("counts_from").is_none(), "{answer}");
        assert_eq!(streaks(&answer), expected, "{day}");
    }
    // Somewhere it is tomorrow already.
    let both = [event(tomorrow, json!({ "points": 1 })), event("2098-12-31", json!({ "points": 1 }))];
    let answer = caller.sync(&request(&both)).await;
    assert_eq!(streaks(&answer), json!([4, 4, tomorrow]));
    assert_eq!(answer["results"][1]["counts_from"], "2098-12-31");
    assert_eq!(progress(&answer)["total_sessions"], 5);

    // Folded from nothing it is the same, also without the days that count.
    let same = "SELECT marea.refold(ARRAY[$1::uuid])";
    assert_eq!(sql.query_one(same, &[&caller.user]).await.expect("a fold").get::<_, i64>(0), 0);
    sql.execute(
        "DELETE FROM public.sessions WHERE user_id = $1 AND ended_at < now() + interval '40 hours'",
        &[&caller.user],
    )
    .await
    .expect("deleted");
    let left = caller.pull().await;
    assert_eq!(streaks(&left), json!([1, 1, tomorrow]));
    assert_eq!(sql.query_one(same, &[&caller.user]).await.expect("a fold").get::<_, i64>(0), 0);
}

/// As if the day had been ahead when it was folded: what the row says is what was counted then.
async fn behind(sql: &Client, user: uuid::Uuid, last: &str) {
    let statement =
        "UPDATE public.user_progress SET last_active_on = $2::text::date, current_streak_days = 1,
        longest_streak_days = 1 WHERE user_id = $1";
    sql.execute(statement, &[&user, &last]).await.expect("a row");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_has_come_counts_at_the_next_fold_or_by_the_job() {
    let backend = TestBackend::shared().await;
    let sql = backend.sql().await;
    let [start, yesterday, today] = [day(&sql, -2).await, day(&sql, -1).await, day(&sql, 0).await];
    let three = || [&start, &yesterday, &today].map(|day| session(day, json!({})));
    // By one more session of a day that was counted, by one of the latest day, by several at once, by the job alone.
    for more in
        [vec![session(&start, json!({}))], vec![session(&today, json!({}))], three().to_vec(), Vec::new()]
    {
        let caller = Caller::new(&backend).await;
        assert_eq!(caller.push(&three()).await, ["applied"; 3]);
        behind(&sql, caller.user, &start).await;
        if more.is_empty() {
            let changed: i64 =
                sql.query_one("SELECT marea.refresh_streaks()", &[]).await.expect("the job").get(0);
            assert!(changed >= 1);
        } else {
            caller.push(&more).await;
        }
        assert_eq!(streaks(&caller.pull().await), json!([3, 3, today]));
    }
}
