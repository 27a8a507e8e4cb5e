//! [`Vault`]: the learner's sealed API keys, as a desktop program uses them.
//!
//! What needs a passphrase takes a fifth of a second or more, on a thread of its own: it holds up neither the caller's runtime nor the
//! thread that owns the engine.

use std::thread;
use std::time::Duration;

use marea_core::{
    ApiKey, Change, DataKey, Passphrase, Provider, Recorded, RecoveryCode, SystemEntropy, VaultOutcome,
    VaultRequest, VaultStatus, VaultWork, check_new_passphrase,
};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::{Client, Error, clock, keychain};

/// The sealed keys of a [`Client`]. A clone is the same vault.
///
/// ```
/// use marea_native::{ApiKey, Client, Config, Passphrase, Provider};
///
/// # fn main() -> Result<(), marea_native::Error> { marea_native::block_on(async {
/// # let folder = tempfile::tempdir().expect("a temporary folder");
/// # let data_dir = folder.path();
/// let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d".parse()?;
/// let vault = Client::open(Config::new(data_dir, user)).await?.vault();
///
/// vault.set_up(&Passphrase::new("orbit velvet canoe drum".into())?).await?;
/// vault.put(Provider::Openai, &ApiKey::new("sk-proj-0123456789abca1B2".into())?).await?;
/// assert_eq!(vault.status().await?.keys[0].hint.as_deref(), Some("sk-...a1B2"));
/// assert_eq!(vault.get(Provider::Openai).await?.expose(), "sk-proj-0123456789abca1B2");
///
/// vault.lock().await?;
/// assert_eq!(vault.get(Provider::Openai).await.unwrap_err().code(), "vault_locked");
/// # Ok(())
/// # }) }
/// ```
#[derive(Clone, Debug)]
pub struct Vault {
    client: Client,
}

impl Client {
    /// The sealed API keys.
    pub fn vault(&self) -> Vault {
        Vault { client: self.clone() }
    }
}

impl Vault {
    /// Whether it is open, and which keys there are; hints only while it is open.
    ///
    /// # Errors
    ///
    /// When the mirror cannot be read.
    pub async fn status(&self) -> Result<VaultStatus, Error> {
        self.client.call(|engine| engine.vault_status(clock::now())).await
    }

    /// Chooses the first passphrase. The vault is open afterwards.
    ///
    /// # Errors
    ///
    /// `vault_set_up` when there is a vault already, here or on a device that this mirror has heard of; `invalid_input`, with the
    /// reason, for a passphrase of fewer than 15 characters or one that is easily guessed.
    pub async fn set_up(&self, passphrase: &Passphrase) -> Result<(), Error> {
        self.work(VaultRequest::SetUp, None, Some(passphrase)).await.map(drop)
    }

    /// A passphrase that nobody guesses, to offer to the learner: five words that can be spoken, 80 random bits.
    ///
    /// # Errors
    ///
    /// `no_entropy`.
    pub fn generate_passphrase() -> Result<Passphrase, Error> {
        Ok(Passphrase::generate(&mut SystemEntropy::new())?)
    }

    /// Opens the vault; when it is open already, opens what else this passphrase opens. The outcome says whether some keys
    /// need another passphrase.
    ///
    /// # Errors
    ///
    /// `wrong_passphrase`, `too_many_guesses`, `vault_not_set_up`, `key_damaged` when there is nothing but damage.
    pub async fn unlock(&self, passphrase: &Passphrase) -> Result<VaultOutcome, Error> {
        self.work(VaultRequest::Unlock, Some(passphrase), None).await
    }

    /// Forgets the data key.
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn lock(&self) -> Result<(), Error> {
        self.client
            .call(|engine| {
                engine.lock_vault();
                Ok(())
            })
            .await
    }

    /// Locks by itself when nothing was asked of it for so long; `None`: never. It starts with 15 minutes.
    ///
    /// # Errors
    ///
    /// `closed`.
    pub async fn lock_after(&self, idle: Option<Duration>) -> Result<(), Error> {
        let millis = idle.map(|idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        self.client
            .call(move |engine| {
                engine.lock_vault_after(millis);
                Ok(())
            })
            .await
    }

    /// Seals a key, in place of the provider's last one.
    ///
    /// # Errors
    ///
    /// `vault_locked`; `other_passphrase` when the passphrase was changed on another device: unlock with the new one; the storage
    /// errors, after which nothing was written.
    pub async fn put(&self, provider: Provider, key: &ApiKey) -> Result<Recorded, Error> {
        let key = key.clone();
        self.client.call(move |engine| engine.put_key(provider, &key, clock::now())).await
    }

    /// A key in the clear, in a type that wipes itself.
    ///
    /// # Errors
    ///
    /// `vault_locked`, `no_key`, `other_passphrase`, `key_damaged`.
    pub async fn get(&self, provider: Provider) -> Result<ApiKey, Error> {
        self.client.call(move |engine| engine.open_key(provider, clock::now())).await
    }

    /// Takes a provider's key away, on all devices. Needs no passphrase.
    ///
    /// # Errors
    ///
    /// `no_key`; the storage errors.
    pub async fn remove(&self, provider: Provider) -> Result<Recorded, Error> {
        self.client.call(move |engine| engine.remove_key(provider, clock::now())).await
    }

    /// Has a key checked with its provider, by the caller, and notes when it was accepted.
    ///
    /// # Errors
    ///
    /// As [`Vault::get`]; the storage errors.
    pub async fn validate<F>(
        &self,
        provider: Provider,
        accepts: impl FnOnce(ApiKey) -> F,
    ) -> Result<bool, Error>
    where
        F: Future<Output = bool>,
    {
        let accepted = accepts(self.get(provider).await?).await;
        if accepted {
            let now = clock::now();
            let noted = Change::KeysValidated { at: now.timestamp() };
            self.client.call(move |engine| engine.mutate(noted, now)).await?;
        }
        Ok(accepted)
    }

    /// Changes the passphrase, and seals everything with a new data key: who knows the old passphrase and has an old envelope
    /// opens nothing that is put from now on. Keys that other devices seal meanwhile open with the new one too. Where there was
    /// a recovery code, the outcome has a new one, to be shown once; a remembered device is forgotten.
    ///
    /// # Errors
    ///
    /// `wrong_passphrase` when `current` is not the one that counts; as [`Vault::set_up`] for `new`.
    pub async fn change_passphrase(
        &self,
        current: &Passphrase,
        new: &Passphrase,
    ) -> Result<VaultOutcome, Error> {
        self.work(VaultRequest::ChangePassphrase, Some(current), Some(new)).await
    }

    /// Changes the passphrase and nothing else: the recovery code and remembered devices go on opening the vault. So do the old
    /// passphrase and an old envelope, together, also what is put later: not for a passphrase that somebody may know.
    ///
    /// # Errors
    ///
    /// As [`Vault::change_passphrase`].
    pub async fn rewrap_passphrase(
        &self,
        current: &Passphrase,
        new: &Passphrase,
    ) -> Result<VaultOutcome, Error> {
        self.work(VaultRequest::RewrapPassphrase, Some(current), Some(new)).await
    }

    /// Seals everything with a new data key. Where there was a recovery code, the outcome has a new one, to be shown once.
    ///
    /// # Errors
    ///
    /// As [`Vault::change_passphrase`].
    pub async fn rotate(&self, current: &Passphrase) -> Result<VaultOutcome, Error> {
        self.work(VaultRequest::Rotate, Some(current), None).await
    }

    /// Makes a recovery code, in place of the one before. It can be shown now and never again.
    ///
    /// # Errors
    ///
    /// `vault_locked`; the storage errors.
    pub async fn make_recovery_code(&self) -> Result<RecoveryCode, Error> {
        self.client.call(move |engine| engine.make_recovery_code(clock::now())).await
    }

    /// Chooses a new passphrase with the recovery code, and seals everything with a new data key. The outcome has a new recovery
    /// code, to be shown once.
    ///
    /// # Errors
    ///
    /// `wrong_passphrase` when the code opens nothing; as [`Vault::set_up`] for `new`.
    pub async fn recover(&self, code: RecoveryCode, new: &Passphrase) -> Result<VaultOutcome, Error> {
        self.work(VaultRequest::Recover(code), None, Some(new)).await
    }

    /// Chooses a new passphrase with the recovery code and changes nothing else: see [`Vault::rewrap_passphrase`].
    ///
    /// # Errors
    ///
    /// As [`Vault::recover`].
    pub async fn recover_rewrap(&self, code: RecoveryCode, new: &Passphrase) -> Result<VaultOutcome, Error> {
        self.work(VaultRequest::RecoverRewrap(code), None, Some(new)).await
    }

    /// "Remember this device": lets the system's keychain keep the data key, until the passphrase is changed or the vault is rotated or reset. From then on
    /// whoever has unlocked the keychain of this account of the machine can open the vault; nobody else.
    ///
    /// Where there is no keychain nothing is kept: a file beside the mirror would undo the sealing.
    ///
    /// # Errors
    ///
    /// `vault_locked`; `keychain_unavailable`.
    pub async fn remember_device(&self) -> Result<(), Error> {
        let key = self.data_key_to_remember().await?;
        let name = self.keychain_name();
        keychain::off_thread(move || keychain::store(&name, Zeroizing::new(key.expose().to_vec()))).await
    }

    /// Opens the vault with what the keychain keeps; `None` when this device is not remembered, and then the passphrase is
    /// needed.
    ///
    /// # Errors
    ///
    /// `keychain_unavailable`; `vault_forgotten` when the vault was rotated or reset since, and then the keychain has been told
    /// to forget.
    pub async fn unlock_remembered(&self) -> Result<Option<VaultOutcome>, Error> {
        let name = self.keychain_name();
        let Some(secret) = keychain::off_thread(move || keychain::load(&name)).await? else {
            return Ok(None);
        };
        let Ok(bytes) =
            <&mut [u8; 32]>::try_from(Zeroizing::new(secret.to_vec()).as_mut_slice()).map(DataKey::take)
        else {
            // Not written by this program; the passphrase will do.
            return Ok(None);
        };
        let unlocked = self.unlock_with_data_key(bytes).await;
        if unlocked.as_ref().is_err_and(|error| error.code() == "vault_forgotten") {
            self.forget_device().await?;
        }
        unlocked.map(Some)
    }

    /// Lets the keychain forget the data key; says whether it had one. The vault stays as open as it is.
    ///
    /// # Errors
    ///
    /// `keychain_unavailable`.
    pub async fn forget_device(&self) -> Result<bool, Error> {
        let name = self.keychain_name();
        keychain::off_thread(move || keychain::forget(&name)).await
    }

    /// One for each mirror: a copy of the folder is another device.
    fn keychain_name(&self) -> String {
        let path = self.client.mirror_path();
        format!("vault of {}", std::path::absolute(path).as_deref().unwrap_or(path).display())
    }

    /// "Remember this device" by other means: the data key, for a keychain of the app's own to wrap.
    ///
    /// # Errors
    ///
    /// `vault_locked`.
    pub async fn data_key_to_remember(&self) -> Result<DataKey, Error> {
        self.client.call(move |engine| engine.data_key_to_remember(clock::now())).await
    }

    /// Opens the vault with what the keychain gave back.
    ///
    /// # Errors
    ///
    /// `vault_forgotten` when the vault was rotated or reset since: forget it, and ask for the passphrase.
    pub async fn unlock_with_data_key(&self, key: DataKey) -> Result<VaultOutcome, Error> {
        self.client.call(move |engine| engine.unlock_with_data_key(key, clock::now())).await
    }

    /// Gives up all keys and the passphrase with them, on all devices.
    ///
    /// # Errors
    ///
    /// The storage errors.
    pub async fn reset(&self) -> Result<(), Error> {
        self.client.call(move |engine| engine.reset_vault(clock::now())).await
    }

    async fn work(
        &self,
        request: VaultRequest,
        current: Option<&Passphrase>,
        new: Option<&Passphrase>,
    ) -> Result<VaultOutcome, Error> {
        if let Some(new) = new {
            // Work that was begun and not ended counts as a guess, and a passphrase that may not be chosen is none.
            check_new_passphrase(new.expose().to_owned())?;
        }
        let work = self.client.call(move |engine| engine.begin_vault_work(request, clock::now())).await?;
        let work = derived(work, current.cloned(), new.cloned()).await?;
        self.client.call(move |engine| engine.finish_vault_work(work, clock::now())).await
    }
}

/// The slow part, on a thread of its own.
async fn derived(
    mut work: VaultWork,
    current: Option<Passphrase>,
    new: Option<Passphrase>,
) -> Result<VaultWork, Error> {
    let (reply, answer) = oneshot::channel();
    let deriving = move || {
        let done = work.run(current.as_ref(), new.as_ref()).map(|()| work);
        // Before anybody hears of it: a caller who locks the vault next is told that no passphrase is left in memory.
        drop((current, new));
        // Whoever has stopped waiting does not want to know.
        drop(reply.send(done));
    };
    thread::Builder::new().name("marea-vault".to_owned()).spawn(deriving).map_err(|_| Error::Closed)?;
    Ok(answer.await.map_err(|_| Error::Closed)??)
}
