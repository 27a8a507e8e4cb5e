//! A completed practice session: what an app hands in, and the event it becomes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::limits::{check_day, check_instant, check_number, check_object, check_text};
use crate::model::{Here, LocalDate, MutationId, Table, Timestamp};

/// A completed session as an app hands it in. Only `session_type` is required.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(default, deny_unknown_fields)]
pub struct SessionInput {
    /// The session's id, a UUID, for callers that may call twice: the same id again is a no-op. Made when absent.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub id: Option<MutationId>,
    /// The kind of practice, 1 to 50 characters.
    pub session_type: String,
    /// Default: the end less the duration. In the years 1970 to 9999, as the end.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub started_at: Option<Timestamp>,
    /// Default: the start and the duration, where both are given; else now.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub ended_at: Option<Timestamp>,
    /// The learner's local day that the session counts for. Default: the local day of its end, by the offset that is written in
    /// `ended_at` (in `started_at`, where no end is given), else by the time zone of this device at that instant.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub local_date: Option<LocalDate>,
    /// Whole minutes, 0 to 1,440: a session is at most a day long. Default: from start to end, when a start is given.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub duration_minutes: Option<i32>,
    /// 0 to 1,000,000, as all the counts below.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub images_processed: Option<i32>,
    /// Image descriptions written.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub descriptions_generated: Option<i32>,
    /// Questions answered.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub qa_attempts: Option<i32>,
    /// Questions answered correctly; at most `qa_attempts`.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub qa_correct: Option<i32>,
    /// Words learned.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub vocabulary_learned: Option<i32>,
    /// Phrases saved.
    #[cfg_attr(feature = "tsify", tsify(optional))]
    pub phrases_saved: Option<i32>,
    /// Anything else the app wants to keep with the session, at most 64 KiB as JSON and 64 levels deep.
    #[cfg_attr(feature = "tsify", tsify(optional, type = "Record<string, unknown>"))]
    pub session_data: Option<Map<String, Value>>,
}

/// A completed session as it is queued and sent: the columns of `sessions`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The mutation's id.
    pub id: MutationId,
    /// The kind of practice.
    pub session_type: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was completed.
    pub ended_at: Timestamp,
    /// Whole minutes.
    pub duration_minutes: Option<i32>,
    /// Images worked with.
    pub images_processed: Option<i32>,
    /// Image descriptions written.
    pub descriptions_generated: Option<i32>,
    /// Questions answered.
    pub qa_attempts: Option<i32>,
    /// Questions answered correctly.
    pub qa_correct: Option<i32>,
    /// Words learned.
    pub vocabulary_learned: Option<i32>,
    /// Phrases saved.
    pub phrases_saved: Option<i32>,
    /// The app's own data, and `local_date`.
    pub session_data: Map<String, Value>,
}

redacted_debug!(SessionInput, Session);

/// The key in `session_data` under which Postgres finds the learner's day.
pub(crate) const LOCAL_DATE: &str = "local_date";
/// The column that it is in.
pub(crate) const DATA: &str = "session_data";

impl SessionInput {
    /// A session of a kind, everything else by default.
    pub fn new(session_type: impl Into<String>) -> Self {
        Self { session_type: session_type.into(), ..Self::default() }
    }

    /// The columns that [`SessionInput::complete`] fills in, because the caller says nothing of them.
    pub(crate) fn assumed(&self) -> Vec<&'static str> {
        let told = [
            ("started_at", self.started_at.is_some()),
            ("ended_at", self.ended_at.is_some()),
            (LOCAL_DATE, self.local_date.is_some()),
            ("duration_minutes", self.duration_minutes.is_some()),
        ];
        told.into_iter().filter(|(_, is_told)| !is_told).map(|(column, _)| column).collect()
    }

    /// Fills in the defaults and checks every range.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] names the field.
    pub(crate) fn complete(self, id: MutationId, here: Here<'_>) -> Result<Session, Error> {
        self.check()?;
        let ended_at = match (self.ended_at, self.started_at, self.duration_minutes) {
            (Some(end), ..) => end,
            (None, Some(start), Some(minutes)) => start.minus_minutes(-minutes),
            _ => here.now.timestamp().max(Timestamp::FIRST),
        };
        let duration_minutes = match (self.duration_minutes, self.started_at) {
            (None, Some(start)) => Some(checked_minutes(ended_at.minutes_since(start))?),
            (given, _) => given,
        };
        let before_the_end = || ended_at.minus_minutes(duration_minutes.unwrap_or(0)).max(Timestamp::FIRST);
        let started_at = self.started_at.unwrap_or_else(before_the_end);
        if started_at > ended_at {
            return Err(Error::invalid("started_at", "is after ended_at"));
        }
        let written = self.ended_at.or(self.started_at).and_then(Timestamp::written_offset_minutes);
        let local_date = self.local_date.unwrap_or_else(|| here.local_date(ended_at, written));
        let mut session_data = self.session_data.unwrap_or_default();
        session_data.insert(LOCAL_DATE.to_owned(), Value::String(local_date.to_string()));
        // As it is sent: with the day in it.
        check_object(Table::Sessions, "session_data", Some(&session_data))?;
        Ok(Session {
            id,
            session_type: self.session_type,
            started_at,
            ended_at,
            duration_minutes,
            images_processed: self.images_processed,
            descriptions_generated: self.descriptions_generated,
            qa_attempts: self.qa_attempts,
            qa_correct: self.qa_correct,
            vocabulary_learned: self.vocabulary_learned,
            phrases_saved: self.phrases_saved,
            session_data,
        })
    }

    fn check(&self) -> Result<(), Error> {
        check_text(Table::Sessions, "session_type", &self.session_type)?;
        check_instant(Table::Sessions, "started_at", self.started_at)?;
        check_instant(Table::Sessions, "ended_at", self.ended_at)?;
        // The same years as of a day that is a column.
        check_day(Table::ProgressEvents, LOCAL_DATE, self.local_date)?;
        for (column, value) in [
            ("duration_minutes", self.duration_minutes),
            ("images_processed", self.images_processed),
            ("descriptions_generated", self.descriptions_generated),
            ("qa_attempts", self.qa_attempts),
            ("qa_correct", self.qa_correct),
            ("vocabulary_learned", self.vocabulary_learned),
            ("phrases_saved", self.phrases_saved),
        ] {
            check_number(Table::Sessions, column, value)?;
        }
        if self.qa_correct.unwrap_or(0) > self.qa_attempts.unwrap_or(0) {
            return Err(Error::invalid("qa_correct", "is greater than qa_attempts"));
        }
        Ok(())
    }
}

/// The minutes from start to end, if a session may have so many.
fn checked_minutes(minutes: i64) -> Result<i32, Error> {
    let too_long = || {
        let problem =
            "is more than 24 hours before the end; give duration_minutes, or the ended_at that is missing";
        Error::invalid("started_at", problem)
    };
    check_number(Table::Sessions, "duration_minutes", Some(minutes)).map_err(|_| too_long())?;
    i32::try_from(minutes).map_err(|_| too_long())
}

impl Session {
    /// The learner's local day: `session_data.local_date` when it is a calendar day, else the UTC day of the end.
    pub fn local_date(&self) -> LocalDate {
        let named = self.session_data.get(LOCAL_DATE).and_then(Value::as_str).and_then(LocalDate::written);
        named.unwrap_or_else(|| self.ended_at.local_date(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Now, UnixMillis, Zone};

    fn now() -> Now {
        let at: Timestamp = "2026-11-23T23:30:00Z".parse().unwrap();
        Now { unix_ms: at.as_millis(), utc_offset_minutes: 60 }
    }

    fn complete(input: SessionInput) -> Result<Session, Error> {
        input.complete(MutationId::from(uuid::Uuid::nil()), now().into())
    }

    #[test]
    fn defaults_come_from_the_hosts_clock() {
        let input = SessionInput { duration_minutes: Some(10), ..SessionInput::new("qa") };
        let session = complete(input).unwrap();
        assert_eq!(session.ended_at.to_string(), "2026-11-23T23:30:00.000000Z");
        assert_eq!(session.started_at.to_string(), "2026-11-23T23:20:00.000000Z");
        assert_eq!(session.local_date().to_string(), "2026-11-24");
    }

    #[test]
    fn a_start_alone_gives_the_duration() {
        let started_at = Some(Timestamp::from_millis(UnixMillis(now().unix_ms.0 - 125_000)));
        let session = complete(SessionInput { started_at, ..SessionInput::new("qa") }).unwrap();
        assert_eq!(session.duration_minutes, Some(2));
    }

    #[test]
    fn a_start_and_a_duration_give_the_end() {
        let input = SessionInput {
            started_at: Some("2026-11-15T10:00:00Z".parse().unwrap()),
            duration_minutes: Some(5),
            ..SessionInput::new("qa")
        };
        let session = complete(input.clone()).unwrap();
        assert_eq!(session.ended_at.to_string(), "2026-11-15T10:05:00.000000Z");
        assert_eq!(session.local_date().to_string(), "2026-11-15");
        // What is given is given: a session may have had pauses.
        let ended_at = Some(now().timestamp());
        assert_eq!(complete(SessionInput { ended_at, ..input }).unwrap().ended_at, now().timestamp());
    }

    /// Central Europe: summer time from the end of March to the end of October.
    struct Madrid;

    impl Zone for Madrid {
        fn utc_offset_minutes(&self, at: Timestamp) -> i32 {
            let summer = "2026-03-29T01:00:00Z".parse().unwrap().."2026-10-25T01:00:00Z".parse().unwrap();
            if summer.contains(&at) { 120 } else { 60 }
        }
    }

    #[test]
    fn the_day_is_that_of_the_end_by_the_offset_that_was_written_or_the_zones_of_that_instant() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let base = || SessionInput::new("qa");
        let minutes = Some(10);
        for (input, day) in [
            // Now is winter; the session was in summer.
            (SessionInput { ended_at: at("2026-07-15T22:30:00Z"), ..base() }, "2026-07-16"),
            (SessionInput { ended_at: at("2026-01-15T22:30:00Z"), ..base() }, "2026-01-15"),
            (SessionInput { ended_at: at("2026-01-15T23:30:00-00:00"), ..base() }, "2026-01-16"),
            (SessionInput { ended_at: at("2026-07-15T22:30:00+00:00"), ..base() }, "2026-07-15"),
            (SessionInput { ended_at: at("2026-07-16T07:30:00+09:00"), ..base() }, "2026-07-16"),
            (SessionInput { ended_at: at("2026-07-15T18:30:00-04:00"), ..base() }, "2026-07-15"),
            // The end is only known by its start.
            (
                SessionInput {
                    started_at: at("2026-07-15T23:55:00-04:00"),
                    duration_minutes: minutes,
                    ..base()
                },
                "2026-07-16",
            ),
            (
                SessionInput { started_at: at("2026-07-15T21:55:00Z"), duration_minutes: minutes, ..base() },
                "2026-07-16",
            ),
            (
                SessionInput { started_at: at("2026-07-15T21:45:00Z"), duration_minutes: minutes, ..base() },
                "2026-07-15",
            ),
            // The end's own text says nothing about the place, and it is the end that counts.
            (
                SessionInput {
                    started_at: at("2026-07-15T18:20:00-04:00"),
                    ended_at: at("2026-07-15T22:30:00Z"),
                    ..base()
                },
                "2026-07-16",
            ),
        ] {
            let here = Here { now: now(), zone: Some(&Madrid), day_starts_at: 0 };
            let session = input.complete(MutationId::from(uuid::Uuid::nil()), here).unwrap();
            assert_eq!(session.local_date().to_string(), day, "{}", session.ended_at);
        }
    }

    #[test]
    fn a_session_of_more_than_a_day_is_refused_and_one_of_a_day_is_not() {
        let start = |minutes: i32| Some(now().timestamp().minus_minutes(minutes));
        let base = || SessionInput::new("qa");
        for (field, input) in [
            ("started_at", SessionInput { started_at: start(1441), ..base() }),
            ("started_at", SessionInput { started_at: start(173 * 60), ..base() }),
            ("started_at", SessionInput { started_at: start(3000), ended_at: start(1000), ..base() }),
            ("duration_minutes", SessionInput { duration_minutes: Some(1441), ..base() }),
        ] {
            match complete(input) {
                Err(Error::InvalidInput { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        assert_eq!(
            complete(SessionInput { started_at: start(1440), ..base() }).unwrap().duration_minutes,
            Some(1440)
        );
        assert!(complete(SessionInput { duration_minutes: Some(1440), ..base() }).is_ok());
    }

    #[test]
    fn every_refusal_names_its_field() {
        let future = Some(Timestamp::from_millis(now().unix_ms.plus_ms(1000)));
        let nul = serde_json::json!({ "note": "a\u{0}b" });
        let long_ago: Option<Timestamp> = Some("1969-12-31T23:50:00Z".parse().unwrap());
        let base = || SessionInput::new("qa");
        for (field, input) in [
            ("session_type", SessionInput::new("")),
            ("session_type", SessionInput::new("x".repeat(51))),
            ("duration_minutes", SessionInput { duration_minutes: Some(-1), ..base() }),
            ("phrases_saved", SessionInput { phrases_saved: Some(1_000_001), ..base() }),
            ("qa_correct", SessionInput { qa_correct: Some(1), ..base() }),
            ("started_at", SessionInput { started_at: future, ..base() }),
            ("started_at", SessionInput { started_at: long_ago, ..base() }),
            ("ended_at", SessionInput { ended_at: long_ago, ..base() }),
            ("local_date", SessionInput { local_date: Some("1969-12-31".parse().unwrap()), ..base() }),
            ("session_data", SessionInput { session_data: nul.as_object().cloned(), ..base() }),
        ] {
            match complete(input) {
                Err(Error::InvalidInput { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    /// A device that lost its clock to an empty battery is at 1970; what is practised there is not lost.
    #[test]
    fn at_the_beginning_of_time_nothing_is_before_it() {
        let input = SessionInput { duration_minutes: Some(10), ..SessionInput::new("qa") };
        let at = Now { unix_ms: UnixMillis(-5), utc_offset_minutes: -300 };
        let session = input.complete(MutationId::from(uuid::Uuid::nil()), at.into()).unwrap();
        assert_eq!(session.ended_at, Timestamp::FIRST);
        assert_eq!(session.started_at, Timestamp::FIRST);
        assert_eq!(session.local_date(), LocalDate::FIRST);
    }

    #[test]
    fn a_garbled_local_date_falls_back_to_the_utc_day() {
        let mut session = complete(SessionInput::new("qa")).unwrap();
        session.session_data.insert(LOCAL_DATE.to_owned(), Value::String("2026-02-30".to_owned()));
        assert_eq!(session.local_date().to_string(), "2026-11-23");
        // As the server has it.
        session.session_data.insert(LOCAL_DATE.to_owned(), Value::String("1969-12-31".to_owned()));
        assert_eq!(session.local_date().to_string(), "2026-11-23");
    }
}
