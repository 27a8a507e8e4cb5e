//! Somebody has the learner's token, or is the server, and kept what stood there once: what they write back decides nothing.

use super::registers::{Registers, sync};
use super::vault::{change, code, envelope, fresh, get, put, set_up, two, unlock, work};
use super::*;
use crate::model::Provider::{Anthropic, Openai, Unsplash};
use crate::model::{KeyEnvelope, Provider};
use crate::store::Meta;
use crate::vault::{DataKey, KeyState, VaultRequest, can_open, stolen, with_sum};

const FIRST: &str = "an old sentence of words";
const SECOND: &str = "a new sentence of words";

/// Writes with the learner's token, later than everybody.
fn write_back(server: &mut Registers, provider: Provider, text: &str, seconds: i64) {
    let mut thief = engine();
    sync(&mut thief, server);
    let written = Change::PutKey { provider, envelope: text.parse().unwrap() };
    thief.mutate(written, at(seconds)).unwrap();
    sync(&mut thief, server);
}

fn on_server(server: &mut Registers, provider: Provider) -> Option<KeyEnvelope> {
    let device = fresh(server);
    device.api_keys().unwrap().get(provider).cloned()
}

fn id(text: &KeyEnvelope) -> String {
    text.as_str().split('.').nth(1).unwrap().to_owned()
}

/// A device with one key, whose data key and envelope were stolen before it was rotated.
fn stolen_and_rotated(server: &mut Registers, request: VaultRequest) -> (Engine, KeyEnvelope, DataKey) {
    let mut one = engine();
    set_up(&mut one, FIRST);
    put(&mut one, Openai, "sk-one", 0);
    sync(&mut one, server);
    let (old, key) = (envelope(&one, Openai), one.data_key_to_remember(at(0)).unwrap());
    work(&mut one, request, FIRST, SECOND, at(1)).unwrap();
    sync(&mut one, server);
    assert_ne!(id(&old), id(&envelope(&one, Openai)), "a new data key");
    (one, old, key)
}

fn thief_opens(device: &Engine, provider: Provider, key: &DataKey) -> bool {
    can_open(user(), &stolen(provider, &envelope(device, provider)), key)
}

#[test]
fn a_superseded_data_key_seals_nothing_more() {
    for request in [VaultRequest::Rotate, VaultRequest::ChangePassphrase] {
        let mut server = Registers::default();
        let (mut one, old, key) = stolen_and_rotated(&mut server, request.clone());
        let passphrase = if matches!(request, VaultRequest::Rotate) { FIRST } else { SECOND };
        for locked in [false, true] {
            write_back(&mut server, Openai, old.as_str(), 100);
            if locked {
                one.lock_vault();
            }
            sync(&mut one, &mut server);
            let back = on_server(&mut server, Openai).unwrap();
            assert!(id(&back) != id(&old), "put back, locked: {locked}");
            if locked {
                unlock(&mut one, passphrase).unwrap();
            }
            assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-one"));
            put(&mut one, Anthropic, "sk-next", 200);
            assert!(!thief_opens(&one, Anthropic, &key) && !thief_opens(&one, Openai, &key));
        }
    }
}

#[test]
fn a_device_that_sees_it_for_the_first_time_seals_under_the_newer_data_key() {
    let mut server = Registers::default();
    let (mut one, old, key) = stolen_and_rotated(&mut server, VaultRequest::Rotate);
    put(&mut one, Anthropic, "sk-two", 2);
    sync(&mut one, &mut server);
    write_back(&mut server, Openai, old.as_str(), 100);
    // The same passphrase opens both.
    let mut newcomer = fresh(&mut server);
    unlock(&mut newcomer, FIRST).unwrap();
    put(&mut newcomer, Unsplash, "sk-next", 200);
    for provider in Provider::ALL {
        assert!(!thief_opens(&newcomer, provider, &key), "{}", provider.name());
    }
    assert_eq!(get(&mut newcomer, Openai).as_deref(), Ok("sk-one"), "opened to be sealed again");
    let mut remembering = fresh(&mut server);
    assert_eq!(code(remembering.unlock_with_data_key(key, at(0))), "vault_forgotten");
}

#[test]
fn an_old_passphrase_reads_what_it_opens_and_decides_nothing() {
    let mut server = Registers::default();
    let (mut one, old, key) = stolen_and_rotated(&mut server, VaultRequest::ChangePassphrase);
    put(&mut one, Anthropic, "sk-two", 2);
    sync(&mut one, &mut server);
    write_back(&mut server, Openai, old.as_str(), 100);
    let mut newcomer = fresh(&mut server);
    let outcome = unlock(&mut newcomer, FIRST).unwrap();
    assert!(outcome.passphrase_is_old);
    assert_eq!(outcome.other_passphrase, [Anthropic]);
    assert_eq!(get(&mut newcomer, Openai).as_deref(), Ok("sk-one"));
    let next = crate::vault::ApiKey::new("sk-next".to_owned()).unwrap();
    assert_eq!(newcomer.put_key(Unsplash, &next, at(200)).unwrap_err().code(), "other_passphrase");
    assert_eq!(newcomer.make_recovery_code(at(200)).unwrap_err().code(), "other_passphrase");
    assert_eq!(code(change(&mut newcomer, FIRST, "a third sentence of words")), "wrong_passphrase");
    assert_eq!(code(work(&mut newcomer, VaultRequest::Rotate, FIRST, "", at(200))), "wrong_passphrase");
    // The device that made the change knows better, also with the old passphrase alone.
    one.lock_vault();
    sync(&mut one, &mut server);
    assert_eq!(code(unlock(&mut one, FIRST)), "wrong_passphrase", "nothing is sealed under it any more");
    unlock(&mut newcomer, SECOND).unwrap();
    put(&mut newcomer, Unsplash, "sk-next", 201);
    assert!(!thief_opens(&newcomer, Unsplash, &key));
}

#[test]
fn an_open_device_that_hears_of_a_change_asks_for_the_passphrase_before_it_seals() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    let key = two.data_key_to_remember(at(0)).unwrap();
    put(&mut two, Anthropic, "sk-two", 1);
    change(&mut one, FIRST, SECOND).unwrap();
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    let next = crate::vault::ApiKey::new("sk-next".to_owned()).unwrap();
    assert_eq!(two.put_key(Unsplash, &next, at(2)).unwrap_err().code(), "other_passphrase");
    assert_eq!(get(&mut two, Anthropic).as_deref(), Ok("sk-two"), "what was sealed under it can be read");
    unlock(&mut two, SECOND).unwrap();
    two.put_key(Unsplash, &next, at(3)).unwrap();
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    for provider in Provider::ALL {
        assert!(!thief_opens(&one, provider, &key), "{}", provider.name());
    }
    assert_eq!(get(&mut one, Anthropic).as_deref(), Ok("sk-two"), "sealed while the change was not known");
}

#[test]
fn a_key_sealed_by_a_device_that_did_not_know_is_sealed_again_and_the_newest_wins() {
    let mut server = Registers::default();
    let (mut one, mut two) = two(&mut server);
    change(&mut one, FIRST, SECOND).unwrap();
    sync(&mut one, &mut server);
    put(&mut two, Openai, "sk-newest", 5);
    two.lock_vault();
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-newest"), "at once, because it is open");
    let kept = on_server(&mut server, Openai).unwrap();
    assert_eq!(id(&kept), id(&envelope(&one, Openai)));
}

#[test]
fn an_older_key_written_back_is_not_taken_for_a_newer_one() {
    for locked in [false, true] {
        let mut server = Registers::default();
        let (mut one, _) = two(&mut server);
        let old = envelope(&one, Openai);
        put(&mut one, Openai, "sk-newer", 1);
        if locked {
            one.lock_vault();
        }
        sync(&mut one, &mut server);
        write_back(&mut server, Openai, old.as_str(), 100);
        sync(&mut one, &mut server);
        let mut third = fresh(&mut server);
        unlock(&mut third, FIRST).unwrap();
        assert_eq!(get(&mut third, Openai).as_deref(), Ok("sk-newer"), "locked: {locked}");
        // A removed key does not come back either.
        let newer = envelope(&third, Openai);
        third.remove_key(Openai, at(200)).unwrap();
        sync(&mut third, &mut server);
        sync(&mut one, &mut server);
        for text in [&old, &newer] {
            write_back(&mut server, Openai, text.as_str(), 300);
            for device in [&mut one, &mut third] {
                sync(device, &mut server);
                assert!(device.vault_status(at(0)).unwrap().keys.is_empty(), "locked: {locked}");
            }
        }
        put(&mut third, Openai, "sk-newest", 1);
        sync(&mut third, &mut server);
        let _ = unlock(&mut one, FIRST);
        sync(&mut one, &mut server);
        assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-newest"));
    }
}

#[test]
fn a_later_key_of_a_device_whose_clock_is_behind_is_the_newest() {
    let mut server = Registers::default();
    let (mut one, _) = two(&mut server);
    one.lock_vault_after(None);
    put(&mut one, Openai, "sk-from-the-future", 3600);
    sync(&mut one, &mut server);
    // As a server does that pulls a clock of the future back.
    let text = envelope(&one, Openai);
    let mut behind = engine();
    let pulled = Change::PutKey { provider: Openai, envelope: text };
    let mut server = Registers::default();
    behind.mutate(pulled, at(0)).unwrap();
    sync(&mut behind, &mut server);
    unlock(&mut behind, FIRST).unwrap();
    put(&mut behind, Openai, "sk-newest", 1);
    sync(&mut behind, &mut server);
    sync(&mut one, &mut server);
    let mut third = fresh(&mut server);
    unlock(&mut third, FIRST).unwrap();
    assert_eq!(get(&mut third, Openai).as_deref(), Ok("sk-newest"));
}

/// The text with one part changed and a checksum that is right again.
fn forged(text: &KeyEnvelope, provider: Provider, part: usize, with: &str) -> String {
    let mut parts: Vec<&str> = text.as_str().split('.').collect();
    parts[part] = with;
    with_sum((user(), provider), &parts[..parts.len() - 1].join("."))
}

#[test]
fn a_wrap_dated_to_the_end_of_time_is_mended_whenever_the_vault_is_open() {
    for (part, with) in [(3, "9999999999999".to_owned()), (7, format!("9999999999999{}", "A".repeat(100)))] {
        for locked in [false, true] {
            let mut server = Registers::default();
            let (mut one, _) = two(&mut server);
            let real = envelope(&one, Openai);
            if locked {
                one.lock_vault();
            }
            write_back(&mut server, Openai, &forged(&real, Openai, part, &with), 100);
            sync(&mut one, &mut server);
            if locked {
                let outcome = unlock(&mut one, FIRST).unwrap();
                assert!(!outcome.passphrase_is_old);
                sync(&mut one, &mut server);
            }
            let mended = on_server(&mut server, Openai).unwrap();
            assert_eq!(mended.as_str().split('.').nth(part), real.as_str().split('.').nth(part));
            assert!(mended == envelope(&one, Openai));
        }
    }
}

#[test]
fn damage_and_what_never_opened_are_put_back_by_a_device_that_knows_better() {
    let mut server = Registers::default();
    let (mut one, _) = two(&mut server);
    let real = envelope(&one, Openai);
    let body = real.as_str().split('.').nth(10).unwrap();
    let other_body = format!("A{}", &body[1..]);
    let damaged = forged(&real, Openai, 10, if body.starts_with('A') { "B" } else { &other_body });
    let (cut, _) = real.as_str().rsplit_once('.').unwrap();
    for text in [damaged, format!("{cut}.AAAAAAAAAAAA"), forged(&real, Openai, 9, "9999999999999-0000")] {
        write_back(&mut server, Openai, &text, 100);
        sync(&mut one, &mut server);
        assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-one"));
        assert!(on_server(&mut server, Openai).unwrap() == real);
    }
    // A newer program's envelope is left to it.
    let newer = real.as_str().replacen("marea2", "marea3", 1);
    write_back(&mut server, Openai, &newer, 200);
    sync(&mut one, &mut server);
    assert_eq!(one.vault_status(at(0)).unwrap().keys[0].state, KeyState::Damaged);
    assert_eq!(on_server(&mut server, Openai).unwrap().as_str(), newer);
}

#[test]
fn a_list_that_was_cut_or_made_up_is_not_believed() {
    let mut server = Registers::default();
    let (mut one, old, key) = stolen_and_rotated(&mut server, VaultRequest::Rotate);
    put(&mut one, Anthropic, "sk-two", 2);
    sync(&mut one, &mut server);
    // Who has the old data key says that it has superseded the new one.
    let new = envelope(&one, Openai);
    let claim = crate::vault::claim((user(), Openai), &old, &key, &id(&new));
    // And cuts the list of the new one.
    let list = envelope(&one, Anthropic).as_str().split('.').nth(8).unwrap().to_owned();
    let cut = forged(&envelope(&one, Anthropic), Anthropic, 8, &list[list.len() - 20..]);
    write_back(&mut server, Openai, &claim, 100);
    write_back(&mut server, Anthropic, &cut, 100);
    let mut newcomer = fresh(&mut server);
    unlock(&mut newcomer, FIRST).unwrap();
    put(&mut newcomer, Unsplash, "sk-next", 200);
    assert!(!thief_opens(&newcomer, Unsplash, &key));
    sync(&mut one, &mut server);
    sync(&mut one, &mut server);
    assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-one"));
    put(&mut one, Unsplash, "sk-next", 300);
    assert!(Provider::ALL.into_iter().all(|provider| !thief_opens(&one, provider, &key)));
}

#[test]
fn two_vaults_that_two_devices_joined_at_once_end_as_one() {
    let (mut one, mut two, mut server) = (engine(), engine(), Registers::default());
    set_up(&mut one, "words of device one");
    put(&mut one, Openai, "sk-one", 0);
    set_up(&mut two, "words of device two");
    put(&mut two, Anthropic, "sk-two", 1);
    for _ in 0..2 {
        sync(&mut one, &mut server);
        sync(&mut two, &mut server);
    }
    unlock(&mut one, "words of device two").unwrap();
    unlock(&mut two, "words of device one").unwrap();
    for _ in 0..4 {
        sync(&mut one, &mut server);
        sync(&mut two, &mut server);
    }
    assert_eq!(id(&envelope(&one, Openai)), id(&envelope(&one, Anthropic)));
    put(&mut one, Unsplash, "sk-three", 10);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!(get(&mut two, Unsplash).as_deref(), Ok("sk-three"));
    let before = server.changes();
    for _ in 0..3 {
        sync(&mut one, &mut server);
        sync(&mut two, &mut server);
    }
    assert_eq!(server.changes(), before, "nobody undoes what the other does");
}

#[test]
fn what_the_server_refused_is_not_written_again_and_again() {
    let mut one = engine();
    set_up(&mut one, FIRST);
    put(&mut one, Openai, "sk-one", 0);
    one.signal(Signal::SyncNow, at(0));
    let mut refused = 0;
    while let Some(outgoing) = one.next_request(at(0)).unwrap() {
        refused += outgoing.request.mutations.len();
        assert!(refused < 10, "it is sent for ever");
        let mut answer = Registers::default().take(&outgoing.request);
        answer.rows.clear();
        for result in &mut answer.results {
            result.status = ResultStatus::Rejected;
            result.code = Some("23514".to_owned());
        }
        one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
    assert_eq!(refused, 1);
    put(&mut one, Openai, "sk-two", 1);
    assert_eq!(get(&mut one, Openai).as_deref(), Ok("sk-two"));
}

#[test]
fn it_locks_by_itself_after_a_quarter_of_an_hour_unless_told_otherwise() {
    let mut one = engine();
    set_up(&mut one, FIRST);
    assert_eq!(one.vault_locks_at(), Some(at(15 * 60).unix_ms));
    one.lock_vault_after(None);
    assert_eq!(one.vault_locks_at(), None);
}

/// What this device knows of its keys is forgotten with a refused one only: it guards against older ones.
#[test]
fn what_is_newest_is_forgotten_when_a_key_is_refused_and_only_then() {
    let (mut one, mut server) = (engine(), Registers::default());
    set_up(&mut one, FIRST);
    put(&mut one, Openai, "sk-one", 0);
    sync(&mut one, &mut server);
    let knows = |one: &Engine| one.store.read().meta(Meta::VaultKnown).unwrap().is_some();
    let refuse = |one: &mut Engine| {
        one.signal(Signal::SyncNow, at(0));
        let outgoing = one.next_request(at(0)).unwrap().unwrap();
        let reject = outgoing.request.mutations.iter().map(|mutation| mutation.id).collect();
        let mut answer = Server { reject, ..Server::default() }.take(&outgoing.request);
        answer.rows.clear();
        one.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    };
    record(&mut one, 5);
    refuse(&mut one);
    assert!(knows(&one));
    put(&mut one, Openai, "sk-two", 1);
    refuse(&mut one);
    assert!(!knows(&one));
}

/// Both open a key of their own, and neither the one that counts.
#[test]
fn an_old_passphrase_is_told_from_that_of_another_vault() {
    let mut server = Registers::default();
    let (mut one, old, _) = stolen_and_rotated(&mut server, VaultRequest::ChangePassphrase);
    let mut other = engine();
    set_up(&mut other, "a third sentence of words");
    put(&mut other, Anthropic, "sk-other", 0);
    one.mutate(Change::PutKey { provider: Openai, envelope: old }, at(200)).unwrap();
    assert!(unlock(&mut one, FIRST).unwrap().passphrase_is_old);
    let strange = Change::PutKey { provider: Anthropic, envelope: envelope(&other, Anthropic) };
    one.mutate(strange, at(300)).unwrap();
    assert!(!unlock(&mut one, "a third sentence of words").unwrap().passphrase_is_old);
}
