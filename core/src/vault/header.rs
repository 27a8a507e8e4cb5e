//! What every envelope carries besides its key: how the data key is wrapped, and which data keys it has superseded
//! (`past.rs`). The same header stands in all envelopes of one data key, so that each opens without the others.
//!
//! Of two headers of one data key, [`Header::join`] takes the newer wrap of each kind. It is commutative, associative and
//! idempotent, so devices that exchange envelopes in any order end with the same header. What is joined is checked with the
//! data key first: anybody can write a wrap that is dated later than all others.

use std::fmt;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::UserId;
use crate::vault::crypt::{self, CHECK_BYTES};
use crate::vault::envelope::{fixed, text_of};
use crate::vault::past::Past;
use crate::vault::secret::{DataKey, RecoveryCode};

/// OWASP's figure for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023). Unit tests do not wait for it.
pub(crate) const ROUNDS: u32 = if cfg!(test) { 2 } else { 600_000 };
/// Fewer would be a gift to whoever has the envelope, and were never written.
const MIN_ROUNDS: u32 = if cfg!(test) { 1 } else { 100_000 };
/// Seven digits: some seconds of work. A hostile server must not keep a device busy for hours.
const MAX_ROUNDS: u32 = 9_999_999;
/// What 13 digits hold.
pub(super) const MAX_MILLIS: u64 = 9_999_999_999_999;

/// Nonce, 32 bytes of key, tag.
pub(crate) const WRAPPED_BYTES: usize = 32 + crypt::SEAL_OVERHEAD;
const KDF: &str = "pbkdf2-sha256-";
const NO_RECOVERY: &str = "0";

/// The data key wrapped by a key that a passphrase makes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PassphraseWrap {
    /// When it was made, Unix milliseconds; always later than the one it replaces. First, because it orders.
    pub(crate) made_ms: u64,
    pub(crate) rounds: u32,
    pub(crate) salt: [u8; 16],
    wrapped: [u8; WRAPPED_BYTES],
    check: [u8; CHECK_BYTES],
}

/// The data key wrapped by a key that a recovery code makes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecoveryWrap {
    pub(crate) made_ms: u64,
    wrapped: [u8; WRAPPED_BYTES],
    check: [u8; CHECK_BYTES],
}

/// Both wraps of one data key, and the data keys that it has superseded.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Names the data key: 12 random bytes, as text.
    pub(crate) key_id: String,
    pub(crate) passphrase: PassphraseWrap,
    pub(crate) recovery: Option<RecoveryWrap>,
    /// None in format 1.
    pub(crate) past: Option<Past>,
}

/// How the key from a passphrase is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kdf {
    pub(crate) rounds: u32,
    pub(crate) salt: [u8; 16],
}

pub(crate) fn make_key_id(entropy: &mut dyn Entropy) -> Result<String, Error> {
    let mut bytes = [0; 12];
    entropy.fill(&mut bytes)?;
    Ok(text_of(&bytes))
}

impl PassphraseWrap {
    pub(crate) fn make(
        user: UserId,
        key_id: &str,
        data_key: &DataKey,
        by: (&DataKey, Kdf),
        made_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<PassphraseWrap, Error> {
        let (wrapping, Kdf { rounds, salt }) = by;
        let mut wrap = PassphraseWrap {
            made_ms: made_ms.min(MAX_MILLIS),
            rounds,
            salt,
            wrapped: [0; WRAPPED_BYTES],
            check: [0; CHECK_BYTES],
        };
        let about = wrap.about(user, key_id);
        wrap.wrapped = wrapped(wrapping, &about, data_key, entropy)?;
        wrap.check = check(data_key, &about, &wrap.wrapped);
        Ok(wrap)
    }

    pub(crate) fn kdf(&self) -> Kdf {
        Kdf { rounds: self.rounds, salt: self.salt }
    }

    pub(crate) fn open(&self, user: UserId, key_id: &str, wrapping: &DataKey) -> Option<DataKey> {
        let about = self.about(user, key_id);
        let data_key = DataKey::from_slice(&crypt::open(wrapping, &about, &self.wrapped)?)?;
        crypt::same(&check(&data_key, &about, &self.wrapped), &self.check).then_some(data_key)
    }

    /// Whether a device that had this data key made it.
    fn is_of(&self, user: UserId, key_id: &str, data_key: &DataKey) -> bool {
        crypt::same(&check(data_key, &self.about(user, key_id), &self.wrapped), &self.check)
    }

    fn about(&self, user: UserId, key_id: &str) -> String {
        let PassphraseWrap { made_ms, rounds, salt, .. } = self;
        format!("marea1 passphrase {user} {key_id} {KDF}{rounds} {made_ms:013} {}", text_of(salt))
    }
}

impl RecoveryWrap {
    pub(crate) fn make(
        user: UserId,
        key_id: &str,
        data_key: &DataKey,
        code: &RecoveryCode,
        made_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<RecoveryWrap, Error> {
        let made_ms = made_ms.min(MAX_MILLIS);
        let mut wrap = RecoveryWrap { made_ms, wrapped: [0; WRAPPED_BYTES], check: [0; CHECK_BYTES] };
        let about = wrap.about(user, key_id);
        wrap.wrapped = wrapped(&wrapping_key(user, key_id, code), &about, data_key, entropy)?;
        wrap.check = check(data_key, &about, &wrap.wrapped);
        Ok(wrap)
    }

    pub(crate) fn open(&self, user: UserId, key_id: &str, code: &RecoveryCode) -> Option<DataKey> {
        let wrapping = wrapping_key(user, key_id, code);
        let data_key =
            DataKey::from_slice(&crypt::open(&wrapping, &self.about(user, key_id), &self.wrapped)?)?;
        self.is_of(user, key_id, &data_key).then_some(data_key)
    }

    fn is_of(&self, user: UserId, key_id: &str, data_key: &DataKey) -> bool {
        crypt::same(&check(data_key, &self.about(user, key_id), &self.wrapped), &self.check)
    }

    fn about(&self, user: UserId, key_id: &str) -> String {
        format!("marea1 recovery {user} {key_id} {:013}", self.made_ms)
    }
}

fn wrapping_key(user: UserId, key_id: &str, code: &RecoveryCode) -> DataKey {
    crypt::expand(code.bytes(), &format!("marea1 recovery {user} {key_id}"))
}

fn wrapped(
    wrapping: &DataKey,
    about: &str,
    data_key: &DataKey,
    entropy: &mut dyn Entropy,
) -> Result<[u8; WRAPPED_BYTES], Error> {
    let sealed = crypt::seal(wrapping, about, data_key.expose(), entropy)?;
    sealed.try_into().map_err(|_| Error::Internal("a wrapped key has another length"))
}

/// Shows that who made a wrap had the data key: a server cannot slip in a wrap that devices would then carry over to
/// all envelopes.
fn check(data_key: &DataKey, about: &str, wrapped: &[u8]) -> [u8; CHECK_BYTES] {
    crypt::check(data_key, "marea1 check", &format!("{about} {}", text_of(wrapped)))
}

impl Header {
    /// The parts of this header that a device with the data key made; `None` when even the passphrase's wrap is not.
    pub(crate) fn checked(&self, user: UserId, data_key: &DataKey) -> Option<Header> {
        let Header { key_id, passphrase, recovery, past } = self;
        passphrase.is_of(user, key_id, data_key).then(|| Header {
            key_id: key_id.clone(),
            passphrase: passphrase.clone(),
            recovery: recovery.clone().filter(|wrap| wrap.is_of(user, key_id, data_key)),
            past: past.clone().filter(|past| past.is_of(user, key_id, data_key)),
        })
    }

    /// Takes over what is newer in another header of the same data key. Both have been checked with it.
    pub(crate) fn join(&mut self, other: &Header, user: UserId, data_key: &DataKey) {
        if self.key_id == other.key_id {
            self.catch_up(other);
            let (own, others) = (self.past.take(), other.past.clone());
            self.past = Some(Past::joined(own, others, user, (&self.key_id, data_key)));
        }
    }

    /// Takes over what is newer in a header of the same data key that is known to be good, without any key.
    pub(crate) fn catch_up(&mut self, good: &Header) {
        if self.key_id != good.key_id {
            return;
        }
        self.passphrase = self.passphrase.clone().max(good.passphrase.clone());
        self.recovery = self.recovery.take().max(good.recovery.clone());
        let entries = |header: &Header| header.past.as_ref().map(Past::len);
        if entries(good) > entries(self) {
            self.past.clone_from(&good.past);
        }
    }

    /// Reads the seven parts that follow the version, and the list of format 2.
    pub(crate) fn read(parts: [&str; 7], past: Option<&str>) -> Option<Header> {
        let [key_id, kdf, made_ms, salt, wrapped, check, recovery] = parts;
        fixed::<12>(key_id)?;
        Some(Header {
            key_id: key_id.to_owned(),
            passphrase: PassphraseWrap {
                made_ms: millis(made_ms)?,
                rounds: rounds(kdf)?,
                salt: fixed(salt)?,
                wrapped: fixed(wrapped)?,
                check: fixed(check)?,
            },
            recovery: if recovery == NO_RECOVERY { None } else { Some(read_recovery(recovery)?) },
            past: past.map_or(Some(None), |text| Past::read(text).map(Some))?,
        })
    }

    /// The seven parts that both formats have.
    pub(crate) fn wraps(&self) -> String {
        let PassphraseWrap { made_ms, rounds, salt, wrapped, check } = &self.passphrase;
        let recovery = match &self.recovery {
            None => NO_RECOVERY.to_owned(),
            Some(wrap) => {
                format!("{:013}{}{}", wrap.made_ms, text_of(&wrap.wrapped), text_of(&wrap.check))
            }
        };
        let (salt, wrapped, check) = (text_of(salt), text_of(wrapped), text_of(check));
        format!("{}.{KDF}{rounds}.{made_ms:013}.{salt}.{wrapped}.{check}.{recovery}", self.key_id)
    }
}

fn read_recovery(text: &str) -> Option<RecoveryWrap> {
    let (made_ms, rest) = text.split_at_checked(13)?;
    let (wrapped, check) = rest.split_at_checked(WRAPPED_BYTES / 3 * 4)?;
    Some(RecoveryWrap { made_ms: millis(made_ms)?, wrapped: fixed(wrapped)?, check: fixed(check)? })
}

fn rounds(kdf: &str) -> Option<u32> {
    let digits = kdf.strip_prefix(KDF)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let rounds = digits.parse().ok().filter(|_| plain)?;
    (MIN_ROUNDS..=MAX_ROUNDS).contains(&rounds).then_some(rounds)
}

pub(super) fn millis(text: &str) -> Option<u64> {
    let plain = text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wraps())?;
        self.past.as_ref().map_or(Ok(()), |past| write!(f, ".{past}"))
    }
}

/// What the mirror keeps of the vault itself, between envelopes: the header that this device knows to be good.
pub(crate) fn read_kept(text: &str) -> Option<Header> {
    let mut parts = text.split('.');
    let read: [&str; 7] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let past = parts.next();
    if parts.next().is_some() { None } else { Header::read(read, past) }
}

const _: () = assert!(
    WRAPPED_BYTES.is_multiple_of(3) && CHECK_BYTES.is_multiple_of(3),
    "no bits are left over in base 64"
);
