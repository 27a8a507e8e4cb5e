//! An open vault: its data keys, and the header that an operation leaves behind. Which of the keys counts is in `trust.rs`.

use crate::entropy::Entropy;
use crate::error::{Error, VaultError};
use crate::model::{Provider, UnixMillis, UserId};
use crate::vault::envelope::Envelope;
use crate::vault::header::{Header, Kdf, MAX_MILLIS, PassphraseWrap, RecoveryWrap, make_key_id};
use crate::vault::past::Past;
use crate::vault::sealed::Sealed;
use crate::vault::secret::{ApiKey, DataKey, RecoveryCode};
use crate::vault::views::VaultOutcome;
use crate::vault::work::{Opened, VaultRequest, VaultWork};

/// One open data key.
#[derive(Clone)]
pub(super) struct OpenKey {
    pub(super) id: String,
    pub(super) key: DataKey,
    /// The date of the wrap that opened it, 0 when it was opened without one.
    pub(super) made_ms: u64,
}

/// The data keys of an open vault.
#[derive(Clone)]
pub(crate) struct Open {
    pub(super) keys: Vec<OpenKey>,
    pub(super) used: UnixMillis,
}

impl Open {
    pub(super) fn new(now: UnixMillis) -> Open {
        Open { keys: Vec::new(), used: now }
    }

    pub(super) fn key(&self, key_id: &str) -> Option<&DataKey> {
        self.keys.iter().find(|known| known.id == key_id).map(|known| &known.key)
    }

    pub(super) fn add(&mut self, key_id: &str, key: DataKey, made_ms: u64) {
        match self.keys.iter_mut().find(|known| known.id == key_id) {
            Some(known) => known.made_ms = known.made_ms.max(made_ms),
            None => self.keys.push(OpenKey { id: key_id.to_owned(), key, made_ms }),
        }
    }

    pub(super) fn read(&self, envelope: &Envelope, place: (UserId, Provider)) -> Result<ApiKey, Error> {
        let key = self.key(&envelope.header.key_id).ok_or(Error::Vault(VaultError::OtherPassphrase))?;
        envelope.open(place, key)
    }

    /// Adds what was opened, and what that has superseded.
    pub(super) fn take(&mut self, work: &VaultWork, sealed: &Sealed) {
        for Opened { header, data_key, .. } in &work.opened {
            let made_ms = match (&work.request, &header.recovery) {
                (VaultRequest::Recover(_) | VaultRequest::RecoverRewrap(_), Some(wrap)) => wrap.made_ms,
                _ => header.passphrase.made_ms,
            };
            self.add(&header.key_id, data_key.clone(), made_ms);
        }
        self.add_superseded(sealed);
    }

    /// Whether what was given opens nothing but what was changed since.
    pub(super) fn is_old(&self, work: &VaultWork, sealed: &Sealed) -> bool {
        let counting = self.counting(sealed).ok().map(|(_, header)| header);
        let is_old = |opened: &Opened| match &counting {
            Some(newest) if newest.key_id == opened.header.key_id => !opened.is_by_newest(newest),
            _ => self.is_superseded(sealed, &opened.header.key_id),
        };
        work.opened.iter().all(is_old)
    }

    /// The header that is to stand in all envelopes; none when what counts is not open.
    pub(super) fn next_header(
        &mut self,
        work: &VaultWork,
        outcome: &mut VaultOutcome,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Header>, Error> {
        let counting = self.counting(sealed).map(|(data_key, header)| (data_key.clone(), header));
        let fresh = work.wrapping.as_ref().map(|key| (key, work.fresh));
        let opened = |header: &Header| {
            let mut by_this = work.opened.iter().filter(|opened| opened.header.key_id == header.key_id);
            by_this.find(|opened| opened.is_by_newest(header))
        };
        if matches!(work.request, VaultRequest::Unlock) {
            let Ok((data_key, mut header)) = counting else { return Ok(None) };
            let outdated = header.passphrase.rounds < work.fresh.rounds && opened(&header).is_some();
            if let Some(by) = fresh.filter(|_| outdated) {
                header.passphrase = wrap(sealed.user, &header, &data_key, by, now, entropy)?;
            }
            return Ok(Some(header));
        }
        // Whoever changes something that is to last must know the passphrase, or the code, that counts.
        let wrong = || Error::Vault(VaultError::WrongPassphrase);
        let (data_key, mut header) = counting.map_err(|_| wrong())?;
        let opened = opened(&header).ok_or_else(wrong)?;
        let again = || opened.wrapping.as_ref().map(|key| (key, opened.header.passphrase.kdf()));
        let by = if matches!(work.request, VaultRequest::Rotate) { fresh.or_else(again) } else { fresh };
        let by = by.ok_or(Error::Internal("a passphrase was not derived"))?;
        if matches!(work.request, VaultRequest::RewrapPassphrase | VaultRequest::RecoverRewrap(_)) {
            header.passphrase = wrap(sealed.user, &header, &data_key, by, now, entropy)?;
            return Ok(Some(header));
        }
        self.rotated(sealed.user, &header, by, outcome, now, entropy).map(Some)
    }

    /// A new data key in the place of all that are open, and the header of it. The old ones are noted in it.
    fn rotated(
        &mut self,
        user: UserId,
        old: &Header,
        by: (&DataKey, Kdf),
        outcome: &mut VaultOutcome,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<Header, Error> {
        let made_ms = later(now, old.passphrase.made_ms);
        let (data_key, mut header) = new_key(user, by, made_ms, entropy)?;
        for OpenKey { id, key, .. } in &self.keys {
            let since_ms = old.past.as_ref().and_then(|past| past.since(id)).unwrap_or(made_ms);
            header.note_superseded(user, &data_key, (id, key), since_ms, entropy)?;
        }
        if old.recovery.is_some() {
            let code = RecoveryCode::make(entropy)?;
            let wrap = RecoveryWrap::make(user, &header.key_id, &data_key, &code, made_ms, entropy)?;
            header.recovery = Some(wrap);
            outcome.recovery_code = Some(code);
        }
        self.add(&header.key_id, data_key, made_ms);
        Ok(header)
    }
}

impl Opened {
    /// Whether the wrap that opened it is the newest of its kind.
    fn is_by_newest(&self, newest: &Header) -> bool {
        match self.wrapping {
            Some(_) => self.header.passphrase == newest.passphrase,
            None => self.header.recovery.is_some() && self.header.recovery == newest.recovery,
        }
    }
}

impl Header {
    /// Notes a data key that this one supersedes.
    pub(super) fn note_superseded(
        &mut self,
        user: UserId,
        data_key: &DataKey,
        old: (&str, &DataKey),
        since_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error> {
        let by = (self.key_id.as_str(), data_key);
        let past = Past::joined(self.past.take(), None, user, by);
        self.past = Some(past.with(old, since_ms, user, by, entropy)?);
        Ok(())
    }
}

pub(super) fn first_header(
    open: &mut Open,
    work: &VaultWork,
    now: UnixMillis,
    entropy: &mut dyn Entropy,
) -> Result<Header, Error> {
    let wrapping = work.wrapping.as_ref().ok_or(Error::Internal("a passphrase was not derived"))?;
    let (data_key, header) = new_key(work.user, (wrapping, work.fresh), later(now, 0), entropy)?;
    open.add(&header.key_id, data_key, header.passphrase.made_ms);
    Ok(header)
}

fn new_key(
    user: UserId,
    by: (&DataKey, Kdf),
    made_ms: u64,
    entropy: &mut dyn Entropy,
) -> Result<(DataKey, Header), Error> {
    let (key_id, data_key) = (make_key_id(entropy)?, DataKey::make(entropy)?);
    let passphrase = PassphraseWrap::make(user, &key_id, &data_key, by, made_ms, entropy)?;
    let past = Past::joined(None, None, user, (&key_id, &data_key));
    Ok((data_key, Header { key_id, passphrase, recovery: None, past: Some(past) }))
}

fn wrap(
    user: UserId,
    header: &Header,
    data_key: &DataKey,
    by: (&DataKey, Kdf),
    now: UnixMillis,
    entropy: &mut dyn Entropy,
) -> Result<PassphraseWrap, Error> {
    let made_ms = later(now, header.passphrase.made_ms);
    PassphraseWrap::make(user, &header.key_id, data_key, by, made_ms, entropy)
}

/// Now, and after what it replaces, whatever the device's clock says.
pub(super) fn later(now: UnixMillis, than: u64) -> u64 {
    u64::try_from(now.0).unwrap_or(0).max(than.saturating_add(1)).min(MAX_MILLIS)
}
