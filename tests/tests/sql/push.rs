//! Pushing events and exports: once each, whoever sends them however often, and never into somebody else's rows.

use marea_core::{Change, Engine, EventInput, Location, SessionInput};
use marea_tests::backend::TestBackend;
use marea_tests::engine_device::{Counter, at};
use marea_tests::sql::{Caller, event, hlc, keys, mutation, progress, request, session, statuses, with};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_once_however_often_it_is_sent() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let batch = [
        session("2026-03-01", json!({ "qa_attempts": 4, "qa_correct": 3, "duration_minutes": 10 })),
        event("2026-03-02", json!({ "points": 5 })),
    ];
    assert_eq!(caller.push(&batch).await, ["applied", "applied"]);
    assert_eq!(caller.push(&batch).await, ["duplicate", "duplicate"]);
    // Twice within one request, beside one that is rejected, and with other values: the first writing holds.
    let late = with(
        batch[0].clone(),
        "values",
        json!({ "qa_attempts": 100, "ended_at": "2026-03-05T00:00:00.000000Z" }),
    );
    let fresh = session("2026-03-03", json!({}));
    let mixed =
        [late, fresh.clone(), fresh, session("2026-03-03", json!({ "qa_attempts": "x" })), batch[1].clone()];
    assert_eq!(
        caller.push(&mixed).await,
        ["duplicate", "applied", "duplicate", "rejected 22023", "duplicate"]
    );

    let answer = caller.pull().await;
    let row = progress(&answer);
    assert_eq!(row["total_sessions"], 2);
    assert_eq!((&row["total_points"], &row["average_accuracy"]), (&json!(5), &json!(75.0)));
    assert_eq!((&row["current_streak_days"], &row["last_active_on"]), (&json!(3), &json!("2026-03-03")));
    assert_eq!(keys(&answer, "daily_activity", "day").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_keeps_the_default_of_the_table() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let plain = mutation("sessions", "insert", None, &hlc(0), json!({}));
    let full = session("2026-03-01", json!({ "phrases_saved": 2 }));
    assert_eq!(caller.push(&[plain.clone(), full]).await, ["applied", "applied"]);
    let statement = "SELECT session_type, started_at IS NOT NULL, ended_at IS NULL, session_data = '{}'
        FROM public.sessions WHERE id = $1::text::uuid";
    let id = plain["id"].as_str().expect("an id");
    let row = backend.sql().await.query_one(statement, &[&id]).await.expect("the session");
    let found: (String, bool, bool, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(found, ("mixed".to_owned(), true, true, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_id_is_rejected_and_never_revealed() {
    let backend = TestBackend::shared().await;
    let (owner, thief) = (Caller::new(&backend).await, Caller::new(&backend).await);
    let export = mutation(
        "export_history",
        "insert",
        None,
        &hlc(1),
        json!({ "export_type": "all", "export_format": "csv" }),
    );
    let theirs = [
        session("2026-03-01", json!({ "qa_attempts": 1 })),
        event("2026-03-01", json!({ "points": 1 })),
        export,
    ];
    assert_eq!(owner.push(&theirs).await, ["applied"; 3]);
    let before = snapshot(&owner).await;

    let own = session("2026-03-01", json!({}));
    let stolen = [theirs[0].clone(), own, theirs[1].clone(), theirs[2].clone()];
    assert_eq!(thief.push(&stolen).await, ["rejected 23505", "applied", "rejected 23505", "rejected 23505"]);
    let key = theirs[2]["id"].as_str();
    let more = [
        mutation("export_history", "merge", key, &hlc(9), json!({ "status": "failed" })),
        mutation("export_history", "delete", key, &hlc(9), json!({})),
        mutation(
            "user_api_keys",
            "merge",
            Some(&owner.user.to_string()),
            &hlc(9),
            json!({ "openai_api_key": marea_tests::vault::of_shape("a") }),
        ),
        mutation("user_api_keys", "delete", Some(&owner.user.to_string()), &hlc(9), json!({})),
    ];
    // The same answers as for a row that nobody has.
    let nobodys = marea_tests::sql::new_id().to_string();
    let absent = [
        mutation("export_history", "merge", Some(&nobodys), &hlc(9), json!({ "status": "failed" })),
        mutation("export_history", "delete", Some(&nobodys), &hlc(9), json!({})),
        mutation(
            "user_api_keys",
            "merge",
            Some(&nobodys),
            &hlc(9),
            json!({ "openai_api_key": marea_tests::vault::of_shape("a") }),
        ),
        mutation("user_api_keys", "delete", Some(&nobodys), &hlc(9), json!({})),
    ];
    let told = |answer: &Value| -> Vec<Value> {
        let results = answer["results"].as_array().expect("results").iter();
        results.map(|result| with(result.clone(), "id", json!(null))).collect()
    };
    let answer = thief.sync(&request(&more)).await;
    assert_eq!(statuses(&answer), ["rejected 22023", "applied", "rejected 22023", "rejected 22023"]);
    assert_eq!(told(&answer), told(&thief.sync(&request(&absent)).await));

    assert_eq!(snapshot(&owner).await, before);
    let thiefs = thief.pull().await;
    assert_eq!(
        (&progress(&thiefs)["total_sessions"], &thiefs["rows"]["export_history"]),
        (&json!(1), &json!(null))
    );
}

/// All that a user can pull, without the time of asking.
async fn snapshot(caller: &Caller) -> Value {
    let pulled = with(caller.pull().await, "server_time", json!(null));
    let version = pulled["cursor"]["version"].clone();
    with(pulled, "cursor", version) // its epoch tells when it was given out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_the_memory_of_it_is_all_there() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let batch: Vec<Value> = (0..500)
        .map(|n| {
            session(
                &format!("2026-{:02}-{:02}", n % 12 + 1, n % 28 + 1),
                json!({ "qa_attempts": n, "qa_correct": n / 2 }),
            )
        })
        .collect();
    assert_eq!(caller.push(&batch).await, vec!["applied"; 500]);
    assert_eq!(caller.push(&batch).await, vec!["duplicate"; 500]);
    let answer = caller.pull().await;
    assert_eq!(progress(&answer)["total_sessions"], 500);
    assert_eq!(progress(&answer)["total_questions_answered"], (0..500).sum::<i32>());
    let days = answer["rows"]["daily_activity"].as_array().expect("days");
    assert_eq!(days.iter().map(|day| day["values"]["sessions"].as_i64().expect("a count")).sum::<i64>(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_row_never_comes_back_by_a_resend() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let sent = [
        session("2026-03-01", json!({})),
        event("2026-03-02", json!({ "points": 3 })),
        mutation(
            "export_history",
            "insert",
            None,
            &hlc(1),
            json!({ "export_type": "all", "export_format": "csv" }),
        ),
    ];
    assert_eq!(caller.push(&sent).await, ["applied"; 3]);
    let key = sent[2]["id"].as_str();
    assert_eq!(
        caller.push(&[mutation("export_history", "delete", key, &hlc(2), json!({}))]).await,
        ["applied"]
    );
    let admin = backend.sql().await;
    admin.execute("DELETE FROM public.sessions WHERE user_id = $1", &[&caller.user]).await.expect("deleted");
    admin
        .execute("DELETE FROM marea.progress_events WHERE user_id = $1", &[&caller.user])
        .await
        .expect("deleted");

    assert_eq!(caller.push(&sent).await, ["duplicate"; 3]);
    let merge = mutation("export_history", "merge", key, &hlc(9), json!({ "status": "failed" }));
    let again = mutation("export_history", "delete", key, &hlc(9), json!({}));
    assert_eq!(caller.push(&[merge, again]).await, ["applied", "applied"]);
    let answer = caller.pull().await;
    assert_eq!(
        (&progress(&answer)["total_sessions"], &progress(&answer)["total_points"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(
        (&answer["rows"]["export_history"], &answer["rows"]["daily_activity"]),
        (&json!(null), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn achievements_are_united_and_the_earlier_unlock_wins() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let unlock = |first: &str, name: &str| {
        event(
            "2026-03-02",
            json!({ "achievements": { "first": first, name: "2026-03-02T00:00:00.000000Z" } }),
        )
    };
    let batch = [unlock("2026-03-02T10:00:00.000000Z", "a"), unlock("2026-03-01T10:00:00.000000Z", "b")];
    caller.push(&batch).await;
    caller.push(&[unlock("2026-03-03T10:00:00.000000Z", "c")]).await;
    let day = "2026-03-02T00:00:00.000000Z";
    let expected = json!({ "first": "2026-03-01T10:00:00.000000Z", "a": day, "b": day, "c": day });
    assert_eq!(progress(&caller.pull().await)["achievements"], expected);
    // Facts that are taken out again take no achievement with them.
    backend
        .sql()
        .await
        .execute("DELETE FROM marea.progress_events WHERE user_id = $1", &[&caller.user])
        .await
        .expect("ok");
    assert_eq!(progress(&caller.pull().await)["achievements"], expected);
}

/// The close look costs as much again as everything else that is done with a session.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_sends_needs_no_close_look() {
    let now = at(1_795_435_200_000);
    let user = "00000000-0000-4000-8000-000000000001".parse().expect("a UUID");
    let mut engine = Engine::open(&Location::Memory, user, Box::new(Counter(1)), now).expect("a mirror");
    let event = EventInput { points: 5, ..EventInput::default() };
    for change in [SessionInput::new("qa").into(), Change::RecordEvent(event)] {
        engine.mutate(change, now).expect("recorded");
    }
    let outgoing = engine.next_request(now).expect("a sound mirror").expect("something to send");
    let backend = TestBackend::shared().await;
    let sql = backend.sql().await;
    for (mutation, kind) in outgoing.request.mutations.iter().zip(["session", "event"]) {
        let look = format!("SELECT marea.{kind}_is_sound($1)");
        let mut values: Value = serde_json::from_str(mutation.values.get()).expect("columns");
        let is_sound = sql.query_one(&look, &[&values]).await.expect("a look").get::<_, bool>(0);
        assert!(is_sound, "{values}");
        values["vocabulary_learned"] = json!("many");
        let is_sound = sql.query_one(&look, &[&values]).await.expect("a look").get::<_, bool>(0);
        assert!(!is_sound, "{values}");
    }
}
