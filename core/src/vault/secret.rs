//! What must not be seen: wiped when dropped, redacted in `Debug`, without a `Display`.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::entropy::Entropy;
use crate::error::Error;
use crate::vault::work::WorkStep;
use crate::vault::{code, crypt};

macro_rules! redacted {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )*};
}
redacted!(Passphrase, ApiKey, DataKey, RecoveryCode);

/// More is a mistake, or an attempt to keep the device busy.
const MAX_PASSPHRASE_BYTES: usize = 1024;
/// A key's length in bytes. The longest in use have about 200.
const MAX_KEY_BYTES: usize = 1024;

/// What the learner types to open the vault: UTF-8 in the normalization form NFKC, so that the same letters typed on
/// another system are the same passphrase.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase over. Outside of the browser it is normalized here; a browser does that itself
    /// (`text.normalize('NFKC')`).
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is empty or has more than 1,024 bytes.
    pub fn new(text: String) -> Result<Passphrase, Error> {
        let text = normalized(Zeroizing::new(text));
        if text.is_empty() || text.len() > MAX_PASSPHRASE_BYTES {
            return Err(Error::invalid("passphrase", "must have 1 to 1024 bytes"));
        }
        Ok(Passphrase(text))
    }

    /// The text: to show a generated one, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Does one derivation, with this crate's PBKDF2: about a fifth of a second on a desktop.
    pub fn derive(&self, step: &WorkStep) -> DataKey {
        crypt::derive(self.0.as_bytes(), &step.salt, step.rounds)
    }
}

#[cfg(not(target_family = "wasm"))]
fn normalized(text: Zeroizing<String>) -> Zeroizing<String> {
    use unicode_normalization::UnicodeNormalization as _;

    if text.is_ascii() {
        return text;
    }
    // NFKC makes nothing longer than 18 times (U+FDFA): with that much room nothing is copied and left behind.
    let mut composed = Zeroizing::new(String::with_capacity(text.len() * 18));
    composed.extend(text.nfkc());
    composed
}

#[cfg(target_family = "wasm")]
fn normalized(text: Zeroizing<String>) -> Zeroizing<String> {
    text
}

/// A key in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// Takes a key over, without the white space around it that comes along when it is pasted.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is empty, has more than 1,024 bytes, or has spaces or control characters inside.
    pub fn new(text: String) -> Result<ApiKey, Error> {
        let text = Zeroizing::new(text);
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.len() > MAX_KEY_BYTES {
            return Err(Error::invalid("key", "must have 1 to 1024 bytes"));
        }
        if trimmed.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid("key", "has a space or a control character inside; paste it again"));
        }
        Ok(ApiKey(Zeroizing::new(trimmed.to_owned())))
    }

    /// What was sealed, once it is open again.
    pub(crate) fn opened(bytes: &[u8]) -> Option<ApiKey> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(ApiKey(Zeroizing::new(text.to_owned())))
    }

    /// The key itself: for the request that needs it, and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// 32 secret bytes. Always in one place on the heap: a value that is moved leaves its old bytes behind.
#[derive(Clone)]
pub struct DataKey(Box<Zeroizing<[u8; 32]>>);

impl DataKey {
    /// Takes bytes over and wipes where they came from.
    pub fn take(bytes: &mut [u8; 32]) -> DataKey {
        let mut key = DataKey::blank();
        key.0.copy_from_slice(bytes);
        bytes.zeroize();
        key
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<DataKey> {
        let mut key = DataKey::blank();
        (bytes.len() == 32).then(|| key.0.copy_from_slice(bytes))?;
        Some(key)
    }

    pub(crate) fn make(entropy: &mut dyn Entropy) -> Result<DataKey, Error> {
        let mut key = DataKey::blank();
        entropy.fill(key.bytes_mut())?;
        Ok(key)
    }

    pub(crate) fn blank() -> DataKey {
        DataKey(Box::new(Zeroizing::new([0; 32])))
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }

    /// The bytes: for a keychain or a key store of the device, and nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A code that opens the vault when the passphrase is forgotten. Shown once; the vault keeps only what it wraps.
#[derive(Clone)]
pub struct RecoveryCode(Box<Zeroizing<[u8; code::CODE_BYTES]>>);

impl RecoveryCode {
    pub(crate) fn make(entropy: &mut dyn Entropy) -> Result<RecoveryCode, Error> {
        let mut bytes = Box::new(Zeroizing::new([0; code::CODE_BYTES]));
        entropy.fill(bytes.as_mut_slice())?;
        Ok(RecoveryCode(bytes))
    }

    /// Reads a code as somebody typed it: case, spaces and hyphens do not matter, nor 0 for O or 1 for I and L.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is no code: a letter was mistyped, or some are missing.
    pub fn parse(text: &str) -> Result<RecoveryCode, Error> {
        let bytes = code::decode(text).ok_or_else(|| {
            Error::invalid("recovery_code", "has a typing error: it is 28 letters and digits in groups of 4")
        })?;
        Ok(RecoveryCode(Box::new(bytes)))
    }

    /// The text to show, in groups of 4.
    pub fn expose(&self) -> Zeroizing<String> {
        code::encode(&self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            Passphrase::new("correct horse".into()).unwrap(),
            ApiKey::new("sk-marked".into()).unwrap(),
            DataKey::blank(),
            RecoveryCode(Box::new(Zeroizing::new([7; code::CODE_BYTES]))),
        );
        assert_eq!(shown, "Passphrase(redacted) ApiKey(redacted) DataKey(redacted) RecoveryCode(redacted)");
    }

    #[test]
    fn the_same_letters_are_the_same_passphrase() {
        let composed = Passphrase::new("marée haute".into()).unwrap();
        let decomposed = Passphrase::new("mare\u{301}e haute".into()).unwrap();
        assert_eq!(*composed.0, *decomposed.0);
        let longest = Passphrase::new("\u{fdfa}".into()).unwrap();
        assert!(longest.0.capacity() >= longest.0.len() && longest.0.capacity() == 3 * 18);
    }

    #[test]
    fn pasted_keys_lose_their_white_space_and_nothing_else() {
        assert_eq!(ApiKey::new(" sk-a1\r\n".into()).unwrap().expose(), "sk-a1");
        for wrong in ["", "  ", "sk a", "sk\u{7}a", &"x".repeat(1025)] {
            let error = ApiKey::new((*wrong).to_owned()).unwrap_err();
            assert_eq!(error.code(), "invalid_input");
        }
        assert!(Passphrase::new(String::new()).is_err());
    }
}
