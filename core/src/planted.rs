//! Faults that a test can plant into the engine, to see that the tests catch them. Compiled out without the feature
//! `planted-faults`, which no product build has.
//!
//! Deliberately absent: what a fault does. That stands, in one line each, where it would be made.

use std::borrow::Cow;

/// A mistake that somebody could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "planted-faults"), allow(dead_code, unreachable_pub))]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is explained where it is planted")]
pub enum Fault {
    AcknowledgeWholeQueue,
    AdditionSetsValue,
    AlwaysListening,
    ArrivedRowsDropped,
    BatchDecidedInPart,
    BatchKeptInPart,
    BatchSplit,
    CatalogueNotRefilled,
    CorrectionsNotFolded,
    CountersNotHeld,
    CursorBeforeRows,
    CursorMovedAhead,
    CursorOutlivesCatalogue,
    DecisionsNotTold,
    DeletionsNotHealed,
    DeletionsNotTold,
    DeletionsUnheeded,
    DuplicatesUnheeded,
    EmptyDaysNotTold,
    EpochForgotten,
    EpochUnheeded,
    ExportsNotBroughtBack,
    FutureDaysCount,
    HealedCountersCountTwice,
    HeardInFlightForgotten,
    HeldCountersForgotten,
    HoldStaysAfterSuccess,
    IdOfAnotherTaken,
    InDoubtNotShown,
    InDoubtNotWaiting,
    InDoubtRuleSkipped,
    JoinBringsNothing,
    LastWriterWinsOnCounters,
    LateUpdateRevives,
    LimitsNeverGrow,
    LimitsNeverShrink,
    LocalDeletionNotShown,
    MigrationNotAtomic,
    MoreUnheeded,
    NewTablesIgnoreQueue,
    NoPauseAfterFailure,
    NotSynced,
    OddRefusalsTaken,
    OffsetOfThePresent,
    OuterStatusTrusted,
    PollAbsentWhileListening,
    PrunedAtOnce,
    PrunedByOwnClock,
    ReadyBringsNothing,
    RebuiltTableForgetsQueue,
    RebuiltTableForgetsRows,
    RefillNotSwept,
    ReflectedNotShadowed,
    RefusalsNotTold,
    RefusedStillCounts,
    RemoteClocksUnheeded,
    RepeatedCallCounts,
    ResentAdditionsShown,
    ResetForgetsKept,
    SetAsideNotTold,
    SeenNewsWakes,
    ShadowLost,
    SilentSocketTrusted,
    SlowLinesUnheeded,
    StaleTicketTaken,
    StalledPagesFollowed,
    SweptNotTold,
    TakenBackComesBack,
    TicketsBeginAnew,
    UnreadableEndsPage,
    UnreadableRowDropped,
    WaitsNeverGrow,
    WakeUpsUnheeded,
    WriteNotAtomic,
    WritesNotGathered,
}

#[cfg(feature = "planted-faults")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Plants a fault into all engines of this thread, or takes it out.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    pub(crate) fn is(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}

/// SQL from which a fault takes a part away.
pub(crate) fn without<'t>(fault: Fault, part: &str, sql: &'t str) -> Cow<'t, str> {
    if is(fault) { Cow::Owned(sql.replacen(part, "", 1)) } else { Cow::Borrowed(sql) }
}

#[cfg(feature = "planted-faults")]
pub(crate) use switch::is;
#[cfg(feature = "planted-faults")]
pub use switch::plant;

#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
