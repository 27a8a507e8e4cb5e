//! Conversations between the engine and `marea_sync`, as scripts: played against a real server they are recorded, played
//! against the recording they show that the engine still says the same.

use marea_core::{
    Change, Engine, ExportInput, Failure, Location, MutationId, Next, Now, SessionInput, Signal, SyncAnswer,
    UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine_device::{Counter, at};

/// 2025-11-23T12:00:00Z: in the past for every server that this is played against.
const NOON: i64 = 1_763_899_200_000;

/// One exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The function's argument.
    pub request: Value,
    /// The HTTP status; absent when the answer was lost on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's body; absent when it was lost on the way, and when it is none of the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
}

/// What happens to the first exchange of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The server did its work, and its answer is lost.
    Lost,
    /// Somebody in front of the server finds the request too large.
    TooLarge,
    /// The token has expired.
    Expired,
}

/// A step of a script.
pub enum Step {
    /// Something on the device.
    Device(fn(&mut Engine, Now)),
    /// SQL on the server, where there is one. `$user` is the learner's id.
    Server(&'static str),
    /// The device syncs until nothing is left to say.
    Sync(Option<Mishap>),
}

/// A conversation.
pub struct Script {
    /// The name of its file.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// Rows of one page; fewer than a device asks for, where there would be too many to read.
    pub limit: Option<u32>,
    /// What happens.
    pub steps: Vec<Step>,
    /// The device's sessions and exports, what waits, and what was refused, in the end.
    pub end: (i64, usize, u32, u32),
}

/// Who carries a request: to a server, or to the recording.
pub trait Carrier {
    /// Carries one; gives the status and the answer, unless it was lost.
    fn carry(
        &mut self,
        request: &Value,
        mishap: Option<Mishap>,
    ) -> impl Future<Output = Option<(u16, Value)>>;
    /// Does something on the server.
    fn on_server(&mut self, sql: &str) -> impl Future<Output = ()>;
}

/// Plays a script; gives what was said.
pub async fn play(script: &Script, user: UserId, carrier: &mut impl Carrier) -> Vec<Exchange> {
    let mut clock = NOON;
    let beginning = (user.as_uuid().as_u128() as u64 & 0xffff) << 32;
    let entropy = Box::new(Counter(beginning));
    let mut engine = Engine::open(&Location::Memory, user, entropy, at(clock)).expect("a mirror");
    let mut said = Vec::new();
    for step in &script.steps {
        clock += 1_000;
        match step {
            Step::Device(act) => act(&mut engine, at(clock)),
            Step::Server(sql) => carrier.on_server(&sql.replace("$user", &user.to_string())).await,
            Step::Sync(mishap) => {
                engine.signal(Signal::SyncNow, at(clock));
                let mut mishap = *mishap;
                while let Some(mut outgoing) = engine.next_request(at(clock)).expect("a sound mirror") {
                    outgoing.request.limit = script.limit.unwrap_or(outgoing.request.limit);
                    let text = serde_json::to_string(&outgoing.request).expect("JSON");
                    let request = serde_json::from_str(&text).expect("JSON");
                    let carried = carrier.carry(&request, mishap.take()).await;
                    let outcome = outcome(carried.as_ref());
                    let applied = engine.apply_response(outgoing.ticket, outcome, at(clock));
                    if applied.expect("a sound mirror").next == Next::Pause {
                        let wake = engine.next_wake(at(clock)).expect("a sound mirror");
                        clock = wake.map_or(clock, |wake| wake.0);
                    }
                    let (status, answer) = carried.unzip();
                    let answer = answer.filter(|body| !body.is_null());
                    said.push(Exchange { request, status, answer });
                }
            }
        }
    }
    let status = engine.status(at(clock)).expect("a readable mirror");
    let exports = engine.exports(&Default::default()).expect("a readable mirror").exports.len();
    let sessions = engine.progress(at(clock)).expect("a readable mirror").total_sessions;
    assert_eq!((sessions, exports, status.pending, status.rejected), script.end, "{}", script.name);
    said
}

/// As the transport reads it.
fn outcome(carried: Option<&(u16, Value)>) -> Result<SyncAnswer, Failure> {
    let Some((status, body)) = carried else { return Err(Failure::Timeout) };
    match status {
        200 => serde_json::from_str(&body.to_string()).map_err(|_| Failure::Unintelligible),
        401 => Err(Failure::Unauthorized { code: body["code"].as_str().unwrap_or("unknown").to_owned() }),
        413 if body["code"] == "PT413" => Err(Failure::TooLarge),
        413 => Err(Failure::ProxyTooLarge),
        status => panic!("an answer that no script expects: {status} {body}"),
    }
}

/// A completed session of so many minutes.
pub fn record(engine: &mut Engine, now: Now, kind: &str, minutes: i32) -> MutationId {
    let session = SessionInput {
        duration_minutes: Some(minutes),
        qa_attempts: Some(10),
        qa_correct: Some(8),
        ..SessionInput::new(kind)
    };
    engine.mutate(session.into(), now).expect("a valid session").id
}

/// A new export.
pub fn export(engine: &mut Engine, now: Now) -> MutationId {
    let input = ExportInput {
        export_type: "vocabulary".into(),
        export_format: "csv".into(),
        ..ExportInput::default()
    };
    engine.mutate(Change::CreateExport(input), now).expect("a valid export").id
}
