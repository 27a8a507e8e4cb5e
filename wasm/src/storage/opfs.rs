//! Storage: SQLite on the origin private file system, through its pool of synchronous access handles.
//!
//! One pool directory for each user, so that two people on one device never share a file. A pool is owned by one
//! worker at a time; the second one is told so, it never gets another (empty) database. There is no fallback here.
//!
//! A damaged pool is left as it is, and a directory of the next generation is begun beside it.

use js_sys::{AsyncIterator, IteratorNext, Reflect};
use marea_core::{Rescued, UserId};
use sqlite_wasm_rs::WasmOsCallback;
use sqlite_wasm_rs::vfs::VfsFilesManager;
use sqlite_wasm_vfs::sahpool::{OpfsSAHError, OpfsSAHPoolCfgBuilder, OpfsSAHPoolUtil, install};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, FileSystemDirectoryHandle, FileSystemGetDirectoryOptions};

use super::salvage::salvage;
use crate::error;

/// The mirror's name inside its pool. The pool's directory tells users apart.
pub(super) const MIRROR_FILE: &str = "mirror.db";

/// The mirror, its journal, and the same again for a file that had to be set aside. Each slot costs a file at first open.
const POOL_SLOTS: usize = 4;

/// What another tab's worker holds makes the browser refuse a handle with one of these.
const HELD_ELSEWHERE: [&str; 2] = ["NoModificationAllowedError", "InvalidStateError"];

/// Where all mirrors of a site are.
const ROOT: &str = ".marea";

/// A pool that could not be opened.
pub(super) struct PoolFailure {
    pub(super) error: JsValue,
    /// Whether it can never be opened again.
    pub(super) is_damage: bool,
}

/// Opens the user's pool and makes it SQLite's default VFS.
pub(super) async fn open_pool(user: &UserId, generation: u32) -> Result<OpfsSAHPoolUtil, PoolFailure> {
    let directory = directory(user, generation);
    let config = OpfsSAHPoolCfgBuilder::new()
        .vfs_name(&format!("marea-{directory}"))
        .directory(&format!("{ROOT}/{directory}"))
        .initial_capacity(POOL_SLOTS)
        .build();
    let pool = install::<WasmOsCallback>(&config, true).await.map_err(|cause| PoolFailure::new(&cause))?;
    // One that an earlier attempt in this worker has paused.
    pool.resume().await.map_err(|cause| PoolFailure::new(&cause))?;
    Ok(pool)
}

/// Whether the pool holds a mirror.
pub(super) fn has_mirror(pool: &OpfsSAHPoolUtil) -> bool {
    pool.contains(MIRROR_FILE).unwrap_or(false)
}

/// Takes a mirror out of its pool again that was begun and could not be finished.
pub(super) fn remove_mirror(pool: &OpfsSAHPoolUtil) {
    for name in [MIRROR_FILE.to_owned(), format!("{MIRROR_FILE}-wal")] {
        // What stays is a mirror like any other, only without what was to be restored.
        let _ = pool.remove(&name);
    }
}

fn directory(user: &UserId, generation: u32) -> String {
    if generation == 0 { user.to_string() } else { format!("{user}.{generation}") }
}

/// The folder for the bytes of files: beside the pool, where it is erased with it, and left with it when a new one is begun.
pub(super) fn files_folder(user: &UserId, generation: u32) -> String {
    format!("{}.files", directory(user, generation))
}

/// The newest generation of the user's mirror; 0 when there is none yet.
pub(super) async fn newest_generation(user: &UserId) -> Result<u32, JsValue> {
    let names = list_root().await.map_err(|cause| dom_failure(&dom_name(&cause)))?;
    let of_user = names.iter().filter_map(|name| name.strip_prefix(&format!("{user}.")));
    Ok(of_user.filter_map(|generation| generation.parse().ok()).max().unwrap_or(0))
}

/// What is left of the queue of a damaged mirror. Its files are only read.
pub(super) async fn rescue(user: &UserId, generation: u32) -> Rescued {
    let read = async {
        let root = root().await?;
        let pool = JsFuture::from(root.get_directory_handle(&directory(user, generation))).await?;
        Ok::<_, JsValue>(salvage(pool.unchecked_ref(), MIRROR_FILE).await)
    };
    read.await.unwrap_or_default()
}

async fn root() -> Result<FileSystemDirectoryHandle, JsValue> {
    let scope: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
    let top: FileSystemDirectoryHandle =
        JsFuture::from(scope.navigator().storage().get_directory()).await?.unchecked_into();
    let create = FileSystemGetDirectoryOptions::new();
    create.set_create(true);
    Ok(JsFuture::from(top.get_directory_handle_with_options(ROOT, &create)).await?.unchecked_into())
}

async fn list_root() -> Result<Vec<String>, JsValue> {
    let root = root().await?;
    let entries: AsyncIterator = root.keys();
    let mut names = Vec::new();
    loop {
        let next: IteratorNext = JsFuture::from(entries.next()?).await?.unchecked_into();
        if next.done() {
            return Ok(names);
        }
        names.extend(next.value().as_string());
    }
}

impl PoolFailure {
    fn new(cause: &OpfsSAHError) -> Self {
        let is_damage =
            matches!(cause, OpfsSAHError::InvalidHeader { .. } | OpfsSAHError::DuplicateFilename(_));
        Self { error: to_js(cause), is_damage }
    }
}

fn to_js(cause: &OpfsSAHError) -> JsValue {
    match cause {
        OpfsSAHError::NotSupported => unavailable("NotSupportedError"),
        OpfsSAHError::Opfs { value, .. } => dom_failure(&dom_name(value)),
        OpfsSAHError::InvalidHeader { .. } | OpfsSAHError::DuplicateFilename(_) => error::new(
            "mirror_corrupt",
            "The files of the mirror are damaged. They are left as they are, because unsent work may be inside.",
            false,
        ),
        // What the browser said stays with the pool.
        _ => unavailable("no synchronous handles"),
    }
}

fn dom_failure(name: &str) -> JsValue {
    match name {
        name if HELD_ELSEWHERE.contains(&name) => locked(),
        "QuotaExceededError" => error::new(
            "storage_full",
            "This device has no room left for the mirror. Free some space and open Marea again.",
            true,
        ),
        // Whichever it is (a private window, a policy, a browser that has the functions and no files behind them): this browser
        // gives no file now. The page knows of other places, and whether this device has a mirror here.
        name => unavailable(name),
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

/// The browser gives no file. `name` is what it calls that.
pub(super) fn unavailable(name: &str) -> JsValue {
    let name = if name.is_empty() { "no reason given" } else { name };
    let message = format!(
        "This browser's file system (OPFS) is not to be had here ({name}). It needs a secure context, and in many browsers a \
         window that is not private. Use another window or browser, or leave `storage` to Marea."
    );
    error::new("storage_unavailable", &message, true)
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
