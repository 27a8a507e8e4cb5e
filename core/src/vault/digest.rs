//! SHA-256 of a file, block by block: its hash is its name in storage, and what comes back is checked against it. And the digests
//! of names that ids are made of; nothing is kept secret by those.

use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// The first 16 bytes of the SHA-256 of some parts, each with its length before it.
pub(crate) fn digest_of_parts(parts: &[&str]) -> [u8; 16] {
    let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
    let parts = lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), part.as_bytes()]);
    digest(&SHA256, parts)
}

/// The first 16 bytes of the SHA-1 of a name in a name space: what a UUIDv5 is made of (RFC 9562, 5.5).
pub(crate) fn digest_of_name(space: &[u8; 16], name: &str) -> [u8; 16] {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, [space.as_slice(), name.as_bytes()].into_iter())
}

fn digest<'a>(algorithm: &'static Algorithm, parts: impl Iterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut context = Context::new(algorithm);
    parts.for_each(|part| context.update(part));
    let mut first = [0; 16];
    first.copy_from_slice(&context.finish().as_ref()[..16]);
    first
}

/// A hash that is being computed.
pub struct FileHash(Context);

impl FileHash {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> FileHash {
        FileHash(Context::new(&SHA256))
    }

    /// Adds a block.
    pub fn update(&mut self, block: &[u8]) {
        self.0.update(block);
    }

    /// The hash: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        self.0.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::io::Write for FileHash {
    fn write(&mut self, block: &[u8]) -> std::io::Result<usize> {
        self.update(block);
        Ok(block.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Default for FileHash {
    fn default() -> Self {
        FileHash::new()
    }
}

impl std::fmt::Debug for FileHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileHash").finish_non_exhaustive()
    }
}
