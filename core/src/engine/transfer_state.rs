//! What is known of files on their way besides the mirror's rows: nothing that a restart could not find out again. What follows from it
//! is in `transfers`.

use crate::model::{FewMap, FileRecord, FileState, MutationId, Now, StatusError, Timestamp, UnixMillis};
use crate::transfer::{PIECE_BYTES, Step};

/// The longest wait between two attempts.
pub(super) const LONGEST_MS: u64 = 15 * 60 * 1000;

/// Names one transfer's request; its answer must bring it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferTicket(pub(super) u64);

#[derive(Debug)]
pub(super) struct Moving {
    pub(super) ticket: TransferTicket,
    pub(super) export_id: MutationId,
    pub(super) step: Step,
    pub(super) fresh_token: bool,
    pub(super) sent: u64,
}

#[derive(Debug)]
pub(super) struct Retry {
    /// Since the server last got more of the file than it had.
    pub(super) attempts: u32,
    /// Those of them that a policy refused.
    pub(super) denials: u32,
    pub(super) at: UnixMillis,
    pub(super) error: StatusError,
}

/// How much the server was last known to have of a resumable upload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offset {
    pub(super) bytes: u64,
    /// Not after any break: then it is asked.
    pub(super) is_current: bool,
}

/// What is known of transfers besides the mirror's rows: nothing that a restart could not find out again.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    pub(super) moving: Option<Moving>,
    pub(super) next_ticket: u64,
    pub(super) offsets: FewMap<MutationId, Offset>,
    /// Uploads that the server called complete without saying so to the last piece: is the object there?
    pub(super) looks: FewMap<MutationId, ()>,
    /// Answers about uploads since the server last got more of them.
    pub(super) stalls: FewMap<MutationId, u32>,
    pub(super) retries: FewMap<MutationId, Retry>,
    pub(super) fresh_token: bool,
    /// The server's clock when the mirror last had all that the server had.
    pub(super) server_time: Option<Timestamp>,
}

impl Transfers {
    pub(super) fn heard(&mut self, server_time: Timestamp) {
        self.server_time = Some(server_time);
    }

    pub(super) fn sent(&self, id: MutationId) -> u64 {
        let moving = self.moving.as_ref().filter(|it| it.export_id == id).map_or(0, |it| it.sent);
        self.offsets.get(&id).map_or(0, |it| it.bytes).saturating_add(moving)
    }

    /// The file about which a request is under way.
    pub(super) fn under_way(&self) -> Option<MutationId> {
        self.moving.as_ref().map(|moving| moving.export_id)
    }

    pub(super) fn last_error(&self, id: MutationId) -> Option<StatusError> {
        self.retries.get(&id).map(|retry| retry.error.clone())
    }

    pub(super) fn lose_offset(&mut self, id: MutationId) {
        if let Some(offset) = self.offsets.get_mut(&id) {
            offset.is_current = false;
        }
    }

    /// The next attempt may come at once.
    pub(super) fn forget_failure(&mut self, id: MutationId) {
        self.retries.remove(&id);
    }

    /// Counts one more answer after which the server has no more of an upload than before.
    pub(super) fn stall(&mut self, id: MutationId) -> u32 {
        let stalls = self.stalls.get_or_insert(id, || 0);
        *stalls += 1;
        *stalls
    }

    pub(super) fn forget_upload(&mut self, id: MutationId) {
        self.offsets.remove(&id);
        self.looks.remove(&id);
        self.stalls.remove(&id);
    }

    pub(super) fn forget(&mut self, id: MutationId) {
        self.forget_failure(id);
        self.forget_upload(id);
        self.moving.take_if(|moving| moving.export_id == id);
    }

    /// When a file may be tried again. A clock that was set back must not make it wait for years.
    pub(super) fn due_at(&self, id: MutationId, now: Now) -> UnixMillis {
        let at = self.retries.get(&id).map(|retry| retry.at);
        at.filter(|at| *at <= now.unix_ms.plus_ms(LONGEST_MS)).unwrap_or(now.unix_ms)
    }

    /// Something happened that may have removed what stood in the way.
    pub(super) fn signal(&mut self) {
        for retry in self.retries.values_mut() {
            retry.at = UnixMillis(0);
        }
    }

    /// What is to be asked of the server about a file next.
    pub(super) fn step(&self, file: &FileRecord) -> Step {
        let (id, size) = (file.export_id, file.input.size);
        let offset = self.offsets.get(&id).filter(|it| it.is_current).map(|it| it.bytes);
        match (file.state, &file.upload_id, offset) {
            (FileState::Gone, ..) => Step::Delete,
            _ if self.looks.get(&id).is_some() => Step::Look,
            _ if size <= PIECE_BYTES => Step::Post,
            (_, None, _) => Step::Create,
            (_, Some(_), None) => Step::Ask,
            (_, Some(_), Some(offset)) => Step::Patch { offset, length: PIECE_BYTES.min(size - offset) },
        }
    }
}
