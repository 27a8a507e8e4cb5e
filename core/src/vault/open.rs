//! An open vault: its data keys, which of them seals, and the header that an operation leaves behind.

use crate::entropy::Entropy;
use crate::error::{Error, VaultError};
use crate::model::{Provider, UnixMillis, UserId};
use crate::vault::envelope::Envelope;
use crate::vault::header::{Header, Kdf, PassphraseWrap, RecoveryWrap, make_key_id};
use crate::vault::sealed::{Sealed, read_all};
use crate::vault::secret::{ApiKey, DataKey, RecoveryCode};
use crate::vault::views::VaultOutcome;
use crate::vault::work::{VaultRequest, VaultWork};

/// The data keys of an open vault.
#[derive(Clone)]
pub(crate) struct Open {
    pub(super) keys: Vec<(String, DataKey)>,
    /// The one that seals.
    pub(super) primary: String,
    pub(super) used: UnixMillis,
}

impl Open {
    pub(super) fn key(&self, key_id: &str) -> Option<&DataKey> {
        self.keys.iter().find(|(known, _)| known == key_id).map(|(_, key)| key)
    }

    pub(super) fn read(&self, envelope: &Envelope, place: (UserId, Provider)) -> Result<ApiKey, Error> {
        let key = self.key(&envelope.header.key_id).ok_or(Error::Vault(VaultError::OtherPassphrase))?;
        envelope.open(place, key)
    }

    /// The data key that seals, and the newest header of it.
    pub(super) fn primary(&self, sealed: &Sealed) -> Result<(&DataKey, Header), Error> {
        let data_key = self.key(&self.primary).ok_or(Error::Vault(VaultError::Locked))?;
        // Gone from everywhere: the vault was reset on another device.
        let header = sealed.newest(&self.primary, data_key).ok_or(Error::Vault(VaultError::Locked))?;
        Ok((data_key, header))
    }

    /// Adds what was opened. The data key that seals stays the one it was; a vault that was locked takes the newest, of those
    /// that seal something.
    pub(super) fn take(&mut self, work: &VaultWork, sealed: &Sealed) {
        for opened in &work.opened {
            if self.key(&opened.header.key_id).is_none() {
                self.keys.push((opened.header.key_id.clone(), opened.data_key.clone()));
            }
        }
        if self.key(&self.primary).is_some() {
            return;
        }
        let seals =
            |key_id: &str| read_all(sealed.user, &sealed.keys).any(|(_, e, _)| e.header.key_id == key_id);
        let best = work.opened.iter().max_by_key(|opened| {
            let Header { key_id, passphrase, .. } = &opened.header;
            (seals(key_id), passphrase.clone())
        });
        self.primary = best.map(|opened| opened.header.key_id.clone()).unwrap_or_default();
    }

    /// Whether what opened the vault is no longer the newest passphrase of it.
    pub(super) fn is_old(&self, work: &VaultWork, sealed: &Sealed) -> Result<bool, Error> {
        let (_, newest) = self.primary(sealed)?;
        let opened = work.opened.iter().find(|opened| opened.header.key_id == self.primary);
        Ok(opened
            .is_some_and(|opened| opened.wrapping.is_some() && opened.header.passphrase != newest.passphrase))
    }

    /// The header that is to stand in all envelopes.
    pub(super) fn next_header(
        &mut self,
        work: &VaultWork,
        outcome: &mut VaultOutcome,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<Header, Error> {
        let (data_key, mut header) = self.primary(sealed)?;
        let opened = work.opened.iter().find(|opened| opened.header.key_id == self.primary);
        let fresh = work.wrapping.as_ref().map(|key| (key, work.fresh));
        let by = match work.request {
            // An open vault stays open to a passphrase that opens something else in it.
            VaultRequest::Unlock => {
                return match fresh.filter(|_| {
                    opened.is_some()
                        && !outcome.passphrase_is_old
                        && header.passphrase.rounds < work.fresh.rounds
                }) {
                    Some(by) => {
                        header.passphrase = wrap(sealed.user, &header, data_key, by, now, entropy)?;
                        Ok(header)
                    }
                    None => Ok(header),
                };
            }
            // Whoever changes something that is to last must know the passphrase that counts.
            _ if outcome.passphrase_is_old || opened.is_none() => {
                return Err(VaultError::WrongPassphrase.into());
            }
            VaultRequest::Rotate => {
                fresh.or(opened.and_then(|o| Some((o.wrapping.as_ref()?, o.header.passphrase.kdf()))))
            }
            _ => fresh,
        };
        let by = by.ok_or(Error::Internal("a passphrase was not derived"))?;
        if !matches!(work.request, VaultRequest::Rotate) {
            header.passphrase = wrap(sealed.user, &header, data_key, by, now, entropy)?;
            return Ok(header);
        }
        let had_code = header.recovery.is_some();
        let (data_key, mut header) =
            new_key(sealed.user, by, later(now, header.passphrase.made_ms), entropy)?;
        if had_code {
            let code = RecoveryCode::make(entropy)?;
            let made_ms = header.passphrase.made_ms;
            let wrap = RecoveryWrap::make(sealed.user, &header.key_id, &data_key, &code, made_ms, entropy)?;
            header.recovery = Some(wrap);
            outcome.recovery_code = Some(code);
        }
        self.primary.clone_from(&header.key_id);
        self.keys.push((header.key_id.clone(), data_key));
        Ok(header)
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
    open.primary.clone_from(&header.key_id);
    open.keys.push((header.key_id.clone(), data_key));
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
    Ok((data_key, Header { key_id, passphrase, recovery: None }))
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
    u64::try_from(now.0).unwrap_or(0).max(than + 1)
}
