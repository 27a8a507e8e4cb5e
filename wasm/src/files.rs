//! Files of exports, as the leader's worker handles them: it keeps their bytes (wasm/js/files.ts), the engine what is known of them.

use marea_core::{ExportInput, FILE_QUOTA_BYTES, FileHash, FileInput, FileSource, FileView, Recorded};
use tsify::Ts;
use wasm_bindgen::prelude::*;

use crate::convert::{list_to_js, parse, parse_id, to_js};
use crate::engine::MareaEngine;
use crate::host::now;

/// SHA-256 of a file, block by block.
#[wasm_bindgen]
#[derive(Default)]
pub struct BlockHash(FileHash);

#[wasm_bindgen]
impl BlockHash {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> BlockHash {
        BlockHash::default()
    }

    /// Adds a block.
    pub fn update(&mut self, block: &[u8]) {
        self.0.update(block);
    }

    /// The hash, in hexadecimal digits. There is nothing to be added any more.
    pub fn finish(self) -> String {
        self.0.finish()
    }
}

#[wasm_bindgen]
impl MareaEngine {
    /// The folder below `.marea` for the bytes of files; undefined where this browser keeps none.
    #[wasm_bindgen(js_name = filesFolder)]
    pub fn files_folder(&self) -> Option<String> {
        self.place.files_folder()
    }

    /// What the bytes of a file are called in it.
    #[wasm_bindgen(js_name = fileName)]
    pub fn file_name(&self, export: &str, sha256: String, extension: String) -> Result<String, JsValue> {
        let input = FileInput { sha256, extension, content_type: String::new(), size: 0 };
        Ok(input.local_name(parse_id(export)?))
    }

    /// Records an export with the file whose bytes have been written and flushed, or gives one that is there its file (`null` for
    /// the export).
    #[wasm_bindgen(js_name = keepFile)]
    #[allow(clippy::too_many_arguments)]
    pub fn keep_file(
        &self,
        id: &str,
        #[wasm_bindgen(unchecked_param_type = "ExportInput | null")] export: JsValue,
        sha256: String,
        extension: String,
        content_type: String,
        size: f64,
        quota: Option<f64>,
    ) -> Result<Option<Ts<Recorded>>, JsValue> {
        let id = parse_id(id)?;
        let file = FileInput { sha256, extension, content_type, size: size as u64 };
        let quota = quota.map_or(FILE_QUOTA_BYTES, |quota| quota as u64);
        if export.is_null() {
            return self.host.call(|engine| engine.attach_file(id, file, quota, now())).map(|()| None);
        }
        let export = ExportInput { id: Some(id), ..parse(&export)? };
        let recorded = self.host.call(|engine| engine.create_export_with_file(export, file, quota, now()))?;
        Ok(Some(to_js(&recorded)?))
    }

    /// All files that this device knows of, oldest first.
    pub fn files(&self) -> Result<Vec<Ts<FileView>>, JsValue> {
        list_to_js(&self.host.call(|engine| engine.files())?)
    }

    /// `pause` holds a file back, `resume` lets it go on, `retry` tries one again that was refused or waits for its next attempt,
    /// `cancel` gives it up, here and at the server.
    #[wasm_bindgen(js_name = changeFile)]
    pub fn change_file(&self, id: &str, what: &str) -> Result<(), JsValue> {
        let id = parse_id(id)?;
        self.host.call(|engine| match what {
            "pause" => engine.pause_file(id, true),
            "resume" => engine.pause_file(id, false),
            "retry" => engine.retry_file(id),
            _ => engine.cancel_file(id, now()),
        })
    }

    /// Where an export's file is. On this device: name, SHA-256, media type. At the server: path, path to post to for a link, SHA-256,
    /// ending. Else nothing. `remote` to be told of the server in any case.
    #[wasm_bindgen(js_name = fileSource)]
    pub fn file_source(&self, id: &str, remote: bool) -> Result<Vec<String>, JsValue> {
        let id = parse_id(id)?;
        let source = self.host.call(|engine| match remote {
            true => engine.remote_file(id),
            false => engine.file_source(id),
        })?;
        Ok(match source {
            FileSource::Local { name, sha256, content_type } => vec![name, sha256, content_type],
            FileSource::Remote { path, link_path, sha256, extension } => {
                vec![path, link_path, sha256, extension]
            }
            FileSource::Nowhere => Vec::new(),
        })
    }

    /// Compares the names in the folder with what is wanted; gives those that are to be removed.
    #[wasm_bindgen(js_name = sweepFiles)]
    pub fn sweep_files(&self, found: Vec<String>) -> Result<Vec<String>, JsValue> {
        self.host.call(|engine| engine.sweep_files(&found))
    }

    /// The header `authorization` for a request about a file. Refuses a token that is not this user's.
    pub fn authorization(&self, token: &str) -> Result<String, JsValue> {
        let user_id = self.host.call(|engine| Ok(engine.user_id()))?;
        marea_core::authorization(token, user_id)
            .map_err(|failure| crate::error::new(failure.code(), &failure.to_string(), false))
    }
}
