//! Whatever refuses a mutation refuses that one alone: any SQLSTATE of the app's own triggers, one that returns NULL, one that
//! waits for the end of the transaction. What is wrong with the server fails the request, and nothing is set aside for it.

use std::collections::BTreeMap;

use marea_core::{ResultStatus, SyncRequest, Transport, WireMutation};
use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, event, hlc, mutation, progress, request, session, statuses, with};
use serde_json::{Value, json};

/// Triggers as apps have them: they do what `session_data` says, and none of them names a schema.
const APP: &str = "
    CREATE TABLE public.audit_log (id UUID);
    GRANT INSERT ON public.audit_log TO authenticated;
    CREATE FUNCTION public.of_the_app() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    DECLARE
        wanted TEXT := CASE TG_TABLE_NAME WHEN 'sessions' THEN to_jsonb(NEW) #>> '{session_data,do}'
            ELSE nullif(to_jsonb(NEW) ->> 'export_type', 'all') END;
    BEGIN
        CASE wanted
            WHEN 'log' THEN INSERT INTO audit_log (id) VALUES (NEW.id);
            WHEN 'null' THEN RETURN NULL;
            WHEN 'other id' THEN NEW.id := gen_random_uuid();
            WHEN 'no table' THEN INSERT INTO nowhere (id) VALUES (NEW.id);
            WHEN 'no column' THEN NEW.nothing := 1;
            WHEN 'assert' THEN ASSERT false, 'never';
            WHEN 'late' THEN NULL;
            ELSE IF wanted IS NOT NULL THEN RAISE EXCEPTION 'not with me' USING ERRCODE = wanted; END IF;
        END CASE;
        RETURN NEW;
    END $$;
    CREATE TRIGGER of_the_app BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.of_the_app();
    CREATE FUNCTION public.late() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM FROM audit_log;
        IF to_jsonb(NEW) #>> '{session_data,do}' = 'late' THEN RAISE EXCEPTION 'too late' USING ERRCODE = 'UP009'; END IF;
        RETURN NULL;
    END $$;
    GRANT SELECT ON public.audit_log TO authenticated;
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON public.sessions DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION public.late();
    CREATE FUNCTION public.no_awards_of_7() RETURNS TRIGGER LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.points = 7 THEN RETURN NULL; ELSIF NEW.points = 8 THEN RAISE EXCEPTION 'no 8' USING ERRCODE = 'PT418'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER no_awards_of_7 BEFORE INSERT ON marea.progress_events
        FOR EACH ROW EXECUTE FUNCTION public.no_awards_of_7();";

async fn awkward() -> (TestBackend, Caller) {
    let backend = TestBackend::start().await;
    backend.sql().await.batch_execute(APP).await.expect("triggers");
    let caller = Caller::new(&backend).await;
    (backend, caller)
}

fn doing(what: &str) -> Value {
    session("2026-03-01", json!({ "session_data": { "local_date": "2026-03-01", "do": what } }))
}

fn good() -> Value {
    session("2026-03-01", json!({}))
}

fn message(answer: &Value, place: usize) -> String {
    answer["results"][place]["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sqlstate_of_a_trigger_refuses_its_own_mutation_alone() {
    let (backend, caller) = awkward().await;
    let codes = [
        "PT400", "PT402", "PT409", "PT413", "PT426", "PT503", "UP001", "P0001", "P0002", "P0003", "P0004",
        "42703", "42P01", "42883", "42501", "25006", "0A000", "08006", "22012", "23505", "54001", "55000",
        "2F003", "F0001",
    ];
    let mut batch = vec![good()];
    batch.extend(codes.iter().map(|code| doing(code)));
    batch.push(good());
    let answer = caller.sync(&request(&batch)).await;
    let expected: Vec<String> = ["applied".to_owned()]
        .into_iter()
        .chain(codes.iter().map(|code| format!("rejected {code}")))
        .chain(["applied".to_owned()])
        .collect();
    assert_eq!(statuses(&answer), expected);
    assert_eq!(message(&answer, 1), "not with me");
    assert_eq!(progress(&answer)["total_sessions"], 2);
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_does_without_a_word_has_a_word() {
    let (backend, caller) = awkward().await;
    let batch = [
        good(),
        doing("null"),
        doing("other id"),
        doing("assert"),
        doing("late"),
        doing("no column"),
        good(),
    ];
    let answer = caller.sync(&request(&batch)).await;
    assert_eq!(
        statuses(&answer),
        [
            "applied",
            "rejected 39P01",
            "rejected 39P01",
            "rejected P0004",
            "rejected UP009",
            "rejected 42703",
            "applied"
        ]
    );
    assert!(message(&answer, 1).contains("returned NULL"), "{answer}");
    assert!(message(&answer, 1).contains("public.sessions: of_the_app"), "{answer}");
    assert!(message(&answer, 2).contains("another id"), "{answer}");
    // An id that somebody else has is still no more than taken, whatever the triggers are.
    let other = Caller::new(&backend).await;
    let again = other.sync(&request(&[batch[0].clone(), doing("null"), good()])).await;
    assert_eq!(statuses(&again), ["rejected 23505", "rejected 39P01", "applied"]);
    // Sent again, all is as it was.
    let again = caller.sync(&request(&batch)).await;
    assert_eq!(statuses(&again)[0], "duplicate");
    assert_eq!(statuses(&again)[1..6], statuses(&answer)[1..6]);

    let award = |points: i32| event("2026-03-01", json!({ "points": points }));
    let awards = caller.sync(&request(&[award(1), award(7), award(8), award(2)])).await;
    assert_eq!(statuses(&awards), ["applied", "rejected 39P01", "rejected PT418", "applied"]);
    assert!(message(&awards, 1).contains("marea.progress_events: no_awards_of_7"), "{awards}");
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_find_what_they_find_in_a_plain_insert() {
    let (backend, caller) = awkward().await;
    assert_eq!(caller.push(&[doing("log"), doing("log")]).await, ["applied", "applied"]);
    let sql = backend.sql().await;
    let logged = || async {
        let row = sql.query_one("SELECT count(*) FROM public.audit_log", &[]).await.expect("a count");
        row.get::<_, i64>(0)
    };
    assert_eq!(logged().await, 2);

    // A table in a schema of the app's own is found when the role's search_path says so; else the remedy is named.
    sql.batch_execute(
        "CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO authenticated; CREATE TABLE app.nowhere (id UUID);
        GRANT INSERT ON app.nowhere TO authenticated",
    )
    .await
    .expect("a schema");
    let answer = caller.sync(&request(&[doing("no table"), good()])).await;
    assert_eq!(statuses(&answer), ["rejected 42P01", "applied"]);
    assert!(message(&answer, 0).contains("of_the_app() SET search_path ="), "{answer}");
    sql.batch_execute("ALTER ROLE authenticated SET search_path = app, public").await.expect("a path");
    assert_eq!(caller.push(&[doing("no table"), doing("log")]).await, ["applied", "applied"]);
    assert_eq!(logged().await, 3);
    // What Marea's own words mean does not move with it.
    sql.batch_execute("CREATE TABLE app.sessions (id UUID); CREATE FUNCTION app.jsonb_populate_record(public.sessions, JSONB)
        RETURNS public.sessions LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''hijacked''; END'").await.expect("a trap");
    assert_eq!(
        caller.push(&[good(), event("2026-03-01", json!({ "points": 1 }))]).await,
        ["applied", "applied"]
    );
    backend.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_server_is_no_mutations_fault() {
    let (backend, caller) = awkward().await;
    let sql = backend.sql().await;
    // A row that is refused makes the server look at each by itself.
    let batch = [good(), doing("UP001"), good()];
    for code in ["40001", "40P01", "53100", "53200", "55P03", "57014", "57P01", "58030", "XX000"] {
        let failed = caller.try_sync(&request(&[good(), doing(code), good()])).await.expect_err(code);
        assert_eq!(failed.code, code);
    }
    for (breaks, mends, code) in [
        (
            "REVOKE INSERT ON public.sessions FROM authenticated",
            "GRANT INSERT ON public.sessions TO authenticated",
            "42501",
        ),
        (
            "ALTER TABLE public.sessions RENAME COLUMN ended_at TO finished_at",
            "ALTER TABLE public.sessions RENAME COLUMN finished_at TO ended_at",
            "42703",
        ),
        (
            "ALTER FUNCTION marea.fold(marea.fact[]) RENAME TO fold_away",
            "ALTER FUNCTION marea.fold_away(marea.fact[]) RENAME TO fold",
            "42883",
        ),
    ] {
        sql.batch_execute(breaks).await.expect(breaks);
        let failed = caller.try_sync(&request(&batch)).await.expect_err(breaks);
        assert_eq!(failed.code, code, "{breaks}: {failed:?}");
        sql.batch_execute(mends).await.expect(mends);
    }
    caller.client.batch_execute("SET default_transaction_read_only = on").await.expect("read only");
    assert_eq!(caller.try_sync(&request(&batch)).await.expect_err("a standby").code, "25006");
    caller.client.batch_execute("SET default_transaction_read_only = off").await.expect("writable");
    // Nothing was kept of any of these.
    let answer = caller.sync(&request(&batch)).await;
    assert_eq!(statuses(&answer), ["applied", "rejected UP001", "applied"]);
    assert_eq!(progress(&answer)["total_sessions"], 2);
    backend.stop().await;
}

/// Over HTTP, where PTnnn would be a status of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_poison_session_of_any_kind_blocks_nothing_on_its_way_through_postgrest() {
    let (backend, caller) = awkward().await;
    let token = backend.token(caller.user, 600);
    let transport = Transport::new(&backend.ready().url, &backend.ready().anon_key).expect("an address");
    let batch = [good(), doing("PT402"), doing("null"), doing("late"), doing("PT503"), doing("log"), good()];
    let mutations: Vec<WireMutation> =
        batch.iter().map(|mutation| serde_json::from_value(mutation.clone()).expect("a mutation")).collect();
    let request: SyncRequest = serde_json::from_value(request(&[])).expect("a request");
    let request = SyncRequest { mutations, ..request };
    let carried = transport.post(&request, caller.user.into(), &token, 30_000).await;
    let answer = carried.outcome.expect("an answer");
    let taken: Vec<bool> =
        answer.results.iter().map(|result| result.status == ResultStatus::Applied).collect();
    assert_eq!(taken, [true, false, false, false, false, true, true]);
    backend.stop().await;
}

/// Exports and keys are written one by one, and a trigger may leave them out as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_on_exports_and_keys_is_told_of_too() {
    let (backend, caller) = awkward().await;
    let sql = backend.sql().await;
    sql.batch_execute(
        "CREATE TRIGGER of_the_app BEFORE INSERT ON public.export_history FOR EACH ROW EXECUTE FUNCTION public.of_the_app();
         CREATE FUNCTION public.never() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN PERFORM FROM audit_log; RETURN NULL; END';
         CREATE TRIGGER never BEFORE UPDATE ON public.export_history FOR EACH ROW
             WHEN (NEW.status = 'failed') EXECUTE FUNCTION public.never()",
    )
    .await
    .expect("triggers");
    let export = |kind: &str| {
        mutation(
            "export_history",
            "insert",
            None,
            &hlc(1),
            json!({ "export_type": kind, "export_format": "csv" }),
        )
    };
    let kept = export("log");
    let batch = [kept.clone(), export("null"), export("UP001"), export("all")];
    let answer = caller.sync(&request(&batch)).await;
    assert_eq!(statuses(&answer), ["applied", "rejected 39P01", "rejected UP001", "applied"], "{answer}");
    assert!(message(&answer, 1).contains("public.export_history: of_the_app"), "{answer}");
    let change = |status: &str| {
        mutation("export_history", "merge", kept["id"].as_str(), &hlc(9), json!({ "status": status }))
    };
    let answer = caller.sync(&request(&[change("failed"), change("processing")])).await;
    assert_eq!(statuses(&answer), ["rejected 39P01", "applied"], "{answer}");
    let shown: BTreeMap<String, String> = sql
        .query("SELECT id::text, status FROM public.export_history", &[])
        .await
        .expect("exports")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(shown[kept["id"].as_str().expect("an id")], "processing");
    let _ = with(kept, "id", json!(null));
    backend.stop().await;
}
