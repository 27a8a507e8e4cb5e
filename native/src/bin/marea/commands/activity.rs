//! `marea activity`: what was done on each local day, from the mirror alone.

use marea_native::{ActivityDay, LocalDate, block_on};
use serde::Serialize;

use crate::cli::{ActivityArgs, Globals};
use crate::failure::Failure;
use crate::identity::identify;
use crate::output::{Output, table};

/// Two weeks: what fits a small terminal and shows a streak.
const DAYS_DEFAULT: u32 = 14;

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
    let from = args.from.unwrap_or_else(|| days_before(to, args.days.unwrap_or(DAYS_DEFAULT) - 1));
    if from > to {
        return Err(Failure::usage(format!("the first day, {from}, is after the last, {to}")));
    }
    let days = block_on(client.activity(from, to))?;
    output.result(&Report { from, to, days }, for_people)
}

fn days_before(day: LocalDate, number: u32) -> LocalDate {
    (0..number).fold(day, |day, _| day.previous())
}

fn for_people(report: &Report) -> String {
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

fn numbers(day: &ActivityDay) -> [i64; 6] {
    [day.sessions, day.minutes, day.questions, day.correct, day.words, day.points]
}

fn row(label: String, numbers: [i64; 6]) -> Vec<String> {
    [label].into_iter().chain(numbers.map(|number| number.to_string())).collect()
}
