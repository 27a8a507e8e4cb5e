//! Declaring tables, and what happens to them afterwards: all that is missing named at once, columns added, dropped, renamed, widened,
//! tables dropped and declared again, with devices at work all the time.

use marea_tests::cluster::Database;
use marea_tests::mirrored::{MirroredApp, pull, pull_after, rows, send};
use marea_tests::sql::{hlc, mutation, new_id};
use serde_json::{Value, json};

const RULES: &str = r#"'{"source": "once", "updated_at": "server"}'"#;

/// Everything that mirrored tables have made and know.
async fn state(database: &Database) -> String {
    database
        .text(
            "SELECT concat_ws(E'\\n', (SELECT string_agg(t::text, ' ') FROM marea.tables AS t), (SELECT hash FROM marea.catalogue),
               (SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgname LIKE 'marea_mirror%'),
               (SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE proname ~ '^mirror_[0-9]'))",
        )
        .await
}

async fn drift(database: &Database) -> Vec<String> {
    let found = database
        .client
        .query("SELECT name || ': ' || problem FROM marea.mirror_drift() ORDER BY 1", &[])
        .await;
    found.expect("a list").iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_missing_is_named_before_anything_is_changed() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let database = &app.database;
    database
        .execute(
            "CREATE TABLE public.\"Odd Name\" (a integer, b integer, who uuid, find tsvector, clocks text, \"A\" text, n text, many integer,
                 PRIMARY KEY (a, b));
             REVOKE ALL ON public.\"Odd Name\" FROM authenticated;
             CREATE TABLE public.numbered (id bigint PRIMARY KEY, user_id uuid NOT NULL);
             CREATE TABLE public.meta (id uuid PRIMARY KEY, user_id uuid NOT NULL);
             CREATE VIEW public.seen AS SELECT 1 AS id;",
        )
        .await;
    let before = state(database).await;
    let refused = database
        .sql(&[r#"SELECT marea.mirror('public."Odd Name"', '{"n": "counter", "many": "sum", "gone": "once"}', owner => 'who')"#])
        .await
        .fails_with("cannot be mirrored; nothing was changed");
    for problem in [
        "name 'Odd Name': must be 1 to 63 of a-z, 0-9 and _",
        "key: there is no primary key of one column",
        "owner who: must be NOT NULL (ALTER TABLE public.\"Odd Name\" ALTER who SET NOT NULL)",
        "column find: type pg_catalog.tsvector is not mirrored; leave it on the server with rules => '{\"find\": \"none\"}'",
        "column clocks: the mirror uses this name itself",
        "column \"A\": differs from another one by upper and lower case alone",
        "rules: n cannot be a counter; smallint, integer, bigint and numeric can",
        "rules: many cannot be \"sum\"; there are register, once, counter, union, server and none",
        "rules: there is no column gone",
        "row level security is off (ALTER TABLE public.\"Odd Name\" ENABLE ROW LEVEL SECURITY)",
        "no policy lets authenticated SELECT",
        "no policy lets authenticated INSERT",
        "no policy lets authenticated UPDATE",
        "authenticated may not SELECT",
    ] {
        assert!(refused.stderr.contains(problem), "{problem} is not in {}", refused.stderr);
    }
    for (call, problem) in [
        ("'public.numbered'", "key id: must be uuid or text"),
        ("'public.meta'", "name 'meta': the devices use it themselves"),
        ("'public.seen'", "it is no ordinary table"),
        ("'public.user_progress'", "Marea has code of its own for it"),
        ("'marea.tables'", "schema marea is not the app's"),
        ("'public.word_lists', owner => 'nobody'", "owner: there is no column nobody"),
        ("'public.word_lists', owner => 'title'", "owner title: must be uuid"),
        (
            "'public.word_lists', name => 'word_reviews'",
            "name 'word_reviews': is taken by public.word_reviews",
        ),
        ("'public.word_lists', name => 'sqlite_x'", "name 'sqlite_x': the devices use it themselves"),
        ("'public.word_lists', '{\"id\": \"once\"}'", "rules: id is the key or the owner"),
        (
            "'public.vocabulary_items', '{\"word_length\": \"register\"}'",
            "rules: word_length is computed by Postgres",
        ),
        (
            "'public.saved_descriptions', '{\"phrases\": \"union\"}'",
            "rules: phrases cannot be a union; jsonb can",
        ),
        ("'public.word_lists', '[]'", "rules: must be an object"),
    ] {
        database.sql(&[&format!("SELECT marea.mirror({call})")]).await.fails_with(problem);
    }
    assert_eq!(state(database).await, before, "refusals change nothing");
    assert_eq!(drift(database).await, Vec::<String>::new());
    // Once more, and once more as a migration: nothing changes either, but when it was.
    database.execute(&format!("SELECT marea.mirror('public.vocabulary_items', {RULES})")).await;
    database.migration("002_sync_layer.sql").await.succeeds();
    let hash = |state: &str| state.lines().nth(1).map(str::to_owned);
    assert_eq!(hash(&state(database).await), hash(&before));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_altered_goes_on_and_is_brought_up_to_date() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let (database, one) = (&app.database, app.user().await);
    let item = new_id().to_string();
    let table = "vocabulary_items";
    let merge = |n: u32, values: Value| mutation(table, "merge", Some(&item), &hlc(n), values);
    let insert = mutation(
        table,
        "insert",
        Some(&item),
        &hlc(1),
        json!({ "word": "x", "tags": ["a"], "translation": "t" }),
    );
    assert_eq!(send(&one, &[insert]).await, ["applied"]);
    let cursor = pull(&one).await["cursor"].clone();

    // Dropped, added, renamed, widened, a label more: the app's statements, reading and writing go on with what is left.
    database
        .execute(
            "ALTER TABLE public.vocabulary_items DROP COLUMN tags, ADD COLUMN note text, ALTER COLUMN source TYPE varchar(300);
             ALTER TABLE public.vocabulary_items RENAME COLUMN translation TO meaning;
             ALTER TYPE public.word_level ADD VALUE 'c3';",
        )
        .await;
    database.execute("UPDATE public.vocabulary_items SET word = 'y', note = 'n'").await;
    assert_eq!(
        drift(database).await,
        [
            "vocabulary_items: column level has changed",
            "vocabulary_items: column meaning is new",
            "vocabulary_items: column note is new",
            "vocabulary_items: column source has changed",
            "vocabulary_items: column tags is gone",
            "vocabulary_items: column translation is gone",
        ]
    );
    let health =
        "SELECT count(*) FROM marea.health WHERE measure = 'drift' AND subject LIKE 'vocabulary_items: %'";
    assert_eq!(database.text(health).await, "6");
    let found = rows(&pull_after(&one, &cursor).await, table).remove(0);
    assert_eq!((&found["word"], found.get("tags"), found.get("note")), (&json!("y"), None, None));
    assert_eq!(rows(&json!({ "packed": {} }), table).len(), 0);
    let said = send(
        &one,
        &[
            merge(10, json!({ "level": "c3" })),
            merge(11, json!({ "tags": [] })),
            merge(12, json!({ "list_id": null })),
        ],
    )
    .await;
    assert_eq!(
        said,
        [
            "22023: values.level: must be one of a1, a2, b1, b2, c1, c2",
            "22023: table: has other columns on the server than its catalogue says",
            "applied"
        ]
    );
    // Brought up to date; rows that have something in the new columns come again.
    let cursor = pull(&one).await["cursor"].clone();
    database.execute(&format!("SELECT marea.mirror('public.vocabulary_items', {RULES})")).await;
    assert_eq!(drift(database).await, Vec::<String>::new());
    let found = rows(&pull_after(&one, &cursor).await, table).remove(0);
    assert_eq!(
        (&found["note"], &found["meaning"], found.get("translation")),
        (&json!("n"), &json!("t"), None)
    );
    let said = send(
        &one,
        &[
            merge(20, json!({ "level": "c3" })),
            merge(21, json!({ "tags": [] })),
            merge(22, json!({ "note": "m" })),
        ],
    )
    .await;
    assert_eq!(said, ["applied", "22023: values.tags: unknown column", "applied"]);

    // Other rules; NOT NULL; row level security off; a policy dropped; a trigger disabled.
    database
        .execute(
            r#"SELECT marea.mirror('public.vocabulary_items', '{"updated_at": "server", "note": "once"}')"#,
        )
        .await;
    let said = send(&one, &[merge(30, json!({ "note": "o" })), merge(31, json!({ "source": "s" }))]).await;
    assert_eq!(said, ["22023: values.note: is set once and never changes", "applied"]);
    database
        .execute(
            "UPDATE public.vocabulary_items SET meaning = ''; ALTER TABLE public.vocabulary_items ALTER COLUMN meaning SET NOT NULL,
                 DISABLE ROW LEVEL SECURITY, DISABLE TRIGGER marea_mirror_updated; DROP POLICY own ON public.vocabulary_items;",
        )
        .await;
    let found = drift(database).await.join("\n");
    for problem in [
        "column meaning has changed",
        "row level security is off",
        "no policy lets authenticated SELECT",
        "trigger marea_mirror_updated is missing or disabled",
    ] {
        assert!(found.contains(problem), "{problem} is not in {found}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_dropped_renamed_and_declared_again() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let (database, one) = (&app.database, app.user().await);
    let [answer, list] = ["q-1".to_owned(), new_id().to_string()];
    let made = [
        mutation("question_answers", "insert", Some(&answer), &hlc(1), json!({ "question": "?" })),
        mutation("word_lists", "insert", Some(&list), &hlc(1), json!({ "title": "t" })),
    ];
    assert_eq!(send(&one, &made).await, ["applied"; 2]);

    // Renamed: its name on the wire stays, also before somebody says so.
    database.execute("ALTER TABLE public.question_answers RENAME TO answers").await;
    database.execute("UPDATE public.answers SET answer = '!'").await;
    assert_eq!(rows(&pull(&one).await, "question_answers")[0]["answer"], "!");
    let merge = mutation("question_answers", "merge", Some(&answer), &hlc(9), json!({ "question": "??" }));
    assert_eq!(send(&one, &[merge]).await, ["applied"]);
    assert_eq!(drift(database).await, ["question_answers: the table is public.answers now"]);
    database.execute("SELECT marea.mirror('public.answers')").await;
    assert_eq!(drift(database).await, Vec::<String>::new());
    assert_eq!(rows(&pull(&one).await, "question_answers").len(), 1);
    // A key of another type names other rows.
    database.execute("ALTER TABLE public.answers ALTER COLUMN id TYPE uuid USING md5(id)::uuid").await;
    database
        .sql(&["SELECT marea.mirror('public.answers')"])
        .await
        .fails_with("key id: was text when the table was mirrored");
    pull(&one).await;

    // Unmirrored, and mirrored again under other rules.
    database.execute("SELECT marea.unmirror('public.answers')").await;
    assert_eq!(
        database
            .text("SELECT count(*) FROM marea.rows WHERE table_name = 'question_answers' AND NOT deleted")
            .await,
        "0"
    );
    assert_eq!(database.text("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'public.answers'::regclass AND NOT tgisinternal").await, "0");
    let gone = mutation("question_answers", "merge", Some(&answer), &hlc(9), json!({ "question": "??" }));
    assert_eq!(send(&one, &[gone]).await, ["22023: table: not mirrored"]);
    database
        .execute(r#"SELECT marea.mirror('public.answers', '{"question": "once"}', write => false)"#)
        .await;
    let found = rows(&pull(&one).await, "answers");
    assert_eq!((found.len(), &found[0]["question"]), (1, &json!("??")));

    // Dropped without a word: its rows stay away, the sync goes on, and writes to it are refused by name.
    database.execute("DROP TABLE public.word_lists CASCADE").await;
    let merge = mutation("word_lists", "merge", Some(&list), &hlc(9), json!({ "title": "u" }));
    assert_eq!(send(&one, &[merge]).await, ["22023: table: is gone from the server"]);
    assert_eq!(rows(&pull(&one).await, "word_lists"), Vec::<Value>::new());
    assert_eq!(drift(database).await, ["word_lists: the table is gone"]);
    assert_eq!(database.text("SELECT marea.unmirror_dropped()").await, "{word_lists}");
    assert_eq!(drift(database).await, Vec::<String>::new());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_there_get_their_versions_in_batches() {
    let app = MirroredApp::start(&["words.sql"]).await;
    let (database, one) = (&app.database, app.user().await);
    let me = one.user;
    database.execute("SELECT marea.unmirror('public.question_answers')").await;
    let rows_of = |from: i32, to: i32| {
        format!(
            "INSERT INTO public.question_answers (id, user_id, question) SELECT 'q-' || n, '{me}', 'n' FROM generate_series({from}, {to}) AS n"
        )
    };
    database.execute(&rows_of(1, 3)).await;
    database.execute(&format!("INSERT INTO public.question_answers (id, user_id, question) VALUES (repeat('k', 1001), '{me}', 'its key is too long')")).await;
    let said = database.text("SELECT marea.mirror('public.question_answers')").await;
    assert_eq!(
        said, "public.question_answers is mirrored as question_answers",
        "a small table is done at once"
    );
    assert_eq!(rows(&pull(&one).await, "question_answers").len(), 3);

    database.execute("SELECT marea.unmirror('public.question_answers')").await;
    database.execute(&rows_of(4, 10_100)).await;
    let said = database.text("SELECT marea.mirror('public.question_answers')").await;
    assert!(said.ends_with("CALL marea.mirror_existing('public.question_answers')"), "{said}");
    assert_eq!(drift(database).await, ["question_answers: rows that were there have no version yet"]);
    // A row that has none yet can be written all the same; one that is locked does not hold up the rest.
    let insert = mutation("question_answers", "insert", Some("q-5"), &hlc(1), json!({ "question": "mine" }));
    assert_eq!(send(&one, &[insert]).await, ["applied"]);
    let holder = database.connect().await;
    holder
        .batch_execute("BEGIN; SELECT FROM public.question_answers WHERE id = 'q-7' FOR UPDATE")
        .await
        .expect("held");
    let one_batch = "SELECT marea.mirror_batch('public.question_answers', 4000, false)";
    assert_eq!(database.text(one_batch).await, "4000");
    holder.batch_execute("COMMIT").await.expect("let go");
    let done =
        database.sql(&["CALL marea.mirror_existing('public.question_answers', 2000)"]).await.succeeds();
    assert!(
        done.stderr.contains("all rows of question_answers have a version")
            || done.stderr.contains("all rows of public.question_answers have a version"),
        "{done:?}"
    );
    assert_eq!(drift(database).await, Vec::<String>::new());
    let without = format!("SELECT count(*) FROM public.question_answers AS q WHERE octet_length(q.id) < 1000 AND NOT EXISTS (SELECT FROM marea.rows AS r
        WHERE r.user_id = '{me}' AND r.table_name = 'question_answers' AND r.row_key = q.id AND r.version IS NOT NULL)");
    assert_eq!(database.text(&without).await, "0");
    // Twice changes nothing.
    let clock = format!("SELECT version FROM marea.clocks WHERE user_id = '{me}'");
    let before = database.text(&clock).await;
    database.sql(&["CALL marea.mirror_existing('public.question_answers')"]).await.succeeds();
    assert_eq!(database.text(&clock).await, before);
    app.stop().await;
}
