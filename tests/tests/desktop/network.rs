//! What stands between the `marea` command and its server is told apart: in `sync`'s error, in `status`, and by `doctor`, which
//! says how to mend it. Nothing is lost by any of it.

use marea_native::Timestamp;
use marea_tests::backend::SYNC;
use marea_tests::command::Device;
use marea_tests::world::{Fault, FaultKind, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A token in form only: `{}` . `{"sub": ...}` . nothing that any server would accept.
const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";
/// A label of a name may have 63 letters (RFC 1035, 2.3.4): no resolver has to ask anybody about this one.
const NO_NAME: &str =
    "http://a-name-with-more-letters-than-a-label-of-the-domain-name-system-may-have.invalid";

/// Somebody at a port of this machine who says the same to everyone.
async fn somebody_says(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0u8; 4096];
                let _ = connection.read(&mut heard).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

async fn last_error(device: &Device) -> Value {
    device.json(&["status"]).await["last_error"]["code"].clone()
}

fn verdict_of(report: &Value, name: &str) -> Value {
    let checks = report["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {report}"))
        .clone()
}

#[tokio::test]
async fn without_tls_another_machine_is_spoken_to_only_where_that_was_asked_for() {
    let device = || {
        let device = Device::new().with("MAREA_TOKEN", TOKEN).with("MAREA_ANON_KEY", "anon");
        device.with("MAREA_URL", NO_NAME)
    };
    let strict = device();
    strict.record(&["--minutes", "5"]).await;
    let said = strict.run(&["sync", "--json"]).await.exits(2).error("invalid_input");
    assert!(said.contains("--allow-http") && said.contains("https://"), "{said}");
    let doctor = strict.run(&["doctor", "--json"]).await.exits(1);
    let server = verdict_of(&doctor.json(), "server");
    assert!(server["found"].as_str().is_some_and(|found| found.contains("--allow-http")), "{server}");
    let words = ["account", "sign-in", "--email", "ada@example.com", "--password", "p", "--json"];
    let said = strict.run(&words).await.exits(2).error("invalid_input");
    assert!(said.contains("--allow-http"), "{said}");

    let allowed = device().with("MAREA_ALLOW_HTTP", "1");
    allowed.record(&["--minutes", "5"]).await;
    allowed.run(&["sync", "--json"]).await.exits(3).error("offline");
    assert_eq!(last_error(&allowed).await, "dns_failed");
    allowed.run(&words).await.exits(3).error("offline");
    // Nobody has to ask for it on this machine, whatever name it goes by.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let here = device().with("MAREA_URL", format!("http://marea.localhost:{nobody}"));
    here.record(&["--minutes", "5"]).await;
    here.run(&["sync", "--json"]).await.exits(3).error("offline");
    assert_eq!(last_error(&here).await, "connection_refused");
}

#[tokio::test]
async fn each_trouble_has_a_code_of_its_own_and_a_way_to_mend_it() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<h1>Hotel</h1>\r\n";
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://hotel.invalid/\r\nContent-Length: 0\r\n\r\n";
    let other = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let half =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"protocol\":";
    for (code, url, mend) in [
        ("dns_failed", NO_NAME.to_owned(), "spelling"),
        ("connection_refused", format!("http://127.0.0.1:{nobody}"), "port"),
        ("tls_failed", format!("https://127.0.0.1:{}", somebody_says(other).await), "clock"),
        ("tls_failed", format!("https://127.0.0.1:{}", somebody_says("").await), "clock"),
        ("captive_portal", format!("http://127.0.0.1:{}", somebody_says(page).await), "browser"),
        ("captive_portal", format!("http://127.0.0.1:{}", somebody_says(redirect).await), "browser"),
        ("connection_lost", format!("http://127.0.0.1:{}", somebody_says(half).await), "network"),
        ("connection_lost", format!("http://127.0.0.1:{}", somebody_says("").await), "network"),
        ("unintelligible_answer", format!("http://127.0.0.1:{}", somebody_says(other).await), "network"),
    ] {
        let device =
            Device::new().with("MAREA_TOKEN", TOKEN).with("MAREA_ANON_KEY", "anon").with("MAREA_URL", &url);
        let device = device.with("MAREA_ALLOW_HTTP", "yes");
        device.record(&["--minutes", "5"]).await;
        let ran = device.run(&["sync", "--json"]).await.exits(3);
        assert!(ran.error("offline").contains("1 kept"), "{url}: {ran:?}");
        assert_eq!(last_error(&device).await, code, "{url}");
        assert_eq!(device.json(&["status"]).await["pending"], 1, "{url}");

        let doctor = device.run(&["doctor", "--json"]).await.exits(3);
        doctor.error("offline");
        let server = verdict_of(&doctor.json(), "server");
        assert_eq!(server["verdict"], "failed", "{server}");
        assert!(server["mend"].as_str().unwrap().contains(mend), "{url}: {server}");
        assert_eq!(verdict_of(&doctor.json(), "mirror")["verdict"], "ok");
        let text = device.run(&["doctor"]).await.exits(3).stdout;
        assert!(text.contains("failed   server"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_cut_in_the_middle_is_told_and_nothing_is_sent_twice() {
    let world = World::alone().await;
    let device = world.device_of(1);
    for (fault, code) in [
        (Fault::new(FaultKind::DropAnswer, SYNC, 1), "connection_lost"),
        (Fault::new(FaultKind::ResetMidBody, SYNC, 1), "connection_lost"),
        (Fault::new(FaultKind::Status, SYNC, 1).with_status(503), "server_failed"),
    ] {
        device.record(&["--minutes", "1"]).await;
        world.fault(fault);
        device.run(&["sync", "--json"]).await;
        assert_eq!(last_error(&device).await, code);
        device.json(&["sync"]).await;
        assert_eq!(last_error(&device).await, Value::Null);
    }
    assert_eq!((world.sessions_of(1).await.len(), world.total_sessions_of(1).await), (3, 3));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_a_healthy_device_healthy_and_a_sick_one_sick() {
    let world = World::alone().await;
    let mut device = world.device_of(1);
    device.record(&["--minutes", "5"]).await;
    let report = device.json(&["doctor"]).await;
    assert_eq!(report["ok"], true, "{report}");
    for name in ["mirror", "queue", "sign-in", "server", "clock", "versions"] {
        let check = verdict_of(&report, name);
        assert_eq!((&check["verdict"], &check["mend"]), (&json!("ok"), &Value::Null), "{check}");
    }
    assert_eq!(world.sessions_of(1).await.len(), 0, "it sends nothing");

    world.execute("ALTER FUNCTION public.marea_sync(jsonb) RENAME TO marea_sync_away; NOTIFY pgrst, 'reload schema'").await;
    marea_tests::wait::until("PostgREST knows the function no more", || async {
        let ran = device.run(&["doctor", "--json"]).await;
        ran.code == Some(1) && verdict_of(&ran.json(), "server")["mend"].to_string().contains("migrations")
    })
    .await;
    device.set("MAREA_TOKEN", world.token(1, -60));
    world.execute("ALTER FUNCTION public.marea_sync_away(jsonb) RENAME TO marea_sync").await;
    let sick = device.run(&["doctor", "--json"]).await.exits(1);
    sick.error("unwell");
    assert!(verdict_of(&sick.json(), "sign-in")["mend"].to_string().contains("Sign in again"), "{sick:?}");

    let nobody = world.device().run(&["doctor", "--json"]).await.exits(1);
    assert_eq!(verdict_of(&nobody.json(), "sign-in")["verdict"], "failed", "{nobody:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_copied_with_its_queue_and_used_twice_loses_and_doubles_nothing() {
    let world = World::shared().await;
    let (first, second) = (world.device_of(1), world.device_of(1));
    first.record(&["--minutes", "1"]).await;
    first.json(&["sync"]).await;
    for _ in 0..3 {
        first.record(&["--minutes", "10"]).await;
    }
    std::fs::create_dir_all(second.dir()).unwrap();
    for file in std::fs::read_dir(first.dir()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), second.dir().join(file.file_name())).unwrap();
    }
    first.record(&["--minutes", "100"]).await;
    second.record(&["--minutes", "1000"]).await;
    for _ in 0..2 {
        first.json(&["sync"]).await;
        second.json(&["sync"]).await;
    }
    assert_eq!((world.sessions_of(1).await.len(), world.total_sessions_of(1).await), (6, 6));
    for device in [&first, &second] {
        let progress = device.json(&["progress"]).await;
        assert_eq!(
            (&progress["total_sessions"], &progress["total_time_spent_minutes"]),
            (&json!(6), &json!(1131)),
            "{progress}"
        );
        assert_eq!(device.json(&["status"]).await["pending"], 0);
    }
}

/// A program in a network of its own, whose only address comes when the test says so.
const WITHOUT_A_NETWORK: &str =
    "\"$0\" sync --watch --json & read up; ip link set lo up; read done; kill -INT $!; wait";

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_comes_back_ends_the_wait() {
    use tokio::io::AsyncBufReadExt as _;
    let ways = [&["--net"][..], &["--net", "--user", "--map-root-user"]];
    let may = |way: &&&[&str]| {
        std::process::Command::new("unshare")
            .args(**way)
            .arg("true")
            .status()
            .is_ok_and(|status| status.success())
    };
    let Some(way) = ways.iter().find(may) else {
        eprintln!("nobody may have a network of his own here: not as root, not in a user namespace");
        return;
    };
    let device = Device::new().with("MAREA_TOKEN", TOKEN).with("MAREA_ANON_KEY", "anon");
    let device = device.with("MAREA_URL", "http://127.0.0.1:9");
    device.record(&["--minutes", "5"]).await;
    let command = device.command(&[]);
    let marea = command.as_std();
    let mut shell = tokio::process::Command::new("unshare");
    shell.args(*way).args(["sh", "-c", WITHOUT_A_NETWORK]).arg(marea.get_program());
    shell.envs(marea.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut running = shell.spawn().expect("unshare runs");
    // When it is dropped the shell reads no more, and ends the command.
    let mut tell = running.stdin.take().expect("a pipe");
    let mut lines = tokio::io::BufReader::new(running.stdout.take().expect("a pipe")).lines();
    let at = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let mut waits_until = None;
    while let Some(line) = lines.next_line().await.expect("text") {
        let change: Value = serde_json::from_str(&line).expect("one document a line");
        let status = &change["status"];
        let (now, next) = (at(&change["at"]), at(&status["next_attempt_at"]));
        let code = status["last_error"]["code"].as_str();
        if let Some(waits_until) = waits_until {
            if code == Some("connection_refused") {
                assert!(now < Some(waits_until), "{change}: not before {waits_until}");
                break;
            }
        } else if next.zip(now).is_some_and(|(next, now)| next.as_millis().0 - now.as_millis().0 > 8_000) {
            assert_eq!((code, &status["connection"]), (Some("offline"), &json!("offline")), "{change}");
            waits_until = next;
            tell.write_all(b"up\n").await.expect("the shell reads");
        }
    }
    assert!(waits_until.is_some(), "it never waited for long");
    drop(tell);
    assert!(running.wait().await.expect("it ends").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_watch_prints_what_changes_as_it_comes_and_ends_in_order() {
    use tokio::io::AsyncBufReadExt as _;
    let world = World::shared().await;
    let device = world.device_of(1);
    let mut running = device.command(&["sync", "--watch", "--json"]).spawn().expect("marea starts");
    let mut lines = tokio::io::BufReader::new(running.stdout.take().expect("a pipe")).lines();
    let mut changes = Vec::new();
    let mut recorded = false;
    while let Some(line) = lines.next_line().await.expect("text") {
        let change: Value = serde_json::from_str(&line).expect("one document a line");
        if change["change"] == "status" && !recorded {
            // By another program on the same mirror.
            device.record(&["--minutes", "9"]).await;
            recorded = true;
        }
        let sent = change["change"] == "status" && recorded && change["status"]["pending"] == 0;
        let counted = changes.iter().any(|change: &Value| change["progress"]["total_sessions"] == 1);
        let ended = change["change"] == "ended";
        changes.push(change);
        if ended {
            break;
        }
        if sent && counted && world.total_sessions_of(1).await == 1 {
            let asked = std::process::Command::new("kill")
                .args(["-INT", &running.id().unwrap().to_string()])
                .status();
            assert!(asked.expect("kill runs").success());
        }
    }
    assert_eq!(changes.last().map(|change| &change["ended"]["pending"]), Some(&json!(0)), "{changes:?}");
    assert!(running.wait().await.expect("it ends").success());
}
