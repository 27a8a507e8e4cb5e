//! What this device knows to be the newest of each provider: the envelope and when its key was put, or that it was removed.
//!
//! The server orders envelopes by the clock that came with the write, and whoever has the learner's token can write an old
//! envelope with a new clock. The date inside of an envelope cannot be changed without the data key; this is what it is
//! compared with. Only what this device wrote itself, or has opened, gets in. It holds no secret.

use serde::{Deserialize, Serialize};

use crate::model::{FewMap, Hlc, KeyEnvelope, Provider};

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newest {
    pub(crate) put_at: Hlc,
    /// None: the key was removed.
    pub(crate) envelope: Option<KeyEnvelope>,
}

impl Newest {
    /// Whether it is newer than what was put then. Format 1 has no date; every key with one was put later, or was sealed again
    /// since.
    pub(crate) fn is_after(&self, put_at: Option<Hlc>) -> bool {
        let removed = self.envelope.is_none();
        put_at.is_none_or(|put_at| put_at < self.put_at || (removed && put_at == self.put_at))
    }
}

/// All providers' newest.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Known(FewMap<Provider, Newest>);

impl Known {
    /// Reads what the mirror kept. What cannot be read is nothing known: it protects, it is not needed.
    pub(crate) fn read(text: &str) -> Known {
        Known(serde_json::from_str(text).unwrap_or_default())
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    pub(crate) fn of(&self, provider: Provider) -> Option<&Newest> {
        self.0.get(&provider)
    }

    pub(crate) fn put(&mut self, provider: Provider, put_at: Hlc, envelope: KeyEnvelope) {
        self.0.insert(provider, Newest { put_at, envelope: Some(envelope) });
    }

    /// Only a key that is put later counts from now on.
    pub(crate) fn removed(&mut self, provider: Provider) {
        if let Some(newest) = self.0.get_mut(&provider) {
            newest.envelope = None;
        }
    }
}
