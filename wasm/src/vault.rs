//! The vault's face: sealed keys, and passphrase work on its way through the browser's own PBKDF2.
//!
//! Keys go out as bytes that the caller clears; passphrases never come in, only what the host has derived from them.

use marea_core::{
    ApiKey, Change, DataKey, Passphrase, Provider, Recorded, RecoveryCode, SystemEntropy, VaultOutcome,
    VaultRequest, VaultStatus, WhichPassphrase,
};
use serde::Serialize;
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::convert::to_js;
use crate::engine::MareaEngine;
use crate::error::{from_core, invalid_input};
use crate::host::now;

/// What became of a passphrase.
#[derive(Serialize, Tsify)]
pub struct PassphraseOutcome {
    /// A new recovery code, in place of the one before; shown once.
    pub recovery_code: Option<String>,
    /// The passphrase was an older one: it was changed on another device.
    pub passphrase_is_old: bool,
    /// Keys that are sealed under another passphrase: unlock once more with that one.
    pub other_passphrase: Vec<Provider>,
    /// Envelopes that were brought up to date.
    pub rewritten: u32,
}

impl From<VaultOutcome> for PassphraseOutcome {
    fn from(outcome: VaultOutcome) -> PassphraseOutcome {
        PassphraseOutcome {
            recovery_code: outcome.recovery_code.as_ref().map(|code| code.expose().to_string()),
            passphrase_is_old: outcome.passphrase_is_old,
            other_passphrase: outcome.other_passphrase,
            rewritten: outcome.rewritten,
        }
    }
}

/// Work that a passphrase is needed for.
#[wasm_bindgen]
pub struct VaultWork(marea_core::VaultWork);

#[wasm_bindgen]
impl VaultWork {
    /// Whether a derivation is wanted, and for which passphrase: `current`, `new`, or undefined when there is no more to do.
    #[wasm_bindgen(getter)]
    pub fn which(&self) -> Option<String> {
        let which = self.0.next_step()?.which;
        Some(if which == WhichPassphrase::New { "new" } else { "current" }.to_owned())
    }

    /// The salt of the derivation that is wanted.
    #[wasm_bindgen(getter)]
    pub fn salt(&self) -> Vec<u8> {
        self.0.next_step().map(|step| step.salt.to_vec()).unwrap_or_default()
    }

    /// Its iterations.
    #[wasm_bindgen(getter)]
    pub fn rounds(&self) -> u32 {
        self.0.next_step().map_or(0, |step| step.rounds)
    }

    /// Takes the 32 bytes that were derived, and clears this copy of them.
    pub fn supply(&mut self, mut derived: Vec<u8>) -> Result<(), JsValue> {
        let key = take_key(&mut derived)?;
        self.0.supply(key);
        Ok(())
    }

    /// Derives here what is wanted, for pages without WebCrypto. `passphrase` is UTF-8 in the form NFKC; this copy is cleared.
    pub fn derive(&mut self, passphrase: String) -> Result<(), JsValue> {
        let passphrase = Passphrase::new(passphrase).map_err(|error| from_core(&error))?;
        if let Some(step) = self.0.next_step() {
            self.0.supply(passphrase.derive(&step));
        }
        Ok(())
    }
}

fn take_key(bytes: &mut Vec<u8>) -> Result<DataKey, JsValue> {
    let array: Result<&mut [u8; 32], _> = bytes.as_mut_slice().try_into();
    array.map(DataKey::take).map_err(|_| invalid_input("32 bytes are expected"))
}

fn parse_code(text: &str) -> Result<RecoveryCode, JsValue> {
    RecoveryCode::parse(text).map_err(|error| from_core(&error))
}

fn provider(name: &str) -> Result<Provider, JsValue> {
    name.parse().map_err(|error| from_core(&error))
}

#[wasm_bindgen]
impl MareaEngine {
    /// How the vault is, and which keys there are.
    #[wasm_bindgen(js_name = vaultStatus)]
    pub fn vault_status(&self) -> Result<Ts<VaultStatus>, JsValue> {
        to_js(&self.host.call(|engine| engine.vault_status(now()))?)
    }

    /// Refuses a passphrase that is not good enough to be chosen, with the reason. This copy of it is cleared.
    #[wasm_bindgen(js_name = checkNewPassphrase)]
    pub fn check_new_passphrase(&self, passphrase: String) -> Result<(), JsValue> {
        marea_core::check_new_passphrase(passphrase).map_err(|error| from_core(&error))
    }

    /// A passphrase that nobody guesses.
    #[wasm_bindgen(js_name = generatePassphrase)]
    pub fn generate_passphrase(&self) -> Result<String, JsValue> {
        let made = Passphrase::generate(&mut SystemEntropy::new()).map_err(|error| from_core(&error))?;
        Ok(made.expose().to_owned())
    }

    /// Begins what needs a passphrase: `set_up`, `unlock`, `change`, `rewrap`, `rotate`; `recover` or `recover_rewrap` with a
    /// code.
    #[wasm_bindgen(js_name = beginVaultWork)]
    pub fn begin_vault_work(&self, request: &str, code: Option<String>) -> Result<VaultWork, JsValue> {
        let request = match (request, code) {
            ("set_up", None) => VaultRequest::SetUp,
            ("unlock", None) => VaultRequest::Unlock,
            ("change", None) => VaultRequest::ChangePassphrase,
            ("rewrap", None) => VaultRequest::RewrapPassphrase,
            ("rotate", None) => VaultRequest::Rotate,
            ("recover", Some(code)) => VaultRequest::Recover(parse_code(&code)?),
            ("recover_rewrap", Some(code)) => VaultRequest::RecoverRewrap(parse_code(&code)?),
            _ => return Err(invalid_input("unknown vault work")),
        };
        self.host.call(|engine| engine.begin_vault_work(request, now())).map(VaultWork)
    }

    /// Ends it: what changed is durable.
    #[wasm_bindgen(js_name = finishVaultWork)]
    pub fn finish_vault_work(&self, work: VaultWork) -> Result<Ts<PassphraseOutcome>, JsValue> {
        let outcome = self.host.call(|engine| engine.finish_vault_work(work.0, now()))?;
        to_js(&PassphraseOutcome::from(outcome))
    }

    /// Seals a key; this copy of it is cleared.
    #[wasm_bindgen(js_name = putKey)]
    pub fn put_key(&self, name: &str, key: String) -> Result<Ts<Recorded>, JsValue> {
        let (provider, key) = (provider(name)?, ApiKey::new(key).map_err(|error| from_core(&error))?);
        to_js(&self.host.call(|engine| engine.put_key(provider, &key, now()))?)
    }

    /// A key in the clear, as UTF-8. The caller clears it.
    #[wasm_bindgen(js_name = openKey)]
    pub fn open_key(&self, name: &str) -> Result<js_sys::Uint8Array, JsValue> {
        let provider = provider(name)?;
        let key = self.host.call(|engine| engine.open_key(provider, now()))?;
        // Straight into the caller's memory: no copy of it stays in this one.
        Ok(js_sys::Uint8Array::from(key.expose().as_bytes()))
    }

    /// Takes a key away.
    #[wasm_bindgen(js_name = removeKey)]
    pub fn remove_key(&self, name: &str) -> Result<Ts<Recorded>, JsValue> {
        let provider = provider(name)?;
        to_js(&self.host.call(|engine| engine.remove_key(provider, now()))?)
    }

    /// Notes that the providers accepted the keys now.
    #[wasm_bindgen(js_name = keysValidated)]
    pub fn keys_validated(&self) -> Result<Ts<Recorded>, JsValue> {
        let at = now();
        to_js(&self.host.call(|engine| engine.mutate(Change::KeysValidated { at: at.timestamp() }, at))?)
    }

    /// Makes a recovery code, to be shown once.
    #[wasm_bindgen(js_name = makeRecoveryCode)]
    pub fn make_recovery_code(&self) -> Result<String, JsValue> {
        Ok(self.host.call(|engine| engine.make_recovery_code(now()))?.expose().to_string())
    }

    /// Forgets the data keys.
    #[wasm_bindgen(js_name = lockVault)]
    pub fn lock_vault(&self) -> Result<(), JsValue> {
        self.host.call(|engine| {
            engine.lock_vault();
            Ok(())
        })
    }

    /// Locks by itself when nothing was asked of it for so many milliseconds; undefined: never.
    #[wasm_bindgen(js_name = lockVaultAfter)]
    pub fn lock_vault_after(&self, millis: Option<f64>) -> Result<(), JsValue> {
        self.host.call(|engine| {
            engine.lock_vault_after(millis.map(|millis| millis.max(0.0) as u64));
            Ok(())
        })
    }

    /// The data key, for a key of the browser to wrap. The caller clears it.
    #[wasm_bindgen(js_name = dataKeyToRemember)]
    pub fn data_key_to_remember(&self) -> Result<js_sys::Uint8Array, JsValue> {
        let key = self.host.call(|engine| engine.data_key_to_remember(now()))?;
        Ok(js_sys::Uint8Array::from(key.expose().as_slice()))
    }

    /// Opens the vault with what the browser kept; this copy of it is cleared.
    #[wasm_bindgen(js_name = unlockWithDataKey)]
    pub fn unlock_with_data_key(&self, mut key: Vec<u8>) -> Result<Ts<PassphraseOutcome>, JsValue> {
        let key = take_key(&mut key)?;
        let outcome = self.host.call(|engine| engine.unlock_with_data_key(key, now()))?;
        to_js(&PassphraseOutcome::from(outcome))
    }

    /// Gives up all keys and the passphrase.
    #[wasm_bindgen(js_name = resetVault)]
    pub fn reset_vault(&self) -> Result<(), JsValue> {
        self.host.call(|engine| engine.reset_vault(now()))
    }
}
