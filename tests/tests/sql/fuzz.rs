//! `marea_sync` fed with requests that somebody has bent: valid ones with parts exchanged, left out, doubled and made hostile. It answers or
//! refuses in its own words, never with an error of its inside, a long message or a large answer, and what it has taken adds up.
//!
//! `MAREA_SEED=N` repeats a run, `MAREA_FUZZ_CASES=N` makes a longer one.

use std::env;

use marea_tests::mirrored::MirroredApp;
use marea_tests::sql::{Caller, event, hlc, mutation, new_id, refusal, request, session};
use serde_json::{Map, Value, json};

const CASES: u64 = 400;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let place = self.roll(all.len());
        &all[place]
    }

    /// A value that nobody expects there. `@...` stands for a number that no Rust value holds.
    fn value(&mut self) -> Value {
        let texts = [
            "",
            "null",
            "@1e131071",
            "@-1e131071",
            "@0e-16383",
            "@1e400",
            "@12345678901234567890123",
            "infinity",
            "-infinity",
            "NaN",
            "0044-03-15 BC",
            "294277-01-01",
            "2026-02-30T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
            "1970-01-01",
            "{}",
            "'; --",
            "$1",
            "%s%I%L",
            "\\",
            "\u{1F30A}",
            "e\u{301}",
            "00000000-0000-0000-0000-000000000000",
            "0000000000000-0000",
            "9999999999999-ffff",
            "sessions",
            "user_progress",
            "pg_catalog.pg_class",
            "marea.clocks",
            "user_id",
            "__proto__",
            "*",
        ];
        match self.roll(10) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(
                [0, -1, 1, 2_147_483_647, -2_147_483_648_i64, 9_007_199_254_740_993_i64, i64::MAX, i64::MIN]
                    [self.roll(8)]
            ),
            3 => json!([0.5, -0.0, 1e308, 5e-324][self.roll(4)]),
            4 => json!([]),
            5 => json!({}),
            6 => json!("x".repeat(1 << self.roll(18))),
            7 => (0..self.roll(90)).fold(json!(1), |inner, depth| {
                if depth % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) }
            }),
            _ => json!(self.one_of(&texts)),
        }
    }

    fn mutation(&mut self, user: &str, keys: &[String]) -> Value {
        let key = self.one_of(keys).clone();
        let clock = hlc(self.roll(60_000) as u32);
        let day = format!("2026-0{}-1{}", 1 + self.roll(9), self.roll(10));
        let (table, op, key, values) = match self.roll(15) {
            0 | 1 => {
                return session(
                    &day,
                    json!({ "duration_minutes": self.roll(2_000), "qa_attempts": 5, "qa_correct": self.roll(8) }),
                );
            }
            2 => {
                return event(
                    &day,
                    json!({ "points": self.roll(100), "achievements": { "a": "2026-01-01T00:00:00.000000Z" } }),
                );
            }
            3 => {
                return mutation(
                    "export_history",
                    "insert",
                    None,
                    &clock,
                    json!({ "export_type": "t", "export_format": "csv", "data": { "n": 1 } }),
                );
            }
            4 => ("export_history", "merge", key, json!({ "status": "failed", "retry_count": 1 })),
            5 => ("export_history", "delete", key, json!({})),
            6 => (
                "user_api_keys",
                "merge",
                user.to_owned(),
                json!({ "last_validated_at": "2026-01-01T00:00:00.000000Z" }),
            ),
            7 => ("user_api_keys", "delete", user.to_owned(), json!({})),
            8 => ("word_lists", "insert", key, json!({ "title": "t", "language": "es", "position": 1 })),
            9 => ("word_lists", "delete", key, json!({})),
            10 => ("word_reviews", "add", key, json!({ "times_seen": 1, "score": "0.50" })),
            11 => (
                "vocabulary_items",
                "insert",
                key,
                json!({ "word": "w", "level": "a1", "tags": ["a", null] }),
            ),
            12 => (
                "saved_descriptions",
                "insert",
                key,
                json!({ "image_url": "u", "content": { "a": [1, 2] }, "seen_at": { "x": "y" }, "thumbnail": "AP8=" }),
            ),
            13 => (
                "question_answers",
                "insert",
                "any text".to_owned(),
                json!({ "question": "q", "confidence": "NaN" }),
            ),
            _ => (
                "user_settings",
                "merge",
                user.to_owned(),
                json!({ "theme": "dark", "preferences": { "a": 1 } }),
            ),
        };
        mutation(table, op, Some(&key), &clock, values)
    }

    /// Bends one place of a request, anywhere in it.
    fn bend(&mut self, value: &mut Value) {
        let stop = self.roll(4) == 0;
        match value {
            Value::Object(members) if !members.is_empty() && !stop => {
                let name = members.keys().nth(self.roll(members.len())).cloned().unwrap_or_default();
                match self.roll(8) {
                    0 => drop(members.remove(&name)),
                    1 => self.rename(members, &name),
                    _ => self.bend(&mut members[&name]),
                }
            }
            Value::Array(items) if !items.is_empty() && !stop => {
                let place = self.roll(items.len());
                match self.roll(6) {
                    0 => drop(items.remove(place)),
                    1 => items.push(items[place].clone()),
                    2 => items.swap(0, place),
                    _ => self.bend(&mut items[place]),
                }
            }
            other => *other = self.value(),
        }
    }

    fn rename(&mut self, members: &mut Map<String, Value>, name: &str) {
        let value = members.remove(name).unwrap_or_default();
        let to = self.value();
        members.insert(to.as_str().map_or_else(|| "other".to_owned(), str::to_owned), value);
    }

    fn request(&mut self, user: &str, keys: &[String], cursor: &Value) -> String {
        let count = self.roll(7);
        let mut mutations: Vec<Value> = (0..count).map(|_| self.mutation(user, keys)).collect();
        if self.roll(4) == 0 {
            let batch = json!(new_id());
            mutations.iter_mut().for_each(|mutation| mutation["batch"] = batch.clone());
        }
        let mut whole = request(&mutations);
        whole["cursor"] = if self.roll(2) == 0 { cursor.clone() } else { Value::Null };
        whole["packed"] = json!(self.roll(2) == 0);
        for _ in 0..self.roll(4) {
            self.bend(&mut whole);
        }
        // Numbers that are larger than they look.
        let mut text = whole.to_string();
        for long in ["1e131071", "-1e131071", "0e-16383", "1e400", "12345678901234567890123"] {
            text = text.replace(&format!("\"@{long}\""), long);
        }
        text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_finds_a_way_inside() {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, cases) = (number("MAREA_SEED").unwrap_or(18), number("MAREA_FUZZ_CASES").unwrap_or(CASES));
    let app = MirroredApp::start(&["words.sql"]).await;
    let caller: Caller = app.user().await;
    let user = caller.user.to_string();
    let keys: Vec<String> = (0..6).map(|_| new_id().to_string()).collect();
    let mut cursor = Value::Null;
    let (mut answered, mut refused, mut rejected) = (0, 0, 0);
    for case in 0..cases {
        let text = Dice(seed.wrapping_mul(1_000_003).wrapping_add(case)).request(&user, &keys, &cursor);
        let told =
            || format!("MAREA_SEED={seed}, case {case}: {}", text.chars().take(2_000).collect::<String>());
        // What is no JSON never gets there.
        if caller.client.query_one("SELECT $1::text::jsonb", &[&text]).await.is_err() {
            continue;
        }
        match caller.client.query_one("SELECT public.marea_sync($1::text::jsonb)", &[&text]).await {
            Ok(row) => {
                let answer: Value = row.get(0);
                assert!(answer.to_string().len() < 2 << 20, "a large answer: {}", told());
                for result in answer["results"].as_array().expect("results") {
                    let (code, message) = (
                        result["code"].as_str().unwrap_or("00000"),
                        result["message"].as_str().unwrap_or_default(),
                    );
                    let inside = [
                        "XX", "0A", "0B", "25", "26", "2B", "34", "38", "3B", "40", "42883", "42P01",
                        "42703", "42601", "42804", "53", "54", "57", "58",
                    ];
                    assert!(!inside.iter().any(|class| code.starts_with(class)), "{result}: {}", told());
                    assert!(message.len() <= 500, "{} bytes of message: {}", message.len(), told());
                    rejected += u32::from(result["status"] == "rejected");
                }
                cursor = answer["cursor"].clone();
                answered += 1;
            }
            Err(error) => {
                let refusal = refusal(error);
                assert!(refusal.code.starts_with("PT4"), "{refusal:?}: {}", told());
                assert!(refusal.message.len() + refusal.hint.len() <= 700, "{refusal:?}: {}", told());
                refused += 1;
            }
        }
    }
    eprintln!(
        "{cases} requests, seed {seed}: {answered} answered, {refused} refused, {rejected} mutations rejected"
    );
    assert!(
        answered > cases / 4 && refused > cases / 20 && u64::from(rejected) > cases / 20,
        "the requests are not worth much"
    );
    assert_eq!(app.database.text("SELECT marea.refold((SELECT array_agg(id) FROM public.users))").await, "0");
    assert_eq!(app.database.text("SELECT count(*) FROM marea.pending").await, "0");
    app.stop().await;
}
