//! Storage: SQLite on the origin private file system, through its pool of synchronous access handles.
//!
//! One pool directory for each user, so that two people on one device never share a file. A pool is owned by one
//! worker at a time; the second one is told so, it never gets another (empty) database. There is no fallback here.

use js_sys::Reflect;
use marea_core::UserId;
use sqlite_wasm_rs::WasmOsCallback;
use sqlite_wasm_vfs::sahpool::{OpfsSAHError, OpfsSAHPoolCfgBuilder, OpfsSAHPoolUtil, install};
use wasm_bindgen::{JsCast, JsValue};

use crate::error;

/// The mirror's name inside its pool. The pool's directory tells users apart.
pub(crate) const MIRROR_FILE: &str = "mirror.db";

/// The mirror, its journal, and the same again for a file that had to be set aside. Each slot costs a file at first open.
const POOL_SLOTS: usize = 4;

/// What another tab's worker holds makes the browser refuse a handle with one of these.
const HELD_ELSEWHERE: [&str; 2] = ["NoModificationAllowedError", "InvalidStateError"];

/// Opens the user's pool and makes it SQLite's default VFS.
pub(crate) async fn open_pool(user: &UserId) -> Result<OpfsSAHPoolUtil, JsValue> {
    let config = OpfsSAHPoolCfgBuilder::new()
        .vfs_name("marea-opfs")
        .directory(&format!(".marea/{user}"))
        .initial_capacity(POOL_SLOTS)
        .build();
    install::<WasmOsCallback>(&config, true).await.map_err(|cause| to_js(&cause))
}

fn to_js(cause: &OpfsSAHError) -> JsValue {
    match cause {
        OpfsSAHError::NotSupported => unavailable(),
        OpfsSAHError::Opfs { value, .. } => match dom_name(value).as_str() {
            name if HELD_ELSEWHERE.contains(&name) => locked(),
            "SecurityError" | "NotAllowedError" | "UnknownError" => unavailable(),
            "QuotaExceededError" => error::new(
                "storage_full",
                "This device has no room left for the mirror. Free some space and open Marea again.",
                true,
            ),
            name => failed(name),
        },
        OpfsSAHError::InvalidHeader { .. } | OpfsSAHError::DuplicateFilename(_) => error::new(
            "mirror_corrupt",
            "The files of the mirror are damaged. They are left as they are, because unsent work may be inside.",
            false,
        ),
        _ => failed("unexpected"),
    }
}

/// The mirror belongs to another tab, or to a page that is just being left.
fn locked() -> JsValue {
    error::new(
        "mirror_locked",
        "Another tab or window of this app has this user's mirror open. Close it, or go on there.",
        true,
    )
}

fn unavailable() -> JsValue {
    error::new(
        "storage_unavailable",
        "This browser gives no durable storage here (OPFS needs a secure context and no private window), so nothing \
         could be kept. Use another window or browser.",
        false,
    )
}

fn failed(name: &str) -> JsValue {
    error::new("storage_failed", &format!("The browser's storage failed while it was opened ({name})."), true)
}

fn dom_name(value: &JsValue) -> String {
    if !value.is_object() {
        return String::new();
    }
    Reflect::get(value.unchecked_ref(), &JsValue::from_str("name"))
        .ok()
        .and_then(|name| name.as_string())
        .unwrap_or_default()
}
