//! `marea keychain` and `marea key remember` with a real Secret Service (GNOME Keyring), and without any.

use std::fs;

use marea_tests::command::Device;
use marea_tests::keyring::Keyring;
use marea_tests::world::{PASSWORD, World};
use serde_json::json;

/// A token in form only: `{}` . `{"sub": USER}` . nothing that any server would accept.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";
const KEY: &str = "sk-proj-0123456789abca1B2";
const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";

/// A device with a key in its vault.
async fn with_a_key() -> Device {
    let device = Device::new().with("MAREA_TOKEN", TOKEN).with("MAREA_PASSPHRASE", "orbit velvet canoe");
    let mut device = device.with("MAREA_API_KEY", KEY);
    device.json(&["key", "set", "openai"]).await;
    device.set("MAREA_API_KEY", "");
    device
}

#[tokio::test]
async fn a_remembered_device_asks_for_no_passphrase_until_it_is_forgotten_or_the_vault_is_sealed_anew() {
    let keyring = Keyring::start();
    let mut device = with_a_key().await;
    device.set(BUS, keyring.address());
    device.json(&["key", "remember"]).await;
    device.set("MAREA_PASSPHRASE", "");
    assert_eq!(device.json(&["key", "get", "openai"]).await["key"], KEY);
    assert!(
        device.json(&["key", "forget"]).await["done"]
            .as_str()
            .is_some_and(|done| done.contains("has forgotten"))
    );
    assert!(
        device.json(&["key", "forget"]).await["done"]
            .as_str()
            .is_some_and(|done| done.contains("knew nothing"))
    );
    device.run(&["key", "get", "openai", "--json"]).await.exits(2).error("usage");

    device.set("MAREA_PASSPHRASE", "orbit velvet canoe");
    device.json(&["key", "remember"]).await;
    device.json(&["key", "rotate"]).await;
    device.set("MAREA_PASSPHRASE", "");
    // What was remembered opens nothing any more, and the passphrase is asked for.
    device.run(&["key", "get", "openai", "--json"]).await.exits(2).error("usage");
    assert!(
        device.json(&["key", "forget"]).await["done"]
            .as_str()
            .is_some_and(|done| done.contains("knew nothing"))
    );
}

#[tokio::test]
async fn without_a_keychain_nothing_is_remembered_and_nothing_else_changes() {
    let device = with_a_key().await;
    let refused = device.run(&["key", "remember", "--json"]).await.exits(1);
    assert!(refused.error("keychain_unavailable").contains("none"));
    assert_eq!(device.json(&["key", "get", "openai"]).await["key"], KEY);
    device.run(&["keychain", "use", "--json"]).await.exits(1).error("keychain_unavailable");
    assert_eq!(device.json(&["keychain", "status"]).await, json!({ "tokens": "file", "accounts": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_move_into_the_keychain_and_back_and_are_renewed_there() {
    let keyring = Keyring::start();
    let world = World::shared_with_accounts().await;
    let mut device = world.device().with("MAREA_EMAIL", world.email(1).await).with(BUS, keyring.address());
    device.set("MAREA_PASSWORD", PASSWORD);
    device.json(&["sync"]).await;
    device.set("MAREA_PASSWORD", "");
    let file = device.dir().join("session.json");
    let read =
        || -> serde_json::Value { serde_json::from_slice(&fs::read(&file).expect("it")).expect("JSON") };
    let in_file = read();
    assert_eq!(device.json(&["keychain", "use"]).await, json!({ "tokens": "keychain", "accounts": 1 }));
    let text = fs::read_to_string(&file).expect("the file");
    for token in ["access_token", "refresh_token"] {
        let token = in_file["accounts"][0][token].as_str().expect("a token");
        assert!(!text.contains(token), "it still holds a token");
    }

    // Spent: the next sync buys a new one, into the keychain.
    let mut spent = read();
    spent["accounts"][0]["expires_at"] = json!(1);
    fs::write(&file, spent.to_string()).expect("the file");
    device.record(&["--minutes", "1"]).await;
    assert_eq!(device.json(&["sync"]).await["pending"], 0);
    let renewed = read();
    assert!(renewed["accounts"][0]["expires_at"].as_i64() > Some(1), "{renewed}");
    assert_eq!((&renewed["accounts"][0]["refresh_token"], &renewed["format"]), (&json!(""), &json!(2)));
    assert_eq!(world.total_sessions_of(1).await, 1);

    // Without the keychain it records and reads, keeps the queue, and says what is wrong.
    device.set(BUS, "unix:path=/nowhere");
    device.record(&["--minutes", "1"]).await;
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 2);
    device.run(&["sync", "--json"]).await.exits(1).error("keychain_unavailable");
    assert_eq!(device.json(&["status"]).await["pending"], 1);
    let doctor = device.run(&["doctor"]).await.exits(1).stdout;
    assert!(doctor.contains("marea keychain leave") && !doctor.contains("sign-in. The queue"), "{doctor}");

    device.set(BUS, keyring.address());
    assert_eq!(device.json(&["keychain", "leave"]).await, json!({ "tokens": "file", "accounts": 1 }));
    assert_eq!(device.json(&["sync"]).await["pending"], 0);
    assert_eq!(read()["format"], json!(1));
}
