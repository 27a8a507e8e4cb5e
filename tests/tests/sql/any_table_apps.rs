//! An app's own names, policies and constraints, and what it did while nobody looked: none of them stops a sync or loses a row.

use marea_tests::backend::TestBackend;
use marea_tests::mirrored::{MirroredApp, deleted, pull, pull_after, rows, send};
use marea_tests::sql::{Caller, hlc, mutation, new_id, request, session, statuses};
use serde_json::{Value, json};

fn of(table: &str, op: &str, key: &str, n: u32, values: Value) -> Value {
    mutation(table, op, Some(key), &hlc(n), values)
}

/// What the rows of a page have in one column.
fn column(page: &Value, table: &str, name: &str) -> Vec<Value> {
    rows(page, table).iter().map(|row| row[name].clone()).collect()
}

/// A schema that devices may not name is nobody's affair but the app's.
#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_constraint_in_a_schema_of_the_apps_own_refuses_nothing() {
    let backend = TestBackend::start().await;
    let sql = backend.sql().await;
    let private = "CREATE SCHEMA billing; CREATE TABLE billing.a (id int PRIMARY KEY);
        CREATE TABLE billing.b (a int REFERENCES billing.a DEFERRABLE INITIALLY DEFERRED);
        CREATE TEMPORARY TABLE mine (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);";
    sql.batch_execute(private).await.expect("tables");
    let caller = Caller::new(&backend).await;
    let answer = caller.sync(&request(&[session("2026-03-01", json!({}))])).await;
    assert_eq!(statuses(&answer), ["applied"]);
    drop(sql);
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_called_as_the_app_likes() {
    let app = MirroredApp::start(&[]).await;
    let letters = "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,key,value,values,added,removed,part,relation,version,hlc";
    let columns: Vec<String> = letters.split(',').map(|name| format!("\"{name}\" integer")).collect();
    app.database
        .execute(&format!(
            "CREATE TABLE public.walks (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES public.users (id), {});
             ALTER TABLE public.walks ENABLE ROW LEVEL SECURITY;
             GRANT ALL ON public.walks TO authenticated;
             CREATE POLICY own ON public.walks TO authenticated USING (user_id = auth.uid());
             SELECT marea.mirror('public.walks', rules => '{{\"n\": \"counter\"}}');
             ALTER TABLE public.sessions ADD COLUMN m integer, ADD COLUMN v integer, ADD COLUMN s integer;",
            columns.join(", ")
        ))
        .await;
    let caller = app.user().await;
    let key = new_id().to_string();
    let all: serde_json::Map<String, Value> =
        letters.split(',').map(|name| (name.to_owned(), json!(1))).collect();
    let sent = [
        of("walks", "insert", &key, 1, Value::Object(all)),
        of("walks", "merge", &key, 2, json!({ "m": 2, "t": 2, "v": 2 })),
        mutation("walks", "add", Some(&key), &hlc(3), json!({ "n": 3 })),
        session("2026-03-01", json!({})),
    ];
    assert_eq!(send(&caller, &sent).await, ["applied"; 4]);
    let [row] = &rows(&pull(&caller).await, "walks")[..] else { panic!("one row") };
    for name in letters.split(',') {
        let expected = match name {
            "m" | "t" | "v" => 2,
            "n" => 4,
            _ => 1,
        };
        assert_eq!(row[name], expected, "{name}");
    }
    // Somebody else's, which is told by another statement.
    let (other, taken) = (app.user().await, session("2026-03-01", json!({})));
    assert_eq!(send(&caller, std::slice::from_ref(&taken)).await, ["applied"]);
    assert_eq!(send(&other, &[taken]).await, ["23505: id: is taken"]);
    assert_eq!(send(&caller, &[of("walks", "delete", &key, 9, json!({}))]).await, ["applied"]);
    app.stop().await;
}

/// A function without a search_path finds what it finds in a plain SELECT.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_may_call_functions_of_the_app() {
    let app = MirroredApp::start(&[]).await;
    app.database
        .execute(
            "CREATE TABLE public.members (id uuid PRIMARY KEY);
             CREATE FUNCTION public.is_member(who uuid) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS
                 $$ BEGIN RETURN EXISTS (SELECT FROM members WHERE id = who); END $$;
             CREATE TABLE public.notes (id uuid PRIMARY KEY, user_id uuid NOT NULL, note text, seen integer NOT NULL DEFAULT 0, tags jsonb);
             ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
             GRANT ALL ON public.notes TO authenticated;
             CREATE POLICY own ON public.notes TO authenticated USING (user_id = auth.uid() AND is_member(user_id));
             SELECT marea.mirror('public.notes', rules => '{\"seen\": \"counter\", \"tags\": \"union\"}');",
        )
        .await;
    let caller = app.user().await;
    app.database.execute(&format!("INSERT INTO public.members VALUES ('{}')", caller.user)).await;
    // A page has its rows in the order of their keys here.
    let mut keys = [new_id().to_string(), new_id().to_string()];
    keys.sort();
    let [key, gone] = keys;
    let sent = [
        of("notes", "insert", &key, 1, json!({ "note": "one" })),
        of("notes", "insert", &gone, 1, json!({ "note": "two" })),
    ];
    assert_eq!(send(&caller, &sent).await, ["applied"; 2]);
    assert_eq!(column(&pull(&caller).await, "notes", "note"), ["one", "two"]);
    let sent = [
        of(
            "notes",
            "merge",
            &key,
            2,
            json!({ "note": "three", "tags": { "a": "2026-01-01T00:00:00.000000Z" } }),
        ),
        mutation("notes", "add", Some(&key), &hlc(3), json!({ "seen": 2 })),
        of("notes", "delete", &gone, 3, json!({})),
    ];
    assert_eq!(send(&caller, &sent).await, ["applied"; 3]);
    let page = pull(&caller).await;
    assert_eq!(column(&page, "notes", "note"), ["three"]);
    assert_eq!(column(&page, "notes", "seen"), [2]);
    // What a policy hides is gone, as far as its owner can tell.
    app.database.execute("DELETE FROM public.members; UPDATE public.notes SET note = 'hidden'").await;
    let page = pull_after(&caller, &page["cursor"]).await;
    assert_eq!(deleted(&page, "notes"), [key]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_the_collation_that_the_app_gave_it() {
    let app = MirroredApp::start(&[]).await;
    app.database
        .execute(
            "CREATE TABLE public.tags (code text COLLATE \"und-x-icu\" PRIMARY KEY, user_id uuid NOT NULL, name text);
             ALTER TABLE public.tags ENABLE ROW LEVEL SECURITY;
             GRANT ALL ON public.tags TO authenticated;
             CREATE POLICY own ON public.tags TO authenticated USING (user_id = auth.uid());",
        )
        .await;
    let caller = app.user().await;
    app.database
        .execute(&format!(
            "INSERT INTO public.tags VALUES ('before', '{}', 'x'); SELECT marea.mirror('public.tags');
             SELECT marea.mirror('public.tags')",
            caller.user
        ))
        .await;
    app.database.execute("CALL marea.mirror_existing('public.tags')").await;
    assert_eq!(send(&caller, &[of("tags", "insert", "émile", 1, json!({ "name": "y" }))]).await, ["applied"]);
    assert_eq!(send(&caller, &[of("tags", "merge", "before", 2, json!({ "name": "z" }))]).await, ["applied"]);
    assert_eq!(column(&pull(&caller).await, "tags", "code"), ["émile", "before"]);
    // The page's look-ups go by the key's own index, whatever its collation.
    let page =
        app.database.text("SELECT marea.page_sql(t, 'public.tags', 'packed') FROM marea.tables AS t").await;
    let page = page.replace("$1", &format!("'{}'::uuid", caller.user)).replace("$2", "0").replace("$3", "9");
    app.database
        .execute("SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off")
        .await;
    let plan = app.database.client.simple_query(&format!("EXPLAIN {page}")).await.expect("a plan");
    assert!(format!("{plan:?}").contains("Index Scan using tags_pkey"), "{plan:?}");
    app.stop().await;
}

/// A catalogue of yesterday sends numbers where there are texts today, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_of_any_width_are_taken_in_either_form() {
    let app = MirroredApp::start(&[]).await;
    app.database
        .execute(
            "CREATE TABLE public.counts (id uuid PRIMARY KEY, user_id uuid NOT NULL, small smallint, usual integer, big bigint, exact numeric,
                 seen bigint NOT NULL DEFAULT 0);
             ALTER TABLE public.counts ENABLE ROW LEVEL SECURITY;
             GRANT ALL ON public.counts TO authenticated;
             CREATE POLICY own ON public.counts TO authenticated USING (user_id = auth.uid());
             SELECT marea.mirror('public.counts', rules => '{\"seen\": \"counter\"}');",
        )
        .await;
    let caller = app.user().await;
    let key = new_id().to_string();
    let sent = [
        of("counts", "insert", &key, 1, json!({ "small": "1", "usual": "-2", "big": 3, "exact": 4 })),
        mutation("counts", "add", Some(&key), &hlc(2), json!({ "seen": 5 })),
        mutation("counts", "add", Some(&key), &hlc(3), json!({ "seen": "6" })),
    ];
    assert_eq!(send(&caller, &sent).await, ["applied"; 3]);
    let page = pull(&caller).await;
    for (name, value) in [
        ("small", json!(1)),
        ("usual", json!(-2)),
        ("big", json!("3")),
        ("exact", json!("4")),
        ("seen", json!("11")),
    ] {
        assert_eq!(column(&page, "counts", name), [value], "{name}");
    }
    for (values, told) in [
        (json!({ "small": "40000" }), "22023: values.small: must be from -32768 to 32767"),
        (json!({ "usual": "1.5" }), "22023: values.usual: must be a whole number"),
        (json!({ "usual": "" }), "22023: values.usual: must be a whole number"),
        (json!({ "usual": true }), "22023: values.usual: must be a whole number"),
        (json!({ "big": 1.5 }), "22023: values.big: must be a bigint as Postgres prints it"),
        (
            json!({ "big": 9_300_000_000_000_000_000_u64 }),
            "22023: values.big: is no bigint that Postgres can hold",
        ),
    ] {
        let answer = caller.sync(&request(&[of("counts", "merge", &key, 9, values.clone())])).await;
        let result = &answer["results"][0];
        let said = format!(
            "{}: {}",
            result["code"].as_str().unwrap_or(""),
            result["message"].as_str().unwrap_or("")
        );
        assert_eq!(said, told, "{values}");
    }
    app.stop().await;
}

const NOTES: &str = "CREATE TABLE public.notes (id uuid PRIMARY KEY, user_id uuid NOT NULL, note text);
    ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
    GRANT ALL ON public.notes TO authenticated;
    CREATE POLICY own ON public.notes TO authenticated USING (user_id = auth.uid());
    SELECT marea.mirror('public.notes');";

/// What happened to a table while it was not mirrored, or not watched, comes to a device that has slept all the time.
#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_nobody_looked_is_caught_up() {
    let app = MirroredApp::start(&[]).await;
    app.database.execute(NOTES).await;
    for (what, meanwhile) in [
        ("unmirrored", "SELECT marea.unmirror('public.notes'); {work}; SELECT marea.mirror('public.notes')"),
        (
            "made anew",
            "ALTER TABLE public.notes RENAME TO old_notes; ALTER TABLE public.old_notes RENAME CONSTRAINT notes_pkey TO old_pkey;
             CREATE TABLE public.notes (LIKE public.old_notes INCLUDING ALL); INSERT INTO public.notes TABLE public.old_notes;
             ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY; GRANT ALL ON public.notes TO authenticated;
             CREATE POLICY own ON public.notes TO authenticated USING (user_id = auth.uid());
             DROP TABLE public.old_notes; SELECT marea.unmirror_dropped(); {work}; SELECT marea.mirror('public.notes')",
        ),
        (
            "not tracked",
            "ALTER TABLE public.notes DISABLE TRIGGER ALL; {work}; ALTER TABLE public.notes ENABLE TRIGGER USER;
             ALTER TABLE public.notes DISABLE TRIGGER marea_mirror_updated; SELECT marea.mirror('public.notes')",
        ),
        (
            "with another owner's column",
            "ALTER TABLE public.notes RENAME user_id TO learner_id; {work}; SELECT marea.mirror('public.notes', owner => 'learner_id');
             ALTER TABLE public.notes RENAME learner_id TO user_id; SELECT marea.mirror('public.notes', owner => 'user_id')",
        ),
    ] {
        let caller = app.user().await;
        let [stays, changes, goes] = [(); 3].map(|()| new_id().to_string());
        let sent = [&stays, &changes, &goes].map(|key| of("notes", "insert", key, 1, json!({ "note": "before" })));
        assert_eq!(send(&caller, &sent).await, ["applied"; 3], "{what}");
        let before = pull(&caller).await;
        assert_eq!(rows(&before, "notes").len(), 3, "{what}");
        let work = format!(
            "UPDATE public.notes SET note = 'after' WHERE id = '{changes}'; DELETE FROM public.notes WHERE id = '{goes}'"
        );
        app.database.execute(&meanwhile.replace("{work}", &work)).await;
        let after = pull_after(&caller, &before["cursor"]).await;
        assert_eq!(deleted(&after, "notes"), [goes.as_str()], "{what}");
        let changed: Vec<Value> = rows(&after, "notes").into_iter().filter(|row| row["id"] == changes.as_str()).collect();
        assert_eq!(changed.iter().map(|row| &row["note"]).collect::<Vec<_>>(), [&json!("after")], "{what}");
        assert_eq!(send(&caller, &[of("notes", "merge", &stays, 2, json!({ "note": "mine" }))]).await, ["applied"], "{what}");
    }
    app.stop().await;
}

/// A column that was made anew under its old name is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_made_anew_comes_to_the_devices_again() {
    let app = MirroredApp::start(&[]).await;
    app.database.execute(NOTES).await;
    let caller = app.user().await;
    let key = new_id().to_string();
    assert_eq!(send(&caller, &[of("notes", "insert", &key, 1, json!({ "note": "old" }))]).await, ["applied"]);
    let before = pull(&caller).await;
    app.database
        .execute(
            "ALTER TABLE public.notes DROP note, ADD note text NOT NULL DEFAULT 'new'; SELECT marea.mirror('public.notes')",
        )
        .await;
    assert_eq!(column(&pull_after(&caller, &before["cursor"]).await, "notes", "note"), ["new"]);
    app.stop().await;
}

/// More rows than are sent at once: what a second declaration must not forget.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_declaration_does_not_forget_what_the_first_one_left_to_be_sent() {
    let app = MirroredApp::start(&[]).await;
    app.database.execute(NOTES).await;
    let caller = app.user().await;
    let fill = format!(
        "INSERT INTO public.notes SELECT gen_random_uuid(), '{}', 'x' FROM generate_series(1, 10001)",
        caller.user
    );
    app.database.execute(&fill).await;
    let before = app.database.text("SELECT max(version) FROM marea.rows").await;
    app.database
        .execute(
            "ALTER TABLE public.notes ADD more text NOT NULL DEFAULT 'new'; SELECT marea.mirror('public.notes');
             SELECT marea.mirror('public.notes')",
        )
        .await;
    let drift = app.database.text("SELECT string_agg(problem, ',') FROM marea.mirror_drift()").await;
    assert_eq!(drift, "rows that were there have no version yet");
    app.database.execute("CALL marea.mirror_existing('public.notes', 5000)").await;
    let sent = format!("SELECT count(*) FROM marea.rows WHERE table_name = 'notes' AND version > {before}");
    assert_eq!(app.database.text(&sent).await, "10001");
    assert_eq!(app.database.text("SELECT count(*) FROM marea.mirror_drift()").await, "0");
    app.stop().await;
}

/// A sign-up that makes a user's first rows before the user.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_there_before_their_owner_come_to_the_devices() {
    let app = MirroredApp::start(&[]).await;
    app.database.execute(NOTES).await;
    let (late, nobody) = (new_id(), new_id());
    let early = format!(
        "INSERT INTO public.notes VALUES (gen_random_uuid(), '{late}', 'welcome'), (gen_random_uuid(), '{nobody}', 'never')"
    );
    app.database.execute(&early).await;
    app.database.execute(&format!("INSERT INTO public.users (id) VALUES ('{late}')")).await;
    let caller = app.again(late).await;
    assert_eq!(column(&pull(&caller).await, "notes", "note"), ["welcome"]);
    app.stop().await;
}

/// A database that may only be read is wrong for every mutation, of whatever table.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_sets_nothing_aside() {
    let app = MirroredApp::start(&[]).await;
    app.database.execute(NOTES).await;
    let caller = app.user().await;
    let note = of("notes", "insert", &new_id().to_string(), 1, json!({ "note": "x" }));
    let batch = request(&[note]);
    caller.client.batch_execute("SET default_transaction_read_only = on").await.expect("read only");
    assert_eq!(caller.try_sync(&batch).await.expect_err("read only").code, "25006");
    caller.client.batch_execute("SET default_transaction_read_only = off").await.expect("writable");
    assert_eq!(statuses(&caller.sync(&batch).await), ["applied"]);
    app.stop().await;
}
