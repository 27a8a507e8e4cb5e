//! Which numbers of an award and of a session count: each, in its own place.

use std::collections::BTreeMap;

use super::{Fact, Fold};
use crate::model::{Event, Session};

fn numbers(fact: &Fact) -> [i64; 10] {
    let Fact { descriptions, images, questions_answered, questions_correct, vocabulary_learned, .. } = *fact;
    let Fact { minutes, points, mastered_words, learning_words, new_words, .. } = *fact;
    [
        descriptions,
        images,
        questions_answered,
        questions_correct,
        vocabulary_learned,
        minutes,
        points,
        mastered_words,
        learning_words,
        new_words,
    ]
}

#[test]
fn a_fact_has_every_number_of_its_award_or_session() {
    let event: Event = serde_json::from_value(serde_json::json!({
        "id": uuid::Uuid::nil(), "occurred_at": "2026-01-02T03:04:05Z", "local_date": "2026-01-02",
        "descriptions": 1, "images": 2, "questions_answered": 3, "questions_correct": 4, "vocabulary_learned": 5,
        "minutes": 6, "points": 7, "mastered_words": 8, "learning_words": 9, "new_words": 10, "achievements": {},
    }))
    .unwrap();
    assert_eq!(numbers(&Fact::from(&event)), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let session = |[descriptions, images, answered, correct, words, minutes]: [i32; 6]| -> Session {
        serde_json::from_value(serde_json::json!({
            "id": uuid::Uuid::nil(), "session_type": "qa", "started_at": "2026-01-02T03:04:05Z",
            "ended_at": "2026-01-02T03:04:05Z", "duration_minutes": minutes, "images_processed": images,
            "descriptions_generated": descriptions, "qa_attempts": answered, "qa_correct": correct,
            "vocabulary_learned": words, "session_data": {},
        }))
        .unwrap()
    };
    for (given, expected) in [([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]), ([-1; 6], [0; 6])] {
        assert_eq!(numbers(&Fact::from(&session(given)))[..6], expected);
    }
}

#[test]
fn only_the_latest_times_of_what_is_taken_out_become_unknown() {
    for (column, expected) in [
        ("minutes", [true, false, false, false]),
        ("descriptions", [true, true, false, false]),
        ("questions_answered", [true, false, true, false]),
        ("vocabulary_learned", [true, false, false, true]),
    ] {
        let mut json = serde_json::json!({
            "id": uuid::Uuid::nil(), "occurred_at": "2026-01-02T03:04:05Z", "local_date": "2026-01-02",
            "descriptions": 0, "images": 0, "questions_answered": 0, "questions_correct": 0, "vocabulary_learned": 0,
            "minutes": 0, "points": 0, "mastered_words": 0, "learning_words": 0, "new_words": 0, "achievements": {},
        });
        json[column] = 1.into();
        let fact = Fact::from(&serde_json::from_value::<Event>(json).unwrap());
        let mut fold = Fold::empty(uuid::Uuid::nil().into());
        fold.add([&fact]);
        assert_eq!(fold.take_out([&fact], &mut BTreeMap::new()), expected, "{column}");
        assert!(fold.days.is_empty());
    }
}
