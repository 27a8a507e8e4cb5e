//! The machine against a scripted server: each thing that may happen to a socket, and how long it waits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::sync::backoff::{FIRST_MS, LEAST_MS};

const USER: &str = "018f9d3e-7a00-7000-8000-0123456789ab";
const START: i64 = 1_800_000_000_000;

/// A host that does what it is told, at once.
struct World {
    channel: Channel,
    now: UnixMillis,
    may: bool,
    open: bool,
    /// Seconds of Unix time at which tokens end.
    ends: i64,
    sent: Vec<Value>,
    asked: Vec<SocketAsk>,
    news: Vec<News>,
    fresh: bool,
}

fn token(sub: &str, ends: i64) -> String {
    format!("e30.{}.x", URL_SAFE_NO_PAD.encode(json!({ "sub": sub, "exp": ends }).to_string()))
}

impl World {
    fn new() -> World {
        let mut channel = Channel::new();
        channel.set_wanted(true);
        channel.set_offered(true);
        let (sent, asked, news) = (Vec::new(), Vec::new(), Vec::new());
        let ends = START / 1000 + 3600;
        World {
            channel,
            now: UnixMillis(START),
            may: true,
            open: false,
            ends,
            sent,
            asked,
            news,
            fresh: false,
        }
    }

    fn joined() -> World {
        let mut world = World::new();
        world.look();
        world.opens();
        world.replies(1, "ok", "");
        assert_eq!(world.channel.status(), WakeUps::Joined);
        world.asked.clear();
        world.sent.clear();
        world.news.clear();
        world
    }

    /// The longest wait each time: the dice fall worst.
    fn tell(&mut self, event: SocketEvent<'_>) -> SocketStep {
        self.open &= !matches!(event, SocketEvent::Closed);
        let user: UserId = USER.parse().unwrap();
        let random = (FIRST_MS << self.channel.attempt.min(20)).min(LAST_MS) - LEAST_MS;
        let (step, news) = self.channel.step(event, user, self.may, self.now, random);
        match step.ask {
            SocketAsk::Close => self.open = false,
            SocketAsk::Open => assert!(!self.open, "a second socket"),
            _ => {}
        }
        if step.ask != SocketAsk::Nothing {
            self.asked.push(step.ask);
        }
        assert!(self.open || step.frames.is_empty(), "frames without a socket");
        self.sent.extend(step.frames.iter().map(|frame| serde_json::from_str::<Value>(frame).unwrap()));
        self.news.extend(news);
        self.fresh = step.fresh;
        step
    }

    fn look(&mut self) -> SocketStep {
        self.tell(SocketEvent::Look)
    }

    fn opens(&mut self) {
        self.open = true;
        let token = token(USER, self.ends);
        self.tell(SocketEvent::Opened(&token));
    }

    fn says(&mut self, event: &str, payload: Value, reference: Option<u32>) -> SocketStep {
        let topic = format!("realtime:marea:{USER}");
        let frame = json!({ "topic": topic, "event": event, "payload": payload, "ref": reference.map(|it| it.to_string()) });
        self.tell(SocketEvent::Text(&frame.to_string()))
    }

    fn replies(&mut self, reference: u32, status: &str, reason: &str) -> SocketStep {
        self.says("phx_reply", json!({ "status": status, "response": { "reason": reason } }), Some(reference))
    }

    /// Lets time pass to the deadline of a step; how long that was.
    fn wait(&mut self, step: &SocketStep) -> i64 {
        let waited = step.at.unwrap().0 - self.now.0;
        self.now = step.at.unwrap().max(self.now);
        waited
    }
}

#[test]
fn it_joins_and_each_change_is_news() {
    let mut world = World::new();
    world.look();
    assert_eq!(
        (world.asked.as_slice(), world.channel.status()),
        ([SocketAsk::Open].as_slice(), WakeUps::Joining)
    );
    world.opens();
    let join = &world.sent[0];
    assert_eq!(
        (&join["event"], &join["payload"]["access_token"]),
        (&json!("phx_join"), &json!(token(USER, world.ends)))
    );
    world.replies(1, "ok", "");
    world.says("system", json!({ "status": "ok", "message": "Replication connection established" }), None);
    world.says("broadcast", json!({ "event": "changed", "payload": { "version": 7 } }), None);
    world.says("broadcast", json!({ "event": "changed", "payload": {} }), None);
    assert_eq!(world.news, [News::Unknown, News::Unknown, News::Version(7), News::Unknown]);
    // Before the join is answered nobody is listened to.
    let mut world = World::new();
    world.look();
    world.opens();
    world.says("broadcast", json!({ "event": "changed", "payload": { "version": 7 } }), None);
    assert_eq!(world.news, []);
}

#[test]
fn nothing_is_opened_that_is_not_wanted() {
    for change in [
        (|world: &mut World| world.channel.set_wanted(false)) as fn(&mut World),
        |world| world.channel.set_offered(false),
        |world| world.channel.set_away(true, world.now),
        |world| world.may = false,
    ] {
        let mut world = World::new();
        change(&mut world);
        assert_eq!((world.look().at, world.asked.len()), (None, 0));
        // One that is open is closed, and opened again when that has passed.
        let mut world = World::joined();
        change(&mut world);
        assert_eq!((world.look().at, world.asked.as_slice()), (None, [SocketAsk::Close].as_slice()));
        world.channel.set_wanted(true);
        world.channel.set_offered(true);
        world.channel.set_away(false, world.now);
        world.may = true;
        world.look();
        assert_eq!(world.asked, [SocketAsk::Close, SocketAsk::Open]);
    }
}

#[test]
fn a_lost_socket_is_tried_again_with_waits_that_grow_and_end() {
    let mut world = World::joined();
    let mut waits = Vec::new();
    for _ in 0..12 {
        world.open = false;
        let step = world.tell(SocketEvent::Closed);
        waits.push(world.wait(&step));
        world.look();
    }
    assert_eq!(world.asked, [SocketAsk::Open; 12]);
    assert!(
        waits.is_sorted() && waits[0] >= LEAST_MS as i64 && waits[0] <= 1_000 && waits[11] <= LAST_MS as i64,
        "{waits:?}"
    );
    // One that joins and breaks at once goes on waiting longer; one that has held begins with short waits.
    world.opens();
    world.replies(1, "ok", "");
    let mut step = world.tell(SocketEvent::Closed);
    assert!(step.at.unwrap().0 - world.now.0 > 10_000);
    world.wait(&step);
    world.look();
    world.opens();
    step = world.replies(1, "ok", "");
    world.wait(&step);
    world.look();
    world.replies(2, "ok", "");
    step = world.tell(SocketEvent::Closed);
    assert!(step.at.unwrap().0 - world.now.0 <= 1_000);
    // A network that is back ends the wait.
    world.tell(SocketEvent::Look);
    world.channel.set_away(false, world.now);
    world.asked.clear();
    world.look();
    assert_eq!(world.asked, [SocketAsk::Open]);
    // What never opens is given up, and tried again.
    world.now = world.now.plus_ms(JOIN_MS);
    world.look();
    assert_eq!(world.asked, [SocketAsk::Open, SocketAsk::Close]);
}

#[test]
fn a_connection_that_is_gone_without_a_word_is_noticed() {
    let mut world = World::joined();
    for reference in 2..5 {
        let step = world.look();
        assert_eq!(world.wait(&step), HEARTBEAT_MS as i64);
        world.look();
        assert_eq!(world.sent.pop().unwrap()["event"], "heartbeat");
        world.replies(reference, "ok", "");
    }
    let step = world.look();
    world.wait(&step);
    let step = world.look();
    assert_eq!(world.wait(&step), ANSWER_MS as i64);
    world.look();
    assert_eq!(world.asked, [SocketAsk::Close]);
    // A machine that has slept, and a page that is seen again, ask at once.
    let mut world = World::joined();
    world.channel.try_now(world.now);
    world.look();
    assert_eq!(world.sent[0]["event"], "heartbeat");
    // A clock that was set back by years makes nothing wait for years.
    let mut world = World::joined();
    world.now = UnixMillis(0);
    world.look();
    assert_eq!(world.sent[0]["event"], "heartbeat");
}

#[test]
fn a_refused_user_is_left_alone_and_another_refusal_is_not_final() {
    let unauthorized = "Unauthorized: You do not have permissions to read from this Channel topic: marea:x";
    let mut world = World::new();
    world.look();
    world.opens();
    let step = world.replies(1, "error", unauthorized);
    assert_eq!((step.ask, step.at, world.channel.status()), (SocketAsk::Close, None, WakeUps::Refused));
    world.now = world.now.plus_ms(24 * 3_600_000);
    world.channel.try_now(world.now);
    world.channel.new_token(world.now);
    assert_eq!((world.look().ask, world.look().at), (SocketAsk::Nothing, None));
    // The server has been put right: it was switched off and on.
    world.channel.set_offered(false);
    world.look();
    world.channel.set_offered(true);
    assert_eq!(world.look().ask, SocketAsk::Open);
    for (reason, fresh) in [
        ("InvalidJWTToken: Token has expired 3 seconds ago", true),
        ("DatabaseConnectionIssue", false),
        ("", false),
    ] {
        let mut world = World::new();
        world.look();
        world.opens();
        let step = world.replies(1, "error", reason);
        assert_eq!((step.ask, step.fresh), (SocketAsk::Close, fresh), "{reason}");
        world.wait(&step);
        assert_eq!(world.look().ask, SocketAsk::Open);
    }
}

#[test]
fn a_token_is_renewed_before_it_ends_and_after_it_ended() {
    let mut world = World::joined();
    let mut step = world.look();
    while world.asked.is_empty() {
        world.wait(&step);
        world.look();
        world.replies(world.channel.reference, "ok", "");
        step = world.look();
    }
    assert_eq!(world.asked, [SocketAsk::Token]);
    let left = world.ends * 1000 - world.now.0;
    assert!((0..=RENEW_MS).contains(&left), "{left}");
    world.sent.clear();
    // Not another user's.
    let other = token("00000000-0000-4000-8000-000000000001", world.ends + 3600);
    world.tell(SocketEvent::Token(&other));
    assert_eq!(world.sent, [] as [Value; 0]);
    let next = token(USER, world.ends + 3600);
    world.tell(SocketEvent::Token(&next));
    assert_eq!(
        (&world.sent[0]["event"], &world.sent[0]["payload"]["access_token"]),
        (&json!("access_token"), &json!(next))
    );
    // The app has a new one by itself.
    world.channel.new_token(world.now);
    assert_eq!(world.look().ask, SocketAsk::Token);
    // It ended all the same: the next join asks for a fresh one.
    world.says("system", json!({ "status": "error", "message": "Token has expired" }), None);
    let step = world.says("phx_close", json!({}), None);
    assert_eq!((step.ask, step.fresh), (SocketAsk::Close, true));
    world.wait(&step);
    let step = world.look();
    assert_eq!((step.ask, step.fresh), (SocketAsk::Open, true));
    world.opens();
    assert!(!world.replies(1, "ok", "").fresh);
}

#[test]
fn another_users_token_joins_nothing() {
    let mut world = World::new();
    world.look();
    world.open = true;
    for bad in
        [token("00000000-0000-4000-8000-000000000001", world.ends), "nonsense".to_owned(), String::new()]
    {
        let step = world.tell(SocketEvent::Opened(&bad));
        assert_eq!((step.ask, step.frames.len()), (SocketAsk::Close, 0));
    }
}

/// Whatever comes in whatever order: no panic, no frame without a socket, and never two sockets.
#[test]
fn any_order_of_events_is_stood() {
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let mut world = World::new();
        for _ in 0..200 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let held = token(USER, world.ends);
            match dice % 16 {
                0 => world.channel.set_wanted(dice & 64 == 0),
                1 => world.channel.set_offered(dice & 192 != 0),
                2 => world.channel.set_away(dice & 64 == 0, world.now),
                3 => world.may = dice & 192 != 0,
                4 => world.now = UnixMillis(START + (dice >> 20) as i64 % 10_000_000),
                5 | 6 if world.asked.last() == Some(&SocketAsk::Open) && !world.open => world.opens(),
                7 if world.open => drop(world.tell(SocketEvent::Token(&held))),
                8 if world.open => {
                    world.open = false;
                    world.tell(SocketEvent::Closed);
                }
                9 if world.open => drop(world.says("phx_close", json!({}), None)),
                10 if world.open => drop(world.replies((dice >> 8) as u32 % 4, "ok", "")),
                11 if world.open => drop(world.replies(1, "error", "no")),
                12 if world.open => drop(world.says("system", json!({ "status": "ok" }), None)),
                _ => drop(world.look()),
            }
        }
    }
}
