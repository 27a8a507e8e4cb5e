//! Exponential backoff with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015): of the
//! schemes compared there it lets a crowd of clients recover with the least work for the server.

/// The first upper bound.
pub(crate) const FIRST_MS: u64 = 1_000;
/// The last upper bound: a learner who comes out of a tunnel is helped by signals, not by this.
pub(crate) const LAST_MS: u64 = 5 * 60 * 1_000;

/// No failure is followed by the next request without a pause, however the dice fall.
pub(crate) const LEAST_MS: u64 = 100;

/// A delay drawn evenly from [`LEAST_MS`] to the bound of this attempt; `attempt` counts from 0.
pub(crate) fn full_jitter_ms(attempt: u32, random: u64) -> u64 {
    let bound = FIRST_MS.saturating_mul(1u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(LAST_MS);
    LEAST_MS + random % (bound - LEAST_MS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_and_stops() {
        for (attempt, bound) in
            [(0, 1_000), (1, 2_000), (8, 256_000), (9, 300_000), (63, 300_000), (64, 300_000)]
        {
            let span = bound - LEAST_MS;
            let worst = (0..3).map(|i| full_jitter_ms(attempt, span - i)).max();
            assert_eq!(worst, Some(bound), "{attempt}");
            assert_eq!(full_jitter_ms(attempt, span + 1), LEAST_MS, "{attempt}");
        }
    }
}
