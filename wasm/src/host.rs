//! The host side of the engine in a browser: the clock, the access token, and the word that something changed.
//!
//! The one place of this crate that reads a clock. Holds the engine in a `RefCell` that is never borrowed across an
//! await, so that calls go on while a request is under way.

use std::cell::RefCell;

use js_sys::{Array, Date, Function, Promise};
use marea_core::{Engine, Failure, Host, Now, Table, Timestamp, UnixMillis, Zone};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::error;

/// What the bound class and a running sync share.
pub(crate) struct BrowserHost {
    engine: RefCell<Option<Engine>>,
    get_access_token: Function,
    on_changed: Function,
}

impl BrowserHost {
    pub(crate) fn new(mut engine: Engine, get_access_token: Function, on_changed: Function) -> Self {
        engine.set_zone(Box::new(BrowserZone));
        Self { engine: RefCell::new(Some(engine)), get_access_token, on_changed }
    }

    /// Runs `call` on the engine, or says that it is closed.
    pub(crate) fn call<R>(
        &self,
        call: impl FnOnce(&mut Engine) -> Result<R, marea_core::Error>,
    ) -> Result<R, JsValue> {
        match self.engine.borrow_mut().as_mut() {
            Some(engine) => call(engine).map_err(|error| error::from_core(&error)),
            None => Err(error::new("closed", "Marea was closed; open it again.", false)),
        }
    }

    /// Takes the engine out for good.
    pub(crate) fn take(&self) -> Option<Engine> {
        self.engine.borrow_mut().take()
    }
}

/// The browser's clock and time zone.
pub(crate) fn now() -> Now {
    let minutes_behind_utc = Date::new_0().get_timezone_offset();
    Now { unix_ms: UnixMillis(Date::now() as i64), utc_offset_minutes: -(minutes_behind_utc as i32) }
}

/// The browser's time zone, as it is when it is asked.
pub(crate) struct BrowserZone;

impl Zone for BrowserZone {
    fn utc_offset_minutes(&self, at: Timestamp) -> i32 {
        let minutes_behind_utc = Date::new(&JsValue::from_f64(at.as_millis().0 as f64)).get_timezone_offset();
        -(minutes_behind_utc as i32)
    }
}

impl Host for BrowserHost {
    fn with_engine<R>(&self, call: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine.borrow_mut();
        // `MareaEngine::close` leaves the engine in place while a sync runs.
        let Some(engine) = engine.as_mut() else { panic!("the engine was closed under a running sync") };
        call(engine)
    }

    fn now(&self) -> Now {
        now()
    }

    async fn access_token(&self, fresh: bool) -> Option<String> {
        self.token(fresh).await.ok()
    }

    async fn token(&self, fresh: bool) -> Result<String, Failure> {
        // Why the app's own code failed is its own affair, and may name the user.
        let unavailable = |error: JsValue| {
            let code = js_sys::Reflect::get(&error, &"code".into()).ok().and_then(|code| code.as_string());
            match code.as_deref() {
                Some("account_deleted") => Failure::AccountDeleted,
                _ => Failure::TokenUnavailable,
            }
        };
        let asked = self.get_access_token.call1(&JsValue::NULL, &JsValue::from_bool(fresh));
        let answer = JsFuture::from(Promise::resolve(&asked.map_err(unavailable)?)).await;
        let token = answer.map_err(unavailable)?.as_string().filter(|token| !token.is_empty());
        token.ok_or_else(Failure::no_token)
    }

    fn changed(&self, tables: &[Table]) {
        let names: Array = tables.iter().map(|table| JsValue::from_str(table.name())).collect();
        // A listener that throws must not stop a sync.
        let _ = self.on_changed.call1(&JsValue::NULL, names.unchecked_ref());
    }

    async fn pause(&self, ms: u64) -> bool {
        gloo_timers::future::TimeoutFuture::new(u32::try_from(ms).unwrap_or(u32::MAX)).await;
        true
    }
}
