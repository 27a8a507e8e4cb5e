//! Measuring: rounds that alternate between a baseline and what is measured, medians with their range, a table and JSON. What
//! is measured is in the files beside this one; `cargo xtask bench postgres` prints it.

/// One account does its worst while another syncs.
pub mod attack;
pub mod bulk;
/// What one server carries.
pub mod capacity;
#[cfg(target_os = "linux")]
pub mod core;
mod cpu;
/// A large table is mirrored while it is written to.
pub mod existing;
#[cfg(target_os = "linux")]
pub mod files;
pub mod http;
#[cfg(target_os = "linux")]
pub mod native;
pub mod router;
pub mod single;
pub mod sweep;
#[cfg(target_os = "linux")]
pub mod tables;

use std::time::{Duration, Instant};

use serde::Serialize;

/// One line of the report.
#[derive(Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// What it was measured against, in the same run.
    pub baseline: String,
    /// The bar.
    pub bar: String,
    /// What the bar is about, over the rounds.
    pub measured: Spread,
    /// Whether the median is within the bar.
    pub passed: bool,
    /// How, in one sentence, with the absolute medians.
    pub how: String,
}

/// Median and range of some numbers.
#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many there were.
    pub rounds: usize,
    /// `x`, `ms`, `s`, `rows/s`, `files/s` or `bytes`.
    pub unit: &'static str,
}

impl Spread {
    /// Of numbers, at least one.
    ///
    /// # Panics
    /// Without any.
    pub fn of(unit: &'static str, values: impl IntoIterator<Item = f64>) -> Spread {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        assert!(!sorted.is_empty(), "nothing was measured");
        sorted.sort_by(f64::total_cmp);
        let rounds = sorted.len();
        Spread { median: sorted[rounds / 2], min: sorted[0], max: sorted[rounds - 1], rounds, unit }
    }
}

/// What several rounds took, baseline and subject in turn.
pub struct Rounds {
    /// The baseline, in milliseconds.
    pub baseline_ms: Vec<f64>,
    /// The subject, in milliseconds.
    pub subject_ms: Vec<f64>,
}

impl Rounds {
    /// No round yet.
    pub fn new() -> Rounds {
        Rounds { baseline_ms: Vec::new(), subject_ms: Vec::new() }
    }

    /// One more.
    pub fn add(&mut self, baseline: Duration, subject: Duration) {
        self.baseline_ms.push(millis(baseline));
        self.subject_ms.push(millis(subject));
    }

    /// Subject / baseline, round by round.
    pub fn ratios(&self) -> Spread {
        Spread::of(
            "x",
            self.baseline_ms.iter().zip(&self.subject_ms).map(|(baseline, subject)| subject / baseline),
        )
    }

    /// The figure for a bar on the ratio.
    pub fn figure(&self, what: &str, baseline: &str, at_most: f64, how: &str) -> Figure {
        let measured = self.ratios();
        let (one, other) = (
            Spread::of("ms", self.baseline_ms.iter().copied()).median,
            Spread::of("ms", self.subject_ms.iter().copied()).median,
        );
        Figure {
            what: what.into(),
            baseline: baseline.into(),
            bar: format!("<= {at_most} x"),
            passed: measured.median <= at_most,
            measured,
            how: format!("{how}; medians {other:.2} ms against {one:.2} ms"),
        }
    }
}

impl Default for Rounds {
    fn default() -> Rounds {
        Rounds::new()
    }
}

/// The moment at which something begins that is measured.
#[allow(clippy::disallowed_methods, reason = "measuring is what a benchmark has a clock for")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds, with their fraction.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// In milliseconds the time that so many percent of these, shortest first, do not exceed; 0 without any.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).map_or(0.0, |time| millis(*time))
}

/// The report as a table for people.
pub fn table(figures: &[Figure]) -> String {
    let mut text =
        String::from("| what | against | bar | median (min - max) | |\n| --- | --- | --- | --- | --- |\n");
    for figure in figures {
        let Spread { median, min, max, rounds, unit } = figure.measured;
        let decimals = if median >= 100.0 { 0 } else { 2 };
        let verdict = if figure.passed { "met" } else { "MISSED" };
        text.push_str(&format!(
            "| {} | {} | {} | {median:.decimals$} {unit} ({min:.decimals$} - {max:.decimals$}, {rounds} rounds) | {verdict} |\n",
            figure.what, figure.baseline, figure.bar
        ));
    }
    text.push_str("\nHow each was measured:\n");
    for figure in figures {
        text.push_str(&format!("- {}: {}.\n", figure.what, figure.how));
    }
    text
}
