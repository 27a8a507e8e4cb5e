//! Random histories with a thief in them, who took every data key and every envelope, and has the learner's token for ever.
//! Then the learner changes the passphrase, or rotates.
//!
//! What must hold from there on: no key that is put is sealed under anything that the thief has, and what all devices end with
//! is what the learner put last, whatever was written back in between. (A removal that a device never saw, because something was
//! written back before it synced, it cannot know of: `vault_attacks.rs` has the one that it saw.)

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::registers::{Registers, sync};
use super::vault::{envelope, get, put, set_up, unlock, work};
use super::*;
use crate::model::Provider;
use crate::vault::{VaultRequest, VaultState};

const FIRST: &str = "the words that were known";
const SECOND: &str = "some words that nobody knows";

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(usize, usize),
    Remove(usize, usize),
    Lock(usize),
    Sync(usize),
    Recovery(usize),
    /// Somebody writes back, to a provider, one of the envelopes that stood there.
    WriteBack(usize, usize),
}

#[derive(Default)]
struct World {
    server: Registers,
    /// Every envelope that ever stood on the server.
    seen: BTreeSet<(usize, String)>,
    stolen: BTreeSet<String>,
    passphrase: &'static str,
    last: [Option<String>; 3],
}

impl World {
    fn sync(&mut self, device: &mut Engine) {
        sync(device, &mut self.server);
        let keys = device.api_keys().unwrap();
        for (place, provider) in Provider::ALL.into_iter().enumerate() {
            self.seen.extend(keys.get(provider).map(|text| (place, text.as_str().to_owned())));
        }
    }

    fn open(&self, device: &mut Engine) {
        if device.vault_status(at(0)).unwrap().state != VaultState::Unlocked {
            device.forgive_guesses();
            unlock(device, self.passphrase).unwrap();
        }
    }

    fn step(&mut self, step: Step, devices: &mut [Engine; 3], seconds: i64) {
        match step {
            Step::Put(d, p) => {
                self.sync(&mut devices[d]);
                self.open(&mut devices[d]);
                let key = format!("key-{seconds}");
                put(&mut devices[d], Provider::ALL[p], &key, seconds);
                let text = envelope(&devices[d], Provider::ALL[p]);
                assert!(!self.stolen.contains(id(text.as_str())), "sealed under what the thief has");
                self.last[p] = Some(key);
                self.sync(&mut devices[d]);
            }
            Step::Remove(d, p) => {
                self.sync(&mut devices[d]);
                if devices[d].remove_key(Provider::ALL[p], at(seconds)).is_ok() {
                    self.last[p] = None;
                }
                self.sync(&mut devices[d]);
            }
            Step::Lock(d) => devices[d].lock_vault(),
            Step::Sync(d) => self.sync(&mut devices[d]),
            Step::Recovery(d) => {
                self.sync(&mut devices[d]);
                self.open(&mut devices[d]);
                devices[d].make_recovery_code(at(seconds)).unwrap();
            }
            Step::WriteBack(p, n) => {
                let of_provider: Vec<_> = self.seen.iter().filter(|(place, _)| *place == p).collect();
                if of_provider.is_empty() {
                    return;
                }
                let text = of_provider[n % of_provider.len()].1.parse().unwrap();
                let mut thief = engine();
                sync(&mut thief, &mut self.server);
                let written = Change::PutKey { provider: Provider::ALL[p], envelope: text };
                thief.mutate(written, at(seconds)).unwrap();
                sync(&mut thief, &mut self.server);
            }
        }
    }
}

fn id(text: &str) -> &str {
    text.split('.').nth(1).unwrap()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (device, provider) = (0usize..3, 0usize..3);
    let step = prop_oneof![
        5 => (device.clone(), provider.clone()).prop_map(|(d, p)| Step::Put(d, p)),
        2 => (device.clone(), provider.clone()).prop_map(|(d, p)| Step::Remove(d, p)),
        2 => device.clone().prop_map(Step::Lock),
        3 => device.clone().prop_map(Step::Sync),
        1 => device.prop_map(Step::Recovery),
        8 => (provider, 0usize..50).prop_map(|(p, n)| Step::WriteBack(p, n)),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn nothing_is_sealed_for_the_thief_and_nothing_old_comes_back(
        before in steps(),
        rotated in any::<bool>(),
        after in steps(),
    ) {
        let mut world = World { passphrase: FIRST, ..World::default() };
        let mut devices = [engine(), engine(), engine()];
        set_up(&mut devices[0], FIRST);
        put(&mut devices[0], Provider::Openai, "key-0", 0);
        world.last[0] = Some("key-0".to_owned());
        for device in &mut devices {
            world.sync(device);
            world.open(device);
        }
        for (seconds, step) in (1..).zip(before) {
            world.step(step, &mut devices, seconds);
        }
        world.sync(&mut devices[0]);
        world.open(&mut devices[0]);
        world.stolen = world.seen.iter().map(|(_, text)| id(text).to_owned()).collect();
        let request = if rotated { VaultRequest::Rotate } else { VaultRequest::ChangePassphrase };
        work(&mut devices[0], request, FIRST, SECOND, at(100)).unwrap();
        world.passphrase = if rotated { FIRST } else { SECOND };
        // The learner has a key to rotate, and the other devices hear of it.
        put(&mut devices[0], Provider::Unsplash, "key-100", 100);
        world.last[1] = Some("key-100".to_owned());
        for device in [0, 1, 2, 0] {
            world.sync(&mut devices[device]);
            devices[device].lock_vault();
            world.open(&mut devices[device]);
        }
        for (seconds, step) in (101..).zip(after) {
            world.step(step, &mut devices, seconds);
        }
        for _ in 0..3 {
            for device in &mut devices {
                world.sync(device);
                world.open(device);
            }
        }
        for device in &mut devices {
            for (place, provider) in Provider::ALL.into_iter().enumerate() {
                if let Some(expected) = world.last[place].clone() {
                    prop_assert_eq!(get(device, provider), Ok(expected));
                }
            }
        }
    }
}
