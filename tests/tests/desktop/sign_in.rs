//! Signing in with the `marea` command: once with a network and a password, then without both; tokens that end, are refused
//! or are spent elsewhere; and nothing secret where it could be seen.

use marea_backend::{LEARNER1, LEARNER2};
use marea_tests::command::Device;
use marea_tests::world::{Fault, FaultKind, PASSWORD, World};
use serde_json::{Value, json};

const TOKEN: &str = "/auth/v1/token";

async fn account(world: &World, learner: usize) -> Device {
    world.device().with("MAREA_EMAIL", world.email(learner).await).with("MAREA_PASSWORD", PASSWORD)
}

/// Leaves only the folder: no server, no account, no password.
fn folder_only(device: &mut Device) {
    for variable in ["MAREA_URL", "MAREA_KEY", "MAREA_ANON_KEY", "MAREA_EMAIL", "MAREA_PASSWORD"] {
        device.set(variable, "");
    }
}

fn remembered(device: &Device) -> Value {
    let text = std::fs::read(device.dir().join("session.json")).expect("a remembered account");
    serde_json::from_slice(&text).expect("JSON")
}

fn rewrite(device: &Device, change: impl FnOnce(&mut Value)) {
    let mut file = remembered(device);
    change(&mut file["accounts"][0]);
    std::fs::write(device.dir().join("session.json"), file.to_string()).expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn once_signed_in_the_folder_is_enough() {
    let world = World::alone().await;
    let mut device = account(&world, 1).await;
    let first = device.json(&["session", "record", "--minutes", "5"]).await;
    assert_eq!(first["pending"], 1);
    assert_eq!(remembered(&device)["accounts"][0]["user_id"], json!(LEARNER1.id.to_string()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(device.dir().join("session.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    folder_only(&mut device);
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    assert_eq!(world.total_sessions_of(1).await, 1);

    let url = world.backend().ready().url.clone();
    // Offline from here: with the account named (any case), or not at all.
    world.stop().await;
    device.record(&["--minutes", "6"]).await;
    device.set("MAREA_EMAIL", LEARNER1.email.to_uppercase());
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 2);
    device.run(&["sync", "--json"]).await.exits(3).error("offline");
    assert_eq!(device.json(&["status"]).await["pending"], 1);
    // Another server is not this one, and the one that is known is named.
    device.set("MAREA_EMAIL", "");
    device.set("MAREA_URL", "http://127.0.0.1:9");
    let refused = device.run(&["progress", "--json"]).await.exits(2).error("usage");
    assert!(refused.contains("http://127.0.0.1:9") && refused.contains(&url), "{refused}");
    device.set("MAREA_URL", "");
    // Somebody else has never been here.
    device.set("MAREA_EMAIL", LEARNER2.email);
    device.run(&["progress", "--json"]).await.exits(2).error("usage");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_on_one_folder_never_mix() {
    let world = World::shared_with_accounts().await;
    let mut device = account(&world, 1).await;
    device.record(&["--minutes", "5"]).await;
    device.set("MAREA_EMAIL", world.email(2).await);
    device.set("MAREA_PASSWORD", PASSWORD);
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 0);
    device.set("MAREA_PASSWORD", "");
    device.record(&["--minutes", "7"]).await;
    device.json(&["sync"]).await;
    assert_eq!((world.total_sessions_of(1).await, world.total_sessions_of(2).await), (0, 1));
    device.set("MAREA_EMAIL", world.email(1).await);
    device.json(&["sync"]).await;
    assert_eq!((world.total_sessions_of(1).await, world.total_sessions_of(2).await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ended_is_refreshed_and_so_is_one_that_is_refused() {
    let world = World::shared_with_accounts().await;
    let mut device = account(&world, 1).await;
    device.record(&["--minutes", "5"]).await;
    folder_only(&mut device);
    let before = remembered(&device)["accounts"][0].clone();

    rewrite(&device, |account| account["expires_at"] = json!(1));
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    let after = remembered(&device)["accounts"][0].clone();
    assert_ne!(after["refresh_token"], before["refresh_token"], "a refresh token is spent once");
    assert!(after["expires_at"].as_i64() > before["expires_at"].as_i64().map(|at| at - 60));

    // Good by its date, refused by the server: signed with another key, say.
    device.record(&["--minutes", "6"]).await;
    rewrite(&device, |account| account["access_token"] = json!(world.token(1, -60)));
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    assert_eq!(world.total_sessions_of(1).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_ended_elsewhere_keeps_the_queue_until_the_next_one() {
    let world = World::shared_with_accounts().await;
    let mut device = account(&world, 1).await;
    device.record(&["--minutes", "5"]).await;
    folder_only(&mut device);
    rewrite(&device, |account| {
        account["expires_at"] = json!(1);
        account["refresh_token"] = json!("spent-elsewhere");
    });
    let ended = device.run(&["sync", "--json"]).await.exits(1);
    assert!(ended.error("unauthorized").contains("sign in again"), "{ended:?}");
    assert_eq!(device.json(&["status"]).await["pending"], 1);

    device.set("MAREA_PASSWORD", PASSWORD);
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    device.set("MAREA_PASSWORD", "");
    device.json(&["sync"]).await;
    assert_eq!(world.total_sessions_of(1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshing_without_an_answer_is_being_offline() {
    let world = World::alone().await;
    let mut device = account(&world, 1).await;
    device.record(&["--minutes", "5"]).await;
    folder_only(&mut device);
    rewrite(&device, |account| account["expires_at"] = json!(1));
    world.fault(Fault::new(FaultKind::Offline, "/", 2));
    device.run(&["sync", "--json"]).await.exits(3).error("offline");
    world.clear_faults();
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_service_that_fails_ends_no_sign_in_and_a_good_token_is_used_meanwhile() {
    let world = World::alone().await;
    let mut device = account(&world, 1).await;
    device.record(&["--minutes", "5"]).await;
    folder_only(&mut device);
    let good = remembered(&device)["accounts"][0].clone();
    // A limit of the rate, an outage, and what a proxy says: none of them is the service's own word about the sign-in.
    for status in [429, 503, 500, 400, 401, 403] {
        world.fault(Fault { times: None, ..Fault::new(FaultKind::Status, TOKEN, 0) }.with_status(status));
        // Spent by this device's clock, good by the server's.
        rewrite(&device, |account| account["expires_at"] = json!(1));
        device.record(&["--minutes", "5"]).await;
        assert_eq!(device.json(&["sync"]).await["pending"], 0, "after {status}");

        rewrite(&device, |account| account["access_token"] = json!(world.token(1, -60)));
        device.record(&["--minutes", "5"]).await;
        let ran = device.run(&["sync", "--json"]).await;
        let told: Value = serde_json::from_str(&ran.stderr).unwrap_or_else(|_| panic!("{ran:#?}"));
        let (code, message) = (told["error"]["code"].as_str(), told["error"]["message"].to_string());
        assert!(matches!(code, Some("token_unavailable" | "offline")), "after {status}: {ran:#?}");
        assert!(message.contains("1 kept") && !message.contains("sign in"), "{message}");
        assert_eq!(remembered(&device)["accounts"][0]["refresh_token"], good["refresh_token"]);

        world.clear_faults();
        rewrite(&device, |account| account["access_token"] = good["access_token"].clone());
        rewrite(&device, |account| account["expires_at"] = good["expires_at"].clone());
        assert_eq!(device.json(&["sync"]).await["pushed"], 1, "after {status}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_api_key_is_neither_a_wrong_password_nor_an_ended_sign_in() {
    let world = World::shared_with_accounts().await;
    let key = world.backend().ready().anon_key.clone();
    let mut device = account(&world, 1).await.with("MAREA_ANON_KEY", "retired");
    let refused = device.run(&["progress", "--json"]).await.exits(1).error("api_key_refused");
    assert!(refused.contains("anon key") && !refused.contains("password"), "{refused}");
    let report = device.run(&["doctor", "--json"]).await.exits(1).json();
    assert!(report["checks"].to_string().contains("MAREA_KEY"), "{report}");

    device.set("MAREA_ANON_KEY", &key);
    device.record(&["--minutes", "5"]).await;
    device.set("MAREA_PASSWORD", "");
    let kept = remembered(&device);
    // The project has retired the key: for the request, and for the next token.
    device.set("MAREA_ANON_KEY", "retired");
    for expires_at in [kept["accounts"][0]["expires_at"].clone(), json!(1)] {
        rewrite(&device, |account| account["expires_at"] = expires_at);
        let said = device.run(&["sync", "--json"]).await.exits(1).error("api_key_refused");
        assert!(said.contains("1 kept") && !said.contains("sign in again"), "{said}");
        assert_eq!(remembered(&device)["accounts"][0]["refresh_token"], kept["accounts"][0]["refresh_token"]);
        assert_eq!(device.json(&["status"]).await["last_error"]["code"], "api_key_refused");
        let report = device.run(&["doctor", "--json"]).await.exits(1).json();
        assert!(report["checks"].to_string().contains("MAREA_KEY"), "{report}");
    }
    // The new key is for both, and is kept with the next token.
    rewrite(&device, |account| account["anon_key"] = json!("retired"));
    device.set("MAREA_ANON_KEY", &key);
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
    assert_eq!(remembered(&device)["accounts"][0]["anon_key"], json!(key));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_names_a_service_is_told_before_anything_is_asked() {
    let world = World::shared_with_accounts().await;
    let url = world.backend().ready().url.clone();
    let device = account(&world, 1).await.with("MAREA_URL", format!("{url}/rest/v1"));
    let said = device.run(&["account", "sign-in", "--json"]).await.exits(2).error("invalid_input");
    assert!(said.contains("url: ") && said.contains("before /rest/v1"), "{said}");
    let device = world.device_of(1).with("MAREA_URL", format!("{url}/rest/v1/"));
    let said = device.run(&["sync", "--json"]).await.exits(2).error("invalid_input");
    assert!(said.contains("before /rest/v1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_is_told_and_everything_recorded_is_kept() {
    let world = World::shared_with_accounts().await;
    let mut device = account(&world, 1).await;
    device.record(&["--minutes", "5"]).await;
    folder_only(&mut device);
    device.json(&["sync"]).await;
    let user = world.learner(1);
    world
        .execute(&format!(
            "DELETE FROM public.users WHERE id = '{user}'; DELETE FROM auth.users WHERE id = '{user}'"
        ))
        .await;
    device.record(&["--minutes", "6"]).await;
    // By the token of before, and by one that has to be renewed.
    for expires_at in [remembered(&device)["accounts"][0]["expires_at"].clone(), json!(1)] {
        rewrite(&device, |account| account["expires_at"] = expires_at);
        let said = device.run(&["sync", "--json"]).await.exits(1).error("account_deleted");
        assert!(said.contains("no longer exists") && !said.contains("sign in again"), "{said}");
        let status = device.json(&["status"]).await;
        assert_eq!(
            (&status["last_error"]["code"], &status["pending"]),
            (&json!("account_deleted"), &json!(1))
        );
        let report = device.run(&["doctor", "--json"]).await.exits(1).json();
        assert!(report["checks"].to_string().contains("queue export"), "{report}");
    }
    let saved = device.json(&["queue", "export"]).await;
    assert!(saved.to_string().contains("\"duration_minutes\":6"), "{saved}");

    // What the app has not made yet is no deleted account.
    let fresh = account(&world, 2).await;
    fresh.record(&["--minutes", "5"]).await;
    world.execute(&format!("DELETE FROM public.users WHERE id = '{}'", world.learner(2))).await;
    fresh.run(&["sync", "--json"]).await.exits(1).error("user_missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_is_told_apart_from_a_failed_one() {
    let world = World::alone().await;
    let mut device = account(&world, 1).await.with("MAREA_PASSWORD", "wrong-secret");
    let refused = device.run(&["progress", "--json"]).await.exits(1);
    let message = refused.error("unauthorized");
    assert!(!message.contains("wrong-secret") && !message.contains(LEARNER1.email), "{message}");
    assert!(!device.dir().join("session.json").exists(), "nothing is remembered of it");

    device.set("MAREA_PASSWORD", PASSWORD);
    world.fault(Fault::new(FaultKind::Status, TOKEN, 1).with_status(500));
    device.run(&["progress", "--json"]).await.exits(1).error("server_failed");
    world.fault(Fault::new(FaultKind::DropAnswer, TOKEN, 1));
    device.run(&["progress", "--json"]).await.exits(3).error("offline");
    world.fault(Fault::new(FaultKind::ResetMidBody, TOKEN, 1));
    device.run(&["progress", "--json"]).await.exits(3).error("offline");
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_stay_out_of_everything_that_is_printed() {
    let world = World::shared_with_accounts().await;
    let device = account(&world, 1).await;
    device.record(&["--minutes", "5"]).await;
    let file = remembered(&device);
    let secrets: Vec<&str> = ["access_token", "refresh_token"]
        .iter()
        .map(|name| file["accounts"][0][name].as_str().unwrap())
        .chain([PASSWORD])
        .collect();
    for words in [&["sync"][..], &["status"], &["progress"], &["activity"], &["--help"]] {
        for form in [&["--json"][..], &[]] {
            let ran = device.run(&[words, form].concat()).await.exits(0);
            for secret in &secrets {
                assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{ran:#?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_listed_signed_out_and_in_again_and_erased() {
    let world = World::shared_with_accounts().await;
    let (ada, ben) = (world.email(1).await, world.email(2).await);
    let mut device = world.device().with("MAREA_PASSWORD", PASSWORD);
    assert_eq!(device.json(&["account", "list"]).await, json!({ "accounts": [], "guest_pending": 0 }));
    device.run(&["account", "sign-in", "--json"]).await.exits(2).error("usage");
    for email in [&ada, &ben] {
        device.set("MAREA_EMAIL", email);
        assert_eq!(device.json(&["account", "sign-in"]).await["email"], **email);
    }
    device.set("MAREA_PASSWORD", "");
    device.set("MAREA_EMAIL", &ada);
    device.record(&["--minutes", "5"]).await;
    folder_only(&mut device);
    let list = device.json(&["account", "list"]).await;
    let seen = |at: usize| ["email", "in_use", "pending"].map(|name| list["accounts"][at][name].clone());
    assert_eq!(seen(0), [json!(ben), json!(true), Value::Null], "the latest, who has no mirror yet: {list}");
    assert_eq!(seen(1), [json!(ada), json!(false), json!(1)], "{list}");

    // Signed out, she is nobody's, and what she recorded waits.
    let left = device.json(&["account", "sign-out", "--email", &ada]).await;
    assert_eq!((&left["server_told"], &left["pending"]), (&json!(true), &json!(1)), "{left}");
    device.run(&["progress", "--email", &ada, "--json"]).await.exits(2).error("usage");
    device.run(&["account", "sign-out", "--email", &ada, "--json"]).await.exits(2).error("usage");
    let told = device.run(&["account", "list"]).await.exits(0).stdout;
    assert!(told.starts_with(&format!("* {ben} at ")), "{told}");
    assert!(told.ends_with("signed out (1 waiting to be sent)\n"), "{told}");
    device.set("MAREA_EMAIL", &ada);
    device.set("MAREA_PASSWORD", PASSWORD);
    // The server is the one that the others use.
    device.json(&["account", "sign-in"]).await;
    device.set("MAREA_PASSWORD", "");
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);

    device.record(&["--minutes", "6"]).await;
    let asked = device.run(&["account", "erase", "--json"]).await.exits(2).error("usage");
    assert!(asked.contains("--yes") && asked.contains("1 mutation is not yet on the server"), "{asked}");
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 2);
    let erased = device.json(&["account", "erase", "--yes"]).await;
    assert_eq!((&erased["unsent"], &erased["signed_out"]), (&json!(1), &json!(true)), "{erased}");
    assert!(!std::path::Path::new(erased["erased"].as_str().unwrap()).exists(), "{erased}");
    let list = device.json(&["account", "list", "--email", &ben]).await;
    assert_eq!(list["accounts"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(world.total_sessions_of(1).await, 1, "the server keeps what it has");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_has_a_newer_and_an_older_name() {
    let world = World::shared_with_accounts().await;
    let key = world.backend().ready().publishable_key.clone();
    for (newer, older, flags) in [
        (key.as_str(), "retired", [].as_slice()),
        ("", key.as_str(), &[]),
        ("retired", "retired", &["--key", &key]),
        ("retired", "retired", &["--anon-key", &key]),
    ] {
        let device = account(&world, 1).await.with("MAREA_KEY", newer).with("MAREA_ANON_KEY", older);
        let words: Vec<&str> = ["sync"].iter().chain(flags).copied().collect();
        device.run(&words).await.exits(0);
    }
}
