//! BIGINT crosses as text, because a JavaScript number does not hold it; plain numbers are read as well.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

pub(super) fn serialize<S: Serializer>(value: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    deserializer.deserialize_option(Bytes)
}

/// Not an untagged enum: that buffers what it reads, in 10 kB of the browser's module.
struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Option<i64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number, or one as text")
    }

    fn visit_none<E: de::Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<i64>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Option<i64>, E> {
        Ok(Some(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<i64>, E> {
        i64::try_from(number).map(Some).map_err(|_| E::custom("expected a whole number below 2^63"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<i64>, E> {
        text.parse().map(Some).map_err(|_| E::custom("expected a whole number"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Sized {
        #[serde(default, deserialize_with = "super::deserialize")]
        size: Option<i64>,
    }

    #[test]
    fn text_and_numbers_are_read_and_what_is_neither_is_refused() {
        let check = |json: &str, expected: Option<Option<i64>>| {
            let read = serde_json::from_str(json).ok().map(|Sized { size }| size);
            assert_eq!(read, expected, "{json}");
        };
        check("{}", Some(None));
        check(r#"{"size": null}"#, Some(None));
        check(r#"{"size": 12}"#, Some(Some(12)));
        check(r#"{"size": -12}"#, Some(Some(-12)));
        check(r#"{"size": "9223372036854775807"}"#, Some(Some(i64::MAX)));
        check(r#"{"size": "9223372036854775808"}"#, None);
        check(r#"{"size": 9223372036854775808}"#, None);
        check(r#"{"size": 1.5}"#, None);
        check(r#"{"size": "many"}"#, None);
        check(r#"{"size": true}"#, None);
        check(r#"{"size": [1]}"#, None);
    }
}
