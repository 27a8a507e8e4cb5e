//! What happened in a world, in lines that a person can read.

use std::fmt::Display;

/// The lines of one world, or nothing at all when nobody wants to read them.
#[derive(Clone, Debug, Default)]
pub struct Story {
    lines: Option<Vec<String>>,
}

impl Story {
    /// Keeps every line.
    pub fn told() -> Story {
        Story { lines: Some(Vec::new()) }
    }

    /// Keeps nothing, and so costs nothing.
    pub fn untold() -> Story {
        Story::default()
    }

    /// The lines so far.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    pub(super) fn is_told(&self) -> bool {
        self.lines.is_some()
    }

    pub(super) fn tell(&mut self, step: u32, who: impl Display, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{step:4}  {who:<8} {}", what()));
        }
    }
}
