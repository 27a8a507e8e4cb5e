//! The requests of a transfer. Addresses are below the server's; the host adds the address, the API key and the token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::{BUCKET, FileInput, MutationId, UserId};

const OBJECTS: &str = "/storage/v1/object";
const UPLOADS: &str = "/storage/v1/upload/resumable";
const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
/// Objects never change: whoever has one may keep it.
const MAX_AGE: &str = "31536000";

/// One request about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All of it at once.
    Post,
    /// A resumable upload begins.
    Create,
    /// How much of it has the server?
    Ask,
    /// A piece.
    Patch {
        /// Where it begins.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
    /// Is the whole object there?
    Look,
    /// The object is to go.
    Delete,
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferBody {
    /// Nothing.
    Empty,
    /// A part of the file, or all of it.
    File {
        /// What the bytes are called on the device.
        name: String,
        /// Where the part begins.
        offset: u64,
        /// Its bytes.
        length: u64,
        /// What the whole file must hash to before the part leaves, where that is to be looked at.
        sha256: Option<String>,
    },
}

/// What is to be sent, below the server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// GET, HEAD, POST, PATCH or DELETE.
    pub method: &'static str,
    /// The path, with its leading slash.
    pub path: String,
    /// Headers besides the API key and the token.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: TransferBody,
}

/// The request of a step.
pub(crate) fn steps_request(
    step: &Step,
    user_id: UserId,
    export_id: MutationId,
    file: &FileInput,
    upload_id: &str,
) -> TransferRequest {
    let object = file.object(user_id, export_id);
    let object_path = || format!("{OBJECTS}/{BUCKET}/{object}");
    let upload_path = || format!("{UPLOADS}/{upload_id}");
    let part = |offset, length, is_checked: bool| TransferBody::File {
        name: file.local_name(export_id),
        offset,
        length,
        sha256: is_checked.then(|| file.sha256.clone()),
    };
    let tus = || vec![(TUS.0, TUS.1.to_owned())];
    let with = |mut headers: Vec<(&'static str, String)>, more: &[(&'static str, String)]| {
        headers.extend_from_slice(more);
        headers
    };
    let (method, path, headers, body) = match step {
        Step::Post => {
            let headers = vec![
                ("content-type", file.content_type.clone()),
                ("cache-control", format!("max-age={MAX_AGE}")),
            ];
            ("POST", object_path(), headers, part(0, file.size, true))
        }
        Step::Create => {
            let metadata = [
                ("bucketName", BUCKET),
                ("objectName", &object),
                ("contentType", &file.content_type),
                ("cacheControl", MAX_AGE),
            ];
            let metadata =
                metadata.map(|(name, value)| format!("{name} {}", STANDARD.encode(value))).join(",");
            let more = [("upload-length", file.size.to_string()), ("upload-metadata", metadata)];
            // None of it yet; but what is damaged need not be begun.
            ("POST", UPLOADS.to_owned(), with(tus(), &more), part(0, 0, true))
        }
        Step::Ask => ("HEAD", upload_path(), tus(), TransferBody::Empty),
        Step::Patch { offset, length } => {
            let more = [
                ("upload-offset", offset.to_string()),
                ("content-type", "application/offset+octet-stream".to_owned()),
            ];
            // With the last piece an object is made of what was sent, perhaps over days.
            let is_last = offset + length == file.size;
            ("PATCH", upload_path(), with(tus(), &more), part(*offset, *length, is_last))
        }
        Step::Look => (
            "GET",
            format!("{OBJECTS}/info/authenticated/{BUCKET}/{object}"),
            Vec::new(),
            TransferBody::Empty,
        ),
        Step::Delete => ("DELETE", object_path(), Vec::new(), TransferBody::Empty),
    };
    TransferRequest { method, path, headers, body }
}

/// The last part of an upload's address: all that is kept of what a server names. The rest is known, and a token never goes
/// anywhere else.
pub(super) fn upload_id(location: &str) -> Option<String> {
    let path = location.split(['?', '#']).next()?;
    let (_, id) = path.rsplit_once("/upload/resumable/")?;
    let fits = |it: u8| it.is_ascii_alphanumeric() || b"-_=.~%+".contains(&it);
    let is_sound = (1..=4096).contains(&id.len()) && id.bytes().all(fits) && !id.starts_with('.');
    is_sound.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_of_an_address_is_kept() {
        for (location, expected) in [
            ("https://x.supabase.co/storage/v1/upload/resumable/YWJj_-", Some("YWJj_-")),
            ("/storage/v1/upload/resumable/abc", Some("abc")),
            ("http://elsewhere.example/storage/v1/upload/resumable/abc?x=1", Some("abc")),
            ("https://x.supabase.co/storage/v1/upload/resumable/../../object/x", None),
            ("https://x.supabase.co/storage/v1/upload/resumable/..", None),
            ("https://x.supabase.co/storage/v1/upload/resumable/", None),
            ("https://x.supabase.co/other/abc", None),
            ("", None),
        ] {
            assert_eq!(upload_id(location).as_deref(), expected, "{location}");
        }
    }
}
