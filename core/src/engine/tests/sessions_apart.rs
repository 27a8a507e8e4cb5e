//! What other devices do to sessions, and what is done here meanwhile, before the rows of progress that contain it are confirmed.

use serde_json::{Value, json};

use super::sessions::{Folding, correct, delete, device, on, sync};
use super::tables::map;
use super::*;
use crate::engine::sessions::can_be_inserted;

/// Takes an answer that was made before `work` was done here: its rows of progress wait until that is out of doubt.
fn answered_during(engine: &mut Engine, server: &mut Folding, work: impl FnOnce(&mut Engine)) {
    engine.signal(Signal::SyncNow, at(0));
    let outgoing = engine.next_request(at(0)).unwrap().unwrap();
    let answer = server.take(&outgoing.request);
    work(engine);
    engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
}

fn last_activity(engine: &Engine) -> String {
    engine.progress(at(0)).unwrap().last_activity_at.unwrap().to_string()
}

/// The progress that is confirmed contains the session as it was before the other device corrected it.
#[test]
fn two_corrections_of_one_session_count_as_one_while_its_progress_waits() {
    let (mut one, mut two, mut server) = (device(), device(), Folding::default());
    let key = on(&mut one, "2025-11-20", 10);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    correct(&mut two, &key, json!({ "duration_minutes": 15 })).unwrap();
    sync(&mut two, &mut server);
    answered_during(&mut one, &mut server, |one| {
        correct(one, &key, json!({ "duration_minutes": 20 })).unwrap();
    });
    assert_eq!(totals(&one), (1, 20));
    sync(&mut one, &mut server);
    assert_eq!((totals(&one), &server.rows[&key]["duration_minutes"]), ((1, 20), &json!(20)));
}

/// Another device's deletion has come, the progress without it has not: its session is still the latest of those that count.
#[test]
fn the_latest_time_is_that_of_a_session_that_still_counts() {
    let (mut one, mut two, mut server) = (device(), device(), Folding::default());
    let keys = ["2025-11-20", "2025-11-21", "2025-11-22"].map(|day| on(&mut one, day, 10));
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    delete(&mut two, &keys[1]);
    sync(&mut two, &mut server);
    answered_during(&mut one, &mut server, |one| drop(delete(one, &keys[2])));
    assert_eq!((totals(&one), last_activity(&one).as_str()), ((2, 20), "2025-11-21T10:00:00.000000Z"));
    sync(&mut one, &mut server);
    assert_eq!((totals(&one), last_activity(&one).as_str()), ((1, 10), "2025-11-20T10:00:00.000000Z"));
}

/// Sessions come page by page, progress with the last one.
#[test]
fn a_correction_before_any_progress_has_come_counts_for_what_it_says() {
    let (mut one, mut two, mut server) = (device(), device(), Folding::default());
    let key = on(&mut one, "2025-11-20", 10);
    sync(&mut one, &mut server);
    let first = send(&mut two);
    let mut answer = SyncAnswer { has_more: true, ..server.take(&first.request) };
    answer.rows.retain(|table, _| table == "sessions");
    two.apply_response(first.ticket, Ok(answer), at(0)).unwrap();
    correct(&mut two, &key, json!({ "duration_minutes": 20 })).unwrap();
    assert_eq!(totals(&two), (1, 20));
    sync(&mut two, &mut server);
    assert_eq!(totals(&two), (1, 20));
}

#[test]
fn a_deleted_session_takes_all_its_numbers_along() {
    let (mut one, mut server) = (device(), Folding::default());
    let input = SessionInput {
        ended_at: Some("2025-11-20T10:00:00Z".parse().unwrap()),
        images_processed: Some(2),
        descriptions_generated: Some(3),
        vocabulary_learned: Some(4),
        qa_correct: Some(5),
        qa_attempts: Some(6),
        ..session(7)
    };
    let key = one.mutate(input.into(), at(0)).unwrap().key;
    sync(&mut one, &mut server);
    let numbers = |engine: &Engine| {
        let progress = engine.progress(at(0)).unwrap();
        [
            progress.total_images,
            progress.total_descriptions,
            progress.total_vocabulary_learned,
            progress.total_questions_correct,
            progress.total_questions_answered,
            progress.total_time_spent_minutes,
            progress.total_sessions,
        ]
    };
    assert_eq!(numbers(&one), [2, 3, 4, 5, 6, 7, 1]);
    delete(&mut one, &key);
    assert_eq!(numbers(&one), [0; 7]);
}

/// The app has counted it before there was Marea: no day shows it, and no deletion takes it away.
#[test]
fn a_longest_run_that_no_day_shows_outlives_a_deletion() {
    let (mut one, mut server) = (device(), Folding::default());
    let keys = ["2025-11-20", "2025-11-21"].map(|day| on(&mut one, day, 10));
    sync(&mut one, &mut server);
    one.signal(Signal::SyncNow, at(0));
    let outgoing = one.next_request(at(0)).unwrap().unwrap();
    let mut answer = server.take(&outgoing.request);
    let progress = &mut answer.rows.get_mut("user_progress").unwrap()[0];
    let mut values: Value = serde_json::from_str(progress.values.get()).unwrap();
    values["longest_streak_days"] = json!(9);
    progress.values = to_raw_value(&values).unwrap();
    one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    delete(&mut one, &keys[0]);
    let shown = one.progress(at(0)).unwrap();
    assert_eq!((shown.longest_streak_days, shown.total_sessions), (9, 1));
}

#[test]
fn a_correction_is_compared_with_what_it_leaves_and_only_where_it_says_something() {
    let (mut one, mut server) = (device(), Folding::default());
    let key = on(&mut one, "2025-11-20", 10);
    sync(&mut one, &mut server);
    // Both bounds may be reached.
    correct(&mut one, &key, json!({ "qa_correct": 10, "started_at": "2025-11-20T10:00:00Z" })).unwrap();
    let refusal = |one: &mut Engine, values| correct(one, &key, values).unwrap_err().to_string();
    assert_eq!(
        refusal(&mut one, json!({ "qa_attempts": 9 })),
        "sessions.qa_correct: is greater than qa_attempts"
    );
    assert_eq!(
        refusal(&mut one, json!({ "ended_at": "2025-11-20T09:59:59Z" })),
        "sessions.started_at: is after ended_at"
    );
    sync(&mut one, &mut server);
    // Somebody else has written what no device may: that is no reason to refuse a note.
    let row = server.rows.get_mut(&key).unwrap();
    row.extend(map(json!({ "qa_attempts": 3, "started_at": "2025-11-20T11:00:00.000000Z" })));
    sync(&mut one, &mut server);
    correct(&mut one, &key, json!({ "note": "mine" })).unwrap();
}

#[test]
fn the_day_of_a_session_stays_with_other_data_and_changes_alone() {
    let mut one = device();
    let key = on(&mut one, "2025-11-20", 10);
    let days = |engine: &Engine| {
        let days = engine.activity("1970-01-01".parse().unwrap(), "9999-12-31".parse().unwrap()).unwrap();
        days.into_iter().map(|day| day.day.to_string()).collect::<Vec<_>>()
    };
    let data = |engine: &Engine| tables::row(engine, "sessions", &key)["session_data"].clone();
    correct(&mut one, &key, json!({ "local_date": "2025-11-10" })).unwrap();
    assert_eq!(
        (days(&one), data(&one)),
        (vec!["2025-11-10".to_owned()], json!({ "local_date": "2025-11-10" }))
    );
    correct(&mut one, &key, json!({ "session_data": { "level": 3 } })).unwrap();
    assert_eq!(data(&one), json!({ "level": 3, "local_date": "2025-11-10" }));
    correct(&mut one, &key, json!({ "duration_minutes": 12 })).unwrap();
    assert_eq!((totals(&one), days(&one)), ((1, 12), vec!["2025-11-10".to_owned()]));
}

/// A server that has lost its past is given only what it would take.
#[test]
fn only_a_completed_session_can_be_inserted_again() {
    let id = "00000000-0000-7000-8000-0000000000aa".parse().unwrap();
    for (values, may) in [
        (json!({ "ended_at": "2025-11-20T10:00:00.000000Z", "duration_minutes": 5, "note": "x" }), true),
        (json!({ "duration_minutes": 5 }), false),
        (json!({ "ended_at": "2025-11-20T10:00:00.000000Z", "duration_minutes": 1441 }), false),
    ] {
        let mut values = map(values);
        assert_eq!(can_be_inserted(&mut values, id), may, "{values:?}");
        assert!(values.get("note").is_none() && values["id"] == id.to_string());
    }
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all_where_only_the_row_tells_that_it_is_wrong() {
    let mut one = device();
    let key = on(&mut one, "2025-11-20", 10);
    let values = map(json!({ "qa_correct": 99 }));
    let wrong = Change::Update { table: "sessions".into(), key, values };
    let refused = one.mutate_batch(None, vec![session(7).into(), wrong], at(0)).unwrap_err();
    assert_eq!(refused.to_string(), "sessions.qa_correct: is greater than qa_attempts");
    assert_eq!((totals(&one), one.pending().unwrap().len()), ((1, 10), 1));
}

/// The other device has changed what counts, and this one a note meanwhile.
#[test]
fn progress_shows_what_the_row_of_a_session_shows_while_its_own_waits() {
    let (mut one, mut two, mut server) = (device(), device(), Folding::default());
    let key = on(&mut one, "2025-11-20", 10);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    correct(&mut two, &key, json!({ "duration_minutes": 15 })).unwrap();
    sync(&mut two, &mut server);
    answered_during(&mut one, &mut server, |one| {
        correct(one, &key, json!({ "note": "mine" })).unwrap();
    });
    let row = tables::row(&one, "sessions", &key);
    assert_eq!((totals(&one), &row["duration_minutes"], &row["note"]), ((1, 15), &json!(15), &json!("mine")));
    sync(&mut one, &mut server);
    assert_eq!(totals(&one), (1, 15));
    assert_eq!(one.store.count_rows("shadow_rows"), 0);
}

/// The answer to its insert is lost, and another device has deleted it by the time that it is sent once more.
#[test]
fn a_session_that_was_deleted_elsewhere_is_not_shown_by_its_insert_that_waits() {
    let (mut one, mut two, mut server) = (device(), device(), Folding::default());
    sync(&mut one, &mut server);
    let key = on(&mut one, "2025-11-20", 10);
    one.signal(Signal::SyncNow, at(0));
    let lost = one.next_request(at(0)).unwrap().unwrap();
    server.take(&lost.request);
    one.apply_response(lost.ticket, Err(Failure::Timeout), at(0)).unwrap();
    sync(&mut two, &mut server);
    delete(&mut two, &key);
    sync(&mut two, &mut server);
    answered_during(&mut one, &mut server, |one| drop(on(one, "2025-11-21", 5)));
    assert_eq!((totals(&one), tables::row(&one, "sessions", &key)), ((1, 5), Value::Null));
    sync(&mut one, &mut server);
    assert_eq!((totals(&one), tables::row(&one, "sessions", &key)), ((1, 5), Value::Null));
}
