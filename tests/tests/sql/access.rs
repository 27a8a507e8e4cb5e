//! Row level security as `authenticated`, `anon` and `service_role`, with two users, on every table and command: mostly
//! denials. And the functions that run as their owner, against callers who bring names of their own.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, act_as, event, hlc, mutation, progress, request, session};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

/// What came of a statement: how many rows it read or wrote, or the SQLSTATE. It is always undone.
async fn outcome(client: &Client, statement: &str) -> String {
    client.batch_execute("BEGIN").await.expect("begin");
    let result = match client
        .query(&format!("WITH done AS ({statement} RETURNING 1) SELECT count(*) FROM done"), &[])
        .await
    {
        Ok(rows) => rows[0].get::<_, i64>(0).to_string(),
        Err(error) => error.code().map_or("?".to_owned(), |code| code.code().to_owned()),
    };
    client.batch_execute("ROLLBACK").await.expect("rollback");
    result
}

async fn read(client: &Client, table: &str, whose: Uuid) -> String {
    let column = if table == "public.users" { "id" } else { "user_id" };
    match client.query_one(&format!("SELECT count(*) FROM {table} WHERE {column} = '{whose}'"), &[]).await {
        Ok(row) => row.get::<_, i64>(0).to_string(),
        Err(error) => error.code().map_or("?".to_owned(), |code| code.code().to_owned()),
    }
}

/// A user with a row in every table.
async fn furnished(backend: &TestBackend) -> Caller {
    let caller = Caller::new(backend).await;
    let me = caller.user.to_string();
    let statuses = caller
        .push(&[
            session("2026-05-01", json!({})),
            event("2026-05-01", json!({ "points": 1 })),
            mutation(
                "export_history",
                "insert",
                None,
                &hlc(1),
                json!({ "export_type": "all", "export_format": "csv" }),
            ),
            mutation(
                "user_api_keys",
                "merge",
                Some(&me),
                &hlc(1),
                json!({ "openai_api_key": marea_tests::vault::of_shape("a") }),
            ),
        ])
        .await;
    assert_eq!(statuses, ["applied"; 4]);
    caller
}

const DENIED: &str = "42501";

#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_and_writes_what_it_may_and_no_more() {
    let backend = TestBackend::shared().await;
    let (owner, other) = (furnished(&backend).await, furnished(&backend).await);
    let (anon, service) = (backend.sql().await, backend.sql().await);
    act_as(&anon, "anon", None).await;
    act_as(&service, "service_role", None).await;

    // Reading: one's own, another's as authenticated; anybody's as anon and service_role.
    for (table, own, others, as_anon, as_service) in [
        ("public.user_api_keys", "1", "0", DENIED, DENIED),
        ("public.user_progress", "1", "0", DENIED, "1"),
        ("public.export_history", "1", "0", DENIED, "1"),
        ("marea.clocks", "1", "0", DENIED, DENIED),
        ("marea.rows", "4", "0", DENIED, DENIED),
        ("marea.progress_events", "1", "0", DENIED, DENIED),
        ("marea.daily_activity", "1", "0", DENIED, DENIED),
    ] {
        assert_eq!(read(&owner.client, table, owner.user).await, own, "{table}: own");
        assert_eq!(read(&owner.client, table, other.user).await, others, "{table}: another's");
        assert_eq!(read(&anon, table, owner.user).await, as_anon, "{table}: anon");
        assert_eq!(read(&service, table, owner.user).await, as_service, "{table}: service_role");
    }

    for table in [
        "marea.pending",
        "marea.checkpoints",
        "marea.clients",
        "marea.backfill",
        "marea.known_devices",
        "marea.settings",
    ] {
        for client in [&owner.client, &anon, &service] {
            let error =
                client.query(&format!("SELECT FROM {table}"), &[]).await.expect_err("nobody's business");
            assert_eq!(error.code().expect("a code").code(), DENIED, "{table}");
        }
    }

    // Writing, with {} for the id of whose row it is.
    for (statement, own, others, as_anon, as_service) in [
        ("INSERT INTO public.user_api_keys (user_id) VALUES ('{}')", "23505", DENIED, DENIED, DENIED),
        (
            "UPDATE public.user_api_keys SET openai_api_key = NULL WHERE user_id = '{}'",
            "1",
            "0",
            DENIED,
            DENIED,
        ),
        ("DELETE FROM public.user_api_keys WHERE user_id = '{}'", "1", "0", DENIED, DENIED),
        ("INSERT INTO public.user_progress (user_id) VALUES ('{}')", "23505", DENIED, DENIED, "23505"),
        (
            "UPDATE public.user_progress SET total_points = 9 WHERE user_id = '{}'",
            DENIED,
            DENIED,
            DENIED,
            DENIED,
        ),
        (
            "UPDATE public.user_progress SET updated_at = now() WHERE user_id = '{}'",
            DENIED,
            DENIED,
            DENIED,
            "1",
        ),
        (
            "UPDATE public.user_api_keys SET created_at = now() WHERE user_id = '{}'",
            DENIED,
            DENIED,
            DENIED,
            DENIED,
        ),
        (
            "UPDATE public.export_history SET export_type = 'b' WHERE user_id = '{}'",
            DENIED,
            DENIED,
            DENIED,
            "1",
        ),
        (
            "INSERT INTO public.user_progress (user_id, total_points) VALUES ('{}', 9)",
            DENIED,
            DENIED,
            DENIED,
            DENIED,
        ),
        ("DELETE FROM public.user_progress WHERE user_id = '{}'", DENIED, DENIED, DENIED, "1"),
        (
            "INSERT INTO public.export_history (user_id, export_type, export_format) VALUES ('{}', 'a', 'b')",
            "1",
            DENIED,
            DENIED,
            "1",
        ),
        ("UPDATE public.export_history SET status = 'failed' WHERE user_id = '{}'", "1", "0", DENIED, "1"),
        ("DELETE FROM public.export_history WHERE user_id = '{}'", DENIED, DENIED, DENIED, "1"),
        (
            "INSERT INTO marea.progress_events (id, user_id, occurred_at, local_date) VALUES (gen_random_uuid(), '{}', now(), '2026-05-01')",
            "1",
            DENIED,
            DENIED,
            DENIED,
        ),
        ("UPDATE marea.progress_events SET points = 9 WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        ("DELETE FROM marea.progress_events WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        (
            "INSERT INTO marea.rows (user_id, table_name, row_key) VALUES ('{}', 'a', 'b')",
            DENIED,
            DENIED,
            DENIED,
            DENIED,
        ),
        ("UPDATE marea.rows SET version = 9 WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        ("DELETE FROM marea.rows WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        ("UPDATE marea.clocks SET version = 9 WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        ("DELETE FROM marea.clocks WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        ("UPDATE marea.daily_activity SET points = 9 WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        ("DELETE FROM marea.daily_activity WHERE user_id = '{}'", DENIED, DENIED, DENIED, DENIED),
        (
            "INSERT INTO marea.pending (table_name, deleted, user_ids) VALUES ('user_progress', true, '{{}}')",
            DENIED,
            DENIED,
            DENIED,
            DENIED,
        ),
    ] {
        let of = |user: Uuid| statement.replace("{}", &user.to_string());
        assert_eq!(outcome(&owner.client, &of(owner.user)).await, own, "own: {statement}");
        assert_eq!(outcome(&owner.client, &of(other.user)).await, others, "another's: {statement}");
        assert_eq!(outcome(&anon, &of(owner.user)).await, as_anon, "anon: {statement}");
        assert_eq!(outcome(&service, &of(owner.user)).await, as_service, "service_role: {statement}");
    }
    // service_role writes totals where it asks to, and not by habit.
    let asked = format!(
        "BEGIN; SET LOCAL marea.allow_progress_writes = 'on';
         UPDATE public.user_progress SET total_points = 9 WHERE user_id = '{}'; ROLLBACK",
        owner.user
    );
    service.batch_execute(&asked).await.expect("it asked");
    // Giving one's row away is writing somebody else's.
    for table in ["user_api_keys", "user_progress", "export_history"] {
        let give =
            format!("UPDATE public.{table} SET user_id = '{}' WHERE user_id = '{}'", other.user, owner.user);
        assert_eq!(outcome(&owner.client, &give).await, DENIED, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_even_a_role_that_bypasses_policies_reads_keys() {
    let backend = TestBackend::start().await; // the role belongs to the whole server
    let owner = furnished(&backend).await;
    let admin = backend.sql().await;
    admin.batch_execute("ALTER ROLE service_role BYPASSRLS").await.expect("as on Supabase");
    act_as(&admin, "service_role", None).await;
    assert_eq!(read(&admin, "public.user_api_keys", owner.user).await, DENIED);
    assert_eq!(read(&admin, "public.user_progress", owner.user).await, "1");
    drop((owner, admin));
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_granted_can_be_executed() {
    let backend = TestBackend::shared().await;
    let admin = backend.sql().await;
    let statement = "SELECT p.oid::regprocedure::text FROM pg_proc AS p
        WHERE p.pronamespace = 'marea'::regnamespace AND p.prosecdef AND has_function_privilege($1, p.oid, 'EXECUTE') ORDER BY 1";
    let executable = async |role: &str| -> Vec<String> {
        admin.query(statement, &[&role]).await.expect("functions").iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(executable("anon").await, Vec::<String>::new());
    // What runs as the owner on behalf of a user: each takes the user from the token.
    assert_eq!(
        executable("authenticated").await,
        [
            "marea.count_once(uuid[])",
            "marea.delete_export(uuid)",
            "marea.epoch()",
            "marea.has_drifted(text)",
            "marea.has_wakeups()",
            "marea.idle_answer(jsonb)",
            "marea.is_lost_history(text)",
            "marea.left_out_keys(text,text[])",
            "marea.may_add_file(text)",
            "marea.move_clock()",
            "marea.note_client(uuid,integer,bigint)",
            "marea.note_stamps(text,text[],text[],text[],text)",
            "marea.note_writes(text,text[],jsonb[],boolean)",
            "marea.record_registers(text,text,jsonb)",
            "marea.refuse_moved()",
            "marea.settle_clocks()",
            "marea.user_exists()",
            "marea.user_id()",
        ]
    );

    let (owner, other) = (furnished(&backend).await, furnished(&backend).await);
    let export: Uuid = admin
        .query_one("SELECT id FROM public.export_history WHERE user_id = $1", &[&other.user])
        .await
        .expect("one")
        .get(0);
    owner.client.execute("SELECT marea.delete_export($1)", &[&export]).await.expect("nothing happens");
    assert_eq!(read(&admin, "public.export_history", other.user).await, "1");
    let me = owner.user.to_string();
    for call in [
        "SELECT marea.fold(NULL)",
        "SELECT marea.refold(NULL)",
        "SELECT marea.facts_of(NULL)",
        "SELECT marea.prune_tombstones()",
        "SELECT marea.expire_exports()",
        "SELECT marea.assign_server_hlc('export_history', NULL, NULL, NULL)",
    ] {
        let error = owner.client.query(call, &[]).await.expect_err(call);
        assert_eq!(error.code().expect("a code").code(), DENIED, "{call}");
    }
    // Another's rows do not come out of the pull either, whoever is asked for.
    let them = other.user;
    for (call, members) in [
        (format!("page('{them}', NULL, 500, false)"), ["found_rows", "found_packed"]),
        (format!("page('{them}', NULL, 500, true)"), ["found_rows", "found_packed"]),
    ] {
        let asked = format!("SELECT to_jsonb(found) FROM marea.{call} AS found");
        let answer: serde_json::Value = owner.client.query_one(&asked, &[]).await.expect("an answer").get(0);
        for member in members {
            assert_eq!(answer[member], json!({}), "{member} of {call}");
        }
    }
    assert_ne!(me, other.user.to_string());
}

/// A caller who may create objects brings types, functions and operators with well-known names; each would leave a mark.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_caller_brings_along_are_not_used() {
    let backend = TestBackend::start().await;
    let caller = Caller::new(&backend).await;
    let admin = backend.sql().await;
    admin.batch_execute("GRANT CREATE ON SCHEMA public TO authenticated").await.expect("a careless admin");
    let trap = "
        CREATE FUNCTION public.spring() RETURNS boolean LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'the trap has sprung, as %', current_user USING ERRCODE = 'XX999'; END $$;
        CREATE FUNCTION public.jsonb_each(jsonb, OUT key text, OUT value jsonb) RETURNS SETOF record LANGUAGE sql AS
            $$ SELECT 'a'::pg_catalog.text, '{}'::pg_catalog.jsonb FROM (SELECT public.spring()) AS s $$;
        CREATE FUNCTION public.jsonb_array_elements(jsonb) RETURNS SETOF jsonb LANGUAGE sql AS
            $$ SELECT '{}'::pg_catalog.jsonb FROM (SELECT public.spring()) AS s $$;
        CREATE FUNCTION public.eq(uuid, uuid) RETURNS boolean LANGUAGE sql AS $$ SELECT public.spring() $$;
        CREATE OPERATOR public.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = public.eq);
        CREATE FUNCTION pg_temp.greatest_trap(pg_catalog.text) RETURNS boolean LANGUAGE sql AS $$ SELECT public.spring() $$;
        CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (public.spring());
        CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (public.spring());
        CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (public.spring());
        CREATE DOMAIN pg_temp.date AS pg_catalog.date CHECK (public.spring());
        CREATE TEMPORARY TABLE users (id pg_catalog.uuid);
        CREATE TEMPORARY TABLE sessions (id pg_catalog.uuid);
        CREATE TEMPORARY TABLE user_progress (id pg_catalog.uuid);";
    caller.client.batch_execute(trap).await.expect("the traps are set");
    // The path on which they come first for whoever does not pin one.
    caller.client.batch_execute("SET search_path = pg_temp, public, pg_catalog").await.expect("a path");
    let sprung = caller.client.query_one("SELECT 'x'::text", &[]).await.expect_err("the traps work");
    assert_eq!(sprung.code().expect("a code").code(), "XX999");

    let me = caller.user.to_string();
    let requested = request(&[
        session("2026-05-01", json!({ "qa_attempts": 1 })),
        event("2026-05-02", json!({ "points": 1, "achievements": { "a": "2026-05-02T00:00:00.000000Z" } })),
        mutation(
            "export_history",
            "insert",
            None,
            &hlc(1),
            json!({ "export_type": "all", "export_format": "csv" }),
        ),
        mutation(
            "user_api_keys",
            "merge",
            Some(&me),
            &hlc(1),
            json!({ "openai_api_key": marea_tests::vault::of_shape("a") }),
        ),
    ]);
    let statement = caller.client.prepare_typed(
        "SELECT public.marea_sync($1::pg_catalog.jsonb)",
        &[tokio_postgres::types::Type::JSONB],
    );
    let answer: serde_json::Value = caller
        .client
        .query_one(&statement.await.expect("prepared"), &[&requested])
        .await
        .expect("no trap springs")
        .get(0);
    assert_eq!(marea_tests::sql::statuses(&answer), ["applied"; 4]);
    assert_eq!(progress(&answer)["current_streak_days"], 2);
    // The policies of plain statements ask auth.uid(), the app's own, which casts as its caller would.
    caller.client.batch_execute("DROP DOMAIN pg_temp.uuid, pg_temp.jsonb").await.expect("two traps less");
    let plain = "UPDATE public.sessions SET ended_at = ended_at + pg_catalog.make_interval(days => 1)";
    caller.client.batch_execute(plain).await.expect("the triggers do not spring a trap either");
    caller
        .client
        .batch_execute("UPDATE public.export_history SET status = 'failed'; DELETE FROM public.sessions")
        .await
        .expect("nor these");
    drop((caller, admin));
    backend.stop().await;
}
