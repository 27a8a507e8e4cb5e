//! Brings the envelopes of one learner together, whatever several devices, or somebody with the learner's token, did to them.
//!
//! Two envelopes of one data key differ when only the wraps were changed on one device while another, which did not know,
//! sealed a key: then the one under the older wrap gets the newer. Envelopes of another data key that is open (the vault was
//! rotated, or set up on two devices) are sealed under the one that counts. An envelope that is older than what this device
//! knows of its provider, or is damaged, is put back as it was. ADR 40 says why nothing is lost, ADR 86 what is put back.
//!
//! A rewrite is the same key in another wrapping, not a newer key: it carries the clock of what it rewrites and one tick
//! more, so a key that some device put meanwhile, anywhere, still wins over it.

use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::{Hlc, KeyEnvelope, Provider, UserId};
use crate::vault::envelope::{Envelope, is_known_format};
use crate::vault::header::Header;
use crate::vault::known::{Known, Newest};
use crate::vault::open::Open;
use crate::vault::sealed::{Sealed, SealedKey, read_all};
use crate::vault::secret::{ApiKey, DataKey};

/// An envelope in another wrapping.
pub(crate) struct Rewrite {
    pub(crate) provider: Provider,
    pub(crate) envelope: KeyEnvelope,
    /// Just after the clock of what it replaces.
    pub(crate) hlc: Hlc,
}

/// What is to be written.
pub(crate) struct Tended {
    /// The header that this device knows to be good from now on; none: the one it has.
    pub(crate) kept: Option<Header>,
    pub(crate) known: Known,
    pub(crate) rewrites: Vec<Rewrite>,
}

/// What becomes of one envelope.
enum Next {
    Leave,
    /// It is the newest, as it stands.
    Accept(Hlc),
    /// It carries the newest key, and is to be like this.
    Write(Hlc, Box<Envelope>),
    /// What this device knows is newer. A key that was removed is nothing to put back: another device may know a newer one.
    PutBack,
}

/// An open vault, the data key that counts in it, and the header that is to stand in all envelopes.
struct Counting<'a> {
    open: &'a Open,
    data_key: &'a DataKey,
    header: &'a Header,
}

/// With the data key that counts: every envelope is looked at with it, and all get this header.
pub(super) fn tend(
    open: &Open,
    mut header: Header,
    sealed: &Sealed,
    entropy: &mut dyn Entropy,
) -> Result<Tended, Error> {
    let data_key = open.key(&header.key_id).ok_or(Error::Internal("the vault has no data key"))?;
    for (_, envelope, _) in read_all(sealed.user, &sealed.keys) {
        let id = &envelope.header.key_id;
        if let Some(old) = open.key(id) {
            // One that is noted already stays as it is, and the data key itself is never in its own list.
            let since_ms = header.passphrase.made_ms;
            header.note_superseded(sealed.user, data_key, (id, old), since_ms, entropy)?;
        }
    }
    let mut known = sealed.known.clone();
    let counting = Counting { open, data_key, header: &header };
    let mut rewrites = Vec::new();
    for provider in Provider::ALL {
        let Some(found) = found(sealed, provider) else {
            known.removed(provider);
            continue;
        };
        let place = (sealed.user, provider);
        let newest = known.of(provider);
        let next = match Envelope::read(place, found.text.as_str()) {
            Ok(envelope) => counting.judge(place, envelope, found.hlc, newest, entropy)?,
            Err(_) => damaged(found, newest),
        };
        let hlc = found.hlc.after();
        let write = |envelope| Rewrite { provider, envelope, hlc };
        match next {
            Next::Leave => {}
            Next::Accept(put_at) => known.put(provider, put_at, found.text.clone()),
            Next::Write(put_at, envelope) => {
                let text = envelope.text(place)?;
                known.put(provider, put_at, text.clone());
                rewrites.push(write(text));
            }
            Next::PutBack => {
                if let Some((put_at, text)) = counting.again(place, newest, entropy)? {
                    known.put(provider, put_at, text.clone());
                    rewrites.push(write(text));
                }
            }
        }
    }
    Ok(Tended { kept: Some(header), known, rewrites })
}

/// The same without any key. It runs when rows arrive while the vault is locked, so that a changed passphrase reaches keys that
/// were sealed under the old one, and an old envelope does not stay. What cannot be checked now is not remembered.
pub(super) fn tend_closed(sealed: &Sealed) -> Tended {
    let mut known = sealed.known.clone();
    let mut rewrites = Vec::new();
    for provider in Provider::ALL {
        let Some(found) = found(sealed, provider) else {
            known.removed(provider);
            continue;
        };
        let place = (sealed.user, provider);
        let newest = known.of(provider);
        let envelope = match Envelope::read(place, found.text.as_str()) {
            Ok(envelope) => judge_closed(sealed, envelope, newest),
            Err(_) => damaged(found, newest),
        };
        let written = match envelope {
            Next::Write(_, envelope) => envelope.text(place).ok(),
            Next::PutBack => newest.and_then(|newest| newest.envelope.clone()),
            Next::Leave | Next::Accept(_) => None,
        };
        if let Some(envelope) = written {
            rewrites.push(Rewrite { provider, envelope, hlc: found.hlc.after() });
        }
    }
    Tended { kept: None, known, rewrites }
}

fn found(sealed: &Sealed, provider: Provider) -> Option<&SealedKey> {
    sealed.keys.iter().find(|key| key.provider == provider)
}

/// A newer program's envelope looks damaged too, and is left to it.
fn damaged(found: &SealedKey, newest: Option<&Newest>) -> Next {
    let is_ours = is_known_format(found.text.as_str());
    if is_ours && newest.is_some() { Next::PutBack } else { Next::Leave }
}

/// Whether this device knows a newer key than this one. With the same date it is the same key: then a form that was replaced
/// since is the older one.
fn is_outdated(newest: Option<&Newest>, put_at: Option<Hlc>, was_replaced: impl Fn(&Newest) -> bool) -> bool {
    let Some(newest) = newest else { return false };
    newest.is_after(put_at) || (put_at == Some(newest.put_at) && was_replaced(newest))
}

/// By which data key an envelope is sealed, or says so.
fn is_under(newest: &Newest, key_id: &str) -> bool {
    newest.envelope.as_ref().is_some_and(|text| text.as_str().split('.').nth(1) == Some(key_id))
}

fn judge_closed(sealed: &Sealed, envelope: Envelope, newest: Option<&Newest>) -> Next {
    let kept = sealed.kept.as_ref();
    let is_past = |kept: &Header| kept.past.as_ref().is_some_and(|past| past.has(&envelope.header.key_id));
    let was_replaced =
        |newest: &Newest| kept.is_some_and(|kept| is_past(kept) && is_under(newest, &kept.key_id));
    if is_outdated(newest, envelope.put_at, was_replaced) {
        return Next::PutBack;
    }
    let mut newer = envelope.clone();
    if let Some(kept) = kept {
        newer.header.catch_up(kept);
    }
    // The list of superseded keys has no place in format 1.
    let is_same =
        newer == envelope || (newer.put_at.is_none() && newer.header.wraps() == envelope.header.wraps());
    if is_same { Next::Leave } else { Next::Write(Hlc::ZERO, Box::new(newer)) }
}

/// No clock is wrong by more: a later date under a superseded key was made up.
const TEN_YEARS_MS: u64 = 10 * 366 * 24 * 60 * 60 * 1000;

impl Counting<'_> {
    fn judge(
        &self,
        place: (UserId, Provider),
        envelope: Envelope,
        hlc: Hlc,
        newest: Option<&Newest>,
        entropy: &mut dyn Entropy,
    ) -> Result<Next, Error> {
        let own = &self.header.key_id;
        let is_own = envelope.header.key_id == *own;
        let Some(key) = self.open.key(&envelope.header.key_id) else {
            let outdated = is_outdated(newest, envelope.put_at, |_| false);
            return Ok(if outdated { Next::PutBack } else { Next::Leave });
        };
        if is_outdated(newest, envelope.put_at, |newest| !is_own && is_under(newest, own)) {
            return Ok(Next::PutBack);
        }
        let Ok(clear) = envelope.open(place, key) else {
            // What never opened on this device stays as it is: another one may know better.
            return Ok(if newest.is_some() { Next::PutBack } else { Next::Leave });
        };
        let is_made_up = |put_at: Hlc| !is_own && put_at.millis() > hlc.millis().saturating_add(TEN_YEARS_MS);
        let put_at = match envelope.put_at {
            Some(put_at) if is_made_up(put_at) && newest.is_some() => return Ok(Next::PutBack),
            Some(put_at) if !is_made_up(put_at) => put_at,
            _ => hlc,
        };
        if !is_own || envelope.put_at.is_none() {
            return self.sealed(place, &clear, put_at, entropy).map(|new| Next::Write(put_at, Box::new(new)));
        }
        Ok(if envelope.header == *self.header {
            Next::Accept(put_at)
        } else {
            Next::Write(put_at, Box::new(envelope.under(self.header.clone())))
        })
    }

    fn sealed(
        &self,
        place: (UserId, Provider),
        key: &ApiKey,
        put_at: Hlc,
        entropy: &mut dyn Entropy,
    ) -> Result<Envelope, Error> {
        Envelope::seal(place, self.header.clone(), self.data_key, (key, put_at), entropy)
    }

    /// What this device knows, in the form that counts now; nothing when the key was removed.
    fn again(
        &self,
        place: (UserId, Provider),
        newest: Option<&Newest>,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<(Hlc, KeyEnvelope)>, Error> {
        let Some((put_at, text)) = newest.and_then(|n| Some((n.put_at, n.envelope.clone()?))) else {
            return Ok(None);
        };
        let envelope = Envelope::read(place, text.as_str())?;
        let Some(key) = self.open.key(&envelope.header.key_id) else { return Ok(Some((put_at, text))) };
        let envelope = if envelope.header.key_id == self.header.key_id {
            envelope.under(self.header.clone())
        } else {
            self.sealed(place, &envelope.open(place, key)?, put_at, entropy)?
        };
        Ok(Some((put_at, envelope.text(place)?)))
    }
}
