//! JSON as text. `Value`'s own `to_string` and `serde_json`'s pretty writer do the same; each is one more copy of the code that writes JSON, for
//! every type that it writes, in what a browser downloads.

use serde::Serialize;

/// A value as JSON.
pub(crate) fn json_text<T: Serialize + ?Sized>(value: &T) -> String {
    // What is written so has keys that are texts, and no writer that fails.
    serde_json::to_string(value).unwrap_or_default()
}

/// JSON as people read it: a line for each entry, two blanks for each level.
pub(crate) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(2 * json.len());
    let (mut depth, mut begun, mut next) = (0_usize, false, false);
    let (mut quoted, mut escaped) = (false, false);
    for character in json.chars() {
        if quoted {
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
            out.push(character);
            continue;
        }
        if character.is_ascii_whitespace() {
            continue;
        }
        let ends = matches!(character, '}' | ']');
        depth = depth.saturating_sub(ends.into());
        if next || begun != ends {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str("  "));
        }
        out.push(character);
        if character == ':' {
            out.push(' ');
        }
        begun = matches!(character, '{' | '[');
        depth += usize::from(begun);
        next = character == ',';
        quoted = character == '"';
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn texts_are_those_of_serde_json() {
        for value in [
            json!(null),
            json!([]),
            json!({}),
            json!([{}, [], [[]], "", 1.5, -3, true]),
            json!({ "a": { "b": [1, 2, { "c": "x, {y}: [\"z\\\\\"]\n" }], "d": {} }, "e\"": "\\" }),
        ] {
            assert_eq!(json_text(&value), value.to_string());
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(indented(&json_text(&value)), pretty);
            assert_eq!(indented(&pretty), pretty);
            assert_eq!(serde_json::from_str::<Value>(&pretty).unwrap(), value);
        }
    }
}
