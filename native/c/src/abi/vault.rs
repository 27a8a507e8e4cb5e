//! The learner's sealed API keys.

use std::ffi::c_char;
use std::time::Duration;

use marea_native::{ApiKey, Passphrase, Provider, RecoveryCode, Vault, VaultOutcome, block_on};
use serde::Serialize;

use super::client::{MareaClient, client_of};
use super::edge::{clear, give, give_json, give_text, guard, needed, parsed, text};
use crate::code::MareaCode;
use crate::problem::Problem;

/// What became of a passphrase, for C.
#[derive(Serialize)]
struct Shown<'a> {
    /// To be shown once.
    recovery_code: Option<&'a str>,
    passphrase_is_old: bool,
    other_passphrase: &'a [Provider],
    rewritten: u32,
}

unsafe fn give_outcome(out: *mut *mut c_char, outcome: &VaultOutcome) -> Result<(), Problem> {
    let code = outcome.recovery_code.as_ref().map(RecoveryCode::expose);
    let shown = Shown {
        recovery_code: code.as_ref().map(|code| code.as_str()),
        passphrase_is_old: outcome.passphrase_is_old,
        other_passphrase: &outcome.other_passphrase,
        rewritten: outcome.rewritten,
    };
    unsafe { give_json(out, &shown) }
}

unsafe fn vault_of(client: *const MareaClient) -> Result<Vault, Problem> {
    Ok(unsafe { client_of(client)? }.vault())
}

unsafe fn passphrase(pointer: *const c_char, argument: &'static str) -> Result<Passphrase, Problem> {
    Ok(Passphrase::new(unsafe { text(pointer, argument)? }.to_owned())?)
}

/// Whether the vault is open, and which keys there are. `status` gets `{"state": "not_set_up", "locked" or "unlocked", "keys":
/// [{"provider", "state", "hint"}], "locks_at", "has_recovery_code"}`; hints only while it is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_status(
    client: *const MareaClient,
    status: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    // SAFETY: the header's rules, here and in all entries below.
    unsafe {
        clear(status);
        guard(error, || give_json(status, &block_on(vault_of(client)?.status())?))
    }
}

/// Chooses the first passphrase, of 15 characters or more and not easily guessed: MAREA_CODE_INVALID_INPUT says why not. The vault is open afterwards. Takes a fifth of a second or more, as
/// everything that takes a passphrase.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_set_up(
    client: *const MareaClient,
    passphrase: *const c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        guard(error, || {
            let vault = vault_of(client)?;
            Ok(block_on(vault.set_up(&self::passphrase(passphrase, "passphrase")?))?)
        })
    }
}

/// A passphrase that nobody guesses, to offer to the learner: five words that can be spoken, 80 random bits.
/// `marea_string_free` wipes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_generate_passphrase(
    passphrase: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(passphrase);
        guard(error, || {
            give_text(passphrase, Vault::generate_passphrase()?.expose());
            Ok(())
        })
    }
}

/// Opens the vault; when it is open already, opens what else this passphrase opens. `outcome` gets `{"recovery_code": null,
/// "passphrase_is_old": whether it was changed on another device, "other_passphrase": [providers whose keys need another
/// passphrase], "rewritten": number}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_unlock(
    client: *const MareaClient,
    passphrase: *const c_char,
    outcome: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(outcome);
        guard(error, || {
            let vault = vault_of(client)?;
            give_outcome(outcome, &block_on(vault.unlock(&self::passphrase(passphrase, "passphrase")?))?)
        })
    }
}

/// Forgets the data key: the passphrase is needed again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_lock(client: *const MareaClient, error: *mut *mut c_char) -> MareaCode {
    unsafe { guard(error, || Ok(block_on(vault_of(client)?.lock())?)) }
}

/// Locks by itself when nothing was asked of the vault for so many milliseconds; 0: never. It starts with 15 minutes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_lock_after(
    client: *const MareaClient,
    idle_ms: u64,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        guard(error, || {
            let idle = (idle_ms > 0).then(|| Duration::from_millis(idle_ms));
            Ok(block_on(vault_of(client)?.lock_after(idle))?)
        })
    }
}

/// Seals a key, in place of the provider's last one. MAREA_CODE_OTHER_PASSPHRASE when the passphrase was changed on another
/// device: unlock with the new one. `provider` is `openai`, `unsplash` or `anthropic`. `recorded` is as for
/// `marea_record_session`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_put(
    client: *const MareaClient,
    provider: *const c_char,
    key: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let vault = vault_of(client)?;
            let key = ApiKey::new(text(key, "key")?.to_owned())?;
            give_json(recorded, &block_on(vault.put(parsed(provider, "provider")?, &key))?)
        })
    }
}

/// A key in the clear. `marea_string_free` wipes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_get(
    client: *const MareaClient,
    provider: *const c_char,
    key: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(key);
        guard(error, || {
            let vault = vault_of(client)?;
            give_text(key, block_on(vault.get(parsed(provider, "provider")?))?.expose());
            Ok(())
        })
    }
}

/// Notes that the provider has just accepted the key, which the app has tried.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_validated(
    client: *const MareaClient,
    provider: *const c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        guard(error, || {
            let vault = vault_of(client)?;
            block_on(vault.validate(parsed(provider, "provider")?, |_| async { true }))?;
            Ok(())
        })
    }
}

/// Takes a provider's key away, on all devices. Needs no passphrase. `recorded` is as for `marea_record_session`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_remove(
    client: *const MareaClient,
    provider: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let vault = vault_of(client)?;
            give_json(recorded, &block_on(vault.remove(parsed(provider, "provider")?))?)
        })
    }
}

/// Changes the passphrase, and seals everything with a new data key: who knows the old passphrase and has an old envelope opens
/// nothing that is put from now on. `outcome` is as for `marea_vault_unlock`; where there was a recovery code it has a new one, to be
/// shown once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_change_passphrase(
    client: *const MareaClient,
    current: *const c_char,
    new_passphrase: *const c_char,
    outcome: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(outcome);
        guard(error, || {
            needed(outcome, "outcome")?;
            let vault = vault_of(client)?;
            let (current, new) =
                (passphrase(current, "current")?, passphrase(new_passphrase, "new_passphrase")?);
            give_outcome(outcome, &block_on(vault.change_passphrase(&current, &new))?)
        })
    }
}

/// Changes the passphrase and nothing else: the recovery code and remembered devices go on opening the vault. So do the old
/// passphrase and an old envelope, together, also what is put later: not for a passphrase that somebody may know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_rewrap_passphrase(
    client: *const MareaClient,
    current: *const c_char,
    new_passphrase: *const c_char,
    outcome: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(outcome);
        guard(error, || {
            let vault = vault_of(client)?;
            let (current, new) =
                (passphrase(current, "current")?, passphrase(new_passphrase, "new_passphrase")?);
            give_outcome(outcome, &block_on(vault.rewrap_passphrase(&current, &new))?)
        })
    }
}

/// Seals everything with a new data key. Where there was a recovery code, `outcome` has a new one, to be shown once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_rotate(
    client: *const MareaClient,
    current: *const c_char,
    outcome: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(outcome);
        guard(error, || {
            needed(outcome, "outcome")?;
            let vault = vault_of(client)?;
            give_outcome(outcome, &block_on(vault.rotate(&passphrase(current, "current")?))?)
        })
    }
}

/// Makes a recovery code, in place of the one before. It can be shown now and never again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_make_recovery_code(
    client: *const MareaClient,
    recovery_code: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recovery_code);
        guard(error, || {
            needed(recovery_code, "recovery_code")?;
            let made = block_on(vault_of(client)?.make_recovery_code())?;
            give_text(recovery_code, &made.expose());
            Ok(())
        })
    }
}

/// Chooses a new passphrase with the recovery code, and seals everything with a new data key. `outcome` is as for
/// `marea_vault_unlock`, with a new recovery code, to be shown once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_recover(
    client: *const MareaClient,
    recovery_code: *const c_char,
    new_passphrase: *const c_char,
    outcome: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(outcome);
        guard(error, || {
            needed(outcome, "outcome")?;
            let vault = vault_of(client)?;
            let code = RecoveryCode::parse(text(recovery_code, "recovery_code")?)?;
            let new = passphrase(new_passphrase, "new_passphrase")?;
            give_outcome(outcome, &block_on(vault.recover(code, &new))?)
        })
    }
}

/// Chooses a new passphrase with the recovery code and changes nothing else: see `marea_vault_rewrap_passphrase`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_recover_rewrap(
    client: *const MareaClient,
    recovery_code: *const c_char,
    new_passphrase: *const c_char,
    outcome: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(outcome);
        guard(error, || {
            let vault = vault_of(client)?;
            let code = RecoveryCode::parse(text(recovery_code, "recovery_code")?)?;
            let new = passphrase(new_passphrase, "new_passphrase")?;
            give_outcome(outcome, &block_on(vault.recover_rewrap(code, &new))?)
        })
    }
}

/// "Remember this device": lets the system's keychain keep what opens the vault, which must be open. Where there is none, nothing
/// is kept: MAREA_CODE_KEYCHAIN_UNAVAILABLE. May wait for a person who is asked to unlock the keychain, a minute at most, as the
/// next two.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_remember_device(
    client: *const MareaClient,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe { guard(error, || Ok(block_on(vault_of(client)?.remember_device())?)) }
}

/// Opens the vault with what the keychain keeps. `remembered` says whether there was something; if not, the passphrase is needed.
/// MAREA_CODE_VAULT_FORGOTTEN when the passphrase was changed or the vault was rotated or reset since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_unlock_remembered(
    client: *const MareaClient,
    remembered: *mut bool,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(remembered, false);
        guard(error, || {
            let vault = vault_of(client)?;
            give(remembered, block_on(vault.unlock_remembered())?.is_some());
            Ok(())
        })
    }
}

/// Lets the keychain forget what opens the vault; `found` says whether it had something.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_forget_device(
    client: *const MareaClient,
    found: *mut bool,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(found, false);
        guard(error, || {
            give(found, block_on(vault_of(client)?.forget_device())?);
            Ok(())
        })
    }
}

/// Gives up all keys and the passphrase with them, on all devices.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_vault_reset(client: *const MareaClient, error: *mut *mut c_char) -> MareaCode {
    unsafe { guard(error, || Ok(block_on(vault_of(client)?.reset())?)) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::ptr::{null, null_mut};

    use super::*;
    use crate::abi::edge::free_text;

    /// It would take the place of the one before, and be nowhere.
    #[test]
    fn no_recovery_code_is_made_that_nobody_is_given() {
        let calls: [&dyn Fn(*mut *mut c_char) -> MareaCode; 4] = [
            &|error| unsafe { marea_vault_make_recovery_code(null(), null_mut(), error) },
            &|error| unsafe { marea_vault_rotate(null(), null(), null_mut(), error) },
            &|error| unsafe { marea_vault_recover(null(), null(), null(), null_mut(), error) },
            &|error| unsafe { marea_vault_change_passphrase(null(), null(), null(), null_mut(), error) },
        ];
        for (place, call) in calls.iter().enumerate() {
            let (mut error, output) = (null_mut(), if place == 0 { "recovery_code" } else { "outcome" });
            assert_eq!(call(&mut error), MareaCode::NullArgument);
            let said = unsafe { CStr::from_ptr(error) }.to_str().unwrap();
            assert!(said.contains(&format!("{output} is NULL")), "{said}");
            unsafe { free_text(error) };
        }
    }
}
