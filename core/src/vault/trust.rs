//! Which data key counts: seals the next key, and decides which passphrase is the vault's.
//!
//! Envelopes come from the server, and whoever has the learner's token can put old ones back. So it is not what happens to
//! stand in the mirror that counts. The data key that this device had open last goes on counting, until an open data key
//! supersedes it (`past.rs`). One that is superseded never counts again, on a device that sees this for the first time too:
//! with the newer key open the list in its header says so, with only the old key open the proof that is in that list.
//!
//! **Invariant:** nothing is taken from a header that was not checked with an open data key.

use crate::error::{Error, VaultError};
use crate::vault::header::Header;
use crate::vault::open::Open;
use crate::vault::sealed::Sealed;
use crate::vault::secret::DataKey;

impl Open {
    /// Opens the data keys that open ones have superseded: what is sealed under them is sealed again.
    pub(super) fn add_superseded(&mut self, sealed: &Sealed) {
        let headers = sealed.headers();
        loop {
            let found = self.lists(sealed, &headers);
            let good = |id: &str, key: &DataKey| {
                let mut of_key = headers.iter().filter(|header| header.key_id == id).peekable();
                of_key.peek().is_none() || of_key.any(|header| header.checked(sealed.user, key).is_some())
            };
            let new = found.into_iter().find(|(id, key)| self.key(id).is_none() && good(id, key));
            let Some((id, key)) = new else { return };
            self.add(&id, key, 0);
        }
    }

    /// The data key that counts, and the newest header of it.
    ///
    /// # Errors
    /// [`VaultError::OtherPassphrase`] when what counts is not open: the vault was opened with an old passphrase, or with that
    /// of another vault. [`VaultError::Locked`] when it is gone from everywhere.
    pub(super) fn counting(&self, sealed: &Sealed) -> Result<(&DataKey, Header), Error> {
        let headers = sealed.headers();
        let closed = headers.iter().any(|header| self.key(&header.key_id).is_none());
        let otherwise = if closed { VaultError::OtherPassphrase } else { VaultError::Locked };
        let id = self.choose(sealed, &headers).ok_or(otherwise)?;
        let data_key = self.key(id).ok_or(otherwise)?;
        // Gone from everywhere: the vault was reset on another device.
        let header = sealed.newest(id, data_key).ok_or(VaultError::Locked)?;
        Ok((data_key, header))
    }

    /// Whether this data key, which is open, was superseded by one that may not be open here.
    pub(super) fn is_superseded(&self, sealed: &Sealed, key_id: &str) -> bool {
        let headers = sealed.headers();
        self.is_superseded_by_closed(sealed, &headers, key_id)
            || self.superseded_by_open(sealed, &headers).iter().any(|id| id == key_id)
    }

    fn choose(&self, sealed: &Sealed, headers: &[Header]) -> Option<&str> {
        let by_open = self.superseded_by_open(sealed, headers);
        let is_out = |id: &str| self.is_superseded_by_closed(sealed, headers, id);
        let all = || self.keys.iter().filter(|key| !is_out(&key.id));
        let mut current: Vec<_> = all().filter(|key| !by_open.contains(&key.id)).collect();
        if current.is_empty() && all().count() == self.keys.len() {
            // Two devices joined two vaults at once, each under its own data key: both take the later passphrase's.
            current = all().collect();
        } else if let Some(kept) = &sealed.kept {
            if let Some(key) = current.iter().find(|key| key.id == kept.key_id) {
                return Some(&key.id);
            }
            if self.key(&kept.key_id).is_none() && sealed.uses(&kept.key_id) {
                return None;
            }
        }
        // The date of a wrap is bound to what the passphrase makes, so whoever has only the data key cannot change it.
        let newest = current.into_iter().max_by_key(|key| (key.made_ms, &key.id));
        newest.map(|key| key.id.as_str())
    }

    /// What the lists of open data keys say. One of them that says something else about an open key than what it is lies.
    fn superseded_by_open(&self, sealed: &Sealed, headers: &[Header]) -> Vec<String> {
        let mut found = self.lists(sealed, headers);
        found.retain(|(id, key)| self.key(id).is_some_and(|own| own.expose() == key.expose()));
        found.into_iter().map(|(id, _)| id).collect()
    }

    fn lists(&self, sealed: &Sealed, headers: &[Header]) -> Vec<(String, DataKey)> {
        let list = |header: &Header| {
            let data_key = self.key(&header.key_id)?;
            let past = header.checked(sealed.user, data_key)?.past?;
            Some(past.open(sealed.user, (&header.key_id, data_key)))
        };
        headers.iter().filter_map(list).flatten().collect()
    }

    /// Whether the newer data key is closed here, but the old one proves that it is newer, or this device knew it.
    fn is_superseded_by_closed(&self, sealed: &Sealed, headers: &[Header], key_id: &str) -> bool {
        let Some(data_key) = self.key(key_id) else { return false };
        headers.iter().filter(|header| self.key(&header.key_id).is_none()).any(|header| {
            let Some(past) = &header.past else { return false };
            let was_known = sealed.kept.as_ref() == Some(header) && past.has(key_id);
            was_known || past.proves(sealed.user, &header.key_id, (key_id, data_key))
        })
    }
}
