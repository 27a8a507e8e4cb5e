//! Everything sealed that a device has: the envelopes of its mirror, and what it knows to be good and newest.

use crate::error::{Error, VaultError};
use crate::model::{Hlc, KeyEnvelope, Provider, UserId};
use crate::vault::envelope::Envelope;
use crate::vault::header::Header;
use crate::vault::known::Known;
use crate::vault::past::Past;
use crate::vault::secret::DataKey;

/// An envelope as it stands in the mirror.
pub(crate) struct SealedKey {
    pub(crate) provider: Provider,
    pub(crate) text: KeyEnvelope,
    /// When it was written.
    pub(crate) hlc: Hlc,
}

/// Everything sealed that this device has.
pub(crate) struct Sealed {
    pub(crate) user: UserId,
    pub(crate) keys: Vec<SealedKey>,
    /// The header of the data key that counts on this device: it was open here, and the header was checked with it.
    pub(crate) kept: Option<Header>,
    /// The newest of each provider.
    pub(crate) known: Known,
}

/// The envelopes that can be read.
pub(super) fn read_all(user: UserId, keys: &[SealedKey]) -> impl Iterator<Item = (Provider, Envelope, Hlc)> {
    keys.iter().filter_map(move |key| {
        let envelope = Envelope::read((user, key.provider), key.text.as_str()).ok()?;
        Some((key.provider, envelope, key.hlc))
    })
}

impl Sealed {
    /// All but what was removed here and came back: no device writes that, so it is treated as if it were not there. It is
    /// not taken away on the server, because a device that knows of a newer key could not tell this from a removal.
    pub(crate) fn new(user: UserId, mut keys: Vec<SealedKey>, kept: Option<Header>, known: Known) -> Sealed {
        keys.retain(|SealedKey { provider, text, .. }| {
            let removed = known.of(*provider).filter(|newest| newest.envelope.is_none());
            let put_at = Envelope::read((user, *provider), text.as_str()).map(|envelope| envelope.put_at);
            !removed.is_some_and(|removed| put_at.is_ok_and(|put_at| removed.is_after(put_at)))
        });
        Sealed { user, keys, kept, known }
    }

    /// What this device knows to be good, and what the envelopes say.
    pub(super) fn headers(&self) -> Vec<Header> {
        let mut headers: Vec<Header> = self.kept.iter().cloned().collect();
        for (_, envelope, _) in read_all(self.user, &self.keys) {
            if !headers.contains(&envelope.header) {
                headers.push(envelope.header);
            }
        }
        headers
    }

    /// The newest of what devices with this data key have wrapped.
    pub(super) fn newest(&self, key_id: &str, data_key: &DataKey) -> Option<Header> {
        let of_key = self.headers().into_iter().filter(|header| header.key_id == key_id);
        let mut good = of_key.filter_map(|header| header.checked(self.user, data_key));
        let mut newest = good.next()?;
        good.for_each(|header| newest.join(&header, self.user, data_key));
        // Format 1 had no list.
        let past = newest.past.take();
        newest.past = Some(Past::joined(past, None, self.user, (key_id, data_key)));
        Some(newest)
    }

    /// Whether an envelope is sealed by this data key, or says so.
    pub(super) fn uses(&self, key_id: &str) -> bool {
        read_all(self.user, &self.keys).any(|(_, envelope, _)| envelope.header.key_id == key_id)
    }

    pub(super) fn key(&self, provider: Provider) -> Result<Envelope, Error> {
        let found = self.keys.iter().find(|key| key.provider == provider);
        let found = found.ok_or(Error::Vault(VaultError::NoKey))?;
        Envelope::read((self.user, provider), found.text.as_str())
    }
}
