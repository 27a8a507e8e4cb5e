//! Which states each question to the queue is about: every query beside every state.

use rusqlite::params;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;
use crate::model::{Hlc, Mutation, MutationId, MutationState, Op, Table, UnixMillis};

const STATES: [MutationState; 6] = [
    MutationState::Pending,
    MutationState::InDoubt,
    MutationState::Acknowledged,
    MutationState::Reflected,
    MutationState::Resend,
    MutationState::Rejected,
];

fn id(number: u128) -> MutationId {
    MutationId::from(uuid::Uuid::from_u128(number))
}

/// A mirror whose queue holds one mutation, in this state. It was settled at 1,000.
fn with_one(state: MutationState, table: Table, key: MutationId) -> Store {
    let mut store = Store::open(&Location::Memory).unwrap();
    let mutation = Mutation {
        id: id(1),
        hlc: Hlc::ZERO,
        table,
        op: if key == id(1) { Op::Insert } else { Op::Merge },
        key: key.to_string(),
        values: to_raw_value(&json!({ "status": "failed" })).unwrap(),
        batch: None,
    };
    let new = NewMutation { mutation: &mutation, recorded: UnixMillis(7) };
    store.write(|rows| rows.insert_mutation(&new)).unwrap();
    let sql = "UPDATE mutations SET state = ?1, settled_ms = 1000, reject_code = 'x', reject_message = 'y'";
    store.connection.execute(sql, params![state.name()]).unwrap();
    store
}

/// The states in which a question is answered with the mutation, for a session and for a change of an export.
fn states(table: Table, asks: impl Fn(&mut Store) -> bool) -> Vec<MutationState> {
    let key = if table == Table::Sessions { id(1) } else { id(2) };
    STATES.into_iter().filter(|state| asks(&mut with_one(*state, table, key))).collect()
}

#[test]
fn what_waits_is_what_is_sent_listed_and_counted() {
    use MutationState::{InDoubt, Pending, Resend};
    for table in [Table::Sessions, Table::ExportHistory] {
        let waiting = [Pending, InDoubt, Resend];
        assert_eq!(states(table, |store| store.read().count_pending().unwrap() == 1), waiting);
        assert_eq!(states(table, |store| store.pending().unwrap() == 1), waiting);
        assert_eq!(states(table, |store| !store.read().open_mutations(9).unwrap().is_empty()), waiting);
        assert_eq!(states(table, |store| !store.read().waiting().unwrap().is_empty()), waiting);
    }
}

#[test]
fn only_what_was_refused_is_listed_as_refused_and_only_that_can_be_decided_about() {
    use MutationState::Rejected;
    assert_eq!(states(Table::Sessions, |store| store.read().count_rejected().unwrap() == 1), [Rejected]);
    assert_eq!(states(Table::Sessions, |store| !store.read().refused().unwrap().is_empty()), [Rejected]);
    assert_eq!(states(Table::Sessions, |store| store.read().requeue(id(1)).unwrap()), [Rejected]);
    assert_eq!(states(Table::Sessions, |store| store.read().forget_refused(id(1)).unwrap()), [Rejected]);
    assert!(!with_one(Rejected, Table::Sessions, id(1)).read().requeue(id(9)).unwrap());
    let mut requeued = with_one(Rejected, Table::Sessions, id(1));
    requeued.write(|rows| rows.requeue(id(1))).unwrap();
    let state = requeued.read().sent_mutation(id(1)).unwrap().map(|sent| sent.state);
    assert_eq!(state, Some(MutationState::Resend));
    assert!(requeued.read().waiting().unwrap()[0].refusal.is_none(), "the reason is of the past");
}

/// What the server has lost may be in doubt, and is shown all the same.
#[test]
fn what_the_confirmed_rows_may_lack_is_laid_over_them() {
    use MutationState::{Acknowledged, InDoubt, Pending, Resend};
    let facts = |store: &mut Store| !store.read().unreflected_facts().unwrap().is_empty();
    assert_eq!(states(Table::Sessions, facts), [Pending, InDoubt, Acknowledged]);
    assert!(states(Table::ExportHistory, facts).is_empty(), "a change of an export is no fact");
    let writes = |table, key: MutationId| {
        move |store: &mut Store| !store.read().writes_on(table, &key.to_string(), "me").unwrap().is_empty()
    };
    let laid = [Pending, InDoubt, Acknowledged, Resend];
    assert_eq!(states(Table::ExportHistory, writes(Table::ExportHistory, id(2))), laid);
    assert!(states(Table::ExportHistory, writes(Table::ExportHistory, id(1))).is_empty(), "another row");
    assert!(states(Table::Sessions, writes(Table::Sessions, id(1))).is_empty(), "a fact is no register");
}

#[test]
fn an_export_is_brought_back_for_each_change_that_waits() {
    use MutationState::{InDoubt, Pending, Resend};
    let lacks = |store: &mut Store| {
        store.read().changed_but_not_made().unwrap() == [(Table::ExportHistory, id(2).to_string())]
    };
    assert_eq!(states(Table::ExportHistory, lacks), [Pending, InDoubt, Resend]);
    let own = with_one(Pending, Table::ExportHistory, id(1));
    assert!(own.read().changed_but_not_made().unwrap().is_empty(), "its insert is here");
}

#[test]
fn only_what_is_reflected_and_old_is_forgotten() {
    let pruned =
        |before| move |store: &mut Store| store.read().prune_reflected(UnixMillis(before)).unwrap() == 1;
    assert_eq!(states(Table::Sessions, pruned(1001)), [MutationState::Reflected]);
    assert!(states(Table::Sessions, pruned(1000)).is_empty(), "not old enough");
}

/// About what was refused the app decides, also of a row that is gone.
#[test]
fn the_writes_of_a_row_are_forgotten_but_for_the_refused_ones() {
    let forgotten = |table: Table, key: MutationId| {
        move |store: &mut Store| {
            store.write(|rows| rows.forget_writes(table, &key.to_string(), false)).unwrap();
            store.count_rows("mutations") == 0
        }
    };
    let all_but_refused = &STATES[..5];
    assert_eq!(states(Table::ExportHistory, forgotten(Table::ExportHistory, id(2))), all_but_refused);
    assert!(states(Table::ExportHistory, forgotten(Table::ExportHistory, id(1))).is_empty(), "another row");
    assert!(
        states(Table::Sessions, forgotten(Table::Sessions, id(1))).is_empty(),
        "a fact is never forgotten"
    );
}

/// Each is moved alone, with the moment at which the server had it.
#[test]
fn a_state_is_moved_as_a_whole_and_no_other() {
    for state in STATES {
        let mut store = with_one(state, Table::Sessions, id(1));
        let moved = store.write(|rows| rows.move_all(MutationState::Acknowledged, MutationState::InDoubt));
        let expected = state == MutationState::Acknowledged;
        assert_eq!(moved.unwrap() == 1, expected);
        let now = store.read().sent_mutation(id(1)).unwrap().unwrap().state;
        assert_eq!(now, if expected { MutationState::InDoubt } else { state });
    }
}

#[test]
fn each_failure_of_sqlite_is_told_as_what_the_app_can_do_about_it() {
    use rusqlite::ffi;
    for (code, expected) in [
        (ffi::SQLITE_BUSY, "mirror_locked"),
        (ffi::SQLITE_LOCKED, "mirror_locked"),
        (ffi::SQLITE_PROTOCOL, "mirror_locked"),
        (ffi::SQLITE_FULL, "storage_full"),
        (SQLITE_IOERR_SHMSIZE, "storage_full"),
        (ffi::SQLITE_IOERR_WRITE, "storage_failed"),
        (ffi::SQLITE_NOTADB, "mirror_corrupt"),
        (ffi::SQLITE_CORRUPT, "mirror_corrupt"),
        (ffi::SQLITE_READONLY, "storage_failed"),
    ] {
        let error = Error::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(error.code(), expected, "SQLite's {code}");
    }
    assert_eq!(Error::from(rusqlite::Error::QueryReturnedNoRows).code(), "internal");
}
