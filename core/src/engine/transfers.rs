//! Which request about which file comes next, when, and what an answer does: one at a time, apart from the sync and never in
//! its way. An export's row is acknowledged first, then its file goes, then the row says where it is.

use crate::engine::transfer_state::{LONGEST_MS, Moving, Offset, Retry, TransferTicket};
use crate::engine::{Change, Engine};
use crate::error::Error;
use crate::model::{
    Export, ExportChange, ExportStatus, FileRecord, FileState, MutationId, Now, StatusError, UnixMillis,
    UserId,
};
use crate::sync::{Failure, full_jitter_ms};
use crate::transfer::{Step, TransferAnswer, TransferRequest, Verdict, judge, steps_request};

/// How often a policy may say no before that is believed: the row that it asks for may be on its way.
const MOST_DENIALS: u32 = 10;
/// How often the server may answer about an upload without having more of it than before: then it begins again. With the waits
/// between that is about an hour: an outage that ends sooner costs nothing of what has arrived.
const MOST_STALLS: u32 = 30;
/// A request may take so long, and the time that its bytes take at 16 KiB a second.
const TIMEOUT_MS: u64 = 30_000;
const SLOWEST_BYTES_PER_MS: u64 = 16;

/// A request about a file.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// To be handed to [`Engine::apply_transfer`] with what came back.
    pub ticket: TransferTicket,
    /// Whose token must accompany it.
    pub user_id: UserId,
    /// The export whose file it is.
    pub export_id: MutationId,
    /// What to send.
    pub request: TransferRequest,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_ms: u64,
    /// The last token was refused: get a fresh one first.
    pub fresh_token: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferFailure {
    /// The network, or a token that could not be had.
    Network(Failure),
    /// The bytes are not on this device, or are not those that were added.
    Bytes,
}

impl Engine {
    /// The next request about a file, if one is due and none is under way.
    ///
    /// # Errors
    /// The storage errors.
    pub fn next_transfer(&mut self, now: Now) -> Result<Option<Transfer>, Error> {
        if self.transfers.moving.is_some() || self.paused {
            return Ok(None);
        }
        self.retire_files()?;
        let due = |file: &FileRecord| self.transfers.due_at(file.export_id, now) <= now.unix_ms;
        let Some(file) = self.store.read().files_to_move()?.into_iter().find(due) else { return Ok(None) };
        let id = file.export_id;
        if !file.has_bytes && file.state != FileState::Gone {
            self.change_file(id, &mut FileRecord::lose_bytes)?;
            return Ok(None);
        }
        let step = self.transfers.step(&file);
        if !file.tried {
            // Before it leaves: whatever the server gets of it will be deleted there once the export is.
            self.change_file(id, &mut |file| file.tried = true)?;
        }
        let upload_id = file.upload_id.as_deref().unwrap_or_default();
        let request = steps_request(&step, self.user_id, id, &file.input, upload_id);
        let bytes = match step {
            Step::Post => file.input.size,
            Step::Patch { length, .. } => length,
            _ => 0,
        };
        let ticket = TransferTicket(self.transfers.next_ticket);
        self.transfers.next_ticket += 1;
        let fresh_token = std::mem::take(&mut self.transfers.fresh_token);
        self.transfers.moving = Some(Moving { ticket, export_id: id, step, fresh_token, sent: 0 });
        let timeout_ms = TIMEOUT_MS + bytes / SLOWEST_BYTES_PER_MS;
        Ok(Some(Transfer { ticket, user_id: self.user_id, export_id: id, request, timeout_ms, fresh_token }))
    }

    /// Files whose exports are gone: once noticed, their bytes may leave the device.
    fn retire_files(&mut self) -> Result<(), Error> {
        for file in self.store.read().files_to_retire(self.transfers.server_time)? {
            self.change_file(file.export_id, &mut |file| file.state = FileState::Gone)?;
        }
        Ok(())
    }

    /// When [`Engine::next_transfer`] may have something: at once, at the next attempt, or when nothing waits in a quarter of an
    /// hour, for what expires. `None` while one is under way, while the app forbids the network, and without files.
    ///
    /// # Errors
    /// The storage errors.
    pub fn next_transfer_wake(&self, now: Now) -> Result<Option<UnixMillis>, Error> {
        let rows = self.store.read();
        if self.transfers.moving.is_some() || self.paused || rows.files()?.is_empty() {
            return Ok(None);
        }
        if !rows.files_to_retire(self.transfers.server_time)?.is_empty() {
            return Ok(Some(now.unix_ms));
        }
        let waits = rows.files_to_move()?.into_iter();
        let at = waits.map(|file| self.transfers.due_at(file.export_id, now));
        let idle = now.unix_ms.plus_ms(LONGEST_MS);
        Ok(Some(at.min().unwrap_or(idle).min(idle)))
    }

    /// Notes how many bytes of a request have left, for who watches.
    pub fn note_transfer(&mut self, ticket: TransferTicket, sent: u64) {
        if let Some(moving) = self.transfers.moving.as_mut().filter(|it| it.ticket == ticket) {
            moving.sent = sent;
        }
    }

    /// Gives up a request whose answer will never be handed over.
    pub fn abandon_transfer(&mut self, ticket: TransferTicket) {
        if let Some(moving) = self.transfers.moving.take_if(|moving| moving.ticket == ticket) {
            self.transfers.lose_offset(moving.export_id);
        }
    }

    /// Takes what came back for a request.
    ///
    /// # Errors
    /// [`Error::StaleTicket`] for an answer that nobody waits for, and the storage errors: then the request counts as unanswered.
    pub fn apply_transfer(
        &mut self,
        ticket: TransferTicket,
        outcome: Result<TransferAnswer, TransferFailure>,
        now: Now,
    ) -> Result<(), Error> {
        let Some(moving) = self.transfers.moving.take_if(|moving| moving.ticket == ticket) else {
            return Err(Error::StaleTicket);
        };
        let id = moving.export_id;
        let Some(file) = self.store.read().file(id)? else { return Ok(()) };
        let applied = match outcome {
            Ok(answer) => {
                let object = file.input.object(self.user_id, id);
                let verdict = judge(&moving.step, &answer, file.input.size, &object);
                self.take_verdict(&moving, &file, verdict, now)
            }
            Err(TransferFailure::Bytes) => {
                self.transfers.forget(id);
                self.change_file(id, &mut FileRecord::lose_bytes).map(|_| ())
            }
            Err(TransferFailure::Network(failure)) => {
                // How much of a piece has arrived is not known.
                self.transfers.lose_offset(id);
                self.try_later(id, failure.code(), &failure.to_string(), None, now);
                Ok(())
            }
        };
        if applied.is_err() {
            self.transfers.lose_offset(id);
            self.try_later(id, "storage_failed", "the mirror could not be written", None, now);
        }
        applied
    }

    fn take_verdict(
        &mut self,
        moving: &Moving,
        file: &FileRecord,
        verdict: Verdict,
        now: Now,
    ) -> Result<(), Error> {
        let id = file.export_id;
        let is_stuck = is_stall(moving, &verdict) && self.transfers.stall(id) > MOST_STALLS;
        let verdict = if is_stuck { Verdict::BeginAgain } else { verdict };
        match verdict {
            // No answer to a deletion. It stays to be done, and not at once.
            Verdict::Stored | Verdict::BeginAgain | Verdict::Refused(..) if moving.step == Step::Delete => {
                let message = "the server does not delete the file now; it will be tried again";
                self.try_later(id, "refused", message, None, now);
            }
            Verdict::Stored => return self.stored(file, now),
            Verdict::Begun(upload_id) => {
                // The address first: pieces of an upload that nobody finds again would be sent twice.
                self.change_file(id, &mut |file| file.set_upload(Some(upload_id.clone())))?;
                self.transfers.offsets.insert(id, Offset { bytes: 0, is_current: true });
            }
            Verdict::Received(offset) => return self.received(moving, file, offset, now),
            Verdict::AskAgain => {
                self.transfers.lose_offset(id);
                self.try_later(id, "upload_interrupted", "it goes on where it was cut", None, now);
            }
            Verdict::BeginAgain => {
                self.transfers.forget_upload(id);
                self.change_file(id, &mut |file| file.set_upload(None))?;
                self.try_later(id, "upload_expired", "it begins again", None, now);
            }
            Verdict::Deleted => self.deleted(id)?,
            // The server's own sweep has its row and will find it.
            Verdict::NotAllowed if moving.step == Step::Delete => self.deleted(id)?,
            Verdict::NotAllowed if self.denials(id) >= MOST_DENIALS => {
                self.refuse(id, "file_not_allowed", "the server's policies do not allow this file")?;
            }
            Verdict::NotAllowed => {
                let message = "the server does not know this export yet, or does not allow its file";
                let denials = self.denials(id);
                self.try_later(id, "file_not_allowed", message, None, now);
                if let Some(retry) = self.transfers.retries.get_mut(&id) {
                    retry.denials = denials + 1;
                }
            }
            Verdict::Token if !moving.fresh_token => self.transfers.fresh_token = true,
            Verdict::Token => {
                let failure = Failure::Unauthorized { code: "storage".to_owned() };
                self.try_later(id, failure.code(), &failure.to_string(), None, now);
            }
            Verdict::Refused(code, message) => self.refuse(id, code, message)?,
            Verdict::Wait(code, after) => {
                let message = "the server does not take the file now; it will be tried again";
                self.try_later(id, code, message, after, now);
            }
        }
        Ok(())
    }

    /// The server has so much of an upload.
    fn received(&mut self, moving: &Moving, file: &FileRecord, offset: u64, now: Now) -> Result<(), Error> {
        let (id, size) = (file.export_id, file.input.size);
        match moving.step {
            Step::Patch { .. } if offset == size => return self.stored(file, now),
            Step::Patch { offset: before, .. } if offset <= before => {
                // Nothing of the piece was taken: not again at once.
                self.transfers.lose_offset(id);
                self.try_later(id, "no_progress", "it will be tried again", None, now);
                return Ok(());
            }
            // Complete, and the answer that said so was lost: or the object could not be made of it.
            _ if offset == size => self.transfers.looks.insert(id, ()),
            _ => {}
        }
        if self.transfers.offsets.get(&id).is_none_or(|before| offset > before.bytes) {
            self.transfers.forget_failure(id);
            self.transfers.stalls.remove(&id);
        }
        self.transfers.offsets.insert(id, Offset { bytes: offset, is_current: true });
        Ok(())
    }

    /// The server has the file: that, and what the export's row says of it, in one transaction.
    fn stored(&mut self, file: &FileRecord, now: Now) -> Result<(), Error> {
        let id = file.export_id;
        let export = self.export(id)?;
        // Deleted while it went up: what has arrived is deleted once the server has taken that.
        let Some(export) = export.filter(|_| file.state != FileState::Gone) else {
            self.transfers.forget(id);
            return Ok(());
        };
        let change = Change::UpdateExport { id, change: self.became(file, &export, now) };
        let mut uploaded = file.clone();
        uploaded.upload_id = None;
        uploaded.set_state(FileState::Uploaded);
        self.mutate_beside(change, &mut |rows| rows.put_file(&uploaded), now)?;
        self.transfers.forget(id);
        Ok(())
    }

    fn deleted(&mut self, id: MutationId) -> Result<(), Error> {
        self.transfers.forget(id);
        self.change_file(id, &mut FileRecord::forget).map(|_| ())
    }

    fn became(&self, file: &FileRecord, export: &Export, now: Now) -> ExportChange {
        let is_open =
            [ExportStatus::Pending.name(), ExportStatus::Processing.name()].contains(&export.status.as_str());
        ExportChange {
            file_url: Some(file.input.url(self.user_id, file.export_id)),
            file_size_bytes: i64::try_from(file.input.size).ok(),
            status: is_open.then_some(ExportStatus::Completed),
            completed_at: (is_open && export.completed_at.is_none()).then(|| now.timestamp()),
            ..ExportChange::default()
        }
    }

    fn refuse(&mut self, id: MutationId, code: &str, message: &str) -> Result<(), Error> {
        self.change_file(id, &mut |file| file.refuse(code, message))?;
        self.transfers.forget(id);
        Ok(())
    }

    fn attempts(&self, id: MutationId) -> u32 {
        self.transfers.retries.get(&id).map_or(0, |retry| retry.attempts)
    }

    fn denials(&self, id: MutationId) -> u32 {
        self.transfers.retries.get(&id).map_or(0, |retry| retry.denials)
    }

    fn try_later(&mut self, id: MutationId, code: &str, message: &str, after_ms: Option<u64>, now: Now) {
        let attempts = self.attempts(id);
        let jitter = full_jitter_ms(attempts, self.random());
        let wait_ms = jitter.max(after_ms.unwrap_or(0)).min(LONGEST_MS);
        let error = StatusError { code: code.to_owned(), message: message.to_owned() };
        let (attempts, denials) = (attempts.saturating_add(1), self.denials(id));
        let retry = Retry { attempts, denials, at: now.unix_ms.plus_ms(wait_ms), error };
        self.transfers.retries.insert(id, retry);
    }
}

/// An answer about an upload, of which the server has no more than before.
fn is_stall(moving: &Moving, verdict: &Verdict) -> bool {
    match (&moving.step, verdict) {
        (Step::Ask | Step::Patch { .. }, Verdict::AskAgain | Verdict::Wait(..)) => true,
        (Step::Ask | Step::Patch { .. }, Verdict::Token) => moving.fresh_token,
        (Step::Patch { offset, .. }, Verdict::Received(received)) => received <= offset,
        _ => false,
    }
}
