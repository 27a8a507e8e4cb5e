//! What is on its way between devices and the server. Whoever picks a message at random reorders.

use std::rc::Rc;

use marea_core::{Failure, SyncAnswer, SyncRequest, Ticket};

use super::server::Known;
use crate::random::Random;

/// Whose request it is: a device, and which of its lives. An engine that died takes no answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) device: usize,
    pub(super) life: u32,
    pub(super) ticket: Ticket,
}

/// What comes back.
pub(super) type Outcome = Result<(Rc<SyncAnswer>, Rc<Known>), Failure>;

#[derive(Clone)]
pub(super) enum Message {
    Request { from: Sender, request: Rc<SyncRequest>, good_token: bool },
    Answer { to: Sender, outcome: Outcome },
}

/// The messages under way.
#[derive(Default)]
pub(super) struct Network {
    under_way: Vec<Message>,
}

impl Network {
    /// Takes a message, once or twice.
    pub(super) fn carry(&mut self, message: Message, twice: bool) {
        if twice {
            self.under_way.push(message.clone());
        }
        self.under_way.push(message);
    }

    /// Any of the messages, newer ones a little more often.
    pub(super) fn pick(&mut self, random: &mut Random) -> Option<Message> {
        let last = i64::try_from(self.under_way.len()).ok()?.checked_sub(1).filter(|last| *last >= 0)?;
        let place = random.within(0..=last).max(random.within(0..=last));
        Some(self.under_way.swap_remove(usize::try_from(place).ok()?))
    }
}
