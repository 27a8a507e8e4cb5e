//! What a passphrase is needed for, as a value that travels: begun by the engine, worked off wherever it is not in the way
//! (a thread, a worker, the browser's own cryptography), and given back to the engine.
//!
//! It holds wrapped keys and, once a passphrase has opened them, data keys; it has no link to the engine, so nothing is
//! locked while it is slow.

use std::fmt;

use crate::error::Error;
use crate::model::{UserId, sort_few};
use crate::vault::header::{Header, Kdf, ROUNDS};
use crate::vault::secret::{DataKey, Passphrase, RecoveryCode};

/// What is to be done with a passphrase.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum VaultRequest {
    /// Choose the first passphrase.
    SetUp,
    /// Open the vault; when it is open, open what else this passphrase opens.
    Unlock,
    /// Choose another passphrase, and seal all keys with a new data key: who knows the old passphrase and has an old
    /// envelope opens nothing that is put from now on. A recovery code is replaced by a new one.
    ChangePassphrase,
    /// Only wrap the data key with another passphrase. The recovery code and what devices remember go on opening it; so do
    /// the old passphrase and an old envelope, together, also what is put later.
    RewrapPassphrase,
    /// Seal all keys with a new data key. A recovery code is replaced by a new one.
    Rotate,
    /// Choose a new passphrase with the recovery code instead of the old one, and seal all keys with a new data key. The
    /// code is replaced by a new one.
    Recover(RecoveryCode),
    /// The same, but only wrap the data key: see [`VaultRequest::RewrapPassphrase`]. The code stays.
    RecoverRewrap(RecoveryCode),
}

/// Whose bytes a step is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichPassphrase {
    /// The one that opens the vault.
    Current,
    /// The one that is being chosen.
    New,
}

/// One derivation: PBKDF2 with HMAC-SHA-256, 32 bytes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkStep {
    /// Which passphrase's bytes (UTF-8, NFKC).
    pub which: WhichPassphrase,
    /// The salt.
    pub salt: [u8; 16],
    /// The iterations.
    pub rounds: u32,
}

/// Work on the way from [`crate::Engine::begin_vault_work`] to [`crate::Engine::finish_vault_work`].
pub struct VaultWork {
    pub(crate) request: VaultRequest,
    pub(crate) user: UserId,
    /// All wraps that there are, the newest first.
    pub(crate) candidates: Vec<Header>,
    tried: Vec<Kdf>,
    /// For a wrap that is to be made.
    pub(crate) fresh: Kdf,
    pub(crate) opened: Vec<Opened>,
    pub(crate) wrapping: Option<DataKey>,
}

/// A data key, and what opened it.
pub(crate) struct Opened {
    pub(crate) header: Header,
    pub(crate) data_key: DataKey,
    /// What the passphrase made; none when a recovery code opened it.
    pub(crate) wrapping: Option<DataKey>,
}

impl fmt::Debug for VaultWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultWork").field("request", &self.request).finish_non_exhaustive()
    }
}

impl VaultWork {
    pub(crate) fn new(
        request: VaultRequest,
        user: UserId,
        mut candidates: Vec<Header>,
        fresh_salt: [u8; 16],
    ) -> VaultWork {
        sort_few(&mut candidates, |a, b| a.passphrase > b.passphrase);
        let fresh = Kdf { rounds: ROUNDS, salt: fresh_salt };
        let mut work = VaultWork {
            request,
            user,
            candidates,
            tried: Vec::new(),
            fresh,
            opened: Vec::new(),
            wrapping: None,
        };
        if let VaultRequest::Recover(code) | VaultRequest::RecoverRewrap(code) = &work.request {
            for header in &work.candidates {
                let key = header.recovery.as_ref().and_then(|wrap| wrap.open(user, &header.key_id, code));
                if let Some(data_key) = key.filter(|_| !has(&work.opened, &header.key_id)) {
                    work.opened.push(Opened { header: header.clone(), data_key, wrapping: None });
                }
            }
        }
        work
    }

    /// The next derivation; none when there is no more to do here.
    pub fn next_step(&self) -> Option<WorkStep> {
        use VaultRequest::{
            ChangePassphrase, Recover, RecoverRewrap, RewrapPassphrase, Rotate, SetUp, Unlock,
        };
        let opens = !matches!(self.request, SetUp | Recover(_) | RecoverRewrap(_));
        if let Some(kdf) = self.untried().filter(|_| opens) {
            return Some(step(WhichPassphrase::Current, kdf));
        }
        if self.wrapping.is_some() || (self.opened.is_empty() && !matches!(self.request, SetUp)) {
            return None;
        }
        match self.request {
            SetUp | ChangePassphrase | RewrapPassphrase | Recover(_) | RecoverRewrap(_) => {
                Some(step(WhichPassphrase::New, self.fresh))
            }
            // Older parameters are replaced whenever the passphrase is at hand.
            Unlock | Rotate => {
                let outdated = self.opened.iter().any(|opened| opened.header.passphrase.rounds < ROUNDS);
                outdated.then(|| step(WhichPassphrase::Current, self.fresh))
            }
        }
    }

    fn untried(&self) -> Option<Kdf> {
        let mut closed = self.candidates.iter().filter(|header| !self.is_opened(&header.key_id));
        closed
            .find(|header| !self.tried.contains(&header.passphrase.kdf()))
            .map(|header| header.passphrase.kdf())
    }

    /// Whether a data key is open, by a wrap of its own or through one that has superseded it.
    fn is_opened(&self, key_id: &str) -> bool {
        let supersedes = |opened: &Opened| {
            let checked = opened.header.checked(self.user, &opened.data_key);
            checked.and_then(|header| header.past).is_some_and(|past| past.has(key_id))
        };
        has(&self.opened, key_id) || self.opened.iter().any(supersedes)
    }

    /// Takes the 32 bytes that [`VaultWork::next_step`] asked for, from whoever has derived them.
    pub fn supply(&mut self, derived: DataKey) {
        let Some(step) = self.next_step() else { return };
        let kdf = Kdf { rounds: step.rounds, salt: step.salt };
        if step.which == WhichPassphrase::New || kdf == self.fresh {
            self.wrapping = Some(derived);
            return;
        }
        self.tried.push(kdf);
        for header in self.candidates.iter().filter(|header| header.passphrase.kdf() == kdf) {
            if has(&self.opened, &header.key_id) {
                continue;
            }
            if let Some(data_key) = header.passphrase.open(self.user, &header.key_id, &derived) {
                let wrapping = Some(derived.clone());
                self.opened.push(Opened { header: header.clone(), data_key, wrapping });
            }
        }
    }

    /// Does all steps with this crate's PBKDF2: about a fifth of a second for each on a desktop.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when a passphrase that is needed is missing or too short to be chosen.
    pub fn run(&mut self, current: Option<&Passphrase>, new: Option<&Passphrase>) -> Result<(), Error> {
        new.map_or(Ok(()), Passphrase::check_new)?;
        while let Some(step) = self.next_step() {
            let (passphrase, field) = match step.which {
                WhichPassphrase::Current => (current, "passphrase"),
                WhichPassphrase::New => (new, "new_passphrase"),
            };
            let passphrase = passphrase.ok_or_else(|| Error::invalid(field, "is missing"))?;
            self.supply(passphrase.derive(&step));
        }
        Ok(())
    }
}

fn has(opened: &[Opened], key_id: &str) -> bool {
    opened.iter().any(|opened| opened.header.key_id == key_id)
}

fn step(which: WhichPassphrase, kdf: Kdf) -> WorkStep {
    WorkStep { which, salt: kdf.salt, rounds: kdf.rounds }
}
