//! HTTP in the browser: its own `fetch`, called directly. A library for it would bring parsers of addresses and headers of its
//! own along, for every learner to download: docs/adr/0089-the-browser-calls-fetch-itself.md.

use gloo_timers::callback::Timeout;
use js_sys::{ArrayBuffer, Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, RequestInit, RequestRedirect};

use super::MAX_ANSWER_BYTES;
use crate::error::Error;
use crate::model::UnixMillis;
use crate::sync::Failure;

#[wasm_bindgen]
extern "C" {
    /// The one of the page or of the worker, wherever this runs.
    #[wasm_bindgen(catch, js_name = fetch)]
    fn fetch(url: &str, request: &RequestInit) -> Result<Promise, JsValue>;
}

/// One endpoint.
pub(super) struct Http {
    endpoint: String,
    publishable_key: String,
}

impl Http {
    // Fails on the desktop only.
    pub(super) fn new(endpoint: &str, publishable_key: &str) -> Result<Http, Error> {
        Ok(Http { endpoint: endpoint.to_owned(), publishable_key: publishable_key.to_owned() })
    }

    /// Posts JSON, and waits for the answer's headers. `timeout_ms` bounds its body too.
    pub(super) async fn post(
        &self,
        bearer: &str,
        body: Vec<u8>,
        timeout_ms: u64,
    ) -> Result<Response, Failure> {
        let call = Call::new(timeout_ms).map_err(|_| Failure::Offline)?;
        let request = self.request(bearer, &body, &call.controller).map_err(|_| Failure::Offline)?;
        let sent = fetch(&self.endpoint, &request).map_err(|_| Failure::Offline)?;
        let answer = JsFuture::from(sent).await.map_err(|_| call.why_unreached())?;
        Ok(Response { answer: answer.unchecked_into(), call })
    }

    fn request(
        &self,
        bearer: &str,
        body: &[u8],
        controller: &AbortController,
    ) -> Result<RequestInit, JsValue> {
        let headers = Headers::new()?;
        headers.set("accept", "application/json")?;
        headers.set("content-type", "application/json")?;
        headers.set("authorization", bearer)?;
        headers.set("apikey", &self.publishable_key)?;
        let request = RequestInit::new();
        request.set_method("POST");
        request.set_headers(&headers);
        request.set_body(&Uint8Array::from(body));
        // A redirect is a captive portal's answer, not PostgREST's; following it would hand the queue and the key to a stranger.
        request.set_redirect(RequestRedirect::Manual);
        request.set_signal(Some(&controller.signal()));
        Ok(request)
    }
}

/// A date of HTTP, as the browser's own parser reads it. That takes `1.5` for a date too, and one without GMT for one by this device's
/// time zone.
pub(super) fn http_date(text: &str) -> Option<UnixMillis> {
    let millis = js_sys::Date::parse(text);
    (text.ends_with(" GMT") && millis.is_finite()).then_some(UnixMillis(millis as i64))
}

/// A call under way. It is given up when its time is over, and when this is dropped.
struct Call {
    controller: AbortController,
    _timeout: Timeout,
}

impl Call {
    fn new(timeout_ms: u64) -> Result<Call, JsValue> {
        let controller = AbortController::new()?;
        let timed = controller.clone();
        // A longer one would be over at once (HTML, "timers").
        let timeout_ms = timeout_ms.min(i32::MAX as u64) as u32;
        Ok(Call { controller, _timeout: Timeout::new(timeout_ms, move || timed.abort()) })
    }

    /// `fetch` says of a failure only that there was one; but only the time gives up a call that is still waited for.
    fn why_unreached(&self) -> Failure {
        if self.controller.signal().aborted() { Failure::Timeout } else { Failure::Offline }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Of a call that has ended nothing is left to give up.
        self.controller.abort();
    }
}

/// An answer whose body has not been read.
pub(super) struct Response {
    answer: web_sys::Response,
    call: Call,
}

impl Response {
    pub(super) fn status(&self) -> u16 {
        self.answer.status()
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.answer.headers().get(name).ok().flatten()
    }

    /// Reads a body. It is handed over whole, so the bound can only be checked afterwards.
    pub(super) async fn read(self) -> Result<Vec<u8>, Failure> {
        let whole = self.answer.array_buffer().map_err(|_| self.call.why_unreached())?;
        let whole = JsFuture::from(whole).await.map_err(|_| self.call.why_unreached())?;
        let whole = Uint8Array::new(whole.unchecked_ref::<ArrayBuffer>());
        if whole.length() as usize > MAX_ANSWER_BYTES {
            return Err(Failure::AnswerTooLarge);
        }
        Ok(whole.to_vec())
    }
}
