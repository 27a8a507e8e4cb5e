//! What a learner did on one local day.

use serde::{Deserialize, Serialize};

use crate::model::LocalDate;

/// The sum of one local day's sessions and events.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct ActivityDay {
    /// The learner's local day.
    pub day: LocalDate,
    /// Completed sessions.
    #[serde(default)]
    pub sessions: i64,
    /// Minutes practised.
    #[serde(default)]
    pub minutes: i64,
    /// Questions answered.
    #[serde(default)]
    pub questions: i64,
    /// Questions answered correctly.
    #[serde(default)]
    pub correct: i64,
    /// Words learned.
    #[serde(default)]
    pub words: i64,
    /// Points awarded.
    #[serde(default)]
    pub points: i64,
    /// Nothing lies on the day but a freeze: it joins the days around it, and is no active day.
    #[serde(default)]
    pub frozen: bool,
}

redacted_debug!(ActivityDay);

impl ActivityDay {
    /// A day on which something is about to be counted: frozen, as long as that is no activity.
    pub(crate) fn begun(day: LocalDate) -> Self {
        Self { frozen: true, ..Self::empty(day) }
    }

    /// A day on which nothing has been counted yet.
    pub fn empty(day: LocalDate) -> Self {
        Self { day, sessions: 0, minutes: 0, questions: 0, correct: 0, words: 0, points: 0, frozen: false }
    }
}
