//! Everything sealed that a device has: the envelopes of its mirror, and the header that it knows to be good.

use crate::error::{Error, VaultError};
use crate::model::{Hlc, KeyEnvelope, Provider, UserId};
use crate::vault::envelope::Envelope;
use crate::vault::header::Header;
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
    /// The header that this device knows to be good.
    pub(crate) kept: Option<Header>,
}

/// The envelopes that can be read.
pub(super) fn read_all(user: UserId, keys: &[SealedKey]) -> impl Iterator<Item = (Provider, Envelope, Hlc)> {
    keys.iter().filter_map(move |key| {
        let envelope = Envelope::read((user, key.provider), key.text.as_str()).ok()?;
        Some((key.provider, envelope, key.hlc))
    })
}

impl Sealed {
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
        let first = good.next()?;
        Some(good.fold(first, |mut newest, header| {
            newest.join(&header);
            newest
        }))
    }

    pub(super) fn key(&self, provider: Provider) -> Result<Envelope, Error> {
        let found = self.keys.iter().find(|key| key.provider == provider);
        let found = found.ok_or(Error::Vault(VaultError::NoKey))?;
        Envelope::read((self.user, provider), found.text.as_str())
    }
}
