//! What was there before the account was, with a real server: an app's own history from a file, and a guest's work at sign-in.

use marea_native::{Client, Config, EventInput, SessionInput};
use marea_tests::world::{PASSWORD, World};
use serde_json::{Value, json};

/// Three days of an app's localStorage.
const HISTORY: &str = r#"[
  { "session": { "session_type": "qa", "local_date": "2025-03-01", "duration_minutes": 10, "qa_attempts": 4, "qa_correct": 3 } },
  { "session": { "session_type": "qa", "ended_at": "2025-03-02T22:30:00-05:00", "duration_minutes": 5 } },
  { "event": { "local_date": "2025-03-03", "points": 40, "achievements": ["first_week"] } } ]"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_imported_once_from_every_device_and_keeps_its_days() {
    let world = World::shared().await;
    let (first, second) = (world.device_of(1), world.device_of(1));
    let file = first.dir().with_extension("json");
    std::fs::write(&file, HISTORY).expect("a file");
    let import = ["import", "history", file.to_str().expect("a path")];
    for device in [&first, &second] {
        device.record(&["--minutes", "1"]).await;
        let outcome = device.json(&import).await;
        assert_eq!((&outcome["imported"], &outcome["refused"]), (&json!(3), &json!([])), "{outcome}");
        assert_eq!(device.json(&import).await["known"], 3);
        device.json(&["sync"]).await;
    }
    first.json(&["sync"]).await;
    assert_eq!(world.total_sessions_of(1).await, 4, "two of before, and one of each device");
    for device in [&first, &second] {
        let progress = device.json(&["progress"]).await;
        let seen: Vec<&Value> =
            ["total_sessions", "total_time_spent_minutes", "total_points", "longest_streak_days"]
                .map(|field| &progress[field])
                .into();
        assert_eq!(seen, [&json!(4), &json!(17), &json!(40), &json!(3)], "{progress}");
        assert_eq!(device.json(&["status"]).await["rejected"], 0);
        let days = device.json(&["activity", "--from", "2025-03-01", "--to", "2025-03-31"]).await;
        assert_eq!(days.as_array().or(days["days"].as_array()).map(Vec::len), Some(3), "{days}");
    }

    // Somebody else on the same machine has ids of their own.
    let other = world.device_of(2);
    other.json(&import).await;
    let report = other.json(&["sync"]).await;
    assert_eq!((&report["pushed"], &report["rejected"]), (&json!(3), &json!(0)), "{report}");

    std::fs::write(&file, r#"[{ "session": { "session_type": "qa", "minutes": "secret" } }]"#)
        .expect("a file");
    let refused = first.run(&["import", "other", import[2], "--json"]).await.exits(2);
    assert!(
        refused.stdout.contains("unknown field `minutes`") && !refused.stdout.contains("secret"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_work_comes_into_the_account_once_and_reaches_the_server_once() {
    let world = World::shared().await;
    let device = world.device_of(1);
    // The account has been on this device before.
    device.record(&["--minutes", "1"]).await;
    device.json(&["sync"]).await;

    let guest = Client::open(Config::guest(device.dir())).await.expect("a guest");
    for minutes in [10, 20] {
        let session = SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("qa") };
        guest.record_session(session).await.expect("recorded");
    }
    guest.record_event(EventInput { points: 5, ..EventInput::default() }).await.expect("recorded");
    guest.import_once("history", HISTORY).await.expect("imported");
    assert_eq!(guest.progress().await.expect("progress").total_sessions, 4);
    assert_eq!(guest.claim().await.unwrap_err().code(), "needs_account");

    let open = || async {
        let config = Config::new(device.dir(), world.learner(1).to_string().parse().expect("an id"));
        Client::open(config).await.expect("the account")
    };
    let account = open().await;
    let claimed = account.claim().await.expect("claimed");
    assert_eq!((claimed.claimed, claimed.known, claimed.kept), (6, 0, 0));
    assert_eq!(account.claim().await.expect("nothing left").claimed, 0);
    assert_eq!(account.progress().await.expect("progress").total_time_spent_minutes, 46);
    assert_eq!(account.import_once("history", HISTORY).await.expect("known").imported, 0);
    // The guest's own client is still open, and sees that its work has gone.
    assert_eq!(guest.progress().await.expect("progress").total_sessions, 0);
    assert_eq!(guest.status().await.expect("a status").pending, 0);
    for client in [guest, account] {
        client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    }
    let users = marea_native::users_of(&device.dir()).expect("users");
    assert_eq!(users.len(), 1, "a guest is no user");

    let report = device.json(&["sync"]).await;
    assert_eq!((&report["pushed"], &report["rejected"]), (&json!(6), &json!(0)), "{report}");
    assert_eq!(world.total_sessions_of(1).await, 5);
    // Imported on another device of the account, the history is the one that the guest brought.
    let other = world.device_of(1);
    let file = other.dir().with_extension("json");
    std::fs::write(&file, HISTORY).expect("a file");
    other.json(&["import", "history", file.to_str().expect("a path")]).await;
    other.json(&["sync"]).await;
    assert_eq!(world.total_sessions_of(1).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typing_mistake_is_told_when_it_is_made_as_soon_as_the_labels_are_known() {
    let world = World::alone().await;
    world
        .execute(
            "CREATE TYPE public.kind AS ENUM ('qa', 'mixed'); ALTER TABLE public.sessions ALTER COLUMN session_type DROP DEFAULT;
             ALTER TABLE public.sessions ALTER COLUMN session_type TYPE public.kind USING session_type::public.kind",
        )
        .await;
    let device = world.device_of(1);
    // Never synced: taken here, and refused there with the name of the type.
    device.record(&["--type", "typo"]).await;
    let report = device.json(&["sync"]).await;
    assert_eq!((&report["pushed"], &report["rejected"]), (&json!(0), &json!(1)), "{report}");
    let refused = device.json(&["queue", "rejected"]).await.to_string();
    assert!(refused.contains("enum kind"), "{refused}");
    // From then on it is told at once, offline too.
    let told = device.run(&["session", "record", "--type", "typo", "--json"]).await.exits(2);
    assert_eq!(told.error("invalid_input"), "--type: must be one of qa, mixed");
    device.record(&["--type", "qa"]).await;
    world.execute("ALTER TYPE public.kind ADD VALUE 'image'").await;
    device.json(&["sync"]).await;
    device.record(&["--type", "image"]).await;
    device.json(&["sync"]).await;
    assert_eq!(world.total_sessions_of(1).await, 2);
    // And kept in the mirror.
    device.run(&["session", "record", "--type", "typo"]).await.exits(2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_day_and_a_day_that_begins_later_are_the_same_on_the_server_and_on_the_next_device() {
    let world = World::shared().await;
    let (first, second) = (world.device_of(1), world.device_of(1));
    for day in ["2026-03-01", "2026-03-02", "2026-03-04"] {
        first.record(&["--minutes", "5", "--local-date", day]).await;
    }
    first.json(&["event", "record", "--freeze", "--local-date", "2026-03-03"]).await;
    let longest = |progress: &Value| progress["longest_streak_days"].clone();
    assert_eq!(longest(&first.json(&["progress"]).await), 3);
    for device in [&first, &second, &first] {
        device.json(&["sync"]).await;
    }
    for device in [&first, &second] {
        assert_eq!(longest(&device.json(&["progress"]).await), 3);
        let days = device.json(&["activity", "--from", "2026-03-01", "--to", "2026-03-04"]).await;
        assert!(days.to_string().contains(r#""frozen":true"#), "{days}");
    }
    let learner = world.learner(1);
    let stored = format!("SELECT longest_streak_days FROM public.user_progress WHERE user_id = '{learner}'");
    assert_eq!(world.one::<i32>(&stored).await, 3);

    let config = Config::new(second.dir(), learner.to_string().parse().expect("an id")).day_starts_at(240);
    let client = Client::open(config).await.expect("a client");
    let ended_at = Some("2026-03-06T03:59:00+01:00".parse().expect("a time"));
    let session = SessionInput { ended_at, ..SessionInput::new("qa") };
    client.record_session(session).await.expect("recorded");
    assert_eq!(client.set_day_start(361).await.unwrap_err().code(), "invalid_input");
    client.shutdown(std::time::Duration::ZERO).await.expect("closed");
    second.json(&["sync"]).await;
    let day = format!("SELECT max(day)::text FROM marea.daily_activity WHERE user_id = '{learner}'");
    assert_eq!(world.one::<String>(&day).await, "2026-03-05");
}

/// The command line before anybody has signed in: what is recorded is a guest's, and the sign-in brings it into the account.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_records_before_a_sign_in_comes_into_the_account_once() {
    let world = World::shared_with_accounts().await;
    let device = world.device();
    // Nothing was recorded: who forgot to sign in, or named another folder, is told so.
    let nobody = device.run(&["progress", "--json"]).await.exits(2);
    assert!(nobody.error("usage").contains("marea account sign-in"), "{nobody:?}");
    device.run(&["status"]).await.exits(2);
    assert!(!marea_native::has_guest(&device.dir()), "reading makes no mirror");

    let words = ["session", "record", "--type", "qa", "--minutes", "10"];
    let recorded = device.run(&words).await;
    assert_eq!(recorded.code, Some(0), "{recorded:?}");
    assert!(recorded.stderr.contains("warning (guest)") && recorded.stderr.contains("account sign-in"));
    let file = device.dir().with_extension("json");
    std::fs::write(&file, HISTORY).expect("a file");
    let import = ["import", "history", file.to_str().expect("a path"), "--json"];
    for words in [&["event", "record", "--points", "5", "--json"][..], &import] {
        let recorded = device.run(words).await;
        assert_eq!(recorded.code, Some(0), "{recorded:?}");
        let warning: Value = serde_json::from_str(&recorded.stderr).expect("one warning");
        assert_eq!(warning["warning"]["code"], "guest", "{recorded:?}");
    }
    // An export may be asked for; what makes a file of it is for an account.
    for (words, code) in [(["photos", "zip"], 0), (["progress", "csv"], 1)] {
        let words = ["export", "create", "--type", words[0], "--format", words[1], "--json"];
        let asked = device.run(&words).await;
        assert_eq!(asked.code, Some(code), "{asked:?}");
        assert!(asked.stderr.contains(if code == 0 { "\"guest\"" } else { "needs_account" }), "{asked:?}");
    }
    let status = device.json(&["status"]).await;
    assert_eq!((&status["guest"], &status["pending"]), (&json!(true), &json!(6)), "{status}");
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 3);
    assert_eq!(device.json(&["account", "list"]).await["guest_pending"], 6);
    let shown = device.run(&["status"]).await.exits(0).stdout;
    assert!(shown.contains("nobody has signed in") && shown.contains("`marea account sign-in`"), "{shown}");
    // What only an account can do says so, and nothing is lost by trying.
    for words in [&["sync"][..], &["sync", "--watch"], &["account", "claim"]] {
        let told = device.run(&[words, &["--json"]].concat()).await.exits(2);
        assert!(told.error("usage").contains("sign-in"), "{told:?}");
    }

    // Signing in: all of it, once, beside what the account has here.
    let email = world.email(1).await;
    let device = device.with("MAREA_PASSWORD", PASSWORD);
    let signed_in = device.json(&["account", "sign-in", "--email", &email, "--no-claim"]).await;
    assert_eq!(signed_in["claimed"]["claimed"], 0, "{signed_in}");
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 0, "left where it is");
    assert_eq!(device.json(&["account", "list"]).await["guest_pending"], 6);
    let signed_in = device.json(&["account", "sign-in"]).await;
    assert_eq!(signed_in["claimed"], json!({ "claimed": 6, "known": 0, "kept": 0 }), "{signed_in}");
    assert_eq!(device.json(&["account", "claim"]).await["claimed"], 0);
    assert_eq!(device.json(&["account", "list"]).await["guest_pending"], 0);
    assert_eq!(device.json(&["progress"]).await["total_sessions"], 3);
    let report = device.json(&["sync"]).await;
    assert_eq!((&report["pushed"], &report["rejected"]), (&json!(6), &json!(0)), "{report}");
    assert_eq!(world.total_sessions_of(1).await, 3);
    // The history that the guest brought is known to the account.
    assert_eq!(device.json(&import[..3]).await["imported"], 0);
    // Signed out, there is nothing of a guest to be shown; the next work is a guest's again, and waits for the next account.
    device.json(&["account", "sign-out"]).await;
    device.run(&["progress", "--json"]).await.exits(2).error("usage");
    let after = device.run(&["session", "record", "--type", "qa", "--minutes", "7", "--json"]).await;
    assert!(after.code == Some(0) && after.stderr.contains("guest"), "{after:?}");
    let signed_in = device.json(&["account", "sign-in", "--email", &email]).await;
    assert_eq!(signed_in["claimed"]["claimed"], 1, "{signed_in}");
    device.json(&["sync"]).await;
    assert_eq!(world.total_sessions_of(1).await, 4);
}
