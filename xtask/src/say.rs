//! What a person sees while something runs: a spinner on a terminal, plain lines everywhere else.
//!
//! Everything goes to standard error, so that standard output stays free for results.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    clock::{Stopwatch, spoken},
    run::{Ended, Run},
};

/// One piece of work that is under way.
pub(crate) struct Step {
    label: String,
    spinner: Option<ProgressBar>,
    watch: Stopwatch,
}

impl Step {
    /// Announces the work.
    pub(crate) fn start(label: impl Into<String>) -> Self {
        let label = label.into();
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {prefix}  {wide_msg:.dim} {elapsed}")
            {
                spinner.set_style(style);
            }
            spinner.set_prefix(label.clone());
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        if spinner.is_none() {
            eprintln!("  … {label}");
        }
        Self { label, spinner, watch: Stopwatch::start() }
    }

    /// Shows what is happening right now; kept only on a terminal.
    pub(crate) fn detail(&self, text: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text.trim().to_owned());
        }
    }

    /// Runs a program as this step; its last line of output is the detail.
    pub(crate) fn run(&self, run: Run) -> anyhow::Result<Ended> {
        run.watch(|_, line| self.detail(line))
    }

    /// The work is done.
    pub(crate) fn done(self) {
        let line = format!("  ✓ {} ({})", self.label, spoken(self.watch.elapsed()));
        self.end(&line);
    }

    /// The work did not succeed, which may be all right: the caller says what comes next.
    pub(crate) fn failed(self, why: &str) {
        let line = format!("  ✗ {}: {why}", self.label);
        self.end(&line);
    }

    fn end(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        eprintln!("{line}");
    }
}

impl Drop for Step {
    /// A step that an error cut short must not leave its spinner turning over the error's text.
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// A heading above several steps.
pub(crate) fn heading(text: &str) {
    eprintln!("\n{text}");
}
