//! Values at every bound, through the real PostgREST: what one device writes another reads as it was written, and what the app's
//! own jobs write by SQL keeps nobody from syncing.

use marea_core::{
    Change, EventInput, Export, ExportChange, ExportInput, ExportQuery, ExportStatus, Host as _, MutationId,
    Outcome, SessionInput, Transport, Unreadable,
};
use marea_tests::engine_device::{EngineDevice, at};
use marea_tests::world::World;
use serde_json::{Value, json};

/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000;

fn transport(world: &World) -> Transport {
    let ready = world.backend().ready();
    Transport::new(&ready.url, &ready.anon_key).expect("an address")
}

fn device(world: &World) -> EngineDevice {
    EngineDevice::new(world.learner(1).into(), world.token(1, 3600), at(NOON))
}

async fn sync(device: &EngineDevice, transport: &Transport) {
    let report = device.sync(transport).await;
    assert_eq!((report.outcome, report.pending, report.rejected), (Outcome::Done, 0, 0), "{report:?}");
}

fn mutate(device: &EngineDevice, change: Change) -> MutationId {
    device.with_engine(|engine| engine.mutate(change, at(NOON))).expect("a value within its bounds").id
}

fn exports(device: &EngineDevice) -> Vec<Value> {
    let page = device.with_engine(|engine| engine.exports(&ExportQuery::default())).expect("exports");
    let plain = |export: &Export| {
        let mut value = serde_json::to_value(export).expect("JSON");
        value.as_object_mut().expect("an object").remove("updated_at");
        value
    };
    page.exports.iter().map(plain).collect()
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// The end of each kind's range, both ends of it.
fn changes() -> Vec<ExportChange> {
    let time = |text: &str| Some(text.parse().expect("a time"));
    let base = ExportChange::default;
    let number = json!([1e308, -1e308, 0.5, u64::MAX, i64::MIN, 0.1, "\u{1}\u{1f600}\\u0000", null]);
    vec![
        ExportChange { data: Some(number), ..base() },
        ExportChange { data: Some(nested(64)), ..base() },
        ExportChange { data: Some(json!("x".repeat(65_534))), ..base() },
        ExportChange { data: Some(json!({ "": { "é": [] } })), ..base() },
        ExportChange { file_size_bytes: Some(i64::MAX), records_count: Some(i32::MAX), ..base() },
        ExportChange { file_size_bytes: Some(0), retry_count: Some(0), ..base() },
        ExportChange { started_at: time("1970-01-01T00:00:00Z"), ..base() },
        ExportChange { expires_at: time("9999-12-31T23:59:59.999999Z"), ..base() },
        ExportChange { file_url: Some(String::new()), error_message: Some("\"\\\n".repeat(9)), ..base() },
        ExportChange { status: Some(ExportStatus::Expired), processing_time_seconds: Some(0), ..base() },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_at_a_bound_is_read_as_it_was_written() {
    let world = World::alone().await;
    let (transport, one, other) = (transport(&world), device(&world), device(&world));
    for ended_at in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
        let ended_at = Some(ended_at.parse().expect("a time"));
        let count = Some(1_000_000);
        let input = SessionInput {
            ended_at,
            duration_minutes: Some(60),
            qa_attempts: count,
            qa_correct: count,
            phrases_saved: Some(0),
            ..SessionInput::new("€".repeat(50))
        };
        one.record(input);
    }
    let award = EventInput {
        new_words: -1_000_000,
        achievements: vec!["n".repeat(100)],
        occurred_at: Some("1970-01-01T00:00:00.000001Z".parse().expect("a time")),
        ..EventInput::default()
    };
    mutate(&one, award.into());
    let filters = json!({ "deep": nested(63) }).as_object().cloned();
    for number in 0..10 {
        let input = ExportInput {
            export_type: "é".repeat(50),
            export_format: "f".repeat(20),
            filters: filters.clone(),
            id: None,
        };
        let export = mutate(&one, Change::CreateExport(input));
        let change = changes().remove(number);
        mutate(&one, Change::UpdateExport { id: export, change });
    }
    let before = exports(&one);
    sync(&one, &transport).await;
    sync(&other, &transport).await;
    assert_eq!(one.with_engine(|engine| engine.rejected()).expect("a queue").len(), 0);
    assert_eq!(before.len(), 10);
    for device in [&one, &other] {
        for (shown, written) in exports(device).iter().zip(&before) {
            for (column, value) in written.as_object().expect("columns") {
                // What nobody has set has the server's default.
                let is_default = value.is_null() && shown[column] == json!(0);
                assert!(shown[column] == *value || is_default, "{column}: {} is not {value}", shown[column]);
            }
        }
        let unreadable = device.with_engine(|engine| engine.status(at(NOON))).expect("a status").unreadable;
        assert_eq!(unreadable, []);
    }
    assert!(one.progress() == other.progress() && one.days() == other.days(), "both show the same");
    assert_eq!(
        one.progress().last_activity_at.map(|at| at.to_string()),
        Some("9999-12-31T23:59:59.999999Z".into())
    );
    world.stop().await;
}

/// By table and column: what a job writes, and whether a device tells of it.
const BY_SQL: [(&str, &str, &str, bool); 14] = [
    ("user_progress", "average_accuracy", "'NaN'", true),
    ("user_progress", "last_activity_at", "'infinity'", false),
    ("user_progress", "last_activity_at", "'20000-01-01'", true),
    ("user_progress", "last_activity_at", "'0044-03-15 BC'", true),
    ("user_progress", "created_at", "'-infinity'", false),
    ("user_progress", "achievements", "'{\"a\": 1e400, \"b\": [[]], \"c\": \"x\"}'", false),
    ("user_progress", "total_points", "-2147483648", false),
    ("export_history", "data", "'{\"n\": 1e400}'", true),
    ("export_history", "data", "(repeat('[', 200) || repeat(']', 200))::jsonb", true),
    ("export_history", "data", "'12345678901234567890123456789012345678901234567890'", false),
    ("export_history", "filters", "(repeat('[', 200) || repeat(']', 200))::jsonb", true),
    ("export_history", "expires_at", "'0044-03-15 BC'", true),
    ("export_history", "created_at", "'infinity'", true),
    ("export_history", "records_count", "2147483647", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_jobs_write_by_sql_keeps_nobody_from_syncing() {
    let world = World::alone().await;
    let (transport, user) = (transport(&world), world.learner(1));
    let writer = device(&world);
    writer.record(SessionInput { duration_minutes: Some(7), ..SessionInput::new("practice") });
    let input =
        ExportInput { export_type: "words".into(), export_format: "csv".into(), ..ExportInput::default() };
    mutate(&writer, Change::CreateExport(input.clone()));
    mutate(&writer, Change::CreateExport(input));
    sync(&writer, &transport).await;
    for (table, column, value, is_told) in BY_SQL {
        let key = if table == "user_progress" { "user_id" } else { "id" };
        let which = match table {
            "user_progress" => format!("'{user}'"),
            _ => format!("(SELECT min(id::text)::uuid FROM public.export_history WHERE user_id = '{user}')"),
        };
        let read = format!("SELECT {column}::text FROM public.{table} WHERE {key} = {which}");
        let before: Option<String> = world.one(&read).await;
        // One that has synced before, and a new one; with work of its own each.
        for reader in [&writer, &device(&world)] {
            world
                .execute(&format!("UPDATE public.{table} SET {column} = {value} WHERE {key} = {which}"))
                .await;
            sync(reader, &transport).await;
            let status = reader.with_engine(|engine| engine.status(at(NOON))).expect("a status");
            let names = |told: &&Unreadable| told.table.name() == table && told.column == column;
            let told: Vec<&Unreadable> = status.unreadable.iter().filter(names).collect();
            assert_eq!(told.len(), usize::from(is_told), "{column} {value}: {:?}", status.unreadable);
            assert_eq!(status.unreadable.len(), told.len(), "{column} {value}: {:?}", status.unreadable);
            assert_eq!(status.last_error, None, "{column} {value}");
            let sessions = reader.progress().total_sessions;
            reader.record(SessionInput::new("practice"));
            sync(reader, &transport).await;
            assert_eq!(reader.progress().total_sessions, sessions + 1, "{column} {value}");
            assert_eq!((exports(reader).len(), reader.days().len()), (2, 1), "{column} {value}");
        }
        let back = before.map_or("NULL".to_owned(), |text| format!("'{text}'"));
        world.execute(&format!("UPDATE public.{table} SET {column} = {back} WHERE {key} = {which}")).await;
        sync(&writer, &transport).await;
        let status = writer.with_engine(|engine| engine.status(at(NOON))).expect("a status");
        assert_eq!(status.unreadable, [], "{column} {value}: mended on the server, and told no more");
    }
    world.stop().await;
}

/// A session that a job inserts without a day of the learner, long before 1970 and long after: days that devices read.
#[tokio::test(flavor = "multi_thread")]
async fn days_that_no_device_writes_are_read() {
    let world = World::alone().await;
    let (transport, user) = (transport(&world), world.learner(1));
    for (ended_at, day) in [
        ("1969-12-31T23:50:00Z", "1969-12-31"),
        ("0001-06-01T00:00:00Z", "0001-06-01"),
        ("0044-03-15T00:00:00Z BC", "0001-01-01"),
        ("20000-01-01T00:00:00Z", "9999-12-31"),
    ] {
        world
            .execute(&format!(
                "INSERT INTO public.sessions (user_id, started_at, ended_at, duration_minutes)
                 VALUES ('{user}', '{ended_at}', '{ended_at}', 5)"
            ))
            .await;
        let reader = device(&world);
        sync(&reader, &transport).await;
        let (first, last) = ("0000-01-01".parse().expect("a day"), "9999-12-31".parse().expect("a day"));
        let days = reader.with_engine(|engine| engine.activity(first, last)).expect("days");
        assert!(days.iter().any(|shown| shown.day.to_string() == day), "{ended_at}");
    }
    world.stop().await;
}
