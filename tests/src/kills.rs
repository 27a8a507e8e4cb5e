//! What the tests of `kill -9` share: several devices of one learner, each killed again and again while it records and syncs, and
//! what must hold of their sessions afterwards.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::command::Device;
use crate::random::Random;
use crate::world::World;

/// Devices that are killed beside each other: most of a round is waiting for the kill.
const DEVICES: usize = 4;

/// Kills of one device. `MAREA_KILLS` says otherwise.
pub fn rounds(usually: usize) -> usize {
    match std::env::var("MAREA_KILLS") {
        Ok(number) => number.parse().expect("MAREA_KILLS is a number"),
        Err(_) => usually,
    }
}

/// Sessions, by id.
#[derive(Debug, Default)]
pub struct Ids {
    /// Those that a program has acknowledged.
    pub promised: BTreeSet<String>,
    /// Those and all others that one was asked to record.
    pub tried: BTreeSet<String>,
}

/// Lets several devices of learner 1 live such a `life` beside each other, and sees to it that everything which any of them
/// acknowledged arrives, and nothing twice.
///
/// # Panics
/// When it does not.
pub async fn nothing_is_lost_or_doubled<F, L>(world: &World, mut random: Random, life: L)
where
    L: Fn(Device, Random) -> F,
    F: Future<Output = (Device, Ids)> + Send + 'static,
{
    let mut running = JoinSet::new();
    for _ in 0..DEVICES {
        running.spawn(life(world.device_of(1), Random::of_seed(random.bits())));
    }
    let mut devices = Vec::new();
    let mut ids = Ids::default();
    while let Some(ended) = running.join_next().await {
        let (device, of_device) = ended.expect("a device's life");
        devices.push(device);
        ids.promised.extend(of_device.promised);
        ids.tried.extend(of_device.tried);
    }
    eprintln!("{} of {} were acknowledged", ids.promised.len(), ids.tried.len());
    assert!(!ids.promised.is_empty(), "none was ever given the time to record");

    for device in &devices {
        let report = device.json(&["sync"]).await;
        assert_eq!(report["pending"], 0, "{report}");
    }
    let arrived: BTreeSet<String> = world.sessions_of(1).await.into_iter().collect();
    assert!(ids.promised.is_subset(&arrived), "lost: {:?}", ids.promised.difference(&arrived));
    // One that was killed before it could answer may be there or not; but never one that nobody recorded.
    assert!(arrived.is_subset(&ids.tried), "made up: {:?}", arrived.difference(&ids.tried));
    let counted = i64::try_from(arrived.len()).expect("not that many");
    assert_eq!(world.total_sessions_of(1).await, counted);
    devices.push(world.device_of(1));
    for device in &devices {
        device.json(&["sync"]).await;
        assert_eq!(device.json(&["progress"]).await["total_sessions"], counted);
    }
}
