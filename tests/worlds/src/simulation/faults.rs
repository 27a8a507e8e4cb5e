//! Faults that are planted into the engine, to see that the worlds catch them.

use std::sync::atomic::{AtomicUsize, Ordering};

use marea_core::{Fault, plant};

use super::{Violation, first_violation};

/// All that can be planted.
pub const FAULTS: &[Fault] = &[
    Fault::AcknowledgeWholeQueue,
    Fault::ArrivedRowsDropped,
    Fault::CursorBeforeRows,
    Fault::CursorMovedAhead,
    Fault::DecisionsNotTold,
    Fault::DeletionsNotTold,
    Fault::DeletionsUnheeded,
    Fault::DuplicatesUnheeded,
    Fault::EmptyDaysNotTold,
    Fault::EpochUnheeded,
    Fault::ExportsNotBroughtBack,
    Fault::FutureDaysCount,
    Fault::HoldStaysAfterSuccess,
    Fault::IdOfAnotherTaken,
    Fault::InDoubtNotShown,
    Fault::InDoubtNotWaiting,
    Fault::InDoubtRuleSkipped,
    Fault::LastWriterWinsOnCounters,
    Fault::LimitsNeverGrow,
    Fault::LimitsNeverShrink,
    Fault::MigrationNotAtomic,
    Fault::MoreUnheeded,
    Fault::NoPauseAfterFailure,
    Fault::NotSynced,
    Fault::OffsetOfThePresent,
    Fault::OddRefusalsTaken,
    Fault::OuterStatusTrusted,
    Fault::PrunedAtOnce,
    Fault::PrunedByOwnClock,
    Fault::ReflectedNotShadowed,
    Fault::RefillNotSwept,
    Fault::RefusalsNotTold,
    Fault::RefusedStillCounts,
    Fault::RemoteClocksUnheeded,
    Fault::RepeatedCallCounts,
    Fault::ResetForgetsKept,
    Fault::SetAsideNotTold,
    Fault::ShadowLost,
    Fault::SlowLinesUnheeded,
    Fault::StaleTicketTaken,
    Fault::StalledPagesFollowed,
    Fault::SweptNotTold,
    Fault::TicketsBeginAnew,
    Fault::UnreadableEndsPage,
    Fault::UnreadableRowDropped,
    Fault::WaitsNeverGrow,
    Fault::WriteNotAtomic,
    Fault::WritesNotGathered,
];

/// Lives through worlds with a fault until one of them shows it; `None` when none of so many does.
pub fn find(fault: Fault, seeds: impl IntoIterator<Item = u64>) -> Option<Violation> {
    let _planted = Planted::new(fault);
    first_violation(seeds)
}

/// Those of the faults that none of so many worlds shows. A fault is planted into one thread, so all cores can search.
pub fn not_found(faults: &[Fault], seeds: u64) -> Vec<Fault> {
    let next = AtomicUsize::new(0);
    let search = || {
        let mut missed = Vec::new();
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            match find(*fault, 0..seeds) {
                Some(violation) => eprintln!("{fault:?}: {violation}"),
                None => missed.push(*fault),
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
