//! What Storage refuses, with Supabase's numbers, codes and words. The body of an answer is made in `gateway/storage`.

/// A refusal. Its HTTP status is another one: Supabase's object routes answer 400 to nearly everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StorageError {
    /// `statusCode` in the body; the HTTP status of the resumable routes.
    pub(crate) status: u16,
    /// The stable code.
    pub(crate) code: &'static str,
    /// The older name of the same.
    pub(crate) error: &'static str,
    /// For people.
    pub(crate) message: String,
}

impl StorageError {
    pub(crate) fn new(
        status: u16,
        code: &'static str,
        error: &'static str,
        message: impl Into<String>,
    ) -> StorageError {
        StorageError { status, code, error, message: message.into() }
    }

    pub(crate) fn denied(message: impl Into<String>) -> StorageError {
        StorageError::new(403, "AccessDenied", "Unauthorized", message)
    }

    pub(crate) fn internal() -> StorageError {
        StorageError::new(500, "InternalError", "InternalError", "Internal server error")
    }

    pub(crate) fn no_bucket() -> StorageError {
        StorageError::new(404, "NoSuchBucket", "Bucket not found", "Bucket not found")
    }

    pub(crate) fn no_object() -> StorageError {
        StorageError::new(404, "NoSuchKey", "not_found", "Object not found")
    }

    pub(crate) fn exists() -> StorageError {
        StorageError::new(409, "ResourceAlreadyExists", "Duplicate", "The resource already exists")
    }

    pub(crate) fn too_large() -> StorageError {
        let message = "The object exceeded the maximum allowed size";
        StorageError::new(413, "EntityTooLarge", "Payload too large", message)
    }

    pub(crate) fn mime(found: &str) -> StorageError {
        let message = format!("mime type {found} is not supported");
        StorageError::new(415, "InvalidMimeType", "invalid_mime_type", message)
    }

    pub(crate) fn locked() -> StorageError {
        StorageError::new(423, "ResourceLocked", "ResourceLocked", "The resource is locked")
    }

    pub(crate) fn request(message: impl Into<String>) -> StorageError {
        StorageError::new(400, "InvalidRequest", "InvalidRequest", message)
    }

    /// What the resumable server itself says, in its own words and numbers.
    pub(crate) fn tus(status: u16, message: &str) -> StorageError {
        StorageError::new(status, "TusError", "TusError", message)
    }
}

impl From<tokio_postgres::Error> for StorageError {
    fn from(error: tokio_postgres::Error) -> StorageError {
        let Some(refusal) = error.as_db_error() else { return StorageError::internal() };
        match refusal.code().code() {
            "42501" if refusal.message().contains("row-level security") => {
                StorageError::denied("new row violates row-level security policy")
            }
            "42501" => StorageError::denied(refusal.message()),
            "23505" => StorageError::exists(),
            "23503" => StorageError::new(
                404,
                "InvalidRequest",
                "InvalidRequest",
                "The related resource does not exist",
            ),
            "55P03" => StorageError::locked(),
            "57014" => {
                let message = "The connection to the database timed out";
                StorageError::new(544, "DatabaseTimeout", "DatabaseTimeout", message)
            }
            code => {
                let message = format!("database error, code: {code}");
                StorageError::new(500, "DatabaseError", "DatabaseError", message)
            }
        }
    }
}
