//! `MareaEngine`: the class that the leader drives, one for each open mirror.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::Function;
use marea_core::{
    ActivityDay, Export, ExportPage, ExportQuery, MIRROR_VERSION, MutationView, Progress, QueueView, Signal,
    StatusError, SyncReport, TransferTicket, Transport, UserId, sync_until_idle,
};
use tsify::Ts;
use wasm_bindgen::prelude::*;

use crate::convert::{
    export_to_js, list_to_js, mutations_to_js, page_to_js, parse, parse_day, parse_id, queue_to_js, to_js,
};
use crate::error::{from_core, invalid_input};
use crate::host::{BrowserHost, now};
use crate::storage::{self, Opened, Place};
use crate::types::{ClientStatus, Surroundings};

/// One user's mirror, open. On OPFS it lives in a dedicated worker, elsewhere in the page.
#[wasm_bindgen]
pub struct MareaEngine {
    pub(crate) host: Rc<BrowserHost>,
    transport: Transport,
    pub(crate) place: Place,
    /// The request about a file that is under way.
    pub(crate) transfer: Cell<Option<TransferTicket>>,
    surroundings: RefCell<Surroundings>,
    syncing: Cell<bool>,
}

#[wasm_bindgen]
impl MareaEngine {
    /// Opens (or makes) the mirror of `user_id` on `storage` (`opfs`, `local-storage` or `memory`). `known` says that
    /// this device has had one before. `get_access_token(fresh)` answers with a token, or with null when nobody is signed
    /// in, at once or as a promise; one that fails is asked again later;
    /// `on_changed(tables)` is told after an answer of the server changed what the app reads.
    pub async fn open(
        url: String,
        anon_key: String,
        user_id: String,
        storage: String,
        known: bool,
        get_access_token: Function,
        on_changed: Function,
    ) -> Result<MareaEngine, JsValue> {
        let user: UserId = user_id
            .parse()
            .map_err(|_| invalid_input("userId must be the user's UUID, as in the token's `sub`"))?;
        // Whether it may be `http://` is asked in the page, where the app says so (`options.ts`).
        let transport = Transport::allowing_http(&url, &anon_key).map_err(|error| from_core(&error))?;
        let Opened { engine, place, recovery } = storage::open(&storage, user, known).await?;
        let host = Rc::new(BrowserHost::new(engine, get_access_token, on_changed));
        let surroundings = RefCell::new(Surroundings { recovery, ..Surroundings::default() });
        Ok(Self {
            host,
            transport,
            place,
            transfer: Cell::new(None),
            surroundings,
            syncing: Cell::new(false),
        })
    }

    /// The newest mirror schema that this build can read.
    #[wasm_bindgen(js_name = mirrorVersion)]
    pub fn mirror_version() -> u32 {
        MIRROR_VERSION
    }

    /// The newest revision of a user's mirror that this page can see in `localStorage`; 0 when there is none.
    #[wasm_bindgen(js_name = imageRevision)]
    pub fn image_revision(user_id: &str) -> f64 {
        storage::image_revision(user_id)
    }

    /// The learner's progress: what the server confirmed with this device's unsent work on top.
    pub fn progress(&self) -> Result<Ts<Progress>, JsValue> {
        to_js(&self.host.call(|engine| engine.progress(now()))?)
    }

    /// The days with activity from `from` to `to`, both included, oldest first.
    pub fn activity(&self, from: &str, to: &str) -> Result<Vec<Ts<ActivityDay>>, JsValue> {
        let from = parse_day("from", from)?;
        let to = parse_day("to", to)?;
        list_to_js(&self.host.call(|engine| engine.activity(from, to))?)
    }

    /// A page of exports, newest first.
    pub fn exports(
        &self,
        #[wasm_bindgen(unchecked_param_type = "ExportQuery")] query: JsValue,
    ) -> Result<Ts<ExportPage>, JsValue> {
        let query: ExportQuery = parse(&query)?;
        page_to_js(self.host.call(|engine| engine.exports(&query))?)
    }

    /// One export; undefined when this mirror has none with this id.
    pub fn export(&self, id: &str) -> Result<Option<Ts<Export>>, JsValue> {
        let id = parse_id(id)?;
        self.host.call(|engine| engine.export(id))?.map(export_to_js).transpose()
    }

    /// What waits for the server, oldest first.
    pub fn pending(&self) -> Result<Vec<Ts<MutationView>>, JsValue> {
        mutations_to_js(self.host.call(|engine| engine.pending())?)
    }

    /// What the server refused, oldest first.
    pub fn rejected(&self) -> Result<Vec<Ts<MutationView>>, JsValue> {
        mutations_to_js(self.host.call(|engine| engine.rejected())?)
    }

    /// How much waits and how much was refused, and the first of each.
    pub fn queue(&self, limit: u32) -> Result<Ts<QueueView>, JsValue> {
        queue_to_js(self.host.call(|engine| engine.queue(limit))?)
    }

    /// Queues a refused mutation again; says whether there was one with this id.
    pub fn retry(&self, id: &str) -> Result<bool, JsValue> {
        let id = parse_id(id)?;
        self.host.call(|engine| engine.retry(id))
    }

    /// Forgets a refused mutation for good; says whether there was one with this id.
    pub fn discard(&self, id: &str) -> Result<bool, JsValue> {
        let id = parse_id(id)?;
        self.host.call(|engine| engine.discard(id))
    }

    /// Queues all refused mutations again; gives how many there were.
    #[wasm_bindgen(js_name = retryAll)]
    pub fn retry_all(&self) -> Result<u32, JsValue> {
        self.host.call(|engine| engine.retry_all()).map(|ids| ids.len() as u32)
    }

    /// Forgets all refused mutations for good; gives how many there were.
    #[wasm_bindgen(js_name = discardAll)]
    pub fn discard_all(&self) -> Result<u32, JsValue> {
        self.host.call(|engine| engine.discard_all()).map(|ids| ids.len() as u32)
    }

    /// What waits, what failed, when the next attempt is due, and where all this is kept.
    pub fn status(&self) -> Result<Ts<ClientStatus>, JsValue> {
        let status = self.host.call(|engine| engine.status(now()))?;
        to_js(&ClientStatus { status, surroundings: self.surroundings.borrow().clone() })
    }

    /// Notes what the browser says about its storage, for the status.
    #[wasm_bindgen(js_name = noteStorage)]
    pub fn note_storage(&self, persisted: Option<bool>, usage_bytes: Option<f64>, quota_bytes: Option<f64>) {
        let mut surroundings = self.surroundings.borrow_mut();
        surroundings.persisted = persisted;
        surroundings.usage_bytes = usage_bytes;
        surroundings.quota_bytes = quota_bytes;
    }

    /// The revision that the mirror has come to, where tabs see each other's writes late; undefined elsewhere.
    pub fn revision(&self) -> Option<f64> {
        self.place.revision()
    }

    /// Notes why the mirror is not in the browser's file system, for the status.
    #[wasm_bindgen(js_name = noteStorageReason)]
    pub fn note_storage_reason(&self, code: String, message: String) {
        self.surroundings.borrow_mut().storage_reason = Some(StatusError { code, message });
    }

    /// State and last syncs as one JSON document for support: no learner's data, no secret.
    pub fn diagnostics(&self) -> Result<String, JsValue> {
        self.host.call(|engine| engine.diagnostics(now()))
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

    /// The app's own wish: with false, no request begins until it is true again. What is under way is finished.
    #[wasm_bindgen(js_name = setOnline)]
    pub fn set_online(&self, online: bool) -> Result<(), JsValue> {
        self.host.call(|engine| {
            engine.set_online(online);
            Ok(())
        })
    }

    /// At which minute after midnight the learner's day begins; with a number, from now on.
    #[wasm_bindgen(js_name = dayStart)]
    pub fn day_start(&self, minutes: Option<u16>) -> Result<u16, JsValue> {
        self.host.call(|engine| {
            minutes.map(|minutes| engine.set_day_start(minutes)).transpose()?;
            Ok(engine.day_starts_at())
        })
    }

    /// When `sync` may have something to do again, in Unix milliseconds; undefined: only a signal or a write changes it.
    #[wasm_bindgen(js_name = nextWake)]
    pub fn next_wake(&self) -> Result<Option<f64>, JsValue> {
        let wake = self.host.call(|engine| engine.next_wake(now()))?;
        Ok(wake.map(|at| at.0 as f64))
    }

    /// Closes the mirror and gives its files back. False while a sync runs: ending the worker is then the way, and as safe, because
    /// all that was promised is already durable. In a page the sync goes on, and writes no more.
    pub fn close(&self) -> Result<bool, JsValue> {
        if self.syncing.get() {
            self.place.leave();
            return Ok(false);
        }
        if let Some(engine) = self.host.take() {
            engine.close().map_err(|error| from_core(&error))?;
        }
        Ok(self.place.release())
    }
}
