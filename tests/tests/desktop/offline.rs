//! The `marea` command where there is no server at all: recording, reading, wrong command lines, silence and refusal of
//! the network. Needs no backend.

use std::path::Path;

use marea_tests::command::Device;
use serde_json::json;
use tokio::net::TcpListener;

const USER: &str = "11111111-1111-4111-8111-111111111111";
/// A token in form only: `{}` . `{"sub": USER}` . nothing that any server would accept.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";

fn device() -> Device {
    Device::new().with("MAREA_TOKEN", TOKEN)
}

#[tokio::test]
async fn what_is_recorded_counts_at_once_without_a_server() {
    let device = device();
    let first =
        device.json(&["session", "record", "--minutes", "12", "--questions", "10", "--correct", "8"]).await;
    assert_eq!(first["pending"], 1);
    let second = device.json(&["session", "record", "--words", "5", "--data", r#"{"deck":"verbs"}"#]).await;
    assert_eq!(second["pending"], 2);
    assert_ne!(first["id"], second["id"]);

    let progress = device.json(&["progress"]).await;
    for (column, expected) in [
        ("user_id", json!(USER)),
        ("total_sessions", json!(2)),
        ("total_time_spent_minutes", json!(12)),
        ("total_questions_answered", json!(10)),
        ("average_accuracy", json!(80.0)),
        ("total_vocabulary_learned", json!(5)),
        ("current_streak_days", json!(1)),
    ] {
        assert_eq!(progress[column], expected, "{column} of {progress}");
    }
    let activity = device.json(&["activity", "--days", "2"]).await;
    assert_eq!(activity["days"].as_array().unwrap().len(), 1, "{activity}");
    assert_eq!(activity["days"][0]["sessions"], 2);
    assert_eq!(activity["days"][0]["day"], progress["last_active_on"]);

    let status = device.json(&["status"]).await;
    assert_eq!((&status["pending"], &status["rejected"]), (&json!(2), &json!(0)), "{status}");
    assert_eq!((&status["storage"], &status["connection"]), (&json!("file"), &json!("unknown")), "{status}");
    assert!(Path::new(status["mirror"].as_str().unwrap()).is_file(), "{status}");
}

#[tokio::test]
async fn the_same_id_again_records_nothing_more() {
    let device = device();
    let id = "019ab0d2-7c00-7000-8000-000000000001";
    for _ in 0..3 {
        let recorded = device.json(&["session", "record", "--id", id, "--minutes", "5"]).await;
        assert_eq!((&recorded["id"], &recorded["pending"]), (&json!(id), &json!(1)));
    }
    assert_eq!(device.json(&["progress"]).await["total_time_spent_minutes"], 5);
}

#[tokio::test]
async fn many_programs_at_once_on_a_new_folder_lose_nothing() {
    // Opening is where they meet: once, a program that looked while another made the mirror called it damaged.
    for _ in 0..10 {
        let device = device();
        let record = || device.command(&["session", "record", "--minutes", "1", "--json"]).spawn().unwrap();
        let running: Vec<_> = (0..12).map(|_| record()).collect();
        for program in running {
            let output = program.wait_with_output().await.unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        assert_eq!(device.json(&["progress"]).await["total_sessions"], 12);
        assert_eq!(device.json(&["status"]).await["pending"], 12);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_mirror_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let device = device();
    // A folder that others may look into.
    std::fs::create_dir_all(device.dir()).unwrap();
    std::fs::set_permissions(device.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    device.record(&["--minutes", "5"]).await;
    for file in std::fs::read_dir(device.dir()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

#[tokio::test]
async fn a_session_counts_for_the_learners_own_day() {
    let device = device();
    let ended = ["--started-at", "2026-03-01T23:50:00-05:00", "--ended-at", "2026-03-02T00:10:00-05:00"];
    device.record(&ended).await;
    device.record(&[&ended[..], &["--local-date", "2026-03-01"]].concat()).await;
    let activity = device.json(&["activity", "--from", "2026-03-01", "--to", "2026-03-03"]).await;
    let first = &activity["days"][0];
    assert_eq!((&first["day"], &first["minutes"]), (&json!("2026-03-01"), &json!(20)), "{activity}");
    let minutes: i64 =
        activity["days"].as_array().unwrap().iter().map(|day| day["minutes"].as_i64().unwrap()).sum();
    assert_eq!(minutes, 40, "{activity}");
}

#[tokio::test]
async fn people_get_plain_aligned_text() {
    let device = device();
    let empty = device.run(&["progress"]).await.exits(0);
    assert!(empty.stdout.starts_with("Nothing recorded yet"), "{empty:?}");
    let recorded =
        device.run(&["session", "record", "--minutes", "80", "--points-are-not-here"]).await.exits(2);
    assert_eq!(recorded.stdout, "", "{recorded:?}");
    let recorded = device.run(&["session", "record", "--minutes", "80"]).await.exits(0);
    assert!(recorded.stdout.ends_with("(1 waiting to be sent)\n"), "{recorded:?}");
    let progress = device.run(&["progress"]).await.exits(0);
    assert!(
        progress.stdout.contains("\nSessions      1, 1 h 20 min in all, 1 h 20 min each\n"),
        "{}",
        progress.stdout
    );
    let activity = device.run(&["activity"]).await.exits(0);
    let lines: Vec<&str> = activity.stdout.lines().collect();
    assert_eq!(lines[0], "Day         Sessions  Minutes  Questions  Correct  Words  Points");
    assert_eq!(lines[2], "Total              1       80          0        0      0       0");
    let status = device.run(&["status"]).await.exits(0);
    assert!(
        status.stdout.contains("Waiting    1 to be sent (1 session; the oldest of "),
        "{}",
        status.stdout
    );
    assert!(status.stdout.contains("Run `marea sync`"), "{}", status.stdout);
}

#[tokio::test]
async fn a_wrong_command_line_ends_with_2_and_one_json_object() {
    let wrong: &[&[&str]] = &[
        &["sing"],
        &["session"],
        &["session", "record", "--minutes", "many"],
        &["session", "record", "--minutes", "-1"],
        &["session", "record", "--type", ""],
        &["session", "record", "--questions", "1", "--correct", "2"],
        &["session", "record", "--id", "7"],
        &["session", "record", "--ended-at", "yesterday"],
        &["session", "record", "--local-date", "2026-02-30"],
        &["session", "record", "--data", "[]"],
        &["activity", "--days", "0"],
        &["activity", "--days", "3", "--from", "2026-01-01"],
        &["activity", "--from", "2026-01-02", "--to", "2026-01-01"],
        &["sync"],
    ];
    let device = device();
    for words in wrong {
        let ran = device.run(&[words, &["--json"][..]].concat()).await.exits(2);
        assert_eq!(ran.stdout, "", "{ran:?}");
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert!(["usage", "invalid_input"].contains(&error["error"]["code"].as_str().unwrap()), "{ran:?}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty(), "{ran:?}");
        // The same for people, on stderr as well.
        let ran = device.run(words).await.exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
    }
    assert_eq!(device.json(&["status"]).await["pending"], 0, "none of them wrote anything");
    Device::new().run(&["progress", "--json"]).await.exits(2).error("usage");
    Device::new()
        .with("MAREA_TOKEN", "nonsense")
        .run(&["progress", "--json"])
        .await
        .exits(2)
        .error("invalid_input");
}

#[tokio::test]
async fn secrets_and_what_the_learner_wrote_are_never_repeated() {
    let device = device()
        .with("MAREA_PASSWORD", "pass-secret")
        .with("MAREA_ANON_KEY", "anon-secret")
        .with("MAREA_URL", "http://127.0.0.1:1");
    let secrets = ["pass-secret", "anon-secret", TOKEN, "diary-secret"];
    let lines: &[&[&str]] = &[
        &["--help"],
        &["session", "record", "--help"],
        &["session", "record", "--data", "{\"note\": diary-secret}"],
        &["session", "record", "--data", "\"diary-secret\""],
        &["session", "record", "--data", "{\"note\": \"diary-secret\"}"],
        &["status"],
        &["sync"],
        &["nonsense"],
    ];
    for words in lines {
        for form in [&["--json"][..], &[]] {
            let ran = device.run(&[words, form].concat()).await;
            for secret in secrets {
                assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} in {ran:#?}");
            }
        }
    }
}

#[tokio::test]
async fn help_and_version_are_answers() {
    let device = Device::new();
    let help = device.run(&["--help"]).await.exits(0);
    assert!(help.stdout.contains("Examples:") && help.stdout.contains("Exit codes:"), "{}", help.stdout);
    assert!(device.run(&["session", "record", "--help"]).await.exits(0).stdout.contains("--questions"));
    // Who has not said enough is taught, whatever the environment gives.
    assert!(device.run(&[]).await.exits(2).stderr.contains("Exit codes:"));
    let queue = device.run(&["queue"]).await.exits(2);
    assert!(queue.stderr.contains("Usage: marea queue") && queue.stderr.contains("discard"), "{queue:?}");
    assert!(device.run(&["--version"]).await.exits(0).stdout.starts_with("marea "));
    assert!(!device.dir().exists(), "asking for help leaves nothing behind");
}

#[tokio::test]
async fn an_unreachable_server_ends_with_3_and_keeps_the_queue() {
    // Bound and closed again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let device =
        device().with("MAREA_URL", format!("http://127.0.0.1:{port}")).with("MAREA_ANON_KEY", "anon");
    device.record(&["--minutes", "5"]).await;
    let ran = device.run(&["sync", "--json"]).await.exits(3);
    assert!(ran.error("offline").contains("1 kept"), "{ran:?}");
    let report = ran.json();
    assert_eq!((&report["outcome"], &report["pending"]), (&json!("offline"), &json!(1)));
    let status = device.json(&["status"]).await;
    assert_eq!(status["pending"], 1, "{status}");
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_on() {
    // Accepts connections (the system does, up to the backlog) and says nothing, ever.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let with_token = device().with("MAREA_URL", &url).with("MAREA_ANON_KEY", "anon");
    with_token.record(&["--minutes", "5"]).await;
    let signing_in = Device::new()
        .with("MAREA_URL", &url)
        .with("MAREA_ANON_KEY", "anon")
        .with("MAREA_EMAIL", "ada@example.com")
        .with("MAREA_PASSWORD", "pass-secret");
    let (sync, sign_in) =
        tokio::join!(with_token.run(&["sync", "--json"]), signing_in.run(&["progress", "--json"]));
    sync.exits(3).error("offline");
    sign_in.exits(3).error("offline");
    let status = with_token.json(&["status"]).await;
    assert_eq!(
        (&status["pending"], &status["last_error"]["code"]),
        (&json!(1), &json!("timeout")),
        "{status}"
    );
    drop(silent);
}

#[tokio::test]
async fn nobody_known_and_no_network_says_so() {
    let device = Device::new()
        .with("MAREA_URL", "http://127.0.0.1:1")
        .with("MAREA_ANON_KEY", "anon")
        .with("MAREA_EMAIL", "ada@example.com")
        .with("MAREA_PASSWORD", "pass-secret");
    for words in [&["session", "record", "--minutes", "5"][..], &["progress"], &["sync"]] {
        let ran = device.run(&[words, &["--json"]].concat()).await.exits(3);
        assert!(ran.error("offline").contains("sign in once"), "{ran:?}");
    }
    device.with("MAREA_PASSWORD", "").run(&["progress", "--json"]).await.exits(2).error("usage");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_one_clear_line() {
    let device = device();
    std::fs::write(device.dir(), "a file where the folder should be").unwrap();
    let ran = device.run(&["session", "record", "--minutes", "5", "--json"]).await.exits(1);
    assert!(ran.error("storage_failed").contains("data"), "{ran:?}");
}

#[tokio::test]
async fn a_damaged_mirror_is_set_aside_as_it_was_and_told() {
    let device = device();
    std::fs::create_dir_all(device.dir()).unwrap();
    let mirror = device.dir().join(format!("{USER}.sqlite3"));
    let damaged = b"this is not a database, but the learner may know what it is".repeat(40);
    std::fs::write(&mirror, &damaged).unwrap();
    let recorded = device.run(&["session", "record", "--minutes", "5", "--json"]).await;
    recorded.json();
    let status = device.run(&["status", "--json"]).await.json();
    assert_eq!((&status["pending"], &status["last_error"]["code"]), (&json!(1), &json!("mirror_set_aside")));
    let aside = status["set_aside"][0].as_str().expect("a path");
    // Whoever only records learns of it too, at once and until a sync has filled the new mirror.
    let warning: serde_json::Value = serde_json::from_str(&recorded.stderr).expect("one JSON object");
    assert_eq!(warning["warning"]["code"], "mirror_set_aside");
    assert!(warning["warning"]["message"].as_str().unwrap().contains(aside), "{warning}");
    let for_people = device.run(&["progress"]).await;
    assert_eq!(for_people.code, Some(0), "{for_people:?}");
    assert!(for_people.stderr.starts_with("warning (mirror_set_aside): "), "{for_people:?}");
    assert_eq!(for_people.stderr.lines().count(), 1, "{for_people:?}");
    assert_eq!(std::fs::read(aside).unwrap(), damaged);
    // Those whose own words include it say it once.
    for words in [&["status"][..], &["status", "--json"], &["doctor"], &["doctor", "--json"]] {
        let report = device.run(words).await;
        assert!(!report.stderr.contains("warning") && report.stdout.contains(aside), "{report:?}");
    }
    let told = device.run(&["status"]).await.stdout;
    assert_eq!((told.matches("was damaged").count(), told.matches(aside).count()), (1, 1), "{told}");
    assert!(told.contains("Run `marea sync`"), "{told}");
}
