//! One user's data: exported as one document, taken in by another database, and erased, with nothing lost, nothing twice, and nothing
//! left behind: what docs/migrations/USERS.md says.

use marea_core::{SessionInput, Transport};
use marea_tests::backend::TestBackend;
use marea_tests::cluster::{Cluster, Database, root};
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::mirrored::{results, send};
use marea_tests::sql::{
    Caller, Refusal, event, hlc, mutation, new_id, progress, refusal, request, request_after, session,
    statuses, with,
};
use serde_json::{Value, json};
use tokio::process::Command;
use uuid::Uuid;

use crate::documents::dumpable_server;

/// 2026-11-23T12:00:00Z.
const NOON_MS: i64 = 1_795_435_200_000;
pub(crate) const THERE: &str = "https://b.example";

pub(crate) async fn database(cluster: &Cluster, name: &str) -> Database {
    let database = cluster.database(name, u32::MAX).await;
    for fixture in ["words.sql", "inventory.sql", "travelled.sql"] {
        database.file(&root().join("tests/fixtures").join(fixture)).await.succeeds();
    }
    database
}

/// One text column of one row, or what Postgres said.
pub(crate) async fn asked(
    database: &Database,
    query: &str,
    given: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Value, Refusal> {
    database.client.query_one(query, given).await.map(|row| row.get(0)).map_err(refusal)
}

pub(crate) async fn exported(database: &Database, user: Uuid) -> Value {
    asked(database, "SELECT marea.export_user($1)", &[&user]).await.expect("a document")
}

async fn import(database: &Database, document: &Value) -> Result<Value, Refusal> {
    asked(database, "SELECT to_jsonb(marea.import_user($1))", &[document]).await
}

/// How many lines of a dump of the whole database have this text.
pub(crate) async fn mentions(database: &Database, text: &str) -> usize {
    let dumped = Command::new("pg_dump").arg(&database.url).output().await.expect("pg_dump starts");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    String::from_utf8_lossy(&dumped.stdout).lines().filter(|line| line.contains(text)).count()
}

/// What a document says, table by table, less what belongs to the server and not to the user.
fn told(document: &Value) -> Vec<(String, Vec<String>)> {
    const OF_SERVER: [&str; 4] = ["marea.clients", "marea.checkpoints", "marea.run_notes", "marea.clocks"];
    let table = |table: &Value| {
        let mut rows: Vec<String> =
            table["rows"].as_array().expect("rows").iter().map(Value::to_string).collect();
        rows.sort();
        (table["table"].as_str().expect("a name").to_owned(), rows)
    };
    let tables = document["tables"].as_array().expect("tables");
    tables.iter().map(table).filter(|(name, _)| !OF_SERVER.contains(&name.as_str())).collect()
}

fn clock(document: &Value) -> Value {
    let tables = document["tables"].as_array().expect("tables");
    let clocks = tables.iter().find(|table| table["table"] == "marea.clocks").expect("a clock");
    json!([clocks["rows"][0]["version"], clocks["rows"][0]["pruned"]])
}

/// A user with something of everything, and the mutations that made most of it.
pub(crate) async fn user_with_everything(database: &Database) -> (Caller, Vec<Value>) {
    let id = new_id();
    database
        .execute(&format!(
            "INSERT INTO public.users (id, email) VALUES ('{id}', 'a@b'); SELECT public.fill_profile('{id}')"
        ))
        .await;
    let caller = Caller::of(&database.url, id).await;
    let [list, word, review, part] = [(); 4].map(|()| new_id().to_string());
    let new = |table, key: &String, values| mutation(table, "insert", Some(key), &hlc(1), values);
    let export = json!({ "export_type": "progress", "export_format": "csv", "filters": { "n": 1.50 } });
    let mutations = vec![
        session("2026-05-01", json!({ "duration_minutes": 10, "qa_attempts": 4, "qa_correct": 3 })),
        session("2026-05-02", json!({ "duration_minutes": 20 })),
        event(
            "2026-05-02",
            json!({ "points": 50, "achievements": { "first": "2026-05-02T13:00:00.000000Z" } }),
        ),
        mutation("export_history", "insert", None, &hlc(1), export),
        new("word_lists", &list, json!({ "title": "t" })),
        new(
            "vocabulary_items",
            &word,
            json!({ "word": "marea", "list_id": list, "level": "b2", "tags": ["a", "b"] }),
        ),
        new("word_reviews", &review, json!({ "item_id": word, "times_seen": 1 })),
        mutation("word_reviews", "add", Some(&review), &hlc(2), json!({ "times_seen": 2 })),
        new("stock_places", &format!("P-{}", &part[..8].to_uppercase()), json!({ "label": "shelf" })),
        new(
            "stock_parts",
            &part,
            json!({ "name": "screw", "price": "1.5000", "photo": "AP8=", "details": { "a": 1 } }),
        ),
        mutation("user_settings", "insert", Some(&id.to_string()), &hlc(1), json!({ "theme": "dark" })),
    ];
    let applied = vec!["applied".to_owned(); mutations.len()];
    assert_eq!(results(&caller.sync(&with(request(&mutations), "packed", json!(true))).await), applied);
    // A deleted session, a deleted row, a retired session, a device that is known.
    let gone = session("2026-05-03", json!({ "duration_minutes": 7 }));
    let (gone_list, kept) = (new_id().to_string(), session("2026-01-03", json!({ "duration_minutes": 5 })));
    send(&caller, &[gone.clone(), kept, new("word_lists", &gone_list, json!({ "title": "u" }))]).await;
    send(&caller, &[mutation("word_lists", "delete", Some(&gone_list), &hlc(3), json!({}))]).await;
    database
        .execute(&format!("DELETE FROM public.sessions WHERE id = '{}'", gone["id"].as_str().expect("an id")))
        .await;
    let note = "INSERT INTO public.notes (list_owner, list_id, words) SELECT user_id, id, 'n' FROM public.word_lists";
    database.execute(&format!("{note} WHERE user_id = '{id}'")).await;
    database.execute("SELECT marea.retire_sessions('2026-02-01')").await;
    (caller, [mutations, vec![gone]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_brings_a_user_to_another_database_and_nothing_is_left_behind() {
    let cluster = dumpable_server().await;
    let (a, b) = (database(&cluster, "a").await, database(&cluster, "b").await);
    let (one, mutations) = user_with_everything(&a).await;
    let (neighbour, _) = user_with_everything(&a).await;
    let before = one.pull().await;
    let idle = request_after(&before["cursor"], &[]);
    one.sync(&idle).await;
    let text = one.user.to_string();

    // It goes: from now on nobody writes, everybody is told where, and the document can be had again.
    let moved = "SELECT marea.move_user($1, $2)";
    let document = asked(&a, moved, &[&one.user, &THERE]).await.expect("a document");
    assert_eq!(told(&asked(&a, moved, &[&one.user, &THERE]).await.expect("once more")), told(&document));
    assert_eq!(document["left_out"], json!(["public.feedback", "public.invoices"]));
    for name in ["public.notes", "public.deep_6"] {
        let rows = told(&document).into_iter().find(|(table, _)| table == name).map(|(_, rows)| rows.len());
        assert_eq!(rows, Some(1), "{name}");
    }
    for request in [idle.clone(), request(&[]), request(&[session("2026-05-04", json!({}))])] {
        let refused = one.try_sync(&request).await.expect_err("it is elsewhere");
        assert_eq!(refused.code, "PT421", "{refused:?}");
    }
    let plain = format!("INSERT INTO public.sessions (user_id, ended_at) VALUES ('{text}', now())");
    assert_eq!(refusal(one.client.batch_execute(&plain).await.expect_err("refused")).code, "PT421");
    assert_eq!(
        neighbour.push(&[session("2026-05-04", json!({}))]).await,
        ["applied"],
        "nobody else is touched"
    );

    // The jobs go on with everybody else's.
    let due = format!(
        "SET session_replication_role = replica; UPDATE public.export_history SET expires_at = '2026-01-01', status = 'completed' WHERE user_id IN ('{text}', '{}'); RESET session_replication_role",
        neighbour.user
    );
    a.execute(&due).await;
    for (job, expected) in [
        ("marea.expire_exports()", "1"),
        ("marea.refresh_streaks()", "0"),
        ("marea.retire_sessions('2026-05-03')", "2"),
    ] {
        assert_eq!(a.text(&format!("SELECT {job}")).await, expected, "{job}");
    }
    let document = asked(&a, moved, &[&one.user, &THERE]).await.expect("a document");

    // It comes, whole.
    import(&b, &document).await.expect("it comes");
    let there = exported(&b, one.user).await;
    assert_eq!((told(&there), clock(&there)), (told(&document), clock(&document)));
    assert_eq!(b.text("SELECT count(*) FROM marea.pending").await, "0");
    let again = import(&b, &document).await.expect_err("twice");
    assert_eq!(again.code, "23505", "{again:?}");

    // Devices go on: what they send again is known, their cursors are of a history that is not here, and what is new is new.
    let on_b = Caller::of(&b.url, one.user).await;
    let known = on_b.sync(&with(request_after(&before["cursor"], &mutations), "packed", json!(true))).await;
    assert_eq!(known["reset"], json!(true));
    assert_eq!(statuses(&known), vec!["duplicate"; mutations.len()]);
    assert_eq!(progress(&known), progress(&before));
    let next = on_b.sync(&request_after(&known["cursor"], &[session("2026-05-03", json!({}))])).await;
    assert_eq!((statuses(&next), next["reset"].clone()), (vec!["applied".to_owned()], json!(false)));
    assert_eq!(
        progress(&next)["total_sessions"],
        json!(progress(&before)["total_sessions"].as_i64().expect("a number") + 1)
    );

    // Here it is forgotten, but for the address; then that too.
    let erase = "SELECT marea.erase_user($1, $2)";
    asked(&a, erase, &[&one.user, &true]).await.expect("erased");
    assert_eq!(mentions(&a, &text).await, 1, "the address alone");
    assert_eq!(one.try_sync(&request(&mutations)).await.expect_err("still elsewhere").code, "PT421");
    asked(&a, erase, &[&one.user, &false]).await.expect("erased");
    assert_eq!(mentions(&a, &text).await, 0);
    assert!(mentions(&a, &neighbour.user.to_string()).await > 10);

    // And back, into the database that knew it: a later cursor of that other time is of a lost history.
    let back = asked(&b, moved, &[&one.user, &"a"]).await.expect("a document");
    import(&a, &back).await.expect("it comes back");
    assert_eq!(told(&exported(&a, one.user).await), told(&back));
    assert_eq!(one.push(&[mutations[0].clone()]).await, ["duplicate"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_does_not_fit_changes_nothing_and_says_why() {
    let cluster = dumpable_server().await;
    let (a, b) = (database(&cluster, "a").await, database(&cluster, "b").await);
    let (one, _) = user_with_everything(&a).await;
    let document = exported(&a, one.user).await;
    let table = |name: &str| {
        let tables = document["tables"].as_array().expect("tables");
        tables.iter().position(|table| table["table"] == name).expect("that table")
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = document.clone();
        change(&mut changed);
        changed
    };
    let other = new_id();
    b.execute(&format!("INSERT INTO public.users (id) VALUES ('{other}')")).await;
    let (sessions, words, badges) =
        (table("public.sessions"), table("public.vocabulary_items"), table("public.badges"));
    let cases = [
        ("22023", "none of marea.export_user", json!({})),
        ("22023", "none of marea.export_user", changed(&|document| document["marea"] = json!(2))),
        (
            "22023",
            "is no table of users here",
            changed(&|document| document["tables"][sessions]["table"] = json!("pg_catalog.pg_authid")),
        ),
        (
            "22023",
            "has no column mood here",
            changed(&|document| {
                document["tables"][sessions]["columns"] = json!(["id", "user_id", "mood"]);
                document["tables"][sessions]["rows"][0]["mood"] = json!("good");
            }),
        ),
        (
            "22023",
            "the document has",
            changed(&|document| document["tables"][sessions]["rows"][0]["user_id"] = json!(other)),
        ),
        (
            "23503",
            "points to|point to",
            changed(&|document| document["tables"][words]["rows"][0]["list_id"] = json!(new_id())),
        ),
        (
            "22023",
            "the document has",
            changed(&|document| document["tables"][badges]["rows"][0]["profile"] = json!(other)),
        ),
    ];
    for (code, words, document) in cases {
        let refused = import(&b, &document).await.expect_err(words);
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(words.split('|').any(|words| refused.message.contains(words)), "{words}: {refused:?}");
        assert_eq!(mentions(&b, &one.user.to_string()).await, 0, "{words}");
    }
    b.execute("SELECT marea.unmirror('public.word_lists')").await;
    let refused = import(&b, &document).await.expect_err("not mirrored");
    assert!(refused.message.contains("not mirrored here: word_lists"), "{refused:?}");

    // An owner who may not switch triggers off: they fire, and what they make gives way.
    let plain = database(&cluster, "plain").await;
    plain
        .execute(
            "CREATE ROLE plain BYPASSRLS; GRANT ALL ON SCHEMA public, marea, stock TO plain;
             GRANT ALL ON ALL TABLES IN SCHEMA public, marea, stock TO plain; GRANT ALL ON ALL FUNCTIONS IN SCHEMA marea, public TO plain;
             ALTER FUNCTION marea.import_user(JSONB) OWNER TO plain;
             ALTER TABLE public.vocabulary_items DISABLE TRIGGER touch",
        )
        .await;
    import(&plain, &document).await.expect("it comes");
    let there = exported(&plain, one.user).await;
    assert_eq!((told(&there), clock(&there)), (told(&document), clock(&document)));
    assert_eq!(plain.text("SELECT count(*) FROM marea.pending").await, "0");
    cluster.stop().await;
}

/// A device that writes until it has written all, asks its server, and goes where that says.
async fn write_and_follow(
    device: &EngineDevice,
    servers: &[Transport; 2],
    tokens: &[String; 2],
    sessions: usize,
) {
    let mut place = 0;
    for n in 0..sessions {
        device.record(SessionInput { duration_minutes: Some(10), ..SessionInput::new("practice") });
        loop {
            device.set_token(tokens[place].clone());
            let report = device.sync(&servers[place]).await;
            let Some(error) = report.last_error else { break };
            // On its way: it is nowhere yet, and waits.
            assert!(
                ["user_moved", "server_failed", "user_missing", "account_deleted"]
                    .contains(&error.code.as_str()),
                "{n}: {error:?}"
            );
            if error.code == "user_moved" {
                assert!(error.message.contains(THERE), "{error:?}");
                place = 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_devices_write_while_their_user_moves() {
    let (a, b) = (TestBackend::start().await, TestBackend::start().await);
    let user = a.new_user().await.id;
    let servers = [&a, &b].map(|backend| {
        let ready = backend.ready();
        Transport::new(&ready.url, &ready.anon_key).expect("an address")
    });
    let tokens = [&a, &b].map(|backend| backend.token(user, 3600));
    let devices = [(); 3].map(|()| EngineDevice::new(user.into(), tokens[0].clone(), at(NOON_MS)));
    let moves = async {
        let (on_a, on_b) = (a.sql().await, b.sql().await);
        let enough =
            "SELECT coalesce(sum(total_sessions), 0) >= 12 FROM public.user_progress WHERE user_id = $1";
        while !on_a.query_one(enough, &[&user]).await.expect("a number").get::<_, bool>(0) {}
        let moved =
            on_a.query_one("SELECT marea.move_user($1, $2)", &[&user, &THERE]).await.expect("a document");
        let document: Value = moved.get(0);
        on_b.execute("SELECT marea.import_user($1)", &[&document]).await.expect("it comes");
        on_a.execute("SELECT marea.erase_user($1, keep_address => true)", &[&user]).await.expect("erased");
    };
    let [one, two, three] = &devices;
    tokio::join!(
        moves,
        write_and_follow(one, &servers, &tokens, 20),
        write_and_follow(two, &servers, &tokens, 20),
        write_and_follow(three, &servers, &tokens, 20)
    );
    let sql = b.sql().await;
    for query in [
        "SELECT count(*) FROM public.sessions WHERE user_id = $1",
        "SELECT total_sessions::bigint FROM public.user_progress WHERE user_id = $1",
        "SELECT sum(sessions) FROM marea.daily_activity WHERE user_id = $1",
    ] {
        assert_eq!(sql.query_one(query, &[&user]).await.expect("a row").get::<_, i64>(0), 60, "{query}");
    }
    for device in &devices {
        device.set_token(tokens[1].clone());
        assert_eq!((device.sync(&servers[1]).await.last_error, device.pending()), (None, 0));
        assert_eq!(device.progress().total_sessions, 60);
    }
    a.stop().await;
    b.stop().await;
}
