//! SHA-256 of a file, block by block: its hash is its name in storage, and what comes back is checked against it.

use ring::digest::{Context, SHA256};

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
