//! What may be written: the bounds of every column that an app or a device sets, in one list.
//!
//! Postgres has the other copy of the list, `marea.column_limits()`, and refuses what is refused here. A test compares the two
//! lists, and what both sides make of values at and around each bound. Reading is wider on purpose: see `store/packed.rs`.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::{LocalDate, Table, Timestamp};

/// What a column holds, and so what its bounds count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted-faults"), allow(unreachable_pub))]
#[non_exhaustive]
pub enum LimitKind {
    /// A text; bounds in characters.
    Text,
    /// A text; bounds in bytes as JSON.
    LongText,
    /// A whole number.
    Integer,
    /// A whole number of 64 bits, as text on the wire.
    BigInt,
    /// An instant; bounds in years.
    Instant,
    /// A day of the calendar; bounds in years.
    Day,
    /// Any JSON; bounds in bytes as Postgres writes it.
    Json,
    /// A JSON object; bounds as for `Json`.
    Object,
    /// Achievements by name; bounds in names.
    Names,
    /// True or false; the bounds say nothing.
    Boolean,
}

/// The bounds of one column, both of them allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted-faults"), allow(unreachable_pub))]
#[allow(missing_docs, reason = "what they are is said above")]
pub struct Limit {
    pub table: Table,
    pub column: &'static str,
    pub kind: LimitKind,
    pub least: i64,
    pub most: i64,
}

/// A day: whoever seems to have practised longer has a wrong clock, or has forgotten to end the session.
const MAX_MINUTES: i64 = 24 * 60;
const MAX_COUNT: i64 = 1_000_000;
/// What `INTEGER` holds in Postgres.
const MAX_INTEGER: i64 = i32::MAX as i64;
/// A request carries 1 MiB; one mutation must leave room for others.
const MAX_JSON_BYTES: i64 = 64 * 1024;
/// Nothing is practised before 1970: a clock that says so is wrong, and hybrid logical clocks begin there.
const FIRST_YEAR: i64 = 1970;
/// Later years have no text that sorts.
const LAST_YEAR: i64 = 9999;

/// The greatest number in free-form JSON. Beyond it not every parser finds the double that was written.
const MAX_JSON_NUMBER: f64 = 1e308;
/// Levels of JSON below the outermost value. Parsers stop at 128 or more, around which a request and an answer have levels too.
pub(crate) const MAX_JSON_LEVELS: usize = 64;
const MAX_ACHIEVEMENTS: i64 = 100;
/// Characters of an achievement's name.
const MAX_NAME_CHARS: usize = 100;

macro_rules! limits {
    ($($table:ident { $($column:literal $kind:ident $least:expr, $most:expr;)* })*) => {
        &[$($(Limit {
            table: Table::$table, column: $column, kind: LimitKind::$kind, least: $least, most: $most,
        },)*)*]
    };
}

/// The list.
#[cfg_attr(not(feature = "planted-faults"), allow(unreachable_pub))]
pub const LIMITS: &[Limit] = limits! {
    Sessions {
        "session_type" Text 1, 50;
        "started_at" Instant FIRST_YEAR, LAST_YEAR;
        "ended_at" Instant FIRST_YEAR, LAST_YEAR;
        "duration_minutes" Integer 0, MAX_MINUTES;
        "images_processed" Integer 0, MAX_COUNT;
        "descriptions_generated" Integer 0, MAX_COUNT;
        "qa_attempts" Integer 0, MAX_COUNT;
        "qa_correct" Integer 0, MAX_COUNT;
        "vocabulary_learned" Integer 0, MAX_COUNT;
        "phrases_saved" Integer 0, MAX_COUNT;
        "session_data" Object 0, MAX_JSON_BYTES;
    }
    ProgressEvents {
        "occurred_at" Instant FIRST_YEAR, LAST_YEAR;
        "local_date" Day FIRST_YEAR, LAST_YEAR;
        "descriptions" Integer 0, MAX_COUNT;
        "images" Integer 0, MAX_COUNT;
        "questions_answered" Integer 0, MAX_COUNT;
        "questions_correct" Integer 0, MAX_COUNT;
        "vocabulary_learned" Integer 0, MAX_COUNT;
        "minutes" Integer 0, MAX_COUNT;
        "points" Integer 0, MAX_COUNT;
        "mastered_words" Integer -MAX_COUNT, MAX_COUNT;
        "learning_words" Integer -MAX_COUNT, MAX_COUNT;
        "new_words" Integer -MAX_COUNT, MAX_COUNT;
        "achievements" Names 0, MAX_ACHIEVEMENTS;
        "freezes_day" Boolean 0, 1;
    }
    ExportHistory {
        "export_type" Text 1, 50;
        "export_format" Text 1, 20;
        "filters" Object 0, MAX_JSON_BYTES;
        "created_at" Instant FIRST_YEAR, LAST_YEAR;
        "status" Text 1, 20;
        "records_count" Integer 0, MAX_INTEGER;
        "file_size_bytes" BigInt 0, i64::MAX;
        "file_url" LongText 0, MAX_JSON_BYTES;
        "data" Json 0, MAX_JSON_BYTES;
        "error_message" LongText 0, MAX_JSON_BYTES;
        "retry_count" Integer 0, MAX_INTEGER;
        "started_at" Instant FIRST_YEAR, LAST_YEAR;
        "completed_at" Instant FIRST_YEAR, LAST_YEAR;
        "processing_time_seconds" Integer 0, MAX_INTEGER;
        "expires_at" Instant FIRST_YEAR, LAST_YEAR;
    }
    UserApiKeys {
        "openai_api_key" Text 1, 4096;
        "unsplash_api_key" Text 1, 4096;
        "anthropic_api_key" Text 1, 4096;
        "last_validated_at" Instant FIRST_YEAR, LAST_YEAR;
    }
};

/// The limit of a column that is in the list.
fn limit(table: Table, column: &'static str) -> Result<&'static Limit, Error> {
    let found = LIMITS.iter().find(|limit| limit.table == table && limit.column == column);
    found.ok_or(Error::Internal("a column has no limits"))
}

pub(crate) fn check_number(
    table: Table,
    column: &'static str,
    value: Option<impl Into<i64>>,
) -> Result<(), Error> {
    let Limit { least, most, .. } = *limit(table, column)?;
    match value.map(Into::into) {
        Some(value) if !(least..=most).contains(&value) => {
            Err(Error::invalid(column, format!("must be a whole number from {least} to {most}")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_text(table: Table, column: &'static str, text: &str) -> Result<(), Error> {
    let Limit { least, most, .. } = *limit(table, column)?;
    check_chars(column, text, least, most)
}

fn check_chars(column: &'static str, text: &str, least: i64, most: i64) -> Result<(), Error> {
    let chars = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if text.contains('\0') {
        return Err(Error::invalid(column, NUL));
    }
    let fits = (least..=most).contains(&chars);
    if fits { Ok(()) } else { Err(Error::invalid(column, format!("must have {least} to {most} characters"))) }
}

pub(crate) fn check_instant(table: Table, column: &'static str, at: Option<Timestamp>) -> Result<(), Error> {
    check_year(table, column, at.map(Timestamp::year))
}

pub(crate) fn check_day(table: Table, column: &'static str, day: Option<LocalDate>) -> Result<(), Error> {
    check_year(table, column, day.map(LocalDate::year))
}

fn check_year(table: Table, column: &'static str, year: Option<i64>) -> Result<(), Error> {
    let Limit { least, most, .. } = *limit(table, column)?;
    match year {
        Some(year) if !(least..=most).contains(&year) => {
            Err(Error::invalid(column, format!("must be in the years {least} to {most}; check the clock")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_long_text(
    table: Table,
    column: &'static str,
    text: Option<&String>,
) -> Result<(), Error> {
    let Some(text) = text else { return Ok(()) };
    let mut measured = Measured::default();
    measured.text(text);
    measured.check(limit(table, column)?)
}

pub(crate) fn check_json(table: Table, column: &'static str, value: Option<&Value>) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    let mut measured = Measured::default();
    measured.value(value, 0);
    measured.check(limit(table, column)?)
}

pub(crate) fn check_object(
    table: Table,
    column: &'static str,
    object: Option<&Map<String, Value>>,
) -> Result<(), Error> {
    let Some(object) = object else { return Ok(()) };
    let mut measured = Measured::default();
    measured.object(object, 0);
    measured.check(limit(table, column)?)
}

/// What is wrong with JSON that an app hands in for a mirrored table.
pub(crate) fn json_problem(value: &Value) -> Option<String> {
    let mut measured = Measured::default();
    measured.value(value, 0);
    measured.problem(MAX_JSON_BYTES)
}

/// The bytes of an object as Postgres prints it.
pub(crate) fn printed_bytes(object: &Map<String, Value>) -> usize {
    let mut measured = Measured::default();
    measured.object(object, 0);
    measured.bytes
}

/// The names of achievements.
pub(crate) fn check_names(table: Table, column: &'static str, names: &[String]) -> Result<(), Error> {
    let Limit { least, most, .. } = *limit(table, column)?;
    let count = i64::try_from(names.len()).unwrap_or(i64::MAX);
    let well_named =
        |name: &String| (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.contains('\0');
    if (least..=most).contains(&count) && names.iter().all(well_named) {
        return Ok(());
    }
    Err(Error::invalid(column, format!("at most {most}, each a name of 1 to {MAX_NAME_CHARS} characters")))
}

pub(crate) const NUL: &str = "holds the character U+0000, which Postgres cannot store";

/// JSON as Postgres writes it: a blank after each colon and comma, numbers without exponents. So both sides count the same.
#[derive(Default)]
struct Measured {
    bytes: usize,
    has_nul: bool,
    is_too_deep: bool,
    has_huge_number: bool,
}

impl Measured {
    fn check(&self, limit: &Limit) -> Result<(), Error> {
        self.problem(limit.most).map_or(Ok(()), |problem| Err(Error::invalid(limit.column, problem)))
    }

    fn problem(&self, most: i64) -> Option<String> {
        if self.is_too_deep {
            Some(format!("is nested more than {MAX_JSON_LEVELS} levels deep"))
        } else if self.has_huge_number {
            Some("has a number beyond 1e308, which not every device can hold".to_owned())
        } else if self.has_nul {
            Some(NUL.to_owned())
        } else if i64::try_from(self.bytes).unwrap_or(i64::MAX) > most {
            Some(format!("has more than {most} bytes as JSON"))
        } else {
            None
        }
    }

    fn value(&mut self, value: &Value, level: usize) {
        if level > MAX_JSON_LEVELS {
            self.is_too_deep = true;
            return;
        }
        match value {
            Value::Null | Value::Bool(true) => self.bytes += 4,
            Value::Bool(false) => self.bytes += 5,
            Value::Number(number) => {
                self.has_huge_number |= number.as_f64().is_some_and(|number| number.abs() > MAX_JSON_NUMBER);
                self.bytes += written_out(&number.to_string());
            }
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.bytes += 2 + 2 * items.len().saturating_sub(1);
                items.iter().for_each(|item| self.value(item, level + 1));
            }
            Value::Object(object) => self.object(object, level),
        }
    }

    fn object(&mut self, object: &Map<String, Value>, level: usize) {
        self.bytes += 2 + 2 * object.len().saturating_sub(1);
        for (name, value) in object {
            self.text(name);
            self.bytes += 2;
            self.value(value, level + 1);
        }
    }

    fn text(&mut self, text: &str) {
        self.has_nul |= text.contains('\0');
        let escaped = text.bytes().map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
            0..32 => 6,
            _ => 1,
        });
        self.bytes += 2 + escaped.sum::<usize>();
    }
}

/// The characters of a number without its exponent: `1.5e-7` is `0.00000015`.
fn written_out(number: &str) -> usize {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let unsigned = digits.trim_start_matches('-');
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let count = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let (whole, fraction) = ((count(whole) + exponent).max(1), (count(fraction) - exponent).max(0));
    // Postgres has no negative zero.
    let sign = digits.starts_with('-') && unsigned.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let point = i64::from(fraction > 0);
    usize::try_from(i64::from(sign) + whole + point + fraction).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    fn problem(data: &Value) -> Option<String> {
        check_json(Table::ExportHistory, "data", Some(data)).err().map(|error| error.to_string())
    }

    #[test]
    fn numbers_are_counted_as_postgres_writes_them() {
        for (number, written) in [
            (json!(0), "0"),
            (json!(-12), "-12"),
            (json!(1.0), "1.0"),
            (json!(-0.0), "0.0"),
            (json!(1.5e-7), "0.00000015"),
            (json!(1e21), "1000000000000000000000"),
            (json!(-1.25e3), "-1250.0"),
            (json!(u64::MAX), "18446744073709551615"),
        ] {
            assert_eq!(written_out(&number.to_string()), written.len(), "{number}");
        }
        assert_eq!(written_out("1.7976931348623157e308"), 309);
    }

    #[test]
    fn json_has_bounds_of_depth_size_and_characters() {
        assert_eq!(problem(&nested(MAX_JSON_LEVELS)), None);
        assert!(problem(&nested(MAX_JSON_LEVELS + 1)).unwrap().contains("nested"));
        assert!(problem(&nested(5_000)).unwrap().contains("nested"));
        let text = |bytes: usize| json!("x".repeat(bytes));
        assert_eq!(problem(&text(64 * 1024 - 2)), None);
        assert!(problem(&text(64 * 1024 - 1)).unwrap().contains("bytes"));
        assert!(problem(&json!({ "a\u{0}": 1 })).unwrap().contains("U+0000"));
        // As it is written: as large as what it stands for is refused.
        assert!(problem(&json!("\u{1}".repeat(11_000))).unwrap().contains("bytes"));
        assert_eq!(problem(&json!([1e308, -1e308, 5e-324])), None);
        assert!(problem(&json!({ "a": [f64::MAX] })).unwrap().contains("1e308"));
        // These six characters are no U+0000, although JSON writes them with the same letters.
        assert_eq!(problem(&json!("\\u0000")), None);
    }
}
