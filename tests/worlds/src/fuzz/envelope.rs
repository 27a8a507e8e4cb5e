//! Sealed keys that a server, or somebody with the learner's token, hands over: what is well formed prints as it was, what is not is
//! damaged and in nobody's way, and a vault that has a key of its own keeps it.

use marea_core::{KeyEnvelope, Location, SyncAnswer, VaultState};
use serde_json::{Value, json};

use super::answer::{now, open, read_everything, some_changes, take, user};

const PAGE: &[u8] = include_bytes!("../../../corpus/answer/accepted.json");

pub(super) fn feed(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(envelope) = text.parse::<KeyEnvelope>() {
        let printed = serde_json::to_value(&envelope).expect("JSON");
        let again = printed.as_str().and_then(|text| text.parse::<KeyEnvelope>().ok());
        assert!(again.is_some_and(|again| again == envelope), "what parses can be written and read again");
    }
    let mut engine = open(&Location::Memory).expect("a mirror in memory");
    let Some(answer) = with_key(&text) else { return };
    take(&mut engine, answer.clone());
    let status = engine.vault_status(now()).expect("a vault has a state, whatever came");
    assert!(status.state != VaultState::Unlocked, "nobody has given a passphrase");
    take(&mut engine, answer);
    read_everything(&engine).expect("an engine in memory can be read whatever came");
    engine.mutate(some_changes()[0].clone(), now()).expect("an engine takes changes whatever came");
}

/// A page with one row of keys, two of which are this.
fn with_key(text: &str) -> Option<SyncAnswer> {
    let mut page: Value = serde_json::from_slice(PAGE).ok()?;
    let clock = "1795435200000-0000";
    let device = "10000000-0000-4000-8000-000000000009";
    page["results"] = json!([]);
    page["deleted"] = json!({});
    page["rows"] = json!({"user_api_keys": [{
        "values": {"user_id": user(), "openai_api_key": text, "unsplash_api_key": text, "anthropic_api_key": null, "last_validated_at": null},
        "hlc": {"openai_api_key": [clock, device], "unsplash_api_key": [clock, device]},
        "version": 1,
    }]});
    serde_json::from_value(page).ok()
}
