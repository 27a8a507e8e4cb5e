//! The values, as other languages see them: fields and names are the engine's, times and days texts in the forms of `docs/PROTOCOL.md`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A completed session.
#[derive(Serialize, uniffi::Record)]
pub struct SessionInput {
    /// What kind of session it was.
    pub session_type: String,
    /// Made here unless it is given; the same one again is the same session.
    #[uniffi(default = None)]
    pub id: Option<String>,
    /// When it began.
    #[uniffi(default = None)]
    pub started_at: Option<String>,
    /// When it ended; now unless it is given.
    #[uniffi(default = None)]
    pub ended_at: Option<String>,
    /// The learner's local day, `YYYY-MM-DD`.
    #[uniffi(default = None)]
    pub local_date: Option<String>,
    /// How long it took.
    #[uniffi(default = None)]
    pub duration_minutes: Option<i32>,
    /// Images that were looked at.
    #[uniffi(default = None)]
    pub images_processed: Option<i32>,
    /// Descriptions that were written.
    #[uniffi(default = None)]
    pub descriptions_generated: Option<i32>,
    /// Questions that were answered.
    #[uniffi(default = None)]
    pub qa_attempts: Option<i32>,
    /// Of these, the right ones.
    #[uniffi(default = None)]
    pub qa_correct: Option<i32>,
    /// Words that were learned.
    #[uniffi(default = None)]
    pub vocabulary_learned: Option<i32>,
    /// Phrases that were kept.
    #[uniffi(default = None)]
    pub phrases_saved: Option<i32>,
}

/// An award that belongs to no session.
#[derive(Serialize, uniffi::Record)]
pub struct EventInput {
    /// Made here unless it is given; the same one again is the same award.
    #[uniffi(default = None)]
    pub id: Option<String>,
    /// When; now unless it is given.
    #[uniffi(default = None)]
    pub occurred_at: Option<String>,
    /// Points.
    #[uniffi(default = 0)]
    pub points: i32,
    /// Minutes.
    #[uniffi(default = 0)]
    pub minutes: i32,
    /// Words that were learned.
    #[uniffi(default = 0)]
    pub vocabulary_learned: i32,
    /// Words that are mastered now.
    #[uniffi(default = 0)]
    pub mastered_words: i32,
    /// Achievements, each by its name.
    #[uniffi(default = [])]
    pub achievements: Vec<String>,
    /// True to freeze the day: it joins runs and does not count.
    #[uniffi(default = false)]
    pub freezes_day: bool,
}

/// A write that is durable.
#[derive(Deserialize, uniffi::Record)]
pub struct Recorded {
    /// The mutation's id; for a session also the row's.
    pub id: String,
    /// The key of the row that it concerns.
    pub key: String,
    /// Mutations that wait for the server now.
    pub pending: u32,
}

/// The learner's progress: what the server confirmed, with this device's unsent work on top.
#[derive(Deserialize, uniffi::Record)]
pub struct Progress {
    /// Whose.
    pub user_id: String,
    /// Sessions.
    pub total_sessions: i64,
    /// Minutes.
    pub total_time_spent_minutes: i64,
    /// Points.
    pub total_points: i64,
    /// Descriptions.
    pub total_descriptions: i64,
    /// Images.
    pub total_images: i64,
    /// Questions that were answered.
    pub total_questions_answered: i64,
    /// Of these, the right ones.
    pub total_questions_correct: i64,
    /// Words that were learned.
    pub total_vocabulary_learned: i64,
    /// In percent.
    pub average_accuracy: f64,
    /// In seconds.
    pub average_completion_time_seconds: i64,
    /// The run of days that lasts.
    pub current_streak_days: i64,
    /// The longest one.
    pub longest_streak_days: i64,
    /// Words that are mastered.
    pub mastered_words_count: i64,
    /// Words that are being learned.
    pub learning_words_count: i64,
    /// Words that are new.
    pub new_words_count: i64,
    /// Each with when it was earned.
    pub achievements: HashMap<String, String>,
    /// The last day with activity.
    pub last_active_on: Option<String>,
}

/// One local day.
#[derive(Deserialize, uniffi::Record)]
pub struct ActivityDay {
    /// `YYYY-MM-DD`.
    pub day: String,
    /// Sessions.
    pub sessions: i64,
    /// Minutes.
    pub minutes: i64,
    /// Questions that were answered.
    pub questions: i64,
    /// Of these, the right ones.
    pub correct: i64,
    /// Words that were learned.
    pub words: i64,
    /// Points.
    pub points: i64,
    /// It joins runs and does not count.
    pub frozen: bool,
}

/// A code and a message for people.
#[derive(Deserialize, uniffi::Record)]
pub struct StatusError {
    /// Stable.
    pub code: String,
    /// What happened and what to do.
    pub message: String,
}

/// How much waits, whether the server can be reached, what went wrong last.
#[derive(Deserialize, uniffi::Record)]
pub struct Status {
    /// Whose mirror it is.
    pub user_id: String,
    /// Mutations that the server has not acknowledged yet.
    pub pending: u32,
    /// Mutations that the server refused.
    pub rejected: u32,
    /// `unknown`, `online` or `offline`.
    pub connection: String,
    /// False while the network is away, or the app has forbidden it.
    pub online: bool,
    /// True while the app itself has forbidden it.
    pub paused: bool,
    /// Whether a request is under way.
    pub syncing: bool,
    /// When the mirror last agreed with the server.
    pub last_synced_at: Option<String>,
    /// Why the last sync did not finish.
    pub last_error: Option<StatusError>,
}

/// What a sync did.
#[derive(Deserialize, uniffi::Record)]
pub struct SyncReport {
    /// `done`, `offline`, `need_token`, `refused`, `retry_later`, ...
    pub outcome: String,
    /// Mutations that were sent.
    pub pushed: u32,
    /// Of these, refused.
    pub rejected: u32,
    /// Rows that arrived.
    pub pulled: u32,
    /// Mutations that still wait.
    pub pending: u32,
    /// Why it did not finish.
    pub last_error: Option<StatusError>,
}

/// What became of a passphrase.
#[derive(Deserialize, uniffi::Record)]
pub struct PassphraseOutcome {
    /// A new recovery code, in place of the one before; shown once.
    pub recovery_code: Option<String>,
    /// The passphrase was an older one.
    pub passphrase_is_old: bool,
    /// Providers whose keys are sealed under another one.
    pub other_passphrase: Vec<String>,
    /// Envelopes that were brought up to date.
    pub rewritten: u32,
}
