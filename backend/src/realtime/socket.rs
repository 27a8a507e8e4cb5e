//! One socket: joins, heartbeats, new tokens, and what is said on its channels. Faults of the paths `/realtime/v1/join`,
//! `/realtime/v1/heartbeat` and `/realtime/v1/message` happen here: `delay` makes it late, `status` refuses a join (401 and 403 as
//! *Unauthorized*) or loses a message, `reset_mid_body` and `cut_request` break the connection, all others lose the frame.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message as Raw, WebSocket};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::frames::{Frame, Version};
use super::joined::{Channels, Joined};
use super::{Message, Realtime, WAITING};
use crate::gateway::faults::{Fault, FaultKind};
use crate::gateway::{Gateway, caller_of};

/// A client that says nothing for so long has gone; its heartbeats come every 25 to 30 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// The connection is to end.
struct Cut;

struct Socket {
    gateway: Arc<Gateway>,
    realtime: Arc<Realtime>,
    raw: WebSocket,
    version: Version,
    /// What stands in where a join brings no token.
    key: String,
    channels: Channels,
    sender: mpsc::Sender<Arc<Message>>,
    late: mpsc::UnboundedSender<Frame>,
}

/// Serves it until one side goes.
pub(crate) async fn serve(raw: WebSocket, gateway: Arc<Gateway>, version: Version, key: String) {
    let realtime = Arc::clone(&gateway.realtime);
    let mut cuts = realtime.cuts.subscribe();
    let mut ready = realtime.ready.clone();
    ready.mark_unchanged();
    let (sender, mut messages) = mpsc::channel(WAITING);
    let (late, mut overdue) = mpsc::unbounded_channel();
    let channels = Channels::default();
    let mut socket = Socket { gateway, realtime, raw, version, key, channels, sender, late };
    let mut stopping = socket.gateway.stopping.subscribe();
    loop {
        let expiry = socket.channels.next_expiry();
        let done = tokio::select! {
            _ = cuts.changed() => Err(Cut),
            _ = stopping.changed() => Err(Cut),
            came = tokio::time::timeout(SILENCE, socket.raw.recv()) => match came {
                Ok(Some(Ok(Raw::Text(text)))) => socket.received(&text).await,
                Ok(Some(Ok(Raw::Close(_)))) | Ok(None | Some(Err(_))) | Err(_) => Err(Cut),
                // Of what a client says to others nothing is allowed: binary frames are that.
                Ok(Some(Ok(_))) => Ok(()),
            },
            Some(message) = messages.recv() => socket.said(&message).await,
            Some(frame) = overdue.recv() => socket.send(&frame).await,
            Ok(()) = ready.changed() => {
                let is_ready = *ready.borrow_and_update();
                socket.tell_ready(is_ready).await
            }
            () = tokio::time::sleep_until(expiry), if !socket.channels.0.is_empty() => socket.expire().await,
        };
        if done.is_err() {
            return;
        }
    }
}

impl Socket {
    async fn send(&mut self, frame: &Frame) -> Result<(), Cut> {
        let text = frame.write(self.version);
        self.raw.send(Raw::Text(text.into())).await.map_err(|_| Cut)
    }

    /// What a fault does to a frame, or nothing.
    async fn send_through(&mut self, frame: Frame, fault: Option<Fault>) -> Result<(), Cut> {
        match fault.map(|fault| (fault.kind, fault.delay_ms)) {
            None => self.send(&frame).await,
            Some((FaultKind::Delay, delay_ms)) => {
                let late = self.late.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
                    let _ = late.send(frame);
                });
                Ok(())
            }
            Some((FaultKind::ResetMidBody | FaultKind::CutRequest, _)) => Err(Cut),
            Some(_) => Ok(()),
        }
    }

    fn fault(&self, path: &str) -> Option<Fault> {
        self.gateway.faults.take(path, false)
    }

    async fn received(&mut self, text: &str) -> Result<(), Cut> {
        // Supabase closes a socket that speaks otherwise.
        let frame = Frame::read(text, self.version).ok_or(Cut)?;
        match (frame.topic.as_str(), frame.event.as_str()) {
            ("phoenix", "heartbeat") => {
                let fault = self.fault("/realtime/v1/heartbeat");
                self.send_through(frame.reply("ok", json!({})), fault).await
            }
            (_, "phx_join") => self.join(&frame).await,
            (topic, "phx_leave") => {
                self.channels.0.remove(topic);
                self.send(&frame.reply("ok", json!({}))).await
            }
            (_, "access_token") => self.take_token(&frame).await,
            _ => Ok(()),
        }
    }

    async fn join(&mut self, frame: &Frame) -> Result<(), Cut> {
        let fault = self.fault("/realtime/v1/join");
        if let Some(status) = fault.as_ref().filter(|it| it.kind == FaultKind::Status).map(|it| it.status) {
            let reason = match status {
                401 | 403 => "Unauthorized: You do not have permissions to read from this Channel topic",
                _ => {
                    "DatabaseConnectionIssue: Database can't accept more connections, Realtime won't connect"
                }
            };
            return self.send(&frame.reply("error", json!({ "reason": reason }))).await;
        }
        let config = &frame.payload["config"];
        let private = config["private"] == true;
        let tells_ready = config["broadcast"]["replication_ready"] == true;
        let token = frame.payload["access_token"].as_str().unwrap_or(&self.key).to_owned();
        let expires_at = match self.check(&frame.topic, private, &token).await {
            Ok(expires_at) => expires_at,
            Err(reason) => return self.send(&frame.reply("error", json!({ "reason": reason }))).await,
        };
        // Before the answer: what comes from now on is delivered.
        let _subscription = self.realtime.subscribe(subtopic(&frame.topic), self.sender.clone());
        self.channels
            .0
            .insert(frame.topic.clone(), Joined { private, tells_ready, expires_at, _subscription });
        self.send_through(frame.reply("ok", json!({ "postgres_changes": [] })), fault).await?;
        let is_ready = *self.realtime.ready.borrow();
        match tells_ready && is_ready {
            true => self.send(&ready_frame(&frame.topic)).await,
            false => Ok(()),
        }
    }

    /// When the token ends, where it lets its user listen; else why it does not.
    async fn check(&mut self, topic: &str, private: bool, token: &str) -> Result<Option<i64>, String> {
        let (caller, claims) =
            caller_of(&self.gateway.tokens, token).map_err(|message| match message.contains("exp") {
                true => "InvalidJWTToken: Token has expired".to_owned(),
                false => format!("InvalidJWTToken: {message}"),
            })?;
        let topic = subtopic(topic);
        if private && !self.realtime.may_listen(&caller, topic).await {
            return Err(format!(
                "Unauthorized: You do not have permissions to read from this Channel topic: {topic}"
            ));
        }
        Ok(claims["exp"].as_i64())
    }

    async fn take_token(&mut self, frame: &Frame) -> Result<(), Cut> {
        let Some(private) = self.channels.0.get(&frame.topic).map(|it| it.private) else { return Ok(()) };
        let token = frame.payload["access_token"].as_str().unwrap_or_default().to_owned();
        match self.check(&frame.topic, private, &token).await {
            Ok(expires_at) => {
                if let Some(joined) = self.channels.0.get_mut(&frame.topic) {
                    joined.expires_at = expires_at;
                }
                Ok(())
            }
            Err(reason) => self.close(&frame.topic, &reason).await,
        }
    }

    async fn expire(&mut self) -> Result<(), Cut> {
        for topic in self.channels.expired() {
            self.close(&topic, "Token has expired").await?;
        }
        Ok(())
    }

    /// Ends a channel, and says why.
    async fn close(&mut self, topic: &str, reason: &str) -> Result<(), Cut> {
        self.channels.0.remove(topic);
        let system = json!({ "channel": subtopic(topic), "extension": "system", "status": "error", "message": reason });
        self.send(&Frame::push(topic, "system", system)).await?;
        self.send(&Frame::push(topic, "phx_close", json!({}))).await
    }

    async fn said(&mut self, message: &Message) -> Result<(), Cut> {
        let topic = format!("realtime:{}", message.topic);
        if self.channels.0.get(&topic).is_none_or(|it| it.private != message.private) {
            return Ok(());
        }
        let mut payload = json!({ "type": "broadcast", "event": message.event, "payload": message.payload });
        if let Some(id @ Value::String(_)) = message.payload.get("id") {
            payload["meta"] = json!({ "id": id });
        }
        let fault = self.fault("/realtime/v1/message");
        self.send_through(Frame::push(&topic, "broadcast", payload), fault).await
    }

    async fn tell_ready(&mut self, is_ready: bool) -> Result<(), Cut> {
        if !is_ready {
            return Ok(());
        }
        let wanted = self.channels.0.iter().filter(|(_, it)| it.tells_ready);
        let frames: Vec<Frame> = wanted.map(|(topic, _)| ready_frame(topic)).collect();
        for frame in frames {
            self.send(&frame).await?;
        }
        Ok(())
    }
}

fn subtopic(topic: &str) -> &str {
    topic.strip_prefix("realtime:").unwrap_or(topic)
}

fn ready_frame(topic: &str) -> Frame {
    let payload = json!({
        "channel": subtopic(topic), "extension": "system", "status": "ok", "message": "Replication connection established",
    });
    Frame::push(topic, "system", payload)
}
