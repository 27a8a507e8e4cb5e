//! The `marea` command against the real backend: recorded offline, sent once, seen on the next device, whatever the
//! network does to the answers.

use marea_tests::backend::SYNC;
use marea_tests::c_program::root;
use marea_tests::command::Device;
use marea_tests::world::{Fault, FaultKind, PASSWORD, World};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn recorded_offline_it_reaches_postgres_once_and_the_second_device() {
    let world = World::shared().await;
    let first = world.device_of(1);
    let id = first.record(&["--minutes", "12", "--questions", "10", "--correct", "8", "--words", "5"]).await;
    assert_eq!(world.sessions_of(1).await.len(), 0, "recording does not use the network");

    let report = first.json(&["sync"]).await;
    for (field, expected) in
        [("outcome", json!("done")), ("pushed", json!(1)), ("rejected", json!(0)), ("pending", json!(0))]
    {
        assert_eq!(report[field], expected, "{field} of {report}");
    }
    assert_eq!(world.sessions_of(1).await.len(), 1);
    assert_eq!(world.total_sessions_of(1).await, 1);
    assert_eq!(world.sessions_of(1).await, [id]);

    let again = first.json(&["sync"]).await;
    assert_eq!((&again["pushed"], &again["pending"]), (&json!(0), &json!(0)), "{again}");
    assert_eq!(world.total_sessions_of(1).await, 1);

    let second = world.device_of(1);
    assert_eq!(second.json(&["progress"]).await["total_sessions"], 0);
    second.record(&["--minutes", "3"]).await;
    second.json(&["sync"]).await;
    first.json(&["sync"]).await;
    let (seen_first, seen_second) = (first.json(&["progress"]).await, second.json(&["progress"]).await);
    assert_eq!(seen_first, seen_second);
    assert_eq!(seen_first["total_sessions"], 2);
    assert_eq!(seen_first["total_time_spent_minutes"], 15);
    assert_eq!(first.json(&["activity"]).await, second.json(&["activity"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_and_counts_once() {
    let world = World::alone().await;
    let device = world.device_of(1);
    for _ in 0..3 {
        device.record(&["--minutes", "4"]).await;
    }
    world.fault(Fault::new(FaultKind::DropAnswer, SYNC, 1));
    let lost = device.run(&["sync", "--json"]).await.exits(3);
    lost.error("offline");
    assert_eq!(lost.json()["pending"], 3);
    assert_eq!(world.sessions_of(1).await.len(), 3, "the server had done the work");
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 3);

    device.json(&["sync"]).await;
    assert_eq!((world.sessions_of(1).await.len(), world.total_sessions_of(1).await), (3, 3));
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 3);
    assert_eq!(device.json(&["status"]).await["pending"], 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_on_the_way_keeps_the_queue_until_it_is_over() {
    let world = World::alone().await;
    let device = world.device_of(1);
    for (fault, exit, code) in [
        (Fault::new(FaultKind::ResetMidBody, SYNC, 1), 3, "offline"),
        (Fault::new(FaultKind::Status, SYNC, 1).with_status(503), 1, "server_failed"),
        (Fault::new(FaultKind::Status, SYNC, 1).with_status(500), 1, "server_failed"),
        (Fault::new(FaultKind::Offline, SYNC, 1), 3, "offline"),
    ] {
        let id = device.record(&["--minutes", "1"]).await;
        let pending = device.json(&["status"]).await["pending"].clone();
        let named = format!("{fault:?}");
        world.fault(fault);
        let failed = device.run(&["sync", "--json"]).await.exits(exit);
        failed.error(code);
        assert_eq!(failed.json()["pending"], pending, "{named} lost something");
        device.json(&["sync"]).await;
        let arrived: i64 =
            world.one(&format!("SELECT count(*) FROM public.sessions WHERE id = '{id}'")).await;
        assert_eq!(arrived, 1, "after {named}");
    }
    assert_eq!((world.sessions_of(1).await.len(), world.total_sessions_of(1).await), (4, 4));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_told_and_the_queue_waits_for_a_new_one() {
    let world = World::shared().await;
    let mut device = world.device();
    device.set("MAREA_TOKEN", world.token(1, -60));
    device.record(&["--minutes", "7"]).await;
    let refused = device.run(&["sync", "--json"]).await.exits(1);
    assert!(refused.error("unauthorized").contains("1 kept"), "{refused:?}");
    assert_eq!(world.sessions_of(1).await.len(), 0);
    assert_eq!(device.json(&["status"]).await["pending"], 1);

    device.set("MAREA_TOKEN", world.token(1, 600));
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    assert_eq!(world.total_sessions_of(1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mutation_that_the_server_refuses_does_not_block_the_others() {
    let world = World::alone().await;
    world.execute("ALTER TABLE public.sessions ADD CHECK (session_type <> 'forbidden')").await;
    let device = world.device_of(1);
    device.record(&["--minutes", "1"]).await;
    device.record(&["--minutes", "2", "--type", "forbidden"]).await;
    device.record(&["--minutes", "4"]).await;
    let report = device.json(&["sync"]).await;
    assert_eq!(
        (&report["pushed"], &report["rejected"], &report["pending"]),
        (&json!(2), &json!(1), &json!(0)),
        "{report}"
    );
    assert_eq!(world.total_sessions_of(1).await, 2);
    let status = device.json(&["status"]).await;
    assert_eq!((&status["pending"], &status["rejected"]), (&json!(0), &json!(1)), "{status}");
    // It stays refused, visible to a person, and is not sent again.
    assert_eq!(device.json(&["sync"]).await["rejected"], 0);
    let text = device.run(&["status"]).await.exits(0).stdout;
    assert!(text.contains("Refused    1\n"), "{text}");
    assert!(
        text.contains("Refused by the server, and kept:\n  session of ") && text.contains("23514:"),
        "{text}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_or_sends_another_users_work() {
    let world = World::shared().await;
    let mut device = world.device_of(1);
    device.record(&["--minutes", "12"]).await;
    device.json(&["sync"]).await;
    device.record(&["--minutes", "30"]).await;

    // The same folder in another person's hands: their own mirror, nothing of the first one's, and nothing of it is sent.
    device.set("MAREA_TOKEN", world.token(2, 600));
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 0);
    let report = device.json(&["sync"]).await;
    assert_eq!(report["pushed"], 0, "{report}");
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 0);
    assert_eq!((world.sessions_of(1).await.len(), world.sessions_of(2).await.len()), (1, 0));

    device.set("MAREA_TOKEN", world.token(1, 600));
    assert_eq!(device.json(&["status"]).await["pending"], 1);
    device.json(&["sync"]).await;
    assert_eq!((world.total_sessions_of(1).await, world.total_sessions_of(2).await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_record_and_sync_at_the_same_time_agree_in_the_end() {
    let world = World::shared().await;
    let device = world.device_of(1);
    let record = || device.command(&["session", "record", "--minutes", "1", "--json"]).spawn().unwrap();
    let sync = || device.command(&["sync", "--json"]).spawn().unwrap();
    let running: Vec<_> = (0..6).flat_map(|_| [record(), sync(), record()]).collect();
    for program in running {
        let output = program.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 12);
    assert_eq!(device.json(&["sync"]).await["pending"], 0);
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 12);
    assert_eq!((world.sessions_of(1).await.len(), world.total_sessions_of(1).await), (12, 12));
}

/// The commands of the first block of shell in the README's part about the desktop, without their comments.
fn of_the_readme() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let desktop = readme.split("\n## On the desktop\n").nth(1).expect("a part about the desktop");
    let block = desktop.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("commands");
    let command = |line: &str| line.split(" # ").next().unwrap_or_default().trim().to_owned();
    block.lines().map(command).filter(|line| !line.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_readme_tells_a_new_user_to_type_works() {
    let world = World::shared_with_accounts().await;
    let device = Device::new().with("MAREA_PASSWORD", PASSWORD);
    let (ready, email) = (world.backend().ready(), world.email(1).await);
    let commands = of_the_readme();
    assert!(commands.len() > 5 && commands[0].starts_with("cargo install"), "{commands:?}");
    let mut told = String::new();
    for command in &commands[1..] {
        let words = command
            .replace("https://project.supabase.co", &ready.url)
            .replace("--key ...", &format!("--key {}", ready.publishable_key));
        let words = words.replace("ada@example.com", &email);
        let words: Vec<&str> =
            words.strip_prefix("marea ").expect("a command of marea").split_whitespace().collect();
        told += &device.run(&words).await.exits(0).stdout;
    }
    assert!(told.contains("Sent 1, received") && told.ends_with("Everything is on the server.\n"), "{told}");
    assert_eq!(world.total_sessions_of(1).await, 1);
}

/// What a command shows on a terminal: `script` (of util-linux) gives it one.
async fn on_a_terminal(device: &Device, words: &[&str]) -> String {
    let command = device.command(words);
    let command = command.as_std();
    let line = format!("'{}' {}", command.get_program().to_string_lossy(), words.join(" "));
    let mut script = tokio::process::Command::new("script");
    script.args(["-q", "-e", "-c", &line, "/dev/null"]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = script.stdin(std::process::Stdio::null()).output().await.expect("script runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_how_far_a_sync_is_and_colours_and_a_script_neither() {
    let world = World::alone().await;
    let device = world.device_of(1);
    device.record(&["--minutes", "5"]).await;
    device.record(&["--minutes", "6"]).await;
    world.fault(Fault::new(FaultKind::Delay, SYNC, 1).with_delay_ms(400));
    let shown = on_a_terminal(&device, &["sync"]).await;
    assert!(shown.contains("sending") && shown.contains(" of 2"), "{shown:?}");
    assert!(shown.ends_with("Sent 2, received 2 rows. Nothing is waiting.\r\n"), "{shown:?}");
    assert!(on_a_terminal(&device, &["status"]).await.contains("\u{1b}[32mEverything is on the server."));
    assert!(on_a_terminal(&device, &["activity"]).await.contains('█'));

    device.record(&["--minutes", "7"]).await;
    for words in [&["sync"][..], &["status"], &["activity"]] {
        let ran = device.run(words).await.exits(0);
        assert!(!ran.stdout.contains('\u{1b}') && !ran.stdout.contains('█'), "{ran:?}");
    }
    world.stop().await;
}
