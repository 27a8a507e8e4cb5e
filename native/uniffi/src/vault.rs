//! The learner's API keys, sealed with a passphrase. A text of Kotlin's or Swift's stays in memory until it is collected.

use serde_json::json;

use crate::mirror::{Marea, Result};
use crate::records::{PassphraseOutcome, Recorded};

#[uniffi::export]
impl Marea {
    /// Chooses the first passphrase. The vault is open afterwards.
    pub async fn keys_set_up(&self, passphrase: String) -> Result<()> {
        let _: PassphraseOutcome =
            self.ask("keysWork", json!([{ "kind": "set_up", "next": passphrase }])).await?;
        Ok(())
    }

    /// Opens the vault.
    pub async fn keys_unlock(&self, passphrase: String) -> Result<PassphraseOutcome> {
        self.ask("keysWork", json!([{ "kind": "unlock", "current": passphrase }])).await
    }

    /// Locks the vault.
    pub async fn keys_lock(&self) -> Result<()> {
        self.ask("keysLock", json!([])).await
    }

    /// Seals a key: `openai`, `unsplash` or `anthropic`.
    pub async fn keys_put(&self, provider: String, key: String) -> Result<Recorded> {
        self.ask("keysPut", json!([provider, key])).await
    }

    /// A key in the clear, as UTF-8. Clear it after use.
    pub async fn keys_open(&self, provider: String) -> Result<Vec<u8>> {
        self.key(json!([provider])).await
    }

    /// Takes a provider's key away, on all devices.
    pub async fn keys_remove(&self, provider: String) -> Result<Recorded> {
        self.ask("keysRemove", json!([provider])).await
    }
}
