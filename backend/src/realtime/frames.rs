//! Frames of Phoenix's socket as Supabase's Realtime speaks them: protocol version 1 sends JSON objects, version 2 JSON arrays.

use serde_json::{Value, json};

/// Which form the frames of a socket have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    /// From the query's `vsn`; without one it is the first.
    pub(crate) fn named(vsn: Option<&str>) -> Option<Version> {
        match vsn {
            None | Some("1.0.0") => Some(Version::One),
            Some("2.0.0") => Some(Version::Two),
            Some(_) => None,
        }
    }
}

/// A frame in either direction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) join_ref: Option<String>,
    pub(crate) reference: Option<String>,
    pub(crate) topic: String,
    pub(crate) event: String,
    pub(crate) payload: Value,
}

impl Frame {
    /// One that the server sends by itself.
    pub(crate) fn push(topic: &str, event: &str, payload: Value) -> Frame {
        let (topic, event) = (topic.to_owned(), event.to_owned());
        Frame { join_ref: None, reference: None, topic, event, payload }
    }

    /// The answer to this one.
    pub(crate) fn reply(&self, status: &str, response: Value) -> Frame {
        Frame {
            event: "phx_reply".to_owned(),
            payload: json!({ "status": status, "response": response }),
            ..self.clone()
        }
    }

    pub(crate) fn read(text: &str, version: Version) -> Option<Frame> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        let [join_ref, reference, topic, event, payload] = match version {
            Version::One => {
                value.is_object().then_some(())?;
                ["join_ref", "ref", "topic", "event", "payload"].map(|name| value[name].take())
            }
            Version::Two => value.as_array()?.clone().try_into().ok()?,
        };
        // A reference may be a number.
        let reference_of = |it: Value| match it {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        Some(Frame {
            join_ref: reference_of(join_ref),
            reference: reference_of(reference),
            topic: topic.as_str()?.to_owned(),
            event: event.as_str()?.to_owned(),
            payload,
        })
    }

    pub(crate) fn write(&self, version: Version) -> String {
        let Frame { join_ref, reference, topic, event, payload } = self;
        match version {
            Version::One => json!({ "ref": reference, "topic": topic, "event": event, "payload": payload }),
            Version::Two => json!([join_ref, reference, topic, event, payload]),
        }
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let one = r#"{"topic":"realtime:a","event":"phx_join","payload":{"x":1},"ref":"2","join_ref":"1"}"#;
        let two = r#"["1","2","realtime:a","phx_join",{"x":1}]"#;
        let frame = Frame::read(one, Version::One).unwrap();
        assert_eq!(Some(&frame), Frame::read(two, Version::Two).as_ref());
        assert_eq!(
            frame.reply("ok", json!({})).write(Version::Two),
            r#"["1","2","realtime:a","phx_reply",{"response":{},"status":"ok"}]"#
        );
        for (text, version) in
            [(one, Version::Two), (two, Version::One), ("{", Version::One), ("[1,2]", Version::Two)]
        {
            assert_eq!(Frame::read(text, version), None, "{text}");
        }
        assert_eq!(Version::named(Some("3.0.0")), None);
    }
}
