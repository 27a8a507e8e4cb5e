//! Garbage to `marea_sync`: what is malformed is refused by name, a single bad mutation is rejected alone, and nothing of
//! either is kept. What good requests do is tested elsewhere.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, act_as, hlc, mutation, refusal, request, session, with};
use serde_json::{Value, json};

fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().expect("an object").remove(field);
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_is_refused_by_name_and_changes_nothing() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let good = request(&[session("2026-01-01", json!({}))]);
    let many: Vec<Value> = (0..501).map(|_| session("2026-01-01", json!({}))).collect();
    let large = session("2026-01-01", json!({ "session_data": { "note": "x".repeat(2 << 20) } }));
    let deep = (0..500).fold(json!(1), |inner, _| json!([inner]));
    let cases: Vec<(Value, &str, &str)> = vec![
        (json!(null), "PT400", "request"),
        (json!([1]), "PT400", "request"),
        (json!("'; DROP TABLE users; --"), "PT400", "request"),
        (json!({}), "PT400", "protocol"),
        (with(good.clone(), "protocol", json!("1")), "PT400", "protocol"),
        (with(good.clone(), "protocol", json!(2)), "PT426", "protocol"),
        (with(good.clone(), "protocol", json!(1.5)), "PT426", "protocol"),
        (without(good.clone(), "client_id"), "PT400", "client_id"),
        (with(good.clone(), "client_id", json!("' OR 1=1 --")), "PT400", "client_id"),
        (with(good.clone(), "client_id", json!(7)), "PT400", "client_id"),
        (without(good.clone(), "schema"), "PT400", "schema"),
        (with(good.clone(), "schema", json!(0)), "PT400", "schema"),
        (with(good.clone(), "limit", json!(0)), "PT400", "limit"),
        (with(good.clone(), "limit", json!(2001)), "PT400", "limit"),
        (with(good.clone(), "limit", json!("1; SELECT 1")), "PT400", "limit"),
        (with(good.clone(), "limit", json!(-1)), "PT400", "limit"),
        (with(good.clone(), "cursor", json!(5)), "PT400", "cursor"),
        (with(good.clone(), "cursor", json!({})), "PT400", "cursor.version"),
        (with(good.clone(), "cursor", json!({ "version": -1, "epoch": "x" })), "PT400", "cursor.version"),
        (with(good.clone(), "cursor", json!({ "version": 1e30, "epoch": "x" })), "PT400", "cursor.version"),
        (with(good.clone(), "cursor", json!({ "version": 1 })), "PT400", "cursor.epoch"),
        (
            with(good.clone(), "cursor", json!({ "version": 1, "epoch": "x".repeat(65) })),
            "PT400",
            "cursor.epoch",
        ),
        (with(good.clone(), "mutations", json!({})), "PT400", "mutations"),
        (with(good.clone(), "mutations", json!("[]")), "PT400", "mutations"),
        (with(good.clone(), "mutations", json!([1])), "PT400", "mutations[0].id"),
        (with(good.clone(), "mutations", json!([good["mutations"][0], {}])), "PT400", "mutations[1].id"),
        (with(good.clone(), "mutations", json!([{ "id": "x" }])), "PT400", "mutations[0].id"),
        (with(good.clone(), "mutations", json!([deep])), "PT400", "mutations[0].id"),
        (request(&many), "PT413", "mutations"),
        (request(&[large]), "PT413", "request"),
    ];
    for (bad, code, field) in cases {
        let refusal = caller.try_sync(&bad).await.expect_err(&format!("refused: {field}"));
        assert_eq!(refusal.code, code, "{field}: {refusal:?}");
        assert!(refusal.message.starts_with(&format!("{field}:")), "{field}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{refusal:?}");
    }
    assert_nothing(&backend, &caller).await;
}

async fn assert_nothing(backend: &TestBackend, caller: &Caller) {
    let statement = "SELECT (SELECT count(*) FROM public.sessions WHERE user_id = $1)
        + (SELECT count(*) FROM public.user_progress WHERE user_id = $1)
        + (SELECT count(*) FROM marea.progress_events WHERE user_id = $1)
        + (SELECT count(*) FROM public.export_history WHERE user_id = $1)
        + (SELECT count(*) FROM public.user_api_keys WHERE user_id = $1)
        + (SELECT count(*) FROM marea.rows WHERE user_id = $1) + (SELECT count(*) FROM marea.clocks WHERE user_id = $1)";
    let count: i64 = backend.sql().await.query_one(statement, &[&caller.user]).await.expect("a count").get(0);
    assert_eq!(count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_mutation_is_rejected_alone_and_changes_nothing() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let me = caller.user.to_string();
    let of =
        |table: &str, op: &str, key: Option<&str>, values: Value| mutation(table, op, key, &hlc(1), values);
    let quote = "'); DROP TABLE public.sessions; --";
    let cases: Vec<(Value, &str)> = vec![
        (of("users", "insert", None, json!({})), "22023"),
        (of(quote, quote, None, json!({})), "22023"),
        (of("user_progress", "merge", Some(&me), json!({ "total_points": 9 })), "22023"),
        (of("daily_activity", "insert", None, json!({})), "22023"),
        (of("sessions", "merge", None, json!({})), "22023"),
        (of("sessions", "delete", None, json!({})), "22023"),
        (of("user_api_keys", "insert", None, json!({})), "22023"),
        (with(session("2026-01-01", json!({})), "table", json!(7)), "22023"),
        (with(session("2026-01-01", json!({})), "op", json!(null)), "22023"),
        (with(session("2026-01-01", json!({})), "values", json!([])), "22023"),
        (with(session("2026-01-01", json!({})), "values", json!(quote)), "22023"),
        (without(session("2026-01-01", json!({})), "values"), "22023"),
        (with(session("2026-01-01", json!({})), "key", json!(quote)), "22023"),
        (without(session("2026-01-01", json!({})), "key"), "22023"),
        (with(session("2026-01-01", json!({})), "hlc", json!("now")), "22023"),
        (without(session("2026-01-01", json!({})), "hlc"), "22023"),
        (session("2026-01-01", json!({ "user_id": me })), "22023"),
        (session("2026-01-01", json!({ quote: 1 })), "22023"),
        (session("2026-01-01", json!({ "id": me })), "22023"),
        (session("2026-01-01", json!({ "session_type": 5 })), "22023"),
        (session("2026-01-01", json!({ "session_data": quote })), "22023"),
        (session("2026-01-01", json!({ "ended_at": "infinity" })), "22023"),
        (session("2026-01-01", json!({ "ended_at": "2026-13-01T00:00:00.000000Z" })), "22023"),
        (session("2026-01-01", json!({ "started_at": "now" })), "22023"),
        (session("2026-01-01", json!({ "qa_attempts": quote })), "22023"),
        (session("2026-01-01", json!({ "qa_attempts": 1.5 })), "22023"),
        (session("2026-01-01", json!({ "qa_attempts": 99_999_999_999_u64 })), "22023"),
        (event("{}", json!({})), "22023"),
        (event("2026-02-30", json!({ "points": 1 })), "22023"),
        (event("2026-01-01", json!({ "points": -1 })), "22023"),
        (event("2026-01-01", json!({ "points": "1" })), "22023"),
        (event("2026-01-01", json!({ "achievements": { "first": "yesterday" } })), "23514"),
        (event("2026-01-01", json!({ "achievements": { "first": 1 } })), "23514"),
        (of("export_history", "insert", None, json!({})), "23502"),
        (
            of(
                "export_history",
                "insert",
                None,
                json!({ "export_type": "a", "export_format": "b", "user_id": me }),
            ),
            "22023",
        ),
        (
            of(
                "export_history",
                "insert",
                None,
                json!({ "export_type": "a", "export_format": "b", "status": "odd" }),
            ),
            "23514",
        ),
        (
            of(
                "export_history",
                "insert",
                None,
                json!({ "export_type": "a".repeat(51), "export_format": "b" }),
            ),
            "22023",
        ),
        (of("export_history", "merge", Some(quote), json!({ "status": "failed" })), "22023"),
        (of("export_history", "delete", Some(quote), json!({})), "22023"),
        (of("export_history", "merge", Some(&me), json!({ "status": "failed" })), "22023"),
        (of("user_api_keys", "merge", Some(quote), json!({ "openai_api_key": null })), "22023"),
        (of("user_api_keys", "merge", Some(&me), json!({ "user_id": me })), "22023"),
        (of("user_api_keys", "merge", Some(&me), json!({ quote: 1 })), "22023"),
        (of("user_api_keys", "merge", Some(&me), json!({ "openai_api_key": "sk-in-the-clear" })), "23514"),
        (of("user_api_keys", "merge", Some(&me), json!({ "openai_api_key": { "a": 1 } })), "22023"),
    ];
    for (bad, code) in cases {
        let answer = caller.sync(&request(std::slice::from_ref(&bad))).await;
        let result = &answer["results"][0];
        assert_eq!(result["status"], "rejected", "{bad}: {result}");
        assert_eq!(result["code"], code, "{bad}: {result}");
        assert_eq!(result["id"], bad["id"]);
        assert!(result["message"].as_str().is_some_and(|message| !message.is_empty()), "{result}");
    }
    assert_nothing(&backend, &caller).await;
}

fn event(day: &str, columns: Value) -> Value {
    marea_tests::sql::event(day, columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_mutation_does_not_stop_the_good_ones_around_it() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let mut mutations: Vec<Value> =
        (1..=100).map(|_| session("2026-01-01", json!({ "qa_attempts": 2 }))).collect();
    mutations.insert(0, session("2026-01-01", json!({ "qa_attempts": i64::from(i32::MAX) + 1 })));
    mutations.insert(50, session("2026-01-01", json!({ "qa_attempts": "x" })));
    let statuses = caller.push(&mutations).await;
    assert_eq!(statuses.iter().filter(|status| *status == "applied").count(), 100);
    assert_eq!((statuses[0].as_str(), statuses[50].as_str()), ("rejected 22023", "rejected 22023"));
    let answer = caller.pull().await;
    assert_eq!(marea_tests::sql::progress(&answer)["total_questions_answered"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_is_at_its_end_stays_there_and_refuses_nothing() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    // No device can say so much at once; a job of the app can.
    let much = format!(
        "INSERT INTO public.sessions (user_id, ended_at, images_processed) VALUES ('{}', '2026-01-01', {})",
        caller.user,
        i32::MAX
    );
    backend.sql().await.batch_execute(&much).await.expect("a session");
    let mutations =
        [session("2026-01-02", json!({ "images_processed": 1 })), session("2026-01-03", json!({}))];
    assert_eq!(caller.push(&mutations).await, ["applied"; 2]);
    let answer = caller.pull().await;
    assert_eq!(marea_tests::sql::progress(&answer)["total_images"], i32::MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_anonymous_and_an_unknown_user_are_told_what_is_wrong() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    act_as(&caller.client, "authenticated", None).await;
    assert_eq!(caller.try_sync(&request(&[])).await.expect_err("no user").code, "PT401");

    act_as(&caller.client, "anon", Some(caller.user)).await;
    assert_eq!(caller.try_sync(&request(&[])).await.expect_err("not for anon").code, "42501");
    act_as(&caller.client, "service_role", Some(caller.user)).await;
    assert_eq!(caller.try_sync(&request(&[])).await.expect_err("not for service_role").code, "42501");

    // A signed-in user whom the app has not made yet: the mutation must not be rejected, or it would be set aside.
    act_as(&caller.client, "authenticated", Some(marea_tests::sql::new_id())).await;
    let answer = caller.pull().await;
    assert_eq!((&answer["rows"], &answer["cursor"]["version"]), (&json!({}), &json!(0)));
    let refused =
        caller.try_sync(&request(&[session("2026-01-01", json!({}))])).await.expect_err("no such user");
    assert_eq!(refused.code, "PT409");
    assert!(!refused.hint.is_empty());
    // Nor one that is wrong by itself: this user is told of that once there is a row.
    let wrong = session("2026-01-01", json!({ "qa_attempts": "x" }));
    assert_eq!(caller.try_sync(&request(&[wrong])).await.expect_err("no such user").code, "PT409");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_timeout_fails_the_request_whole() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let blocker = backend.sql().await;
    caller.push(&[session("2026-01-01", json!({}))]).await;
    blocker.batch_execute("BEGIN").await.expect("begin");
    let lock = "SELECT FROM public.user_progress WHERE user_id = $1 FOR UPDATE";
    blocker.query(lock, &[&caller.user]).await.expect("the lock");
    caller.client.batch_execute("SET statement_timeout = '200ms'").await.expect("a timeout");
    let asked = caller
        .client
        .query_one("SELECT public.marea_sync($1)", &[&request(&[session("2026-01-02", json!({}))])])
        .await;
    // Canceled, not a rejected mutation: the client tries again.
    assert_eq!(refusal(asked.expect_err("no answer in time")).code, "57014");
    blocker.batch_execute("ROLLBACK").await.expect("rollback");
    caller.client.batch_execute("RESET statement_timeout").await.expect("no timeout");
    assert_eq!(marea_tests::sql::progress(&caller.pull().await)["total_sessions"], 1);
}
