//! Random histories of three devices, one vault and one server, with clocks apart and answers lost.
//!
//! What must hold, whatever happens: every envelope anywhere opens with a passphrase that the learner has chosen at some time; the
//! newest put or removal of a provider is what all devices end with, whatever was rewrapped or sealed anew around it (of those that
//! devices with equal clocks wrote without seeing each other, one: a rewrap in between decides which); and once the learner has given the passphrases that are asked for, one passphrase opens everything, on a device that never saw any of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::registers::{Registers, sync};
use super::vault::{get, passphrase, unlock, work};
use super::*;
use crate::engine::vault::sealed;
use crate::model::{Hlc, Provider, Stamp};
use crate::sync::Failure;
use crate::vault::{ApiKey, KeyState, VaultRequest, VaultState, VaultWork, headers_of};

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(usize, usize),
    Remove(usize, usize),
    Change(usize),
    Rewrap(usize),
    Rotate(usize),
    Recovery(usize),
    Lock(usize),
    Sync(usize),
    LostAnswer(usize),
}

/// How far each device's clock is from the others', in seconds.
const SKEW: [i64; 3] = [0, 90, -40];

#[derive(Default)]
struct Learner {
    /// Every passphrase ever chosen.
    chosen: Vec<String>,
    /// Everything ever put (or removed, `None`), by the clock of the write.
    written: BTreeMap<&'static str, BTreeMap<Hlc, Vec<Option<String>>>>,
}

impl Learner {
    fn choose(&mut self) -> String {
        self.chosen.push(format!("sentence of words {}", self.chosen.len()));
        self.chosen.last().unwrap().clone()
    }

    /// A passphrase that opens what this device has, the newest first.
    fn opening(&self, device: &Engine) -> Option<String> {
        self.chosen.iter().rev().find(|text| opens(device, text)).cloned()
    }

    /// Opens the vault of a device, or sets it up.
    fn open(&mut self, device: &mut Engine, now: Now) {
        match device.vault_status(now).unwrap().state {
            VaultState::Unlocked => {}
            VaultState::NotSetUp => {
                let new = self.choose();
                work(device, VaultRequest::SetUp, "", &new, now).unwrap();
            }
            VaultState::Locked => {
                let known = self.opening(device).expect("a locked vault opens with some passphrase");
                work(device, VaultRequest::Unlock, &known, "", now).unwrap();
            }
        }
    }

    /// Gives a device all passphrases that its keys may ask for.
    fn give_all(&mut self, device: &mut Engine, now: Now) {
        device.lock_vault();
        if self.chosen.is_empty() {
            return;
        }
        self.open(device, now);
        for text in self.chosen.iter().rev() {
            device.forgive_guesses();
            let _ = unlock(device, text);
        }
    }

    fn wrote(&mut self, device: &Engine, provider: Provider, key: Option<String>) {
        let row = device.store.read().register(Table::UserApiKeys, &user().to_string()).unwrap().unwrap();
        let Stamp(clock, _) = *row.clocks.get(provider.column()).unwrap();
        self.written.entry(provider.name()).or_default().entry(clock).or_default().push(key);
    }

    /// What may be had of a provider in the end.
    fn newest(&self, provider: Provider) -> Vec<Result<String, String>> {
        let newest = self.written.get(provider.name()).and_then(|all| all.values().next_back().cloned());
        let newest = newest.unwrap_or_else(|| vec![None]);
        newest.into_iter().map(|key| key.ok_or_else(|| "no_key".to_owned())).collect()
    }
}

fn opens(device: &Engine, text: &str) -> bool {
    let sealed = sealed(device.store.read(), user()).unwrap();
    let mut work = VaultWork::new(VaultRequest::Unlock, user(), headers_of(&sealed), [0; 16]);
    work.run(Some(&passphrase(text)), None).unwrap();
    !work.opened.is_empty()
}

fn step(step: Step, devices: &mut [Engine; 3], server: &mut Registers, learner: &mut Learner, seconds: i64) {
    let now = |d: usize| at(seconds + SKEW[d]);
    let named = |p: usize| Provider::ALL[p];
    match step {
        Step::Put(d, p) => {
            learner.open(&mut devices[d], now(d));
            let key = format!("key {d} {seconds}").replace(' ', "-");
            let clear = ApiKey::new(key.clone()).unwrap();
            if let Err(error) = devices[d].put_key(named(p), &clear, now(d)) {
                // The vault was changed on another device: the learner is asked for the passphrase.
                assert_eq!(error.code(), "other_passphrase");
                learner.give_all(&mut devices[d], now(d));
                devices[d].put_key(named(p), &clear, now(d)).unwrap();
            }
            learner.wrote(&devices[d], named(p), Some(key));
        }
        Step::Remove(d, p) => {
            if devices[d].remove_key(named(p), now(d)).is_ok() {
                learner.wrote(&devices[d], named(p), None);
            }
        }
        Step::Change(d) | Step::Rewrap(d) => {
            let request = match step {
                Step::Change(_) => VaultRequest::ChangePassphrase,
                _ => VaultRequest::RewrapPassphrase,
            };
            learner.open(&mut devices[d], now(d));
            let new = learner.choose();
            let known = learner.chosen.clone();
            // The learner tries what they know; only the one that counts may decide.
            let changed = known.iter().rev().skip(1).any(|current| {
                devices[d].forgive_guesses();
                work(&mut devices[d], request.clone(), current, &new, now(d)).is_ok()
            });
            assert!(changed || !opens(&devices[d], &known[known.len() - 1]));
        }
        Step::Rotate(d) => {
            learner.open(&mut devices[d], now(d));
            for current in learner.chosen.iter().rev() {
                devices[d].forgive_guesses();
                if work(&mut devices[d], VaultRequest::Rotate, current, "", now(d)).is_ok() {
                    break;
                }
            }
        }
        Step::Recovery(d) => {
            learner.open(&mut devices[d], now(d));
            let made = devices[d].make_recovery_code(now(d)).map(drop).map_err(|error| error.code());
            assert!(matches!(made, Ok(()) | Err("other_passphrase")), "{made:?}");
        }
        Step::Lock(d) => devices[d].lock_vault(),
        Step::Sync(d) => sync(&mut devices[d], server),
        Step::LostAnswer(d) => {
            devices[d].signal(Signal::SyncNow, at(0));
            let Some(outgoing) = devices[d].next_request(at(0)).unwrap() else { return };
            server.take(&outgoing.request);
            devices[d].apply_response(outgoing.ticket, Err(Failure::Timeout), at(0)).unwrap();
        }
    }
}

/// Every envelope that this device shows opens by itself with some passphrase.
fn check_that_all_can_be_opened(device: &Engine, learner: &Learner) {
    let sealed = sealed(device.store.read(), user()).unwrap();
    for key in &sealed.keys {
        let alone = crate::vault::alone(user(), key);
        let found = learner.chosen.iter().any(|text| {
            let mut work = VaultWork::new(VaultRequest::Unlock, user(), headers_of(&alone), [0; 16]);
            work.run(Some(&passphrase(text)), None).unwrap();
            work.opened.iter().any(|opened| crate::vault::can_open(user(), key, &opened.data_key))
        });
        assert!(found, "{}: nobody can open it", key.provider.name());
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (device, provider) = (0usize..3, 0usize..3);
    let step = prop_oneof![
        6 => (device.clone(), provider.clone()).prop_map(|(d, p)| Step::Put(d, p)),
        2 => (device.clone(), provider).prop_map(|(d, p)| Step::Remove(d, p)),
        4 => device.clone().prop_map(Step::Change),
        2 => device.clone().prop_map(Step::Rewrap),
        2 => device.clone().prop_map(Step::Rotate),
        1 => device.clone().prop_map(Step::Recovery),
        2 => device.clone().prop_map(Step::Lock),
        8 => device.clone().prop_map(Step::Sync),
        2 => device.prop_map(Step::LostAnswer),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn nothing_is_lost_and_one_passphrase_opens_all_in_the_end(steps in steps()) {
        let mut devices = [engine(), engine(), engine()];
        let mut server = Registers::default();
        let mut learner = Learner::default();
        for (seconds, next) in steps.into_iter().enumerate() {
            step(next, &mut devices, &mut server, &mut learner, seconds as i64);
            devices.iter().for_each(|device| check_that_all_can_be_opened(device, &learner));
        }
        for _ in 0..3 {
            devices.iter_mut().for_each(|device| sync(device, &mut server));
        }
        learner.give_all(&mut devices[0], at(0));
        for _ in 0..3 {
            devices.iter_mut().for_each(|device| sync(device, &mut server));
        }
        let mut newcomer = engine();
        sync(&mut newcomer, &mut server);
        let everything = learner.chosen.iter().rev().any(|text| {
            newcomer.lock_vault();
            newcomer.forgive_guesses();
            unlock(&mut newcomer, text).is_ok()
                && newcomer.vault_status(at(0)).unwrap().keys.iter().all(|key| key.state == KeyState::Open)
        });
        prop_assert!(everything || learner.chosen.is_empty() || newcomer.api_keys().unwrap() == Default::default());
        for provider in Provider::ALL {
            let found = if everything { get(&mut newcomer, provider) } else { Err("no_key".to_owned()) };
            let newest = learner.newest(provider);
            prop_assert!(newest.contains(&found), "{}: {:?} is none of {:?}", provider.name(), found, newest);
        }
        for device in &devices {
            prop_assert!(device.api_keys().unwrap() == newcomer.api_keys().unwrap());
        }
    }
}
