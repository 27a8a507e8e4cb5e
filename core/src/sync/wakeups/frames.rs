//! Frames of Supabase's Realtime, protocol version 1: JSON objects with topic, event, payload and ref. What a server says
//! beyond what is read here is ignored.

use serde_json::Value;

use crate::model::{UserId, from_json, json_text};

/// A frame of a few lines; a larger one is none of ours.
const LONGEST: usize = 64 * 1024;

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The answer to the frame with this reference; `Err` has the reason.
    Reply { reference: u32, outcome: Result<(), String> },
    /// A change of the user's rows; the version, where it can be read.
    Changed(Option<i64>),
    /// The server listens to its database now.
    Ready,
    /// Something is wrong with the channel; in the server's words.
    Trouble(String),
    /// The channel is closed.
    Closed,
}

/// The user's own channel.
pub(super) fn topic(user: UserId) -> String {
    format!("realtime:marea:{user}")
}

/// Asks for the channel. The reference of a join names the channel in what follows.
pub(super) fn join(topic: &str, reference: u32, token: &str) -> String {
    let payload = format!(
        r#"{{"config":{{"broadcast":{{"ack":false,"self":false,"replication_ready":true}},"presence":{{"enabled":false}},"postgres_changes":[],"private":true}},"access_token":{}}}"#,
        quoted(token)
    );
    frame(topic, "phx_join", &payload, reference)
}

/// A token in the place of the one that ends soon.
pub(super) fn access_token(topic: &str, reference: u32, token: &str) -> String {
    frame(topic, "access_token", &format!(r#"{{"access_token":{}}}"#, quoted(token)), reference)
}

pub(super) fn heartbeat(reference: u32) -> String {
    frame("phoenix", "heartbeat", "{}", reference)
}

fn frame(topic: &str, event: &str, payload: &str, reference: u32) -> String {
    format!(
        r#"{{"topic":"{topic}","event":"{event}","payload":{payload},"ref":"{reference}","join_ref":"1"}}"#
    )
}

fn quoted(text: &str) -> String {
    json_text(text)
}

/// Reads a frame; `None` for what concerns nobody here.
pub(super) fn read(text: &str, topic: &str) -> Option<Said> {
    if text.len() > LONGEST {
        return None;
    }
    let frame: Value = from_json(text).ok()?;
    let payload = &frame["payload"];
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if frame["event"] == "phx_reply" {
        let reference = frame["ref"].as_str()?.parse().ok()?;
        let outcome = match payload["status"] == "ok" {
            true => Ok(()),
            false => Err(word(&payload["response"]["reason"])),
        };
        return Some(Said::Reply { reference, outcome });
    }
    if frame["topic"] != topic {
        return None;
    }
    match frame["event"].as_str()? {
        "broadcast" if payload["event"] == "changed" => {
            Some(Said::Changed(payload["payload"]["version"].as_i64()))
        }
        "system" if payload["status"] == "ok" => Some(Said::Ready),
        "system" => Some(Said::Trouble(word(&payload["message"]))),
        "phx_close" | "phx_error" => Some(Said::Closed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_nobody_is_passed_over() {
        let topic = "realtime:marea:a";
        for (text, said) in [
            (
                r#"{"topic":"realtime:marea:a","event":"broadcast","payload":{"type":"broadcast","event":"changed","payload":{"version":7,"writer":null}},"ref":null}"#,
                Some(Said::Changed(Some(7))),
            ),
            (
                r#"{"topic":"realtime:marea:a","event":"broadcast","payload":{"event":"changed","payload":{"version":"x"}}}"#,
                Some(Said::Changed(None)),
            ),
            (
                r#"{"topic":"realtime:marea:b","event":"broadcast","payload":{"event":"changed","payload":{"version":7}}}"#,
                None,
            ),
            (r#"{"topic":"realtime:marea:a","event":"broadcast","payload":{"event":"of the app"}}"#, None),
            (
                r#"{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"3"}"#,
                Some(Said::Reply { reference: 3, outcome: Ok(()) }),
            ),
            (
                r#"{"topic":"realtime:marea:a","event":"phx_reply","payload":{"status":"error","response":{"reason":"no"}},"ref":"1"}"#,
                Some(Said::Reply { reference: 1, outcome: Err("no".into()) }),
            ),
            (r#"{"topic":"realtime:marea:a","event":"phx_reply","payload":{},"ref":7}"#, None),
            (r#"{"topic":"realtime:marea:a","event":"system","payload":{"status":"ok"}}"#, Some(Said::Ready)),
            (
                r#"{"topic":"realtime:marea:a","event":"system","payload":{"status":"error","message":"Token has expired"}}"#,
                Some(Said::Trouble("Token has expired".into())),
            ),
            (r#"{"topic":"realtime:marea:a","event":"phx_close","payload":{}}"#, Some(Said::Closed)),
            (r#"{"topic":"realtime:marea:a","event":"presence_state","payload":{}}"#, None),
            ("[]", None),
            ("null", None),
            ("", None),
            (r#"{"event":{}}"#, None),
        ] {
            assert_eq!(read(text, topic), said, "{text}");
        }
        assert_eq!(read(&format!("\"{}\"", "x".repeat(LONGEST)), topic), None);
    }

    #[test]
    fn frames_are_json_whatever_the_token_is() {
        let frame: Value = from_json(&join("realtime:a", 1, "a\"b\u{1}")).unwrap();
        assert_eq!(frame["payload"]["access_token"], "a\"b\u{1}");
        assert_eq!(frame["payload"]["config"]["private"], true);
        assert_eq!((&frame["ref"], &frame["join_ref"]), (&Value::from("1"), &Value::from("1")));
    }
}
