//! Randomness and digests. It keeps no secret and knows no format: tokens are in `tokens.rs`, passwords in `accounts.rs`.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::Error;

fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Cryptography)?;
    Ok(bytes)
}

/// 32 random bytes in hexadecimal: a password, a JWT secret or a refresh token.
pub(crate) fn make_secret() -> Result<String, Error> {
    Ok(hex(&random_bytes::<32>()?))
}

pub(crate) fn make_uuid() -> Result<Uuid, Error> {
    Ok(uuid::Builder::from_random_bytes(random_bytes()?).into_uuid())
}

/// SHA-256 in hexadecimal.
pub(crate) fn derive_digest(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
