//! `marea key ...`, as people and scripts use it: where secrets come from, what is said, what is kept, and two devices.

use std::process::Stdio;

use marea_tests::command::{Device, Ran};
use marea_tests::world::World;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// A token in form only: `{}` . `{"sub": USER}` . nothing that any server would accept.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";
const KEY: &str = "sk-proj-0123456789abca1B2";

fn device() -> Device {
    Device::new().with("MAREA_TOKEN", TOKEN).with("MAREA_PASSPHRASE", "orbit velvet canoe")
}

async fn set(device: &mut Device, provider: &str, key: &str) -> Value {
    device.set("MAREA_API_KEY", key);
    let changed = device.json(&["key", "set", provider]).await;
    device.set("MAREA_API_KEY", "");
    changed
}

async fn get(device: &Device, provider: &str) -> String {
    device.json(&["key", "get", provider]).await["key"].as_str().expect("a key").to_owned()
}

/// Runs a command with these lines on its standard input.
async fn with_lines(device: &Device, words: &[&str], lines: &str) -> Ran {
    let mut child = device.command(words).stdin(Stdio::piped()).spawn().expect("marea starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).await.expect("marea reads");
    drop(stdin);
    let output = child.wait_with_output().await.expect("marea ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        words: words.join(" "),
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

#[tokio::test]
async fn a_key_is_set_shown_used_and_removed_without_a_server() {
    let mut device = device();
    let empty = device.json(&["key", "list"]).await.get("keys").cloned();
    assert_eq!(empty, Some(json!([])));
    device.run(&["key", "get", "openai", "--json"]).await.exits(1).error("no_key");
    let changed = set(&mut device, "openai", KEY).await;
    assert_eq!((&changed["provider"], &changed["pending"]), (&json!("openai"), &json!(1)));
    assert!(changed["notes"][0].as_str().expect("a note").contains("never synced"));
    assert_eq!(get(&device, "openai").await, KEY);
    let listed = device.json(&["key", "list"]).await;
    assert_eq!(listed["keys"][0], json!({ "provider": "openai", "state": "open", "hint": "sk-...a1B2" }));
    assert_eq!(listed["state"], "unlocked");
    device.set("MAREA_PASSPHRASE", "");
    let listed = device.json(&["key", "list"]).await;
    assert_eq!(listed["keys"][0], json!({ "provider": "openai", "state": "locked", "hint": null }));
    let for_people = device.run(&["key", "list"]).await.exits(0).stdout;
    assert_eq!(for_people, "Provider  Key\nopenai    sealed\n");
    device.json(&["key", "remove", "openai"]).await;
    assert_eq!(device.json(&["key", "list"]).await["keys"], json!([]));
}

#[tokio::test]
async fn secrets_come_from_a_descriptor_or_the_environment_and_never_from_arguments() {
    let mut device = device();
    device.set("MAREA_PASSPHRASE", "");
    // Two lines of one pipe, one for each.
    let words = ["key", "set", "openai", "--passphrase-fd", "0", "--key-fd", "0", "--json"];
    with_lines(&device, &words, &format!("orbit velvet canoe\n{KEY}\n")).await.exits(0);
    let words = ["key", "get", "openai", "--passphrase-fd", "0"];
    assert_eq!(
        with_lines(&device, &words, "orbit velvet canoe\r\n").await.exits(0).stdout,
        format!("{KEY}\n")
    );
    with_lines(&device, &words, "wrong horse\n").await.exits(1);
    assert!(with_lines(&device, &words, "").await.exits(2).stderr.contains("--passphrase-fd"));
    // Without a terminal nobody can be asked.
    let refused = device.run(&["key", "get", "openai", "--json"]).await.exits(2);
    assert!(refused.error("usage").contains("MAREA_PASSPHRASE"));
    for words in [["key", "set", "openai", KEY], ["key", "get", "openai", "orbit velvet canoe"]] {
        device.run(&words).await.exits(2);
    }
}

#[tokio::test]
async fn wrong_passphrases_bad_keys_and_short_passphrases_change_nothing() {
    let mut device = device();
    device.set("MAREA_PASSPHRASE", "short");
    device.set("MAREA_API_KEY", KEY);
    device.run(&["key", "set", "openai", "--json"]).await.exits(2).error("invalid_input");
    device.set("MAREA_PASSPHRASE", "orbit velvet canoe");
    set(&mut device, "openai", KEY).await;
    device.set("MAREA_API_KEY", "a key with spaces");
    device.run(&["key", "set", "openai", "--json"]).await.exits(2).error("invalid_input");
    device.set("MAREA_PASSPHRASE", "wrong horse");
    let said = device.run(&["key", "get", "openai", "--json"]).await.exits(1).error("wrong_passphrase");
    assert!(!said.contains("wrong horse"));
    device.set("MAREA_PASSPHRASE", "orbit velvet canoe");
    assert_eq!(get(&device, "openai").await, KEY);
}

#[tokio::test]
async fn a_generated_passphrase_is_offered_shown_once_and_opens() {
    let mut device = device();
    let suggested = device.json(&["key", "suggest"]).await["passphrase"].clone();
    assert_eq!(suggested.as_str().map(str::len), Some(29), "{suggested}");
    device.set("MAREA_PASSPHRASE", "");
    device.set("MAREA_API_KEY", KEY);
    let set = device.json(&["key", "set", "openai", "--generate"]).await;
    device.set("MAREA_PASSPHRASE", set["passphrase"].as_str().expect("shown once"));
    assert_eq!(get(&device, "openai").await, KEY);
    let said = device.run(&["key", "passphrase", "--generate"]).await.exits(0).stdout;
    let made = said.lines().find_map(|line| line.strip_prefix("  ")).expect("for people too").to_owned();
    device.set("MAREA_PASSPHRASE", made);
    assert_eq!(get(&device, "openai").await, KEY);
    device.set("MAREA_NEW_PASSPHRASE", "passwordpassword");
    let refused = device.run(&["key", "passphrase", "--json"]).await.exits(2).error("invalid_input");
    assert!(refused.contains("easily guessed"), "{refused}");
}

/// What becomes of a command whose standard output is a full disk, or a reader that has gone away.
#[cfg(target_os = "linux")]
async fn unheard(device: &Device, words: &[&str], is_full: bool) -> Ran {
    let mut command = device.command(words);
    if is_full {
        command.stdout(Stdio::from(std::fs::File::options().write(true).open("/dev/full").expect("Linux")));
    } else {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(Stdio::from(writer));
    }
    let output = command.spawn().expect("marea starts").wait_with_output().await.expect("marea ends");
    let (code, stderr) = (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"));
    Ran { words: words.join(" "), code, stdout: String::new(), stderr }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_key_is_sealed_under_a_generated_passphrase_that_nobody_has_seen() {
    for (is_full, form) in [(true, &["--json"][..]), (false, &["--json"]), (true, &[]), (false, &[])] {
        let mut device = device();
        device.set("MAREA_PASSPHRASE", "");
        device.set("MAREA_API_KEY", KEY);
        let words = [&["key", "set", "openai", "--generate"], form].concat();
        let ran = unheard(&device, &words, is_full).await;
        assert!(ran.code == Some(1) && ran.stderr.contains("nothing was changed"), "{ran:?}");
        assert_eq!(device.json(&["key", "list"]).await["state"], "not_set_up");

        device.set("MAREA_PASSPHRASE", "orbit velvet canoe");
        set(&mut device, "openai", KEY).await;
        let code = device.json(&["key", "recovery"]).await["recovery_code"].as_str().expect("one").to_owned();
        device.set("MAREA_RECOVERY_CODE", &code);
        for words in [["key", "passphrase", "--generate"], ["key", "recover", "--generate"]] {
            let ran = unheard(&device, &[&words, form].concat(), is_full).await;
            assert!(ran.code == Some(1) && ran.stderr.contains("nothing was changed"), "{ran:?}");
            assert_eq!(get(&device, "openai").await, KEY);
        }
        let still = device.json(&["key", "recover", "--generate", "--rewrap-only"]).await;
        assert!(still["passphrase"].is_string() && still["done"].is_string(), "{still}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_recovery_code_that_cannot_be_shown_goes_to_standard_error() {
    for is_full in [true, false] {
        let mut device = device();
        set(&mut device, "openai", KEY).await;
        device.json(&["key", "recovery"]).await;
        for words in
            [&["key", "recovery"][..], &["key", "rotate"], &["key", "passphrase"], &["key", "recover"]]
        {
            device.set("MAREA_NEW_PASSPHRASE", "lantern pebble fjord");
            let ran = unheard(&device, &[words, &["--json"]].concat(), is_full).await;
            let mut said = ran.stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            let document = said.next().expect("the answer");
            let code = document["recovery_code"].as_str().expect("the code").to_owned();
            let problem = said.next().expect("a failure");
            assert!(ran.code == Some(1) && problem["error"]["code"] == "storage_failed", "{ran:?}");
            // It is the one that counts: with it the next command of the list opens the vault.
            device.set("MAREA_RECOVERY_CODE", &code);
            device.set("MAREA_NEW_PASSPHRASE", "orbit velvet canoe");
            device.json(&["key", "recover", "--rewrap-only"]).await;
        }
        let ran = unheard(&device, &["key", "recovery"], is_full).await;
        assert!(ran.code == Some(1) && ran.stderr.contains("Write down the recovery code"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_first_key_that_is_none_sets_nothing_up() {
    let mut device = device();
    device.set("MAREA_PASSPHRASE", "");
    for key in ["", "a key with spaces"] {
        device.set("MAREA_API_KEY", key);
        let ran = device.run(&["key", "set", "openai", "--generate", "--json"]).await.exits(2);
        assert_eq!(ran.stdout, "", "no passphrase was made");
        assert_eq!(device.json(&["key", "list"]).await["state"], "not_set_up");
    }
    device.set("MAREA_PASSPHRASE", "orbit velvet canoe");
    set(&mut device, "openai", KEY).await;
    // One that is shown and does not come to count: the document is whole, and the command says so.
    device.set("MAREA_PASSPHRASE", "wrong horse battery");
    let ran = device.run(&["key", "passphrase", "--generate", "--json"]).await.exits(1);
    assert!(ran.json()["passphrase"].is_string() && ran.json()["done"].is_null(), "{ran:?}");
    ran.error("wrong_passphrase");
}

#[tokio::test]
async fn passphrase_rotation_recovery_and_reset() {
    let mut device = device();
    set(&mut device, "openai", KEY).await;
    let made = device.json(&["key", "recovery"]).await;
    let code = made["recovery_code"].as_str().expect("shown once").to_owned();
    device.set("MAREA_NEW_PASSPHRASE", "lantern pebble fjord");
    let changed = device.json(&["key", "passphrase"]).await;
    let newer = changed["recovery_code"].as_str().expect("a new data key, a new code").to_owned();
    assert_ne!(newer, code);
    device.run(&["key", "get", "openai", "--json"]).await.exits(1).error("wrong_passphrase");
    device.set("MAREA_PASSPHRASE", "lantern pebble fjord");
    assert_eq!(get(&device, "openai").await, KEY);
    device.set("MAREA_RECOVERY_CODE", code.to_lowercase());
    device.set("MAREA_NEW_PASSPHRASE", "found again in a drawer");
    device.run(&["key", "recover", "--json"]).await.exits(1).error("wrong_passphrase");
    device.set("MAREA_RECOVERY_CODE", newer.to_lowercase());
    let rewrapped = device.json(&["key", "recover", "--rewrap-only"]).await;
    assert_eq!(rewrapped.get("recovery_code"), None, "the code stays");
    device.set("MAREA_PASSPHRASE", "found again in a drawer");
    let recovered = device.json(&["key", "recover"]).await;
    assert!(recovered["recovery_code"].is_string(), "{recovered}");
    let rotated = device.json(&["key", "rotate"]).await;
    assert_ne!(rotated["recovery_code"], json!(newer));
    device.run(&["key", "recover", "--json"]).await.exits(1).error("wrong_passphrase");
    assert_eq!(get(&device, "openai").await, KEY);
    device.run(&["key", "reset"]).await.exits(2);
    device.json(&["key", "reset", "--yes"]).await;
    assert_eq!(device.json(&["key", "list"]).await["state"], "not_set_up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_opens_it_with_the_passphrase_and_is_told_of_another_one() {
    let world = World::shared().await;
    let mut first = world.device_of(1).with("MAREA_PASSPHRASE", "orbit velvet canoe");
    let mut second = world.device_of(1).with("MAREA_PASSPHRASE", "set up apart from it");
    set(&mut first, "openai", KEY).await;
    set(&mut second, "anthropic", "sk-ant-0123456789abcdefgh").await;
    for device in [&first, &second, &first] {
        device.json(&["sync"]).await;
    }
    let listed = first.json(&["key", "list"]).await;
    assert_eq!(listed["keys"][1]["state"], "other_passphrase", "{listed}");
    first.set("MAREA_OTHER_PASSPHRASE", "no such passphrase");
    first.run(&["key", "join", "--json"]).await.exits(1).error("wrong_passphrase");
    first.set("MAREA_OTHER_PASSPHRASE", "set up apart from it");
    let joined = first.json(&["key", "join"]).await;
    assert_eq!((&joined["done"], &joined["notes"]), (&json!("The keys are brought together."), &json!([])));
    first.json(&["sync"]).await;
    let third = world.device_of(1).with("MAREA_PASSPHRASE", "orbit velvet canoe");
    third.json(&["sync"]).await;
    let listed = third.json(&["key", "list"]).await;
    let states: Vec<_> = listed["keys"].as_array().expect("keys").iter().map(|key| &key["state"]).collect();
    assert_eq!(states, ["open", "open"], "{listed}");
    assert_eq!(get(&third, "anthropic").await, "sk-ant-0123456789abcdefgh");
}
