//! Exports: asked for here, made by the app's backend.

use std::ffi::c_char;

use marea_native::{ExportQuery, block_on};

use super::client::{MareaClient, client_of};
use super::edge::{clear, give_json, guard, json, parsed, text_or_none};
use crate::code::MareaCode;
use crate::problem::{Problem, read_json};

/// Which page; the first of all exports when C says nothing.
pub(super) unsafe fn query(pointer: *const c_char) -> Result<ExportQuery, Problem> {
    match unsafe { text_or_none(pointer, "query")? } {
        Some(text) => read_json(text, "query"),
        None => Ok(ExportQuery::default()),
    }
}

/// Asks for an export. `export_` is a JSON object: `"export_type"` and `"export_format"` are required, `"filters"` is an object,
/// `"id"` a UUID. `recorded` is as for `marea_record_session`; its id is the export's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_create_export(
    client: *const MareaClient,
    export_: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            give_json(recorded, &block_on(client.create_export(json(export_, "export_")?))?)
        })
    }
}

/// Says what became of an export; of two devices that say it differently, the later one wins, column by column. `change` is a
/// JSON object: `"status"`, `"records_count"`, `"file_size_bytes"`, `"file_url"`, `"error_message"`, and so on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_update_export(
    client: *const MareaClient,
    id: *const c_char,
    change: *const c_char,
    recorded: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(recorded);
        guard(error, || {
            let client = client_of(client)?;
            let change = json(change, "change")?;
            give_json(recorded, &block_on(client.update_export(parsed(id, "id")?, change))?)
        })
    }
}

/// A page of exports, newest first. `query` is a JSON object or NULL: `"status"`, `"export_type"`, `"limit"` (1 to 500, 50 when
/// absent), `"after"`: the `"next"` of the page before. `page` gets `{"exports": [...], "next": {...} or null}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_exports(
    client: *const MareaClient,
    query: *const c_char,
    page: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(page);
        guard(error, || {
            let client = client_of(client)?;
            give_json(page, &block_on(client.exports(self::query(query)?))?)
        })
    }
}

/// One export; `export_` gets a JSON object, or `null` when this mirror has none with this id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_export(
    client: *const MareaClient,
    id: *const c_char,
    export_: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(export_);
        guard(error, || {
            let client = client_of(client)?;
            give_json(export_, &block_on(client.export(parsed(id, "id")?))?)
        })
    }
}
