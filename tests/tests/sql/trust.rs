//! Progress that can be trusted as far as docs/THREATS.md says: sums that stay at their end, and bounds for those who want them.
//! Who may write the columns is in `access.rs`.

use marea_tests::cluster::Cluster;
use marea_tests::sql::{Caller, event, progress, request, session};
use serde_json::json;

const LEARNER: &str = "1ea40000-0000-4000-8000-00000000cafe";

#[tokio::test(flavor = "multi_thread")]
async fn one_award_too_large_refuses_no_session_and_can_be_taken_out_again() {
    let cluster = Cluster::start().await;
    let database = cluster.database("saturated", u32::MAX).await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    // By SQL: a device may award a million. Twice, in one statement, and words the other way.
    database
        .execute(&format!(
            "INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, points, minutes, mastered_words)
             SELECT gen_random_uuid(), '{LEARNER}', '2026-07-01Z', '2026-07-01', 2147483647, 2147483647, -2147483648
             FROM generate_series(1, 2)"
        ))
        .await;
    let caller = Caller::of(&database.url, LEARNER.parse().expect("a user")).await;
    let honest = [
        session("2026-07-01", json!({ "duration_minutes": 60 })),
        event("2026-07-01", json!({ "points": 5 })),
        session("2026-07-02", json!({ "duration_minutes": 60 })),
    ];
    for one in &honest {
        assert_eq!(caller.push(std::slice::from_ref(one)).await, ["applied"]);
    }
    let answer = caller.sync(&request(&[])).await;
    let row = progress(&answer);
    assert_eq!((&row["total_points"], &row["total_sessions"]), (&json!(i32::MAX), &json!(2)));
    assert_eq!(
        (&row["mastered_words_count"], &row["total_time_spent_minutes"]),
        (&json!(i32::MIN), &json!(i32::MAX))
    );
    let refold = format!("SELECT marea.refold(ARRAY['{LEARNER}'::uuid])");
    assert_eq!(database.text(&refold).await, "0", "the fold from nothing is the same");

    database.execute("DELETE FROM marea.progress_events WHERE points > 5").await;
    let row = "SELECT concat_ws(' ', total_points, total_time_spent_minutes, mastered_words_count) FROM public.user_progress";
    assert_eq!(database.text(row).await, "5 120 0");
    assert_eq!(
        database.text("SELECT string_agg(minutes::text, ' ' ORDER BY day) FROM marea.daily_activity").await,
        "60 60"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn awards_keep_to_the_bounds_that_somebody_has_set() {
    let cluster = Cluster::start().await;
    let database = cluster.database("bounds", u32::MAX).await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    let caller = Caller::of(&database.url, LEARNER.parse().expect("a user")).await;
    let award = |day: &str, points: u32| event(day, json!({ "points": points }));
    assert_eq!(
        caller.push(&[award("2026-06-30", 1_000_000)]).await,
        ["applied"],
        "no bound unless one is set"
    );
    database
        .execute("INSERT INTO marea.settings (name, value) VALUES ('points_per_award', '100'), ('points_per_day', '250')")
        .await;
    let refused = "rejected 22023";
    let batch = [
        award("2026-07-01", 100),
        award("2026-07-01", 101),
        award("2026-07-01", 100),
        award("2026-07-02", 100),
    ];
    assert_eq!(caller.push(&batch).await, ["applied", refused, "applied", "applied"]);
    assert_eq!(caller.push(&[award("2026-07-01", 51)]).await, [refused]);
    assert_eq!(
        caller.push(&[award("2026-07-01", 50), session("2026-07-01", json!({}))]).await,
        ["applied"; 2]
    );
    let row = caller.sync(&request(&[])).await;
    assert_eq!(progress(&row)["total_points"], 1_000_350);
    cluster.stop().await;
}
