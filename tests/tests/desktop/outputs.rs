//! What the command writes: all of it, or a failure that says so. Full disks, closed pipes, long queues.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use marea_native::{Client, Config, ExportInput, SessionInput};
use marea_tests::command::{Device, Ran};
use serde_json::{Value, json};

const USER: &str = "11111111-1111-4111-8111-111111111111";
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";
/// More than any list was once cut off at.
const MANY: usize = 10_050;

fn device() -> Device {
    Device::new().with("MAREA_TOKEN", TOKEN)
}

/// Records so many sessions, and gives the mirror's path.
async fn fill(device: &Device, sessions: usize) -> std::path::PathBuf {
    let client =
        Client::open(Config::new(device.dir(), USER.parse().expect("an id"))).await.expect("a client");
    let mut left = sessions;
    while left > 0 {
        let some = left.min(200);
        let session = || SessionInput { duration_minutes: Some(1), ..SessionInput::new("qa") };
        let calls: Vec<_> = (0..some)
            .map(|_| {
                let (client, session) = (client.clone(), session());
                tokio::spawn(async move { client.record_session(session).await })
            })
            .collect();
        for call in calls {
            call.await.expect("a task").expect("recorded");
        }
        left -= some;
    }
    let path = client.mirror_path().to_owned();
    client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    path
}

/// As if the server had refused so many of the oldest.
fn refuse(mirror: &Path, oldest: usize) {
    let connection = rusqlite::Connection::open(mirror).expect("the mirror");
    let sql = "UPDATE mutations SET state = 'rejected', reject_code = 'UP001', reject_message = 'no', settled_ms = recorded_ms
               WHERE seq IN (SELECT seq FROM mutations ORDER BY seq LIMIT ?1)";
    connection.execute(sql, [i64::try_from(oldest).expect("a few")]).expect("refused");
}

fn ids(list: &Value) -> usize {
    let ids = list.as_array().expect("a list").iter().map(|mutation| mutation["id"].to_string());
    ids.collect::<std::collections::BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_listed_exported_retried_and_discarded_whole() {
    let device = device();
    let mirror = fill(&device, 2 * MANY).await;
    refuse(&mirror, MANY);
    for document in
        [device.json(&["queue", "export"]).await, device.run(&["queue", "export"]).await.exits(0).json()]
    {
        assert_eq!((ids(&document["pending"]), ids(&document["rejected"])), (MANY, MANY));
        assert_eq!(document["user_id"], USER);
        assert!(document["exported_at"].is_string());
    }
    let file = device.dir().join("queue.json");
    let words = ["queue", "export", "--output", file.to_str().expect("a path")];
    let said = device.json(&words).await;
    assert_eq!((&said["pending"], &said["rejected"]), (&json!(MANY), &json!(MANY)));
    let kept: Value = serde_json::from_reader(File::open(&file).expect("the file")).expect("JSON");
    assert_eq!((ids(&kept["pending"]), ids(&kept["rejected"])), (MANY, MANY));
    assert_eq!(ids(&device.json(&["queue", "list"]).await["mutations"]), MANY);
    assert_eq!(ids(&device.json(&["queue", "rejected"]).await["mutations"]), MANY);
    let status = device.run(&["status"]).await.exits(0).stdout;
    assert!(status.contains(&format!("{MANY} to be sent ({MANY} sessions")), "{status}");

    let retried = device.json(&["queue", "retry", "--all"]).await;
    assert_eq!(retried["retried"].as_array().map(Vec::len), Some(MANY));
    assert_eq!(device.json(&["status"]).await["pending"], 2 * MANY);
    refuse(&mirror, MANY);
    let discarded = device.json(&["queue", "discard", "--all"]).await;
    assert_eq!(discarded["discarded"].as_array().map(Vec::len), Some(MANY));
    let status = device.json(&["status"]).await;
    assert_eq!((&status["pending"], &status["rejected"]), (&json!(MANY), &json!(0)));
}

/// Runs a command whose standard output goes into a file.
async fn into(device: &Device, words: &[&str], file: &str) -> Ran {
    let out = File::options().write(true).open(file).expect(file);
    let program = device.command(words).stdout(Stdio::from(out)).spawn().expect("marea runs");
    let output = program.wait_with_output().await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran {
        words: words.join(" "),
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_a_failure_of_every_command() {
    let device = device();
    let mirror = fill(&device, 3).await;
    refuse(&mirror, 1);
    let client =
        Client::open(Config::new(device.dir(), USER.parse().expect("an id"))).await.expect("a client");
    let export = ExportInput {
        export_type: "words".to_owned(),
        export_format: "csv".to_owned(),
        ..ExportInput::default()
    };
    let export = client.create_export(export).await.expect("an export").id.to_string();
    client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    for words in [
        &["queue", "export"][..],
        &["queue", "list"],
        &["queue", "rejected"],
        &["queue", "retry", "--all"],
        &["queue", "discard", "--all"],
        &["session", "record", "--minutes", "1"],
        &["event", "record", "--points", "1"],
        &["export", "create", "--type", "words", "--format", "csv"],
        &["export", "update", &export, "--status", "failed"],
        &["export", "list"],
        &["export", "show", &export],
        &["progress"],
        &["activity"],
        &["status"],
        &["key", "list"],
        &["account", "list"],
        &["keychain", "status"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["queue", "--help"],
        &["--version"],
    ] {
        for form in [&[][..], &["--json"]] {
            let words = [words, form].concat();
            let ran = into(&device, &words, "/dev/full").await;
            assert_eq!(ran.code, Some(1), "{ran:#?}");
            assert!(
                ran.stderr.contains("storage_failed") && ran.stderr.contains("No space left"),
                "{ran:#?}"
            );
            let ran = into(&device, &words, "/dev/null").await;
            assert_eq!(ran.code, Some(0), "{ran:#?}");
        }
    }
    // It was done all the same, each time: only the answer went missing.
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 2 + 4);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_the_command_quietly() {
    let device = device();
    fill(&device, 3_000).await;
    for words in [&["queue", "export"][..], &["queue", "list"], &["queue", "list", "--json"]] {
        let mut program = device.command(words).spawn().expect("marea runs");
        drop(program.stdout.take());
        let output = program.wait_with_output().await.expect("it ends");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_output_leaves_no_half_file() {
    let device = device();
    fill(&device, 1_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("queue.json");
    let words = ["queue", "export", "--json", "--output", file.to_str().expect("a path")];
    // Files may have 256 KiB (512 blocks): there is no more room in the middle of half a megabyte.
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$@\"", "sh"]);
    let command = device.command(&words);
    limited.arg(command.as_std().get_program()).args(command.as_std().get_args());
    for (name, value) in command.as_std().get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let output = limited.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("storage_failed") && stderr.contains("queue.json"), "{stderr}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");

    assert_eq!(device.run(&words).await.exits(0).json()["pending"], 1_000);
    // One that is there stays as it is.
    let kept = std::fs::read(&file).expect("the file");
    let message = device.run(&words).await.exits(1).error("storage_failed");
    assert!(message.contains("queue.json"), "{message}");
    assert_eq!(std::fs::read(&file).expect("the file"), kept);
    let nowhere = device.run(&["queue", "export", "--json", "--output", "/nowhere/queue.json"]).await;
    nowhere.exits(1).error("storage_failed");
    let full = device.run(&["man", "--json", "--output", "/proc/marea"]).await;
    full.exits(1).error("storage_failed");
}

/// A list that was cut off would be told to be no list.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_to_import_is_told_to_be_so() {
    let device = device();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.json");
    let file = File::create(&path).expect("a file");
    file.set_len(256 * 1024 * 1024 + 1).expect("a hole");
    let words = ["import", "history", path.to_str().expect("a path"), "--json"];
    let said = device.run(&words).await.exits(2).error("usage");
    assert!(said.contains("more than 256 MiB"), "{said}");
    file.set_len(256 * 1024 * 1024).expect("a smaller one");
    let said = device.run(&words).await.exits(2).error("invalid_input");
    assert!(said.contains("JSON list"), "{said}");
    std::fs::write(&path, [b'[', b'"', 0xff]).expect("a file");
    let said = device.run(&words).await.exits(2).error("usage");
    assert!(said.contains("not UTF-8"), "{said}");
}

/// What a server, or another device, may have written to take over the terminal of whoever reads it.
const HOSTILE: &str =
    "\u{1b}]0;owned\u{7}\u{1b}[2J\u{1b}[31m\u{9b}5mred\r\nerror (forged): line\u{202e}gpj\u{2028}\u{7f}";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_others_wrote_steers_the_terminal() {
    let device = device();
    let mirror = fill(&device, 2).await;
    let words = ["export", "create", "--type", "words", "--format", "csv"];
    let export = device.json(&words).await["id"].as_str().expect("an id").to_owned();
    refuse(&mirror, 1);
    let connection = rusqlite::Connection::open(&mirror).expect("the mirror");
    for (sql, rows) in [
        ("UPDATE mutations SET reject_code = ?1, reject_message = ?1 WHERE state = 'rejected'", 1),
        (
            "UPDATE mutations SET value_json = json_set(value_json, '$.session_type', ?1)
             WHERE table_name = 'sessions'",
            2,
        ),
        ("UPDATE export_history SET export_type = ?1, file_url = ?1, error_message = ?1", 1),
    ] {
        assert_eq!(connection.execute(sql, [HOSTILE]).expect(sql), rows, "{sql}");
    }
    drop(connection);

    let steers = |text: &str| {
        text.chars().any(|letter| {
            letter != '\n' && letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2028}')
        })
    };
    for words in [
        &["queue", "rejected"][..],
        &["queue", "list"],
        &["export", "list"],
        &["export", "show", &export],
        &["status"],
    ] {
        let said = device.run(words).await.exits(0).stdout;
        assert!(said.contains("\\u{1b}]0;owned"), "{words:?}: {said}");
        assert!(!steers(&said) && !said.contains("\nerror (forged)"), "{words:?}: {said:?}");
        let exact = device.run(&[words, &["--json"]].concat()).await.exits(0);
        assert!(!steers(&exact.stdout), "{words:?}: {:?}", exact.stdout);
        if words[0] != "status" {
            let holds = |value: &Value| value.to_string().contains(&json!(HOSTILE).to_string());
            assert!(holds(&exact.json()), "{words:?}: {:?}", exact.stdout);
        }
    }
    let saved = device.run(&["queue", "export"]).await.exits(0);
    assert!(
        !steers(&saved.stdout) && saved.json()["rejected"][0]["refusal"]["message"] == HOSTILE,
        "{saved:?}"
    );

    // What the environment or a folder's name brings.
    for (variable, words) in [
        ("MAREA_URL", &["sync"][..]),
        ("MAREA_DIR", &["status"]),
        ("MAREA_EMAIL", &["account", "sign-out"]),
        ("MAREA_EXPORT_SHOW_ID", &["export", "show"]),
    ] {
        let hostile = format!("/proc/{}", HOSTILE.replace('\n', " "));
        let other =
            Device::new().with("MAREA_TOKEN", TOKEN).with("MAREA_ANON_KEY", "key").with(variable, &hostile);
        for form in [&[][..], &["--json"]] {
            let mut command = other.command(&[words, form].concat());
            command.env(variable, &hostile);
            let ran = command.output().await.expect("marea runs");
            for text in [ran.stdout, ran.stderr] {
                let text = String::from_utf8(text).expect("text");
                assert!(!steers(&text), "{variable}: {text:?}");
            }
        }
    }
}
