//! The visible rows: `user_progress` and `daily_activity`.

use rusqlite::{OptionalExtension, Params, Row, ToSql, params};

use crate::error::Error;
use crate::model::{ActivityDay, LocalDate, Progress, UserId};
use crate::store::{Rows, stored};

/// What the server alone sets in a progress row.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(crate) struct ServerColumns {
    pub(crate) id: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) updated_at: Option<String>,
}

const GET_PROGRESS: &str = "SELECT total_descriptions, total_images, total_questions_answered, total_questions_correct,
    total_vocabulary_learned, total_sessions, total_time_spent_minutes, current_streak_days, longest_streak_days,
    total_points, average_accuracy, average_completion_time_seconds, mastered_words_count, learning_words_count,
    new_words_count, achievements, last_activity_at, last_description_at, last_qa_session_at,
    last_vocabulary_practice_at, last_active_on
  FROM user_progress WHERE user_id = ?1";

const CHANGE_PROGRESS: &str = "UPDATE user_progress SET total_descriptions = ?2, total_images = ?3,
    total_questions_answered = ?4, total_questions_correct = ?5, total_vocabulary_learned = ?6, total_sessions = ?7,
    total_time_spent_minutes = ?8, current_streak_days = ?9, longest_streak_days = ?10, total_points = ?11,
    average_accuracy = ?12, average_completion_time_seconds = ?13, mastered_words_count = ?14,
    learning_words_count = ?15, new_words_count = ?16, achievements = ?17, last_activity_at = ?18,
    last_description_at = ?19, last_qa_session_at = ?20, last_vocabulary_practice_at = ?21, last_active_on = ?22
  WHERE user_id = ?1";

const MAKE_PROGRESS: &str = "INSERT INTO user_progress (user_id, total_descriptions, total_images,
    total_questions_answered, total_questions_correct, total_vocabulary_learned, total_sessions,
    total_time_spent_minutes, current_streak_days, longest_streak_days, total_points, average_accuracy,
    average_completion_time_seconds, mastered_words_count, learning_words_count, new_words_count, achievements,
    last_activity_at, last_description_at, last_qa_session_at, last_vocabulary_practice_at, last_active_on)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";

impl Rows<'_> {
    /// The visible progress; `None` before the first fact and the first sync.
    pub(crate) fn progress(self, user_id: UserId) -> Result<Option<Progress>, Error> {
        let mut statement = self.connection.prepare_cached(GET_PROGRESS)?;
        statement
            .query_row([user_id.to_string()], |row| Ok(read_progress(user_id, row)))
            .optional()?
            .transpose()
    }

    /// Writes the visible progress and leaves the server's own columns as they are.
    pub(crate) fn put_progress(self, p: &Progress) -> Result<(), Error> {
        let achievements = stored(serde_json::to_string(&p.achievements).ok())?;
        let values = params![
            p.user_id.to_string(),
            p.total_descriptions,
            p.total_images,
            p.total_questions_answered,
            p.total_questions_correct,
            p.total_vocabulary_learned,
            p.total_sessions,
            p.total_time_spent_minutes,
            p.current_streak_days,
            p.longest_streak_days,
            p.total_points,
            p.average_accuracy,
            p.average_completion_time_seconds,
            p.mastered_words_count,
            p.learning_words_count,
            p.new_words_count,
            achievements,
            p.last_activity_at.map(|at| at.to_string()),
            p.last_description_at.map(|at| at.to_string()),
            p.last_qa_session_at.map(|at| at.to_string()),
            p.last_vocabulary_practice_at.map(|at| at.to_string()),
            p.last_active_on.map(|day| day.to_string()),
        ];
        self.change_or_make(CHANGE_PROGRESS, MAKE_PROGRESS, values)
    }

    pub(crate) fn put_server_columns(self, user_id: UserId, columns: &ServerColumns) -> Result<(), Error> {
        let sql = "UPDATE user_progress SET id = ?2, created_at = ?3, updated_at = ?4 WHERE user_id = ?1";
        let values = (user_id.to_string(), &columns.id, &columns.created_at, &columns.updated_at);
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    pub(crate) fn activity_day(self, day: LocalDate) -> Result<Option<ActivityDay>, Error> {
        Ok(self.activity(day, day)?.pop())
    }

    /// The active days from `from` to `to`, both included, oldest first.
    pub(crate) fn activity(self, from: LocalDate, to: LocalDate) -> Result<Vec<ActivityDay>, Error> {
        let sql =
            "SELECT day, sessions, minutes, questions, correct, words, points, frozen FROM daily_activity
                   WHERE day BETWEEN ?1 AND ?2 ORDER BY day";
        self.days(sql, params![from.to_string(), to.to_string()])
    }

    /// Every active day, oldest first.
    pub(crate) fn all_activity(self) -> Result<Vec<ActivityDay>, Error> {
        let sql = "SELECT day, sessions, minutes, questions, correct, words, points, frozen FROM daily_activity ORDER BY day";
        self.days(sql, params![])
    }

    fn days(self, sql: &str, bounds: impl Params) -> Result<Vec<ActivityDay>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(bounds)?;
        let mut days = Vec::new();
        while let Some(row) = rows.next()? {
            let day: String = row.get(0)?;
            days.push(ActivityDay {
                day: stored(day.parse().ok())?,
                sessions: row.get(1)?,
                minutes: row.get(2)?,
                questions: row.get(3)?,
                correct: row.get(4)?,
                words: row.get(5)?,
                points: row.get(6)?,
                frozen: row.get(7)?,
            });
        }
        Ok(days)
    }

    /// All active days, oldest first.
    pub(crate) fn active_days(self) -> Result<Vec<(LocalDate, bool)>, Error> {
        let sql = "SELECT day, NOT frozen FROM daily_activity ORDER BY day";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut days = Vec::new();
        while let Some(row) = rows.next()? {
            let day: String = row.get(0)?;
            days.push((stored(day.parse().ok())?, row.get(1)?));
        }
        Ok(days)
    }

    /// How many days are frozen in the run that ends at `last`. Nearly always there is none in the mirror, and then nothing is looked at.
    pub(crate) fn frozen_days_of_run(self, last: LocalDate) -> Result<i64, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM daily_activity WHERE frozen)";
        if !self.connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, bool>(0))? {
            return Ok(0);
        }
        let (mut frozen, mut expected) = (0, last);
        for (day, is_active) in self.active_days()?.into_iter().rev().skip_while(|(day, _)| *day > last) {
            if day != expected {
                break;
            }
            frozen += i64::from(!is_active);
            expected = day.previous();
        }
        Ok(frozen)
    }

    /// Whether a day between these two has activity.
    pub(crate) fn is_active_between(
        self,
        after: Option<LocalDate>,
        before: LocalDate,
    ) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM daily_activity WHERE day > ?1 AND day < ?2)";
        let after = after.map(|day| day.to_string()).unwrap_or_default();
        Ok(self.connection.prepare_cached(sql)?.query_row([after, before.to_string()], |row| row.get(0))?)
    }

    /// The last active day up to `last`, and how many come after it.
    pub(crate) fn days_until(self, last: LocalDate) -> Result<(Option<LocalDate>, i64), Error> {
        let sql = "SELECT (SELECT max(day) FROM daily_activity WHERE day <= ?1),
                          (SELECT count(*) FROM daily_activity WHERE day > ?1)";
        let (latest, later): (Option<String>, i64) = self
            .connection
            .prepare_cached(sql)?
            .query_row([last.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((latest.map(|day| stored(day.parse().ok())).transpose()?, later))
    }

    pub(crate) fn put_activity(self, a: &ActivityDay) -> Result<(), Error> {
        let change =
            "UPDATE daily_activity SET sessions = ?2, minutes = ?3, questions = ?4, correct = ?5, words = ?6,
                      points = ?7, frozen = ?8 WHERE day = ?1";
        let make =
            "INSERT INTO daily_activity (day, sessions, minutes, questions, correct, words, points, frozen)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = params![
            a.day.to_string(),
            a.sessions,
            a.minutes,
            a.questions,
            a.correct,
            a.words,
            a.points,
            a.frozen
        ];
        self.change_or_make(change, make, values)
    }

    /// Changes a row that is nearly always there: an upsert would put a new one together first, and throw it away.
    fn change_or_make(self, change: &str, make: &str, values: &[&dyn ToSql]) -> Result<(), Error> {
        if self.connection.prepare_cached(change)?.execute(values)? == 0 {
            self.connection.prepare_cached(make)?.execute(values)?;
        }
        Ok(())
    }

    pub(crate) fn remove_activity(self, day: LocalDate) -> Result<(), Error> {
        self.connection
            .prepare_cached("DELETE FROM daily_activity WHERE day = ?1")?
            .execute([day.to_string()])?;
        Ok(())
    }
}

fn read_progress(user_id: UserId, row: &Row<'_>) -> Result<Progress, Error> {
    let achievements: String = row.get(15)?;
    let time = |index: usize| -> Result<_, Error> {
        let text: Option<String> = row.get(index)?;
        text.map(|text| stored(text.parse().ok())).transpose()
    };
    let day: Option<String> = row.get(20)?;
    Ok(Progress {
        user_id,
        total_descriptions: row.get(0)?,
        total_images: row.get(1)?,
        total_questions_answered: row.get(2)?,
        total_questions_correct: row.get(3)?,
        total_vocabulary_learned: row.get(4)?,
        total_sessions: row.get(5)?,
        total_time_spent_minutes: row.get(6)?,
        current_streak_days: row.get(7)?,
        longest_streak_days: row.get(8)?,
        total_points: row.get(9)?,
        average_accuracy: row.get(10)?,
        average_completion_time_seconds: row.get(11)?,
        mastered_words_count: row.get(12)?,
        learning_words_count: row.get(13)?,
        new_words_count: row.get(14)?,
        achievements: stored(serde_json::from_str(&achievements).ok())?,
        last_activity_at: time(16)?,
        last_description_at: time(17)?,
        last_qa_session_at: time(18)?,
        last_vocabulary_practice_at: time(19)?,
        last_active_on: day.map(|day| stored(day.parse().ok())).transpose()?,
        future_days: 0,
        frozen_days: 0,
    })
}
