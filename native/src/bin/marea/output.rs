//! What the command writes: one JSON document or plain text on stdout, failures on stderr. Decides nothing about content,
//! but that nothing in it steers the terminal: all text leaves through here.

use std::cell::Cell;
use std::io::{self, Write as _};

use jiff::tz::TimeZone;
use marea_native::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::escape::{self, inline};
use crate::failure::Failure;
use crate::style::Style;

/// Where results and failures go, and in which form.
pub(crate) struct Output {
    json: bool,
    style: Style,
    /// Nobody reads standard output any more.
    is_closed: Cell<bool>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output { json, style: Style::of_stdout(json), is_closed: Cell::default() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }

    /// The result of the command: `value` as JSON, or what `for_people` makes of it.
    pub(crate) fn result<T: Serialize>(
        &self,
        value: &T,
        for_people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        self.exact(&self.form(value, for_people)?)
    }

    /// The result as [`Output::result`] writes it.
    pub(crate) fn form<T: Serialize>(
        &self,
        value: &T,
        for_people: impl FnOnce(&T) -> String,
    ) -> Result<String, Failure> {
        if !self.json {
            return Ok(escape::page(&for_people(value), self.style.colours).into_owned());
        }
        let text = serde_json::to_string(value).map_err(|_| {
            Failure::new("internal", "the result could not be written as JSON; please report this")
        })?;
        Ok(format!("{}\n", escape::json(&text)))
    }

    /// What has to be seen before the command goes on. Here a reader that has gone away is a failure too.
    pub(crate) fn beforehand(&self, text: &str) -> Result<(), Failure> {
        write_out(text).map_err(|error| unwritten(&error, "nothing was changed"))
    }

    /// What is shown once and is nowhere else. Where stdout does not take `text`, the `whole` goes to stderr, and that is a failure.
    pub(crate) fn once(&self, text: &str, whole: &str) -> Result<(), Failure> {
        write_out(text).map_err(|error| {
            self.aside(whole);
            unwritten(&error, "what the command was to do is done; its answer is on standard error")
        })
    }

    /// Plain text on stdout, with what would steer a terminal written out.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.exact(&escape::page(text, self.style.colours))
    }

    /// What was made here and is read by a program (a shell's completions, a manual page), or must come out as it went in (a key).
    pub(crate) fn exact(&self, text: &str) -> Result<(), Failure> {
        self.written(write_out(text))
    }

    /// What became of writing to stdout. A reader that has gone away (`marea ... | head`) is no failure: the work is done. Every
    /// other trouble is one: whoever asked has not got the answer.
    pub(crate) fn written(&self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_closed.set(true),
            Err(error) => {
                return Err(unwritten(
                    &error,
                    "what the command was to do is done; only the answer is missing",
                ));
            }
            Ok(()) => {}
        }
        Ok(())
    }

    /// Whether the reader of stdout has gone away.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// The failure, on stderr.
    pub(crate) fn failure(&self, failure: &Failure) {
        // What clap says of a line has several lines; all else has one.
        let text = if self.json {
            format!("{}\n", json!({"error": {"code": failure.code, "message": failure.message}}))
        } else if failure.message.ends_with('\n') {
            failure.message.clone()
        } else if failure.code == "usage" {
            format!("error: {}\n", failure.message)
        } else {
            format!("error ({}): {}\n", failure.code, inline(&failure.message))
        };
        self.aside(&text);
    }

    /// What should be known although the command does what it was asked, on stderr.
    pub(crate) fn warning(&self, code: &str, message: &str) {
        let text = match self.json {
            true => format!("{}\n", json!({"warning": {"code": code, "message": message}})),
            false => format!("warning ({code}): {}\n", inline(message)),
        };
        self.aside(&text);
    }

    /// Text on stderr, that no program waits for.
    fn aside(&self, text: &str) {
        let text = if self.json { escape::json(text) } else { escape::page(text, false) };
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

fn unwritten(error: &io::Error, state: &str) -> Failure {
    Failure::new("storage_failed", format!("cannot write to standard output: {error} ({state})"))
}

/// `1 session`, `2 sessions`.
pub(crate) fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Lines of a label and a text, the texts under each other. A text stays on its line.
pub(crate) fn aligned(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(label, text)| format!("{label:width$}  {}\n", text.replace('\n', "\\n"))).collect()
}

/// A table: texts to the left, numbers to the right, each under its heading.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| inline(cell).into_owned()).collect();
    let rows: &[Vec<String>] = &rows.iter().map(shown).collect::<Vec<_>>();
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let column = |(column, heading): (usize, &&str)| {
        let width = cells(column).map(|cell| cell.chars().count()).chain([heading.chars().count()]).max();
        let is_number = |cell: &String| cell.parse::<f64>().is_ok();
        let holds_numbers =
            cells(column).any(is_number) && cells(column).all(|cell| cell.is_empty() || is_number(cell));
        (width.unwrap_or(0), holds_numbers)
    };
    let columns: Vec<(usize, bool)> = head.iter().enumerate().map(column).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, &(width, to_the_right)) in cells.zip(&columns) {
            let gap = if text.is_empty() { "" } else { "  " };
            text += &match to_the_right {
                true => format!("{gap}{cell:>width$}"),
                false => format!("{gap}{cell:<width$}"),
            };
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// The time on the wall here, to the minute.
pub(crate) fn local(instant: Timestamp) -> String {
    wall(instant, "%Y-%m-%d %H:%M")
}

/// A time as `strftime` writes it, in this machine's time zone.
pub(crate) fn wall(instant: Timestamp, form: &str) -> String {
    match instant.to_string().parse::<jiff::Timestamp>() {
        Ok(parsed) => parsed.to_zoned_datetime(TimeZone::system()).strftime(form).to_string(),
        Err(_) => instant.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["2026-11-23".into(), "2".into()], vec!["Total".into(), "120".into()]];
        assert_eq!(
            table(&["Day", "Minutes"], &rows),
            "Day         Minutes\n2026-11-23        2\nTotal           120\n"
        );
        let rows = [vec!["csv".into(), "".into(), "7".into()], vec!["a".into(), "done".into(), "".into()]];
        assert_eq!(table(&["As", "Now", "Rows"], &rows), "As   Now   Rows\ncsv           7\na    done\n");
        assert_eq!(aligned(&[("A", "1".into()), ("Long", "2".into())]), "A     1\nLong  2\n");
        assert_eq!((count(1, "day", "days"), count(0, "day", "days")), ("1 day".into(), "0 days".into()));
    }
}
