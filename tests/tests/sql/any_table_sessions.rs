//! Sessions mirrored: they come to every device, are corrected and deleted there, and progress follows.

use marea_tests::mirrored::{MirroredApp, deleted, pull, pull_after, rows, send};
use marea_tests::sql::{hlc, mutation, progress, request, session};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_are_corrected_and_deleted_and_progress_follows() {
    let app = MirroredApp::start(&[]).await;
    let one = app.user().await;
    let me = one.user;
    // One from before it was declared, and a guest's, which reaches nobody.
    app.database
        .execute(&format!(
            "INSERT INTO public.sessions (user_id, ended_at, duration_minutes) VALUES ('{me}', '2026-04-30 12:00Z', 5);
             ALTER TABLE public.sessions ALTER COLUMN user_id DROP NOT NULL;
             INSERT INTO public.sessions (user_id, ended_at) VALUES (NULL, '2026-04-30 12:00Z');
             SELECT marea.mirror('public.sessions');
             INSERT INTO public.sessions (user_id, ended_at) VALUES (NULL, '2026-04-30 13:00Z');"
        ))
        .await;
    assert_eq!(rows(&pull(&one).await, "sessions").len(), 1);
    let made = session("2026-05-01", json!({ "duration_minutes": 10, "qa_attempts": 4, "qa_correct": 2 }));
    let key = made["key"].as_str().expect("a key").to_owned();
    assert_eq!(send(&one, std::slice::from_ref(&made)).await, ["applied"]);
    let find = |answer: &Value| rows(answer, "sessions").into_iter().find(|row| row["id"] == json!(key));
    let found = find(&pull(&one).await).expect("it comes to every device");
    assert_eq!(
        (&found["duration_minutes"], &found["ended_at"]),
        (&json!(10), &json!("2026-05-01T12:00:00.000000Z"))
    );

    let correct = |n: u32, values: Value| mutation("sessions", "merge", Some(&key), &hlc(n), values);
    let sent = [
        correct(5, json!({ "duration_minutes": 25, "qa_correct": 4 })),
        correct(4, json!({ "duration_minutes": 7 })),
        correct(6, json!({ "duration_minutes": 2500 })),
        correct(
            6,
            json!({ "session_data": { "local_date": "2026-05-02" }, "ended_at": "2026-05-02T12:00:00.000000Z" }),
        ),
    ];
    let refused = "22023: values.duration_minutes: must be a whole number from 0 to 1440";
    assert_eq!(send(&one, &sent).await, ["applied", "applied", refused, "applied"]);
    let answer = one.sync(&request(&[])).await;
    let of = progress(&answer);
    assert_eq!(
        (
            &of["total_time_spent_minutes"],
            &of["total_questions_correct"],
            &of["last_active_on"],
            &of["total_sessions"]
        ),
        (&json!(30), &json!(4), &json!("2026-05-02"), &json!(2))
    );
    let days: Vec<&Value> = answer["rows"]["daily_activity"]
        .as_array()
        .expect("days")
        .iter()
        .map(|row| &row["values"]["day"])
        .collect();
    assert_eq!(days, [&json!("2026-04-30"), &json!("2026-05-02")]);

    let cursor = pull(&one).await["cursor"].clone();
    assert_eq!(
        send(&one, &[mutation("sessions", "delete", Some(&key), &hlc(9), json!({}))]).await,
        ["applied"]
    );
    assert_eq!(deleted(&pull_after(&one, &cursor).await, "sessions"), std::slice::from_ref(&key));
    // Sent again, it stays deleted.
    assert_eq!(
        send(&one, &[made, correct(20, json!({ "duration_minutes": 1 }))]).await,
        ["duplicate", "applied"]
    );
    assert_eq!(find(&pull(&one).await), None);
    assert_eq!(progress(&one.sync(&request(&[])).await)["total_time_spent_minutes"], 5);
    assert_eq!(
        app.database.text(&format!("SELECT marea.refold('{{{me}}}')")).await,
        "0",
        "what the fold from nothing says"
    );

    // Unmirrored, deleted ones stay deleted, and nothing of them is sent.
    app.database.execute("SELECT marea.unmirror('public.sessions')").await;
    assert_eq!(app.database.text("SELECT count(*) FROM marea.rows WHERE table_name = 'sessions'").await, "1");
    let late = mutation("sessions", "delete", Some(&key), &hlc(9), json!({}));
    assert_eq!(send(&one, &[late]).await, ["22023: table, op: no device may do this"]);
    app.stop().await;
}
