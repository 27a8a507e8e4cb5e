//! A device asks for the next page while it applies the last one, as the loop of every host does.

use marea_core::Ticket;

use super::network::Outcome;
use super::world::{Checked, World};

/// In percent of answers: the host is quick enough to look.
const LOOKS: i64 = 80;

impl World<'_> {
    /// Before an answer is applied: what will be asked next, if that is certain.
    pub(super) fn look_ahead(&mut self, chosen: usize, ticket: Ticket, outcome: &Outcome) -> Checked {
        let Ok((answer, _)) = outcome else { return Ok(()) };
        if self.random.chance(LOOKS) {
            let device = &mut self.devices[chosen];
            device.ahead = device.engine.look_ahead(ticket, answer).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// After it was applied, or was not: whether the engine still wants what it asked for.
    pub(super) fn await_ahead(&mut self, chosen: usize) {
        let device = &mut self.devices[chosen];
        device.ahead.take_if(|ahead| !device.engine.awaits(ahead.ticket));
        device.waiting = device.ahead.as_ref().map(|ahead| ahead.ticket);
    }
}
