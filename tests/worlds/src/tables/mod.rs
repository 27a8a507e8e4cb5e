//! Seeded worlds of mirrored tables: a catalogue that nobody wrote, devices that bring it, learn it, or have an older one, and all
//! that goes wrong between them and a server.
//!
//! Beside the worlds of `simulation`, which know the built-in tables: here no table has a name before the seed gives it one.

mod catalogue;
mod check;
mod device;
mod server;
mod sessions;
mod told;
mod world;

use marea_core::{Fault, plant};

use crate::simulation::Violation;

/// Faults that these worlds find.
pub const TABLE_FAULTS: &[Fault] = &[
    Fault::AdditionSetsValue,
    Fault::BatchDecidedInPart,
    Fault::BatchKeptInPart,
    Fault::BatchSplit,
    Fault::CatalogueNotRefilled,
    Fault::CorrectionsNotFolded,
    Fault::CountersNotHeld,
    Fault::CursorOutlivesCatalogue,
    Fault::DeletionsNotHealed,
    Fault::EpochForgotten,
    Fault::HealedCountersCountTwice,
    Fault::HeldCountersForgotten,
    Fault::LateUpdateRevives,
    Fault::LocalDeletionNotShown,
    Fault::NewTablesIgnoreQueue,
    Fault::RebuiltTableForgetsQueue,
    Fault::RebuiltTableForgetsRows,
    Fault::ResentAdditionsShown,
    Fault::TakenBackComesBack,
];

/// Lives through the world of one seed, and lets it come to rest.
///
/// # Errors
/// The first thing that does not hold.
pub fn run(seed: u64) -> Result<(), Violation> {
    let mut world = world::World::new(seed);
    let lived = world.live().and_then(|()| world.come_to_rest());
    lived.map_err(|what| Violation { seed, step: world.step, what })
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
