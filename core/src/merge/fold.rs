//! The fold of facts (completed sessions, awards) into progress and daily activity.
//!
//! All sums commute, so the order in which devices deliver their facts never matters.

use std::collections::BTreeMap;

use crate::merge::Streaks;
use crate::model::{ActivityDay, Event, LocalDate, Progress, Session, Timestamp, UserId};

/// What kind of fact it is: only a session counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// A completed session.
    Session,
    /// An award that belongs to no session.
    Award,
    /// A day that joins runs and is no active one.
    Freeze,
}

/// One fact in the fold's own terms. Counts are at least 0, but for the three word counts, which may go down.
#[derive(Clone, PartialEq)]
pub struct Fact {
    /// A session or an award.
    pub kind: FactKind,
    /// The end of the session, or the time of the award.
    pub occurred_at: Timestamp,
    /// The learner's local day.
    pub day: LocalDate,
    /// Image descriptions.
    pub descriptions: i64,
    /// Images.
    pub images: i64,
    /// Questions answered.
    pub questions_answered: i64,
    /// Questions answered correctly.
    pub questions_correct: i64,
    /// Words learned.
    pub vocabulary_learned: i64,
    /// Minutes practised.
    pub minutes: i64,
    /// Points.
    pub points: i64,
    /// Change of the mastered words.
    pub mastered_words: i64,
    /// Change of the words being learned.
    pub learning_words: i64,
    /// Change of the new words.
    pub new_words: i64,
    /// Achievements and when they were unlocked.
    pub achievements: BTreeMap<String, Timestamp>,
}

crate::model::redacted_debug!(Fact);

impl Fact {
    /// A fact of a kind that changes nothing but activity itself.
    pub fn empty(kind: FactKind, occurred_at: Timestamp, day: LocalDate) -> Fact {
        Fact {
            kind,
            occurred_at,
            day,
            descriptions: 0,
            images: 0,
            questions_answered: 0,
            questions_correct: 0,
            vocabulary_learned: 0,
            minutes: 0,
            points: 0,
            mastered_words: 0,
            learning_words: 0,
            new_words: 0,
            achievements: BTreeMap::new(),
        }
    }
}

impl From<&Event> for Fact {
    fn from(event: &Event) -> Fact {
        let kind = if event.freezes_day { FactKind::Freeze } else { FactKind::Award };
        Fact {
            descriptions: event.descriptions.into(),
            images: event.images.into(),
            questions_answered: event.questions_answered.into(),
            questions_correct: event.questions_correct.into(),
            vocabulary_learned: event.vocabulary_learned.into(),
            minutes: event.minutes.into(),
            points: event.points.into(),
            mastered_words: event.mastered_words.into(),
            learning_words: event.learning_words.into(),
            new_words: event.new_words.into(),
            achievements: event.achievements.clone(),
            ..Fact::empty(kind, event.occurred_at, event.local_date)
        }
    }
}

impl From<&Session> for Fact {
    fn from(session: &Session) -> Fact {
        // Rows written by others may hold NULL or nonsense below 0: both count as nothing.
        let count = |value: Option<i32>| i64::from(value.unwrap_or(0).max(0));
        Fact {
            descriptions: count(session.descriptions_generated),
            images: count(session.images_processed),
            questions_answered: count(session.qa_attempts),
            questions_correct: count(session.qa_correct),
            vocabulary_learned: count(session.vocabulary_learned),
            minutes: count(session.duration_minutes),
            ..Fact::empty(FactKind::Session, session.ended_at, session.local_date())
        }
    }
}

/// What a sum of the server's, an INTEGER, can hold.
const GREATEST: i64 = i32::MAX as i64;
const LEAST: i64 = i32::MIN as i64;

/// Adds one fact to the totals and to its day. Streaks are left to the caller, who knows the days.
pub(crate) fn count_fact(progress: &mut Progress, day: &mut ActivityDay, fact: &Fact) {
    count_sums(progress, day, fact, 1);
    for (id, unlocked_at) in &fact.achievements {
        let earliest = progress.achievements.entry(id.clone()).or_insert(*unlocked_at);
        *earliest = (*earliest).min(*unlocked_at);
    }
    count_times(progress, fact);
}

/// Adds the sums of a fact, or takes them out.
fn count_sums(progress: &mut Progress, day: &mut ActivityDay, fact: &Fact, sign: i64) {
    debug_assert_eq!(day.day, fact.day);
    day.frozen &= fact.kind == FactKind::Freeze;
    let sessions = i64::from(fact.kind == FactKind::Session);
    // At the end of the numbers that the server's columns hold they stay, here as there: no session is refused for it.
    for (total, more) in [
        (&mut progress.total_sessions, sessions),
        (&mut progress.total_descriptions, fact.descriptions),
        (&mut progress.total_images, fact.images),
        (&mut progress.total_questions_answered, fact.questions_answered),
        (&mut progress.total_questions_correct, fact.questions_correct),
        (&mut progress.total_vocabulary_learned, fact.vocabulary_learned),
        (&mut progress.total_time_spent_minutes, fact.minutes),
        (&mut progress.total_points, fact.points),
        (&mut progress.mastered_words_count, fact.mastered_words),
        (&mut progress.learning_words_count, fact.learning_words),
        (&mut progress.new_words_count, fact.new_words),
        (&mut day.sessions, sessions),
        (&mut day.minutes, fact.minutes),
        (&mut day.questions, fact.questions_answered),
        (&mut day.correct, fact.questions_correct),
        (&mut day.words, fact.vocabulary_learned),
        (&mut day.points, fact.points),
    ] {
        *total = total.saturating_add(sign * more).clamp(LEAST, GREATEST);
    }
    progress.average_accuracy =
        accuracy_percent(progress.total_questions_correct, progress.total_questions_answered);
    progress.average_completion_time_seconds =
        mean_seconds(progress.total_time_spent_minutes, progress.total_sessions);
}

/// The latest times, each with whether the fact bears on it.
fn latest_times<'p>(progress: &'p mut Progress, fact: &Fact) -> [(&'p mut Option<Timestamp>, bool); 4] {
    let words_moved =
        [fact.mastered_words, fact.learning_words, fact.new_words].iter().any(|delta| *delta != 0);
    [
        (&mut progress.last_activity_at, fact.kind != FactKind::Freeze),
        (&mut progress.last_description_at, fact.descriptions > 0),
        (&mut progress.last_qa_session_at, fact.questions_answered > 0),
        (&mut progress.last_vocabulary_practice_at, fact.vocabulary_learned > 0 || words_moved),
    ]
}

fn count_times(progress: &mut Progress, fact: &Fact) {
    for (latest, _) in latest_times(progress, fact).into_iter().filter(|(_, concerned)| *concerned) {
        *latest = (*latest).max(Some(fact.occurred_at));
    }
}

/// Percent with two decimals, half away from zero, at most 100: as `round(100 * correct / answered, 2)` in Postgres.
fn accuracy_percent(correct: i64, answered: i64) -> f64 {
    if answered <= 0 {
        return 0.0;
    }
    let hundredths =
        (20_000 * i128::from(correct) + i128::from(answered)).div_euclid(2 * i128::from(answered));
    hundredths.clamp(0, 10_000) as f64 / 100.0
}

/// Seconds a session, half away from zero: as `round(60.0 * minutes / sessions)` in Postgres.
fn mean_seconds(minutes: i64, sessions: i64) -> i64 {
    if sessions <= 0 {
        return 0;
    }
    let mean = (120 * i128::from(minutes) + i128::from(sessions)).div_euclid(2 * i128::from(sessions));
    i64::try_from(mean).unwrap_or(GREATEST).clamp(LEAST, GREATEST)
}

/// Progress and days, folded from facts.
#[derive(Clone, PartialEq)]
pub struct Fold {
    /// The totals and streaks; the streak as of the last active day.
    pub progress: Progress,
    /// One entry per active day.
    pub days: BTreeMap<LocalDate, ActivityDay>,
}

crate::model::redacted_debug!(Fold);

impl Fold {
    /// Nothing folded yet.
    pub fn empty(user_id: UserId) -> Fold {
        Fold { progress: Progress::empty(user_id), days: BTreeMap::new() }
    }

    /// Folds facts on top of what is there, in any order.
    pub fn add<'a>(&mut self, facts: impl IntoIterator<Item = &'a Fact>) {
        let counted = self.progress.last_active_on;
        let mut is_new_day = false;
        for fact in facts {
            let day = self.days.entry(fact.day).or_insert_with(|| ActivityDay::begun(fact.day));
            is_new_day |= day.frozen;
            count_fact(&mut self.progress, day, fact);
            is_new_day |= counted != Some(fact.day);
        }
        if is_new_day {
            let longest = self.progress.longest_streak_days;
            self.count_days_until(LocalDate::LAST);
            self.progress.longest_streak_days = self.progress.longest_streak_days.max(longest);
        }
    }

    /// Takes facts out again, behind others that were added. `facts`: how many facts a day has, where that is known; of another day
    /// its sums tell whether anything is left on it. Says which of the latest times may have gone with them, see
    /// [`Fold::set_latest`].
    pub fn take_out<'a>(
        &mut self,
        gone: impl IntoIterator<Item = &'a Fact>,
        facts: &mut BTreeMap<LocalDate, i64>,
    ) -> [bool; 4] {
        let mut unknown = [false; 4];
        for fact in gone {
            let day = self.days.entry(fact.day).or_insert_with(|| ActivityDay::empty(fact.day));
            count_sums(&mut self.progress, day, fact, -1);
            let is_empty = *day == ActivityDay::empty(fact.day);
            let left = facts.get_mut(&fact.day).map(|count| {
                *count -= 1;
                *count
            });
            if left.map_or(is_empty, |left| left <= 0) {
                self.days.remove(&fact.day);
            }
            let times = latest_times(&mut self.progress, fact);
            for ((at, concerned), unknown) in times.into_iter().zip(&mut unknown) {
                *unknown |= concerned && *at <= Some(fact.occurred_at);
            }
        }
        unknown
    }

    /// Sets those of the latest times that are not known any more to what was found among the facts that are left, in the order
    /// of activity, descriptions, questions, words; and counts these facts as well.
    pub fn set_latest<'a>(
        &mut self,
        unknown: [bool; 4],
        found: [Option<Timestamp>; 4],
        beside: impl IntoIterator<Item = &'a Fact>,
    ) {
        let progress = &mut self.progress;
        let times = [
            &mut progress.last_activity_at,
            &mut progress.last_description_at,
            &mut progress.last_qa_session_at,
            &mut progress.last_vocabulary_practice_at,
        ];
        for ((at, found), _) in times.into_iter().zip(found).zip(unknown).filter(|(_, unknown)| *unknown) {
            *at = found;
        }
        beside.into_iter().for_each(|fact| count_times(progress, fact));
    }

    /// Sets the streaks to those of the days up to `last`, and notes how many come after it. A server counts days up to its
    /// tomorrow; a reader, those up to the reader's.
    pub fn count_days_until(&mut self, last: LocalDate) {
        let streaks = Streaks::of_days(self.days.range(..=last).map(|(day, on)| (*day, !on.frozen)));
        let later = self.days.len() - self.days.range(..=last).count();
        self.progress.current_streak_days = streaks.current;
        self.progress.longest_streak_days = streaks.longest;
        self.progress.last_active_on = streaks.last;
        self.progress.future_days = i64::try_from(later).unwrap_or(i64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::UnixMillis;

    fn user() -> UserId {
        UserId::from(uuid::Uuid::nil())
    }

    fn fact(day_offset: i64, answered: i64, correct: i64, minutes: i64) -> Fact {
        let occurred_at = Timestamp::from_millis(UnixMillis(1_700_000_000_000 + day_offset * 86_400_000));
        let empty = Fact::empty(FactKind::Session, occurred_at, occurred_at.local_date(0));
        Fact { questions_answered: answered, questions_correct: correct, minutes, ..empty }
    }

    #[test]
    fn averages_round_half_away_from_zero() {
        for (correct, answered, percent) in [
            (1, 3, 33.33),
            (2, 3, 66.67),
            (1, 8, 12.5),
            (1, 16, 6.25),
            (1, 32, 3.13),
            (5, 4, 100.0),
            (0, 0, 0.0),
        ] {
            assert_eq!(accuracy_percent(correct, answered), percent, "{correct}/{answered}");
        }
        for (minutes, sessions, seconds) in [(10, 3, 200), (1, 8, 8), (1, 40, 2), (0, 0, 0), (7, 1, 420)] {
            assert_eq!(mean_seconds(minutes, sessions), seconds, "{minutes}/{sessions}");
        }
    }

    #[test]
    fn the_earlier_unlock_wins() {
        let mut fold = Fold::empty(user());
        let later = fact(3, 0, 0, 0).occurred_at;
        let earlier = fact(1, 0, 0, 0).occurred_at;
        let unlock =
            |at| Fact { achievements: BTreeMap::from([("first".to_owned(), at)]), ..fact(3, 0, 0, 0) };
        fold.add(&[unlock(later), unlock(earlier), unlock(later)]);
        assert_eq!(fold.progress.achievements["first"], earlier);
    }

    #[test]
    fn sums_stay_at_the_end_of_what_the_server_holds() {
        let (mut progress, mut day) =
            (Fold::empty(user()).progress, ActivityDay::empty(fact(0, 0, 0, 0).day));
        let award = Fact { points: GREATEST, mastered_words: LEAST, ..fact(0, 0, 0, GREATEST) };
        for _ in 0..2 {
            count_fact(&mut progress, &mut day, &award);
        }
        assert_eq!((progress.total_points, day.points), (GREATEST, GREATEST));
        assert_eq!((progress.mastered_words_count, progress.total_time_spent_minutes), (LEAST, GREATEST));
        assert!(progress.average_completion_time_seconds <= GREATEST);
    }

    proptest! {
        #[test]
        fn the_order_of_facts_never_matters(
            facts in prop::collection::vec((0i64..12, 0i64..9, 0i64..9, 0i64..90), 0..20),
            split in 0usize..20,
        ) {
            let facts: Vec<Fact> = facts.into_iter().map(|(d, a, c, m)| fact(d, a, c, m)).collect();
            let mut at_once = Fold::empty(user());
            at_once.add(&facts);
            let mut piecemeal = Fold::empty(user());
            let (left, right) = facts.split_at(split.min(facts.len()));
            right.iter().rev().for_each(|fact| piecemeal.add([fact]));
            piecemeal.add(left);
            prop_assert!(at_once == piecemeal);
            let Progress { current_streak_days: current, longest_streak_days: longest, last_active_on: last, .. } = at_once.progress;
            prop_assert_eq!(Streaks::of(at_once.days.keys().copied()), Streaks { current, longest, last });
        }
    }
}
