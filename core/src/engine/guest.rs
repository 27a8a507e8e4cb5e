//! Work that was done before anybody signed in, and how an account takes it over: exactly once, whatever is interrupted.
//!
//! Three steps, each durable and each harmless when it is done again: the guest's mirror notes whose the work is and gives it out;
//! the account's mirror takes in what it does not have; the guest's mirror forgets what was given out. Every write keeps its id all
//! the way, so the server counts it once too.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::engine::changed::Changed;
use crate::engine::import::{id_in_account, imports};
use crate::engine::registers::Dirty;
use crate::engine::same_write::is_same_write;
use crate::engine::{Engine, registers, rescue, visible};
use crate::error::Error;
use crate::model::{Claimed, Handover, MutationId, Now, Op, RescuedMutation, Table, TableKind, UserId};
use crate::store::Meta;

impl Engine {
    /// The first step, of a guest's mirror: notes which account claims what is in it, and gives it out. Nothing is taken away yet.
    /// Where another account has begun to claim it before and did not end, it waits for that one, and nothing is given out.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] unless it is a guest's mirror, and an account's id; the storage errors.
    pub fn hand_over(&mut self, to: UserId) -> Result<Handover, Error> {
        if !self.user_id.is_guest() || to.is_guest() {
            return Err(Error::invalid("user_id", "only a guest's work is claimed, and only by an account"));
        }
        self.store.write_beside_queue(|rows| {
            let (mutations, imports) = (rows.unsent()?, imports(rows)?);
            let begun = rows.meta(Meta::HandedTo)?;
            if begun.as_ref().is_some_and(|account| *account != to.to_string()) {
                let kept = u32::try_from(mutations.len()).unwrap_or(u32::MAX);
                return Ok(Handover { to, mutations: Vec::new(), imports: Vec::new(), kept });
            }
            if begun.is_none() && !mutations.is_empty() {
                rows.set_meta(Meta::HandedTo, &to.to_string())?;
            }
            Ok(Handover { to, mutations, imports, kept: 0 })
        })
    }

    /// The second step, of the account's mirror: queues what it does not have yet, with the ids and the clocks that it has.
    ///
    /// # Errors
    /// [`Error::WrongUser`] unless it is for this account; the storage errors: nothing was taken over.
    pub fn take_over(&mut self, handover: &Handover, now: Now) -> Result<Claimed, Error> {
        let user_id = self.user_id;
        if handover.to != user_id || user_id.is_guest() {
            return Err(Error::WrongUser);
        }
        let client = self.client_id.to_string();
        let mut changed = Changed::default();
        let claimed = self.store.write(|rows| {
            let mut claimed = Claimed { kept: handover.kept, ..Claimed::default() };
            let mut renamed_sessions = BTreeMap::new();
            for mutation in &handover.mutations {
                let mut mutation = as_accounts(mutation, user_id);
                if let (Table::Sessions, Some(key)) = (mutation.table, renamed_sessions.get(&mutation.key)) {
                    mutation.key = String::clone(key);
                }
                if !rescue::is_usable(&mutation) {
                    return Err(Error::invalid("handover", "is not what a guest's mirror gives out"));
                }
                let mut known = rows.sent_mutation(mutation.id)?;
                // The app has given both writes one id: the guest's comes in under one that is made of that, the same each time.
                if known.as_ref().is_some_and(|known| !is_same_write(known, &mutation)) {
                    let key = mutation.key.clone();
                    mutation = renamed(mutation, user_id);
                    if mutation.key != key && mutation.table == Table::Sessions {
                        renamed_sessions.insert(key, mutation.key.clone());
                    }
                    known = rows.sent_mutation(mutation.id)?;
                }
                if known.is_some() {
                    claimed.known += 1;
                } else {
                    rescue::put(rows, &mutation, &client, &mut changed)?;
                    claimed.claimed += 1;
                }
            }
            let greatest = handover.mutations.iter().map(|mutation| mutation.hlc).max();
            registers::observe(rows, greatest, now.unix_ms)?;
            let mut done = imports(rows)?;
            for name in &handover.imports {
                if !done.contains(name) {
                    done.push(name.clone());
                }
            }
            if !done.is_empty() {
                let done = serde_json::to_string(&done).map_err(|_| Error::Internal("a name is not JSON"))?;
                rows.set_meta(Meta::Imported, &done)?;
            }
            visible::rebuild(rows, user_id, &mut changed)?;
            Ok(claimed)
        })?;
        self.announce_rows(&changed);
        self.schedule.wrote();
        Ok(claimed)
    }

    /// The third step, of the guest's mirror: forgets what the account has taken over. What was written in between stays, for the
    /// next claim.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] unless it is a guest's mirror; the storage errors: nothing was forgotten.
    pub fn handed_over(&mut self, handover: &Handover) -> Result<(), Error> {
        if !self.user_id.is_guest() {
            return Err(Error::invalid("user_id", "only a guest's mirror hands work over"));
        }
        if handover.kept > 0 {
            return Ok(());
        }
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        let mut changed = Changed::default();
        self.store.write(|rows| {
            let mut concerned = Dirty::default();
            for mutation in &handover.mutations {
                rows.forget_mutation(mutation.id)?;
                if rows.shapes().kind(mutation.table) == TableKind::Registers {
                    concerned.insert((mutation.table, mutation.key.clone()));
                    changed.row(mutation.table, mutation.key.as_str());
                }
            }
            registers::refresh_all(rows, &concerned, &client)?;
            rows.clear_meta(Meta::HandedTo)?;
            visible::rebuild(rows, user_id, &mut changed)
        })?;
        self.announce_rows(&changed);
        Ok(())
    }

    /// Refuses what only an account has: what is sealed for one, or lies under its name on the server, could not be claimed.
    pub(super) fn needs_account(&self, what: &'static str) -> Result<(), Error> {
        if self.user_id.is_guest() { Err(Error::NeedsAccount { what }) } else { Ok(()) }
    }
}

/// A guest's mutation as the account's: with the id that an imported item has there, and the account's own row where the key is the
/// user's id.
fn as_accounts(mutation: &RescuedMutation, user_id: UserId) -> RescuedMutation {
    let mut mutation = mutation.clone();
    if mutation.id.is_of_item() {
        mutation = renamed(mutation, user_id);
    }
    // A correction of a session that was imported.
    let item = mutation.key.parse::<MutationId>().ok();
    let item = item.filter(|_| mutation.table == Table::Sessions && !is_event(&mutation));
    if let Some(item) = item.filter(|item| item.is_of_item()) {
        mutation.key = id_in_account(item, user_id).to_string();
    }
    if matches!(mutation.table, Table::Mirrored(_)) && mutation.key == UserId::GUEST.to_string() {
        mutation.key = user_id.to_string();
    }
    mutation
}

/// With the id that is made of the account and its own.
fn renamed(mut mutation: RescuedMutation, user_id: UserId) -> RescuedMutation {
    mutation.id = id_in_account(mutation.id, user_id);
    if is_event(&mutation) {
        mutation.key = mutation.id.to_string();
        mutation.values = with_id(&mutation.values, &mutation.key).unwrap_or(mutation.values);
    }
    mutation
}

/// Whether its id is the key of its row, too.
fn is_event(mutation: &RescuedMutation) -> bool {
    mutation.table.kind() == TableKind::Events && mutation.op == Op::Insert
}

fn with_id(values: &RawValue, id: &str) -> Option<Box<RawValue>> {
    let mut columns: serde_json::Map<String, Value> = serde_json::from_str(values.get()).ok()?;
    columns.insert("id".to_owned(), id.into());
    to_raw_value(&columns).ok()
}
