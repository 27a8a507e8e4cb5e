//! The conversation about files, as the leader's worker carries it (wasm/js/transfers.ts). Which request comes next, and when, is
//! the engine's decision.

use marea_core::{Failure, TransferAnswer, TransferBody, TransferFailure, retry_after_ms};
use wasm_bindgen::prelude::*;

use crate::engine::MareaEngine;
use crate::host::now;

#[wasm_bindgen]
impl MareaEngine {
    /// The next request about a file; undefined while none is due or one is under way: method, path, the name of the bytes that it
    /// carries (empty for none), where they begin, how many they are, the time limit in milliseconds, `fresh` for a fresh token, and
    /// then headers, each name before its value. Its answer goes to `applyTransfer`, or what came instead to `failTransfer`.
    #[wasm_bindgen(js_name = nextTransfer)]
    pub fn next_transfer(&self) -> Result<Option<Vec<String>>, JsValue> {
        let Some(transfer) = self.host.call(|engine| engine.next_transfer(now()))? else { return Ok(None) };
        self.transfer.set(Some(transfer.ticket));
        let request = transfer.request;
        let (name, offset, length) = match request.body {
            TransferBody::Empty => (String::new(), 0, 0),
            TransferBody::File { name, offset, length, .. } => (name, offset, length),
        };
        let fresh = if transfer.fresh_token { "fresh" } else { "" };
        let mut asked = vec![
            request.method.to_owned(),
            request.path,
            name,
            offset.to_string(),
            length.to_string(),
            transfer.timeout_ms.to_string(),
            fresh.to_owned(),
        ];
        for (name, value) in request.headers {
            asked.push(name.to_owned());
            asked.push(value);
        }
        Ok(Some(asked))
    }

    /// When `nextTransfer` may have something, in Unix milliseconds; undefined: only a signal, a sync or a new file changes it.
    #[wasm_bindgen(js_name = nextTransferWake)]
    pub fn next_transfer_wake(&self) -> Result<Option<f64>, JsValue> {
        let wake = self.host.call(|engine| engine.next_transfer_wake(now()))?;
        Ok(wake.map(|at| at.0 as f64))
    }

    /// Takes an answer.
    #[wasm_bindgen(js_name = applyTransfer)]
    pub fn apply_transfer(
        &self,
        status: u16,
        location: Option<String>,
        upload_offset: Option<f64>,
        retry_after: Option<String>,
        date: Option<String>,
        body: String,
    ) -> Result<(), JsValue> {
        let answer = TransferAnswer {
            status,
            location,
            upload_offset: upload_offset.map(|offset| offset as u64),
            retry_after_ms: retry_after
                .and_then(|text| retry_after_ms(&text, date.as_deref(), Some(now().unix_ms))),
            body,
        };
        self.end_transfer(Ok(answer))
    }

    /// There is no answer: `file_missing` when the bytes are not here, `paused` when the app has forbidden the network before it left,
    /// else what stood in the way.
    #[wasm_bindgen(js_name = failTransfer)]
    pub fn fail_transfer(&self, code: &str) -> Result<(), JsValue> {
        if code == "paused" {
            let Some(ticket) = self.transfer.take() else { return Ok(()) };
            return self.host.call(|engine| {
                engine.abandon_transfer(ticket);
                Ok(())
            });
        }
        self.end_transfer(Err(match code {
            "file_missing" => TransferFailure::Bytes,
            "timeout" => TransferFailure::Network(Failure::Timeout),
            "offline" => TransferFailure::Network(Failure::Offline),
            "other_user" => TransferFailure::Network(Failure::OtherUser),
            "account_deleted" => TransferFailure::Network(Failure::AccountDeleted),
            "token_unavailable" => TransferFailure::Network(Failure::TokenUnavailable),
            _ => TransferFailure::Network(Failure::no_token()),
        }))
    }

    fn end_transfer(&self, outcome: Result<TransferAnswer, TransferFailure>) -> Result<(), JsValue> {
        let Some(ticket) = self.transfer.take() else { return Ok(()) };
        match self.host.call(|engine| Ok(engine.apply_transfer(ticket, outcome, now())))? {
            // Given up meanwhile by who cancelled it.
            Err(marea_core::Error::StaleTicket) => Ok(()),
            done => done.map_err(|error| crate::error::from_core(&error)),
        }
    }
}
