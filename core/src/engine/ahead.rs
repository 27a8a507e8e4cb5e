//! The next page, asked for while the last one is applied.
//!
//! A first sync has many pages. As soon as one has come, its head says where the next begins: so the server can make that
//! one while this device writes this one down. Only the order of asking changes. The cursor that is kept moves with the rows
//! and with nothing else; so after a crash the page that was ahead is asked for again.

use crate::engine::exchange::{InFlight, Outgoing, Ticket};
use crate::engine::{Engine, apply};
use crate::error::Error;
use crate::model::UnixMillis;
use crate::planted::{self, Fault};
use crate::sync::Load;
use crate::wire::{PROTOCOL, SyncAnswer};

impl Engine {
    /// The request for the page behind `answer`, which is about to be handed to [`Engine::apply_response`] with this
    /// ticket. The host may send it at once, and hands over what came of it after that. `None` where the next request
    /// cannot be known yet: nothing more is to come, mutations wait that would go with it, or the server's past was
    /// replaced.
    ///
    /// Whenever this answer is not applied after all, the page ahead counts for nothing: see [`Engine::awaits`].
    ///
    /// # Errors
    /// The storage errors.
    pub fn look_ahead(&mut self, ticket: Ticket, answer: &SyncAnswer) -> Result<Option<Outgoing>, Error> {
        let Some(current) = self.in_flight.as_ref().filter(|current| current.ticket == ticket) else {
            return Ok(None);
        };
        let moves_on = current.since.is_none_or(|since| answer.cursor.version > since);
        let goes_on = answer.has_more
            && !answer.reset
            && answer.catalogue.is_none()
            && moves_on
            && answer.protocol == PROTOCOL;
        if !goes_on || self.ahead.is_some() || self.paused {
            return Ok(None);
        }
        if self.store.pending()? as usize > current.sent.len() {
            return Ok(None);
        }
        if planted::is(Fault::CursorMovedAhead) {
            self.store.write(|rows| apply::set_cursor(rows, &answer.cursor))?;
        }
        let request = self.request(Some(answer.cursor.clone()), Vec::new());
        self.expects_page = true;
        let outgoing = self.outgoing(request, 0, false);
        let asked_from = outgoing.request.cursor.clone();
        // It counts as begun once this answer is applied.
        let ahead = InFlight::new(&outgoing, Load::default(), UnixMillis(0));
        self.ahead = Some(InFlight { asked_from, ..ahead });
        Ok(Some(outgoing))
    }

    /// Whether what comes back for this request will be wanted. Not so for a page ahead of one that was not applied: the
    /// host lets go of it.
    pub fn awaits(&self, ticket: Ticket) -> bool {
        [&self.in_flight, &self.ahead].into_iter().flatten().any(|waited| waited.ticket == ticket)
    }

    /// Whether an answer begins where this mirror ends. Another program may have moved the cursor meanwhile, and then a page
    /// that was asked for ahead is of the past.
    pub(super) fn fits_on(&self, in_flight: &InFlight) -> Result<bool, Error> {
        match &in_flight.asked_from {
            Some(asked_from) => Ok(apply::cursor(self.store.read())?.as_ref() == Some(asked_from)),
            None => Ok(true),
        }
    }
}
