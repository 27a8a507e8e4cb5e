//! How often a passphrase may be guessed in one process: five times at once, then with growing pauses.
//!
//! Against a person at an unlocked device, not against whoever has the envelopes: there only the derivation's cost counts.

use crate::error::{Error, VaultError};
use crate::model::UnixMillis;

/// Wrong guesses before the first pause.
const FREE: u32 = 5;
const FIRST_PAUSE_MS: u64 = 30_000;
const LONGEST_PAUSE_MS: u64 = 15 * 60 * 1000;

#[derive(Default)]
pub(crate) struct Guesses {
    wrong: u32,
    last_ms: i64,
}

impl Guesses {
    /// Counts a guess before it is made, so that many at once are no way around the limit.
    pub(crate) fn begin(&mut self, now: UnixMillis) -> Result<(), Error> {
        let since = now.0.saturating_sub(self.last_ms);
        // A clock that was set back has waited for nothing.
        let waited = u64::try_from(since).unwrap_or(0);
        let pause = self.pause_ms();
        if waited < pause {
            return Err(Error::Vault(VaultError::TooManyGuesses { retry_after_ms: pause - waited }));
        }
        self.wrong = self.wrong.saturating_add(1);
        self.last_ms = now.0;
        Ok(())
    }

    pub(crate) fn was_right(&mut self) {
        *self = Guesses::default();
    }

    fn pause_ms(&self) -> u64 {
        match self.wrong.checked_sub(FREE) {
            None => 0,
            Some(more) => FIRST_PAUSE_MS.saturating_mul(1 << more.min(10)).min(LONGEST_PAUSE_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut guesses = Guesses::default();
        let mut now = UnixMillis(1_000_000);
        for _ in 0..5 {
            guesses.begin(now).unwrap();
        }
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let Err(Error::Vault(VaultError::TooManyGuesses { retry_after_ms })) = guesses.begin(now) else {
                panic!("a guess too many");
            };
            pauses.push(retry_after_ms / 1000);
            now = now.plus_ms(retry_after_ms);
            guesses.begin(now).unwrap();
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900]);
        assert!(guesses.begin(UnixMillis(0)).is_err(), "a clock that was set back opens nothing");
        guesses.was_right();
        assert!(guesses.begin(now).is_ok());
    }
}
