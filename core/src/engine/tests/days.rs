//! The learner's days: of which zone they are, and what one does that lies ahead.

use super::*;
use crate::model::{EventInput, Timestamp, Zone};

fn on(engine: &mut Engine, day: &str, now: Now) -> Recorded {
    let input = SessionInput { local_date: Some(day.parse().unwrap()), ..session(10) };
    engine.mutate(input.into(), now).unwrap()
}

fn days_later(days: i64) -> Now {
    at(days * 86_400)
}

/// Current streak, longest streak, last day, days ahead.
fn shown(engine: &Engine, now: Now) -> (i64, i64, String, i64) {
    let progress = engine.progress(now).unwrap();
    let last = progress.last_active_on.map(|day| day.to_string()).unwrap_or_default();
    (progress.current_streak_days, progress.longest_streak_days, last, progress.future_days)
}

#[test]
fn a_day_after_tomorrow_ends_no_streak_and_counts_once_it_has_come() {
    let mut engine = engine();
    let far = on(&mut engine, "2029-01-01", at(0));
    assert_eq!(far.counts_from.map(|day| day.to_string()), Some("2029-01-01".to_owned()));
    assert_eq!(shown(&engine, at(0)), (0, 0, String::new(), 1));
    for day in ["2025-11-21", "2025-11-23", "2025-11-22"] {
        assert_eq!(on(&mut engine, day, at(0)).counts_from, None);
    }
    assert_eq!(shown(&engine, at(0)), (3, 3, "2025-11-23".to_owned(), 1));
    // Today in Kiribati.
    assert_eq!(on(&mut engine, "2025-11-24", at(0)).counts_from, None);
    assert_eq!(shown(&engine, at(0)), (4, 4, "2025-11-24".to_owned(), 1));
    // Nothing is hidden: the totals have it, and so has the calendar.
    assert_eq!(totals(&engine), (5, 50));

    let award =
        EventInput { points: 1, local_date: Some("2025-11-26".parse().unwrap()), ..EventInput::default() };
    assert!(engine.mutate(award.into(), at(0)).unwrap().counts_from.is_some());
    assert_eq!(shown(&engine, at(0)), (4, 4, "2025-11-24".to_owned(), 2));
    // Two days later it is tomorrow's: a run of its own, until the day between comes.
    assert_eq!(shown(&engine, days_later(2)), (1, 4, "2025-11-26".to_owned(), 1));
    on(&mut engine, "2025-11-25", days_later(2));
    assert_eq!(shown(&engine, days_later(2)), (6, 6, "2025-11-26".to_owned(), 1));
    // And in 2029 the far one begins one.
    let in_2029 = Now { unix_ms: UnixMillis(1_861_920_000_000), utc_offset_minutes: 0 };
    assert_eq!(shown(&engine, in_2029), (1, 6, "2029-01-01".to_owned(), 0));
}

/// The server's streaks end at its own tomorrow, and it sends the days that lie after it all the same.
#[test]
fn days_that_the_server_has_not_counted_yet_join_what_it_has() {
    let mut engine = engine();
    let server = Server::default();
    let mut answer = server.page();
    let row = |values: serde_json::Value| WireRow {
        values: to_raw_value(&values).unwrap(),
        hlc: json!({}),
        version: 1,
    };
    answer.rows = BTreeMap::from([
        (
            "user_progress".to_owned(),
            vec![row(json!({ "user_id": user(), "total_sessions": 4, "last_active_on": "2025-11-23",
                             "current_streak_days": 2, "longest_streak_days": 2 }))],
        ),
        (
            "daily_activity".to_owned(),
            ["2025-11-22", "2025-11-23", "2025-11-25", "2029-01-01"]
                .iter()
                .map(|day| row(json!({ "day": day, "sessions": 1 })))
                .collect(),
        ),
    ]);
    let outgoing = send(&mut engine);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!(shown(&engine, at(0)), (2, 2, "2025-11-23".to_owned(), 2));
    assert_eq!(shown(&engine, days_later(1)), (1, 2, "2025-11-25".to_owned(), 1));
    // A session of the day between joins both runs, also beyond what was counted when it is recorded.
    on(&mut engine, "2025-11-24", at(0));
    assert_eq!(shown(&engine, at(0)), (3, 3, "2025-11-24".to_owned(), 2));
    assert_eq!(shown(&engine, days_later(1)), (4, 4, "2025-11-25".to_owned(), 1));
}

/// An hour more in the second half of 2025.
struct Summer;

impl Zone for Summer {
    fn utc_offset_minutes(&self, at: Timestamp) -> i32 {
        if at < "2025-07-01T00:00:00Z".parse().unwrap() { 60 } else { 120 }
    }
}

#[test]
fn the_host_s_zone_tells_the_day_of_each_instant() {
    let mut engine = engine();
    engine.set_zone(Box::new(Summer));
    let late = |text: &str| SessionInput { ended_at: Some(text.parse().unwrap()), ..session(10) };
    for (text, day) in [
        ("2025-08-01T22:30:00Z", "2025-08-02"),
        ("2025-02-01T22:30:00Z", "2025-02-01"),
        ("2025-08-03T22:30:00+00:00", "2025-08-03"),
    ] {
        engine.mutate(late(text).into(), at(0)).unwrap();
        let occurred_at = Some(text.parse().unwrap());
        engine.mutate(EventInput { occurred_at, points: 1, ..EventInput::default() }.into(), at(0)).unwrap();
        let day = day.parse().unwrap();
        let found = engine.activity(day, day).unwrap();
        assert_eq!((found.len(), found[0].sessions, found[0].points), (1, 1, 1), "{text}");
    }
}
