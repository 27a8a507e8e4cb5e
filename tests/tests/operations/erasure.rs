//! Who is forgotten is nowhere, and who cannot be taken along whole stays: what docs/migrations/USERS.md says.

use marea_tests::cluster::{Cluster, root};
use marea_tests::sql::{progress, refusal, request, session};
use serde_json::json;

use crate::documents::dumpable_server;
use crate::moves::{THERE, asked, database, exported, mentions, user_with_everything};

/// Neither rows that would go with the user and are somebody else's, nor more than a document holds.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_taken_along_whole_stays() {
    let cluster = Cluster::start().await;
    let a = database(&cluster, "a").await;
    let ((one, _), (other, _)) = (user_with_everything(&a).await, user_with_everything(&a).await);
    let moved = "SELECT marea.move_user($1, $2)";
    a.execute(&format!(
        "CREATE TABLE public.answers (
             id INTEGER PRIMARY KEY, author UUID REFERENCES public.users (id) ON DELETE CASCADE,
             list UUID CONSTRAINT answers_to REFERENCES public.word_lists (id) ON DELETE CASCADE
         );
         INSERT INTO public.answers SELECT 1, '{}', id FROM public.word_lists WHERE user_id = '{}'",
        other.user, one.user
    ))
    .await;
    let refused = asked(&a, moved, &[&one.user, &THERE]).await.expect_err("another's answer");
    assert_eq!(refused.code, "2BP01", "{refused:?}");
    assert!(refused.message.contains("answers (answers_to)"), "{refused:?}");
    assert_eq!(one.push(&[session("2026-06-01", json!({}))]).await, ["applied"], "nothing was changed");
    asked(&a, moved, &[&other.user, &THERE]).await.expect("the answer goes with its author");
    // One that comes between is not lost with the rows that stay behind.
    a.execute("DELETE FROM public.answers").await;
    asked(&a, moved, &[&one.user, &THERE]).await.expect("a document");
    a.execute(&format!(
        "INSERT INTO public.answers SELECT 2, '{}', id FROM public.word_lists WHERE user_id = '{}'",
        other.user, one.user
    ))
    .await;
    let refused =
        asked(&a, "SELECT marea.erase_user($1, true)", &[&one.user]).await.expect_err("it is nowhere else");
    assert!(refused.code == "2BP01" && refused.message.contains("answers (answers_to)"), "{refused:?}");
    a.execute("DELETE FROM public.answers").await;
    a.client.execute("SELECT marea.stop_move($1)", &[&one.user]).await.expect("it stays");

    a.execute(&format!(
        "SET session_replication_role = replica;
         INSERT INTO public.sessions (user_id, session_data)
         SELECT '{}', jsonb_build_object('x', repeat('x', 4000000)) FROM generate_series(1, 70);
         RESET session_replication_role",
        one.user
    ))
    .await;
    let refused = asked(&a, moved, &[&one.user, &THERE]).await.expect_err("280 MB");
    assert_eq!(refused.code, "54000", "{refused:?}");
    assert!(
        refused.message.contains("more than fits into one document (256 MB), with public.sessions"),
        "{refused:?}"
    );
    assert_eq!(one.push(&[session("2026-06-02", json!({}))]).await, ["applied"], "nothing was changed");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_is_nowhere_when_the_files_are_gone() {
    let cluster = dumpable_server().await;
    let a = database(&cluster, "a").await;
    a.file(&root().join("tests/fixtures/realtime.sql")).await.succeeds();
    assert_eq!(a.text("SELECT marea.set_wakeups(true)").await, "realtime");
    let (one, _) = user_with_everything(&a).await;
    let (text, erase) = (one.user.to_string(), "SELECT marea.erase_user($1)");
    let woken = format!("SELECT count(*) > 0 FROM realtime.messages WHERE topic = 'marea:{text}'");
    assert_eq!(a.text(&woken).await, "true");
    let path = a
        .text(&format!(
            "SELECT format('{text}/%s/{}.csv', id) FROM public.export_history WHERE user_id = '{text}'",
            "ab".repeat(32)
        ))
        .await;
    a.execute(&format!("UPDATE public.export_history SET file_url = 'storage://marea-exports/{path}' WHERE user_id = '{text}'")).await;
    assert_eq!(exported(&a, one.user).await["files"], json!([path]));
    a.execute(&format!("INSERT INTO public.feedback VALUES (1, '{text}', 'good'); INSERT INTO public.invoices VALUES (1, '{text}')")).await;
    let held = asked(&a, erase, &[&one.user]).await.expect_err("an invoice");
    assert!(held.code == "23503" && held.message.contains("invoices"), "{held:?}");
    assert_eq!(progress(&one.pull().await)["total_sessions"], json!(3), "nothing was changed");

    a.execute("DELETE FROM public.invoices").await;
    let said = asked(&a, erase, &[&one.user]).await.expect("erased");
    assert_eq!((&said["files_to_delete"], said["rows"].as_i64() > Some(10)), (&json!(1), true), "{said}");
    assert_eq!(mentions(&a, &text).await, 1, "the file that waits to be deleted");
    a.execute("SELECT marea.files_deleted(array_agg(path)) FROM marea.files_to_delete").await;
    let said = asked(&a, erase, &[&one.user]).await.expect("nothing is left");
    assert_eq!((&said["files_to_delete"], &said["rows"]), (&json!(0), &json!(0)), "{said}");
    assert_eq!(mentions(&a, &text).await, 0);
    assert_eq!(a.text("SELECT words FROM public.feedback").await, "good");

    // A device that still has a token makes nothing of it come back.
    let late = one.try_sync(&request(&[session("2026-05-01", json!({}))])).await.expect_err("no such user");
    assert_eq!(late.code, "PT409");
    assert_eq!(one.pull().await["user_missing"], json!(true));
    assert_eq!(mentions(&a, &text).await, 0);

    // A move that was not made.
    let (two, _) = user_with_everything(&a).await;
    asked(&a, "SELECT marea.move_user($1, $2)", &[&two.user, &THERE]).await.expect("a document");
    a.client.execute("SELECT marea.stop_move($1)", &[&two.user]).await.expect("it stays");
    assert_eq!(two.push(&[session("2026-06-01", json!({}))]).await, ["applied"]);
    let not = a.client.execute("SELECT marea.stop_move($1)", &[&two.user]).await.expect_err("it is here");
    assert_eq!(refusal(not).code, "22023");
    cluster.stop().await;
}
