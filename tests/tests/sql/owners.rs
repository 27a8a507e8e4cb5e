//! Whose a row is, the token says: neither a key nor an id in a request, nor a function that a signed-in user may call.

use marea_tests::backend::TestBackend;
use marea_tests::sql::{Caller, hlc, keys, mutation, refusal, request, with};
use marea_tests::vault::of_shape;
use serde_json::{Value, json};

/// A caller with sealed keys and an export, and that export's id.
async fn furnished(backend: &TestBackend) -> (Caller, String) {
    let caller = Caller::new(backend).await;
    let values = json!({ "export_type": "all", "export_format": "csv", "status": "pending" });
    let export = mutation("export_history", "insert", None, &hlc(1), values);
    let user = caller.user.to_string();
    let sealed = json!({ "openai_api_key": of_shape(1) });
    let sealed = mutation("user_api_keys", "merge", Some(&user), &hlc(1), sealed);
    assert_eq!(caller.push(&[export.clone(), sealed]).await, ["applied"; 2]);
    (caller, export["id"].as_str().expect("an id").to_owned())
}

/// Everything of a user: rows, clocks, versions. As the superuser sees it.
async fn everything(backend: &TestBackend, caller: &Caller) -> Value {
    let statement = "SELECT jsonb_build_object(
        'exports', (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.id) FROM public.export_history AS e WHERE e.user_id = $1),
        'keys', (SELECT jsonb_agg(to_jsonb(k)) FROM public.user_api_keys AS k WHERE k.user_id = $1),
        'rows', (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.table_name, r.row_key) FROM marea.rows AS r WHERE r.user_id = $1),
        'clock', (SELECT c.version FROM marea.clocks AS c WHERE c.user_id = $1))";
    backend.sql().await.query_one(statement, &[&caller.user]).await.expect("asked").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_names_somebody_else_changes_nothing_of_theirs() {
    let backend = TestBackend::shared().await;
    let ((owner, export), (other, _)) = (furnished(&backend).await, furnished(&backend).await);
    let before = everything(&backend, &owner).await;
    let user = owner.user.to_string();
    let attempts = [
        mutation("user_api_keys", "merge", Some(&user), &hlc(9), json!({ "openai_api_key": of_shape(2) })),
        mutation("user_api_keys", "delete", Some(&user), &hlc(9), json!({})),
        mutation("export_history", "merge", Some(&export), &hlc(9), json!({ "status": "failed" })),
        mutation("export_history", "delete", Some(&export), &hlc(9), json!({})),
    ];
    let own = everything(&backend, &other).await;
    for attempt in &attempts[..3] {
        assert_eq!(other.push(std::slice::from_ref(attempt)).await, ["rejected 22023"], "{attempt}");
        // Not of the sender's own either: somebody mistook whose keys these are.
        assert_eq!(everything(&backend, &other).await, own, "{attempt}");
    }
    other.push(&attempts[3..]).await;
    assert_eq!(everything(&backend, &owner).await, before);
}

/// It stands above the policies, and a signed-in user may call it: so it looks at nothing but the token.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_are_noted_for_the_caller_alone() {
    let backend = TestBackend::shared().await;
    let ((owner, export), (other, _)) = (furnished(&backend).await, furnished(&backend).await);
    let before = everything(&backend, &owner).await;
    let statement = "SELECT marea.record_registers($1, $2, '{\"status\": [\"9999999999999-ffff\", \"x\"]}')";
    for (relation, key) in [("user_api_keys", owner.user.to_string()), ("export_history", export.clone())] {
        other.client.query_one(statement, &[&relation, &key]).await.expect("noted for the caller");
    }
    assert_eq!(everything(&backend, &owner).await, before);
    for relation in ["user_progress", "daily_activity", "sessions", "users", ""] {
        let refused = other.client.query_one(statement, &[&relation, &export]).await.map_err(refusal);
        assert_eq!(
            refused.map(|_| ()).map_err(|refused| refused.code),
            Err("42501".to_owned()),
            "{relation}"
        );
    }
    let deleting = "SELECT marea.delete_export($1::text::uuid)";
    other.client.query_one(deleting, &[&export]).await.expect("nothing of the caller's");
    assert_eq!(everything(&backend, &owner).await, before);
}

/// Functions are executable by everybody when they are made.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_calls_anything_without_signing_in() {
    let backend = TestBackend::shared().await;
    // But for what is mirrored: names of tables and columns are no secret. The other PostgREST calls, for everybody.
    let statement = "SELECT p.oid::regprocedure::text FROM pg_proc AS p
        WHERE (p.pronamespace = 'marea'::regnamespace OR p.proname ~ '^marea_') AND p.proname NOT IN ('marea_catalogue', 'marea_pre_request')
          AND (has_function_privilege('anon', p.oid, 'EXECUTE') OR EXISTS (
            SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS given WHERE given.grantee = 0))";
    let open: Vec<String> = backend
        .sql()
        .await
        .query(statement, &[])
        .await
        .expect("asked")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(open, Vec::<String>::new());
}

/// Above all in what runs as its owner: a caller's own tables and operators must not be taken for the real ones.
#[tokio::test(flavor = "multi_thread")]
async fn every_function_pins_where_its_names_are_looked_for() {
    let backend = TestBackend::shared().await;
    let statement = "SELECT p.oid::regprocedure::text FROM pg_proc AS p
        WHERE (p.pronamespace = 'marea'::regnamespace OR p.proname ~ '^marea_' OR p.proname = 'sessions_fold_into_progress')
          AND p.prokind = 'f' AND (p.prosecdef OR p.prosqlbody IS NULL)
          AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS setting WHERE setting ~ '^search_path=.*pg_catalog, ')";
    let loose: Vec<String> = backend
        .sql()
        .await
        .query(statement, &[])
        .await
        .expect("asked")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(loose, Vec::<String>::new());
}

/// Neither does a page ask the policies alone: a role that stands above them sees its user's rows and no others.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_rows_of_one_user_whoever_asks_for_it() {
    let backend = TestBackend::shared().await;
    let ((owner, export), (other, own)) = (furnished(&backend).await, furnished(&backend).await);
    let admin = backend.sql().await;
    // The other's lines name the owner's export too, as in a database that somebody has copied together.
    let line = "INSERT INTO marea.rows (user_id, table_name, row_key, version)
        SELECT $1, 'export_history', $2, version + 1 FROM marea.clocks WHERE user_id = $1";
    admin.execute(line, &[&other.user, &export]).await.expect("a line");
    let ahead = "UPDATE marea.clocks SET version = version + 1 WHERE user_id = $1";
    admin.execute(ahead, &[&other.user]).await.expect("a clock");
    for packs in [false, true] {
        let statement = "SELECT found_rows::text || found_packed::text FROM marea.page($1, NULL, 2000, $2)";
        let page: String = admin.query_one(statement, &[&other.user, &packs]).await.expect("a page").get(0);
        assert!(page.contains(&own) && !page.contains(&export), "{packs}: {page}");
        let page: String = admin.query_one(statement, &[&owner.user, &packs]).await.expect("a page").get(0);
        assert!(page.contains(&export) && !page.contains(&own), "{packs}: {page}");
        // Two lines of the first user are two rows: another's lines neither fill a page nor end it.
        let two = "SELECT more, upto FROM marea.page($1, NULL, 2, $2)";
        let found = admin.query_one(two, &[&owner.user, &packs]).await.expect("a page");
        let clock = "SELECT version FROM marea.clocks WHERE user_id = $1";
        let clock: i64 = admin.query_one(clock, &[&owner.user]).await.expect("a clock").get(0);
        assert_eq!((found.get::<_, bool>(0), found.get::<_, i64>(1)), (false, clock), "{packs}");
    }
    let answer = other.sync(&with(request(&[]), "packed", json!(false))).await;
    assert_eq!(keys(&answer, "export_history", "id"), [own]);
}
