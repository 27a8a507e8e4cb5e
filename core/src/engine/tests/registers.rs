//! Exports and sealed keys: two devices, one server that merges as the SQL does, and the same visible rows everywhere.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::engine::registers;
use crate::merge::overlay;
use crate::model::{
    ExportChange, ExportInput, ExportStatus, Hlc, KeyEnvelope, Op, Provider, RegisterRow, RegisterWrite,
    Stamp,
};

/// A server of registers: merges by clock, numbers changes, answers with everything after the cursor.
#[derive(Default)]
pub(super) struct Registers {
    pub(super) rows: BTreeMap<(Table, String), (i64, Option<RegisterRow>)>,
    seen: std::collections::BTreeSet<MutationId>,
    version: i64,
    epoch: u32,
}

impl Registers {
    pub(super) fn take(&mut self, request: &SyncRequest) -> SyncAnswer {
        let results = request.mutations.iter().map(|mutation| self.take_one(request, mutation)).collect();
        let current = request.cursor.as_ref().filter(|cursor| cursor.epoch == self.epoch.to_string());
        let since = current.map_or(0, |cursor| cursor.version);
        let reset = request.cursor.is_some() && current.is_none();
        let mut answer = SyncAnswer {
            protocol: 1,
            server_time: at(0).timestamp(),
            reset,
            results,
            rows: BTreeMap::new(),
            packed: BTreeMap::new(),
            deleted: BTreeMap::new(),
            cursor: Cursor { version: self.version, epoch: self.epoch.to_string() },
            has_more: false,
            wakeups: false,
            user_missing: false,
            catalogue: None,
        };
        for ((table, key), (version, row)) in self.rows.iter().filter(|(_, (version, _))| *version > since) {
            match row {
                None => answer.deleted.entry(table.name().to_owned()).or_default().push(key.clone()),
                Some(row) => answer.rows.entry(table.name().to_owned()).or_default().push(WireRow {
                    values: to_raw_value(&row.values).unwrap(),
                    hlc: serde_json::to_value(&row.clocks).unwrap(),
                    version: *version,
                }),
            }
        }
        answer
    }

    fn take_one(&mut self, request: &SyncRequest, mutation: &crate::wire::WireMutation) -> MutationResult {
        let table = Table::from_name(&mutation.table).unwrap();
        let is_new = self.seen.insert(mutation.id);
        let values: Map<String, Value> = serde_json::from_str(mutation.values.get()).unwrap();
        let stamp = Stamp(mutation.hlc, request.client_id.to_string());
        let write = RegisterWrite { op: Op::from_name(&mutation.op).unwrap(), stamp, values, counts: true };
        let place = (table, mutation.key.clone());
        let was_deleted = self.rows.get(&place).is_some_and(|(_, row)| row.is_none());
        let deleted = was_deleted || write.op == Op::Delete;
        let before = self.rows.remove(&place).and_then(|(_, row)| row);
        let mut after = if deleted { None } else { overlay(described(table), before, [write]) };
        if let (Table::UserApiKeys, Some(row)) = (table, &mut after) {
            row.values.insert("user_id".to_owned(), mutation.key.clone().into());
        }
        if after.is_some() || deleted {
            self.version += 1;
            self.rows.insert(place, (self.version, after));
        }
        let status = if is_new { ResultStatus::Applied } else { ResultStatus::Duplicate };
        MutationResult { id: mutation.id, status, code: None, message: None }
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> i64 {
        self.version
    }

    fn delete(&mut self, id: MutationId) {
        self.version += 1;
        self.rows.insert((Table::ExportHistory, id.to_string()), (self.version, None));
    }
}

fn described(table: Table) -> &'static crate::catalogue::MirroredTable {
    crate::catalogue::builtin().iter().find(|described| described.table == table).unwrap()
}

pub(super) fn sync(engine: &mut Engine, server: &mut Registers) {
    engine.signal(Signal::SyncNow, at(0));
    while let Some(outgoing) = engine.next_request(at(0)).unwrap() {
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    }
}

fn create(engine: &mut Engine) -> MutationId {
    let input =
        ExportInput { export_type: "words".into(), export_format: "csv".into(), ..ExportInput::default() };
    engine.mutate(Change::CreateExport(input), at(0)).unwrap().id
}

fn set_status(engine: &mut Engine, id: MutationId, status: ExportStatus, seconds: i64) {
    let change = ExportChange { status: Some(status), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id, change }, at(seconds)).unwrap();
}

fn status_of(engine: &Engine, id: MutationId) -> Option<String> {
    engine.export(id).unwrap().map(|export| export.status)
}

#[test]
fn the_later_of_two_offline_changes_wins_on_both_devices() {
    let (mut one, mut two, mut server) = (engine(), engine(), Registers::default());
    let id = create(&mut one);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    set_status(&mut one, id, ExportStatus::Completed, 20);
    set_status(&mut two, id, ExportStatus::Failed, 10);
    assert_eq!(
        status_of(&two, id).as_deref(),
        Some("failed"),
        "own change shows until the server says otherwise"
    );
    for device in [&mut one, &mut two] {
        sync(device, &mut server);
    }
    sync(&mut one, &mut server);
    for device in [&one, &two] {
        assert_eq!(status_of(device, id).as_deref(), Some("completed"));
    }
    assert_eq!(count(&one, "shadow_rows") + count(&two, "shadow_rows"), 0);
}

#[test]
fn a_change_made_after_seeing_another_wins_even_with_a_slow_clock() {
    let (mut one, mut two, mut server) = (engine(), engine(), Registers::default());
    let id = create(&mut one);
    set_status(&mut one, id, ExportStatus::Processing, 100);
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    set_status(&mut two, id, ExportStatus::Completed, -3600);
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    assert_eq!(status_of(&one, id).as_deref(), Some("completed"));
}

/// A clock of the far future would have every later write lose; an older one, taken over, every write that comes next.
#[test]
fn the_clock_follows_what_can_be_believed_and_never_goes_back() {
    let mut engine = engine();
    let clock = |seconds: i64| Hlc::ZERO.tick(at(seconds).unix_ms);
    for (seen, expected) in [(10, 10), (5, 10), (300, 300), (301, 300)] {
        let observe = |rows: Rows<'_>| registers::observe(rows, Some(clock(seen)), at(0).unix_ms);
        engine.store.write(observe).unwrap();
        assert_eq!(engine.store.read().clock().unwrap(), clock(expected), "{seen}");
    }
}

#[test]
fn a_deleted_export_goes_away_with_the_changes_that_lie_on_it() {
    let (mut one, mut server) = (engine(), Registers::default());
    let id = create(&mut one);
    sync(&mut one, &mut server);
    server.delete(id);
    set_status(&mut one, id, ExportStatus::Completed, 10);
    sync(&mut one, &mut server);
    assert_eq!(status_of(&one, id), None);
    assert_eq!(count(&one, "shadow_rows"), 0);
}

#[test]
fn an_export_that_is_deleted_on_one_device_goes_from_both_and_no_late_change_brings_it_back() {
    let (mut phone, mut tablet) = (engine(), engine());
    let mut server = Registers::default();
    let export = create(&mut phone);
    sync(&mut phone, &mut server);
    sync(&mut tablet, &mut server);
    set_status(&mut tablet, export, ExportStatus::Completed, 9);
    phone.mutate(Change::DeleteExport { id: export }, at(5)).unwrap();
    assert_eq!(status_of(&phone, export), None);
    sync(&mut phone, &mut server);
    sync(&mut tablet, &mut server);
    sync(&mut phone, &mut server);
    for device in [&phone, &tablet] {
        assert_eq!((status_of(device, export), count(device, "shadow_rows")), (None, 0));
    }
}

#[test]
fn keys_added_on_two_devices_are_both_kept() {
    let (mut one, mut two, mut server) = (engine(), engine(), Registers::default());
    let envelope = |text: &str| text.parse::<KeyEnvelope>().unwrap();
    let put = |provider, text| Change::PutKey { provider, envelope: envelope(text) };
    one.mutate(put(Provider::Openai, "marea1.a.b"), at(0)).unwrap();
    two.mutate(put(Provider::Anthropic, "marea1.c.d"), at(0)).unwrap();
    assert_eq!(one.api_keys().unwrap().get(Provider::Openai), Some(&envelope("marea1.a.b")));
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    sync(&mut one, &mut server);
    assert_eq!(one.api_keys().unwrap(), two.api_keys().unwrap());
    assert_eq!(one.api_keys().unwrap().get(Provider::Anthropic), Some(&envelope("marea1.c.d")));
    one.mutate(Change::DeleteKey { provider: Provider::Openai }, at(5)).unwrap();
    sync(&mut one, &mut server);
    sync(&mut two, &mut server);
    assert_eq!(two.api_keys().unwrap().get(Provider::Openai), None);
}

#[test]
fn a_set_back_server_gets_its_exports_again() {
    let (mut one, mut server) = (engine(), Registers::default());
    let id = create(&mut one);
    set_status(&mut one, id, ExportStatus::Completed, 10);
    sync(&mut one, &mut server);
    let foreign = MutationId::from(Uuid::from_u128(7));
    let mut row = server.rows.values().next().unwrap().1.clone().unwrap();
    row.values.insert("id".to_owned(), foreign.to_string().into());
    server.version += 1;
    server.rows.insert((Table::ExportHistory, foreign.to_string()), (server.version, Some(row)));
    sync(&mut one, &mut server);
    assert!(status_of(&one, foreign).is_some());

    let mut restored = Registers { epoch: 1, ..Registers::default() };
    sync(&mut one, &mut restored);
    assert_eq!(status_of(&one, id).as_deref(), Some("completed"));
    assert_eq!(status_of(&one, foreign), None, "what nobody keeps is gone");
    assert_eq!(restored.rows.len(), 1);
    assert_eq!(count(&one, "shadow_rows") + count(&one, "refilled_rows"), 0);
}

#[test]
fn exports_are_paged_newest_first() {
    let mut engine = engine();
    let mut ids: Vec<_> = (0..7)
        .map(|second| {
            let input = ExportInput {
                export_type: "words".into(),
                export_format: "csv".into(),
                ..Default::default()
            };
            engine.mutate(Change::CreateExport(input), at(second / 2)).unwrap().id
        })
        .collect();
    set_status(&mut engine, ids[0], ExportStatus::Failed, 9);
    let mut query = ExportQuery { limit: Some(3), ..ExportQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = engine.exports(&query).unwrap();
        seen.extend(page.exports.iter().map(|export| (export.created_at, export.id)));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
    let mut listed: Vec<_> = seen.iter().map(|(_, id)| *id).collect();
    listed.sort();
    ids.sort();
    assert!(listed == ids);
    let failed = ExportQuery { status: Some(ExportStatus::Failed), ..ExportQuery::default() };
    assert_eq!(engine.exports(&failed).unwrap().exports.len(), 1);
    let too_many = ExportQuery { limit: Some(501), ..ExportQuery::default() };
    assert_eq!(engine.exports(&too_many).unwrap_err().code(), "invalid_input");
}

#[test]
fn changing_an_export_that_is_not_here_writes_nothing() {
    let mut engine = engine();
    let change = ExportChange { retry_count: Some(1), ..ExportChange::default() };
    let error = engine.mutate(Change::UpdateExport { id: Uuid::nil().into(), change }, at(0)).unwrap_err();
    assert_eq!((error.code(), engine.status(at(0)).unwrap().pending), ("invalid_input", 0));
}

fn count(engine: &Engine, table: &str) -> i64 {
    engine.store.count_rows(table)
}

/// What a random history does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(usize),
    Set(usize, u8, i64),
    Sync(usize),
    /// The answer is lost after the server has done the work.
    LostAnswer(usize),
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = 0usize..2;
    prop::collection::vec(
        prop_oneof![
            device.clone().prop_map(Step::Create),
            (device.clone(), 0u8..5, 0i64..30).prop_map(|(d, s, t)| Step::Set(d, s, t)),
            device.clone().prop_map(Step::Sync),
            device.clone().prop_map(Step::LostAnswer),
            (0u8..4).prop_map(|_| Step::Restore),
        ],
        1..30,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn devices_agree_after_quiet(steps in steps()) {
        let mut devices = [engine(), engine()];
        let mut server = Registers::default();
        let mut exports = Vec::new();
        for step in steps {
            match step {
                Step::Create(d) => exports.push(create(&mut devices[d])),
                Step::Set(d, status, second) => {
                    let here: Vec<_> = exports.iter().filter(|id| status_of(&devices[d], **id).is_some()).collect();
                    if let Some(id) = here.get(usize::from(status) % here.len().max(1)) {
                        use ExportStatus::*;
                        let status = [Pending, Processing, Completed, Failed, Expired][usize::from(status)];
                        set_status(&mut devices[d], **id, status, second);
                    }
                }
                Step::Sync(d) => sync(&mut devices[d], &mut server),
                Step::LostAnswer(d) => {
                    devices[d].signal(Signal::SyncNow, at(0));
                    let outgoing = devices[d].next_request(at(0)).unwrap().unwrap();
                    server.take(&outgoing.request);
                    devices[d].apply_response(outgoing.ticket, Err(Failure::Timeout), at(0)).unwrap();
                }
                Step::Restore => server = Registers { epoch: server.epoch + 1, ..Registers::default() },
            }
        }
        for _ in 0..3 {
            devices.iter_mut().for_each(|device| sync(device, &mut server));
        }
        for id in &exports {
            let on_server = server.rows[&(Table::ExportHistory, id.to_string())].1.as_ref().unwrap();
            for device in &devices {
                prop_assert_eq!(status_of(device, *id), on_server.values["status"].as_str().map(str::to_owned));
            }
        }
        for device in &devices {
            prop_assert_eq!(count(device, "shadow_rows"), 0);
            prop_assert_eq!(device.status(at(0)).unwrap().pending, 0);
        }
    }
}
