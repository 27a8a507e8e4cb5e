//! What a signed-in user can make grow: up to a bound, by whatever way, and what is too much is refused alone.

use marea_tests::mirrored::MirroredApp;
use marea_tests::sql::{event, hlc, mutation, new_id, refusal, request, session, statuses, with};
use marea_tests::worst::LONG;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_can_make_grow_has_a_bound() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let (one, other) = (app.user().await, app.user().await);
    app.database.execute("INSERT INTO marea.settings (name, value) VALUES ('rows_per_user', '60')").await;
    let many = |made: &dyn Fn() -> Value, count: usize| (0..count).map(|_| made()).collect::<Vec<Value>>();
    let list =
        || mutation("word_lists", "insert", Some(&new_id().to_string()), &hlc(1), json!({ "title": "t" }));
    let export = || {
        mutation(
            "export_history",
            "insert",
            None,
            &hlc(1),
            json!({ "export_type": "t", "export_format": "csv" }),
        )
    };
    let kinds: [(&str, &dyn Fn() -> Value); 4] = [
        ("sessions", &|| session("2026-05-01", json!({}))),
        ("progress_events", &|| event("2026-05-01", json!({ "points": 1 }))),
        ("export_history", &export),
        ("word_lists", &list),
    ];
    for (table, made) in kinds {
        assert_eq!(one.push(&many(made, 60)).await, vec!["applied"; 60], "{table}");
        // What is too much is refused by name, and whatever else comes with it is not.
        let mut more = many(made, 55);
        more.insert(
            20,
            mutation(
                "user_settings",
                "insert",
                Some(&one.user.to_string()),
                &hlc(1),
                json!({ "theme": "dark" }),
            ),
        );
        let answer = one.sync(&request(&more)).await;
        let mut expected = vec!["rejected MB002"; 56];
        let said = statuses(&answer);
        expected[20] = if table == "sessions" { "applied" } else { "duplicate" };
        assert_eq!(said, expected, "{table}");
        assert_eq!(
            answer["results"][0]["message"],
            json!(format!("{table}: a user has at most 60 rows here"))
        );
        assert_eq!(other.push(&many(made, 1)).await, ["applied"], "{table}");
    }
    // Nor past the protocol; a job may.
    let plain =
        "INSERT INTO public.sessions (user_id, ended_at) SELECT auth.uid(), NULL FROM generate_series(1, 2)";
    assert_eq!(refusal(one.client.batch_execute(plain).await.expect_err("full")).code, "MB002");
    let job = format!(
        "INSERT INTO public.sessions (user_id, ended_at) SELECT '{}', now() FROM generate_series(1, 100)",
        one.user
    );
    app.database.execute(&job).await;

    // Deleting makes no room at once: a tombstone is a row too.
    app.database.execute(&format!("DELETE FROM public.word_lists WHERE user_id = '{}'", one.user)).await;
    assert_eq!(statuses(&one.sync(&request(&[list()])).await), ["rejected MB002"]);

    // Additions, several to a row.
    let review = new_id().to_string();
    let item = new_id().to_string();
    let first = [
        mutation("vocabulary_items", "insert", Some(&item), &hlc(1), json!({ "word": "w" })),
        mutation("word_reviews", "insert", Some(&review), &hlc(1), json!({ "item_id": item })),
    ];
    assert_eq!(other.push(&first).await, ["applied", "applied"]);
    let add = || mutation("word_reviews", "add", Some(&review), &hlc(2), json!({ "times_seen": 1 }));
    for _ in 0..2 {
        assert_eq!(other.push(&many(&add, 300)).await, vec!["applied"; 300]);
    }
    assert_eq!(other.push(&many(&add, 60)).await, vec!["rejected MB002"; 60]);

    // Files that an export has named once.
    let path = |n: usize| format!("storage://marea-exports/{}/{}/{n:064x}.csv", other.user, review);
    let insert = format!(
        "INSERT INTO public.export_history (id, user_id, export_type, export_format, file_url) VALUES ('{review}', '{}', 't', 'csv', '{}')",
        other.user,
        path(0)
    );
    other.client.batch_execute(&insert).await.expect("an export");
    let mut refused = None;
    for n in 1..200 {
        let renamed =
            format!("UPDATE public.export_history SET file_url = '{}' WHERE id = '{review}'", path(n));
        if let Err(error) = other.client.batch_execute(&renamed).await {
            refused = Some((n, refusal(error).code));
            break;
        }
    }
    assert_eq!(refused, Some((101, "MB002".to_owned())));

    // And what a PATCH may put into an export.
    for (column, value) in [
        ("data", format!("jsonb_build_object('a', {LONG}::numeric)")),
        ("data", "to_jsonb(repeat('x', 70000))".to_owned()),
        ("error_message", "repeat('x', 70000)".to_owned()),
        ("file_url", "repeat('x', 70000)".to_owned()),
    ] {
        let patch = format!("UPDATE public.export_history SET {column} = {value} WHERE id = '{review}'");
        let said = refusal(other.client.batch_execute(&patch).await.expect_err("too much"));
        assert!(said.code == "22023" && said.message.starts_with(&format!("values.{column}: ")), "{said:?}");
    }
    app.stop().await;
}

/// What is too much is refused, each alone, and what still fits is taken.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_still_has_room_for_is_taken() {
    let app = MirroredApp::start(&["words.sql"]).await;
    app.database.execute("INSERT INTO marea.settings (name, value) VALUES ('rows_per_user', '60')").await;
    let list =
        || mutation("word_lists", "insert", Some(&new_id().to_string()), &hlc(1), json!({ "title": "t" }));
    let learnt = || session("2026-05-01", json!({}));
    let kinds: [&dyn Fn() -> Value; 2] = [&learnt, &list];
    let refused = "rejected MB002";
    for made in kinds {
        let many = |count: usize| (0..count).map(|_| made()).collect::<Vec<Value>>();
        let one = app.user().await;
        assert_eq!(one.push(&many(50)).await, vec!["applied"; 50]);
        let mut more = many(20);
        more.insert(
            15,
            mutation(
                "user_settings",
                "insert",
                Some(&one.user.to_string()),
                &hlc(1),
                json!({ "theme": "dark" }),
            ),
        );
        let mut expected = [vec!["applied"; 10], vec![refused; 11]].concat();
        expected[15] = "applied";
        assert_eq!(one.push(&more).await, expected);

        // A batch that is too large leaves the room to what comes behind it.
        let two = app.user().await;
        assert_eq!(two.push(&many(57)).await, vec!["applied"; 57]);
        let batch = new_id().to_string();
        let mut more: Vec<Value> =
            many(4).into_iter().map(|each| with(each, "batch", json!(batch))).collect();
        more.extend(many(5));
        let said = two.push(&more).await;
        assert_eq!(said[..4].iter().filter(|each| *each == refused).count(), 1, "{said:?}");
        assert_eq!(said[..4].iter().filter(|each| *each == "rejected MB001").count(), 3, "{said:?}");
        assert_eq!(said[4..], ["applied", "applied", "applied", refused, refused]);
    }

    // Who else uses the code is refused alone.
    let one = app.user().await;
    app.database
        .execute(
            "CREATE FUNCTION public.refuse_bad() RETURNS trigger LANGUAGE plpgsql AS $do$ BEGIN
                 IF NEW.session_type = 'bad' THEN
                     RAISE EXCEPTION USING ERRCODE = 'MB002', MESSAGE = 'sessions: a user has at most 60 rows here';
                 END IF; RETURN NEW; END $do$;
             CREATE TRIGGER refuse_bad BEFORE INSERT ON public.sessions FOR EACH ROW EXECUTE FUNCTION public.refuse_bad()",
        )
        .await;
    let mut more: Vec<Value> = (0..7).map(|_| learnt()).collect();
    more[2] = session("2026-05-01", json!({ "session_type": "bad" }));
    assert_eq!(
        one.push(&more).await,
        ["applied", "applied", refused, "applied", "applied", "applied", "applied"]
    );
    app.stop().await;
}
