//! Faults that are planted into the engine, to see that the worlds catch them.

use std::{
    iter,
    sync::atomic::{AtomicUsize, Ordering},
};

use marea_core::{Fault, plant};

use super::{Violation, first_violation};

/// All that can be planted, each with the seed of a world that shows it. A seed that shows it no longer costs time and nothing else.
pub const FAULTS: &[(Fault, u64)] = &[
    (Fault::AcknowledgeWholeQueue, 0),
    (Fault::ArrivedRowsDropped, 0),
    (Fault::CursorBeforeRows, 6),
    (Fault::CursorMovedAhead, 0),
    (Fault::DecisionsNotTold, 140),
    (Fault::DeletionsNotTold, 83),
    (Fault::DeletionsUnheeded, 83),
    (Fault::DuplicatesUnheeded, 3),
    (Fault::EmptyDaysNotTold, 9),
    (Fault::EpochUnheeded, 6),
    (Fault::ExportsNotBroughtBack, 1583),
    (Fault::FutureDaysCount, 0),
    (Fault::HoldStaysAfterSuccess, 12),
    (Fault::IdOfAnotherTaken, 0),
    (Fault::InDoubtNotShown, 14),
    (Fault::InDoubtNotWaiting, 165),
    (Fault::InDoubtRuleSkipped, 6),
    (Fault::LastWriterWinsOnCounters, 25),
    (Fault::LimitsNeverGrow, 5),
    (Fault::LimitsNeverShrink, 0),
    (Fault::MigrationNotAtomic, 0),
    (Fault::MoreUnheeded, 0),
    (Fault::NoPauseAfterFailure, 0),
    (Fault::NotSynced, 7),
    (Fault::OffsetOfThePresent, 5),
    (Fault::OddRefusalsTaken, 10),
    (Fault::OuterStatusTrusted, 73),
    (Fault::PrunedAtOnce, 6),
    (Fault::PrunedByOwnClock, 894),
    (Fault::ReflectedNotShadowed, 12),
    (Fault::RefillNotSwept, 46),
    (Fault::RefusalsNotTold, 7),
    (Fault::RefusedStillCounts, 9),
    (Fault::RemoteClocksUnheeded, 13),
    (Fault::RepeatedCallCounts, 0),
    (Fault::ResetForgetsKept, 7),
    (Fault::SetAsideNotTold, 42),
    (Fault::ShadowLost, 0),
    (Fault::SlowLinesUnheeded, 11),
    (Fault::StaleTicketTaken, 3),
    (Fault::StalledPagesFollowed, 83),
    (Fault::SweptNotTold, 7),
    (Fault::TicketsBeginAnew, 6),
    (Fault::UnreadableEndsPage, 99),
    (Fault::UnreadableRowDropped, 99),
    (Fault::WaitsNeverGrow, 12),
    (Fault::WriteNotAtomic, 8),
    (Fault::WritesNotGathered, 0),
];

/// Lives through worlds with a fault until one of them shows it; `None` when none of so many does.
pub fn find(fault: Fault, seeds: impl IntoIterator<Item = u64>) -> Option<Violation> {
    let _planted = Planted::new(fault);
    first_violation(seeds)
}

/// Those of the faults that none of so many worlds shows, the one where it is known to be seen tried first; a world in which something
/// is wrong without the fault shows nothing. A fault is planted into one thread, so all cores can search.
pub fn not_found(faults: &[(Fault, u64)], seeds: u64) -> Vec<Fault> {
    let next = AtomicUsize::new(0);
    let search = || {
        let mut missed = Vec::new();
        while let Some((fault, known)) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            match find(*fault, iter::once(*known).chain(0..seeds)) {
                Some(violation) if first_violation([violation.seed]).is_none() => {
                    eprintln!("{fault:?}: {violation}");
                }
                _ => missed.push(*fault),
            }
        }
        missed
    };
    std::thread::scope(|scope| {
        let searches: Vec<_> = (0..super::cores()).map(|_| scope.spawn(search)).collect();
        searches.into_iter().flat_map(|search| search.join().expect("a panic was told above")).collect()
    })
}

/// A fault that goes away again, whatever happens.
struct Planted;

impl Planted {
    fn new(fault: Fault) -> Planted {
        plant(Some(fault));
        Planted
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        plant(None);
    }
}
