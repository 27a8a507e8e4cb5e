//! What an app kept before it had Marea comes in, once.
//!
//! Nothing has to be remembered for that but which imports are done: an item's id is made of the user, the import's name and the
//! item itself, so whichever tab, device or call brings it, it is one mutation with one id.

use serde_json::{Map, Value};

use crate::engine::changed::Changed;
use crate::engine::plan::{Change, Known, Plan};
use crate::engine::record::record;
use crate::engine::{Engine, from_json_or_default};
use crate::error::Error;
use crate::model::{
    EventInput, Hlc, ImportItem, ImportKind, Imported, MutationId, Now, RefusedItem, SessionInput, UserId,
};
use crate::store::{Meta, Rows};
use crate::vault::{digest_of_name, digest_of_parts};

/// Characters of an import's name.
const MAX_NAME: usize = 100;

/// Imports that one mirror keeps in mind.
const MAX_IMPORTS: usize = 1_000;

/// An item that can come in.
struct Ready {
    /// Its place in the list.
    index: u32,
    id: MutationId,
    /// The field that its id is from.
    named_by: &'static str,
    plan: Plan,
}

impl Engine {
    /// Brings in what an app kept before it had Marea: sessions, awards, rows of mirrored tables, with the times that they have. What
    /// comes in is queued like any other write, in one transaction.
    ///
    /// Called again, here or on another device, it brings nothing twice. Once nothing of a name was refused, the name is done: a call
    /// with it then does nothing, whatever its items are.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the name; the storage errors: nothing has come in.
    pub fn import_once(
        &mut self,
        name: &str,
        items: Vec<Result<ImportItem, Error>>,
        now: Now,
    ) -> Result<Imported, Error> {
        let characters = name.chars().count();
        if characters == 0 || characters > MAX_NAME || name.contains('\0') {
            return Err(Error::invalid("name", format!("must have 1 to {MAX_NAME} characters")));
        }
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let mut done = imports(self.store.read())?;
        if done.iter().any(|known| known == name) {
            return Ok(Imported { known: count, ..Imported::default() });
        }
        if done.len() >= MAX_IMPORTS {
            return Err(Error::invalid("name", format!("{MAX_IMPORTS} imports are done here already")));
        }
        let mut outcome = Imported::default();
        let ready = self.ready(name, items, now, &mut outcome);
        done.push(name.to_owned());
        self.in_room(|engine| engine.bring(&ready, &done, now, outcome.clone()))
    }

    /// Rows first: their clocks are before all others, and the newest mutation tells the mirror's clock.
    fn ready(
        &mut self,
        name: &str,
        items: Vec<Result<ImportItem, Error>>,
        now: Now,
        outcome: &mut Imported,
    ) -> Vec<Ready> {
        let (mut rows, mut facts, mut seen) = (Vec::new(), Vec::new(), Map::new());
        for (index, item) in (0..).zip(items) {
            match item.and_then(|item| self.ready_one(name, item, &mut seen, now)) {
                Ok((id, named_by, plan)) => {
                    let list = if plan.fact.is_none() { &mut rows } else { &mut facts };
                    list.push(Ready { index, id, named_by, plan });
                }
                Err(error) => outcome.refused.push(refused(index, &error)),
            }
        }
        rows.extend(facts);
        rows
    }

    fn ready_one(
        &mut self,
        name: &str,
        item: ImportItem,
        seen: &mut Map<String, Value>,
        now: Now,
    ) -> Result<(MutationId, &'static str, Plan), Error> {
        let (given, mut change, clock) = match item.what {
            ImportKind::Session(input) => (input.id, Change::RecordSession(dated(input)?), None),
            ImportKind::Event(input) => (input.id, Change::RecordEvent(dated_award(input)?), None),
            ImportKind::Row { table, values } => {
                let key = item.key.clone();
                let key =
                    key.ok_or_else(|| Error::invalid("key", "is missing; a row is imported by its key"))?;
                // Before every write and every deletion of the row, on whichever device that is known.
                (None, Change::Insert { table, key: Some(key), values }, Some(Hlc::ZERO))
            }
        };
        let named_by = if given.is_some() { "id" } else { "key" };
        let id = given.unwrap_or_else(|| {
            let what = match (&change, item.key) {
                (Change::Insert { table, .. }, Some(key)) => format!("row {table} {key}"),
                (_, Some(key)) => format!("key {key}"),
                (_, None) => {
                    let times = seen.get(&item.says).and_then(Value::as_u64).unwrap_or(0) + 1;
                    let what = format!("{times} {}", item.says);
                    seen.insert(item.says, times.into());
                    what
                }
            };
            id_of(name, &what, self.user_id)
        });
        match &mut change {
            Change::RecordSession(input) => input.id = Some(id),
            Change::RecordEvent(input) => input.id = Some(id),
            _ => {}
        }
        let (_, mut plan) = self.plan(Some(id), change, now)?;
        plan.clock = clock;
        Ok((id, named_by, plan))
    }

    fn bring(
        &mut self,
        ready: &[Ready],
        done: &[String],
        now: Now,
        mut outcome: Imported,
    ) -> Result<Imported, Error> {
        let writer = (self.user_id, self.client_id.to_string());
        let mut changed = Changed::default();
        let outcome = self.store.write(|rows| {
            let mut newest = None;
            for Ready { index, id, named_by, plan } in ready {
                let (writer, id) = ((writer.0, writer.1.as_str()), (Known::Maybe(*id), None));
                match record(rows, writer, id, plan.clone(), now, &mut newest, &mut changed)? {
                    Ok(true) => outcome.imported += 1,
                    Ok(false) => outcome.known += 1,
                    // Another item, or another write of this mirror, has its id.
                    Err(Error::InvalidInput { field: "id", problem }) => {
                        outcome.refused.push(refused(*index, &Error::invalid(named_by, problem)));
                    }
                    Err(error) => outcome.refused.push(refused(*index, &error)),
                }
            }
            if outcome.refused.is_empty() {
                rows.set_meta(Meta::Imported, &text(&done)?)?;
            }
            Ok(outcome)
        })?;
        self.announce_rows(&changed);
        self.schedule.wrote();
        Ok(outcome)
    }
}

/// The names of the imports that are done.
pub(super) fn imports(rows: Rows<'_>) -> Result<Vec<String>, Error> {
    Ok(from_json_or_default(rows.meta(Meta::Imported)?.as_deref()))
}

/// The id of an item: as a guest's that of its name, as an account's that of the account and the guest's. So what a guest has
/// imported has, once it is claimed, the id that the account would have given it.
fn id_of(name: &str, what: &str, user_id: UserId) -> MutationId {
    let item = MutationId::of_item(digest_of_parts(&["marea import", name, what]));
    if user_id.is_guest() { item } else { id_in_account(item, user_id) }
}

/// The id that a guest's item has in an account.
pub(super) fn id_in_account(item: MutationId, user_id: UserId) -> MutationId {
    MutationId::of_users_item(digest_of_name(user_id.as_uuid().as_bytes(), &item.to_string()))
}

/// A session that says when it was, and does not take the time of the import for its end.
fn dated(mut input: SessionInput) -> Result<SessionInput, Error> {
    input.ended_at = match (input.ended_at, input.started_at, input.local_date) {
        (None, Some(start), _) if input.duration_minutes.is_none() => Some(start),
        (None, None, Some(day)) => Some(day.noon_utc()),
        (None, None, None) => return Err(undated("ended_at", "ended_at, started_at or local_date")),
        (given, ..) => given,
    };
    Ok(input)
}

fn dated_award(mut input: EventInput) -> Result<EventInput, Error> {
    input.occurred_at = match (input.occurred_at, input.local_date) {
        (None, Some(day)) => Some(day.noon_utc()),
        (None, None) => return Err(undated("occurred_at", "occurred_at or local_date")),
        (given, _) => given,
    };
    Ok(input)
}

fn undated(field: &'static str, fields: &str) -> Error {
    Error::invalid(field, format!("is missing; what is imported says when it was: {fields}"))
}

fn refused(index: u32, error: &Error) -> RefusedItem {
    RefusedItem { index, message: error.to_string() }
}

fn text(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::Internal("an import is not JSON"))
}
