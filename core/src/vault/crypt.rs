//! The four primitives, all of `ring`: PBKDF2-HMAC-SHA256, HKDF-SHA256, HMAC-SHA256 and AES-256-GCM.
//!
//! Every function that had a key in its hands wipes the stack below it: `ring` expands keys there and does not clean up.

use std::hint::black_box;
use std::num::NonZeroU32;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hkdf, hmac, pbkdf2};
use zeroize::{Zeroize, Zeroizing};

use crate::entropy::Entropy;
use crate::error::Error;
use crate::vault::secret::DataKey;

/// Nonce and tag around a sealed text.
pub(crate) const SEAL_OVERHEAD: usize = NONCE_LEN + 16;

/// Seals: nonce, ciphertext, tag. The nonce is random: NIST SP 800-38D, 8.3, allows 2^32 of those for one key, and a
/// data key seals a handful.
pub(crate) fn seal(
    key: &DataKey,
    about: &str,
    plain: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce)?;
    let sealed = seal_with(key, nonce, about.as_bytes(), plain);
    scrub_stack();
    sealed.ok_or(Error::Internal("a key could not be sealed"))
}

#[inline(never)]
pub(super) fn seal_with(
    key: &DataKey,
    nonce: [u8; NONCE_LEN],
    about: &[u8],
    plain: &[u8],
) -> Option<Vec<u8>> {
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).ok()?);
    // With all the room from the start: a buffer that grew would leave its old self, with the plain text in it.
    let mut sealed = Vec::with_capacity(SEAL_OVERHEAD + plain.len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(about), &mut sealed[NONCE_LEN..]);
    let Ok(tag) = tag else {
        sealed.zeroize();
        return None;
    };
    sealed.extend_from_slice(tag.as_ref());
    Some(sealed)
}

/// Opens what [`seal`] made; `None` when anything about it is not as it was.
pub(crate) fn open(key: &DataKey, about: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let opened = open_with(key, about.as_bytes(), sealed);
    scrub_stack();
    opened
}

#[inline(never)]
pub(super) fn open_with(key: &DataKey, about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.expose()).ok()?);
    let mut buffer = Zeroizing::new(rest.to_vec());
    let length = cipher.open_in_place(nonce, Aad::from(about), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

/// The key that a passphrase makes. The one slow step.
pub(crate) fn derive(passphrase: &[u8], salt: &[u8], rounds: u32) -> DataKey {
    let mut key = DataKey::blank();
    let rounds = NonZeroU32::new(rounds).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, passphrase, key.bytes_mut());
    scrub_stack();
    key
}

/// A key from a secret that nobody can guess (RFC 5869, without salt), for one purpose.
pub(crate) fn expand(secret: &[u8], purpose: &str) -> DataKey {
    let key = expand_with(secret, purpose.as_bytes());
    scrub_stack();
    key
}

#[inline(never)]
pub(super) fn expand_with(secret: &[u8], purpose: &[u8]) -> DataKey {
    let mut key = DataKey::blank();
    let purpose = [purpose];
    let source = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    if let Ok(made) = source.expand(&purpose, hkdf::HKDF_SHA256) {
        // Cannot fail for 32 bytes; a key of zeros would open nothing.
        let _ = made.fill(key.bytes_mut());
    }
    key
}

/// 120 bits of a MAC: no bits are left over in base 64.
pub(crate) const CHECK_BYTES: usize = 15;

/// HMAC-SHA256 under a key of its own for this purpose, cut to 120 bits.
pub(crate) fn check(key: &DataKey, purpose: &str, message: &str) -> [u8; CHECK_BYTES] {
    let tag = authenticate(&expand(key.expose(), purpose), message.as_bytes());
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&tag[..CHECK_BYTES]);
    check
}

/// HMAC-SHA256.
pub(crate) fn authenticate(key: &DataKey, message: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()), message).as_ref());
    scrub_stack();
    tag
}

/// Compares without telling by its time where the difference is.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && black_box(left.iter().zip(right).fold(0, |all, (l, r)| all | (l ^ r))) == 0
}

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

/// More stack than `ring` uses below the functions above: 16 KiB.
const SCRUBBED_WORDS: usize = 2 * 1024;

#[inline(never)]
pub(crate) fn scrub_stack() {
    let mut used = [u64::MAX; SCRUBBED_WORDS];
    black_box(&mut used);
    used.zeroize();
    black_box(&used);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7914, 11: PBKDF2-HMAC-SHA256 ("passwd", "salt", 1), first 32 of 64 bytes.
    #[test]
    fn pbkdf2_is_the_one_of_the_standard() {
        let key = derive(b"passwd", b"salt", 1);
        let expected = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";
        assert_eq!(hex(key.expose()), expected);
    }

    /// RFC 5869, A.3: no salt, no info; the first 32 of 42 bytes.
    #[test]
    fn hkdf_is_the_one_of_the_standard() {
        let key = expand(&[0x0b; 22], "");
        assert_eq!(hex(key.expose()), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    }

    #[test]
    fn comparing_sees_every_difference() {
        assert!(same(b"abc", b"abc") && !same(b"abc", b"abd") && !same(b"abc", b"ab") && same(b"", b""));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
