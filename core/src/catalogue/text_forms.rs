//! Values that cross as text: what a device may write, brought to the one form in which Postgres prints it. What Postgres itself
//! holds beside that (years before Christ, years of five digits) arrives as it prints it.

use uuid::Uuid;

use crate::catalogue::Column;
use crate::model::{LocalDate, Timestamp};

/// Digits before and behind the point that a `numeric` without bounds holds (PostgreSQL, "Numeric Types").
const MAX_WHOLE_DIGITS: usize = 131_072;
const MAX_FRACTION_DIGITS: usize = 16_383;

/// Before and after all times.
fn infinite(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

pub(super) fn uuid(text: &str) -> Result<String, String> {
    Uuid::try_parse(text).map(|id| id.to_string()).map_err(|_| "must be a UUID".to_owned())
}

pub(super) fn date(text: &str) -> Result<String, String> {
    let is_day = text.parse::<LocalDate>().is_ok_and(|day| day.year() > 0);
    if infinite(text) || is_day {
        Ok(text.to_owned())
    } else {
        Err("must be a day like 2026-11-23".to_owned())
    }
}

pub(super) fn timestamptz(text: &str) -> Result<String, String> {
    if infinite(text) {
        return Ok(text.to_owned());
    }
    let read = text.parse::<Timestamp>().ok().filter(|at| at.year() > 0);
    read.map(|at| at.to_string()).ok_or_else(|| "must be an instant like 2026-11-23T12:00:00Z".to_owned())
}

/// The one form of a time without a zone, where it reads as one.
pub(crate) fn timestamp_text(text: &str) -> Option<String> {
    let mut at = format!("{text}Z").parse::<Timestamp>().ok().filter(|at| at.year() > 0)?.to_string();
    at.pop();
    Some(at)
}

pub(super) fn timestamp(text: &str) -> Result<String, String> {
    let read = if infinite(text) { Some(text.to_owned()) } else { timestamp_text(text) };
    read.ok_or_else(|| "must be a time without a zone like 2026-11-23T12:00:00".to_owned())
}

/// Of one day; Postgres prints no zeros at the end.
pub(super) fn time(text: &str) -> Result<String, String> {
    let with_seconds = if text.len() == 5 { format!("{text}:00") } else { text.to_owned() };
    if with_seconds.trim_end_matches('0').trim_end_matches('.') == "24:00:" || with_seconds == "24:00:00" {
        return Ok("24:00:00".to_owned());
    }
    let read = timestamp_text(&format!("2000-01-01T{with_seconds}"));
    let read = read.as_deref().and_then(|at| at.strip_prefix("2000-01-01T"));
    let trimmed = read.map(|time| time.trim_end_matches('0').trim_end_matches('.'));
    let whole = |time: &str| {
        if time.len() < 8 { read.map(|read| read[..8].to_owned()) } else { Some(time.to_owned()) }
    };
    trimmed.and_then(whole).ok_or_else(|| "must be a time of day like 12:30:00".to_owned())
}

/// An exact number, within the column's digits.
pub(super) fn numeric(column: &Column, text: &str) -> Result<String, String> {
    if text == "NaN" || (matches!(text, "Infinity" | "-Infinity") && column.precision.is_none()) {
        return Ok(text.to_owned());
    }
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err("must be a number as text, like \"12.50\"".to_owned());
    }
    let whole = whole.trim_start_matches('0');
    let mut fraction = fraction.to_owned();
    let most_whole = match (column.precision, column.scale) {
        (Some(precision), scale) => {
            let scale = scale.unwrap_or(0);
            let places = usize::try_from(scale).unwrap_or(0);
            if fraction.trim_end_matches('0').len() > places {
                return Err(format!("must have at most {places} digits behind the point"));
            }
            fraction.truncate(places);
            fraction.extend(std::iter::repeat_n('0', places - fraction.len()));
            // What Postgres would round is refused: numeric(2,4) has two digits, from the third place behind the point on, and
            // numeric(3,-2) three, up to the hundreds.
            let unused = usize::try_from(i64::from(scale) - i64::from(precision)).unwrap_or(0);
            if fraction.bytes().take(unused).any(|digit| digit != b'0') {
                return Err(format!("must be less than 1e-{unused}"));
            }
            let unused = usize::try_from(-i64::from(scale)).unwrap_or(0);
            if !whole.is_empty() && whole.len() - whole.trim_end_matches('0').len() < unused {
                return Err(format!("must be a multiple of 1e{unused}"));
            }
            usize::try_from(i64::from(precision) - i64::from(scale)).unwrap_or(0)
        }
        (None, _) => MAX_WHOLE_DIGITS,
    };
    if whole.len() > most_whole {
        return Err(format!("must have at most {most_whole} digits before the point"));
    }
    if fraction.len() > MAX_FRACTION_DIGITS {
        return Err(format!("must have at most {MAX_FRACTION_DIGITS} digits behind the point"));
    }
    let is_zero = whole.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    let (sign, whole) = (if is_zero { "" } else { sign }, if whole.is_empty() { "0" } else { whole });
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}
