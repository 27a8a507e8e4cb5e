//! A client: opening and closing, recording, reading, syncing.

use std::ffi::c_char;
use std::time::Duration;

use marea_native::{Client, EventInput, Signal, block_on};

use super::edge::{
    clear, give, give_handle, give_json, give_text, guard, handle, json, parsed, take_handle, text,
    text_or_none,
};
use crate::code::MareaCode;
use crate::config::{self, Opened};
use crate::problem::Problem;

/// One learner's mirror, open. All entries may be called from any thread, also at the same time.
pub struct MareaClient(pub(super) Opened);

/// The client that a handle stands for.
pub(super) unsafe fn client_of<'a>(client: *const MareaClient) -> Result<&'a Client, Problem> {
    Ok(&unsafe { handle(client, "client")? }.0.client)
}

/// What an app may have noticed; for `marea_signal`.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum MareaSignal {
    /// The network came back.
    Online = 1,
    /// The network went away.
    Offline = 2,
    /// The app became visible, or has heard that something changed on the server.
    Visible = 3,
    /// There is a new sign-in.
    NewToken = 4,
}

/// Opens a learner's mirror, making folder and file when they are missing. Waits for no network. With a server and tokens, the
/// client then syncs by itself in the background.
///
/// `config` is a JSON object:
///
/// - `"dir"`: the data folder. Required.
/// - `"user_id"`: whose mirror, a UUID. Without it: the user of `access_token`, or of the last sign-in on this folder.
/// - `"guest"`: true for who has not signed in: a mirror on this device alone, for `marea_claim` at sign-in.
/// - `"url"`, `"publishable_key"` (or `"anon_key"`): the server, before `/rest/v1`, and the project's public key. Without them: those of the sign-in.
/// - `"access_token"`: the signed-in user's access token, for apps with a sign-in of their own. The next one is handed in
///   with `marea_set_access_token`. Without it: the sign-in that `marea_sign_in` remembered, kept fresh by the client.
/// - `"email"`: which of several sign-ins on this folder.
/// - `"schema"`: the catalogue of the mirrored tables, as `marea schema` writes it. Without it: learned from the server, and kept.
/// - `"background_sync"`: false to sync only when `marea_sync` is called.
/// - `"wakeups"`: false to open no socket on which the server, where it does so, tells of other devices' changes.
/// - `"online"`: false to use no network until `marea_set_online`.
/// - `"day_starts_at"`: at which minute after midnight the learner's day begins, 0 to 360; without it: what the mirror has, at first 0.
/// - `"allow_http"`: true to let the server be another machine by `http://`, where everybody on the way can read the token.
///
/// `client` gets the handle, which is to be freed with `marea_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_open(
    config: *const c_char,
    client: *mut *mut MareaClient,
    error: *mut *mut c_char,
) -> MareaCode {
    // SAFETY: the header's rules, here and in all entries below.
    unsafe {
        clear(client);
        guard(error, || {
            handle(client, "client")?;
            let opened = config::open(text(config, "config")?)?;
            give_handle(client, MareaClient(opened));
            Ok(())
        })
    }
}

/// Closes the mirror: later calls with this handle, which stays valid, answer MAREA_CODE_CLOSED, and watches end. What waits is
/// sent first when that takes no longer than `flush_ms` milliseconds; what was not is sent after the next start. `pending` gets
/// the number of mutations that still wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_close(
    client: *const MareaClient,
    flush_ms: u32,
    pending: *mut u32,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(pending, 0);
        guard(error, || {
            let flush = Duration::from_millis(flush_ms.into());
            give(pending, block_on(client_of(client)?.shutdown(flush))?);
            Ok(())
        })
    }
}

/// Frees the handle, after closing it without a flush if nobody has closed it. No other call with this handle may be under way
/// or follow. NULL is as good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_free(client: *mut MareaClient) {
    unsafe {
        guard(std::ptr::null_mut(), || {
            if let Some(client) = take_handle(client) {
                // It may be closed already, and everything acknowledged is durable either way.
                let _ = block_on(client.0.client.shutdown(Duration::ZERO));
            }
            Ok(())
        });
    }
}

/// Closes the client and removes its mirror for good: all that was recorded, what waits for the server too. What the server has
/// stays there. The handle is still to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_erase(client: *const MareaClient, error: *mut *mut c_char) -> MareaCode {
    unsafe {
        guard(error, || {
            block_on(client_of(client)?.clone().erase())?;
            Ok(())
        })
    }
}

/// Records a completed session. It is on the disk when this returns and counts at once in `marea_progress`.
///
/// `session` is a JSON object: `"session_type"` is required, 1 to 50 characters; `"duration_minutes"`, `"qa_attempts"`,
/// `"qa_correct"`, `"images_processed"`, `"descriptions_generated"`, `"vocabulary_learned"`, `"phrases_saved"` are numbers;
/// `"started_at"`, `"ended_at"` are instants (`"2026-11-23T12:00:00Z"`), `"local_date"` a day; `"session_data"` an object of the
/// app's own; `"id"` a UUID for callers that may call twice.
///
/// `recorded` gets `{"id": UUID, "pending": number of mutations that wait}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_record_session(
    client: *const MareaClient,
    session: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            give_json(recorded, &block_on(client.record_session(json(session, "session")?))?)
        })
    }
}

/// Records an award that belongs to no session.
///
/// `event` is a JSON object of numbers, all optional: `"points"`, `"minutes"`, `"questions_answered"`, `"questions_correct"`,
/// `"vocabulary_learned"`, `"descriptions"`, `"images"`, `"mastered_words"`, `"learning_words"`, `"new_words"`; also
/// `"achievements"`, `"occurred_at"`, `"local_date"`, `"id"`. `recorded` is as for `marea_record_session`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_record_event(
    client: *const MareaClient,
    event: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            let event: EventInput = json(event, "event")?;
            give_json(recorded, &block_on(client.record_event(event))?)
        })
    }
}

/// Totals, averages and streaks, with everything recorded on this device in them. `progress` gets a JSON object with the columns
/// of `user_progress`: `"total_sessions"`, `"current_streak_days"`, `"average_accuracy"`, and so on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_progress(
    client: *const MareaClient,
    progress: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(progress);
        guard(error, || give_json(progress, &block_on(client_of(client)?.progress())?))
    }
}

/// The days from `from` to `to` (`"2026-11-01"`), both included, oldest first; days without activity are left out. `days` gets a
/// JSON array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_activity(
    client: *const MareaClient,
    from: *const c_char,
    to: *const c_char,
    days: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(days);
        guard(error, || {
            let client = client_of(client)?;
            give_json(days, &block_on(client.activity(parsed(from, "from")?, parsed(to, "to")?))?)
        })
    }
}

/// The learner's local day by this machine's clock and time zone, `2026-11-23`, for `marea_activity`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_today(
    client: *const MareaClient,
    day: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(day);
        guard(error, || {
            give_text(day, &client_of(client)?.today().to_string());
            Ok(())
        })
    }
}

/// What waits, what was refused, and how the last sync went. `status` gets a JSON object: `"user_id"`, `"pending"`, `"rejected"`,
/// `"connection"`, `"last_synced_at"`, `"last_error": {"code", "message"}`, and so on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_status(
    client: *const MareaClient,
    status: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(status);
        guard(error, || give_json(status, &block_on(client_of(client)?.status())?))
    }
}

/// Sends what waits and fetches what is new, now, until nothing is left to say or the server cannot be spoken to. Blocks this
/// thread for that long (a request waits 30 seconds at most); other threads may use the client meanwhile.
///
/// Being offline is an outcome, not an error. `report` gets a JSON object: `"outcome"` (`"done"`, `"offline"`,
/// `"need_token"`, `"refused"`, `"retry_later"`), `"pushed"`, `"rejected"`, `"pulled"`, `"pending"`, `"last_error"`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_sync(
    client: *const MareaClient,
    report: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(report);
        guard(error, || give_json(report, &block_on(client_of(client)?.sync())?))
    }
}

/// Tells the client what the app has noticed; `signal` is one of `MareaSignal`. On Linux it hears of the network by itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_signal(
    client: *const MareaClient,
    signal: i32,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        guard(error, || {
            let client = client_of(client)?;
            Ok(block_on(client.signal(signal_of(signal)?))?)
        })
    }
}

/// The app's own wish to use the network: once a call with false has returned, no request begins until one with true, and then
/// one begins at once. A request that is under way is finished. `"paused"` in the status shows it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_set_online(
    client: *const MareaClient,
    online: bool,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe { guard(error, || Ok(block_on(client_of(client)?.set_online(online))?)) }
}

fn signal_of(number: i32) -> Result<Signal, Problem> {
    let known = [
        (MareaSignal::Online, Signal::Online),
        (MareaSignal::Offline, Signal::Offline),
        (MareaSignal::Visible, Signal::Visible),
        (MareaSignal::NewToken, Signal::NewToken),
    ];
    let found = known.iter().find(|(signal, _)| *signal as i32 == number);
    found
        .map(|(_, signal)| *signal)
        .ok_or_else(|| Problem::Input("signal", "is none of MareaSignal".to_owned()))
}

/// Hands in a new access token, in place of the last one, and lets a sync go on that waited for it; NULL when nobody is signed
/// in any more. When one is needed, the status' `"last_error"` has the code `"unauthorized"`. Not for clients that were opened on a
/// remembered sign-in: they see to it themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_set_access_token(
    client: *const MareaClient,
    access_token: *const c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        guard(error, || {
            let opened = &handle(client, "client")?.0;
            let token = text_or_none(access_token, "access_token")?;
            let Some(tokens) = &opened.tokens else {
                let problem = "is not needed: this client was opened on a remembered sign-in";
                return Err(Problem::Input("access_token", problem.to_owned()));
            };
            tokens.replace(token.map(marea_native::auth::Secret::new));
            Ok(block_on(opened.client.signal(Signal::NewToken))?)
        })
    }
}

/// The file that the mirror is in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_mirror_path(
    client: *const MareaClient,
    path: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(path);
        guard(error, || {
            let mirror_path = client_of(client)?.mirror_path();
            let text = mirror_path.to_str().ok_or(Problem::Internal("the folder came in as UTF-8"))?;
            give_text(path, text);
            Ok(())
        })
    }
}
