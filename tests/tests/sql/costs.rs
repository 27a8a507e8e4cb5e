//! What the worst requests cost: what comes back, what is written, who has to wait. Never by time: `docs/COSTS.md` has the bounds,
//! and `cargo xtask bench postgres` the times.

use marea_tests::backend::TestBackend;
use marea_tests::bench::attack;
use marea_tests::cluster::{Cluster, root};
use marea_tests::sql::{Caller, event, progress, request, session, statuses, with};
use marea_tests::worst::{LONG, SMALL, requests, sessions, text_of};
use serde_json::{Map, Value, json};

/// The bounds of `docs/COSTS.md`: bytes in, bytes out, rows written.
fn bounds() -> Map<String, Value> {
    let document = std::fs::read_to_string(root().join("docs/COSTS.md")).expect("the document");
    let number = |cell: &str| cell.trim().replace(',', "").parse::<u64>();
    let rows = document.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let [name, sent, got, written] = cells.as_slice() else { return None };
        Some((name.trim().to_owned(), json!([number(sent).ok()?, number(got).ok()?, number(written).ok()?])))
    });
    rows.collect()
}

/// Everything of a user's that a request can make.
const ROWS: &str = "SELECT (SELECT count(*) FROM public.sessions WHERE user_id = $1)
    + (SELECT count(*) FROM marea.progress_events WHERE user_id = $1) + (SELECT count(*) FROM public.export_history WHERE user_id = $1)
    + (SELECT count(*) FROM marea.rows WHERE user_id = $1) + (SELECT count(*) FROM marea.checkpoints WHERE user_id = $1)
    + (SELECT count(*) FROM marea.clients WHERE user_id = $1)";

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_requests_cost_what_the_document_says() {
    let backend = TestBackend::shared().await;
    let (admin, bounds) = (backend.sql().await, bounds());
    let worst = requests();
    assert_eq!(
        (worst.len(), bounds.len()),
        (20, 20),
        "a request without a bound, or a bound without a request"
    );
    let mut beyond = Vec::new();
    for (name, request) in worst {
        let caller = Caller::new(&backend).await;
        let statement = "SELECT public.marea_sync($1::text::jsonb)::text";
        // PostgREST says of an error what Postgres says.
        let (answer, refused) = match caller.client.query_one(statement, &[&request]).await {
            Ok(row) => (row.get::<_, String>(0), false),
            Err(error) => {
                let said = error.as_db_error().expect("Postgres answers");
                (format!("{} {:?} {:?}", said.message(), said.detail(), said.hint()), true)
            }
        };
        let rows: i64 = admin.query_one(ROWS, &[&caller.user]).await.expect("rows").get(0);
        let measured = [request.len(), answer.len(), usize::try_from(rows).expect("rows")];
        let stated = bounds.get(name).unwrap_or_else(|| panic!("{name}: not in the document"));
        let within = measured
            .iter()
            .zip(stated.as_array().expect("three"))
            .all(|(is, most)| *is as u64 <= most.as_u64().expect("a number"));
        if !within {
            beyond.push(format!("| {name} | {measured:?} | stated {stated}"));
        }
        assert!(refused || serde_json::from_str::<Value>(&answer).is_ok(), "{name}");
        for message in serde_json::from_str::<Value>(&answer)
            .ok()
            .and_then(|it| it["results"].as_array().cloned())
            .unwrap_or_default()
        {
            assert!(message["message"].as_str().is_none_or(|text| text.len() <= 500), "{name}: {message}");
        }
    }
    assert!(beyond.is_empty(), "{beyond:#?}");
}

/// A number that cannot be printed refuses its mutation alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_number_is_refused_alone_and_without_being_printed() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let mut mutations = sessions(3, "");
    for columns in [
        format!(r#","duration_minutes":{LONG}"#),
        format!(r#","session_data":{{"deep":[[{{"n":{SMALL}}}]]}}"#),
        r#","session_data":{"n":[1e308,5e-324,0.1,-7]}"#.to_owned(),
    ] {
        mutations.splice(1..1, sessions(1, &columns));
    }
    let statement = "SELECT public.marea_sync($1::text::jsonb)";
    let answer: Value =
        caller.client.query_one(statement, &[&text_of(&mutations, "")]).await.expect("an answer").get(0);
    let refused = "rejected 22023";
    assert_eq!(statuses(&answer), ["applied", "applied", refused, refused, "applied", "applied"]);
    assert_eq!(progress(&answer)["total_sessions"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_any_length_comes_back_short() {
    let backend = TestBackend::shared().await;
    let (admin, caller) = (backend.sql().await, Caller::new(&backend).await);
    for (letter, code) in [("x", "P0001"), ("ü", "P0001"), ("🌊", "40P01"), ("x", "XX000")] {
        let trigger = format!(
            "CREATE OR REPLACE FUNCTION public.talk() RETURNS trigger LANGUAGE plpgsql AS $do$ BEGIN
                IF NEW.user_id = '{}' THEN
                    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = repeat('{letter}', 100000);
                END IF; RETURN NEW; END $do$;
             CREATE OR REPLACE TRIGGER talk BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.talk()",
            caller.user
        );
        admin.batch_execute(&trigger).await.expect("a trigger");
        let said = caller.try_sync(&request(&[session("2026-07-01", json!({}))])).await;
        let message = match &said {
            Ok(answer) => answer["results"][0]["message"].as_str().expect("a message").to_owned(),
            Err(refusal) => refusal.message.clone(),
        };
        assert!(
            message.len() <= 500 && message.starts_with(letter) && message.ends_with("bytes)"),
            "{message}"
        );
        assert_eq!(said.is_err(), code != "P0001", "{code}");
    }
    admin
        .batch_execute("DROP TRIGGER talk ON public.sessions; DROP FUNCTION public.talk()")
        .await
        .expect("gone");
}

/// By halves: counted by a sequence of the app's own trigger, which no rollback takes back.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_accepted_costs_a_few_attempts_and_not_one_for_each() {
    let backend = TestBackend::start().await;
    let (admin, caller) = (backend.sql().await, Caller::new(&backend).await);
    admin
        .batch_execute(
            "CREATE SEQUENCE public.attempts; GRANT USAGE ON SEQUENCE public.attempts TO authenticated;
             CREATE FUNCTION public.count_attempt() RETURNS trigger LANGUAGE plpgsql AS $do$ BEGIN
                 PERFORM nextval('public.attempts'); RETURN NULL; END $do$;
             CREATE FUNCTION public.refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $do$ BEGIN
                 IF NEW.session_type = 'bad' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $do$;
             CREATE TRIGGER count_attempt BEFORE INSERT ON public.sessions EXECUTE FUNCTION public.count_attempt();
             CREATE TRIGGER refuse_bad BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.refuse_bad()",
        )
        .await
        .expect("the app's triggers");
    let mut batch: Vec<Value> = (0..500).map(|_| session("2026-07-01", json!({}))).collect();
    batch[321] = session("2026-07-01", json!({ "session_type": "bad" }));
    let results = caller.push(&batch).await;
    let refused: Vec<usize> = (0..500).filter(|n| results[*n] != "applied").collect();
    assert_eq!((refused, results[321].as_str()), (vec![321], "rejected P0001"));
    let attempts: i64 =
        admin.query_one("SELECT last_value FROM public.attempts", &[]).await.expect("a count").get(0);
    // Two for the whole, then two for each halving: 500 has nine.
    assert!(attempts <= 20, "{attempts} attempts");
    assert_eq!(progress(&caller.pull().await)["total_sessions"], 499);
    drop((admin, caller));
    backend.stop().await;
}

/// Whatever one account sends, and however often, it holds four connections.
#[tokio::test(flavor = "multi_thread")]
async fn four_requests_of_a_user_at_a_time_and_everybody_else_is_served() {
    let backend = TestBackend::shared().await;
    let (caller, neighbour) = (Caller::new(&backend).await, Caller::new(&backend).await);
    // Noted as a device, which is done once an hour, and not by four at once.
    caller.sync(&request(&[])).await;
    let mut under_way = Vec::new();
    for _ in 0..4 {
        let device = caller.again(&backend).await;
        device.client.batch_execute("BEGIN").await.expect("begin");
        device.sync(&request(&[])).await;
        under_way.push(device);
    }
    for (name, text) in requests() {
        let asked: Value = serde_json::from_str(&text).unwrap_or_else(|_| request(&[]));
        let refusal = caller.try_sync(&with(asked, "protocol", json!(1))).await.expect_err(name);
        assert!(["PT429", "PT400", "PT413"].contains(&refusal.code.as_str()), "{name}: {refusal:?}");
        neighbour.push(&[session("2026-07-01", json!({}))]).await;
    }
    // A request that has nothing to do takes no turn.
    let idle = caller.try_sync(&request(&[])).await.expect_err("the fifth");
    assert_eq!(idle.code, "PT429");
    under_way.pop().expect("one").client.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(caller.push(&[session("2026-07-01", json!({}))]).await, ["applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_lock_waits_with_a_bound_and_is_told_to_try_again() {
    let backend = TestBackend::shared().await;
    let (caller, device) = {
        let caller = Caller::new(&backend).await;
        let device = caller.again(&backend).await;
        (caller, device)
    };
    caller.client.batch_execute("BEGIN").await.expect("begin");
    caller.push(&[session("2026-07-01", json!({}))]).await;
    device.client.batch_execute("SET lock_timeout = '50ms'").await.expect("a bound of its own");
    let refusal = device.try_sync(&request(&[session("2026-07-02", json!({}))])).await.expect_err("it waits");
    assert_eq!(refusal.code, "55P03");
    caller.client.batch_execute("COMMIT").await.expect("commit");
    // Without one of its own it gets one, for this transaction alone.
    device.client.batch_execute("SET lock_timeout = 0; BEGIN").await.expect("begin");
    device.sync(&request(&[session("2026-07-02", json!({}))])).await;
    let bound =
        async || device.client.query_one("SHOW lock_timeout", &[]).await.expect("shown").get::<_, String>(0);
    assert_eq!(bound().await, "5s");
    device.client.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(bound().await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn achievements_have_an_end_and_the_award_beyond_it_is_refused_alone() {
    let backend = TestBackend::shared().await;
    let caller = Caller::new(&backend).await;
    let award = |from: usize, count: usize| {
        let unlocked: Map<String, Value> =
            (from..from + count).map(|n| (format!("a{n}"), json!("2026-07-01T12:00:00.000000Z"))).collect();
        event("2026-07-01", json!({ "achievements": unlocked }))
    };
    let ten: Vec<Value> = (0..10).map(|n| award(n * 100, 100)).collect();
    assert_eq!(caller.push(&ten).await, ["applied"; 10]);
    let mixed = [award(0, 3), award(5_000, 1), session("2026-07-01", json!({}))];
    assert_eq!(caller.push(&mixed).await, ["applied", "rejected 22023", "applied"]);
    let achievements = progress(&caller.pull().await)["achievements"].as_object().expect("an object").len();
    assert_eq!(achievements, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_cursors_leave_little_behind() {
    let backend = TestBackend::shared().await;
    let (admin, caller) = (backend.sql().await, Caller::new(&backend).await);
    let answer = caller.sync(&request(&[session("2026-07-01", json!({}))])).await;
    let epoch = answer["cursor"]["epoch"].as_str().expect("an epoch").to_owned();
    let [history, _, now] = epoch.split('.').collect::<Vec<_>>()[..] else { panic!("{epoch}") };
    let now: u64 = now.parse().expect("microseconds");
    // Two of three could be noted, more than a day's hundred.
    for n in 0..240_u64 {
        // Each of a moment later than the last note, and some of years ahead.
        let at = if n % 3 == 0 { now + 900_000_000_000_000 } else { now + n * 1_000_000 };
        let made_up = json!({ "version": 999_999, "epoch": format!("{history}.999999.{at}") });
        caller.sync(&with(request(&[]), "cursor", made_up)).await;
    }
    let kept = "SELECT count(*) FROM marea.checkpoints WHERE user_id = $1";
    let kept: i64 = admin.query_one(kept, &[&caller.user]).await.expect("a count").get(0);
    assert!((1..=101).contains(&kept), "{kept} checkpoints");
}

/// Through PostgREST, with its ten connections: one account sends each of the worst requests from fourteen connections at once, and
/// another's sync is answered all the while. How fast is `cargo xtask bench postgres`.
#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_is_served_during_each_attack() {
    let cluster = Cluster::start().await;
    let measured = attack::measure(&cluster, 3).await;
    assert_eq!(measured.len(), 20);
    for beside in measured {
        assert_eq!(beside.times.len(), 3, "{}: the neighbour was not served", beside.name);
    }
    cluster.stop().await;
}
