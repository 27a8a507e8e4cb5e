//! The vault's calls. What comes in and goes out here may be a secret: every copy that is made here is wiped.

use std::time::Duration;

use marea_core::{ApiKey, Change, Passphrase, Provider, RecoveryCode, VaultOutcome};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Answer, invalid, json, read, unknown_call};
use crate::{Client, Error, Vault, clock};

/// What is to be done with a passphrase.
#[derive(Deserialize)]
struct Work {
    kind: String,
    current: Option<Zeroizing<String>>,
    next: Option<Zeroizing<String>>,
    code: Option<Zeroizing<String>>,
}

pub(super) async fn carry_out(client: &Client, method: &str, arguments: &str) -> Result<Answer, Error> {
    let vault = client.vault();
    match method {
        "keysStatus" => json(&vault.status().await?),
        "keysWork" => {
            let (work,): (Work,) = read(arguments)?;
            json(&outcome(&done(&vault, work).await?))
        }
        "keysLock" => json(&vault.lock().await?),
        "keysGenerate" => Ok(Answer::Text(Vault::generate_passphrase()?.expose().to_owned())),
        "keysLockAfter" => {
            let (millis,): (Option<f64>,) = read(arguments)?;
            let idle = millis.map(|millis| Duration::from_millis(millis.max(0.0) as u64));
            json(&vault.lock_after(idle).await?)
        }
        "keysPut" => {
            let (provider, mut key): (Provider, Zeroizing<String>) = read(arguments)?;
            json(&vault.put(provider, &ApiKey::new(std::mem::take(&mut *key))?).await?)
        }
        "keysOpen" => {
            let (provider,): (Provider,) = read(arguments)?;
            let key = vault.get(provider).await?;
            Ok(Answer::Key(Zeroizing::new(key.expose().as_bytes().to_vec())))
        }
        "keysRemove" => {
            let (provider,): (Provider,) = read(arguments)?;
            json(&vault.remove(provider).await?)
        }
        "keysValidated" => {
            let now = clock::now();
            client.mutate(Change::KeysValidated { at: now.timestamp() }).await?;
            json(&())
        }
        "keysRecoveryCode" => Ok(Answer::Text(vault.make_recovery_code().await?.expose().to_string())),
        "keysRemember" => json(&vault.remember_device().await?),
        "keysUnlockRemembered" => json(&unlocked(vault.unlock_remembered().await)?),
        "keysForget" => {
            vault.forget_device().await?;
            json(&())
        }
        "keysReset" => json(&vault.reset().await?),
        _ => Err(unknown_call()),
    }
}

async fn done(vault: &Vault, work: Work) -> Result<VaultOutcome, Error> {
    let current = work.current.map(passphrase).transpose()?;
    let next = work.next.map(passphrase).transpose()?;
    let code = work.code.map(|code| RecoveryCode::parse(&code)).transpose()?;
    match (work.kind.as_str(), current, next, code) {
        ("set_up", None, Some(next), None) => {
            vault.set_up(&next).await?;
            Ok(VaultOutcome::default())
        }
        ("unlock", Some(current), None, None) => vault.unlock(&current).await,
        ("rotate", Some(current), None, None) => vault.rotate(&current).await,
        ("change", Some(current), Some(next), None) => vault.change_passphrase(&current, &next).await,
        ("rewrap", Some(current), Some(next), None) => vault.rewrap_passphrase(&current, &next).await,
        ("recover", None, Some(next), Some(code)) => vault.recover(code, &next).await,
        ("recover_rewrap", None, Some(next), Some(code)) => vault.recover_rewrap(code, &next).await,
        _ => Err(invalid("arguments", "are not those of this call")),
    }
}

fn passphrase(mut text: Zeroizing<String>) -> Result<Passphrase, Error> {
    Ok(Passphrase::new(std::mem::take(&mut *text))?)
}

fn outcome(outcome: &VaultOutcome) -> serde_json::Value {
    json!({
        "recovery_code": outcome.recovery_code.as_ref().map(|code| code.expose().to_string()),
        "passphrase_is_old": outcome.passphrase_is_old,
        "other_passphrase": outcome.other_passphrase,
        "rewritten": outcome.rewritten,
    })
}

/// Whether anything was remembered that still opens the vault. What was rotated or reset since is as good as nothing.
fn unlocked(outcome: Result<Option<VaultOutcome>, Error>) -> Result<bool, Error> {
    match outcome {
        Err(error) if error.code() == "vault_forgotten" => Ok(false),
        outcome => Ok(outcome?.is_some()),
    }
}
