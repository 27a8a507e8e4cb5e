//! Wake-ups: what the server's word about changes does to the schedule. The socket is the host's; what happens on it is
//! `sync/wakeups.rs`.

use crate::engine::{Engine, apply};
use crate::error::Error;
use crate::model::Now;
use crate::planted::{self, Fault};
use crate::sync::{News, Signal, SocketEvent, SocketStep};
use crate::wire::SyncAnswer;

impl Engine {
    /// Whether the host offers a socket: the app wants wake-ups, and somebody is there to see what they bring.
    pub fn want_wakeups(&mut self, wanted: bool) {
        self.channel.set_wanted(wanted);
    }

    /// Tells what happened to the socket of wake-ups, and is told what to do. To be asked with [`SocketEvent::Look`] after each
    /// run of the loop, after each signal, and at the time that the last step named.
    ///
    /// # Errors
    /// The storage errors.
    pub fn socket(&mut self, event: SocketEvent<'_>, now: Now) -> Result<SocketStep, Error> {
        let random = self.random();
        let (was, was_joined) = (self.channel.status(), self.channel.is_joined());
        let (mut step, news) = self.channel.step(event, self.user_id, !self.paused, now.unix_ms, random);
        let is_joined = self.channel.is_joined();
        // Without it, the next look may be due already.
        self.schedule.set_listening(is_joined || planted::is(Fault::AlwaysListening));
        step.sync = was_joined && !is_joined;
        step.changed = self.channel.status() != was;
        if let Some(news) = news {
            step.sync |= self.hear(news)?;
        }
        Ok(step)
    }

    /// Says whether a request is due for it. What is known already, by an answer to this very client for one, is no news.
    fn hear(&mut self, news: News) -> Result<bool, Error> {
        let version = match news {
            News::Version(version) => version,
            News::Unknown => i64::MAX,
        };
        if self.in_flight.is_some() {
            // Its answer may bring it, unless it fails.
            self.schedule.woken();
            if !planted::is(Fault::HeardInFlightForgotten) {
                self.channel.heard = self.channel.heard.max(Some(version));
            }
            return Ok(false);
        }
        let known = apply::cursor(self.store.read())?.map(|cursor| cursor.version);
        let is_news = known.is_none_or(|known| version > known) || planted::is(Fault::SeenNewsWakes);
        if is_news && !planted::is(Fault::WakeUpsUnheeded) {
            self.schedule.woken();
        }
        Ok(is_news)
    }

    /// An answer came: what it says of wake-ups, and whether it brought what was heard of. At most one more request follows,
    /// whatever the server claims to have.
    pub(super) fn take_news(&mut self, answer: &SyncAnswer, goes_on: bool) {
        self.channel.set_offered(answer.wakeups);
        if !goes_on && self.channel.heard.take().is_some_and(|version| version > answer.cursor.version) {
            self.schedule.woken();
        }
    }

    /// Tells the engine what the host noticed.
    pub fn signal(&mut self, signal: Signal, now: Now) {
        self.schedule.signal(signal);
        self.transfers.signal();
        let now = now.unix_ms;
        match signal {
            Signal::Online => self.channel.set_away(false, now),
            Signal::Offline => self.channel.set_away(true, now),
            Signal::Visible => self.channel.try_now(now),
            Signal::NewToken => self.channel.new_token(now),
            Signal::SyncNow => {}
        }
    }
}
