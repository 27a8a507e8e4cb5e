//! Work of a guest, and how it comes into an account: everything, once, wherever it was interrupted.

use super::tables::{add, catalogue, insert, update};
use super::*;
use crate::model::{Handover, ImportItem, Provider};
use crate::vault::VaultRequest;

fn guest() -> Engine {
    let mut engine =
        Engine::open(&Location::Memory, UserId::GUEST, Box::new(Counter(1 << 60)), at(0)).unwrap();
    engine.use_catalogue(Some(&catalogue()), at(0)).unwrap();
    engine
}

fn account() -> Engine {
    let mut engine = engine();
    engine.use_catalogue(Some(&catalogue()), at(0)).unwrap();
    engine
}

/// A day as a guest: sessions, an award, an export, a row that is changed and counted, another one that is gone again, a batch.
fn work(guest: &mut Engine) -> String {
    record(guest, 10);
    record(guest, 5);
    let award = crate::model::EventInput { points: 7, ..Default::default() };
    guest.mutate(award.into(), at(1)).unwrap();
    let export = crate::model::ExportInput {
        id: None,
        export_type: "progress".to_owned(),
        export_format: "csv".to_owned(),
        filters: None,
    };
    guest.mutate(Change::CreateExport(export), at(1)).unwrap();
    let key = insert(guest, "words", None, json!({ "word": "marea" }));
    update(guest, &key, json!({ "level": "a1" }), 2).unwrap();
    add(guest, &key, 3);
    let gone = insert(guest, "tags", Some("blue"), json!({}));
    guest.mutate(Change::Delete { table: "tags".into(), key: gone }, at(3)).unwrap();
    let change = |key: &str| Change::Insert {
        table: "tags".into(),
        key: Some(key.into()),
        values: Default::default(),
    };
    guest.mutate_batch(None, vec![change("red"), change("green")], at(4)).unwrap();
    key
}

fn shown(engine: &Engine, key: &str) -> (i64, i64, i64, usize, Option<String>, u64) {
    let progress = engine.progress(at(0)).unwrap();
    let exports = engine.exports(&Default::default()).unwrap().exports.len();
    (
        progress.total_sessions,
        progress.total_time_spent_minutes,
        progress.total_points,
        exports,
        engine.get_row("words", key).unwrap(),
        engine.count_rows("tags", &Default::default()).unwrap(),
    )
}

/// The document travels as text.
fn carried(handover: &Handover) -> Handover {
    Handover::from_text(&handover.to_text().unwrap()).unwrap()
}

#[test]
fn a_guest_records_and_reads_and_asks_for_no_request() {
    let mut guest = guest();
    let key = work(&mut guest);
    let (sessions, minutes, points, exports, row, tags) = shown(&guest, &key);
    assert_eq!((sessions, minutes, points, exports, tags), (2, 15, 7, 1, 2));
    assert!(row.unwrap().contains(r#""seen":3"#));
    guest.signal(Signal::SyncNow, at(9));
    assert!(guest.next_request(at(10)).unwrap().is_none());
    assert_eq!(guest.next_wake(at(10)).unwrap(), None);
    let status = guest.status(at(10)).unwrap();
    assert_eq!((status.pending, status.next_attempt_at), (11, None));
}

#[test]
fn a_claim_brings_everything_once_wherever_it_is_interrupted() {
    // After which step the program dies and everything is done again: 0 never.
    for dies_after in 0..=3 {
        let (mut guest, mut account) = (guest(), account());
        let key = work(&mut guest);
        let before = shown(&guest, &key);
        record(&mut account, 100);
        let mut claimed = 0;
        for attempt in 0..2 {
            let handover = carried(&guest.hand_over(user()).unwrap());
            if attempt == 0 && dies_after == 1 {
                continue;
            }
            claimed += account.take_over(&handover, at(20)).unwrap().claimed;
            if attempt == 0 && dies_after == 2 {
                continue;
            }
            guest.handed_over(&handover).unwrap();
            if dies_after == 3 && attempt == 0 {
                // The account took it twice: the second time there is nothing that it has not.
                assert_eq!(account.take_over(&handover, at(21)).unwrap().claimed, 0);
            }
        }
        assert_eq!(claimed, 11, "dies after step {dies_after}");
        let (sessions, minutes, points, exports, row, tags) = shown(&account, &key);
        assert_eq!((sessions, minutes), (before.0 + 1, before.1 + 100));
        assert_eq!((points, exports, row, tags), (before.2, before.3, before.4, before.5));
        assert_eq!(shown(&guest, &key), (0, 0, 0, 0, None, 0), "nothing is left with the guest");
        assert_eq!(guest.status(at(30)).unwrap().pending, 0);
        assert_eq!(account.status(at(30)).unwrap().pending, 12);
    }
}

#[test]
fn what_was_claimed_reaches_the_server_once() {
    let (mut guest, mut account, mut server) = (guest(), engine(), Server::default());
    record(&mut guest, 10);
    record(&mut account, 1);
    let handover = guest.hand_over(user()).unwrap();
    account.take_over(&handover, at(20)).unwrap();
    for _ in 0..2 {
        let Some(outgoing) = account.next_request(at(40)).unwrap() else { break };
        let answer = server.take(&outgoing.request);
        account.apply_response(outgoing.ticket, Ok(answer), at(41)).unwrap();
    }
    assert_eq!(server.sessions.len(), 2);
    // The guest's mirror was not emptied, and is claimed again much later.
    account.store.write(|rows| rows.prune_reflected(UnixMillis(i64::MAX))).unwrap();
    account.take_over(&guest.hand_over(user()).unwrap(), at(50)).unwrap();
    account.signal(Signal::SyncNow, at(60));
    let outgoing = send(&mut account);
    let answer = server.take(&outgoing.request);
    account.apply_response(outgoing.ticket, Ok(answer), at(61)).unwrap();
    assert_eq!((server.sessions.len(), totals(&account)), (2, (2, 11)));
}

#[test]
fn work_that_one_account_has_begun_to_claim_is_not_anothers() {
    let mut guest = guest();
    record(&mut guest, 10);
    let other: UserId = "00000000-0000-4000-8000-000000000002".parse().unwrap();
    let first = guest.hand_over(user()).unwrap();
    let second = guest.hand_over(other).unwrap();
    assert_eq!((second.mutations.len(), second.kept), (0, 1));
    guest.handed_over(&second).unwrap();
    assert_eq!(totals(&guest), (1, 10), "it waits for the first one");
    let mut account = account();
    assert_eq!(account.take_over(&second, at(0)).unwrap_err().code(), "wrong_user");
    assert_eq!(account.take_over(&first, at(0)).unwrap().claimed, 1);
    guest.handed_over(&first).unwrap();
    // From then on the device is free for whoever comes next.
    record(&mut guest, 3);
    assert_eq!(guest.hand_over(other).unwrap().mutations.len(), 1);
}

#[test]
fn what_is_written_between_the_steps_waits_for_the_next_claim() {
    let (mut guest, mut account) = (guest(), account());
    let key = work(&mut guest);
    let handover = guest.hand_over(user()).unwrap();
    update(&mut guest, &key, json!({ "word": "later" }), 30).unwrap();
    record(&mut guest, 1);
    account.take_over(&handover, at(31)).unwrap();
    guest.handed_over(&handover).unwrap();
    assert_eq!(totals(&guest), (1, 1));
    let rest = guest.hand_over(user()).unwrap();
    assert_eq!(account.take_over(&rest, at(32)).unwrap().claimed, 2);
    guest.handed_over(&rest).unwrap();
    let row = account.get_row("words", &key).unwrap().unwrap();
    assert!(row.contains("later") && row.contains(r#""level":"a1""#), "{row}");
    assert_eq!(totals(&account), (3, 16));
}

#[test]
fn an_import_of_a_guest_is_the_accounts_import() {
    let items =
        r#"[{ "session": { "session_type": "qa", "local_date": "2024-05-02", "duration_minutes": 5 } }]"#;
    let import = |engine: &mut Engine| {
        engine.import_once("history", ImportItem::list(items).unwrap(), at(0)).unwrap().imported
    };
    let (mut guest, mut account, mut elsewhere) = (guest(), account(), account());
    assert_eq!((import(&mut guest), import(&mut guest)), (1, 0));
    let handover = carried(&guest.hand_over(user()).unwrap());
    assert_eq!(account.take_over(&handover, at(0)).unwrap().claimed, 1);
    assert_eq!(account.take_over(&handover, at(0)).unwrap().known, 1);
    assert_eq!(import(&mut account), 0, "the account knows that it was done");
    assert_eq!(import(&mut elsewhere), 1);
    let id = |engine: &Engine| engine.pending().unwrap()[0].id;
    assert_eq!(id(&account), id(&elsewhere), "and has the ids that it would have given");
    assert_eq!(id(&account).to_string(), account.pending().unwrap()[0].values["id"]);
}

/// A session and an award that the app has given one id: as a guest the one, in the account the other.
#[test]
fn what_has_the_id_of_another_write_in_the_account_comes_in_under_one_of_its_own() {
    use crate::model::EventInput;
    let id = || Some(MutationId::from(Uuid::from_u128(0xaa)));
    let session = || SessionInput { id: id(), ..session(10) };
    let award = || EventInput { id: id(), points: 7, ..Default::default() };
    let changes: [[Change; 2]; 2] = [[session().into(), award().into()], [award().into(), session().into()]];
    for [of_guest, of_account] in changes {
        let (mut guest, mut account) = (guest(), account());
        guest.mutate(of_guest, at(1)).unwrap();
        account.mutate(of_account, at(1)).unwrap();
        let handover = carried(&guest.hand_over(user()).unwrap());
        let claimed = [20, 21].map(|second| account.take_over(&handover, at(second)).unwrap());
        assert_eq!((claimed[0].claimed, claimed[1].claimed, claimed[1].known), (1, 0, 1), "once");
        guest.handed_over(&handover).unwrap();
        let progress = account.progress(at(30)).unwrap();
        assert_eq!(
            (progress.total_sessions, progress.total_time_spent_minutes, progress.total_points),
            (1, 10, 7)
        );
        let ids: Vec<_> = account.pending().unwrap().iter().map(|mutation| mutation.id).collect();
        assert_eq!((ids.len(), ids[0]), (2, id().unwrap()));
        assert_eq!(account.pending().unwrap()[1].values["id"], ids[1].to_string());
    }

    // What the guest has corrected goes with its session.
    let (mut guest, mut account) = (guest(), sessions::device());
    guest.use_catalogue(Some(&sessions::catalogue()), at(0)).unwrap();
    let key = guest.mutate(session().into(), at(1)).unwrap().key;
    sessions::correct(&mut guest, &key, json!({ "duration_minutes": 3 })).unwrap();
    account.mutate(award().into(), at(1)).unwrap();
    let handover = guest.hand_over(user()).unwrap();
    for second in [20, 21] {
        account.take_over(&handover, at(second)).unwrap();
        assert_eq!(totals(&account), (1, 3));
    }
}

#[test]
fn what_an_app_records_as_a_guest_and_again_as_an_account_counts_once() {
    let id = Some(MutationId::from(Uuid::from_u128(0xaa)));
    let session = || SessionInput { id, ..session(10) };
    let (mut guest, mut account) = (guest(), account());
    for engine in [&mut guest, &mut account] {
        engine.mutate(session().into(), at(1)).unwrap();
    }
    let claimed = account.take_over(&guest.hand_over(user()).unwrap(), at(2)).unwrap();
    assert_eq!((claimed.claimed, claimed.known, totals(&account)), (0, 1, (1, 10)));
}

#[test]
fn what_needs_an_account_says_so() {
    let mut guest = guest();
    let errors = [
        guest.begin_vault_work(VaultRequest::SetUp, at(0)).err(),
        guest.mutate(Change::DeleteKey { provider: Provider::Openai }, at(0)).err(),
    ];
    for error in errors {
        assert_eq!(error.unwrap().code(), "needs_account");
    }
    assert_eq!(engine().hand_over(user()).unwrap_err().code(), "invalid_input");
    assert_eq!(guest.hand_over(UserId::GUEST).unwrap_err().code(), "invalid_input");
}
