//! Frozen days and labels on the server: what joins a streak without being a day of it, what nobody may freeze, and what devices are
//! told of the app's enum.

use marea_tests::backend::TestBackend;
use marea_tests::cluster::Cluster;
use marea_tests::sql::{Caller, event, progress, request, session, statuses, with};
use serde_json::{Value, json};

const LEARNER: &str = "1ea40000-0000-4000-8000-00000000f0f0";

fn frozen(day: &str) -> Value {
    event(day, json!({ "freezes_day": true }))
}

fn streaks(answer: &Value) -> Value {
    let row = progress(answer);
    json!([row["current_streak_days"], row["longest_streak_days"], row["last_active_on"]])
}

fn day_of(answer: &Value, day: &str) -> Value {
    let rows = answer["rows"]["daily_activity"].as_array().into_iter().flatten();
    rows.map(|row| &row["values"]).find(|values| values["day"] == day).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_day_joins_runs_one_by_one_and_together_and_folded_from_nothing() {
    let backend = TestBackend::shared().await;
    let sql = backend.sql().await;
    let work = |day: &str| session(&format!("2026-01-{day}"), json!({}));
    let freeze = |day: &str| frozen(&format!("2026-01-{day}"));
    let steps = [
        (work("02"), json!([1, 1, "2026-01-02"])),
        (work("03"), json!([2, 2, "2026-01-03"])),
        (freeze("04"), json!([2, 2, "2026-01-04"])),
        (work("05"), json!([3, 3, "2026-01-05"])),
        (work("08"), json!([1, 3, "2026-01-08"])),
        (freeze("06"), json!([1, 3, "2026-01-08"])),
        (freeze("07"), json!([4, 4, "2026-01-08"])),
        (work("07"), json!([5, 5, "2026-01-08"])),
        (freeze("08"), json!([5, 5, "2026-01-08"])),
    ];
    let caller = Caller::new(&backend).await;
    for (step, expected) in &steps {
        let answer = caller.sync(&request(std::slice::from_ref(step))).await;
        assert_eq!((statuses(&answer), &streaks(&answer)), (vec!["applied".to_owned()], expected), "{step}");
    }
    let together = Caller::new(&backend).await;
    let all: Vec<Value> = steps.iter().rev().map(|(step, _)| step.clone()).collect();
    // The same ids belong to the first learner.
    let all: Vec<Value> = all.iter().map(fresh).collect();
    assert_eq!(streaks(&together.sync(&request(&all)).await), json!([5, 5, "2026-01-08"]));
    for caller in [&caller, &together] {
        let answer = caller.pull().await;
        let told = ["03", "04", "06", "07", "08"]
            .map(|day| day_of(&answer, &format!("2026-01-{day}"))["frozen"].clone());
        assert_eq!(told, [Value::Null, json!(true), json!(true), Value::Null, Value::Null]);
        let row = progress(&answer);
        assert_eq!((&row["total_sessions"], &row["total_points"]), (&json!(5), &json!(0)));
        assert!(row["last_activity_at"].as_str().expect("a time").starts_with("2026-01-08"), "{row}");
        let same = "SELECT marea.refold(ARRAY[$1::uuid])";
        assert_eq!(sql.query_one(same, &[&caller.user]).await.expect("a fold").get::<_, i64>(0), 0);
        // Without its session the day is one that is only frozen again.
        let gone =
            "DELETE FROM public.sessions WHERE user_id = $1 AND session_data ->> 'local_date' = '2026-01-08'";
        sql.execute(gone, &[&caller.user]).await.expect("deleted");
        let answer = caller.pull().await;
        assert_eq!(streaks(&answer), json!([4, 4, "2026-01-08"]));
        assert_eq!(day_of(&answer, "2026-01-08")["frozen"], true);
        assert_eq!(sql.query_one(same, &[&caller.user]).await.expect("a fold").get::<_, i64>(0), 0);
    }
}

/// The mutation under another id.
fn fresh(mutation: &Value) -> Value {
    let id = json!(marea_tests::sql::new_id());
    let mut mutation = with(with(mutation.clone(), "id", id.clone()), "key", id.clone());
    if let Some(own) = mutation["values"].get_mut("id") {
        *own = id;
    }
    mutation
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_freezes_a_month_and_a_freeze_awards_nothing() {
    let cluster = Cluster::start().await;
    let database = cluster.database("freezes", u32::MAX).await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    let caller = Caller::of(&database.url, LEARNER.parse().expect("a user")).await;
    let (applied, refused) = ("applied", "rejected 22023");
    let ten: Vec<Value> = (1..=10).map(|day| frozen(&format!("2026-02-{day:02}"))).collect();
    assert_eq!(caller.push(&ten).await, [applied; 10]);
    // Any 30 days, before or behind; the same day again is no other one.
    for (day, expected) in [
        ("2026-02-28", refused),
        ("2026-01-15", refused),
        ("2026-02-10", applied),
        ("2026-01-02", applied),
        ("2026-03-12", applied),
    ] {
        assert_eq!(caller.push(&[frozen(day)]).await, [expected], "{day}");
    }
    assert_eq!(
        caller.push(&[frozen("2026-02-20"), session("2026-02-20", json!({}))]).await,
        [refused, applied]
    );
    database.execute("INSERT INTO marea.settings (name, value) VALUES ('freezes_per_30_days', '0')").await;
    assert_eq!(caller.push(&[frozen("2026-06-01")]).await, [refused]);
    for columns in [
        json!({ "freezes_day": true, "points": 1 }),
        json!({ "freezes_day": true, "achievements": { "a": "2026-06-01T00:00:00.000000Z" } }),
        json!({ "freezes_day": 1 }),
        json!({ "freezes_day": false }),
    ] {
        assert_eq!(caller.push(&[event("2026-06-01", columns.clone())]).await, [refused], "{columns}");
    }
    let awarded = event("2026-06-01", json!({ "freezes_day": false, "points": 1 }));
    assert_eq!(caller.push(&[awarded]).await, [applied]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_told_the_labels_of_the_session_type_as_they_are_now() {
    let cluster = Cluster::start().await;
    let database = cluster.database("labels", u32::MAX).await;
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{LEARNER}')")).await;
    let caller = Caller::of(&database.url, LEARNER.parse().expect("a user")).await;
    let told = async |hash: &str| {
        let answer = caller.sync(&with(request(&[]), "catalogue", json!(hash))).await;
        answer.get("catalogue").cloned().unwrap_or_default()
    };
    let texts = told("").await;
    assert!(texts.get("labels").is_none(), "{texts}");
    let hash = |document: &Value| document["hash"].as_str().expect("a hash").to_owned();
    assert_eq!(told(&hash(&texts)).await, Value::Null);
    database
        .execute(
            "CREATE TYPE public.kind AS ENUM ('qa', 'image'); CREATE DOMAIN public.some_kind AS public.kind;
             ALTER TABLE public.sessions ALTER COLUMN session_type DROP DEFAULT;
             ALTER TABLE public.sessions ALTER COLUMN session_type TYPE public.some_kind USING session_type::public.some_kind",
        )
        .await;
    let two = told(&hash(&texts)).await;
    assert_eq!(two["labels"], json!({ "sessions.session_type": ["qa", "image"] }));
    assert_eq!(two["tables"], texts["tables"]);
    assert_eq!(told(&hash(&two)).await, Value::Null);
    database.execute("ALTER TYPE public.kind ADD VALUE 'chat' BEFORE 'image'").await;
    let three = told(&hash(&two)).await;
    assert_eq!(three["labels"], json!({ "sessions.session_type": ["qa", "chat", "image"] }));
    // A device that has not been told sends what it likes, and is refused with the name of the type.
    let answer = caller.sync(&request(&[session("2026-07-01", json!({ "session_type": "typo" }))])).await;
    let result = &answer["results"][0];
    assert_eq!(result["status"], "rejected", "{answer}");
    assert!(result["message"].as_str().expect("a message").contains("kind"), "{result}");
    assert_eq!(caller.push(&[session("2026-07-01", json!({ "session_type": "chat" }))]).await, ["applied"]);
    cluster.stop().await;
}
