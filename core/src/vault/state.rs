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
use crate::vault::known::Known;
use crate::vault::open::{Open, first_header, later};
use crate::vault::sealed::{Sealed, read_all};
use crate::vault::secret::{ApiKey, DataKey, RecoveryCode};
use crate::vault::tend::{Tended, tend, tend_closed};
use crate::vault::views::{KeyState, KeyView, VaultOutcome, VaultState, VaultStatus};
use crate::vault::work::{VaultRequest, VaultWork};

/// Locks by itself after so long without use, if the host says nothing else: the time of NIST SP 800-63B-4, 2.3.3, after
/// which a session of the highest assurance ends without activity.
const LOCK_AFTER_MS: u64 = 15 * 60 * 1000;

/// Locked, or open.
pub(crate) struct Vault {
    open: Option<Open>,
    pub(super) guesses: Guesses,
    lock_after_ms: Option<u64>,
}

impl Default for Vault {
    fn default() -> Vault {
        Vault { open: None, guesses: Guesses::default(), lock_after_ms: Some(LOCK_AFTER_MS) }
    }
}

/// What is to be written, and what is so afterwards.
pub(crate) struct VaultPlan {
    pub(crate) tended: Tended,
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

    /// Seals a key under the newest header of the data key that counts, with a date after everything that this device knows.
    pub(crate) fn seal(
        &mut self,
        sealed: &Sealed,
        (provider, key): (Provider, &ApiKey),
        (now, clock): (UnixMillis, Hlc),
        entropy: &mut dyn Entropy,
    ) -> Result<(KeyEnvelope, Header, Known), Error> {
        self.tick(now);
        let open = self.used(now)?;
        let (data_key, header) = open.counting(sealed)?;
        let place = (sealed.user, provider);
        // A server may have pulled a clock of the future back, so the register's clock alone does not order them.
        let before = sealed.known.of(provider).map_or(Hlc::ZERO, |newest| newest.put_at.after());
        let put_at = clock.max(before);
        let envelope =
            Envelope::seal(place, header.clone(), data_key, (key, put_at), entropy)?.text(place)?;
        let mut known = sealed.known.clone();
        known.put(provider, put_at, envelope.clone());
        Ok((envelope, header, known))
    }

    /// What is to be written after envelopes have arrived, whether the vault is open or not.
    pub(crate) fn arrived(
        &mut self,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<Tended, Error> {
        self.tick(now);
        let Some(open) = &mut self.open else { return Ok(tend_closed(sealed)) };
        open.add_superseded(sealed);
        match open.counting(sealed) {
            Ok((_, header)) => tend(open, header, sealed, entropy),
            Err(_) => Ok(tend_closed(sealed)),
        }
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
        let mut open = self.open.clone().unwrap_or_else(|| Open::new(now));
        open.used = now;
        let mut outcome = VaultOutcome::default();
        let header = if set_up {
            Some(first_header(&mut open, &work, now, entropy)?)
        } else {
            open.take(&work, sealed);
            outcome.passphrase_is_old = open.is_old(&work, sealed);
            open.next_header(&work, &mut outcome, sealed, now, entropy)?
        };
        finish(open, header, outcome, sealed, entropy)
    }

    /// A device's own key store gave back what it had wrapped.
    pub(crate) fn plan_remembered(
        &mut self,
        data_key: DataKey,
        sealed: &Sealed,
        now: UnixMillis,
        entropy: &mut dyn Entropy,
    ) -> Result<VaultPlan, Error> {
        let forgotten = || Error::Vault(VaultError::Forgotten);
        let mut headers = sealed.headers().into_iter();
        let header = headers.find(|header| header.checked(sealed.user, &data_key).is_some());
        let mut open = Open::new(now);
        open.add(&header.ok_or_else(forgotten)?.key_id, data_key, 0);
        open.add_superseded(sealed);
        let (_, newest) = open.counting(sealed).map_err(|_| forgotten())?;
        finish(open, Some(newest), VaultOutcome::default(), sealed, entropy)
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
        let (data_key, mut header) = open.counting(sealed)?;
        let code = RecoveryCode::make(entropy)?;
        let made_ms = later(now, header.recovery.as_ref().map_or(0, |wrap| wrap.made_ms));
        let wrap = RecoveryWrap::make(sealed.user, &header.key_id, data_key, &code, made_ms, entropy)?;
        header.recovery = Some(wrap);
        let outcome = VaultOutcome { recovery_code: Some(code), ..VaultOutcome::default() };
        finish(open, Some(header), outcome, sealed, entropy)
    }

    /// The plan is written.
    pub(crate) fn carried_out(&mut self, plan: VaultPlan) -> VaultOutcome {
        self.guesses.was_right();
        self.open = Some(plan.open);
        crypt::scrub_stack();
        plan.outcome
    }

    pub(crate) fn data_key_to_remember(
        &mut self,
        sealed: &Sealed,
        now: UnixMillis,
    ) -> Result<DataKey, Error> {
        self.tick(now);
        let (data_key, _) = self.used(now)?.counting(sealed)?;
        Ok(data_key.clone())
    }
}

fn finish(
    open: Open,
    header: Option<Header>,
    mut outcome: VaultOutcome,
    sealed: &Sealed,
    entropy: &mut dyn Entropy,
) -> Result<VaultPlan, Error> {
    let tended = match header {
        Some(header) => tend(&open, header, sealed, entropy)?,
        None => tend_closed(sealed),
    };
    let strange = |(provider, envelope, _): (Provider, Envelope, Hlc)| {
        let put_back = tended.rewrites.iter().any(|rewrite| rewrite.provider == provider);
        (open.key(&envelope.header.key_id).is_none() && !put_back).then_some(provider)
    };
    outcome.other_passphrase = read_all(sealed.user, &sealed.keys).filter_map(strange).collect();
    outcome.rewritten = u32::try_from(tended.rewrites.len()).unwrap_or(0);
    Ok(VaultPlan { tended, open, outcome })
}
