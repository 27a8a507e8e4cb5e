//! The roll-up of old awards (migration 005): what a learner has stays exactly as it was, and no award is counted again. And
//! 005 as a change of the schema. How much it saves: `cargo xtask bench postgres`.

use marea_tests::backend::{TestBackend, connect};
use marea_tests::cluster::{Cluster, Database};
use marea_tests::history::History;
use marea_tests::random::Random;
use marea_tests::schema::{SNAPSHOT, assert_same, seen_to_fail};
use marea_tests::sql::{Caller, act_as, event, progress, refusal, session};
use serde_json::{Value, json};

/// Everything that a fold writes, all columns, and every version that was given.
const STORED: &str = "
    SELECT jsonb_build_object(
        'progress', (SELECT jsonb_agg(to_jsonb(p) ORDER BY p.user_id) FROM public.user_progress AS p),
        'days', (SELECT jsonb_agg(to_jsonb(d) - 'facts' ORDER BY d.user_id, d.day) FROM marea.daily_activity AS d),
        'rows', (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.user_id, r.table_name, r.row_key) FROM marea.rows AS r),
        'clocks', (SELECT jsonb_agg(to_jsonb(c) ORDER BY c.user_id) FROM marea.clocks AS c))";

const FACTS: &str = "SELECT jsonb_agg(jsonb_build_array(d.user_id, d.day, d.facts) ORDER BY d.user_id, d.day)
    FROM marea.daily_activity AS d";

/// As if all of it had come a year ago.
const AGE: &str = "SET session_replication_role = replica;
    UPDATE marea.progress_events SET created_at = created_at - interval '1 year';
    SET session_replication_role = origin;";

/// Runs the job until nothing is left to do.
async fn roll_up(database: &Database) -> i64 {
    let mut all = 0;
    loop {
        let went = database.text("SELECT marea.roll_up_events('90 days', 7)").await;
        match went.parse::<i64>().expect("a number") {
            0 => return all,
            some => all += some,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rolled_up_awards_leave_everything_as_it_was() {
    let mut random = Random::of_this_run("sql_rollup");
    let cluster = Cluster::start().await;
    let database = cluster.database("rollup", u32::MAX).await;
    database.execute("SET synchronous_commit = off").await;
    let mut histories = Vec::new();
    for _ in 0..20 {
        let mut history = History::new(random.uuid());
        let mut statements = vec![format!("INSERT INTO public.users (id) VALUES ('{}')", history.user)];
        statements.extend((0..random.within(10..=60)).map(|_| history.step(&mut random)));
        database.execute(&statements.join(";\n")).await;
        histories.push(history);
    }
    // A day with awards of every kind, and one whose words were moved there and back.
    let busy = histories[0].user;
    let many = format!(
        "INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, descriptions, questions_answered,
             questions_correct, new_words, points, achievements)
         SELECT gen_random_uuid(), '{busy}', timestamptz '2026-02-01 08:00Z' + n * interval '1 minute', '2026-02-01', n % 2,
                n % 3, n % 2, n % 5, n, jsonb_build_object('unlocked ' || n % 4, marea.wire_time('2026-02-01'::timestamptz - n * interval '1 day'))
         FROM generate_series(1, 60) AS n;
         INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, new_words)
         SELECT gen_random_uuid(), '{busy}', '2026-02-02 09:00Z', '2026-02-02', n FROM unnest(ARRAY[3, -3]) AS n;"
    );
    database.execute(&many).await;
    // Half of it is old. What is young stays.
    database.execute(AGE).await;
    for history in &mut histories {
        let statements: Vec<String> = (0..5).map(|_| history.step(&mut random)).collect();
        database.execute(&statements.join(";\n")).await;
    }
    let young = "SELECT count(*) FROM marea.progress_events WHERE created_at > now() - interval '90 days'";
    let events = "SELECT count(*) FROM marea.progress_events";
    let before = (database.text(STORED).await, database.text(events).await, database.text(young).await);

    let went = roll_up(&database).await;

    assert!(went > 50, "only {went} went");
    assert_same(&before.0, &database.text(STORED).await, "what learners have");
    assert_eq!(database.text(young).await, before.2);
    let left = before.1.parse::<i64>().expect("a number") - went;
    assert_eq!(database.text(events).await, left.to_string());
    assert_eq!(database.text("SELECT sum(cardinality(ids)) FROM marea.rolled_up").await, went.to_string());
    assert_eq!(database.text("SELECT count(*) FROM marea.rolling_up").await, "0");
    let there_and_back = format!("{events} WHERE user_id = '{busy}' AND local_date = '2026-02-02'");
    assert_eq!(database.text(&there_and_back).await, "2", "their sum would look like nothing");

    // A fold from nothing finds nothing to mend, not even what is only bookkeeping.
    let facts = database.text(FACTS).await;
    assert_eq!(database.text("SELECT marea.refold(ARRAY(SELECT id FROM public.users))").await, "0");
    assert_eq!(database.text(FACTS).await, facts, "facts per day");
    assert_same(&before.0, &database.text(STORED).await, "what a fold from nothing makes of it");
    // Nor do the triggers afterwards, when they have to look at all events again.
    for history in &mut histories {
        let mut statements: Vec<String> = (0..8).map(|_| history.step(&mut random)).collect();
        statements.push(format!("DELETE FROM public.sessions WHERE user_id = '{}'", history.user));
        database.execute(&statements.join(";\n")).await;
    }
    assert_eq!(database.text("SELECT marea.refold(ARRAY(SELECT id FROM public.users))").await, "0");

    // Once more, over what was rolled up before; and a deleted learner leaves no id behind.
    database.execute(AGE).await;
    roll_up(&database).await;
    assert_eq!(database.text("SELECT marea.refold(ARRAY(SELECT id FROM public.users))").await, "0");
    database.execute("DELETE FROM public.users").await;
    for table in ["rolled_up", "progress_events", "daily_activity", "rows"] {
        assert_eq!(database.text(&format!("SELECT count(*) FROM marea.{table}")).await, "0", "{table}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_award_that_was_rolled_up_is_not_counted_again() {
    let cluster = Cluster::start().await;
    let database = cluster.database("resent", u32::MAX).await;
    let user = database.text("SELECT gen_random_uuid()").await.parse().expect("a UUID");
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{user}')")).await;
    let caller = Caller::of(&database.url, user).await;
    let awards: Vec<Value> = (1..=40).map(|n| event("2026-03-01", json!({ "points": n }))).collect();
    assert_eq!(caller.push(&awards).await, ["applied"; 40]);
    database.execute(AGE).await;
    let had = caller.pull().await["rows"].clone();
    assert_eq!(roll_up(&database).await, 39);
    assert_eq!(caller.pull().await["rows"], had);

    // A copied profile, or a laptop out of a drawer: the same queue again, and something new with it.
    assert_eq!(caller.push(&awards).await, ["duplicate"; 40]);
    let mut mixed = awards[..3].to_vec();
    mixed.push(event("2026-03-01", json!({ "points": 1000 })));
    mixed.push(session("2026-03-01", json!({ "qa_attempts": "x" }))); // so that all go one by one
    assert_eq!(
        caller.push(&mixed).await,
        ["duplicate", "duplicate", "duplicate", "applied", "rejected 22023"]
    );
    assert_eq!(progress(&caller.pull().await)["total_points"], 820 + 1000);

    // Nor by plain SQL, which asks nobody.
    // (One award stays as the sum of its day: any of the others.)
    let sum = database.text("SELECT id FROM marea.progress_events WHERE points = 820").await;
    let id = awards.iter().filter_map(|award| award["id"].as_str()).find(|id| *id != sum).expect("an id");
    let plain = format!(
        "INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date, points)
         VALUES ('{id}', '{user}', now(), '2026-03-01', 5)"
    );
    let gone = database.text(&format!("SELECT count(*) FROM marea.progress_events WHERE id = '{id}'")).await;
    assert_eq!(gone, "0", "the one that stays is the first");
    let error = caller.client.batch_execute(&plain).await.expect_err("it is known");
    let refused = refusal(error);
    assert_eq!((refused.code.as_str(), refused.message.as_str()), ("23505", "id: is taken"));
    assert_eq!(progress(&caller.pull().await)["total_points"], 820 + 1000);
    cluster.stop().await;
}

/// The resend looks for the id before the roll-up commits, and waits for the row that is going.
#[tokio::test(flavor = "multi_thread")]
async fn a_resend_at_the_very_moment_is_not_counted_again() {
    let cluster = Cluster::start().await;
    let database = cluster.database("moment", u32::MAX).await;
    let user = database.text("SELECT gen_random_uuid()").await.parse().expect("a UUID");
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{user}')")).await;
    let caller = Caller::of(&database.url, user).await;
    let awards: Vec<Value> = (1..=10).map(|n| event("2026-03-01", json!({ "points": n }))).collect();
    caller.push(&awards).await;
    database.execute(AGE).await;
    database.execute("BEGIN").await;
    assert_eq!(database.text("SELECT marea.roll_up_events()").await, "9");

    let pid: i32 = caller.client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a pid").get(0);
    let resent = tokio::spawn(async move { (caller.push(&awards).await, caller) });
    let watcher = database.connect().await;
    marea_tests::wait::until("the resend waits for the roll-up", async || {
        let waits = "SELECT cardinality(pg_blocking_pids($1)) > 0";
        watcher.query_one(waits, &[&pid]).await.expect("asked").get(0)
    })
    .await;
    database.execute("COMMIT").await;
    let (statuses, caller) = resent.await.expect("it is through");
    assert_eq!(statuses, ["duplicate"; 10]);
    assert_eq!(progress(&caller.pull().await)["total_points"], 55);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_is_for_the_backend_alone_and_says_what_it_needs() {
    let backend = TestBackend::start().await;
    let client = backend.sql().await;
    let user = backend.new_user().await.id;
    for (role, user) in [("anon", None), ("authenticated", Some(user))] {
        act_as(&client, role, user).await;
        for statement in [
            "SELECT marea.roll_up_events()",
            "TABLE marea.rolled_up",
            "INSERT INTO marea.rolling_up VALUES ('1')",
        ] {
            let error = client.batch_execute(statement).await.expect_err(statement);
            assert_eq!(refusal(error).code, "42501", "{role}: {statement}");
        }
    }
    act_as(&client, "service_role", None).await;
    client.batch_execute("SELECT marea.roll_up_events()").await.expect("its own job");
    for (arguments, message) in [
        ("'29 days'", "older_than: must be at least 30 days"),
        ("NULL", "older_than: must be at least 30 days"),
        ("'1 year', 0", "most_users: must be 1 to 100000"),
    ] {
        let statement = format!("SELECT marea.roll_up_events({arguments})");
        let refused = refusal(client.batch_execute(&statement).await.expect_err(arguments));
        assert_eq!((refused.code.as_str(), refused.message.as_str()), ("22023", message));
    }
    drop(client);
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_005_runs_twice_and_is_taken_back_exactly() {
    let cluster = Cluster::start().await;
    let database = cluster.database("five", 4).await;
    let before = database.text(SNAPSHOT).await;
    let kept = "SELECT jsonb_object_agg(name, definition) FROM marea.replaced";
    let replaced = database.text(kept).await;

    database.migration("005_speed_and_rollup.sql").await.succeeds();
    let first = database.text(SNAPSHOT).await;
    let twice = database.migration("005_speed_and_rollup.sql").await.succeeds();
    assert!(twice.stderr.contains("005 stands already: this run changes nothing"), "{twice:#?}");
    assert_same(&first, &database.text(SNAPSHOT).await, "005 run twice");
    // What it stands on cannot be taken from under it.
    database.migration("004_operations_rollback.sql").await.fails_with("cannot drop");
    assert_same(&first, &database.text(SNAPSHOT).await, "a refused rollback of 004");
    // 002 run again takes its own functions back. Until 005 is run again too, nothing is rolled up, and all else works.
    database.migration("002_sync_layer.sql").await.succeeds();
    database
        .sql(&["SELECT marea.roll_up_events()"])
        .await
        .fails_with("marea.fold_events is not the one of 005");
    let user = database.text("SELECT gen_random_uuid()").await.parse().expect("a UUID");
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{user}')")).await;
    let caller = Caller::of(&database.url, user).await;
    assert_eq!(caller.push(&[event("2026-03-01", json!({ "points": 1 }))]).await, ["applied"]);
    database.migration("005_speed_and_rollup.sql").await.succeeds();
    assert_same(&first, &database.text(SNAPSHOT).await, "002 and 005 run again");

    // What was rolled up would be counted again without 005.
    let second = event("2026-03-01", json!({ "points": 2 }));
    caller.push(std::slice::from_ref(&second)).await;
    database.execute(AGE).await;
    assert_eq!(roll_up(&database).await, 1);
    database.migration("002_sync_layer.sql").await.succeeds();
    assert_eq!(
        caller.push(std::slice::from_ref(&second)).await,
        ["duplicate"],
        "also when 002 was run again"
    );
    database.migration("005_speed_and_rollup.sql").await.succeeds();
    database.migration("005_speed_and_rollup_rollback.sql").await.fails_with("nothing was changed");
    assert_same(&first, &database.text(SNAPSHOT).await, "a refused rollback");
    database.execute("ALTER DATABASE five SET marea.give_up_rolled_up = 'on'").await;
    database.migration("005_speed_and_rollup_rollback.sql").await.succeeds();
    database.execute("ALTER DATABASE five RESET marea.give_up_rolled_up").await;
    assert_same(&before, &database.text(SNAPSHOT).await, "005 taken back");
    assert_eq!(database.text(kept).await, replaced);
    let caller = Caller { client: connect(&database.url).await, ..caller };
    act_as(&caller.client, "authenticated", Some(user)).await;
    assert_eq!(progress(&caller.pull().await)["total_points"], 3);
    database.migration("005_speed_and_rollup_rollback.sql").await.succeeds();

    let early = cluster.database("five_early", 3).await;
    early
        .migration("005_speed_and_rollup.sql")
        .await
        .fails_with("Missing: the views to watch it (migration 004)");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_005_is_seen_to_fail() {
    const BROKEN: &[(&str, &str)] = &[
        ("ALTER TABLE marea.rolled_up DISABLE ROW LEVEL SECURITY", "tables with row level security"),
        (
            "ALTER TABLE marea.rolled_up DROP CONSTRAINT rolled_up_user_id_fkey",
            "foreign key to users that takes the ids along",
        ),
        ("DROP VIEW marea.known_devices", "view of the devices that are known"),
        (
            "GRANT SELECT ON marea.rolled_up TO authenticated",
            "tables and views of it that a client may read or write",
        ),
        ("ALTER FUNCTION marea.page RENAME TO leaf", "functions"),
        (
            "ALTER FUNCTION marea.idle_answer RESET search_path",
            "those that run as their owner, with a pinned search_path",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION marea.page FROM authenticated",
            "those that a signed-in user may execute",
        ),
        (
            "GRANT EXECUTE ON FUNCTION marea.roll_up_events TO authenticated",
            "rights to execute one of them that nobody should have",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION marea.roll_up_events FROM service_role",
            "the job, for the backend's role",
        ),
        (
            "GRANT EXECUTE ON FUNCTION public.marea_sync TO anon",
            "marea_sync that makes use of it, for signed-in users alone",
        ),
        (
            "CREATE OR REPLACE FUNCTION marea.fold_events() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "marea.fold_events that knows of the roll-up",
        ),
        (
            "ALTER TABLE marea.progress_events DISABLE TRIGGER events_counted_once",
            "the trigger that counts an award once",
        ),
        ("INSERT INTO marea.rolling_up VALUES ('1')", "roll-ups that did not end"),
        ("DELETE FROM marea.replaced WHERE name LIKE '005 %'", "definitions kept for the rollback"),
    ];
    let cluster = Cluster::start().await;
    seen_to_fail(&cluster.database("validate_005", 5).await, "validate_005.sql", 14, BROKEN).await;
    cluster.stop().await;
}
