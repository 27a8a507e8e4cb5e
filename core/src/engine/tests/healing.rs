//! Stories that the simulation told first: copied files, engines that are gone, servers that lost their past.

use super::*;
use crate::model::{ExportChange, ExportInput, ExportStatus, Hlc};
use crate::wire::WireMutation;

fn exchange(engine: &mut Engine, server: &mut Server, seconds: i64) {
    engine.signal(Signal::SyncNow, at(seconds));
    while let Some(outgoing) = engine.next_request(at(seconds)).unwrap() {
        let answer = server.take(&outgoing.request);
        engine.apply_response(outgoing.ticket, Ok(answer), at(seconds)).unwrap();
    }
}

/// The copy has pushed a session that the original has not even sent. The original's next answer, to a smaller request,
/// already counts it: shown with the queue on top, it would count twice.
#[test]
fn what_a_copy_of_this_file_has_sent_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut original = open(&Location::File(path("original"))).unwrap();
    record(&mut original, 10);
    record(&mut original, 5);
    original.close().unwrap();
    std::fs::copy(path("original"), path("copy")).unwrap();
    let mut original = open(&Location::File(path("original"))).unwrap();
    let (mut copy, mut server) = (open(&Location::File(path("copy"))).unwrap(), Server::default());
    exchange(&mut copy, &mut server, 0);

    while original.limits.mutations() > 1 {
        let load = crate::sync::Load { mutations: 2, ..Default::default() };
        original.limits.shrink_batch(load);
    }
    let outgoing = send(&mut original);
    assert_eq!(outgoing.request.mutations.len(), 1);
    original.apply_response(outgoing.ticket, Ok(server.take(&outgoing.request)), at(0)).unwrap();
    assert_eq!(totals(&original), (2, 15));
    exchange(&mut original, &mut server, 0);
    assert_eq!(totals(&original), (2, 15));
}

/// A user was switched while a request was under way: its answer must not be taken for the next engine's.
#[test]
fn an_answer_for_an_engine_that_is_gone_is_refused() {
    let (mut gone, mut server) = (engine(), Server::default());
    let old = send(&mut gone);
    drop(gone);
    let mut engine = engine();
    send(&mut engine);
    let error = engine.apply_response(old.ticket, Ok(server.take(&old.request)), at(0)).unwrap_err();
    assert_eq!(error.code(), "stale_ticket");
}

/// The device's clock ran three years ahead for a while. What it keeps to heal the server must not look old by that.
#[test]
fn a_clock_that_jumps_ages_nothing() {
    let (mut engine, mut server) = (engine(), Server::default());
    record(&mut engine, 10);
    exchange(&mut engine, &mut server, 0);
    let years = 3 * 365 * 24 * 3600;
    exchange(&mut engine, &mut server, years);
    let mut restored = Server { epoch: 1, ..Server::default() };
    exchange(&mut engine, &mut restored, years);
    assert_eq!(restored.sessions.len(), 1);
    assert_eq!(totals(&engine), (1, 10));
}

fn create(engine: &mut Engine) -> MutationId {
    let input =
        ExportInput { export_type: "words".into(), export_format: "csv".into(), ..ExportInput::default() };
    engine.mutate(Change::CreateExport(input), at(0)).unwrap().id
}

/// Postgres holds no NULL there, and refused every export that was made without filters.
#[test]
fn an_export_without_filters_has_empty_ones() {
    let mut engine = engine();
    let id = create(&mut engine);
    let outgoing = send(&mut engine);
    let values: serde_json::Value = serde_json::from_str(outgoing.request.mutations[0].values.get()).unwrap();
    assert_eq!(values["filters"], json!({}));
    assert_eq!(engine.export(id).unwrap().unwrap().filters, Some(json!({})));
}

/// Answers as if the server had been set back to before it knew anything.
fn forgetful(request: &SyncRequest) -> SyncAnswer {
    let results = request.mutations.iter().map(|mutation| {
        let id = mutation.id;
        MutationResult { id, status: ResultStatus::Applied, code: None, message: None }
    });
    SyncAnswer {
        protocol: 1,
        server_time: at(0).timestamp(),
        reset: true,
        results: results.collect(),
        rows: BTreeMap::new(),
        packed: BTreeMap::new(),
        deleted: BTreeMap::new(),
        cursor: Cursor { version: 0, epoch: "new".to_owned() },
        has_more: false,
        wakeups: false,
        user_missing: false,
        catalogue: None,
    }
}

/// An engine that has seen another device's export, and what it sends after the server has lost it.
fn sent_after_a_set_back(prepare: impl FnOnce(&mut Engine, MutationId)) -> Vec<WireMutation> {
    let mut engine = engine();
    let id = see_an_export(&mut engine);
    prepare(&mut engine, id);
    engine.signal(Signal::SyncNow, at(0));
    let lost = send(&mut engine);
    engine.apply_response(lost.ticket, Ok(forgetful(&lost.request)), at(0)).unwrap();
    engine.next_request(at(0)).unwrap().map(|outgoing| outgoing.request.mutations).unwrap_or_default()
}

/// Another device's export comes to this one.
fn see_an_export(engine: &mut Engine) -> MutationId {
    let id = MutationId::from(Uuid::from_u128(7));
    let row = WireRow {
        values: to_raw_value(&json!({
            "id": id, "user_id": user(), "export_type": "words", "export_format": "csv", "status": "processing",
            "filters": {}, "created_at": at(0).timestamp(), "updated_at": at(1).timestamp(),
        }))
        .unwrap(),
        hlc: json!({}),
        version: 1,
    };
    let told = send(engine);
    let answer = SyncAnswer {
        reset: false,
        rows: BTreeMap::from([("export_history".to_owned(), vec![row])]),
        ..forgetful(&told.request)
    };
    engine.apply_response(told.ticket, Ok(answer), at(0)).unwrap();
    id
}

fn complete(engine: &mut Engine, id: MutationId) {
    let change = ExportChange { status: Some(ExportStatus::Completed), ..ExportChange::default() };
    engine.mutate(Change::UpdateExport { id, change }, at(0)).unwrap();
}

/// The server would refuse the change: it has no such row until the device that made the export comes back.
#[test]
fn a_changed_export_of_another_device_is_brought_back_before_the_change() {
    let sent = sent_after_a_set_back(complete);
    let ops: Vec<&str> = sent.iter().map(|mutation| mutation.op.as_str()).collect();
    assert_eq!(ops, ["insert", "merge"]);
    assert_eq!(
        (sent[0].key.clone(), sent[0].hlc.to_string()),
        (sent[0].id.to_string(), Hlc::ZERO.to_string())
    );
    let values: serde_json::Value = serde_json::from_str(sent[0].values.get()).unwrap();
    let others = (&values["filters"], values.get("updated_at"));
    assert_eq!((&values["export_type"], others), (&json!("words"), (&json!({}), None)));
}

/// Everything is being pulled anew: what the server has lost can still be seen, and changed.
#[test]
fn an_export_that_is_changed_before_all_has_come_is_brought_back() {
    let mut engine = engine();
    let id = see_an_export(&mut engine);
    engine.signal(Signal::SyncNow, at(0));
    let lost = send(&mut engine);
    let answer = SyncAnswer { has_more: true, ..forgetful(&lost.request) };
    engine.apply_response(lost.ticket, Ok(answer), at(0)).unwrap();
    complete(&mut engine, id);
    let ops: Vec<String> =
        send(&mut engine).request.mutations.into_iter().map(|mutation| mutation.op).collect();
    assert_eq!(ops, ["insert", "merge"]);
}

#[test]
fn a_deleted_export_is_not_brought_back() {
    let sent = sent_after_a_set_back(|engine, id| {
        complete(engine, id);
        engine.signal(Signal::SyncNow, at(0));
        let outgoing = send(engine);
        let deleted = BTreeMap::from([("export_history".to_owned(), vec![id.to_string()])]);
        let answer = SyncAnswer { reset: false, deleted, ..forgetful(&outgoing.request) };
        engine.apply_response(outgoing.ticket, Ok(answer), at(0)).unwrap();
    });
    assert!(sent.is_empty());
}
