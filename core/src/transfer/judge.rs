//! What an answer means. Supabase's object routes answer 400 to nearly everything and say in the body's `code` what it was;
//! its resumable routes answer the real status and a sentence. Anybody else's refusal (a proxy's) is a reason to wait, never
//! a verdict; nor is anybody else's success, such as the page of a network that wants a sign-in.

use serde::Deserialize;

use crate::model::from_json;

use super::{Step, TransferAnswer, request::upload_id};

/// What an answer says about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server has the whole object.
    Stored,
    /// The resumable upload has this id.
    Begun(String),
    /// The server has so many bytes.
    Received(u64),
    /// How much the server has is not known: ask.
    AskAgain,
    /// The server knows nothing of this upload any more, or of no such object: begin again.
    BeginAgain,
    /// The object is not, or no longer, there.
    Deleted,
    /// The policies do not let this user: the export's row may not be there yet.
    NotAllowed,
    /// The token is missing, expired or refused.
    Token,
    /// The server will never take this file.
    Refused(&'static str, &'static str),
    /// Later.
    Wait(&'static str, Option<u64>),
}

/// The body of a refusal by an object route.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Refusal {
    status_code: String,
    code: String,
    error: String,
    message: String,
}

/// The body of a success of an object route: the object's name, or a sentence about its deletion.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Success {
    #[serde(rename = "Key")]
    key: String,
    name: String,
    message: String,
}

const UNINTELLIGIBLE: Verdict = Verdict::Wait("unintelligible_answer", None);
const FULL: &str = "server_full";
const TOO_LARGE: Verdict = Verdict::Refused("file_too_large", "the server takes no file of this size");
const WRONG_TYPE: Verdict = Verdict::Refused("file_type_refused", "the server takes no file of this type");

/// Judges an answer to a step about this object, which has `size` bytes.
pub(crate) fn judge(step: &Step, answer: &TransferAnswer, size: u64, object: &str) -> Verdict {
    match (step, answer.status) {
        (Step::Post | Step::Look | Step::Delete, 200..=299) => {
            return judge_success(step, &answer.body, object);
        }
        (Step::Create, 201) => {
            let id = answer.location.as_deref().and_then(upload_id);
            return id.map_or(UNINTELLIGIBLE, Verdict::Begun);
        }
        (Step::Create, 200..=299) => return UNINTELLIGIBLE,
        (Step::Ask | Step::Patch { .. }, 200..=299) => {
            return match answer.upload_offset {
                Some(offset) if offset <= size => Verdict::Received(offset),
                Some(_) if *step == Step::Ask => Verdict::BeginAgain,
                None if *step == Step::Ask => UNINTELLIGIBLE,
                _ => Verdict::AskAgain,
            };
        }
        _ => {}
    }
    let Ok(refusal) = from_json::<Refusal>(&answer.body) else {
        return judge_plain(step, answer);
    };
    let later = |code| Verdict::Wait(code, answer.retry_after_ms);
    match refusal.code.as_str() {
        "ResourceAlreadyExists" | "KeyAlreadyExists" => Verdict::Stored,
        "NoSuchKey" => absent(step),
        "NoSuchBucket" => later("bucket_missing"),
        "EntityTooLarge" => TOO_LARGE,
        "InvalidMimeType" => WRONG_TYPE,
        "AccessDenied" | "InvalidJWT" | "ExpiredToken" => denied(&refusal.message),
        "InvalidKey" | "InvalidBucketName" | "FeatureNotEnabled" => Verdict::Refused(
            "file_refused",
            "the server refuses the file's name or has its storage turned off",
        ),
        "ResourceLocked" | "LockTimeout" => later("file_locked"),
        // Postgres takes no writes any more once its disk is full.
        "DatabaseReadOnly" => later(FULL),
        "SlowDown" | "DatabaseTimeout" | "InternalError" | "DatabaseError" | "S3Error" => {
            later("server_failed")
        }
        // Versions of the server that say less.
        "" => match (refusal.status_code.as_str(), refusal.error.as_str()) {
            ("409", _) | (_, "Duplicate") => Verdict::Stored,
            ("404", "Bucket not found") => later("bucket_missing"),
            ("404", _) if refusal.error.eq_ignore_ascii_case("not_found") => absent(step),
            ("413", _) => TOO_LARGE,
            ("415", _) => WRONG_TYPE,
            ("401" | "403", _) => denied(&refusal.message),
            ("402" | "507", _) => later(FULL),
            _ => judge_plain(step, answer),
        },
        _ => judge_plain(step, answer),
    }
}

/// All versions name the object, some with the bucket before it.
fn judge_success(step: &Step, body: &str, object: &str) -> Verdict {
    let said: Success = from_json(body).unwrap_or_default();
    match step {
        Step::Post if said.key.ends_with(object) => Verdict::Stored,
        Step::Look if said.name.ends_with(object) => Verdict::Stored,
        Step::Delete if !said.message.is_empty() => Verdict::Deleted,
        _ => UNINTELLIGIBLE,
    }
}

/// A refusal that is a status and perhaps a sentence.
fn judge_plain(step: &Step, answer: &TransferAnswer) -> Verdict {
    let later = |code| Verdict::Wait(code, answer.retry_after_ms);
    let is_tus = matches!(step, Step::Create | Step::Ask | Step::Patch { .. });
    let says = |words: &str| answer.body.contains(words);
    match answer.status {
        401 => Verdict::Token,
        403 if is_tus => denied(&answer.body),
        404 | 410 if matches!(step, Step::Ask | Step::Patch { .. }) => Verdict::BeginAgain,
        409 if is_tus && says("already exists") => Verdict::Stored,
        409 if is_tus => Verdict::AskAgain,
        // The word of the storage itself: a proxy has a page of its own for this.
        413 if is_tus && says("maximum allowed size") || says("Maximum size exceeded") => TOO_LARGE,
        413 => later("proxy_too_large"),
        415 if is_tus && says("mime type") => WRONG_TYPE,
        404 if is_tus && says("Bucket not found") => later("bucket_missing"),
        423 => later("file_locked"),
        // Supabase's gateway, for a project that has used up what it may store; an object storage that is full.
        402 | 507 => later(FULL),
        408 | 429 | 500..=599 => later("server_failed"),
        404 => later("storage_missing"),
        _ => later("refused"),
    }
}

fn absent(step: &Step) -> Verdict {
    match step {
        Step::Delete => Verdict::Deleted,
        _ => Verdict::BeginAgain,
    }
}

/// One code for two things that could not be more different: a policy that says no, and a token that is no good. Only the words
/// tell; where they are new ones it is taken for the token, which is never a final verdict.
fn denied(message: &str) -> Verdict {
    let is_policy = message.contains("row-level security") || message == "Access denied";
    if is_policy { Verdict::NotAllowed } else { Verdict::Token }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(status: u16, code: &str, message: &str) -> TransferAnswer {
        let body =
            format!(r#"{{"statusCode":"{status}","error":"x","code":"{code}","message":"{message}"}}"#);
        TransferAnswer { status: 400, body, ..TransferAnswer::default() }
    }

    fn plain(status: u16, body: &str) -> TransferAnswer {
        TransferAnswer { status, body: body.to_owned(), ..TransferAnswer::default() }
    }

    #[test]
    fn the_code_in_the_body_decides() {
        let rls = "new row violates row-level security policy";
        let expired = r#"\"exp\" claim timestamp check failed"#;
        for (answer, expected) in [
            (plain(200, r#"{"Id":"1","Key":"marea-exports/a/b"}"#), Verdict::Stored),
            (plain(200, r#"{"Key":"marea-exports/a/b"}"#), Verdict::Stored),
            (plain(200, "<html>Sign in to this network</html>"), UNINTELLIGIBLE),
            (plain(200, r#"{"login":"https://portal.example"}"#), UNINTELLIGIBLE),
            (plain(200, "{}"), UNINTELLIGIBLE),
            (plain(200, r#"{"Key":"x"}"#), UNINTELLIGIBLE),
            (plain(200, r#"{"Id":"x"}"#), UNINTELLIGIBLE),
            (plain(200, r#"{"Key":"marea-exports/a/c"}"#), UNINTELLIGIBLE),
            (plain(204, ""), UNINTELLIGIBLE),
            (json(409, "ResourceAlreadyExists", "The resource already exists"), Verdict::Stored),
            (json(409, "KeyAlreadyExists", ""), Verdict::Stored),
            (json(403, "AccessDenied", rls), Verdict::NotAllowed),
            (json(403, "AccessDenied", expired), Verdict::Token),
            (json(403, "AccessDenied", "words that nobody knows yet"), Verdict::Token),
            (json(400, "InvalidJWT", "jwt expired"), Verdict::Token),
            (json(413, "EntityTooLarge", ""), TOO_LARGE),
            (json(415, "InvalidMimeType", ""), WRONG_TYPE),
            (json(404, "NoSuchBucket", ""), Verdict::Wait("bucket_missing", None)),
            (json(423, "ResourceLocked", ""), Verdict::Wait("file_locked", None)),
            (json(544, "DatabaseTimeout", ""), Verdict::Wait("server_failed", None)),
            (plain(413, "<html>413 Request Entity Too Large</html>"), Verdict::Wait("proxy_too_large", None)),
            (plain(404, "<html>not here</html>"), Verdict::Wait("storage_missing", None)),
            (plain(503, ""), Verdict::Wait("server_failed", None)),
            (
                plain(
                    402,
                    r#"{"message":"Service for this project is restricted: exceed_storage_size_quota"}"#,
                ),
                Verdict::Wait("server_full", None),
            ),
            (plain(507, ""), Verdict::Wait("server_full", None)),
            (json(503, "DatabaseReadOnly", ""), Verdict::Wait("server_full", None)),
            (
                plain(400, r#"{"statusCode":"507","error":"InsufficientStorage","message":"x"}"#),
                Verdict::Wait("server_full", None),
            ),
            (plain(302, ""), Verdict::Wait("refused", None)),
            (plain(400, r#"{"statusCode":"409","error":"Duplicate","message":"x"}"#), Verdict::Stored),
            (
                plain(400, r#"{"statusCode":"403","error":"Unauthorized","message":"jwt expired"}"#),
                Verdict::Token,
            ),
        ] {
            assert_eq!(judge(&Step::Post, &answer, 10, "a/b"), expected, "{answer:?}");
        }
    }

    #[test]
    fn the_resumable_routes_say_it_with_the_status() {
        let patch = Step::Patch { offset: 0, length: 5 };
        let at =
            |offset| TransferAnswer { status: 204, upload_offset: Some(offset), ..TransferAnswer::default() };
        for (step, answer, expected) in [
            (&patch, at(5), Verdict::Received(5)),
            (&patch, at(11), Verdict::AskAgain),
            (&patch, plain(204, ""), Verdict::AskAgain),
            (&patch, plain(409, "Upload-Offset conflict\n"), Verdict::AskAgain),
            (&patch, plain(409, "The resource already exists"), Verdict::Stored),
            (&patch, plain(404, "The file for this url was not found\n"), Verdict::BeginAgain),
            (&patch, plain(410, "The file for this url no longer exists\n"), Verdict::BeginAgain),
            (&patch, plain(403, "new row violates row-level security policy"), Verdict::NotAllowed),
            (&patch, plain(403, "\"exp\" claim timestamp check failed"), Verdict::Token),
            (&patch, plain(423, ""), Verdict::Wait("file_locked", None)),
            (&Step::Create, plain(413, "The object exceeded the maximum allowed size"), TOO_LARGE),
            (&Step::Create, plain(413, "Maximum size exceeded\n"), TOO_LARGE),
            (&Step::Create, plain(413, "<html></html>"), Verdict::Wait("proxy_too_large", None)),
            (&Step::Create, plain(415, "mime type image/png is not supported"), WRONG_TYPE),
            (&Step::Create, plain(404, "Bucket not found"), Verdict::Wait("bucket_missing", None)),
            (&Step::Create, plain(201, ""), Verdict::Wait("unintelligible_answer", None)),
            (&Step::Create, plain(402, ""), Verdict::Wait("server_full", None)),
            (&Step::Create, plain(200, r#"{"login":"https://portal.example"}"#), UNINTELLIGIBLE),
            (&patch, plain(507, ""), Verdict::Wait("server_full", None)),
            (&Step::Ask, plain(404, ""), Verdict::BeginAgain),
            (&Step::Ask, at(10), Verdict::Received(10)),
            (&Step::Ask, at(11), Verdict::BeginAgain),
            (&Step::Ask, plain(200, "<html></html>"), UNINTELLIGIBLE),
            (&Step::Look, plain(200, r#"{"id":"1","name":"a/b","size":10}"#), Verdict::Stored),
            (&Step::Look, plain(200, "<html></html>"), UNINTELLIGIBLE),
            (&Step::Look, plain(200, r#"{"id":"1","name":"a/c"}"#), UNINTELLIGIBLE),
            (&Step::Delete, plain(200, r#"{"message":"Successfully deleted"}"#), Verdict::Deleted),
            (&Step::Delete, plain(200, "<html></html>"), UNINTELLIGIBLE),
            (&Step::Look, json(404, "NoSuchKey", "Object not found"), Verdict::BeginAgain),
            (&Step::Delete, json(404, "NoSuchKey", "Object not found"), Verdict::Deleted),
        ] {
            assert_eq!(judge(step, &answer, 10, "a/b"), expected, "{step:?} {answer:?}");
        }
    }
}
