//! What `marea doctor` tells of the last sync, of a page that nobody can read, and of a user whose row the app has not made.
//! What stands between the command and its server is in `network.rs`.

use marea_tests::backend::SYNC;
use marea_tests::command::Device;
use marea_tests::world::{Fault, FaultKind, World};
use serde_json::{Value, json};

/// What the doctor says of one thing, however it ends.
async fn check(device: &Device, name: &str) -> Value {
    let report = device.run(&["doctor", "--json"]).await.json();
    let checks = report["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {report}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_how_the_last_sync_went_until_one_goes_well() {
    let world = World::alone().await;
    let device = world.device_of(1);
    device.record(&["--minutes", "1"]).await;
    let before = check(&device, "sync").await;
    assert_eq!(before["verdict"], "ok", "{before}");
    assert!(before["found"].to_string().contains("never in step"), "{before}");

    // What may pass is a warning, and the server is asked again and found in order.
    world.fault(Fault::new(FaultKind::Status, SYNC, 1).with_status(503));
    device.run(&["sync", "--json"]).await.exits(1).error("server_failed");
    let report = device.json(&["doctor"]).await;
    assert_eq!(report["ok"], true, "{report}");
    let told = check(&device, "sync").await;
    assert_eq!(told["verdict"], "warning", "{told}");
    assert!(told["found"].to_string().contains("(server_failed)"), "{told}");
    assert!(told["mend"].to_string().contains("marea sync"), "{told}");

    device.json(&["sync"]).await;
    let after = check(&device, "sync").await;
    assert_eq!((&after["verdict"], &after["mend"]), (&json!("ok"), &Value::Null), "{after}");
    assert!(after["found"].to_string().contains("last in step with the server"), "{after}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_of_a_page_that_cannot_be_read_and_after_which_version() {
    let world = World::alone().await;
    let device = world.device_of(1);
    device.record(&["--minutes", "1"]).await;
    device.json(&["sync"]).await;
    world
        .execute(
            "ALTER FUNCTION public.marea_sync(jsonb) RENAME TO marea_sync_as_it_is;
             CREATE FUNCTION public.marea_sync(request jsonb) RETURNS jsonb LANGUAGE sql AS
                 $$ SELECT public.marea_sync_as_it_is(request) || '{\"protocol\": 99}' $$",
        )
        .await;
    let sick = device.run(&["doctor", "--json"]).await.exits(1);
    sick.error("unwell");
    let told = check(&device, "server").await;
    assert_eq!(told["verdict"], "failed", "{told}");
    assert!(told["found"].to_string().contains("cannot read"), "{told}");
    let mend = told["mend"].as_str().expect("how to mend it");
    assert!(mend.contains("Update marea") && !mend.contains("after version 0 "), "{told}");
    // The rest of the answer is told as ever.
    assert_eq!(check(&device, "sign-in").await["verdict"], "ok");
    assert_eq!(device.json(&["status"]).await["last_error"], Value::Null, "the doctor changes nothing");

    world
        .execute(
            "DROP FUNCTION public.marea_sync(jsonb);
             ALTER FUNCTION public.marea_sync_as_it_is(jsonb) RENAME TO marea_sync",
        )
        .await;
    assert_eq!(check(&device, "server").await["verdict"], "ok");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_of_a_user_whose_row_the_app_has_not_made() {
    let world = World::shared().await;
    let device = world.device_of(1);
    device.record(&["--minutes", "1"]).await;
    let (id, email) = (world.learner(1), world.email(1).await);
    world.execute(&format!("DELETE FROM public.users WHERE id = '{id}'")).await;
    let sick = device.run(&["doctor", "--json"]).await.exits(1);
    assert!(sick.error("unwell").contains("user"), "{sick:?}");
    let told = check(&device, "user").await;
    assert_eq!(told["verdict"], "failed", "{told}");
    assert!(told["mend"].to_string().contains("Sign in to the app once"), "{told}");
    // Signed in all the same, and the server is in order.
    for name in ["sign-in", "server"] {
        assert_eq!(check(&device, name).await["verdict"], "ok", "{name}");
    }
    device.run(&["sync", "--json"]).await.exits(1).error("user_missing");
    let told = check(&device, "sync").await;
    assert_eq!(told["verdict"], "failed", "{told}");

    world.execute(&format!("INSERT INTO public.users (id, email) VALUES ('{id}', '{email}')")).await;
    assert_eq!(check(&device, "user").await["verdict"], "ok");
    assert_eq!(device.json(&["sync"]).await["pushed"], 1);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_others_can_put_in_place_is_refused_or_told() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";
    let device = Device::new().with("MAREA_TOKEN", TOKEN);
    device.record(&["--minutes", "1"]).await;
    let mirror = device.dir().join("11111111-1111-4111-8111-111111111111.sqlite3");
    let permit = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(device.dir(), permissions).expect("permissions");
    };
    for (mode, told) in [(0o777, "everybody"), (0o1777, "everybody"), (0o770, "group"), (0o755, "")] {
        permit(mode);
        let said = check(&device, "mirror").await;
        assert_eq!(said["verdict"], if told.is_empty() { "ok" } else { "warning" }, "{said}");
        assert!(said["found"].to_string().contains(told), "{said}");
    }

    let execute =
        |sql| rusqlite::Connection::open(&mirror).expect("the mirror").execute_batch(sql).expect(sql);
    execute("CREATE TRIGGER foreign_one AFTER INSERT ON mutations BEGIN DELETE FROM mutations; END");
    device.record(&["--minutes", "1"]).await;
    assert_eq!(device.json(&["status"]).await["pending"], 2, "it does not run");
    let said = check(&device, "mirror").await;
    assert!(
        said["verdict"] == "warning" && said["found"].to_string().contains("trigger foreign_one"),
        "{said}"
    );
    execute("DROP TRIGGER foreign_one");
    assert_eq!(check(&device, "mirror").await["verdict"], "ok");

    // A link in the place of a file of SQLite's, wherever it leads, is not followed, and nothing is written behind it.
    let elsewhere = device.dir().join("elsewhere");
    for ending in ["-wal", "-shm", "-journal", ""] {
        let place = device.dir().join(format!("11111111-1111-4111-8111-111111111111.sqlite3{ending}"));
        let kept = device.dir().join("kept");
        if ending.is_empty() {
            std::fs::rename(&place, &kept).expect("moved");
        }
        symlink(&elsewhere, &place).expect("a link");
        for words in [&["session", "record", "--minutes", "1", "--json"][..], &["progress", "--json"]] {
            let said = device.run(words).await.exits(1).error("storage_failed");
            assert!(said.contains("link") && said.contains("MAREA_DIR"), "{ending}: {said}");
        }
        let said = check(&device, "mirror").await;
        assert!(said["verdict"] == "failed" && said["found"].to_string().contains("link"), "{said}");
        assert!(!elsewhere.exists(), "{ending}");
        std::fs::remove_file(&place).expect("removed");
        if ending.is_empty() {
            std::fs::rename(&kept, &place).expect("moved back");
        }
    }
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 2);

    // Nor is one in the place of its files' folder: what is no file of an export would be swept there.
    let files = device.dir().join("11111111-1111-4111-8111-111111111111.files");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::fs::write(elsewhere.join("thesis.csv"), "theirs").expect("a file");
    symlink(&elsewhere, &files).expect("a link");
    let said = device.run(&["export", "files", "--json"]).await.exits(1).error("storage_failed");
    assert!(said.contains("link") && said.contains("MAREA_DIR"), "{said}");
    assert_eq!(check(&device, "mirror").await["verdict"], "failed");
    assert!(elsewhere.join("thesis.csv").exists());
    std::fs::remove_file(&files).expect("removed");
    std::fs::create_dir(&files).expect("a folder");
    std::fs::set_permissions(&files, std::fs::Permissions::from_mode(0o777)).expect("permissions");
    let said = check(&device, "mirror").await;
    assert!(
        said["verdict"] == "warning" && said["found"].to_string().contains("folder of its files"),
        "{said}"
    );
}
