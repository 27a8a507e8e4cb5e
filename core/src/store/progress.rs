//! The visible rows: `user_progress` and `daily_activity`.

use rusqlite::{OptionalExtension, Params, Row, named_params, params};

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

const PROGRESS_COLUMNS: &str = "total_descriptions, total_images, total_questions_answered,
  total_questions_correct, total_vocabulary_learned, total_sessions, total_time_spent_minutes, current_streak_days,
  longest_streak_days, total_points, average_accuracy, average_completion_time_seconds, mastered_words_count,
  learning_words_count, new_words_count, achievements, last_activity_at, last_description_at, last_qa_session_at,
  last_vocabulary_practice_at, last_active_on";

impl Rows<'_> {
    /// The visible progress; `None` before the first fact and the first sync.
    pub(crate) fn progress(self, user_id: UserId) -> Result<Option<Progress>, Error> {
        let sql = format!("SELECT {PROGRESS_COLUMNS} FROM user_progress WHERE user_id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement
            .query_row([user_id.to_string()], |row| Ok(read_progress(user_id, row)))
            .optional()?
            .transpose()
    }

    /// Writes the visible progress and leaves the server's own columns as they are.
    pub(crate) fn put_progress(self, p: &Progress) -> Result<(), Error> {
        let sql = format!(
            "INSERT INTO user_progress (user_id, {PROGRESS_COLUMNS}) VALUES (:user_id, :descriptions, :images,
               :answered, :correct, :vocabulary, :sessions, :minutes, :current, :longest, :points, :accuracy, :seconds,
               :mastered, :learning, :new, :achievements, :activity_at, :description_at, :qa_at, :vocabulary_at,
               :active_on)
             ON CONFLICT (user_id) DO UPDATE SET ({PROGRESS_COLUMNS}) = (:descriptions, :images, :answered, :correct,
               :vocabulary, :sessions, :minutes, :current, :longest, :points, :accuracy, :seconds, :mastered,
               :learning, :new, :achievements, :activity_at, :description_at, :qa_at, :vocabulary_at, :active_on)"
        );
        let achievements = stored(serde_json::to_string(&p.achievements).ok())?;
        self.connection.prepare_cached(&sql)?.execute(named_params! {
            ":user_id": p.user_id.to_string(),
            ":descriptions": p.total_descriptions,
            ":images": p.total_images,
            ":answered": p.total_questions_answered,
            ":correct": p.total_questions_correct,
            ":vocabulary": p.total_vocabulary_learned,
            ":sessions": p.total_sessions,
            ":minutes": p.total_time_spent_minutes,
            ":current": p.current_streak_days,
            ":longest": p.longest_streak_days,
            ":points": p.total_points,
            ":accuracy": p.average_accuracy,
            ":seconds": p.average_completion_time_seconds,
            ":mastered": p.mastered_words_count,
            ":learning": p.learning_words_count,
            ":new": p.new_words_count,
            ":achievements": achievements,
            ":activity_at": p.last_activity_at.map(|at| at.to_string()),
            ":description_at": p.last_description_at.map(|at| at.to_string()),
            ":qa_at": p.last_qa_session_at.map(|at| at.to_string()),
            ":vocabulary_at": p.last_vocabulary_practice_at.map(|at| at.to_string()),
            ":active_on": p.last_active_on.map(|day| day.to_string()),
        })?;
        Ok(())
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
        self.days("WHERE day BETWEEN ?1 AND ?2", params![from.to_string(), to.to_string()])
    }

    /// Every active day, oldest first.
    pub(crate) fn all_activity(self) -> Result<Vec<ActivityDay>, Error> {
        self.days("", params![])
    }

    fn days(self, which: &str, bounds: impl Params) -> Result<Vec<ActivityDay>, Error> {
        let sql = format!(
            "SELECT day, sessions, minutes, questions, correct, words, points FROM daily_activity {which} ORDER BY day"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
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
            });
        }
        Ok(days)
    }

    /// All active days, oldest first.
    pub(crate) fn active_days(self) -> Result<Vec<LocalDate>, Error> {
        let mut statement = self.connection.prepare_cached("SELECT day FROM daily_activity ORDER BY day")?;
        let mut rows = statement.query([])?;
        let mut days = Vec::new();
        while let Some(row) = rows.next()? {
            let day: String = row.get(0)?;
            days.push(stored(day.parse().ok())?);
        }
        Ok(days)
    }

    pub(crate) fn put_activity(self, a: &ActivityDay) -> Result<(), Error> {
        let sql = "INSERT INTO daily_activity (day, sessions, minutes, questions, correct, words, points)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                   ON CONFLICT (day) DO UPDATE SET (sessions, minutes, questions, correct, words, points) =
                     (?2, ?3, ?4, ?5, ?6, ?7)";
        let values = (a.day.to_string(), a.sessions, a.minutes, a.questions, a.correct, a.words, a.points);
        self.connection.prepare_cached(sql)?.execute(values)?;
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
    })
}
