//! The one source of randomness. The engine takes it as a value, so that a simulation can replay a seed.

use ring::rand::{SecureRandom, SystemRandom};

use crate::error::Error;

/// Fills buffers with random bytes.
pub trait Entropy {
    /// Fills the whole buffer.
    ///
    /// # Errors
    /// [`Error::NoEntropy`] when the source fails; the buffer's content is then unspecified.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error>;
}

/// The operating system's (or the browser's) generator, through `ring`.
#[derive(Debug)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The system's generator.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        self.0.fill(buffer).map_err(|_| Error::NoEntropy)
    }
}
