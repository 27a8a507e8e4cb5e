//! Sealed API keys: the learner's passphrase opens them, the server and its backups never can.
//!
//! What a sealed key looks like is in `envelope.rs` and, byte by byte, in `docs/VAULT.md`; what happens when two devices
//! change things at once is in `tend.rs` and ADR 40. Like the engine, the vault has no clock, no randomness and no
//! thread of its own: the one slow step, making a key from a passphrase, is a value ([`VaultWork`]) that the host
//! finishes wherever it likes, with this crate's PBKDF2 or with its own.
//!
//! **Invariant:** everything secret is of a type from `secret.rs`: wiped when dropped, redacted in `Debug`, never part
//! of an error, and not serializable.

mod code;
mod crypt;
mod digest;
mod envelope;
mod guesses;
mod header;
mod hint;
mod known;
mod open;
mod past;
mod policy;
mod sealed;
mod secret;
#[cfg(test)]
mod standards;
mod state;
mod tend;
#[cfg(test)]
mod tests;
mod trust;
mod views;
mod work;

pub use digest::FileHash;
pub(crate) use digest::{digest_of_name, digest_of_parts};
pub use secret::{ApiKey, DataKey, Passphrase, RecoveryCode};
pub use views::{KeyState, KeyView, VaultOutcome, VaultState, VaultStatus};
pub use work::{VaultRequest, VaultWork, WhichPassphrase, WorkStep};

pub(crate) use header::read_kept;
pub(crate) use known::Known;
pub use policy::check_new_passphrase;
pub(crate) use sealed::{Sealed, SealedKey};
pub(crate) use state::{Vault, VaultPlan};
pub(crate) use tend::{Rewrite, Tended};

#[cfg(test)]
pub(crate) use tests_support::*;

/// Looks that only tests take.
#[cfg(test)]
mod tests_support {
    use super::envelope::Envelope;
    pub(crate) use super::envelope::with_sum;
    use super::header::{Header, PassphraseWrap};
    use super::past::Past;
    use super::{DataKey, Known, Sealed, SealedKey, VaultWork};
    use crate::entropy::SystemEntropy;
    use crate::model::{Hlc, KeyEnvelope, Provider, UserId};

    pub(crate) fn headers_of(sealed: &Sealed) -> Vec<Header> {
        sealed.headers()
    }

    /// A device that has this one envelope and nothing else.
    pub(crate) fn alone(user: UserId, key: &SealedKey) -> Sealed {
        let SealedKey { provider, text, hlc } = key;
        Sealed {
            user,
            keys: vec![SealedKey { provider: *provider, text: text.clone(), hlc: *hlc }],
            kept: None,
            known: Known::default(),
        }
    }

    /// An envelope in the hands of somebody who has no mirror.
    pub(crate) fn stolen(provider: Provider, text: &KeyEnvelope) -> SealedKey {
        SealedKey { provider, text: text.clone(), hlc: Hlc::ZERO }
    }

    /// What somebody with an old data key makes of an old envelope: a header, right in every other way, that says that this
    /// data key has superseded another, and a wrap of the end of time.
    pub(crate) fn claim(place: (UserId, Provider), old: &KeyEnvelope, key: &DataKey, victim: &str) -> String {
        let mut envelope = Envelope::read(place, old.as_str()).unwrap();
        let entropy = &mut SystemEntropy::new();
        let id = envelope.header.key_id.clone();
        let own = (id.as_str(), key);
        let past = Past::joined(None, None, place.0, own);
        let past = past.with((victim, &DataKey::blank()), 9_999_999_999_999, place.0, own, entropy);
        envelope.header.past = Some(past.unwrap());
        let kdf = envelope.header.passphrase.kdf();
        let wrap = PassphraseWrap::make(place.0, &id, key, (key, kdf), 9_999_999_999_999, entropy);
        envelope.header.passphrase = wrap.unwrap();
        envelope.text(place).unwrap().as_str().to_owned()
    }

    pub(crate) fn can_open(user: UserId, key: &SealedKey, data_key: &DataKey) -> bool {
        let place = (user, key.provider);
        Envelope::read(place, key.text.as_str()).and_then(|envelope| envelope.open(place, data_key)).is_ok()
    }

    impl VaultWork {
        pub(crate) fn use_older_parameters(&mut self) {
            self.fresh.rounds = 1;
        }
    }

    impl super::Vault {
        pub(crate) fn forgive_guesses(&mut self) {
            self.guesses.was_right();
        }
    }
}
