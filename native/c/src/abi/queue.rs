//! The queue: what waits, what was refused and why, and what people decide about it.

use std::ffi::c_char;

use marea_native::block_on;

use super::client::{MareaClient, client_of};
use super::edge::{clear, give, give_json, give_text, guard, parsed};
use crate::code::MareaCode;

/// All that waits for the server, oldest first: a JSON array of objects with `"id"`, `"table"`, `"values"` and so on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_pending(
    client: *const MareaClient,
    mutations: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(mutations);
        guard(error, || give_json(mutations, &block_on(client_of(client)?.pending())?))
    }
}

/// All that the server refused, oldest first: as `marea_pending`, each with the reason.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_rejected(
    client: *const MareaClient,
    mutations: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(mutations);
        guard(error, || give_json(mutations, &block_on(client_of(client)?.rejected())?))
    }
}

/// Queues a refused mutation again. `found` says whether there was one with this id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_retry(
    client: *const MareaClient,
    id: *const c_char,
    found: *mut bool,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(found, false);
        guard(error, || {
            let client = client_of(client)?;
            give(found, block_on(client.retry(parsed(id, "id")?))?);
            Ok(())
        })
    }
}

/// Forgets a refused mutation for good. `found` says whether there was one with this id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_discard(
    client: *const MareaClient,
    id: *const c_char,
    found: *mut bool,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(found, false);
        guard(error, || {
            let client = client_of(client)?;
            give(found, block_on(client.discard(parsed(id, "id")?))?);
            Ok(())
        })
    }
}

/// Queues all refused mutations again, all or none. `count` says how many there were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_retry_all(
    client: *const MareaClient,
    count: *mut u64,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(count, 0);
        guard(error, || {
            give(count, block_on(client_of(client)?.retry_all())?.len() as u64);
            Ok(())
        })
    }
}

/// Forgets all refused mutations for good, all or none. `count` says how many there were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_discard_all(
    client: *const MareaClient,
    count: *mut u64,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(count, 0);
        guard(error, || {
            give(count, block_on(client_of(client)?.discard_all())?.len() as u64);
            Ok(())
        })
    }
}

/// All that the server does not have, as one JSON document: what was recorded, in plain columns. For its owner only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_export_queue(
    client: *const MareaClient,
    document: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(document);
        guard(error, || give_json(document, &block_on(client_of(client)?.export_queue())?))
    }
}

/// State and last syncs as one JSON document for support: codes, counts and times; no learner's data, no secret.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_diagnostics(
    client: *const MareaClient,
    document: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(document);
        guard(error, || {
            give_text(document, &block_on(client_of(client)?.diagnostics())?);
            Ok(())
        })
    }
}

/// Reads the whole mirror and says whether its file is in order: MAREA_CODE_MIRROR_CORRUPT when it is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_check(client: *const MareaClient, error: *mut *mut c_char) -> MareaCode {
    unsafe { guard(error, || Ok(block_on(client_of(client)?.check())?)) }
}
