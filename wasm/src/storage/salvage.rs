//! The bytes of a mirror that SQLite's pool or SQLite itself cannot open any more: read file by file, so that what is left of
//! its queue can be saved. It only reads; whatever cannot be read is left out.

use js_sys::{ArrayBuffer, AsyncIterator, IteratorNext, Uint8Array};
use marea_core::{Engine, Rescued};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, FileSystemDirectoryHandle, FileSystemFileHandle};

/// How the pool keeps a file: its name, ended by a zero byte, in the first 512 bytes; its content from byte 4,096 on.
const NAME_BYTES: usize = 512;
const CONTENT: usize = 4096;

/// Where the pool keeps its files.
const FILES: &str = ".opaque";

/// What is left of the queue of the mirror `name` in a pool's directory.
pub(super) async fn salvage(pool: &FileSystemDirectoryHandle, name: &str) -> Rescued {
    let (mut image, mut log) = (Vec::new(), Vec::new());
    let log_name = format!("{name}-wal");
    for bytes in files(pool).await.unwrap_or_default() {
        let Some((head, content)) = bytes.split_at_checked(CONTENT) else { continue };
        let found = head[..NAME_BYTES].split(|byte| *byte == 0).next().unwrap_or_default();
        let found = found.strip_prefix(b"/").unwrap_or(found);
        if found == name.as_bytes() {
            image = content.to_vec();
        } else if found == log_name.as_bytes() {
            log = content.to_vec();
        }
    }
    Engine::rescue(&image, &log)
}

async fn files(pool: &FileSystemDirectoryHandle) -> Result<Vec<Vec<u8>>, JsValue> {
    let folder: FileSystemDirectoryHandle =
        JsFuture::from(pool.get_directory_handle(FILES)).await?.unchecked_into();
    let entries: AsyncIterator = folder.keys();
    let mut found = Vec::new();
    loop {
        let next: IteratorNext = JsFuture::from(entries.next()?).await?.unchecked_into();
        if next.done() {
            return Ok(found);
        }
        if let Some(name) = next.value().as_string()
            && let Ok(bytes) = read(&folder, &name).await
        {
            found.push(bytes);
        }
    }
}

async fn read(folder: &FileSystemDirectoryHandle, name: &str) -> Result<Vec<u8>, JsValue> {
    let handle: FileSystemFileHandle = JsFuture::from(folder.get_file_handle(name)).await?.unchecked_into();
    let file: File = JsFuture::from(handle.get_file()).await?.unchecked_into();
    let buffer: ArrayBuffer = JsFuture::from(file.array_buffer()).await?.unchecked_into();
    Ok(Uint8Array::new(&buffer).to_vec())
}
