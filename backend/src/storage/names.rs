//! Which names an object may have, and how a path is read. A path is decoded exactly once; what could mean something else to
//! a file system or after a second decoding is refused, though bytes never lie under their names here.

use super::StorageError;

/// Supabase's own list, of S3's safe characters. ASCII only, so no look-alike of another alphabet is ever a name.
const PUNCTUATION: &str = "_/!.*'() &$=@;:+,?-";
const LONGEST_BUCKET: usize = 100;
const LONGEST_KEY: usize = 1024;

/// The name of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectName {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl ObjectName {
    pub(crate) fn new(bucket: &str, key: &str) -> Result<ObjectName, StorageError> {
        if !is_bucket(bucket) {
            return Err(StorageError::new(400, "InvalidBucketName", "Invalid Input", "Bucket name invalid"));
        }
        if !is_key(key) {
            let message = format!("Invalid key: {key}");
            return Err(StorageError::new(400, "InvalidKey", "InvalidKey", message));
        }
        Ok(ObjectName { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// From what follows a route in a request's path: `bucket/folder/file`.
    pub(crate) fn from_path(path: &str) -> Result<ObjectName, StorageError> {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let (bucket, key) = (decode(bucket), decode(key));
        // An encoded slash is a slash to some on the way and a character to others: nobody needs one.
        let is_ambiguous = path.to_ascii_lowercase().contains("%2f");
        match (bucket, key) {
            (Some(bucket), Some(key)) if !is_ambiguous => ObjectName::new(&bucket, &key),
            _ => Err(StorageError::new(400, "InvalidKey", "InvalidKey", "Invalid key")),
        }
    }

    /// As tokens and links name it.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }
}

fn is_character(found: char) -> bool {
    found.is_ascii_alphanumeric() || PUNCTUATION.contains(found)
}

fn is_bucket(name: &str) -> bool {
    (1..=LONGEST_BUCKET).contains(&name.len()) && name.chars().all(|it| it != '/' && is_character(it))
}

fn is_key(key: &str) -> bool {
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
    key.len() <= LONGEST_KEY && key.chars().all(is_character) && key.split('/').all(is_segment)
}

/// One decoding of `%XX`; nothing when that leaves no text.
pub(crate) fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digits = bytes.get(at + 1..at + 3).and_then(|it| std::str::from_utf8(it).ok())?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_names() {
        for (path, expected) in [
            ("exports/a/b.csv", Some(("exports", "a/b.csv"))),
            ("exports/a%20b.csv", Some(("exports", "a b.csv"))),
            ("exports/../other/b.csv", None),
            ("exports/a/../../b.csv", None),
            ("exports/a/./b.csv", None),
            ("exports/a//b.csv", None),
            ("exports/a%2Fb.csv", None),
            ("exports/a%2fb.csv", None),
            ("exports/a%252fb.csv", None),
            ("exports/%2e%2e/b.csv", None),
            ("exports/a\\b.csv", None),
            ("exports/a%5Cb.csv", None),
            ("exports/a%00.csv", None),
            ("exports/\u{ff41}.csv", None),
            ("exports/%EF%BD%81.csv", None),
            ("exports/%ff.csv", None),
            ("exports/%4", None),
            ("exports/", None),
            ("exports", None),
            ("/a", None),
        ] {
            let found = ObjectName::from_path(path).ok();
            let expected =
                expected.map(|(bucket, key)| ObjectName { bucket: bucket.into(), key: key.into() });
            assert_eq!(found, expected, "{path}");
        }
    }
}
