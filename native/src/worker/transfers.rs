//! Moving files: the loop beside the sync, and what it carries. What to move and when is the engine's decision.

use std::rc::Rc;
use std::time::Duration;

use marea_core::{
    Arriving, Failure, Transfer, TransferAnswer, TransferBody, TransferFailure, TransferTicket,
};
use tokio::sync::mpsc;

use super::state::State;
use crate::files::FileLock;
use crate::{Error, clock};

/// How long the loop rests when the mirror itself fails, or another program moves this mirror's files.
const TROUBLE: Duration = Duration::from_secs(30);

/// How often, and after how long at most, a file that failed is tried again while somebody waits.
const ATTEMPTS: u32 = 4;
const MOMENT: Duration = Duration::from_secs(2);

/// Of what is fetched, something has to come as often as this.
const SILENCE: Duration = Duration::from_secs(30);

/// What is read of an answer that gives a link: it is a line.
const LINK_BYTES: usize = 16 * 1024;

/// Parts of a file that wait for the disk: what bounds the memory of a download.
const CHUNKS: usize = 4;

/// Moves files whenever the engine wants, for as long as the client lives.
pub(super) async fn in_the_background(state: Rc<State>) {
    if let Err(error) = sweep(&state) {
        tracing::warn!(code = error.code(), "the files beside the mirror could not be looked at");
    }
    loop {
        let now = clock::now();
        match state.with_engine(|engine| engine.next_transfer_wake(now)) {
            Ok(Some(at)) if at <= now.unix_ms => match move_files(&state).await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(TROUBLE).await,
                Err(error) => {
                    tracing::warn!(code = error.code(), "files could not be moved");
                    tokio::time::sleep(TROUBLE).await;
                }
            },
            Ok(Some(at)) => {
                let wait = Duration::from_millis(at.0.saturating_sub(now.unix_ms.0).unsigned_abs());
                let _ = tokio::time::timeout(wait, state.files_nudge.notified()).await;
            }
            Ok(None) => state.files_nudge.notified().await,
            Err(error) => {
                tracing::warn!(code = error.code(), "the mirror cannot say which files to move");
                tokio::time::sleep(TROUBLE).await;
            }
        }
    }
}

/// Moves what is due, one file at a time. False: another program is at it.
pub(super) async fn move_files(state: &Rc<State>) -> Result<bool, Error> {
    let _turn = state.files_turn.lock().await;
    let Some(_turn_of_this_process) = FileLock::try_for(&state.mirror_path().with_extension("files-lock"))?
    else {
        return Ok(false);
    };
    let mut moved = false;
    while let Some(transfer) = state.with_engine(|engine| engine.next_transfer(clock::now()))? {
        moved = true;
        let under_way = UnderWay { state, ticket: transfer.ticket };
        let outcome = carry(state, &transfer).await;
        if let Err(TransferFailure::Network(failure)) = &outcome {
            tracing::debug!(code = failure.code(), "a file did not get on");
        }
        match state.with_engine(|engine| engine.apply_transfer(transfer.ticket, outcome, clock::now())) {
            // Given up meanwhile by who cancelled it.
            Err(marea_core::Error::StaleTicket) => {}
            applied => applied?,
        }
        drop(under_way);
    }
    if moved {
        sweep(state)?;
    }
    Ok(true)
}

/// A request on its way: should this future be dropped in the middle, the engine is told.
struct UnderWay<'s> {
    state: &'s State,
    ticket: TransferTicket,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.state.with_engine(|engine| engine.abandon_transfer(self.ticket));
    }
}

async fn carry(state: &Rc<State>, transfer: &Transfer) -> Result<TransferAnswer, TransferFailure> {
    let network = TransferFailure::Network;
    let transport = state.transport().map_err(|_| network(Failure::TokenUnavailable))?;
    let token = state.token(transfer.fresh_token).await.map_err(network)?;
    let bytes = match &transfer.request.body {
        TransferBody::Empty => Vec::new(),
        TransferBody::File { name, offset, length, sha256 } => {
            let (bytes, name, offset, length) = (state.bytes().clone(), name.clone(), *offset, *length);
            let sha256 = sha256.clone();
            let read = move || bytes.read(&name, offset, length, sha256.as_deref());
            let read = tokio::task::spawn_blocking(read).await;
            read.ok().flatten().ok_or(TransferFailure::Bytes)?
        }
    };
    let sent =
        transport.transfer(&transfer.request, bytes, transfer.user_id, &token, transfer.timeout_ms).await;
    sent.map_err(network)
}

/// Removes bytes that no row wants, and lets rows know whose bytes are not there. Not while somebody adds a file: their bytes
/// come before their row.
pub(crate) fn sweep(state: &State) -> Result<(), Error> {
    let Some((names, _lock)) = state.bytes().names()? else {
        let expected = state.with_engine(|engine| engine.files())?.iter().any(|file| file.on_device);
        if expected && !state.bytes().is_there()? {
            state.with_engine(|engine| engine.sweep_files(&[]))?;
        }
        return Ok(());
    };
    for name in state.with_engine(|engine| engine.sweep_files(&names))? {
        state.bytes().remove(&name)?;
    }
    Ok(())
}

/// Moves files now, whatever their backoff.
pub(crate) async fn move_files_now(state: &Rc<State>) -> Result<(), Error> {
    state.transport()?;
    state.has_tokens()?;
    state.with_engine(|engine| engine.signal_files());
    for _ in 0..ATTEMPTS {
        if !move_files(state).await? {
            return Err(Error::SyncBusy);
        }
        // Somebody waits: what failed for a moment is tried again while that costs a moment only.
        let now = clock::now();
        let wake = state.with_engine(|engine| engine.next_transfer_wake(now))?;
        let wait =
            wake.map(|at| Duration::from_millis(at.0.saturating_sub(now.unix_ms.0).max(0).unsigned_abs()));
        match wait.filter(|wait| *wait <= MOMENT) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => break,
        }
    }
    Ok(())
}

/// A file that arrives.
pub(crate) struct FetchedFile {
    pub(crate) chunks: mpsc::Receiver<Result<Vec<u8>, Error>>,
}

/// Begins to fetch a file.
pub(crate) async fn fetch_file(state: Rc<State>, path: String) -> Result<FetchedFile, Error> {
    let mut arriving = open(&state, &path, None).await?;
    let (sender, chunks) = mpsc::channel(CHUNKS);
    tokio::task::spawn_local(async move {
        while let Some(chunk) = unless_silent(arriving.chunk()).await.transpose() {
            let is_over = chunk.is_err();
            if sender.send(chunk).await.is_err() || is_over {
                break;
            }
        }
    });
    Ok(FetchedFile { chunks })
}

/// A link that opens a file for a while.
pub(crate) async fn fetch_link(
    state: Rc<State>,
    path: String,
    expires_in_seconds: u32,
) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Link {
        #[serde(rename = "signedURL")]
        signed_url: String,
    }
    let body = serde_json::json!({ "expiresIn": expires_in_seconds }).to_string();
    let mut arriving = open(&state, &path, Some(body)).await?;
    let said = async {
        let mut said = Vec::new();
        while let Some(chunk) = arriving.chunk().await? {
            said.extend_from_slice(&chunk);
            if said.len() > LINK_BYTES {
                return Err(Failure::Unintelligible);
            }
        }
        Ok(said)
    };
    let said = unless_silent(said).await?;
    let link: Link = serde_json::from_slice(&said).map_err(|_| unfetched(Failure::Unintelligible))?;
    Ok(format!("{}/storage/v1{}", state.server_url().trim_end_matches('/'), link.signed_url))
}

/// Asks for something of the object storage; once more with a fresh token where the first was refused.
async fn open(state: &Rc<State>, path: &str, json: Option<String>) -> Result<Arriving, Error> {
    let transport = state.transport()?;
    state.has_tokens()?;
    let user_id = state.user_id();
    for fresh in [false, true] {
        let token = state.token(fresh).await.map_err(unfetched)?;
        let answer = unless_silent(transport.fetch(path, json.clone(), user_id, &token)).await?;
        match answer.status() {
            200..=299 => return Ok(answer),
            // Supabase answers 400 to a token that has expired, too.
            400 | 401 | 403 if !fresh => {}
            status => {
                let code = "storage".to_owned();
                return Err(unfetched(Failure::Refused { status, code }));
            }
        }
    }
    Err(unfetched(Failure::no_token()))
}

/// What a server gives, unless it gives nothing for too long.
async fn unless_silent<T>(giving: impl Future<Output = Result<T, Failure>>) -> Result<T, Error> {
    let given = tokio::time::timeout(SILENCE, giving).await;
    given.unwrap_or(Err(Failure::Timeout)).map_err(unfetched)
}

fn unfetched(reason: Failure) -> Error {
    Error::FileFetch { reason }
}
