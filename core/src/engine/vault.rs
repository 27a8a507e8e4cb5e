//! The vault at the engine's side: what is sealed is read from the mirror, and what the vault wants written is queued, in
//! one transaction, before the vault itself changes.

use serde_json::{Value, json};

use crate::engine::plan::{KEYS, Plan, keys};
use crate::engine::record::{carry_out, tick};
use crate::engine::{Engine, Recorded};
use crate::entropy::Entropy;
use crate::error::{Error, VaultError};
use crate::model::{Hlc, KeyEnvelope, MutationId, Now, Provider, Table, UnixMillis, UserId};
use crate::store::{Meta, Rows};
use crate::vault::{
    ApiKey, DataKey, Known, RecoveryCode, Rewrite, Sealed, SealedKey, Tended, Vault, VaultOutcome, VaultPlan,
    VaultRequest, VaultStatus, VaultWork, read_kept,
};

/// The clock of a write to a key's column.
enum Clock {
    /// A newer key: after everything this device has seen, with room before it for rewrites of what it replaces.
    Newer,
    /// The same key in another wrapping.
    Exactly(Hlc),
}

impl Engine {
    /// How the vault is, and which keys there are. Hints only while it is open.
    ///
    /// # Errors
    /// The storage errors.
    pub fn vault_status(&mut self, now: Now) -> Result<VaultStatus, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        Ok(self.vault.status(&sealed, now.unix_ms))
    }

    /// Begins what needs a passphrase. The slow part is [`VaultWork`]'s, away from the engine.
    ///
    /// # Errors
    /// [`Error::Vault`] when there is no vault, or there is one already, or after too many wrong passphrases;
    /// [`Error::NeedsAccount`] for a guest; the storage errors.
    pub fn begin_vault_work(&mut self, request: VaultRequest, now: Now) -> Result<VaultWork, Error> {
        self.needs_account(KEYS)?;
        let sealed = sealed(self.store.read(), self.user_id)?;
        self.vault.begin(request, &sealed, now.unix_ms, self.entropy.as_mut())
    }

    /// Ends it: what changed is durable and queued, and the vault is open.
    ///
    /// # Errors
    /// [`Error::Vault`] when the passphrase opened nothing; then nothing has changed. The storage errors.
    pub fn finish_vault_work(&mut self, work: VaultWork, now: Now) -> Result<VaultOutcome, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        let plan = self.vault.plan(work, &sealed, now.unix_ms, self.entropy.as_mut())?;
        self.carry_out_vault(plan, now)
    }

    /// Seals a key, in place of the provider's last one. Durable when this returns; the clear key is not in the mirror.
    ///
    /// # Errors
    /// [`Error::Vault`] when the vault is locked, or the passphrase was changed on another device
    /// ([`VaultError::OtherPassphrase`]: unlock with the new one); the storage errors.
    pub fn put_key(&mut self, provider: Provider, key: &ApiKey, now: Now) -> Result<Recorded, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        // The clock that the write below takes: nothing is written in between.
        let clock = self.store.read().clock()?.tick_with_room(now.unix_ms);
        let (envelope, kept, known) =
            self.vault.seal(&sealed, (provider, key), (now.unix_ms, clock), self.entropy.as_mut())?;
        let write = (provider, json!(envelope), Clock::Newer);
        self.write_keys(Some(&kept.to_string()), &known, vec![write], now)
    }

    /// A key in the clear.
    ///
    /// # Errors
    /// [`Error::Vault`]: locked, no such key, sealed under another passphrase, or damaged. The storage errors.
    pub fn open_key(&mut self, provider: Provider, now: Now) -> Result<ApiKey, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        self.vault.get(&sealed, provider, now.unix_ms)
    }

    /// Takes a provider's key away, everywhere. Needs no passphrase.
    ///
    /// # Errors
    /// [`Error::Vault`] when there is none; the storage errors.
    pub fn remove_key(&mut self, provider: Provider, now: Now) -> Result<Recorded, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        if !sealed.keys.iter().any(|key| key.provider == provider) {
            return Err(VaultError::NoKey.into());
        }
        let mut known = sealed.known;
        known.removed(provider);
        self.write_keys(None, &known, vec![(provider, Value::Null, Clock::Newer)], now)
    }

    /// Makes a recovery code, in place of the one before. It can be shown now and never again.
    ///
    /// # Errors
    /// [`Error::Vault`] when the vault is locked; the storage errors.
    pub fn make_recovery_code(&mut self, now: Now) -> Result<RecoveryCode, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        let plan = self.vault.plan_recovery_code(&sealed, now.unix_ms, self.entropy.as_mut())?;
        let outcome = self.carry_out_vault(plan, now)?;
        outcome.recovery_code.ok_or(Error::Internal("no recovery code was made"))
    }

    /// Forgets the data keys.
    pub fn lock_vault(&mut self) {
        self.vault.lock();
        self.announce(&[Table::UserApiKeys]);
    }

    /// Locks the vault by itself when nothing was asked of it for so many milliseconds; `None`: never. The host calls
    /// [`Engine::vault_status`] when that time has come; every use of the vault checks it too.
    pub fn lock_vault_after(&mut self, millis: Option<u64>) {
        self.vault.set_lock_after(millis);
    }

    /// When the vault locks by itself, if nothing is asked of it until then: for the host's timer. Asking is no use of it.
    pub fn vault_locks_at(&self) -> Option<UnixMillis> {
        self.vault.locks_at()
    }

    /// The data key, for a key store of the device to wrap ("remember this device"). The host keeps the wrapped form, and
    /// gives the bytes back to [`Engine::unlock_with_data_key`].
    ///
    /// # Errors
    /// [`Error::Vault`] when the vault is locked.
    pub fn data_key_to_remember(&mut self, now: Now) -> Result<DataKey, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        self.vault.data_key_to_remember(&sealed, now.unix_ms)
    }

    /// Opens the vault with what the device remembered.
    ///
    /// # Errors
    /// [`Error::Vault`] when it opens nothing any more (the vault was rotated or reset since): ask for the passphrase. The
    /// storage errors.
    pub fn unlock_with_data_key(&mut self, key: DataKey, now: Now) -> Result<VaultOutcome, Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        let plan = self.vault.plan_remembered(key, &sealed, now.unix_ms, self.entropy.as_mut())?;
        self.carry_out_vault(plan, now)
    }

    /// Gives up all keys and the passphrase with them, everywhere: for a learner who has forgotten it and has no recovery
    /// code.
    ///
    /// # Errors
    /// The storage errors.
    pub fn reset_vault(&mut self, now: Now) -> Result<(), Error> {
        let sealed = sealed(self.store.read(), self.user_id)?;
        let gone = sealed.keys.iter().map(|key| (key.provider, Value::Null, Clock::Newer)).collect();
        let mut known = sealed.known;
        Provider::ALL.into_iter().for_each(|provider| known.removed(provider));
        self.write_keys(Some(""), &known, gone, now)?;
        self.vault.lock();
        Ok(())
    }

    fn carry_out_vault(&mut self, mut plan: VaultPlan, now: Now) -> Result<VaultOutcome, Error> {
        let Tended { kept, known, rewrites } = &mut plan.tended;
        let writes = std::mem::take(rewrites).into_iter();
        let writes = writes.map(|r| (r.provider, json!(r.envelope), Clock::Exactly(r.hlc))).collect();
        let kept = kept.as_ref().map(ToString::to_string);
        self.write_keys(kept.as_deref(), known, writes, now)?;
        Ok(self.vault.carried_out(plan))
    }

    /// Queues writes of keys and keeps the vault's header (empty: forgets it) and what is newest, in one transaction.
    fn write_keys(
        &mut self,
        kept: Option<&str>,
        known: &Known,
        writes: Vec<(Provider, Value, Clock)>,
        now: Now,
    ) -> Result<Recorded, Error> {
        let (user, client) = (self.user_id, self.client_id.to_string());
        let entropy = self.entropy.as_mut();
        let recorded = self.store.write(|rows| {
            match kept {
                Some("") => rows.clear_meta(Meta::VaultHeader)?,
                Some(header) => rows.set_meta(Meta::VaultHeader, header)?,
                None => {}
            }
            rows.set_meta(Meta::VaultKnown, &known.text())?;
            let mut id = MutationId::make(now.unix_ms, entropy)?;
            for (provider, value, clock) in writes {
                id = MutationId::make(now.unix_ms, entropy)?;
                let hlc = match clock {
                    Clock::Newer => tick(rows, now.unix_ms, Hlc::tick_with_room)?,
                    Clock::Exactly(hlc) => hlc,
                };
                let plan = keys(user, provider, value)?;
                carry_out(rows, (user, &client), (id, None), plan, hlc, now.unix_ms, &mut None)?;
            }
            Ok(Recorded { id, key: user.to_string(), pending: rows.count_pending()?, counts_from: None })
        })?;
        self.announce(&[Table::UserApiKeys]);
        Ok(recorded)
    }
}

/// Brings envelopes that have just arrived up to date with what this device knows, while the vault may be locked.
pub(super) fn tend_arrived(
    rows: Rows<'_>,
    vault: &mut Vault,
    (user, client): (UserId, &str),
    entropy: &mut dyn Entropy,
    now: Now,
) -> Result<(), Error> {
    let sealed = sealed(rows, user)?;
    let Tended { kept, known, rewrites } = vault.arrived(&sealed, now.unix_ms, entropy)?;
    if let Some(header) = kept.filter(|header| Some(header) != sealed.kept.as_ref()) {
        rows.set_meta(Meta::VaultHeader, &header.to_string())?;
    }
    if known != sealed.known {
        rows.set_meta(Meta::VaultKnown, &known.text())?;
    }
    for Rewrite { provider, envelope, hlc } in rewrites {
        let id = MutationId::make(now.unix_ms, entropy)?;
        let plan: Plan = keys(user, provider, json!(envelope))?;
        carry_out(rows, (user, client), (id, None), plan, hlc, now.unix_ms, &mut None)?;
    }
    Ok(())
}

/// What is sealed, as this device shows it.
pub(super) fn sealed(rows: Rows<'_>, user: UserId) -> Result<Sealed, Error> {
    let row = rows.register(Table::UserApiKeys, &user.to_string())?.unwrap_or_default();
    let key = |provider: Provider| {
        let text: KeyEnvelope = row.values.get(provider.column())?.as_str()?.parse().ok()?;
        let hlc = row.clocks.get(provider.column()).map_or(Hlc::ZERO, |stamp| stamp.0);
        Some(SealedKey { provider, text, hlc })
    };
    let kept = rows.meta(Meta::VaultHeader)?.as_deref().and_then(read_kept);
    let known = rows.meta(Meta::VaultKnown)?.as_deref().map_or_else(Known::default, Known::read);
    Ok(Sealed::new(user, Provider::ALL.into_iter().filter_map(key).collect(), kept, known))
}
