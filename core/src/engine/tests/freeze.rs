//! Frozen days: they keep a streak, join runs, and count as no day of it.

use super::*;
use crate::model::EventInput;

fn on(engine: &mut Engine, day: u32, freezes: bool) -> MutationId {
    let local_date = Some(format!("2025-11-{day:02}").parse().unwrap());
    let change: Change = if freezes {
        EventInput { local_date, freezes_day: true, ..EventInput::default() }.into()
    } else {
        SessionInput { local_date, ..session(5) }.into()
    };
    engine.mutate(change, at(0)).unwrap().id
}

/// The streak, the longest one, its frozen days; as of the 23rd.
fn streak(engine: &Engine) -> (i64, i64, i64) {
    let progress = engine.progress(at(0)).unwrap();
    (progress.current_streak_days, progress.longest_streak_days, progress.frozen_days)
}

#[test]
fn a_frozen_day_keeps_a_streak_and_is_none_of_its_days() {
    let mut engine = engine();
    for day in [19, 20, 21] {
        on(&mut engine, day, false);
    }
    assert_eq!(streak(&engine), (0, 3, 0), "it ended before yesterday");
    on(&mut engine, 22, true);
    assert_eq!(streak(&engine), (3, 3, 1));
    let progress = engine.progress(at(0)).unwrap();
    assert_eq!((progress.total_sessions, progress.total_points), (3, 0));
    on(&mut engine, 23, false);
    assert_eq!(streak(&engine), (4, 4, 1));
    // A day that was frozen and is worked on after all is a day like others.
    on(&mut engine, 22, false);
    assert_eq!(streak(&engine), (5, 5, 0));
    on(&mut engine, 22, true);
    assert_eq!(streak(&engine), (5, 5, 0));
    let days = engine.activity("2025-11-19".parse().unwrap(), "2025-11-23".parse().unwrap()).unwrap();
    assert!(days.len() == 5 && days.iter().all(|day| !day.frozen));
}

#[test]
fn a_day_that_has_passed_is_repaired_in_whatever_order() {
    for order in [[17, 18, 19, 20], [20, 19, 18, 17], [18, 20, 17, 19]] {
        let mut engine = engine();
        for day in order {
            on(&mut engine, day, day == 18 || day == 19);
        }
        let progress = engine.progress(at(-2 * 86_400)).unwrap();
        assert_eq!(
            (progress.current_streak_days, progress.longest_streak_days, progress.frozen_days),
            (2, 2, 2)
        );
        assert_eq!(progress.last_activity_at, Some(at(0).timestamp()));
    }
    let mut engine = engine();
    on(&mut engine, 22, true);
    assert_eq!(streak(&engine), (0, 0, 1), "frozen days alone are no streak");
    assert_eq!(engine.progress(at(0)).unwrap().last_activity_at, None);
}

#[test]
fn a_freeze_awards_nothing_and_is_told_apart() {
    let mut engine = engine();
    let input = EventInput { freezes_day: true, points: 1, ..EventInput::default() };
    assert!(engine.mutate(input.into(), at(0)).unwrap_err().to_string().starts_with("freezes_day: "));
    let id = on(&mut engine, 22, true);
    let queued = &engine.pending().unwrap()[0];
    assert_eq!((queued.id, &queued.values["freezes_day"]), (id, &json!(true)));
    let award = engine.mutate(EventInput { points: 1, ..EventInput::default() }.into(), at(0)).unwrap().id;
    let queued = engine.pending().unwrap();
    assert!(queued.iter().find(|mutation| mutation.id == award).unwrap().values.get("freezes_day").is_none());
}

#[test]
fn what_the_server_says_of_frozen_days_is_kept_and_refusals_thaw() {
    let (mut engine, mut server) = (engine(), Server::default());
    on(&mut engine, 21, false);
    let refused = on(&mut engine, 22, true);
    assert_eq!(streak(&engine).0, 1);
    let outgoing = send(&mut engine);
    server.reject.push(refused);
    let mut answer = server.take(&outgoing.request);
    answer.rows.remove("user_progress");
    answer.rows.remove("daily_activity");
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    assert_eq!(streak(&engine).0, 0, "the day is not frozen");
}
