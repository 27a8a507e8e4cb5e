//! Switchable faults: what a test does to a call to see how a client stands it. This file keeps the list and its HTTP
//! face; `server.rs` carries the faults out, below everything else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Shared;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The call is made and finished, commit included; then the connection is closed without an answer.
    DropAnswer,
    /// The call is made with the first half of the request's body, which then breaks off as when a network is lost; the
    /// connection is closed without an answer.
    CutRequest,
    /// The call is made after `delay_ms`.
    Delay,
    /// The call is made; the answer breaks off in the middle of its body.
    ResetMidBody,
    /// The call is not made; the answer is `status`.
    Status,
    /// The call is not made; the connection is closed without an answer. The only kind that also takes a browser's
    /// preflights.
    Offline,
}

/// One switched-on fault. The first that fits a call, and has not been used up, takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// The calls that it happens to: those whose path begins so. `/` is every call but `/health` and the switches.
    #[serde(default = "every_path")]
    pub path: String,
    /// How many calls it happens to; without it, every call until it is cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// It happens to each so many-th of these calls; 1 when left out: to all.
    #[serde(default = "each")]
    pub every: u32,
    /// Milliseconds to wait before the call, for `Delay`.
    #[serde(default)]
    pub delay_ms: u64,
    /// The HTTP status of the answer, for `Status`; 503 when left out.
    #[serde(default = "unavailable")]
    pub status: u16,
}

fn every_path() -> String {
    "/".to_owned()
}

fn each() -> u32 {
    1
}

fn unavailable() -> u16 {
    503
}

impl Fault {
    /// A fault for the first `times` calls whose path begins with `path`.
    pub fn new(kind: FaultKind, path: &str, times: u32) -> Fault {
        Fault {
            kind,
            path: path.to_owned(),
            times: Some(times),
            every: each(),
            delay_ms: 0,
            status: unavailable(),
        }
    }

    /// The same, waiting this many milliseconds.
    pub fn with_delay_ms(self, delay_ms: u64) -> Fault {
        Fault { delay_ms, ..self }
    }

    /// The same, answering this HTTP status.
    pub fn with_status(self, status: u16) -> Fault {
        Fault { status, ..self }
    }

    fn fits(&self, path: &str, is_preflight: bool) -> bool {
        path.starts_with(&self.path) && (!is_preflight || self.kind == FaultKind::Offline)
    }

    fn complaint(&self) -> Option<&'static str> {
        let is_final_status = (200..=599).contains(&self.status);
        match self.kind {
            FaultKind::Status if !is_final_status => Some("`status` has to be between 200 and 599"),
            _ if self.every == 0 => Some("`every` has to be at least 1"),
            _ if !self.path.starts_with('/') => Some("`path` has to begin with `/`"),
            _ => None,
        }
    }
}

/// A fault and how many calls it has happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// The fault as it was set.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many calls it has happened to.
    pub fired: u32,
    /// How many of the calls that it is meant for have come while it could happen.
    pub met: u32,
}

/// The switched-on faults of one backend. A clone is another handle to the same list.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    list: Arc<Mutex<Vec<FaultReport>>>,
}

impl Faults {
    /// Switches one on, after those that are on already.
    pub fn set(&self, fault: Fault) {
        self.lock().push(FaultReport { fault, fired: 0, met: 0 });
    }

    /// Switches all off and forgets them.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Every fault since the last `clear`, the used-up ones too.
    pub fn list(&self) -> Vec<FaultReport> {
        self.lock().clone()
    }

    /// The fault that takes this call, counted.
    pub(crate) fn take(&self, path: &str, is_preflight: bool) -> Option<Fault> {
        let mut list = self.lock();
        let live = list.iter_mut().filter(|it| it.fault.times.is_none_or(|times| it.fired < times));
        let mut fitting = live.filter(|it| it.fault.fits(path, is_preflight));
        let taken = fitting.find_map(|it| {
            it.met = it.met.saturating_add(1);
            (it.met % it.fault.every.max(1) == 0).then_some(it)
        })?;
        taken.fired = taken.fired.saturating_add(1);
        Some(taken.fault.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FaultReport>> {
        // The list is whole after every step, so a panic elsewhere does not spoil it.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) async fn show(State(gateway): State<Shared>) -> Json<Vec<FaultReport>> {
    Json(gateway.faults.list())
}

pub(super) async fn add(State(gateway): State<Shared>, body: Bytes) -> Response {
    let parsed = serde_json::from_slice::<Fault>(&body).map_err(|error| error.to_string());
    let checked = parsed.and_then(|fault| match fault.complaint() {
        Some(complaint) => Err(complaint.to_owned()),
        None => Ok(fault),
    });
    match checked {
        Ok(fault) => {
            gateway.faults.set(fault);
            Json(gateway.faults.list()).into_response()
        }
        Err(message) => (StatusCode::BAD_REQUEST, Json(json!({ "message": message }))).into_response(),
    }
}

pub(super) async fn remove(State(gateway): State<Shared>) -> Json<Vec<FaultReport>> {
    gateway.faults.clear();
    Json(gateway.faults.list())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up_in_order() {
        let faults = Faults::default();
        faults.set(Fault::new(FaultKind::Status, "/rest", 1).with_status(500));
        faults.set(Fault::new(FaultKind::DropAnswer, "/rest/v1/rpc", 2));
        let kind = |path| faults.take(path, false).map(|fault| fault.kind);
        assert_eq!(kind("/auth/v1/user"), None);
        assert_eq!(kind("/rest/v1/rpc/x"), Some(FaultKind::Status));
        assert_eq!(kind("/rest/v1/users"), None);
        assert_eq!(kind("/rest/v1/rpc/x"), Some(FaultKind::DropAnswer));
        assert_eq!(kind("/rest/v1/rpc/x"), Some(FaultKind::DropAnswer));
        assert_eq!(kind("/rest/v1/rpc/x"), None);
        assert_eq!(faults.list().iter().map(|it| it.fired).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn every_other_call() {
        let faults = Faults::default();
        faults.set(Fault { every: 2, ..Fault::new(FaultKind::Offline, "/", 2) });
        let taken: Vec<bool> = (0..6).map(|_| faults.take("/", false).is_some()).collect();
        assert_eq!(taken, [false, true, false, true, false, false]);
    }

    #[test]
    fn a_preflight_meets_only_offline_and_offline_lasts() {
        let faults = Faults::default();
        faults.set(Fault { times: None, ..Fault::new(FaultKind::Delay, "/", 0) });
        assert!(faults.take("/rest/v1/", true).is_none());
        faults.clear();
        faults.set(Fault { times: None, ..Fault::new(FaultKind::Offline, "/", 0) });
        for _ in 0..3 {
            assert!(faults.take("/rest/v1/", true).is_some());
        }
    }
}
