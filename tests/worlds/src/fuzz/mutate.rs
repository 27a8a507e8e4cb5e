//! Changes inputs by chance: bytes anywhere, or the values inside of JSON.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// What breaks parsers more often than chance would.
const WORDS: [&str; 20] = [
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "[",
    "]",
    "{",
    "}",
    ",",
    "9999-12-31",
    "0000-00-00",
    "T23:59:60.999999Z",
    "ffff",
];
const LONGEST: i64 = 1 << 16;

fn place(length: usize, random: &mut Random) -> usize {
    usize::try_from(random.within(0..=i64::try_from(length).unwrap_or(i64::MAX))).unwrap_or(0)
}

/// A few changes to some bytes; `other` lends pieces.
pub(super) fn bytes(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..random.within(1..=6) {
        let at = place(input.len(), random);
        match random.within(0..=6) {
            0 => input.truncate(at),
            1 if at < input.len() => input[at] ^= 1 << random.within(0..=7),
            2 if at < input.len() => input[at] = random.bits().to_le_bytes()[0],
            3 => {
                let word = random.one_of(&WORDS).as_bytes();
                input.splice(at..at, word.iter().copied());
            }
            4 => {
                let end = (at + place(16, random)).min(input.len());
                input.drain(at..end);
            }
            5 => {
                let from = place(other.len(), random);
                let to = (from + place(64, random)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let times = usize::try_from(random.within(1..=8)).unwrap_or(1);
                let end = (at + place(32, random)).min(input.len());
                let piece = input[at..end].repeat(times);
                input.splice(at..at, piece);
            }
        }
    }
    input
}

/// The same JSON with a few of its values exchanged, left out, doubled or made hostile.
pub(super) fn json(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(seed) else { return bytes(seed, seed, random) };
    for _ in 0..random.within(1..=4) {
        change(&mut value, random, 0);
    }
    value.to_string().into_bytes()
}

fn change(value: &mut Value, random: &mut Random, depth: u32) {
    let descend = random.chance(if depth < 8 { 85 } else { 0 });
    match value {
        Value::Object(fields) if descend && !fields.is_empty() => {
            let names: Vec<String> = fields.keys().cloned().collect();
            let name = random.one_of(&names).clone();
            match random.within(0..=9) {
                0 => drop(fields.remove(&name)),
                1 => {
                    let moved = fields.remove(&name).unwrap_or_default();
                    fields.insert(random.one_of(&names).clone(), moved);
                }
                2 => drop(fields.insert("surprise".to_owned(), hostile(random))),
                _ => change(&mut fields[&name], random, depth + 1),
            }
        }
        Value::Array(items) if descend && !items.is_empty() => {
            let chosen = place(items.len() - 1, random);
            match random.within(0..=9) {
                0 => drop(items.remove(chosen)),
                1 => {
                    let again = items[chosen].clone();
                    let times = usize::try_from(random.within(1..=300)).unwrap_or(1);
                    items.extend(std::iter::repeat_n(again, times));
                }
                _ => change(&mut items[chosen], random, depth + 1),
            }
        }
        Value::String(text) if random.chance(50) => {
            let changed = bytes(text.as_bytes(), b"2026-11-23T12:00:00.000000Z", random);
            *text = String::from_utf8_lossy(&changed).into_owned();
        }
        Value::Number(_) if random.chance(50) => {
            *value = json!(*random.one_of(&[0, 1, -1, i64::MAX, i64::MIN, i64::from(i32::MAX), 1 << 53]));
        }
        value => *value = hostile(random),
    }
}

fn hostile(random: &mut Random) -> Value {
    match random.within(0..=9) {
        0 => Value::Null,
        1 => json!(random.chance(50)),
        2 => json!(i64::MAX),
        3 => json!(u64::MAX),
        4 => json!(-1.5e300),
        5 => json!("x".repeat(usize::try_from(random.within(0..=LONGEST)).unwrap_or(0))),
        6 => json!([]),
        7 => (0..random.within(1..=100)).fold(json!(0), |inner, _| json!([inner])),
        8 => json!("\u{0}\u{202e}\u{fffd}"),
        _ => Value::Object(Map::new()),
    }
}
