//! What a mutation's state becomes, and which prefix of the queue fits one request. Pure: the rows are in `store`.

mod batch;

pub(crate) use batch::{BatchLimits, take_prefix, weight};

use crate::model::{MutationState, TableKind};

/// The state of a mutation that the server accepted, now or before.
pub(crate) fn after_acceptance(state: MutationState, kind: TableKind) -> MutationState {
    match (state, kind) {
        (MutationState::Pending | MutationState::InDoubt, _) => MutationState::Acknowledged,
        // Its effect is in the confirmed fold rows, from before the server was set back, or in those that come now.
        (MutationState::Resend, TableKind::Events | TableKind::Fold) => MutationState::Reflected,
        (MutationState::Resend, TableKind::Registers) => MutationState::Acknowledged,
        // A late repetition; rejected ones keep their place until the app decides.
        (settled, _) => settled,
    }
}

/// The state of a mutation once the server's past was replaced and everything is pulled anew.
pub(crate) fn after_reset(state: MutationState) -> MutationState {
    match state {
        // The new history may contain it or not.
        MutationState::Acknowledged => MutationState::InDoubt,
        MutationState::Reflected => MutationState::Resend,
        other => other,
    }
}

/// Whether the mutation is to be sent.
pub(crate) fn is_open(state: MutationState) -> bool {
    matches!(state, MutationState::Pending | MutationState::InDoubt | MutationState::Resend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use MutationState::{Acknowledged, InDoubt, Pending, Reflected, Rejected, Resend};

    #[test]
    fn what_is_settled_stays_so_however_often_the_server_says_it() {
        for kind in [TableKind::Events, TableKind::Registers] {
            for state in [Acknowledged, Reflected, Rejected] {
                assert_eq!(after_acceptance(state, kind), state);
            }
        }
    }

    #[test]
    fn a_new_history_puts_in_doubt_what_the_old_one_had() {
        let before = [Pending, InDoubt, Acknowledged, Reflected, Resend, Rejected];
        let after = [Pending, InDoubt, InDoubt, Resend, Resend, Rejected];
        assert_eq!(before.map(after_reset), after);
    }
}
