//! One sealed key as one line of text: `marea1`, the header's seven parts, the sealed key, a checksum.
//! Byte by byte in `docs/VAULT.md`.
//!
//! The checksum is no secret and protects against nobody: it tells damage from a wrong passphrase, and makes everything
//! that is not as it was fail in the same place, before any key is derived.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entropy::Entropy;
use crate::error::{Error, VaultError};
use crate::model::{KeyEnvelope, Provider, UserId};
use crate::vault::crypt;
use crate::vault::header::Header;
use crate::vault::secret::{ApiKey, DataKey};

const VERSION: &str = "marea1";
const SUM_BYTES: usize = 9;
/// A key of 1 to 1,024 bytes with nonce and tag.
const BODY_BYTES: std::ops::RangeInclusive<usize> = crypt::SEAL_OVERHEAD + 1..=crypt::SEAL_OVERHEAD + 1024;

/// A sealed key, read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) header: Header,
    /// Nonce, sealed key, tag.
    body: Vec<u8>,
}

/// Base 64 of RFC 4648, 5, without padding.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Exactly N bytes, written in the one way that counts: bits left over are zero.
pub(crate) fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = text.len() == (N * 4).div_ceil(3);
    (length && URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()? == N).then_some(bytes)
}

impl Envelope {
    pub(crate) fn seal(
        place: (UserId, Provider),
        header: Header,
        data_key: &DataKey,
        key: &ApiKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Envelope, Error> {
        let about = about(place, &header.key_id);
        let body = crypt::seal(data_key, &about, key.expose().as_bytes(), entropy)?;
        Ok(Envelope { header, body })
    }

    pub(crate) fn open(&self, place: (UserId, Provider), data_key: &DataKey) -> Result<ApiKey, Error> {
        let plain = crypt::open(data_key, &about(place, &self.header.key_id), &self.body);
        let key = plain.and_then(|plain| ApiKey::opened(&plain));
        crypt::scrub_stack();
        key.ok_or(Error::Vault(VaultError::Damaged))
    }

    /// Reads an envelope from its place. Everything that is wrong with it is the same error.
    pub(crate) fn read(place: (UserId, Provider), text: &str) -> Result<Envelope, Error> {
        parse(place, text).ok_or(Error::Vault(VaultError::Damaged))
    }

    pub(crate) fn text(&self, place: (UserId, Provider)) -> Result<KeyEnvelope, Error> {
        let text = format!("{VERSION}.{}.{}", self.header, text_of(&self.body));
        let sum = sum(place, &text);
        format!("{text}.{}", text_of(&sum)).parse()
    }
}

fn parse(place: (UserId, Provider), text: &str) -> Option<Envelope> {
    let (summed, written) = text.rsplit_once('.')?;
    let mut parts = summed.split('.');
    if parts.next()? != VERSION || !crypt::same(&sum(place, summed), &fixed::<SUM_BYTES>(written)?) {
        return None;
    }
    let header: [&str; 7] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let body = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let whole = parts.next().is_none() && BODY_BYTES.contains(&body.len());
    Some(Envelope { header: Header::read(header)?, body }).filter(|_| whole)
}

/// A text with the checksum of its place, right or wrong as it is.
#[cfg(test)]
pub(crate) fn with_sum(place: (UserId, Provider), text: &str) -> String {
    format!("{text}.{}", text_of(&sum(place, text)))
}

/// What a sealed key is bound to: in another place it does not open.
fn about((user, provider): (UserId, Provider), key_id: &str) -> String {
    format!("{VERSION} key {user} {} {key_id}", provider.name())
}

fn sum((user, provider): (UserId, Provider), text: &str) -> [u8; SUM_BYTES] {
    let place = format!("{VERSION} sum {user} {} ", provider.name());
    let digest = crypt::sha256(&[place.as_bytes(), text.as_bytes()]);
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&digest[..SUM_BYTES]);
    sum
}
