//! Brings the envelopes of one learner together, whatever several devices did to them at once.
//!
//! Two envelopes of one data key differ when the passphrase was changed on one device while another, which did not know,
//! sealed a key: then the one under the older wrap gets the newer. Envelopes of another data key that is open (the
//! vault was rotated, or set up on two devices) are sealed under the one that counts. ADR 40 says why nothing is lost.
//!
//! A rewrite is the same key in another wrapping, not a newer key: it carries the clock of what it rewrites and one tick
//! more, so a key that some device put meanwhile, anywhere, still wins over it.

use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::{Hlc, KeyEnvelope, Provider, UserId};
use crate::vault::envelope::Envelope;
use crate::vault::header::{Header, read_kept};
use crate::vault::sealed::{SealedKey, read_all};
use crate::vault::secret::DataKey;

/// An envelope in another wrapping.
pub(crate) struct Rewrite {
    pub(crate) provider: Provider,
    pub(crate) envelope: KeyEnvelope,
    /// Just after the clock of what it replaces.
    pub(crate) hlc: Hlc,
}

/// What has to be rewritten so that `header` stands in every envelope that these data keys open.
pub(crate) fn tend(
    user: UserId,
    keys: &[SealedKey],
    header: &Header,
    data_keys: &[(String, DataKey)],
    entropy: &mut dyn Entropy,
) -> Result<Vec<Rewrite>, Error> {
    let mut rewrites = Vec::new();
    let key_of = |id: &str| data_keys.iter().find(|(known, _)| known == id).map(|(_, key)| key);
    for (provider, envelope, hlc) in read_all(user, keys) {
        let place = (user, provider);
        let other = envelope.header.key_id != header.key_id;
        let rewritten = if other {
            let Some((old, new)) = key_of(&envelope.header.key_id).zip(key_of(&header.key_id)) else {
                continue;
            };
            // What does not open stays as it is: another device may know better.
            let Ok(key) = envelope.open(place, old) else { continue };
            Envelope::seal(place, header.clone(), new, &key, entropy)?
        } else {
            let Some(newer) = rewrapped(&envelope, header) else { continue };
            newer
        };
        rewrites.push(Rewrite { provider, envelope: rewritten.text(place)?, hlc: hlc.after() });
    }
    Ok(rewrites)
}

/// The same without any key: what the header that this device knows to be good can bring up to date. It runs when rows
/// arrive, also while the vault is locked, so that a changed passphrase reaches keys that were sealed under the old one.
pub(crate) fn overtake(user: UserId, keys: &[SealedKey], kept: &str) -> Vec<Rewrite> {
    let Some(header) = read_kept(kept) else { return Vec::new() };
    let rewrite = |(provider, envelope, hlc): (Provider, Envelope, Hlc)| {
        let newer = rewrapped(&envelope, &header)?.text((user, provider)).ok()?;
        Some(Rewrite { provider, envelope: newer, hlc: hlc.after() })
    };
    read_all(user, keys).filter_map(rewrite).collect()
}

/// The envelope with this header's wraps, when they are newer than its own.
fn rewrapped(envelope: &Envelope, header: &Header) -> Option<Envelope> {
    let mut newer = envelope.clone();
    newer.header.join(header);
    (newer != *envelope).then_some(newer)
}
