//! `marea progress`: the visible totals, averages and streaks, from the mirror alone.

use marea_native::{Progress, block_on};

use crate::cli::Globals;
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, aligned, count};

pub(crate) fn run(globals: &Globals, output: &Output) -> Result<(), Failure> {
    let progress = block_on(identify(globals)?.open()?.progress())?;
    output.result(&progress, for_people)
}

fn for_people(progress: &Progress) -> String {
    if progress.last_activity_at.is_none() && progress.last_active_on.is_none() {
        return "Nothing recorded yet. Begin with: marea session record --minutes 10\n".into();
    }
    let days = |number| count(number, "day", "days");
    let streak =
        format!("{} (longest {})", days(progress.current_streak_days), days(progress.longest_streak_days));
    let sessions = format!(
        "{}, {} in all, {} each",
        progress.total_sessions,
        minutes(progress.total_time_spent_minutes),
        seconds(progress.average_completion_time_seconds)
    );
    let questions = format!(
        "{} answered, {} correct ({:.2} %)",
        progress.total_questions_answered, progress.total_questions_correct, progress.average_accuracy
    );
    let words = format!(
        "{} learned ({} mastered, {} in learning, {} new)",
        progress.total_vocabulary_learned,
        progress.mastered_words_count,
        progress.learning_words_count,
        progress.new_words_count
    );
    let images = count(progress.total_images, "image", "images");
    let achievements: Vec<&str> = progress.achievements.keys().map(String::as_str).collect();
    let mut lines = vec![
        ("Streak", streak),
        ("Last active", progress.last_active_on.map_or("not yet".to_owned(), |day| day.to_string())),
        ("Sessions", sessions),
        ("Questions", questions),
        ("Words", words),
        ("Descriptions", format!("{} of {images}", progress.total_descriptions)),
        ("Points", progress.total_points.to_string()),
    ];
    if progress.frozen_days > 0 {
        lines.push(("Frozen", count(progress.frozen_days, "day of this streak", "days of this streak")));
    }
    if progress.future_days > 0 {
        let ahead = count(progress.future_days, "day lies", "days lie");
        lines.push((
            "Ahead",
            format!("{ahead} after tomorrow; for the streak they count once they have come"),
        ));
    }
    if !achievements.is_empty() {
        lines.push(("Achievements", achievements.join(", ")));
    }
    aligned(&lines)
}

fn minutes(minutes: i64) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

fn seconds(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (whole, 0) => minutes(whole),
        (minutes, seconds) if minutes < 60 => format!("{minutes} min {seconds} s"),
        (whole, _) => minutes(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!((minutes(12), minutes(200)), ("12 min".into(), "3 h 20 min".into()));
        let shown = [45, 120, 725, 3600, 3725].map(seconds);
        assert_eq!(shown, ["45 s", "2 min", "12 min 5 s", "1 h 0 min", "1 h 2 min"]);
    }
}
