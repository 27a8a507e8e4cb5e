//! Mirrored tables and who may see what: two users, every operation, roles, rows that change their owner, rows that policies hide by
//! more than the owner.

use marea_tests::mirrored::{MirroredApp, deleted, pull, pull_after, results, rows, send};
use marea_tests::sql::{act_as, hlc, mutation, new_id, request, statuses};
use serde_json::{Value, json};

const OTHERS: &[&str] = &["key: is taken", "key: no such row", "applied", "key: no such row"];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_the_rows_of_another() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let [one, other] = [app.user().await, app.user().await];
    let key = new_id().to_string();
    let item = new_id().to_string();
    let made = [
        mutation("vocabulary_items", "insert", Some(&item), &hlc(1), json!({ "word": "x" })),
        mutation("word_reviews", "insert", Some(&key), &hlc(1), json!({ "item_id": item })),
    ];
    assert_eq!(send(&one, &made).await, ["applied"; 2]);
    let attempts = [
        mutation("word_reviews", "insert", Some(&key), &hlc(9), json!({ "item_id": item })),
        mutation("word_reviews", "merge", Some(&key), &hlc(9), json!({ "ease": 1 })),
        mutation("word_reviews", "delete", Some(&key), &hlc(9), json!({})),
        mutation("word_reviews", "add", Some(&key), &hlc(9), json!({ "times_seen": 1 })),
    ];
    for (attempt, expected) in attempts.iter().zip(OTHERS) {
        let said = send(&other, std::slice::from_ref(attempt)).await.remove(0);
        assert!(said.ends_with(expected), "{said}, not {expected}");
    }
    assert_eq!(rows(&pull(&other).await, "word_reviews"), Vec::<Value>::new());
    let kept = rows(&pull(&one).await, "word_reviews");
    assert_eq!((&kept[0]["ease"], &kept[0]["times_seen"]), (&json!(2.5), &json!(0)));

    // Whose it is, is the token's: a settings row is keyed by it.
    let settings = [mutation("user_settings", "insert", Some(&one.user.to_string()), &hlc(1), json!({}))];
    assert_eq!(statuses(&other.sync(&request(&settings)).await), ["rejected 22023"]);

    // Roles: what is there is no secret, what is in it is.
    for role in ["anon", "service_role"] {
        act_as(&other.client, role, None).await;
        other.client.query_one("SELECT public.marea_catalogue()", &[]).await.expect("everybody may");
        for query in [
            "SELECT FROM marea.tables",
            "SELECT FROM marea.additions",
            "SELECT marea.mirror('public.sessions')",
            "SELECT marea.unmirror('public.word_lists')",
        ] {
            let error = other.client.query(query, &[]).await.expect_err(query);
            assert_eq!(error.code().expect("a code").code(), "42501", "{role}: {query}");
        }
    }
    act_as(&other.client, "authenticated", Some(other.user)).await;
    for query in [
        "SELECT FROM marea.additions",
        "SELECT marea.mirror('public.word_lists')",
        "UPDATE marea.tables SET writable = true",
        "SELECT marea.note_changes('word_lists', NULL, NULL, NULL, NULL, NULL)",
        "CALL marea.mirror_existing('public.word_lists')",
    ] {
        let error = other.client.query(query, &[]).await.expect_err(query);
        assert_eq!(error.code().expect("a code").code(), "42501", "{query}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_changes_its_owner_or_key_leaves_the_one_and_reaches_the_other() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let [one, other] = [app.user().await, app.user().await];
    let item = new_id().to_string();
    let sent = [mutation("vocabulary_items", "insert", Some(&item), &hlc(1), json!({ "word": "x" }))];
    assert_eq!(send(&one, &sent).await, ["applied"]);
    let cursor = pull(&one).await["cursor"].clone();
    app.database
        .execute(&format!(
            "UPDATE public.vocabulary_items SET user_id = '{}' WHERE id = '{item}'",
            other.user
        ))
        .await;
    let answer = pull_after(&one, &cursor).await;
    assert_eq!(
        (deleted(&answer, "vocabulary_items"), rows(&answer, "vocabulary_items").len()),
        (vec![item.clone()], 0)
    );
    assert_eq!(rows(&pull(&other).await, "vocabulary_items")[0]["id"], json!(item));
    // What SQL writes has the server's clock, later than the device's.
    let row = rows(&pull(&other).await, "vocabulary_items").remove(0);
    assert_eq!(row["clocks"]["word"][1], "server");
    let late = [mutation("vocabulary_items", "merge", Some(&item), &hlc(2), json!({ "word": "old" }))];
    assert_eq!(send(&other, &late).await, ["applied"]);
    assert_eq!(rows(&pull(&other).await, "vocabulary_items")[0]["word"], "x", "the server wrote later");

    let cursor = pull(&other).await["cursor"].clone();
    let renamed = new_id().to_string();
    app.database
        .execute(&format!("UPDATE public.vocabulary_items SET id = '{renamed}' WHERE id = '{item}'"))
        .await;
    let answer = pull_after(&other, &cursor).await;
    assert_eq!(
        (deleted(&answer, "vocabulary_items"), &rows(&answer, "vocabulary_items")[0]["id"]),
        (vec![item], &json!(renamed))
    );

    // An update that changes nothing is none; TRUNCATE is a deletion of all; a user who goes takes everything along.
    let cursor = pull(&other).await["cursor"].clone();
    app.database.execute("UPDATE public.vocabulary_items SET word = word").await;
    let word = rows(&pull_after(&other, &cursor).await, "vocabulary_items");
    assert!(
        word.iter().all(|row| row["word"] == "x"),
        "a trigger of the app changed updated_at, no more: {word:?}"
    );
    let cursor = pull(&other).await["cursor"].clone();
    app.database.execute("TRUNCATE public.vocabulary_items CASCADE").await;
    assert_eq!(deleted(&pull_after(&other, &cursor).await, "vocabulary_items"), [renamed]);
    app.database
        .execute(&format!("INSERT INTO public.word_lists (user_id, title) VALUES ('{}', 't')", one.user))
        .await;
    app.database.execute(&format!("DELETE FROM public.users WHERE id = '{}'", one.user)).await;
    assert_eq!(
        app.database.text(&format!("SELECT count(*) FROM marea.rows WHERE user_id = '{}'", one.user)).await,
        "0"
    );
    assert_eq!(app.database.text("SELECT count(*) FROM marea.pending").await, "0");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_hides_does_not_come_and_stops_nothing() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let one = app.user().await;
    let [item, secret] = [new_id().to_string(), new_id().to_string()];
    let insert = |key: &str, word: &str| {
        mutation("vocabulary_items", "insert", Some(key), &hlc(1), json!({ "word": word }))
    };
    assert_eq!(send(&one, &[insert(&item, "x")]).await, ["applied"]);
    let cursor = pull(&one).await["cursor"].clone();
    app.database.execute("CREATE POLICY hide ON public.vocabulary_items AS RESTRICTIVE FOR SELECT TO authenticated USING (word <> 'hidden')").await;
    app.database
        .execute(&format!("UPDATE public.vocabulary_items SET word = 'hidden' WHERE id = '{item}'"))
        .await;
    let answer = pull_after(&one, &cursor).await;
    assert_eq!(
        (deleted(&answer, "vocabulary_items"), rows(&answer, "vocabulary_items").len()),
        (vec![item.clone()], 0)
    );
    // An insert of what one may not see afterwards is allowed, as by a plain INSERT, and known when it is sent again.
    assert_eq!(send(&one, &[insert(&secret, "hidden")]).await, ["applied"]);
    assert_eq!(send(&one, &[insert(&secret, "hidden")]).await, ["duplicate"]);
    for op in [("merge", json!({ "word": "y" })), ("delete", json!({}))] {
        let said = send(&one, &[mutation("vocabulary_items", op.0, Some(&item), &hlc(9), op.1)]).await;
        assert_eq!(said, ["42501: key: the app's policies do not let this row be written"], "{}", op.0);
    }
    assert_eq!(rows(&pull(&one).await, "vocabulary_items"), Vec::<Value>::new());
    app.database.execute("UPDATE public.vocabulary_items SET word = 'seen' WHERE word = 'hidden'").await;
    assert_eq!(rows(&pull(&one).await, "vocabulary_items").len(), 2);

    // A policy of the app that lets nobody delete refuses that alone.
    app.database.execute("CREATE POLICY kept ON public.vocabulary_items AS RESTRICTIVE FOR DELETE TO authenticated USING (false)").await;
    let both = [
        mutation("vocabulary_items", "delete", Some(&item), &hlc(10), json!({})),
        mutation("vocabulary_items", "merge", Some(&secret), &hlc(10), json!({ "translation": "t" })),
    ];
    let said = results(&one.sync(&request(&both)).await);
    assert_eq!(said, ["42501: key: the app's policies do not let this row be written", "applied"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apps_own_triggers_overwrite_and_leave_out() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let one = app.user().await;
    app.database
        .execute(
            "CREATE FUNCTION public.judge() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF TG_OP = 'DELETE' THEN RETURN NULL; END IF;
                 IF NEW.title = 'no' THEN RETURN NULL; END IF;
                 IF NEW.title = 'other' THEN NEW.id := gen_random_uuid(); END IF;
                 IF NEW.title = 'loud' THEN RAISE EXCEPTION 'too loud' USING ERRCODE = 'PT402'; END IF;
                 NEW.title := upper(NEW.title);
                 RETURN NEW;
             END $$;
             CREATE TRIGGER judge BEFORE INSERT OR UPDATE OR DELETE ON public.word_lists FOR EACH ROW EXECUTE FUNCTION public.judge();",
        )
        .await;
    let [kept, no, other, loud] = [(); 4].map(|()| new_id().to_string());
    let insert = |key: &str, title: &str| {
        mutation("word_lists", "insert", Some(key), &hlc(1), json!({ "title": title }))
    };
    let sent = [
        insert(&kept, "kept"),
        insert(&no, "no"),
        insert(&other, "other"),
        insert(&loud, "loud"),
        mutation("word_lists", "merge", Some(&kept), &hlc(2), json!({ "title": "no" })),
        mutation("word_lists", "merge", Some(&kept), &hlc(3), json!({ "title": "later" })),
        mutation("word_lists", "delete", Some(&kept), &hlc(4), json!({})),
    ];
    let said = statuses(&one.sync(&request(&sent)).await);
    assert_eq!(
        said,
        [
            "applied",
            "rejected 39P01",
            "rejected 39P01",
            "rejected PT402",
            "rejected 39P01",
            "applied",
            "rejected 39P01"
        ]
    );
    let found = rows(&pull(&one).await, "word_lists");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["title"], "LATER");
    app.stop().await;
}
