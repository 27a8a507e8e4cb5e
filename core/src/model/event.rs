//! An award that belongs to no session: what an app hands in, and the event it becomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::limits::{check_day, check_instant, check_names, check_number};
use crate::model::{Here, LocalDate, MutationId, Table, Timestamp};

/// An award as an app hands it in. Everything is optional, but something must be awarded.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(default, deny_unknown_fields)]
pub struct EventInput {
    /// The event's id, a UUID, for callers that may call twice: the same id again is a no-op. Made when absent.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub id: Option<MutationId>,
    /// Default: now.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub occurred_at: Option<Timestamp>,
    /// The learner's local day that it counts for. Default: the local day of `occurred_at`, by the offset that is written in it,
    /// else by the time zone of this device at that instant.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub local_date: Option<LocalDate>,
    /// Image descriptions, 0 to 1,000,000, as the six below.
    pub descriptions: i32,
    /// Images.
    pub images: i32,
    /// Questions answered.
    pub questions_answered: i32,
    /// Questions answered correctly; at most `questions_answered`.
    pub questions_correct: i32,
    /// Words learned.
    pub vocabulary_learned: i32,
    /// Minutes practised.
    pub minutes: i32,
    /// Points.
    pub points: i32,
    /// Change of the mastered words, -1,000,000 to 1,000,000, as the two below.
    pub mastered_words: i32,
    /// Change of the words being learned.
    pub learning_words: i32,
    /// Change of the new words.
    pub new_words: i32,
    /// Ids of achievements unlocked now, 1 to 100 characters each, at most 100.
    pub achievements: Vec<String>,
    /// The day is frozen: it joins the days around it to one streak, and counts as no day of it. Of a day that has passed this is
    /// a repair. It awards nothing else; a day with activity is none the less active. The server lets a learner have so many in
    /// 30 days.
    pub freezes_day: bool,
}

/// An award as it is queued and sent: the columns of `marea.progress_events`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: MutationId,
    pub(crate) occurred_at: Timestamp,
    pub(crate) local_date: LocalDate,
    pub(crate) descriptions: i32,
    pub(crate) images: i32,
    pub(crate) questions_answered: i32,
    pub(crate) questions_correct: i32,
    pub(crate) vocabulary_learned: i32,
    pub(crate) minutes: i32,
    pub(crate) points: i32,
    pub(crate) mastered_words: i32,
    pub(crate) learning_words: i32,
    pub(crate) new_words: i32,
    pub(crate) achievements: BTreeMap<String, Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) freezes_day: bool,
}

redacted_debug!(EventInput, Event);

impl EventInput {
    /// The columns that [`EventInput::complete`] fills in, because the caller says nothing of them.
    pub(crate) fn assumed(&self) -> Vec<&'static str> {
        let told = [("occurred_at", self.occurred_at.is_some()), ("local_date", self.local_date.is_some())];
        told.into_iter().filter(|(_, is_told)| !is_told).map(|(column, _)| column).collect()
    }

    /// Fills in the defaults and checks every range.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] names the field.
    pub(crate) fn complete(self, id: MutationId, here: Here<'_>) -> Result<Event, Error> {
        self.check()?;
        let occurred_at = self.occurred_at.unwrap_or_else(|| here.now.timestamp().max(Timestamp::FIRST));
        let its_day = || here.local_date(occurred_at, occurred_at.written_offset_minutes());
        let mut achievements = BTreeMap::new();
        achievements.extend(self.achievements.into_iter().map(|name| (name, occurred_at)));
        Ok(Event {
            id,
            occurred_at,
            local_date: self.local_date.unwrap_or_else(its_day),
            descriptions: self.descriptions,
            images: self.images,
            questions_answered: self.questions_answered,
            questions_correct: self.questions_correct,
            vocabulary_learned: self.vocabulary_learned,
            minutes: self.minutes,
            points: self.points,
            mastered_words: self.mastered_words,
            learning_words: self.learning_words,
            new_words: self.new_words,
            achievements,
            freezes_day: self.freezes_day,
        })
    }

    fn check(&self) -> Result<(), Error> {
        const TABLE: Table = Table::ProgressEvents;
        check_instant(TABLE, "occurred_at", self.occurred_at)?;
        check_day(TABLE, "local_date", self.local_date)?;
        for (column, value) in [
            ("descriptions", self.descriptions),
            ("images", self.images),
            ("questions_answered", self.questions_answered),
            ("questions_correct", self.questions_correct),
            ("vocabulary_learned", self.vocabulary_learned),
            ("minutes", self.minutes),
            ("points", self.points),
            ("mastered_words", self.mastered_words),
            ("learning_words", self.learning_words),
            ("new_words", self.new_words),
        ] {
            check_number(TABLE, column, Some(value))?;
        }
        if self.questions_correct > self.questions_answered {
            return Err(Error::invalid("questions_correct", "is greater than questions_answered"));
        }
        check_names(TABLE, "achievements", &self.achievements)?;
        let nothing = Self {
            id: self.id,
            occurred_at: self.occurred_at,
            local_date: self.local_date,
            ..Self::default()
        };
        if self.freezes_day && *self != (Self { freezes_day: true, ..nothing.clone() }) {
            return Err(Error::invalid(
                "freezes_day",
                "awards nothing beside; give what is awarded an event of its own",
            ));
        }
        if *self == nothing {
            return Err(Error::invalid("event", "awards nothing; set at least one field"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Now, UnixMillis};

    fn complete(input: EventInput) -> Result<Event, Error> {
        let now = Now { unix_ms: UnixMillis(1_763_899_200_000), utc_offset_minutes: 0 };
        input.complete(MutationId::from(uuid::Uuid::nil()), now.into())
    }

    #[test]
    fn achievements_are_unlocked_when_the_event_occurred() {
        let input = EventInput { achievements: vec!["first".to_owned()], ..EventInput::default() };
        let event = complete(input).unwrap();
        assert_eq!(event.achievements["first"], event.occurred_at);
        assert_eq!(event.local_date.to_string(), "2025-11-23");
    }

    #[test]
    fn every_refusal_names_its_field() {
        for (field, input) in [
            ("event", EventInput::default()),
            ("points", EventInput { points: -1, ..EventInput::default() }),
            ("new_words", EventInput { new_words: -1_000_001, ..EventInput::default() }),
            ("questions_correct", EventInput { questions_correct: 1, ..EventInput::default() }),
            ("achievements", EventInput { achievements: vec![String::new()], ..EventInput::default() }),
        ] {
            match complete(input) {
                Err(Error::InvalidInput { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
