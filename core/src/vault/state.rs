//! The vault's state: locked, or open with its data keys; and what each operation makes of it.
//!
//! Nothing here writes. An operation says what is to be written; the engine writes it first and changes this state
//! afterwards.

use crate::entropy::Entropy;
use crate::error::{Error, VaultError};
use crate::model::{Hlc, KeyEnvelope, Provider, Timestamp, UnixMillis};
use crate::vault::crypt;
use crate::vault::envelope::Envelope;
use crate::vault::guesses::Guesses;
use crate::vault::header::{Header, RecoveryWrap};
use crate::vault::hint::hint;
use crate::vault::open::{Open, first_header, later};
use crate::vault::sealed::{Sealed, read_all};
use crate::vault::secret::{ApiKey, DataKey, RecoveryCode};
use crate::vault::tend::{Rewrite, tend};
use crate::vault::views::{KeyState, KeyView, VaultOutcome, VaultState, VaultStatus};
use crate::vault::work::{VaultRequest, VaultWork};

/// Locked, or open.
#[derive(Default)]
pub(crate) struct Vault {
    open: Option<Open>,
    pub(super) guesses: Guesses,
    lock_after_ms: Option<u64>,
}

/// What is to be written, and what is so afterwards.
pub(crate) struct VaultPlan {
    pub(crate) kept: Header,
    pub(crate) rewrites: Vec<Rewrite>,
    open: Open,
    outcome: VaultOutcome,
}

impl Vault {
    /// Locks when nothing was asked of it for long enough. Every operation begins here.
    pub(crate) fn tick(&mut self, now: UnixMillis) {
        if let Some(open) = &mut self.open {
            // A clock that was set back must not keep it open for longer.
            open.used = open.used.min(now);
        }
        if self.locks_at().is_some_and(|at| at <= now) {
            self.lock();
        }
    }

    pub(crate) fn lock(&mut self) {
        self.open = None;
        crypt::scrub_stack();
    }

    pub(crate) fn set_lock_after(&mut self, millis: Option<u64>) {
        self.lock_after_ms = millis;
    }

    /// When it locks by itself, if nothing is asked of it until then.
    pub(crate) fn locks_at(&self) -> Option<UnixMillis> {
        self.open.as_ref().zip(self.lock_after_ms).map(|(open, millis)| open.used.plus_ms(millis))
    }

    fn used(&mut self, now: UnixMillis) -> Result<&Open, Error> {
        let open = self.open.as_mut().ok_or(Error::Vault(VaultError::Locked))?;
        open.used = now;
        Ok(open)
    }

    pub(crate) fn status(&mut self, sealed: &Sealed, now: UnixMillis) -> VaultStatus {
        self.tick(now);
        let headers = sealed.headers();
        let state = match &self.open {
            Some(_) => VaultState::Unlocked,
            None if headers.is_empty() && sealed.keys.is_empty() => VaultState::NotSetUp,
            None => VaultState::Locked,
        };
        VaultStatus {
            state,
            keys: sealed.keys.iter().map(|key| self.view(sealed, key.provider)).collect(),
            locks_at: self.locks_at().map(Timestamp::from_millis),
            has_recovery_code: headers.iter().any(|header| header.recovery.is_some()),
        }
    }

    fn view(&self, sealed: &Sealed, provider: Provider) -> KeyView {
        let (state, hint) = match (sealed.key(provider), &self.open) {
            (Err(_), _) => (KeyState::Damaged, None),
            (Ok(_), None) => (KeyState::Locked, None),
            (Ok(envelope), Some(open)) => match open.read(&envelope, (sealed.user, provider)) {
                Ok(key) => (KeyState::Open, Some(hint(&key))),
                Err(Error::Vault(VaultError::OtherPassphrase)) => (KeyState::OtherPassphrase, None),
                Err(_) => (KeyState::Damaged, None),
            },
        };
        KeyView { provider, state, hint }
    }

    pub(crate) fn get(
        &mut self,
        sealed: &Sealed,
        provider: Provider,
        now: UnixMillis,
    ) -> Result<ApiKey, Error> {
        self.tick(now);
        let open = self.used(now)?;
        open.read(&sealed.key(provider)?, (sealed.user, provider))
    }

    /// Seals a key under the newest header of the data key that counts.
    pub(crate) fn seal(
        &mut self,
        sealed: &Sealed,
        (provider, key): (Provider, &ApiKey),
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<(KeyEnvelope, Header), Error> {
        self.tick(now);
        let open = self.used(now)?;
        let (data_key, header) = open.primary(sealed)?;
        let place = (sealed.user, provider);
        let envelope = Envelope::seal(place, header.clone(), data_key, key, entropy)?;
        Ok((envelope.text(place)?, header))
    }

    pub(crate) fn begin(
        &mut self,
        request: VaultRequest,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<VaultWork, Error> {
        self.tick(now);
        let headers = sealed.headers();
        match (&request, headers.is_empty(), sealed.keys.is_empty()) {
            (VaultRequest::SetUp, true, true) => {}
            (VaultRequest::SetUp, ..) => return Err(VaultError::AlreadySetUp.into()),
            (_, true, true) => return Err(VaultError::NotSetUp.into()),
            (_, true, false) => return Err(VaultError::Damaged.into()),
            (_, false, _) => self.guesses.begin(now)?,
        }
        let mut salt = [0; 16];
        entropy.fill(&mut salt)?;
        Ok(VaultWork::new(request, sealed.user, headers, salt))
    }

    /// What is to be written for work that was worked off.
    pub(crate) fn plan(
        &mut self,
        work: VaultWork,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<VaultPlan, Error> {
        self.tick(now);
        let set_up = matches!(work.request, VaultRequest::SetUp);
        if set_up && !(sealed.headers().is_empty() && sealed.keys.is_empty()) {
            return Err(VaultError::AlreadySetUp.into());
        }
        if !set_up && work.opened.is_empty() {
            return Err(VaultError::WrongPassphrase.into());
        }
        let mut open =
            self.open.clone().unwrap_or(Open { keys: Vec::new(), primary: String::new(), used: now });
        open.used = now;
        let mut outcome = VaultOutcome::default();
        let kept = if set_up {
            first_header(&mut open, &work, now, entropy)?
        } else {
            open.take(&work, sealed);
            outcome.passphrase_is_old = open.is_old(&work, sealed)?;
            open.next_header(&work, &mut outcome, sealed, now, entropy)?
        };
        finish(open, kept, outcome, sealed, entropy)
    }

    /// A device's own key store gave back what it had wrapped.
    pub(crate) fn plan_remembered(
        &mut self,
        data_key: DataKey,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<VaultPlan, Error> {
        let known =
            sealed.headers().into_iter().find(|header| header.checked(sealed.user, &data_key).is_some());
        let header = known.ok_or(Error::Vault(VaultError::Forgotten))?;
        let open = Open { primary: header.key_id.clone(), keys: vec![(header.key_id, data_key)], used: now };
        let (_, newest) = open.primary(sealed)?;
        finish(open, newest, VaultOutcome::default(), sealed, entropy)
    }

    /// A new recovery code, in place of the one before.
    pub(crate) fn plan_recovery_code(
        &mut self,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<VaultPlan, Error> {
        self.tick(now);
        let open = self.used(now)?.clone();
        let (data_key, mut header) = open.primary(sealed)?;
        let code = RecoveryCode::make(entropy)?;
        let made_ms = later(now, header.recovery.as_ref().map_or(0, |wrap| wrap.made_ms));
        let wrap = RecoveryWrap::make(sealed.user, &header.key_id, data_key, &code, made_ms, entropy)?;
        header.recovery = Some(wrap);
        let outcome = VaultOutcome { recovery_code: Some(code), ..VaultOutcome::default() };
        finish(open, header, outcome, sealed, entropy)
    }

    /// The plan is written.
    pub(crate) fn carried_out(&mut self, plan: VaultPlan) -> VaultOutcome {
        self.guesses.was_right();
        self.open = Some(plan.open);
        crypt::scrub_stack();
        plan.outcome
    }

    pub(crate) fn data_key_to_remember(&mut self, now: UnixMillis) -> Result<DataKey, Error> {
        self.tick(now);
        let open = self.used(now)?;
        open.key(&open.primary).cloned().ok_or(Error::Vault(VaultError::Locked))
    }
}

fn finish(
    open: Open,
    kept: Header,
    mut outcome: VaultOutcome,
    sealed: &Sealed,
    entropy: &mut dyn Entropy,
) -> Result<VaultPlan, Error> {
    let rewrites = tend(sealed.user, &sealed.keys, &kept, &open.keys, entropy)?;
    let strange = |(provider, envelope, _): (Provider, Envelope, Hlc)| {
        open.key(&envelope.header.key_id).is_none().then_some(provider)
    };
    outcome.other_passphrase = read_all(sealed.user, &sealed.keys).filter_map(strange).collect();
    outcome.rewritten = u32::try_from(rewrites.len()).unwrap_or(0);
    Ok(VaultPlan { kept, rewrites, open, outcome })
}
