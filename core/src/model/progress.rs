//! A learner's progress: the visible row of `user_progress`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::model::{LocalDate, Pairs, Timestamp, UserId};

/// Totals over all completed sessions and events, and the streaks.
///
/// All counters are whole numbers; they fit a JavaScript number.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify), tsify(hashmap_as_object))]
pub struct Progress {
    /// Whose progress it is.
    pub user_id: UserId,
    /// Image descriptions written.
    #[serde(default)]
    pub total_descriptions: i64,
    /// Images worked with.
    #[serde(default)]
    pub total_images: i64,
    /// Questions answered.
    #[serde(default)]
    pub total_questions_answered: i64,
    /// Questions answered correctly.
    #[serde(default)]
    pub total_questions_correct: i64,
    /// Words learned.
    #[serde(default)]
    pub total_vocabulary_learned: i64,
    /// Completed sessions.
    #[serde(default)]
    pub total_sessions: i64,
    /// Minutes practised.
    #[serde(default)]
    pub total_time_spent_minutes: i64,
    /// Consecutive local days up to the last active one. As read through the engine: 0 when that run ended before
    /// yesterday.
    #[serde(default)]
    pub current_streak_days: i64,
    /// The longest run of consecutive local days.
    #[serde(default)]
    pub longest_streak_days: i64,
    /// Points from awards.
    #[serde(default)]
    pub total_points: i64,
    /// Correct answers in percent of all answers, two decimals; 0 before the first answer.
    #[serde(default)]
    pub average_accuracy: f64,
    /// Mean length of a session in seconds, rounded; 0 before the first session.
    #[serde(default)]
    pub average_completion_time_seconds: i64,
    /// Words mastered.
    #[serde(default)]
    pub mastered_words_count: i64,
    /// Words being learned.
    #[serde(default)]
    pub learning_words_count: i64,
    /// Words seen but not practised.
    #[serde(default)]
    pub new_words_count: i64,
    /// Achievement id to the time it was first unlocked.
    #[serde(default, deserialize_with = "known_achievements")]
    #[cfg_attr(feature = "tsify", tsify(type = "Record<string, string>"))]
    pub achievements: BTreeMap<String, Timestamp>,
    /// The latest end of a session or time of an event.
    pub last_activity_at: Option<Timestamp>,
    /// The latest one with descriptions.
    pub last_description_at: Option<Timestamp>,
    /// The latest one with questions.
    pub last_qa_session_at: Option<Timestamp>,
    /// The latest one with vocabulary.
    pub last_vocabulary_practice_at: Option<Timestamp>,
    /// The last local day with activity, or frozen; as read through the engine, none after tomorrow.
    pub last_active_on: Option<LocalDate>,
    /// Days with activity that lie after tomorrow, by this device's clock: a clock was wrong when they were recorded. They are in
    /// the totals, and count for the streaks once they have come.
    #[serde(default)]
    pub future_days: i64,
    /// Frozen days in the current streak: they keep it, and do not count in it.
    #[serde(default)]
    pub frozen_days: i64,
}

redacted_debug!(Progress);

/// Reads the entries that are achievements. The column belongs to the app as well: what else it keeps there, however deep and
/// large, must not stop a sync.
fn known_achievements<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Timestamp>, D::Error> {
    let column = Box::<RawValue>::deserialize(from)?;
    let entries: Pairs<String, &RawValue> = serde_json::from_str(column.get()).unwrap_or_default();
    let known = |(id, at): (String, &RawValue)| Some((id, serde_json::from_str::<Timestamp>(at.get()).ok()?));
    let mut achievements = BTreeMap::new();
    achievements.extend(entries.0.into_iter().filter_map(known));
    Ok(achievements)
}

impl Progress {
    /// The progress of somebody who has not practised yet.
    pub fn empty(user_id: UserId) -> Self {
        Self {
            user_id,
            total_descriptions: 0,
            total_images: 0,
            total_questions_answered: 0,
            total_questions_correct: 0,
            total_vocabulary_learned: 0,
            total_sessions: 0,
            total_time_spent_minutes: 0,
            current_streak_days: 0,
            longest_streak_days: 0,
            total_points: 0,
            average_accuracy: 0.0,
            average_completion_time_seconds: 0,
            mastered_words_count: 0,
            learning_words_count: 0,
            new_words_count: 0,
            achievements: BTreeMap::new(),
            last_activity_at: None,
            last_description_at: None,
            last_qa_session_at: None,
            last_vocabulary_practice_at: None,
            last_active_on: None,
            future_days: 0,
            frozen_days: 0,
        }
    }

    /// The same progress as read on `today`: a streak that ended before yesterday shows 0.
    pub fn as_of(mut self, today: LocalDate) -> Self {
        let alive = self.last_active_on.is_some_and(|last| last >= today.previous());
        if !alive {
            self.current_streak_days = 0;
            self.frozen_days = 0;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_lives_until_the_end_of_the_next_day() {
        let user = UserId::from(uuid::Uuid::nil());
        let last: LocalDate = "2026-11-20".parse().unwrap();
        let progress =
            Progress { current_streak_days: 5, last_active_on: Some(last), ..Progress::empty(user) };
        for (today, shown) in [("2026-11-20", 5), ("2026-11-21", 5), ("2026-11-22", 0), ("2026-11-19", 5)] {
            assert_eq!(progress.clone().as_of(today.parse().unwrap()).current_streak_days, shown, "{today}");
        }
    }
}
