//! The learner's day, as the command, the crate and the C library's engine tell it: of the place at that instant, by the offset that
//! was written, and never of a day that has not come.

use marea_tests::command::Device;
use serde_json::{Value, json};

const TOKEN: &str = "e30.eyJzdWIiOiIxMTExMTExMS0xMTExLTQxMTEtODExMS0xMTExMTExMTExMTEifQ.unsigned";

fn device_in(zone: &str) -> Device {
    Device::new().with("MAREA_TOKEN", TOKEN).with("TZ", zone)
}

/// The day for which the only session or award of this device counts.
async fn day(device: &Device) -> Value {
    let activity = device.json(&["activity", "--from", "1990-01-01", "--to", "2090-01-01"]).await;
    let days = activity["days"].as_array().expect("days");
    assert_eq!(days.len(), 1, "{activity}");
    days[0]["day"].clone()
}

#[tokio::test]
async fn the_day_is_that_of_the_place_at_that_instant() {
    // On both sides of a change of the clocks, whatever season it is now.
    for (zone, ended_at, expected) in [
        ("Europe/Madrid", "2026-07-15T22:30:00Z", "2026-07-16"),
        ("Europe/Madrid", "2026-01-15T22:30:00Z", "2026-01-15"),
        ("Europe/Madrid", "2026-03-28T23:30:00Z", "2026-03-29"),
        ("Europe/Madrid", "2026-03-29T22:30:00Z", "2026-03-30"),
        ("America/New_York", "2026-07-16T04:30:00Z", "2026-07-16"),
        ("America/New_York", "2026-01-16T04:30:00Z", "2026-01-15"),
        ("America/Sao_Paulo", "2018-12-01T02:30:00Z", "2018-12-01"),
        ("America/Sao_Paulo", "2025-12-01T02:30:00Z", "2025-11-30"),
        ("Australia/Lord_Howe", "2026-07-15T13:15:00Z", "2026-07-15"),
        ("Australia/Lord_Howe", "2026-01-15T13:15:00Z", "2026-01-16"),
        ("Pacific/Apia", "2011-12-30T09:30:00Z", "2011-12-29"),
        ("Pacific/Apia", "2011-12-30T10:30:00Z", "2011-12-31"),
        ("Asia/Kathmandu", "2026-07-15T18:20:00Z", "2026-07-16"),
        ("Pacific/Kiritimati", "2026-07-15T10:30:00Z", "2026-07-16"),
        // What the caller wrote wins; nothing is said about the place by Z and -00:00.
        ("Europe/Madrid", "2026-07-15T18:30:00-04:00", "2026-07-15"),
        ("Europe/Madrid", "2026-07-15T22:30:00+00:00", "2026-07-15"),
        ("Europe/Madrid", "2026-07-15T22:30:00-00:00", "2026-07-16"),
        ("Europe/Madrid", "2026-07-16T07:30:00+09:00", "2026-07-16"),
    ] {
        let session = device_in(zone);
        session.record(&["--minutes", "10", "--ended-at", ended_at]).await;
        assert_eq!(day(&session).await, expected, "a session in {zone} at {ended_at}");
        let award = device_in(zone);
        award.json(&["event", "record", "--points", "1", "--occurred-at", ended_at]).await;
        assert_eq!(day(&award).await, expected, "an award in {zone} at {ended_at}");
    }
}

#[tokio::test]
async fn a_start_and_minutes_make_the_end_and_no_session_is_longer_than_a_day() {
    let device = device_in("UTC");
    let start = ["--started-at", "2026-05-05T10:00:00Z"];
    device.record(&[&["--minutes", "5"], &start[..]].concat()).await;
    assert_eq!(day(&device).await, "2026-05-05");
    let queue = device.json(&["queue", "list"]).await;
    assert_eq!(queue["mutations"][0]["values"]["ended_at"], "2026-05-05T10:05:00.000000Z");

    let in_newfoundland = device_in("UTC");
    in_newfoundland.record(&["--minutes", "20", "--started-at", "2026-05-05T23:50:00-02:30"]).await;
    assert_eq!(day(&in_newfoundland).await, "2026-05-06");

    for (words, option) in [
        (&["--started-at", "2026-05-05T10:00:00Z"][..], "--started-at: is more than 24 hours before the end"),
        (
            &["--started-at", "2026-05-05T10:00:00Z", "--ended-at", "2026-05-06T10:01:00Z"],
            "--started-at: is more than 24 hours before the end; give --minutes",
        ),
        (&["--minutes", "1441"], "--minutes: must be a whole number from 0 to 1440"),
    ] {
        let words = [&["session", "record", "--json"], words].concat();
        let message = device.run(&words).await.exits(2).error("invalid_input");
        assert!(message.starts_with(option), "{message}");
    }
    let whole = ["--started-at", "2026-05-05T10:00:00Z", "--ended-at", "2026-05-06T10:00:00Z"];
    device.record(&whole).await;
    assert_eq!(device.json(&["progress"]).await["total_time_spent_minutes"], 5 + 1440);
}

#[tokio::test]
async fn a_day_after_tomorrow_is_told_and_shown_and_ends_no_streak() {
    let device = device_in("UTC");
    let words = ["session", "record", "--minutes", "10", "--ended-at", "2089-05-05T10:00:00Z"];
    let ran = device.run(&[&words[..], &["--json"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert_eq!(ran.json()["counts_from"], "2089-05-05");
    assert!(ran.stderr.contains(r#""code":"future_day""#) && ran.stderr.contains("2089-05-05"), "{ran:#?}");
    let ran = device.run(&words).await;
    assert!(ran.stderr.starts_with("warning (future_day): 2089-05-05 lies after tomorrow"), "{ran:#?}");

    device.record(&["--minutes", "10"]).await;
    let progress = device.json(&["progress"]).await;
    assert_eq!(
        (&progress["current_streak_days"], &progress["longest_streak_days"], &progress["total_sessions"]),
        (&json!(1), &json!(1), &json!(3))
    );
    assert_eq!(progress["future_days"], 1);
    let text = device.run(&["progress"]).await.exits(0).stdout;
    assert!(text.contains("Ahead") && text.contains("1 day lies after tomorrow"), "{text}");
}
