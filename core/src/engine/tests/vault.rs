//! What several devices do to one vault at once, story by story. `vault_model.rs` lives through random ones.

use super::registers::{Registers, sync};
use super::*;
use crate::error::VaultError;
use crate::model::Provider::{Anthropic, Openai, Unsplash};
use crate::model::{KeyEnvelope, Provider};
use crate::vault::{
    ApiKey, KeyState, Passphrase, RecoveryCode, VaultOutcome, VaultRequest, VaultState, WhichPassphrase,
};

pub(super) fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

pub(super) fn work(
    engine: &mut Engine,
    request: VaultRequest,
    current: &str,
    new: &str,
    now: Now,
) -> Result<VaultOutcome, Error> {
    let mut work = engine.begin_vault_work(request, now)?;
    let given = |text: &str| (!text.is_empty()).then(|| passphrase(text));
    work.run(given(current).as_ref(), given(new).as_ref())?;
    engine.finish_vault_work(work, now)
}

pub(super) fn set_up(engine: &mut Engine, new: &str) {
    work(engine, VaultRequest::SetUp, "", new, at(0)).unwrap();
}

pub(super) fn unlock(engine: &mut Engine, current: &str) -> Result<VaultOutcome, Error> {
    work(engine, VaultRequest::Unlock, current, "", at(0))
}

pub(super) fn change(engine: &mut Engine, current: &str, new: &str) -> Result<VaultOutcome, Error> {
    work(engine, VaultRequest::ChangePassphrase, current, new, at(0))
}

fn rewrap(engine: &mut Engine, current: &str, new: &str) -> Result<VaultOutcome, Error> {
    work(engine, VaultRequest::RewrapPassphrase, current, new, at(0))
}

pub(super) fn put(engine: &mut Engine, provider: Provider, key: &str, seconds: i64) {
    engine.put_key(provider, &ApiKey::new(key.to_owned()).unwrap(), at(seconds)).unwrap();
}

pub(super) fn get(engine: &mut Engine, provider: Provider) -> Result<String, String> {
    let key = engine.open_key(provider, at(0));
    key.map(|key| key.expose().to_owned()).map_err(|error| error.code().to_owned())
}

pub(super) fn envelope(engine: &Engine, provider: Provider) -> KeyEnvelope {
    engine.api_keys().unwrap().get(provider).unwrap().clone()
}

pub(super) fn code(error: Result<VaultOutcome, Error>) -> &'static str {
    error.unwrap_err().code()
}

/// Two devices of one vault, synced, both open.
pub(super) fn two(server: &mut Registers) -> (Engine, Engine) {
    let (mut one, mut two) = (engine(), engine());
    set_up(&mut one, "an old sentence of words");
    put(&mut one, Openai, "sk-one", 0);
    sync(&mut one, server);
    sync(&mut two, server);
    unlock(&mut two, "an old sentence of words").unwrap();
    (one, two)
}

/// A device that has nothing but what the server has.
pub(super) fn fresh(server: &mut Registers) -> Engine {
    let mut device = engine();
    sync(&mut device, server);
    device
}

#[test]
fn a_key_is_sealed_shown_by_a_hint_and_taken_away() {
    let mut one = engine();
    assert_eq!(one.vault_status(at(0)).unwrap().state, VaultState::NotSetUp);
    assert_eq!(code(unlock(&mut one, "anything")), "vault_not_set_up");
    set_up(&mut one, "some sentence of words");
    assert_eq!(code(work(&mut one, VaultRequest::SetUp, "", "another one", at(0))), "vault_set_up");
    put(&mut one, Openai, "sk-proj-0123456789abca1B2", 0);
    assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-proj-0123456789abca1B2"));
    assert_eq!(get(&mut one, Unsplash), Err("no_key".into()));
    let shown = one.vault_status(at(0)).unwrap();
    assert_eq!(shown.keys[0].hint.as_deref(), Some("sk-...a1B2"));
    one.lock_vault();
    let shown = one.vault_status(at(0)).unwrap();
    assert_eq!((shown.state, shown.keys[0].state), (VaultState::Locked, KeyState::Locked));
    assert_eq!(shown.keys[0].hint, None);
    assert_eq!(get(&mut one, Openai), Err("vault_locked".into()));
    assert_eq!(code(unlock(&mut one, "b passphrase")), "wrong_passphrase");
    unlock(&mut one, "some sentence of words").unwrap();
    one.remove_key(Openai, at(1)).unwrap();
    assert_eq!(get(&mut one, Openai), Err("no_key".into()));
    assert_eq!(one.remove_key(Openai, at(1)).unwrap_err().code(), "no_key");
    // The passphrase stays although nothing is sealed under it.
    one.lock_vault();
    assert_eq!(code(unlock(&mut one, "b passphrase")), "wrong_passphrase");
    unlock(&mut one, "some sentence of words").unwrap();
}

#[test]
fn a_key_added_while_the_passphrase_was_changed_elsewhere_opens_with_the_new_one() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    rewrap(&mut one, "an old sentence of words", "a new sentence of words").unwrap();
    put(&mut two, Anthropic, "sk-two", 1);
    two.lock_vault();
    one.lock_vault();
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    // Before anybody has tended the key under the old wrap, the new passphrase opens it through the other one.
    let mut third = fresh(&mut server);
    let outcome = unlock(&mut third, "a new sentence of words").unwrap();
    assert!(outcome.rewritten == 1 && !outcome.passphrase_is_old && outcome.other_passphrase.is_empty());
    assert_eq!(get(&mut third, Anthropic).as_deref(), Ok("sk-two"));
    // The old one is recognised, and undoes nothing.
    let before = envelope(&two, Openai);
    let outcome = unlock(&mut two, "an old sentence of words").unwrap();
    assert!(outcome.passphrase_is_old);
    assert_eq!(get(&mut two, Openai).as_deref(), Ok("sk-one"));
    assert!(envelope(&two, Openai) == before);
    // It may not decide about the vault any more.
    assert_eq!(
        code(rewrap(&mut two, "an old sentence of words", "a third sentence of words")),
        "wrong_passphrase"
    );
    sync(&mut third, &mut server);
    let mut fourth = fresh(&mut server);
    assert_eq!(code(unlock(&mut fourth, "an old sentence of words")), "wrong_passphrase");
    unlock(&mut fourth, "a new sentence of words").unwrap();
    assert_eq!(get(&mut fourth, Anthropic).as_deref(), Ok("sk-two"));
}

#[test]
fn the_last_rewrapped_key_deleted_leaves_no_key_that_nobody_can_open() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    rewrap(&mut one, "an old sentence of words", "a new sentence of words").unwrap();
    one.remove_key(Openai, at(1)).unwrap();
    put(&mut two, Anthropic, "sk-two", 1);
    two.lock_vault();
    one.lock_vault();
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    // A device that never saw the new wrap needs the old passphrase.
    let mut third = fresh(&mut server);
    assert_eq!(code(unlock(&mut third, "a new sentence of words")), "wrong_passphrase");
    unlock(&mut third, "an old sentence of words").unwrap();
    // The device that made the change carries it over as soon as it hears of the key, locked as it is.
    sync(&mut one, &mut server);
    let mut fourth = fresh(&mut server);
    unlock(&mut fourth, "a new sentence of words").unwrap();
    assert_eq!(get(&mut fourth, Anthropic).as_deref(), Ok("sk-two"));
    assert_eq!(code(unlock(&mut fresh(&mut server), "an old sentence of words")), "wrong_passphrase");
}

#[test]
fn a_rotation_and_a_key_added_meanwhile_end_under_one_data_key() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    let before = envelope(&one, Openai);
    work(&mut one, VaultRequest::Rotate, "an old sentence of words", "", at(0)).unwrap();
    let id = |envelope: &KeyEnvelope| envelope.as_str().split('.').nth(1).unwrap().to_owned();
    assert_ne!(id(&before), id(&envelope(&one, Openai)));
    put(&mut two, Anthropic, "sk-two", 1);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!(get(&mut two, Openai), Err("other_passphrase".into()), "rotated away from under it");
    unlock(&mut two, "an old sentence of words").unwrap();
    assert_eq!(get(&mut two, Openai).as_deref(), Ok("sk-one"));
    sync(&mut two, &mut server);
    let mut third = fresh(&mut server);
    unlock(&mut third, "an old sentence of words").unwrap();
    assert_eq!(get(&mut third, Openai).as_deref(), Ok("sk-one"));
    assert_eq!(get(&mut third, Anthropic).as_deref(), Ok("sk-two"));
    assert_eq!(id(&envelope(&third, Openai)), id(&envelope(&third, Anthropic)));
}

#[test]
fn two_vaults_set_up_apart_become_one_once_both_passphrases_were_given() {
    let (mut one, mut two, mut server) = (engine(), engine(), Registers::default());
    set_up(&mut one, "words of device one");
    put(&mut one, Openai, "sk-one", 0);
    set_up(&mut two, "words of device two");
    put(&mut two, Anthropic, "sk-two", 1);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    let states: Vec<_> = one.vault_status(at(0)).unwrap().keys.iter().map(|key| key.state).collect();
    assert_eq!(states, [KeyState::Open, KeyState::OtherPassphrase]);
    assert_eq!(
        unlock(&mut one, "words of device one").unwrap().other_passphrase,
        [Anthropic],
        "the learner is told which"
    );
    assert_eq!(code(unlock(&mut one, "passphrase three")), "wrong_passphrase");
    let outcome = unlock(&mut one, "words of device two").unwrap();
    assert!(outcome.other_passphrase.is_empty() || outcome.rewritten == 1);
    sync(&mut one, &mut server);
    let mut third = fresh(&mut server);
    assert!(unlock(&mut third, "words of device one").unwrap().other_passphrase.is_empty());
    assert_eq!(get(&mut third, Openai).as_deref(), Ok("sk-one"));
    assert_eq!(get(&mut third, Anthropic).as_deref(), Ok("sk-two"));
    assert_eq!(code(unlock(&mut fresh(&mut server), "words of device two")), "wrong_passphrase");
}

#[test]
fn the_later_put_of_one_provider_wins_whatever_was_rewrapped_afterwards() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    // Two's clock is 40 seconds behind what it has seen; it puts first, one rewraps the older key afterwards, more than once.
    put(&mut one, Openai, "sk-first", 40);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    put(&mut two, Openai, "sk-newest", 0);
    for (current, new) in [
        ("an old sentence of words", "a new sentence of words"),
        ("a new sentence of words", "the last sentence of words"),
    ] {
        work(&mut one, VaultRequest::RewrapPassphrase, current, new, at(3600)).unwrap();
    }
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-newest"));
    sync(&mut one, &mut server);
    let mut third = fresh(&mut server);
    unlock(&mut third, "the last sentence of words").unwrap();
    assert_eq!(get(&mut third, Openai).as_deref(), Ok("sk-newest"));
}

#[test]
fn a_recovery_code_opens_until_it_is_replaced() {
    let mut server = Registers::default();
    let (mut one, two) = two(&mut server);
    drop(two);
    let made = one.make_recovery_code(at(0)).unwrap().expose().to_string();
    rewrap(&mut one, "an old sentence of words", "a new sentence of words").unwrap();
    put(&mut one, Unsplash, "added-later", 1);
    sync(&mut one, &mut server);
    let recover = |device: &mut Engine, text: &str, new: &str| {
        let request = VaultRequest::Recover(RecoveryCode::parse(text)?);
        work(device, request, "", new, at(0))
    };
    let mut third = fresh(&mut server);
    assert!(third.vault_status(at(0)).unwrap().has_recovery_code);
    recover(&mut third, &made.to_lowercase(), "chosen anew by words").unwrap();
    assert_eq!(get(&mut third, Unsplash).as_deref(), Ok("added-later"));
    assert_eq!(code(recover(&mut third, &made, "short")), "invalid_input");
    let rotated = work(&mut third, VaultRequest::Rotate, "chosen anew by words", "", at(0)).unwrap();
    let newer = rotated.recovery_code.expect("a rotation replaces the code").expose().to_string();
    sync(&mut third, &mut server);
    let mut fourth = fresh(&mut server);
    assert_eq!(code(recover(&mut fourth, &made, "chosen again by words")), "wrong_passphrase");
    recover(&mut fourth, &newer, "chosen again by words").unwrap();
    assert_eq!(get(&mut fourth, Openai).as_deref(), Ok("sk-one"));
}

#[test]
fn a_wrap_that_a_server_slips_in_is_not_carried_over() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    // Another vault's wrap under this vault's data key's name, dated after everything.
    let mut forger = engine();
    set_up(&mut forger, "the server's own");
    put(&mut forger, Anthropic, "sk-x", 9);
    let (real, forged) = (envelope(&one, Openai), envelope(&forger, Anthropic));
    let mut parts: Vec<&str> = forged.as_str().split('.').collect();
    parts[1] = real.as_str().split('.').nth(1).unwrap();
    let text = parts[..parts.len() - 1].join(".");
    let text = crate::vault::with_sum((user(), Anthropic), &text);
    let planted = Change::PutKey { provider: Anthropic, envelope: text.parse().unwrap() };
    two.mutate(planted, at(5)).unwrap();
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    let before = envelope(&one, Openai);
    one.lock_vault();
    let outcome = unlock(&mut one, "an old sentence of words").unwrap();
    assert!(!outcome.passphrase_is_old);
    assert!(envelope(&one, Openai) == before);
    assert_eq!(get(&mut one, Anthropic), Err("key_damaged".into()));
    assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-one"));
}

#[test]
fn it_locks_by_itself_and_a_clock_that_is_set_back_does_not_keep_it_open() {
    let mut one = engine();
    set_up(&mut one, "some sentence of words");
    put(&mut one, Openai, "sk-one", 0);
    one.lock_vault_after(Some(60_000));
    assert!(one.open_key(Openai, at(50)).is_ok(), "each use counts anew");
    assert!(one.open_key(Openai, at(109)).is_ok());
    assert_eq!(one.vault_status(at(109)).unwrap().locks_at.unwrap(), at(169).timestamp());
    assert_eq!(one.open_key(Openai, at(169)).unwrap_err().code(), "vault_locked");
    work(&mut one, VaultRequest::Unlock, "some sentence of words", "", at(1000)).unwrap();
    assert_eq!(one.vault_status(at(0)).unwrap().state, VaultState::Unlocked);
    assert_eq!(one.vault_status(at(60)).unwrap().state, VaultState::Locked);
}

#[test]
fn guesses_run_out_for_a_while() {
    let mut one = engine();
    set_up(&mut one, "some sentence of words");
    one.lock_vault();
    for _ in 0..5 {
        assert_eq!(code(unlock(&mut one, "a guess")), "wrong_passphrase");
    }
    let error = unlock(&mut one, "some sentence of words").unwrap_err();
    assert!(error.may_retry());
    assert!(matches!(error, Error::Vault(VaultError::TooManyGuesses { retry_after_ms: 30_000 })));
    work(&mut one, VaultRequest::Unlock, "some sentence of words", "", at(30)).unwrap();
    one.lock_vault();
    assert_eq!(code(unlock(&mut one, "a guess")), "wrong_passphrase", "a right one begins anew");
}

#[test]
fn a_remembered_data_key_opens_until_it_is_rotated() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    let remembered = two.data_key_to_remember(at(0)).unwrap();
    two.lock_vault();
    assert_eq!(two.data_key_to_remember(at(0)).unwrap_err().code(), "vault_locked");
    rewrap(&mut one, "an old sentence of words", "a new sentence of words").unwrap();
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    two.unlock_with_data_key(remembered.clone(), at(0)).unwrap();
    assert_eq!(get(&mut two, Openai).as_deref(), Ok("sk-one"));
    work(&mut one, VaultRequest::Rotate, "a new sentence of words", "", at(0)).unwrap();
    sync(&mut one, &mut server);
    let mut third = fresh(&mut server);
    assert_eq!(code(third.unlock_with_data_key(remembered, at(0))), "vault_forgotten");
}

#[test]
fn older_parameters_are_replaced_at_the_next_unlock() {
    let mut one = engine();
    let mut begun = one.begin_vault_work(VaultRequest::SetUp, at(0)).unwrap();
    begun.use_older_parameters();
    begun.run(None, Some(&passphrase("some sentence of words"))).unwrap();
    one.finish_vault_work(begun, at(0)).unwrap();
    put(&mut one, Openai, "sk-one", 0);
    let kdf = |one: &Engine| envelope(one, Openai).as_str().split('.').nth(2).unwrap().to_owned();
    assert_eq!(kdf(&one), "pbkdf2-sha256-1");
    one.lock_vault();
    let mut begun = one.begin_vault_work(VaultRequest::Unlock, at(1)).unwrap();
    let given = passphrase("some sentence of words");
    let mut asked = Vec::new();
    // As a host does that derives by itself.
    while let Some(step) = begun.next_step() {
        asked.push((step.which, step.rounds));
        begun.supply(given.derive(&step));
    }
    assert_eq!(asked, [(WhichPassphrase::Current, 1), (WhichPassphrase::Current, 2)]);
    assert_eq!(one.finish_vault_work(begun, at(1)).unwrap().rewritten, 1);
    assert_eq!(kdf(&one), "pbkdf2-sha256-2");
    one.lock_vault();
    unlock(&mut one, "some sentence of words").unwrap();
    assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-one"));
}

#[test]
fn a_forgotten_vault_can_be_given_up() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    one.reset_vault(at(1)).unwrap();
    assert_eq!(one.vault_status(at(1)).unwrap().state, VaultState::NotSetUp);
    set_up(&mut one, "another sentence of words");
    put(&mut one, Openai, "sk-new", 2);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    two.lock_vault();
    unlock(&mut two, "another sentence of words").unwrap();
    assert_eq!(get(&mut two, Openai).as_deref(), Ok("sk-new"));
}

#[test]
fn a_passphrase_that_is_too_short_to_be_chosen_changes_nothing() {
    let mut one = engine();
    assert_eq!(code(work(&mut one, VaultRequest::SetUp, "", "fourteen chars", at(0))), "invalid_input");
    assert_eq!(one.vault_status(at(0)).unwrap().state, VaultState::NotSetUp);
    let missing = one.begin_vault_work(VaultRequest::SetUp, at(0)).unwrap().run(None, None);
    assert_eq!(missing.unwrap_err().code(), "invalid_input");
}

impl Engine {
    /// As a new process would.
    pub(super) fn forgive_guesses(&mut self) {
        self.vault.forgive_guesses();
    }
}
