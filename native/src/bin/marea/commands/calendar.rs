//! The weeks as a calendar, a column for each, and totals as small charts. Pure: days in, text out.

use jiff::civil::{Date, Weekday};
use marea_native::{ActivityDay, LocalDate};

use crate::output::count;
use crate::style::{Ink, Style};

/// From nothing to the most; each told apart without colour too.
const STEPS: [&str; 5] = ["·", "░", "▒", "▓", "█"];
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The names of the weekdays and the space after them.
const MARGIN: usize = 5;

pub(super) fn date_of(day: LocalDate) -> Option<Date> {
    day.to_string().parse().ok()
}

/// The Monday of a day's week.
pub(super) fn monday_of(day: Date) -> Date {
    let since = day.weekday().to_monday_zero_offset();
    day.saturating_sub(jiff::Span::new().days(since))
}

/// One week: its Monday and what each of its days has, `None` outside of the range.
struct Week {
    monday: Date,
    days: [Option<i64>; 7],
    sums: [i64; 6],
}

/// Draws `days` of the range on a terminal.
pub(super) fn draw(from: LocalDate, to: LocalDate, days: &[ActivityDay], style: Style) -> Option<String> {
    let (first, last) = (date_of(from)?, date_of(to)?);
    let room = style.width.saturating_sub(MARGIN) / 2;
    let weeks = weeks(first, last, days);
    // The latest weeks when not all have room.
    let shown = &weeks[weeks.len().saturating_sub(room.max(1))..];
    let mut text = months(shown, style);
    text += &grid(shown, style);
    text += &legend(days, first, last, style);
    text.push('\n');
    text += &charts(shown, style);
    Some(text)
}

fn weeks(first: Date, last: Date, days: &[ActivityDay]) -> Vec<Week> {
    let mut weeks = Vec::new();
    let mut monday = monday_of(first);
    while monday <= last {
        weeks.push(Week { monday, days: [None; 7], sums: [0; 6] });
        match monday.checked_add(jiff::Span::new().days(7)) {
            Ok(next) => monday = next,
            Err(_) => break,
        }
    }
    for week in &mut weeks {
        for (offset, slot) in week.days.iter_mut().enumerate() {
            let day = week.monday.saturating_add(jiff::Span::new().days(offset as i64));
            *slot = (first..=last).contains(&day).then_some(0);
        }
    }
    for day in days {
        let Some(date) = date_of(day.day) else { continue };
        let monday = monday_of(date);
        let Some(week) = weeks.iter_mut().find(|week| week.monday == monday) else { continue };
        week.days[date.weekday().to_monday_zero_offset() as usize] = Some(weight(day));
        for (sum, number) in week.sums.iter_mut().zip(super::activity::numbers(day)) {
            *sum += number;
        }
    }
    weeks
}

/// What makes a day dark: its minutes, or what was done without any.
fn weight(day: &ActivityDay) -> i64 {
    match day.minutes {
        1.. => day.minutes,
        _ => (day.sessions + day.questions + day.words).max(1),
    }
}

fn months(weeks: &[Week], style: Style) -> String {
    let mut line = vec![' '; MARGIN + weeks.len() * 2 + 3];
    let mut free_from = 0;
    let month = |column: usize| weeks.get(column).map(|week| week.monday.month());
    for (column, week) in weeks.iter().enumerate() {
        // The first month has no room for its name when the next begins at once.
        let begins = match column {
            0 => month(1).is_none_or(|next| Some(next) == month(0)),
            _ => month(column) != month(column - 1),
        };
        let at = MARGIN + column * 2;
        if begins && at >= free_from {
            let name = week.monday.strftime("%b").to_string();
            for (offset, letter) in name.chars().enumerate() {
                line[at + offset] = letter;
            }
            free_from = at + name.chars().count() + 1;
        }
    }
    let line: String = line.into_iter().collect();
    style.paint(Ink::Dim, line.trim_end()) + "\n"
}

fn grid(weeks: &[Week], style: Style) -> String {
    let most = weeks.iter().flat_map(|week| week.days).flatten().max().unwrap_or(0);
    let mut text = String::new();
    for (row, weekday) in Weekday::Monday.cycle_forward().take(7).enumerate() {
        let name = &format!("{weekday:?}")[..3];
        text += &style.paint(Ink::Dim, &format!("{name:<MARGIN$}"));
        for week in weeks {
            text += &match week.days[row] {
                None => "  ".to_owned(),
                Some(weight) => {
                    let step = step(weight, most);
                    style.paint(Ink::Shade(step), STEPS[step]) + " "
                }
            };
        }
        text = text.trim_end().to_owned() + "\n";
    }
    text
}

/// 0 for nothing, else 1 to 4 by quarters of the greatest.
fn step(weight: i64, most: i64) -> usize {
    if weight <= 0 || most <= 0 {
        return 0;
    }
    usize::try_from((weight * 4 + most - 1) / most).unwrap_or(4).clamp(1, 4)
}

fn legend(days: &[ActivityDay], first: Date, last: Date, style: Style) -> String {
    let range = first.until(last).map_or(0, |span| i64::from(span.get_days())) + 1;
    let active = i64::try_from(days.len()).unwrap_or(i64::MAX);
    let scale: String =
        (0..STEPS.len()).map(|step| style.paint(Ink::Shade(step), STEPS[step]) + " ").collect();
    format!(
        "{}less {scale}more    active on {} of {range}\n",
        " ".repeat(MARGIN),
        count(active, "day", "days")
    )
}

fn charts(weeks: &[Week], style: Style) -> String {
    let names = ["Sessions", "Minutes", "Questions", "Correct", "Words", "Points"];
    let mut text = String::new();
    for (column, name) in names.iter().enumerate() {
        let values: Vec<i64> = weeks.iter().map(|week| week.sums[column]).collect();
        let total: i64 = values.iter().sum();
        let this_week = values.last().copied().unwrap_or(0);
        text += &format!(
            "{name:<10} {total:>8}  {}  {}\n",
            style.paint(Ink::Shade(3), &spark(&values)),
            style.paint(Ink::Dim, &format!("{this_week} this week"))
        );
    }
    text
}

/// One bar for each number; nothing for 0.
fn spark(values: &[i64]) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &i64| match *value {
        ..=0 => ' ',
        value => BARS[usize::try_from((value * 8 - 1) / most).unwrap_or(7).min(7)],
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: &str, minutes: i64) -> ActivityDay {
        let json = serde_json::json!({ "day": day, "sessions": 1, "minutes": minutes, "questions": 10, "correct": 8,
            "words": 2, "points": 5 });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn weeks_are_columns_and_days_are_shaded() {
        let days = [day("2026-11-02", 10), day("2026-11-11", 40), day("2026-11-15", 20)];
        let text = draw("2026-11-02".parse().unwrap(), "2026-11-18".parse().unwrap(), &days, Style::charts())
            .unwrap();
        let expected = "     Nov\nMon  ░ · ·\nTue  · · ·\nWed  · █ ·\nThu  · ·\nFri  · ·\nSat  · ·\nSun  · ▒\n\
                        \x20    less · ░ ▒ ▓ █ more    active on 3 days of 17\n\n\
                        Sessions          3  ▄█   0 this week\nMinutes          70  ▂█   0 this week\n\
                        Questions        30  ▄█   0 this week\nCorrect          24  ▄█   0 this week\n\
                        Words             6  ▄█   0 this week\nPoints           15  ▄█   0 this week\n";
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_narrow_terminal_shows_the_latest_weeks() {
        let style = Style { width: 13, ..Style::charts() };
        let text = draw("2026-01-01".parse().unwrap(), "2026-11-18".parse().unwrap(), &[], style).unwrap();
        assert!(text.lines().skip(1).take(7).all(|line| line.chars().count() <= 13), "{text}");
        assert!(text.contains("Nov"), "{text}");
    }
}
