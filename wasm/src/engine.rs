//! `MareaEngine`: the class that the worker drives, one for each open mirror.
//!
//! Values come in as plain objects and are read by way of JSON, because only then does serde refuse a misspelt field
//! instead of dropping what the caller wanted to record. Values go out with the types that TypeScript is shown.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Function, JSON};
use marea_core::{
    ActivityDay, Engine, LocalDate, Location, Progress, Recorded, SessionInput, Signal, SyncReport,
    SystemEntropy, Transport, UserId, sync_until_idle,
};
use serde::de::DeserializeOwned;
use sqlite_wasm_vfs::sahpool::OpfsSAHPoolUtil;
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::error::{from_core, invalid_input};
use crate::host::{BrowserHost, now};
use crate::opfs::{MIRROR_FILE, open_pool};
use crate::types::{ClientStatus, Storage};

/// One user's mirror, open on OPFS. Lives in a dedicated worker.
#[wasm_bindgen]
pub struct MareaEngine {
    host: Rc<BrowserHost>,
    transport: Transport,
    pool: OpfsSAHPoolUtil,
    syncing: Cell<bool>,
}

#[wasm_bindgen]
impl MareaEngine {
    /// Opens (or makes) the mirror of `user_id`. `get_access_token(fresh)` answers with a token or null, at once or as
    /// a promise; `on_changed(tables)` is told after an answer of the server changed what the app reads.
    pub async fn open(
        url: String,
        anon_key: String,
        user_id: String,
        get_access_token: Function,
        on_changed: Function,
    ) -> Result<MareaEngine, JsValue> {
        let user: UserId = user_id
            .parse()
            .map_err(|_| invalid_input("userId must be the user's UUID, as in the token's `sub`"))?;
        let transport = Transport::new(&url, &anon_key).map_err(|error| from_core(&error))?;
        let pool = open_pool(&user).await?;
        let location = Location::Vfs(MIRROR_FILE.to_owned());
        let engine = Engine::open(&location, user, Box::new(SystemEntropy::new()), now())
            .map_err(|error| from_core(&error))?;
        let host = Rc::new(BrowserHost::new(engine, get_access_token, on_changed));
        Ok(Self { host, transport, pool, syncing: Cell::new(false) })
    }

    /// Writes a session down. When this returns, it is durable on the device.
    #[wasm_bindgen(js_name = recordSession)]
    pub fn record_session(&self, input: Ts<SessionInput>) -> Result<Ts<Recorded>, JsValue> {
        let input: SessionInput = parse(&input)?;
        let recorded = self.host.call(|engine| engine.mutate(input.into(), now()))?;
        to_js(&recorded)
    }

    /// The learner's progress: what the server confirmed with this device's unsent work on top.
    pub fn progress(&self) -> Result<Ts<Progress>, JsValue> {
        to_js(&self.host.call(|engine| engine.progress(now()))?)
    }

    /// The days with activity from `from` to `to`, both included, oldest first.
    pub fn activity(&self, from: &str, to: &str) -> Result<Vec<Ts<ActivityDay>>, JsValue> {
        let from = parse_day("from", from)?;
        let to = parse_day("to", to)?;
        let days = self.host.call(|engine| engine.activity(from, to))?;
        days.iter().map(to_js).collect()
    }

    /// What waits, what failed, and when the next attempt is due.
    pub fn status(&self) -> Result<Ts<ClientStatus>, JsValue> {
        let status = self.host.call(|engine| engine.status(now()))?;
        to_js(&ClientStatus { status, storage: Storage::Opfs })
    }

    /// Sends and pulls until nothing is due. Call it again only after it has resolved.
    pub async fn sync(&self) -> Result<Ts<SyncReport>, JsValue> {
        self.host.call(|_| Ok(()))?;
        self.syncing.set(true);
        let report = sync_until_idle(&*self.host, &self.transport).await;
        self.syncing.set(false);
        to_js(&report.map_err(|error| from_core(&error))?)
    }

    /// Tells the engine what its surroundings do: `online`, `offline`, `visible`, `new_token` or `sync_now`.
    pub fn signal(&self, name: &str) -> Result<(), JsValue> {
        let signal = match name {
            "online" => Signal::Online,
            "offline" => Signal::Offline,
            "visible" => Signal::Visible,
            "new_token" => Signal::NewToken,
            "sync_now" => Signal::SyncNow,
            _ => return Err(invalid_input("unknown signal")),
        };
        self.host.call(|engine| {
            engine.signal(signal, now());
            Ok(())
        })
    }

    /// When `sync` may have something to do again, in Unix milliseconds; undefined: only a signal or a write changes it.
    #[wasm_bindgen(js_name = nextWake)]
    pub fn next_wake(&self) -> Result<Option<f64>, JsValue> {
        let wake = self.host.call(|engine| engine.next_wake(now()))?;
        Ok(wake.map(|at| at.0 as f64))
    }

    /// Closes the mirror and gives its files back. False, and nothing done, while a sync runs: ending the worker is
    /// then the way, and as safe, because all that was promised is already durable.
    pub fn close(&self) -> Result<bool, JsValue> {
        if self.syncing.get() {
            return Ok(false);
        }
        if let Some(engine) = self.host.take() {
            engine.close().map_err(|error| from_core(&error))?;
        }
        Ok(self.pool.pause().is_ok())
    }
}

fn parse<T: Tsify + DeserializeOwned>(value: &Ts<T>) -> Result<T, JsValue> {
    let text = JSON::stringify(&value.js_value())
        .ok()
        .and_then(|text| text.as_string())
        .ok_or_else(|| invalid_input("the input is not plain data"))?;
    serde_json::from_str(&text).map_err(|error| invalid_input(&without_position(&error)))
}

/// Serde's words without the place in a text that the caller never saw.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

fn parse_day(name: &str, text: &str) -> Result<LocalDate, JsValue> {
    text.parse().map_err(|_| invalid_input(&format!("`{name}` must be a day written YYYY-MM-DD")))
}

fn to_js<T: Tsify + serde::Serialize>(value: &T) -> Result<Ts<T>, JsValue> {
    value.into_ts().map_err(|error| invalid_input(&error.to_string()))
}
