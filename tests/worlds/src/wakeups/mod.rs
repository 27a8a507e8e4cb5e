//! Seeded worlds of wake-ups: the product's own engines listen to a server whose messages get lost, come late, twice, or before anybody
//! is joined, on sockets that break with a word or without one. Whatever happens, every device has everything in the end, and none
//! waits longer, or asks more often, than it may.
//!
//! Deliberately absent: what the rows say. `simulation` looks at that.

mod device;
mod events;
mod hub;
mod world;

use marea_core::{Fault, plant};

use crate::simulation::Violation;

/// Faults that these worlds find.
pub const WAKEUP_FAULTS: &[Fault] = &[
    Fault::AlwaysListening,
    Fault::HeardInFlightForgotten,
    Fault::JoinBringsNothing,
    Fault::PollAbsentWhileListening,
    Fault::ReadyBringsNothing,
    Fault::SeenNewsWakes,
    Fault::SilentSocketTrusted,
    Fault::WakeUpsUnheeded,
    Fault::WritesNotGathered,
];

/// Lives through the world of one seed, and lets it come to rest.
///
/// # Errors
/// The first thing that does not hold.
pub fn run(seed: u64) -> Result<(), Violation> {
    let mut world = world::World::new(seed);
    world.live().map_err(|what| Violation { seed, step: world.step, what })
}

/// The first of these worlds in which something does not hold.
pub fn first_violation(seeds: impl IntoIterator<Item = u64>) -> Option<Violation> {
    seeds.into_iter().find_map(|seed| run(seed).err())
}

/// Lives through worlds with a fault until one of them shows it.
pub fn find(fault: Fault, seeds: impl IntoIterator<Item = u64>) -> Option<Violation> {
    plant(Some(fault));
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first_violation(seeds)));
    plant(None);
    found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
