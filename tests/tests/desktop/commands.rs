//! The `marea` command's further words, without a server: awards, exports, the queue, variables, charts, completions, the manual.

use marea_tests::command::Device;
use serde_json::{Value, json};

/// A token in form only: `{}` . `{"sub": ...}` . nothing that any server would accept.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";

fn device() -> Device {
    Device::new().with("MAREA_TOKEN", TOKEN)
}

#[tokio::test]
async fn an_award_counts_at_once() {
    let device = device();
    let words = [
        "event",
        "record",
        "--points",
        "50",
        "--mastered",
        "3",
        "--learning",
        "-3",
        "--achievement",
        "first-week",
    ];
    let recorded = device.json(&words).await;
    assert_eq!(recorded["pending"], 1);
    let progress = device.json(&["progress"]).await;
    assert_eq!(
        (&progress["total_points"], &progress["mastered_words_count"]),
        (&json!(50), &json!(3)),
        "{progress}"
    );
    assert!(progress["achievements"]["first-week"].is_string(), "{progress}");
    let nothing = device.run(&["event", "record", "--json"]).await.exits(2);
    assert!(nothing.error("invalid_input").contains("awards nothing"), "{nothing:?}");
    let refused = device.run(&["event", "record", "--points", "-1", "--json"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
}

#[tokio::test]
async fn exports_are_asked_for_changed_listed_and_shown() {
    let device = device();
    assert!(device.run(&["export", "list"]).await.exits(0).stdout.starts_with("No exports."));
    let mut ids = Vec::new();
    for format in ["csv", "json", "pdf"] {
        let filters = r#"{"since": "2026-01-01"}"#;
        let words = ["export", "create", "--type", "vocabulary", "--format", format, "--filters", filters];
        ids.push(device.json(&words).await["id"].as_str().unwrap().to_owned());
    }
    let update = [
        "export",
        "update",
        &ids[1],
        "--status",
        "completed",
        "--records",
        "120",
        "--size",
        "9007199254740993",
    ];
    device.json(&update).await;
    let shown = device.json(&["export", "show", &ids[1]]).await;
    for (column, expected) in [
        ("status", json!("completed")),
        ("records_count", json!(120)),
        ("file_size_bytes", json!("9007199254740993")),
        ("filters", json!({ "since": "2026-01-01" })),
    ] {
        assert_eq!(shown[column], expected, "{column} of {shown}");
    }
    let listed = device.json(&["export", "list", "--status", "pending"]).await;
    assert_eq!(listed["exports"].as_array().unwrap().len(), 2, "{listed}");
    // Page by page, newest first.
    let first = device.json(&["export", "list", "--limit", "2"]).await;
    let last = first["exports"][1]["id"].as_str().unwrap();
    let second = device.json(&["export", "list", "--limit", "2", "--after", last]).await;
    assert_eq!(second["exports"].as_array().unwrap().len(), 1, "{second}");
    let text = device.run(&["export", "show", &ids[1]]).await.exits(0).stdout;
    assert!(text.contains("Status     completed\n") && text.contains("Records    120\n"), "{text}");

    let unknown = "019ab0d2-7c00-7000-8000-000000000001";
    device.run(&["export", "show", unknown, "--json"]).await.exits(1).error("not_found");
    device
        .run(&["export", "update", unknown, "--status", "failed", "--json"])
        .await
        .exits(2)
        .error("invalid_input");
    device.run(&["export", "update", &ids[0], "--json"]).await.exits(2).error("invalid_input");
    device.run(&["export", "create", "--format", "csv", "--json"]).await.exits(2).error("usage");
    device.run(&["export", "list", "--limit", "501", "--json"]).await.exits(2).error("invalid_input");
}

#[tokio::test]
async fn the_queue_is_listed_and_written_to_a_file_that_is_the_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let device = device();
    assert!(device.run(&["queue", "list"]).await.exits(0).stdout.starts_with("Nothing is waiting"));
    let id = device.record(&["--minutes", "12", "--type", "reading"]).await;
    let listed = device.json(&["queue", "list"]).await;
    assert_eq!(
        (&listed["mutations"][0]["id"], &listed["mutations"][0]["values"]["duration_minutes"]),
        (&json!(id), &json!(12))
    );
    let text = device.run(&["queue", "list"]).await.exits(0).stdout;
    assert!(text.starts_with(&id) && text.contains("(reading, 12 min)"), "{text}");

    let file = device.dir().join("queue.json");
    let name = file.display().to_string();
    device.json(&["queue", "export", "--output", &name]).await;
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written["pending"][0]["id"], json!(id), "{written}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    device.run(&["queue", "export", "--output", &name, "--json"]).await.exits(1).error("storage_failed");

    for words in [["queue", "retry", &id], ["queue", "discard", &id]] {
        let ran = device.run(&[&words[..], &["--json"]].concat()).await.exits(1);
        assert!(
            ran.error("not_found").contains("nothing refused"),
            "what waits cannot be thrown away: {ran:?}"
        );
    }
    device.run(&["queue", "retry", "--json"]).await.exits(2).error("usage");
    assert_eq!(device.json(&["status"]).await["pending"], 1);
}

#[tokio::test]
async fn every_value_may_come_from_the_environment() {
    let device = device()
        .with("MAREA_SESSION_RECORD_MINUTES", "17")
        .with("MAREA_SESSION_RECORD_TYPE", "reading")
        .with("MAREA_ACTIVITY_DAYS", "3")
        .with("MAREA_JSON", "true");
    let recorded = device.run(&["session", "record"]).await.exits(0).json();
    assert_eq!(recorded["pending"], 1);
    // The command line goes before.
    device.run(&["session", "record", "--minutes", "3"]).await.exits(0);
    let activity = device.run(&["activity"]).await.exits(0).json();
    assert_eq!(activity["days"][0]["minutes"], 20, "{activity}");
    let wrong =
        device.with("MAREA_SESSION_RECORD_MINUTES", "many").run(&["session", "record"]).await.exits(2);
    wrong.error("usage");
}

#[tokio::test]
async fn a_terminal_gets_a_calendar_and_a_pipe_plain_text() {
    let device = device();
    device.record(&["--minutes", "30"]).await;
    let plain = device.run(&["activity"]).await.exits(0).stdout;
    assert!(plain.starts_with("Day  ") && !plain.contains('\u{1b}'), "{plain}");
    let coloured =
        Device::new().with("MAREA_TOKEN", TOKEN).with("MAREA_DIR", device.dir().display().to_string());
    let drawn = coloured.command(&["activity"]).env("CLICOLOR_FORCE", "1").output().await.unwrap().stdout;
    let drawn = String::from_utf8(drawn).unwrap();
    assert!(drawn.contains('█') && drawn.contains("Mon") && drawn.contains('\u{1b}'), "{drawn}");
    let forced = coloured
        .command(&["activity"])
        .env("CLICOLOR_FORCE", "1")
        .env("NO_COLOR", "1")
        .output()
        .await
        .unwrap();
    let drawn = String::from_utf8(forced.stdout).unwrap();
    assert!(drawn.contains('█') && !drawn.contains('\u{1b}'), "{drawn}");
    // Scripts are not disturbed by it.
    let forced = coloured.command(&["activity", "--json"]).env("CLICOLOR_FORCE", "1").output().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&forced.stdout).is_ok(), "{forced:?}");
}

#[tokio::test]
async fn completions_and_the_manual_know_every_command() {
    let device = Device::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = device.run(&["completions", shell]).await.exits(0).stdout;
        for word in ["session", "doctor", "queue", "watch"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    let page = device.run(&["man"]).await.exits(0).stdout;
    assert!(page.contains(".TH marea 1") && page.contains("Exit codes"), "{page}");
    let folder = device.dir().join("man1");
    device.json(&["man", "--output", &folder.display().to_string()]).await;
    for name in ["marea.1", "marea-sync.1", "marea-export-create.1"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
}
