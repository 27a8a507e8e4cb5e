//! The server of these worlds: it counts versions, and tells whoever has joined of each.

use std::collections::{BTreeMap, BTreeSet};

use marea_core::{
    Cursor, MutationId, MutationResult, ResultStatus, SyncAnswer, SyncRequest, Timestamp, UnixMillis,
};
use serde_json::{Value, json};

/// A socket as the server has it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) device: usize,
    pub(super) topic: String,
    pub(super) is_joined: bool,
    /// The server listens to its database for this one: what came before is not told.
    pub(super) is_ready: bool,
    /// Nothing passes any more, and neither side was told.
    pub(super) is_dead: bool,
}

#[derive(Debug, Default)]
pub(super) struct Hub {
    pub(super) version: i64,
    known: BTreeSet<MutationId>,
    pub(super) wires: BTreeMap<u32, Wire>,
}

impl Hub {
    /// A job of the server's own changes something of the user's.
    pub(super) fn change(&mut self) -> i64 {
        self.version += 1;
        self.version
    }

    /// Takes what a device pushes, and answers; the version that it gave, if there was anything new.
    pub(super) fn answer(&mut self, request: &SyncRequest, now_ms: i64) -> (SyncAnswer, Option<i64>) {
        let mut results = Vec::new();
        let mut is_new = false;
        for mutation in &request.mutations {
            let is_first = self.known.insert(mutation.id);
            is_new |= is_first;
            let status = if is_first { ResultStatus::Applied } else { ResultStatus::Duplicate };
            results.push(MutationResult { id: mutation.id, status, code: None, message: None });
        }
        let given = is_new.then(|| self.change());
        let answer = SyncAnswer {
            protocol: 1,
            server_time: Timestamp::from_millis(UnixMillis(now_ms)),
            reset: false,
            results,
            rows: BTreeMap::new(),
            packed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            cursor: Cursor { version: self.version, epoch: "0".to_owned() },
            has_more: false,
            user_missing: false,
            wakeups: true,
            catalogue: None,
        };
        (answer, given)
    }

    /// Whether this device is told of changes.
    pub(super) fn listens(&self, device: usize, socket: Option<u32>) -> bool {
        let wire = socket.and_then(|socket| self.wires.get(&socket));
        wire.is_some_and(|wire| wire.device == device && wire.is_joined && wire.is_ready && !wire.is_dead)
    }
}

pub(super) fn changed(topic: &str, version: i64) -> String {
    let payload =
        json!({ "type": "broadcast", "event": "changed", "payload": { "version": version, "writer": null } });
    frame(topic, "broadcast", payload, Value::Null)
}

pub(super) fn ready(topic: &str) -> String {
    let payload =
        json!({ "status": "ok", "extension": "system", "message": "Replication connection established" });
    frame(topic, "system", payload, Value::Null)
}

pub(super) fn closed(topic: &str) -> String {
    frame(topic, "phx_close", json!({}), Value::Null)
}

pub(super) fn reply(to: &Value, refused: Option<&str>) -> String {
    let payload = match refused {
        None => json!({ "status": "ok", "response": {} }),
        Some(reason) => json!({ "status": "error", "response": { "reason": reason } }),
    };
    frame(to["topic"].as_str().unwrap_or_default(), "phx_reply", payload, to["ref"].clone())
}

fn frame(topic: &str, event: &str, payload: Value, reference: Value) -> String {
    json!({ "topic": topic, "event": event, "payload": payload, "ref": reference }).to_string()
}
