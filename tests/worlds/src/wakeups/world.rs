//! One world: devices of one user, a server, and everything between them that breaks, in the order of time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marea_core::{Failure, Outgoing, Signal, SocketAsk, SocketEvent, SocketStep, SyncRequest, UserId};
use serde_json::{Value, json};

use super::device::Device;
use super::events::{Event, Timeline};
use super::hub::{self, Hub, Wire};
use crate::random::Random;

/// What does not hold.
pub(super) type Checked = Result<(), String>;

pub(super) const MINUTE_MS: i64 = 60_000;
/// 2026-11-23T12:00:00Z.
const START_MS: i64 = 1_795_435_200_000;
/// For so long things happen; after that nothing is lost any more, and within the longest wait everybody has everything.
const BUSY_MS: i64 = 90 * MINUTE_MS;
const QUIET_MS: i64 = 45 * MINUTE_MS;
/// A token lasts so long: it ends in the middle.
const TOKEN_MS: i64 = 20 * MINUTE_MS;

pub(super) struct World {
    random: Random,
    hub: Hub,
    devices: Vec<Device>,
    now_ms: i64,
    pub(super) step: u32,
    sockets: u32,
    timeline: Timeline,
    lost: i64,
    late: i64,
    twice: i64,
    failing: i64,
    broken: i64,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::of_seed(seed);
        let mut up_to = |most: i64| random.within(0..=most);
        let (lost, late, twice) = (up_to(60), up_to(40), up_to(30));
        let (failing, broken) = (up_to(15), up_to(20));
        World {
            random,
            hub: Hub::default(),
            devices: Vec::new(),
            now_ms: START_MS,
            step: 0,
            sockets: 0,
            timeline: Timeline::default(),
            lost,
            late,
            twice,
            failing,
            broken,
        }
    }

    pub(super) fn live(&mut self) -> Checked {
        let user = UserId::from(self.random.uuid());
        for device in 0..usize::try_from(self.random.within(2..=4)).expect("few") {
            self.devices.push(Device::new(user, &mut self.random)?);
            self.ask_at(device, START_MS);
        }
        self.later(1_000, Event::Something);
        self.until(START_MS + BUSY_MS)?;
        (self.lost, self.late, self.twice, self.failing, self.broken) = (0, 0, 0, 0, 0);
        for device in 0..self.devices.len() {
            self.devices[device].signal(Signal::Online, self.now_ms);
            self.ask_at(device, self.now_ms);
            self.look_at(device, self.now_ms);
        }
        self.until(START_MS + BUSY_MS + QUIET_MS)?;
        self.check_rest()
    }

    fn check_rest(&self) -> Checked {
        for (number, device) in self.devices.iter().enumerate() {
            if device.applied != Some(self.hub.version) {
                let has = device.applied;
                return Err(format!(
                    "device {number} has come to {has:?}, the server to {}",
                    self.hub.version
                ));
            }
            if !device.is_joined(self.now_ms)? || !self.hub.listens(number, device.socket) {
                return Err(format!(
                    "device {number} is not told of changes, or does not know that it is not"
                ));
            }
        }
        Ok(())
    }

    fn until(&mut self, end_ms: i64) -> Checked {
        while let Some((at_ms, event)) = self.timeline.next_until(end_ms) {
            self.now_ms = at_ms.max(self.now_ms);
            self.step += 1;
            self.happen(event)?;
            // Five minutes of a request a second, by each: more is a loop.
            if self.step > 200_000 {
                return Err("it does not come to rest".to_owned());
            }
        }
        self.now_ms = end_ms;
        Ok(())
    }

    fn at(&mut self, at_ms: i64, event: Event) {
        self.timeline.add(at_ms.max(self.now_ms), event);
    }

    fn later(&mut self, after_ms: i64, event: Event) {
        self.at(self.now_ms + after_ms, event);
    }

    fn soon(&mut self, event: Event) {
        let after_ms = self.random.within(5..=400);
        self.later(after_ms, event);
    }

    fn ask_at(&mut self, device: usize, at_ms: i64) {
        self.devices[device].rest += 1;
        let rest = self.devices[device].rest;
        self.at(at_ms, Event::Ask { device, rest });
    }

    fn look_at(&mut self, device: usize, at_ms: i64) {
        self.devices[device].look += 1;
        let look = self.devices[device].look;
        self.at(at_ms, Event::Look { device, look });
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Ask { device, rest } if rest == self.devices[device].rest => self.ask(device),
            Event::Look { device, look } if look == self.devices[device].look => {
                self.tell(device, SocketEvent::Look, None)
            }
            Event::Ask { .. } | Event::Look { .. } => Ok(()),
            Event::Arrive { device, request } => self.arrive(device, &request),
            Event::Answer { device, outcome } => {
                self.devices[device].take(*outcome, self.now_ms)?;
                self.ask(device)?;
                self.tell(device, SocketEvent::Look, None)
            }
            Event::Opened { device, socket } if self.devices[device].socket == Some(socket) => {
                let token = self.token(device);
                self.hub.wires.insert(socket, Wire { device, ..Wire::default() });
                self.tell(device, SocketEvent::Opened(&token), None)
            }
            Event::Token { device, socket } if self.devices[device].socket == Some(socket) => {
                let token = self.token(device);
                self.tell(device, SocketEvent::Token(&token), None)
            }
            Event::Broken { device, socket } if self.devices[device].socket == Some(socket) => {
                self.hub.wires.remove(&socket);
                self.devices[device].socket = None;
                self.tell(device, SocketEvent::Closed, None)
            }
            Event::Opened { .. } | Event::Token { .. } | Event::Broken { .. } => Ok(()),
            Event::Frame { socket, text, news } => {
                let Some(device) = self.passes(socket).filter(|at| self.devices[*at].socket == Some(socket))
                else {
                    return Ok(());
                };
                self.tell(device, SocketEvent::Text(&text), news)
            }
            Event::Received { socket, text } => self.received(socket, &text),
            Event::Ready { socket } => self.ready(socket),
            Event::Something => self.something(),
        }
    }

    fn passes(&self, socket: u32) -> Option<usize> {
        self.hub.wires.get(&socket).filter(|wire| !wire.is_dead).map(|wire| wire.device)
    }

    fn ask(&mut self, device: usize) -> Checked {
        match self.devices[device].ask(self.now_ms)? {
            Ok(Outgoing { request, .. }) => match self.random.chance(self.failing) {
                true => self.soon(Event::Answer { device, outcome: Box::new(Err(Failure::ConnectionLost)) }),
                false => self.soon(Event::Arrive { device, request: Box::new(request) }),
            },
            Err(Some(wake)) => self.ask_at(device, wake),
            Err(None) => {}
        }
        Ok(())
    }

    fn arrive(&mut self, device: usize, request: &SyncRequest) -> Checked {
        let (answer, given) = self.hub.answer(request, self.now_ms);
        if let Some(version) = given {
            self.broadcast(version);
        }
        // The answer may be lost where the request was not.
        let outcome = if self.random.chance(self.failing) { Err(Failure::Timeout) } else { Ok(answer) };
        self.soon(Event::Answer { device, outcome: Box::new(outcome) });
        Ok(())
    }

    /// Tells all who have joined, those who wrote among them: some messages are lost, late, or come twice.
    fn broadcast(&mut self, version: i64) {
        let told = self.hub.wires.iter().filter(|(_, wire)| wire.is_joined && wire.is_ready);
        let told: Vec<(u32, String)> = told.map(|(socket, wire)| (*socket, wire.topic.clone())).collect();
        for (socket, topic) in told {
            if self.random.chance(self.lost) {
                continue;
            }
            for _ in 0..=i64::from(self.random.chance(self.twice)) {
                let text = hub::changed(&topic, version);
                let event = Event::Frame { socket, text, news: Some(version) };
                match self.random.chance(self.late) {
                    true => {
                        let after_ms = self.random.within(1_000..=2 * MINUTE_MS);
                        self.later(after_ms, event);
                    }
                    false => self.soon(event),
                }
            }
        }
    }

    fn received(&mut self, socket: u32, text: &str) -> Checked {
        if self.passes(socket).is_none() {
            return Ok(());
        }
        let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))?;
        let topic = frame["topic"].as_str().unwrap_or_default().to_owned();
        let (mut news, mut refused) = (None, None);
        if frame["event"] == "phx_join" {
            if self.random.chance(self.broken) {
                refused = Some("DatabaseConnectionIssue: Database can't accept more connections");
            } else {
                news = Some(i64::MAX);
                let wire = self.hub.wires.get_mut(&socket).ok_or("no such socket")?;
                (wire.topic, wire.is_joined) = (topic, true);
                let after_ms = self.random.within(0..=10_000);
                self.later(after_ms, Event::Ready { socket });
            }
        }
        // Whatever is answered may be lost with the connection, and nobody is told.
        match self.random.chance(self.broken / 4) {
            true => self.dead(socket),
            false => self.soon(Event::Frame { socket, text: hub::reply(&frame, refused), news }),
        }
        Ok(())
    }

    fn dead(&mut self, socket: u32) {
        if let Some(wire) = self.hub.wires.get_mut(&socket) {
            wire.is_dead = true;
        }
    }

    fn ready(&mut self, socket: u32) -> Checked {
        let Some(wire) = self.hub.wires.get_mut(&socket) else { return Ok(()) };
        wire.is_ready = true;
        let text = hub::ready(&wire.topic);
        self.later(500, Event::Frame { socket, text, news: Some(i64::MAX) });
        Ok(())
    }

    fn something(&mut self) -> Checked {
        if self.now_ms > START_MS + BUSY_MS {
            return Ok(());
        }
        let last = i64::try_from(self.devices.len()).expect("few") - 1;
        let device = usize::try_from(self.random.within(0..=last)).expect("one of them");
        let socket = self.devices[device].socket;
        match self.random.within(0..=99) {
            0..=59 => {
                // A burst shares requests.
                for _ in 0..self.random.within(1..=5) {
                    self.devices[device].record(self.now_ms)?;
                }
                self.ask_at(device, self.now_ms);
            }
            60..=79 => {
                let version = self.hub.change();
                self.broadcast(version);
            }
            80..=84 if self.random.chance(self.broken * 3) => {
                if let Some(socket) = socket {
                    self.dead(socket);
                }
            }
            85..=89 if self.random.chance(self.broken * 3) => {
                if let Some(socket) = socket {
                    self.soon(Event::Broken { device, socket });
                }
            }
            90..=92 => {
                let wire =
                    socket.and_then(|socket| self.hub.wires.get_mut(&socket).map(|wire| (socket, wire)));
                if let Some((socket, wire)) = wire.filter(|(_, wire)| wire.is_joined) {
                    (wire.is_joined, wire.is_ready) = (false, false);
                    let text = hub::closed(&wire.topic);
                    self.soon(Event::Frame { socket, text, news: None });
                }
            }
            93..=95 => self.signal(device, Signal::Offline),
            96..=99 => self.signal(device, Signal::Online),
            _ => {}
        }
        // Mostly quick after one another, sometimes after a rest that no poll survives.
        let most = *self.random.one_of(&[200, 2_000, 20_000, 12 * MINUTE_MS]);
        let after_ms = self.random.within(0..=most);
        self.later(after_ms, Event::Something);
        Ok(())
    }

    fn signal(&mut self, device: usize, signal: Signal) {
        self.devices[device].signal(signal, self.now_ms);
        self.ask_at(device, self.now_ms);
        self.look_at(device, self.now_ms);
    }

    fn token(&self, device: usize) -> String {
        let ends = (self.now_ms + TOKEN_MS) / 1_000;
        let claims = json!({ "sub": self.devices[device].user.to_string(), "exp": ends }).to_string();
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
    }

    /// Tells a device, and does what it says.
    fn tell(&mut self, device: usize, event: SocketEvent<'_>, news: Option<i64>) -> Checked {
        let step = self.devices[device].tell(event, news, self.now_ms)?;
        let SocketStep { ask, frames, at, sync, .. } = step;
        if ask == SocketAsk::Close
            && let Some(socket) = self.devices[device].socket.take()
        {
            self.hub.wires.remove(&socket);
        }
        for text in frames {
            let Some(socket) = self.devices[device].socket else {
                return Err(format!("no socket for {text}"));
            };
            self.soon(Event::Received { socket, text });
        }
        match at {
            Some(at) => self.look_at(device, self.devices[device].true_ms(at)),
            None => self.devices[device].look += 1,
        }
        if sync {
            self.ask_at(device, self.now_ms);
        }
        match ask {
            SocketAsk::Open => {
                if self.devices[device].socket.is_some() {
                    return Err("a second socket".to_owned());
                }
                self.sockets += 1;
                let socket = self.sockets;
                self.devices[device].socket = Some(socket);
                let fails = self.random.chance(self.broken);
                self.soon(match fails {
                    true => Event::Broken { device, socket },
                    false => Event::Opened { device, socket },
                });
            }
            SocketAsk::Token => {
                if let Some(socket) = self.devices[device].socket {
                    self.soon(Event::Token { device, socket });
                }
            }
            _ => {}
        }
        Ok(())
    }
}
