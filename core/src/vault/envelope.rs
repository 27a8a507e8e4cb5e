//! One sealed key as one line of text: the format, the header's parts, when the key was put, the sealed key, a checksum.
//! Byte by byte in `docs/VAULT.md`. Format 2 is written; format 1, without the date and the padding, is read, and is sealed
//! again as format 2 when the vault opens.
//!
//! The checksum is no secret and protects against nobody: it tells damage from a wrong passphrase, and makes everything
//! that is not as it was fail in the same place, before any key is derived.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::entropy::Entropy;
use crate::error::{Error, VaultError};
use crate::model::{Hlc, KeyEnvelope, Provider, UserId};
use crate::vault::crypt;
use crate::vault::header::Header;
use crate::vault::secret::{ApiKey, DataKey};

const FORMAT_1: &str = "marea1";
const FORMAT_2: &str = "marea2";
const SUM_BYTES: usize = 9;
/// Format 1: a key of 1 to 1,024 bytes with nonce and tag.
const BODY_BYTES: std::ops::RangeInclusive<usize> = crypt::SEAL_OVERHEAD + 1..=crypt::SEAL_OVERHEAD + 1024;
/// Format 2: what a key is padded to, so that its length does not show. The keys of all three providers have less than 256
/// bytes; longer ones show that they are.
const ROOMS: [usize; 3] = [256, 512, 1024];
/// The key's length, before it.
const LENGTH_BYTES: usize = 2;

/// A sealed key, read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) header: Header,
    /// When the key was put. Stays the same when it is wrapped or sealed again; none in format 1.
    pub(crate) put_at: Option<Hlc>,
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
        (key, put_at): (&ApiKey, Hlc),
        entropy: &mut dyn Entropy,
    ) -> Result<Envelope, Error> {
        let about = about(place, &header.key_id, Some(put_at));
        let body = crypt::seal(data_key, &about, &padded(key)?, entropy)?;
        Ok(Envelope { header, put_at: Some(put_at), body })
    }

    pub(crate) fn open(&self, place: (UserId, Provider), data_key: &DataKey) -> Result<ApiKey, Error> {
        let plain = crypt::open(data_key, &about(place, &self.header.key_id, self.put_at), &self.body);
        let key = plain.and_then(|plain| match self.put_at {
            None => ApiKey::opened(&plain),
            Some(_) => ApiKey::opened(unpadded(&plain)?),
        });
        crypt::scrub_stack();
        key.ok_or(Error::Vault(VaultError::Damaged))
    }

    /// The same sealed key under another header of its data key.
    pub(crate) fn under(self, header: Header) -> Envelope {
        Envelope { header, ..self }
    }

    /// Reads an envelope from its place. Everything that is wrong with it is the same error.
    pub(crate) fn read(place: (UserId, Provider), text: &str) -> Result<Envelope, Error> {
        parse(place, text).ok_or(Error::Vault(VaultError::Damaged))
    }

    pub(crate) fn text(&self, place: (UserId, Provider)) -> Result<KeyEnvelope, Error> {
        let (wraps, body) = (self.header.wraps(), text_of(&self.body));
        let text = match self.put_at {
            None => format!("{FORMAT_1}.{wraps}.{body}"),
            Some(put_at) => {
                let past = self.header.past.as_ref().ok_or(Error::Internal("a header of format 1"))?;
                format!("{FORMAT_2}.{wraps}.{past}.{put_at}.{body}")
            }
        };
        let sum = sum(place, &text);
        format!("{text}.{}", text_of(&sum)).parse()
    }
}

/// Whether it is an envelope of a format that this program writes or has written: then what is wrong with it is damage, and
/// not that it is newer.
pub(crate) fn is_known_format(text: &str) -> bool {
    text.split('.').next().is_some_and(|format| [FORMAT_1, FORMAT_2].contains(&format))
}

fn parse(place: (UserId, Provider), text: &str) -> Option<Envelope> {
    let (summed, written) = text.rsplit_once('.')?;
    if !is_known_format(text) || !crypt::same(&sum(place, summed), &fixed::<SUM_BYTES>(written)?) {
        return None;
    }
    let mut parts = summed.split('.');
    let is_first = parts.next()? == FORMAT_1;
    let wraps: [&str; 7] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let (past, put_at) =
        if is_first { (None, None) } else { (Some(parts.next()?), Some(parts.next()?.parse().ok()?)) };
    let body = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
    let plain = body.len().checked_sub(crypt::SEAL_OVERHEAD)?;
    let sized = if is_first {
        BODY_BYTES.contains(&body.len())
    } else {
        ROOMS.iter().any(|room| LENGTH_BYTES + room == plain)
    };
    let whole = sized && parts.next().is_none();
    Some(Envelope { header: Header::read(wraps, past)?, put_at, body }).filter(|_| whole)
}

/// Two bytes of length, the key, zeros up to the next room.
fn padded(key: &ApiKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bytes = key.expose().as_bytes();
    let too_long = Error::Internal("a key is longer than it may be");
    let Some(room) = ROOMS.into_iter().find(|room| bytes.len() <= *room) else { return Err(too_long) };
    let length = u16::try_from(bytes.len()).map_err(|_| too_long)?;
    let mut plain = Zeroizing::new(vec![0; LENGTH_BYTES + room]);
    plain[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    plain[LENGTH_BYTES..LENGTH_BYTES + bytes.len()].copy_from_slice(bytes);
    Ok(plain)
}

fn unpadded(plain: &[u8]) -> Option<&[u8]> {
    let (length, rest) = plain.split_first_chunk()?;
    let (key, zeros) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    (!key.is_empty() && zeros.iter().all(|byte| *byte == 0)).then_some(key)
}

/// A text with the checksum of its place, right or wrong as it is.
#[cfg(test)]
pub(crate) fn with_sum(place: (UserId, Provider), text: &str) -> String {
    format!("{text}.{}", text_of(&sum(place, text)))
}

/// What a sealed key is bound to: in another place, or with another date, it does not open.
fn about((user, provider): (UserId, Provider), key_id: &str, put_at: Option<Hlc>) -> String {
    let provider = provider.name();
    match put_at {
        None => format!("{FORMAT_1} key {user} {provider} {key_id}"),
        Some(put_at) => format!("{FORMAT_2} key {user} {provider} {key_id} {put_at}"),
    }
}

fn sum((user, provider): (UserId, Provider), text: &str) -> [u8; SUM_BYTES] {
    let format = text.split('.').next().unwrap_or_default();
    let place = format!("{format} sum {user} {} ", provider.name());
    let digest = crypt::sha256(&[place.as_bytes(), text.as_bytes()]);
    let mut sum = [0; SUM_BYTES];
    sum.copy_from_slice(&digest[..SUM_BYTES]);
    sum
}
