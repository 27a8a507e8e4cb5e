//! Values as text, the same on every platform: numbers as ECMAScript prints them, because that is what JSON is read by most; the keys
//! of nested objects in the order of their characters. wasm/js/writers.ts writes the same bytes (tests/fixtures/exports.json).

use serde_json::{Number, Value};

/// What a cell holds; nothing where there is nothing.
pub(super) fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => json(other),
    }
}

/// JSON without blanks.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Number(found) => number(found),
        Value::Array(parts) => format!("[{}]", parts.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            object(sorted.into_iter().map(|(key, value)| (key.as_str(), value)))
        }
        other => other.to_string(),
    }
}

/// An object with its members in this order.
pub(super) fn object<'v>(members: impl Iterator<Item = (&'v str, &'v Value)>) -> String {
    let members = members.map(|(key, value)| format!("{}:{}", Value::from(key), json(value)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// As ECMAScript's `Number::toString` (ECMA-262, 6.1.6.1.20).
fn number(found: &Number) -> String {
    let Some(value) = found.as_f64().filter(|_| found.is_f64()) else { return found.to_string() };
    if value == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that read as this number, and where their point is.
    let scientific = format!("{:e}", value.abs());
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or_default() + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |many: i32| "0".repeat(usize::try_from(many).unwrap_or_default());
    let plain = match point {
        point if point > 21 || point <= -6 => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            let sign = if point > 0 { "+" } else { "-" };
            format!("{first}{dot}{rest}e{sign}{}", (point - 1).abs())
        }
        point if point >= count => format!("{digits}{}", zeros(point - count)),
        point if point > 0 => {
            let (whole, part) = digits.split_at(usize::try_from(point).unwrap_or_default());
            format!("{whole}.{part}")
        }
        point => format!("0.{}{digits}", zeros(-point)),
    };
    if value < 0.0 { format!("-{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn numbers_are_printed_as_ecmascript_does() {
        for (written, expected) in [
            ("1.0", "1"),
            ("-0.0", "0"),
            ("66.67", "66.67"),
            ("-2.5", "-2.5"),
            ("100.0", "100"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("1.5e300", "1.5e+300"),
            ("0.000001", "0.000001"),
            ("1e-7", "1e-7"),
            ("1.25e-9", "1.25e-9"),
            ("123456789012", "123456789012"),
            ("0.1", "0.1"),
            ("12345.678", "12345.678"),
        ] {
            assert_eq!(json(&serde_json::from_str(written).unwrap()), expected);
        }
    }
}
