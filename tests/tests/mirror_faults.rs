//! Every write, sync, truncation and deletion of the mirror fails once, in turn: by an I/O error, by a full disk, by a
//! power cut. Afterwards the mirror opens, is consistent, and holds everything that was acknowledged.

use std::collections::BTreeMap;

use marea_core::{
    Change, Cursor, Engine, Error, ExportInput, Failure, Location, MIRROR_VERSION, MutationId,
    MutationResult, Now, Outgoing, Provider, ResultStatus, SessionInput, Signal, SyncAnswer, UnixMillis,
    UserId, WireRow,
};
use marea_tests::disk::{Disk, Fault, Files, How};
use marea_tests::engine_device::Counter;
use marea_tests::mirror::{self, dump};
use marea_tests::random::Random;
use marea_tests::vault::of_shape;
use serde_json::{Value, json, value::to_raw_value};

const START_MS: i64 = 1_795_435_200_000;
/// Far more operations than any call makes.
const MOST_OPERATIONS: u64 = 2_000;

fn user() -> UserId {
    "00000000-0000-4000-8000-000000000001".parse().expect("an id")
}

fn now() -> Now {
    Now { unix_ms: UnixMillis(START_MS), utc_offset_minutes: 0 }
}

/// How a host opens the mirror of a disk.
type Host = fn(&Disk) -> Location;
const HOSTS: [(&str, Host); 2] = [("desktop", Disk::on_desktop), ("browser", Disk::in_browser)];

fn open(disk: &Disk, host: Host) -> Result<Engine, Error> {
    open_drawing(disk, host, 2 << 40)
}

/// The same with other ids than what it was made with.
fn open_drawing(disk: &Disk, host: Host, first: u64) -> Result<Engine, Error> {
    Engine::open(&host(disk), user(), Box::new(Counter(first)), now())
}

fn session(minutes: i32) -> Change {
    SessionInput { duration_minutes: Some(minutes), ..SessionInput::new("qa") }.into()
}

fn send(engine: &mut Engine) -> Outgoing {
    engine.signal(Signal::SyncNow, now());
    engine.next_request(now()).expect("a sound mirror").expect("a request")
}

/// An answer that takes everything, refuses what is named, and brings rows.
fn answer_to(outgoing: &Outgoing, refused: &[MutationId], epoch: &str, reset: bool) -> SyncAnswer {
    let result = |id: MutationId| {
        let is_refused = refused.contains(&id);
        let status = if is_refused { ResultStatus::Rejected } else { ResultStatus::Applied };
        let code = is_refused.then(|| "22023".to_owned());
        MutationResult { id, status, code, message: None }
    };
    let row =
        |values: Value| WireRow { values: to_raw_value(&values).expect("JSON"), hlc: json!({}), version: 1 };
    let day = now().local_date();
    let rows = BTreeMap::from([
        (
            "user_progress".to_owned(),
            vec![row(json!({ "user_id": user(), "total_sessions": 7, "total_time_spent_minutes": 70,
                             "last_active_on": day, "current_streak_days": 1, "longest_streak_days": 1 }))],
        ),
        ("daily_activity".to_owned(), vec![row(json!({ "day": day, "sessions": 7, "minutes": 70 }))]),
    ]);
    SyncAnswer {
        protocol: 1,
        server_time: now().timestamp(),
        reset,
        results: outgoing.request.mutations.iter().map(|mutation| result(mutation.id)).collect(),
        rows,
        packed: BTreeMap::new(),
        deleted: BTreeMap::new(),
        cursor: Cursor { version: 9, epoch: epoch.to_owned() },
        has_more: false,
        user_missing: false,
        wakeups: false,
        catalogue: None,
    }
}

/// A mirror with everything in it: kept mutations, a refused one, an export, and a queue.
fn base() -> Files {
    let disk = Disk::new();
    let mut engine = open_drawing(&disk, Disk::on_desktop, 1 << 40).expect("a mirror");
    let record = |engine: &mut Engine, change: Change| engine.mutate(change, now()).expect("recorded").id;
    record(&mut engine, session(10));
    let refused = record(&mut engine, session(11));
    record(&mut engine, export());
    let outgoing = send(&mut engine);
    let answer = answer_to(&outgoing, &[refused], "a", false);
    engine.apply_response(outgoing.ticket, Ok(answer), now()).expect("applied");
    for minutes in 20..25 {
        record(&mut engine, session(minutes));
    }
    engine.close().expect("closed");
    disk.as_it_is()
}

fn export() -> Change {
    let (export_type, export_format) = ("words".to_owned(), "csv".to_owned());
    Change::CreateExport(ExportInput { export_type, export_format, ..ExportInput::default() })
}

type Call = Box<dyn FnOnce(&mut Engine) -> Result<(), Error>>;
type Prepare = fn(&mut Engine) -> Call;

/// What is done to a mirror, each as a preparation that succeeds and a call that meets the fault.
fn scenarios() -> Vec<(&'static str, Prepare)> {
    fn records(_: &mut Engine) -> Call {
        Box::new(|engine| engine.mutate(session(30), now()).map(drop))
    }
    fn exports(_: &mut Engine) -> Call {
        Box::new(|engine| engine.mutate(export(), now()).map(drop))
    }
    fn keeps_a_key(_: &mut Engine) -> Call {
        let envelope = of_shape(1).parse().expect("an envelope");
        let change = Change::PutKey { provider: Provider::Openai, envelope };
        Box::new(|engine| engine.mutate(change, now()).map(drop))
    }
    fn applies(engine: &mut Engine) -> Call {
        let outgoing = send(engine);
        let answer = answer_to(&outgoing, &[outgoing.request.mutations[0].id], "a", false);
        Box::new(move |engine| engine.apply_response(outgoing.ticket, Ok(answer), now()).map(drop))
    }
    fn begins_anew(engine: &mut Engine) -> Call {
        let outgoing = send(engine);
        let answer = answer_to(&outgoing, &[], "b", true);
        Box::new(move |engine| engine.apply_response(outgoing.ticket, Ok(answer), now()).map(drop))
    }
    fn fails(engine: &mut Engine) -> Call {
        let outgoing = send(engine);
        Box::new(move |engine| engine.apply_response(outgoing.ticket, Err(Failure::Offline), now()).map(drop))
    }
    fn retries(engine: &mut Engine) -> Call {
        let id = engine.rejected().expect("a list")[0].id;
        Box::new(move |engine| engine.retry(id).map(drop))
    }
    fn discards(engine: &mut Engine) -> Call {
        let id = engine.rejected().expect("a list")[0].id;
        Box::new(move |engine| engine.discard(id).map(drop))
    }
    vec![
        ("record", records),
        ("export", exports),
        ("key", keeps_a_key),
        ("answer", applies),
        ("reset", begins_anew),
        ("failure", fails),
        ("retry", retries),
        ("discard", discards),
    ]
}

const FAILURES: [Fault; 4] =
    [Fault::Once(How::Error), Fault::Once(How::Full), Fault::ForGood(How::Error), Fault::ForGood(How::Full)];

/// The errors that a failing storage may be told as.
fn is_typed(error: &Error, fault: Fault) -> bool {
    match fault {
        Fault::Once(How::Full) | Fault::ForGood(How::Full) => {
            matches!(error, Error::StorageFull | Error::StorageFailed { .. })
        }
        _ => matches!(error, Error::StorageFailed { .. }),
    }
}

/// The mirror opens, is sound, shows what recomputing from nothing gives; returns its rows.
fn sound(files: Files, host: Host, context: &str) -> Vec<String> {
    let disk = Disk::with(files);
    let mut engine = open(&disk, host).unwrap_or_else(|error| panic!("{context}: it does not open: {error}"));
    let rows = dump(&disk.as_it_is());
    assert_eq!(mirror::damage(&disk.as_it_is()), None, "{context}");
    engine.rebuild_visible().unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut rebuilt = dump(&disk.as_it_is());
    // Where nobody has written yet, making it anew leaves an empty row.
    let is_progress = |row: &String| row.starts_with("user_progress");
    rebuilt.retain(|row| !is_progress(row) || rows.iter().any(is_progress));
    assert_eq!(rebuilt, rows, "{context}: the visible rows are not what they are made of");
    rows
}

/// A disk and an engine that are ready for the call.
fn prepared(files: &Files, host: Host, prepare: Prepare) -> (Disk, Engine, Call) {
    let disk = Disk::with(files.clone());
    let mut engine = open(&disk, host).expect("a sound mirror");
    let call = prepare(&mut engine);
    (disk, engine, call)
}

/// A call in which nothing fails: what is on the disk before and after, and how many operations lie between.
struct Undisturbed {
    disk: Disk,
    before: Vec<String>,
    after: Vec<String>,
    operations: u64,
    /// Closing it would write once more.
    _engine: Engine,
}

fn undisturbed(base: &Files, host: Host, prepare: Prepare) -> Undisturbed {
    let (disk, mut engine, call) = prepared(base, host, prepare);
    let before = dump(&disk.as_it_is());
    disk.break_at(u64::MAX, Fault::Crash);
    call(&mut engine).expect("nothing fails");
    let operations = disk.mend();
    let after = dump(&disk.as_it_is());
    Undisturbed { disk, before, after, operations, _engine: engine }
}

#[test]
fn a_call_is_done_or_not_whatever_fails_in_it() {
    let base = base();
    for (host_name, host) in HOSTS {
        for (name, prepare) in scenarios() {
            let Undisturbed { before, after, operations, .. } = undisturbed(&base, host, prepare);
            assert!(before != after, "{name} changes something");
            assert!((2..MOST_OPERATIONS).contains(&operations), "{name}: {operations} operations");

            for at in 0..operations {
                for fault in FAILURES {
                    let context = format!("{host_name}, {name}, {fault:?} at operation {at} of {operations}");
                    let (disk, mut engine, call) = prepared(&base, host, prepare);
                    disk.break_at(at, fault);
                    let called = call(&mut engine);
                    if matches!(fault, Fault::Once(_)) {
                        // The storage is well again: the engine goes on without being opened anew.
                        engine.progress(now()).unwrap_or_else(|error| panic!("{context}: {error}"));
                        engine.mutate(session(1), now()).unwrap_or_else(|error| panic!("{context}: {error}"));
                        assert_eq!(mirror::damage(&disk.as_it_is()), None, "{context}");
                        continue;
                    }
                    drop(engine);
                    disk.mend();
                    let rows = sound(disk.as_it_is(), host, &context);
                    match called {
                        Ok(()) => assert_eq!(rows, after, "{context}: it was acknowledged"),
                        Err(error) => {
                            assert!(is_typed(&error, fault), "{context}: {error:?}");
                            assert!(rows == before || rows == after, "{context}: it is half done");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let base = base();
    let mut random = Random::of_this_run("power cuts");
    for (host_name, host) in HOSTS {
        for (name, prepare) in scenarios() {
            let Undisturbed { disk, before, after, operations, .. } = undisturbed(&base, host, prepare);
            // The caller was told: whatever was synced must be enough.
            for _ in 0..4 {
                let files = disk.as_it_is().after_power_cut(&mut random);
                assert_eq!(sound(files, host, name), after, "{host_name}, {name}: it was acknowledged");
            }
            for at in 0..operations {
                let (disk, mut engine, call) = prepared(&base, host, prepare);
                disk.break_at(at, Fault::Crash);
                call(&mut engine).expect("nothing fails");
                disk.mend();
                let found = disk.found_at_crash().expect("it struck");
                let context = format!("{host_name}, {name}, before operation {at} of {operations}");
                for cut in [false, true, true, true] {
                    let files = found.clone();
                    let files = if cut { files.after_power_cut(&mut random) } else { files };
                    let rows = sound(files, host, &context);
                    assert!(rows == before || rows == after, "{context}, cut {cut}: it is half done");
                }
            }
        }
    }
}

#[test]
fn what_was_shown_after_a_crash_survives_the_next_power_cut() {
    let base = base();
    let mut random = Random::of_this_run("power cuts after crashes");
    for (host_name, host) in HOSTS {
        for (name, prepare) in scenarios() {
            let Undisturbed { before, after, operations, .. } = undisturbed(&base, host, prepare);
            let mut shown_early = 0;
            for at in 0..operations {
                let (disk, mut engine, call) = prepared(&base, host, prepare);
                disk.break_at(at, Fault::Crash);
                call(&mut engine).expect("nothing fails");
                let again = Disk::with(disk.found_at_crash().expect("it struck"));
                let reopened = open(&again, host).expect("a sound mirror");
                let shown = dump(&again.as_it_is());
                let context = format!("{host_name}, {name}, before operation {at} of {operations}");
                assert!(shown == before || shown == after, "{context}: it is half done");
                shown_early += u32::from(shown == after);
                for _ in 0..4 {
                    let files = again.as_it_is().after_power_cut(&mut random);
                    assert!(sound(files, host, &context) == shown, "{context}: what was shown is gone");
                }
                drop(reopened);
            }
            assert!(shown_early > 0, "{host_name}, {name}: a call that died before its last flush is shown");
        }
    }
}

#[test]
fn opening_and_upgrading_is_done_or_not_whatever_fails_in_it() {
    let mut random = Random::of_this_run("openings");
    let base = base();
    let older = (1..MIRROR_VERSION).map(|version| mirror::files_of_version(base.clone(), version));
    // A mirror that was not closed has its last commits only in the log.
    let disk = Disk::with(base.clone());
    let mut engine = open(&disk, Disk::on_desktop).expect("a mirror");
    engine.mutate(session(50), now()).expect("recorded");
    let unclosed = disk.as_it_is();
    drop(engine);
    let images: Vec<Files> = [Files::default(), base.clone(), unclosed].into_iter().chain(older).collect();

    for (host_name, host) in HOSTS {
        for (image, files) in images.iter().enumerate() {
            let disk = Disk::with(files.clone());
            disk.break_at(u64::MAX, Fault::Crash);
            let opened = open(&disk, host).expect("nothing fails");
            let operations = disk.mend();
            let after = dump(&disk.as_it_is());
            drop(opened);
            for at in 0..operations {
                for fault in FAILURES.into_iter().chain([Fault::Crash; 3]) {
                    let context = format!("{host_name}, image {image}, {fault:?} at {at} of {operations}");
                    let disk = Disk::with(files.clone());
                    disk.break_at(at, fault);
                    let opened = open(&disk, host);
                    disk.mend();
                    let left = match disk.found_at_crash() {
                        Some(found) => found.after_power_cut(&mut random),
                        None => {
                            let error = opened.as_ref().err();
                            assert!(error.is_none_or(|error| is_typed(error, fault)), "{context}: {error:?}");
                            drop(opened);
                            disk.as_it_is()
                        }
                    };
                    assert_eq!(sound(left, host, &context), after, "{context}");
                }
            }
        }
    }
}
