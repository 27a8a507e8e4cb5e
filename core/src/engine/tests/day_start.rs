//! A day that begins at four: what is recorded before counts for the day before, and a streak lives until then.

use super::*;
use crate::model::{EventInput, LocalDate};

fn day(text: &str) -> LocalDate {
    text.parse().unwrap()
}

/// Noon of 2025-11-23 and so many hours, in a place an hour east of Greenwich.
fn after(hours: i64) -> Now {
    Now { utc_offset_minutes: 60, ..at(hours * 3600) }
}

fn days(engine: &Engine) -> Vec<String> {
    let days = engine.activity(day("1970-01-01"), day("9999-12-31")).unwrap();
    days.into_iter().map(|day| day.day.to_string()).collect()
}

#[test]
fn what_is_recorded_before_the_day_begins_counts_for_the_day_before() {
    let mut engine = engine();
    engine.set_day_start(240).unwrap();
    // 01:00 and 04:00 of the 24th there: the hour before four is still the 23rd.
    for (hours, expected) in [(12, "2025-11-23"), (14, "2025-11-23"), (15, "2025-11-24")] {
        assert_eq!(engine.today(after(hours)).to_string(), expected, "{hours}");
    }
    engine.mutate(session(5).into(), after(14)).unwrap();
    assert_eq!(days(&engine), ["2025-11-23"]);
    engine.mutate(EventInput { points: 1, ..EventInput::default() }.into(), after(15)).unwrap();
    assert_eq!(days(&engine), ["2025-11-23", "2025-11-24"]);
    // A written offset is of the place; a day that is named is named.
    let ended_at = Some("2025-11-20T03:59:00+09:00".parse().unwrap());
    engine.mutate(SessionInput { ended_at, ..session(1) }.into(), after(16)).unwrap();
    let local_date = Some(day("2025-11-20"));
    engine.mutate(SessionInput { ended_at, local_date, ..session(1) }.into(), after(16)).unwrap();
    assert_eq!(days(&engine), ["2025-11-19", "2025-11-20", "2025-11-23", "2025-11-24"]);
}

#[test]
fn a_streak_lives_until_the_next_day_has_begun() {
    let mut engine = engine();
    engine.set_day_start(240).unwrap();
    engine.mutate(session(5).into(), after(0)).unwrap();
    // The 24th passes without a session; it ends at 04:00 of the 25th there, which is 39 hours after noon of the 23rd.
    for (hours, shown) in [(0, 1), (38, 1), (39, 0)] {
        assert_eq!(engine.progress(after(hours)).unwrap().current_streak_days, shown, "{hours}");
    }
    engine.set_day_start(0).unwrap();
    assert_eq!(engine.progress(after(38)).unwrap().current_streak_days, 0, "at midnight it was over");
}

#[test]
fn the_hour_is_kept_and_has_bounds_and_those_who_watch_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::File(folder.path().join("mirror.sqlite3"));
    let mut engine = open(&location).unwrap();
    let subscription = engine.subscribe();
    engine.take_changes(subscription);
    engine.set_day_start(360).unwrap();
    engine.take_changes(subscription);
    engine.set_day_start(210).unwrap();
    let told = engine.take_changes(subscription);
    assert!(told.contains(&Table::UserProgress) && told.contains(&Table::DailyActivity), "{told:?}");
    assert_eq!(engine.set_day_start(361).unwrap_err().code(), "invalid_input");
    engine.close().unwrap();
    assert_eq!(open(&location).unwrap().day_starts_at(), 210);
}
