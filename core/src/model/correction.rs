//! What a correction of a session may set: the bounds are those of a new one.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::limits::{
    LIMITS, LimitKind, check_day, check_instant, check_number, check_object, check_text,
};
use crate::model::{LocalDate, SESSION_DATA, SESSION_DAY, Table, Timestamp};

/// Checks what a correction sets, column by column: the bounds are those of a new session. Columns that the app has added have those
/// of the catalogue alone.
///
/// # Errors
/// [`Error::InvalidInput`] names the column.
pub(crate) fn check_correction(values: &Map<String, Value>) -> Result<(), Error> {
    for limit in LIMITS.iter().filter(|limit| limit.table == Table::Sessions) {
        let Some(value) = values.get(limit.column).filter(|value| !value.is_null()) else { continue };
        match (limit.kind, value) {
            (LimitKind::Text, Value::String(text)) => check_text(limit.table, limit.column, text)?,
            (LimitKind::Integer, Value::Number(number)) => {
                check_number(limit.table, limit.column, number.as_i64())?;
            }
            (LimitKind::Instant, Value::String(text)) => {
                let at: Timestamp = text.parse().map_err(|_| {
                    Error::invalid(limit.column, "must be an instant like 2026-11-23T12:00:00Z")
                })?;
                check_instant(limit.table, limit.column, Some(at))?;
            }
            (LimitKind::Object, Value::Object(object)) => {
                check_object(limit.table, limit.column, Some(object))?
            }
            (LimitKind::Object, _) => return Err(Error::invalid(limit.column, "must be an object")),
            // The catalogue's types were looked at before.
            _ => {}
        }
    }
    check_given_day(values.get(SESSION_DAY))?;
    check_given_day(values.get(SESSION_DATA).and_then(|data| data.get(SESSION_DAY)))
}

/// Whether a device writes this column of a new session.
pub(crate) fn is_column_of_session(name: &str) -> bool {
    LIMITS.iter().any(|limit| limit.table == Table::Sessions && limit.column == name)
}

fn check_given_day(day: Option<&Value>) -> Result<(), Error> {
    let Some(day) = day else { return Ok(()) };
    let read = day.as_str().and_then(|text| text.parse::<LocalDate>().ok());
    let day = read.ok_or_else(|| Error::invalid(SESSION_DAY, "must be a day like 2026-11-23"))?;
    check_day(Table::ProgressEvents, SESSION_DAY, Some(day))
}
