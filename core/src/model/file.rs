//! Files of exports: what is known about one, how it stands, and what it is called here and at the server.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{MutationId, StatusError, UnixMillis, UserId};

/// The bucket of the server's object storage in which all files are.
pub(crate) const BUCKET: &str = "marea-exports";
/// What a `file_url` of a file in it begins with.
const FILE_URL: &str = "storage://marea-exports/";

/// How a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// For its export to reach the server, or for a network.
    Waiting,
    /// The server has a part of it.
    Uploading,
    /// The server has all of it.
    Uploaded,
    /// Its export is deleted or expired: it is being deleted, here and at the server.
    Gone,
    /// The server does not take it, or there was no room for it here.
    Refused,
}

impl FileState {
    pub(crate) const ALL: [FileState; 5] =
        [FileState::Waiting, FileState::Uploading, FileState::Uploaded, FileState::Gone, FileState::Refused];

    /// The name in the mirror and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            FileState::Waiting => "waiting",
            FileState::Uploading => "uploading",
            FileState::Uploaded => "uploaded",
            FileState::Gone => "gone",
            FileState::Refused => "refused",
        }
    }
}

/// What a host knows about a file once it has written and flushed its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(deny_unknown_fields)]
pub struct FileInput {
    /// SHA-256 of the bytes, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The ending of its name without the dot: 1 to 10 lower-case letters and digits.
    pub extension: String,
    /// The media type that the server is told.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
}

/// A file as an app sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct FileView {
    /// The export whose file it is.
    pub export_id: MutationId,
    /// How it stands.
    pub state: FileState,
    /// Bytes.
    #[cfg_attr(feature = "tsify", tsify(type = "number"))]
    pub size: u64,
    /// Bytes that the server is known to have.
    #[cfg_attr(feature = "tsify", tsify(type = "number"))]
    pub sent: u64,
    /// The learner holds it back.
    pub paused: bool,
    /// Its bytes are on this device.
    pub on_device: bool,
    /// Why it was refused, or what the last attempt met.
    pub last_error: Option<StatusError>,
}

/// A file as the mirror keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRecord {
    pub(crate) export_id: MutationId,
    pub(crate) input: FileInput,
    pub(crate) state: FileState,
    pub(crate) has_bytes: bool,
    pub(crate) tried: bool,
    pub(crate) upload_id: Option<String>,
    pub(crate) paused: bool,
    pub(crate) failure: Option<StatusError>,
    pub(crate) added_ms: UnixMillis,
}

impl FileRecord {
    pub(crate) fn set_state(&mut self, state: FileState) {
        (self.state, self.failure) = (state, None);
    }

    /// What is gone stays so.
    pub(crate) fn refuse(&mut self, code: &str, message: &str) {
        if self.state != FileState::Gone {
            (self.state, self.upload_id) = (FileState::Refused, None);
            self.failure = Some(StatusError { code: code.to_owned(), message: message.to_owned() });
        }
    }

    /// The resumable upload that the server has begun; none where there is none any more.
    pub(crate) fn set_upload(&mut self, upload_id: Option<String>) {
        if self.state != FileState::Gone {
            self.state = if upload_id.is_some() { FileState::Uploading } else { FileState::Waiting };
        }
        self.upload_id = upload_id;
    }

    /// The server has nothing of it, and it is wanted no more: it is forgotten when it is written.
    pub(crate) fn forget(&mut self) {
        (self.state, self.tried) = (FileState::Gone, false);
    }

    /// The bytes are not on this device any more: what was not uploaded cannot be.
    pub(crate) fn lose_bytes(&mut self) {
        self.has_bytes = false;
        if matches!(self.state, FileState::Waiting | FileState::Uploading) {
            self.refuse(
                "file_missing",
                "the file's bytes are no longer on this device, or are damaged; attach them again",
            );
        }
    }
}

impl FileInput {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !is_sha256(&self.sha256) {
            return Err(Error::invalid("sha256", "must be 64 lower-case hexadecimal digits"));
        }
        if !FileInput::may_end_in(&self.extension) {
            return Err(Error::invalid("extension", "must be 1 to 10 lower-case letters and digits"));
        }
        let fits = |it: char| it.is_ascii_graphic() || it == ' ';
        if self.content_type.is_empty()
            || self.content_type.len() > 100
            || !self.content_type.chars().all(fits)
        {
            return Err(Error::invalid("content_type", "must be a media type of 1 to 100 ASCII characters"));
        }
        if self.size > i64::MAX.unsigned_abs() {
            return Err(Error::invalid("size", "must be at most 2^63 - 1 bytes"));
        }
        Ok(())
    }

    /// Whether a file's name may end so, after the dot.
    pub fn may_end_in(extension: &str) -> bool {
        (1..=10).contains(&extension.len())
            && extension.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    }

    /// What the bytes are called on the device.
    pub fn local_name(&self, export_id: MutationId) -> String {
        format!("{export_id}.{}.{}", self.sha256, self.extension)
    }

    /// Whether bytes can be called so: a mirror's folder may have others' files in it.
    pub fn is_local_name(name: &str) -> bool {
        let mut parts = name.splitn(3, '.');
        let mut next_is = |fits: fn(&str) -> bool| parts.next().is_some_and(fits);
        next_is(|id| id.parse::<MutationId>().is_ok()) && next_is(is_sha256) && next_is(FileInput::may_end_in)
    }

    /// What the object is called in the bucket.
    pub(crate) fn object(&self, user_id: UserId, export_id: MutationId) -> String {
        format!("{user_id}/{export_id}/{}.{}", self.sha256, self.extension)
    }

    /// What the export's `file_url` says.
    pub(crate) fn url(&self, user_id: UserId, export_id: MutationId) -> String {
        format!("{FILE_URL}{}", self.object(user_id, export_id))
    }
}

/// The hash and the ending of a file whose `file_url` is exactly this user's and this export's: nothing else is ever asked of
/// the server, whoever wrote the row.
pub(crate) fn read_url(url: &str, user_id: UserId, export_id: MutationId) -> Option<(String, String)> {
    let name = url.strip_prefix(&format!("{FILE_URL}{user_id}/{export_id}/"))?;
    let (sha256, extension) = name.split_once('.')?;
    (is_sha256(sha256) && FileInput::may_end_in(extension)).then(|| (sha256.to_owned(), extension.to_owned()))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_bytes_are_taken_for_such() {
        let id: MutationId = "018f9d3e-7a00-7000-8000-0123456789ac".parse().unwrap();
        let sha256 = "0123456789abcdef".repeat(4);
        let input = FileInput { sha256, extension: "csv".into(), content_type: "text/csv".into(), size: 1 };
        let name = input.local_name(id);
        assert!(FileInput::is_local_name(&name));
        for other in [
            "",
            ".lock",
            "lost+found",
            "thesis.csv",
            &format!("{name}.bak"),
            &format!("x{name}"),
            &format!("{id}.{}", input.sha256),
            &format!("{id}.{}.csv", input.sha256.to_uppercase()),
            &format!("{id}.{}.CSV", input.sha256),
        ] {
            assert!(!FileInput::is_local_name(other), "{other}");
        }
    }

    #[test]
    fn only_the_own_path_is_read_from_a_url() {
        let user: UserId = "018f9d3e-7a00-7000-8000-0123456789ab".parse().unwrap();
        let id: MutationId = "018f9d3e-7a00-7000-8000-0123456789ac".parse().unwrap();
        let sha = "0123456789abcdef".repeat(4);
        let good = format!("{FILE_URL}{user}/{id}/{sha}.csv");
        assert_eq!(read_url(&good, user, id), Some((sha.clone(), "csv".to_owned())));
        for bad in [
            format!("{FILE_URL}{id}/{id}/{sha}.csv"),
            format!("{FILE_URL}{user}/{user}/{sha}.csv"),
            format!("{FILE_URL}{user}/{id}/../{id}/{sha}.csv"),
            format!("{FILE_URL}{user}/{id}/{sha}.csv/../x"),
            format!("{FILE_URL}{user}/{id}/{}.csv", sha.to_uppercase()),
            format!("{FILE_URL}{user}/{id}/{sha}.CSV"),
            format!("{FILE_URL}{user}/{id}/{sha}"),
            format!("{FILE_URL}{user}/{id}/{sha}.csv?x"),
            format!("{FILE_URL}{}/{id}/{sha}.csv", user.to_string().to_uppercase()),
            format!("storage://other/{user}/{id}/{sha}.csv"),
            format!("https://example.com/{user}/{id}/{sha}.csv"),
            String::new(),
        ] {
            assert_eq!(read_url(&bad, user, id), None, "{bad}");
        }
    }
}
