//! How a column's JSON value is kept in SQLite, and what of it is read back.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use serde_json::{Number, Value};
use uuid::Uuid;

use crate::catalogue::{ColumnType, timestamp_text};
use crate::error::Error;
use crate::model::{KeyEnvelope, Timestamp, json_text};
use crate::store::stored;

use ColumnType as Kind;

impl ColumnType {
    /// What the column is declared as.
    pub(super) fn declared(self) -> &'static str {
        match self {
            Kind::SmallInt | Kind::Integer | Kind::BigInt | Kind::Boolean => "INTEGER",
            // SQLite has no NaN: it is a text, which comes behind all numbers, as in Postgres.
            Kind::Real | Kind::Double => "ANY",
            Kind::Bytea | Kind::UuidBytes => "BLOB",
            Kind::Numeric => "TEXT COLLATE marea_numeric",
            _ => "TEXT",
        }
    }

    /// The value for SQLite of one that a row in memory holds; `None` when it does not fit the column.
    pub(super) fn bind(self, value: Option<&Value>) -> Option<ToSqlOutput<'_>> {
        let owned = |value: SqlValue| Some(ToSqlOutput::Owned(value));
        match (self, value) {
            (_, None | Some(Value::Null)) => owned(SqlValue::Null),
            (kind, Some(Value::String(text))) if kind.is_json_text() => {
                Some(ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())))
            }
            (kind, Some(Value::String(text))) => kind.bind_text(text),
            (Kind::SmallInt | Kind::Integer | Kind::BigInt, Some(Value::Number(number))) => {
                number.as_i64().and_then(|n| owned(SqlValue::Integer(n)))
            }
            (Kind::Real | Kind::Double, Some(Value::Number(number))) => {
                // Of two zeros Postgres takes one for the other; JavaScript does not write both.
                number.as_f64().and_then(|n| owned(SqlValue::Real(n + 0.0)))
            }
            (Kind::Numeric, Some(Value::Number(number))) => owned(SqlValue::Text(number.to_string())),
            (Kind::Boolean, Some(Value::Bool(flag))) => owned(SqlValue::Integer((*flag).into())),
            (Kind::ReadJson, Some(json)) => owned(SqlValue::Text(json_text(json))),
            _ => None,
        }
    }

    /// The value for SQLite of a text; `None` when it does not read as what the column holds.
    pub(super) fn bind_text(self, text: &str) -> Option<ToSqlOutput<'_>> {
        let as_it_is = ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()));
        let owned = match self {
            Kind::Text | Kind::Enum | Kind::Date | Kind::Time => return Some(as_it_is),
            Kind::Numeric => return is_numeric(text).then_some(as_it_is),
            Kind::Uuid => return uuid(text).map(|_| as_it_is),
            Kind::UuidBytes => SqlValue::Blob(uuid(text)?.as_bytes().to_vec()),
            Kind::Envelope => return text.parse::<KeyEnvelope>().is_ok().then_some(as_it_is),
            Kind::Instant if matches!(text, "infinity" | "-infinity") => SqlValue::Null,
            Kind::Instant => SqlValue::Text(text.parse::<Timestamp>().ok()?.to_string()),
            // What no clock shows is kept as Postgres prints it.
            Kind::Timestamptz => match text.parse::<Timestamp>() {
                Ok(at) => SqlValue::Text(at.to_string()),
                Err(_) => return Some(as_it_is),
            },
            Kind::Timestamp => match timestamp_text(text) {
                Some(at) => SqlValue::Text(at),
                None => return Some(as_it_is),
            },
            // A number that is a text is of a wider type, which the server has by now: a bigint or a numeric.
            Kind::SmallInt | Kind::Integer | Kind::BigInt => SqlValue::Integer(whole(text)?),
            Kind::Real | Kind::Double => match text {
                "NaN" => return Some(as_it_is),
                "Infinity" => SqlValue::Real(f64::INFINITY),
                "-Infinity" => SqlValue::Real(f64::NEG_INFINITY),
                _ => SqlValue::Real(serde_json::from_str::<f64>(text).ok()? + 0.0),
            },
            Kind::Bytea => SqlValue::Blob(base64_of(text)?),
            Kind::ReadJson | Kind::Json => SqlValue::Text(json_text(text)),
            Kind::Boolean | Kind::TextArray | Kind::IntegerArray | Kind::UuidArray => return None,
        };
        Some(ToSqlOutput::Owned(owned))
    }

    /// The value for SQLite of JSON as it came; `None` when it does not fit the column.
    pub(super) fn bind_raw(self, json: &str) -> Option<ToSqlOutput<'_>> {
        if json == "null" {
            return Some(ToSqlOutput::Owned(SqlValue::Null));
        }
        if self.is_json_text() {
            let fits = self == Kind::Json || json.starts_with('[');
            return fits.then_some(ToSqlOutput::Borrowed(ValueRef::Text(json.as_bytes())));
        }
        if let Some(plain) = unquoted(json) {
            return self.bind_text(plain);
        }
        if self == Kind::Numeric && is_numeric(json) {
            return Some(ToSqlOutput::Borrowed(ValueRef::Text(json.as_bytes())));
        }
        let value: Value = serde_json::from_str(json).ok()?;
        Some(match self.bind(Some(&value))? {
            ToSqlOutput::Owned(value) => ToSqlOutput::Owned(value),
            ToSqlOutput::Borrowed(value) => ToSqlOutput::Owned(value.try_into().ok()?),
            _ => return None,
        })
    }

    /// Whether a column of this type can have what one of another type holds in SQLite, as SQLite takes it there.
    pub(super) fn takes_over(self, before: ColumnType) -> bool {
        let is_number =
            self.whole_range().is_some() || matches!(self, Kind::Numeric | Kind::Real | Kind::Double);
        self == before || (is_number && before.whole_range().is_some())
    }

    /// What stands in a column that has no value: nothing, or in a required one what comes before all else.
    pub(super) fn none(self, is_required: bool) -> ToSqlOutput<'static> {
        ToSqlOutput::Owned(match self {
            Kind::Text if is_required => SqlValue::Text(String::new()),
            Kind::Instant if is_required => SqlValue::Text(Timestamp::EARLIEST.to_string()),
            _ => SqlValue::Null,
        })
    }

    /// The value that a row in memory holds, of what SQLite holds.
    pub(super) fn value(self, kept: ValueRef<'_>) -> Result<Value, Error> {
        Ok(match (self, kept) {
            (_, ValueRef::Null) => Value::Null,
            (Kind::BigInt, ValueRef::Integer(number)) => Value::from(number.to_string()),
            (Kind::Boolean, ValueRef::Integer(flag)) => Value::from(flag != 0),
            (_, ValueRef::Integer(number)) => Value::from(number),
            (_, ValueRef::Real(f64::INFINITY)) => "Infinity".into(),
            (_, ValueRef::Real(f64::NEG_INFINITY)) => "-Infinity".into(),
            (_, ValueRef::Real(number)) => Number::from_f64(number).map_or(Value::Null, Value::from),
            (Kind::ReadJson, ValueRef::Text(text)) => {
                stored(std::str::from_utf8(text).ok().and_then(|text| serde_json::from_str(text).ok()))?
            }
            (_, ValueRef::Text(text)) => Value::from(stored(std::str::from_utf8(text).ok())?),
            (Kind::UuidBytes, ValueRef::Blob(bytes)) => {
                Value::from(stored(Uuid::from_slice(bytes).ok())?.to_string())
            }
            (_, ValueRef::Blob(bytes)) => Value::from(STANDARD.encode(bytes)),
        })
    }

    /// Writes the JSON that the wire and the app have of what SQLite holds.
    pub(super) fn write_json(self, kept: ValueRef<'_>, out: &mut String) -> Result<(), Error> {
        match kept {
            ValueRef::Text(text) if self.is_json_text() => {
                out.push_str(stored(std::str::from_utf8(text).ok())?)
            }
            ValueRef::Text(text) => write_text(stored(std::str::from_utf8(text).ok())?, out)?,
            kept => out.push_str(&json_text(&self.value(kept)?)),
        }
        Ok(())
    }
}

pub(super) fn write_text(text: &str, out: &mut String) -> Result<(), Error> {
    out.push_str(&stored(serde_json::to_string(text).ok())?);
    Ok(())
}

fn base64_of(text: &str) -> Option<Vec<u8>> {
    // Postgres breaks its lines.
    let text: Cow<'_, str> = if text.contains('\n') { text.replace('\n', "").into() } else { text.into() };
    STANDARD.decode(&*text).ok()
}

fn is_numeric(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    matches!(text, "NaN" | "Infinity" | "-Infinity") || (!text.is_empty() && text.bytes().all(is_part))
}

/// A whole number, also one with decimals that say nothing.
fn whole(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    whole.parse().ok().filter(|_| decimals.bytes().all(|byte| byte == b'0'))
}

/// A UUID, if it is written as Postgres writes it: as one text it would be another key.
fn uuid(text: &str) -> Option<Uuid> {
    text.parse::<Uuid>().ok().filter(|id| id.to_string() == text)
}

/// The text that a JSON string holds, if it is written as it is.
pub(super) fn unquoted(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"').filter(|plain| !plain.contains('\\'))
}

/// What is bound for SQLite, as it will be read.
pub(super) fn ends<'v>(value: &'v ToSqlOutput<'_>) -> ValueRef<'v> {
    match value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => value.into(),
        _ => ValueRef::Null,
    }
}

pub(super) fn is_null(value: &ToSqlOutput<'_>) -> bool {
    ends(value) == ValueRef::Null
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is read back of JSON that came, as JSON; `None` where it does not fit.
    fn kept(kind: Kind, json: &str) -> Option<String> {
        let bound = kind.bind_raw(json)?;
        let (mut out, value) = (String::new(), kind.value(ends(&bound)).unwrap());
        kind.write_json(ends(&bound), &mut out).unwrap();
        // What the mirror keeps as JSON, a row in memory has as its text.
        let said = if kind.is_json_text() { out.clone() } else { json_text(&value) };
        assert!(said == out || kind == Kind::ReadJson, "{json}: {said}");
        assert_eq!(is_null(&bound), out == "null", "{json}");
        Some(said)
    }

    #[test]
    fn of_what_came_each_column_keeps_what_fits() {
        const ID: &str = "\"018f9d3e-7a00-7000-8000-00000000000a\"";
        let upper = ID.to_uppercase();
        let noon = "\"2026-11-23T12:00:00.500000Z\"";
        for (kind, json, expected) in [
            (Kind::SmallInt, "-3", Some("-3")),
            (Kind::SmallInt, "1.5", None),
            (Kind::Integer, "\"3\"", Some("3")),
            (Kind::SmallInt, "\"-3.00\"", Some("-3")),
            (Kind::Integer, "\"9007199254740993\"", Some("9007199254740993")),
            (Kind::Integer, "\"3.5\"", None),
            (Kind::Integer, "\"NaN\"", None),
            (Kind::Integer, "\"\"", None),
            (Kind::Integer, "true", None),
            (Kind::BigInt, "\"9007199254740993\"", Some("\"9007199254740993\"")),
            (Kind::BigInt, "7", Some("\"7\"")),
            (Kind::BigInt, "\"9223372036854775808\"", None),
            (Kind::Boolean, "true", Some("true")),
            (Kind::Boolean, "false", Some("false")),
            (Kind::Boolean, "1", None),
            (Kind::Boolean, "\"true\"", None),
            (Kind::Real, "1.5", Some("1.5")),
            (Kind::Double, "-0.0", Some("0.0")),
            (Kind::Double, "\"NaN\"", Some("\"NaN\"")),
            (Kind::Double, "\"Infinity\"", Some("\"Infinity\"")),
            (Kind::Real, "\"-Infinity\"", Some("\"-Infinity\"")),
            (Kind::Real, "\"-1.50\"", Some("-1.5")),
            (Kind::Double, "\"-0.00\"", Some("0.0")),
            (Kind::Double, "\"1,5\"", None),
            (Kind::Double, "true", None),
            (Kind::Numeric, "-1.50", Some("\"-1.50\"")),
            (Kind::Numeric, "\"-1.50\"", Some("\"-1.50\"")),
            (Kind::Numeric, "\"NaN\"", Some("\"NaN\"")),
            (Kind::Numeric, "\"Infinity\"", Some("\"Infinity\"")),
            (Kind::Numeric, "\"-Infinity\"", Some("\"-Infinity\"")),
            (Kind::Numeric, "\"\"", None),
            (Kind::Numeric, "\"1,5\"", None),
            (Kind::Numeric, "\"many\"", None),
            (Kind::Numeric, "[1]", None),
            (Kind::Uuid, ID, Some(ID)),
            (Kind::Uuid, &upper, None),
            (Kind::UuidBytes, ID, Some(ID)),
            (Kind::UuidBytes, &upper, None),
            (Kind::UuidBytes, "\"\"", None),
            (Kind::Bytea, "\"AQID\"", Some("\"AQID\"")),
            (Kind::Bytea, "\"AQ\\nID\"", Some("\"AQID\"")),
            (Kind::Bytea, "\"AQ ID\"", None),
            (Kind::Bytea, "5", None),
            (Kind::Text, "\"a\"", Some("\"a\"")),
            (Kind::Text, "\"\\\"a\\\\\\n\"", Some("\"\\\"a\\\\\\n\"")),
            (Kind::Enum, "7", None),
            (Kind::Date, "\"infinity\"", Some("\"infinity\"")),
            (Kind::Time, "\"24:00:00\"", Some("\"24:00:00\"")),
            (Kind::Instant, "\"2026-11-23T13:00:00.5+01:00\"", Some(noon)),
            (Kind::Instant, "\"infinity\"", Some("null")),
            (Kind::Instant, "\"-infinity\"", Some("null")),
            (Kind::Instant, "\"noon\"", None),
            (Kind::Timestamptz, "\"2026-11-23T13:00:00.5+01:00\"", Some(noon)),
            (Kind::Timestamptz, "\"infinity\"", Some("\"infinity\"")),
            (Kind::Timestamp, "\"2026-11-23T12:00:00.5\"", Some("\"2026-11-23T12:00:00.500000\"")),
            (Kind::Timestamp, "\"-infinity\"", Some("\"-infinity\"")),
            (Kind::Envelope, "\"sk-proj-0123456789abca1B2\"", None),
            (Kind::ReadJson, "{\"a\":[\"\\\"\"]}", Some("{\"a\":[\"\\\"\"]}")),
            (Kind::ReadJson, "\"a\"", Some("\"a\"")),
            (Kind::Json, "{\"a\": 1e400}", Some("{\"a\": 1e400}")),
            (Kind::Json, "\"a\"", Some("\"a\"")),
            (Kind::TextArray, "[\"a\",null]", Some("[\"a\",null]")),
            (Kind::IntegerArray, "5", None),
            (Kind::UuidArray, "{}", None),
            (Kind::TextArray, "null", Some("null")),
            (Kind::Text, "null", Some("null")),
        ] {
            assert_eq!(kept(kind, json).as_deref(), expected, "{kind:?} {json}");
        }
    }

    #[test]
    fn values_in_memory_are_bound_as_those_that_came() {
        for (kind, value, expected) in [
            (Kind::Numeric, json!(10), Some(SqlValue::Text("10".to_owned()))),
            (Kind::Numeric, json!("10"), Some(SqlValue::Text("10".to_owned()))),
            (Kind::Boolean, json!(true), Some(SqlValue::Integer(1))),
            (Kind::SmallInt, json!(10), Some(SqlValue::Integer(10))),
            (Kind::Integer, json!("10"), Some(SqlValue::Integer(10))),
            (Kind::BigInt, json!(10), Some(SqlValue::Integer(10))),
            (Kind::Double, json!(-0.0), Some(SqlValue::Real(0.0))),
            (Kind::ReadJson, json!({ "a": 1 }), Some(SqlValue::Text("{\"a\":1}".to_owned()))),
            (Kind::ReadJson, json!("a"), Some(SqlValue::Text("\"a\"".to_owned()))),
            (Kind::Json, json!("{\"a\":1}"), Some(SqlValue::Text("{\"a\":1}".to_owned()))),
            (Kind::Json, json!({ "a": 1 }), None),
            (Kind::Text, Value::Null, Some(SqlValue::Null)),
        ] {
            let bound = kind.bind(Some(&value)).map(|bound| SqlValue::try_from(ends(&bound)).unwrap());
            assert_eq!(bound, expected, "{kind:?} {value}");
        }
        assert!(Kind::Text.bind(None).is_some_and(|bound| is_null(&bound)));
    }

    #[test]
    fn a_required_column_without_a_value_has_what_comes_before_all_else() {
        for (kind, is_required, expected) in [
            (Kind::Text, true, SqlValue::Text(String::new())),
            (Kind::Text, false, SqlValue::Null),
            (Kind::Instant, true, SqlValue::Text(Timestamp::EARLIEST.to_string())),
            (Kind::Instant, false, SqlValue::Null),
            (Kind::Integer, true, SqlValue::Null),
        ] {
            assert_eq!(SqlValue::try_from(ends(&kind.none(is_required))).unwrap(), expected, "{kind:?}");
        }
    }
}
