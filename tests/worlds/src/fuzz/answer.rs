//! Answers of a server that is broken, hostile or of another age: the engine takes them or not, whole, and goes on.

use marea_core::{
    Change, Engine, Entropy, Error, ExportInput, ExportQuery, Failure, Location, Now, SessionInput, Signal,
    SyncAnswer, UnixMillis, UserId,
};

/// Ids without randomness: the same device says the same, and no other.
pub struct Counter(pub u64);

impl Entropy for Counter {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        for chunk in buffer.chunks_mut(8) {
            self.0 += 1;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

pub(super) fn user() -> UserId {
    "00000000-0000-4000-8000-000000000001".parse().expect("an id")
}

pub(super) fn now() -> Now {
    Now { unix_ms: UnixMillis(1_795_435_200_000), utc_offset_minutes: 0 }
}

pub(super) fn open(location: &Location) -> Result<Engine, Error> {
    Engine::open(location, user(), Box::new(Counter(1 << 40)), now())
}

pub(super) fn some_changes() -> [Change; 3] {
    let session = SessionInput { duration_minutes: Some(5), ..SessionInput::new("qa") };
    let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
    let export = ExportInput { export_type, export_format, ..ExportInput::default() };
    [session.clone().into(), Change::CreateExport(export), session.into()]
}

/// `$0`, `$1` and `$2` in an input stand for the ids of what waits, so that an answer can be about it.
pub(super) fn feed(input: &[u8]) {
    let mut engine = open(&Location::Memory).expect("a mirror in memory");
    let mut text = String::from_utf8_lossy(input).into_owned();
    for (place, change) in some_changes().into_iter().enumerate() {
        let id = engine.mutate(change, now()).expect("recorded").id;
        text = text.replace(&format!("${place}"), &id.to_string());
    }
    let Ok(answer) = serde_json::from_str::<SyncAnswer>(&text) else { return };
    // What was refused once may be sent once more, and the same answer may come again.
    take(&mut engine, answer.clone());
    take(&mut engine, answer);
    read_everything(&engine).expect("an engine in memory can be read whatever came");
    engine.mutate(some_changes()[0].clone(), now()).expect("an engine takes changes whatever came");
    engine.rebuild_visible().expect("the visible rows can be made anew");
}

pub(super) fn take(engine: &mut Engine, answer: SyncAnswer) {
    engine.signal(Signal::SyncNow, now());
    let Some(outgoing) = engine.next_request(now()).expect("a request") else { return };
    let taken = engine.apply_response(outgoing.ticket, Ok(answer), now());
    let applied = taken.expect("an answer is taken or given up, and nothing fails");
    assert!(
        applied.pushed as usize <= outgoing.request.mutations.len(),
        "only what was sent is acknowledged"
    );
    let late = engine.apply_response(outgoing.ticket, Err(Failure::Offline), now());
    assert!(matches!(late, Err(Error::StaleTicket)), "a request has one answer");
}

/// Reads all that an app can read.
pub(super) fn read_everything(engine: &Engine) -> Result<(), Error> {
    engine.progress(now())?;
    engine.activity("1970-01-01".parse().expect("a day"), "9999-12-31".parse().expect("a day"))?;
    let page = engine.exports(&ExportQuery::default())?;
    for export in page.exports {
        engine.export(export.id)?;
    }
    engine.api_keys()?;
    engine.pending()?;
    engine.rejected()?;
    engine.status(now())?;
    engine.next_wake(now())?;
    Ok(())
}
