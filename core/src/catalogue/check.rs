//! What a device may write into a column: checked with the rules of the server, and brought to the one form that a value has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use crate::catalogue::{Column, ColumnType, MirroredTable, Rule, add_decimals, text_forms};
use crate::error::Error;
use crate::model::Op;
use crate::model::limits::{NUL, json_problem, printed_bytes};

/// What all columns of one write weigh at most, as Postgres prints their JSON: a request carries 1 MiB, and must leave room for others.
const MAX_ROW_BYTES: usize = 256 * 1024;

impl MirroredTable {
    /// Checks the columns of a write; gives them in the form in which they are kept and sent.
    pub(crate) fn check(&self, op: Op, values: Map<String, Value>) -> Result<Map<String, Value>, Error> {
        if !self.write {
            return Err(self.refused("", "the table is written by the server alone"));
        }
        let mut checked = Map::new();
        for (name, value) in values {
            let Some(column) = self.column(&name) else {
                return Err(self.refused(&name, "there is no such column"));
            };
            if let Some(problem) = column.refuses(op) {
                return Err(self.refused(&name, problem));
            }
            let value = column.check(value).map_err(|problem| self.refused(&name, problem))?;
            checked.insert(name, value);
        }
        let missing = |column: &&Column| {
            let is_written = !matches!(column.rule, Rule::Key | Rule::Server);
            is_written && !column.nullable && !column.has_default && !checked.contains_key(&column.name)
        };
        if op == Op::Insert
            && let Some(column) = self.columns.iter().find(missing)
        {
            return Err(self.refused(&column.name, "must have a value"));
        }
        if checked.is_empty() && matches!(op, Op::Merge | Op::Add) {
            return Err(self.refused("", "nothing is to be changed; name at least one column"));
        }
        if printed_bytes(&checked) > MAX_ROW_BYTES {
            return Err(self.refused("", format!("the row has more than {MAX_ROW_BYTES} bytes as JSON")));
        }
        Ok(checked)
    }

    /// Whether the mirror can make the key of a new row.
    pub(crate) fn makes_keys(&self) -> bool {
        self.key().kind == ColumnType::Uuid
    }

    /// The key that a caller gave among the columns.
    pub(crate) fn key_of(&self, value: Value) -> Result<String, Error> {
        match value {
            Value::String(key) => Ok(key),
            _ => Err(self.refused(&self.key().name, "must be a text")),
        }
    }

    /// Checks the key of a row.
    pub(crate) fn check_key(&self, key: &str) -> Result<String, Error> {
        let column = self.key();
        let refused = |problem: String| self.refused(&column.name, problem);
        if key.is_empty() || key.len() > 1_000 {
            return Err(refused("the key must have 1 to 1,000 bytes".to_owned()));
        }
        match column.check(key.into()).map_err(refused)? {
            Value::String(key) => Ok(key),
            _ => Err(Error::Internal("a key is no text")),
        }
    }

    pub(crate) fn refused(&self, column: &str, problem: impl Into<String>) -> Error {
        Error::InvalidValue {
            table: self.table.name().to_owned(),
            column: column.to_owned(),
            problem: problem.into(),
        }
    }
}

impl Column {
    /// Why this operation may not write the column at all.
    fn refuses(&self, op: Op) -> Option<&'static str> {
        match (self.rule, op) {
            (Rule::Key, _) => Some("is the row's key; pass it as the key"),
            (Rule::Server, _) => Some("is written by the server"),
            (Rule::Once, Op::Merge) => Some("is set once, with the row, and never changes"),
            (Rule::Counter, Op::Merge) => Some("is a counter: use add"),
            (rule, Op::Add) if rule != Rule::Counter => Some("is no counter: use update"),
            (_, Op::Delete) => Some("nothing is written when a row is deleted"),
            _ => None,
        }
    }

    /// The value in the one form that it has, or what is wrong with it.
    pub(crate) fn check(&self, value: Value) -> Result<Value, String> {
        match value {
            Value::Null if self.nullable && self.rule != Rule::Counter => Ok(Value::Null),
            Value::Null => Err("must not be null".to_owned()),
            Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_)
                if self.kind == ColumnType::Json =>
            {
                if self.rule == Rule::Union && !value.is_object() {
                    return Err("must be an object".to_owned());
                }
                json_problem(&value).map_or(Ok(value), Err)
            }
            Value::String(text) => self.check_text(text),
            Value::Array(items) => self.check_items(items),
            Value::Number(number) => self.check_number(&number),
            Value::Bool(_) if self.kind == ColumnType::Boolean => Ok(value),
            _ => Err(self.wanted().to_owned()),
        }
    }

    fn check_text(&self, text: String) -> Result<Value, String> {
        if text.contains('\0') {
            return Err(NUL.to_owned());
        }
        let read = match self.kind {
            ColumnType::Text => {
                let most = self.max.map_or(usize::MAX, |max| max as usize);
                if text.chars().count() > most {
                    return Err(format!("must have at most {most} characters"));
                }
                text
            }
            ColumnType::Enum if self.labels.contains(&text) => text,
            ColumnType::Enum => return Err(format!("must be one of {}", self.labels.join(", "))),
            ColumnType::Uuid => text_forms::uuid(&text)?,
            ColumnType::BigInt => text.parse::<i64>().map_err(|_| self.wanted().to_owned())?.to_string(),
            ColumnType::Numeric => text_forms::numeric(self, &text)?,
            ColumnType::Date => text_forms::date(&text)?,
            ColumnType::Time => text_forms::time(&text)?,
            ColumnType::Timestamp => text_forms::timestamp(&text)?,
            ColumnType::Timestamptz => text_forms::timestamptz(&text)?,
            ColumnType::Bytea => {
                STANDARD.encode(STANDARD.decode(&text).map_err(|_| self.wanted().to_owned())?)
            }
            ColumnType::Real | ColumnType::Double if matches!(&*text, "NaN" | "Infinity" | "-Infinity") => {
                text
            }
            _ => return Err(self.wanted().to_owned()),
        };
        Ok(read.into())
    }

    fn check_number(&self, number: &Number) -> Result<Value, String> {
        let wanted = || self.wanted().to_owned();
        // JavaScript writes 3.0 as 3, and a caller in C may not.
        let whole = number
            .as_i64()
            .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64));
        match self.kind {
            ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => {
                let (least, most) = self.kind.whole_range().ok_or_else(wanted)?;
                let whole = whole.filter(|whole| (least..=most).contains(whole)).ok_or_else(wanted)?;
                Ok(if self.kind == ColumnType::BigInt { whole.to_string().into() } else { whole.into() })
            }
            ColumnType::Double if number.as_f64() == Some(0.0) => Ok(0.0_f64.into()),
            ColumnType::Double => Ok(number.clone().into()),
            ColumnType::Real => {
                let double = number.as_f64().ok_or_else(wanted)?;
                let single = double as f32;
                if !single.is_finite() || (single == 0.0 && double != 0.0) {
                    return Err("is beyond what a real holds".to_owned());
                }
                Number::from_f64(shortest(single) + 0.0).map(Value::from).ok_or_else(wanted)
            }
            _ => Err(wanted()),
        }
    }

    fn check_items(&self, items: Vec<Value>) -> Result<Value, String> {
        let kind = match self.kind {
            ColumnType::TextArray => ColumnType::Text,
            ColumnType::IntegerArray => ColumnType::Integer,
            ColumnType::UuidArray => ColumnType::Uuid,
            _ => return Err(self.wanted().to_owned()),
        };
        let item = Column { kind, nullable: true, max: None, rule: Rule::Register, ..self.clone() };
        let checked: Result<Vec<Value>, String> = items.into_iter().map(|value| item.check(value)).collect();
        Ok(checked?.into())
    }

    fn wanted(&self) -> &'static str {
        match self.kind {
            ColumnType::SmallInt => "must be a whole number from -32768 to 32767",
            ColumnType::Integer => "must be a whole number from -2147483648 to 2147483647",
            ColumnType::BigInt => "must be a whole number of 64 bits, as text",
            ColumnType::Numeric => "must be a number as text, like \"12.50\"",
            ColumnType::Real | ColumnType::Double => {
                "must be a number, or one of \"NaN\", \"Infinity\", \"-Infinity\""
            }
            ColumnType::Boolean => "must be true or false",
            ColumnType::Bytea => "must be bytes as base64, padded",
            ColumnType::TextArray => "must be a list of texts",
            ColumnType::IntegerArray => "must be a list of whole numbers",
            ColumnType::UuidArray => "must be a list of UUIDs",
            _ => "must be a text",
        }
    }

    /// A counter's value with an addition, both as a row holds them. What no column holds stays at the bound: the server judges.
    pub(crate) fn added(&self, value: &Value, delta: &Value) -> Value {
        if self.kind == ColumnType::Numeric {
            // An addition may be older than the column's type, and a whole number.
            let [one, two] = [value, delta].map(|value| match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => "0".to_owned(),
            });
            return add_decimals(&one, &two).map_or_else(|| one.into(), Value::from);
        }
        let whole = |value: &Value| {
            value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap_or(0)
        };
        let sum = whole(value).saturating_add(whole(delta));
        if self.kind == ColumnType::BigInt { sum.to_string().into() } else { sum.into() }
    }

    /// Nothing counted yet, as a row holds it.
    pub(crate) fn zero(&self) -> Value {
        let zero = if self.kind.whole_range().is_some() { 0.into() } else { "0".into() };
        self.check(zero).unwrap_or_default()
    }

    /// The opposite of an addition.
    pub(crate) fn negated(&self, delta: &Value) -> Value {
        match delta {
            Value::String(text) => match text.strip_prefix('-') {
                Some(positive) => positive.into(),
                None => format!("-{text}").into(),
            },
            other => other.as_i64().map_or(Value::Null, |whole| whole.saturating_neg().into()),
        }
    }
}

/// A single as Postgres prints it: the double that is nearest to the shortest text that reads as the single. By JSON's parser, which is
/// exact here (`float_roundtrip`): the standard library's would bring its table along.
fn shortest(single: f32) -> f64 {
    serde_json::from_str(&single.to_string()).unwrap_or(f64::from(single))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::shortest;
    use crate::catalogue::Catalogue;
    use crate::model::Op;

    /// Postgres prints a blank after each comma: counted without, a third of what the device took was refused later.
    #[test]
    fn a_row_is_as_large_as_postgres_prints_it() {
        let json = r#"{ "version": 1, "hash": "0", "tables": [ { "name": "t", "key": "id", "owner": "user_id", "columns": [
            { "name": "id", "type": "uuid", "rule": "key" }, { "name": "numbers", "type": "integer[]", "rule": "register" },
            { "name": "a\"b", "type": "text", "rule": "register" } ] } ] }"#;
        let catalogue = Catalogue::parse(json).unwrap();
        let takes = |values: Value| {
            catalogue.tables[0].check(Op::Insert, values.as_object().unwrap().clone()).is_ok()
        };
        // {"numbers": [1, 1, 1]}
        let most = (262_144 - r#"{"numbers": []}"#.len()).div_ceil(3);
        assert!(takes(json!({ "numbers": vec![1; most] })));
        assert!(!takes(json!({ "numbers": vec![1; most + 1] })));
        // {"a\"b": "xxx"}
        let most = 262_144 - r#"{"a\"b": ""}"#.len();
        assert!(takes(json!({ "a\"b": "x".repeat(most) })));
        assert!(!takes(json!({ "a\"b": "x".repeat(most + 1) })));
    }

    #[test]
    fn a_single_is_the_double_of_its_shortest_text() {
        let mut bits: u32 = 1;
        for _ in 0..20_000 {
            let single = f32::from_bits(bits);
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if single.is_finite() {
                assert_eq!(
                    shortest(single).to_bits(),
                    single.to_string().parse::<f64>().unwrap().to_bits(),
                    "{single}"
                );
            }
        }
        for single in [
            0.0,
            -0.0,
            0.1,
            16_777_216.0,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            f32::from_bits(1),
            1e10,
            3.0,
        ] {
            assert_eq!(
                shortest(single).to_bits(),
                single.to_string().parse::<f64>().unwrap().to_bits(),
                "{single}"
            );
        }
    }
}
