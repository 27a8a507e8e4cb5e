//! The socket of wake-ups, for as long as the client lives: opened, read and closed as the engine says.
//!
//! The connection is reqwest's, so that certificates, names and proxies are those of every other request; what runs over it is
//! tungstenite's. No token and no frame gets into a log.

use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use marea_core::{SocketAsk, SocketEvent, check_server_allowing_http, http_client_builder};
use reqwest::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::state::State;
use crate::clock;

/// How long opening may take, the token included.
const OPENING: Duration = Duration::from_secs(20);
/// How long to leave a mirror alone that cannot be read.
const TROUBLE: Duration = Duration::from_secs(30);
/// A frame of a few lines; a server that sends more is none that we know.
const LONGEST: usize = 64 * 1024;

type Socket = WebSocketStream<Upgraded>;

/// What happened, for the engine.
enum Happened {
    Nothing,
    Opened(String),
    Text(String),
    Token(String),
    Closed,
}

impl Happened {
    fn event(&self) -> SocketEvent<'_> {
        match self {
            Happened::Nothing => SocketEvent::Look,
            Happened::Opened(token) => SocketEvent::Opened(token),
            Happened::Text(text) => SocketEvent::Text(text),
            Happened::Token(token) => SocketEvent::Token(token),
            Happened::Closed => SocketEvent::Closed,
        }
    }
}

/// Keeps the socket.
pub(super) async fn listen(state: Rc<State>) {
    let mut socket: Option<Socket> = None;
    let mut happened = Happened::Nothing;
    loop {
        let step = match state.with_engine(|engine| engine.socket(happened.event(), clock::now())) {
            Ok(step) => step,
            Err(error) => {
                tracing::warn!(code = error.code(), "the mirror cannot say what to do about wake-ups");
                tokio::time::sleep(TROUBLE).await;
                happened = Happened::Nothing;
                continue;
            }
        };
        if step.sync {
            state.nudge.notify_one();
        }
        if step.ask == SocketAsk::Close {
            socket = None;
        }
        if let Some(open) = &mut socket
            && !send(open, step.frames).await
        {
            socket = None;
            happened = Happened::Closed;
            continue;
        }
        happened = match step.ask {
            SocketAsk::Open => match tokio::time::timeout(OPENING, open(&state, step.fresh)).await {
                Ok(Some((opened, token))) => {
                    socket = Some(opened);
                    Happened::Opened(token)
                }
                _ => Happened::Closed,
            },
            SocketAsk::Token => match state.token(step.fresh).await {
                Ok(token) => Happened::Token(token),
                Err(_) => Happened::Nothing,
            },
            _ => {
                let wait =
                    step.at.map(|at| at.0.saturating_sub(clock::now().unix_ms.0).max(0).unsigned_abs());
                tokio::select! {
                    happened = next(&mut socket) => happened,
                    () = sleep(wait) => Happened::Nothing,
                    () = state.socket_nudge.notified() => Happened::Nothing,
                }
            }
        };
    }
}

/// Without a time, only the other branches end the wait.
async fn sleep(wait_ms: Option<u64>) {
    match wait_ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

async fn next(socket: &mut Option<Socket>) -> Happened {
    let Some(open) = socket else { return std::future::pending().await };
    loop {
        match open.next().await {
            Some(Ok(Message::Text(text))) => return Happened::Text(text.as_str().to_owned()),
            // Pings are answered by tungstenite.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => {
                *socket = None;
                return Happened::Closed;
            }
        }
    }
}

async fn send(socket: &mut Socket, frames: Vec<String>) -> bool {
    for frame in frames {
        if socket.send(Message::text(frame)).await.is_err() {
            return false;
        }
    }
    true
}

/// A token and a socket; the join that follows carries the token, never the address.
async fn open(state: &State, fresh: bool) -> Option<(Socket, String)> {
    let token = state.token(fresh).await.ok()?;
    let (url, publishable_key) = state.server()?;
    let mut url = check_server_allowing_http(url, publishable_key).ok()?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(["realtime", "v1", "websocket"]);
    url.query_pairs_mut().append_pair("apikey", publishable_key).append_pair("vsn", "1.0.0");
    let key = generate_key();
    // A client of its own: the connection is given away.
    let client = http_client_builder().http1_only().build().ok()?;
    let response = client
        .get(url)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .send()
        .await
        .inspect_err(|error| tracing::debug!(timeout = error.is_timeout(), "no socket for wake-ups"))
        .ok()?;
    let has = |name: HeaderName, value: &str| {
        response.headers().get(name).is_some_and(|it| it.as_bytes() == value.as_bytes())
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS
        || !has(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes()))
    {
        tracing::debug!(status = response.status().as_u16(), "no socket for wake-ups");
        return None;
    }
    let connection = response.upgrade().await.ok()?;
    let bounds = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
    Some((Socket::from_raw_socket(connection, Role::Client, Some(bounds)).await, token))
}
