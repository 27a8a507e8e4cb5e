//! What was there before the account was: an app's own history, and a guest's work.

use std::ffi::c_char;

use marea_native::block_on;

use super::client::{MareaClient, client_of};
use super::edge::{clear, give_json, guard, text};
use crate::code::MareaCode;

/// Brings in what an app kept before it had Marea, once: called again, here or on another device, nothing comes in twice, and a `name`
/// of which nothing was refused is done. `items` is a JSON array; each item has one of `"session"` (as for `marea_record_session`,
/// with `"ended_at"`, `"started_at"` or `"local_date"`), `"event"` (as for `marea_record_event`, with `"occurred_at"` or
/// `"local_date"`), and `"table"` with `"key"` and `"values"`; a `"key"` makes an item the same one everywhere.
///
/// `imported` gets `{"imported": N, "known": N, "refused": [{"index": N, "message": "..."}]}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_import_once(
    client: *const MareaClient,
    name: *const c_char,
    items: *const c_char,
    imported: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(imported);
        guard(error, || {
            let client = client_of(client)?;
            let (name, items) = (text(name, "name")?, text(items, "items")?);
            give_json(imported, &block_on(client.import_once(name, items))?)
        })
    }
}

/// Brings what was done in this folder before anybody signed in (`"guest"` of `marea_open`) into the account of `client`, exactly
/// once; call it after a sign-in. What was interrupted is ended by the next call.
///
/// `claimed` gets `{"claimed": N, "known": N, "kept": N}`: writes that came in, that were here already, and that stay for another
/// account which has begun to claim them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_claim(
    client: *const MareaClient,
    claimed: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(claimed);
        guard(error, || give_json(claimed, &block_on(client_of(client)?.claim())?))
    }
}
