//! A damaged mirror: set aside under another name, what can be read of its queue saved and put into a fresh one.
//!
//! Nothing is deleted, and nothing is moved before what could be read of it is safe: in a document that whoever opens the
//! mirror next restores, if the program died before it could.

use std::path::{Path, PathBuf};

use crate::engine::changed::Changed;
use crate::engine::same_write::is_same_write;
use crate::engine::{Engine, registers, visible};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::{
    Mutation, Now, Op, Rescued, RescuedMutation, StatusError, StorageKind, TableKind, UnixMillis, UserId,
};
use crate::store::{JournalEntry, Location, NewMutation, Rows, Store, rescue};

/// In the journal and the status, until the next sync: the mirror is a fresh one, because the last was damaged.
const SET_ASIDE: &str = "mirror_set_aside";

/// What became of a damaged mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where the damaged file is now. It may be deleted when the learner misses nothing.
    pub damaged: PathBuf,
    /// A JSON document with the mutations that could be read of its queue.
    pub rescued: PathBuf,
    /// How many there are in it.
    pub found: u32,
    /// How many of them wait in the fresh mirror now. All of them, unless it could not be read whose they are: then the
    /// document is kept and nothing is sent for anybody.
    pub restored: u32,
}

impl Engine {
    /// Opens the mirror of a user, or makes it. One whose file is damaged is set aside under another name beside it, what
    /// can be read of its queue is saved and queued again in a fresh mirror, and all that the server has is pulled anew.
    /// Damage that shows itself later, as [`Error::MirrorCorrupt`] of any call, is met in the same way: drop the engine
    /// and call this. Only files are set aside; elsewhere this is [`Engine::open`].
    ///
    /// # Errors
    /// Those of [`Engine::open`]; [`Error::MirrorCorrupt`] only for a sound database of another program, which is left
    /// alone.
    pub fn open_or_recover(
        location: &Location,
        user_id: UserId,
        entropy: Box<dyn Entropy + Send>,
        now: Now,
    ) -> Result<(Engine, Option<SetAside>), Error> {
        let Location::File(path) = location else {
            return Ok((Engine::open(location, user_id, entropy, now)?, None));
        };
        match Store::open(location).and_then(|store| store.read().check()) {
            Err(Error::MirrorCorrupt) => put_aside(path, user_id, now)?,
            checked => checked?,
        }
        Engine::open_and_restore(location, user_id, entropy, now)
    }

    /// Opens the mirror, and restores what was saved of a damaged one and is not restored yet.
    pub(super) fn open_and_restore(
        location: &Location,
        user_id: UserId,
        entropy: Box<dyn Entropy + Send>,
        now: Now,
    ) -> Result<(Engine, Option<SetAside>), Error> {
        let storage = match location {
            Location::File(_) => StorageKind::File,
            Location::Vfs(_) => StorageKind::Opfs,
            Location::Memory => StorageKind::Memory,
        };
        let mut engine = Engine::over(Store::open(location)?, storage, user_id, entropy)?;
        let mut set_aside = None;
        if let Location::File(path) = location {
            for damaged in rescue::unrestored(path) {
                let Some(saved) = rescue::saved(&damaged)? else { continue };
                let (found, restored) = engine.restore_what_is_ours(&saved, now)?;
                let rescued = rescue::note_restored(&damaged)?;
                set_aside = Some(SetAside { damaged, rescued, found, restored });
            }
        }
        Ok((engine, set_aside))
    }

    /// Reads what is left of the queue in the bytes of a damaged mirror and of its write-ahead log (empty where there is
    /// none): for hosts that keep files or images themselves.
    pub fn rescue(image: &[u8], log: &[u8]) -> Rescued {
        rescue::from_image(image, log)
    }

    /// Takes over what was read of a damaged mirror that the host has set aside itself, as far as it is certain that it is
    /// this user's, and notes it in the journal and the status. Gives how many mutations were read, and how many are queued.
    ///
    /// # Errors
    /// The storage errors (none was queued).
    pub fn restore_what_is_ours(&mut self, rescued: &Rescued, now: Now) -> Result<(u32, u32), Error> {
        let ours = rescued.user_id == Some(self.user_id);
        let restored = if ours { self.restore_all(rescued, now)?.1 } else { 0 };
        let found = u32::try_from(rescued.mutations.len()).unwrap_or(u32::MAX);
        let message = format!(
            "the mirror was damaged and is set aside; {restored} of {found} unsent mutations that could be read were restored"
        );
        let error = StatusError { code: SET_ASIDE.to_owned(), message };
        self.store.write(|rows| {
            rows.add_to_journal(&JournalEntry {
                at_ms: now.unix_ms.0,
                code: error.code.clone(),
                message: error.message.clone(),
                pending: rows.count_pending()?,
                ..JournalEntry::default()
            })
        })?;
        self.schedule.last_error = Some(error);
        Ok((found, restored))
    }

    /// Queues rescued mutations, with the ids that they have; says how many were not here yet. What the server has
    /// already counts once all the same.
    ///
    /// # Errors
    /// [`Error::WrongUser`] unless they are this user's, and the storage errors (none was queued).
    pub fn restore(&mut self, rescued: &Rescued, now: Now) -> Result<u32, Error> {
        self.restore_all(rescued, now).map(|(new, _)| new)
    }

    /// The same; says how many were not here yet, and how many are here now.
    fn restore_all(&mut self, rescued: &Rescued, now: Now) -> Result<(u32, u32), Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        if rescued.user_id != Some(user_id) {
            return Err(Error::WrongUser);
        }
        let mut changed = Changed::default();
        let restored = self.store.write(|rows| {
            let (mut new, mut here) = (0, 0);
            for mutation in rescued.mutations.iter().filter(|mutation| is_usable(mutation)) {
                match rows.sent_mutation(mutation.id)? {
                    None => {
                        put(rows, mutation, &client, &mut changed)?;
                        (new, here) = (new + 1, here + 1);
                    }
                    Some(known) if is_same_write(&known, mutation) => here += 1,
                    // Its id is another write's since: it is in the document alone.
                    Some(_) => {}
                }
            }
            observe(rows, rescued, now)?;
            visible::rebuild(rows, user_id, &mut changed)?;
            Ok((new, here))
        })?;
        self.announce_rows(&changed);
        Ok(restored)
    }
}

/// Saves what can be read of a damaged mirror's queue, then renames its file.
fn put_aside(path: &Path, user_id: UserId, now: Now) -> Result<(), Error> {
    if rescue::is_strangers(path) {
        return Err(Error::MirrorCorrupt);
    }
    let found = rescue::from_file(path)?;
    if found.user_id.is_some_and(|owner| owner != user_id) {
        return Err(Error::WrongUser);
    }
    let aside = rescue::free_name(path, now.unix_ms.0);
    let text = serde_json::to_string_pretty(&found).map_err(|_| Error::Internal("a rescue is not JSON"))?;
    rescue::save(&aside, &text)?;
    rescue::set_aside(path, &aside)
}

/// Whether the mutation would be understood when it is read again: what is damaged may look whole.
pub(super) fn is_usable(rescued: &RescuedMutation) -> bool {
    match rescued.table.kind() {
        TableKind::Events if rescued.op == Op::Insert => {
            rescued.key == rescued.id.to_string() && visible::fact_of(&mutation(rescued)).is_ok()
        }
        // A correction of a session is one of registers.
        TableKind::Registers | TableKind::Events => {
            serde_json::from_str::<serde_json::Map<_, _>>(rescued.values.get()).is_ok()
        }
        TableKind::Fold => false,
    }
}

fn mutation(rescued: &RescuedMutation) -> Mutation {
    let RescuedMutation { id, hlc, table, op, key, values, batch, .. } = rescued.clone();
    Mutation { id, hlc, table, op, key, values, batch }
}

pub(super) fn put(
    rows: Rows<'_>,
    rescued: &RescuedMutation,
    client: &str,
    changed: &mut Changed,
) -> Result<(), Error> {
    let is_register = rows.shapes().kind(rescued.table) == TableKind::Registers;
    if is_register {
        registers::keep_shadow(rows, rescued.table, &rescued.key)?;
    }
    let recorded = UnixMillis(rescued.recorded_ms);
    rows.insert_mutation(&NewMutation { mutation: &mutation(rescued), recorded })?;
    if let Some(refusal) = &rescued.refusal {
        rows.reject(rescued.id, &refusal.code, &refusal.message, UnixMillis(refusal.at_ms))?;
    }
    if is_register {
        registers::refresh(rows, rescued.table, &rescued.key, client)?;
        changed.row(rescued.table, rescued.key.as_str());
    }
    Ok(())
}

/// What is written next comes after what was rescued, unless its clock is from the far future.
fn observe(rows: Rows<'_>, rescued: &Rescued, now: Now) -> Result<(), Error> {
    let greatest = rescued.mutations.iter().map(|mutation| mutation.hlc).max();
    registers::observe(rows, greatest, now.unix_ms)
}
