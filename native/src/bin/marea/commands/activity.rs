//! `marea activity`: what was done on each local day, from the mirror alone.

use marea_native::{ActivityDay, LocalDate, block_on};
use serde::Serialize;

use super::calendar;
use crate::cli::{ActivityArgs, Globals};
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, table};
use crate::style::Style;

/// Weeks before this one: with it, about a third of a year, which fits a small terminal.
const WEEKS_BEFORE: i64 = 17;

#[derive(Serialize)]
struct Report {
    from: LocalDate,
    to: LocalDate,
    /// Oldest first; days without activity are left out.
    days: Vec<ActivityDay>,
}

pub(crate) fn run(globals: &Globals, args: &ActivityArgs, output: &Output) -> Result<(), Failure> {
    let client = identify(globals)?.open()?;
    let to = args.to.unwrap_or_else(|| client.today());
    let from = match (args.from, args.days) {
        (Some(from), _) => from,
        (None, Some(days)) => days_before(to, days - 1),
        (None, None) => first_monday(to),
    };
    if from > to {
        return Err(Failure::usage(format!("the first day, {from}, is after the last, {to}")));
    }
    let days = block_on(client.activity(from, to))?;
    let style = output.style();
    output.result(&Report { from, to, days }, |report| for_people(report, style))
}

fn days_before(day: LocalDate, number: u32) -> LocalDate {
    (0..number).fold(day, |day, _| day.previous())
}

/// The Monday from which the calendar begins by default.
fn first_monday(to: LocalDate) -> LocalDate {
    let monday = calendar::date_of(to).map(calendar::monday_of);
    let first = monday.map(|monday| monday.saturating_sub(jiff::Span::new().days(7 * WEEKS_BEFORE)));
    first.and_then(|first| first.to_string().parse().ok()).unwrap_or(to)
}

fn for_people(report: &Report, style: Style) -> String {
    if style.charts
        && let Some(drawn) = calendar::draw(report.from, report.to, &report.days, style)
    {
        return drawn;
    }
    if report.days.is_empty() {
        return format!("Nothing recorded from {} to {}.\n", report.from, report.to);
    }
    let head = ["Day", "Sessions", "Minutes", "Questions", "Correct", "Words", "Points"];
    let mut rows: Vec<Vec<String>> =
        report.days.iter().map(|day| row(day.day.to_string(), numbers(day))).collect();
    let total = report.days.iter().map(numbers).fold([0; 6], |mut sums, numbers| {
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        sums
    });
    rows.push(row("Total".into(), total));
    table(&head, &rows)
}

pub(super) fn numbers(day: &ActivityDay) -> [i64; 6] {
    [day.sessions, day.minutes, day.questions, day.correct, day.words, day.points]
}

fn row(label: String, numbers: [i64; 6]) -> Vec<String> {
    [label].into_iter().chain(numbers.map(|number| number.to_string())).collect()
}
