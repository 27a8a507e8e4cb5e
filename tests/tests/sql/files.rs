//! Files of exports: who may do what in the bucket, what is noted for deletion, and what the sweep asks for. Always as if a device
//! had written whatever it likes into `file_url`.

use marea_tests::backend::{TestBackend, send};
use marea_tests::sql::{Caller, act_as};
use marea_tests::world::World;
use reqwest::Method;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A new export of this user, as their device makes it.
async fn export(database: &Client, user: Uuid) -> Uuid {
    let statement = "INSERT INTO public.export_history (user_id, export_type, export_format) VALUES ($1, 'a', 'csv') RETURNING id";
    database.query_one(statement, &[&user]).await.expect("an export").get(0)
}

fn path(user: impl ToString, export: impl ToString) -> String {
    format!("{}/{}/{SHA}.csv", user.to_string(), export.to_string())
}

/// Says where the file is, as a device may: anything.
async fn say(database: &Client, export: Uuid, path: &str) {
    let url = format!("storage://marea-exports/{path}");
    let statement = "UPDATE public.export_history SET file_url = $2, status = 'completed' WHERE id = $1";
    database.execute(statement, &[&export, &url]).await.expect("an address");
}

async fn due(database: &Client, user: Uuid) -> Vec<String> {
    let query = "SELECT path FROM marea.file_garbage WHERE path LIKE $1 || '/%' ORDER BY path";
    let rows = database.query(query, &[&user.to_string()]).await.expect("the garbage");
    rows.iter().map(|row| row.get(0)).collect()
}

/// What came of a statement: how many rows it wrote, or the SQLSTATE. It is undone.
async fn outcome(client: &Client, statement: &str) -> String {
    client
        .batch_execute("BEGIN; SELECT set_config('storage.allow_delete_query', 'true', true)")
        .await
        .expect("begin");
    let result = match client.execute(statement, &[]).await {
        Ok(rows) => rows.to_string(),
        Err(error) => error.code().map_or("?".to_owned(), |code| code.code().to_owned()),
    };
    client.batch_execute("ROLLBACK").await.expect("rollback");
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_adds_files_of_own_exports_alone_and_changes_none() {
    let backend = TestBackend::shared().await;
    let (ada, eve) = (Caller::new(&backend).await, Caller::new(&backend).await);
    let database = backend.sql().await;
    let (hers, theirs) = (export(&database, ada.user).await, export(&database, eve.user).await);
    let (expired, none) = (export(&database, ada.user).await, Uuid::from_u128(7));
    database
        .execute("UPDATE public.export_history SET status = 'expired' WHERE id = $1", &[&expired])
        .await
        .expect("expired");
    let me = ada.user.to_string();
    let upper = me.to_uppercase();
    let lookalike = me.replacen(|it: char| it.is_ascii_digit(), "\u{ff11}", 1);
    for (name, expected) in [
        (path(&me, hers), "1"),
        (path(eve.user, hers), "42501"),
        (path(&me, theirs), "42501"),
        (path(eve.user, theirs), "42501"),
        (path(&me, none), "42501"),
        (path(&me, expired), "42501"),
        (path(&upper, hers), "42501"),
        (path(&lookalike, hers), "42501"),
        (path(&me, hers.to_string().to_uppercase()), "42501"),
        (format!("{me}/{hers}/../{hers}/{SHA}.csv"), "42501"),
        (format!("{me}/{hers}/{SHA}.csv/more"), "42501"),
        (format!("{me}/{hers}/{}.csv", SHA.to_uppercase()), "42501"),
        (format!("{me}/{hers}/{SHA}"), "42501"),
        (format!("{me}/{hers}/{SHA}.csv\n"), "42501"),
        (format!("{me}%2f{hers}%2f{SHA}.csv"), "42501"),
        (format!("/{}", path(&me, hers)), "42501"),
        (format!("{me}/not-a-uuid/{SHA}.csv"), "42501"),
        (String::new(), "42501"),
    ] {
        let statement =
            format!("INSERT INTO storage.objects (bucket_id, name) VALUES ('marea-exports', '{name}')");
        assert_eq!(outcome(&ada.client, &statement).await, expected, "{name}");
    }
    // Objects of both, made by the service.
    let both = [path(&me, hers), path(eve.user, theirs)];
    for name in &both {
        let statement = "INSERT INTO storage.objects (bucket_id, name) VALUES ('marea-exports', $1)";
        database.execute(statement, &[name]).await.expect("an object");
    }
    let seen = "SELECT count(*) FROM storage.objects WHERE bucket_id = 'marea-exports'";
    assert_eq!(ada.client.query_one(seen, &[]).await.expect("a count").get::<_, i64>(0), 1, "only one's own");
    let update = "UPDATE storage.objects SET name = name || 'x' WHERE bucket_id = 'marea-exports'";
    assert_eq!(outcome(&ada.client, update).await, "0", "objects never change");
    let delete = "DELETE FROM storage.objects WHERE bucket_id = 'marea-exports'";
    assert_eq!(outcome(&ada.client, delete).await, "1", "only one's own");
    let anon = backend.sql().await;
    act_as(&anon, "anon", None).await;
    assert_eq!(outcome(&anon, delete).await, "0");
    assert_eq!(outcome(&ada.client, "SELECT * FROM marea.file_garbage").await, "42501");
    assert_eq!(outcome(&ada.client, "SELECT marea.sweep_files()").await, "42501");
}

/// The name of another file of the same export.
fn another(user: impl ToString, export: impl ToString, n: u32) -> String {
    format!("{}/{}/{n:064x}.csv", user.to_string(), export.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_user_may_leave_behind_has_bounds() {
    let backend = TestBackend::start().await;
    let (ada, database) = (Caller::new(&backend).await, backend.sql().await);
    let hers = export(&database, ada.user).await;
    let objects = format!(
        "INSERT INTO storage.objects (bucket_id, name)
         SELECT 'marea-exports', '{}/{hers}/' || lpad(to_hex(n), 64, '0') || '.csv' FROM generate_series(1, 99) AS n",
        ada.user
    );
    database.batch_execute(&objects).await.expect("objects");
    let add = |n| {
        format!(
            "INSERT INTO storage.objects (bucket_id, name) VALUES ('marea-exports', '{}')",
            another(ada.user, hers, n)
        )
    };
    assert_eq!(outcome(&ada.client, &add(100)).await, "1");
    database.batch_execute(&add(100)).await.expect("an object");
    assert_eq!(outcome(&ada.client, &add(101)).await, "42501", "100 objects of one export");

    // Garbage of many exports.
    let garbage = format!(
        "INSERT INTO marea.file_garbage (path)
         SELECT '{}/' || gen_random_uuid() || '/' || repeat('0', 64) || '.csv' FROM generate_series(1, 10000)",
        ada.user
    );
    database.batch_execute(&garbage).await.expect("garbage");
    let name = |n| {
        format!(
            "UPDATE public.export_history SET file_url = 'storage://marea-exports/{}' WHERE id = '{hers}'",
            another(ada.user, hers, n)
        )
    };
    ada.client.batch_execute(&name(1)).await.expect("a first name leaves nothing behind");
    let refused = ada.client.batch_execute(&name(2)).await.expect_err("10,001 files to delete");
    assert_eq!(refused.code().map(|code| code.code()), Some("MB002"), "{refused:?}");

    // Rows that one request may write anew.
    let many = format!(
        "INSERT INTO public.export_history (user_id, export_type, export_format)
         SELECT '{}', 'a', 'csv' FROM generate_series(1, 500)",
        ada.user
    );
    database.batch_execute(&many).await.expect("exports");
    assert_eq!(outcome(&ada.client, "UPDATE public.export_history SET error_message = 'x'").await, "54000");
    let fewer = "UPDATE public.export_history SET error_message = 'x' WHERE file_url IS NULL";
    assert_eq!(outcome(&ada.client, fewer).await, "500");
    backend.stop().await;
}

/// Given up, given again, and not named yet: the device is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_given_again_is_not_swept_before_it_is_named() {
    let backend = TestBackend::start().await;
    let (ada, database) = (Caller::new(&backend).await, backend.sql().await);
    let hers = export(&database, ada.user).await;
    let name = path(ada.user, hers);
    let object = format!("INSERT INTO storage.objects (bucket_id, name) VALUES ('marea-exports', '{name}')");
    database.batch_execute(&object).await.expect("an object");
    say(&database, hers, &name).await;
    let clear = "UPDATE public.export_history SET file_url = NULL WHERE id = $1";
    database.execute(clear, &[&hers]).await.expect("given up");
    assert_eq!(due(&database, ada.user).await, [name.as_str()]);
    let service = backend.sql().await;
    act_as(&service, "service_role", None).await;
    let to_delete = async || -> i64 {
        service.query_one("SELECT count(*) FROM marea.files_to_delete", &[]).await.expect("the view").get(0)
    };
    assert_eq!(to_delete().await, 1);
    let again =
        "SELECT set_config('storage.allow_delete_query', 'true', false); DELETE FROM storage.objects;";
    database.batch_execute(&format!("{again} {object}")).await.expect("deleted, and given again");
    assert_eq!(to_delete().await, 0);
    let restored = "SELECT marea.restore_live_files()";
    database.batch_execute(restored).await.expect("restored");
    assert_eq!(due(&database, ada.user).await, Vec::<String>::new());
    // Of an export that has expired meanwhile, it is due all the same.
    database
        .execute("UPDATE public.export_history SET status = 'expired' WHERE id = $1", &[&hers])
        .await
        .expect("expired");
    let orphans =
        "UPDATE storage.objects SET created_at = now() - interval '2 days'; SELECT marea.note_orphan_files()";
    database.batch_execute(orphans).await.expect("orphans");
    assert_eq!(to_delete().await, 1);
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_or_goes_is_noted_and_never_what_is_anothers() {
    let backend = TestBackend::shared().await;
    let database = backend.sql().await;
    let (user, other) = (backend.new_user().await.id, backend.new_user().await.id);
    let foreign = export(&database, other).await;
    let mut expected = Vec::new();
    for (way, is_own) in
        [("expire", true), ("delete", true), ("move", true), ("expire", false), ("delete", false)]
    {
        let id = export(&database, user).await;
        let named = if is_own { path(user, id) } else { path(other, foreign) };
        say(&database, id, &named).await;
        let statement = match way {
            "expire" => "UPDATE public.export_history SET status = 'expired', file_url = NULL WHERE id = $1",
            "move" => "UPDATE public.export_history SET file_url = 'https://example.com/x' WHERE id = $1",
            _ => "DELETE FROM public.export_history WHERE id = $1",
        };
        database.execute(statement, &[&id]).await.expect("a change");
        if is_own {
            expected.push(named);
        }
    }
    expected.sort();
    assert_eq!(due(&database, user).await, expected);
    assert!(due(&database, other).await.is_empty());
    // Other ways of naming somebody else's, or nothing.
    for named in [
        format!("{user}/{foreign}/../../{}", path(other, foreign)),
        path(user.to_string().to_uppercase(), foreign),
        path(user, foreign),
        format!("{}?x", path(user, foreign)),
    ] {
        let id = export(&database, user).await;
        say(&database, id, &named).await;
        database
            .execute("DELETE FROM public.export_history WHERE id = $1", &[&id])
            .await
            .expect("a deletion");
    }
    assert_eq!(due(&database, user).await, expected);
    // A deleted user takes all along.
    let last = export(&database, user).await;
    say(&database, last, &path(user, last)).await;
    database.execute("DELETE FROM public.users WHERE id = $1", &[&user]).await.expect("a deletion");
    expected.push(path(user, last));
    expected.sort();
    assert_eq!(due(&database, user).await, expected);
}

async fn swept(database: &Client) -> i64 {
    database.query_one("SELECT marea.sweep_files(100)", &[]).await.expect("a sweep").get(0)
}

/// Carries out what pg_net was asked for, against the real routes, and writes the answers.
pub(crate) async fn carry_out(database: &Client) {
    let query = "DELETE FROM net.http_request_queue RETURNING id, url, headers";
    for row in database.query(query, &[]).await.expect("the requests") {
        let (id, url, headers): (i64, String, Value) = (row.get(0), row.get(1), row.get(2));
        let mut call = reqwest::Client::new().request(Method::DELETE, url);
        for (name, value) in headers.as_object().expect("headers") {
            call = call.header(name, value.as_str().expect("text"));
        }
        let answer = send(call).await;
        let (status, body) = (i32::from(answer.status.as_u16()), answer.body.to_string());
        let statement = "INSERT INTO net._http_response (id, status_code, content) VALUES ($1, $2, $3)";
        database.execute(statement, &[&id, &status, &body]).await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_deletes_what_is_due_and_says_what_stands_in_its_way() {
    let world = World::alone().await;
    let (database, user) = (world.database(), world.learner(1));
    let health =
        "SELECT coalesce(string_agg(subject || ' ' || value, ', ' ORDER BY subject), '') FROM marea.health
        WHERE measure = 'files'";
    let (kept, gone) = (export(database, user).await, export(database, user).await);
    for id in [kept, gone] {
        let ready = world.backend().ready();
        let url = format!("{}/storage/v1/object/marea-exports/{}", ready.url, path(user, id));
        let call = reqwest::Client::new()
            .post(url)
            .bearer_auth(world.token(1, 60))
            .header("content-type", "text/csv");
        assert_eq!(send(call.body("a,b\r\n")).await.status, 200);
        say(database, id, &path(user, id)).await;
    }
    database.execute("DELETE FROM public.export_history WHERE id = $1", &[&gone]).await.expect("a deletion");
    assert_eq!(swept(database).await, 0);
    let said: String = world.one(health).await;
    assert_eq!(said, "not deleted: the extension pg_net is missing 1, to delete 1");

    let fixture = std::fs::read_to_string(marea_tests::cluster::root().join("tests/fixtures/net_vault.sql"));
    world.execute(&fixture.expect("the fixture")).await;
    assert_eq!(swept(database).await, 0);
    let ready = world.backend().ready();
    for (name, secret) in
        [("marea_project_url", format!("{}/", ready.url)), ("marea_service_key", "wrong".to_owned())]
    {
        let statement = "INSERT INTO vault.secrets (name, secret) VALUES ($1, $2)";
        database.execute(statement, &[&name, &secret]).await.expect("a secret");
    }
    // A key that is no good: told, and tried again later.
    assert_eq!(swept(database).await, 1);
    carry_out(database).await;
    assert_eq!(swept(database).await, 0, "not at once");
    let said: String = world.one(health).await;
    assert_eq!(said, "not deleted: HTTP 400 1, to delete 1");
    let key = "UPDATE vault.secrets SET secret = $1 WHERE name = 'marea_service_key'";
    database.execute(key, &[&ready.service_key]).await.expect("the key");
    world.execute("UPDATE marea.file_garbage SET asked_at = now() - interval '1 hour'").await;
    assert_eq!(swept(database).await, 1);
    carry_out(database).await;
    swept(database).await;
    let said: String = world.one(health).await;
    assert_eq!(said, "to delete 0");
    let left = "SELECT string_agg(name, ',') FROM storage.objects WHERE bucket_id = 'marea-exports'";
    let left: String = world.one(left).await;
    assert_eq!(left, path(user, kept));

    // Expired, and then said again by a device that was away: alive.
    database
        .execute(
            "UPDATE public.export_history SET status = 'expired', file_url = NULL WHERE id = $1",
            &[&kept],
        )
        .await
        .expect("expired");
    assert_eq!(due(database, user).await.len(), 1);
    say(database, kept, &path(user, kept)).await;
    assert_eq!(swept(database).await, 0);
    assert!(due(database, user).await.is_empty());

    // An object that belongs to no export is found by the weekly comparison, once it is a day old; a script may do the rest.
    let orphan = path(user, Uuid::from_u128(9));
    let statement = "INSERT INTO storage.objects (bucket_id, name, created_at) VALUES
        ('marea-exports', $1, now() - interval '2 days'), ('marea-exports', 'somebody/elses.csv', now() - interval '2 days')";
    database.execute(statement, &[&orphan]).await.expect("objects");
    let noted: i64 = world.one("SELECT marea.note_orphan_files()").await;
    assert_eq!(noted, 1);
    let due: String = world.one("SELECT path FROM marea.files_to_delete").await;
    assert_eq!(due, orphan);
    let told: i64 =
        database.query_one("SELECT marea.files_deleted(ARRAY[$1])", &[&orphan]).await.expect("told").get(0);
    assert_eq!(told, 1);

    // So is one whose export names another; not one whose export names none yet, because a device may be about to.
    let other = path(user, kept).replace(SHA, &"cd".repeat(32));
    let silent = path(user, "00000000-0000-4000-8000-00000000000a");
    let export = "INSERT INTO public.export_history (id, user_id, export_type, export_format)
        VALUES ('00000000-0000-4000-8000-00000000000a', $1, 't', 'csv')";
    database.execute(export, &[&user]).await.expect("an export without a file");
    let statement = "INSERT INTO storage.objects (bucket_id, name, created_at)
        SELECT 'marea-exports', unnest($1::text[]), now() - interval '2 days'";
    database.execute(statement, &[&vec![other.clone(), silent]]).await.expect("objects");
    world.execute("UPDATE storage.objects SET created_at = now() - interval '2 days'").await;
    let noted: i64 = world.one("SELECT marea.note_orphan_files()").await;
    let due: String =
        world.one("SELECT string_agg(path, ' ' ORDER BY path) FROM marea.files_to_delete").await;
    let mut expected = [orphan, other];
    expected.sort();
    assert_eq!((noted, due), (2, expected.join(" ")));
    world.stop().await;
}
