//! Three devices of one learner, recording and syncing at random while the network does what networks do. In the end
//! everything that was recorded has arrived once, and all of them show the same.

use std::collections::BTreeSet;

use marea_core::{Outcome, SessionInput, Transport};
use marea_tests::backend::SYNC;
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::random::Random;
use marea_tests::world::{Fault, FaultKind, World};

const STEPS: usize = 150;
/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000;

fn some_fault(random: &mut Random) -> Fault {
    let kinds = [
        FaultKind::DropAnswer,
        FaultKind::ResetMidBody,
        FaultKind::Status,
        FaultKind::Offline,
        FaultKind::Delay,
    ];
    let status = *random.one_of(&[500, 502, 503, 504, 429, 401, 404]);
    Fault::new(*random.one_of(&kinds), SYNC, 1)
        .with_status(status)
        .with_delay_ms(random.within(0..=30).unsigned_abs())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_network_does_everything_counts_once_on_every_device() {
    let mut random = Random::of_this_run("sync_random");
    let world = World::alone().await;
    let ready = world.backend().ready();
    let transport = Transport::new(&ready.url, &ready.anon_key).unwrap();
    let new_device = || EngineDevice::new(world.learner(1).into(), world.token(1, 3600), at(NOON));
    let mut devices = [new_device(), new_device(), new_device()];
    let mut recorded = BTreeSet::new();
    let mut seen = [0; 3];
    for step in 0..STEPS {
        let chosen = usize::try_from(random.within(0..=2)).unwrap();
        let device = &devices[chosen];
        // Clocks are off by hours, and jump.
        device.set_now(at(NOON + random.within(-7_200_000..=7_200_000)));
        if random.chance(55) {
            let minutes = i32::try_from(random.within(0..=90)).unwrap();
            let input = SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("practice") };
            recorded.insert(device.record(input).id.to_string());
            seen[chosen] += 1;
            assert_eq!(
                device.progress().total_sessions,
                seen[chosen],
                "step {step}: recorded but not visible"
            );
        } else {
            if random.chance(60) {
                world.fault(some_fault(&mut random));
            }
            device.sync(&transport).await;
            world.clear_faults();
            let now_seen = device.progress().total_sessions;
            assert!(
                now_seen >= seen[chosen],
                "step {step}: {now_seen} after {}: something vanished",
                seen[chosen]
            );
            assert!(
                now_seen <= i64::try_from(recorded.len()).unwrap(),
                "step {step}: {now_seen} is more than there is"
            );
            seen[chosen] = now_seen;
        }
        if random.chance(2) && devices[chosen].pending() == 0 {
            // A new phone in place of the old one.
            devices[chosen] = new_device();
            seen[chosen] = 0;
        }
    }
    // Twice around: what the last one pushed has to reach the first one, too.
    for device in devices.iter().chain(&devices) {
        device.set_now(at(NOON));
        let report = device.sync(&transport).await;
        assert_eq!((report.outcome, report.pending, report.rejected), (Outcome::Done, 0, 0), "{report:?}");
    }
    let arrived: BTreeSet<String> = world.sessions_of(1).await.into_iter().collect();
    assert_eq!(arrived, recorded);
    assert_eq!(world.total_sessions_of(1).await, i64::try_from(recorded.len()).unwrap());
    let expected = (devices[0].progress(), devices[0].days());
    for device in &devices {
        assert_eq!((device.progress(), device.days()), expected);
    }
    world.stop().await;
}
