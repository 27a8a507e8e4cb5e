//! The data keys that a data key has superseded, in its header: each with a name, a date, the old key wrapped by the new
//! one, and a proof under the old one; and a MAC over them all.
//!
//! A superseded data key opens what a device that did not know of the change has sealed, so that this is sealed again under
//! the new one. It decides nothing any more: neither what the next key is sealed under nor which passphrase counts. Whoever
//! has the new key sees that by the MAC, whoever has only the old one by the proof.

use std::fmt;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::{UserId, sort_few};
use crate::vault::crypt::{self, CHECK_BYTES};
use crate::vault::envelope::{fixed, text_of};
use crate::vault::header::{WRAPPED_BYTES, millis};
use crate::vault::secret::DataKey;

/// The newest so many are kept: an envelope has to stay short. Older ones open nothing any more, and seal nothing, because
/// their wraps are older than those of the newer keys.
pub(super) const MAX_KEYS: usize = 8;
const KEY_ID_CHARS: usize = 16;
const WRAPPED_CHARS: usize = WRAPPED_BYTES / 3 * 4;
const CHECK_CHARS: usize = CHECK_BYTES / 3 * 4;
const ENTRY_CHARS: usize = 13 + KEY_ID_CHARS + WRAPPED_CHARS + CHECK_CHARS;

/// A superseded data key. The date comes first, because it orders.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct PastKey {
    since_ms: u64,
    key_id: String,
    wrapped: [u8; WRAPPED_BYTES],
    proof: [u8; CHECK_BYTES],
}

/// All superseded data keys of one data key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Past {
    keys: Vec<PastKey>,
    check: [u8; CHECK_BYTES],
}

/// A data key with its name.
pub(crate) type Named<'a> = (&'a str, &'a DataKey);

impl Past {
    /// Those of both lists, the newest first kept.
    pub(crate) fn joined(one: Option<Past>, two: Option<Past>, user: UserId, by: Named<'_>) -> Past {
        let mut keys = one.map_or_else(Vec::new, |past| past.keys);
        keys.extend(two.map_or_else(Vec::new, |past| past.keys));
        sealed(keys, user, by)
    }

    /// The list with one more superseded key. One that is in it already stays as it is.
    pub(crate) fn with(
        self,
        old: Named<'_>,
        since_ms: u64,
        user: UserId,
        by: Named<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Past, Error> {
        let mut keys = self.keys;
        if keys.iter().all(|known| known.key_id != old.0) {
            let about = about(user, by.0, old.0, since_ms);
            let wrapping = crypt::expand(by.1.expose(), "marea2 past key");
            let wrapped = crypt::seal(&wrapping, &about, old.1.expose(), entropy)?;
            let wrapped =
                wrapped.try_into().map_err(|_| Error::Internal("a wrapped key has another length"))?;
            let proof = proof(old.1, &about);
            keys.push(PastKey { since_ms, key_id: old.0.to_owned(), wrapped, proof });
        }
        Ok(sealed(keys, user, by))
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn has(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.key_id == key_id)
    }

    /// Since when a key is superseded.
    pub(crate) fn since(&self, key_id: &str) -> Option<u64> {
        self.keys.iter().find(|key| key.key_id == key_id).map(|key| key.since_ms)
    }

    /// Whether a device with the new data key made this list.
    pub(crate) fn is_of(&self, user: UserId, key_id: &str, data_key: &DataKey) -> bool {
        crypt::same(&check(&self.keys, user, (key_id, data_key)), &self.check)
    }

    /// The superseded keys, for who has the one that superseded them.
    pub(crate) fn open(&self, user: UserId, by: Named<'_>) -> Vec<(String, DataKey)> {
        let wrapping = crypt::expand(by.1.expose(), "marea2 past key");
        let open = |key: &PastKey| {
            let about = about(user, by.0, &key.key_id, key.since_ms);
            let old = DataKey::from_slice(&crypt::open(&wrapping, &about, &key.wrapped)?)?;
            crypt::same(&proof(&old, &about), &key.proof).then_some((key.key_id.clone(), old))
        };
        self.keys.iter().filter_map(open).collect()
    }

    /// Whether somebody who had this old data key has noted that `newer` supersedes it.
    pub(crate) fn proves(&self, user: UserId, newer: &str, old: Named<'_>) -> bool {
        self.keys
            .iter()
            .filter(|key| key.key_id == old.0)
            .any(|key| crypt::same(&proof(old.1, &about(user, newer, old.0, key.since_ms)), &key.proof))
    }

    pub(super) fn read(text: &str) -> Option<Past> {
        let (entries, check) = text.split_at_checked(text.len().checked_sub(CHECK_CHARS)?)?;
        let whole = entries.is_ascii() && entries.len().is_multiple_of(ENTRY_CHARS);
        let keys = entries.as_bytes().chunks(ENTRY_CHARS).map(|entry| {
            let entry = std::str::from_utf8(entry).ok()?;
            let (since_ms, rest) = entry.split_at_checked(13)?;
            let (key_id, rest) = rest.split_at_checked(KEY_ID_CHARS)?;
            let (wrapped, proof) = rest.split_at_checked(WRAPPED_CHARS)?;
            fixed::<12>(key_id)?;
            Some(PastKey {
                since_ms: millis(since_ms)?,
                key_id: key_id.to_owned(),
                wrapped: fixed(wrapped)?,
                proof: fixed(proof)?,
            })
        });
        let keys: Vec<PastKey> = keys.collect::<Option<_>>()?;
        let check = fixed(check)?;
        (whole && keys.len() <= MAX_KEYS).then_some(Past { keys, check })
    }
}

/// In one order, each key once, the newest of them, under a MAC.
fn sealed(mut keys: Vec<PastKey>, user: UserId, by: Named<'_>) -> Past {
    keys.retain(|key| key.key_id != by.0);
    sort_few(&mut keys, |a, b| a < b);
    let mut seen: Vec<String> = Vec::new();
    keys.retain(|key| {
        let is_new = !seen.contains(&key.key_id);
        seen.push(key.key_id.clone());
        is_new
    });
    let keys = keys.split_off(keys.len().saturating_sub(MAX_KEYS));
    let check = check(&keys, user, by);
    Past { keys, check }
}

fn about(user: UserId, newer: &str, old: &str, since_ms: u64) -> String {
    format!("marea2 past {user} {newer} {old} {since_ms:013}")
}

fn proof(old: &DataKey, about: &str) -> [u8; CHECK_BYTES] {
    crypt::check(old, "marea2 superseded", about)
}

fn check(keys: &[PastKey], user: UserId, (key_id, data_key): Named<'_>) -> [u8; CHECK_BYTES] {
    let entries: String = keys.iter().map(PastKey::to_string).collect();
    crypt::check(data_key, "marea2 past check", &format!("marea2 past {user} {key_id} {entries}"))
}

impl fmt::Display for PastKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PastKey { since_ms, key_id, wrapped, proof } = self;
        write!(f, "{since_ms:013}{key_id}{}{}", text_of(wrapped), text_of(proof))
    }
}

impl fmt::Display for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.iter().try_for_each(|key| key.fmt(f))?;
        f.write_str(&text_of(&self.check))
    }
}
