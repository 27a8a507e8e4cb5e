//! The words of `marea session` and `marea event`.

use clap::{Args, Subcommand};
use marea_native::{LocalDate, MutationId, Timestamp};

#[derive(Subcommand)]
pub(crate) enum SessionCommand {
    /// Record a completed session, durably, without using the network
    Record(RecordArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  marea session record --minutes 12 --questions 10 --correct 8
  marea session record --type reading --started-at 2026-11-22T23:50:00+01:00 --ended-at 2026-11-23T00:10:00+01:00

A script that may run the same line twice gives the session an id of its own (a UUID); the second time changes nothing:
  marea session record --id 019ab0d2-7c00-7000-8000-000000000001 --minutes 5")]
#[command(allow_negative_numbers = true)] // The engine says better what is wrong with one.
pub(crate) struct RecordArgs {
    /// What kind of session, 1 to 50 characters
    #[arg(long = "type", value_name = "TYPE", default_value = "practice")]
    pub(crate) session_type: String,
    /// Minutes practised, at most a day [default: from --started-at to --ended-at]
    #[arg(long, value_name = "N")]
    pub(crate) minutes: Option<i32>,
    /// Images worked with
    #[arg(long, value_name = "N")]
    pub(crate) images: Option<i32>,
    /// Descriptions written
    #[arg(long, value_name = "N")]
    pub(crate) descriptions: Option<i32>,
    /// Questions answered
    #[arg(long, value_name = "N")]
    pub(crate) questions: Option<i32>,
    /// Questions answered correctly
    #[arg(long, value_name = "N")]
    pub(crate) correct: Option<i32>,
    /// Words learned
    #[arg(long, value_name = "N")]
    pub(crate) words: Option<i32>,
    /// Phrases saved
    #[arg(long, value_name = "N")]
    pub(crate) phrases: Option<i32>,
    /// When it began, as in 2026-11-23T14:00:00+01:00 [default: the end less the minutes]
    #[arg(long, value_name = "TIME")]
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended [default: the start and the minutes, where both are given; else now]
    #[arg(long, value_name = "TIME")]
    pub(crate) ended_at: Option<Timestamp>,
    /// The learner's own day that it counts for [default: the local day of its end, by the offset that is written in it or else by
    /// this machine's time zone]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) local_date: Option<LocalDate>,
    /// An id of your own, so that the same line run twice records one session
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<MutationId>,
    /// More about the session, as a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum EventCommand {
    /// Record an award that belongs to no session, durably, without using the network
    Record(EventArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  marea event record --points 50 --achievement first-week
  marea event record --mastered 3 --learning -3        three words went from learning to mastered

The learner's words by state are changes, so that two devices add up: --mastered 3 is three more, --learning -3 three fewer.")]
#[command(allow_negative_numbers = true)]
pub(crate) struct EventArgs {
    /// Points awarded
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) points: i32,
    /// An achievement unlocked, by its id; may be given several times
    #[arg(long = "achievement", value_name = "ID", value_delimiter = ',')]
    pub(crate) achievements: Vec<String>,
    /// Freeze the day (see --local-date): it joins the days around it to one streak; it awards nothing beside
    #[arg(long)]
    pub(crate) freeze: bool,
    /// Change of the mastered words
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) mastered: i32,
    /// Change of the words being learned
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) learning: i32,
    /// Change of the new words
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) new: i32,
    /// Minutes practised outside of any session
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) minutes: i32,
    /// Images worked with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) images: i32,
    /// Descriptions written
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) descriptions: i32,
    /// Questions answered
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) questions: i32,
    /// Questions answered correctly
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) correct: i32,
    /// Words learned
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) words: i32,
    /// When it happened, as in 2026-11-23T14:00:00+01:00 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) occurred_at: Option<Timestamp>,
    /// The learner's own day that it counts for [default: the local day of when it happened]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) local_date: Option<LocalDate>,
    /// An id of your own, so that the same line run twice records one award
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<MutationId>,
}
