//! A conversation with a real server, so that it is the same whenever it is held: the server's clock, the names of its
//! histories and the ids that it makes are replaced, each always by the same.

use std::collections::{BTreeMap, BTreeSet};

use marea_core::Timestamp;
use serde_json::Value;

use crate::recorded::Exchange;

/// The device's day: what was said of it is the device's own, every other time is the server's.
const DEVICE_DAY: &str = "2025-11-23T";
const SERVER_TIME: &str = "2025-11-23T12:00:30.000000Z";
/// The same among packed rows.
const PACKED_SERVER_TIME: &str = "2025-11-23T12:00:30+00:00";
const SERVER_MICROS: &str = "1763899230000000";

/// What has been replaced, and by what.
#[derive(Default)]
struct Names {
    /// Ids that the device made, or that were given.
    known: BTreeSet<String>,
    ids: BTreeMap<String, String>,
    histories: BTreeMap<String, String>,
}

/// Replaces what differs from one time to the next. `given` are ids that stay as they are.
pub fn normalised(mut said: Vec<Exchange>, given: impl Iterator<Item = String>) -> Vec<Exchange> {
    let mut names = Names { known: given.collect(), ..Names::default() };
    for exchange in &mut said {
        names.learn(&exchange.request);
        names.replace(&mut exchange.request);
        exchange.answer.iter_mut().for_each(|answer| names.replace(answer));
    }
    said
}

impl Names {
    fn learn(&mut self, request: &Value) {
        match request {
            Value::String(text) if is_uuid(text) && !self.ids.contains_key(text) => {
                self.known.insert(text.clone());
            }
            Value::Array(list) => list.iter().for_each(|value| self.learn(value)),
            Value::Object(members) => members.values().for_each(|value| self.learn(value)),
            _ => {}
        }
    }

    fn replace(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.name(std::mem::take(text)),
            Value::Array(list) => list.iter_mut().for_each(|value| self.replace(value)),
            Value::Object(members) => members.values_mut().for_each(|value| self.replace(value)),
            _ => {}
        }
    }

    fn name(&mut self, text: String) -> String {
        if is_uuid(&text) && !self.known.contains(&text) {
            let number = self.ids.len() + 1;
            return self.ids.entry(text).or_insert(format!("5e4e4000-0000-4000-8000-{number:012}")).clone();
        }
        if let Some((history, version)) = epoch(&text) {
            let number = self.histories.len() + 1;
            let name = self.histories.entry(history.to_owned()).or_insert(format!("{number:016x}"));
            return format!("{name}.{version}.{SERVER_MICROS}");
        }
        if text.starts_with('{')
            && let Ok(mut packed) = serde_json::from_str::<Value>(&text)
        {
            self.replace(&mut packed);
            return packed.to_string();
        }
        if text.starts_with(DEVICE_DAY) || text.parse::<Timestamp>().is_err() {
            return text;
        }
        let server_time = if text.ends_with('Z') { SERVER_TIME } else { PACKED_SERVER_TIME };
        server_time.to_owned()
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::parse_str(text).is_ok()
}

/// The history and the version of an epoch.
fn epoch(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('.');
    let (history, version, micros) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (history.len() == 16 && is_number(version) && is_number(micros) && parts.next().is_none())
        .then_some((history, version))
}
