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
mod envelope;
mod guesses;
mod header;
mod hint;
mod open;
mod sealed;
mod secret;
mod state;
mod tend;
#[cfg(test)]
mod tests;
mod views;
mod work;

pub use secret::{ApiKey, DataKey, Passphrase, RecoveryCode};
pub use views::{KeyState, KeyView, VaultOutcome, VaultState, VaultStatus};
pub use work::{VaultRequest, VaultWork, WhichPassphrase, WorkStep};

pub(crate) use header::read_kept;
pub(crate) use sealed::{Sealed, SealedKey};
pub(crate) use state::{Vault, VaultPlan};
pub(crate) use tend::{Rewrite, overtake};

#[cfg(test)]
pub(crate) use tests_support::*;

/// Looks that only tests take.
#[cfg(test)]
mod tests_support {
    use super::envelope::Envelope;
    pub(crate) use super::envelope::with_sum;
    use super::header::Header;
    use super::{DataKey, Sealed, SealedKey, VaultWork};
    use crate::model::UserId;

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
        }
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
