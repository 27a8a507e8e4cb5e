//! What a host is told about the vault. No key, no passphrase; a recovery code once.

use serde::Serialize;

use crate::model::{Provider, Timestamp};
use crate::vault::secret::RecoveryCode;

/// What became of a passphrase.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VaultOutcome {
    /// A new recovery code, in place of the one before. To be shown once.
    pub recovery_code: Option<RecoveryCode>,
    /// The passphrase was an older one: it was changed on another device. Everything open here opens with the new one.
    pub passphrase_is_old: bool,
    /// Keys that are sealed under a passphrase that was not given: unlock once more with that one.
    pub other_passphrase: Vec<Provider>,
    /// Envelopes that were brought up to date.
    pub rewritten: u32,
}

/// Whether keys can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VaultState {
    /// No passphrase was chosen, here or on a device that this mirror has heard of.
    NotSetUp,
    /// The passphrase is needed.
    Locked,
    /// Keys can be put and read.
    Unlocked,
}

/// Whether one key can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyState {
    /// The vault is locked.
    Locked,
    /// It can be read.
    Open,
    /// The vault is open, but this key was sealed under another passphrase: unlock once more with that one.
    OtherPassphrase,
    /// It is not what some device sealed for this place; only the key put in anew helps.
    Damaged,
}

/// One sealed key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct KeyView {
    /// Whose API it is for.
    pub provider: Provider,
    /// Whether it can be read.
    pub state: KeyState,
    /// A few of its letters, `sk-...a1B2`, while it can be read.
    pub hint: Option<String>,
}

/// How the vault is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[non_exhaustive]
pub struct VaultStatus {
    /// Whether keys can be read.
    pub state: VaultState,
    /// The keys that there are.
    pub keys: Vec<KeyView>,
    /// When it locks by itself, if nothing is asked of it until then.
    pub locks_at: Option<Timestamp>,
    /// Whether a recovery code was made.
    pub has_recovery_code: bool,
}
