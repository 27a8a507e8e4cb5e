//! Who may change a vault: only whoever knows the passphrase that counts, whatever else still opens something in it.

use super::registers::{Registers, sync};
use super::vault::{envelope, get, put, set_up, unlock, work};
use super::*;
use crate::model::Provider::{Anthropic, Openai, Unsplash};
use crate::vault::VaultRequest;

/// A device on which an envelope is still wrapped by the old passphrase and another by the new one. It has not been opened.
fn both_wraps(server: &mut Registers) -> Engine {
    let (mut one, mut two) = (engine(), engine());
    set_up(&mut one, "an old sentence of words");
    put(&mut one, Openai, "sk-one", 0);
    sync(&mut one, server);
    sync(&mut two, server);
    unlock(&mut two, "an old sentence of words").unwrap();
    work(
        &mut one,
        VaultRequest::RewrapPassphrase,
        "an old sentence of words",
        "a new sentence of words",
        at(0),
    )
    .unwrap();
    put(&mut two, Anthropic, "sk-two", 1);
    sync(&mut one, server);
    // The one that made the change is gone before it hears of the second key.
    drop(one);
    sync(&mut two, server);
    let mut third = engine();
    sync(&mut third, server);
    third
}

#[test]
fn an_old_passphrase_that_still_opens_something_changes_nothing() {
    for (request, new) in
        [(VaultRequest::ChangePassphrase, "a third sentence of words"), (VaultRequest::Rotate, "")]
    {
        let mut server = Registers::default();
        let mut device = both_wraps(&mut server);
        let before = device.api_keys().unwrap();
        let refused = work(&mut device, request.clone(), "an old sentence of words", new, at(2)).unwrap_err();
        assert_eq!(refused.code(), "wrong_passphrase", "{request:?}");
        assert!(device.api_keys().unwrap() == before, "{request:?}: nothing is written");
        assert_eq!(device.status(at(2)).unwrap().pending, 0);
        sync(&mut device, &mut server);
        let mut fresh = engine();
        sync(&mut fresh, &mut server);
        assert!(!unlock(&mut fresh, "a new sentence of words").unwrap().passphrase_is_old);
        assert_eq!(get(&mut fresh, Openai).as_deref(), Ok("sk-one"));
        assert_eq!(get(&mut fresh, Anthropic).as_deref(), Ok("sk-two"));
        let may = work(&mut fresh, request, "a new sentence of words", new, at(3));
        assert!(may.is_ok(), "and the newest may");
    }
}

/// The vault is open with its own passphrase; another's opens a key beside it, and no more.
#[test]
fn a_passphrase_that_opens_only_another_vaults_key_changes_nothing() {
    for (request, new) in
        [(VaultRequest::ChangePassphrase, "a third sentence of words"), (VaultRequest::Rotate, "")]
    {
        let (mut one, mut two, mut server) = (engine(), engine(), Registers::default());
        set_up(&mut one, "words of device one");
        put(&mut one, Openai, "sk-one", 0);
        set_up(&mut two, "words of device two");
        put(&mut two, Anthropic, "sk-two", 1);
        sync(&mut one, &mut server);
        sync(&mut two, &mut server);
        sync(&mut one, &mut server);
        let before = one.api_keys().unwrap();
        let refused = work(&mut one, request.clone(), "words of device two", new, at(2)).unwrap_err();
        assert_eq!(refused.code(), "wrong_passphrase", "{request:?}");
        assert!(one.api_keys().unwrap() == before, "{request:?}: nothing is written");
        one.lock_vault();
        unlock(&mut one, "words of device one").unwrap();
        assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-one"));
    }
}

/// Envelopes of another vault were put here: an older one gives way to what this device knows.
#[test]
fn of_keys_under_another_passphrase_those_are_told_that_stay() {
    let (mut one, mut other) = (engine(), engine());
    set_up(&mut one, "an old sentence of words");
    put(&mut one, Openai, "sk-one", 100);
    put(&mut one, Anthropic, "sk-two", 100);
    set_up(&mut other, "a new sentence of words");
    for provider in [Anthropic, Unsplash] {
        put(&mut other, provider, "sk-other", 0);
        one.mutate(Change::PutKey { provider, envelope: envelope(&other, provider) }, at(200)).unwrap();
    }
    let outcome = unlock(&mut one, "an old sentence of words").unwrap();
    assert_eq!((outcome.other_passphrase, outcome.rewritten), (vec![Unsplash], 1));
    assert_eq!(get(&mut one, Anthropic).as_deref(), Ok("sk-two"));
}
