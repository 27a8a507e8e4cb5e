//! The channels that one socket has joined, and until when.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Subscription;
use crate::clock;

/// One channel of a socket.
pub(super) struct Joined {
    pub(super) private: bool,
    /// It asked to be told when the database is listened to.
    pub(super) tells_ready: bool,
    /// When its token ends, in seconds of Unix time.
    pub(super) expires_at: Option<i64>,
    pub(super) _subscription: Subscription,
}

/// By the topic as it is on the wire.
#[derive(Default)]
pub(super) struct Channels(pub(super) HashMap<String, Joined>);

impl Channels {
    /// When the first token ends; far away where none does.
    pub(super) fn next_expiry(&self) -> Instant {
        let left = self.0.values().filter_map(|it| it.expires_at).min().map(|at| at - clock::unix_seconds());
        // A little later than the second itself.
        let left = left.map_or(Duration::from_secs(3600), |left| {
            Duration::from_millis(u64::try_from(left).unwrap_or(0) * 1000 + 20)
        });
        Instant::now() + left.min(Duration::from_secs(3600))
    }

    /// Takes out those whose token has ended.
    pub(super) fn expired(&mut self) -> Vec<String> {
        let now = clock::unix_seconds();
        let ended = |it: &Joined| it.expires_at.is_some_and(|at| at <= now);
        let topics: Vec<String> =
            self.0.iter().filter(|(_, it)| ended(it)).map(|(topic, _)| topic.clone()).collect();
        for topic in &topics {
            self.0.remove(topic);
        }
        topics
    }
}
