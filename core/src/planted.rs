//! Faults that a test can plant into the engine, to see that the tests catch them. Compiled out without the feature
//! `planted-faults`, which no product build has.
//!
//! Deliberately absent: what a fault does. That stands, in one line each, where it would be made.

/// A mistake that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted-faults"), allow(dead_code, unreachable_pub))]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is explained where it is planted")]
pub enum Fault {
    AcknowledgeWholeQueue,
    ArrivedRowsDropped,
    CursorBeforeRows,
    DeletionsUnheeded,
    DuplicatesUnheeded,
    EpochUnheeded,
    ExportsNotBroughtBack,
    InDoubtRuleSkipped,
    LastWriterWinsOnCounters,
    MoreUnheeded,
    PrunedAtOnce,
    PrunedByOwnClock,
    RefillNotSwept,
    RefusedStillCounts,
    RemoteClocksUnheeded,
    RepeatedCallCounts,
    ResetForgetsKept,
    ShadowLost,
    StaleTicketTaken,
    TicketsBeginAnew,
    WriteNotAtomic,
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
        static WRITES_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    /// Plants a fault into all engines of this thread, or takes it out.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    /// Lets a transaction of this thread be cut off right before its commit, after so many that succeed.
    pub fn cut_off_after(writes: Option<u32>) {
        WRITES_LEFT.set(writes);
    }

    pub(crate) fn is(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }

    pub(crate) fn is_cut_off() -> bool {
        let left = WRITES_LEFT.get();
        WRITES_LEFT.set(left.and_then(|left| left.checked_sub(1)));
        left == Some(0)
    }
}

#[cfg(feature = "planted-faults")]
pub use switch::{cut_off_after, plant};
#[cfg(feature = "planted-faults")]
pub(crate) use switch::{is, is_cut_off};

#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}

#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is_cut_off() -> bool {
    false
}
