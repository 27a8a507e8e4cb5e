//! Mirrored tables between two devices and a real server: nobody has a schema file, the catalogue is learned at the first sync.

use marea_tests::c_program::root;
use marea_tests::command::Device;
use marea_tests::world::World;
use serde_json::json;

async fn world() -> World {
    let world = World::alone().await;
    let words = std::fs::read_to_string(root().join("tests/fixtures/words.sql")).expect("the fixture");
    world.execute(&words).await;
    world
}

async fn insert(device: &Device, table: &str, row: &str) -> String {
    device.json(&["table", "insert", table, row]).await["key"].as_str().expect("a key").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_from_one_device_to_the_other_and_both_additions_count() {
    let world = world().await;
    let (first, second) = (world.device_of(1), world.device_of(1));
    first.run(&["table", "list", "word_lists", "--json"]).await.exits(1).error("unknown_table");
    for device in [&first, &second] {
        device.json(&["sync"]).await;
    }

    // Offline: what is made now is there at once, and nowhere else.
    let list = insert(&first, "word_lists", r#"{"title": "El mar"}"#).await;
    let item = format!(r#"{{"list_id": "{list}", "word": "ola", "level": "b1", "tags": ["agua", null]}}"#);
    let item = insert(&first, "vocabulary_items", &item).await;
    let review = insert(&first, "word_reviews", &format!(r#"{{"item_id": "{item}"}}"#)).await;
    first.run(&["table", "add", "word_reviews", &review, r#"{"times_seen": 2}"#]).await.exits(0);
    assert_eq!(world.one::<i64>("SELECT count(*) FROM public.word_lists").await, 0);
    let report = first.json(&["sync"]).await;
    assert_eq!((&report["pushed"], &report["rejected"]), (&json!(4), &json!(0)), "{report}");

    second.json(&["sync"]).await;
    let row = second.json(&["table", "get", "vocabulary_items", &item]).await;
    for (column, expected) in [
        ("word", json!("ola")),
        ("level", json!("b1")),
        ("tags", json!(["agua", null])),
        ("word_length", json!(3)),
    ] {
        assert_eq!(row[column], expected, "{row}");
    }
    // Both count offline, one of them sends twice.
    for (device, times) in [(&first, 3), (&second, 4)] {
        let delta = format!(r#"{{"times_seen": {times}}}"#);
        device.run(&["table", "add", "word_reviews", &review, &delta]).await.exits(0);
    }
    for device in [&first, &second, &first] {
        device.json(&["sync"]).await;
    }
    assert_eq!(world.one::<i32>("SELECT times_seen FROM public.word_reviews").await, 9);
    for device in [&first, &second] {
        assert_eq!(device.json(&["table", "get", "word_reviews", &review]).await["times_seen"], 9);
        let joined = "SELECT l.title, i.word, r.times_seen FROM word_lists l JOIN vocabulary_items i ON i.list_id = l.id
            JOIN word_reviews r ON r.item_id = i.id WHERE i.level = ?";
        let found = device.json(&["query", joined, "--param", r#""b1""#]).await;
        assert_eq!(found["rows"], json!([["El mar", "ola", 9]]), "{found}");
    }

    a_file_is_made_of_it(&world, &first).await;

    // Deleted on one device, with all that hangs on it; a late change on the other brings nothing back.
    first.run(&["table", "delete", "word_lists", &list]).await.exits(0);
    second.run(&["table", "update", "word_lists", &list, r#"{"title": "late"}"#]).await.exits(0);
    for device in [&first, &second, &first] {
        device.json(&["sync"]).await;
    }
    for device in [&first, &second] {
        for table in ["word_lists", "vocabulary_items", "word_reviews"] {
            assert_eq!(device.json(&["table", "list", table]).await["rows"], json!([]), "{table}");
        }
        assert_eq!(device.json(&["status"]).await["pending"], 0);
    }
    world.stop().await;
}

/// An export of a mirrored table; deleted, it takes its object along.
async fn a_file_is_made_of_it(world: &World, device: &Device) {
    let objects = "SELECT count(*) FROM storage.objects WHERE bucket_id = 'marea-exports'";
    let made = device.json(&["export", "create", "--type", "vocabulary_items", "--format", "csv"]).await;
    let id = made["id"].as_str().expect("an id");
    assert_eq!(device.json(&["sync"]).await["files"]["uploaded"], 1);
    assert_eq!(device.json(&["export", "show", id]).await["records_count"], 1);
    let copy = device.dir().join("words.csv");
    device.json(&["export", "download", id, "--out", &copy.display().to_string()]).await;
    let text = std::fs::read_to_string(&copy).expect("the file");
    let (head, row) = text.split_once("\r\n").expect("two lines");
    assert!(head.starts_with("id,") && row.contains(",ola,"), "{text}");
    assert_eq!(world.one::<i64>(objects).await, 1);
    // Of what is not mirrored the app makes the file.
    device.json(&["export", "create", "--type", "nothing_mirrored", "--format", "csv"]).await;
    assert_eq!(device.json(&["export", "files"]).await.as_array().map(Vec::len), Some(1));

    device.json(&["export", "delete", id]).await;
    device.run(&["export", "delete", id, "--json"]).await.exits(1).error("not_found");
    device.json(&["sync"]).await;
    assert_eq!(world.one::<i64>(objects).await, 0);
    assert_eq!(device.json(&["export", "files"]).await, json!([]));
}

/// Without a network: listed, corrected, taken back; a file is made of them; and the totals follow on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn past_sessions_are_listed_corrected_and_deleted_and_progress_follows() {
    let world = World::alone().await;
    world.execute("DO $$ BEGIN PERFORM marea.mirror('public.sessions'); END $$").await;
    let (first, second) = (world.device_of(1), world.device_of(1));
    let record =
        ["session", "record", "--type", "qa", "--minutes", "20", "--questions", "8", "--correct", "4"];
    let kept = first.json(&record).await["id"].as_str().expect("an id").to_owned();
    for device in [&first, &second] {
        device.json(&["sync"]).await;
    }
    let mistake = second.json(&record).await["id"].as_str().expect("an id").to_owned();
    let listed = second.json(&["table", "list", "sessions", "--order", "-ended_at"]).await;
    let ids: Vec<&str> =
        listed["rows"].as_array().expect("rows").iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, [mistake.as_str(), kept.as_str()]);
    second.run(&["table", "delete", "sessions", &mistake]).await.exits(0);
    let refused = second.run(&["table", "update", "sessions", &kept, r#"{"qa_correct": 9}"#, "--json"]).await;
    refused.exits(2).error("invalid_input");
    second
        .run(&["table", "update", "sessions", &kept, r#"{"qa_correct": 6, "duration_minutes": 25}"#])
        .await
        .exits(0);
    let status = second.json(&["status"]).await;
    assert_eq!(status["pending"], 1, "what was taken back is not sent: {status}");
    let totals = |progress: &serde_json::Value| {
        ["total_sessions", "total_time_spent_minutes", "total_questions_correct"]
            .map(|of| progress[of].clone())
    };
    let expected = [json!(1), json!(25), json!(6)];
    assert_eq!(totals(&second.json(&["progress"]).await), expected);

    for format in ["csv", "jsonl", "html"] {
        let made = second.json(&["export", "create", "--type", "sessions", "--format", format]).await;
        let copy = second.dir().join(format!("sessions.{format}"));
        let id = made["id"].as_str().expect("an id");
        second.json(&["export", "download", id, "--out", &copy.display().to_string()]).await;
        let text = std::fs::read_to_string(&copy).expect("the file");
        assert!(text.contains(&kept) && !text.contains(&mistake), "{format}: {text}");
    }
    for device in [&second, &first] {
        device.json(&["sync"]).await;
        assert_eq!(totals(&device.json(&["progress"]).await), expected);
    }
    let server =
        "SELECT format('%s %s %s', total_sessions, total_time_spent_minutes, total_questions_correct)
                  FROM public.user_progress WHERE total_sessions > 0";
    assert_eq!(world.one::<String>(server).await, "1 25 6");

    first.run(&["table", "delete", "sessions", &kept]).await.exits(0);
    for device in [&first, &second] {
        device.json(&["sync"]).await;
        assert_eq!(device.json(&["table", "list", "sessions"]).await["rows"], json!([]));
        assert_eq!(device.json(&["progress"]).await["total_sessions"], 0);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_of_a_table_is_refused_kept_and_told_by_name() {
    let world = world().await;
    let device = world.device_of(1);
    device.json(&["sync"]).await;
    for (words, expected) in [
        (
            vec!["table", "insert", "word_of_the_day", r#"{"word": "x", "day": "2026-11-29"}"#],
            "word_of_the_day",
        ),
        (vec!["table", "insert", "vocabulary_items", r#"{"word": "x", "level": "d9"}"#], "level"),
        (vec!["table", "insert", "vocabulary_items", r#"{"word": "x", "word_length": 2}"#], "word_length"),
        (vec!["table", "insert", "vocabulary_items", r#"{"wort": "x"}"#], "wort"),
    ] {
        let refused = device.run(&words).await;
        assert!(refused.code == Some(2) || refused.code == Some(1), "{words:?}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    // What the device takes and the server does not: another learner's word, by a foreign key.
    let foreign = r#"{"item_id": "0c000000-0000-4000-8000-000000000001"}"#;
    insert(&device, "word_reviews", foreign).await;
    let report = device.json(&["sync"]).await;
    assert_eq!((&report["rejected"], &report["pending"]), (&json!(1), &json!(0)), "{report}");
    let refused = device.json(&["queue", "rejected"]).await.to_string();
    assert!(refused.contains("23503") && refused.contains("word_reviews"), "{refused}");

    // The schema file is the server's, and one that is behind is told.
    let file = device.dir().join("marea.schema.json");
    let path = file.display().to_string();
    device.run(&["schema", "--out", &path]).await.exits(0);
    device.run(&["schema", "--out", &path, "--check"]).await.exits(0);
    // As a TypeScript module it is, to the letter, what the npm package writes.
    let module = device.dir().join("marea.schema.ts");
    let module_path = module.display().to_string();
    device.run(&["schema", "--out", &module_path]).await.exits(0);
    device.run(&["schema", "--out", &module_path, "--check"]).await.exits(0);
    assert_eq!(std::fs::read_to_string(&module).expect("a module"), module_of_the_package(&file));
    world
        .execute(
            "ALTER TABLE public.word_lists ADD COLUMN color TEXT; SELECT marea.mirror('public.word_lists')",
        )
        .await;
    let checked = device.run(&["schema", "--out", &path, "--check"]).await.exits(1);
    assert!(checked.stderr.contains("schema_differs"), "{checked:?}");
    assert!(checked.stderr.contains("+ word_lists.color (text, register)"), "{checked:?}");
    let checked = device.run(&["schema", "--out", &module_path, "--check"]).await.exits(1);
    assert!(checked.stderr.contains("+ word_lists.color (text, register)"), "{checked:?}");
    device.json(&["sync"]).await;
    let list = insert(&device, "word_lists", r##"{"title": "El sol", "color": "#fc0"}"##).await;
    device.json(&["sync"]).await;
    assert_eq!(world.one::<String>("SELECT color FROM public.word_lists").await, "#fc0");
    assert_eq!(device.json(&["table", "get", "word_lists", &list]).await["color"], "#fc0");
    world.stop().await;
}

/// What `npx marea-client schema` makes of the catalogue in a file.
fn module_of_the_package(json: &std::path::Path) -> String {
    let script = "const [, package_, file] = process.argv; const { documentIn, renderTypeScript } = await import(package_);
        const { readFileSync } = await import('node:fs');
        process.stdout.write(renderTypeScript(documentIn(readFileSync(file, 'utf8'))))";
    let package = marea_tests::cluster::root().join("wasm/cli/render.mjs");
    let rendered = std::process::Command::new("node")
        .args(["--input-type=module", "-e", script])
        .arg(package)
        .arg(json)
        .output()
        .expect("node");
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    String::from_utf8(rendered.stdout).expect("text")
}
