//! Wake-ups: who is told of a change, once and no more than needed; and that telling never costs a write.

use marea_tests::cluster::{Cluster, Database, root};
use marea_tests::schema::{SNAPSHOT, assert_same};
use marea_tests::sql::{Caller, DEVICE, act_as, hlc, mutation, new_id, request, request_after, statuses};
use serde_json::{Value, json};
use uuid::Uuid;

/// A database with wake-ups on, carried by the schema `realtime`.
async fn awake(cluster: &Cluster, name: &str) -> Database {
    let database = cluster.database(name, u32::MAX).await;
    database.file(&root().join("tests/fixtures/realtime.sql")).await.succeeds();
    assert_eq!(database.text("SELECT marea.set_wakeups(true)").await, "realtime");
    database
}

async fn user(database: &Database) -> Uuid {
    let id = new_id();
    database.execute(&format!("INSERT INTO public.users (id) VALUES ('{id}')")).await;
    id
}

fn session() -> Value {
    mutation("sessions", "insert", None, &hlc(1), json!({ "ended_at": "2026-01-05T10:00:00.000000Z" }))
}

/// All messages until now, oldest first: whose, version, writer. They are forgotten.
async fn told(database: &Database) -> Vec<(String, i64, Option<String>)> {
    let query =
        "WITH gone AS (DELETE FROM realtime.messages RETURNING topic, event, extension, private, payload)
        SELECT topic, (payload ->> 'version')::bigint, payload ->> 'writer', event || extension || private
        FROM gone ORDER BY 1, 2";
    let rows = database.connect().await.query(query, &[]).await.expect("the messages");
    let told = rows.iter().map(|row| {
        assert_eq!(row.get::<_, String>(3), "changedbroadcasttrue");
        (row.get::<_, String>(0), row.get(1), row.get(2))
    });
    told.collect()
}

async fn clock(database: &Database, user: Uuid) -> i64 {
    let query = "SELECT version FROM marea.clocks WHERE user_id = $1";
    database.connect().await.query_one(query, &[&user]).await.expect("a clock").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_is_told_once_by_a_transaction() {
    let cluster = Cluster::start().await;
    let database = awake(&cluster, "wakeups_told").await;
    let (ada, eve) = (user(&database).await, user(&database).await);
    let of_ada = Caller::of(&database.url, ada).await;
    let topic = |user: Uuid| format!("marea:{user}");

    // A push says who wrote, in the very transaction.
    let answer = of_ada.sync(&request(&[session(), session()])).await;
    assert_eq!(answer["wakeups"], true);
    assert_eq!(told(&database).await, [(topic(ada), clock(&database, ada).await, Some(DEVICE.to_owned()))]);
    let idle = of_ada.sync(&request_after(&answer["cursor"], &[])).await;
    assert_eq!((&idle["wakeups"], told(&database).await.len()), (&json!(true), 0), "nothing was written");
    let idle = of_ada.sync(&request_after(&idle["cursor"], &[])).await;
    assert_eq!(idle["wakeups"], true, "the short answer says so too");
    // A resend, and a push that is refused, move nothing.
    let again = session();
    of_ada.push(std::slice::from_ref(&again)).await;
    told(&database).await;
    of_ada.push(&[again]).await;
    of_ada.push(&[mutation("sessions", "insert", None, &hlc(1), json!({ "qa_correct": -1 }))]).await;
    assert_eq!(told(&database).await, []);

    // A job of the app: several statements, two users, and versions taken in between.
    let insert = |user| format!("INSERT INTO public.sessions (user_id, ended_at) VALUES ('{user}', now());");
    let job = format!(
        "BEGIN; {} SET CONSTRAINTS ALL IMMEDIATE; {} {} COMMIT;",
        insert(ada),
        insert(ada),
        insert(eve)
    );
    database.execute(&job).await;
    let all = told(&database).await;
    let (mut users, mut expected): (Vec<_>, Vec<_>) =
        (all.iter().map(|it| it.0.clone()).collect(), vec![topic(ada), topic(eve)]);
    users.sort();
    expected.sort();
    assert_eq!(users, expected);
    for (topic, version, writer) in &all {
        let owner = if *topic == format!("marea:{ada}") { ada } else { eve };
        // The first of the transaction at least, whose changes are seen together.
        assert!(*version <= clock(&database, owner).await && writer.is_none(), "{all:?}");
    }
    database.execute(&format!("BEGIN; {} ROLLBACK;", insert(ada))).await;
    // What is taken back to a savepoint was told by nobody, and what comes after it is.
    database
        .execute(&format!(
            "BEGIN; SAVEPOINT s; SET CONSTRAINTS ALL IMMEDIATE; {} ROLLBACK TO s; {} COMMIT;",
            insert(ada),
            insert(eve)
        ))
        .await;
    assert_eq!(told(&database).await.into_iter().map(|it| it.0).collect::<Vec<_>>(), [topic(eve)]);

    // A job for many.
    for (users, expected) in [(100, 100), (101, 0)] {
        let many = format!(
            "WITH made AS (INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, {users}) RETURNING id)
             SELECT set_config('test.made', array_agg(id)::text, false) FROM made"
        );
        let job = "INSERT INTO public.sessions (user_id, ended_at) SELECT unnest(current_setting('test.made')::uuid[]), now()";
        for (statement, kind) in [(job, "new clocks"), (job, "moved clocks")] {
            if kind == "new clocks" {
                database.execute(&many).await;
            }
            database.execute(statement).await;
            assert_eq!(told(&database).await.len(), expected, "{users} users, {kind}");
        }
    }
    // In two steps: who is in both counts once.
    for (second, expected) in [(100, 100), (101, 60)] {
        let steps = [(1, 60), (41, second)].map(|(from, to)| {
            format!(
                "INSERT INTO public.sessions (user_id, ended_at)
                 SELECT unnest((current_setting('test.made')::uuid[])[{from}:{to}]), now(); SET CONSTRAINTS ALL IMMEDIATE;"
            )
        });
        database.execute(&format!("BEGIN; {} COMMIT;", steps.concat())).await;
        assert_eq!(told(&database).await.len(), expected, "users 1 to 60, then 41 to {second}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telling_never_costs_a_write() {
    let cluster = Cluster::start().await;
    let database = awake(&cluster, "wakeups_faults").await;
    let ada = user(&database).await;
    let of_ada = Caller::of(&database.url, ada).await;
    for broken in [
        // A day without a partition.
        "ALTER TABLE realtime.messages DETACH PARTITION realtime.messages_every_day",
        "CREATE OR REPLACE FUNCTION realtime.send(payload JSONB, event TEXT, topic TEXT, private BOOLEAN DEFAULT true)
             RETURNS VOID LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'P0001'; END $$",
        "DROP TABLE realtime.messages CASCADE",
        "DROP SCHEMA realtime CASCADE",
    ] {
        database.execute(broken).await;
        assert_eq!(statuses(&of_ada.sync(&request(&[session()])).await), ["applied"], "{broken}");
    }
    assert_eq!(of_ada.pull().await["rows"]["user_progress"][0]["values"]["total_sessions"], 4);

    // Without Realtime it is NOTIFY, which whoever hosts the app bridges.
    assert_eq!(database.text("SELECT marea.set_wakeups(true)").await, "notify");
    let (client, mut connection) =
        tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.expect("a connection");
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let tokio_postgres::AsyncMessage::Notification(it) = message {
                heard.send(it).expect("a listener");
            }
        }
    });
    client.batch_execute("LISTEN marea_wakeups").await.expect("a listener");
    of_ada.push(&[session()]).await;
    let notification = hears.recv().await.expect("a notification");
    let payload: Value = serde_json::from_str(notification.payload()).expect("JSON");
    assert_eq!(payload, json!({ "user": ada, "version": clock(&database, ada).await, "writer": DEVICE }));

    // Off, nobody is told and no answer speaks of it.
    assert_eq!(database.text("SELECT marea.set_wakeups(false)").await, "off");
    assert_eq!(of_ada.sync(&request(&[session()])).await.get("wakeups"), None);
    assert_eq!(database.text("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'clocks_wake_%'").await, "0");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_listens_to_the_own_topic_and_speaks_on_none() {
    let cluster = Cluster::start().await;
    let bare = cluster.database("wakeups_bare", 1).await;
    bare.file(&root().join("tests/fixtures/realtime.sql")).await.succeeds();
    let before = bare.text(SNAPSHOT).await;

    let database = awake(&cluster, "wakeups_policies").await;
    let (ada, eve) = (user(&database).await, user(&database).await);
    for topic in [format!("marea:{ada}"), format!("marea:{eve}")] {
        let statement = format!("SELECT realtime.send('{{}}', 'changed', '{topic}', true)");
        database.execute(&statement).await;
    }
    for (role, user, topic, extension, seen) in [
        ("authenticated", Some(ada), format!("marea:{ada}"), "broadcast", 2_i64),
        ("authenticated", Some(ada), format!("marea:{eve}"), "broadcast", 0),
        ("authenticated", Some(ada), "marea:".to_owned(), "broadcast", 0),
        ("authenticated", Some(ada), format!("marea:{}", ada.to_string().to_uppercase()), "broadcast", 0),
        ("authenticated", None, "marea:".to_owned(), "broadcast", 0),
        ("anon", None, format!("marea:{ada}"), "broadcast", 0),
        ("authenticated", Some(ada), format!("marea:{ada}"), "presence", 0),
    ] {
        let client = database.connect().await;
        client.execute("UPDATE realtime.messages SET extension = $1", &[&extension]).await.expect("the kind");
        act_as(&client, role, user).await;
        client.execute("SELECT set_config('realtime.topic', $1, false)", &[&topic]).await.expect("a topic");
        let count: i64 =
            client.query_one("SELECT count(*) FROM realtime.messages", &[]).await.expect("a count").get(0);
        assert_eq!(count, seen, "{role} {user:?} {topic} {extension}");
        let speak = "INSERT INTO realtime.messages (topic, extension, event, private) VALUES ($1, 'broadcast', 'changed', true)";
        let refused = client.execute(speak, &[&topic]).await.expect_err("nobody may speak");
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{role} {topic}");
        let switch =
            client.execute("SELECT marea.set_wakeups(false)", &[]).await.expect_err("not theirs to switch");
        assert_eq!(switch.code().map(|code| code.code()), Some("42501"));
    }

    // It may be run again, and goes without a trace.
    let on = database.text(SNAPSHOT).await;
    // And 005 and 006 behind it, which have made some of its functions anew.
    for file in ["002_sync_layer.sql", "005_corrections.sql", "006_repairs.sql"] {
        database.migration(file).await.succeeds();
    }
    assert_same(&on, &database.text(SNAPSHOT).await, "002 run again with wake-ups on");
    for file in [
        "validate_002.sql",
        "006_repairs_rollback.sql",
        "005_corrections_rollback.sql",
        "004_operations_rollback.sql",
        "003_backfill_rollback.sql",
        "002_sync_layer_rollback.sql",
    ] {
        database.migration(file).await.succeeds();
    }
    assert_same(&before, &database.text(SNAPSHOT).await, "002 taken back with wake-ups on");
    cluster.stop().await;
}
