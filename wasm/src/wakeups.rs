//! The socket of wake-ups, as the leader has it (wasm/js/wakeups.ts). When it is open, and what is said on it, is the engine's decision.

use marea_core::{SocketAsk, SocketEvent};
use wasm_bindgen::prelude::*;

use crate::engine::MareaEngine;
use crate::host::now;

#[wasm_bindgen]
impl MareaEngine {
    /// Whether a socket is offered: the app wants wake-ups, and somebody looks.
    #[wasm_bindgen(js_name = wantWakeups)]
    pub fn want_wakeups(&self, wanted: bool) -> Result<(), JsValue> {
        self.host.call(|engine| {
            engine.want_wakeups(wanted);
            Ok(())
        })
    }

    /// Tells what happened to the socket (`look`, `opened` and `token` with a token, `text` with a frame, `closed`). What to do is
    /// said in words (`open`, `token`, `close`; `fresh` for a fresh token; `sync` where a sync may be due; `changed` where the status
    /// has), then when to look again in Unix milliseconds, empty for never; the rest are frames to send.
    pub fn socket(&self, event: &str, text: &str) -> Result<Vec<String>, JsValue> {
        let event = match event {
            "opened" => SocketEvent::Opened(text),
            "text" => SocketEvent::Text(text),
            "token" => SocketEvent::Token(text),
            "closed" => SocketEvent::Closed,
            _ => SocketEvent::Look,
        };
        let step = self.host.call(|engine| engine.socket(event, now()))?;
        let mut words = String::from(match step.ask {
            SocketAsk::Nothing => "",
            SocketAsk::Open => "open",
            SocketAsk::Token => "token",
            SocketAsk::Close => "close",
        });
        for (word, is_said) in [(" fresh", step.fresh), (" sync", step.sync), (" changed", step.changed)] {
            if is_said {
                words.push_str(word);
            }
        }
        let at = step.at.map(|at| at.0.to_string()).unwrap_or_default();
        Ok([words, at].into_iter().chain(step.frames).collect())
    }
}
