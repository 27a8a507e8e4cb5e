//! What is to happen in a world, in the order of time.

use std::collections::BTreeMap;

use marea_core::{Failure, SyncAnswer, SyncRequest};

pub(super) enum Event {
    /// The timer of a host's loop.
    Ask {
        device: usize,
        rest: u32,
    },
    Arrive {
        device: usize,
        request: Box<SyncRequest>,
    },
    Answer {
        device: usize,
        outcome: Box<Result<SyncAnswer, Failure>>,
    },
    /// The timer of a host's socket.
    Look {
        device: usize,
        look: u32,
    },
    Opened {
        device: usize,
        socket: u32,
    },
    Token {
        device: usize,
        socket: u32,
    },
    Broken {
        device: usize,
        socket: u32,
    },
    /// A frame for the device; what it should mean.
    Frame {
        socket: u32,
        text: String,
        news: Option<i64>,
    },
    /// A frame for the server.
    Received {
        socket: u32,
        text: String,
    },
    Ready {
        socket: u32,
    },
    Something,
}

#[derive(Default)]
pub(super) struct Timeline {
    coming: BTreeMap<(i64, u32), Event>,
    count: u32,
}

impl Timeline {
    pub(super) fn add(&mut self, at_ms: i64, event: Event) {
        self.count += 1;
        self.coming.insert((at_ms, self.count), event);
    }

    /// The next thing that happens, unless that is after so long.
    pub(super) fn next_until(&mut self, end_ms: i64) -> Option<(i64, Event)> {
        let next = self.coming.first_entry().filter(|next| next.key().0 <= end_ms)?;
        let ((at_ms, _), event) = next.remove_entry();
        Some((at_ms, event))
    }
}
